//! Long queues of a busy key: they stand in nobody's way, and none of those who wait is forgotten.

use punctual_core::execution::Execution;
use punctual_core::job::JobRecord;
use punctual_core::key::ExecutionId;
use punctual_core::store::{Applied, Enqueue, PARK};

use crate::bench::{Bench, Node, TheSlot, replace_job, secs};
use crate::case::cases;
use crate::contradiction::Contradiction;

/// Rows of a job in one batch, in the order of their ids.
async fn batch(bench: &Bench, job: &JobRecord, count: u64) -> Vec<ExecutionId> {
    let work: Vec<Enqueue> = (0..count).map(|_| work(bench, job)).collect();
    let ids = work.iter().map(|one| one.execution.id).collect();
    assert_eq!(bench.store.enqueue(work).await.expect("a write"), Applied::All);
    ids
}

/// Work of a job that is due at once.
fn work(bench: &Bench, job: &JobRecord) -> Enqueue {
    Enqueue { execution: bench.new_work(job), delay: None }
}

async fn is_parked(bench: &Bench, id: ExecutionId) -> bool {
    bench.row(id).await.wake > bench.now().await
}

async fn wake_waiting(bench: &Bench) -> u32 {
    bench.store.wake_waiting(100).await.expect("a write")
}

async fn busy(bench: &Bench, key: &str, limit: u32) -> (JobRecord, Node, Execution) {
    let job = bench.limited(&format!("job-{key}"), key, limit).await;
    let node = bench.node("a").await;
    bench.enqueue(&job).await;
    (job, node, bench.take_one(node).await)
}

/// The job with another limit.
async fn set_limit(bench: &Bench, job: &JobRecord, limit: u32) {
    let stored = bench.store.inspect().job(&job.key).await.expect("a read");
    let mut job = stored.expect("it is there");
    if let Some(concurrency) = &mut job.spec.concurrency {
        concurrency.limit = limit;
    }
    bench.write([replace_job(job)]).await;
}

