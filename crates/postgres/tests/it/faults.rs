//! Clients that freeze and connections that break, at the worst moment of a step.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use punctual_core::job::JobRecord;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::store::{Applied, Change, Expect};
use punctual_core::{ErrorKind, Inspect, JobStore, Timestamp};
use punctual_postgres::PostgresStore;

use crate::database::Database;
use crate::support::{ask, claim_ready, fire, job, node, node_id, open, put, say, trigger, users, work};

/// Does something once, at a moment of a step.
struct At {
    step: &'static str,
    side: Side,
    statement: &'static str,
    act: Mutex<Option<Box<dyn FnOnce() -> HookAnswer + Send>>>,
}

impl std::fmt::Debug for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("At").field("step", &self.step).finish_non_exhaustive()
    }
}

impl StatementHook for At {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.step != self.step || point.side != self.side || !point.statement.contains(self.statement) {
            return HookAnswer::Continue;
        }
        let act = self.act.lock().unwrap().take();
        act.map_or(HookAnswer::Continue, |act| act())
    }
}

async fn hooked(
    database: &Database,
    (step, side, statement): (&'static str, Side, &'static str),
    act: impl FnOnce() -> HookAnswer + Send + 'static,
) -> PostgresStore {
    let hook = At { step, side, statement, act: Mutex::new(Some(Box::new(act))) };
    let builder = PostgresStore::builder(database.url()).unwrap();
    let builder = builder.idle_in_transaction_timeout(Duration::from_millis(200));
    builder.statement_hook(Arc::new(hook)).open().await.unwrap()
}

/// Something that says when a step has come to it, and holds the step until it is told to go on.
fn stop() -> (impl FnOnce() -> HookAnswer + Send + 'static, Receiver<()>, Sender<()>) {
    let (arrived, arrival) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let act = move || {
        arrived.send(()).unwrap();
        goes_on.recv().unwrap();
        HookAnswer::Continue
    };
    (act, arrival, go_on)
}

fn edit(mut job: JobRecord, description: &str) -> Vec<Change> {
    job.description = Some(description.into());
    vec![Change::PutJob { expect: Expect::Rev(1), job }]
}

