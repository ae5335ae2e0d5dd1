//! What the cluster has to do: the definitions, and the bodies that run them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use punctual_checker::{BodyEvent, BodyStart};
use punctual_core::entropy::SeededEntropy;
use punctual_core::job::{ExecutionSpec, OnNodeLoss, RetryPolicy, WhenBusy};
use punctual_core::{BootInstant, Clock, Entropy, MisfirePolicy, Result};
use punctual_runtime::{Context, Failure, Job, Scheduler, State};
use serde::{Deserialize, Serialize};

use super::clock::ProcessClock;
use super::fault::{Fault, between};
use super::world::{Host, SECOND, World};

/// Keys of limits above one begin with this.
pub(crate) const POOL: &str = "pool-";

/// Work of any kind: how long it takes, and how it takes being told to stop.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// The shortest and the longest time that it takes, in milliseconds.
    pub(crate) takes_ms: (u64, u64),
    /// Whether it watches for being told to stop.
    pub(crate) heeds: bool,
    /// Whether it may begin only once.
    pub(crate) once: bool,
    /// Whether it fails two times in five, whatever the weather.
    pub(crate) flaky: bool,
}

impl Job for Task {
    const KIND: &'static str = "task";
}

/// Where a body runs.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) world: Arc<World>,
    pub(crate) host: Host,
    pub(crate) pid: u32,
    pub(crate) clock: Arc<ProcessClock>,
    /// Set when the process has died, so that nothing is written by what is dropped with it.
    pub(crate) dead: Arc<AtomicBool>,
}

