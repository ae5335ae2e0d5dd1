//! The statements that only this database needs: what others say in one statement with `RETURNING`, with an upsert that
//! names its key, or with a condition on another table, is said here in two, the first of which locks.

mod claim;

pub(crate) use self::claim::*;

// ---- sessions ----

/// What every session of this store is set to. `lc_messages` because the text of an error is all that the driver hands
/// on; the lock waits because a step must not wait for somebody who hangs; READ COMMITTED because at the default level
/// searches would lock gaps and plain reads would see an old snapshot.
pub(crate) const SETTINGS: &str = "
SET SESSION autocommit = 1, SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION time_zone = '+00:00',
  SESSION lc_messages = 'en_US', SESSION innodb_lock_wait_timeout = 2, SESSION lock_wait_timeout = 10,
  SESSION wait_timeout = 30, SESSION character_set_client = utf8mb4, SESSION character_set_results = utf8mb4,
  SESSION collation_connection = utf8mb4_bin; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// What MariaDB can do besides: end a transaction whose client says nothing (T_idle).
pub(crate) const SETTINGS_OF_MARIADB: &str = "SET SESSION idle_transaction_timeout = 2";

/// What a session has come to; `?` is nothing, and the isolation has two names.
pub(crate) const SESSION_OF_MYSQL: &str = "
SELECT @@SESSION.transaction_isolation, @@SESSION.autocommit, @@SESSION.sql_mode, @@SESSION.time_zone,
  @@SESSION.lc_messages, @@SESSION.innodb_lock_wait_timeout, @@SESSION.wait_timeout, @@SESSION.character_set_client,
  @@SESSION.collation_connection";

/// The same under MariaDB's name of the isolation.
pub(crate) const SESSION_OF_MARIADB: &str = "
SELECT @@SESSION.tx_isolation, @@SESSION.autocommit, @@SESSION.sql_mode, @@SESSION.time_zone, @@SESSION.lc_messages,
  @@SESSION.innodb_lock_wait_timeout, @@SESSION.wait_timeout, @@SESSION.character_set_client,
  @@SESSION.collation_connection";

/// What the server is: its version, whether it takes writes, how it writes its log, and a name for it with the database.
pub(crate) const SERVER: &str = "
SELECT VERSION(), @@GLOBAL.read_only, @@GLOBAL.log_bin, @@GLOBAL.binlog_format, IFNULL(DATABASE(), ''),
  CONCAT(@@hostname, ':', @@port, '/', IFNULL(DATABASE(), ''))";

/// The same name, of the connection of a transaction that is not this store's own.
pub(crate) const DATABASE: &str = "SELECT CONCAT(@@hostname, ':', @@port, '/', IFNULL(DATABASE(), ''))";

/// A part of such a transaction; the name is another one than that of the parts of a step, which may be within it.
pub(crate) const USERS_SAVEPOINT: &str = "SAVEPOINT punctual_step";
pub(crate) const USERS_SAVEPOINT_KEEP: &str = "RELEASE SAVEPOINT punctual_step";
pub(crate) const USERS_SAVEPOINT_UNDO: &str = "ROLLBACK TO SAVEPOINT punctual_step";

/// Whether a connection answers.
pub(crate) const PING: &str = "DO 1";

/// Waits a moment before a step is tried again: in the server, which has a timer, and at random, so that two that met
/// once do not meet again. `?` is in microseconds.
pub(crate) const PAUSE: &str = "DO SLEEP(? * (1 + RAND()) / 1000000)";

// ---- definitions ----

/// Replaces a job that FIND_JOB has locked, by primary key.
pub(crate) const UPDATE_JOB: &str = "
UPDATE punctual_job SET id = ?, group_name = ?, name = ?, kind = ?, description = ?, spec = ?, payload_codec = ?,
  payload_version = ?, payload_data = ?, priority = ?, durable = ?, set_name = ?, rev = ?, created_us = ?, slot_key = ?,
  slot_limit = ? WHERE id = ?";

