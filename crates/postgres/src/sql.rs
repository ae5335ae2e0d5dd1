//! Every statement of this store, by topic; those that no sibling has are in `sql/own.rs`. Here are the parts that several
//! of them share.
//!
//! A statement is a template: `{s}` is the schema, and `{skip}` passes over rows that others have locked, where claims may
//! do that; both are put in once for each store. All of them run at READ COMMITTED: a
//! statement sees one snapshot, taken when it begins, and of a row that it had to wait for it sees the newest version,
//! but of that row only. So each comparison that a write rests on is made on the row that is locked or written itself.
//! `$1` is the given time of a test wherever a statement needs the time; null is the server's clock, which is read in
//! the part of the statement that nothing blocks any more. Codes of states are those of `punctual_core::record`; a test
//! compares them.
//!
//! Plans are made once for each connection, perhaps while the tables are empty, and kept. So tables are joined to a batch
//! in ways that have one sensible plan: by `= ANY` of the batch's ids, or by a lateral part with a limit or a lock, which
//! is probed once a row and never turned into a join that reads all of a table.

use std::collections::BTreeMap;
use std::sync::Arc;

use punctual_core::store::ClaimShape;

/// The store's clock in microseconds. Not `now()`, which stands still in a transaction.
macro_rules! clock {
    () => {
        "coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
    };
}

/// Joined to a part of a statement, says that the part is large: it stands for one row, and is taken for a thousand.
///
/// The plan of a prepared statement is made for batches of ten, and what comes of several conditions on them for one row;
/// so the parts would be joined row by row, and a batch of a thousand would take a million comparisons. Parts that are
/// known to be large are hashed, which costs small batches nothing that can be measured.
macro_rules! many {
    () => {
        " CROSS JOIN generate_series(1, (SELECT 1)) AS many"
    };
}

/// An instant `$span` microseconds after `$now`, saturating. No part overflows, also where the clock is before 1970.
macro_rules! later {
    ($now:expr, $span:literal) => {
        concat!(
            "CASE WHEN ",
            $now,
            " > 0 AND ",
            $span,
            " > 9223372036854775807 - greatest(",
            $now,
            ", 0) THEN 9223372036854775807 ELSE ",
            $now,
            " + ",
            $span,
            " END"
        )
    };
}

