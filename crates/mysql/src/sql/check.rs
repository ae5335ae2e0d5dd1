//! The statements of the consistency check: what should not be there, the repairs, and their record.

/// The columns of a `DefinitionRow`.
macro_rules! definition_columns {
    () => {
        concat!(
            trigger_columns!(),
            ", t.kind, -t.urgency, t.calendar, t.slot_key, EXISTS (SELECT 1 FROM punctual_calendar c WHERE c.name = t.calendar), EXISTS (SELECT 1 FROM punctual_pause p WHERE p.group_name = t.group_name), ",
            job_columns!("j"),
            ", j.slot_key, j.slot_limit"
        )
    };
}

/// Held slots whose holder is not live or does not need one of that key. Scans slots.
pub(crate) const CHECK_SLOTS: &str = "
SELECT s.slot_key, s.n, s.exec_id, s.fence_seq, e.id IS NOT NULL, e.slot_key
FROM punctual_slot s LEFT JOIN punctual_execution e ON e.id = s.exec_id
WHERE s.exec_id IS NOT NULL AND (e.slot_key IS NULL OR e.slot_key <> s.slot_key) ORDER BY s.slot_key, s.n LIMIT ?";

/// Owned rows of a key that hold no slot of it, by execution_owner and slot_holder.
pub(crate) const CHECK_UNSLOTTED: &str = "
SELECT e.id, e.owner, e.fence, e.slot_key FROM punctual_execution e
WHERE e.owner IS NOT NULL AND e.slot_key IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM punctual_slot s WHERE s.exec_id = e.id AND s.slot_key = e.slot_key) ORDER BY e.owner, e.id LIMIT ?";

/// Live rows that the history has too. Scans live rows, and probes the history by primary key.
pub(crate) const CHECK_ENDED: &str = "
SELECT e.id, e.owner, e.fence, h.outcome FROM punctual_execution e JOIN punctual_history h ON h.id = e.id ORDER BY e.id LIMIT ?";

/// Owned rows whose owner is not up, by execution_owner and primary key.
pub(crate) const CHECK_OWNERS: &str = "
SELECT e.id, e.owner, e.fence, n.state FROM punctual_execution e LEFT JOIN punctual_node n ON n.id = e.owner
WHERE e.owner IS NOT NULL AND (n.state IS NULL OR n.state <> 1) ORDER BY e.owner, e.id LIMIT ?";

/// Rows that were set aside. Scans live rows.
pub(crate) const CHECK_HELD: &str = "SELECT e.id, e.owner, e.fence, e.error FROM punctual_execution e WHERE e.state = 4 ORDER BY e.id LIMIT ?";

/// Beats of nodes that are not up. Scans beats, of which there are as many as nodes.
pub(crate) const CHECK_BEATS: &str = "
SELECT b.node_id, b.beat FROM punctual_beat b
WHERE NOT EXISTS (SELECT 1 FROM punctual_node n WHERE n.id = b.node_id AND n.state = 1) ORDER BY b.node_id LIMIT ?";

/// Nodes that are up and have no beat, by node_state.
pub(crate) const CHECK_BEATLESS: &str = "
SELECT n.id, n.name FROM punctual_node n
WHERE n.state = 1 AND NOT EXISTS (SELECT 1 FROM punctual_beat b WHERE b.node_id = n.id) ORDER BY n.id LIMIT ?";

/// Triggers after an id with their jobs and all copies, by primary key.
pub(crate) const CHECK_DEFINITIONS: &str = concat!(
    "SELECT ",
    definition_columns!(),
    " FROM punctual_trigger t LEFT JOIN punctual_job j ON j.id = t.job_id WHERE t.id > ? ORDER BY t.id LIMIT ?"
);

/// One of them, by primary key.
pub(crate) const CHECK_DEFINITION: &str = concat!(
    "SELECT ",
    definition_columns!(),
    " FROM punctual_trigger t LEFT JOIN punctual_job j ON j.id = t.job_id WHERE t.id = ?"
);

/// Those of a job, by trigger_job.
pub(crate) const CHECK_DEFINITIONS_OF: &str = concat!(
    "SELECT ",
    definition_columns!(),
    " FROM punctual_trigger t LEFT JOIN punctual_job j ON j.id = t.job_id WHERE t.job_id = ? ORDER BY t.id"
);

/// Frees a slot whose holder needs none of its key, by primary keys; its key is locked. Zero rows: it has changed.
pub(crate) const FREE_SLOT_OF_NOBODY: &str = "
UPDATE punctual_slot SET exec_id = NULL WHERE slot_key = ? AND n = ? AND exec_id = ? AND fence_seq = ?
  AND NOT EXISTS (SELECT 1 FROM punctual_execution e WHERE e.id = ? AND e.slot_key = ?)";

/// Deletes a live row that the history has, by primary keys; LOCK_LIVE comes before. Zero rows: it has changed.
pub(crate) const DELETE_ENDED: &str = "
DELETE FROM punctual_execution WHERE id = ? AND owner <=> ? AND fence = ?
  AND EXISTS (SELECT 1 FROM punctual_history h WHERE h.id = ?)";

/// Deletes a beat of a node that is not up, by primary keys. Zero rows: it has changed.
pub(crate) const DELETE_STRAY_BEAT: &str = "
DELETE FROM punctual_beat WHERE node_id = ? AND beat = ?
  AND NOT EXISTS (SELECT 1 FROM punctual_node n WHERE n.id = ? AND n.state = 1)";

/// Writes the copies of a trigger again, by primary key; LOCK_JOB comes before. Not a write in the sense of `rev`, as
/// SPREAD_JOB. Zero rows: it has changed.
pub(crate) const MEND_TRIGGER: &str = "
UPDATE punctual_trigger SET kind = ?, urgency = -?, calendar = ?, slot_key = ? WHERE id = ? AND rev = ?";

/// Writes the copies of a job again, by primary key; LOCK_JOB comes before. Not a write in the sense of `rev`. Zero rows:
/// it has changed.
pub(crate) const MEND_JOB: &str =
    "UPDATE punctual_job SET slot_key = ?, slot_limit = ? WHERE id = ? AND rev = ?";

/// Records a repair. One that is there already is the same.
pub(crate) const PUT_REPAIR: &str = "
INSERT INTO punctual_repair (at_us, rule, place, detail, who) VALUES (?, ?, ?, ?, ?)
ON DUPLICATE KEY UPDATE who = who";

/// Repairs before a time, newest first, by primary key.
pub(crate) const REPAIRS: &str = "
SELECT at_us, rule, place, detail, who FROM punctual_repair WHERE at_us < ?
ORDER BY at_us DESC, rule DESC, place DESC LIMIT ?";
