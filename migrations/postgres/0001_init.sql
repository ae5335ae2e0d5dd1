-- The tables of the foundation. Times are microseconds since 1970-01-01T00:00:00Z; `*_us` says so.
-- Codes of states, outcomes and reasons are those of punctual-core's record.rs. Keys compare byte for byte (COLLATE "C").
-- `{s}` stands for the schema, which was checked when the store was opened.
-- min-reader: 1
-- min-writer: 1

-- step: meta
-- Single numbers: `epoch` grows after commits were lost, `slot_floor` is below no later slot's fence.
CREATE TABLE {s}.meta (
  name  text   COLLATE "C" NOT NULL PRIMARY KEY,
  value bigint NOT NULL
)

-- step: meta_rows
INSERT INTO {s}.meta (name, value) VALUES ('epoch', 0), ('slot_floor', 0)

-- step: node
-- One row a process start; rarely written. State: 1 up, 2 left, 3 dead.
CREATE TABLE {s}.node (
  id        bigint NOT NULL PRIMARY KEY,
  name      text   NOT NULL,
  host      text   NOT NULL,
  pid       bigint NOT NULL,
  version   text   NOT NULL,
  zone_data text   NOT NULL,
  profile   text   NOT NULL,
  capacity  bigint NOT NULL,
  kinds     text   NOT NULL,
  state     bigint NOT NULL,
  standby   bigint NOT NULL,
  gate      bigint NOT NULL,
  joined_us bigint NOT NULL,
  ended_us  bigint
)

-- step: node_state
CREATE INDEX node_state ON {s}.node (state, joined_us, id)

-- step: beat
-- The hot row of a node that is up. Half of each page stays free, so that a beat writes no index.
CREATE TABLE {s}.beat (
  node_id bigint NOT NULL PRIMARY KEY,
  beat    bigint NOT NULL,
  seen_us bigint NOT NULL
) WITH (fillfactor = 50)

-- step: calendar
-- Times that are left out, under the name by which triggers name them.
CREATE TABLE {s}.calendar (
  name       text   COLLATE "C" NOT NULL PRIMARY KEY,
  document   text   NOT NULL,
  rev        bigint NOT NULL,
  updated_us bigint NOT NULL
)

-- step: definition_set
CREATE TABLE {s}.definition_set (
  name       text   COLLATE "C" NOT NULL PRIMARY KEY,
  revision   bigint NOT NULL,
  hash       bigint NOT NULL,
  written_by text   NOT NULL,
  rev        bigint NOT NULL,
  written_us bigint NOT NULL
)

-- step: job
-- `slot_key` is the concurrency key of `spec`, so that whoever frees a slot finds the triggers that wait for it.
CREATE TABLE {s}.job (
  id              bigint NOT NULL PRIMARY KEY,
  group_name      text   COLLATE "C" NOT NULL,
  name            text   COLLATE "C" NOT NULL,
  kind            text   COLLATE "C" NOT NULL,
  description     text,
  spec            text   NOT NULL,
  payload_codec   text   NOT NULL,
  payload_version bigint NOT NULL,
  payload_data    bytea  NOT NULL,
  priority        bigint NOT NULL,
  durable         bigint NOT NULL,
  set_name        text   COLLATE "C",
  rev             bigint NOT NULL,
  created_us      bigint NOT NULL,
  slot_key        text   COLLATE "C"
)

-- step: job_key
CREATE UNIQUE INDEX job_key ON {s}.job (group_name, name)

-- step: job_set
CREATE INDEX job_set ON {s}.job (set_name) WHERE set_name IS NOT NULL

-- step: job_slot
CREATE INDEX job_slot ON {s}.job (slot_key) WHERE slot_key IS NOT NULL

-- step: trigger
-- State: 1 active, 2 complete, 3 error. Parked if and only if wake_us > next_fire_us.
-- `kind` and `rank` (job plus trigger priority) are copies from the job, so that one index gives what is due in order.
-- `calendar` is the name in `spec`, so that a change of a calendar finds its triggers. `progress` is null if it is empty.
CREATE TABLE {s}.trigger (
  id              bigint NOT NULL PRIMARY KEY,
  group_name      text   COLLATE "C" NOT NULL,
  name            text   COLLATE "C" NOT NULL,
  job_id          bigint NOT NULL REFERENCES {s}.job (id),
  description     text,
  spec            text   NOT NULL,
  payload_codec   text,
  payload_version bigint,
  payload_data    bytea,
  priority        bigint NOT NULL,
  state           bigint NOT NULL,
  next_fire_us    bigint,
  wake_us         bigint,
  last_us         bigint,
  fires           bigint NOT NULL,
  fire_seq        bigint NOT NULL,
  generation      bigint NOT NULL,
  rev             bigint NOT NULL,
  slice           bigint NOT NULL,
  error           text,
  set_name        text   COLLATE "C",
  hash            bigint NOT NULL,
  created_us      bigint NOT NULL,
  progress        text,
  calendar        text   COLLATE "C",
  kind            text   COLLATE "C" NOT NULL,
  rank            bigint NOT NULL,
  completed_us    bigint
)

-- step: trigger_key
CREATE UNIQUE INDEX trigger_key ON {s}.trigger (group_name, name)

-- step: trigger_job
CREATE INDEX trigger_job ON {s}.trigger (job_id)