/// An instant `$span` microseconds before `$now`, saturating.
macro_rules! earlier {
    ($now:literal, $span:literal) => {
        concat!(
            "CASE WHEN ",
            $now,
            " < -9223372036854775807 - 1 + ",
            $span,
            " THEN -9223372036854775807 - 1 ELSE ",
            $now,
            " - ",
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
         t.rev, t.slice, t.error, t.set_name, t.hash, t.created_us, t.progress, t.paused"
    };
}

/// Triggers, of which `l` says how they are found: what it tells of a trigger is the same there, and has indexes.
macro_rules! looked_up {
    () => {
        " FROM {s}.trigger_lookup l CROSS JOIN LATERAL (SELECT * FROM {s}.trigger t WHERE t.id = l.id LIMIT 1) t"
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
    (SELECT count(s.exec_id) FROM {s}.slot s WHERE s.slot_key = w.slot_key) AS held
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

/// The kinds of `$kinds` with each priority of which there are ready rows, highest first, by execution_ready: one probe for
/// each. `$priority` is that of a place which nothing stands before, or null.
macro_rules! levels {
    ($kinds:literal, $priority:literal) => {
        concat!(
            "level (kind, priority) AS (
  SELECT k.kind, CASE WHEN ",
            $priority,
            "::bigint IS NOT NULL THEN ",
            $priority,
            " ELSE (SELECT e.priority FROM {s}.execution e WHERE e.state = 1 AND e.kind = k.kind
    ORDER BY e.priority DESC LIMIT 1) END FROM ",
            $kinds,
            "
  UNION ALL
  SELECT l.kind, (SELECT e.priority FROM {s}.execution e
    WHERE e.state = 1 AND e.kind = l.kind AND e.priority < l.priority ORDER BY e.priority DESC LIMIT 1)
  FROM level l WHERE l.priority IS NOT NULL
)"
        )
    };
}

/// The first wake time that is looked at on a level `l`: that of a place which nothing stands before, or all.
macro_rules! from_place {
    ($priority:literal, $wake:literal) => {
        concat!(
            "CASE WHEN l.priority = ",
            $priority,
            "::bigint THEN ",
            $wake,
            "::bigint ELSE -9223372036854775808 END"
        )
    };
}

/// Claims ready rows whose time has come. For each kind and priority, as in READ_DUE, at most `limit` entries of
/// execution_ready in its order are locked by `$locked`; then the best of all kinds go, as far as there are slots for
/// them, and what stands before the last of them and finds its slots taken is parked. Where as many as `limit` of a kind
/// and priority were locked there may be more of them, so nothing goes that stands behind the last of these: it would
/// overtake. Answers, with the rows, how many were parked and how many were to be claimed; `$missed` adds those that
/// others were claiming. What stands before the place of `$10` and `$11` is not looked at, if there is one: its entries
/// stay in the index until that is cleaned up.
///
/// Where none of those that were locked has a key and they are no more than `limit`, all of them go: no slot is needed, and
/// a kind and priority of which `limit` were locked is the only one there. `easy` says so, and the parts that judge each
/// row are then not run. They are found by `$place`: `ctid` where they were locked without waiting, so that no index has to
/// be gone down for each. A row that was written between the statement's snapshot and the lock is not found by that; it
/// counts among those that were to be claimed, so that the next look takes it. `id` where the lock may have waited.
///
/// Rows are locked before slots here, and in every step that has both.
macro_rules! claim_ready {
    ($locked:expr, $missed:literal, $place:literal) => {
        concat!(
    "
WITH RECURSIVE ",
            gate!("$2", "$3", "$8", "$9"),
            ", due AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us FROM gate
), ",
            levels!("(SELECT DISTINCT k.kind FROM unnest($4::text[]) AS k(kind)) k CROSS JOIN gate", "$10"),
            ", ",
            $locked,
            "), shape AS MATERIALIZED (
  SELECT count(*) AS n, count(*) <= $5 AND count(l.slot_key) = 0 AS easy FROM locked l
), edge AS MATERIALIZED (
  SELECT n.priority, n.wake_us, n.id FROM (
    SELECT l.priority, l.wake_us, l.id,
      row_number() OVER (PARTITION BY l.kind, l.priority ORDER BY l.wake_us, l.id) AS place FROM locked l
    WHERE NOT (SELECT a.easy FROM shape a)) n
  WHERE n.place = $5 ORDER BY n.priority DESC, n.wake_us, n.id LIMIT 1
), ready AS MATERIALIZED (
  SELECT l.*, s.n AS kept, s.fence_seq AS kept_fence, l.slot_key IS NOT NULL AND l.slot_limit IS NOT NULL AS needs
  FROM locked l LEFT JOIN LATERAL (SELECT * FROM {s}.slot s WHERE s.exec_id = l.id LIMIT 1) s ON true
  WHERE NOT (SELECT a.easy FROM shape a)
    AND NOT EXISTS (SELECT 1 FROM edge g WHERE (g.priority, l.wake_us, l.id) > (l.priority, g.wake_us, g.id))
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
    ", simple AS (
  UPDATE {s}.execution e SET state = 2, owner = $2, fence = e.fence + 1
  WHERE e.id = ANY(ARRAY(SELECT c.id FROM cut c WHERE c.goes AND c.place <= $5 AND NOT c.needs)) RETURNING e.*
), plain AS (
  UPDATE {s}.execution e SET state = 2, owner = $2, fence = e.fence + 1
  WHERE e.",
            $place,
            " = ANY(ARRAY(SELECT l.",
            $place,
            " FROM locked l WHERE (SELECT a.easy FROM shape a))) RETURNING e.*
), slotted AS (
  UPDATE {s}.execution e SET state = 2, owner = $2, fence = coalesce(t.fence_seq, e.fence + 1) FROM taken t
  WHERE e.id = ANY(ARRAY(SELECT a.exec_id FROM taken a)) AND e.id = t.exec_id RETURNING e.*
), claimed AS MATERIALIZED (
  SELECT * FROM plain UNION ALL SELECT * FROM simple UNION ALL SELECT * FROM slotted
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
    (SELECT count(*) FROM cut c WHERE c.goes AND c.place <= $5)
      + coalesce((SELECT a.n FROM shape a WHERE a.easy), 0) + ",
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

#[macro_use]
mod waking;

mod check;
mod definitions;
mod firing;
mod listings;
mod migrations;
mod own;
mod pauses;
mod upkeep;

pub(crate) use self::check::*;
pub(crate) use self::definitions::*;
pub(crate) use self::firing::*;
pub(crate) use self::listings::*;
pub(crate) use self::migrations::*;
pub(crate) use self::own::*;
pub(crate) use self::pauses::*;
pub(crate) use self::upkeep::*;

// ---- transactions and the clock ----

pub(crate) const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
pub(crate) const COMMIT: &str = "COMMIT";
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// The clock.
pub(crate) const NOW: &str = concat!("SELECT ", clock!());

/// The statements of one store.
#[derive(Debug)]
pub(crate) struct Statements {
    schema: Box<str>,
    skip: &'static str,
    texts: BTreeMap<&'static str, Arc<str>>,
}

impl Statements {
    /// Puts a schema, which must have been checked, and the manner of claiming into every statement.
    pub(crate) fn of(schema: &str, claims: ClaimShape) -> Self {
        let skip = if claims == ClaimShape::SkipLocked { " SKIP LOCKED" } else { "" };
        let texts = ALL.iter().map(|(_, sql)| (*sql, render(schema, skip, sql))).collect();
        Self { schema: schema.into(), skip, texts }
    }

    /// The text of a statement that is not in the list.
    pub(crate) fn render(&self, sql: &str) -> Arc<str> {
        render(&self.schema, self.skip, sql)
    }

    /// The text of a statement.
    pub(crate) fn text(&self, sql: &'static str) -> Arc<str> {
        self.texts.get(sql).map_or_else(|| self.render(sql), Arc::clone)
    }
}

/// A template with its schema.
fn render(schema: &str, skip: &str, sql: &str) -> Arc<str> {
    sql.replace("{s}", schema).replace("{skip}", skip).into()
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
    BEGIN KNOWS_END FREE_HELD_SLOT WAKE WAKE_AGAIN WAKE_WAITING PRUNE_HISTORY PRUNE_NODES PRUNE_TRIGGERS LOCK_JOBS PRUNE_JOBS PRUNE_MARKS
    PRUNE_SLOTS RAISE_FLOOR RAISE_WAKE ACQUIRE_LOCK RENEW_LOCK RELEASE_LOCK JOB JOB_BY_ID JOBS TRIGGER TRIGGERS TRIGGERS_OF CALENDAR
    CALENDARS TRIGGERS_USING EXECUTION EXECUTIONS RECORD HISTORY HISTORY_OF_TRIGGER HISTORY_OF_JOB NODES JOBS_OF_SET
    TRIGGERS_OF_SET LOCK_KEY LOCK_JOB LOCK_EXECUTIONS
    LOCK_FLOOR ENQUEUE CLAIM CLAIM_PLAIN CLAIM_READY_CAS SETTLE SAVEPOINT SAVEPOINT_KEEP SAVEPOINT_UNDO SERVER SETTINGS
    CREATE_SCHEMA HAS_SCHEMA CREATE_MIGRATION CREATE_MIGRATION_STEP CREATE_MIGRATION_RUN HAS_MIGRATION HAS_MIGRATION_STEP
    HAS_MIGRATION_RUN HAS_MIGRATION_KEY ADD_MIGRATION_KEY MIGRATIONS PUT_MIGRATION DELETE_MIGRATION MIGRATION_STEPS
    PUT_MIGRATION_STEP DELETE_MIGRATION_STEP BEGIN_MIGRATION_RUN NOTE_MIGRATION_RUN END_MIGRATION_RUN TRY_LOCK
    TRY_SESSION_LOCK SESSION_UNLOCK OWNS_LOCK LOCK_HOLDER CURRENT_STEP IN_THE_WAY LONG_STATEMENTS SHAPE LIVE_BINARIES
    HAS_NODES CLOCK CHECK_SLOTS CHECK_UNSLOTTED CHECK_ENDED CHECK_OWNERS CHECK_HELD CHECK_BEATS CHECK_BEATLESS
    CHECK_DEFINITIONS CHECK_DEFINITION CHECK_DEFINITIONS_OF FREE_SLOT_OF_NOBODY DELETE_ENDED DELETE_STRAY_BEAT MEND_TRIGGER
    MEND_JOB PUT_REPAIR REPAIRS WAITING_KEYS PUT_PAUSE DELETE_PAUSE GROUP_IS_PAUSED PAUSE_TRIGGERS RESUME_TRIGGERS PAUSES
    SHARE_PAUSES LOCK_PAUSES LOCK_GROUP EPOCH HOLD_EPOCH RAISE_EPOCH END_NODES_UP
];

#[cfg(test)]
mod tests;
