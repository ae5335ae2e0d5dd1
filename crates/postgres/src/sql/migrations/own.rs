//! Statements of the migration engine that the other stores do not have.

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

/// Makes the schema. Not `IF NOT EXISTS` alone: that asks for the right to create one even where it is there already.
pub(crate) const CREATE_SCHEMA: &str = "CREATE SCHEMA IF NOT EXISTS {s}";

/// Whether the schema is there.
pub(crate) const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = '{s}')";

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

/// Tables, columns, indexes, constraints, and triggers with functions of this schema, as lines of a fingerprint. Tables of
/// the engine itself are left out, and so are indexes that are not whole, and the names of constraints.
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
FROM t JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype IN ('p', 'u', 'f', 'c', 'x')
UNION ALL
SELECT 'trigger ' || replace(pg_get_triggerdef(g.oid), quote_ident('{s}') || '.', '')
  || CASE g.tgenabled WHEN 'O' THEN '' ELSE ' disabled' END
  || ': ' || replace(btrim(regexp_replace(p.prosrc, '\\s+', ' ', 'g')), quote_ident('{s}') || '.', '')
FROM t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
JOIN pg_proc p ON p.oid = g.tgfoid JOIN pg_namespace n ON n.oid = p.pronamespace AND n.nspname = '{s}'";

/// Whether there is a table of nodes.
pub(crate) const HAS_NODES: &str = "SELECT to_regclass('{s}.node') IS NOT NULL";

/// The clock alone, for a database that has no tables yet.
pub(crate) const CLOCK: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
