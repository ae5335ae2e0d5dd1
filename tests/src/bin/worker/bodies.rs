//! The bodies of a worker's jobs, each of which writes down when it began and how it ended.

use std::sync::Arc;
use std::time::Duration;

use punctual::core::Clock;
use punctual::core::store::SettleOutcome;
use punctual::runtime::SystemClock;
use punctual::{Context, Failure, State};
use punctual_checker::{BodyEvent, BodyStart};
use punctual_tests::chaos::work::{Paying, Plain, Stubborn};

use crate::database::Database;
use crate::points::Log;

/// A body that has begun. However it ends, that is written down.
struct Body {
    log: Arc<Log>,
    start: BodyStart,
    over: bool,
}

impl Body {
    fn begin(log: &State<Log>, ctx: &Context) -> Self {
        let start = BodyStart {
            execution: ctx.execution_id(),
            attempt: ctx.attempt(),
            fence: ctx.fence(),
            trigger: ctx.trigger().cloned(),
            generation: ctx.generation(),
            scheduled: ctx.scheduled_at().into(),
            slot: ctx.concurrency_key().map(Into::into),
            pid: std::process::id(),
            boot_us: SystemClock.boot(),
            token: Some(ctx.fencing_token()),
        };
        let log = Arc::clone(&log.0);
        log.write(&BodyEvent::Begin(start.clone()));
        Self { log, start, over: false }
    }

    fn end(mut self) {
        self.over = true;
        self.log.write(&BodyEvent::End(self.stamp()));
    }

    fn stamp(&self) -> BodyStart {
        BodyStart { boot_us: SystemClock.boot(), ..self.start.clone() }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.over {
            self.log.write(&BodyEvent::Cancelled(self.stamp()));
        }
    }
}

pub(crate) async fn plain(job: Plain, log: State<Log>, ctx: Context) -> Result<(), Failure> {
    let body = Body::begin(&log, &ctx);
    tokio::select! {
        () = SystemClock.sleep(Duration::from_millis(job.takes_ms)) => {}
        reason = ctx.stopped() => return Err(Failure::retry(format!("{reason:?}"))),
    }
    let number = u128::from_be_bytes(ctx.execution_id().to_bytes());
    let fails = number.checked_rem(u128::from(job.fails_one_in)) == Some(0) && ctx.attempt() == 1;
    body.end();
    if fails { Err(Failure::retry("as it was told to")) } else { Ok(()) }
}

pub(crate) async fn stubborn(job: Stubborn, log: State<Log>, ctx: Context) -> Result<(), Failure> {
    let body = Body::begin(&log, &ctx);
    SystemClock.sleep(Duration::from_millis(job.takes_ms)).await;
    body.end();
    Ok(())
}

pub(crate) async fn paying(
    job: Paying,
    log: State<Log>,
    database: State<Database>,
    ctx: Context,
) -> Result<(), Failure> {
    let body = Body::begin(&log, &ctx);
    tokio::select! {
        () = SystemClock.sleep(Duration::from_millis(job.takes_ms)) => {}
        reason = ctx.stopped() => return Err(Failure::retry(format!("{reason:?}"))),
    }
    // The key of its slot is free with the commit, so this is the last thing that it does.
    body.end();
    match database.pay(ctx.completion(None)).await {
        Ok(SettleOutcome::Done | SettleOutcome::AlreadyDone) => Ok(()),
        Ok(SettleOutcome::Fenced) => Err(Failure::dead("another node has it")),
        Err(error) => Err(Failure::retry(error.to_string())),
    }
}
