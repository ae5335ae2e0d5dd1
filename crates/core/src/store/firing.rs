//! From what is due to claims: the requests, plans and answers of the hot path.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::{PARK, Readable};
use crate::calendar::Calendar;
use crate::execution::{ExecutionWithJob, NewExecution, Skip, Slot};
use crate::job::JobRecord;
use crate::key::{Fence, Kind, NodeId, TriggerId};
use crate::quartz::Progress;
use crate::time::Timestamp;
use crate::trigger::{SLICES, TriggerRecord, TriggerState};

/// A part of the due set: triggers whose slice lies in `from..to`, and those that their own nodes have left lying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first slice.
    pub from: i64,
    /// One past the last slice.
    pub to: i64,
    /// How late a trigger must be to count as left lying.
    pub grace: Duration,
}

/// Asks for due triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadDue {
    /// Who asks; the answer has its gate.
    pub node: NodeId,
    /// What it can run.
    pub kinds: Arc<[Kind]>,
    /// How many it has room for.
    pub limit: u32,
    /// Its share, if it is to have one.
    pub slice: Option<Slice>,
    /// How far past the store's now to look for triggers. What is answered before its time may be planned and claimed when
    /// that has come, and not earlier.
    pub ahead: Duration,
    /// Which ready rows the store may pass over in [`Due::ready`] and [`Due::next_wake`].
    pub after: Option<ReadyPlace>,
}

impl ReadDue {
    /// A look at all that is due by now: in no slice, not ahead, and from the first row on.
    pub const fn of(node: NodeId, kinds: Arc<[Kind]>, limit: u32) -> Self {
        Self { node, kinds, limit, slice: None, ahead: Duration::ZERO, after: None }
    }
}

/// A place in the order of ready rows: higher priorities stand before it, and of its own those that woke earlier.
///
/// Who has just claimed as many as it asked for knows that hardly anything stands before the last of them any more; but
/// where deleted rows stay in an index until they are cleaned up, looking for what does means to go through all of these.
/// So a store may pass over what stands before the place that a request names. It need not; and it must not pass over
/// anything at the place, or behind it. What came in before it meanwhile is found by the next request that names none,
/// so whoever names places asks without one at times, and before it stops asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadyPlace {
    /// The priority.
    pub priority: i32,
    /// The wake time.
    pub wake: Timestamp,
}

impl ReadyPlace {
    /// Whether a row of this priority and wake time stands before the place, so that it may be passed over.
    pub fn is_behind(&self, priority: i32, wake: Timestamp) -> bool {
        (Reverse(priority), wake) < (Reverse(self.priority), self.wake)
    }
}

impl ReadDue {
    /// Up to when triggers are asked for.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        now.plus(self.ahead)
    }

    /// The first and the last slice whose triggers are asked for at once; all of them without a slice.
    pub fn slices(&self) -> (i64, i64) {
        self.slice.map_or((0, SLICES), |slice| (slice.from, slice.to.saturating_sub(1)))
    }

    /// How late triggers of other slices must be; zero without a slice.
    pub fn grace(&self) -> Duration {
        self.slice.map_or(Duration::ZERO, |slice| slice.grace)
    }
}

/// A due trigger with what it refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTrigger {
    /// The trigger.
    pub trigger: TriggerRecord,
    /// Its job.
    pub job: JobRecord,
    /// The calendar that it names.
    pub calendar: Option<Arc<Calendar>>,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The store's clock; plans for what is due are made for this instant.
    pub now: Timestamp,
    /// The node's gate, to be handed to the claim.
    pub gate: i64,
    /// The due triggers, in order, and behind them those that will be due within [`ReadDue::ahead`].
    pub triggers: Vec<Readable<DueTrigger>>,
    /// The earliest `wake` of the kinds that is not answered: of an active trigger past [`ReadDue::ahead`], or of a ready row
    /// after `now`.
    pub next_wake: Option<Timestamp>,
    /// Whether a ready row of the kinds is due, so that a [`crate::JobStore::claim_ready`] is worth its while.
    pub ready: bool,
}

