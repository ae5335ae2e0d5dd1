//! Every statement of this store, in the order of the trait; those of locks and listings are in
//! `sql/listings.rs`, those of the migration engine in `sql/migrations.rs`, and those that only this database needs in
//! `sql/own.rs`.
//!
//! Only SQL that MySQL 8.0 and MariaDB 10.6 share. Three rules hold throughout:
//!
//! * **Locks go to rows that are named.** InnoDB locks each index record that a locking statement looks at, so locking
//!   reads, updates and deletes name their rows by a primary or unique key; whatever has to be searched for is searched
//!   for without locks before.
//! * **A batch is one JSON parameter** that `JSON_TABLE` turns into rows, joined in its own order (`STRAIGHT_JOIN`) with
//!   the table's primary key (`FORCE INDEX`), so that locks are taken in the order of the list. The text of such a
//!   statement does not depend on the length of the list, so it is prepared once, and there is one parameter to send
//!   however many rows there are. Texts that are stored pass as LONGTEXT: one that did not fit its column here would
//!   become null without a word, where the column of the table refuses it. What is asked once for each kind of a node
//!   repeats its text instead: see [`each`].
//! * **A compared write changes a column**, so that servers that count changed rows and those that count matched ones say
//!   the same.
//!
//! Codes of states are those of `punctual_core::record`; a test compares them.

/// The columns of a `JobRow`; `$t` is the table's alias.
macro_rules! job_columns {
    ($t:literal) => {
        concat!(
            $t,
            ".id, ",
            $t,
            ".group_name, ",
            $t,
            ".name, ",
            $t,
            ".kind, ",
            $t,
            ".description, ",
            $t,
            ".spec, ",
            $t,
            ".payload_codec, ",
            $t,
            ".payload_version, ",
            $t,
            ".payload_data, ",
            $t,
            ".priority, ",
            $t,
            ".durable, ",
            $t,
            ".set_name, ",
            $t,
            ".rev, ",
            $t,
            ".created_us"
        )
    };
}

/// The columns of a `TriggerRow`.
macro_rules! trigger_columns {
    () => {
        "t.id, t.group_name, t.name, t.job_id, t.description, t.spec, t.payload_codec, t.payload_version, \
         t.payload_data, t.priority, t.state, t.next_fire_us, t.wake_us, t.last_us, t.fires, t.fire_seq, t.generation, \
         t.rev, t.slice, t.error, t.set_name, t.hash, t.created_us, t.progress"
    };
}

/// The columns of an `ExecutionRow`.
macro_rules! execution_columns {
    () => {
        "e.id, e.trigger_id, e.generation, e.trigger_key, e.job_id, e.job_key, e.kind, e.scheduled_us, e.priority, \
         e.state, e.owner, e.fence, e.attempt, e.losses, e.wake_us, e.slot_key, e.slot_limit, e.spec, e.payload_codec, \
         e.payload_version, e.payload_data, e.attempts, e.cancel, e.error, e.created_us, e.catch_up"
    };
}

/// The columns of a `HistoryRow`.
macro_rules! history_columns {
    () => {
        "id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, until_us, instants, outcome, \
         reason, attempt, node_id, fence, started_us, ended_us, error, output, attempts"
    };
}

/// The columns of a `NodeRow`.
macro_rules! node_columns {
    () => {
        "n.id, n.name, n.host, n.pid, n.version, n.zone_data, n.profile, n.capacity, n.kinds, n.state, n.standby, \
         n.gate, n.joined_us, b.beat, b.seen_us"
    };
}

/// The columns of a `WorkRow`.
macro_rules! work_columns {
    () => {
        concat!(
            execution_columns!(),
            ", ",
            job_columns!("j"),
            ", t.payload_codec, t.payload_version, t.payload_data"
        )
    };
}

macro_rules! work_joins {
    () => {
        " LEFT JOIN punctual_job j ON j.id = e.job_id LEFT JOIN punctual_trigger t ON t.id = e.trigger_id "
    };
}

