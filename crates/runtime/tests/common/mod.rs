//! A cluster in one thread: virtual time, the memory store, and stores that fail on request.
#![allow(unreachable_pub, reason = "a module of test binaries has no readers outside")]
#![allow(dead_code, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::check::Check;
use punctual_core::entropy::SeededEntropy;
use punctual_core::event::{Event, Listener, Stamped};
use punctual_core::inspect::{ExecutionFilter, HistoryFilter};
use punctual_core::memory::{ManualClock, MemoryStore};
use punctual_core::store::*;
use punctual_core::{
    Clock, Error, ExecutionId, Inspect, JobStore, NodeId, Profile, Result, Timestamp, execution::*,
    node::NodeInfo,
};
use punctual_runtime::{Builder, Context, Failure, Job, Scheduler};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

/// Noon, so that a daily trigger is far.
pub const START: Timestamp = Timestamp::from_secs(1_800_014_400);

pub fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// What a body does, told by its payload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub name: String,
    pub takes_ms: u64,
    pub fails: u32,
    pub how: How,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub enum How {
    Fail,
    Dead,
    Panic,
    /// Watches the stop signal and ends at once when it comes.
    Heed,
}

impl Job for Task {
    const KIND: &'static str = "task";
}

pub fn task(name: &str) -> Task {
    Task { name: name.to_owned(), takes_ms: 0, fails: 0, how: How::Fail }
}

pub fn long(name: &str, takes: Duration) -> Task {
    Task { takes_ms: u64::try_from(takes.as_millis()).unwrap(), ..task(name) }
}

/// What bodies and nodes did, in order.
#[derive(Debug, Default)]
pub struct Log {
    pub bodies: Mutex<Vec<Run>>,
    pub events: Mutex<Vec<Stamped>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub name: String,
    pub id: ExecutionId,
    pub attempt: u32,
    pub node: NodeId,
    pub scheduled: Timestamp,
    pub begun: Timestamp,
    pub ended: Option<Timestamp>,
    pub recovering: bool,
    pub token: u64,
}

#[derive(Debug)]
struct Ear(Arc<Log>);

impl Listener for Ear {
    fn hear(&self, event: &Stamped) {
        self.0.events.lock().unwrap().push(event.clone());
    }
}

/// What `State` gives the handler.
#[derive(Debug)]
pub struct Bench {
    pub clock: ManualClock,
    pub log: Arc<Log>,
}

async fn body(task: Task, bench: punctual_runtime::State<Bench>, ctx: Context) -> Result<(), Failure> {
    let place = {
        let mut bodies = bench.log.bodies.lock().unwrap();
        bodies.push(Run {
            name: task.name.clone(),
            id: ctx.execution_id(),
            attempt: ctx.attempt(),
            node: ctx.node(),
            scheduled: ctx.scheduled_at().into(),
            begun: bench.clock.wall(),
            ended: None,
            recovering: ctx.recovering(),
            token: ctx.fencing_token(),
        });
        bodies.len() - 1
    };
    // Dropping the body ends it as surely as returning does.
    let _end = End { bench: &bench, place };
    if task.fails >= ctx.attempt() {
        match task.how {
            How::Fail | How::Heed => return Err(Failure::retry("as told")),
            How::Dead => return Err(Failure::dead("as told")),
            How::Panic => panic!("as told"),
        }
    }
    let takes = Duration::from_millis(task.takes_ms);
    if task.how == How::Heed {
        tokio::select! {
            () = bench.clock.sleep(takes) => {}
            reason = ctx.stopped() => return Err(Failure::retry(format!("{reason:?}"))),
        }
    } else if !takes.is_zero() {
        bench.clock.sleep(takes).await;
    }
    Ok(())
}

struct End<'a> {
    bench: &'a Bench,
    place: usize,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.bench.log.bodies.lock().unwrap()[self.place].ended = Some(self.bench.clock.wall());
    }
}

/// A cluster on one memory store.
pub struct World {
    pub clock: ManualClock,
    pub store: MemoryStore,
    pub log: Arc<Log>,
}

/// A node of the cluster.
pub struct Member {
    pub scheduler: Scheduler,
    pub line: Arc<Line>,
    shutdown: Option<oneshot::Sender<()>>,
    run: JoinHandle<Result<()>>,
}

impl Member {
    /// Ends the node as `kill -9` does.
    pub fn kill(&self) {
        self.run.abort();
        self.line.set(Mode::Cut);
    }

    pub fn shut_down(&mut self) {
        let _ = self.shutdown.take().unwrap().send(());
    }