async fn description(store: &PostgresStore, job: &JobRecord) -> Option<Box<str>> {
    store.job(&job.key).await.unwrap().unwrap().description
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_client_is_ended_by_the_server_and_its_locks_with_it() {
    let database = Database::fresh();
    let (act, arrival, go_on) = stop();
    let frozen = hooked(&database, ("apply", Side::After, "INSERT INTO"), act).await;
    let other = open(&database).await;
    let job = job(1, false);
    put(&other, &job, &[]).await;

    let step = tokio::spawn({
        let (frozen, changes) = (frozen.clone(), edit(job.clone(), "frozen"));
        async move { frozen.apply(changes).await }
    });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    assert_eq!(other.apply(edit(job.clone(), "other")).await.unwrap(), Applied::All);
    go_on.send(()).unwrap();
    assert_eq!(step.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(description(&frozen, &job).await.as_deref(), Some("other"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_terminated_before_its_commit_leaves_nothing() {
    let database = Database::fresh();
    let (act, arrival, go_on) = stop();
    let store = hooked(&database, ("apply", Side::Before, "COMMIT"), act).await;
    let job = job(1, false);
    let step = tokio::spawn({
        let (store, job) = (store.clone(), job.clone());
        let change = Change::PutJob { expect: Expect::Absent { mark: None }, job };
        async move { store.apply(vec![change]).await }
    });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    let mut connection = users(&database).await;
    say(
        &mut connection,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'punctual'",
    )
    .await;
    go_on.send(()).unwrap();
    assert_eq!(step.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.job(&job.key).await.unwrap(), None);
    put(&store, &job, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_answer_was_cut_off_is_found_at_the_check_in() {
    let database = Database::fresh();
    let store = hooked(&database, ("claim", Side::After, "WITH"), || HookAnswer::Cut).await;
    let now = store.now().await.unwrap();
    let job = job(1, true);
    put(&store, &job, &[trigger(1, &job, now)]).await;
    store.join(node(1)).await.unwrap();
    let due = crate::support::read_due(&store, 1, 10).await;
    let plans = due
        .triggers
        .iter()
        .map(|row| match row {
            punctual_core::store::Readable::Row(row) => punctual_core::protocol::fire::plan(
                row,
                due.now,
                &punctual_core::entropy::SeededEntropy::new(1),
            ),
            punctual_core::store::Readable::Poison(poison) => panic!("{poison:?}"),
        })
        .collect();
    let claim = punctual_core::store::Claim { node: node_id(1), gate: due.gate, within: None, plans };
    assert_eq!(store.claim(claim).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.check_in(node_id(1)).await.unwrap().owned.len(), 1);
}

/// What becomes of a row that is parked in the moment in which its slot is freed: neither step sees the other.
async fn parked_while_its_slot_is_freed(look_again: fn() -> HookAnswer) -> (Database, PostgresStore) {
    let database = Database::fresh();
    let store = open(&database).await;
    let job = job(1, true);
    put(&store, &job, &[]).await;
    store.join(node(1)).await.unwrap();
    assert_eq!(store.enqueue(vec![work(1, Some(&job), Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    let claimed = claim_ready(&store, 1, 10).await;
    let plan = crate::support::success(crate::support::good(&claimed.work)[0], claimed.now);

    let (tell, arrival) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let act = move || {
        tell.send(()).unwrap();
        goes_on.recv().unwrap();
        look_again()
    };
    let ending = hooked(&database, ("wake", Side::Before, "UPDATE"), act).await;
    let step = tokio::spawn(async move { ending.settle(vec![plan]).await });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    assert_eq!(store.enqueue(vec![work(2, Some(&job), Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    say(&mut users(&database).await, "UPDATE punctual.execution SET wake_us = due_us + 9000000000000000")
        .await;
    go_on.send(()).unwrap();
    assert_eq!(step.await.unwrap().unwrap(), [punctual_core::store::SettleOutcome::Done]);
    (database, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_parked_while_its_slot_is_freed_is_found_by_a_second_look() {
    let (_database, store) = parked_while_its_slot_is_freed(|| HookAnswer::Continue).await;
    assert_eq!(claim_ready(&store, 1, 10).await.work.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_settlement_that_dies_before_its_second_look_is_made_good() {
    let (_database, store) = parked_while_its_slot_is_freed(|| HookAnswer::Cut).await;
    assert!(claim_ready(&store, 1, 10).await.work.is_empty(), "nobody was woken");
    assert_eq!(store.wake_waiting(10).await.unwrap(), 1);
    assert_eq!(claim_ready(&store, 1, 10).await.work.len(), 1);
}

#[tokio::test]
async fn a_text_with_a_character_that_cannot_be_kept_does_not_stop_an_end() {
    let database = Database::fresh();
    let store = open(&database).await;
    let now = store.now().await.unwrap();
    let job = job(1, false);
    put(&store, &job, &[trigger(1, &job, now)]).await;
    store.join(node(1)).await.unwrap();
    assert!(fire(&store, 1, 10, 1).await.gate_open);
    store.leave(node_id(1)).await.unwrap();
    let orphans = store.orphans(node_id(1), 10).await.unwrap();
    let mut plan = crate::support::success(crate::support::good(&orphans)[0], now);
    if let punctual_core::store::Settlement::End(record) = &mut plan.then {
        record.output = Some("a\0b".into());
    }
    let id = plan.claim.id;
    assert_eq!(store.settle(vec![plan]).await.unwrap(), [punctual_core::store::SettleOutcome::Done]);
    assert_eq!(store.record(id).await.unwrap().unwrap().output.as_deref(), Some("a\u{fffd}b"));
}

#[tokio::test]
async fn sessions_that_the_server_ended_cost_one_step() {
    let database = Database::fresh();
    let store = open(&database).await;
    let at_once = (0..4).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.now().await })
    });
    for step in at_once.collect::<Vec<_>>() {
        step.await.unwrap().unwrap();
    }
    let mut connection = users(&database).await;
    let ended: i64 = ask(
        &mut connection,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'punctual'",
    )
    .await;
    assert!(ended >= 1);
    assert_eq!(store.now().await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.now().await.unwrap();
}

/// Lets go of what somebody else holds when a step is tried for the twelfth time.
#[derive(Debug)]
struct Twelfth {
    tries: AtomicU32,
    let_go: Sender<()>,
}

impl StatementHook for Twelfth {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.side == Side::Before
            && point.statement.contains("NOWAIT")
            && self.tries.fetch_add(1, Ordering::SeqCst) == 11
        {
            self.let_go.send(()).unwrap();
        }
        HookAnswer::Continue
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_waits_for_a_job_that_is_locked_as_long_as_for_any_lock() {
    let database = Database::fresh();
    let job = job(1, false);
    put(&open(&database).await, &job, &[]).await;
    let mut holder = users(&database).await;
    say(&mut holder, "BEGIN").await;
    say(&mut holder, "SELECT rev FROM punctual.job FOR UPDATE").await;
    let (let_go, told) = mpsc::channel();
    let hook = Arc::new(Twelfth { tries: AtomicU32::new(0), let_go });
    // Long enough that only the number of tries could end it.
    let builder = PostgresStore::builder(database.url()).unwrap().lock_timeout(Duration::from_secs(9));
    let store = builder.statement_hook(hook).open().await.unwrap();
    let enqueued = tokio::spawn(async move {
        let applied = store.enqueue(vec![work(1, Some(&job), Timestamp::EPOCH)]).await;
        drop(store);
        applied
    });
    let was_told = tokio::task::spawn_blocking(move || told.recv()).await.unwrap();
    say(&mut holder, "COMMIT").await;
    assert_eq!(enqueued.await.unwrap().unwrap(), Applied::All);
    was_told.expect("it was tried twelve times");
}
