//! `claim_ready`: work that waits without a trigger, or after one.

use std::sync::Arc;

use punctual_core::execution::ExecutionState;
use punctual_core::key::Fence;
use punctual_core::store::{ClaimReady, ClaimedReady, PARK, ReadDue, Readable, ReadyPlace, Standby};

use crate::bench::{Bench, Node, TheSlot, WORK, back, data, kind, ms, secs};
use crate::case::cases;

async fn ask(bench: &Bench, node: Node, kinds: &[&str], limit: u32) -> ClaimedReady {
    let kinds: Arc<[_]> = kinds.iter().map(|name| kind(name)).collect();
    let request = ClaimReady::of(node.id, node.gate, kinds, limit);
    bench.store.claim_ready(request).await.expect("a write")
}

cases! {
    A "ready";

    /// A claimed row names its node, has the next fence, and is answered as it is stored.
    async fn claims_a_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        assert_eq!((row.id, row.state, row.owner), (id, ExecutionState::Claimed, Some(node.id)));
        assert_eq!((row.fence, row.attempt), (Fence::NONE.next(), 1));
        assert_eq!(bench.row(id).await, row);
    }

    /// The highest priority comes first, then the earliest wake time, then the smallest id.
    async fn comes_in_order(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let mut same = [bench.enqueue(&job).await, bench.enqueue(&job).await];
        same.sort_unstable();
        let early = bench.t0.minus(secs(5));
        let early = bench.enqueue_with(&job, |work| work.scheduled = early).await;
        let low = bench.enqueue_with(&job, |work| work.priority = -1).await;
        let high = bench.enqueue_with(&job, |work| work.priority = 1).await;
        let taken: Vec<_> = bench.take(node, 10).await.into_iter().map(|work| work.execution.id).collect();
        assert_eq!(taken, [high, early, same[0], same[1], low]);
    }

    /// At most as many are claimed as were asked for, and these are the first.
    async fn keeps_to_the_limit(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for priority in [1, 3, 2] {
            bench.enqueue_with(&job, |work| work.priority = priority).await;
        }
        assert!(bench.take(node, 0).await.is_empty());
        let taken: Vec<_> =
            bench.take(node, 2).await.into_iter().map(|work| work.execution.priority).collect();
        assert_eq!(taken, [3, 2]);
        assert_eq!(bench.take(node, 2).await.len(), 1);
    }

    /// A place lets a store pass over what stands before it, and over nothing else; what was passed over is not lost.
    async fn passes_over_nothing_behind_a_place(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let wake = bench.t0.minus(secs(5));
        let place = ReadyPlace { priority: 0, wake };
        let rows = [(1, wake), (0, wake.minus(ms(1))), (0, wake), (0, wake.plus(ms(1))), (-1, wake.minus(secs(5)))];
        let mut ids = Vec::new();
        for (priority, scheduled) in rows {
            ids.push(bench.enqueue_with(&job, |work| (work.priority, work.scheduled) = (priority, scheduled)).await);
        }
        let mut taken = Vec::new();
        for id in ids.iter().skip(2) {
            let kinds: Arc<[_]> = [kind(WORK)].into();
            let request = ReadDue { after: Some(place), ..ReadDue::of(node.id, Arc::clone(&kinds), 1) };
            assert!(bench.store.read_due(request).await.expect("a read").ready);
            while !taken.contains(id) {
                let claim = ClaimReady::of(node.id, node.gate, Arc::clone(&kinds), 1);
                let request = ClaimReady { after: Some(place), ..claim };
                let work = bench.store.claim_ready(request).await.expect("a write").work;
                assert_eq!(work.len(), 1, "nothing was claimed, though a row stands behind the place");
                taken.extend(work.into_iter().filter_map(|work| match work {
                    Readable::Row(work) => Some(work.execution.id),
                    Readable::Poison(_) => None,
                }));
            }
        }
        taken.extend(bench.take(node, 10).await.into_iter().map(|work| work.execution.id));
        taken.sort_unstable();
        ids.sort_unstable();
        assert_eq!(taken, ids, "each of them once");
    }

    /// A row that finds its slot taken does not hide the one behind it: none of lower priority overtakes that.
    async fn a_busy_row_hides_no_other(bench) {
        let node = bench.node("a").await;
        let (limited, free) = (bench.limited("j", "key", 1).await, bench.job("free").await);
        let early = bench.t0.minus(secs(5));
        bench.enqueue_with(&limited, |work| (work.priority, work.scheduled) = (1, early)).await;
        bench.enqueue_with(&limited, |work| work.priority = 2).await;
        assert_eq!(bench.take(node, 1).await.len(), 1);
        let high = bench.enqueue_with(&free, |work| work.priority = 1).await;
        bench.enqueue_with(&free, |work| work.priority = 0).await;
        assert_eq!(bench.take(node, 1).await[0].execution.id, high);
    }

    /// Only rows of the asked kinds are claimed; the others are not in their way.
    async fn leaves_out_unknown_kinds(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue_with(&job, |work| (work.kind, work.priority) = (kind("unknown"), 9)).await;
        let id = bench.enqueue(&job).await;
        let taken: Vec<_> = bench.take(node, 1).await.into_iter().map(|work| work.execution.id).collect();
        assert_eq!(taken, [id]);
        assert!(ask(&bench, node, &[], 9).await.work.is_empty());
        assert_eq!(ask(&bench, node, &[WORK, "unknown"], 9).await.work.len(), 1);
    }

    /// Rows of other kinds are not claimed, though their priority is the same.
    async fn leaves_out_unknown_kinds_of_the_same_priority(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue_with(&job, |work| work.kind = kind("unknown")).await;
        let id = bench.enqueue(&job).await;
        let taken: Vec<_> = bench.take(node, 9).await.into_iter().map(|work| work.execution.id).collect();
        assert_eq!(taken, [id]);
    }

    /// A claimed row is nobody else's.
    async fn claims_a_row_once(bench) {
        let (one, other) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(one).await;
        assert!(bench.take(other, 10).await.is_empty() && bench.take(one, 10).await.is_empty());
        assert_eq!(bench.row(row.id).await.owner, Some(one.id));
    }

    /// Another handle on the same data sees the same rows.
    async fn two_handles_share_the_work(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        let request = ClaimReady::of(node.id, node.gate, [kind(WORK)].into(), 1);
        let other = bench.other().await;
        assert_eq!(other.claim_ready(request).await.expect("a write").work.len(), 1);
        assert_eq!(bench.row(id).await.owner, Some(node.id));
    }

    /// The row comes with its job and with its trigger's data.
    async fn comes_with_job_and_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger_with("t", &job, |trigger| trigger.payload = Some(data("trigger's"))).await;
        let row = bench.fire_one(node).await;
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        let work = bench.take(node, 1).await.remove(0);
        assert_eq!(
            (work.job.as_ref(), work.trigger_payload.as_ref()),
            (Some(&job), Some(&data("trigger's")))
        );
        assert_eq!(work.payload(), data("trigger's"));
    }

    /// A claim at another gate, or of a node in standby, claims nothing.
    async fn refuses_a_closed_gate(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        let refused = async |node: Node| {
            let claimed = ask(&bench, node, &[WORK], 10).await;
            assert!(!claimed.gate_open && claimed.work.is_empty());
        };
        for gate in [node.gate + 1, node.gate - 1] {
            refused(Node { gate, ..node }).await;
        }
        let gate = bench.store.set_standby(node.id, Standby::On).await.expect("a write").expect("it is up");
        for node in [node, Node { gate, ..node }] {
            refused(node).await;
        }
        assert_eq!(bench.row(id).await.owner, None);
    }

    /// A node that is not up claims nothing.
    async fn refuses_a_node_that_is_not_up(bench) {
        // Another one is up, at the same gate.
        bench.node("another").await;
        let (dead, left) = (bench.node("dead").await, bench.node("left").await);
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.bury(dead).await;
        bench.store.leave(left.id).await.expect("a write");
        for node in [dead, left] {
            let claimed = ask(&bench, node, &[WORK], 9).await;
            assert!(!claimed.gate_open && claimed.work.is_empty());
        }
    }

    /// A row that waits for its next attempt is not claimed before.
    [Clock]
    async fn waits_for_the_delay(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(10), TheSlot::Freed).await;
        bench.advance(ms(9_999));
        assert!(bench.take(node, 10).await.is_empty());
        bench.advance(ms(1));
        assert_eq!(bench.take_one(node).await.attempt, 2);
    }

    /// Each claim of a row has a larger fence than the one before.
    async fn the_fence_grows_with_each_claim(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let mut fence = Fence::NONE;
        for _ in 0..5 {
            let row = bench.take_one(node).await;
            assert!(row.fence > fence);
            fence = row.fence;
            bench.give_back(&row, secs(0), TheSlot::Freed).await;
        }
    }

    /// Held rows are not claimed.
    async fn leaves_out_held_rows(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let plan = punctual_core::protocol::finish::hold(crate::bench::claim_of(&row), "not JSON");
        assert_eq!(bench.settle(plan).await, punctual_core::store::SettleOutcome::Done);
        assert!(bench.take(node, 10).await.is_empty());
    }

    /// A row whose slot is taken is parked for as long as the claim said.
    [Clock]
    async fn parks_a_row_whose_slot_is_taken(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let id = bench.enqueue(&job).await;
        bench.advance(secs(1));
        assert_ne!(bench.take_one(node).await.id, id, "the first one goes first");
        let row = bench.row(id).await;
        assert_eq!((row.state, row.wake), (ExecutionState::Ready, bench.now().await.plus(PARK)));
        assert!(!bench.due(node).await.ready);
        bench.advance(PARK);
        assert!(bench.due(node).await.ready);
    }

    /// Rows of a saturated key do not keep others from being claimed.
    async fn a_saturated_key_is_not_in_the_way(bench) {
        let node = bench.node("a").await;
        let (full, free) = (bench.limited("full", "key", 1).await, bench.job("free").await);
        bench.enqueue(&full).await;
        bench.take_one(node).await;
        for _ in 0..20 {
            bench.enqueue_with(&full, |work| work.priority = 9).await;
        }
        let id = bench.enqueue(&free).await;
        let mut taken = Vec::new();
        for _ in 0..21 {
            taken.extend(bench.take(node, 1).await.into_iter().map(|work| work.execution.id));
        }
        assert_eq!(taken, [id]);
    }

    /// A row that kept its slot is claimed with it, though the key is full.
    async fn keeps_the_slot_that_it_holds(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let other = bench.enqueue_with(&job, |work| work.priority = 9).await;
        assert_eq!(
            bench.settle(back(&row, secs(0), TheSlot::Kept)).await,
            punctual_core::store::SettleOutcome::Done
        );
        let taken = bench.take(node, 10).await;
        assert_eq!(taken.iter().map(|work| work.execution.id).collect::<Vec<_>>(), [row.id]);
        assert!(taken[0].execution.fence > row.fence);
        assert_eq!(bench.row(other).await.state, ExecutionState::Ready);
    }
}
