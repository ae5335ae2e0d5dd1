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

/// The number under which the migrations of this schema are locked.
macro_rules! key {
    () => {
        "hashtextextended('punctual migrate ' || current_database() || '/{s}', 0)"
    };
}

/// The entries of `pg_locks` for it; `$l` is their alias.
macro_rules! entries {
    () => {
        concat!(
            "FROM pg_locks l WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND (l.classid::bigint << 32 | l.objid::bigint) = ",
            key!()
        )
    };
}

// ---- tables of the engine ----

/// Makes the schema. Not `IF NOT EXISTS` alone: that asks for the right to create one even where it is there already.
pub(crate) const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS {s}";

/// Whether the schema is there.
pub(crate) const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = '{s}')";

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

/// Whether the history of migrations is there.
pub(crate) const HAS_MIGRATION: &str = "SELECT to_regclass('{s}.migration') IS NOT NULL";

/// Whether the journal of steps is there.
pub(crate) const HAS_MIGRATION_STEP: &str = "SELECT to_regclass('{s}.migration_step') IS NOT NULL";

/// Whether the list of runs is there.
pub(crate) const HAS_MIGRATION_RUN: &str = "SELECT to_regclass('{s}.migration_run') IS NOT NULL";

/// Whether nothing is to be done about the primary key of the history: it is there, or rows stand in its way.
pub(crate) const HAS_MIGRATION_KEY: &str = "
SELECT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = to_regclass('{s}.migration') AND i.indisprimary)
  OR EXISTS (SELECT 1 FROM {s}.migration m GROUP BY m.version HAVING count(*) > 1)";

/// Gives the history back its primary key.
pub(crate) const ADD_MIGRATION_KEY: &str = "ALTER TABLE {s}.migration ADD PRIMARY KEY (version)";

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

// ---- the lock ----

/// Takes the lock of migrations for the transaction, if nobody holds it. Never waits: a transaction that waits for it
/// holds a snapshot, and deadlocks with an index that is built concurrently.
pub(crate) const TRY_LOCK: &str = concat!("SELECT pg_try_advisory_xact_lock(", key!(), ")");

/// The same for the session.
pub(crate) const TRY_SESSION_LOCK: &str = concat!("SELECT pg_try_advisory_lock(", key!(), ")");

/// Gives up the lock of the session.
pub(crate) const SESSION_UNLOCK: &str = concat!("SELECT pg_advisory_unlock(", key!(), ")");

/// Whether the server process that answers holds the lock.
pub(crate) const OWNS_LOCK: &str =
    concat!("SELECT EXISTS (SELECT 1 ", entries!(), " AND l.pid = pg_backend_pid())");

/// Who holds the lock, and since when.
pub(crate) const LOCK_HOLDER: &str = concat!(
    "
SELECT concat_ws(', ', nullif(a.application_name, ''), 'from ' || host(a.client_addr), 'server process ' || p.pid),
  (extract(epoch FROM coalesce(a.xact_start, a.query_start)) * 1000000)::bigint
FROM (SELECT l.pid ",
    entries!(),
    " LIMIT 1) p LEFT JOIN pg_stat_activity a ON a.pid = p.pid"
);

/// The step that an online run is at.
pub(crate) const CURRENT_STEP: &str =
    "SELECT step FROM {s}.migration_step WHERE state = 1 ORDER BY written_us DESC LIMIT 1";

/// The oldest transactions of other sessions in this database: those that a definition most likely waits for.
pub(crate) const IN_THE_WAY: &str = "
SELECT concat_ws(', ', nullif(a.application_name, ''), 'from ' || host(a.client_addr), 'server process ' || a.pid,
  'since ' || a.xact_start)
FROM pg_stat_activity a
WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.xact_start IS NOT NULL
  AND a.backend_type = 'client backend'
ORDER BY a.xact_start LIMIT 1";

/// Lets a statement take the time that it takes, for the session. One that builds an index while others write waits for
/// all transactions that are older than itself, and nobody waits for it.
pub(crate) const LONG_STATEMENTS: &str = "SET statement_timeout = 0; SET lock_timeout = 0";

// ---- the shape of the schema ----

/// Tables, columns, indexes and constraints, as lines of a fingerprint. Tables of the engine itself are left out, and so
/// are indexes that are not whole, and the names of constraints.
pub(crate) const SHAPE: &str = "
WITH t AS MATERIALIZED (
  SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = '{s}' AND c.relkind IN ('r', 'p') AND c.relname NOT IN ('migration', 'migration_step', 'migration_run')
)
SELECT 'table ' || t.relname FROM t
UNION ALL
SELECT 'column ' || t.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
  || CASE WHEN a.attcollation <> y.typcollation THEN ' collate ' || o.collname ELSE '' END
  || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
  || coalesce(' default ' || replace(pg_get_expr(d.adbin, d.adrelid), quote_ident('{s}') || '.', ''), '')
FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_collation o ON o.oid = a.attcollation
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT 'index ' || replace(pg_get_indexdef(i.indexrelid), ' ON ' || quote_ident('{s}') || '.', ' ON ')
FROM t JOIN pg_index i ON i.indrelid = t.oid AND i.indisvalid AND i.indisready
WHERE NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'constraint ' || t.relname || ' '
  || replace(pg_get_constraintdef(c.oid), 'REFERENCES ' || quote_ident('{s}') || '.', 'REFERENCES ')
FROM t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype IN ('p', 'u', 'f', 'c', 'x')";

/// The versions of the binaries of nodes that are up, by node_state.
pub(crate) const LIVE_BINARIES: &str =
    "SELECT DISTINCT version FROM {s}.node WHERE state = 1 ORDER BY version";

/// Whether there is a table of nodes.
pub(crate) const HAS_NODES: &str = "SELECT to_regclass('{s}.node') IS NOT NULL";

/// The clock alone, for a database that has no tables yet.
pub(crate) const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