/// A JSON list of numbers as rows `k (n, id)`, `n` from 1.
macro_rules! numbers {
    () => {
        "JSON_TABLE(?, '$[*]' COLUMNS (n FOR ORDINALITY, id BIGINT PATH '$')) k"
    };
}

/// A JSON list of ids of executions, in hexadecimal digits, as rows `k (n, id)`, `n` from 1.
macro_rules! ids {
    () => {
        "JSON_TABLE(?, '$[*]' COLUMNS (n FOR ORDINALITY, id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$')) k"
    };
}

/// A JSON list of texts as rows `k (n, name)`, `n` from 1.
macro_rules! names {
    () => {
        "JSON_TABLE(?, '$[*]' COLUMNS (n FOR ORDINALITY, name VARCHAR(410) CHARACTER SET utf8mb4 PATH '$')) k"
    };
}

/// The live rows of a list of ids, by primary key and in the order of the list.
macro_rules! live_rows {
    () => {
        concat!(ids!(), " STRAIGHT_JOIN punctual_execution e FORCE INDEX (PRIMARY) ON e.id = UNHEX(k.id)")
    };
}

/// How a trigger is moved on, but for its counters.
macro_rules! patch_trigger {
    () => {
        "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id BIGINT PATH '$[0]', state BIGINT PATH '$[1]', next_fire_us BIGINT PATH '$[2]',
  wake_us BIGINT PATH '$[3]', last_us BIGINT PATH '$[4]', fires BIGINT PATH '$[5]',
  error LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]', progress LONGTEXT CHARACTER SET utf8mb4 PATH '$[7]')) v
STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = v.id
SET t.state = v.state, t.next_fire_us = v.next_fire_us, t.wake_us = v.wake_us, t.last_us = IFNULL(v.last_us, t.last_us),
  t.fires = t.fires + v.fires, t.error = v.error, t.progress = v.progress,
  t.completed_us = CASE WHEN v.state = 2 THEN IFNULL(t.completed_us, ?) END"
    };
}

mod listings;
mod migrations;
mod own;

pub(crate) use self::listings::*;
pub(crate) use self::migrations::*;
pub(crate) use self::own::*;

/// A statement with its part in double square brackets repeated: `VALUES [[(?, ?)||, ]]` for 2 is `VALUES (?, ?), (?, ?)`.
/// What follows the bars stands between two of them. Only placeholders and constant text are ever repeated.
pub(crate) fn each(text: &'static str, times: usize) -> String {
    let Some((head, (part, between), tail)) = text.split_once("[[").and_then(|(head, rest)| {
        let (repeated, tail) = rest.split_once("]]")?;
        Some((head, repeated.split_once("||")?, tail))
    }) else {
        return text.to_owned();
    };
    let parts = vec![part; times];
    format!("{head}{}{tail}", parts.join(between))
}

// ---- transactions and the clock ----

pub(crate) const BEGIN_WRITE: &str = "START TRANSACTION";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";
pub(crate) const SAVEPOINT: &str = "SAVEPOINT punctual_part";
pub(crate) const SAVEPOINT_KEEP: &str = "RELEASE SAVEPOINT punctual_part";
pub(crate) const SAVEPOINT_UNDO: &str = "ROLLBACK TO SAVEPOINT punctual_part";

/// The clock, in microseconds, as of the start of this statement, whatever the session's time zone is. It is a statement
/// of its own because one that waits for a lock would answer the time at which the wait began.
pub(crate) const NOW: &str = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";

// ---- definitions ----

/// What is stored under a job's id or key, locked by primary and unique key. Zero rows: nothing.
pub(crate) const FIND_JOB: &str = "
(SELECT id, group_name, name, rev FROM punctual_job WHERE id = ? FOR UPDATE) UNION ALL
(SELECT id, group_name, name, rev FROM punctual_job WHERE group_name = ? AND name = ? FOR UPDATE)";

/// Creates a job. A breach of its keys means that another process was faster.
pub(crate) const PUT_JOB: &str = "
INSERT INTO punctual_job (id, group_name, name, kind, description, spec, payload_codec, payload_version, payload_data,
  priority, durable, set_name, rev, created_us, slot_key, slot_limit)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Brings the copies that triggers keep of their job up to date, by trigger_job. Not a write in the sense of `rev`: no
