//! The statements of pauses of groups. Whether a trigger is paused is written into its state, so that no statement of a
//! firing asks for it.

/// Pauses a group, by primary key; LOCK_PAUSES comes before.
pub(crate) const PUT_PAUSE: &str = "
INSERT INTO {s}.pause (group_name, document) VALUES ($1, $2)
ON CONFLICT (group_name) DO UPDATE SET document = excluded.document";

/// Lifts the pause of a group, by primary key; LOCK_PAUSES comes before. Zero rows: it had none.
pub(crate) const DELETE_PAUSE: &str = "DELETE FROM {s}.pause WHERE group_name = $1";

/// Whether a group is paused, by primary key; SHARE_PAUSES comes before.
pub(crate) const GROUP_IS_PAUSED: &str = "SELECT EXISTS (SELECT 1 FROM {s}.pause WHERE group_name = $1)";

/// Sets the active triggers of a group to paused, by trigger_key; LOCK_GROUP comes before.
pub(crate) const PAUSE_TRIGGERS: &str = "
UPDATE {s}.trigger SET state = 4, wake_us = next_fire_us, rev = rev + 1
WHERE id = ANY(ARRAY(SELECT l.id FROM {s}.trigger_lookup l WHERE l.group_name = $1)) AND state = 1";

/// Sets the paused triggers of a group that have no pause of their own to active, by trigger_key; LOCK_GROUP comes before.
pub(crate) const RESUME_TRIGGERS: &str = "
UPDATE {s}.trigger SET state = 1, wake_us = next_fire_us, rev = rev + 1
WHERE id = ANY(ARRAY(SELECT l.id FROM {s}.trigger_lookup l WHERE l.group_name = $1)) AND state = 4 AND paused IS NULL";

/// All paused groups by name, by primary key.
pub(crate) const PAUSES: &str = "SELECT group_name, document FROM {s}.pause ORDER BY group_name LIMIT $1";
