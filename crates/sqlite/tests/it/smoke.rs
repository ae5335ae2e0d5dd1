//! A firing from its definition to its history, on a real file.

use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use punctual_core::inspect::{ExecutionFilter, HistoryFilter};
use punctual_core::memory::ManualClock;
use punctual_core::store::{ClaimOutcome, SettleOutcome};
use punctual_core::{Inspect, JobStore, Timestamp};
use punctual_sqlite::SqliteStore;

#[tokio::test]
async fn a_firing_lives_from_its_trigger_to_the_history() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::builder(path).clock(Arc::new(clock.clone())).open().await.unwrap();
    let now = store.now().await.unwrap();
    let exclusive = job(1, true);
    put(&store, &exclusive, &[trigger(1, &exclusive, now), trigger(2, &exclusive, now)]).await;
    store.join(node(1)).await.unwrap();

    let claimed = fire(&store, 1, 10, 1).await;
    assert!(claimed.gate_open);
    assert!(matches!(claimed.outcomes[0], ClaimOutcome::Fired(_)), "{claimed:?}");
    assert_eq!(claimed.outcomes[1], ClaimOutcome::Busy);
    let live = store.executions(ExecutionFilter::default()).await.unwrap();
    assert_eq!(live.len(), 1);
    clock.advance(Duration::from_millis(20));
    assert_eq!(read_due(&store, 1, 10).await.triggers.len(), 1, "the first is due again");

    let checked_in = store.check_in(node_id(1)).await.unwrap();
    assert_eq!((checked_in.beat, checked_in.owned.len(), checked_in.nodes.len()), (2, 1, 1));
    store.leave(node_id(1)).await.unwrap();
    let orphans = store.orphans(node_id(1), 10).await.unwrap();
    let plan = success(good(&orphans)[0], now);
    assert_eq!(store.settle(vec![plan.clone()]).await.unwrap(), [SettleOutcome::Done]);
    assert_eq!(store.settle(vec![plan]).await.unwrap(), [SettleOutcome::AlreadyDone]);
    let history = store.history(HistoryFilter::default()).await.unwrap();
    assert_eq!(history.len(), 1);

    store.join(node(2)).await.unwrap();
    let due = read_due(&store, 2, 10).await;
    assert_eq!(due.triggers.len(), 2, "the freed slot woke the one that was parked: {due:?}");
}

#[tokio::test]
async fn enqueued_work_is_claimed_and_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("jobs.db")).await;
    let now = store.now().await.unwrap();
    store.join(node(1)).await.unwrap();
    let job = job(1, false);
    put(&store, &job, &[]).await;
    let batch: Vec<_> = (1..=5).map(|id| work(id, Some(&job), now)).collect();
    let _ = store.enqueue(batch.clone()).await.unwrap();
    let _ = store.enqueue(batch).await.unwrap();
    assert!(read_due(&store, 1, 10).await.ready);
    let claimed = claim_ready(&store, 1, 3).await;
    let plans: Vec<_> = good(&claimed.work).into_iter().map(|work| success(work, now)).collect();
    assert_eq!(plans.len(), 3);
    assert_eq!(store.settle(plans).await.unwrap(), [SettleOutcome::Done; 3]);
    assert_eq!(claim_ready(&store, 1, 10).await.work.len(), 2);
    assert!(!read_due(&store, 1, 10).await.ready);
}
