//! The handle that an application holds: it schedules, enqueues, commands, and runs the node.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use punctual_core::inspect::{ExecutionFilter, Page};
use punctual_core::job::JobRecord;
use punctual_core::node::NodeRecord;
use punctual_core::store::{Cancelled, Standby};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{Error, ErrorKind, ExecutionId, Inspect, JobKey, JobStore, NodeId, Result, TriggerKey};
use tokio::sync::{mpsc, oneshot};

use crate::builder::Builder;
use crate::context::StopReason;
use crate::handler::Job;
use crate::node::{Node, Phase, acquire, body, membership, settle, upkeep, watchdog};
use crate::request::{EnqueueMany, EnqueueRequest, ScheduleRequest};

/// A scheduler on a shared store. Cheap to clone; clones are one and the same.
///
/// One that is never [run](Scheduler::run_until) executes nothing, but schedules, enqueues and commands all the same.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(crate) node: Arc<Node>,
}

impl Scheduler {
    /// Begins to put a scheduler together.
    pub fn builder(store: impl JobStore) -> Builder {
        Builder::new(Arc::new(store))
    }

    /// The same for a store that is shared already.
    pub fn builder_shared(store: Arc<dyn JobStore>) -> Builder {
        Builder::new(store)
    }

    pub(crate) const fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// The id of this node. A node that was declared dead goes on under a new one.
    pub fn node_id(&self) -> NodeId {
        self.node.id()
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn JobStore> {
        &self.node.store
    }

    /// The listings of the store.
    pub fn inspect(&self) -> &dyn Inspect {
        self.node.store.inspect()
    }

    // ---- running ----

    /// Runs the node until `shutdown` ends, then shuts down gracefully: it claims nothing more, hands back what has not
    /// begun, waits for bodies up to [`crate::Settings::grace`], stops the rest and hands it back without using an
    /// attempt, and leaves the cluster.
    ///
    /// # Errors
    /// What kept the node from joining, or made it stop for good. A store that is away for a while does not.
    ///
    /// # Cancel safety
    /// Dropping the future stops the node as a crash would: others take its work over.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let node = &self.node;
        if node.member().lease.is_some() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "run",
                "this scheduler is running, or has run; build another",
            ));
        }
        let observer = membership::join(node, node.id()).await?;
        let (results, receiver) = mpsc::channel(4_096);
        let (end_membership, ended) = oneshot::channel();
        let mut tasks = Tasks::default();
        let checking_in = tasks.spawn(membership::run(Arc::clone(node), observer, ended));
        let watching = tasks.spawn(watchdog::run(Arc::clone(node)));
        let mut settling = tasks.spawn(settle::run(Arc::clone(node), receiver));
        let acquiring = tasks.spawn(acquire::run(Arc::clone(node), results));
        let keeping_up = tasks.spawn(upkeep::run(Arc::clone(node)));
        let waking = tasks.spawn(upkeep::wake_waiting(Arc::clone(node)));
        let mending = tasks.spawn(upkeep::check(Arc::clone(node)));

        tokio::select! {
            biased;
            () = shutdown => {}
            () = node.reached(Phase::Draining) => {}
        }
        node.advance(Phase::Draining);
        let _ = acquiring.await;
        let _ = keeping_up.await;
        let _ = waking.await;
        let _ = mending.await;
        if !body::drained(node, node.settings.grace).await {
            node.stop_bodies(&StopReason::ShuttingDown, |_| true);
            // Bodies are dropped after their wind-down; what is left then waits for the store.
            body::drained(node, membership::patience(node)).await;
        }
        // The channel closes when the last body has sent its result; a store that is away must not hold us for ever.
        let mut settled = false;
        tokio::select! {
            biased;
            _ = &mut settling => settled = true,
            () = node.clock.sleep(membership::patience(node) * 2) => {}
        }
        let _ = end_membership.send(());
        let _ = checking_in.await;
        if !settled {
            // The last check-in may have waited for the store as well, and have got through: results go before the leaving.
            tokio::select! {
                biased;
                _ = settling => settled = true,
                () = node.clock.sleep(membership::patience(node)) => {}
            }
        }
        // Who leaves says that all of its work is handed back. The silence of one that could not tells the truth; so does
        // that of one whose store was put back under it, and may name it in rows that it has never seen like that.
        if settled && !node.is_halted() {
            membership::leave(node).await;
        }
        node.advance(Phase::Done);
        let _ = watching.await;
        let halted = node.halted.lock().unwrap_or_else(PoisonError::into_inner).take();
        halted.map_or(Ok(()), Err)
    }

    /// Makes a running node shut down gracefully; its [`Scheduler::run_until`] then ends.
    pub fn shut_down(&self) {
        self.node.advance(Phase::Draining);
    }

    /// Keeps this node from claiming; it checks in as before, and its running bodies go on. When this has returned,
    /// the node claims nothing any more.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer: then the node is in standby all the same, only not for others to see.
    pub async fn standby(&self) -> Result<()> {
        self.set_standby(Standby::On).await
    }

    /// Ends [`Scheduler::standby`].
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn resume(&self) -> Result<()> {
        self.set_standby(Standby::Off).await
    }

    async fn set_standby(&self, standby: Standby) -> Result<()> {
        let id = self.node.id();
        self.node.standby_wanted.store(standby == Standby::On, Ordering::SeqCst);
        self.node.member().standby = standby;
        if self.node.member().lease.is_some() {
            self.node.store.set_standby(id, standby).await?;
            self.node.member().standby = standby;
        }
        self.node.hint.notify_one();
        Ok(())
    }

    // ---- defining and enqueueing ----

    /// Begins to schedule a job: `scheduler.schedule(job).cron("0 0 9 ? * MON-FRI").key("reports/daily").await`.
    pub fn schedule<J: Job>(&self, job: J) -> ScheduleRequest<'_> {
        ScheduleRequest::new(self, &job)
    }

    /// Begins to enqueue a job: `scheduler.enqueue(job).after(minutes).await`.
    pub fn enqueue<J: Job>(&self, job: J) -> EnqueueRequest<'_> {
        EnqueueRequest::new(self, &job)
    }

    /// Begins to enqueue many jobs in one step: all of them, or none.
    pub fn enqueue_many<J: Job>(&self, jobs: impl IntoIterator<Item = J>) -> EnqueueMany<'_> {
        EnqueueMany::new(self, jobs)
    }

    // ---- looking ----

    /// The job of a key.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer; `Corrupt` if the row cannot be understood.
    pub async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        self.inspect().job(key).await
    }

    /// The trigger of a key.
    ///
    /// # Errors
    /// As [`Scheduler::job`].
    pub async fn trigger(&self, key: &TriggerKey) -> Result<Option<TriggerRecord>> {
        Ok(self.inspect().trigger(key).await?.trigger)
    }

    /// Jobs by key, of one group or of all.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn jobs(&self, page: Page<JobKey>) -> Result<Vec<JobRecord>> {
        self.inspect().jobs(page).await
    }

    /// Triggers by key, of one group or of all.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn triggers(&self, page: Page<TriggerKey>) -> Result<Vec<TriggerRecord>> {
        self.inspect().triggers(page).await
    }

    /// What runs now, on any node.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn running(&self) -> Result<Vec<punctual_core::execution::Execution>> {
        use punctual_core::store::Readable;
        let rows = self.inspect().executions(ExecutionFilter::default()).await?;
        let owned = rows.into_iter().filter_map(|row| match row {
            Readable::Row(row) if row.owner.is_some() => Some(row),
            _ => None,
        });
        Ok(owned.collect())
    }

    /// The nodes that the store remembers.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        self.inspect().nodes().await
    }

    /// Cancels executions, on whichever node they run. A waiting one ends at once; a running one is asked to stop within
    /// its node's check-in interval, and dropped after its wind-down.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn cancel(&self, ids: Vec<ExecutionId>, why: &str) -> Result<Cancelled> {
        self.node.store.cancel(ids, why.to_owned()).await
    }
}

/// Tasks that end with their owner, so that a dropped node leaves nothing running.
#[derive(Debug, Default)]
struct Tasks(Vec<tokio::task::AbortHandle>);

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) -> tokio::task::JoinHandle<()> {
        let handle = tokio::spawn(task);
        self.0.push(handle.abort_handle());
        handle
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// How often a step that lost its race is read, planned and applied again.
const TRIES: u32 = 200;

impl Scheduler {
    /// Repeats `step` until it is not lost. Each try reads anew, so it decides on what is there then.
    pub(crate) async fn until_applied<T, F>(
        &self,
        operation: &'static str,
        mut step: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<Option<T>>>,
    {
        for attempt in 0..TRIES {
            if let Some(done) = step().await? {
                return Ok(done);
            }
            if attempt > 2 {
                self.node
                    .clock
                    .sleep(self.node.entropy.below(Duration::from_millis(u64::from(attempt) * 2)))
                    .await;
            }
        }
        Err(Error::unavailable(
            operation,
            format!("lost the race {TRIES} times against other writers; try again later"),
        ))
    }
}
