//! Statements that the other stores do not have: the parts of a step that goes from row to row, which costs nothing in a
//! file, and what only a file has.

pub(crate) const SAVEPOINT: &str = "SAVEPOINT plan";

pub(crate) const SAVEPOINT_KEEP: &str = "RELEASE plan";

pub(crate) const SAVEPOINT_UNDO: &str = "ROLLBACK TO plan";

/// The part of one of several steps that share a transaction.
pub(crate) const SAVEPOINT_STEP: &str = "SAVEPOINT step";

pub(crate) const SAVEPOINT_STEP_KEEP: &str = "RELEASE step";

pub(crate) const SAVEPOINT_STEP_UNDO: &str = "ROLLBACK TO step";

/// Whether an id was ever used and is still remembered, by two primary keys.
pub(crate) const KNOWS_EXECUTION: &str =
    "SELECT EXISTS (SELECT 1 FROM execution WHERE id = ?1) OR EXISTS (SELECT 1 FROM history WHERE id = ?1)";

/// Whether an occurrence is there already, by execution_occurrence and history_occurrence.
pub(crate) const KNOWS_OCCURRENCE: &str = "
SELECT EXISTS (SELECT 1 FROM execution WHERE trigger_id = ?1 AND generation = ?2 AND scheduled_us = ?3)
    OR EXISTS (SELECT 1 FROM history WHERE trigger_id = ?1 AND generation = ?2 AND scheduled_us = ?3)";

/// Whether a job is there, by primary key.
pub(crate) const KNOWS_JOB: &str = "SELECT EXISTS (SELECT 1 FROM job WHERE id = ?1)";

/// Whether the history has an id or an occurrence, by its primary key and history_occurrence. Live rows that have one of
/// them refuse another by themselves. This is not a condition of the statement that inserts: SQLite would copy each page
/// that it changes first.
pub(crate) const KNOWS_FIRING: &str = "
SELECT EXISTS (SELECT 1 FROM history WHERE id = ?1)
    OR EXISTS (SELECT 1 FROM history WHERE trigger_id = ?2 AND generation = ?3 AND scheduled_us = ?4)";

/// Inserts a live row that is not parked. A breach of the primary key or of execution_occurrence is an error.
pub(crate) const INSERT_EXECUTION: &str = "
INSERT INTO execution (id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, priority, state,
  owner, fence, attempt, losses, wake_us, slot_key, slot_limit, spec, payload_codec, payload_version, payload_data,
  attempts, cancel, error, created_us, catch_up, due_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
  ?24, ?25, ?26, ?15)";

/// How many slots of a key are held, by its primary key, and whether a row waits for one, by execution_parked.
pub(crate) const SLOTS_HELD: &str = "
SELECT (SELECT count(*) FROM slot WHERE slot_key = ?1 AND exec_id IS NOT NULL),
  EXISTS (SELECT 1 FROM execution WHERE slot_key = ?1 AND state = 1 AND wake_us > due_us)";

/// All that a node needs to know once an interval, in rows of three sorts behind the time and the epoch: the nodes that are
/// up by node_state and the node itself, its live rows and the owners that are not up by execution_owner.
pub(crate) const CHECKED_IN: &str = concat!(
    "SELECT ",
    clock!(),
    ", (SELECT value FROM meta WHERE name = 'epoch'), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
UNION ALL SELECT NULL, NULL, ",
    node_columns!(),
    ", NULL, NULL, NULL, NULL, NULL FROM node n LEFT JOIN beat b ON b.node_id = n.id WHERE n.state = 1
UNION ALL SELECT NULL, NULL, ",
    node_columns!(),
    ", NULL, NULL, NULL, NULL, NULL FROM node n LEFT JOIN beat b ON b.node_id = n.id WHERE n.id = ?1 AND n.state <> 1
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  e.id, e.fence, e.attempt, e.cancel, NULL FROM execution e WHERE e.owner = ?1
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, g.owner FROM (SELECT DISTINCT e.owner FROM execution e
    WHERE e.owner IS NOT NULL AND e.owner NOT IN (SELECT id FROM node WHERE state = 1)) g"
);

