//! Work that is enqueued and completed in the user's own transactions, on real nodes: the user's rows and the fate of the
//! work are committed together, whatever the handler does next.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use punctual::core::event::{Event, Listener, Stamped};
use punctual::core::execution::Outcome;
use punctual::core::inspect::HistoryFilter;
use punctual::core::store::{Applied, SettleOutcome};
use punctual::{Context, Failure, Job, JobStore, RetryPolicy, Scheduler, SqliteStore, State};
use rusqlite::{Connection, TransactionBehavior};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

#[derive(Clone, Serialize, Deserialize)]
struct Pay {
    amount: i64,
    /// How many attempts fail after they have written their row, before they commit.
    fails: u32,
    /// Whether the attempt fails after its commit: the work is done all the same.
    fails_late: bool,
}

impl Job for Pay {
    const KIND: &'static str = "pay";
}

struct Bank {
    path: PathBuf,
    store: SqliteStore,
}

impl Bank {
    fn connection(&self) -> Connection {
        let connection = Connection::open(&self.path).expect("the file is there");
        connection.busy_timeout(Duration::from_secs(10)).expect("a setting");
        connection
    }
}

async fn pay(job: Pay, bank: State<Bank>, ctx: Context) -> Result<(), Failure> {
    let mut connection = bank.connection();
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(retry)?;
    transaction.execute("INSERT INTO payment VALUES (?1)", [job.amount]).map_err(retry)?;
    if ctx.attempt() <= job.fails {
        return Err(Failure::retry("before the commit"));
    }
    match bank.store.complete_in(&transaction, ctx.completion(Some("paid"))).map_err(retry)? {
        SettleOutcome::Fenced => return Err(Failure::dead("another node has it")),
        // An earlier commit of this attempt whose answer was lost: what this one wrote is dropped.
        SettleOutcome::AlreadyDone => drop(transaction),
        SettleOutcome::Done => transaction.commit().map_err(retry)?,
    }
    if job.fails_late { Err(Failure::retry("after the commit")) } else { Ok(()) }
}

fn retry(why: impl std::fmt::Display) -> Failure {
    Failure::retry(why.to_string())
}

/// Tells of each execution that was settled for good or put back.
#[derive(Debug)]
struct Ear(mpsc::UnboundedSender<Option<Outcome>>);

impl Listener for Ear {
    fn hear(&self, event: &Stamped) {
        if let Event::Settled { outcome, .. } = &event.event {
            let _ = self.0.send(*outcome);
        }
    }
}

/// Enqueues a payment together with a row of the user's, runs a node until it is settled so often, and answers the
/// payments and the outcomes in the history.
#[expect(clippy::future_not_send, reason = "a connection of the user's stays on its thread")]
async fn run(path: &Path, job: Pay, settled: usize) -> (Vec<i64>, Vec<Outcome>) {
    let store = SqliteStore::open(path).await.expect("the file opens");
    let bank = Bank { path: path.to_owned(), store: store.clone() };
    bank.connection().execute_batch("CREATE TABLE payment (amount INTEGER)").expect("a table");
    let (ear, mut heard) = mpsc::unbounded_channel();
    let mut connection = bank.connection();
    let scheduler = Scheduler::builder(store.clone())
        .job(pay)
        .state(bank)
        .listener(Ear(ear))
        .build()
        .await
        .expect("a scheduler");

    let work = scheduler.enqueue(job).retry(RetryPolicy::fixed(9, Duration::ZERO));
    let work = work.prepare().expect("valid work");
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).expect("a lock");
    assert_eq!(store.enqueue_in(&transaction, vec![work]).expect("a write"), Applied::All);
    transaction.commit().expect("a commit");

    let done = async {
        for _ in 0..settled {
            heard.recv().await;
        }
    };
    scheduler.run_until(done).await.expect("a good end");
    let payments = payments(&connection);
    let history = store.inspect().history(HistoryFilter::default()).await.expect("a read");
    (payments, history.into_iter().map(|record| record.outcome).collect())
}

fn payments(connection: &Connection) -> Vec<i64> {
    let mut payments = connection.prepare("SELECT amount FROM payment").expect("a table");
    let rows = payments.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

#[tokio::test]
async fn a_payment_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Pay { amount: 7, fails: 0, fails_late: false };
    let (payments, outcomes) = run(&folder.path().join("jobs.db"), job, 1).await;
    assert_eq!((payments, outcomes), (vec![7], vec![Outcome::Succeeded]));
}

#[tokio::test]
async fn attempts_that_fail_before_their_commit_leave_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Pay { amount: 7, fails: 2, fails_late: false };
    let (payments, outcomes) = run(&folder.path().join("jobs.db"), job, 3).await;
    assert_eq!((payments, outcomes), (vec![7], vec![Outcome::Succeeded]));
}

#[tokio::test]
async fn an_attempt_that_fails_after_its_commit_is_not_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let job = Pay { amount: 7, fails: 0, fails_late: true };
    let (payments, outcomes) = run(&folder.path().join("jobs.db"), job, 1).await;
    assert_eq!((payments, outcomes), (vec![7], vec![Outcome::Succeeded]));
}