    pub fn has_ended(&self) -> bool {
        self.run.is_finished()
    }

    pub async fn ended(self) -> Result<()> {
        self.run.await.unwrap()
    }
}

impl World {
    pub fn new() -> Self {
        let clock = ManualClock::at(START);
        let store = MemoryStore::new(Arc::new(clock.clone()));
        Self { clock, store, log: Arc::default() }
    }

    pub fn builder(&self, line: &Arc<Line>, seed: u64) -> Builder {
        let store = Wired { inner: self.store.clone(), line: Arc::clone(line) };
        Scheduler::builder(store)
            .clock(Arc::new(self.clock.clone()))
            .entropy(Arc::new(SeededEntropy::new(seed)))
            .name(format!("n{seed}"))
            .profile(Profile::FAST)
            .listener(Ear(Arc::clone(&self.log)))
            .state(Bench { clock: self.clock.clone(), log: Arc::clone(&self.log) })
            .job(body)
    }

    pub async fn client(&self) -> Scheduler {
        self.builder(&Arc::default(), 999).build().await.unwrap()
    }

    pub async fn member(&self, seed: u64) -> Member {
        self.member_with(seed, |builder| builder).await
    }

    pub async fn member_with(&self, seed: u64, change: impl FnOnce(Builder) -> Builder) -> Member {
        let line = Arc::<Line>::default();
        let scheduler = change(self.builder(&line, seed)).build().await.unwrap();
        let (shutdown, down) = oneshot::channel();
        let handle = scheduler.clone();
        let run = tokio::spawn(async move {
            handle
                .run_until(async {
                    let _ = down.await;
                })
                .await
        });
        pump().await;
        Member { scheduler, line, shutdown: Some(shutdown), run }
    }

    /// Lets `span` pass, stopping at every instant at which somebody wants to wake.
    pub async fn pass(&self, span: Duration) {
        let end = self.clock.boot().plus(span);
        pump().await;
        loop {
            let left = end.since(self.clock.boot());
            let step = self.clock.until_next_sleeper().map_or(left, |next| next.min(left));
            self.clock.advance(step);
            pump().await;
            if self.clock.boot() >= end {
                return;
            }
        }
    }

    pub fn runs(&self, name: &str) -> Vec<Run> {
        self.log.bodies.lock().unwrap().iter().filter(|run| run.name == name).cloned().collect()
    }

    pub fn count(&self, which: impl Fn(&Event) -> bool) -> usize {
        self.log.events.lock().unwrap().iter().filter(|stamped| which(&stamped.event)).count()
    }

    pub async fn history(&self) -> Vec<HistoryRecord> {
        self.store.inspect().history(HistoryFilter::default()).await.unwrap()
    }

    /// The live executions.
    pub async fn live(&self) -> Vec<Execution> {
        let rows = self.store.inspect().executions(ExecutionFilter::default()).await.unwrap();
        rows.into_iter()
            .filter_map(|row| if let Readable::Row(row) = row { Some(row) } else { None })
            .collect()
    }

    /// No two executions of one occurrence, and no two runs of one name at once.
    pub fn assert_never_at_once(&self, name: &str) {
        let mut runs = self.runs(name);
        runs.sort_by_key(|run| run.begun);
        for pair in runs.windows(2) {
            let ended = pair[0].ended.expect("an earlier run has ended");
            assert!(ended <= pair[1].begun, "at once: {pair:#?}");
        }
    }
}

/// Lets every task run until all of them wait for time to pass.
pub async fn pump() {
    for _ in 0..120 {
        tokio::task::yield_now().await;
    }
}

/// What the connection between a node and its store does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Up = 0,
    /// Steps fail and do nothing.
    Down = 1,
    /// Steps are done, but their answers are lost.
    Deaf = 2,
    /// Nothing returns any more.
    Cut = 3,
    /// Steps are done, and their answers come when the line is set to something else.
    Late = 4,
}

/// A connection that can be broken.
#[derive(Debug, Default)]
pub struct Line {
    mode: AtomicU8,
    changed: Notify,
    /// Only steps of this name are affected, if one is named.
    only: Mutex<Option<&'static str>>,
    /// How many of the node's commits the store has lost, as a restored backup has.
    pub lost_beats: AtomicI64,
    /// Whether the store says that claims are only safe within a lock.
    needs_lock: AtomicBool,
    /// The store that a backup was restored to, in place of the one that the node was built on.
    pub restored: OnceLock<MemoryStore>,
    /// How often the node has looked for work.
    pub looks: AtomicU64,
    /// Rows that somebody else keeps locked for longer than the node's sessions wait.
    pub locked: Mutex<BTreeSet<ExecutionId>>,
    /// How long claims are on their way to the store, by this clock.
    pub way_of_claims: Mutex<Option<(ManualClock, Duration)>>,
}

