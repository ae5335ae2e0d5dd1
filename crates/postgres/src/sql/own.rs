//! Statements that the other stores do not have: locks that a file with one writer does not need, and steps that take
//! arrays, so that a batch is one round trip.

mod claim;

pub(crate) use self::claim::*;

// ---- locks ----

/// Keeps others from creating a trigger of this key until the end of the transaction: neither the missing row nor the
/// missing mark can be locked.
pub(crate) const LOCK_KEY: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('{s}.trigger ' || $1 || '/' || $2, 0))";

/// Keeps the pauses of groups as they are until the end of the transaction, which writes triggers by them.
pub(crate) const SHARE_PAUSES: &str = "SELECT value FROM {s}.meta WHERE name = 'pauses' FOR SHARE";

/// Waits for transactions that write triggers by the pauses of groups, and keeps others from beginning.
pub(crate) const LOCK_PAUSES: &str = "SELECT value FROM {s}.meta WHERE name = 'pauses' FOR UPDATE";

/// Locks the active and paused triggers of a group in the order of their ids, as claims do; waits for claims in flight.
/// By trigger_key.
pub(crate) const LOCK_GROUP: &str = "
SELECT count(*) FROM (
  SELECT id FROM {s}.trigger
  WHERE id = ANY(ARRAY(SELECT l.id FROM {s}.trigger_lookup l WHERE l.group_name = $1)) AND state IN (1, 4)
  ORDER BY id FOR NO KEY UPDATE) f";

/// Locks a job that is to be deleted, by primary key, so that what is read of its work after that stays true. Zero rows:
/// it is gone.
pub(crate) const LOCK_JOB: &str = "SELECT rev FROM {s}.job WHERE id = $1 FOR UPDATE";

/// Locks rows, by primary key and in its order.
pub(crate) const LOCK_EXECUTIONS: &str =
    "SELECT id FROM {s}.execution WHERE id = ANY($1) ORDER BY id FOR UPDATE";

/// Locks the floor under the fences of slots; waits for claims that are taking slots.
pub(crate) const LOCK_FLOOR: &str = "SELECT value FROM {s}.meta WHERE name = 'slot_floor' FOR UPDATE";

/// A point within the user's own transaction, to which a step that fails there goes back.
pub(crate) const SAVEPOINT: &str = "SAVEPOINT punctual";
pub(crate) const SAVEPOINT_KEEP: &str = "RELEASE SAVEPOINT punctual";
pub(crate) const SAVEPOINT_UNDO: &str = "ROLLBACK TO SAVEPOINT punctual";

// ---- enqueue ----

