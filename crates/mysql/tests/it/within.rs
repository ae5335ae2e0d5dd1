//! Work that is put in and completed inside the user's own transaction.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use punctual_core::execution::ExecutionState;
use punctual_core::store::{Applied, Back, SettleOutcome, SettlePlan, Settlement, Wake};
use punctual_core::{ErrorKind, Inspect, JobStore, Timestamp};
use punctual_mysql::TransactionError;

use crate::support::*;

/// What a closure of a transaction ends with to have it rolled back.
fn roll_back() -> TransactionError {
    diesel::result::Error::RollbackTransaction.into()
}

async fn bill(connection: &mut AsyncMysqlConnection) -> Result<(), TransactionError> {
    Ok(connection.batch_execute("INSERT INTO bill VALUES (1)").await?)
}

/// A database with a table of the user's own, and a connection.
async fn users(test: &str) -> (Database, AsyncMysqlConnection) {
    let database = Database::new(test).await;
    let mut connection = database.connection().await;
    connection.batch_execute("CREATE TABLE bill (n BIGINT PRIMARY KEY)").await.unwrap();
    (database, connection)
}

async fn bills(database: &Database) -> i64 {
    database.number("SELECT COUNT(*) AS n FROM bill").await
}

#[tokio::test]
async fn enqueued_work_comes_with_the_commit_and_goes_with_the_rollback() {
    let (database, mut connection) = users("enqueue_in").await;
    let store = database.open().await;
    store.join(node(1)).await.unwrap();
    let job = job(1, true);
    put(&store, &job, &[]).await;

    let rolled_back = connection.transaction(async |transaction| {
        bill(transaction).await?;
        let applied = store.enqueue_in(transaction, vec![work(1, Some(&job), Timestamp::EPOCH)]).await?;
        assert_eq!(applied, Applied::All);
        Err::<(), _>(roll_back())
    });
    rolled_back.await.unwrap_err();
    assert_eq!((bills(&database).await, claim_ready(&store, 1, 10).await.work.len()), (0, 0));

    let committed = connection.transaction(async |transaction| {
        bill(transaction).await?;
        let work = vec![work(1, Some(&job), Timestamp::EPOCH)];
        Ok::<_, TransactionError>(store.enqueue_in(transaction, work).await?)
    });
    assert_eq!(committed.await.unwrap(), Applied::All);
    store.announce();
    store.changed().await;
    assert_eq!((bills(&database).await, claim_ready(&store, 1, 10).await.work.len()), (1, 1));
    database.drop().await;
}

#[tokio::test]
async fn a_lost_or_refused_enqueue_leaves_the_transaction_usable() {
    let (database, mut connection) = users("lost_in").await;
    let store = database.open().await;
    store.join(node(1)).await.unwrap();
    let stranger = job(9, false);
    let committed = connection.transaction(async |transaction| {
        let batch = vec![work(1, None, Timestamp::EPOCH), work(2, Some(&stranger), Timestamp::EPOCH)];
        assert_eq!(store.enqueue_in(transaction, batch).await?, Applied::Lost { at: 1 });
        // A key that is too long for its column is refused by the server in the middle of the step.
        let mut bad = work(3, None, Timestamp::EPOCH);
        bad.execution.slot = Some(punctual_core::execution::Slot { key: "k".repeat(999).into(), limit: 1 });
        let refused = store.enqueue_in(transaction, vec![work(4, None, Timestamp::EPOCH), bad]).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
        bill(transaction).await
    });
    committed.await.unwrap();
    assert_eq!((bills(&database).await, claim_ready(&store, 1, 10).await.work.len()), (1, 0));
    database.drop().await;
}

#[tokio::test]
async fn a_completion_is_committed_with_what_the_work_has_done() {
    let (database, mut connection) = users("complete_in").await;
    let store = database.open().await;
    store.join(node(1)).await.unwrap();
    let exclusive = job(1, true);
    put(&store, &exclusive, &[]).await;
    assert_eq!(store.enqueue(vec![work(1, Some(&exclusive), Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    let claimed = claim_ready(&store, 1, 10).await;
    let plan = success(good(&claimed.work)[0], claimed.now);

    let rolled_back = connection.transaction(async |transaction| {
        bill(transaction).await?;
        assert_eq!(store.complete_in(transaction, plan.clone()).await?, SettleOutcome::Done);
        Err::<(), _>(roll_back())
    });
    rolled_back.await.unwrap_err();
    assert_eq!(bills(&database).await, 0);
    assert!(store.execution(plan.claim.id).await.unwrap().is_some(), "it was rolled back, so it runs on");

    // At the isolation that the server gives to whoever asks for none.
    connection.batch_execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let committed = connection.transaction(async |transaction| {
        bill(transaction).await?;
        Ok::<_, TransactionError>(store.complete_in(transaction, plan.clone()).await?)
    });
    assert_eq!(committed.await.unwrap(), SettleOutcome::Done);
    assert_eq!(bills(&database).await, 1);
    // The node reports the end as always, and learns that it is written.
    assert_eq!(store.settle(vec![plan]).await.unwrap(), [SettleOutcome::AlreadyDone]);
    assert_eq!(store.enqueue(vec![work(2, Some(&exclusive), Timestamp::EPOCH)]).await.unwrap(), Applied::All);
    assert_eq!(claim_ready(&store, 1, 10).await.work.len(), 1, "the slot is free again");
    database.drop().await;
}

#[tokio::test]
async fn a_stale_owner_is_told_to_roll_back() {
    let (database, mut connection) = users("stale_in").await;
    let store = database.open().await;
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
    let rolled_back = connection.transaction(async |transaction| {
        bill(transaction).await?;
        assert_eq!(store.complete_in(transaction, plan.clone()).await?, SettleOutcome::Fenced);
        let refused = store.complete_in(transaction, recovery.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        Err::<(), _>(roll_back())
    });
    rolled_back.await.unwrap_err();
    assert_eq!(bills(&database).await, 0);
    database.drop().await;
}

#[tokio::test]
async fn a_transaction_on_another_database_is_refused() {
    let (database, mut connection) = users("other_in").await;
    let other = Database::new("other").await;
    let store = other.open().await;
    let refused = store.enqueue_in(&mut connection, vec![work(1, None, Timestamp::EPOCH)]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains(&database.name), "{refused}");
    other.drop().await;
    database.drop().await;
}
