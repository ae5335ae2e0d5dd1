//! Records and short ways to fill a store with them.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{ExecutionWithJob, JobRef, NewExecution, Slot};
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, Payload, WhenBusy};
use punctual_core::node::{NodeInfo, Profile};
use punctual_core::protocol::finish::{BodyEnd, Ended, settle};
use punctual_core::protocol::fire;
use punctual_core::schedule::Every;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::store::{
    Applied, Change, Claim, ClaimReady, Claimed, ClaimedReady, Due, Enqueue, Expect, ReadDue, Readable,
    SettlePlan,
};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};
use punctual_core::{
    ExecutionId, JobId, JobKey, JobStore, Kind, NodeId, Schedule, Timestamp, TriggerId, TriggerKey,
};
use punctual_mysql::MysqlStore;

use crate::server::Server;

pub(crate) fn kind() -> Kind {
    Kind::new("test").unwrap()
}

pub(crate) fn kinds() -> Arc<[Kind]> {
    [kind()].into()
}

pub(crate) fn node_id(id: i64) -> NodeId {
    NodeId::from_stored(id)
}

pub(crate) fn node(id: i64) -> NodeInfo {
    NodeInfo {
        id: node_id(id),
        name: format!("node-{id}").into(),
        host: "host".into(),
        pid: 7,
        version: "0".into(),
        zone_data: "0".into(),
        profile: Profile::FAST,
        capacity: 10,
        kinds: vec![kind()],
    }
}

pub(crate) fn job(id: i64, exclusive: bool) -> JobRecord {
    let key = JobKey::new("group", &format!("job-{id}")).unwrap();
    let concurrency = exclusive.then(|| Concurrency::exclusive(&key, WhenBusy::Queue));
    JobRecord {
        id: JobId::from_stored(id),
        key,
        kind: kind(),
        description: Some("a job".into()),
        spec: ExecutionSpec { concurrency, ..ExecutionSpec::default() },
        payload: Payload::json(&id).unwrap(),
        priority: 0,
        durable: false,
        set: None,
        rev: 0,
        created: Timestamp::EPOCH,
    }
}

/// A trigger that fires every ten milliseconds from `next` on.
pub(crate) fn trigger(id: i64, job: &JobRecord, next: Timestamp) -> TriggerRecord {
    let id = TriggerId::from_stored(id);
    let every = Every::new(Duration::from_millis(10)).unwrap();
    TriggerRecord {
        id,
        key: TriggerKey::new("group", &format!("trigger-{}", id.get())).unwrap(),
        job_id: job.id,
        description: None,
        spec: TriggerSpec::new(Schedule::Every(every)),
        payload: None,
        priority: 0,
        state: TriggerState::Active,
        next_fire: Some(next),
        wake: Some(next),
        last: None,
        progress: punctual_core::quartz::Progress::default(),
        fires: 0,
        fire_seq: 0,
        generation: 1,
        rev: 0,
        slice: slice_of(id),
        error: None,
        set: None,
        hash: 1,
        created: Timestamp::EPOCH,
        paused: None,
    }
}

pub(crate) async fn put(store: &dyn JobStore, job: &JobRecord, triggers: &[TriggerRecord]) {
    let expect = Expect::Absent { mark: None };
    let mut changes = vec![Change::PutJob { expect, job: job.clone() }];
    changes.extend(triggers.iter().map(|trigger| Change::PutTrigger { expect, trigger: trigger.clone() }));
    assert_eq!(store.apply(changes).await.unwrap(), Applied::All);
}

pub(crate) fn work(id: u128, job: Option<&JobRecord>, at: Timestamp) -> Enqueue {
    let execution = NewExecution {
        id: ExecutionId::from_bytes(id.to_be_bytes()),
        occurrence: None,
        job: job.map(|job| JobRef { id: job.id, key: job.key.clone() }),
        kind: kind(),
        scheduled: at,
        priority: 0,
        spec: None,
        payload: None,
        slot: job.and_then(|job| Slot::of(&job.spec)),
        catch_up: None,
    };
    Enqueue { execution, delay: None }
}

pub(crate) async fn claim_ready(store: &dyn JobStore, node: i64, limit: u32) -> ClaimedReady {
    let park = Duration::from_secs(5);
    store
        .claim_ready(ClaimReady { node: node_id(node), gate: 0, within: None, kinds: kinds(), limit, park })
        .await
        .unwrap()
}

pub(crate) fn good(work: &[Readable<ExecutionWithJob>]) -> Vec<&ExecutionWithJob> {
    fn row(row: &Readable<ExecutionWithJob>) -> &ExecutionWithJob {
        match row {
            Readable::Row(row) => row,
            Readable::Poison(poison) => panic!("{poison:?}"),
        }
    }
    work.iter().map(row).collect()
}

