//! Freeing a slot wakes one of those that wait for it: a row before a trigger.

use punctual_core::execution::ExecutionState;
use punctual_core::job::JobRecord;
use punctual_core::key::ExecutionId;
use punctual_core::store::{LiveWork, PARK};
use punctual_core::trigger::{TriggerRecord, TriggerState};

use crate::bench::{Bench, Node, TheSlot, delete_job, secs};
use crate::case::cases;

/// A node that holds the only slot of a key, and the row that does.
async fn held(bench: &Bench, job: &JobRecord) -> (Node, punctual_core::execution::Execution) {
    let node = bench.node("a").await;
    bench.enqueue(job).await;
    let row = bench.take_one(node).await;
    (node, row)
}

/// A row that was parked because the slot is taken. The higher its priority, the larger its id.
async fn parked_row(bench: &Bench, node: Node, job: &JobRecord, priority: i32) -> ExecutionId {
    let later = secs(u64::try_from(100 + priority).expect("a small number"));
    let id = ExecutionId::draw(bench.t0.plus(later), &bench.entropy);
    bench.enqueue_with(job, |work| (work.id, work.priority) = (id, priority)).await;
    assert!(bench.take(node, 10).await.is_empty());
    assert!(bench.row(id).await.wake > bench.t0, "it is parked");
    id
}

/// A trigger that was parked because the slot is taken.
async fn parked_trigger(bench: &Bench, node: Node, name: &str, job: &JobRecord) -> TriggerRecord {
    bench.trigger(name, job).await;
    assert!(bench.fire(node).await.is_empty());
    let due = bench.store.inspect().trigger(&crate::bench::trigger_key(name)).await.expect("a read");
    let trigger = due.trigger.expect("it is there");
    assert!(trigger.wake > trigger.next_fire, "it is parked");
    trigger
}

async fn is_parked(bench: &Bench, trigger: &TriggerRecord) -> bool {
    let stored = bench.reread(trigger).await;
    stored.wake > stored.next_fire
}

