//! States that no step leads to, as statements on the tables of the SQL stores.

use punctual_core::{ExecutionId, JobId, NodeId, TriggerId};

/// Something that should not be in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contradiction {
    /// All held slots of a key are held by this execution, whatever it is.
    Holder(Box<str>, ExecutionId),
    /// No slot is held by this execution.
    NoSlot(ExecutionId),
    /// The history has the end of a live row.
    Ended(ExecutionId),
    /// The row of a node is gone, and its beat is left.
    NoNode(NodeId),
    /// A node has left, and its beat is still there.
    Left(NodeId),
    /// The beat of a node is gone.
    NoBeat(NodeId),
    /// A ready row is parked, though nobody holds its slot.
    Parked(ExecutionId),
    /// A trigger's copies of its job's kind and of its calendar are others.
    TriggerCopies(TriggerId),
    /// A job's copies of its key and limit are others.
    JobCopies(JobId),
    /// A trigger has no next instant.
    NoNext(TriggerId),
    /// A trigger is active, whatever pauses it.
    Active(TriggerId),
}

impl Contradiction {
    /// The statement that makes it so.
    ///
    /// `table` gives the full name of a table, and `bytes` writes the bytes of an id.
    pub fn statement(&self, table: impl Fn(&str) -> String, bytes: impl Fn([u8; 16]) -> String) -> String {
        let bytes = |id: &ExecutionId| bytes(id.to_bytes());
        let (execution, slot) = (table("execution"), table("slot"));
        match self {
            Self::Holder(key, holder) => format!(
                "UPDATE {slot} SET exec_id = {} WHERE slot_key = '{key}' AND exec_id IS NOT NULL",
                bytes(holder)
            ),
            Self::NoSlot(id) => format!("UPDATE {slot} SET exec_id = NULL WHERE exec_id = {}", bytes(id)),
            Self::Ended(id) => format!(
                "INSERT INTO {} (id, kind, scheduled_us, outcome, attempt, fence, ended_us, attempts) \
                 SELECT id, kind, scheduled_us, 1, attempt, fence, scheduled_us, attempts FROM {execution} \
                 WHERE id = {}",
                table("history"),
                bytes(id)
            ),
            Self::NoNode(node) => format!("DELETE FROM {} WHERE id = {}", table("node"), node.get()),
            Self::Left(node) => format!("UPDATE {} SET state = 2 WHERE id = {}", table("node"), node.get()),
            Self::NoBeat(node) => format!("DELETE FROM {} WHERE node_id = {}", table("beat"), node.get()),
            Self::Parked(id) => {
                format!("UPDATE {execution} SET wake_us = due_us + 3600000000 WHERE id = {}", bytes(id))
            }
            Self::TriggerCopies(id) => format!(
                "UPDATE {} SET kind = 'nobodys', calendar = 'nobodys' WHERE id = {}",
                table("trigger"),
                id.get()
            ),
            Self::JobCopies(id) => {
                let job = table("job");
                format!("UPDATE {job} SET slot_key = 'nobodys', slot_limit = NULL WHERE id = {}", id.get())
            }
            Self::Active(id) => format!("UPDATE {} SET state = 1 WHERE id = {}", table("trigger"), id.get()),
            Self::NoNext(id) => {
                format!("UPDATE {} SET next_fire_us = NULL WHERE id = {}", table("trigger"), id.get())
            }
        }
    }
}
