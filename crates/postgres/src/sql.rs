//! Every statement of this store, in the order of the trait; those of locks, listings and migrations are in
//! `sql/listings.rs`, those that no sibling has in `sql/own.rs`.
//!
//! A statement is a template: `{s}` is the schema, put in once for each store. All of them run at READ COMMITTED: a
//! statement sees one snapshot, taken when it begins, and of a row that it had to wait for it sees the newest version,
//! but of that row only. So each comparison that a write rests on is made on the row that is locked or written itself.
//! `$1` is the given time of a test wherever a statement needs the time; null is the server's clock, which is read in
//! the part of the statement that nothing blocks any more. Codes of states are those of `punctual_core::record`; a test
//! compares them.
//!
//! Plans are made once for each connection, perhaps while the tables are empty, and kept. So tables are joined to a batch
//! in ways that have one sensible plan: by `= ANY` of the batch's ids, or by a lateral part with a limit, which is probed
//! once a row and never turned into a join that reads all of a table.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The store's clock in microseconds. Not `now()`, which stands still in a transaction.
macro_rules! clock {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    };
}

/// An instant `$span` microseconds after `$now`, saturating.
macro_rules! later {
    ($now:expr, $span:literal) => {
        concat!(
            "CASE WHEN ",
            $span,
            " > 9223372036854775807 - ",
            $now,
            " THEN 9223372036854775807 ELSE ",
            $now,
            " + ",
            $span,
            " END"
        )
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

/// The same as the columns of an insert, with the one that only the store knows.
macro_rules! execution_names {
    () => {
        "id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, priority, state, owner, fence, \
         attempt, losses, wake_us, slot_key, slot_limit, spec, payload_codec, payload_version, payload_data, attempts, \
         cancel, error, created_us, catch_up"
    };
}

/// Rows of executions as 26 arrays, always the parameters 2 to 27.
macro_rules! execution_arrays {
    () => {
        "$2::bytea[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::bigint[], \
         $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], \
         $17::text[], $18::bigint[], $19::text[], $20::text[], $21::bigint[], $22::bytea[], $23::text[], $24::text[], \
         $25::text[], $26::bigint[], $27::text[]"
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
        " LEFT JOIN LATERAL (SELECT * FROM {s}.job j WHERE j.id = e.job_id LIMIT 1) j ON true
  LEFT JOIN LATERAL (SELECT * FROM {s}.trigger t WHERE t.id = e.trigger_id LIMIT 1) t ON true "
    };
}

/// The first parts of a claim: the node is locked shared, so that whoever ends it or closes its gate waits for the claim;
/// then the fence of the lock that the claim is made within is compared with the highest one seen, and kept. `gate` has a
/// row if the node may claim.
macro_rules! gate {
    ($node:literal, $gate:literal, $lock:literal, $fence:literal) => {
        concat!(
            "up AS MATERIALIZED (
  SELECT id FROM {s}.node WHERE id = ",
            $node,
            " AND state = 1 AND standby = 0 AND gate = ",
            $gate,
            " FOR SHARE
), guard AS (
  INSERT INTO {s}.lock_guard AS g (name, fence) SELECT ",
            $lock,
            "::text, ",
            $fence,
            "::bigint FROM up WHERE ",
            $lock,
            "::text IS NOT NULL
  ON CONFLICT (name) DO UPDATE SET fence = excluded.fence WHERE g.fence <= excluded.fence RETURNING name
), gate AS MATERIALIZED (
  SELECT u.id FROM up u WHERE ",
            $lock,
            "::text IS NULL OR EXISTS (SELECT 1 FROM guard)
)"
        )
    };
}

/// Taking slots, as parts of a statement that has `wanted (holder, slot_key, slot_limit, above, turn)`: for each key the
/// work that needs a slot of it, in turn. `$offset` turns the order in which nodes try free slots, so that they do not
/// all try the same one first.
///
/// A free slot is one that nobody held when the statement began; those of a key are numbered from the lowest, up to the
/// limit less the held ones, whatever their numbers. Whether a slot is still free is compared in the row itself, so a
/// slot that another claim took meanwhile is missing in `taken`, and its work is neither busy nor claimed.
/// The floor is locked, because a slot that upkeep deletes meanwhile must not begin anew below its last fence.
macro_rules! take_slots {
    ($offset:literal, $also:literal, $only:literal) => {
        concat!(
            "pressed AS MATERIALIZED (
  SELECT w.slot_key, count(*) AS wants, max(w.slot_limit) AS slot_limit, min(w.slot_limit) = max(w.slot_limit) AS alike,
    (SELECT count(*) FROM {s}.slot s WHERE s.slot_key = w.slot_key AND s.exec_id IS NOT NULL) AS held
  FROM wanted w GROUP BY w.slot_key
), free AS MATERIALIZED (
  SELECT f.slot_key, f.n, f.fence_seq,
    row_number() OVER (PARTITION BY f.slot_key ORDER BY (f.place + ",
            $offset,
            ") % least(f.places, f.room)) AS turn
  FROM (
    SELECT p.slot_key, p.slot_limit - p.held AS room, g.n, s.fence_seq,
      row_number() OVER (PARTITION BY p.slot_key ORDER BY g.n) AS place, count(*) OVER (PARTITION BY p.slot_key) AS places
    FROM pressed p CROSS JOIN LATERAL generate_series(0, least(p.slot_limit, p.held + p.wants + 16) - 1) AS g(n)
    LEFT JOIN LATERAL (
      SELECT * FROM {s}.slot s WHERE s.slot_key = p.slot_key AND s.n = g.n LIMIT 1) s ON true
    WHERE s.exec_id IS NULL AND p.held < p.slot_limit) f
  WHERE f.place <= f.room
), placed AS MATERIALIZED (
  SELECT w.holder, w.slot_key, w.above, f.n, f.fence_seq
  FROM wanted w JOIN free f ON f.slot_key = w.slot_key AND f.turn = w.turn AND f.n < w.slot_limit
  JOIN pressed p ON p.slot_key = w.slot_key AND p.held + w.turn <= w.slot_limit",
            $also,
            "
), floor AS MATERIALIZED (
  SELECT value FROM {s}.meta WHERE name = 'slot_floor' AND EXISTS (SELECT 1 FROM placed) FOR SHARE
), taken AS (
  INSERT INTO {s}.slot AS s (slot_key, n, exec_id, fence_seq)
  SELECT p.slot_key, p.n, p.holder, greatest(f.value, p.fence_seq, p.above) + 1
  FROM placed p CROSS JOIN floor f",
            $only,
            " ORDER BY p.slot_key, p.n
  ON CONFLICT (slot_key, n) DO UPDATE
  SET exec_id = excluded.exec_id, fence_seq = greatest(s.fence_seq + 1, excluded.fence_seq)
  WHERE s.exec_id IS NULL OR s.exec_id = excluded.exec_id
  RETURNING s.exec_id, s.fence_seq
)"
        )
    };
}

/// Claims ready rows whose time has come. For each kind and priority, as in READ_DUE, at most `limit` entries of
/// execution_ready in its order are locked by `$locked`; then the best of all kinds go, as far as there are slots for
/// them, and what stands before the last of them and finds its slots taken is parked. Answers, with the rows, how many
/// were parked and how many were to be claimed; `$missed` adds those that others were claiming.
///
/// Rows are locked before slots here, and in every step that has both.
macro_rules! claim_ready {
    ($locked:literal, $missed:literal) => {
        concat!(
    "
WITH RECURSIVE ",
            gate!("$2", "$3", "$8", "$9"),
            ", due AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us FROM gate
), level (kind, priority) AS (
  SELECT k.kind, (SELECT e.priority FROM {s}.execution e WHERE e.state = 1 AND e.kind = k.kind
    ORDER BY e.priority DESC LIMIT 1) FROM (SELECT DISTINCT k.kind FROM unnest($4::text[]) AS k(kind)) k CROSS JOIN gate
  UNION ALL
  SELECT l.kind, (SELECT e.priority FROM {s}.execution e
    WHERE e.state = 1 AND e.kind = l.kind AND e.priority < l.priority ORDER BY e.priority DESC LIMIT 1)
  FROM level l WHERE l.priority IS NOT NULL
), ",
            $locked,
            "), ready AS MATERIALIZED (
  SELECT l.*, s.n AS kept, s.fence_seq AS kept_fence, l.slot_key IS NOT NULL AND l.slot_limit IS NOT NULL AS needs
  FROM locked l LEFT JOIN LATERAL (SELECT * FROM {s}.slot s WHERE s.exec_id = l.id LIMIT 1) s ON true
), wanted AS MATERIALIZED (
  SELECT r.id AS holder, r.slot_key, r.slot_limit, r.fence AS above,
    row_number() OVER (PARTITION BY r.slot_key ORDER BY r.priority DESC, r.wake_us, r.id) AS turn
  FROM ready r WHERE r.needs AND r.kept IS NULL
), ",
    take_slots!(
        "$7::bigint",
        "
  UNION ALL SELECT r.id, r.slot_key, r.fence, r.kept, r.kept_fence FROM ready r WHERE r.needs AND r.kept IS NOT NULL
), judged AS MATERIALIZED (
  SELECT r.id, r.priority, r.wake_us, r.fence, r.needs, NOT r.needs OR p.holder IS NOT NULL AS goes,
    w.holder IS NOT NULL AND k.held + w.turn > w.slot_limit AND (k.alike OR k.held >= w.slot_limit) AS busy
  FROM ready r LEFT JOIN placed p ON p.holder = r.id LEFT JOIN wanted w ON w.holder = r.id
  LEFT JOIN pressed k ON k.slot_key = w.slot_key
), cut AS MATERIALIZED (
  SELECT j.*, count(*) FILTER (WHERE j.goes) OVER (
    ORDER BY j.priority DESC, j.wake_us, j.id ROWS UNBOUNDED PRECEDING) AS place FROM judged j",
        " JOIN cut c ON c.id = p.holder AND c.place <= $5"
    ),
    ", claimed AS (
  UPDATE {s}.execution e SET state = 2, owner = $2, fence = coalesce(t.fence_seq, e.fence + 1)
  FROM cut c LEFT JOIN taken t ON t.exec_id = c.id
  WHERE e.id = ANY(ARRAY(SELECT a.id FROM cut a)) AND e.id = c.id AND c.goes AND c.place <= $5 AND (NOT c.needs OR t.exec_id IS NOT NULL) RETURNING e.*
), now AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us FROM (SELECT count(*) FROM claimed) c
), parked AS (
  UPDATE {s}.execution e SET wake_us = ",
    later!("n.us", "$6"),
    " FROM cut c CROSS JOIN now n
  WHERE e.id = ANY(ARRAY(SELECT a.id FROM cut a)) AND e.id = c.id AND c.busy AND c.place < $5 RETURNING e.id
), head AS MATERIALIZED (
  SELECT EXISTS (SELECT 1 FROM gate) AS open, (SELECT us FROM now) AS now_us, (SELECT count(*) FROM parked) AS parked,
    (SELECT count(*) FROM cut c WHERE c.goes AND c.place <= $5) + ",
            $missed,
            " AS tried
)
SELECT h.open, h.now_us, h.parked, h.tried, ",
    work_columns!(),
    " FROM head h LEFT JOIN (claimed e",
    work_tables!(),
    ") ON true ORDER BY e.priority DESC, e.wake_us, e.id"
)
    };
}

