//! The statements of the consistency check: what should not be there, the repairs, and their record.

/// The columns of a `DefinitionRow`.
macro_rules! definition_columns {
    () => {
        concat!(
            trigger_columns!(),
            ", t.kind, t.rank, t.calendar, EXISTS (SELECT 1 FROM {s}.calendar c WHERE c.name = t.calendar), EXISTS (SELECT 1 FROM {s}.pause p WHERE p.group_name = t.group_name), ",
            job_columns!("j"),
            ", j.slot_key, j.slot_limit"
        )
    };
}

/// Held slots whose holder is not live or does not need one of that key. Scans slots.
pub(crate) const CHECK_SLOTS: &str = "
SELECT s.slot_key, s.n, s.exec_id, s.fence_seq, e.id IS NOT NULL, e.slot_key
FROM {s}.slot s LEFT JOIN {s}.execution e ON e.id = s.exec_id
WHERE s.exec_id IS NOT NULL AND (e.slot_key IS NULL OR e.slot_key <> s.slot_key) ORDER BY s.slot_key, s.n LIMIT $1";

/// Owned rows of a key that hold no slot of it, by execution_owner and slot_holder.
pub(crate) const CHECK_UNSLOTTED: &str = "
SELECT e.id, e.owner, e.fence, e.slot_key FROM {s}.execution e
WHERE e.owner IS NOT NULL AND e.slot_key IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM {s}.slot s WHERE s.exec_id = e.id AND s.slot_key = e.slot_key) ORDER BY e.owner, e.id LIMIT $1";

/// Live rows that the history has too. Scans live rows, and probes the history by primary key.
pub(crate) const CHECK_ENDED: &str = "
SELECT e.id, e.owner, e.fence, h.outcome FROM {s}.execution e JOIN {s}.history h ON h.id = e.id ORDER BY e.id LIMIT $1";

/// Owned rows whose owner is not up, by execution_owner and primary key.
pub(crate) const CHECK_OWNERS: &str = "
SELECT e.id, e.owner, e.fence, n.state FROM {s}.execution e LEFT JOIN {s}.node n ON n.id = e.owner
WHERE e.owner IS NOT NULL AND (n.state IS NULL OR n.state <> 1) ORDER BY e.owner, e.id LIMIT $1";

/// Rows that were set aside. Scans live rows.
pub(crate) const CHECK_HELD: &str =
    "SELECT e.id, e.owner, e.fence, e.error FROM {s}.execution e WHERE e.state = 4 ORDER BY e.id LIMIT $1";

/// Beats of nodes that are not up. Scans beats, of which there are as many as nodes.
pub(crate) const CHECK_BEATS: &str = "
SELECT b.node_id, b.beat FROM {s}.beat b
WHERE NOT EXISTS (SELECT 1 FROM {s}.node n WHERE n.id = b.node_id AND n.state = 1) ORDER BY b.node_id LIMIT $1";

/// Nodes that are up and have no beat, by node_state.
pub(crate) const CHECK_BEATLESS: &str = "
SELECT n.id, n.name FROM {s}.node n
WHERE n.state = 1 AND NOT EXISTS (SELECT 1 FROM {s}.beat b WHERE b.node_id = n.id) ORDER BY n.id LIMIT $1";

/// Triggers after an id with their jobs and all copies, by primary key.
pub(crate) const CHECK_DEFINITIONS: &str = concat!(
    "SELECT ",
    definition_columns!(),
    " FROM {s}.trigger t LEFT JOIN {s}.job j ON j.id = t.job_id WHERE t.id > $1 ORDER BY t.id LIMIT $2"
);

/// One of them, by primary key.
pub(crate) const CHECK_DEFINITION: &str = concat!(
    "SELECT ",
    definition_columns!(),
    " FROM {s}.trigger t LEFT JOIN {s}.job j ON j.id = t.job_id WHERE t.id = $1"
);

/// Those of a job, by trigger_job.
pub(crate) const CHECK_DEFINITIONS_OF: &str = concat!(
    "SELECT ",
    definition_columns!(),
    looked_up!(),
    " LEFT JOIN {s}.job j ON j.id = t.job_id WHERE l.job_id = $1 ORDER BY t.id"
);

/// Frees a slot whose holder needs none of its key, by primary keys. Zero rows: it has changed.
pub(crate) const FREE_SLOT_OF_NOBODY: &str = "
UPDATE {s}.slot SET exec_id = NULL WHERE slot_key = $1 AND n = $2 AND exec_id = $3 AND fence_seq = $4
  AND NOT EXISTS (SELECT 1 FROM {s}.execution e WHERE e.id = $3 AND e.slot_key = $1)";

/// Deletes a live row that the history has, by primary keys. Zero rows: it has changed.
pub(crate) const DELETE_ENDED: &str = "
DELETE FROM {s}.execution WHERE id = $1 AND owner IS NOT DISTINCT FROM $2 AND fence = $3
  AND EXISTS (SELECT 1 FROM {s}.history h WHERE h.id = $1)";

/// Deletes a beat of a node that is not up, by primary keys. Zero rows: it has changed.
pub(crate) const DELETE_STRAY_BEAT: &str = "
DELETE FROM {s}.beat WHERE node_id = $1 AND beat = $2
  AND NOT EXISTS (SELECT 1 FROM {s}.node n WHERE n.id = $1 AND n.state = 1)";

/// Writes the copies of a trigger again, by primary key. Not a write in the sense of `rev`, as SPREAD_JOB. Zero rows: it
/// has changed.
pub(crate) const MEND_TRIGGER: &str =
    "UPDATE {s}.trigger SET kind = $3, rank = $4, calendar = $5 WHERE id = $1 AND rev = $2";

/// Writes the copies of a job again, by primary key. Not a write in the sense of `rev`. Zero rows: it has changed.
pub(crate) const MEND_JOB: &str =
    "UPDATE {s}.job SET slot_key = $3, slot_limit = $4 WHERE id = $1 AND rev = $2";

/// Records a repair. One that is there already is the same.
pub(crate) const PUT_REPAIR: &str = concat!(
    "INSERT INTO {s}.repair (at_us, rule, place, detail, who) VALUES (",
    clock!(),
    ", $2, $3, $4, $5) ON CONFLICT DO NOTHING"
);

/// Repairs before a time, newest first, by primary key.
pub(crate) const REPAIRS: &str = "
SELECT at_us, rule, place, detail, who FROM {s}.repair WHERE at_us < $1 ORDER BY at_us DESC, rule DESC, place DESC LIMIT $2";
