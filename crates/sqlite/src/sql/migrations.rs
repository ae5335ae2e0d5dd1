//! Statements of the migration engine. All run inside its one immediate transaction, but for the first look.

mod own;

pub(crate) use self::own::*;

/// Makes the history of migrations.
pub(crate) const CREATE_MIGRATION: &str = "
CREATE TABLE IF NOT EXISTS migration (
  version     INTEGER NOT NULL PRIMARY KEY,
  name        TEXT    NOT NULL,
  checksum    INTEGER NOT NULL,
  state       INTEGER NOT NULL,
  started_us  INTEGER NOT NULL,
  finished_us INTEGER,
  binary      TEXT    NOT NULL,
  min_reader  INTEGER NOT NULL,
  min_writer  INTEGER NOT NULL
) STRICT";

/// Makes the journal of steps.
pub(crate) const CREATE_MIGRATION_STEP: &str = "
CREATE TABLE IF NOT EXISTS migration_step (
  version     INTEGER NOT NULL,
  step        TEXT    NOT NULL,
  state       INTEGER NOT NULL,
  written_us  INTEGER NOT NULL,
  PRIMARY KEY (version, step)
) STRICT, WITHOUT ROWID";

/// Makes the list of runs: who had the lock, and what was done by hand. The highest generation is the run whose writes
/// count.
pub(crate) const CREATE_MIGRATION_RUN: &str = "
CREATE TABLE IF NOT EXISTS migration_run (
  generation INTEGER NOT NULL PRIMARY KEY,
  who        TEXT    NOT NULL,
  step       TEXT,
  note       TEXT,
  began_us   INTEGER NOT NULL,
  ended_us   INTEGER
) STRICT";

/// The history of migrations, by primary key.
pub(crate) const MIGRATIONS: &str = "
SELECT version, name, checksum, state, started_us, finished_us, binary, min_reader, min_writer
FROM migration ORDER BY version";

/// Writes the row of a migration that has none.
pub(crate) const PUT_MIGRATION: &str = "
INSERT INTO migration (version, name, checksum, state, started_us, finished_us, binary, min_reader, min_writer)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Deletes the rows of a version, however many there are.
pub(crate) const DELETE_MIGRATION: &str = "DELETE FROM migration WHERE version = ?1";

/// The journal of a migration, by primary key.
pub(crate) const MIGRATION_STEPS: &str =
    "SELECT step, state FROM migration_step WHERE version = ?1 ORDER BY step";

/// Writes an entry of the journal, by primary key.
pub(crate) const PUT_MIGRATION_STEP: &str = "
INSERT INTO migration_step (version, step, state, written_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (version, step) DO UPDATE SET state = excluded.state, written_us = excluded.written_us";

/// Deletes an entry of the journal, by primary key.
pub(crate) const DELETE_MIGRATION_STEP: &str = "DELETE FROM migration_step WHERE version = ?1 AND step = ?2";

/// Begins a run.
pub(crate) const BEGIN_MIGRATION_RUN: &str = "
INSERT INTO migration_run (generation, who, began_us)
SELECT ifnull(max(generation), 0) + 1, ?1, ?2 FROM migration_run RETURNING generation";

/// Adds to what was noted of a run, by primary key.
pub(crate) const NOTE_MIGRATION_RUN: &str =
    "UPDATE migration_run SET note = ifnull(note || '; ', '') || ?2 WHERE generation = ?1";

/// Ends a run, by primary key.
pub(crate) const END_MIGRATION_RUN: &str = "UPDATE migration_run SET ended_us = ?2 WHERE generation = ?1";

/// The versions of the binaries of nodes that are up, by node_state.
pub(crate) const LIVE_BINARIES: &str = "SELECT DISTINCT version FROM node WHERE state = 1 ORDER BY version";