mod listings;
mod own;

pub(crate) use self::listings::*;
pub(crate) use self::own::*;

// ---- transactions and the clock ----

pub(crate) const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// The clock.
pub(crate) const NOW: &str = concat!("SELECT ", clock!());

// ---- definitions ----

/// What is stored under a job's key or id, by job_key and the primary key: how many rows, whether there is just the one
/// that has both, and its rev. Locks what it finds.
pub(crate) const FIND_JOB: &str = "
SELECT count(*), coalesce(bool_and(id = $3 AND group_name = $1 AND name = $2), false), coalesce(max(rev), 0)
FROM (SELECT id, group_name, name, rev FROM {s}.job
  WHERE (group_name = $1 AND name = $2) OR id = $3 ORDER BY id FOR NO KEY UPDATE) f";

/// Creates or replaces a job, by its primary key. Zero rows: it was changed meanwhile.
pub(crate) const PUT_JOB: &str = "
INSERT INTO {s}.job AS j (id, group_name, name, kind, description, spec, payload_codec, payload_version, payload_data,
  priority, durable, set_name, rev, created_us, slot_key, slot_limit)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, description = excluded.description, spec = excluded.spec,
  payload_codec = excluded.payload_codec, payload_version = excluded.payload_version,
  payload_data = excluded.payload_data, priority = excluded.priority, durable = excluded.durable,
  set_name = excluded.set_name, rev = excluded.rev, created_us = excluded.created_us, slot_key = excluded.slot_key,
  slot_limit = excluded.slot_limit