/// What a trigger copies from its job, locked shared by primary key, so that the job stays as it is until the trigger is
/// in. Zero rows: there is no such job.
pub(crate) const JOB_OF_TRIGGER: &str =
    "SELECT kind, priority, slot_key FROM punctual_job WHERE id = ? LOCK IN SHARE MODE";

/// The calendar that a trigger names, locked shared by primary key. Zero rows: there is none.
pub(crate) const CALENDAR_OF_TRIGGER: &str =
    "SELECT rev FROM punctual_calendar WHERE name = ? LOCK IN SHARE MODE";

/// Replaces a trigger that FIND_TRIGGER has locked, by primary key.
pub(crate) const UPDATE_TRIGGER: &str = "
UPDATE punctual_trigger SET id = ?, group_name = ?, name = ?, job_id = ?, description = ?, spec = ?, payload_codec = ?,
  payload_version = ?, payload_data = ?, priority = ?, state = ?, next_fire_us = ?, wake_us = ?, last_us = ?, fires = ?,
  fire_seq = ?, generation = ?, rev = ?, slice = ?, error = ?, set_name = ?, hash = ?, created_us = ?, progress = ?,
  calendar = ?, paused = ?, kind = ?, urgency = ?, slot_key = ?,
  completed_us = CASE WHEN ? = 2 THEN IFNULL(completed_us, ?) END WHERE id = ?";

/// Keeps the pauses of groups as they are until the end of the transaction, which writes triggers by them.
pub(crate) const SHARE_PAUSES: &str =
    "SELECT value FROM punctual_meta WHERE name = 'pauses' LOCK IN SHARE MODE";

/// Waits for transactions that write triggers by the pauses of groups, and keeps others from beginning.
pub(crate) const LOCK_PAUSES: &str = "SELECT value FROM punctual_meta WHERE name = 'pauses' FOR UPDATE";

/// The active and paused triggers of a group, by trigger_key and without locks; LOCK_PAUSES comes before, so there are no
/// more of them afterwards.
pub(crate) const TRIGGERS_OF_GROUP: &str =
    "SELECT id FROM punctual_trigger WHERE group_name = ? AND state IN (1, 4) ORDER BY id";

/// What a trigger of a revision leaves, locked by primary key. Zero rows: it is gone or was changed.
pub(crate) const TRIGGER_TO_DELETE: &str =
    "SELECT group_name, name, last_us FROM punctual_trigger WHERE id = ? AND rev = ? FOR UPDATE";

/// The rev of a job, locked by primary key. Zero rows: it is gone.
pub(crate) const LOCK_JOB: &str = "SELECT rev FROM punctual_job WHERE id = ? FOR UPDATE";

/// Whether triggers refer to a job that is locked, by trigger_job. Zero rows: none does.
pub(crate) const TRIGGERS_AT_JOB: &str = "SELECT 1 FROM punctual_trigger WHERE job_id = ? LIMIT 1";

/// Whether triggers name a calendar that is locked, by trigger_calendar. Zero rows: none does.
pub(crate) const TRIGGERS_AT_CALENDAR: &str = "SELECT 1 FROM punctual_trigger WHERE calendar = ? LIMIT 1";

/// The rev of a set's row, locked by primary key. Zero rows: it was never written.
pub(crate) const LOCK_SET: &str = "SELECT rev FROM punctual_definition_set WHERE name = ? FOR UPDATE";

/// Replaces a set's row that LOCK_SET has locked, by primary key.
pub(crate) const UPDATE_SET: &str = "
UPDATE punctual_definition_set SET name = ?, revision = ?, hash = ?, written_by = ?, rev = ?, written_us = ?
WHERE name = ?";

/// Replaces a calendar that FIND_CALENDAR has locked, by primary key.
pub(crate) const UPDATE_CALENDAR: &str =
    "UPDATE punctual_calendar SET name = ?, document = ?, rev = ?, updated_us = ? WHERE name = ?";

// ---- live rows ----

