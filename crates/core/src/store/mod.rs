//! The traits that a store implements, and the requests and answers that pass through them.
//!
//! A store holds; it never decides. What has to be decided is decided by [`crate::protocol`] between two steps: one
//! step reads, a pure function plans, the next step applies what still fits. So a store has no condition that is not
//! about its own dialect or driver, and no transaction stays open while anybody thinks.

mod change;
mod firing;
pub mod hook;
mod member;
mod settling;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use self::change::{
    Applied, CalendarRecord, Cancelled, Change, Enqueue, Expect, Leave, LiveWork, SetRecord,
};
pub use self::firing::{
    Claim, ClaimOutcome, ClaimReady, ClaimShape, Claimed, ClaimedReady, Due, DueTrigger, FirePlan, ReadDue,
    ReadyPlace, Slice, TriggerPatch, Within,
};
pub use self::member::{CheckedIn, Owned, Standby, Standing};
pub use self::settling::{Back, SettleOutcome, SettlePlan, Settlement};
use crate::check::Check;
use crate::error::Result;
use crate::execution::ExecutionWithJob;
use crate::inspect::Inspect;
use crate::key::{ExecutionId, Fence, NodeId, TriggerId};
use crate::node::NodeInfo;
use crate::time::{BoxFuture, Timestamp};

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
/// * **Lock order** epoch → node → guard of pauses → trigger → job → slot → execution.
/// * **The same everywhere.** To the same steps at the same times every store gives the same answers, and is left with the
///   same rows. Left open are: which of several free slots of a key is taken, which shows in fences; what becomes of work
///   that needs one key and names different limits for it in one step, where a plan may be `Lost`, a ready row may stay as
///   it is, and the highest limit that a job of the key has may count; whether a plan is `Busy` or `Lost` whose slot is
///   taken and whose instant has an execution already; the order of the lists in [`CheckedIn`]; which rows
///   go first where a limit cuts an upkeep short, and how many of the store's own; and the words of its own reasons.
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

    /// A way to find and mend what should not be in the store, where it has one.
    fn checks(&self) -> Option<&dyn Check>;

    /// Reads the store's clock.
    async fn now(&self) -> Result<Timestamp>;

    // ---- definitions ----

    /// Applies changes of jobs, triggers, calendars and sets: all of them, or none.
    ///
    /// Each change compares what its [`Expect`] says; the first that does not fit makes the whole batch
    /// [`Applied::Lost`] with its index, and nothing is written. `rev` of each written record is set to one more than
    /// the stored one (1 for a new row), whatever the given record says. Linearization point: the commit.
    ///
    /// * [`Change::PutTrigger`] loses if its job or the calendar that it names is not there. A trigger that is given as
    ///   `Active` or `Paused` is written as `Paused` if it has a pause or its group has one, else as `Active`:
    ///   [`TriggerRecord::follow_pauses`](crate::trigger::TriggerRecord::follow_pauses).
    /// * [`Change::DeleteTrigger`] writes `leave` into live rows of the trigger that carry no own spec or payload, and
    ///   remembers the trigger's `last` as the mark of its key.
    /// * [`Change::DeleteJob`] loses while triggers refer to the job (those deleted earlier in the batch do not), and
    ///   deals with its live rows as [`LiveWork`] says.
    /// * [`Change::DeleteCalendar`] loses while triggers name the calendar.
    /// * [`Change::PauseGroup`] writes the pause and sets every `Active` trigger of the group to `Paused`, with `wake` at its
    ///   `next_fire`: what is paused is not parked.
    /// * [`Change::ResumeGroup`] deletes the pause and sets every `Paused` trigger of the group that has no pause of its
    ///   own to `Active`, also with `wake` at its `next_fire`. Both raise the `rev` of the triggers that they set, and never
    ///   lose. A trigger that is put into the group meanwhile is under the pause, or is found by whoever lifts it.
    async fn apply(&self, changes: Vec<Change>) -> Result<Applied>;

    /// Puts work into the store: all of it, or none.
    ///
    /// The row is `Ready`, attempt 1, and wakes at `scheduled`, or `delay` after the store's now if a delay is given
    /// (which then also becomes `scheduled`). An id that is there already, live or in the history, is left as it is.
    ///
    /// A row that is due, and needs a slot of a key that has no free one, or has parked rows, or whose free ones earlier
    /// rows of the batch will need, is parked at once: its `wake` is [`PARK`] from now. So a long queue of a busy key
    /// stands in nobody's way.
    ///
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

    /// Begins a new epoch: raises the store's epoch to `to` and marks every node that is up dead, as
    /// [`JobStore::take_over`] does whatever its beat is, in one step. Answers the epoch after it. If the epoch is `to` or
    /// more already, nothing changes.
    ///
    /// This is for a store that lost commits: one that was restored from a backup, or failed over to a copy that was
    /// behind. Its rows show smaller fences than were given out; tokens begin with the epoch, so that those of a new epoch
    /// are larger than all before, whatever the rows say. For that no claim may commit whose node goes by the old epoch:
    /// the step waits for claims in flight, and for joinings, and when it has returned, whoever is up knows the new one.
    ///
    /// A node that runs all the same is dealt with as any that was declared dead by mistake: it learns that at its next
    /// check-in, stops its bodies and joins again. Until then its bodies may overlap with others, so whoever calls this has
    /// seen to it that none runs.
    ///
    /// # Errors
    /// `Invalid` if `to` is above [`Fence::MAX_EPOCH`].
    async fn raise_epoch(&self, to: u32) -> Result<u32>;

    /// Live rows that name `owner`, at most `limit`, if that node is not up; empty if it is up.
    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>>;

    // ---- the life of a firing ----

    /// Reads due triggers without any lock: `Active`, `wake <= now` (or no later than [`ReadDue::ahead`] after it), of one
    /// of the kinds; ordered by `wake`, then job plus trigger priority (high first), then id; at most `limit`. With a
    /// slice, only triggers of that slice or with `wake` more than its grace ago. Parked triggers have a later `wake` and so are not in the way.
    ///
    /// Each comes with its job and the calendar that it names. A calendar that is missing or cannot be understood makes
    /// the trigger that names it a [`Poison`], and no other.
    async fn read_due(&self, request: ReadDue) -> Result<Due>;

    /// Applies plans, if the node is up, not in standby, its gate is the one that the plans saw, and no claim with a
    /// higher fence of the lock that it is [`Within`] came before; else the answer is `gate_open: false` and nothing is
    /// written. For each plan, in the order of trigger ids:
    ///
    /// 1. the trigger is locked and compared: same `rev`, same `fire_seq`, `Active`, and `wake <= now`, so that a plan that
    ///    was made ahead of time on another clock never fires early; else `Lost`;
    /// 2. if the plan has a slot, a free one of its key is taken (rows are made up to the limit); if there is none,
    ///    the plan's `busy` patch is written and the answer is `Busy`;
    /// 3. the executions are inserted as `Claimed` by the node, attempt 1, with a fence (the slot's next, else 1);
    /// 4. the `then` patch is written, with its skips.
    ///
    /// A patch sets the trigger's state, next_fire, wake, progress and error, sets last unless it is `None`, adds
    /// `fires`, and raises `fire_seq` and `rev` by one.
    async fn claim(&self, request: Claim) -> Result<Claimed>;

    /// Claims ready rows whose time has come, of one of the kinds: highest priority first, then earliest `wake`, then
    /// id; at most `limit`; under the same condition on the node as [`JobStore::claim`]. What stands before
    /// [`ClaimReady::after`] may be left out.
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
    /// [`Settlement::Forget`] does the same without a record; afterwards nothing is known of the execution, and repeating
    /// it is `Fenced`.
    /// [`Settlement::Back`] writes state, attempt, losses, attempts and error, clears the owner, sets `wake` to `delay`
    /// after now, and frees the slot unless told to keep it. Freeing a slot wakes what waits for its key: one parked
    /// ready row if there is one, else one parked trigger; in the same step, as with every method that frees a slot. A
    /// waiter who is parked in that very moment may be missed, and is found by [`JobStore::wake_waiting`].
    ///
    /// If no row matches, the answer is `AlreadyDone` if the history holds this id with this fence, else `Fenced`.
    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>>;

    // ---- upkeep ----

    /// Wakes work that is parked although a slot of its key is free: rows before triggers, for each key at most as many as
    /// it has free slots, at most `limit` in all. Answers how many it woke.
    ///
    /// Freeing a slot wakes a waiter already; this finds those who parked in the moment in which the slot was freed, and
    /// those whose key got a higher limit. Its cost grows with the number of keys that somebody waits for, not with the
    /// number of those who wait.
    async fn wake_waiting(&self, limit: u32) -> Result<u32>;

    /// Deletes old rows, at most `limit` of each kind: history that ended more than `history` ago, nodes that left or
    /// died that long ago, and [`KEEP_NODES`] at least, and own nothing, completed triggers that belong to no set and ended
    /// that long ago (with their job, if it is not durable and has no other), marks older than [`KEEP_MARKS`], and slots
    /// that nobody holds or waits for.
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
    /// How claims are made safe.
    pub claims: ClaimShape,
    /// Whether claims compare the fence of the lock that they are made [`Within`]. A store whose claims need a lock and
    /// that does not compare is only safe for one process.
    pub lock_fences: bool,
}

