//! A finding: a rule and the row that breaks it, with everything that its repair compares.

use std::fmt;

use super::Rule;
use crate::execution::{MAX_ERROR_BYTES, clip};
use crate::key::{ExecutionId, Fence, JobId, NodeId, TriggerId};
use crate::node::NodeState;
use crate::record::Coded;
use crate::store::ClaimRef;

/// Something that should not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which rule is broken.
    pub rule: Rule,
    /// Where.
    pub place: Place,
    /// What was found there, for people. Holds no time that goes on, so that two looks can be compared.
    pub detail: Box<str>,
}

/// A row, as far as a repair compares it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A slot.
    Slot {
        /// Its key.
        key: Box<str>,
        /// Its number.
        n: i64,
        /// Who holds it.
        holder: ExecutionId,
        /// The fence of the last claim that took it.
        fence: Fence,
    },
    /// All slots of a key.
    Key {
        /// The key.
        key: Box<str>,
    },
    /// A live row.
    Execution {
        /// Its id.
        id: ExecutionId,
        /// Its owner, if it has one.
        owner: Option<NodeId>,
        /// The fence of its last claim.
        fence: Fence,
    },
    /// A node.
    Node {
        /// Its id.
        id: NodeId,
    },
    /// A beat.
    Beat {
        /// Whose.
        node: NodeId,
        /// Its number.
        beat: i64,
    },
    /// A trigger.
    Trigger {
        /// Its key as it is stored, which may be none.
        key: Box<str>,
        /// Its id.
        id: TriggerId,
        /// Its revision.
        rev: i64,
    },
    /// A job.
    Job {
        /// Its key as it is stored, which may be none.
        key: Box<str>,
        /// Its id.
        id: JobId,
        /// Its revision.
        rev: i64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slot { key, n, .. } => write!(f, "slot {n} of {key}"),
            Self::Key { key } => write!(f, "key {key}"),
            Self::Execution { id, .. } => write!(f, "execution {id}"),
            Self::Node { id } => write!(f, "node {id}"),
            Self::Beat { node, .. } => write!(f, "beat of node {node}"),
            Self::Trigger { key, .. } => write!(f, "trigger {key}"),
            Self::Job { key, .. } => write!(f, "job {key}"),
        }
    }
}

impl Finding {
    /// A finding; its detail is cut to [`MAX_ERROR_BYTES`].
    pub fn new(rule: Rule, place: Place, detail: impl AsRef<str>) -> Self {
        Self { rule, place, detail: clip(detail.as_ref(), MAX_ERROR_BYTES) }
    }

    /// A held slot whose holder is not live, or is and needs a slot of `other` key, or of none.
    pub fn slot(key: &str, n: i64, (holder, fence): ([u8; 16], i64), live: Option<Option<&str>>) -> Self {
        let holder = ExecutionId::from_bytes(holder);
        let detail = match live {
            None => format!("held by execution {holder}, which is not live"),
            Some(None) => format!("held by execution {holder}, which needs none"),
            Some(Some(other)) => format!("held by execution {holder}, which needs one of {other}"),
        };
        let place = Place::Slot { key: key.into(), n, holder, fence: Fence::from_stored(fence) };
        Self::new(Rule::SlotOfNobody, place, detail)
    }

    fn of_execution(
        rule: Rule,
        (id, owner, fence): ([u8; 16], Option<i64>, i64),
        detail: impl AsRef<str>,
    ) -> Self {
        let owner = owner.map(NodeId::from_stored);
        let (id, fence) = (ExecutionId::from_bytes(id), Fence::from_stored(fence));
        Self::new(rule, Place::Execution { id, owner, fence }, detail)
    }

    /// An owned row that holds no slot of its key.
    pub fn without_slot(row: ([u8; 16], Option<i64>, i64), key: &str) -> Self {
        Self::of_execution(Rule::OwnedWithoutSlot, row, format!("it holds no slot of {key}"))
    }

    /// A live row that the history has too, with an outcome.
    pub fn ended(row: ([u8; 16], Option<i64>, i64), outcome: i64) -> Self {
        let detail = match crate::execution::Outcome::decode("history.outcome", outcome) {
            Ok(outcome) => format!("it has {}", format!("{outcome:?}").to_lowercase()),
            Err(bad) => bad.to_string(),
        };
        Self::of_execution(Rule::LiveAndEnded, row, detail)
    }

    /// An owned row whose owner has this state, or is not remembered.
    pub fn orphan(row: ([u8; 16], Option<i64>, i64), state: Option<i64>) -> Self {
        let node = row.1.map(NodeId::from_stored).map(|node| node.to_string()).unwrap_or_default();
        let detail = match state.map(|code| NodeState::decode("node.state", code)) {
            None => format!("owned by node {node}, which is not remembered"),
            Some(Ok(NodeState::Left)) => format!("owned by node {node}, which left"),
            Some(Ok(_)) => format!("owned by node {node}, which is dead"),
            Some(Err(bad)) => format!("owned by node {node}: {bad}"),
        };
        Self::of_execution(Rule::OwnerGone, row, detail)
    }

    /// A row that was set aside, with the reason.
    pub fn held(row: ([u8; 16], Option<i64>, i64), reason: Option<&str>) -> Self {
        Self::of_execution(Rule::Held, row, reason.unwrap_or("no reason is stored"))
    }

    /// A key that work waits for although it has free slots.
    pub fn waiting(key: &str) -> Self {
        let detail = "work is parked, and a slot is free";
        Self::new(Rule::WaitsForNothing, Place::Key { key: key.into() }, detail)
    }

    /// A beat of a node that is not up.
    pub fn beat(node: i64, beat: i64) -> Self {
        let place = Place::Beat { node: NodeId::from_stored(node), beat };
        Self::new(Rule::BeatWithoutNode, place, format!("the beat is {beat}"))
    }

    /// A node that is up without a beat.
    pub fn beatless(node: i64, name: &str) -> Self {
        let place = Place::Node { id: NodeId::from_stored(node) };
        Self::new(Rule::NodeWithoutBeat, place, format!("its name is {name}"))
    }

    /// A live row that cannot be understood.
    pub fn unreadable(claim: ClaimRef, reason: &str) -> Self {
        // What nobody owns has the number 0 in a claim.
        let owner = Some(claim.owner.get()).filter(|owner| *owner != 0);
        Self::of_execution(Rule::Unreadable, (claim.id.to_bytes(), owner, claim.fence.get()), reason)
    }
}
