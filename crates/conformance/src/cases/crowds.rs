//! Crowds that cannot go: thousands of triggers and rows of one busy key, and what stands behind them.

use punctual_core::job::JobRecord;
use punctual_core::store::{Applied, Change, ClaimOutcome, Enqueue};

use crate::bench::{Bench, Node, create_trigger, secs};
use crate::case::cases;

/// How many wait.
const CROWD: u64 = 10_000;
/// Elements of a batch.
const BATCH: u64 = 1_000;

/// A node with a running row that holds the only slot of a key.
async fn busy(bench: &Bench) -> (JobRecord, Node) {
    let job = bench.limited("j", "key", 1).await;
    let node = bench.node("a").await;
    bench.enqueue(&job).await;
    bench.take_one(node).await;
    (job, node)
}

/// Triggers of a job that have long been due.
async fn crowd_of_triggers(bench: &Bench, job: &JobRecord) {
    let at = bench.t0.minus(secs(30));
    for batch in 0..CROWD / BATCH {
        let create = |n: u64| {
            let mut trigger = bench.new_trigger(&format!("t{}", batch * BATCH + n), job);
            (trigger.next_fire, trigger.wake) = (Some(at), Some(at));
            create_trigger(trigger)
        };
        let changes: Vec<Change> = (0..BATCH).map(create).collect();
        bench.write(changes).await;
    }
}

/// Rows of a job that have long been due.
async fn crowd_of_rows(bench: &Bench, job: &JobRecord) {
    for _ in 0..CROWD / BATCH {
        let work = |_| {
            let execution = bench.new_work(job);
            Enqueue { execution, delay: None }
        };
        let batch = (0..BATCH).map(work).collect();
        assert_eq!(bench.store.enqueue(batch).await.expect("a write"), Applied::All);
    }
}

cases! {
    F "crowds";

    /// Ten thousand due triggers of a busy key are out of the way after as many claims as batches, and the one behind
    /// them fires.
    async fn blocked_triggers_make_room(bench) {
        let (job, node) = busy(&bench).await;
        crowd_of_triggers(&bench, &job).await;
        let free = bench.job("free").await;
        let behind = bench.trigger("behind", &free).await;
        let mut rounds = 0;
        while bench.reread(&behind).await.fires == 0 {
            let due = bench.due_of(node, &["work"], 1_000).await;
            let outcomes = bench.claim(node, bench.plans(&due)).await.outcomes;
            let stayed = outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Lost).count();
            assert_eq!(stayed, 0, "each is parked or fires");
            rounds += 1;
            assert!(rounds <= CROWD / BATCH + 1, "the crowd does not come back");
        }
        assert!(bench.due(node).await.triggers.is_empty());
    }

    /// Ten thousand rows of a busy key stand in nobody's way: the free row behind them is the first that is claimed.
    async fn blocked_rows_stand_in_nobodys_way(bench) {
        let (job, node) = busy(&bench).await;
        crowd_of_rows(&bench, &job).await;
        let free = bench.job("free").await;
        let id = bench.enqueue(&free).await;
        let taken = bench.take(node, 1).await;
        assert_eq!(taken.iter().map(|row| row.execution.id).collect::<Vec<_>>(), [id]);
        assert!(!bench.due(node).await.ready, "nothing else is in sight");
    }

    /// Many ready rows of one key that were put in before its slot was taken give way to the free row behind them.
    async fn a_saturated_key_gives_way(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.limited("j", "key", 1).await, bench.job("free").await);
        // As long as the slot is free, work that is put in one by one is not parked: all of it is in sight.
        for _ in 0..300 {
            bench.enqueue_with(&one, |work| work.scheduled = bench.t0.minus(secs(1))).await;
        }
        let id = bench.enqueue(&other).await;
        let mut taken = Vec::new();
        for _ in 0..20 {
            taken.extend(bench.take(node, 2).await);
        }
        assert_eq!(taken.len(), 2, "one has the slot, and one needs none");
        assert!(taken.iter().any(|row| row.execution.id == id));
    }

    /// Of a crowd that waits for one key, a freed slot wakes one; the others sleep on.
    async fn a_crowd_is_not_woken_at_once(bench) {
        let (job, node) = busy(&bench).await;
        crowd_of_rows(&bench, &job).await;
        let running = bench.rows().await.into_iter().find(|row| row.owner.is_some()).expect("it runs");
        bench.finish(&running).await;
        assert_eq!(bench.take(node, 100).await.len(), 1);
        assert!(!bench.due(node).await.ready);
        assert_eq!(bench.store.wake_waiting(1_000).await.expect("a write"), 0);
    }
}
