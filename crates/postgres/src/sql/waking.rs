//! Waking those who wait for a slot: rows before triggers, the best first, for each key as many as it has free slots.
//!
//! A statement does not see who is parked while it runs, so whoever frees a slot in the moment in which another step
//! parks may find nobody. Where slots stay free, WAKE_AGAIN looks once more with a younger snapshot; whom that misses
//! too, WAKE_WAITING finds.

/// The parts that wake, in a statement that has `room (slot_key, slots)` in the order of the keys: rows by
/// execution_parked, then triggers by job_slot and one probe of trigger_parked a job, each at most as many as `$most`
/// says besides. `called` says how many of each key were woken.
///
/// What others have locked is passed over if `$lock` says so: they are claiming it, waking it or ending it. A step that
/// holds locks must not wait here, because rows come before slots and triggers before both.
macro_rules! wake_parts {
    ($lock:literal, $most_rows:literal, $most_triggers:literal) => {
        concat!(
            "best AS MATERIALIZED (
  SELECT b.id, b.slot_key FROM room r CROSS JOIN LATERAL (
    SELECT e.id, e.slot_key FROM {s}.execution e
    WHERE e.slot_key = r.slot_key AND e.state = 1 AND e.wake_us > e.due_us
    ORDER BY e.priority DESC, e.due_us, e.id LIMIT r.slots FOR NO KEY UPDATE",
            $lock,
            ") b",
            $most_rows,
            "
), woken AS (
  UPDATE {s}.execution e SET wake_us = due_us WHERE e.id = ANY(ARRAY(SELECT b.id FROM best b)) RETURNING e.slot_key
), rest AS MATERIALIZED (
  SELECT r.slot_key, r.slots - coalesce(b.sum, 0) AS slots
  FROM room r LEFT JOIN (SELECT b.slot_key, count(*) AS sum FROM best b GROUP BY b.slot_key) b ON b.slot_key = r.slot_key
), next AS MATERIALIZED (
  SELECT r.slot_key, b.id FROM rest r CROSS JOIN LATERAL (
    SELECT t.id FROM {s}.job j CROSS JOIN LATERAL (
      SELECT p.id, p.next_fire_us, p.rank FROM {s}.trigger p
      WHERE p.job_id = j.id AND p.state = 1 AND p.wake_us > p.next_fire_us
      ORDER BY p.next_fire_us, p.rank DESC, p.id LIMIT r.slots) t
    WHERE j.slot_key = r.slot_key ORDER BY t.next_fire_us, t.rank DESC, t.id LIMIT r.slots) b
  WHERE r.slots > 0",
            $most_triggers,
            "
), begun AS MATERIALIZED (
  SELECT t.id FROM {s}.trigger t
  WHERE t.id = ANY(ARRAY(SELECT n.id FROM next n)) AND t.state + 0 = 1 AND t.wake_us > t.next_fire_us
  ORDER BY t.id FOR NO KEY UPDATE",
            $lock,
            "
), started AS (
  UPDATE {s}.trigger t SET wake_us = next_fire_us, rev = rev + 1
  WHERE t.id = ANY(ARRAY(SELECT b.id FROM begun b)) RETURNING t.id
), called AS MATERIALIZED (
  SELECT c.slot_key, count(*) AS sum FROM (
    SELECT w.slot_key FROM woken w UNION ALL SELECT n.slot_key FROM next n JOIN started s ON s.id = n.id) c
  GROUP BY c.slot_key
)"
        )
    };
}

/// Wakes for slots of keys, in their order. Answers how many of each key were woken, where anybody was.
macro_rules! wake {
    ($lock:literal) => {
        concat!(
            "
WITH room AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::bigint[]) AS r(slot_key, slots)
), ",
            wake_parts!($lock, "", ""),
            "
SELECT c.slot_key, c.sum FROM called c"
        )
    };
}

/// Wakes whoever waits for slots that the same transaction has freed. Never waits itself; see `wake_parts`.
pub(crate) const WAKE: &str = wake!("{skip}");

/// The same as a transaction by itself, for slots that the step which freed them woke nobody for. It may wait, for it
/// holds nothing that was locked before.
pub(crate) const WAKE_AGAIN: &str = wake!("");

/// Wakes work that waits although its key has a free slot, at most `$1`. Goes from key to key in execution_parked, and
/// from job to job in trigger_parked; then counts by the primary key of slot. So it costs the same however many wait for
/// one key, and jobs that nobody waits for cost nothing.
pub(crate) const WAKE_WAITING: &str = concat!(
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
), ",
    wake_parts!("{skip}", " LIMIT $1", " LIMIT $1 - (SELECT count(*) FROM best)"),
    "
SELECT c.slot_key, c.sum FROM called c"
);
