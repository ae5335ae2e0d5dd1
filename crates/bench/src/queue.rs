//! What long queues of work that cannot go cost those who can: `cargo xtask bench queue`.
//!
//! A store is loaded with ready rows and due triggers of one key whose only slot is taken; then it is asked what is due,
//! a real node looks for the one free row behind them, and four nodes go on while one of them is full.
#![allow(clippy::future_not_send, reason = "one program, which waits for it in its main thread")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{JobRef, NewExecution, Slot};
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, Payload, WhenBusy};
use punctual_core::node::{NodeInfo, Profile};
use punctual_core::quartz::Progress;
use punctual_core::schedule::{Every, Schedule};
use punctual_core::store::{Applied, Change, ClaimReady, Enqueue, Expect, ReadDue, Readable};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};
use punctual_core::{
    Clock, Error, ExecutionId, JobId, JobKey, JobStore, Kind, NodeId, Result, Timestamp, TriggerId,
    TriggerKey,
};
use punctual_runtime::{Context, Failure, Job, Scheduler, State, SystemClock};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::measure::median;

/// How much is put in front of the free row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) rows: u32,
    pub(crate) triggers: u32,
    /// How long one of four nodes is full.
    pub(crate) full: Duration,
}

const WORK: &str = "work";

#[derive(Serialize, Deserialize)]
struct Free {}

impl Job for Free {
    const KIND: &'static str = WORK;
}

#[derive(Serialize, Deserialize)]
struct Block {
    seconds: u64,
}

impl Job for Block {
    const KIND: &'static str = "block";
}

/// What bodies tell: how late they began, and that they did.
#[derive(Debug, Default)]
struct Told {
    lateness: Mutex<Vec<Duration>>,
    begun: Notify,
}

async fn free(_: Free, told: State<Arc<Told>>, ctx: Context) -> Result<(), Failure> {
    told.lateness.lock().unwrap_or_else(PoisonError::into_inner).push(ctx.lateness());
    told.begun.notify_one();
    Ok(())
}

async fn block(block: Block) -> Result<(), Failure> {
    SystemClock.sleep(Duration::from_secs(block.seconds)).await;
    Ok(())
}

/// Loads a store, and answers the figures.
pub(crate) async fn run(open: impl AsyncFn() -> Result<Arc<dyn JobStore>>, load: Load) -> Result<Value> {
    let store = open().await?;
    let yard =
        Yard { store: Arc::clone(&store), entropy: SeededEntropy::new(1), kinds: [kind(WORK)?].into() };
    let holder = yard.join("holder").await?;
    let empty = yard.read(holder).await?;
    let (busy, free_job) = (yard.job("busy", Some("key")).await?, yard.job("free", None).await?);
    yard.hold_the_slot(holder, &busy).await?;

    let begun = SystemClock.boot();
    for chunk in chunks(load.rows, 1_000) {
        yard.enqueue(&busy, chunk).await?;
    }
    let enqueued = SystemClock.boot().since(begun);
    for chunk in chunks(load.triggers, 500) {
        yard.triggers(&busy, chunk).await?;
    }
    yard.enqueue(&free_job, 1).await?;

    // The holder lives on, or its slot would be freed.
    let beating = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            loop {
                SystemClock.sleep(Duration::from_secs(1)).await;
                let _ = store.check_in(holder).await;
            }
        }
    });
    let told = Arc::<Told>::default();
    let node =
        Scheduler::builder_shared(open().await?).profile(Profile::CALM).state(Arc::clone(&told)).job(free);
    let node = node.build().await?;
    let begun = SystemClock.boot();
    let first = told.begun.notified();
    let running = tokio::spawn({
        let node = node.clone();
        async move { node.run_until(std::future::pending::<()>()).await }
    });
    first.await;
    let started = SystemClock.boot().since(begun);
    // The node parks what is blocked; then it is asked again what a look costs, and how fast a free row starts.
    while yard.due(holder, 1).await? > 0 {
        SystemClock.sleep(Duration::from_millis(20)).await;
    }
    let parked = SystemClock.boot().since(begun);
    let full = yard.read(holder).await?;
    let mut later = Vec::new();
    for _ in 0..20 {
        let (next, begun) = (told.begun.notified(), SystemClock.boot());
        node.enqueue(Free {}).await?;
        next.await;
        later.push(SystemClock.boot().since(begun).as_secs_f64() * 1e3);
    }
    node.shut_down();
    running.await.map_err(|error| Error::internal("bench", error.to_string()))??;

    // The holder lives on: with its slot free, the queue would move, and be measured with the others.
    let crowd = crowded(&open, load.full).await?;
    beating.abort();
    Ok(json!({
        "rows": load.rows,
        "triggers": load.triggers,
        "enqueue_per_second": f64::from(load.rows) / enqueued.as_secs_f64().max(1e-9),
        "free_row_starts_after_ms": started.as_secs_f64() * 1e3,
        "all_parked_after_ms": parked.as_secs_f64() * 1e3,
        "read_due_empty_us": empty,
        "read_due_behind_the_queue_us": full,
        "read_due_ratio": full / empty,
        "later_free_row_starts_after_ms_median": median(later),
        "one_of_four_full": crowd,
    }))
}

