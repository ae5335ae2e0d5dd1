//! Work for the queue: `enqueue(…).after(…)`, one job or many.

use std::future::IntoFuture;
use std::time::Duration;

use chrono::{DateTime, Utc};
use punctual_core::execution::{NewExecution, Slot};
use punctual_core::job::{Concurrency, ExecutionSpec, OnNodeLoss, RetryPolicy, WhenBusy};
use punctual_core::store::{Applied, Enqueue};
use punctual_core::{Error, ExecutionId, Result, Timestamp};

use super::{Answer, Work};
use crate::handler::Job;
use crate::scheduler::Scheduler;

/// When enqueued work runs.
#[derive(Clone, Copy, Debug)]
enum Due {
    After(Duration),
    At(Timestamp),
}

/// A job on its way into the queue. Await it to write it.
#[derive(Debug)]
#[must_use = "nothing is enqueued until the request is awaited"]
pub struct EnqueueRequest<'a> {
    scheduler: &'a Scheduler,
    work: Result<Work>,
    due: Due,
}

impl<'a> EnqueueRequest<'a> {
    pub(crate) fn new<J: Job>(scheduler: &'a Scheduler, job: &J) -> Self {
        Self { scheduler, work: Work::of(job), due: Due::After(Duration::ZERO) }
    }

    fn work(mut self, change: impl FnOnce(&mut Work)) -> Self {
        if let Ok(work) = &mut self.work {
            change(work);
        }
        self
    }

    /// Runs it this long after the store's now.
    pub fn after(mut self, span: Duration) -> Self {
        self.due = Due::After(span);
        self
    }

    /// Runs it at this instant of the store's clock.
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.due = Due::At(at.into());
        self
    }

    /// Higher starts first among what is due.
    pub fn priority(self, priority: i32) -> Self {
        self.work(|work| work.priority = priority)
    }

    /// Attempts and delays.
    pub fn retry(self, policy: RetryPolicy) -> Self {
        self.work(|work| work.rules.retry = policy)
    }

    /// The longest an attempt may take.
    pub fn timeout(self, span: Duration) -> Self {
        self.work(|work| work.rules.timeout = Some(span))
    }

    /// What happens if the node dies.
    pub fn on_node_loss(self, policy: OnNodeLoss) -> Self {
        self.work(|work| work.rules.on_node_loss = policy)
    }

    /// At most `limit` executions that share `key` at once, anywhere in the cluster; the rest waits.
    pub fn limit(self, key: &str, limit: u32) -> Self {
        let when_busy = WhenBusy::Queue;
        self.work(|work| work.rules.concurrency = Some(Concurrency { key: key.into(), limit, when_busy }))
    }

    /// The work as it would be written, for `enqueue_in` of a store: it is then written in a transaction of the caller's.
    ///
    /// # Errors
    /// `Invalid` if the job or a rule of the request is not valid.
    pub fn prepare(self) -> Result<Enqueue> {
        row(self.scheduler, self.work?, self.due)
    }
}

impl<'a> IntoFuture for EnqueueRequest<'a> {
    type Output = Result<ExecutionId>;
    type IntoFuture = Answer<'a, ExecutionId>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let scheduler = self.scheduler;
            let enqueue = self.prepare()?;
            let id = enqueue.execution.id;
            scheduler.put_work(vec![enqueue]).await?;
            Ok(id)
        })
    }
}

/// Many jobs on their way into the queue. Await it to write them, all or none.
#[derive(Debug)]
#[must_use = "nothing is enqueued until the request is awaited"]
pub struct EnqueueMany<'a> {
    scheduler: &'a Scheduler,
    work: Result<Vec<Work>>,
    due: Due,
}

impl<'a> EnqueueMany<'a> {
    pub(crate) fn new<J: Job>(scheduler: &'a Scheduler, jobs: impl IntoIterator<Item = J>) -> Self {
        let work = jobs.into_iter().map(|job| Work::of(&job)).collect();
        Self { scheduler, work, due: Due::After(Duration::ZERO) }
    }

    /// Runs them this long after the store's now.
    pub fn after(mut self, span: Duration) -> Self {
        self.due = Due::After(span);
        self
    }

    /// Runs them at this instant of the store's clock.
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.due = Due::At(at.into());
        self
    }

    /// Higher starts first among what is due.
    pub fn priority(mut self, priority: i32) -> Self {
        if let Ok(work) = &mut self.work {
            work.iter_mut().for_each(|work| work.priority = priority);
        }
        self
    }

    /// The work as it would be written, as [`EnqueueRequest::prepare`].
    ///
    /// # Errors
    /// `Invalid` if a job or a rule of the request is not valid.
    pub fn prepare(self) -> Result<Vec<Enqueue>> {
        self.work?.into_iter().map(|work| row(self.scheduler, work, self.due)).collect()
    }
}

impl<'a> IntoFuture for EnqueueMany<'a> {
    type Output = Result<Vec<ExecutionId>>;
    type IntoFuture = Answer<'a, Vec<ExecutionId>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let scheduler = self.scheduler;
            let rows = self.prepare()?;
            let ids = rows.iter().map(|row| row.execution.id).collect();
            scheduler.put_work(rows).await?;
            Ok(ids)
        })
    }
}

fn row(scheduler: &Scheduler, work: Work, due: Due) -> Result<Enqueue> {
    work.rules.check()?;
    let node = &scheduler.node;
    let (scheduled, delay) = match due {
        Due::After(delay) => (Timestamp::EPOCH, Some(delay)),
        Due::At(at) => (at, None),
    };
    let execution = NewExecution {
        id: ExecutionId::draw(node.store_time(), &*node.entropy),
        occurrence: None,
        job: None,
        kind: work.kind,
        scheduled,
        priority: work.priority,
        slot: Slot::of(&work.rules),
        catch_up: None,
        // Most work asks for nothing in particular, and what is not said is not written, sent and read for each row.
        spec: (work.rules != ExecutionSpec::default()).then_some(work.rules),
        payload: Some(work.payload),
    };
    Ok(Enqueue { execution, delay })
}

impl Scheduler {
    /// Puts work into the store. Repeating it after a lost answer changes nothing: the ids are there already.
    async fn put_work(&self, work: Vec<Enqueue>) -> Result<()> {
        match self.node.store.enqueue(work).await? {
            Applied::All => {
                self.node.hint.notify_one();
                Ok(())
            }
            Applied::Lost { at } => {
                Err(Error::not_found("enqueue", format!("the job of element {at} is gone")))
            }
        }
    }
}
