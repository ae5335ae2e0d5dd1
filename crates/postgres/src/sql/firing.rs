//! The statements of membership and of the life of a firing.

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

/// Triggers that are due, or will be within `$8`, with their jobs and the documents of their calendars, behind the time, the node's gate, the next wake
/// and whether rows are ready. For each kind at most `limit` entries of trigger_due in its order; then the best of all
/// kinds. So triggers of other kinds and parked ones cost nothing, however many there are. For each kind and priority of
/// ready rows one probe of execution_ready for what is due, and one for what comes next; none goes through what stands
/// before the place of `$9` and `$10`, if there is one. (An inner EXISTS would be joined,
/// and the planner then reads the whole index for `wake_us`, parked rows included.)
pub(crate) const READ_DUE: &str = concat!(
    "
WITH RECURSIVE clock AS MATERIALIZED (
  SELECT c.us, ",
    later!("c.us", "$8"),
    " AS horizon FROM (SELECT ",
    clock!(),
    " AS us) c
), kind AS MATERIALIZED (
  SELECT DISTINCT k.kind FROM unnest($2::text[]) AS k(kind)
), due AS MATERIALIZED (
  SELECT b.id FROM kind k CROSS JOIN LATERAL (
    SELECT d.id, d.wake_us, d.rank FROM {s}.trigger d
    WHERE d.kind = k.kind AND d.state = 1 AND d.wake_us <= (SELECT horizon FROM clock)
      AND (d.wake_us < (SELECT ",
    earlier!("c.us", "$3"),
    " FROM clock c) OR d.slice BETWEEN $4 AND $5)
    ORDER BY d.wake_us, d.rank DESC, d.id LIMIT $6) b
  ORDER BY b.wake_us, b.rank DESC, b.id LIMIT $6
), ",
    levels!("kind k", "$9"),
    ", head AS MATERIALIZED (
  SELECT (SELECT us FROM clock) AS now_us, coalesce((SELECT gate FROM {s}.node WHERE id = $7), 0) AS gate,
    (SELECT min((SELECT d.wake_us FROM {s}.trigger d WHERE d.kind = k.kind AND d.state = 1
      AND d.wake_us > (SELECT horizon FROM clock) ORDER BY d.wake_us LIMIT 1)) FROM kind k) AS of_triggers,
    (SELECT min((SELECT e.wake_us FROM {s}.execution e WHERE e.state = 1 AND e.kind = l.kind
      AND e.priority = l.priority AND e.wake_us > (SELECT us FROM clock) ORDER BY e.wake_us LIMIT 1))
      FROM level l WHERE l.priority IS NOT NULL) AS of_ready,
    EXISTS (SELECT 1 FROM level l WHERE l.priority IS NOT NULL AND (SELECT e.wake_us FROM {s}.execution e WHERE e.state = 1
      AND e.kind = l.kind AND e.priority = l.priority AND e.wake_us >= ",
    from_place!("$9", "$10"),
    " ORDER BY e.wake_us LIMIT 1) <= (SELECT us FROM clock)) AS ready
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
    concat!(
        "locked AS MATERIALIZED (
  SELECT r.* FROM level l CROSS JOIN due d CROSS JOIN LATERAL (
    SELECT r.ctid, r.id, r.kind, r.priority, r.wake_us, r.slot_key, r.slot_limit, r.fence FROM {s}.execution r
    WHERE r.state = 1 AND r.kind = l.kind AND r.priority = l.priority AND r.wake_us <= d.us AND r.wake_us >= ",
        from_place!("$10", "$11"),
        "
    ORDER BY r.wake_us, r.id LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED) r
  WHERE l.priority IS NOT NULL
"
    ),
    "0",
    "ctid"
);

/// Marks claimed rows as begun, by primary key. Answers which of them still were those claims. An equality that null
/// can fulfil keeps the planner from going through all of execution_owner, which holds only rows that have an owner.
pub(crate) const BEGIN: &str = "
UPDATE {s}.execution e SET state = 3
FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS g(id, owner, fence, ord)
WHERE e.id = ANY($1) AND e.id = g.id AND e.owner IS NOT DISTINCT FROM g.owner AND e.fence = g.fence AND e.state IN (2, 3) RETURNING g.ord";

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