/// Four nodes, one of them full: how late the others are.
async fn crowded(open: &impl AsyncFn() -> Result<Arc<dyn JobStore>>, span: Duration) -> Result<Value> {
    const CAPACITY: u32 = 8;
    let told = Arc::<Told>::default();
    let mut nodes = Vec::new();
    for n in 0..4 {
        let builder = Scheduler::builder_shared(open().await?).profile(Profile::CALM).capacity(CAPACITY);
        let builder = builder.name(format!("node-{n}")).state(Arc::clone(&told)).job(free);
        let node = if n == 0 { builder.job(block) } else { builder }.build().await?;
        let running = tokio::spawn({
            let node = node.clone();
            async move { node.run_until(std::future::pending::<()>()).await }
        });
        nodes.push((node, running));
    }
    let blocks = (0..CAPACITY).map(|_| Block { seconds: span.as_secs() + 5 });
    nodes[0].0.enqueue_many(blocks).await?;
    for n in 0..200 {
        let key = format!("crowd/{n}");
        nodes[1].0.schedule(Free {}).every(Duration::from_secs(1)).key(&key).await?;
    }
    SystemClock.sleep(Duration::from_secs(3)).await;
    told.lateness.lock().unwrap_or_else(PoisonError::into_inner).clear();
    SystemClock.sleep(span).await;
    let mut lateness = std::mem::take(&mut *told.lateness.lock().unwrap_or_else(PoisonError::into_inner));
    for (node, _) in nodes.iter().skip(1) {
        node.shut_down();
    }
    nodes[0].1.abort();
    for (_, running) in nodes.into_iter().skip(1) {
        running.await.map_err(|error| Error::internal("bench", error.to_string()))??;
    }
    lateness.sort_unstable();
    let at = |percent: usize| {
        let index = lateness.len().saturating_sub(1) * percent / 100;
        lateness.get(index).map_or(f64::NAN, |late| late.as_secs_f64() * 1e3)
    };
    Ok(json!({"seconds": span.as_secs(), "firings": lateness.len(), "lateness_p50_ms": at(50),
              "lateness_p99_ms": at(99), "lateness_max_ms": at(100)}))
}

fn chunks(count: u32, size: u32) -> impl Iterator<Item = u32> {
    (0..count).step_by(usize::try_from(size).unwrap_or(1)).map(move |from| size.min(count - from))
}

fn kind(name: &str) -> Result<Kind> {
    Kind::new(name)
}

/// A store and what fills it.
struct Yard {
    store: Arc<dyn JobStore>,
    entropy: SeededEntropy,
    kinds: Arc<[Kind]>,
}

impl Yard {
    async fn join(&self, name: &str) -> Result<NodeId> {
        let id = NodeId::draw(&self.entropy);
        let info = NodeInfo {
            id,
            name: name.into(),
            host: "bench".into(),
            pid: std::process::id(),
            version: "0".into(),
            zone_data: "0".into(),
            profile: Profile::CALM,
            capacity: 1,
            kinds: self.kinds.to_vec(),
        };
        self.store.join(info).await.map(|_| id)
    }

