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
  SELECT r.slot_key, b.id FROM rest r",
            many!(),
            " CROSS JOIN LATERAL (
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