/// A hint that there may be work.
pub trait Wake: fmt::Debug + Send + Sync {
    /// Waits until something became available that no earlier answer of the store spoke of. May come for nothing; may
    /// be missed. Cancel safe.
    fn changed(&self) -> BoxFuture<'_, ()>;
}

/// How late a trigger must be, as nodes ask for it, before nodes of other slices read it too. Nodes that have more to do in
/// their own slice than a read can hold ask for what others left lying only now and then; those that are late with their own
/// slice ask for what is later than that by so much.
pub const SLICE_GRACE: Duration = Duration::from_millis(500);

/// How long a trigger or row that found its slot taken stays out of the way, if nobody wakes it before. A last resort:
/// whoever frees a slot wakes the next, and [`JobStore::wake_waiting`] finds those who were missed.
pub const PARK: Duration = Duration::from_secs(3_600);

/// How often a cluster calls [`JobStore::wake_waiting`].
pub const WAKE_WAITING: Duration = Duration::from_secs(5);

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

/// Asks to delete old rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prune {
    /// How long history, completed triggers and, if that is longer than [`KEEP_NODES`], nodes that ended are kept.
    pub history: Duration,
    /// The most rows of each kind.
    pub limit: u32,
}

/// The row of a node that ended is kept for at least this long, however short the history: a node that misses its own
/// row sooner knows that the store was rolled back, whatever the settings of the nodes that prune.
/// [`Lease::check_row`](crate::protocol::membership::Lease::check_row) relies on it.
pub const KEEP_NODES: Duration = Duration::from_secs(86_400);

/// How long the last instant of a deleted trigger is remembered.
pub const KEEP_MARKS: Duration = Duration::from_secs(90 * 86_400);

impl Prune {
    /// How long the row of a node that ended is kept.
    pub fn nodes(&self) -> Duration {
        self.history.max(KEEP_NODES)
    }
}

/// What a prune deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// History rows.
    pub history: u64,
    /// Everything else, with rows that only the store knows of.
    pub other: u64,
}

impl Pruned {
    /// Whether a limit may have been reached, so that another round is worth its while.
    pub fn may_be_more(&self, limit: u32) -> bool {
        self.history >= u64::from(limit)
    }
}