/// decision about the trigger has changed. The job is locked, so no trigger is being added to it.
pub(crate) const SPREAD_JOB: &str = "
UPDATE punctual_trigger SET kind = ?, urgency = -(priority + ?), slot_key = ? WHERE job_id = ?";

/// As FIND_JOB.
pub(crate) const FIND_TRIGGER: &str = "
(SELECT id, group_name, name, rev FROM punctual_trigger WHERE id = ? FOR UPDATE) UNION ALL
(SELECT id, group_name, name, rev FROM punctual_trigger WHERE group_name = ? AND name = ? FOR UPDATE)";

/// The mark of a key, by primary key. Zero rows: there is none.
pub(crate) const FIND_MARK: &str = "SELECT last_us FROM punctual_mark WHERE group_name = ? AND name = ?";

/// Creates a trigger. A breach of its keys means that another process was faster.
pub(crate) const PUT_TRIGGER: &str = "
INSERT INTO punctual_trigger (id, group_name, name, job_id, description, spec, payload_codec, payload_version,
  payload_data, priority, state, next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice, error,
  set_name, hash, created_us, progress, calendar, kind, urgency, slot_key, completed_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CASE WHEN ? = 2 THEN ? END)";

/// Deletes a trigger of a revision, by primary key. Zero rows: it is gone or was changed.
pub(crate) const DELETE_TRIGGER: &str = "DELETE FROM punctual_trigger WHERE id = ? AND rev = ?";

/// Remembers the last instant of a deleted trigger, by primary key.
pub(crate) const PUT_MARK: &str = "
INSERT INTO punctual_mark (group_name, name, last_us, written_us) VALUES (?, ?, ?, ?)
ON DUPLICATE KEY UPDATE last_us = ?, written_us = ?";

/// Forgets a mark. Zero rows: there was none.
pub(crate) const DELETE_MARK: &str = "DELETE FROM punctual_mark WHERE group_name = ? AND name = ?";

/// Writes down what live rows of a trigger inherited, by execution_occurrence.
pub(crate) const LEAVE_TRIGGER: &str = "
UPDATE punctual_execution SET spec = IFNULL(spec, ?), payload_codec = IFNULL(payload_codec, ?),
  payload_version = IFNULL(payload_version, ?), payload_data = IFNULL(payload_data, ?)
WHERE trigger_id = ? AND (spec IS NULL OR payload_data IS NULL)";

/// The same for live rows of a job, by primary key.
pub(crate) const LEAVE_JOB: &str = concat!(
    "UPDATE ",
    live_rows!(),
    " SET e.spec = IFNULL(e.spec, ?), e.payload_codec = IFNULL(e.payload_codec, ?),
  e.payload_version = IFNULL(e.payload_version, ?), e.payload_data = IFNULL(e.payload_data, ?)
WHERE e.spec IS NULL OR e.payload_data IS NULL"
);

/// The live rows of a job. Scans them all, without locks: jobs are deleted seldom, and an index more would cost each
/// firing. Nothing can be added meanwhile, because enqueueing locks the job shared.
pub(crate) const LIVE_OF_JOB: &str = "SELECT id FROM punctual_execution WHERE job_id = ? ORDER BY id";

/// Deletes a job of a revision, by primary key; LOCK_JOB and TRIGGERS_AT_JOB come before. Zero rows: it is gone or was
/// changed.
pub(crate) const DELETE_JOB: &str = "DELETE FROM punctual_job WHERE id = ? AND rev = ?";

/// A set's row, by primary key. Zero rows: it was never written.
pub(crate) const SET: &str =
    "SELECT name, revision, hash, written_by, rev, written_us FROM punctual_definition_set WHERE name = ?";

/// Creates a set's row. A breach of its key means that another process was faster.
pub(crate) const PUT_SET: &str = "
INSERT INTO punctual_definition_set (name, revision, hash, written_by, rev, written_us) VALUES (?, ?, ?, ?, ?, ?)";