/// How a trigger is to be moved on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerPatch {
    /// The new state.
    pub state: TriggerState,
    /// The next undecided instant.
    pub next_fire: Option<Timestamp>,
    /// When to look again.
    pub wake: Option<Timestamp>,
    /// The last decided instant; `None` leaves the stored one, which must never be forgotten.
    pub last: Option<Timestamp>,
    /// What else the trigger has come to.
    pub progress: Progress,
    /// Firings to add.
    pub fires: i64,
    /// Why it is in error.
    pub error: Option<Box<str>>,
    /// Instants that are left out.
    pub skips: Vec<Skip>,
}

/// What to do with one due trigger, if it is still as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirePlan {
    /// Which.
    pub trigger: TriggerId,
    /// Its revision as read.
    pub rev: i64,
    /// Its firing counter as read.
    pub fire_seq: i64,
    /// What fires; may be empty.
    pub executions: Vec<NewExecution>,
    /// The slot that must be free; at most one execution has one.
    pub slot: Option<Slot>,
    /// How the trigger moves on if it fires.
    pub then: TriggerPatch,
    /// How it moves on if the slot is taken.
    pub busy: TriggerPatch,
}

/// A lock that a claim is made under, as in Quartz's `acquireTriggersWithinLock`.
///
/// The store remembers the highest fence that it has seen for each lock, and refuses a claim with a smaller one. So a
/// node that was frozen until its lease had passed to another claims nothing, wherever the lock itself is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Within {
    /// The lock's name.
    pub lock: Box<str>,
    /// The fence of the lease that the claiming node holds.
    pub fence: Fence,
}

/// How a store makes sure that a trigger or row is claimed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimShape {
    /// Rows are locked, and those that others have locked are passed over.
    SkipLocked,
    /// Rows are written under a condition, and the number of written rows decides.
    Cas,
    /// Claims are only safe one at a time: each must be made [`Within`] a lock.
    WithinLock,
}

/// Asks to apply plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who claims.
    pub node: NodeId,
    /// The gate that the plans saw.
    pub gate: i64,
    /// The lock that the node holds, if claims are made under one.
    pub within: Option<Within>,
    /// The plans.
    pub plans: Vec<FirePlan>,
}

/// What became of a plan.
#[must_use = "a lost race must be looked at"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimOutcome {
    /// It was applied; one fence for each of its executions.
    Fired(Vec<Fence>),
    /// The slot was taken, and the `busy` patch was applied.
    Busy,
    /// The trigger was no longer as it was read; nothing was written for it.
    Lost,
}

/// The answer to a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The store's clock.
    pub now: Timestamp,
    /// Whether the node may claim, and the fence of its lock, if it has one, was not overtaken; if not, all outcomes are
    /// `Lost`.
    pub gate_open: bool,
    /// One for each plan.
    pub outcomes: Vec<ClaimOutcome>,
}

/// Asks for ready work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimReady {
    /// Who claims.
    pub node: NodeId,
    /// The gate that it last saw.
    pub gate: i64,
    /// The lock that the node holds, if claims are made under one.
    pub within: Option<Within>,
    /// What it can run.
    pub kinds: Arc<[Kind]>,
    /// How many it has room for.
    pub limit: u32,
    /// How long a row that found its slot taken stays out of the way.
    pub park: Duration,
    /// Which rows the store may pass over.
    pub after: Option<ReadyPlace>,
}

impl ClaimReady {
    /// A claim from the first row on, within no lock; what finds its slot taken stays out of the way for [`PARK`].
    pub const fn of(node: NodeId, gate: i64, kinds: Arc<[Kind]>, limit: u32) -> Self {
        Self { node, gate, within: None, kinds, limit, park: PARK, after: None }
    }
}

/// The answer to a claim of ready work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedReady {
    /// The store's clock.
    pub now: Timestamp,
    /// Whether the node may claim, and the fence of its lock, if it has one, was not overtaken.
    pub gate_open: bool,
    /// What it got. A poisoned row was claimed too, so that it can be held by a [`crate::JobStore::settle`].
    pub work: Vec<Readable<ExecutionWithJob>>,
}
