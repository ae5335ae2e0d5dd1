//! Statements of the migration engine. Each is a transaction of its own. Those that write compare the generation of
//! their run with the highest one, so that a run that was overtaken writes nothing: zero rows.

mod own;

pub(crate) use self::own::*;

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

/// Begins a run. A breach of its key means that another run has begun.
pub(crate) const BEGIN_MIGRATION_RUN: &str =
    "INSERT INTO punctual_migration_run (generation, who, began_us) VALUES (?, ?, ?)";

/// Adds to what was noted of a run, by primary key.
pub(crate) const NOTE_MIGRATION_RUN: &str = "
UPDATE punctual_migration_run SET note = CONCAT(IFNULL(CONCAT(note, '; '), ''), ?) WHERE generation = ?
  AND generation = (SELECT r.highest FROM (SELECT MAX(generation) AS highest FROM punctual_migration_run) r)";

/// Ends a run, by primary key.
pub(crate) const END_MIGRATION_RUN: &str =
    "UPDATE punctual_migration_run SET ended_us = ? WHERE generation = ?";

/// The versions of the binaries of nodes that are up, by node_state.
pub(crate) const LIVE_BINARIES: &str = "SELECT DISTINCT version FROM punctual_node WHERE state = 1";
