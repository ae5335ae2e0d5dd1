//! What comes between any two statements of a claim. Unlike a race, which may be missed, each case visits every place
//! where the second step can come in between.

use std::sync::Arc;

use punctual_core::key::Fence;
use punctual_core::store::{Applied, Cancelled, Claim, FirePlan, Prune, Standby, Within};
use punctual_core::trigger::TriggerRecord;

use crate::bench::{delete_trigger, fences, replace_trigger, secs};
use crate::case::cases;
use crate::meeting::{Pair, busy, claim, clear, fired, job, plan, points, take};

cases! {
    B "held";

    /// An edit that comes between any two statements of a claim survives, and the claim is lost; or the claim was first,
    /// and the edit is lost.
    [Statements]
    async fn an_edit_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, None).await;
            let trigger = bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let edit = replace_trigger(TriggerRecord { priority: 7, ..trigger.clone() });
            let other = Arc::clone(&pair.other);
            let edit = async move { other.apply(vec![edit]).await.expect("a write") };
            let (claimed, edited, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), edit).await;
            let stored = bench.reread(&trigger).await;
            assert_ne!(fired(&claimed), edited == Applied::All, "{point:?}: exactly one");
            assert_eq!(stored.priority == 7, edited == Applied::All, "{point:?}");
            assert_eq!((stored.fires == 1, clear(&bench, &job).await == 1), (fired(&claimed), fired(&claimed)));
            if !held {
                return;
            }
        }
    }

    /// A deletion that comes between any two statements of a claim leaves no row behind; or it is lost.
    [Statements]
    async fn a_deletion_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let trigger = bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let (other, delete) = (Arc::clone(&pair.other), delete_trigger(&trigger, &job));
            let delete = async move { other.apply(vec![delete]).await.expect("a write") };
            let (claimed, deleted, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), delete).await;
            assert_ne!(fired(&claimed), deleted == Applied::All, "{point:?}: exactly one");
            assert_eq!(clear(&bench, &job).await == 1, fired(&claimed), "{point:?}");
            if !held {
                return;
            }
        }
    }

    /// A second claim of the same trigger that comes between any two statements of the first: one of them fires.
    [Statements]
    async fn a_claim_within_a_claim(bench) {
        let (pair, nodes) = (Pair::open(&bench).await, [bench.node("a").await, bench.node("b").await]);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            bench.trigger(&format!("t{round}"), &job).await;
            let plans = [plan(&bench, nodes[0], &job).await, plan(&bench, nodes[1], &job).await];
            let [one, other] = plans;
            let second = claim(&pair.other, nodes[1], other);
            let (first, second, held) = pair.meet(&bench, point, claim(&pair.held, nodes[0], one), second).await;
            assert_ne!(fired(&first), fired(&second), "{point:?}: exactly one");
            assert_eq!(clear(&bench, &job).await, 1, "{point:?}");
            if !held {
                return;
            }
        }
    }

    /// Two triggers of one exclusive key, one of them claimed between any two statements of the other's claim: one fires,
    /// and when it has ended the other does.
    [Statements]
    async fn a_claim_of_the_same_slot(bench) {
        let (pair, nodes) = (Pair::open(&bench).await, [bench.node("a").await, bench.node("b").await]);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            for name in ["t", "u"] {
                bench.trigger(&format!("{name}{round}"), &job).await;
            }
            let due = bench.due_of(nodes[0], &[job.kind.as_str()], 10).await;
            let [one, other] = <[FirePlan; 2]>::try_from(bench.plans(&due)).expect("two are due");
            let second = claim(&pair.other, nodes[1], other);
            let (first, second, held) = pair.meet(&bench, point, claim(&pair.held, nodes[0], one), second).await;
            let both = [&first, &second].map(|outcome| usize::from(fired(outcome)));
            assert_eq!(both.iter().sum::<usize>(), 1, "{point:?}: {first:?} {second:?}");
            assert_eq!(clear(&bench, &job).await, 1);
            bench.store.wake_waiting(100).await.expect("a write");
            let again = plan(&bench, nodes[0], &job).await;
            assert!(fired(&claim(&bench.store, nodes[0], again).await), "{point:?}");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// A standby that has answered between any two statements of a claim has closed the gate: the claim does not commit.
    [Statements]
    async fn a_standby_within_a_claim(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (node, job) = (bench.node("a").await, job(&bench, round, None).await);
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let (other, id) = (Arc::clone(&pair.other), plan.executions[0].id);
            let standby = async move {
                other.set_standby(node.id, Standby::On).await.expect("a write");
                other.inspect().execution(id).await.expect("a read").is_some()
            };
            let (claimed, seen, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), standby).await;
            assert_eq!(fired(&claimed), seen, "{point:?}: all that fires was there when the standby had answered");
            clear(&bench, &job).await;
            bench.store.leave(node.id).await.expect("a write");
            if !held {
                return;
            }
        }
    }

    /// A take-over that has answered between any two statements of a claim has seen all of the dead node's rows.
    [Statements]
    async fn a_take_over_within_a_claim(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (node, job) = (bench.node("a").await, job(&bench, round, Some(1)).await);
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let other = Arc::clone(&pair.other);
            let take_over = async move {
                assert!(other.take_over(node.id, 1).await.expect("a write"));
                other.orphans(node.id, 10).await.expect("a read").len()
            };
            let (claimed, orphans, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), take_over).await;
            assert_eq!(usize::from(fired(&claimed)), orphans, "{point:?}: no row comes after the take-over");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// A take-over that has answered between any two statements of a claim of ready work has seen all of its rows.
    [Statements]
    async fn a_take_over_within_a_claim_of_ready_work(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (node, job) = (bench.node("a").await, job(&bench, round, Some(1)).await);
            bench.enqueue(&job).await;
            let other = Arc::clone(&pair.other);
            let take_over = async move {
                assert!(other.take_over(node.id, 1).await.expect("a write"));
                other.orphans(node.id, 10).await.expect("a read").len()
            };
            let (taken, orphans, held) = pair.meet(&bench, point, take(&pair.held, node, &job), take_over).await;
            assert_eq!(taken, orphans, "{point:?}: no row comes after the take-over");
            assert_eq!(clear(&bench, &job).await, 1);
            if !held {
                return;
            }
        }
    }

    /// Ready work that is claimed between any two statements of a claim goes to one of the two.
    [Statements]
    async fn two_claims_of_ready_work(bench) {
        let (pair, nodes) = (Pair::open(&bench).await, [bench.node("a").await, bench.node("b").await]);
        for (round, point) in points() {
            let job = job(&bench, round, Some(2)).await;
            for _ in 0..3 {
                bench.enqueue(&job).await;
            }
            let second = take(&pair.other, nodes[1], &job);
            let (first, second, held) = pair.meet(&bench, point, take(&pair.held, nodes[0], &job), second).await;
            // One that finds rows or slots locked may pass them over, and asks again.
            let third = take(&bench.store, nodes[0], &job).await;
            assert_eq!(first + second + third, 2, "{point:?}: as many as there are slots");
            assert_eq!(clear(&bench, &job).await, 3);
            if !held {
                return;
            }
        }
    }

    /// Work that is cancelled between any two statements of its claim has ended, or its owner is asked to stop it.
    [Statements]
    async fn a_cancellation_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let id = bench.enqueue(&job).await;
            let other = Arc::clone(&pair.other);
            let cancel = async move { other.cancel(vec![id], "held".to_owned()).await.expect("a write") };
            let (taken, cancelled, held) = pair.meet(&bench, point, take(&pair.held, node, &job), cancel).await;
            match taken {
                0 => assert_eq!(cancelled, Cancelled { ended: 1, asked: 0 }, "{point:?}"),
                _ => assert_eq!(cancelled, Cancelled { ended: 0, asked: 1 }, "{point:?}"),
            }
            let marked = bench.live(id).await.map(|row| row.cancel.is_some());
            assert_eq!(marked, (taken == 1).then_some(true), "{point:?}");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// A claim with a larger fence of the same lock that has answered between any two statements of a claim has overtaken
    /// it: the slower one does not commit after it.
    [Statements, LockFences]
    async fn an_overtaking_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, None).await;
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let id = plan.executions[0].id;
            let lock = format!("l{round}");
            let request = |fence, plans| {
                let within = Some(Within { lock: lock.as_str().into(), fence: Fence::from_stored(fence) });
                Claim { node: node.id, gate: node.gate, within, plans }
            };
            let (slow, fast) = (request(7, vec![plan]), request(8, Vec::new()));
            let (held, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let slow = async move { held.claim(slow).await.expect("a write").gate_open };
            let fast = async move {
                assert!(other.claim(fast).await.expect("a write").gate_open);
                other.inspect().execution(id).await.expect("a read").is_some()
            };
            let (open, seen, came) = pair.meet(&bench, point, slow, fast).await;
            assert_eq!(open, seen, "{point:?}: what fires was there when it was overtaken");
            assert_eq!(clear(&bench, &job).await == 1, open, "{point:?}");
            if !came {
                return;
            }
        }
    }

    /// A prune that comes between any two statements of a claim takes away no slot that the claim has taken, and fences
    /// go on growing.
    [Statements]
    async fn a_prune_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let used = busy(&bench, node, &job).await;
            bench.finish(&used).await;
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let other = Arc::clone(&pair.other);
            let prune = async move { other.prune(Prune { history: secs(1), limit: 100 }).await.expect("a write") };
            let (claimed, _, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), prune).await;
            assert!(fences(claimed)[0] > used.fence, "{point:?}");
            bench.enqueue(&job).await;
            assert_eq!(take(&bench.store, node, &job).await, 0, "{point:?}: the slot is taken");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }
}
