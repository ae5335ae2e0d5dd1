//! A node of a chaos run: `worker DUTY`, started by `chaos`. It takes orders on its standard input, strikes itself at
//! moments that nobody else could hit, and writes down what happens in files that outlive it.

mod blind;
mod bodies;
mod database;
mod mutants;
mod points;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use punctual::core::event::{Event, Listener, Stamped};
use punctual::core::{BootInstant, BoxFuture, Clock, ErrorKind, NodeId, Timestamp};
use punctual::runtime::SystemClock;
use punctual::{JobStore, Profile, Scheduler};
use punctual_checker::FaultEvent;
use punctual_tests::chaos::die_with_parent;
use punctual_tests::chaos::orders::{Duty, Order};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

use self::database::Database;
use self::points::{Log, Points};

/// The exit code of a worker that could not reach its store when it was to join: whoever started it starts it again.
const UNAVAILABLE: i32 = 75;

/// The exit code of one that failed otherwise.
const FAILED: i32 = 1;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How long a graceful stop waits for bodies.
const GRACE: Duration = Duration::from_secs(4);

/// How long a worker waits before it tries again to reach its store.
const AGAIN: Duration = Duration::from_millis(300);

/// The machine's clocks, with a wall clock that can be set.
#[derive(Debug, Default)]
struct Clocks {
    ahead_us: AtomicI64,
}

impl Clock for Clocks {
    fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }

    fn wall(&self) -> Timestamp {
        let true_time = SystemClock.wall().as_micros();
        Timestamp::from_micros(true_time.saturating_add(self.ahead_us.load(Ordering::SeqCst)))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async move { SystemClock.sleep(span).await })
    }
}

/// Writes all events down, and knows the node's id.
#[derive(Debug)]
struct Journal {
    log: Log,
    node: watch::Sender<Option<NodeId>>,
}

impl Listener for Journal {
    fn hear(&self, stamped: &Stamped) {
        self.log.write(stamped);
        if matches!(stamped.event, Event::Joined { .. } | Event::Rejoined { .. }) {
            self.node.send_replace(Some(stamped.node));
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match work().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the worker ends");
            let kind = error.downcast_ref::<punctual::Error>().map(punctual::Error::kind);
            // A read of the life line is still under way, and an executor would wait for it.
            std::process::exit(if kind == Some(ErrorKind::Unavailable) { UNAVAILABLE } else { FAILED })
        }
    }
}

async fn work() -> Result<()> {
    let duty: Duty = serde_json::from_str(&std::env::args().nth(1).ok_or("usage: worker DUTY")?)?;
    die_with_parent()?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let faults = Arc::new(Log::at(&duty.faults)?);
    let points = Arc::new(Points::new(Arc::clone(&faults), Log::at(&duty.moments)?));
    let profile = Profile::named(&duty.profile).ok_or("there is no such profile")?;
    let clocks = Arc::new(Clocks::default());
    let (node, node_id) = watch::channel(None);
    let journal = Arc::new(Journal { log: Log::at(&duty.journal)?, node });
    // A service that starts while its database does not answer is started again, as often as it takes.
    let (database, scheduler) = loop {
        match open(&duty, &points, profile, &clocks, &journal).await {
            Ok(both) => break both,
            Err(error) => {
                tracing::warn!(%error, "not yet");
                SystemClock.sleep(AGAIN).await;
            }
        }
    };
    let store = Arc::clone(&database.store);
    let orders = listen(&scheduler, &*store, &points, &clocks, &faults, &node_id);
    // The life line ends, and with it all orders, when the driver wants a stop.
    scheduler.run_until(orders).await?;
    Ok(())
}

async fn open(
    duty: &Duty,
    points: &Arc<Points>,
    profile: Profile,
    clocks: &Arc<Clocks>,
    journal: &Arc<Journal>,
) -> Result<(Database, Scheduler)> {
    let mut database = Database::open(&duty.database, Arc::clone(points)).await?;
    if let Some(mutant) = &duty.mutant {
        database.store = mutants::broken(database.store, mutant).await?;
    }
    let scheduler = Scheduler::builder_shared(Arc::clone(&database.store))
        .name(&duty.name)
        .profile(profile)
        .capacity(24)
        .grace(GRACE)
        .keep_history(None)
        .clock(Arc::clone(clocks) as Arc<dyn Clock>)
        .state(Log::at(&duty.bodies)?)
        .state(database.clone())
        .job(bodies::plain)
        .job(bodies::stubborn)
        .job(bodies::paying)
        .listener(Shared(Arc::clone(journal)))
        .build()
        .await?;
    Ok((database, scheduler))
}

/// The same journal for each scheduler that was tried.
#[derive(Debug)]
struct Shared(Arc<Journal>);

impl Listener for Shared {
    fn hear(&self, event: &Stamped) {
        self.0.hear(event);
    }
}

/// Carries out orders until there are no more.
async fn listen(
    scheduler: &Scheduler,
    store: &dyn JobStore,
    points: &Points,
    clocks: &Clocks,
    faults: &Log,
    node: &watch::Receiver<Option<NodeId>>,
) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Order::Strike(strike)) => points.arm(Some(strike)),
            Ok(Order::Calm) => points.arm(None),
            Ok(Order::SetClock { seconds }) => {
                let by_us = seconds.saturating_mul(1_000_000);
                let before = clocks.ahead_us.swap(by_us, Ordering::SeqCst);
                let boot_us = SystemClock.boot();
                let by_us = by_us.saturating_sub(before);
                faults.write(&FaultEvent::ClockJump { pid: Some(std::process::id()), by_us, boot_us });
            }
            Ok(order @ (Order::Standby | Order::Resume)) => {
                let before = *node.borrow();
                if let Err(error) = stand(scheduler, store, faults, before, node, &order).await {
                    tracing::warn!(%error, ?order, "it is not known whether that was done");
                }
            }
            Err(error) => tracing::error!(%error, line, "no order"),
        }
    }
}

/// Puts the node into standby or out of it. The times that are written down are certain: the node claims nothing after
/// the first, if it is the same node all the while, and may claim after the second.
async fn stand(
    scheduler: &Scheduler,
    store: &dyn JobStore,
    faults: &Log,
    before: Option<NodeId>,
    node: &watch::Receiver<Option<NodeId>>,
    order: &Order,
) -> punctual::core::Result<()> {
    let Some(id) = before else { return Ok(()) };
    if *order == Order::Standby {
        scheduler.standby().await?;
        let at = store.now().await?;
        if *node.borrow() == before {
            faults.write(&FaultEvent::Standby { node: id, at, boot_us: SystemClock.boot() });
        }
    } else {
        // Even if the time is not known: what is claimed from here on is right.
        let at = store.now().await.unwrap_or(Timestamp::MIN);
        faults.write(&FaultEvent::Resume { node: id, at, boot_us: SystemClock.boot() });
        scheduler.resume().await?;
    }
    Ok(())
}