/// Inserts ready rows, all or none. Answers the first one whose job is missing, the first one whose occurrence is there
/// already, and how many went in. A row that is due and finds no free slot of its key, or others that wait for one, also
/// earlier ones of the batch, is parked at once. Of an id that is there twice, the first row counts; one that is known is left out.
///
/// Jobs are locked so that they are not deleted meanwhile, but never waited for: after a wait the statement's snapshot
/// would be old, and an id that ended during the wait would come in again. Whoever calls this tries again instead.
pub(crate) const ENQUEUE: &str = concat!(
    "
WITH given AS MATERIALIZED (
  SELECT DISTINCT ON (g.id) g.* FROM unnest(",
    execution_arrays!(),
    ", $28::bigint[]) WITH ORDINALITY AS g(",
    execution_names!(),
    ", delay_us, ord) ORDER BY g.id, g.ord
), fresh AS MATERIALIZED (
  SELECT g.* FROM given g LEFT JOIN LATERAL (
    SELECT 1 AS hit FROM {s}.execution e WHERE e.id = g.id UNION ALL SELECT 1 FROM {s}.history h WHERE h.id = g.id
    LIMIT 1) k ON true WHERE k.hit IS NULL
), job AS MATERIALIZED (
  SELECT j.id FROM {s}.job j WHERE j.id = ANY(ARRAY(SELECT f.job_id FROM fresh f)) ORDER BY j.id FOR KEY SHARE NOWAIT
), clock AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us FROM (SELECT count(*) FROM job) c
), timed AS MATERIALIZED (
  SELECT f.*, c.us AS now_us, CASE WHEN f.delay_us IS NULL THEN f.scheduled_us ELSE ",
    later!("c.us", "f.delay_us"),
    " END AS at_us FROM fresh f CROSS JOIN clock c",
    many!(),
    "
), lost AS MATERIALIZED (
  SELECT min(t.ord) AS ord FROM timed t
  WHERE t.job_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job j WHERE j.id = t.job_id)
), twice AS MATERIALIZED (
  SELECT min(t.ord) AS ord FROM timed t CROSS JOIN LATERAL (
    SELECT 1 FROM {s}.execution e
    WHERE e.trigger_id = t.trigger_id AND e.generation = t.generation AND e.scheduled_us = t.at_us
    UNION ALL SELECT 1 FROM {s}.history h
    WHERE h.trigger_id = t.trigger_id AND h.generation = t.generation AND h.scheduled_us = t.at_us
    LIMIT 1) k
), turn AS MATERIALIZED (
  SELECT t.id, t.slot_key, t.slot_limit, t.ord, row_number() OVER (PARTITION BY t.slot_key ORDER BY t.ord) AS turn
  FROM timed t WHERE t.slot_key IS NOT NULL AND t.slot_limit IS NOT NULL AND t.at_us <= t.now_us
), pressed AS MATERIALIZED (
  SELECT k.slot_key, (SELECT count(s.exec_id) FROM {s}.slot s WHERE s.slot_key = k.slot_key) AS held,
    (SELECT 1 FROM {s}.execution e
      WHERE e.slot_key = k.slot_key AND e.state = 1 AND e.wake_us > e.due_us LIMIT 1) IS NOT NULL AS queued
  FROM (SELECT DISTINCT t.slot_key FROM turn t) k
), waits AS MATERIALIZED (
  SELECT w.id FROM (
    SELECT t.id, p.queued,
      bool_and(p.held + t.turn <= t.slot_limit) OVER (PARTITION BY t.slot_key ORDER BY t.ord) AS fits
    FROM turn t JOIN pressed p ON p.slot_key = t.slot_key) w
  WHERE w.queued OR NOT w.fits
), put AS (
  INSERT INTO {s}.execution (",
    execution_names!(),
    ", due_us)
  SELECT t.id, t.trigger_id, t.generation, t.trigger_key, t.job_id, t.job_key, t.kind, t.at_us, t.priority, t.state,
    t.owner, t.fence, t.attempt, t.losses, CASE WHEN w.id IS NULL THEN t.at_us ELSE ",
    later!("t.now_us", "$29"),
    " END, t.slot_key, t.slot_limit, t.spec, t.payload_codec,
    t.payload_version, t.payload_data, t.attempts, t.cancel, t.error, t.now_us, t.catch_up, t.at_us
  FROM timed t CROSS JOIN lost l CROSS JOIN twice o LEFT JOIN waits w ON w.id = t.id
  WHERE l.ord IS NULL AND o.ord IS NULL ORDER BY t.id
  ON CONFLICT (id) DO NOTHING RETURNING id
)
SELECT l.ord, w.ord, (SELECT count(*) FROM put), (SELECT us FROM clock) FROM lost l CROSS JOIN twice w"
);

// ---- the life of a firing ----

/// As CLAIM_READY, for servers that leave out too much, or too little, when rows are locked: the candidates are read, and
/// then compared and locked by their primary key; whoever comes second waits, and finds that they have moved on.
pub(crate) const CLAIM_READY_CAS: &str = claim_ready!(
    concat!(
        "candidate AS MATERIALIZED (
  SELECT r.id FROM level l CROSS JOIN due d CROSS JOIN LATERAL (
    SELECT r.id FROM {s}.execution r
    WHERE r.state = 1 AND r.kind = l.kind AND r.priority = l.priority AND r.wake_us <= d.us AND r.wake_us >= ",
        from_place!("$10", "$11"),
        "
    ORDER BY r.wake_us, r.id LIMIT $5) r
  WHERE l.priority IS NOT NULL
), compared AS MATERIALIZED (
  SELECT r.id, r.kind, r.priority, r.wake_us, r.slot_key, r.slot_limit, r.fence FROM {s}.execution r
  WHERE r.id = ANY(ARRAY(SELECT c.id FROM candidate c)) AND r.state = 1 AND r.wake_us <= (SELECT us FROM due)
  ORDER BY r.id FOR NO KEY UPDATE
), locked AS MATERIALIZED (
  SELECT c.* FROM compared c",
        many!()
    ),
    "((SELECT count(*) FROM candidate) - (SELECT count(*) FROM locked))",
    "id"
);

