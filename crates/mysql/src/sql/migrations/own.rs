//! Statements of the migration engine that the other stores do not have.

/// Takes the lock of migrations, waiting some seconds for it. 0: somebody else has it. Null: the server gave up.
pub(crate) const GET_LOCK: &str = "SELECT GET_LOCK(?, ?)";

/// Whether this connection still has the lock. Not 1: it has lost it.
pub(crate) const HAS_LOCK: &str = "SELECT IFNULL(IS_USED_LOCK(?) = CONNECTION_ID(), 0)";

/// Gives the lock of migrations back.
pub(crate) const RELEASE_NAMED_LOCK: &str = "DO RELEASE_LOCK(?)";

/// Lets the statements of a run take as long as they need.
pub(crate) const WITHOUT_LIMIT_ON_MARIADB: &str = "SET SESSION max_statement_time = 0";

/// Whether the tables of the engine are there: the name of one of them.
pub(crate) const HAS_TABLE: &str =
    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?";

/// The highest generation; 0 if there was no run yet.
pub(crate) const HIGHEST_GENERATION: &str = "SELECT IFNULL(MAX(generation), 0) FROM punctual_migration_run";

/// Whether the primary key of the history is to be made again: it is not there, and no rows stand in its way.
pub(crate) const LACKS_MIGRATION_KEY: &str = "
SELECT NOT EXISTS (SELECT 1 FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'punctual_migration' AND index_name = 'PRIMARY')
  AND NOT EXISTS (SELECT version FROM punctual_migration GROUP BY version HAVING COUNT(*) > 1)";

/// Gives the history back its primary key.
pub(crate) const ADD_MIGRATION_KEY: &str = "ALTER TABLE punctual_migration ADD PRIMARY KEY (version)";

/// Says at which step a run is, by primary key.
pub(crate) const STEP_OF_MIGRATION_RUN: &str = "
UPDATE punctual_migration_run SET step = ? WHERE generation = ?
  AND generation = (SELECT r.highest FROM (SELECT MAX(generation) AS highest FROM punctual_migration_run) r)";

/// The last run, by primary key; all null if it has ended.
pub(crate) const LAST_MIGRATION_RUN: &str = "
SELECT IF(ended_us IS NULL, who, NULL), IF(ended_us IS NULL, began_us, NULL), IF(ended_us IS NULL, step, NULL)
FROM punctual_migration_run ORDER BY generation DESC LIMIT 1";

/// The session that has the lock, as far as this user may see it.
pub(crate) const SESSION_OF_LOCK: &str = "
SELECT CONCAT('connection ', id, ' of ', user, '@', host) FROM information_schema.processlist
WHERE id = IS_USED_LOCK(?)";

/// Tables, for the fingerprint. Those of the engine itself are left out here and below.
pub(crate) const SHAPE_OF_TABLES: &str = "
SELECT table_name, engine, table_collation FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' AND table_name LIKE 'punctual!_%' ESCAPE '!'
  AND table_name NOT LIKE 'punctual!_migration%' ESCAPE '!'";

/// Columns, for the fingerprint.
pub(crate) const SHAPE_OF_COLUMNS: &str = "
SELECT table_name, column_name, column_type, is_nullable, column_default, collation_name, extra, generation_expression
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name LIKE 'punctual!_%' ESCAPE '!'
  AND table_name NOT LIKE 'punctual!_migration%' ESCAPE '!'";

/// Columns of indexes, for the fingerprint.
pub(crate) const SHAPE_OF_INDEXES: &str = "
SELECT table_name, index_name, non_unique, column_name, collation, sub_part FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name LIKE 'punctual!_%' ESCAPE '!'
  AND table_name NOT LIKE 'punctual!_migration%' ESCAPE '!' ORDER BY table_name, index_name, seq_in_index";

/// Columns of foreign keys, for the fingerprint.
pub(crate) const SHAPE_OF_FOREIGN_KEYS: &str = "
SELECT table_name, constraint_name, column_name, referenced_table_name, referenced_column_name
FROM information_schema.key_column_usage
WHERE table_schema = DATABASE() AND table_name LIKE 'punctual!_%' ESCAPE '!' AND referenced_table_name IS NOT NULL
ORDER BY table_name, constraint_name, ordinal_position";
