//! The statements of upkeep, and the one that calls others.

// ---- upkeep ----

/// Deletes old history, by history_ended.
pub(crate) const PRUNE_HISTORY: &str = concat!(
    "
DELETE FROM {s}.history WHERE id = ANY(ARRAY(
  SELECT id FROM {s}.history WHERE ended_us < (SELECT ",
    earlier!("c.us", "$2"),
    " FROM (SELECT ",
    clock!(),
    " AS us) c) ORDER BY ended_us, id LIMIT $3))"
);

/// Deletes nodes that are long gone and own nothing, by execution_owner.
pub(crate) const PRUNE_NODES: &str = concat!(
    "
DELETE FROM {s}.node WHERE id = ANY(ARRAY(SELECT n.id FROM {s}.node n
  WHERE n.state <> 1 AND n.ended_us < (SELECT ",
    earlier!("c.us", "$2"),
    " FROM (SELECT ",
    clock!(),
    " AS us) c) AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.owner = n.id) ORDER BY n.id LIMIT $3))"
);

/// Deletes old marks. Scans them: they are few, and this is not hot.
pub(crate) const PRUNE_MARKS: &str = concat!(
    "
DELETE FROM {s}.mark WHERE (group_name, name) IN (
  SELECT group_name, name FROM {s}.mark WHERE written_us < (SELECT ",
    earlier!("c.us", "$2"),
    " FROM (SELECT ",
    clock!(),
    " AS us) c) ORDER BY group_name, name LIMIT $3)"
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