impl Line {
    pub fn set(&self, mode: Mode) {
        *self.only.lock().unwrap() = None;
        self.mode.store(mode as u8, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    pub fn needs_lock(&self) {
        self.needs_lock.store(true, Ordering::SeqCst);
    }

    pub fn set_for(&self, step: &'static str, mode: Mode) {
        *self.only.lock().unwrap() = Some(step);
        self.mode.store(mode as u8, Ordering::SeqCst);
    }

    fn mode(&self, step: &'static str) -> Mode {
        if self.only.lock().unwrap().is_some_and(|only| only != step) {
            return Mode::Up;
        }
        match self.mode.load(Ordering::SeqCst) {
            1 => Mode::Down,
            2 => Mode::Deaf,
            3 => Mode::Cut,
            4 => Mode::Late,
            _ => Mode::Up,
        }
    }

    async fn pass<T>(&self, step: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        if step == "read_due" {
            self.looks.fetch_add(1, Ordering::SeqCst);
        }
        let way = self.way_of_claims.lock().unwrap().clone().filter(|_| step == "claim");
        if let Some((clock, way)) = way {
            clock.sleep(way).await;
        }
        match self.mode(step) {
            Mode::Up => work.await,
            Mode::Down => Err(Error::unavailable(step, "the line is down")),
            Mode::Deaf => {
                let _ = work.await;
                Err(Error::unavailable(step, "the answer was lost"))
            }
            Mode::Cut => std::future::pending().await,
            Mode::Late => {
                let answer = work.await;
                while self.mode(step) == Mode::Late {
                    self.changed.notified().await;
                }
                answer
            }
        }
    }
}

/// The memory store behind a [`Line`].
#[derive(Debug)]
pub struct Wired {
    inner: MemoryStore,
    line: Arc<Line>,
}

impl Wired {
    fn inner(&self) -> &MemoryStore {
        self.line.restored.get().unwrap_or(&self.inner)
    }
}

macro_rules! wired {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl JobStore for Wired {
            fn features(&self) -> StoreFeatures {
                let features = self.inner().features();
                let needs_lock = self.line.needs_lock.load(Ordering::SeqCst);
                StoreFeatures { claims: if needs_lock { ClaimShape::WithinLock } else { features.claims }, shared: true, ..features }
            }

            fn inspect(&self) -> &dyn Inspect {
                self.inner().inspect()
            }

            fn wake(&self) -> Option<&dyn Wake> {
                self.inner().wake()
            }

            fn checks(&self) -> Option<&dyn Check> {
                self.inner().checks()
            }

            async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
                let reply = self.line.pass("check_in", self.inner().check_in(node)).await?;
                let lost = self.line.lost_beats.load(Ordering::SeqCst);
                Ok(CheckedIn { beat: reply.beat - lost, ..reply })
            }

            async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
                let locked = self.line.locked.lock().unwrap().clone();
                if plans.iter().any(|plan| locked.contains(&plan.claim.id)) {
                    return Err(Error::unavailable("settle", "a lock was not granted in time"));
                }
                self.line.pass("settle", self.inner().settle(plans)).await
            }

            $(
                async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                    self.line.pass(stringify!($name), self.inner().$name($($argument),*)).await
                }
            )*
        }
    };
}

wired! {
    now() -> Timestamp;
    apply(changes: Vec<Change>) -> Applied;
    enqueue(work: Vec<Enqueue>) -> Applied;
    cancel(ids: Vec<ExecutionId>, why: String) -> Cancelled;
    join(info: NodeInfo) -> CheckedIn;
    take_over(dead: NodeId, beat: i64) -> bool;
    leave(node: NodeId) -> ();
    set_standby(node: NodeId, standby: Standby) -> Option<i64>;
    raise_epoch(to: u32) -> u32;
    orphans(owner: NodeId, limit: u32) -> Vec<Readable<ExecutionWithJob>>;
    read_due(request: ReadDue) -> Due;
    claim(request: Claim) -> Claimed;
    claim_ready(request: ClaimReady) -> ClaimedReady;
    begin(claims: Vec<ClaimRef>) -> Vec<SettleOutcome>;
    wake_waiting(limit: u32) -> u32;
    prune(request: Prune) -> Pruned;
}
