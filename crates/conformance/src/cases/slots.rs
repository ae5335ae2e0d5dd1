//! Exclusivity: how many executions of a key run at once, and their fences.

use std::collections::VecDeque;

use punctual_core::execution::{Execution, ExecutionState};
use punctual_core::job::Concurrency;
use punctual_core::key::Fence;
use punctual_core::store::{ClaimOutcome, LiveWork, SettleOutcome, SettlePlan, Settlement};

use crate::bench::{Bench, Node, TheSlot, back, claim_of, delete_job, replace_job, secs};
use crate::case::cases;

/// How many rows of a full set of ready ones a node gets.
async fn room(bench: &Bench, node: Node) -> usize {
    bench.take(node, 100).await.len()
}

async fn fence_of_next(bench: &Bench, node: Node, job: &punctual_core::job::JobRecord) -> Fence {
    bench.enqueue(job).await;
    let row = bench.take_one(node).await;
    bench.finish(&row).await;
    row.fence
}

cases! {
    A "slots";

    /// At most as many executions of a key are claimed at once as its limit says.
    async fn keeps_to_the_limit(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 2).await;
        for name in ["a", "b", "c"] {
            bench.trigger(name, &job).await;
        }
        let plans = bench.plans(&bench.due(node).await);
        let outcomes = bench.claim(node, plans).await.outcomes;
        let busy = outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Busy).count();
        assert_eq!((busy, bench.rows().await.len()), (1, 2));
    }

    /// Ready rows and triggers share the slots of a key.
    async fn rows_and_triggers_share_a_key(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Busy);
    }

    /// Jobs with one key share its slots.
    async fn jobs_share_a_key(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.limited("one", "key", 1).await, bench.limited("other", "key", 1).await);
        bench.enqueue(&one).await;
        bench.enqueue(&other).await;
        assert_eq!(room(&bench, node).await, 1);
    }

    /// Keys do not share slots.
    async fn keys_are_apart(bench) {
        let node = bench.node("a").await;
        for (n, key) in ["key", "Key", "key ", "k%", "k_", "ke"].into_iter().enumerate() {
            let job = bench.limited(&format!("j{n}"), key, 1).await;
            bench.enqueue(&job).await;
        }
        assert_eq!(room(&bench, node).await, 6);
    }

    /// Work without a limit needs no slot.
    async fn work_without_a_limit_needs_no_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for _ in 0..5 {
            bench.enqueue(&job).await;
        }
        assert_eq!(room(&bench, node).await, 5);
    }

    /// The end of an execution frees its slot.
    async fn an_end_frees_the_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 0);
        bench.finish(&row).await;
        assert_eq!(room(&bench, node).await, 1);
    }

    /// So does the end of one that is forgotten.
    async fn an_end_without_a_record_frees_the_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 0);
        let plan = SettlePlan { claim: claim_of(&row), then: Settlement::Forget };
        assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        assert_eq!(room(&bench, node).await, 1);
    }

    /// An execution that waits for its next attempt frees its slot, if it was not told to keep it.
    async fn waiting_frees_the_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(3600), TheSlot::Freed).await;
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 1);
    }

    /// An execution that was told to keep its slot while it waits keeps it.
    async fn waiting_keeps_the_slot_where_told_to(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 0);
    }

    /// Cancelling a row that kept its slot frees it.
    async fn a_cancellation_frees_a_kept_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        bench.cancel(row.id).await;
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 1);
    }

    /// Deleting a job with its work frees the slots that the work had kept.
    async fn a_deletion_frees_kept_slots(bench) {
        let node = bench.node("a").await;
        let (gone, stays) = (bench.limited("gone", "key", 1).await, bench.limited("stays", "key", 1).await);
        bench.enqueue(&gone).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        bench.write([delete_job(&gone, LiveWork::Cancel)]).await;
        bench.enqueue(&stays).await;
        assert_eq!(room(&bench, node).await, 1);
    }

    /// A stale owner frees no slot.
    async fn a_stale_owner_frees_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let stale = bench.take_one(node).await;
        bench.give_back(&stale, secs(0), TheSlot::Freed).await;
        bench.take_one(node).await;
        assert_eq!(bench.settle(back(&stale, secs(0), TheSlot::Freed)).await, SettleOutcome::Fenced);
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 0);
    }

    /// The work of a dead node keeps its slots until it is recovered.
    async fn a_death_alone_frees_nothing(bench) {
        let (dead, node) = (bench.node("dead").await, bench.node("a").await);
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        bench.take_one(dead).await;
        bench.bury(dead).await;
        bench.enqueue(&job).await;
        assert_eq!(room(&bench, node).await, 0);
    }

    /// Over all executions of an exclusive key the fences strictly grow.
    async fn fences_grow_over_the_executions_of_a_key(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        let mut fences = Vec::new();
        for _ in 0..5 {
            fences.push(fence_of_next(&bench, node, &job).await);
        }
        assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    }

    /// Firings and ready rows of an exclusive key share one line of fences.
    async fn firings_and_rows_share_the_fences(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        let before = fence_of_next(&bench, node, &job).await;
        bench.trigger("t", &job).await;
        let row = bench.fire_one(node).await;
        assert!(row.fence > before);
        bench.finish(&row).await;
        assert!(fence_of_next(&bench, node, &job).await > row.fence);
    }

    /// The fence of one execution grows also when its next claim is on another slot of its key.
    async fn fences_grow_over_the_slots_of_a_key(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 2).await;
        for _ in 0..3 {
            fence_of_next(&bench, node, &job).await;
        }
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        // Work of a higher priority takes the slot that was freed.
        bench.enqueue_with(&job, |work| work.priority = 9).await;
        let taken = bench.take(node, 10).await;
        let again = taken.iter().find(|work| work.execution.id == row.id).expect("both have room");
        assert!(again.execution.fence > row.fence, "{} after {}", again.execution.fence, row.fence);
    }

    /// A raised limit lets more in at once.
    async fn a_raised_limit_makes_room(bench) {
        let node = bench.node("a").await;
        let mut job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        job.spec.concurrency = job.spec.concurrency.map(|limit| Concurrency { limit: 3, ..limit });
        bench.write([replace_job(job.clone())]).await;
        for _ in 0..3 {
            bench.enqueue(&job).await;
        }
        assert_eq!(room(&bench, node).await, 2);
    }

    /// A lowered limit counts those that hold slots beyond it, in whatever order they end.
    async fn a_lowered_limit_counts_all_holders(bench) {
        let node = bench.node("a").await;
        for (name, first_goes_first) in [("forwards", true), ("backwards", false)] {
            let mut job = bench.limited(name, name, 3).await;
            for _ in 0..3 {
                bench.enqueue(&job).await;
            }
            let work = bench.take(node, 3).await;
            let mut running: VecDeque<Execution> = work.into_iter().map(|work| work.execution).collect();
            job.spec.concurrency = job.spec.concurrency.map(|limit| Concurrency { limit: 1, ..limit });
            bench.write([replace_job(job.clone())]).await;
            while let Some(row) = if first_goes_first { running.pop_front() } else { running.pop_back() } {
                let waiting = bench.enqueue(&job).await;
                assert_eq!(room(&bench, node).await, 0, "{name}: {} run", running.len() + 1);
                bench.cancel(waiting).await;
                bench.finish(&row).await;
            }
            bench.enqueue(&job).await;
            assert_eq!(room(&bench, node).await, 1, "{name}");
        }
    }

    /// A lowered limit keeps triggers out as well while those beyond it run.
    async fn a_lowered_limit_keeps_triggers_out(bench) {
        let node = bench.node("a").await;
        let mut job = bench.limited("j", "key", 3).await;
        for _ in 0..3 {
            bench.enqueue(&job).await;
        }
        let running = bench.take(node, 3).await;
        job.spec.concurrency = job.spec.concurrency.map(|limit| Concurrency { limit: 2, ..limit });
        bench.write([replace_job(job.clone())]).await;
        bench.finish(&running[0].execution).await;
        bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Busy, "two run");
    }

    /// A row that was claimed says which slot key it holds.
    async fn a_row_names_its_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 4).await;
        bench.trigger("t", &job).await;
        let row = bench.fire_one(node).await;
        let slot = row.slot.expect("a slot");
        assert_eq!((&*slot.key, slot.limit, row.state), ("key", 4, ExecutionState::Claimed));
    }
}
