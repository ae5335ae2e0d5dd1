//! Claiming due triggers by plans: one statement with all that a plan may ask for, and one without what few ask for.

/// The columns of a patch to a trigger, as a plan has two of them.
macro_rules! patch_columns {
    ($p:literal, $x:literal) => {
        concat!(
            $p,
            ".",
            $x,
            "_state AS state, ",
            $p,
            ".",
            $x,
            "_next AS next_fire_us, ",
            $p,
            ".",
            $x,
            "_wake AS wake_us, ",
            $p,
            ".",
            $x,
            "_last AS last_us, ",
            $p,
            ".",
            $x,
            "_fires AS fires, ",
            $p,
            ".",
            $x,
            "_error AS error, ",
            $p,
            ".",
            $x,
            "_progress AS progress"
        )
    };
}

/// The statement of a claim. `$gate` is the part that locks the node; `$skip` and `$skipped` are those that read and record
/// what plans leave out, and `$slots` are those that tell whom there are slots for: `fired` and `busy`.
macro_rules! claim {
    ($gate:expr, $skip:expr, $slots:expr, $skipped:expr) => {
        concat!(
    "
WITH ",
    $gate,
    ", plan AS MATERIALIZED (
  SELECT * FROM unnest($31::bigint[], $32::bigint[], $33::bigint[], $34::text[], $35::bigint[], $36::bytea[],
    $37::bigint[], $38::bigint[], $39::bigint[], $40::bigint[], $41::bigint[], $42::text[], $43::text[],
    $44::bigint[], $45::bigint[], $46::bigint[], $47::bigint[], $48::bigint[], $49::text[], $50::text[])
  WITH ORDINALITY AS p(trigger_id, rev, fire_seq, slot_key, slot_limit, holder,
    then_state, then_next, then_wake, then_last, then_fires, then_error, then_progress,
    busy_state, busy_next, busy_wake, busy_last, busy_fires, busy_error, busy_progress, ord)
), given AS MATERIALIZED (
  SELECT * FROM unnest(",
    execution_arrays!(),
    ", $28::bigint[]) AS g(",
    execution_names!(),
    ", plan)
), ",
    $skip,
    ", locked AS MATERIALIZED (
  SELECT t.id, t.generation, p.ord FROM gate CROSS JOIN (SELECT * FROM plan ORDER BY trigger_id) p CROSS JOIN LATERAL (
    SELECT t.id, t.generation FROM {s}.trigger t
    WHERE t.id = p.trigger_id AND t.rev = p.rev AND t.fire_seq = p.fire_seq AND t.state = 1 AND t.wake_us <= ",
    clock!(),
    " FOR NO KEY UPDATE) t
), won AS MATERIALIZED (
  SELECT l.* FROM locked l",
    many!(),
    "
), named AS MATERIALIZED (
  SELECT g.plan, g.id, g.trigger_id, g.generation, g.scheduled_us FROM won l JOIN given g ON g.plan = l.ord
  UNION ALL
  SELECT k.plan, k.id, l.id, l.generation, k.scheduled_us FROM won l JOIN skip k ON k.plan = l.ord
), twice AS MATERIALIZED (
  SELECT DISTINCT n.plan FROM named n CROSS JOIN LATERAL (
    SELECT 1 FROM {s}.history h WHERE h.id = n.id
    UNION ALL SELECT 1 FROM {s}.history h
    WHERE h.trigger_id = n.trigger_id AND h.generation = n.generation AND h.scheduled_us = n.scheduled_us
    LIMIT 1) k
), ",
    $slots,
    ", now AS MATERIALIZED (
  SELECT ",
    clock!(),
    " AS us FROM (SELECT count(*) FROM fired) c
), put AS (
  INSERT INTO {s}.execution (",
    execution_names!(),
    ", due_us)
  SELECT g.id, g.trigger_id, g.generation, g.trigger_key, g.job_id, g.job_key, g.kind, g.scheduled_us, g.priority,
    g.state, g.owner, CASE WHEN g.id = f.holder THEN coalesce(f.fence_seq, g.fence) ELSE g.fence END, g.attempt,
    g.losses, g.wake_us, g.slot_key, g.slot_limit, g.spec, g.payload_codec, g.payload_version, g.payload_data,
    g.attempts, g.cancel, g.error, n.us, g.catch_up, g.wake_us
  FROM fired f JOIN given g ON g.plan = f.ord CROSS JOIN now n
), patch AS MATERIALIZED (
  SELECT f.trigger_id, f.generation, f.ord, false AS busy, ",
    patch_columns!("p", "then"),
    " FROM fired f JOIN plan p ON p.ord = f.ord
  UNION ALL
  SELECT b.trigger_id, b.generation, b.ord, true, ",
    patch_columns!("p", "busy"),
    " FROM busy b JOIN plan p ON p.ord = b.ord
), moved AS (
  UPDATE {s}.trigger t SET state = m.state, next_fire_us = m.next_fire_us, wake_us = m.wake_us,
    last_us = coalesce(m.last_us, t.last_us), fires = t.fires + m.fires, error = m.error, fire_seq = t.fire_seq + 1,
    rev = t.rev + 1, completed_us = CASE WHEN m.state = 2 THEN coalesce(t.completed_us, n.us) END, progress = m.progress
  FROM patch m CROSS JOIN now n WHERE t.id = ANY($31) AND t.id = m.trigger_id
)",
    $skipped,
    "
SELECT h.open, h.us, p.ord,
  CASE WHEN f.ord IS NOT NULL THEN 1 WHEN b.ord IS NOT NULL THEN 2 WHEN w.plan IS NOT NULL THEN 3 ELSE 0 END::bigint,
  f.fence_seq
FROM (SELECT EXISTS (SELECT 1 FROM gate) AS open, (SELECT us FROM now) AS us) h
LEFT JOIN (plan p LEFT JOIN fired f ON f.ord = p.ord LEFT JOIN busy b ON b.ord = p.ord
  LEFT JOIN twice w ON w.plan = p.ord) ON true
ORDER BY p.ord"
)
    };
}

