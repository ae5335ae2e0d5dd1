//! What a node asks of the cluster, and learns from it.

use crate::key::{ExecutionId, Fence, NodeId};
use crate::node::NodeRecord;
use crate::time::Timestamp;

/// Whether a node claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standby {
    /// It claims nothing.
    On,
    /// It claims.
    Off,
}

/// Whether a node is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Up,
    /// It was declared dead, or has left.
    Gone,
}

/// What a node learns at a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedIn {
    /// The store's clock.
    pub now: Timestamp,
    /// Whether the node is a member.
    pub standing: Standing,
    /// Its beat after this step.
    pub beat: i64,
    /// Its gate.
    pub gate: i64,
    /// Whether it is in standby.
    pub standby: Standby,
    /// The epoch of the store, raised by [`raise_epoch`](crate::JobStore::raise_epoch) after commits were lost.
    pub epoch: u32,
    /// Every node that is up, itself included.
    pub nodes: Vec<NodeRecord>,
    /// Live rows that name this node.
    pub owned: Vec<Owned>,
    /// Owners of live rows that are not up.
    pub gone_owners: Vec<NodeId>,
}

/// A live row of the node that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The row.
    pub id: ExecutionId,
    /// Its fence.
    pub fence: Fence,
    /// Its try.
    pub attempt: u32,
    /// Why it is to stop, if somebody asked.
    pub cancel: Option<Box<str>>,
}
