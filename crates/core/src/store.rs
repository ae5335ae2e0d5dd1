//! The traits that a store implements, and the requests and answers that pass through them.
//!
//! A store holds; it never decides. What has to be decided is decided by [`crate::protocol`] between two steps: one
//! step reads, a pure function plans, the next step applies what still fits. So a store has no condition that is not
//! about its own dialect or driver, and no transaction stays open while anybody thinks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::execution::{Execution, ExecutionWithJob, HistoryRecord, NewExecution, Skip, Slot};
use crate::inspect::Inspect;
use crate::job::{ExecutionSpec, JobRecord, Payload};
use crate::key::{ExecutionId, Fence, JobId, Kind, NodeId, TriggerId};
use crate::node::{NodeInfo, NodeRecord};
use crate::time::{BoxFuture, Timestamp};
use crate::trigger::{TriggerRecord, TriggerState};

/// Where schedules and work live, and the only place where nodes meet.
///
/// # Contract
/// * **Atomic.** Each method is one step: it happens wholly or not at all, and nobody sees half of it. Within a batch
///   each element succeeds or loses for itself unless the method says otherwise; answers come in the order asked.
/// * **Guarded.** Every write compares an identity that never repeats: `rev`, `fire_seq`, `fence` with `owner`, `gate`,
///   `beat`. Zero matching rows is an answer ([`ClaimOutcome::Lost`], [`SettleOutcome::Fenced`], …), not an error.
/// * **Repeatable.** Repeating a step whose answer was lost changes nothing more than it did the first time, except
///   that a claim that committed unseen is found by [`JobStore::check_in`] and handed back.
/// * **One clock.** Due, wake and `now` are the store's clock, read after nothing in the step can block any more.
///   Delays arrive as durations and are added to that clock by the store. No guard ever compares two clocks.
/// * **Lock order** node → trigger → job → slot → execution.
/// * **Poison stays alone.** A row that cannot be understood is returned as [`Poison`], never as an error of the batch.
///
/// # Cancel safety
/// Dropping a returned future leaves the step done or not done, never half done, and never returns a connection with
/// an open transaction to its pool.
#[async_trait]
pub trait JobStore: fmt::Debug + Send + Sync + 'static {
    /// What this store can do.
    fn features(&self) -> StoreFeatures;

    /// Listings for people and programs. They take no lock and may be a moment old.
    fn inspect(&self) -> &dyn Inspect;

    /// A way to learn early that there may be work, where the store has one. Only a hint: polling stays the truth.
    fn wake(&self) -> Option<&dyn Wake>;

    /// Reads the store's clock.
    async fn now(&self) -> Result<Timestamp>;

    // ---- definitions ----

    /// Applies changes of jobs, triggers and sets: all of them, or none.
    ///
    /// Each change compares what its [`Expect`] says; the first that does not fit makes the whole batch
    /// [`Applied::Lost`] with its index, and nothing is written. `rev` of each written record is set to one more than
    /// the stored one (1 for a new row), whatever the given record says. Linearization point: the commit.
    ///
    /// * [`Change::PutTrigger`] loses if its job is not there.
    /// * [`Change::DeleteTrigger`] writes `leave` into live rows of the trigger that carry no own spec or payload, and
    ///   remembers the trigger's `last` as the mark of its key.
    /// * [`Change::DeleteJob`] loses while triggers refer to the job (those deleted earlier in the batch do not), and
    ///   deals with its live rows as [`LiveWork`] says.
    async fn apply(&self, changes: Vec<Change>) -> Result<Applied>;

    /// Puts work into the store: all of it, or none.
    ///
    /// The row is `Ready`, attempt 1, and wakes at `scheduled`, or `delay` after the store's now if a delay is given
    /// (which then also becomes `scheduled`). An id that is there already, live or in the history, is left as it is.
    /// Answers [`Applied::Lost`] with the index if the job of an element is not there.
    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied>;

    /// Asks live executions to stop: `Ready` and `Held` ones end as cancelled now, owned ones are marked, and their
    /// owner learns it at its next check-in. Answers how many were ended and how many marked.
    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled>;

    // ---- membership ----

    /// Adds a node: state up, gate 0, beat 1. Repeating it with the same id changes nothing.
    async fn join(&self, info: NodeInfo) -> Result<CheckedIn>;

    /// Raises the node's beat by one, if it is up, and answers what a node needs to know once an interval.
    ///
    /// A node that is not up, or whose beat row is gone, gets [`CheckedIn::standing`] `Gone`, and nothing changes.
    async fn check_in(&self, node: NodeId) -> Result<CheckedIn>;

    /// Marks an up node dead and deletes its beat, if its beat is still `beat`; waits for a claim of it in flight.
    ///
    /// Answers `true` if the node is not up afterwards (also if it had died or left before), `false` if it has beaten
    /// since.
    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool>;

    /// Marks an up node as left and deletes its beat. Rows that still name it are orphans from then on.
    async fn leave(&self, node: NodeId) -> Result<()>;

    /// Puts an up node in or out of standby and raises its gate: when this has returned, no claim that was planned
    /// before it commits. Answers the new gate, or `None` if the node is not up.
    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>>;

    /// Live rows that name `owner`, at most `limit`, if that node is not up; empty if it is up.
    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>>;

    // ---- the life of a firing ----

    /// Reads due triggers without any lock: `Active`, `wake <= now`, of one of the kinds; ordered by `wake`, then job
    /// plus trigger priority (high first), then id; at most `limit`. With a slice, only triggers of that slice or
    /// with `wake` more than [`SLICE_GRACE`] ago. Parked triggers have a later `wake` and so are not in the way.
    async fn read_due(&self, request: ReadDue) -> Result<Due>;

    /// Applies plans, if the node is up, not in standby, and its gate is the one that the plans saw; else the answer is
    /// `gate_open: false` and nothing is written. For each plan, in the order of trigger ids:
    ///
    /// 1. the trigger is locked and compared: same `rev`, same `fire_seq`, `Active`; else `Lost`;
    /// 2. if the plan has a slot, a free one of its key is taken (rows are made up to the limit); if there is none,
    ///    the plan's `busy` patch is written and the answer is `Busy`;
    /// 3. the executions are inserted as `Claimed` by the node, attempt 1, with a fence (the slot's next, else 1);
    /// 4. the `then` patch is written, with its skips.
    ///
    /// A patch sets the trigger's state, next_fire, wake and error, sets last unless it is `None`, adds `fires`, and
    /// raises `fire_seq` and `rev` by one.
    async fn claim(&self, request: Claim) -> Result<Claimed>;

    /// Claims ready rows whose time has come, of one of the kinds: highest priority first, then earliest `wake`, then
    /// id; at most `limit`; under the same condition on the node as [`JobStore::claim`].
    ///
    /// A row that needs a slot keeps the one it holds or takes a free one; if there is none its `wake` is set to
    /// `park` after now. The row becomes `Claimed` with a fence above its own last one and above the slot's, so that
    /// fences grow for each execution and for each slot, also where a key has several.
    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady>;

    /// Marks claimed rows as begun, if owner and fence match; needed before the body of work that runs at most once.
    /// Repeating it is `Done` while the row is there, and `Fenced` after: what has ended must not begin again.
    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>>;

    /// Ends executions or puts them back, each if the row's owner and fence are the given ones.
    ///
    /// [`Settlement::End`] deletes the live row, appends the record to the history and frees the slot.
    /// [`Settlement::Back`] writes state, attempt, losses, attempts and error, clears the owner, sets `wake` to `delay`
    /// after now, and frees the slot unless told to keep it. Freeing a slot wakes what waits for its key: one parked
    /// ready row if there is one, else one parked trigger.
    ///
    /// If no row matches, the answer is `AlreadyDone` if the history holds this id with this fence, else `Fenced`.
    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>>;

    // ---- upkeep ----

    /// Deletes old rows, at most `limit` of each kind: history that ended more than `history` ago, nodes that left or
    /// died that long ago and own nothing, completed triggers that belong to no set and ended that long ago (with their
    /// job, if it is not durable and has no other), marks older than 90 days, and slots that nobody holds or waits for.
    /// A slot's fence survives in a floor under all later slots. Answers how many rows went.
    async fn prune(&self, request: Prune) -> Result<Pruned>;
}