WHERE j.rev = excluded.rev - 1";

/// Brings the copies that triggers keep of their job up to date, by trigger_job. Not a write in the sense of `rev`: no
/// decision about the trigger has changed.
pub(crate) const SPREAD_JOB: &str = "
UPDATE {s}.trigger SET kind = $2, rank = priority + $3 WHERE job_id = $1 AND (kind <> $2 OR rank <> priority + $3)";

/// As FIND_JOB, by trigger_key and the primary key.
pub(crate) const FIND_TRIGGER: &str = "
SELECT count(*), coalesce(bool_and(id = $3 AND group_name = $1 AND name = $2), false), coalesce(max(rev), 0)
FROM (SELECT id, group_name, name, rev FROM {s}.trigger
  WHERE (group_name = $1 AND name = $2) OR id = $3 ORDER BY id FOR NO KEY UPDATE) f";

/// The mark of a key, by primary key. Zero rows: there is none.
pub(crate) const FIND_MARK: &str = "SELECT last_us FROM {s}.mark WHERE group_name = $1 AND name = $2";

/// Creates or replaces a trigger, by its primary key. Locks its job shared, so that the copies of kind and priority are
/// those that SPREAD_JOB writes or finds; and its calendar, so that it is not deleted meanwhile. Zero rows: its job or
/// its calendar is not there, or the trigger was changed meanwhile.
pub(crate) const PUT_TRIGGER: &str = concat!(
    "
INSERT INTO {s}.trigger AS t (id, group_name, name, job_id, description, spec, payload_codec, payload_version,
  payload_data, priority, state, next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice, error,
  set_name, hash, created_us, progress, calendar, kind, rank, completed_us)
SELECT $2::bigint, $3::text, $4::text, $5::bigint, $6::text, $7::text, $8::text, $9::bigint, $10::bytea, $11::bigint,
  $12::bigint, $13::bigint, $14::bigint, $15::bigint, $16::bigint, $17::bigint, $18::bigint, $19::bigint, $20::bigint,
  $21::text, $22::text, $23::bigint, $24::bigint, $25::text, $26::text, j.kind, j.priority + $11,
  CASE WHEN $12 = 2 THEN ",
    clock!(),
    " END
FROM (SELECT kind, priority FROM {s}.job WHERE id = $5 FOR SHARE) j
WHERE $26::text IS NULL OR EXISTS (SELECT 1 FROM {s}.calendar WHERE name = $26 FOR KEY SHARE)
ON CONFLICT (id) DO UPDATE SET job_id = excluded.job_id, description = excluded.description, spec = excluded.spec,
  payload_codec = excluded.payload_codec, payload_version = excluded.payload_version,
  payload_data = excluded.payload_data, priority = excluded.priority, state = excluded.state,
  next_fire_us = excluded.next_fire_us, wake_us = excluded.wake_us, last_us = excluded.last_us, fires = excluded.fires,
  fire_seq = excluded.fire_seq, generation = excluded.generation, rev = excluded.rev, slice = excluded.slice,
  error = excluded.error, set_name = excluded.set_name, hash = excluded.hash, created_us = excluded.created_us,
  progress = excluded.progress, calendar = excluded.calendar,
  kind = excluded.kind, rank = excluded.rank,
  completed_us = CASE WHEN excluded.state = 2 THEN coalesce(t.completed_us, excluded.completed_us) END
WHERE t.rev = excluded.rev - 1"
);

/// Deletes a trigger of a revision, by primary key. Zero rows: it is gone or was changed.
pub(crate) const DELETE_TRIGGER: &str =
    "DELETE FROM {s}.trigger WHERE id = $1 AND rev = $2 RETURNING group_name, name, last_us";

