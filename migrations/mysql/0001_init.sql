-- The tables of the foundation. Times are microseconds since 1970-01-01T00:00:00Z; `*_us` says so.
-- Codes of states, outcomes and reasons are those of punctual-core's record.rs. Names and keys are VARBINARY: MySQL and
-- MariaDB share no text collation that compares byte for byte and tells trailing blanks apart.
-- All tables begin with `punctual_`, so that they can stand beside those of an application, whose transactions may then
-- hold both. There are no partial indexes here: an index leads with the state, or with a generated column that is null
-- where a row does not belong to it.
-- min-reader: 1
-- min-writer: 1

-- step: meta
-- Single numbers: `epoch` grows after commits were lost, `slot_floor` is below no later slot's fence.
CREATE TABLE punctual_meta (
  name  VARBINARY(64) NOT NULL PRIMARY KEY,
  value BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_meta'

-- step: meta_rows
INSERT INTO punctual_meta (name, value) VALUES ('epoch', 0), ('slot_floor', 0)
ON DUPLICATE KEY UPDATE value = value
-- probe:
SELECT COUNT(*) FROM punctual_meta WHERE name = 'slot_floor'

-- step: node
-- One row a process start; rarely written, and locked shared by each claim. State: 1 up, 2 left, 3 dead.
CREATE TABLE punctual_node (
  id        BIGINT NOT NULL PRIMARY KEY,
  name      LONGTEXT NOT NULL,
  host      LONGTEXT NOT NULL,
  pid       BIGINT NOT NULL,
  version   LONGTEXT NOT NULL,
  zone_data LONGTEXT NOT NULL,
  profile   LONGTEXT NOT NULL,
  capacity  BIGINT NOT NULL,
  kinds     LONGTEXT NOT NULL,
  state     BIGINT NOT NULL,
  standby   BIGINT NOT NULL,
  gate      BIGINT NOT NULL,
  joined_us BIGINT NOT NULL,
  ended_us  BIGINT
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_node'

-- step: node_state
CREATE INDEX node_state ON punctual_node (state, joined_us, id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_node' AND index_name = 'node_state'

-- step: beat
-- The hot row of a node that is up.
CREATE TABLE punctual_beat (
  node_id BIGINT NOT NULL PRIMARY KEY,
  beat    BIGINT NOT NULL,
  seen_us BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_beat'

-- step: calendar
-- Times that are left out, under the name by which triggers name them.
CREATE TABLE punctual_calendar (
  name       VARBINARY(200) NOT NULL PRIMARY KEY,
  document   LONGTEXT NOT NULL,
  rev        BIGINT NOT NULL,
  updated_us BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_calendar'

-- step: definition_set
CREATE TABLE punctual_definition_set (
  name       VARBINARY(512) NOT NULL PRIMARY KEY,
  revision   BIGINT NOT NULL,
  hash       BIGINT NOT NULL,
  written_by LONGTEXT NOT NULL,
  rev        BIGINT NOT NULL,
  written_us BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_definition_set'

-- step: job
-- `slot_key` is the concurrency key of `spec`; triggers keep a copy of it.
CREATE TABLE punctual_job (
  id              BIGINT NOT NULL PRIMARY KEY,
  group_name      VARBINARY(200) NOT NULL,
  name            VARBINARY(200) NOT NULL,
  kind            VARBINARY(200) NOT NULL,
  description     LONGTEXT,
  spec            LONGTEXT NOT NULL,
  payload_codec   LONGTEXT NOT NULL,
  payload_version BIGINT NOT NULL,
  payload_data    LONGBLOB NOT NULL,
  priority        BIGINT NOT NULL,
  durable         BIGINT NOT NULL,
  set_name        VARBINARY(512),
  rev             BIGINT NOT NULL,
  created_us      BIGINT NOT NULL,
  slot_key        VARBINARY(410)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_job'

-- step: job_key
CREATE UNIQUE INDEX job_key ON punctual_job (group_name, name)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_job' AND index_name = 'job_key'

-- step: job_set
CREATE INDEX job_set ON punctual_job (set_name)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_job' AND index_name = 'job_set'

-- step: job_slot
CREATE INDEX job_slot ON punctual_job (slot_key)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_job' AND index_name = 'job_slot'

-- step: trigger
-- State: 1 active, 2 complete, 3 error. Parked if and only if wake_us > next_fire_us; `parked` is 1 then, and null else.
-- `kind`, `urgency` (minus the priorities of job and trigger, so that ascending order is high first) and `slot_key` are
-- copies from the job, so that one index gives what is due in order, and one what waits for a slot.
-- `calendar` is the name in `spec`, so that a change of a calendar finds its triggers. `progress` is null if it is empty.
CREATE TABLE punctual_trigger (
  id              BIGINT NOT NULL PRIMARY KEY,
  group_name      VARBINARY(200) NOT NULL,
  name            VARBINARY(200) NOT NULL,
  job_id          BIGINT NOT NULL,
  description     LONGTEXT,
  spec            LONGTEXT NOT NULL,
  payload_codec   LONGTEXT,
  payload_version BIGINT,
  payload_data    LONGBLOB,
  priority        BIGINT NOT NULL,
  state           BIGINT NOT NULL,
  next_fire_us    BIGINT,
  wake_us         BIGINT,
  last_us         BIGINT,
  fires           BIGINT NOT NULL,
  fire_seq        BIGINT NOT NULL,
  generation      BIGINT NOT NULL,
  rev             BIGINT NOT NULL,
  slice           BIGINT NOT NULL,
  error           LONGTEXT,
  set_name        VARBINARY(512),
  hash            BIGINT NOT NULL,
  created_us      BIGINT NOT NULL,
  progress        LONGTEXT,
  calendar        VARBINARY(200),
  kind            VARBINARY(200) NOT NULL,
  urgency         BIGINT NOT NULL,
  slot_key        VARBINARY(410),
  completed_us    BIGINT,
  parked          BIGINT GENERATED ALWAYS AS (CASE WHEN state = 1 AND wake_us > next_fire_us THEN 1 END) STORED,
  CONSTRAINT punctual_trigger_job FOREIGN KEY (job_id) REFERENCES punctual_job (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger'

-- step: trigger_key
CREATE UNIQUE INDEX trigger_key ON punctual_trigger (group_name, name)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_key'

-- step: trigger_job
CREATE INDEX trigger_job ON punctual_trigger (job_id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_job'

-- step: trigger_set
CREATE INDEX trigger_set ON punctual_trigger (set_name)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_set'

-- step: trigger_calendar
CREATE INDEX trigger_calendar ON punctual_trigger (calendar)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_calendar'

-- step: trigger_due
CREATE INDEX trigger_due ON punctual_trigger (state, kind, wake_us, urgency, id, slice)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_due'

-- step: trigger_parked
-- What is parked stands together, so that freeing a slot costs nothing where nobody waits.
CREATE INDEX trigger_parked ON punctual_trigger (parked, slot_key, next_fire_us, urgency, id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_parked'

-- step: trigger_completed
CREATE INDEX trigger_completed ON punctual_trigger (completed_us)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_trigger' AND index_name = 'trigger_completed'

-- step: mark
-- The last instant of a deleted trigger, under its key.
CREATE TABLE punctual_mark (
  group_name VARBINARY(200) NOT NULL,
  name       VARBINARY(200) NOT NULL,
  last_us    BIGINT NOT NULL,
  written_us BIGINT NOT NULL,
  PRIMARY KEY (group_name, name)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_mark'

-- step: execution
-- Live rows only. State: 1 ready, 2 claimed, 3 running, 4 held; 2 and 3 have an owner, 1 and 4 have none.
-- Parked if and only if it is ready and wake_us > due_us; `parked` is 1 then, and null else. The id's byte order is time
-- order. `urgency` is minus the priority.
CREATE TABLE punctual_execution (
  id              BINARY(16) NOT NULL PRIMARY KEY,
  trigger_id      BIGINT,
  generation      BIGINT,
  trigger_key     VARBINARY(401),
  job_id          BIGINT,
  job_key         VARBINARY(401),
  kind            VARBINARY(200) NOT NULL,
  scheduled_us    BIGINT NOT NULL,
  priority        BIGINT NOT NULL,
  state           BIGINT NOT NULL,
  owner           BIGINT,
  fence           BIGINT NOT NULL,
  attempt         BIGINT NOT NULL,
  losses          BIGINT NOT NULL,
  wake_us         BIGINT NOT NULL,
  slot_key        VARBINARY(410),
  slot_limit      BIGINT,
  spec            LONGTEXT,
  payload_codec   LONGTEXT,
  payload_version BIGINT,
  payload_data    LONGBLOB,
  attempts        LONGTEXT NOT NULL,
  cancel          LONGTEXT,
  error           LONGTEXT,
  created_us      BIGINT NOT NULL,
  catch_up        LONGTEXT,
  due_us          BIGINT NOT NULL,
  urgency         BIGINT GENERATED ALWAYS AS (-priority) STORED,
  parked          BIGINT GENERATED ALWAYS AS (CASE WHEN state = 1 AND wake_us > due_us THEN 1 END) STORED,
  CONSTRAINT punctual_execution_owned CHECK ((state IN (2, 3)) = (owner IS NOT NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_execution'

-- step: execution_occurrence
-- Rows that no trigger fired have nulls here, which are never equal.
CREATE UNIQUE INDEX execution_occurrence ON punctual_execution (trigger_id, generation, scheduled_us)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_execution' AND index_name = 'execution_occurrence'

-- step: execution_ready
CREATE INDEX execution_ready ON punctual_execution (state, kind, urgency, wake_us, id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_execution' AND index_name = 'execution_ready'

-- step: execution_owner
CREATE INDEX execution_owner ON punctual_execution (owner)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_execution' AND index_name = 'execution_owner'

-- step: execution_parked
CREATE INDEX execution_parked ON punctual_execution (parked, slot_key, urgency, due_us, id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_execution' AND index_name = 'execution_parked'

-- step: slot
-- One row holds one execution. `fence_seq` never goes back. Whoever reads or writes slots of a key holds the lock of the
-- key's row 0 until the end of the transaction.
CREATE TABLE punctual_slot (
  slot_key  VARBINARY(410) NOT NULL,
  n         BIGINT NOT NULL,
  exec_id   BINARY(16),
  fence_seq BIGINT NOT NULL,
  PRIMARY KEY (slot_key, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_slot'

-- step: slot_holder
CREATE UNIQUE INDEX slot_holder ON punctual_slot (exec_id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_slot' AND index_name = 'slot_holder'

-- step: history
-- Append only. Outcome: 1 succeeded, 2 failed, 3 cancelled, 4 lost, 5 skipped. Reason: 1 misfire, 2 overlap.
CREATE TABLE punctual_history (
  id           BINARY(16) NOT NULL PRIMARY KEY,
  trigger_id   BIGINT,
  generation   BIGINT,
  trigger_key  VARBINARY(401),
  job_id       BIGINT,
  job_key      VARBINARY(401),
  kind         VARBINARY(200) NOT NULL,
  scheduled_us BIGINT NOT NULL,
  until_us     BIGINT,
  instants     BIGINT,
  outcome      BIGINT NOT NULL,
  reason       BIGINT,
  attempt      BIGINT NOT NULL,
  node_id      BIGINT,
  fence        BIGINT NOT NULL,
  started_us   BIGINT,
  ended_us     BIGINT NOT NULL,
  error        LONGTEXT,
  output       LONGTEXT,
  attempts     LONGTEXT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_history'

-- step: history_occurrence
-- The last line of defence against firing twice.
CREATE UNIQUE INDEX history_occurrence ON punctual_history (trigger_id, generation, scheduled_us)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_history' AND index_name = 'history_occurrence'

-- step: history_ended
CREATE INDEX history_ended ON punctual_history (ended_us)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_history' AND index_name = 'history_ended'

-- step: history_trigger
CREATE INDEX history_trigger ON punctual_history (trigger_key, id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_history' AND index_name = 'history_trigger'

-- step: history_job
CREATE INDEX history_job ON punctual_history (job_key, id)
-- probe:
SELECT COUNT(*) FROM information_schema.statistics
WHERE table_schema = DATABASE() AND table_name = 'punctual_history' AND index_name = 'history_job'

-- step: lock
-- Leases for users' own code. A released row stays, so that its fence never repeats.
CREATE TABLE punctual_lock (
  name     VARBINARY(200) NOT NULL PRIMARY KEY,
  owner    BIGINT NOT NULL,
  fence    BIGINT NOT NULL,
  until_us BIGINT NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
-- probe:
SELECT COUNT(*) FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_name = 'punctual_lock'