/// What a store can do, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreFeatures {
    /// A short name: `memory`, `sqlite`, ….
    pub name: &'static str,
    /// Whether several processes may share one store.
    pub shared: bool,
    /// The most elements of one batch.
    pub max_batch: u32,
    /// The finest step of the store's clock.
    pub clock_step: Duration,
}

/// A hint that there may be work.
pub trait Wake: fmt::Debug + Send + Sync {
    /// Waits until something became available that no earlier answer of the store spoke of. May come for nothing; may
    /// be missed. Cancel safe.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// How late a trigger must be before nodes of other slices read it too.
pub const SLICE_GRACE: Duration = Duration::from_millis(500);

/// How long a trigger or row that found its slot taken stays out of the way, if nobody wakes it before.
pub const PARK: Duration = Duration::from_secs(5);

/// A row as it was read, or what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readable<T> {
    /// It could be understood.
    Row(T),
    /// It could not.
    Poison(Poison),
}

/// A row that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Which row, with what is needed to set it aside.
    pub row: PoisonRow,
    /// What is wrong with it, naming the column.
    pub reason: String,
}

/// The identity of a row that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoisonRow {
    /// A trigger, or the job that it needs.
    Trigger {
        /// Its id.
        id: TriggerId,
        /// Its revision.
        rev: i64,
        /// Its firing counter.
        fire_seq: i64,
    },
    /// A live execution, or the job that it needs.
    Execution(ClaimRef),
}

/// Which claim of which execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimRef {
    /// The execution.
    pub id: ExecutionId,
    /// The node that claimed it.
    pub owner: NodeId,
    /// The fence of that claim.
    pub fence: Fence,
}

/// What a record must be for a change to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No record has the key, and the mark of the key (the last instant of a deleted trigger) is this.
    Absent {
        /// As [`crate::Inspect::trigger`] reported it; `None` for jobs and sets.
        mark: Option<Timestamp>,
    },
    /// The record has the same id and this revision.
    Rev(i64),
}