/// Applies plans. In this order: the node is locked shared and its gate compared; the triggers are locked in the order
/// of their ids and compared, and must be due; slots are taken; the live rows go in; the triggers move on, each by the patch
/// of what became of it. The parts wait for one another because each reads what the one before it returned.
///
/// Answers for each plan whether it fired (1), was busy (2), would store something twice (3) or was lost (0), and the
/// fence of its slot. Only the history is looked into for what would be there twice; live rows have unique keys, and one
/// that is breached fails the statement: then the plans are applied in halves, until the guilty one is alone.
/// A trigger comes at most once.
///
/// Triggers are locked one by one, and not joined by `= ANY` of their ids: one that somebody else has moved since the
/// snapshot is compared again, and with it all ids of the batch were read and sorted, for each such trigger.
pub(crate) const CLAIM: &str = claim!(
    gate!("$29", "$30", "$58", "$59"),
    "skip AS MATERIALIZED (
  SELECT * FROM unnest($51::bigint[], $52::bool[], $53::bytea[], $54::bigint[], $55::bigint[], $56::bigint[],
    $57::bigint[]) AS k(plan, busy, id, scheduled_us, until_us, instants, reason)
)",
    concat!("wanted AS MATERIALIZED (
  SELECT p.ord, p.holder, p.slot_key, p.slot_limit, 0::bigint AS above,
    row_number() OVER (PARTITION BY p.slot_key ORDER BY l.id) AS turn
  FROM won l JOIN plan p ON p.ord = l.ord
  WHERE p.slot_key IS NOT NULL AND p.holder IS NOT NULL AND p.ord NOT IN (SELECT w.plan FROM twice w)
), ",
    take_slots!("$60::bigint", "", ""),
    ", fired AS MATERIALIZED (
  SELECT p.ord, l.id AS trigger_id, l.generation, p.holder, t.fence_seq
  FROM won l JOIN plan p ON p.ord = l.ord LEFT JOIN taken t ON t.exec_id = p.holder
  WHERE p.ord NOT IN (SELECT w.plan FROM twice w)
    AND (p.slot_key IS NULL OR p.holder IS NULL OR t.exec_id IS NOT NULL)
), busy AS MATERIALIZED (
  SELECT w.ord, l.id AS trigger_id, l.generation FROM wanted w JOIN won l ON l.ord = w.ord
  JOIN pressed k ON k.slot_key = w.slot_key
  WHERE k.held + w.turn > w.slot_limit AND (k.alike OR k.held >= w.slot_limit)
)"),
    concat!(
        ", skipped AS (
  INSERT INTO {s}.history (",
    history_columns!(),
    ")
  SELECT k.id, m.trigger_id, m.generation, x.trigger_key, x.job_id, x.job_key, x.kind, k.scheduled_us, k.until_us,
    k.instants, 5, k.reason, 0, NULL, 0, NULL, n.us, NULL, NULL, '[]'
  FROM patch m JOIN skip k ON k.plan = m.ord AND k.busy = m.busy CROSS JOIN now n CROSS JOIN LATERAL (
    SELECT t.group_name || '/' || t.name AS trigger_key, j.id AS job_id, j.group_name || '/' || j.name AS job_key, j.kind
    FROM {s}.trigger t JOIN {s}.job j ON j.id = t.job_id WHERE t.id = m.trigger_id LIMIT 1) x
)"
    )
);

/// As CLAIM, for plans that want no slot and leave nothing out, outside of any lock: the parts of both are empty, and the
/// planner drops whatever reads them. Most plans are such, and the more parts a statement has, the longer it takes to
/// begin. Its values are the first fifty of CLAIM's.
pub(crate) const CLAIM_PLAIN: &str = claim!(
    "gate AS MATERIALIZED (
  SELECT id FROM {s}.node WHERE id = $29 AND state = 1 AND standby = 0 AND gate = $30 FOR SHARE
)",
    "skip AS NOT MATERIALIZED (
  SELECT NULL::bigint AS plan, NULL::bytea AS id, NULL::bigint AS scheduled_us WHERE false
)",
    "fired AS MATERIALIZED (
  SELECT l.ord, l.id AS trigger_id, l.generation, NULL::bytea AS holder, NULL::bigint AS fence_seq
  FROM won l WHERE l.ord NOT IN (SELECT w.plan FROM twice w)
), busy AS NOT MATERIALIZED (
  SELECT NULL::bigint AS ord, NULL::bigint AS trigger_id, NULL::bigint AS generation WHERE false
)",
    ""
);
