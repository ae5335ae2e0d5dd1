//! Work that is put in and completed inside the user's own transaction.

use std::path::Path;
use std::time::Duration;

use punctual_core::execution::ExecutionState;
use punctual_core::store::{Applied, Back, SettleOutcome, SettlePlan, Settlement};
use punctual_core::{ErrorKind, JobStore, Timestamp};
use punctual_sqlite::SqliteStore;
use rusqlite::{Connection, TransactionBehavior};

use crate::support::{claim_ready, good, job, node, open, put, success, work};

/// A connection of the user's own, with a table of the user's own.
fn users(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.execute_batch("CREATE TABLE IF NOT EXISTS bill (n INTEGER PRIMARY KEY)").unwrap();
    connection
}

fn bills(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM bill", [], |row| row.get(0)).unwrap()
}

async fn ready(store: &SqliteStore) -> usize {
    claim_ready(store, 1, 10).await.work.len()
}

#[tokio::test]
async fn enqueued_work_comes_with_the_commit_and_goes_with_the_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    store.join(node(1)).await.unwrap();
    let mut connection = users(&path);

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO bill VALUES (1)", []).unwrap();
    let applied = store.enqueue_in(&transaction, vec![work(1, None, Timestamp::EPOCH)]).unwrap();
    assert_eq!(applied, Applied::All);
    transaction.rollback().unwrap();
    assert_eq!((bills(&connection), ready(&store).await), (0, 0));

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO bill VALUES (1)", []).unwrap();
    let applied = store.enqueue_in(&transaction, vec![work(1, None, Timestamp::EPOCH)]).unwrap();
    assert_eq!(applied, Applied::All);
    transaction.commit().unwrap();
    assert_eq!((bills(&connection), ready(&store).await), (1, 1));
}

#[tokio::test]
async fn a_lost_enqueue_leaves_the_transaction_usable() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    store.join(node(1)).await.unwrap();
    let mut connection = users(&path);
    let stranger = job(9, false);

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let batch = vec![work(1, None, Timestamp::EPOCH), work(2, Some(&stranger), Timestamp::EPOCH)];
    assert_eq!(store.enqueue_in(&transaction, batch).unwrap(), Applied::Lost { at: 1 });
    transaction.execute("INSERT INTO bill VALUES (1)", []).unwrap();
    transaction.commit().unwrap();
    assert_eq!((bills(&connection), ready(&store).await), (1, 0));
}

#[tokio::test]
async fn a_completion_is_committed_with_what_the_work_has_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    store.join(node(1)).await.unwrap();
    let exclusive = job(1, true);
    put(&store, &exclusive, &[]).await;
    assert_eq!(store.enqueue(vec![work(1, Some(&exclusive), Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    let claimed = claim_ready(&store, 1, 10).await;
    let plan = success(good(&claimed.work)[0], claimed.now);
    let mut connection = users(&path);

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO bill VALUES (1)", []).unwrap();
    assert_eq!(store.complete_in(&transaction, plan.clone()).unwrap(), SettleOutcome::Done);
    transaction.rollback().unwrap();
    assert_eq!(bills(&connection), 0);
    assert!(
        store.inspect().execution(plan.claim.id).await.unwrap().is_some(),
        "it was rolled back, so it runs on"
    );

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    transaction.execute("INSERT INTO bill VALUES (1)", []).unwrap();
    assert_eq!(store.complete_in(&transaction, plan.clone()).unwrap(), SettleOutcome::Done);
    transaction.commit().unwrap();
    assert_eq!(bills(&connection), 1);
    // The node reports the end as always, and learns that it is written.
    assert_eq!(store.settle(vec![plan]).await.unwrap(), [SettleOutcome::AlreadyDone]);
    assert_eq!(store.enqueue(vec![work(2, Some(&exclusive), Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    assert_eq!(ready(&store).await, 1, "the slot is free again");
}

#[tokio::test]
async fn a_stale_owner_is_told_to_roll_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    store.join(node(1)).await.unwrap();
    assert_eq!(store.enqueue(vec![work(1, None, Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    let claimed = claim_ready(&store, 1, 10).await;
    let plan = success(good(&claimed.work)[0], claimed.now);
    let back = Back {
        state: ExecutionState::Ready,
        delay: Duration::ZERO,
        attempt: 2,
        losses: 1,
        attempts: Vec::new(),
        keep_slot: false,
        error: None,
    };
    let recovery = SettlePlan { claim: plan.claim, then: Settlement::Back(back) };
    assert_eq!(store.settle(vec![recovery.clone()]).await.unwrap(), [SettleOutcome::Done]);

    let mut connection = users(&path);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    assert_eq!(store.complete_in(&transaction, plan).unwrap(), SettleOutcome::Fenced);
    let refused = store.complete_in(&transaction, recovery).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn a_transaction_on_another_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("jobs.db")).await;
    for mut stranger in [users(&folder.path().join("other.db")), Connection::open_in_memory().unwrap()] {
        let transaction = stranger.transaction().unwrap();
        let refused = store.enqueue_in(&transaction, vec![work(1, None, Timestamp::EPOCH)]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains("not the file of the store"), "{refused}");
    }
}