/// Whether a node is up, by primary key.
pub(crate) const IS_UP: &str = "SELECT EXISTS (SELECT 1 FROM node WHERE id = ?1 AND state = 1)";

/// Deletes a beat, by primary key.
pub(crate) const DELETE_BEAT: &str = "DELETE FROM beat WHERE node_id = ?1";

/// Raises the epoch, by primary key. Zero rows: it is that high already.
pub(crate) const RAISE_EPOCH: &str = "UPDATE meta SET value = ?1 WHERE name = 'epoch' AND value < ?1";

/// Deletes all beats: only nodes that are up have one.
pub(crate) const DELETE_BEATS: &str = "DELETE FROM beat";

/// Marks all nodes that are up dead, by node_state.
pub(crate) const END_NODES_UP: &str = "UPDATE node SET state = 3, ended_us = ?1 WHERE state = 1";

/// The time, a node's gate, when its first trigger wakes, by one probe of trigger_due a kind, and whether it has any ready
/// row, by one probe of execution_ready a kind. That is all that a node without work asks.
pub(crate) const GLANCE: &str = concat!(
    "SELECT ",
    clock!(),
    ", (SELECT gate FROM node WHERE id = ?2),
  (SELECT min((SELECT d.wake_us FROM trigger d WHERE d.kind = k.value AND d.state = 1 AND d.wake_us IS NOT NULL
    ORDER BY d.wake_us LIMIT 1)) FROM json_each(?1) k),
  EXISTS (SELECT 1 FROM json_each(?1) k CROSS JOIN execution e ON e.state = 1 AND e.kind = k.value)"
);

/// The earliest wake after now of active triggers, one probe of trigger_due a kind. Null: there is none.
pub(crate) const NEXT_WAKE_OF_TRIGGERS: &str = "
SELECT min((SELECT d.wake_us FROM trigger d WHERE d.kind = k.value AND d.state = 1 AND d.wake_us > ?2
  ORDER BY d.wake_us LIMIT 1)) FROM json_each(?1) k";

/// For each kind and priority of ready rows one probe of execution_ready for what is due, and one for what comes next.
/// Rows of one priority are thus skipped in one step, however many of them wait for their time.
pub(crate) const NEXT_WAKE_OF_READY: &str = "
WITH RECURSIVE level (kind, priority) AS (
  SELECT k.value, (SELECT e.priority FROM execution e WHERE e.state = 1 AND e.kind = k.value
    ORDER BY e.priority DESC LIMIT 1) FROM json_each(?1) k
  UNION ALL
  SELECT l.kind, (SELECT e.priority FROM execution e
    WHERE e.state = 1 AND e.kind = l.kind AND e.priority < l.priority ORDER BY e.priority DESC LIMIT 1)
  FROM level l WHERE l.priority IS NOT NULL)
SELECT min((SELECT e.wake_us FROM execution e WHERE e.state = 1 AND e.kind = l.kind AND e.priority = l.priority
    AND e.wake_us > ?2 ORDER BY e.wake_us LIMIT 1)),
  ifnull(max(EXISTS (SELECT 1 FROM execution e WHERE e.state = 1 AND e.kind = l.kind AND e.priority = l.priority
    AND e.wake_us <= ?2)), 0)
FROM level l WHERE l.priority IS NOT NULL";

/// Whether a node may claim what it planned when it saw this gate, by primary key.
pub(crate) const GATE_OPEN: &str =
    "SELECT EXISTS (SELECT 1 FROM node WHERE id = ?1 AND state = 1 AND standby = 0 AND gate = ?2)";

/// Raises the highest fence that was seen of a lock, by primary key. Zero rows: it is higher already.
pub(crate) const RAISE_LOCK_GUARD: &str = "
INSERT INTO lock_guard (name, fence) VALUES (?1, ?2)
ON CONFLICT (name) DO UPDATE SET fence = excluded.fence WHERE excluded.fence >= fence";