cases! {
    A "waiting";

    /// The end of an execution wakes a row that waits for its slot, at the time at which it was due.
    async fn an_end_wakes_a_row(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let waiting = parked_row(&bench, node, &job, 0).await;
        bench.finish(&row).await;
        assert_eq!(bench.row(waiting).await.wake, bench.t0);
        assert_eq!(bench.take_one(node).await.id, waiting);
    }

    /// The end of an execution wakes a trigger that waits for its slot, at its next instant.
    async fn an_end_wakes_a_trigger(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let waiting = parked_trigger(&bench, node, "t", &job).await;
        bench.finish(&row).await;
        let stored = bench.reread(&waiting).await;
        assert_eq!((stored.wake, stored.next_fire), (Some(bench.t0), Some(bench.t0)));
        assert_eq!(bench.fire(node).await.len(), 1);
    }

    /// A slot that is freed for a wait wakes whom it was kept from.
    async fn a_retry_wakes_a_trigger(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let waiting = parked_trigger(&bench, node, "t", &job).await;
        bench.give_back(&row, secs(3600), TheSlot::Freed).await;
        assert!(!is_parked(&bench, &waiting).await);
    }

    /// A slot that is kept wakes nobody.
    async fn a_kept_slot_wakes_nobody(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let waiting = parked_trigger(&bench, node, "t", &job).await;
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        assert!(is_parked(&bench, &waiting).await);
    }

    /// Cancelling a row that kept its slot wakes whom it was kept from.
    async fn a_cancellation_wakes_a_trigger(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let waiting = parked_trigger(&bench, node, "t", &job).await;
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        bench.cancel(row.id).await;
        assert!(!is_parked(&bench, &waiting).await);
    }

    /// Deleting a job with its work wakes whom the work kept from its slot.
    async fn a_deletion_wakes_a_trigger(bench) {
        let (gone, stays) = (bench.limited("gone", "key", 1).await, bench.limited("stays", "key", 1).await);
        let (node, row) = held(&bench, &gone).await;
        let waiting = parked_trigger(&bench, node, "t", &stays).await;
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        bench.write([delete_job(&gone, LiveWork::Cancel)]).await;
        assert!(!is_parked(&bench, &waiting).await);
    }

    /// A row is woken before a trigger.
    async fn a_row_goes_before_a_trigger(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let trigger = parked_trigger(&bench, node, "t", &job).await;
        let waiting = parked_row(&bench, node, &job, -9).await;
        bench.finish(&row).await;
        assert_eq!(bench.row(waiting).await.wake, bench.t0);
        assert!(is_parked(&bench, &trigger).await);
    }

    /// Of several rows the one with the highest priority is woken.
    async fn the_best_row_is_woken(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let low = parked_row(&bench, node, &job, -1).await;
        let high = parked_row(&bench, node, &job, 5).await;
        let middle = parked_row(&bench, node, &job, 0).await;
        bench.finish(&row).await;
        assert_eq!(bench.row(high).await.wake, bench.t0);
        for other in [low, middle] {
            assert!(bench.row(other).await.wake > bench.t0);
        }
    }

    /// One freed slot wakes one waiter; each of them gets its turn.
    async fn one_slot_wakes_one(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, mut row) = held(&bench, &job).await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(parked_row(&bench, node, &job, 0).await);
        }
        for left in (0..3).rev() {
            bench.finish(&row).await;
            row = bench.take_one(node).await;
            let mut parked = 0;
            for id in &waiting {
                let live = bench.live(*id).await;
                parked += usize::from(live.is_some_and(|row| row.state == ExecutionState::Ready));
            }
            assert_eq!(parked, left);
        }
    }

    /// Waiters of other keys sleep on.
    async fn other_keys_sleep_on(bench) {
        let (one, other) = (bench.limited("one", "key", 1).await, bench.limited("other", "Key", 1).await);
        let (node, row) = held(&bench, &one).await;
        bench.enqueue(&other).await;
        bench.take_one(node).await;
        let trigger = parked_trigger(&bench, node, "t", &other).await;
        let waiting = parked_row(&bench, node, &other, 9).await;
        let awaited = parked_row(&bench, node, &one, 0).await;
        bench.finish(&row).await;
        assert!(is_parked(&bench, &trigger).await && bench.row(waiting).await.wake > bench.t0);
        assert_eq!(bench.row(awaited).await.wake, bench.t0);
    }

    /// Triggers of other keys sleep on, however long they have waited.
    async fn triggers_of_other_keys_sleep_on(bench) {
        let (one, other) = (bench.limited("one", "key", 1).await, bench.limited("other", "Key", 1).await);
        let (node, row) = held(&bench, &one).await;
        bench.enqueue(&other).await;
        bench.take_one(node).await;
        let sleeper = bench.trigger_at("s", &other, bench.t0.minus(secs(30))).await;
        assert!(bench.fire(node).await.is_empty());
        let awaited = parked_trigger(&bench, node, "t", &one).await;
        bench.finish(&row).await;
        assert!(is_parked(&bench, &sleeper).await && !is_parked(&bench, &awaited).await);
    }

    /// A trigger that does not wait for the slot does not take the turn of one that does.
    async fn only_what_waits_is_woken(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, row) = held(&bench, &job).await;
        let waiting = parked_trigger(&bench, node, "t", &job).await;
        let complete = |trigger: &mut TriggerRecord| {
            (trigger.state, trigger.next_fire, trigger.wake) = (TriggerState::Complete, None, None);
        };
        bench.trigger_with("complete", &job, complete).await;
        bench.trigger_at("unread", &job, bench.t0.minus(secs(5))).await;
        bench.finish(&row).await;
        assert!(!is_parked(&bench, &waiting).await);
    }

    /// A row that waits for its next attempt is not woken early by a slot.
    [Clock]
    async fn a_delay_is_not_cut_short(bench) {
        let job = bench.limited("j", "key", 2).await;
        let (node, retried) = held(&bench, &job).await;
        bench.enqueue(&job).await;
        let running = bench.take_one(node).await;
        bench.give_back(&retried, secs(60), TheSlot::Freed).await;
        bench.finish(&running).await;
        assert_eq!(bench.row(retried.id).await.wake, bench.now().await.plus(secs(60)));
    }

    /// Work whose slot was freed unseen is due again when its parking ends.
    [Clock]
    async fn parking_ends_by_itself(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (node, _) = held(&bench, &job).await;
        let trigger = parked_trigger(&bench, node, "t", &job).await;
        assert_eq!(trigger.wake, Some(bench.t0.plus(PARK)));
        assert!(bench.due(node).await.triggers.is_empty());
        bench.advance(PARK);
        assert_eq!(bench.due(node).await.triggers.len(), 1);
    }

    /// A waiter that is woken twice is woken once: a second free slot wakes the next.
    async fn two_slots_wake_two(bench) {
        let job = bench.limited("j", "key", 2).await;
        let (node, one) = held(&bench, &job).await;
        bench.enqueue(&job).await;
        let two = bench.take_one(node).await;
        let (first, second) =
            (parked_row(&bench, node, &job, 1).await, parked_row(&bench, node, &job, 0).await);
        bench.finish(&one).await;
        bench.finish(&two).await;
        assert_eq!((bench.row(first).await.wake, bench.row(second).await.wake), (bench.t0, bench.t0));
    }
}
