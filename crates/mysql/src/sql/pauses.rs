//! The statements of pauses of groups. Whether a trigger is paused is written into its state, so that no statement of a
//! firing asks for it.

/// Pauses a group, by primary key; LOCK_PAUSES comes before.
pub(crate) const PUT_PAUSE: &str = "
INSERT INTO punctual_pause (group_name, document) VALUES (?, ?) ON DUPLICATE KEY UPDATE document = ?";

/// Lifts the pause of a group, by primary key; LOCK_PAUSES comes before. Zero rows: it had none.
pub(crate) const DELETE_PAUSE: &str = "DELETE FROM punctual_pause WHERE group_name = ?";

/// Whether a group is paused, by primary key; SHARE_PAUSES comes before. Zero rows: it is not.
pub(crate) const GROUP_IS_PAUSED: &str = "SELECT 1 FROM punctual_pause WHERE group_name = ?";

/// Sets triggers that are active to paused, by primary key; TRIGGERS_OF_GROUP comes before. Locks them in the order of the
/// list, which is that of claims, and waits for claims in flight.
pub(crate) const PAUSE_TRIGGERS: &str = concat!(
    "UPDATE ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id
SET t.state = 4, t.wake_us = t.next_fire_us, t.rev = t.rev + 1 WHERE t.state = 1"
);

/// Sets triggers that are paused, but not by themselves, to active, as PAUSE_TRIGGERS.
pub(crate) const RESUME_TRIGGERS: &str = concat!(
    "UPDATE ",
    numbers!(),
    " STRAIGHT_JOIN punctual_trigger t FORCE INDEX (PRIMARY) ON t.id = k.id
SET t.state = 1, t.wake_us = t.next_fire_us, t.rev = t.rev + 1 WHERE t.state = 4 AND t.paused IS NULL"
);

/// All paused groups by name, by primary key.
pub(crate) const PAUSES: &str = "SELECT group_name, document FROM punctual_pause ORDER BY group_name LIMIT ?";