/// Remembers the last instant of a deleted trigger, by primary key.
pub(crate) const PUT_MARK: &str = concat!(
    "
INSERT INTO {s}.mark (group_name, name, last_us, written_us) VALUES ($2, $3, $4, ",
    clock!(),
    ")
ON CONFLICT (group_name, name) DO UPDATE SET last_us = excluded.last_us, written_us = excluded.written_us"
);

/// Forgets a mark. Zero rows: there was none.
pub(crate) const DELETE_MARK: &str = "DELETE FROM {s}.mark WHERE group_name = $1 AND name = $2";

/// Writes down what live rows of a trigger inherited, by execution_occurrence.
pub(crate) const LEAVE_TRIGGER: &str = "
UPDATE {s}.execution SET spec = coalesce(spec, $2), payload_codec = coalesce(payload_codec, $3),
  payload_version = coalesce(payload_version, $4), payload_data = coalesce(payload_data, $5)
WHERE trigger_id = $1 AND (spec IS NULL OR payload_data IS NULL)";

/// The same for a job. Scans the live rows: jobs are deleted seldom, and an index more would cost each firing.
pub(crate) const LEAVE_JOB: &str = "
UPDATE {s}.execution SET spec = coalesce(spec, $2), payload_codec = coalesce(payload_codec, $3),
  payload_version = coalesce(payload_version, $4), payload_data = coalesce(payload_data, $5)
WHERE job_id = $1 AND (spec IS NULL OR payload_data IS NULL)";

/// Whether a job has live rows. Scans them, as LEAVE_JOB.
pub(crate) const LIVE_OF_JOB: &str = "SELECT EXISTS (SELECT 1 FROM {s}.execution WHERE job_id = $1)";

/// Deletes a job of a revision that no trigger refers to. Zero rows: it is gone, was changed, or is in use.
pub(crate) const DELETE_JOB: &str = "
DELETE FROM {s}.job WHERE id = $1 AND rev = $2 AND NOT EXISTS (SELECT 1 FROM {s}.trigger WHERE job_id = $1)";

/// A job's live rows that nobody owns. Scans, as LEAVE_JOB.
pub(crate) const UNOWNED_OF_JOB: &str =
    "SELECT id FROM {s}.execution WHERE job_id = $1 AND owner IS NULL ORDER BY id";

/// Asks the owners of a job's live rows to stop them. Scans, as LEAVE_JOB.
pub(crate) const CANCEL_OWNED_OF_JOB: &str =
    "UPDATE {s}.execution SET cancel = coalesce(cancel, $2) WHERE job_id = $1 AND owner IS NOT NULL";

/// A set's row, by primary key. Zero rows: it was never written.
pub(crate) const SET: &str =
    "SELECT name, revision, hash, written_by, rev, written_us FROM {s}.definition_set WHERE name = $1";

/// Creates or replaces a set's row, by primary key. Zero rows: it was changed meanwhile.
pub(crate) const PUT_SET: &str = concat!(
    "
INSERT INTO {s}.definition_set AS d (name, revision, hash, written_by, rev, written_us) VALUES ($2, $3, $4, $5, $6, ",
    clock!(),
    ")
ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, hash = excluded.hash,
  written_by = excluded.written_by, rev = excluded.rev, written_us = excluded.written_us
WHERE d.rev = excluded.rev - 1"
);

/// The rev of a calendar, by primary key; locks it. Zero rows: there is none.
pub(crate) const FIND_CALENDAR: &str = "SELECT rev FROM {s}.calendar WHERE name = $1 FOR UPDATE";

/// Creates or replaces a calendar, by primary key. Zero rows: it was changed meanwhile.
pub(crate) const PUT_CALENDAR: &str = concat!(
    "
INSERT INTO {s}.calendar AS c (name, document, rev, updated_us) VALUES ($2, $3, $4, ",
    clock!(),
    ")
ON CONFLICT (name) DO UPDATE SET document = excluded.document, rev = excluded.rev, updated_us = excluded.updated_us
WHERE c.rev = excluded.rev - 1"
);

/// Deletes a calendar of a revision that no trigger names, by primary key and trigger_calendar; it must be locked
/// already, by FIND_CALENDAR, or a trigger that names it could slip in. Zero rows: it is gone, was changed, or is in use.
pub(crate) const DELETE_CALENDAR: &str = "
DELETE FROM {s}.calendar WHERE name = $1 AND rev = $2 AND NOT EXISTS (SELECT 1 FROM {s}.trigger WHERE calendar = $1)";

// ---- cancel ----

/// Copies rows that nobody owns into the history as cancelled, by primary key.
pub(crate) const RECORD_CANCELLED: &str = concat!(
    "INSERT INTO {s}.history (",
    history_columns!(),
    ") SELECT id, trigger_id, generation, trigger_key, job_id, job_key, kind, scheduled_us, NULL, 1, 3, NULL, attempt,
  NULL, fence, NULL, ",
    clock!(),
    ", $3, NULL, attempts FROM {s}.execution WHERE id = ANY($2) AND owner IS NULL ON CONFLICT DO NOTHING"
);

/// Deletes rows that nobody owns, by primary key.
pub(crate) const DELETE_UNOWNED: &str =
    "DELETE FROM {s}.execution WHERE id = ANY($1) AND owner IS NULL RETURNING id";

/// Asks the owners of rows to stop them, by primary key.
pub(crate) const CANCEL_OWNED: &str =
    "UPDATE {s}.execution SET cancel = coalesce(cancel, $2) WHERE id = ANY($1) AND owner IS NOT NULL";

// ---- membership ----

/// Adds a node. Zero rows: it is there already.
pub(crate) const INSERT_NODE: &str = "
INSERT INTO {s}.node (id, name, host, pid, version, zone_data, profile, capacity, kinds, state, standby, gate, joined_us)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (id) DO NOTHING";

/// Adds a node's first beat.
pub(crate) const INSERT_BEAT: &str = "INSERT INTO {s}.beat (node_id, beat, seen_us) VALUES ($1, $2, $3)";

/// Raises a node's beat if `$3` says so, and answers all that a node needs to know once an interval: its own row, the
/// nodes that are up by node_state, its live rows and the owners that are not up by execution_owner.
///
/// Whoever ends a node deletes its beat in the same step, so the row of the beat alone decides whether it is up.
pub(crate) const CHECK_IN: &str = concat!(
    "
WITH RECURSIVE beaten AS (
  UPDATE {s}.beat SET beat = beat + 1, seen_us = ",
    clock!(),
    " WHERE node_id = $2 AND $3 RETURNING node_id, beat, seen_us
), own AS MATERIALIZED (
  SELECT n.gate, n.standby, coalesce(u.beat, b.beat) AS beat, CASE WHEN $3 THEN u.beat ELSE b.beat END IS NOT NULL AS up
  FROM {s}.node n LEFT JOIN {s}.beat b ON b.node_id = n.id LEFT JOIN beaten u ON u.node_id = n.id WHERE n.id = $2
), owner (id) AS (
  SELECT min(e.owner) FROM {s}.execution e WHERE e.owner IS NOT NULL
  UNION ALL
  SELECT (SELECT min(e.owner) FROM {s}.execution e WHERE e.owner > o.id) FROM owner o WHERE o.id IS NOT NULL
), head AS MATERIALIZED (
  SELECT (SELECT ",
    clock!(),
    " FROM (SELECT count(*) FROM beaten) c) AS now_us,
    (SELECT value FROM {s}.meta WHERE name = 'epoch') AS epoch,
    coalesce((SELECT up FROM own), false) AS up, coalesce((SELECT beat FROM own WHERE up), 0) AS beat,
    coalesce((SELECT gate FROM own), 0) AS gate, coalesce((SELECT standby FROM own), 0) AS standby,
    w.ids, w.fences, w.attempts, w.cancels,
    ARRAY(SELECT o.id FROM owner o WHERE o.id IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM {s}.node n WHERE n.id = o.id AND n.state = 1) ORDER BY o.id) AS gone
  FROM (SELECT coalesce(array_agg(e.id ORDER BY e.id), '{}') AS ids,
      coalesce(array_agg(e.fence ORDER BY e.id), '{}') AS fences,
      coalesce(array_agg(e.attempt ORDER BY e.id), '{}') AS attempts,
      coalesce(array_agg(e.cancel ORDER BY e.id), '{}') AS cancels FROM {s}.execution e WHERE e.owner = $2) w
)
SELECT h.now_us, h.epoch, h.up, h.beat, h.gate, h.standby, h.ids, h.fences, h.attempts, h.cancels, h.gone, ",
    node_columns!(),
    " FROM head h LEFT JOIN {s}.node n ON n.state = 1 LEFT JOIN LATERAL (
  SELECT coalesce(u.beat, p.beat) AS beat, coalesce(u.seen_us, p.seen_us) AS seen_us
  FROM {s}.beat p LEFT JOIN beaten u ON u.node_id = p.node_id WHERE p.node_id = n.id) b ON true
ORDER BY n.joined_us, n.id"
);

/// Marks an up node dead and deletes its beat if that is still the one that was seen, by primary keys; waits for its
/// claims. A missing beat counts as 0, as observers see it. Answers whether it was up, and whether it is dead now.
pub(crate) const TAKE_OVER: &str = concat!(
    "
WITH up AS MATERIALIZED (
  SELECT id FROM {s}.node WHERE id = $2 AND state = 1 FOR NO KEY UPDATE
), gone AS (
  DELETE FROM {s}.beat b USING up WHERE b.node_id = up.id AND b.beat = $3 RETURNING b.node_id
), dead AS (
  UPDATE {s}.node n SET state = 3, ended_us = ",
    clock!(),
    " FROM up WHERE n.id = up.id AND (EXISTS (SELECT 1 FROM gone)
    OR ($3 = 0 AND NOT EXISTS (SELECT 1 FROM {s}.beat WHERE node_id = $2))) RETURNING n.id
)
SELECT EXISTS (SELECT 1 FROM up), EXISTS (SELECT 1 FROM dead)"
);

/// Marks an up node as left and deletes its beat, by primary keys. Zero rows: it is not up.
pub(crate) const LEAVE: &str = concat!(
    "
WITH gone AS (
  UPDATE {s}.node SET state = 2, ended_us = ",
    clock!(),
    " WHERE id = $2 AND state = 1 RETURNING id
)
DELETE FROM {s}.beat b USING gone WHERE b.node_id = gone.id"
);

/// Puts a node in or out of standby and raises its gate, by primary key; waits for its claims. Zero rows: it is not up.
pub(crate) const SET_STANDBY: &str =
    "UPDATE {s}.node SET standby = $2, gate = gate + 1 WHERE id = $1 AND state = 1 RETURNING gate";

/// Live rows of an owner that is not up with what they inherit, by execution_owner.
pub(crate) const ORPHANS: &str = concat!(
    "SELECT ",
    work_columns!(),
    " FROM {s}.execution e",
    work_tables!(),
    "WHERE e.owner = $1 AND NOT EXISTS (SELECT 1 FROM {s}.node WHERE id = $1 AND state = 1) ORDER BY e.id LIMIT $2"
);

// ---- the life of a firing ----

/// Due triggers with their jobs and the documents of their calendars, behind the time, the node's gate, the next wake
/// and whether rows are ready. For each kind at most `limit` entries of trigger_due in its order; then the best of all
/// kinds. So triggers of other kinds and parked ones cost nothing, however many there are. For each kind and priority of
/// ready rows one probe of execution_ready for what is due, and one for what comes next.
pub(crate) const READ_DUE: &str = concat!(
    "
WITH RECURSIVE clock AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us
), kind AS MATERIALIZED (
  SELECT DISTINCT k.kind FROM unnest($2::text[]) AS k(kind)
), due AS MATERIALIZED (
  SELECT b.id FROM kind k CROSS JOIN LATERAL (
    SELECT d.id, d.wake_us, d.rank FROM {s}.trigger d
    WHERE d.kind = k.kind AND d.state = 1 AND d.wake_us <= (SELECT us FROM clock)
      AND (d.wake_us < (SELECT us - $3 FROM clock) OR d.slice BETWEEN $4 AND $5)
    ORDER BY d.wake_us, d.rank DESC, d.id LIMIT $6) b
  ORDER BY b.wake_us, b.rank DESC, b.id LIMIT $6
), level (kind, priority) AS (
  SELECT k.kind, (SELECT e.priority FROM {s}.execution e WHERE e.state = 1 AND e.kind = k.kind
    ORDER BY e.priority DESC LIMIT 1) FROM kind k
  UNION ALL
  SELECT l.kind, (SELECT e.priority FROM {s}.execution e
    WHERE e.state = 1 AND e.kind = l.kind AND e.priority < l.priority ORDER BY e.priority DESC LIMIT 1)
  FROM level l WHERE l.priority IS NOT NULL
), head AS MATERIALIZED (
  SELECT (SELECT us FROM clock) AS now_us, coalesce((SELECT gate FROM {s}.node WHERE id = $7), 0) AS gate,
    (SELECT min((SELECT d.wake_us FROM {s}.trigger d WHERE d.kind = k.kind AND d.state = 1
      AND d.wake_us > (SELECT us FROM clock) ORDER BY d.wake_us LIMIT 1)) FROM kind k) AS of_triggers,
    (SELECT min((SELECT e.wake_us FROM {s}.execution e WHERE e.state = 1 AND e.kind = l.kind
      AND e.priority = l.priority AND e.wake_us > (SELECT us FROM clock) ORDER BY e.wake_us LIMIT 1))
      FROM level l WHERE l.priority IS NOT NULL) AS of_ready,
    EXISTS (SELECT 1 FROM level l WHERE l.priority IS NOT NULL AND EXISTS (SELECT 1 FROM {s}.execution e
      WHERE e.state = 1 AND e.kind = l.kind AND e.priority = l.priority AND e.wake_us <= (SELECT us FROM clock))) AS ready
)
SELECT h.now_us, h.gate, h.of_triggers, h.of_ready, h.ready, ",
    trigger_columns!(),
    ", ",
    job_columns!("j"),
    ", c.document
FROM head h LEFT JOIN (due CROSS JOIN LATERAL (SELECT * FROM {s}.trigger t WHERE t.id = due.id LIMIT 1) t
  CROSS JOIN LATERAL (SELECT * FROM {s}.job j WHERE j.id = t.job_id LIMIT 1) j
  LEFT JOIN LATERAL (SELECT * FROM {s}.calendar c WHERE c.name = t.calendar LIMIT 1) c ON true) ON true
ORDER BY t.wake_us, t.rank DESC, t.id"
);

