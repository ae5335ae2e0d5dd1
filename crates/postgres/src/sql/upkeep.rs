//! The statements of upkeep, and the one that calls others.

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
