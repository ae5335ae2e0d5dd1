//! What an application asks for, word by word: `schedule(…).cron(…).key(…)`, `enqueue(…).after(…)`.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use punctual_core::execution::{NewExecution, Slot};
use punctual_core::job::{Concurrency, ExecutionSpec, OnNodeLoss, Payload, RetryPolicy, WhenBusy};
use punctual_core::protocol::define::{JobDefinition, TriggerDefinition};
use punctual_core::schedule::{CalendarInterval, CalendarUnit, Clocks, Cron, Daily, Dst, Every, Once};
use punctual_core::store::{Applied, Enqueue};
use punctual_core::trigger::TriggerSpec;
use punctual_core::{
    Error, ExecutionId, JobKey, Kind, MisfirePolicy, Result, Schedule, Timestamp, TriggerKey, Zone,
};

use crate::handler::{self, Job};
use crate::scheduler::Scheduler;

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The work itself: kind, data and rules.
#[derive(Debug)]
struct Work {
    kind: Kind,
    payload: Payload,
    rules: ExecutionSpec,
    priority: i32,
}

impl Work {
    fn of<J: Job>(job: &J) -> Result<Self> {
        Ok(Self {
            kind: Kind::new(J::KIND)?,
            payload: handler::payload(job)?,
            rules: J::rules(),
            priority: 0,
        })
    }
}

/// A job on its way to a schedule. Await it to write it; an unchanged definition writes nothing.
///
/// The first mistake made on the way is the answer.
#[derive(Debug)]
#[must_use = "nothing is scheduled until the request is awaited"]
pub struct ScheduleRequest<'a> {
    scheduler: &'a Scheduler,
    work: Result<Work>,
    key: Option<Result<TriggerKey>>,
    when: Option<When>,
    zone: Result<Zone>,
    dst: Option<Dst>,
    spec: Window,
    exclusive: Option<WhenBusy>,
    description: Option<Box<str>>,
}

#[derive(Debug)]
enum When {
    Schedule(Result<Schedule>),
    Quartz(String),
    Unix(String),
    Steps(u32, CalendarUnit),
}

#[derive(Debug, Default)]
struct Window {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    misfire: MisfirePolicy,
    tolerance: Option<Duration>,
}

impl<'a> ScheduleRequest<'a> {
    pub(crate) fn new<J: Job>(scheduler: &'a Scheduler, job: &J) -> Self {
        Self {
            scheduler,
            work: Work::of(job),
            key: None,
            when: None,
            zone: Ok(Zone::utc()),
            dst: None,
            spec: Window::default(),
            exclusive: None,
            description: None,
        }
    }

    fn work(mut self, change: impl FnOnce(&mut Work)) -> Self {
        if let Ok(work) = &mut self.work {
            change(work);
        }
        self
    }