/// The new content of a set's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRecord {
    /// Its name: a file's, or a library's.
    pub name: Box<str>,
    /// Its revision. A lower one never overwrites a higher one.
    pub revision: i64,
    /// The hash of all its definitions.
    pub hash: i64,
    /// Who wrote it, for people.
    pub by: Box<str>,
    /// Grows with every write.
    pub rev: i64,
    /// When it was written, on the store's clock; set by the store.
    pub written: Timestamp,
}

/// What live rows keep when what they inherited from goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The rules.
    pub spec: ExecutionSpec,
    /// The data.
    pub payload: Payload,
}

/// What happens to live executions of a job that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveWork {
    /// The change loses while there are any.
    MustBeNone,
    /// Those that nobody owns end as cancelled; owned ones are marked to stop.
    Cancel,
    /// They go on without their job.
    Detach,
}

/// One change of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Creates or replaces a job.
    PutJob {
        /// What must be there.
        expect: Expect,
        /// The new content.
        job: JobRecord,
    },
    /// Creates or replaces a trigger.
    PutTrigger {
        /// What must be there.
        expect: Expect,
        /// The new content.
        trigger: TriggerRecord,
    },
    /// Deletes a trigger.
    DeleteTrigger {
        /// Which.
        id: TriggerId,
        /// Its revision.
        rev: i64,
        /// What its live rows keep.
        leave: Leave,
    },
    /// Deletes a job.
    DeleteJob {
        /// Which.
        id: JobId,
        /// Its revision.
        rev: i64,
        /// What becomes of its live rows.
        live: LiveWork,
        /// What its live rows keep.
        leave: Leave,
    },
    /// Creates or replaces the row of a set.
    PutSet {
        /// What must be there.
        expect: Expect,
        /// The new content.
        set: SetRecord,
    },
}

/// What became of a batch of changes.
#[must_use = "a lost race must be looked at"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// All were written.
    All,
    /// The one with this index did not fit; nothing was written.
    Lost {
        /// Its index.
        at: usize,
    },
}

/// Work to put into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueue {
    /// The row.
    pub execution: NewExecution,
    /// Run this long after the store's now; `None` runs at `execution.scheduled`.
    pub delay: Option<Duration>,
}

/// What a cancellation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// Rows that ended at once.
    pub ended: u32,
    /// Rows whose owner was asked to stop them.
    pub asked: u32,
}

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
    /// The epoch of the store, raised after commits were lost.
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

/// A part of the due set: triggers whose slice lies in `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The first slice.
    pub from: i64,
    /// One past the last slice.
    pub to: i64,
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
}

/// A due trigger with its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueTrigger {
    /// The trigger.
    pub trigger: TriggerRecord,
    /// Its job.
    pub job: JobRecord,
}

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The store's clock; plans are made for this instant.
    pub now: Timestamp,
    /// The node's gate, to be handed to the claim.
    pub gate: i64,
    /// The due triggers, in order.
    pub triggers: Vec<Readable<DueTrigger>>,
    /// The earliest `wake` after `now` of any active trigger or ready row of the kinds.
    pub next_wake: Option<Timestamp>,
    /// Whether a ready row of the kinds is due, so that a [`JobStore::claim_ready`] is worth its while.
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

/// Asks to apply plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who claims.
    pub node: NodeId,
    /// The gate that the plans saw.
    pub gate: i64,
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
    /// Whether the node may claim; if not, all outcomes are `Lost`.
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
    /// What it can run.
    pub kinds: Arc<[Kind]>,
    /// How many it has room for.
    pub limit: u32,
    /// How long a row that found its slot taken stays out of the way.
    pub park: Duration,
}

/// The answer to a claim of ready work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedReady {
    /// The store's clock.
    pub now: Timestamp,
    /// Whether the node may claim.
    pub gate_open: bool,
    /// What it got. A poisoned row was claimed too, so that it can be held by a [`JobStore::settle`].
    pub work: Vec<Readable<ExecutionWithJob>>,
}

/// How an execution leaves its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It has ended.
    End(Box<HistoryRecord>),
    /// It goes back among the ready ones, or is held.
    Back(Back),
}

/// The row of an execution that goes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// `Ready` or `Held`.
    pub state: crate::execution::ExecutionState,
    /// How long it waits.
    pub delay: Duration,
    /// The number of its next try.
    pub attempt: u32,
    /// How many tries were lost with their node.
    pub losses: u32,
    /// The ended tries, newest last.
    pub attempts: Vec<crate::execution::Attempt>,
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

/// Asks to delete old rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// How long history is kept.
    pub history: Duration,
    /// The most rows of each kind.
    pub limit: u32,
}

/// What a prune deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// History rows.
    pub history: u64,
    /// Everything else.
    pub other: u64,
}

impl Pruned {
    /// Whether a limit may have been reached, so that another round is worth its while.
    pub fn may_be_more(&self, limit: u32) -> bool {
        self.history >= u64::from(limit)
    }
}

/// Live rows and their page, as listings return them.
pub type Executions = Vec<Readable<Execution>>;
