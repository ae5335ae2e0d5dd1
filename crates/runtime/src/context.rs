//! What a handler can know of the attempt that it runs, and how it learns that it should stop.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use punctual_core::execution::Execution;
use punctual_core::protocol::finish;
use punctual_core::quartz::CatchUp;
use punctual_core::store::SettlePlan;
use punctual_core::{ExecutionId, Fence, JobKey, Kind, NodeId, Timestamp, TriggerKey};

use crate::node::{Node, Stop};

/// Why a body should stop.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It took longer than its timeout.
    TimedOut,
    /// Somebody cancelled it, for this reason.
    Cancelled(Box<str>),
    /// Its node can no longer be sure that nobody else runs the same work.
    LeaseLost,
    /// Its node is shutting down and will hand the work back.
    ShuttingDown,
}

/// Values that handlers share, by type.
pub(crate) type States = BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// An attempt, as its handler sees it. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) row: Arc<Execution>,
    pub(crate) owner: NodeId,
    pub(crate) epoch: u32,
    pub(crate) started: Timestamp,
    pub(crate) stops_on_lease_loss: bool,
    pub(crate) stop: Arc<Stop>,
    pub(crate) node: Arc<Node>,
}

impl Context {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// The execution; the same over all attempts, so it serves as an idempotency key.
    pub fn execution_id(&self) -> ExecutionId {
        self.inner.row.id
    }

    /// The kind under which the handler is registered.
    pub fn kind(&self) -> &Kind {
        &self.inner.row.kind
    }

    /// The stored job, if the execution belongs to one.
    pub fn job(&self) -> Option<&JobKey> {
        self.inner.row.job.as_ref().map(|job| &job.key)
    }

    /// The trigger, if the execution is a firing.
    pub fn trigger(&self) -> Option<&TriggerKey> {
        self.inner.row.occurrence.as_ref().map(|occurrence| &occurrence.key)
    }

    /// The generation of the trigger's definition, if the execution is a firing.
    pub fn generation(&self) -> Option<i64> {
        self.inner.row.occurrence.as_ref().map(|occurrence| occurrence.generation)
    }

    /// The node that runs the attempt.
    pub fn node(&self) -> NodeId {
        self.inner.owner
    }

    /// The number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.inner.row.attempt
    }

    /// Whether an earlier attempt was lost with its node, so that its effects may be there in part.
    pub fn recovering(&self) -> bool {
        self.inner.row.losses > 0
    }

    /// The fence of this attempt within the database.
    pub fn fence(&self) -> Fence {
        self.inner.row.fence
    }

    /// The fence to hand to a resource outside the database, which should refuse any smaller one. It grows with every
    /// hand-over of the execution and, for exclusive work, over all executions of its key.
    pub fn fencing_token(&self) -> u64 {
        self.inner.row.fence.token(self.inner.epoch)
    }

    /// The key of the concurrency limit that the attempt is under.
    pub fn concurrency_key(&self) -> Option<&str> {
        self.inner.row.slot.as_ref().map(|slot| &*slot.key)
    }

    /// The instant that the schedule names; for enqueued work, when it was asked to run.
    pub fn scheduled_at(&self) -> DateTime<Utc> {
        self.inner.row.scheduled.into()
    }

    /// When the attempt began, on the store's clock as the node knows it.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.inner.started.into()
    }

    /// How much later than scheduled the attempt began.
    pub fn lateness(&self) -> std::time::Duration {
        self.inner.started.since(self.inner.row.scheduled)
    }

    /// Which of the late instants this is that the trigger catches up with, `k` of `n`; `None` if it was not late when it
    /// was claimed, or is no firing. The same over all attempts. Instants that become late meanwhile make `n` grow.
    pub fn catch_up(&self) -> Option<CatchUp> {
        self.inner.row.catch_up
    }

    /// What ends this execution with success, to be written in a transaction of the handler's own: `complete_in` of the
    /// store takes it. What the work has done and the fact that it is done are then committed together, or not at all.
    ///
    /// Call it last, commit if the store answers [`SettleOutcome::Done`](punctual_core::store::SettleOutcome::Done), and
    /// return `Ok`. Whatever else it answers, roll back: the work belongs to another node by now, or an earlier
    /// transaction of this attempt was committed though its answer was lost.
    pub fn completion(&self, output: Option<&str>) -> SettlePlan {
        let Inner { row, owner, started, node, .. } = &*self.inner;
        finish::succeed(row, *owner, *started, node.store_time(), output)
    }

    /// Why the body should stop, if it should.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.inner.stop.get()
    }

    /// Whether the body must have stopped when its node's lease has run out, so that another node may run the same work.
    pub fn stops_on_lease_loss(&self) -> bool {
        self.inner.stops_on_lease_loss
    }

    /// The boot-time instant until which the node holds its lease, as it is now; the work must have stopped by then
    /// plus the profile's wind-down. For bodies that run outside this process and must stop even if it is frozen.
    pub fn lease_until(&self) -> punctual_core::BootInstant {
        self.inner.node.lease_until.get()
    }

    /// Waits until the lease is renewed after this call, and answers how long it then lasts. Cancel safe.
    pub async fn lease_renewed(&self) -> punctual_core::BootInstant {
        let lease = &self.inner.node.lease_until;
        let known = lease.get();
        lease.until(|until| (*until != known).then_some(*until)).await
    }

    /// Waits until the body should stop, and answers why. Cancel safe.
    ///
    /// A body that does not watch this is dropped at its next `.await` when its time to wind down is over.
    pub async fn stopped(&self) -> StopReason {
        self.inner.stop.until(Option::clone).await
    }

    pub(crate) fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.inner.node.states.get(&TypeId::of::<T>()).cloned()?.downcast().ok()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("execution_id", &self.inner.row.id)
            .field("kind", &self.inner.row.kind)
            .field("attempt", &self.inner.row.attempt)
            .field("fence", &self.inner.row.fence)
            .finish_non_exhaustive()
    }
}
