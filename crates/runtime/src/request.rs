//! What an application asks for, word by word: `schedule(…).cron(…).key(…)`, `enqueue(…).after(…)`.

mod enqueue;

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use chrono::{DateTime, Utc};
use punctual_core::calendar::WhenExcluded;
use punctual_core::job::{Concurrency, ExecutionSpec, OnNodeLoss, Payload, RetryPolicy, WhenBusy};
use punctual_core::protocol::define::{JobDefinition, TriggerDefinition};
use punctual_core::schedule::{CalendarInterval, CalendarUnit, Clocks, Cron, Daily, Dst, Every, Once};
use punctual_core::trigger::{DEFAULT_TOLERANCE, TriggerSpec};
use punctual_core::{Error, JobKey, Kind, MisfirePolicy, Result, Schedule, Timestamp, TriggerKey, Zone};

pub use self::enqueue::{EnqueueMany, EnqueueRequest};
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
    calendar: Option<Box<str>>,
    when_excluded: WhenExcluded,
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

    /// Sees the instants through a stored calendar: what it excludes does not fire. A later change of the calendar
    /// concerns all triggers that name it.
    ///
    /// The calendar is named as [`Scheduler::put_calendar`] stored it; awaiting the request is `NotFound` if there is
    /// none.
    pub fn calendar(mut self, name: &str) -> Self {
        self.spec.calendar = Some(name.into());
        self
    }

    /// What becomes of an instant that the calendar excludes: left out by default, or moved to the business day before
    /// or after, at the same time of day in the schedule's zone.
    ///
    /// Awaiting the request is `Invalid` if instants are to be moved and there is no calendar, or one of parts of days.
    pub fn when_excluded(mut self, rule: WhenExcluded) -> Self {
        self.spec.when_excluded = rule;
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
        let Window { start, end, misfire, tolerance, calendar, when_excluded } = self.spec;
        let tolerance = tolerance.unwrap_or(DEFAULT_TOLERANCE);
        let spec = TriggerSpec { schedule, start, end, misfire, tolerance, calendar, when_excluded };
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
