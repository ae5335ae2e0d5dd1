//! Locks of the server: deadlocks, long waits, duplicate keys, and which rows a step locks.

use diesel_async::SimpleAsyncConnection;
use punctual_core::store::hook::Side;
use punctual_core::store::{Applied, Change, Claim, ClaimOutcome, Expect};
use punctual_core::trigger::TriggerState;
use punctual_core::{Inspect, JobStore};

use crate::support::*;

fn edits(jobs: &[punctual_core::job::JobRecord]) -> Vec<Change> {
    jobs.iter().map(|job| Change::PutJob { expect: Expect::Rev(1), job: job.clone() }).collect()
}

#[tokio::test]
async fn a_step_that_loses_a_deadlock_is_tried_again() {
    let database = Database::new("deadlock").await;
    let store = database.open().await;
    let jobs = [job(1, false), job(2, false)];
    for job in &jobs {
        put(&store, job, &[]).await;
    }
    let mut other = database.connection().await;
    other.batch_execute("CREATE TABLE weight (n BIGINT)").await.unwrap();
    other.batch_execute("START TRANSACTION").await.unwrap();
    // The server gives up whoever has written less.
    let rows = vec!["(1)"; 500].join(",");
    other.batch_execute(&format!("INSERT INTO weight VALUES {rows}")).await.unwrap();
    other.batch_execute("SELECT * FROM punctual_job WHERE id = 2 FOR UPDATE").await.unwrap();

    let edit = tokio::spawn({
        let (store, edits) = (store.clone(), edits(&jobs));
        async move { store.apply(edits).await }
    });
    let free = "SELECT COUNT(*) AS n FROM punctual_job WHERE id = 1 FOR UPDATE SKIP LOCKED";
    database.until(free, |n| n == 0).await;
    // Closes the circle: the step has job 1, and waits for job 2 or is about to.
    other.batch_execute("SELECT * FROM punctual_job WHERE id = 1 FOR UPDATE").await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(edit.await.unwrap().unwrap(), Applied::All);
    for job in &jobs {
        assert_eq!(store.job(&job.key).await.unwrap().unwrap().rev, 2, "each edit was made once");
    }
    database.drop().await;
}

#[tokio::test]
async fn a_lock_that_is_not_given_takes_the_whole_step_back() {
    let database = Database::new("wait").await;
    let (stop, mut stopped) = Stop::at("apply", "START TRANSACTION", Side::Before);
    let store = database.watched(stop).await;
    let jobs = [job(1, false), job(2, false)];
    let setup = database.open().await;
    for job in &jobs {
        put(&setup, job, &[]).await;
    }
    let mut other = database.connection().await;
    other.batch_execute("START TRANSACTION").await.unwrap();
    other.batch_execute("SELECT * FROM punctual_job WHERE id = 2 FOR UPDATE").await.unwrap();

    let edit = tokio::spawn({
        let (store, edits) = (store.clone(), edits(&jobs));
        async move { store.apply(edits).await }
    });
    stopped.reached().await;
    stopped.go();
    // It begins again when it has waited for job 2 for as long as a session waits; its edit of job 1 is gone by then.
    stopped.reached().await;
    assert_eq!(database.number("SELECT rev AS n FROM punctual_job WHERE id = 1 FOR UPDATE").await, 1);
    other.batch_execute("COMMIT").await.unwrap();
    stopped.go();
    assert_eq!(edit.await.unwrap().unwrap(), Applied::All);
    for job in &jobs {
        assert_eq!(setup.job(&job.key).await.unwrap().unwrap().rev, 2, "each edit was made once");
    }
    database.drop().await;
}

#[tokio::test]
async fn a_duplicate_key_sets_one_trigger_aside_and_no_other() {
    let database = Database::new("twice").await;
    let store = database.open().await;
    let now = store.now().await.unwrap();
    let job = job(1, false);
    put(&store, &job, &[trigger(1, &job, now), trigger(2, &job, now), trigger(3, &job, now)]).await;
    store.join(node(1)).await.unwrap();
    let due = read_due(&store, 1, 10).await;
    let entropy = punctual_core::entropy::SeededEntropy::new(1);
    let mut plans: Vec<_> = due
        .triggers
        .iter()
        .map(|row| match row {
            punctual_core::store::Readable::Row(row) => {
                punctual_core::protocol::fire::plan(row, due.now, &entropy)
            }
            punctual_core::store::Readable::Poison(poison) => panic!("{poison:?}"),
        })
        .collect();
    // No look at the tables before the claim can find it: both come with the same statement.
    plans[1].executions[0].id = plans[0].executions[0].id;
    let request = Claim { node: node_id(1), gate: due.gate, within: None, plans };
    let claimed = store.claim(request).await.unwrap();
    let fired = |outcome: &ClaimOutcome| matches!(outcome, ClaimOutcome::Fired(_));
    assert_eq!(claimed.outcomes.iter().map(fired).collect::<Vec<_>>(), [true, false, true], "{claimed:?}");
    for (id, state) in [(1, TriggerState::Active), (2, TriggerState::Error), (3, TriggerState::Active)] {
        let key = trigger(id, &job, now).key;
        let stored = store.trigger(&key).await.unwrap().trigger.unwrap();
        assert_eq!((stored.state, stored.error.is_some()), (state, state == TriggerState::Error));
    }
    database.drop().await;
}

#[tokio::test]
async fn a_claim_locks_its_own_triggers_and_no_others() {
    let database = Database::new("rows").await;
    let (stop, mut stopped) = Stop::at("claim", "punctual_trigger t", Side::After);
    let store = database.watched(stop).await;
    let now = store.now().await.unwrap();
    let job = job(1, false);
    let triggers: Vec<_> = (1..=40).map(|id| trigger(id, &job, now)).collect();
    put(&store, &job, &triggers).await;
    store.join(node(1)).await.unwrap();
    let claim = tokio::spawn({
        let store = store.clone();
        async move { fire(&store, 1, 5, 1).await }
    });
    stopped.reached().await;
    let free = "SELECT COUNT(*) AS n FROM (SELECT id FROM punctual_trigger FOR UPDATE SKIP LOCKED) t";
    assert_eq!(database.number(free).await, 35);
    drop(stopped);
    assert_eq!(claim.await.unwrap().outcomes.len(), 5);
    database.drop().await;
}

#[tokio::test]
async fn two_nodes_pass_each_other_by_instead_of_waiting() {
    let database = Database::new("pass").await;
    let (stop, mut stopped) = Stop::at("claim_ready", "FOR UPDATE SKIP LOCKED", Side::After);
    let (one, two) = (database.watched(stop).await, database.open().await);
    one.join(node(1)).await.unwrap();
    one.join(node(2)).await.unwrap();
    let now = one.now().await.unwrap();
    let batch: Vec<_> = (1..=20).map(|id| work(id, None, now)).collect();
    assert_eq!(one.enqueue(batch).await.unwrap(), Applied::All);
    let first = tokio::spawn({
        let one = one.clone();
        async move { claim_ready(&one, 1, 5).await }
    });
    stopped.reached().await;
    let second = claim_ready(&two, 2, 5).await;
    assert_eq!(second.work.len(), 5, "while the first one holds its five");
    drop(stopped);
    let mut ids: Vec<_> = good(&first.await.unwrap().work).iter().map(|row| row.execution.id).collect();
    ids.extend(good(&second.work).iter().map(|row| row.execution.id));
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 10);
    database.drop().await;
}
