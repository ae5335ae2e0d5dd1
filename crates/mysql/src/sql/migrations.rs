//! Statements of the migration engine. Each is a transaction of its own. Those that write compare the generation of
//! their run with the highest one, so that a run that was overtaken writes nothing: zero rows.

/// Makes the history of migrations.
pub(crate) const CREATE_MIGRATION: &str = "
CREATE TABLE IF NOT EXISTS punctual_migration (
  version     BIGINT NOT NULL PRIMARY KEY,
  name        LONGTEXT NOT NULL,
  checksum    BIGINT NOT NULL,
  state       BIGINT NOT NULL,
  started_us  BIGINT NOT NULL,
  finished_us BIGINT,
  `binary`    LONGTEXT NOT NULL,
  min_reader  BIGINT NOT NULL,
  min_writer  BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Makes the journal of steps.
pub(crate) const CREATE_MIGRATION_STEP: &str = "
CREATE TABLE IF NOT EXISTS punctual_migration_step (
  version    BIGINT NOT NULL,
  step       VARBINARY(200) NOT NULL,
  state      BIGINT NOT NULL,
  written_us BIGINT NOT NULL,
  PRIMARY KEY (version, step)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Makes the list of runs: who had the lock, and what was done by hand. The highest generation is the run whose writes
/// count.
pub(crate) const CREATE_MIGRATION_RUN: &str = "
CREATE TABLE IF NOT EXISTS punctual_migration_run (
  generation BIGINT NOT NULL PRIMARY KEY,
  who        LONGTEXT NOT NULL,
  step       LONGTEXT,
  note       LONGTEXT,
  began_us   BIGINT NOT NULL,
  ended_us   BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";

/// Takes the lock of migrations, waiting some seconds for it. 0: somebody else has it. Null: the server gave up.
pub(crate) const GET_LOCK: &str = "SELECT GET_LOCK(?, ?)";

/// Whether this connection still has the lock. Not 1: it has lost it.
pub(crate) const HAS_LOCK: &str = "SELECT IFNULL(IS_USED_LOCK(?) = CONNECTION_ID(), 0)";

/// Gives the lock of migrations back.
pub(crate) const RELEASE_LOCK: &str = "DO RELEASE_LOCK(?)";

/// Lets the statements of a run take as long as they need.
pub(crate) const WITHOUT_LIMIT_ON_MARIADB: &str = "SET SESSION max_statement_time = 0";

/// Whether the tables of the engine are there: the name of one of them.
pub(crate) const HAS_TABLE: &str =
    "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?";

/// The history of migrations, by primary key.
pub(crate) const MIGRATIONS: &str = "
SELECT version, name, checksum, state, started_us, finished_us, `binary`, min_reader, min_writer
FROM punctual_migration ORDER BY version";

/// Writes a migration's row, by primary key: a new one, or state and end of one that is there.
pub(crate) const PUT_MIGRATION: &str = "
INSERT INTO punctual_migration (version, name, checksum, state, started_us, finished_us, `binary`, min_reader,
  min_writer)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? FROM (SELECT MAX(generation) AS highest FROM punctual_migration_run) r
WHERE r.highest = ? ON DUPLICATE KEY UPDATE state = ?, finished_us = ?";

/// Deletes the rows of a version, however many there are.
pub(crate) const DELETE_MIGRATION: &str = "
DELETE FROM punctual_migration WHERE version = ? AND (SELECT MAX(generation) FROM punctual_migration_run) = ?";

/// The journal of a migration, by primary key.
pub(crate) const MIGRATION_STEPS: &str =
    "SELECT step, state FROM punctual_migration_step WHERE version = ? ORDER BY step";

/// Writes an entry of the journal, by primary key.
pub(crate) const PUT_MIGRATION_STEP: &str = "
INSERT INTO punctual_migration_step (version, step, state, written_us)
SELECT ?, ?, ?, ? FROM (SELECT MAX(generation) AS highest FROM punctual_migration_run) r
WHERE r.highest = ? ON DUPLICATE KEY UPDATE state = ?, written_us = ?";

/// Deletes an entry of the journal, by primary key.
pub(crate) const DELETE_MIGRATION_STEP: &str = "
DELETE FROM punctual_migration_step
WHERE version = ? AND step = ? AND (SELECT MAX(generation) FROM punctual_migration_run) = ?";

/// The highest generation; 0 if there was no run yet.
pub(crate) const HIGHEST_GENERATION: &str = "SELECT IFNULL(MAX(generation), 0) FROM punctual_migration_run";

/// Begins a run. A breach of its key means that another run has begun.
pub(crate) const BEGIN_MIGRATION_RUN: &str =
    "INSERT INTO punctual_migration_run (generation, who, began_us) VALUES (?, ?, ?)";

/// Says at which step a run is, by primary key.
pub(crate) const STEP_OF_MIGRATION_RUN: &str = "
UPDATE punctual_migration_run SET step = ? WHERE generation = ?
  AND generation = (SELECT r.highest FROM (SELECT MAX(generation) AS highest FROM punctual_migration_run) r)";

/// Adds to what was noted of a run, by primary key.
pub(crate) const NOTE_MIGRATION_RUN: &str = "
UPDATE punctual_migration_run SET note = CONCAT(IFNULL(CONCAT(note, '; '), ''), ?) WHERE generation = ?
  AND generation = (SELECT r.highest FROM (SELECT MAX(generation) AS highest FROM punctual_migration_run) r)";

/// Ends a run, by primary key.
pub(crate) const END_MIGRATION_RUN: &str =
    "UPDATE punctual_migration_run SET ended_us = ? WHERE generation = ?";

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

/// The versions of the binaries of nodes that are up, by node_state.
pub(crate) const LIVE_BINARIES: &str = "SELECT DISTINCT version FROM punctual_node WHERE state = 1";
