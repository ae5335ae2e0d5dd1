//! What happens in a node, as data: for listeners, for the live view, and for the history checker.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::execution::{AttemptOutcome, Outcome, SkipReason};
use crate::key::{ExecutionId, Fence, JobKey, NodeId, TriggerId, TriggerKey};
use crate::time::{BootInstant, Timestamp};

/// Something that happened in a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// The node became a member.
    Joined {
        /// Its name.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// A claim of this execution committed.
    Claimed {
        /// The work.
        work: Work,
        /// How late it was claimed, in microseconds on the store's clock.
        lateness_us: i64,
    },
    /// The body is about to begin.
    Began {
        /// The work.
        work: Work,
        /// When, on the store's clock as the node knows it.
        at: Timestamp,
    },
    /// The body has ended, or was dropped.
    Ended {
        /// The work.
        work: Work,
        /// How.
        outcome: AttemptOutcome,
        /// Why, if it did not succeed.
        error: Option<String>,
    },
    /// The store took the result.
    Settled {
        /// The work.
        work: Work,
        /// What it is now; `None` if it went back and will run again.
        outcome: Option<Outcome>,
    },
    /// The store refused the result: the work had passed to somebody else.
    Fenced {
        /// The work.
        work: Work,
    },
    /// Instants of a trigger were skipped.
    Skipped {
        /// The trigger.
        trigger: TriggerKey,
        /// The first instant.
        first: Timestamp,
        /// The last instant.
        last: Timestamp,
        /// How many, if counted.
        count: Option<u64>,
        /// Why.
        reason: SkipReason,
    },
    /// Another node was declared dead by this one.
    TookOver {
        /// Which.
        dead: NodeId,
        /// Its name.
        name: String,
    },
    /// Work of a node that is gone was offered again, or recorded as lost.
    Recovered {
        /// The node.
        from: NodeId,
        /// The work.
        id: ExecutionId,
        /// The fence of the claim that was ended.
        fence: Fence,
        /// What it is now; `None` if it will run again.
        outcome: Option<Outcome>,
    },
    /// The node could not renew its lease in time and stopped claiming.
    LeaseLost,
    /// The node may claim again.
    LeaseRegained,
    /// The node was declared dead, and goes on as a new member.
    Rejoined {
        /// Its old id.
        old: NodeId,
    },
    /// A row could not be understood and was set aside.
    SetAside {
        /// Which row, and why.
        reason: String,
    },
    /// Something was found that should not be in the store.
    Found {
        /// The word of the rule, as in [`Rule`](crate::check::Rule).
        rule: String,
        /// Which row.
        place: String,
        /// What was found there.
        detail: String,
        /// Whether it is mended.
        mended: bool,
    },
    /// A step failed and will be repeated.
    Trouble {
        /// What failed.
        error: String,
    },
    /// The node left the cluster.
    Left,
}

/// Which attempt of which execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The execution.
    pub id: ExecutionId,
    /// The job, if it has one.
    pub job: Option<JobKey>,
    /// The trigger, if it has one.
    pub trigger: Option<TriggerKey>,
    /// The trigger's id, if it has one.
    pub trigger_id: Option<TriggerId>,
    /// The generation of the trigger's definition.
    pub generation: Option<i64>,
    /// The scheduled instant.
    pub scheduled: Timestamp,
    /// The try.
    pub attempt: u32,
    /// The fence.
    pub fence: Fence,
    /// The key of the slot that it holds.
    pub slot: Option<Box<str>>,
}

/// An event with who and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stamped {
    /// The node.
    pub node: NodeId,
    /// When, on the host's boot-time clock.
    pub boot_us: BootInstant,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Hears what happens in a node.
///
/// # Contract
/// Called from the node's own tasks: return at once. What a listener does, a panic included, changes nothing for the
/// node and its work.
pub trait Listener: fmt::Debug + Send + Sync + 'static {
    /// Hears one event.
    fn hear(&self, event: &Stamped);
}