    /// The name of the trigger and of its job, `group/name`; the kind by default.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.parse());
        self
    }

    /// Fires by a cron expression in Quartz's dialect (six or seven fields, seconds first), in the time zone given by
    /// [`ScheduleRequest::time_zone`].
    pub fn cron(mut self, expression: &str) -> Self {
        self.when = Some(When::Quartz(expression.to_owned()));
        self
    }

    /// Fires by a cron expression in the five-field dialect of Unix.
    pub fn unix_cron(mut self, expression: &str) -> Self {
        self.when = Some(When::Unix(expression.to_owned()));
        self
    }

    /// Fires at every multiple of `interval` since 1970, or since [`ScheduleRequest::start`].
    pub fn every(mut self, interval: Duration) -> Self {
        self.when = Some(When::Schedule(Every::new(interval).map(Schedule::Every)));
        self
    }

    /// Fires once.
    pub fn at(mut self, at: DateTime<Utc>) -> Self {
        self.when = Some(When::Schedule(Ok(Schedule::Once(Once::new(at.into())))));
        self
    }

    /// Fires at [`ScheduleRequest::start`] and every `n` units from there, in the wall time of
    /// [`ScheduleRequest::time_zone`].
    pub fn calendar_every(mut self, n: u32, unit: CalendarUnit) -> Self {
        self.when = Some(When::Steps(n, unit));
        self
    }

    /// Fires in a window of each day.
    pub fn daily(self, daily: Daily) -> Self {
        self.by(daily.into())
    }

    /// Fires by any schedule.
    pub fn by(mut self, schedule: Schedule) -> Self {
        self.when = Some(When::Schedule(Ok(schedule)));
        self
    }

    /// The IANA time zone of a cron expression or of steps of the calendar; UTC by default.
    pub fn time_zone(mut self, zone: &str) -> Self {
        self.zone = Zone::get(zone);
        self
    }

    /// What a cron expression or steps of the calendar do when the clocks change.
    pub fn dst(mut self, dst: Dst) -> Self {
        self.dst = Some(dst);
        self
    }

    /// No firing before this instant; an interval is counted from it. One in the past is late from the beginning.
    pub fn start(mut self, at: DateTime<Utc>) -> Self {
        self.spec.start = Some(at.into());
        self
    }

    /// No firing after this instant.
    pub fn end(mut self, at: DateTime<Utc>) -> Self {
        self.spec.end = Some(at.into());
        self
    }

    /// What happens to firings later than the tolerance.
    pub fn on_misfire(mut self, policy: MisfirePolicy) -> Self {
        self.spec.misfire = policy;
        self
    }

    /// How late a firing may be before its misfire policy decides; 60 s by default.
    pub fn tolerance(mut self, span: Duration) -> Self {
        self.spec.tolerance = Some(span);
        self
    }

    /// At most one execution of this job at once, anywhere in the cluster.
    pub fn exclusive(mut self, when_busy: WhenBusy) -> Self {
        self.exclusive = Some(when_busy);
        self
    }

    /// At most `limit` executions that share `key` at once, anywhere in the cluster.
    pub fn limit(self, key: &str, limit: u32, when_busy: WhenBusy) -> Self {
        self.work(|work| work.rules.concurrency = Some(Concurrency { key: key.into(), limit, when_busy }))
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

    /// Higher starts first among what is due.
    pub fn priority(self, priority: i32) -> Self {
        self.work(|work| work.priority = priority)
    }

    /// For people.
    pub fn description(mut self, text: &str) -> Self {
        self.description = Some(text.into());
        self
    }

    fn definitions(self) -> Result<(JobDefinition, TriggerDefinition)> {
        let mut work = self.work?;
        let key = match self.key {
            Some(key) => key?,
            None => work.kind.as_str().parse()?,
        };
        let job_key = JobKey::new(key.group(), key.name())?;
        if let Some(when_busy) = self.exclusive {
            work.rules.concurrency = Some(Concurrency::exclusive(&job_key, when_busy));
        }
        let missing = || {
            Error::invalid(
                "schedule",
                format!("{key} says nothing about when; add `.cron(…)`, `.every(…)` or `.at(…)`"),
            )
        };
        let start = self.spec.start;
        let schedule = match self.when.ok_or_else(missing)? {
            When::Schedule(schedule) => match (schedule?, start) {
                (Schedule::Every(every), Some(start)) => Schedule::Every(every.anchored_at(start)),
                (schedule, _) => schedule,
            },
            When::Quartz(text) => Schedule::Cron(Cron::quartz(&text, self.zone?)?),
            When::Unix(text) => Schedule::Cron(Cron::unix(&text, self.zone?)?),
            When::Steps(n, unit) => {
                let missing = || {
                    let message = format!("{key} says nothing about where its steps begin; add `.start(…)`");
                    Error::invalid("schedule", message)
                };
                CalendarInterval::new(n, unit, start.ok_or_else(missing)?, self.zone?)?.into()
            }
        };
        let schedule = match self.dst {
            Some(dst) => with_dst(schedule, dst)?,
            None => schedule,
        };
        let mut spec = TriggerSpec::new(schedule);
        spec.start = self.spec.start;
        spec.end = self.spec.end;
        spec.misfire = self.spec.misfire;
        if let Some(tolerance) = self.spec.tolerance {
            spec.tolerance = tolerance;
        }
        let job = JobDefinition {
            key: job_key.clone(),
            kind: work.kind,
            description: self.description.clone(),
            spec: work.rules,
            payload: work.payload,
            priority: work.priority,
            durable: false,
        };
        let trigger = TriggerDefinition {
            key,
            job: job_key,
            description: self.description,
            spec,
            payload: None,
            priority: 0,
        };
        Ok((job, trigger))
    }
}

/// The same schedule with other rules for changes of the clocks.
fn with_dst(schedule: Schedule, dst: Dst) -> Result<Schedule> {
    match schedule {
        Schedule::Cron(cron) => Ok(cron.with_dst(dst).into()),
        Schedule::CalendarInterval(steps) => Ok(steps.with_clocks(Clocks::Dst(dst)).into()),
        other => {
            let message =
                format!("`.dst(…)` concerns cron expressions and steps of the calendar, not {other}");
            Err(Error::invalid("schedule", message))
        }
    }
}

impl<'a> IntoFuture for ScheduleRequest<'a> {
    type Output = Result<TriggerKey>;
    type IntoFuture = Answer<'a, TriggerKey>;

    fn into_future(self) -> Self::IntoFuture {
        let scheduler = self.scheduler;
        Box::pin(async move {
            let (job, trigger) = self.definitions()?;
            scheduler.put(&job, &trigger).await?;
            Ok(trigger.key)
        })
    }
}

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
}

impl<'a> IntoFuture for EnqueueRequest<'a> {
    type Output = Result<ExecutionId>;
    type IntoFuture = Answer<'a, ExecutionId>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let enqueue = row(self.scheduler, self.work?, self.due)?;
            let id = enqueue.execution.id;
            self.scheduler.put_work(vec![enqueue]).await?;
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
}

impl<'a> IntoFuture for EnqueueMany<'a> {
    type Output = Result<Vec<ExecutionId>>;
    type IntoFuture = Answer<'a, Vec<ExecutionId>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let rows: Result<Vec<Enqueue>> =
                self.work?.into_iter().map(|work| row(self.scheduler, work, self.due)).collect();
            let rows = rows?;
            let ids = rows.iter().map(|row| row.execution.id).collect();
            self.scheduler.put_work(rows).await?;
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
        spec: Some(work.rules),
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