/// Sets a trigger aside that would fire something twice, by primary key. Zero rows: it is gone.
pub(crate) const SET_ASIDE: &str = "
UPDATE {s}.trigger SET state = 3, wake_us = NULL, error = $2, completed_us = NULL, fire_seq = fire_seq + 1, rev = rev + 1
WHERE id = $1";

/// Claims ready rows; those that others have locked are left out.
///
/// The locking part has a limit, and is planned as the inner side of a loop over kinds and priorities: that is safe only
/// because it is materialised and the outer side gives each pair once, so no part of it runs twice.
pub(crate) const CLAIM_READY: &str = claim_ready!(
    "locked AS MATERIALIZED (
  SELECT r.* FROM level l CROSS JOIN due d CROSS JOIN LATERAL (
    SELECT r.id, r.priority, r.wake_us, r.slot_key, r.slot_limit, r.fence FROM {s}.execution r
    WHERE r.state = 1 AND r.kind = l.kind AND r.priority = l.priority AND r.wake_us <= d.us
    ORDER BY r.wake_us, r.id LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED) r
  WHERE l.priority IS NOT NULL
",
    "0"
);

/// Marks claimed rows as begun, by primary key. Answers which of them still were those claims. The sum keeps the planner
/// from execution_owner.
pub(crate) const BEGIN: &str = "
UPDATE {s}.execution e SET state = 3
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS g(id, owner, fence, ord)
WHERE e.id = ANY($1) AND e.id = g.id AND e.owner + 0 = g.owner AND e.fence = g.fence AND e.state IN (2, 3) RETURNING g.ord";