/// The rev of a calendar, locked by primary key. Zero rows: there is none.
pub(crate) const FIND_CALENDAR: &str = "SELECT rev FROM punctual_calendar WHERE name = ? FOR UPDATE";

/// Creates a calendar. A breach of its key means that another process was faster.
pub(crate) const PUT_CALENDAR: &str =
    "INSERT INTO punctual_calendar (name, document, rev, updated_us) VALUES (?, ?, ?, ?)";

/// Deletes a calendar of a revision, by primary key; FIND_CALENDAR and TRIGGERS_AT_CALENDAR come before. Zero rows: it is
/// gone or was changed.
pub(crate) const DELETE_CALENDAR: &str = "DELETE FROM punctual_calendar WHERE name = ? AND rev = ?";

// ---- enqueue and cancel ----

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

/// Inserts live rows that are not parked. A breach of the primary key or of execution_occurrence is an error.
pub(crate) const INSERT_EXECUTION: &str = "
INSERT INTO punctual_execution (
  id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, priority, state, owner, fence,
  attempt, losses, wake_us, slot_key, slot_limit, spec, payload_codec, payload_version, payload_data, attempts,
  cancel, error, created_us, catch_up, due_us)
SELECT
  UNHEX(v.id), v.trigger_id, v.generation, v.trigger_key, v.job_id, v.job_key, v.kind, v.scheduled_us, v.priority,
  v.state, v.owner, v.fence, v.attempt, v.losses, v.wake_us, v.slot_key, v.slot_limit, v.spec, v.payload_codec,
  v.payload_version, UNHEX(v.payload_data), v.attempts, v.cancel, v.error, v.created_us, v.catch_up, v.due_us
FROM JSON_TABLE(?, '$[*]' COLUMNS (
  id LONGTEXT CHARACTER SET utf8mb4 PATH '$[0]', trigger_id BIGINT PATH '$[1]', generation BIGINT PATH '$[2]',
  trigger_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[3]', job_id BIGINT PATH '$[4]',
  job_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[5]', kind LONGTEXT CHARACTER SET utf8mb4 PATH '$[6]',
  scheduled_us BIGINT PATH '$[7]', priority BIGINT PATH '$[8]', state BIGINT PATH '$[9]',
  owner BIGINT PATH '$[10]', fence BIGINT PATH '$[11]', attempt BIGINT PATH '$[12]', losses BIGINT PATH '$[13]',
  wake_us BIGINT PATH '$[14]', slot_key LONGTEXT CHARACTER SET utf8mb4 PATH '$[15]',
  slot_limit BIGINT PATH '$[16]', spec LONGTEXT CHARACTER SET utf8mb4 PATH '$[17]',
  payload_codec LONGTEXT CHARACTER SET utf8mb4 PATH '$[18]', payload_version BIGINT PATH '$[19]',
  payload_data LONGTEXT CHARACTER SET utf8mb4 PATH '$[20]', attempts LONGTEXT CHARACTER SET utf8mb4 PATH '$[21]',
  cancel LONGTEXT CHARACTER SET utf8mb4 PATH '$[22]', error LONGTEXT CHARACTER SET utf8mb4 PATH '$[23]',
  created_us BIGINT PATH '$[24]', catch_up LONGTEXT CHARACTER SET utf8mb4 PATH '$[25]', due_us BIGINT PATH '$[26]')) v";

/// How many slots of each key of a list are held, by primary key, and whether a row waits for one, by execution_parked.
/// Takes no locks: who is parked too early, or too late, is found by whoever looks after those who wait.
pub(crate) const SLOTS_HELD: &str = concat!(
    "SELECT k.name, (SELECT COUNT(*) FROM punctual_slot s WHERE s.slot_key = k.name AND s.exec_id IS NOT NULL),
  (SELECT e.parked FROM punctual_execution e FORCE INDEX (execution_parked)
    WHERE e.parked = 1 AND e.slot_key = k.name LIMIT 1) IS NOT NULL
FROM ",
    names!()
);

