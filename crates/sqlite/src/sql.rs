//! Every statement of this store, in the order of the trait; those of locks, listings and migrations are in
//! `sql/listings.rs`, those that stores with array parameters do not have in `sql/own.rs`.
//!
//! Write steps run inside `BEGIN IMMEDIATE`, so each of them holds the one write lock of the file from its first
//! statement to its commit; "locks" below is said once, here. Reads run in a snapshot of their own and lock nothing.
//! Codes of states are those of `punctual_core::record`; a test compares them.

/// The clock, in whole milliseconds.
macro_rules! clock {
    () => {
        "CAST(round(unixepoch('subsec') * 1000) AS INTEGER) * 1000"
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

macro_rules! work_tables {
    () => {
        " FROM execution e LEFT JOIN job j ON j.id = e.job_id LEFT JOIN trigger t ON t.id = e.trigger_id "
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

// ---- transactions and the clock ----

pub(crate) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";
/// The clock, in whole milliseconds, and the epoch. Reading the table is what opens the snapshot of a read step, and
/// happens before the clock is read. Zero rows: the file is damaged.
pub(crate) const NOW: &str = concat!("SELECT ", clock!(), ", value FROM meta WHERE name = 'epoch'");

// ---- definitions ----

/// What is stored under a job's key or id, by job_key and the primary key: how many rows, whether there is just the one
/// that has both, and its rev.
pub(crate) const FIND_JOB: &str = "
SELECT count(*), ifnull(min(id = ?3 AND group_name = ?1 AND name = ?2), 0), ifnull(max(rev), 0)
FROM job WHERE (group_name = ?1 AND name = ?2) OR id = ?3";

/// Creates or replaces a job, by its primary key.
pub(crate) const PUT_JOB: &str = "
INSERT INTO job (id, group_name, name, kind, description, spec, payload_codec, payload_version, payload_data,
  priority, durable, set_name, rev, created_us, slot_key, slot_limit)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, description = excluded.description, spec = excluded.spec,
  payload_codec = excluded.payload_codec, payload_version = excluded.payload_version,
  payload_data = excluded.payload_data, priority = excluded.priority, durable = excluded.durable,
  set_name = excluded.set_name, rev = excluded.rev, created_us = excluded.created_us, slot_key = excluded.slot_key,
  slot_limit = excluded.slot_limit";

/// Brings the copies that triggers keep of their job up to date, by trigger_job. Not a write in the sense of `rev`: no
/// decision about the trigger has changed.
pub(crate) const SPREAD_JOB: &str = "
UPDATE trigger SET kind = ?2, rank = priority + ?3 WHERE job_id = ?1 AND (kind <> ?2 OR rank <> priority + ?3)";

/// As FIND_JOB, by trigger_key and the primary key.
pub(crate) const FIND_TRIGGER: &str = "
SELECT count(*), ifnull(min(id = ?3 AND group_name = ?1 AND name = ?2), 0), ifnull(max(rev), 0)
FROM trigger WHERE (group_name = ?1 AND name = ?2) OR id = ?3";

/// The mark of a key, by primary key. Zero rows: there is none.
pub(crate) const FIND_MARK: &str = "SELECT last_us FROM mark WHERE group_name = ?1 AND name = ?2";

/// Creates or replaces a trigger, by its primary key. Zero rows: its job or its calendar is not there.
pub(crate) const PUT_TRIGGER: &str = "
INSERT INTO trigger (id, group_name, name, job_id, description, spec, payload_codec, payload_version, payload_data,
  priority, state, next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice, error, set_name, hash,
  created_us, progress, calendar, paused, kind, rank, completed_us)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22,
  ?23, ?24, ?25, ?26, j.kind, j.priority + ?10, CASE WHEN ?11 = 2 THEN ?27 END
FROM job j WHERE j.id = ?4 AND (?25 IS NULL OR EXISTS (SELECT 1 FROM calendar WHERE name = ?25))
ON CONFLICT (id) DO UPDATE SET job_id = excluded.job_id, description = excluded.description, spec = excluded.spec,
  payload_codec = excluded.payload_codec, payload_version = excluded.payload_version,
  payload_data = excluded.payload_data, priority = excluded.priority, state = excluded.state,
  next_fire_us = excluded.next_fire_us, wake_us = excluded.wake_us, last_us = excluded.last_us, fires = excluded.fires,
  fire_seq = excluded.fire_seq, generation = excluded.generation, rev = excluded.rev, slice = excluded.slice,
  error = excluded.error, set_name = excluded.set_name, hash = excluded.hash, created_us = excluded.created_us,
  progress = excluded.progress, calendar = excluded.calendar, paused = excluded.paused,
  kind = excluded.kind, rank = excluded.rank,
  completed_us = CASE WHEN excluded.state = 2 THEN ifnull(completed_us, excluded.completed_us) END";

/// Deletes a trigger of a revision, by primary key. Zero rows: it is gone or was changed.
pub(crate) const DELETE_TRIGGER: &str =
    "DELETE FROM trigger WHERE id = ?1 AND rev = ?2 RETURNING group_name, name, last_us";

/// Remembers the last instant of a deleted trigger, by primary key.
pub(crate) const PUT_MARK: &str = "
INSERT INTO mark (group_name, name, last_us, written_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (group_name, name) DO UPDATE SET last_us = excluded.last_us, written_us = excluded.written_us";

/// Forgets a mark. Zero rows: there was none.
pub(crate) const DELETE_MARK: &str = "DELETE FROM mark WHERE group_name = ?1 AND name = ?2";

/// Writes down what live rows of a trigger inherited, by execution_occurrence.
pub(crate) const LEAVE_TRIGGER: &str = "
UPDATE execution SET spec = ifnull(spec, ?2), payload_codec = ifnull(payload_codec, ?3),
  payload_version = ifnull(payload_version, ?4), payload_data = ifnull(payload_data, ?5)
WHERE trigger_id = ?1 AND (spec IS NULL OR payload_data IS NULL)";

/// The same for a job. Scans the live rows: jobs are deleted seldom, and an index more would cost each firing.
pub(crate) const LEAVE_JOB: &str = "
UPDATE execution SET spec = ifnull(spec, ?2), payload_codec = ifnull(payload_codec, ?3),
  payload_version = ifnull(payload_version, ?4), payload_data = ifnull(payload_data, ?5)
WHERE job_id = ?1 AND (spec IS NULL OR payload_data IS NULL)";

/// Whether a job has live rows. Scans them, as LEAVE_JOB.
pub(crate) const LIVE_OF_JOB: &str = "SELECT EXISTS (SELECT 1 FROM execution WHERE job_id = ?1)";

/// Deletes a job of a revision that no trigger refers to. Zero rows: it is gone, was changed, or is in use.
pub(crate) const DELETE_JOB: &str =
    "DELETE FROM job WHERE id = ?1 AND rev = ?2 AND NOT EXISTS (SELECT 1 FROM trigger WHERE job_id = ?1)";

/// A set's row, by primary key. Zero rows: it was never written.
pub(crate) const SET: &str =
    "SELECT name, revision, hash, written_by, rev, written_us FROM definition_set WHERE name = ?1";

/// Creates or replaces a set's row, by primary key.
pub(crate) const PUT_SET: &str = "
INSERT INTO definition_set (name, revision, hash, written_by, rev, written_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, hash = excluded.hash,
  written_by = excluded.written_by, rev = excluded.rev, written_us = excluded.written_us";

/// The rev of a calendar, by primary key. Zero rows: there is none.
pub(crate) const FIND_CALENDAR: &str = "SELECT rev FROM calendar WHERE name = ?1";

/// Creates or replaces a calendar, by primary key.
pub(crate) const PUT_CALENDAR: &str = "
INSERT INTO calendar (name, document, rev, updated_us) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (name) DO UPDATE SET document = excluded.document, rev = excluded.rev, updated_us = excluded.updated_us";

/// Deletes a calendar of a revision that no trigger names, by primary key and trigger_calendar. Zero rows: it is gone,
/// was changed, or is in use.
pub(crate) const DELETE_CALENDAR: &str = "
DELETE FROM calendar WHERE name = ?1 AND rev = ?2 AND NOT EXISTS (SELECT 1 FROM trigger WHERE calendar = ?1)";

// ---- enqueue and cancel ----

/// Copies a row that nobody owns into the history as cancelled, by primary key. Zero rows: it is owned or gone.
pub(crate) const RECORD_CANCELLED: &str = concat!(
    "INSERT INTO history (",
    history_columns!(),
    ") SELECT id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, NULL, 1, 3, NULL, attempt,
  NULL, fence, NULL, ?2, ?3, NULL, attempts FROM execution WHERE id = ?1 AND owner IS NULL"
);

/// Deletes a row that nobody owns, by primary key. Zero rows: it is owned or gone.
pub(crate) const DELETE_UNOWNED: &str =
    "DELETE FROM execution WHERE id = ?1 AND owner IS NULL RETURNING slot_key";

/// Asks the owner of a row to stop it, by primary key. Zero rows: nobody owns it, or it is gone.
pub(crate) const CANCEL_OWNED: &str =
    "UPDATE execution SET cancel = ifnull(cancel, ?2) WHERE id = ?1 AND owner IS NOT NULL";

// ---- membership ----

/// Adds a node. Zero rows: it is there already.
pub(crate) const INSERT_NODE: &str = "
INSERT INTO node (id, name, host, pid, version, zone_data, profile, capacity, kinds, state, standby, gate, joined_us)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (id) DO NOTHING";

/// Adds a node's first beat.
pub(crate) const INSERT_BEAT: &str = "INSERT INTO beat (node_id, beat, seen_us) VALUES (?1, ?2, ?3)";

/// Raises a node's beat, by primary key. Whoever ends a node deletes its beat in the same step, so the row of the beat
/// alone decides whether it is up. Zero rows: it is not.
pub(crate) const CHECK_IN: &str = concat!(
    "UPDATE beat SET beat = beat + 1, seen_us = ifnull(?2, ",
    clock!(),
    ") WHERE node_id = ?1 RETURNING beat"
);

/// Marks an up node dead if its beat is still the one that was seen, by primary keys. Zero rows: it is not up, or it
/// has beaten since. A missing beat counts as 0, as observers see it.
pub(crate) const TAKE_OVER: &str = "
UPDATE node SET state = 3, ended_us = ?3
WHERE id = ?1 AND state = 1 AND ifnull((SELECT beat FROM beat WHERE node_id = ?1), 0) = ?2";

/// Marks an up node as left, by primary key. Zero rows: it is not up.
pub(crate) const LEAVE: &str = "UPDATE node SET state = 2, ended_us = ?2 WHERE id = ?1 AND state = 1";

/// Puts a node in or out of standby and raises its gate, by primary key. Zero rows: it is not up.
pub(crate) const SET_STANDBY: &str =
    "UPDATE node SET standby = ?2, gate = gate + 1 WHERE id = ?1 AND state = 1 RETURNING gate";

/// Live rows of an owner with what they inherit, by execution_owner.
pub(crate) const ORPHANS: &str =
    concat!("SELECT ", work_columns!(), work_tables!(), "WHERE e.owner = ?1 ORDER BY e.id LIMIT ?2");

// ---- the life of a firing ----

/// Due triggers with their jobs and the documents of their calendars. For each kind at most `limit` entries of trigger_due in its order; then the best of
/// all kinds. So triggers of other kinds and parked ones cost nothing, however many there are.
pub(crate) const READ_DUE: &str = concat!(
    "WITH due (id) AS MATERIALIZED (SELECT t.id FROM json_each(?1) k CROSS JOIN trigger t ON t.id IN (
   SELECT d.id FROM trigger d WHERE d.kind = k.value AND d.state = 1 AND d.wake_us <= ?2
     AND (d.wake_us < ?3 OR d.slice BETWEEN ?4 AND ?5)
   ORDER BY d.wake_us, d.rank DESC, d.id LIMIT ?6)
 ORDER BY t.wake_us, t.rank DESC, t.id LIMIT ?6) SELECT ",
    trigger_columns!(),
    ", ",
    job_columns!("j"),
    ", c.document FROM due CROSS JOIN trigger t ON t.id = due.id CROSS JOIN job j ON j.id = t.job_id
 LEFT JOIN calendar c ON c.name = t.calendar ORDER BY t.wake_us, t.rank DESC, t.id"
);

/// Sets a trigger aside that would fire something twice, by primary key.
pub(crate) const SET_ASIDE: &str = "
UPDATE trigger SET state = 3, wake_us = NULL, error = ?2, completed_us = NULL, fire_seq = fire_seq + 1, rev = rev + 1
WHERE id = ?1";

/// Gives a ready row to a node, by primary key.
pub(crate) const CLAIM_READY: &str =
    "UPDATE execution SET state = 2, owner = ?2, fence = ?3 WHERE id = ?1 AND state = 1";

/// Marks a claimed row as begun, by primary key. Zero rows: it has moved on.
pub(crate) const BEGIN: &str =
    "UPDATE execution SET state = 3 WHERE id = ?1 AND owner = ?2 AND fence = ?3 AND state IN (2, 3)";

/// Whether the history has this execution with this fence, by primary key.
pub(crate) const KNOWS_END: &str = "SELECT EXISTS (SELECT 1 FROM history WHERE id = ?1 AND fence = ?2)";

/// Frees the slot that an execution holds, by slot_holder. Zero rows: it holds none.
pub(crate) const FREE_HELD_SLOT: &str =
    "UPDATE slot SET exec_id = NULL WHERE exec_id = ?1 RETURNING slot_key";

// ---- upkeep ----

/// Deletes old history, by history_ended.
pub(crate) const PRUNE_HISTORY: &str = "
DELETE FROM history WHERE id IN (SELECT id FROM history WHERE ended_us < ?1 ORDER BY ended_us, id LIMIT ?2)";

/// Deletes nodes that are long gone and own nothing, by execution_owner.
pub(crate) const PRUNE_NODES: &str = "
DELETE FROM node WHERE id IN (SELECT n.id FROM node n WHERE n.state <> 1 AND n.ended_us < ?1
  AND NOT EXISTS (SELECT 1 FROM execution e WHERE e.owner = n.id) ORDER BY n.id LIMIT ?2)";

/// Deletes old marks. Scans them: they are few, and this is not hot.
pub(crate) const PRUNE_MARKS: &str = "
DELETE FROM mark WHERE (group_name, name) IN (
  SELECT group_name, name FROM mark WHERE written_us < ?1 ORDER BY group_name, name LIMIT ?2)";

/// Deletes slots that nobody holds or waits for. Scans slots and live rows once.
pub(crate) const PRUNE_SLOTS: &str = "
DELETE FROM slot WHERE (slot_key, n) IN (
  SELECT s.slot_key, s.n FROM slot s WHERE s.exec_id IS NULL
    AND s.slot_key NOT IN (SELECT e.slot_key FROM execution e WHERE e.slot_key IS NOT NULL)
    AND s.slot_key NOT IN (SELECT j.slot_key FROM trigger t JOIN job j ON j.id = t.job_id
      WHERE t.state = 1 AND t.wake_us > t.next_fire_us AND j.slot_key IS NOT NULL)
  ORDER BY s.slot_key, s.n LIMIT ?1) RETURNING fence_seq";

/// Raises the floor under the fences of all slots that are made from now on.
pub(crate) const RAISE_FLOOR: &str = "UPDATE meta SET value = max(value, ?1) WHERE name = 'slot_floor'";

// ---- wake ----

#[cfg(test)]
mod tests;
