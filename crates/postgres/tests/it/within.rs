//! Work that is put in and completed inside the user's own transaction.

use std::time::Duration;

use punctual_core::execution::ExecutionState;
use punctual_core::store::{Applied, Back, SettleOutcome, SettlePlan, Settlement};
use punctual_core::{ErrorKind, Inspect, JobStore, Timestamp};
use sqlx::{Connection, PgConnection};

use crate::database::Database;
use crate::support::{ask, claim_ready, good, job, node, open, put, say, success, users, work};

async fn bills(connection: &mut PgConnection) -> i64 {
    ask(connection, "SELECT count(*) FROM bill").await
}

#[tokio::test]
async fn enqueued_work_comes_with_the_commit_and_goes_with_the_rollback() {
    let database = Database::fresh();
    let store = open(&database).await;
    store.join(node(1)).await.unwrap();
    let mut connection = users(&database).await;
    say(&mut connection, "CREATE TABLE bill (n int)").await;
    for (commits, expected) in [(false, 0), (true, 1)] {
        let mut transaction = connection.begin().await.unwrap();
        say(&mut transaction, "INSERT INTO bill VALUES (1)").await;
        let batch = vec![work(1, None, Timestamp::EPOCH)];
        assert_eq!(store.enqueue_in(&mut transaction, batch).await.unwrap(), Applied::All);
        assert!(claim_ready(&store, 1, 10).await.work.is_empty(), "it is not committed");
        if commits {
            transaction.commit().await.unwrap();
            store.announce();
        } else {
            transaction.rollback().await.unwrap();
        }
        assert_eq!(bills(&mut connection).await, expected);
        assert_eq!(i64::try_from(claim_ready(&store, 1, 10).await.work.len()).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_lost_enqueue_leaves_the_transaction_usable() {
    let database = Database::fresh();
    let store = open(&database).await;
    store.join(node(1)).await.unwrap();
    let mut connection = users(&database).await;
    say(&mut connection, "CREATE TABLE bill (n int)").await;
    let mut transaction = connection.begin().await.unwrap();
    let batch = vec![work(1, None, Timestamp::EPOCH), work(2, Some(&job(9, false)), Timestamp::EPOCH)];
    assert_eq!(store.enqueue_in(&mut transaction, batch).await.unwrap(), Applied::Lost { at: 1 });
    say(&mut transaction, "INSERT INTO bill VALUES (1)").await;
    transaction.commit().await.unwrap();
    assert_eq!(bills(&mut connection).await, 1);
    assert!(claim_ready(&store, 1, 10).await.work.is_empty());
}

#[tokio::test]
async fn a_job_that_is_being_deleted_leaves_the_transaction_usable() {
    let database = Database::fresh();
    let store = open(&database).await;
    let job = job(1, false);
    put(&store, &job, &[]).await;
    let (mut connection, mut other) = (users(&database).await, users(&database).await);
    say(&mut connection, "CREATE TABLE bill (n int)").await;
    let mut deletion = other.begin().await.unwrap();
    say(&mut deletion, "DELETE FROM punctual.job").await;
    let mut transaction = connection.begin().await.unwrap();
    let batch = vec![work(1, Some(&job), Timestamp::EPOCH)];
    let refused = store.enqueue_in(&mut transaction, batch.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    say(&mut transaction, "INSERT INTO bill VALUES (1)").await;
    deletion.rollback().await.unwrap();
    assert_eq!(store.enqueue_in(&mut transaction, batch).await.unwrap(), Applied::All);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_connection_without_a_transaction_is_refused() {
    let database = Database::fresh();
    let store = open(&database).await;
    let mut connection = users(&database).await;
    let batch = vec![work(1, None, Timestamp::EPOCH)];
    let refused = store.enqueue_in(&mut connection, batch).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("begin one first"), "{refused}");
}

#[tokio::test]
async fn a_completion_is_committed_with_what_the_work_has_done() {
    let database = Database::fresh();
    let store = open(&database).await;
    store.join(node(1)).await.unwrap();
    let exclusive = job(1, true);
    put(&store, &exclusive, &[]).await;
    let batch =
        vec![work(1, Some(&exclusive), Timestamp::EPOCH), work(2, Some(&exclusive), Timestamp::EPOCH)];
    assert_eq!(store.enqueue(batch).await.unwrap(), Applied::All);
    let claimed = claim_ready(&store, 1, 10).await;
    let plan = success(good(&claimed.work)[0], claimed.now);
    let mut connection = users(&database).await;
    say(&mut connection, "CREATE TABLE bill (n int)").await;

    let mut transaction = connection.begin().await.unwrap();
    say(&mut transaction, "INSERT INTO bill VALUES (1)").await;
    assert_eq!(store.complete_in(&mut transaction, plan.clone()).await.unwrap(), SettleOutcome::Done);
    transaction.rollback().await.unwrap();
    assert_eq!(bills(&mut connection).await, 0);
    assert!(store.execution(plan.claim.id).await.unwrap().is_some(), "it was rolled back, so it runs on");

    let mut transaction = connection.begin().await.unwrap();
    say(&mut transaction, "INSERT INTO bill VALUES (1)").await;
    assert_eq!(store.complete_in(&mut transaction, plan.clone()).await.unwrap(), SettleOutcome::Done);
    transaction.commit().await.unwrap();
    assert_eq!(bills(&mut connection).await, 1);
    // The node reports the end as always, and learns that it is written.
    assert_eq!(store.settle(vec![plan]).await.unwrap(), [SettleOutcome::AlreadyDone]);
    assert_eq!(claim_ready(&store, 1, 10).await.work.len(), 1, "the slot is free, and who waited was woken");
}

#[tokio::test]
async fn a_stale_owner_is_told_to_roll_back() {
    let database = Database::fresh();
    let store = open(&database).await;
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
    let mut connection = users(&database).await;
    let mut transaction = connection.begin().await.unwrap();
    assert_eq!(store.complete_in(&mut transaction, plan).await.unwrap(), SettleOutcome::Fenced);
    let refused = store.complete_in(&mut transaction, recovery).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn the_steps_may_run_on_any_task() {
    let database = Database::fresh();
    let store = open(&database).await;
    let mut connection = users(&database).await;
    let task = tokio::spawn(async move {
        let mut transaction = connection.begin().await.unwrap();
        let applied = store.enqueue_in(&mut transaction, vec![work(1, None, Timestamp::EPOCH)]).await;
        transaction.commit().await.unwrap();
        applied
    });
    assert_eq!(task.await.unwrap().unwrap(), Applied::All);
}