/// Which ends the history has with their fences, by primary key.
pub(crate) const KNOWS_END: &str = "
SELECT g.ord FROM unnest($1::bytea[], $2::bigint[]) WITH ORDINALITY AS g(id, fence, ord)
JOIN {s}.history h ON h.id = g.id AND h.fence = g.fence WHERE h.id = ANY($1)";

/// Frees the slots that executions hold, by slot_holder.
pub(crate) const FREE_HELD_SLOT: &str = "
WITH place AS MATERIALIZED (
  SELECT slot_key, n FROM {s}.slot WHERE exec_id = ANY($1) ORDER BY slot_key, n FOR NO KEY UPDATE
)
UPDATE {s}.slot s SET exec_id = NULL FROM place p
WHERE s.exec_id = ANY($1) AND s.slot_key = p.slot_key AND s.n = p.n RETURNING s.slot_key";

/// Wakes the best parked rows of keys, as many of each as asked for, by execution_parked. Answers for each key how many
/// there were, and how many of them no other step woke or took meanwhile.
pub(crate) const WAKE_READY: &str = "
WITH freed AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::bigint[]) AS f(slot_key, slots)
), best AS MATERIALIZED (
  SELECT f.slot_key, b.id FROM freed f CROSS JOIN LATERAL (
    SELECT e.id FROM {s}.execution e WHERE e.slot_key = f.slot_key AND e.state = 1 AND e.wake_us > e.due_us
    ORDER BY e.priority DESC, e.due_us, e.id LIMIT f.slots) b
), woken AS (
  UPDATE {s}.execution e SET wake_us = due_us
  WHERE e.id = ANY(ARRAY(SELECT id FROM best)) AND e.state = 1 AND e.wake_us > e.due_us RETURNING e.slot_key
)
SELECT f.slot_key, (SELECT count(*) FROM best b WHERE b.slot_key = f.slot_key),
  (SELECT count(*) FROM woken w WHERE w.slot_key = f.slot_key) FROM freed f";

