//! `prune`: what is old goes, in bounded steps, and nothing that is needed.

use std::time::Duration;

use punctual_core::Timestamp;
use punctual_core::inspect::{FoundTrigger, HistoryFilter};
use punctual_core::store::{KEEP_NODES, Prune, Pruned};
use punctual_core::trigger::{TriggerRecord, TriggerState};

use crate::bench::{Bench, Node, TheSlot, delete_trigger, secs};
use crate::case::cases;

const DAY: Duration = Duration::from_secs(86_400);

async fn prune(bench: &Bench, history: Duration, limit: u32) -> Pruned {
    bench.store.prune(Prune { history, limit }).await.expect("a write")
}

/// An execution that ended now.
async fn ended(bench: &Bench, node: Node, job: &punctual_core::job::JobRecord) -> punctual_core::ExecutionId {
    let now = bench.now().await;
    bench.enqueue_with(job, |work| work.scheduled = now).await;
    let row = bench.take_one(node).await;
    let mut plan = crate::bench::success(&row);
    if let punctual_core::store::Settlement::End(record) = &mut plan.then {
        record.ended = now;
    }
    assert_eq!(bench.settle(plan).await, punctual_core::store::SettleOutcome::Done);
    row.id
}

/// A trigger of which no further instant is left: it fires once, and ends now.
async fn one_shot(
    bench: &Bench,
    node: Node,
    name: &str,
    job: &punctual_core::job::JobRecord,
    set: Option<&str>,
) {
    let now = bench.now().await;
    let change = |trigger: &mut TriggerRecord| {
        trigger.spec.end = Some(now);
        trigger.spec.start = Some(now);
        (trigger.next_fire, trigger.wake) = (Some(now), Some(now));
        trigger.set = set.map(Into::into);
        trigger.created = now;
    };
    let trigger = bench.trigger_with(name, job, change).await;
    let row = bench.fire_one(node).await;
    let mut plan = crate::bench::success(&row);
    if let punctual_core::store::Settlement::End(record) = &mut plan.then {
        record.ended = now;
    }
    assert_eq!(bench.settle(plan).await, punctual_core::store::SettleOutcome::Done);
    assert_eq!(bench.reread(&trigger).await.state, TriggerState::Complete);
}

async fn found(bench: &Bench, name: &str) -> FoundTrigger {
    bench.store.inspect().trigger(&crate::bench::trigger_key(name)).await.expect("a read")
}

async fn fence_of_next(
    bench: &Bench,
    node: Node,
    job: &punctual_core::job::JobRecord,
) -> punctual_core::Fence {
    bench.enqueue(job).await;
    let row = bench.take_one(node).await;
    bench.finish(&row).await;
    row.fence
}

