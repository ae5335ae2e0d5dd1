-- The tables of the foundation. Times are microseconds since 1970-01-01T00:00:00Z; `*_us` says so.
-- Codes of states, outcomes and reasons are those of punctual-core's record.rs. Keys compare byte for byte (BINARY).
-- min-reader: 1
-- min-writer: 1

-- step: meta
-- Single numbers: `epoch` grows after commits were lost, `slot_floor` is below no later slot's fence,
-- `wake_seq` grows when work becomes available to others.
CREATE TABLE meta (
  name  TEXT    NOT NULL PRIMARY KEY,
  value INTEGER NOT NULL
) STRICT, WITHOUT ROWID

-- step: meta_rows
INSERT INTO meta (name, value) VALUES ('epoch', 0), ('slot_floor', 0), ('wake_seq', 0)

-- step: node
-- One row a process start; rarely written. State: 1 up, 2 left, 3 dead.
CREATE TABLE node (
  id        INTEGER NOT NULL PRIMARY KEY,
  name      TEXT    NOT NULL,
  host      TEXT    NOT NULL,
  pid       INTEGER NOT NULL,
  version   TEXT    NOT NULL,
  zone_data TEXT    NOT NULL,
  profile   TEXT    NOT NULL,
  capacity  INTEGER NOT NULL,
  kinds     TEXT    NOT NULL,
  state     INTEGER NOT NULL,
  standby   INTEGER NOT NULL,
  gate      INTEGER NOT NULL,
  joined_us INTEGER NOT NULL,
  ended_us  INTEGER
) STRICT

-- step: node_state
CREATE INDEX node_state ON node (state, joined_us, id)

-- step: beat
-- The hot row of a node that is up.
CREATE TABLE beat (
  node_id INTEGER NOT NULL PRIMARY KEY,
  beat    INTEGER NOT NULL,
  seen_us INTEGER NOT NULL
) STRICT