-- step: trigger_set
CREATE INDEX trigger_set ON {s}.trigger (set_name) WHERE set_name IS NOT NULL

-- step: trigger_calendar
CREATE INDEX trigger_calendar ON {s}.trigger (calendar) WHERE calendar IS NOT NULL

-- step: trigger_due
CREATE INDEX trigger_due ON {s}.trigger (kind, wake_us, rank DESC, id, slice) WHERE state = 1

-- step: trigger_parked
-- Holds parked triggers only, so that freeing a slot costs nothing where nobody waits.
CREATE INDEX trigger_parked ON {s}.trigger (job_id, next_fire_us, rank DESC, id)
WHERE state = 1 AND wake_us > next_fire_us

-- step: trigger_completed
CREATE INDEX trigger_completed ON {s}.trigger (completed_us) WHERE completed_us IS NOT NULL

-- step: mark
-- The last instant of a deleted trigger, under its key.
CREATE TABLE {s}.mark (
  group_name text   COLLATE "C" NOT NULL,
  name       text   COLLATE "C" NOT NULL,
  last_us    bigint NOT NULL,
  written_us bigint NOT NULL,
  PRIMARY KEY (group_name, name)
)

-- step: execution
-- Live rows only. State: 1 ready, 2 claimed, 3 running, 4 held; 2 and 3 have an owner, 1 and 4 have none.
-- Parked if and only if wake_us > due_us. The id's byte order is time order. Rows live for seconds, so the table is
-- cleaned early.
CREATE TABLE {s}.execution (
  id              bytea  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  trigger_id      bigint,
  generation      bigint,
  trigger_key     text,
  job_id          bigint,
  job_key         text,
  kind            text   COLLATE "C" NOT NULL,
  scheduled_us    bigint NOT NULL,
  priority        bigint NOT NULL,
  state           bigint NOT NULL,
  owner           bigint,
  fence           bigint NOT NULL,
  attempt         bigint NOT NULL,
  losses          bigint NOT NULL,
  wake_us         bigint NOT NULL,
  slot_key        text   COLLATE "C",
  slot_limit      bigint,
  spec            text,
  payload_codec   text,
  payload_version bigint,
  payload_data    bytea,
  attempts        text   NOT NULL,
  cancel          text,
  error           text,
  created_us      bigint NOT NULL,
  catch_up        text,
  due_us          bigint NOT NULL,
  CHECK ((state IN (2, 3)) = (owner IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)

-- step: execution_occurrence
CREATE UNIQUE INDEX execution_occurrence ON {s}.execution (trigger_id, generation, scheduled_us)
WHERE trigger_id IS NOT NULL

-- step: execution_ready
CREATE INDEX execution_ready ON {s}.execution (kind, priority DESC, wake_us, id) WHERE state = 1

-- step: execution_owner
CREATE INDEX execution_owner ON {s}.execution (owner) WHERE owner IS NOT NULL

-- step: execution_parked
-- Holds parked rows only, as trigger_parked does.
CREATE INDEX execution_parked ON {s}.execution (slot_key, priority DESC, due_us, id)
WHERE state = 1 AND wake_us > due_us

-- step: slot
-- One row holds one execution. `fence_seq` never goes back.
CREATE TABLE {s}.slot (
  slot_key  text   COLLATE "C" NOT NULL,
  n         bigint NOT NULL,
  exec_id   bytea,
  fence_seq bigint NOT NULL,
  PRIMARY KEY (slot_key, n)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)

-- step: slot_holder
CREATE UNIQUE INDEX slot_holder ON {s}.slot (exec_id) WHERE exec_id IS NOT NULL

-- step: history
-- Append only. Outcome: 1 succeeded, 2 failed, 3 cancelled, 4 lost, 5 skipped. Reason: 1 misfire, 2 overlap.
CREATE TABLE {s}.history (
  id           bytea  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  trigger_id   bigint,
  generation   bigint,
  trigger_key  text   COLLATE "C",
  job_id       bigint,
  job_key      text   COLLATE "C",
  kind         text   NOT NULL,
  scheduled_us bigint NOT NULL,
  until_us     bigint,
  instants     bigint,
  outcome      bigint NOT NULL,
  reason       bigint,
  attempt      bigint NOT NULL,
  node_id      bigint,
  fence        bigint NOT NULL,
  started_us   bigint,
  ended_us     bigint NOT NULL,
  error        text,
  output       text,
  attempts     text   NOT NULL
)

-- step: history_occurrence
-- The last line of defence against firing twice.
CREATE UNIQUE INDEX history_occurrence ON {s}.history (trigger_id, generation, scheduled_us)
WHERE trigger_id IS NOT NULL

-- step: history_ended
CREATE INDEX history_ended ON {s}.history (ended_us)

-- step: history_trigger
CREATE INDEX history_trigger ON {s}.history (trigger_key, id) WHERE trigger_key IS NOT NULL

-- step: history_job
CREATE INDEX history_job ON {s}.history (job_key, id) WHERE job_key IS NOT NULL

-- step: lock
-- Leases for users' own code. A released row stays, so that its fence never repeats.
CREATE TABLE {s}.lock (
  name     text   COLLATE "C" NOT NULL PRIMARY KEY,
  owner    bigint NOT NULL,
  fence    bigint NOT NULL,
  until_us bigint NOT NULL
)