cases! {
    A "prune";

    /// History that ended longer ago than it is to be kept goes; younger history stays.
    [Clock]
    async fn old_history_goes(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let old = ended(&bench, node, &job).await;
        bench.advance(secs(10));
        let young = ended(&bench, node, &job).await;
        bench.advance(secs(5));
        assert_eq!(prune(&bench, secs(10), 100).await.history, 1);
        assert_eq!((bench.record(old).await, bench.record(young).await.is_some()), (None, true));
    }

    /// History that is exactly as old as it is to be kept stays.
    [Clock]
    async fn history_at_the_bound_stays(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        ended(&bench, node, &job).await;
        bench.advance(secs(10));
        assert_eq!(prune(&bench, secs(10), 100).await.history, 0);
    }

    /// One prune deletes at most as many history rows as it was allowed.
    [Clock]
    async fn keeps_to_the_limit(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for _ in 0..5 {
            ended(&bench, node, &job).await;
        }
        bench.advance(DAY);
        let rounds = [
            prune(&bench, secs(1), 2).await,
            prune(&bench, secs(1), 2).await,
            prune(&bench, secs(1), 2).await,
        ];
        assert_eq!(rounds.map(|pruned| pruned.history), [2, 2, 1]);
        assert!(bench.store.inspect().history(HistoryFilter::default()).await.expect("a read").is_empty());
    }

    /// Live rows are never pruned, however old.
    [Clock]
    async fn live_rows_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.enqueue(&job).await;
        bench.take(node, 1).await;
        bench.advance(DAY * 999);
        prune(&bench, secs(1), 100).await;
        assert_eq!(bench.rows().await.len(), 2);
    }

    /// Nodes that left or died long ago go, though never within a day; those that are up stay.
    [Clock]
    async fn gone_nodes_go(bench) {
        let (dead, left, up) = (bench.node("a").await, bench.node("b").await, bench.node("c").await);
        bench.bury(dead).await;
        bench.store.leave(left.id).await.expect("a write");
        bench.advance(KEEP_NODES - secs(10));
        prune(&bench, secs(20), 100).await;
        assert_eq!(bench.store.inspect().nodes().await.expect("a read").len(), 3);
        bench.advance(secs(20));
        prune(&bench, KEEP_NODES + secs(20), 100).await;
        assert_eq!(bench.store.inspect().nodes().await.expect("a read").len(), 3);
        assert_eq!(prune(&bench, secs(20), 100).await.other, 2);
        let nodes = bench.store.inspect().nodes().await.expect("a read");
        assert_eq!(nodes.iter().map(|node| node.info.id).collect::<Vec<_>>(), [up.id]);
    }

    /// A dead node that still owns live rows stays.
    [Clock]
    async fn owners_stay(bench) {
        let dead = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.take_one(dead).await;
        bench.bury(dead).await;
        bench.advance(DAY * 2);
        prune(&bench, secs(1), 100).await;
        assert_eq!(bench.member(dead).await.info.id, dead.id);
        assert_eq!(bench.store.orphans(dead.id, 10).await.expect("a read").len(), 1);
    }

    /// A completed trigger of no set goes, with its job if that is not durable.
    [Clock]
    async fn completed_triggers_go_with_their_job(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        one_shot(&bench, node, "t", &job, None).await;
        bench.advance(secs(10));
        prune(&bench, secs(20), 100).await;
        assert!(found(&bench, "t").await.trigger.is_some(), "not yet");
        bench.advance(secs(20));
        prune(&bench, secs(20), 100).await;
        assert!(found(&bench, "t").await.trigger.is_none());
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), None);
    }

    /// A completed trigger with live work stays.
    [Clock]
    async fn triggers_with_live_work_stay(bench) {
        let node = bench.node("a").await;
        let at = Some(bench.t0);
        let once = |trigger: &mut TriggerRecord| (trigger.spec.start, trigger.spec.end) = (at, at);
        let trigger = bench.trigger_with("t", &bench.job("j").await, once).await;
        let row = bench.fire_one(node).await;
        assert_eq!(bench.reread(&trigger).await.state, TriggerState::Complete);
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_some());
        bench.finish(&row).await;
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_none());
    }

    /// A pruned trigger leaves its mark, as a deleted one does.
    [Clock]
    async fn a_pruned_trigger_leaves_its_mark(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        one_shot(&bench, node, "t", &job, None).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert_eq!(found(&bench, "t").await.mark, Some(bench.t0));
    }

    /// A completed trigger of a set stays, and so does its job.
    [Clock]
    async fn triggers_of_a_set_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.set = Some("s".into())).await;
        one_shot(&bench, node, "t", &job, Some("s")).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_some());
    }

    /// A durable job stays when its last trigger goes.
    [Clock]
    async fn durable_jobs_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.durable = true).await;
        one_shot(&bench, node, "t", &job, None).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_none());
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// A job with another trigger stays.
    [Clock]
    async fn jobs_in_use_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        one_shot(&bench, node, "t", &job, None).await;
        bench.trigger_at("u", &job, bench.t0.plus(DAY * 9)).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_none() && found(&bench, "u").await.trigger.is_some());
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// A pruned trigger takes its own job along, and no other.
    [Clock]
    async fn jobs_of_others_stay(bench) {
        let node = bench.node("a").await;
        let (job, other) = (bench.job("j").await, bench.job("k").await);
        one_shot(&bench, node, "t", &job, None).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), None);
        assert_eq!(bench.store.inspect().job(&other.key).await.expect("a read"), Some(other));
    }

    /// A job goes with its last trigger, whatever other jobs still have.
    [Clock]
    async fn jobs_go_whatever_others_have(bench) {
        let node = bench.node("a").await;
        let (job, other) = (bench.job("j").await, bench.job("k").await);
        one_shot(&bench, node, "t", &job, None).await;
        bench.trigger_at("u", &other, bench.t0.plus(DAY * 9)).await;
        bench.enqueue(&other).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), None);
    }

    /// A job with live work stays when its last trigger goes.
    [Clock]
    async fn jobs_with_live_work_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        one_shot(&bench, node, "t", &job, None).await;
        bench.enqueue(&job).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_none());
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// A job of a set stays when a trigger that belongs to no set goes.
    [Clock]
    async fn jobs_of_a_set_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.set = Some("s".into())).await;
        one_shot(&bench, node, "t", &job, None).await;
        bench.advance(DAY);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_none());
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// A dead node goes, whatever other nodes still own.
    [Clock]
    async fn gone_nodes_go_whatever_others_own(bench) {
        let (dead, up) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.take_one(up).await;
        bench.bury(dead).await;
        bench.advance(DAY * 2);
        assert_eq!(prune(&bench, secs(1), 100).await.other, 1);
        let nodes = bench.store.inspect().nodes().await.expect("a read");
        assert_eq!(nodes.iter().map(|node| node.info.id).collect::<Vec<_>>(), [up.id]);
    }

    /// A free slot goes although other work has no key, and triggers of its own key wait for their time.
    [Clock]
    async fn free_slots_go_whatever_else_there_is(bench) {
        let node = bench.node("a").await;
        let (plain, job) = (bench.job("j").await, bench.limited("k", "key", 1).await);
        fence_of_next(&bench, node, &job).await;
        bench.enqueue(&plain).await;
        bench.trigger_at("t", &plain, bench.t0.plus(DAY)).await;
        bench.trigger_at("u", &job, bench.t0.plus(DAY)).await;
        assert_eq!(prune(&bench, DAY, 100).await.other, 1);
        assert_eq!(prune(&bench, DAY, 100).await.other, 0);
    }

    /// A free slot goes although triggers of other keys, or of none, are parked.
    [Clock]
    async fn free_slots_go_whatever_others_wait_for(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        fence_of_next(&bench, node, &job).await;
        let parked = |trigger: &mut TriggerRecord| trigger.wake = Some(bench.t0.plus(DAY));
        bench.trigger_with("t", &bench.limited("k", "other", 1).await, parked).await;
        bench.trigger_with("u", &bench.job("plain").await, parked).await;
        assert_eq!(prune(&bench, DAY, 100).await.other, 1);
    }

    /// A free slot stays while work or a parked trigger of its key waits.
    [Clock]
    async fn slots_that_somebody_waits_for_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        fence_of_next(&bench, node, &job).await;
        bench.enqueue_with(&job, |work| work.scheduled = bench.t0.plus(DAY)).await;
        assert_eq!(prune(&bench, DAY, 100).await.other, 0);
        let other = bench.limited("k", "other", 1).await;
        fence_of_next(&bench, node, &other).await;
        let parked = |trigger: &mut TriggerRecord| trigger.wake = Some(bench.t0.plus(DAY));
        bench.trigger_with("t", &other, parked).await;
        assert_eq!(prune(&bench, DAY, 100).await.other, 0);
    }

    /// Active triggers stay, however late they are.
    [Clock]
    async fn active_triggers_stay(bench) {
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        bench.advance(DAY * 99);
        prune(&bench, secs(1), 100).await;
        assert!(found(&bench, "t").await.trigger.is_some());
    }

    /// Jobs that never had a trigger stay.
    [Clock]
    async fn jobs_without_triggers_stay(bench) {
        let job = bench.job("j").await;
        bench.advance(DAY * 99);
        prune(&bench, secs(1), 100).await;
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// A mark is remembered for 90 days.
    [Clock]
    async fn marks_stay_for_90_days(bench) {
        let job = bench.job("j").await;
        let last: Option<Timestamp> = Some(bench.t0.minus(secs(1)));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.last = last).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        bench.advance(DAY * 89);
        prune(&bench, secs(1), 100).await;
        assert_eq!(found(&bench, "t").await.mark, last);
        bench.advance(DAY * 2);
        prune(&bench, secs(1), 100).await;
        assert_eq!(found(&bench, "t").await.mark, None);
    }

    /// The fences of a key grow on after its slots were pruned.
    async fn fences_survive_pruned_slots(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        let mut before = fence_of_next(&bench, node, &job).await;
        for _ in 0..3 {
            before = before.max(fence_of_next(&bench, node, &job).await);
            prune(&bench, secs(0), 100).await;
            let after = fence_of_next(&bench, node, &job).await;
            assert!(after > before, "{after} after {before}");
            before = after;
        }
    }

    /// Pruning slots with large fences raises nothing else.
    async fn pruned_fences_change_no_epoch(bench) {
        let node = bench.node("a").await;
        let before = bench.check_in(node).await.epoch;
        let job = bench.limited("j", "key", 1).await;
        while fence_of_next(&bench, node, &job).await.get() <= i64::from(before) + 1 {}
        assert_eq!(prune(&bench, DAY, 100).await.other, 1);
        assert_eq!(bench.check_in(node).await.epoch, before);
    }

    /// Slots that somebody holds stay.
    async fn held_slots_stay(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.enqueue(&job).await;
        prune(&bench, secs(0), 100).await;
        assert!(bench.take(node, 10).await.is_empty());
        bench.give_back(&row, secs(3600), TheSlot::Kept).await;
        prune(&bench, secs(0), 100).await;
        bench.enqueue(&job).await;
        assert!(bench.take(node, 10).await.is_empty());
    }

    /// An empty store has nothing to prune.
    async fn an_empty_store_has_nothing_to_prune(bench) {
        assert_eq!(prune(&bench, secs(0), 100).await, Pruned::default());
    }
}