/// Whether the trigger of a plan is still as it was read, and is due, by primary key.
pub(crate) const IS_AS_READ: &str = "
SELECT EXISTS (SELECT 1 FROM trigger WHERE id = ?1 AND rev = ?2 AND fire_seq = ?3 AND state = 1 AND wake_us <= ?4)";

/// Moves the trigger of a plan on if it is still as it was read, and is due, by primary key. Zero rows: the plan is lost.
/// A row that could not be read is set aside without its last instant; the mark of its key must survive.
pub(crate) const PATCH_TRIGGER: &str = "
UPDATE trigger SET state = ?5, next_fire_us = ?6, wake_us = ?7, last_us = ifnull(?8, last_us), fires = fires + ?9,
  error = ?10, fire_seq = fire_seq + 1, rev = rev + 1,
  completed_us = CASE WHEN ?5 = 2 THEN ifnull(completed_us, ?4) END, progress = ?11
WHERE id = ?1 AND rev = ?2 AND fire_seq = ?3 AND state = 1 AND wake_us <= ?4";

/// The generation of a trigger, by primary key. Zero rows: it is gone.
pub(crate) const GENERATION: &str = "SELECT generation FROM trigger WHERE id = ?1";

/// Records instants that are left out, with what the trigger and its job say, by primary keys.
pub(crate) const RECORD_SKIP: &str = concat!(
    "INSERT INTO history (",
    history_columns!(),
    ") SELECT ?2, t.id, t.generation, t.group_name || '/' || t.name, j.id, j.group_name || '/' || j.name, j.kind, ?3, ?4,
  ?5, 5, ?6, 0, NULL, 0, NULL, ?7, NULL, NULL, '[]' FROM trigger t JOIN job j ON j.id = t.job_id WHERE t.id = ?1"
);

/// The slot of a key that an execution holds, by slot_holder. Zero rows: it holds none.
pub(crate) const HELD_SLOT: &str = "SELECT n FROM slot WHERE exec_id = ?2 AND slot_key = ?1";

/// The first slot of a key that is free or not made yet, by primary key. Null: as many as the limit says are held.
pub(crate) const FREE_SLOT: &str = "
SELECT min(c.n) FROM (
  SELECT 0 AS n UNION ALL SELECT n FROM slot WHERE slot_key = ?1 AND exec_id IS NULL
  UNION ALL SELECT n + 1 FROM slot WHERE slot_key = ?1) c
WHERE c.n < ?2
  AND NOT EXISTS (SELECT 1 FROM slot s WHERE s.slot_key = ?1 AND s.n = c.n AND s.exec_id IS NOT NULL)
  AND (SELECT count(*) FROM slot s WHERE s.slot_key = ?1 AND s.exec_id IS NOT NULL) < ?2";

/// Makes or takes a slot, by primary key; its fence grows, and is above that of the execution's last claim.
pub(crate) const TAKE_SLOT: &str = "
INSERT INTO slot (slot_key, n, exec_id, fence_seq)
VALUES (?1, ?2, ?3, max((SELECT value FROM meta WHERE name = 'slot_floor'), ?4) + 1)
ON CONFLICT (slot_key, n) DO UPDATE SET exec_id = excluded.exec_id, fence_seq = max(fence_seq, ?4) + 1
RETURNING fence_seq";

/// Ready rows whose time has come: for each kind and priority, as in NEXT_WAKE_OF_READY, at most `limit` entries of
/// execution_ready in its order; then the best of all kinds. Zero rows: nothing is ready.
pub(crate) const READY: &str = "
WITH RECURSIVE level (kind, priority) AS (
  SELECT k.value, (SELECT e.priority FROM execution e WHERE e.state = 1 AND e.kind = k.value
    ORDER BY e.priority DESC LIMIT 1) FROM json_each(?1) k
  UNION ALL
  SELECT l.kind, (SELECT e.priority FROM execution e
    WHERE e.state = 1 AND e.kind = l.kind AND e.priority < l.priority ORDER BY e.priority DESC LIMIT 1)
  FROM level l WHERE l.priority IS NOT NULL)