    async fn job(&self, name: &str, key: Option<&str>) -> Result<JobRecord> {
        let concurrency =
            key.map(|key| Concurrency { key: key.into(), limit: 1, when_busy: WhenBusy::Queue });
        let job = JobRecord {
            id: JobId::draw(&self.entropy),
            key: JobKey::new("bench", name)?,
            kind: kind(WORK)?,
            description: None,
            spec: ExecutionSpec { concurrency, ..ExecutionSpec::default() },
            payload: Payload::json(&Free {})?,
            priority: 0,
            durable: true,
            set: None,
            rev: 0,
            created: Timestamp::EPOCH,
        };
        self.apply(vec![Change::PutJob { expect: Expect::Absent { mark: None }, job: job.clone() }]).await?;
        Ok(job)
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<()> {
        match self.store.apply(changes).await? {
            Applied::All => Ok(()),
            Applied::Lost { at } => {
                Err(Error::internal("bench", format!("element {at} did not fit: is the database empty?")))
            }
        }
    }

    async fn enqueue(&self, job: &JobRecord, count: u32) -> Result<()> {
        let now = self.store.now().await?;
        let one = |_| Enqueue {
            execution: NewExecution {
                id: ExecutionId::draw(now, &self.entropy),
                occurrence: None,
                job: Some(JobRef { id: job.id, key: job.key.clone() }),
                kind: job.kind.clone(),
                scheduled: now,
                priority: 0,
                spec: None,
                payload: None,
                slot: Slot::of(&job.spec),
                catch_up: None,
            },
            delay: None,
        };
        self.store.enqueue((0..count).map(one).collect()).await.map(drop)
    }

    async fn triggers(&self, job: &JobRecord, count: u32) -> Result<()> {
        let now = self.store.now().await?;
        let mut changes = Vec::new();
        for _ in 0..count {
            let id = TriggerId::draw(&self.entropy);
            changes.push(Change::PutTrigger {
                expect: Expect::Absent { mark: None },
                trigger: TriggerRecord {
                    id,
                    key: TriggerKey::new("bench", &format!("t{}", id.get()))?,
                    job_id: job.id,
                    description: None,
                    spec: TriggerSpec::new(Schedule::Every(Every::new(Duration::from_secs(86_400))?)),
                    payload: None,
                    priority: 0,
                    state: TriggerState::Active,
                    next_fire: Some(now),
                    wake: Some(now),
                    last: None,
                    progress: Progress::default(),
                    fires: 0,
                    fire_seq: 0,
                    generation: 1,
                    rev: 0,
                    slice: slice_of(id),
                    error: None,
                    set: None,
                    hash: 0,
                    created: now,
                    paused: None,
                },
            });
        }
        self.apply(changes).await
    }

    /// Takes the one slot of a job, for as long as the holder lives.
    async fn hold_the_slot(&self, holder: NodeId, job: &JobRecord) -> Result<()> {
        self.enqueue(job, 1).await?;
        let request = ClaimReady::of(holder, 0, Arc::clone(&self.kinds), 1);
        let claimed = self.store.claim_ready(request).await?;
        match claimed.work.first() {
            Some(Readable::Row(_)) => Ok(()),
            _ => Err(Error::internal("bench", "the slot could not be taken: is the database empty?")),
        }
    }

    async fn due(&self, node: NodeId, limit: u32) -> Result<usize> {
        let due = self.store.read_due(ReadDue::of(node, Arc::clone(&self.kinds), limit)).await?;
        Ok(due.triggers.len())
    }

    /// What asking for due work costs, in microseconds. The first reads count for nothing: they warm statements and pages.
    async fn read(&self, node: NodeId) -> Result<f64> {
        let mut times = Vec::new();
        for n in 0..1_300 {
            let begun = SystemClock.boot();
            self.due(node, 64).await?;
            if n >= 1_000 {
                times.push(SystemClock.boot().since(begun).as_secs_f64() * 1e6);
            }
        }
        Ok(median(times))
    }
}