/// The plan that ends an execution with success.
pub(crate) fn success(work: &ExecutionWithJob, at: Timestamp) -> SettlePlan {
    let ended = Ended { end: BodyEnd::Succeeded, started: Some(at), ended: at, output: None };
    let row = &work.execution;
    settle(row, &work.spec(), row.owner.unwrap(), ended, &SeededEntropy::new(1))
}

pub(crate) async fn read_due(store: &dyn JobStore, node: i64, limit: u32) -> Due {
    store.read_due(ReadDue { node: node_id(node), kinds: kinds(), limit, slice: None }).await.unwrap()
}

/// Reads what is due and claims it.
pub(crate) async fn fire(store: &dyn JobStore, node: i64, limit: u32, seed: u64) -> Claimed {
    let due = read_due(store, node, limit).await;
    let entropy = SeededEntropy::new(seed);
    let plan = |row: &Readable<_>| match row {
        Readable::Row(row) => Some(fire::plan(row, due.now, &entropy)),
        Readable::Poison(poison) => fire::set_aside(poison),
    };
    let plans = due.triggers.iter().filter_map(plan).collect();
    store.claim(Claim { node: node_id(node), gate: due.gate, within: None, plans }).await.unwrap()
}

/// A database of one test, dropped at its end.
pub(crate) struct Database {
    pub(crate) server: Server,
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Database {
    /// Makes a database for the test of that name.
    pub(crate) async fn new(test: &str) -> Self {
        let server = Server::of_environment();
        let name = format!("it{:x}_{test}", std::process::id());
        let url = server.database(&name).await;
        Self { server, name, url }
    }

    pub(crate) async fn open(&self) -> MysqlStore {
        MysqlStore::connect(self.url.clone()).await.unwrap()
    }

    pub(crate) async fn watched(&self, hook: impl StatementHook + 'static) -> MysqlStore {
        MysqlStore::builder(self.url.clone()).statement_hook(Arc::new(hook)).open().await.unwrap()
    }

    /// A connection of the user's own.
    pub(crate) async fn connection(&self) -> AsyncMysqlConnection {
        AsyncMysqlConnection::establish(&self.url).await.unwrap()
    }

    /// The first column of the first row, as the user of the environment sees it.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        number(&mut self.connection().await, sql).await
    }

    /// Waits until a query answers what is awaited.
    pub(crate) async fn until(&self, sql: &str, awaited: impl Fn(i64) -> bool + Send + Sync) {
        let mut connection = self.connection().await;
        for _ in 0..1_000_000 {
            if awaited(number(&mut connection, sql).await) {
                return;
            }
        }
        panic!("it never came true: {sql}");
    }

    pub(crate) async fn drop(self) {
        self.server.clean_up().await;
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

/// The column `n` of the first row.
pub(crate) async fn number(connection: &mut AsyncMysqlConnection, sql: &str) -> i64 {
    let rows: Vec<Number> = diesel::sql_query(sql).load(connection).await.unwrap();
    rows.into_iter().next().map_or(0, |row| row.n)
}

/// A hook that stops a step at a statement until it is let go, each time it comes there.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) step: &'static str,
    pub(crate) part: &'static str,
    pub(crate) side: Side,
    reached: Mutex<Sender<()>>,
    go: Mutex<Receiver<HookAnswer>>,
}

/// The other end of a [`Stop`].
#[derive(Debug)]
pub(crate) struct Stopped {
    reached: Option<Receiver<()>>,
    go: Sender<HookAnswer>,
}

impl Stop {
    pub(crate) fn at(step: &'static str, part: &'static str, side: Side) -> (Self, Stopped) {
        let (reached, is_reached) = channel();
        let (go, may_go) = channel();
        let stop = Self { step, part, side, reached: Mutex::new(reached), go: Mutex::new(may_go) };
        (stop, Stopped { reached: Some(is_reached), go })
    }
}

impl StatementHook for Stop {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.step != self.step || point.side != self.side || !point.statement.contains(self.part) {
            return HookAnswer::Continue;
        }
        // Whoever has dropped the other end lets everything go.
        let _ = self.reached.lock().unwrap().send(());
        self.go.lock().unwrap().recv().unwrap_or(HookAnswer::Continue)
    }
}

impl Stopped {
    /// Waits until the step is there.
    pub(crate) async fn reached(&mut self) {
        let reached = self.reached.take().unwrap();
        let waited = tokio::task::spawn_blocking(move || {
            let outcome = reached.recv();
            (outcome, reached)
        });
        let (outcome, reached) = waited.await.unwrap();
        outcome.unwrap();
        self.reached = Some(reached);
    }

    /// Lets the step go on.
    pub(crate) fn go(&self) {
        self.go.send(HookAnswer::Continue).unwrap();
    }
}