SELECT e.id, e.slot_key, e.slot_limit, e.fence FROM level l CROSS JOIN execution e ON e.id IN (
  SELECT r.id FROM execution r WHERE r.state = 1 AND r.kind = l.kind AND r.priority = l.priority AND r.wake_us <= ?2
  ORDER BY r.wake_us, r.id LIMIT ?3)
WHERE l.priority IS NOT NULL ORDER BY e.priority DESC, e.wake_us, e.id LIMIT ?3";

/// Moves a row that found its slot taken out of the way, by primary key. Only `wake_us` moves: that makes it parked.
pub(crate) const PARK_READY: &str = "UPDATE execution SET wake_us = ?2 WHERE id = ?1";

/// A live row with what it inherits, by primary keys.
pub(crate) const WORK: &str = concat!("SELECT ", work_columns!(), work_tables!(), "WHERE e.id = ?1");

/// Whether anything holds a slot, by slot_holder.
pub(crate) const SLOT_IS_HELD: &str = "SELECT EXISTS (SELECT 1 FROM slot WHERE exec_id IS NOT NULL)";

/// Deletes a row whose execution has ended, by primary key. Zero rows: it has moved on, or is gone. It answers with
/// nothing else: SQLite makes a table for what a statement returns, which would be a tenth of what a firing costs.
pub(crate) const SETTLE_END: &str = "DELETE FROM execution WHERE id = ?1 AND owner = ?2 AND fence = ?3";

/// Appends to the history. Zero rows: the id or the occurrence is there already.
pub(crate) const INSERT_HISTORY: &str = concat!(
    "INSERT INTO history (",
    history_columns!(),
    ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
ON CONFLICT DO NOTHING"
);

/// Puts a row back, by primary key. Zero rows: it has moved on, or is gone.
pub(crate) const SETTLE_BACK: &str = "
UPDATE execution SET state = ?4, owner = NULL, wake_us = ?5, due_us = ?5, attempt = ?6, losses = ?7, attempts = ?8,
  error = ?9 WHERE id = ?1 AND owner = ?2 AND fence = ?3";

/// How often something became available.
pub(crate) const WAKE_SEQ: &str = "SELECT value FROM meta WHERE name = 'wake_seq'";

/// Changes when another connection has committed; cheap.
pub(crate) const DATA_VERSION: &str = "PRAGMA data_version";

/// How many pages the log has, and how many of them are written back. Does nothing.
pub(crate) const LOG_LENGTH: &str = "PRAGMA wal_checkpoint(NOOP)";

/// Writes back what nobody reads from the log any more.
pub(crate) const WRITE_BACK: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// Writes back all of the log, and waits until nobody reads from it, so that the next commit begins it anew. Who writes
/// waits meanwhile.
pub(crate) const BEGIN_ANEW: &str = "PRAGMA wal_checkpoint(RESTART)";

pub(crate) const BEGIN_READ: &str = "BEGIN DEFERRED";

/// Live rows of a job that nobody owns. Scans, as LEAVE_JOB.
pub(crate) const UNOWNED_OF_JOB: &str =
    "SELECT id FROM execution WHERE job_id = ?1 AND owner IS NULL ORDER BY id";

/// Asks the owners of a job's live rows to stop them. Scans, as LEAVE_JOB.
pub(crate) const CANCEL_OWNED_OF_JOB: &str =
    "UPDATE execution SET cancel = ifnull(cancel, ?2) WHERE job_id = ?1 AND owner IS NOT NULL";

/// Wakes the best parked row of a key, by execution_parked. Zero rows: none is parked.
pub(crate) const WAKE_READY: &str = "
UPDATE execution SET wake_us = due_us WHERE id = (
  SELECT e.id FROM execution e WHERE e.slot_key = ?1 AND e.state = 1 AND e.wake_us > e.due_us
  ORDER BY e.priority DESC, e.due_us, e.id LIMIT 1)";