/// A trigger that the workload has from the beginning.
pub(crate) struct Plan {
    pub(crate) key: &'static str,
    /// Its interval in seconds, or a cron expression.
    pub(crate) when: When,
    pub(crate) task: Task,
    pub(crate) misfire: MisfirePolicy,
    /// Its limit: the key, unless it is the job's own, and how many.
    limit: Option<(&'static str, u32, WhenBusy)>,
    rules: ExecutionSpec,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Every(u64),
    Cron(&'static str),
}

const fn quick(once: bool) -> Task {
    Task { takes_ms: (0, 400), heeds: true, once, flaky: false }
}

const fn long(from: u64, to: u64, heeds: bool) -> Task {
    Task { takes_ms: (from, to), heeds, once: false, flaky: false }
}

/// What every run has: about two firings a second.
pub(crate) fn plans() -> Vec<Plan> {
    let plain = |key, when| Plan {
        key,
        when,
        task: quick(false),
        misfire: MisfirePolicy::FireOnceNow,
        limit: None,
        rules: ExecutionSpec::default(),
    };
    let retried = ExecutionSpec {
        retry: RetryPolicy::exponential(4, Duration::from_secs(1)),
        ..ExecutionSpec::default()
    };
    let once = ExecutionSpec { on_node_loss: OnNodeLoss::Lose, ..ExecutionSpec::default() };
    let timed = ExecutionSpec { timeout: Some(Duration::from_secs(10)), ..retried.clone() };
    let flaky = ExecutionSpec { retry: RetryPolicy::fixed(5, Duration::from_millis(500)), ..retried.clone() };
    let held = ExecutionSpec { hold_slot_while_waiting: true, ..retried.clone() };
    let all = MisfirePolicy::FireAll;
    let some = MisfirePolicy::CatchUp { limit: 5, max_age: None };
    let spread = MisfirePolicy::Spread { limit: 5, max_age: None, over: Duration::from_secs(20) };
    vec![
        Plan { misfire: all, ..plain("plain/third", When::Every(3)) },
        Plan { misfire: all, ..plain("plain/fourth", When::Every(4)) },
        Plan { misfire: some, ..plain("plain/some", When::Every(6)) },
        plain("plain/once", When::Every(8)),
        Plan { misfire: MisfirePolicy::Skip, ..plain("plain/skip", When::Every(9)) },
        Plan { misfire: spread, ..plain("plain/spread", When::Every(11)) },
        plain("cron/seconds", When::Cron("0/6 * * * * ?")),
        Plan { misfire: all, ..plain("cron/minute", When::Cron("30 * * * * ?")) },
        Plan { rules: retried, ..plain("retry/often", When::Every(7)) },
        Plan {
            rules: flaky,
            task: Task { flaky: true, ..long(1_000, 4_000, true) },
            ..plain("retry/flaky", When::Every(10))
        },
        Plan { rules: timed, task: long(100, 3_000, true), ..plain("retry/timed", When::Every(13)) },
        Plan { rules: once.clone(), task: quick(true), ..plain("once/plain", When::Every(7)) },
        Plan {
            rules: once,
            task: Task { once: true, ..long(2_000, 9_000, true) },
            limit: Some(("", 1, WhenBusy::Queue)),
            ..plain("once/exclusive", When::Every(9))
        },
        Plan {
            task: long(3_000, 12_000, true),
            limit: Some(("", 1, WhenBusy::Queue)),
            ..plain("exclusive/queue", When::Every(8))
        },
        Plan {
            task: long(1_000, 9_000, false),
            limit: Some(("", 1, WhenBusy::Skip)),
            ..plain("exclusive/skip", When::Every(5))
        },
        Plan {
            task: long(1_000, 5_000, true),
            limit: Some(("shared", 1, WhenBusy::Queue)),
            rules: held,
            ..plain("exclusive/held", When::Every(10))
        },
        Plan {
            task: long(500, 4_000, false),
            limit: Some(("shared", 1, WhenBusy::Skip)),
            ..plain("exclusive/other", When::Cron("0/15 * * * * ?"))
        },
        Plan {
            task: long(2_000, 6_000, true),
            limit: Some(("pool-two", 2, WhenBusy::Queue)),
            ..plain("pool/two", When::Every(5))
        },
    ]
}

/// Writes the definition of a plan, with another interval if one is given.
pub(crate) async fn schedule(scheduler: &Scheduler, plan: &Plan, every: Option<u64>) -> Result<()> {
    let mut request = scheduler.schedule(plan.task.clone()).key(plan.key).on_misfire(plan.misfire);
    request = match (plan.when, every) {
        (When::Every(_), Some(seconds)) | (When::Every(seconds), None) => {
            request.every(Duration::from_secs(seconds))
        }
        (When::Cron(text), _) => request.cron(text),
    };
    request = request.retry(plan.rules.retry).on_node_loss(plan.rules.on_node_loss);
    if let Some(timeout) = plan.rules.timeout {
        request = request.timeout(timeout);
    }
    request = match plan.limit {
        Some(("", 1, when_busy)) => request.exclusive(when_busy),
        Some((key, limit, when_busy)) => request.limit(key, limit, when_busy),
        None => request,
    };
    request.await.map(drop)
}

/// Enqueues a piece of work of a kind that the dice choose.
pub(crate) async fn enqueue(scheduler: &Scheduler, dice: &SeededEntropy) -> Result<()> {
    let task = quick(false);
    let request = match dice.draw() % 4 {
        0 => scheduler.enqueue(task),
        1 => scheduler.enqueue(task).retry(RetryPolicy::fixed(3, Duration::from_secs(2))),
        2 => scheduler.enqueue(quick(true)).on_node_loss(OnNodeLoss::Lose).after(Duration::from_secs(3)),
        _ => scheduler.enqueue(long(500, 3_000, true)).limit("pool-three", 3),
    };
    request.await.map(drop)
}

/// The body of all work.
pub(crate) async fn body(task: Task, site: State<Site>, ctx: Context) -> std::result::Result<(), Failure> {
    let run = Run::begin(&site, &ctx, task.once);
    let Site { world, clock, .. } = &*site;
    let (calm, dice) = (world.sky().calm, &world.dice);
    let strikes = |fault| !calm && world.weather.strikes(fault, dice);
    let (from, to) = task.takes_ms;
    let mut takes = Duration::from_millis(between(dice, from, to + 1));
    if strikes(Fault::BodyHangs) {
        world.count(Fault::BodyHangs);
        takes = Duration::from_millis(between(dice, 15_000, 60_000));
    }
    if task.heeds {
        tokio::select! {
            biased;
            _ = ctx.stopped() => {
                run.got_done();
                return Err(Failure::retry("stopped"));
            }
            () = clock.sleep(takes) => {}
        }
    } else {
        clock.sleep(takes).await;
    }
    run.got_done();
    if task.flaky && dice.draw() % 5 < 2 {
        return Err(Failure::retry("it often does"));
    }
    if strikes(Fault::BodyFails) {
        world.count(Fault::BodyFails);
        return Err(Failure::retry("as the dice fell"));
    }
    if strikes(Fault::BodyPanics) {
        world.count(Fault::BodyPanics);
        // As a panic, but without a message on the screen for each of a million.
        std::panic::resume_unwind(Box::new("as the dice fell"));
    }
    Ok(())
}

/// A body that runs; dropping it writes its last line, however it ended.
struct Run<'a> {
    site: &'a Site,
    ctx: Context,
    start: BodyStart,
    done: AtomicBool,
}

impl<'a> Run<'a> {
    fn begin(site: &'a Site, ctx: &Context, once: bool) -> Self {
        let now = site.world.now();
        let start = BodyStart {
            token: None,
            execution: ctx.execution_id(),
            attempt: ctx.attempt(),
            fence: ctx.fence(),
            trigger: ctx.trigger().cloned(),
            generation: ctx.generation(),
            scheduled: ctx.scheduled_at().into(),
            slot: ctx.concurrency_key().filter(|key| !key.starts_with(POOL)).map(Into::into),
            pid: site.pid,
            boot_us: BootInstant::from_micros(now),
        };
        site.world.write(|log| log.body(&BodyEvent::Begin(start.clone())));
        let body = (site.host, start.execution, start.fence);
        // Who was frozen until now has not had its turn yet.
        let innocent = site.world.sky().innocent(now, SECOND / 10);
        site.world.witness().body_began(body, start.slot.as_deref(), once, |host| innocent[host], now);
        Self { site, ctx: ctx.clone(), start, done: AtomicBool::new(false) }
    }

    /// The body has come to its end by itself.
    fn got_done(&self) {
        self.done.store(true, Ordering::SeqCst);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let Site { world, dead, .. } = self.site;
        if dead.load(Ordering::SeqCst) {
            return;
        }
        let start = BodyStart { boot_us: BootInstant::from_micros(world.now()), ..self.start.clone() };
        let told = self.ctx.stop_reason().is_some();
        if told && !self.done.load(Ordering::SeqCst) {
            world.count(Fault::BodyDeaf);
        }
        world.witness().body_ended(start.execution, start.fence, start.slot.as_deref());
        let line = if told { BodyEvent::Cancelled(start) } else { BodyEvent::End(start) };
        world.write(|log| log.body(&line));
    }
}