/// The same for parked triggers, by job_slot and one probe of trigger_parked a job.
pub(crate) const WAKE_TRIGGER: &str = "
WITH freed AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::bigint[]) AS f(slot_key, slots)
), best AS MATERIALIZED (
  SELECT f.slot_key, b.id FROM freed f CROSS JOIN LATERAL (
    SELECT t.id FROM {s}.job j CROSS JOIN LATERAL (
      SELECT p.id, p.next_fire_us, p.rank FROM {s}.trigger p
      WHERE p.job_id = j.id AND p.state = 1 AND p.wake_us > p.next_fire_us
      ORDER BY p.next_fire_us, p.rank DESC, p.id LIMIT f.slots) t
    WHERE j.slot_key = f.slot_key ORDER BY t.next_fire_us, t.rank DESC, t.id LIMIT f.slots) b
), woken AS (
  UPDATE {s}.trigger t SET wake_us = next_fire_us, rev = rev + 1
  WHERE t.id = ANY(ARRAY(SELECT id FROM best)) AND t.state = 1 AND t.wake_us > t.next_fire_us RETURNING t.id
)
SELECT f.slot_key, (SELECT count(*) FROM best b WHERE b.slot_key = f.slot_key),
  (SELECT count(*) FROM best b JOIN woken w ON w.id = b.id WHERE b.slot_key = f.slot_key) FROM freed f";

// ---- upkeep ----

/// Keys that work waits for although they have a free slot, and how many they have. Goes from key to key in
/// execution_parked, and through the jobs of job_slot with one probe of trigger_parked each; then counts by the primary
/// key of slot. So it costs the same however many wait for one key.
pub(crate) const WAITING_KEYS: &str = "
WITH RECURSIVE parked (slot_key) AS (
  (SELECT e.slot_key FROM {s}.execution e WHERE e.state = 1 AND e.wake_us > e.due_us AND e.slot_key > ''
    ORDER BY e.slot_key LIMIT 1)
  UNION ALL
  SELECT (SELECT e.slot_key FROM {s}.execution e
    WHERE e.state = 1 AND e.wake_us > e.due_us AND e.slot_key > p.slot_key ORDER BY e.slot_key LIMIT 1)
  FROM parked p WHERE p.slot_key IS NOT NULL
), waiting (slot_key, slot_limit) AS (
  SELECT p.slot_key, (SELECT e.slot_limit FROM {s}.execution e WHERE e.slot_key = p.slot_key AND e.state = 1
    AND e.wake_us > e.due_us ORDER BY e.priority DESC, e.due_us, e.id LIMIT 1)
  FROM parked p WHERE p.slot_key IS NOT NULL
  UNION ALL
  SELECT j.slot_key, j.slot_limit FROM {s}.job j WHERE j.slot_key IS NOT NULL AND EXISTS (
    SELECT 1 FROM {s}.trigger t WHERE t.job_id = j.id AND t.state = 1 AND t.wake_us > t.next_fire_us)
), room (slot_key, free) AS (
  SELECT w.slot_key, max(w.slot_limit)
    - (SELECT count(*) FROM {s}.slot s WHERE s.slot_key = w.slot_key AND s.exec_id IS NOT NULL)
  FROM waiting w GROUP BY w.slot_key
)
SELECT r.slot_key, r.free FROM room r WHERE r.free > 0 ORDER BY r.slot_key LIMIT $1";

