//! Statements of the migration engine.
//!
//! Whoever may write is whoever began the newest run: each write compares that in the same statement, and answers whether
//! it was so. No write rests on a unique key, because a damaged history may have lost its own.

/// Whether the run `$n` is the newest one, as the first part of a write.
macro_rules! run {
    ($n:literal) => {
        concat!("WITH run AS MATERIALIZED (SELECT max(generation) = ", $n, " AS mine FROM {s}.migration_run)")
    };
}

mod own;

pub(crate) use self::own::*;

// ---- tables of the engine ----

/// Makes the history of migrations.
pub(crate) const CREATE_MIGRATION: &str = "
CREATE TABLE IF NOT EXISTS {s}.migration (
  version     bigint NOT NULL PRIMARY KEY,
  name        text   NOT NULL,
  checksum    bigint NOT NULL,
  state       bigint NOT NULL,
  started_us  bigint NOT NULL,
  finished_us bigint,
  \"binary\"    text   NOT NULL,
  min_reader  bigint NOT NULL,
  min_writer  bigint NOT NULL
)";

/// Makes the journal of steps that cannot be taken back.
pub(crate) const CREATE_MIGRATION_STEP: &str = "
CREATE TABLE IF NOT EXISTS {s}.migration_step (
  version    bigint NOT NULL,
  step       text   COLLATE \"C\" NOT NULL,
  state      bigint NOT NULL,
  written_us bigint NOT NULL,
  PRIMARY KEY (version, step)
)";

/// Makes the list of runs: who had the lock, and what was done by hand.
pub(crate) const CREATE_MIGRATION_RUN: &str = "
CREATE TABLE IF NOT EXISTS {s}.migration_run (
  generation bigint NOT NULL PRIMARY KEY,
  who        text   NOT NULL,
  note       text,
  began_us   bigint NOT NULL,
  ended_us   bigint
)";

// ---- the history, the journal and the runs ----

/// The history of migrations, by primary key.
pub(crate) const MIGRATIONS: &str = "
SELECT version, name, checksum, state, started_us, finished_us, \"binary\", min_reader, min_writer
FROM {s}.migration ORDER BY version";

/// Writes a migration's row.
pub(crate) const PUT_MIGRATION: &str = concat!(
    run!("$1"),
    ", changed AS (
  UPDATE {s}.migration SET state = $5, finished_us = $7 WHERE version = $2 AND (SELECT mine FROM run) RETURNING version
), put AS (
  INSERT INTO {s}.migration (version, name, checksum, state, started_us, finished_us, \"binary\", min_reader, min_writer)
  SELECT $2, $3, $4, $5, $6, $7, $8, $9, $10 FROM run WHERE mine AND NOT EXISTS (SELECT 1 FROM changed)
)
SELECT mine FROM run"
);

/// Deletes the rows of a version, however many there are.
pub(crate) const DELETE_MIGRATION: &str = concat!(
    run!("$1"),
    ", gone AS (DELETE FROM {s}.migration WHERE version = $2 AND (SELECT mine FROM run)) SELECT mine FROM run"
);

/// The journal of a migration, by primary key.
pub(crate) const MIGRATION_STEPS: &str =
    "SELECT step, state FROM {s}.migration_step WHERE version = $1 ORDER BY step";

/// Writes an entry of the journal.
pub(crate) const PUT_MIGRATION_STEP: &str = concat!(
    run!("$1"),
    ", changed AS (
  UPDATE {s}.migration_step SET state = $4, written_us = $5
  WHERE version = $2 AND step = $3 AND (SELECT mine FROM run) RETURNING version
), put AS (
  INSERT INTO {s}.migration_step (version, step, state, written_us)
  SELECT $2, $3, $4, $5 FROM run WHERE mine AND NOT EXISTS (SELECT 1 FROM changed)
)
SELECT mine FROM run"
);

/// Deletes an entry of the journal.
pub(crate) const DELETE_MIGRATION_STEP: &str = concat!(
    run!("$1"),
    ", gone AS (
  DELETE FROM {s}.migration_step WHERE version = $2 AND step = $3 AND (SELECT mine FROM run)
)
SELECT mine FROM run"
);

/// Begins a run.
pub(crate) const BEGIN_MIGRATION_RUN: &str = "
INSERT INTO {s}.migration_run (generation, who, began_us)
SELECT coalesce(max(generation), 0) + 1, $1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
FROM {s}.migration_run RETURNING generation";

/// Adds to what was noted of a run.
pub(crate) const NOTE_MIGRATION_RUN: &str = concat!(
    run!("$1"),
    ", noted AS (
  UPDATE {s}.migration_run SET note = coalesce(note || '; ', '') || $2
  WHERE generation = $1 AND (SELECT mine FROM run)
)
SELECT mine FROM run"
);

/// Ends a run.
pub(crate) const END_MIGRATION_RUN: &str = concat!(
    run!("$1"),
    ", ended AS (
  UPDATE {s}.migration_run SET ended_us = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
  WHERE generation = $1 AND (SELECT mine FROM run)
)
SELECT mine FROM run"
);

/// The versions of the binaries of nodes that are up, by node_state.
pub(crate) const LIVE_BINARIES: &str =
    "SELECT DISTINCT version FROM {s}.node WHERE state = 1 ORDER BY version";
