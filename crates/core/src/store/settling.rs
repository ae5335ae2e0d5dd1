//! How executions leave their owner.

use std::time::Duration;

use super::ClaimRef;
use crate::execution::{Attempt, ExecutionState, HistoryRecord};

/// How an execution leaves its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has ended.
    End(Box<HistoryRecord>),
    /// It has ended, and leaves no record: the store forgets that it ever was. Not for what a trigger fired, whose record
    /// is the last defence against a second firing of its instant.
    Forget,
    /// It goes back among the ready ones, or is held.
    Back(Back),
}

/// The row of an execution that goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// `Ready` or `Held`.
    pub state: ExecutionState,
    /// How long it waits.
    pub delay: Duration,
    /// The number of its next try.
    pub attempt: u32,
    /// How many tries were lost with their node.
    pub losses: u32,
    /// The ended tries, newest last.
    pub attempts: Vec<Attempt>,
    /// Whether it keeps the slot that it holds.
    pub keep_slot: bool,
    /// Why it is held.
    pub error: Option<Box<str>>,
}

/// What to do with one owned execution, if owner and fence still match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettlePlan {
    /// Which claim.
    pub claim: ClaimRef,
    /// What becomes of it.
    pub then: Settlement,
}

/// What became of a guarded write to an execution.
#[must_use = "a stale owner must stop"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettleOutcome {
    /// It was written.
    Done,
    /// The history holds this execution with this fence: an earlier try of the same step had committed.
    AlreadyDone,
    /// The row has moved on, or is gone; nothing was written.
    Fenced,
}