cases! {
    A "queues";

    /// Work that is put in while its slot is taken is parked at once, and goes when the slot is freed.
    async fn work_of_a_busy_key_is_parked_at_once(bench) {
        let (job, node, row) = busy(&bench, "key", 1).await;
        let waiting = batch(&bench, &job, 1).await;
        assert!(bench.row(waiting[0]).await.wake > bench.t0, "it is parked");
        assert!(!bench.due(node).await.ready, "nothing stands in the way");
        bench.finish(&row).await;
        assert_eq!(bench.take_one(node).await.id, waiting[0]);
    }

    /// Work that is parked at once is looked at again when its parking ends.
    [Clock]
    async fn parking_at_once_ends_by_itself(bench) {
        let (job, _, _) = busy(&bench, "key", 1).await;
        let waiting = batch(&bench, &job, 1).await;
        assert_eq!(bench.row(waiting[0]).await.wake, bench.now().await.plus(PARK));
    }

    /// Of a batch as many rows as the key has free slots stay in sight; the rest is parked.
    async fn a_batch_keeps_its_head_in_sight(bench) {
        let job = bench.limited("j", "key", 2).await;
        let ids = batch(&bench, &job, 5).await;
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(is_parked(&bench, *id).await, n >= 2, "row {n}");
        }
    }

    /// Work that comes while others are parked goes behind them, though a slot was just freed.
    async fn nobody_jumps_the_queue(bench) {
        let (job, _, row) = busy(&bench, "key", 1).await;
        let first = batch(&bench, &job, 2).await;
        bench.finish(&row).await;
        let late = batch(&bench, &job, 1).await;
        assert!(!is_parked(&bench, first[0]).await);
        assert!(is_parked(&bench, first[1]).await && is_parked(&bench, late[0]).await);
    }

    /// Work that is due later is not parked: its time has not come.
    [Clock]
    async fn later_work_keeps_its_time(bench) {
        let (job, _, _) = busy(&bench, "key", 1).await;
        let mut work = work(&bench, &job);
        work.delay = Some(secs(60));
        let id = work.execution.id;
        assert_eq!(bench.store.enqueue(vec![work]).await.expect("a write"), Applied::All);
        assert_eq!(bench.row(id).await.wake, bench.now().await.plus(secs(60)));
    }

    /// Work of another key, and work without a key, is not parked.
    async fn other_work_stays_in_sight(bench) {
        let (_, node, _) = busy(&bench, "key", 1).await;
        let (other, free) = (bench.limited("other", "Key", 1).await, bench.job("free").await);
        batch(&bench, &other, 1).await;
        batch(&bench, &free, 1).await;
        assert_eq!(bench.take(node, 10).await.len(), 2);
    }

    /// A long queue of a busy key leaves the free row behind it at the head.
    async fn a_free_row_goes_past_a_long_queue(bench) {
        let (job, node, _) = busy(&bench, "key", 1).await;
        batch(&bench, &job, 500).await;
        let free = bench.job("free").await;
        let id = batch(&bench, &free, 1).await;
        let taken = bench.take(node, 1).await;
        assert_eq!(taken.iter().map(|row| row.execution.id).collect::<Vec<_>>(), id);
    }

    /// Where the slot of parked work is taken, there is nobody to wake.
    async fn a_busy_key_sleeps_on(bench) {
        let (job, node, _) = busy(&bench, "key", 1).await;
        let waiting = batch(&bench, &job, 1).await;
        bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        assert_eq!(wake_waiting(&bench).await, 0);
        assert!(is_parked(&bench, waiting[0]).await);
    }

    /// Nothing waits, nobody is woken.
    async fn an_empty_queue_wakes_nobody(bench) {
        let job = bench.limited("j", "key", 1).await;
        bench.trigger("t", &job).await;
        assert_eq!(wake_waiting(&bench).await, 0);
    }

    /// Rows whose key has free slots again, though nobody told them, are woken: the best one first, and as many as there
    /// are slots.
    async fn free_slots_wake_rows(bench) {
        let (job, node, row) = busy(&bench, "key", 1).await;
        let narrow = batch(&bench, &job, 1).await;
        // Those who wait behind it know of a higher limit.
        let wide = bench.limited("wide", "key", 3).await;
        let high = bench.enqueue_with(&wide, |work| work.priority = 9).await;
        let low = bench.enqueue(&wide).await;
        assert_eq!(wake_waiting(&bench).await, 2);
        assert!(!is_parked(&bench, high).await);
        assert!(is_parked(&bench, narrow[0]).await != is_parked(&bench, low).await);
        assert_eq!(bench.take(node, 1).await[0].execution.id, high);
        bench.finish(&row).await;
    }

    /// A trigger that waits is woken when its job allows more at once.
    async fn a_higher_limit_wakes_a_trigger(bench) {
        let (job, node, _) = busy(&bench, "key", 1).await;
        bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        set_limit(&bench, &job, 2).await;
        assert_eq!(wake_waiting(&bench).await, 1);
        assert_eq!(bench.fire(node).await.len(), 1);
    }

    /// Those who are woken are woken once: they stand in sight, and a second call finds nobody.
    async fn a_woken_trigger_is_not_woken_again(bench) {
        let (job, node, _) = busy(&bench, "key", 1).await;
        bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        set_limit(&bench, &job, 2).await;
        assert_eq!((wake_waiting(&bench).await, wake_waiting(&bench).await), (1, 0));
    }

    /// Work that waits is counted against the limit of its own key.
    async fn a_limit_is_of_one_key(bench) {
        let (job, node, _) = busy(&bench, "key", 1).await;
        let wide = bench.limited("wide", "wide", 2).await;
        batch(&bench, &wide, 2).await;
        assert_eq!(bench.take(node, 10).await.len(), 2);
        bench.enqueue(&job).await;
        bench.enqueue_with(&wide, |work| work.priority = 9).await;
        assert_eq!(wake_waiting(&bench).await, 0);
    }

    /// A trigger that is not parked waits for no slot, whatever other triggers wait for.
    [Check]
    async fn a_trigger_in_sight_waits_for_nothing(bench) {
        let node = bench.node("a").await;
        let mut jobs = [bench.limited("j", "key", 1).await, bench.limited("k", "other", 1).await];
        jobs.sort_by_key(|job| job.id);
        bench.enqueue(&jobs[0]).await;
        bench.take_one(node).await;
        bench.trigger("t", &jobs[0]).await;
        assert!(bench.fire(node).await.is_empty());
        bench.trigger("u", &jobs[1]).await;
        let checks = bench.store.checks().expect("the case needs a check");
        assert_eq!(checks.contradictions(10).await.expect("a read"), []);
    }

    /// A row that was claimed when its parking was over waits no more: it is in nobody's way.
    [Check, Contradict, Clock]
    async fn a_claimed_row_waits_no_more(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 2).await;
        let first = bench.enqueue_with(&job, |work| work.priority = 9).await;
        bench.contradict(Contradiction::Parked(first)).await;
        bench.advance(PARK);
        assert_eq!(bench.take_one(node).await.id, first);
        let checks = bench.store.checks().expect("the case needs a check");
        assert_eq!(checks.contradictions(10).await.expect("a read"), []);
        let second = bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        assert_eq!(row.id, second, "it is not parked");
        let third = bench.enqueue(&job).await;
        assert!(bench.take(node, 10).await.is_empty());
        bench.finish(&row).await;
        assert_eq!(bench.take_one(node).await.id, third, "it is the one that waits");
    }

    /// No more are woken than the caller allows.
    async fn waking_is_bounded(bench) {
        let node = bench.node("a").await;
        for key in ["k1", "k2", "k3"] {
            let job = bench.limited(key, key, 1).await;
            bench.enqueue(&job).await;
            bench.take_one(node).await;
            bench.trigger(key, &job).await;
            assert!(bench.fire(node).await.is_empty());
            set_limit(&bench, &job, 2).await;
        }
        assert_eq!(bench.store.wake_waiting(2).await.expect("a write"), 2);
        assert_eq!(bench.store.wake_waiting(2).await.expect("a write"), 1);
    }

    /// A row that waits for its next attempt is not woken: it waits for its time, not for a slot.
    [Clock]
    async fn a_delay_is_not_a_queue(bench) {
        let (_, _, row) = busy(&bench, "key", 1).await;
        bench.give_back(&row, secs(60), TheSlot::Freed).await;
        assert_eq!(wake_waiting(&bench).await, 0);
        assert_eq!(bench.row(row.id).await.wake, bench.now().await.plus(secs(60)));
    }

    /// Every row of a long queue gets its turn, one slot after the other.
    async fn a_queue_is_worked_off(bench) {
        let (job, node, mut row) = busy(&bench, "key", 1).await;
        let mut waiting = batch(&bench, &job, 12).await;
        while !waiting.is_empty() {
            bench.finish(&row).await;
            row = bench.take_one(node).await;
            waiting.retain(|id| *id != row.id);
        }
        bench.finish(&row).await;
        assert!(bench.take(node, 10).await.is_empty());
    }
}