/// Wakes the first parked trigger of a key, by job_slot and one probe of trigger_parked a job. Zero rows: none is
/// parked.
pub(crate) const WAKE_TRIGGER: &str = "
UPDATE trigger SET wake_us = next_fire_us, rev = rev + 1 WHERE id = (
  SELECT t.id FROM job j CROSS JOIN trigger t ON t.id = (
    SELECT p.id FROM trigger p WHERE p.job_id = j.id AND p.state = 1 AND p.wake_us > p.next_fire_us
    ORDER BY p.next_fire_us, p.rank DESC, p.id LIMIT 1)
  WHERE j.slot_key = ?1 ORDER BY t.next_fire_us, t.rank DESC, t.id LIMIT 1)";

/// Keys that work waits for although they have a free slot, and how many they have. Goes from key to key in
/// execution_parked, and from job to job in trigger_parked; then counts by the primary key of slot, as the plus sign sees
/// to. So it costs the same however many wait for one key, and nothing for keys and jobs that nobody waits for.
pub(crate) const WAITING_KEYS: &str = "
WITH RECURSIVE parked (slot_key) AS (
  SELECT (SELECT e.slot_key FROM execution e WHERE e.state = 1 AND e.wake_us > e.due_us AND e.slot_key > ''
    ORDER BY e.slot_key LIMIT 1)
  UNION ALL
  SELECT (SELECT e.slot_key FROM execution e WHERE e.state = 1 AND e.wake_us > e.due_us AND e.slot_key > p.slot_key
    ORDER BY e.slot_key LIMIT 1)
  FROM parked p WHERE p.slot_key IS NOT NULL),
parked_jobs (job_id) AS (
  SELECT (SELECT t.job_id FROM trigger t WHERE t.state = 1 AND t.wake_us > t.next_fire_us
    AND t.job_id >= -9223372036854775808 ORDER BY t.job_id LIMIT 1)
  UNION ALL
  SELECT (SELECT t.job_id FROM trigger t WHERE t.state = 1 AND t.wake_us > t.next_fire_us AND t.job_id > p.job_id
    ORDER BY t.job_id LIMIT 1)
  FROM parked_jobs p WHERE p.job_id IS NOT NULL),
waiting (slot_key, slot_limit) AS (
  SELECT p.slot_key, (SELECT e.slot_limit FROM execution e WHERE e.slot_key = p.slot_key AND e.state = 1
    AND e.wake_us > e.due_us ORDER BY e.priority DESC, e.due_us, e.id LIMIT 1)
  FROM parked p WHERE p.slot_key IS NOT NULL
  UNION ALL
  SELECT j.slot_key, j.slot_limit FROM parked_jobs p CROSS JOIN job j ON j.id = p.job_id
  WHERE j.slot_key IS NOT NULL),
keys (slot_key, slots) AS (SELECT slot_key, max(slot_limit) FROM waiting GROUP BY slot_key),
room (slot_key, free) AS (
  SELECT k.slot_key, k.slots - (SELECT count(*) FROM slot s WHERE s.slot_key = k.slot_key AND +s.exec_id IS NOT NULL)
  FROM keys k)
SELECT slot_key, free FROM room WHERE free > 0 ORDER BY slot_key LIMIT ?1";

/// Completed triggers that belong to no set and have no live rows, by trigger_completed.
pub(crate) const COMPLETED: &str = "
SELECT t.id, t.rev, t.job_id FROM trigger t
WHERE t.completed_us IS NOT NULL AND t.completed_us < ?1 AND t.set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.trigger_id = t.id) ORDER BY t.id LIMIT ?2";

/// Deletes a job that nothing needs. Zero rows: something does, or it is to be kept.
pub(crate) const PRUNE_JOB: &str = "
DELETE FROM job WHERE id = ?1 AND durable = 0 AND set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM trigger WHERE job_id = ?1) AND NOT EXISTS (SELECT 1 FROM execution WHERE job_id = ?1)";

/// Says that something became available.
pub(crate) const RAISE_WAKE: &str =
    "UPDATE meta SET value = value + 1 WHERE name = 'wake_seq' RETURNING value";