/// Copies rows that are locked and nobody's into the history as cancelled, by primary key.
pub(crate) const RECORD_CANCELLED: &str = concat!(
    "INSERT INTO punctual_history (",
    history_columns!(),
    ") SELECT e.id, e.trigger_id, e.generation, e.trigger_key, e.job_id, e.job_key, e.kind, e.scheduled_us, NULL, 1, 3,
  NULL, e.attempt, NULL, e.fence, NULL, ?, ?, NULL, e.attempts FROM ",
    live_rows!()
);

/// Deletes rows that are locked and nobody's, by primary key.
pub(crate) const DELETE_UNOWNED: &str = concat!("DELETE e FROM ", live_rows!(), " WHERE e.owner IS NULL");

/// Asks the owners of rows to stop them, by primary key. An earlier reason stays.
pub(crate) const CANCEL_OWNED: &str =
    concat!("UPDATE ", live_rows!(), " SET e.cancel = IFNULL(e.cancel, ?) WHERE e.owner IS NOT NULL");

// ---- membership ----

/// Adds a node. A breach of its key means that another try of the same step was faster.
pub(crate) const INSERT_NODE: &str = "
INSERT INTO punctual_node (id, name, host, pid, version, zone_data, profile, capacity, kinds, state, standby, gate,
  joined_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// Adds a node's first beat.
pub(crate) const INSERT_BEAT: &str = "INSERT INTO punctual_beat (node_id, beat, seen_us) VALUES (?, ?, ?)";

/// Raises a node's beat, by primary key; IS_UP and LOCK_BEAT come before. Zero rows: its beat is gone.
pub(crate) const CHECK_IN: &str = "UPDATE punctual_beat SET beat = beat + 1, seen_us = ? WHERE node_id = ?";

/// A node's own row with the epoch of the store, by primary keys. Zero rows: it never joined, or was pruned.
pub(crate) const STANDING: &str = "
SELECT n.state = 1 AND b.beat IS NOT NULL, IFNULL(b.beat, 0), n.gate, n.standby
FROM punctual_node n LEFT JOIN punctual_beat b ON b.node_id = n.id WHERE n.id = ?";

/// Nodes that are up, by node_state.
pub(crate) const NODES_UP: &str = concat!(
    "SELECT ",
    node_columns!(),
    " FROM punctual_node n LEFT JOIN punctual_beat b ON b.node_id = n.id WHERE n.state = 1 ORDER BY n.joined_us, n.id"
);

/// A node's live rows, by execution_owner.
pub(crate) const OWNED: &str =
    "SELECT id, fence, attempt, cancel FROM punctual_execution WHERE owner = ? ORDER BY id";

/// Owners of live rows that are not up, by execution_owner.
pub(crate) const GONE_OWNERS: &str = "
SELECT DISTINCT e.owner FROM punctual_execution e WHERE e.owner IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM punctual_node n WHERE n.id = e.owner AND n.state = 1) ORDER BY e.owner";

/// Marks an up node dead, by primary key; LOCK_NODE and LOCK_BEAT come before.
pub(crate) const TAKE_OVER: &str =
    "UPDATE punctual_node SET state = 3, ended_us = ? WHERE id = ? AND state = 1";

/// Whether a node is up, locked shared by primary key.
pub(crate) const IS_UP: &str = "SELECT state = 1 FROM punctual_node WHERE id = ? LOCK IN SHARE MODE";

/// Marks an up node as left, by primary key. Zero rows: it is not up.
pub(crate) const LEAVE: &str = "UPDATE punctual_node SET state = 2, ended_us = ? WHERE id = ? AND state = 1";

/// Deletes a beat, by primary key.
pub(crate) const DELETE_BEAT: &str = "DELETE FROM punctual_beat WHERE node_id = ?";

/// Puts a node in or out of standby and raises its gate, by primary key; waits for its claims. Zero rows: it is not up.
pub(crate) const SET_STANDBY: &str =
    "UPDATE punctual_node SET standby = ?, gate = gate + 1 WHERE id = ? AND state = 1";

/// Live rows of an owner with what they inherit, by execution_owner.
pub(crate) const ORPHANS: &str = concat!(
    "SELECT ",
    work_columns!(),
    " FROM punctual_execution e",
    work_joins!(),
    "WHERE e.owner = ? ORDER BY e.id LIMIT ?"
);

// ---- the life of a firing ----

/// A node's gate, by primary key. Zero rows: it never joined, or was pruned.
pub(crate) const GATE: &str = "SELECT gate FROM punctual_node WHERE id = ?";

/// Due triggers with their jobs and the documents of their calendars. For each kind at most `limit` entries of
/// trigger_due in its order; then the best of all kinds. So triggers of other kinds and parked ones cost nothing, however
/// many there are.
pub(crate) const READ_DUE: &str = concat!(
    "SELECT ",
    trigger_columns!(),
    ", ",
    job_columns!("j"),
    ", c.document FROM (SELECT u.id FROM ([[(
    SELECT d.id, d.wake_us, d.urgency FROM punctual_trigger d FORCE INDEX (trigger_due)
    WHERE d.state = 1 AND d.kind = ? AND d.wake_us <= ? AND (d.wake_us < ? OR d.slice BETWEEN ? AND ?)
    ORDER BY d.wake_us, d.urgency, d.id LIMIT ?)|| UNION ALL ]]) u ORDER BY u.wake_us, u.urgency, u.id LIMIT ?) due
 STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = due.id
 STRAIGHT_JOIN punctual_job j FORCE INDEX (PRIMARY) ON j.id = t.job_id
 LEFT JOIN punctual_calendar c ON c.name = t.calendar ORDER BY t.wake_us, t.urgency, t.id"
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

/// The triggers of a list of plans that are active, locked by primary key. What somebody else has locked is being changed,
/// so a plan for it is lost either way, and there is nothing to wait for.
pub(crate) const COMPARE_TRIGGER: &str = concat!(
    "SELECT t.id, t.rev, t.fire_seq, t.generation FROM ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id WHERE t.state = 1 FOR UPDATE SKIP LOCKED"
);

/// Moves triggers on, by primary key. A row that could not be read is set aside without its last instant; the mark of its
/// key must survive.
pub(crate) const PATCH_TRIGGER: &str =
    concat!(patch_trigger!(), ", t.fire_seq = t.fire_seq + 1, t.rev = t.rev + 1");

/// Records instants that are left out, with what the triggers and their jobs say, by primary keys.
pub(crate) const RECORD_SKIP: &str = concat!(
    "INSERT INTO punctual_history (",
    history_columns!(),
    ") SELECT UNHEX(v.id), t.id, t.generation, CONCAT(t.group_name, '/', t.name), j.id,
  CONCAT(j.group_name, '/', j.name), j.kind, v.scheduled_us, v.until_us, v.instants, 5, v.reason, 0, NULL, 0, NULL, ?,
  NULL, NULL, '[]'
FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]', trigger_id BIGINT PATH '$[1]',
  scheduled_us BIGINT PATH '$[2]', until_us BIGINT PATH '$[3]', instants BIGINT PATH '$[4]', reason BIGINT PATH '$[5]')) v
STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = v.trigger_id
STRAIGHT_JOIN punctual_job j FORCE INDEX (PRIMARY) ON j.id = t.job_id"
);

/// Sets a trigger aside that would fire something twice, by primary key.
pub(crate) const SET_ASIDE: &str = "
UPDATE punctual_trigger SET state = 3, wake_us = NULL, error = ?, completed_us = NULL, fire_seq = fire_seq + 1,
  rev = rev + 1 WHERE id = ?";

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

/// Gives ready rows to a node, by primary key.
pub(crate) const CLAIM_READY: &str = "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]', fence BIGINT PATH '$[1]')) v
STRAIGHT_JOIN punctual_execution e FORCE INDEX (PRIMARY) ON e.id = UNHEX(v.id)
SET e.state = 2, e.owner = ?, e.fence = v.fence WHERE e.state = 1";

/// Moves rows that found their slot taken out of the way, by primary key. Only `wake_us` moves: that makes them parked.
pub(crate) const PARK_READY: &str = concat!("UPDATE ", live_rows!(), " SET e.wake_us = ?");

/// Live rows with what they inherit, by primary keys, in the order of the list.
pub(crate) const WORK: &str =
    concat!("SELECT ", work_columns!(), " FROM ", live_rows!(), work_joins!(), "ORDER BY k.n");

/// Marks claimed rows as begun, by primary key; LOCK_LIVE comes before.
pub(crate) const BEGIN: &str = concat!("UPDATE ", live_rows!(), " SET e.state = 3 WHERE e.state IN (2, 3)");

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

/// Which of a list of executions, counted from 1, the history has with this fence, by primary key.
pub(crate) const KNOWS_END: &str = "
SELECT k.n FROM JSON_TABLE(?, '$[*]' COLUMNS (n FOR ORDINALITY, id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]',
  fence BIGINT PATH '$[1]')) k
STRAIGHT_JOIN punctual_history h FORCE INDEX (PRIMARY) ON h.id = UNHEX(k.id) WHERE h.fence = k.fence";

/// Frees the slots that executions hold, by slot_holder. The keys are locked.
pub(crate) const FREE_HELD_SLOT: &str = concat!(
    "UPDATE ",
    ids!(),
    " STRAIGHT_JOIN punctual_slot s FORCE INDEX (slot_holder) ON s.exec_id = UNHEX(k.id) SET s.exec_id = NULL"
);

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

// ---- upkeep ----

/// The next key after a given one that rows wait for, by execution_parked, with what its best row knows of its limit, and
/// how many of its slots are held. Zero rows: there is no other.
pub(crate) const WAITING_KEYS: &str = "
SELECT e.slot_key, e.slot_limit,
  (SELECT COUNT(*) FROM punctual_slot s WHERE s.slot_key = e.slot_key AND s.exec_id IS NOT NULL)
FROM punctual_execution e FORCE INDEX (execution_parked)
WHERE e.parked = 1 AND e.slot_key > ? ORDER BY e.slot_key, e.urgency, e.due_us, e.id LIMIT 1";

/// Deletes history, by primary key; OLD_HISTORY comes before.
pub(crate) const PRUNE_HISTORY: &str = concat!(
    "DELETE h FROM ",
    ids!(),
    " STRAIGHT_JOIN punctual_history h FORCE INDEX (PRIMARY) ON h.id = UNHEX(k.id)"
);

/// Deletes nodes that are gone, by primary key; OLD_NODES comes before.
pub(crate) const PRUNE_NODES: &str = concat!(
    "DELETE n FROM ",
    numbers!(),
    " STRAIGHT_JOIN punctual_node n FORCE INDEX (PRIMARY) ON n.id = k.id WHERE n.state <> 1"
);

/// Completed triggers that belong to no set and have no live rows, by trigger_completed.
pub(crate) const COMPLETED: &str = "
SELECT t.id, t.rev, t.job_id FROM punctual_trigger t
WHERE t.completed_us IS NOT NULL AND t.completed_us < ? AND t.set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM punctual_execution e WHERE e.trigger_id = t.id) ORDER BY t.id LIMIT ?";

/// Deletes a job that is not to be kept, by primary key; LOCK_JOB, TRIGGERS_AT_JOB and LIVE_OF_JOB come before. Zero rows:
/// it is to be kept.
pub(crate) const PRUNE_JOB: &str =
    "DELETE FROM punctual_job WHERE id = ? AND durable = 0 AND set_name IS NULL";

/// Deletes old marks, by primary key; OLD_MARKS comes before.
pub(crate) const PRUNE_MARKS: &str =
    "DELETE FROM punctual_mark WHERE group_name = ? AND name = ? AND written_us < ?";

/// Deletes a slot that nobody holds, by primary key; OLD_SLOTS comes before, and its key is locked. Zero rows: it is held.
pub(crate) const PRUNE_SLOTS: &str =
    "DELETE FROM punctual_slot WHERE slot_key = ? AND n = ? AND exec_id IS NULL";

/// Raises the floor under the fences of all slots that are made from now on.
pub(crate) const RAISE_FLOOR: &str =
    "UPDATE punctual_meta SET value = GREATEST(value, ?) WHERE name = 'slot_floor'";

#[cfg(test)]
mod tests;