/// The slot keys of live rows, by primary key and without locks: they never change, and slots are locked before rows.
pub(crate) const KEYS_OF_LIVE: &str =
    concat!("SELECT DISTINCT e.slot_key FROM ", live_rows!(), " WHERE e.slot_key IS NOT NULL");

/// Live rows, locked by primary key.
pub(crate) const LOCK_LIVE: &str =
    concat!("SELECT e.id, e.owner, e.fence, e.slot_key FROM ", live_rows!(), " FOR UPDATE");

// ---- membership ----

/// Whether a node is up, locked by primary key; waits for its claims. Zero rows: it never joined, or was pruned.
pub(crate) const LOCK_NODE: &str = "SELECT state = 1 FROM punctual_node WHERE id = ? FOR UPDATE";

/// A node's beat, locked by primary key. Zero rows: it has none.
pub(crate) const LOCK_BEAT: &str = "SELECT beat FROM punctual_beat WHERE node_id = ? FOR UPDATE";

/// The epoch of the store, by primary key.
pub(crate) const EPOCH: &str = "SELECT value FROM punctual_meta WHERE name = 'epoch'";

/// The epoch, by primary key, locked shared: nobody raises it before this step is through.
pub(crate) const HOLD_EPOCH: &str = "SELECT value FROM punctual_meta WHERE name = 'epoch' LOCK IN SHARE MODE";

/// Raises the epoch, by primary key; waits for those who join. Zero rows: it is that high already.
pub(crate) const RAISE_EPOCH: &str = "UPDATE punctual_meta SET value = ? WHERE name = 'epoch' AND value < ?";

/// Nodes that are up, by node_state.
pub(crate) const IDS_UP: &str = "SELECT id FROM punctual_node WHERE state = 1 ORDER BY id";

// ---- the life of a firing ----

/// Wins a ready row, by primary key, where claims are made by conditional writes. Its fence grows already here: if there
/// is no slot for it, one number is left out. Zero rows: somebody else has it.
pub(crate) const CAS_READY: &str =
    "UPDATE punctual_execution SET fence = fence + 1 WHERE id = ? AND state = 1 AND wake_us <= ?";

/// Ready rows that were won, with the fence that they had, by primary key.
pub(crate) const WON_READY: &str =
    concat!("SELECT e.id, e.slot_key, e.slot_limit, e.fence - 1 FROM ", live_rows!());

/// Parks ready rows that were won, with the fence that they had: they were not handed to anybody.
pub(crate) const PARK_WON: &str =
    concat!("UPDATE ", live_rows!(), " SET e.wake_us = ?, e.fence = e.fence - 1");

/// The next urgency of ready rows after a given one, for each kind, with its earliest wake: one probe of execution_ready
/// each. So rows of one urgency are skipped in one step, however many of them wait for their time.
pub(crate) const LEVELS: &str = "[[(
  SELECT e.kind, e.urgency, e.wake_us FROM punctual_execution e FORCE INDEX (execution_ready)
  WHERE e.state = 1 AND e.kind = ? AND e.urgency > ? ORDER BY e.urgency, e.wake_us LIMIT 1)|| UNION ALL ]]";

/// The first of a list of ready rows that nobody else has locked, locked by primary key.
pub(crate) const LOCK_READY: &str = concat!(
    "SELECT e.id, e.slot_key, e.slot_limit, e.fence FROM ",
    live_rows!(),
    " WHERE e.state = 1 AND e.wake_us <= ? LIMIT ? FOR UPDATE SKIP LOCKED"
);

/// Locks keys of slots: their rows 0, by primary key. A key that is not answered has no row 0 yet.
pub(crate) const LOCK_SLOTS: &str = concat!(
    "SELECT s.slot_key FROM ",
    names!(),
    " STRAIGHT_JOIN punctual_slot s FORCE INDEX (PRIMARY) ON s.slot_key = k.name AND s.n = 0 FOR UPDATE"
);

/// Makes row 0 of a key and thereby locks the key, or waits for whoever does, and locks it then.
pub(crate) const MAKE_LOCK: &str = "
INSERT INTO punctual_slot (slot_key, n, exec_id, fence_seq) VALUES (?, 0, NULL, 0)
ON DUPLICATE KEY UPDATE fence_seq = fence_seq";

/// The floor under the fences of slots, by primary key. Whoever deletes slots has raised it, and holds the locks of their
/// keys until that is committed.
pub(crate) const SLOT_FLOOR: &str = "SELECT value FROM punctual_meta WHERE name = 'slot_floor'";

/// Makes slots that are held from the beginning. Their keys are locked, so nobody else makes them.
pub(crate) const MAKE_SLOT: &str = "
INSERT INTO punctual_slot (slot_key, n, exec_id, fence_seq)
SELECT v.slot_key, v.n, UNHEX(v.exec_id), v.fence
FROM JSON_TABLE(?, '$[*]' COLUMNS (slot_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[0]', n BIGINT PATH '$[1]',
  exec_id LONGTEXT CHARACTER SET utf8mb4 PATH '$[2]', fence BIGINT PATH '$[3]')) v";

/// The best rows that are parked for a key, by execution_parked.
pub(crate) const PARKED_READY: &str = "
SELECT id FROM punctual_execution FORCE INDEX (execution_parked)
WHERE parked = 1 AND slot_key = ? ORDER BY urgency, due_us, id LIMIT ?";

/// The first triggers that are parked for a key, by trigger_parked.
pub(crate) const PARKED_TRIGGERS: &str = "
SELECT id FROM punctual_trigger FORCE INDEX (trigger_parked)
WHERE parked = 1 AND slot_key = ? ORDER BY next_fire_us, urgency, id LIMIT ?";

/// The first of a list of triggers that nobody has locked, locked by primary key. Triggers come before slots in the order
/// of locks, and slots are locked here, so this must not wait.
pub(crate) const LOCK_PARKED_TRIGGERS: &str = concat!(
    "SELECT t.id FROM ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id WHERE t.parked = 1 LIMIT ?
FOR UPDATE SKIP LOCKED"
);

/// The highest fence that was seen of a lock, locked by primary key, which is what makes claims within it wait for each
/// other. Zero rows: none was.
pub(crate) const LOCK_GUARD: &str = "SELECT fence FROM punctual_lock_guard WHERE name = ? FOR UPDATE";

/// Remembers the first fence of a lock. A breach of its key means that another claim was faster.
pub(crate) const MAKE_GUARD: &str = "INSERT INTO punctual_lock_guard (name, fence) VALUES (?, ?)";

// ---- upkeep ----

/// The same as WAITING_KEYS of triggers, by trigger_parked; the limit is the highest that a job of the key has, by
/// job_slot.
pub(crate) const WAITING_KEYS_OF_TRIGGERS: &str = "
SELECT t.slot_key, (SELECT MAX(j.slot_limit) FROM punctual_job j WHERE j.slot_key = t.slot_key),
  (SELECT COUNT(*) FROM punctual_slot s WHERE s.slot_key = t.slot_key AND s.exec_id IS NOT NULL)
FROM punctual_trigger t FORCE INDEX (trigger_parked)
WHERE t.parked = 1 AND t.slot_key > ? ORDER BY t.slot_key LIMIT 1";

/// Old history, by history_ended.
pub(crate) const OLD_HISTORY: &str =
    "SELECT id FROM punctual_history WHERE ended_us < ? ORDER BY ended_us, id LIMIT ?";

/// Nodes that are long gone and own nothing, by execution_owner. Scans the nodes: they are few.
pub(crate) const OLD_NODES: &str = "
SELECT n.id FROM punctual_node n WHERE n.state <> 1 AND n.ended_us < ?
  AND NOT EXISTS (SELECT 1 FROM punctual_execution e WHERE e.owner = n.id) ORDER BY n.id LIMIT ?";

/// Old marks. Scans them: they are few, and this is not hot.
pub(crate) const OLD_MARKS: &str = "
SELECT group_name, name FROM punctual_mark WHERE written_us < ? ORDER BY group_name, name LIMIT ?";

/// Slots that nobody holds or waits for, the row that is its key's lock last. Scans slots once, and for each of their keys
/// looks for live rows and triggers that need it.
pub(crate) const OLD_SLOTS: &str = "
SELECT s.slot_key, s.n FROM punctual_slot s WHERE s.exec_id IS NULL
  AND s.slot_key NOT IN (SELECT e.slot_key FROM punctual_execution e WHERE e.slot_key IS NOT NULL)
  AND s.slot_key NOT IN (SELECT t.slot_key FROM punctual_trigger t WHERE t.parked = 1 AND t.slot_key IS NOT NULL)
ORDER BY s.slot_key, s.n DESC LIMIT ?";

/// The fence of a slot that nobody holds, by primary key; its key is locked. Zero rows: it is held, or gone.
pub(crate) const IDLE_SLOT: &str =
    "SELECT fence_seq FROM punctual_slot WHERE slot_key = ? AND n = ? AND exec_id IS NULL";

// ---- locks ----

/// The row of a lock, locked by primary key. Zero rows: the name was never used.
pub(crate) const FIND_LOCK: &str =
    "SELECT owner, fence, until_us FROM punctual_lock WHERE name = ? FOR UPDATE";

/// Makes the row of a lock. A breach of its key means that another process was faster.
pub(crate) const MAKE_LEASE: &str =
    "INSERT INTO punctual_lock (name, owner, fence, until_us) VALUES (?, ?, 1, ?)";

pub(crate) const SAVEPOINT: &str = "SAVEPOINT punctual_part";

pub(crate) const SAVEPOINT_KEEP: &str = "RELEASE SAVEPOINT punctual_part";

pub(crate) const SAVEPOINT_UNDO: &str = "ROLLBACK TO SAVEPOINT punctual_part";

/// Which ids of a list, counted from 1, were ever used and are still remembered, by two primary keys. Outer joins, because
/// MariaDB may turn `EXISTS` round and read the whole history.
pub(crate) const KNOWS_EXECUTION: &str = concat!(
    "SELECT k.n FROM ",
    ids!(),
    " LEFT JOIN punctual_execution e FORCE INDEX (PRIMARY) ON e.id = UNHEX(k.id)
  LEFT JOIN punctual_history h FORCE INDEX (PRIMARY) ON h.id = UNHEX(k.id) WHERE e.id IS NOT NULL OR h.id IS NOT NULL"
);

/// Which occurrences of a list, counted from 1, are there already, by execution_occurrence and history_occurrence.
pub(crate) const KNOWS_OCCURRENCE: &str = "
SELECT k.n FROM JSON_TABLE(?, '$[*]' COLUMNS (n FOR ORDINALITY, trigger_id BIGINT PATH '$[0]',
  generation BIGINT PATH '$[1]', scheduled_us BIGINT PATH '$[2]')) k
LEFT JOIN punctual_execution e FORCE INDEX (execution_occurrence)
  ON e.trigger_id = k.trigger_id AND e.generation = k.generation AND e.scheduled_us = k.scheduled_us
LEFT JOIN punctual_history h FORCE INDEX (history_occurrence)
  ON h.trigger_id = k.trigger_id AND h.generation = k.generation AND h.scheduled_us = k.scheduled_us
WHERE e.trigger_id IS NOT NULL OR h.trigger_id IS NOT NULL";

/// Which jobs of a list are there, locked shared by primary key, so that none of them is deleted before the work that
/// needs it is in.
pub(crate) const KNOWS_JOB: &str = concat!(
    "SELECT j.id FROM ",
    numbers!(),
    " STRAIGHT_JOIN punctual_job j FORCE INDEX (PRIMARY) ON j.id = k.id LOCK IN SHARE MODE"
);

/// How many slots of each key of a list are held, by primary key, and whether a row waits for one, by execution_parked.
/// Takes no locks: who is parked too early, or too late, is found by whoever looks after those who wait.
pub(crate) const SLOTS_HELD: &str = concat!(
    "SELECT k.name, (SELECT COUNT(*) FROM punctual_slot s WHERE s.slot_key = k.name AND s.exec_id IS NOT NULL),
  (SELECT e.parked FROM punctual_execution e FORCE INDEX (execution_parked)
    WHERE e.parked = 1 AND e.slot_key = k.name LIMIT 1) IS NOT NULL
FROM ",
    names!()
);

/// All that a node needs to know once an interval, in rows of three sorts behind the time, the epoch and what the beat of this
/// session came to: the nodes that are up by node_state and the node itself, its live rows and the owners that are not up by execution_owner. In no order, so that the server need
/// not put them together in a table first.
pub(crate) const CHECKED_IN: &str = concat!(
    "SELECT ",
    clock!(),
    ", (SELECT value FROM punctual_meta WHERE name = 'epoch'), CAST(LAST_INSERT_ID() AS SIGNED), NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
UNION ALL SELECT NULL, NULL, NULL, ",
    node_columns!(),
    ", NULL, NULL, NULL, NULL, NULL
  FROM punctual_node n LEFT JOIN punctual_beat b ON b.node_id = n.id WHERE n.state = 1
UNION ALL SELECT NULL, NULL, NULL, ",
    node_columns!(),
    ", NULL, NULL, NULL, NULL, NULL
  FROM punctual_node n LEFT JOIN punctual_beat b ON b.node_id = n.id WHERE n.id = ? AND n.state <> 1
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  e.id, e.fence, e.attempt, e.cancel, NULL FROM punctual_execution e WHERE e.owner = ?
UNION ALL SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
  NULL, NULL, NULL, NULL, g.owner
  FROM (SELECT DISTINCT e.owner FROM punctual_execution e WHERE e.owner IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM punctual_node n WHERE n.id = e.owner AND n.state = 1)) g"
);

/// Whether a node is up, locked shared by primary key.
pub(crate) const IS_UP: &str = "SELECT state = 1 FROM punctual_node WHERE id = ? LOCK IN SHARE MODE";

/// Deletes a beat, by primary key.
pub(crate) const DELETE_BEAT: &str = "DELETE FROM punctual_beat WHERE node_id = ?";

/// A node's gate, by primary key. Zero rows: it never joined, or was pruned.
pub(crate) const GATE: &str = "SELECT gate FROM punctual_node WHERE id = ?";

/// The time, a node's gate, when its first trigger wakes, by one probe of trigger_due a kind, and whether it has any ready
/// row, by one probe of execution_ready a kind. That is all that a node without work asks.
pub(crate) const GLANCE: &str = concat!(
    "SELECT ",
    clock!(),
    ", (SELECT gate FROM punctual_node WHERE id = ?), MIN(u.wake_us), MAX(u.ready) FROM ([[SELECT (
  SELECT d.wake_us FROM punctual_trigger d FORCE INDEX (trigger_due)
  WHERE d.state = 1 AND d.kind = ? AND d.wake_us IS NOT NULL ORDER BY d.wake_us LIMIT 1) AS wake_us, EXISTS (
  SELECT 1 FROM punctual_execution e FORCE INDEX (execution_ready) WHERE e.state = 1 AND e.kind = ?) AS ready|| UNION ALL ]]) u"
);

/// The earliest wake after now of active triggers, one probe of trigger_due a kind. Null: there is none.
pub(crate) const NEXT_WAKE_OF_TRIGGERS: &str = "SELECT MIN(u.wake_us) FROM ([[(
  SELECT d.wake_us FROM punctual_trigger d FORCE INDEX (trigger_due)
  WHERE d.state = 1 AND d.kind = ? AND d.wake_us > ? ORDER BY d.wake_us LIMIT 1)|| UNION ALL ]]) u";

/// The earliest wake after now of ready rows, one probe of execution_ready for each kind and urgency. Null: there is
/// none.
pub(crate) const NEXT_WAKE_OF_READY: &str = "SELECT MIN(u.wake_us) FROM ([[(
  SELECT e.wake_us FROM punctual_execution e FORCE INDEX (execution_ready)
  WHERE e.state = 1 AND e.kind = ? AND e.urgency = ? AND e.wake_us > ? ORDER BY e.wake_us LIMIT 1)|| UNION ALL ]]) u";

/// Whether a node may claim what it planned when it saw this gate, locked shared by primary key. Zero rows: it may not.
pub(crate) const GATE_OPEN: &str = "
SELECT 1 FROM punctual_node WHERE id = ? AND state = 1 AND standby = 0 AND gate = ? LOCK IN SHARE MODE";

/// Raises the highest fence that was seen of a lock, by primary key; LOCK_GUARD comes before.
pub(crate) const RAISE_LOCK_GUARD: &str = "UPDATE punctual_lock_guard SET fence = ? WHERE name = ?";

/// The slots that executions hold, by slot_holder.
pub(crate) const HELD_SLOT: &str = concat!(
    "SELECT s.slot_key FROM ",
    ids!(),
    " STRAIGHT_JOIN punctual_slot s FORCE INDEX (slot_holder) ON s.exec_id = UNHEX(k.id)"
);

/// The slots of a list of keys, by primary key. The keys are locked.
pub(crate) const FREE_SLOT: &str = concat!(
    "SELECT s.slot_key, s.n, s.exec_id, s.fence_seq FROM ",
    names!(),
    " STRAIGHT_JOIN punctual_slot s FORCE INDEX (PRIMARY) ON s.slot_key = k.name ORDER BY s.slot_key, s.n"
);

/// Takes slots that are there, by primary key.
pub(crate) const TAKE_SLOT: &str = "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (slot_key VARCHAR(410) CHARACTER SET utf8mb4 PATH '$[0]', n BIGINT PATH '$[1]',
  exec_id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[2]', fence BIGINT PATH '$[3]')) v
STRAIGHT_JOIN punctual_slot s FORCE INDEX (PRIMARY) ON s.slot_key = v.slot_key AND s.n = v.n
SET s.exec_id = UNHEX(v.exec_id), s.fence_seq = v.fence";

/// Ready rows whose time has come: for each kind and urgency at most `limit` entries of execution_ready in its order; then
/// the best of all. Zero rows: nothing is ready.
pub(crate) const READY: &str = "SELECT r.id, r.slot_key, r.urgency, r.wake_us FROM ([[(
  SELECT e.id, e.slot_key, e.urgency, e.wake_us FROM punctual_execution e FORCE INDEX (execution_ready)
  WHERE e.state = 1 AND e.kind = ? AND e.urgency = ? AND e.wake_us <= ? ORDER BY e.wake_us, e.id LIMIT ?)|| UNION ALL ]]) r
ORDER BY r.urgency, r.wake_us, r.id LIMIT ?";

/// Moves rows that found their slot taken out of the way, by primary key. Only `wake_us` moves: that makes them parked.
pub(crate) const PARK_READY: &str = concat!("UPDATE ", live_rows!(), " SET e.wake_us = ?");

/// Live rows with what they inherit, by primary keys. In no order, as READ_DUE.
pub(crate) const WORK: &str = concat!("SELECT ", work_columns!(), " FROM ", live_rows!(), work_joins!());

/// Deletes rows whose executions have ended, by primary key; LOCK_LIVE comes before.
pub(crate) const SETTLE_END: &str = concat!("DELETE e FROM ", live_rows!());

/// Appends to the history. A breach of its keys is an error.
pub(crate) const INSERT_HISTORY: &str = "
INSERT INTO punctual_history (
  id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, until_us, instants, outcome,
  reason, attempt, node_id, fence, started_us, ended_us, error, output, attempts)
SELECT
  UNHEX(v.id), v.trigger_id, v.generation, v.trigger_key, v.job_id, v.job_key, v.kind, v.scheduled_us, v.until_us,
  v.instants, v.outcome, v.reason, v.attempt, v.node_id, v.fence, v.started_us, v.ended_us, v.error, v.output,
  v.attempts
FROM JSON_TABLE(?, '$[*]' COLUMNS (
  id LONGTEXT CHARACTER SET utf8mb4 PATH '$[0]', trigger_id BIGINT PATH '$[1]', generation BIGINT PATH '$[2]',
  trigger_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[3]', job_id BIGINT PATH '$[4]',
  job_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[5]', kind LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]',
  scheduled_us BIGINT PATH '$[7]', until_us BIGINT PATH '$[8]', instants BIGINT PATH '$[9]',
  outcome BIGINT PATH '$[10]', reason BIGINT PATH '$[11]', attempt BIGINT PATH '$[12]',
  node_id BIGINT PATH '$[13]', fence BIGINT PATH '$[14]', started_us BIGINT PATH '$[15]',
  ended_us BIGINT PATH '$[16]', error LONGTEXT CHARACTER SET utf8mb4 PATH '$[17]',
  output LONGTEXT CHARACTER SET utf8mb4 PATH '$[18]', attempts LONGTEXT CHARACTER SET utf8mb4 PATH '$[19]')) v";

/// Puts rows back, by primary key; LOCK_LIVE comes before.
pub(crate) const SETTLE_BACK: &str = "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]', state BIGINT PATH '$[1]',
  wake_us BIGINT PATH '$[2]', attempt BIGINT PATH '$[3]', losses BIGINT PATH '$[4]',
  attempts LONGTEXT CHARACTER SET utf8mb4 PATH '$[5]', error LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]')) v
STRAIGHT_JOIN punctual_execution e FORCE INDEX (PRIMARY) ON e.id = UNHEX(v.id)
SET e.state = v.state, e.owner = NULL, e.wake_us = v.wake_us, e.due_us = v.wake_us, e.attempt = v.attempt,
  e.losses = v.losses, e.attempts = v.attempts, e.error = v.error";

/// Wakes rows that are parked, by primary key.
pub(crate) const WAKE_READY: &str =
    concat!("UPDATE ", live_rows!(), " SET e.wake_us = e.due_us WHERE e.state = 1 AND e.wake_us > e.due_us");

/// Wakes triggers that are parked, by primary key; LOCK_PARKED_TRIGGERS comes before.
pub(crate) const WAKE_TRIGGER: &str = concat!(
    "UPDATE ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id
SET t.wake_us = t.next_fire_us, t.rev = t.rev + 1 WHERE t.state = 1 AND t.wake_us > t.next_fire_us"
);

/// The next key after a given one that rows wait for, by execution_parked, with what its best row knows of its limit, and
/// how many of its slots are held. Zero rows: there is no other.
pub(crate) const WAITING_KEYS: &str = "
SELECT e.slot_key, e.slot_limit,
  (SELECT COUNT(*) FROM punctual_slot s WHERE s.slot_key = e.slot_key AND s.exec_id IS NOT NULL)
FROM punctual_execution e FORCE INDEX (execution_parked)
WHERE e.parked = 1 AND e.slot_key > ? ORDER BY e.slot_key, e.urgency, e.due_us, e.id LIMIT 1";

/// Completed triggers that belong to no set and have no live rows, by trigger_completed.
pub(crate) const COMPLETED: &str = "
SELECT t.id, t.rev, t.job_id FROM punctual_trigger t
WHERE t.completed_us IS NOT NULL AND t.completed_us < ? AND t.set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM punctual_execution e WHERE e.trigger_id = t.id) ORDER BY t.id LIMIT ?";

/// Deletes a job that is not to be kept, by primary key; LOCK_JOB, TRIGGERS_AT_JOB and LIVE_OF_JOB come before. Zero rows:
/// it is to be kept.
pub(crate) const PRUNE_JOB: &str =
    "DELETE FROM punctual_job WHERE id = ? AND durable = 0 AND set_name IS NULL";