-- step: calendar
-- Times that are left out, under the name by which triggers name them.
CREATE TABLE calendar (
  name       TEXT    NOT NULL PRIMARY KEY,
  document   TEXT    NOT NULL,
  rev        INTEGER NOT NULL,
  updated_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID

-- step: definition_set
CREATE TABLE definition_set (
  name       TEXT    NOT NULL PRIMARY KEY,
  revision   INTEGER NOT NULL,
  hash       INTEGER NOT NULL,
  written_by TEXT    NOT NULL,
  rev        INTEGER NOT NULL,
  written_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID

-- step: job
-- `slot_key` is the concurrency key of `spec`, so that whoever frees a slot finds the triggers that wait for it.
CREATE TABLE job (
  id              INTEGER NOT NULL PRIMARY KEY,
  group_name      TEXT    NOT NULL,
  name            TEXT    NOT NULL,
  kind            TEXT    NOT NULL,
  description     TEXT,
  spec            TEXT    NOT NULL,
  payload_codec   TEXT    NOT NULL,
  payload_version INTEGER NOT NULL,
  payload_data    BLOB    NOT NULL,
  priority        INTEGER NOT NULL,
  durable         INTEGER NOT NULL,
  set_name        TEXT,
  rev             INTEGER NOT NULL,
  created_us      INTEGER NOT NULL,
  slot_key        TEXT
) STRICT

-- step: job_key
CREATE UNIQUE INDEX job_key ON job (group_name, name)

-- step: job_set
CREATE INDEX job_set ON job (set_name) WHERE set_name IS NOT NULL

-- step: job_slot
CREATE INDEX job_slot ON job (slot_key) WHERE slot_key IS NOT NULL

-- step: trigger
-- State: 1 active, 2 complete, 3 error. Parked if and only if wake_us > next_fire_us.
-- `kind` and `rank` (job plus trigger priority) are copies from the job, so that one index gives what is due in order.
-- `calendar` is the name in `spec`, so that a change of a calendar finds its triggers. `progress` is null if it is empty.
CREATE TABLE trigger (
  id              INTEGER NOT NULL PRIMARY KEY,
  group_name      TEXT    NOT NULL,
  name            TEXT    NOT NULL,
  job_id          INTEGER NOT NULL REFERENCES job (id),
  description     TEXT,
  spec            TEXT    NOT NULL,
  payload_codec   TEXT,
  payload_version INTEGER,
  payload_data    BLOB,
  priority        INTEGER NOT NULL,
  state           INTEGER NOT NULL,
  next_fire_us    INTEGER,
  wake_us         INTEGER,
  last_us         INTEGER,
  fires           INTEGER NOT NULL,
  fire_seq        INTEGER NOT NULL,
  generation      INTEGER NOT NULL,
  rev             INTEGER NOT NULL,
  slice           INTEGER NOT NULL,
  error           TEXT,
  set_name        TEXT,
  hash            INTEGER NOT NULL,
  created_us      INTEGER NOT NULL,
  progress        TEXT,
  calendar        TEXT,
  kind            TEXT    NOT NULL,
  rank            INTEGER NOT NULL,
  completed_us    INTEGER
) STRICT

-- step: trigger_key
CREATE UNIQUE INDEX trigger_key ON trigger (group_name, name)

-- step: trigger_job
CREATE INDEX trigger_job ON trigger (job_id)

-- step: trigger_set
CREATE INDEX trigger_set ON trigger (set_name) WHERE set_name IS NOT NULL

-- step: trigger_calendar
CREATE INDEX trigger_calendar ON trigger (calendar) WHERE calendar IS NOT NULL

-- step: trigger_due
CREATE INDEX trigger_due ON trigger (kind, wake_us, rank DESC, id, slice) WHERE state = 1

-- step: trigger_parked
-- Holds parked triggers only, so that freeing a slot costs nothing where nobody waits.
CREATE INDEX trigger_parked ON trigger (job_id, next_fire_us, rank DESC, id) WHERE state = 1 AND wake_us > next_fire_us

-- step: trigger_completed
CREATE INDEX trigger_completed ON trigger (completed_us) WHERE completed_us IS NOT NULL

-- step: mark
-- The last instant of a deleted trigger, under its key.
CREATE TABLE mark (
  group_name TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  last_us    INTEGER NOT NULL,
  written_us INTEGER NOT NULL,
  PRIMARY KEY (group_name, name)
) STRICT, WITHOUT ROWID

-- step: execution
-- Live rows only. State: 1 ready, 2 claimed, 3 running, 4 held; 2 and 3 have an owner, 1 and 4 have none.
-- Parked if and only if wake_us > due_us. The id's byte order is time order.
CREATE TABLE execution (
  id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  trigger_id      INTEGER,
  generation      INTEGER,
  trigger_key     TEXT,
  job_id          INTEGER,
  job_key         TEXT,
  kind            TEXT    NOT NULL,
  scheduled_us    INTEGER NOT NULL,
  priority        INTEGER NOT NULL,
  state           INTEGER NOT NULL,
  owner           INTEGER,
  fence           INTEGER NOT NULL,
  attempt         INTEGER NOT NULL,
  losses          INTEGER NOT NULL,
  wake_us         INTEGER NOT NULL,
  slot_key        TEXT,
  slot_limit      INTEGER,
  spec            TEXT,
  payload_codec   TEXT,
  payload_version INTEGER,
  payload_data    BLOB,
  attempts        TEXT    NOT NULL,
  cancel          TEXT,
  error           TEXT,
  created_us      INTEGER NOT NULL,
  catch_up        TEXT,
  due_us          INTEGER NOT NULL,
  CHECK ((state IN (2, 3)) = (owner IS NOT NULL))
) STRICT, WITHOUT ROWID

-- step: execution_occurrence
CREATE UNIQUE INDEX execution_occurrence ON execution (trigger_id, generation, scheduled_us) WHERE trigger_id IS NOT NULL

-- step: execution_ready
CREATE INDEX execution_ready ON execution (kind, priority DESC, wake_us, id) WHERE state = 1

-- step: execution_owner
CREATE INDEX execution_owner ON execution (owner) WHERE owner IS NOT NULL

-- step: execution_parked
-- Holds parked rows only, as trigger_parked does.
CREATE INDEX execution_parked ON execution (slot_key, priority DESC, due_us, id) WHERE state = 1 AND wake_us > due_us

-- step: slot
-- One row holds one execution. `fence_seq` never goes back.
CREATE TABLE slot (
  slot_key  TEXT    NOT NULL,
  n         INTEGER NOT NULL,
  exec_id   BLOB,
  fence_seq INTEGER NOT NULL,
  PRIMARY KEY (slot_key, n)
) STRICT, WITHOUT ROWID

-- step: slot_holder
CREATE UNIQUE INDEX slot_holder ON slot (exec_id) WHERE exec_id IS NOT NULL

-- step: history
-- Append only. Outcome: 1 succeeded, 2 failed, 3 cancelled, 4 lost, 5 skipped. Reason: 1 misfire, 2 overlap.
CREATE TABLE history (
  id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  trigger_id   INTEGER,
  generation   INTEGER,
  trigger_key  TEXT,
  job_id       INTEGER,
  job_key      TEXT,
  kind         TEXT    NOT NULL,
  scheduled_us INTEGER NOT NULL,
  until_us     INTEGER,
  instants     INTEGER,
  outcome      INTEGER NOT NULL,
  reason       INTEGER,
  attempt      INTEGER NOT NULL,
  node_id      INTEGER,
  fence        INTEGER NOT NULL,
  started_us   INTEGER,
  ended_us     INTEGER NOT NULL,
  error        TEXT,
  output       TEXT,
  attempts     TEXT    NOT NULL
) STRICT, WITHOUT ROWID

-- step: history_occurrence
-- The last line of defence against firing twice.
CREATE UNIQUE INDEX history_occurrence ON history (trigger_id, generation, scheduled_us) WHERE trigger_id IS NOT NULL

-- step: history_ended
CREATE INDEX history_ended ON history (ended_us)

-- step: history_trigger
CREATE INDEX history_trigger ON history (trigger_key, id) WHERE trigger_key IS NOT NULL

-- step: history_job
CREATE INDEX history_job ON history (job_key, id) WHERE job_key IS NOT NULL

-- step: lock
-- Leases for users' own code. A released row stays, so that its fence never repeats.
CREATE TABLE lock (
  name     TEXT    NOT NULL PRIMARY KEY,
  owner    INTEGER NOT NULL,
  fence    INTEGER NOT NULL,
  until_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID
