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

/// The server's clock, in microseconds, as of the start of a statement, whatever the session's time zone is.
macro_rules! clock {
    () => {
        "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
    };
}

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
         t.rev, t.slice, t.error, t.set_name, t.hash, t.created_us, t.progress, t.paused"
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

/// The same for one trigger; the values in the order in which they stand. An update that joins a list writes through a
/// temporary table on disk, because errors and progress may be long: for one row that is two thirds of its time.
macro_rules! patch_one_trigger {
    ($also:literal) => {
        concat!(
            "
UPDATE punctual_trigger t SET t.completed_us = CASE WHEN ? = 2 THEN IFNULL(t.completed_us, ?) END, t.state = ?,
  t.next_fire_us = ?, t.wake_us = ?, t.last_us = IFNULL(?, t.last_us), t.fires = t.fires + ?, t.error = ?, t.progress = ?",
            $also,
            " WHERE t.id = ?"
        )
    };
}

mod check;
mod listings;
mod migrations;
mod own;
mod pauses;

pub(crate) use self::check::*;
pub(crate) use self::listings::*;
pub(crate) use self::migrations::*;
pub(crate) use self::own::*;
pub(crate) use self::pauses::*;

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

/// The clock. It is a statement of its own because one that waits for a lock would answer the time at which the wait
/// began.
pub(crate) const NOW: &str = concat!("SELECT ", clock!());

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
  set_name, hash, created_us, progress, calendar, paused, kind, urgency, slot_key, completed_us)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CASE WHEN ? = 2 THEN ? END)";

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

/// Raises a node's beat, by primary key. Whoever ends a node deletes its beat in the same step, so the row of the beat
/// alone decides whether it is up. CHECKED_IN answers what it came to. Zero rows: it is not up.
pub(crate) const CHECK_IN: &str = concat!(
    "UPDATE punctual_beat SET beat = LAST_INSERT_ID(beat + 1), seen_us = IFNULL(CAST(? AS SIGNED), ",
    clock!(),
    ") WHERE node_id = ?"
);

/// Marks an up node dead, by primary key; LOCK_NODE and LOCK_BEAT come before.
pub(crate) const TAKE_OVER: &str =
    "UPDATE punctual_node SET state = 3, ended_us = ? WHERE id = ? AND state = 1";

/// Marks an up node as left, by primary key. Zero rows: it is not up.
pub(crate) const LEAVE: &str = "UPDATE punctual_node SET state = 2, ended_us = ? WHERE id = ? AND state = 1";

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

/// Due triggers with their jobs and the documents of their calendars. For each kind at most `limit` entries of
/// trigger_due in its order; then the best of all kinds. So triggers of other kinds and parked ones cost nothing, however
/// many there are. In no order: sorting documents would make the server write them to its disk.
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
 LEFT JOIN punctual_calendar c ON c.name = t.calendar"
);

/// Sets a trigger aside that would fire something twice, by primary key.
pub(crate) const SET_ASIDE: &str = "
UPDATE punctual_trigger SET state = 3, wake_us = NULL, error = ?, completed_us = NULL, fire_seq = fire_seq + 1,
  rev = rev + 1 WHERE id = ?";

/// Gives ready rows to a node, by primary key.
pub(crate) const CLAIM_READY: &str = "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(32) CHARACTER SET utf8mb4 PATH '$[0]', fence BIGINT PATH '$[1]')) v
STRAIGHT_JOIN punctual_execution e FORCE INDEX (PRIMARY) ON e.id = UNHEX(v.id)
SET e.state = 2, e.owner = ?, e.fence = v.fence WHERE e.state = 1";

/// Marks claimed rows as begun, by primary key; LOCK_LIVE comes before.
pub(crate) const BEGIN: &str = concat!("UPDATE ", live_rows!(), " SET e.state = 3 WHERE e.state IN (2, 3)");

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

// ---- upkeep ----

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