/// Ends executions or puts them back, each if its row still is that claim's. Rows are locked in the order of their ids,
/// then the slots to be freed in theirs. An id comes at most once. Those that end and have no slot, which are most, need no
/// lock before: they are deleted at once, in the order in which the index gives them, and before the others. (`num_nulls`,
/// because the planner believes that a column of an empty table is hardly ever null, and would join row by row.)
///
/// Whoever waits for the slots that are freed is woken; see `wake_parts`.
///
/// Answers for each plan, in their order, whether it was written and whether its record was there already; and behind
/// them for each key of which slots were freed how many, and how many were woken for it. What was not written may have
/// been written before: that is asked by a statement of its own (KNOWS_END), whose snapshot is younger than the wait for
/// the row. For the comparison of owners see BEGIN.
pub(crate) const SETTLE: &str = concat!(
    "
WITH given AS MATERIALIZED (
  SELECT * FROM unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bool[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::text[], $11::bool[], $12::text[]) WITH ORDINALITY
    AS g(id, owner, fence, ends, state, delay_us, attempt, losses, attempts, keeps, error, ord)
), ending AS MATERIALIZED (
  SELECT g.id, g.owner, g.fence, g.ord FROM given g",
    many!(),
    " WHERE g.ends
), plain AS (
  DELETE FROM {s}.execution e USING ending g
  WHERE e.id = ANY($2) AND e.id = g.id AND num_nulls(e.slot_key) > 0
    AND e.owner IS NOT DISTINCT FROM g.owner AND e.fence = g.fence
  RETURNING e.id, g.ord
), others AS MATERIALIZED (
  SELECT g.* FROM given g",
    many!(),
    " WHERE g.ord NOT IN (SELECT p.ord FROM plain p)
), locked AS MATERIALIZED (
  SELECT e.id, e.slot_key, o.ord, o.ends, o.keeps, o.state, o.delay_us, o.attempt, o.losses, o.attempts, o.error
  FROM others o JOIN {s}.execution e ON e.id = o.id
  WHERE e.id = ANY(ARRAY(SELECT o.id FROM others o)) AND e.owner IS NOT DISTINCT FROM o.owner AND e.fence = o.fence
  ORDER BY e.id FOR UPDATE OF e
), won AS MATERIALIZED (
  SELECT l.* FROM locked l",
    many!(),
    " UNION ALL
  SELECT p.id, NULL, p.ord, true, false, NULL, NULL, NULL, NULL, NULL, NULL FROM plain p
), place AS MATERIALIZED (
  SELECT s.slot_key, s.n, s.exec_id AS id FROM {s}.slot s
  WHERE s.exec_id = ANY(ARRAY(SELECT w.id FROM won w WHERE w.slot_key IS NOT NULL AND (w.ends OR NOT w.keeps)))
  ORDER BY s.slot_key, s.n FOR NO KEY UPDATE OF s
), clock AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us FROM (SELECT count(*) FROM locked) l CROSS JOIN (SELECT count(*) FROM place) p
), ended AS (
  DELETE FROM {s}.execution e WHERE e.id = ANY(ARRAY(SELECT l.id FROM locked l WHERE l.ends))
), back AS (
  UPDATE {s}.execution e SET state = b.state, owner = NULL, wake_us = b.wake_us, due_us = b.wake_us,
    attempt = b.attempt, losses = b.losses, attempts = b.attempts, error = b.error
  FROM (SELECT w.*, ",
    later!("c.us", "w.delay_us"),
    " AS wake_us FROM won w CROSS JOIN clock c WHERE NOT w.ends) b
  WHERE e.id = ANY(ARRAY(SELECT w.id FROM won w WHERE NOT w.ends)) AND e.id = b.id
), freed AS (
  UPDATE {s}.slot s SET exec_id = NULL WHERE s.exec_id = ANY(ARRAY(SELECT p.id FROM place p)) RETURNING s.slot_key
), room AS MATERIALIZED (
  SELECT f.slot_key, count(*) AS slots FROM freed f",
    many!(),
    " GROUP BY f.slot_key ORDER BY f.slot_key
), ",
    wake_parts!("{skip}", "", ""),
    ", recorded AS (
  INSERT INTO {s}.history (",
    history_columns!(),
    ")
  SELECT h.* FROM unnest($13::bytea[], $14::bigint[], $15::bigint[], $16::text[], $17::bigint[], $18::text[],
    $19::text[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[], $25::bigint[],
    $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[], $30::text[], $31::text[], $32::text[])
    AS h(",
    history_columns!(),
    ") JOIN won w ON w.id = h.id ORDER BY h.id ON CONFLICT DO NOTHING RETURNING id
)
SELECT g.ord, w.ord IS NOT NULL, w.ord IS NOT NULL AND w.ends AND w.id NOT IN (SELECT r.id FROM recorded r),
  NULL::text, NULL::bigint, NULL::bigint FROM given g LEFT JOIN won w ON w.ord = g.ord
UNION ALL
SELECT NULL, NULL, NULL, r.slot_key, r.slots, coalesce(c.sum, 0)::bigint FROM room r LEFT JOIN called c ON c.slot_key = r.slot_key
ORDER BY 1"
);

// ---- leases ----

/// Ends a lease that is still in force, by primary key. The row stays for its fence. Zero rows: it has passed on or
/// ended.
pub(crate) const RELEASE_LOCK: &str = concat!(
    "
UPDATE {s}.lock SET until_us = -9223372036854775808
WHERE name = $2 AND owner = $3 AND fence = $4 AND until_us > ",
    clock!(),
    " RETURNING until_us"
);

// ---- opening ----

/// What must be known of a server and of the session's settings.
pub(crate) const SERVER: &str = "
SELECT current_setting('server_version_num')::bigint, current_setting('server_version'),
  current_setting('server_encoding'), pg_is_in_recovery(), current_setting('default_transaction_isolation'),
  current_setting('synchronous_commit'), current_setting('transaction_read_only'), current_setting('plan_cache_mode')";

// ---- tests ----

/// The settings that steps rest on.
pub(crate) const SETTINGS: &str = "
SELECT n.name, current_setting(n.name) FROM unnest(ARRAY['transaction_isolation', 'transaction_read_only',
  'synchronous_commit', 'lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'plan_cache_mode',
  'jit', 'enable_seqscan', 'TimeZone']) WITH ORDINALITY AS n(name, ord) ORDER BY n.ord";

pub(crate) const BEGIN_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A job's live rows that nobody owns. Scans, as LEAVE_JOB.
pub(crate) const UNOWNED_OF_JOB: &str =
    "SELECT id FROM {s}.execution WHERE job_id = $1 AND owner IS NULL ORDER BY id";

/// Asks the owners of a job's live rows to stop them. Scans, as LEAVE_JOB.
pub(crate) const CANCEL_OWNED_OF_JOB: &str =
    "UPDATE {s}.execution SET cancel = coalesce(cancel, $2) WHERE job_id = $1 AND owner IS NOT NULL";

/// Deletes completed triggers that belong to no set and have no live rows, by trigger_completed, and leaves their marks.
/// Answers the job of each.
pub(crate) const PRUNE_TRIGGERS: &str = concat!(
    "
WITH over AS MATERIALIZED (
  SELECT t.id FROM {s}.trigger t
  WHERE t.completed_us IS NOT NULL AND t.completed_us < (SELECT ",
    earlier!("c.us", "$2"),
    " FROM (SELECT ",
    clock!(),
    " AS us) c) AND t.set_name IS NULL
    AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.trigger_id = t.id) ORDER BY t.id LIMIT $3 FOR UPDATE OF t
), gone AS (
  DELETE FROM {s}.trigger t WHERE t.id = ANY(ARRAY(SELECT o.id FROM over o))
  RETURNING t.group_name, t.name, t.last_us, t.job_id
), kept AS (
  INSERT INTO {s}.mark (group_name, name, last_us, written_us)
  SELECT g.group_name, g.name, g.last_us, ",
    clock!(),
    " FROM gone g WHERE g.last_us IS NOT NULL ORDER BY g.group_name, g.name
  ON CONFLICT (group_name, name) DO UPDATE SET last_us = excluded.last_us, written_us = excluded.written_us
)
SELECT g.job_id FROM gone g"
);

/// Locks jobs that may be deleted, by primary key and in its order, so that no work slips in.
pub(crate) const LOCK_JOBS: &str = "SELECT id FROM {s}.job WHERE id = ANY($1) ORDER BY id FOR UPDATE";

/// Deletes jobs that nothing needs and nobody wants to be kept; they must be locked already. Scans live rows once.
pub(crate) const PRUNE_JOBS: &str = "
DELETE FROM {s}.job j WHERE j.id = ANY($1) AND j.durable = 0 AND j.set_name IS NULL
  AND NOT EXISTS (SELECT 1 FROM {s}.trigger_lookup l WHERE l.job_id = j.id)
  AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.job_id = j.id)";

/// Says that something became available, to whoever listens on the channel of the schema.
pub(crate) const RAISE_WAKE: &str = "SELECT pg_notify($1, '')";

/// Wakes whoever waits for slots that the same transaction has freed. Never waits itself; see `wake_parts`.
pub(crate) const WAKE: &str = wake!("{skip}");

/// The same as a transaction by itself, for slots that the step which freed them woke nobody for. It may wait, for it
/// holds nothing that was locked before.
pub(crate) const WAKE_AGAIN: &str = wake!("");

/// The parts that find keys that work waits for although they have a free slot, and how many they have, as `room`. Goes
/// from key to key in execution_parked, and from job to job in trigger_parked; then counts by the primary key of slot. So
/// it costs the same however many wait for one key, and jobs that nobody waits for cost nothing.
macro_rules! waiting_parts {
    () => {
        "
WITH RECURSIVE parked (slot_key) AS (
  (SELECT e.slot_key FROM {s}.execution e WHERE e.state = 1 AND e.wake_us > e.due_us AND e.slot_key > ''
    ORDER BY e.slot_key LIMIT 1)
  UNION ALL
  SELECT (SELECT e.slot_key FROM {s}.execution e
    WHERE e.state = 1 AND e.wake_us > e.due_us AND e.slot_key > p.slot_key ORDER BY e.slot_key LIMIT 1)
  FROM parked p WHERE p.slot_key IS NOT NULL
), late (job_id) AS (
  (SELECT t.job_id FROM {s}.trigger t WHERE t.state = 1 AND t.wake_us > t.next_fire_us ORDER BY t.job_id LIMIT 1)
  UNION ALL
  SELECT (SELECT t.job_id FROM {s}.trigger t
    WHERE t.state = 1 AND t.wake_us > t.next_fire_us AND t.job_id > l.job_id ORDER BY t.job_id LIMIT 1)
  FROM late l WHERE l.job_id IS NOT NULL
), waiting (slot_key, slot_limit) AS (
  SELECT p.slot_key, (SELECT e.slot_limit FROM {s}.execution e WHERE e.slot_key = p.slot_key AND e.state = 1
    AND e.wake_us > e.due_us ORDER BY e.priority DESC, e.due_us, e.id LIMIT 1)
  FROM parked p WHERE p.slot_key IS NOT NULL
  UNION ALL
  SELECT j.slot_key, j.slot_limit FROM late l CROSS JOIN LATERAL (
    SELECT * FROM {s}.job j WHERE j.id = l.job_id LIMIT 1) j WHERE j.slot_key IS NOT NULL
), room AS MATERIALIZED (
  SELECT f.slot_key, f.slots FROM (
    SELECT w.slot_key, max(w.slot_limit)
      - (SELECT count(s.exec_id) FROM {s}.slot s WHERE s.slot_key = w.slot_key) AS slots
    FROM waiting w GROUP BY w.slot_key) f
  WHERE f.slots > 0 ORDER BY f.slot_key
)"
    };
}

/// Wakes work that waits although its key has a free slot, at most `$1`.
pub(crate) const WAKE_WAITING: &str = concat!(
    waiting_parts!(),
    ", ",
    wake_parts!("{skip}", " LIMIT $1", " LIMIT $1 - (SELECT count(*) FROM best)"),
    "
SELECT c.slot_key, c.sum FROM called c"
);

/// The keys that it would wake for, and how many free slots they have.
pub(crate) const WAITING_KEYS: &str =
    concat!(waiting_parts!(), " SELECT r.slot_key, r.slots FROM room r ORDER BY r.slot_key LIMIT $1");

// ---- the epoch ----

/// The epoch of the store, by primary key.
pub(crate) const EPOCH: &str = "SELECT value FROM {s}.meta WHERE name = 'epoch'";

/// The epoch, by primary key, locked shared: nobody raises it before this step is through.
pub(crate) const HOLD_EPOCH: &str = "SELECT value FROM {s}.meta WHERE name = 'epoch' FOR SHARE";

/// Raises the epoch, by primary key; waits for those who join. Zero rows: it is that high already.
pub(crate) const RAISE_EPOCH: &str = "UPDATE {s}.meta SET value = $1 WHERE name = 'epoch' AND value < $1";

/// Marks all nodes that are up dead, by node_state, and deletes their beats; waits for their claims.
pub(crate) const END_NODES_UP: &str = concat!(
    "
WITH gone AS (
  UPDATE {s}.node SET state = 3, ended_us = ",
    clock!(),
    " WHERE state = 1 RETURNING id
)
DELETE FROM {s}.beat b USING gone WHERE b.node_id = gone.id"
);