/// Deletes old history, by history_ended.
pub(crate) const PRUNE_HISTORY: &str = concat!(
    "
DELETE FROM {s}.history WHERE id = ANY(ARRAY(
  SELECT id FROM {s}.history WHERE ended_us < (SELECT ",
    clock!(),
    " - $2) ORDER BY ended_us, id LIMIT $3))"
);

/// Deletes nodes that are long gone and own nothing, by execution_owner.
pub(crate) const PRUNE_NODES: &str = concat!(
    "
DELETE FROM {s}.node WHERE id = ANY(ARRAY(SELECT n.id FROM {s}.node n
  WHERE n.state <> 1 AND n.ended_us < (SELECT ",
    clock!(),
    " - $2) AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.owner = n.id) ORDER BY n.id LIMIT $3))"
);

/// Completed triggers that belong to no set and have no live rows, by trigger_completed.
pub(crate) const COMPLETED: &str = concat!(
    "
SELECT t.id, t.rev, t.job_id FROM {s}.trigger t
WHERE t.completed_us IS NOT NULL AND t.completed_us < (SELECT ",
    clock!(),
    " - $2) AND t.set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.trigger_id = t.id) ORDER BY t.id LIMIT $3"
);

/// Deletes a job that nothing needs; it must be locked already, or work could slip in. Zero rows: something does, or it
/// is to be kept.
pub(crate) const PRUNE_JOB: &str = "
DELETE FROM {s}.job WHERE id = $1 AND durable = 0 AND set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM {s}.trigger WHERE job_id = $1)
  AND NOT EXISTS (SELECT 1 FROM {s}.execution WHERE job_id = $1)";

/// Deletes old marks. Scans them: they are few, and this is not hot.
pub(crate) const PRUNE_MARKS: &str = concat!(
    "
DELETE FROM {s}.mark WHERE (group_name, name) IN (
  SELECT group_name, name FROM {s}.mark WHERE written_us < (SELECT ",
    clock!(),
    " - $2) ORDER BY group_name, name LIMIT $3)"
);

/// Deletes slots that nobody holds or waits for. Scans slots and live rows once. The floor must be locked already.
pub(crate) const PRUNE_SLOTS: &str = "
DELETE FROM {s}.slot WHERE exec_id IS NULL AND (slot_key, n) IN (
  SELECT s.slot_key, s.n FROM {s}.slot s WHERE s.exec_id IS NULL
    AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.slot_key = s.slot_key)
    AND NOT EXISTS (SELECT 1 FROM {s}.job j JOIN {s}.trigger t ON t.job_id = j.id
      WHERE j.slot_key = s.slot_key AND t.state = 1 AND t.wake_us > t.next_fire_us)
  ORDER BY s.slot_key, s.n LIMIT $1) RETURNING fence_seq";

/// Raises the floor under the fences of all slots that are made from now on.
pub(crate) const RAISE_FLOOR: &str =
    "UPDATE {s}.meta SET value = greatest(value, $1) WHERE name = 'slot_floor'";

// ---- wake ----

/// Says that something became available, to whoever listens on the channel of the schema.
pub(crate) const RAISE_WAKE: &str = "SELECT pg_notify($1, '')";

/// The statements of one schema.
#[derive(Debug)]
pub(crate) struct Statements {
    schema: Box<str>,
    texts: BTreeMap<&'static str, Arc<str>>,
}

impl Statements {
    /// Puts a schema, which must have been checked, into every statement.
    pub(crate) fn of(schema: &str) -> Self {
        let texts = ALL.iter().map(|(_, sql)| (*sql, render(schema, sql))).collect();
        Self { schema: schema.into(), texts }
    }

    /// The text of a statement that is not in the list.
    pub(crate) fn render(&self, sql: &str) -> Arc<str> {
        render(&self.schema, sql)
    }

    /// The text of a statement.
    pub(crate) fn text(&self, sql: &'static str) -> Arc<str> {
        self.texts.get(sql).map_or_else(|| self.render(sql), Arc::clone)
    }
}

/// A template with its schema.
fn render(schema: &str, sql: &str) -> Arc<str> {
    sql.replace("{s}", schema).into()
}

macro_rules! list {
    ($($name:ident)+) => { &[$((stringify!($name), $name)),+] };
}

/// All statements, by the names of their constants.
pub(crate) const ALL: &[(&str, &str)] = list![
    BEGIN_WRITE BEGIN_READ COMMIT ROLLBACK NOW FIND_JOB PUT_JOB SPREAD_JOB FIND_TRIGGER FIND_MARK PUT_TRIGGER
    DELETE_TRIGGER PUT_MARK DELETE_MARK LEAVE_TRIGGER LEAVE_JOB LIVE_OF_JOB DELETE_JOB UNOWNED_OF_JOB
    CANCEL_OWNED_OF_JOB SET PUT_SET FIND_CALENDAR PUT_CALENDAR DELETE_CALENDAR RECORD_CANCELLED DELETE_UNOWNED
    CANCEL_OWNED INSERT_NODE INSERT_BEAT CHECK_IN TAKE_OVER LEAVE SET_STANDBY ORPHANS READ_DUE SET_ASIDE CLAIM_READY
    BEGIN KNOWS_END FREE_HELD_SLOT WAKE_READY WAKE_TRIGGER WAITING_KEYS PRUNE_HISTORY PRUNE_NODES COMPLETED PRUNE_JOB PRUNE_MARKS
    PRUNE_SLOTS RAISE_FLOOR RAISE_WAKE ACQUIRE_LOCK RENEW_LOCK RELEASE_LOCK JOB JOB_BY_ID JOBS TRIGGER TRIGGERS TRIGGERS_OF CALENDAR
    CALENDARS TRIGGERS_USING EXECUTION EXECUTIONS RECORD HISTORY HISTORY_OF_TRIGGER HISTORY_OF_JOB NODES JOBS_OF_SET
    TRIGGERS_OF_SET CREATE_MIGRATION HAS_MIGRATION MIGRATIONS PUT_MIGRATION CLOCK LOCK_KEY LOCK_JOB LOCK_EXECUTIONS
    LOCK_FLOOR ENQUEUE CLAIM CLAIM_READY_CAS SETTLE SAVEPOINT SAVEPOINT_KEEP SAVEPOINT_UNDO CREATE_SCHEMA HAS_SCHEMA LOCK_MIGRATIONS SERVER PLAN_AS_LARGE SETTINGS
];

#[cfg(test)]
mod tests;
