//! What comes between any two statements of the steps that free slots, recover work, bury nodes and delete jobs; every
//! place is visited, as in the cases about claims.

use std::sync::Arc;

use punctual_core::execution::ExecutionState;
use punctual_core::protocol::recover;
use punctual_core::store::{Applied, ClaimOutcome, Enqueue, LiveWork, SettleOutcome, Standing};

use crate::bench::{TheSlot, delete_job, readable, secs, success};
use crate::case::cases;
use crate::meeting::{Pair, busy, claim, clear, fired, job, plan, points, settle, take};

cases! {
    B "between";

    /// A slot that is freed between any two statements of a claim that finds it taken is not forgotten: the trigger fires
    /// now, or it is found when somebody looks for waiters.
    [Statements]
    async fn a_freeing_while_a_trigger_parks(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let row = busy(&bench, node, &job).await;
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let free = settle(&pair.other, success(&row));
            let (claimed, freed, held) = pair.meet(&bench, point, claim(&pair.held, node, plan.clone()), free).await;
            assert_eq!(freed, SettleOutcome::Done);
            if !fired(&claimed) {
                assert_eq!(claimed, ClaimOutcome::Busy, "{point:?}");
                bench.store.wake_waiting(100).await.expect("a write");
                let again = crate::meeting::plan(&bench, node, &job).await;
                assert!(fired(&claim(&bench.store, node, again).await), "{point:?}");
            }
            assert_eq!(clear(&bench, &job).await, 1, "{point:?}");
            if !held {
                return;
            }
        }
    }

    /// A slot that is freed between any two statements of an enqueueing is not forgotten: the work is in sight, or is
    /// found when somebody looks for waiters.
    [Statements]
    async fn a_freeing_while_work_is_parked(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let row = busy(&bench, node, &job).await;
            let (store, execution) = (Arc::clone(&pair.held), bench.new_work(&job));
            let work = vec![Enqueue { execution, delay: None }];
            let enqueue = async move { store.enqueue(work).await.expect("a write") };
            let (put, freed, held) = pair.meet(&bench, point, enqueue, settle(&pair.other, success(&row))).await;
            assert_eq!((put, freed), (Applied::All, SettleOutcome::Done));
            bench.store.wake_waiting(100).await.expect("a write");
            assert_eq!(take(&bench.store, node, &job).await, 1, "{point:?}");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// Work that looks for a slot between any two statements of the step that frees it is not forgotten.
    [Statements]
    async fn a_parking_within_a_freeing(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let row = busy(&bench, node, &job).await;
            bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let second = claim(&pair.other, node, plan);
            let (freed, claimed, held) = pair.meet(&bench, point, settle(&pair.held, success(&row)), second).await;
            assert_eq!(freed, SettleOutcome::Done);
            if !fired(&claimed) {
                bench.store.wake_waiting(100).await.expect("a write");
                let again = crate::meeting::plan(&bench, node, &job).await;
                assert!(fired(&claim(&bench.store, node, again).await), "{point:?}");
            }
            assert_eq!(clear(&bench, &job).await, 1, "{point:?}");
            if !held {
                return;
            }
        }
    }

    /// A recovery that comes between any two statements of a completion: one of them happens.
    [Statements]
    async fn a_recovery_within_a_completion(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (dead, job) = (bench.node("dead").await, job(&bench, round, Some(1)).await);
            let row = busy(&bench, dead, &job).await;
            bench.bury(dead).await;
            let recovery = settle(&pair.other, recover::settle(&row, &job.spec, dead.id, bench.t0));
            let (completed, recovered, held) =
                pair.meet(&bench, point, settle(&pair.held, success(&row)), recovery).await;
            match (completed, recovered) {
                (SettleOutcome::Done, SettleOutcome::AlreadyDone) => assert_eq!(bench.live(row.id).await, None),
                (SettleOutcome::Fenced, SettleOutcome::Done) => {
                    let again = bench.row(row.id).await;
                    assert_eq!((again.state, again.attempt), (ExecutionState::Ready, 2), "{point:?}");
                }
                other => panic!("{point:?}: {other:?}"),
            }
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }

    /// A check-in that comes between any two statements of a take-over: the node is dead, or it has beaten.
    [Statements]
    async fn a_check_in_within_a_take_over(bench) {
        let pair = Pair::open(&bench).await;
        for (_, point) in points() {
            let node = bench.node("a").await;
            let (held, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let take_over = async move { held.take_over(node.id, 1).await.expect("a write") };
            let check_in = async move { other.check_in(node.id).await.expect("a write").standing };
            let (dead, standing, came) = pair.meet(&bench, point, take_over, check_in).await;
            assert_eq!(dead, standing == Standing::Gone, "{point:?}: dead for both or for neither");
            bench.store.leave(node.id).await.expect("a write");
            if !came {
                return;
            }
        }
    }

    /// Work that is put in between any two statements of the deletion of its job keeps the job, or is refused.
    [Statements]
    async fn an_enqueueing_within_a_deletion(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let job = job(&bench, round, None).await;
            let (held, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let (delete, execution) = (delete_job(&job, LiveWork::MustBeNone), bench.new_work(&job));
            let delete = async move { held.apply(vec![delete]).await.expect("a write") };
            let work = vec![Enqueue { execution, delay: None }];
            let enqueue = async move { other.enqueue(work).await.expect("a write") };
            let (deleted, put, came) = pair.meet(&bench, point, delete, enqueue).await;
            assert_ne!(deleted == Applied::All, put == Applied::All, "{point:?}: exactly one");
            let left = bench.store.inspect().job_by_id(job.id).await.expect("a read");
            assert_eq!((left.is_some(), clear(&bench, &job).await == 1), (put == Applied::All, put == Applied::All));
            if !came {
                return;
            }
        }
    }

    /// A trigger that is created between any two statements of the deletion of its job keeps the job, or is refused.
    [Statements]
    async fn a_trigger_within_a_deletion(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let job = job(&bench, round, None).await;
            let (held, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let delete = delete_job(&job, LiveWork::MustBeNone);
            let trigger = bench.new_trigger(&format!("t{round}"), &job);
            let create = crate::bench::create_trigger(trigger);
            let delete = async move { held.apply(vec![delete]).await.expect("a write") };
            let create = async move { other.apply(vec![create]).await.expect("a write") };
            let (deleted, created, came) = pair.meet(&bench, point, delete, create).await;
            assert_ne!(deleted == Applied::All, created == Applied::All, "{point:?}: exactly one");
            if !came {
                return;
            }
        }
    }

    /// Work that goes back between any two statements of the claim of a waiter frees its slot for one of them only.
    [Statements]
    async fn a_retry_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let row = busy(&bench, node, &job).await;
            bench.enqueue(&job).await;
            let back = settle(&pair.other, crate::bench::back(&row, secs(0), TheSlot::Freed));
            let (taken, went, held) = pair.meet(&bench, point, take(&pair.held, node, &job), back).await;
            assert_eq!(went, SettleOutcome::Done);
            bench.store.wake_waiting(100).await.expect("a write");
            let more = take(&bench.store, node, &job).await;
            assert_eq!(taken + more, 1, "{point:?}: the slot has one holder");
            assert_eq!(clear(&bench, &job).await, 2);
            if !held {
                return;
            }
        }
    }

    /// An orphan that is recovered by two nodes, one between any two statements of the other, is recovered once.
    [Statements]
    async fn a_recovery_within_a_recovery(bench) {
        let pair = Pair::open(&bench).await;
        for (round, point) in points() {
            let (dead, job) = (bench.node("dead").await, job(&bench, round, None).await);
            let row = busy(&bench, dead, &job).await;
            bench.bury(dead).await;
            let orphan = readable(bench.store.orphans(dead.id, 10).await.expect("a read").remove(0));
            let plan = recover::settle(&orphan.execution, &orphan.spec(), dead.id, bench.t0);
            let second = settle(&pair.other, plan.clone());
            let (first, second, held) = pair.meet(&bench, point, settle(&pair.held, plan), second).await;
            let done = [first, second].iter().filter(|outcome| **outcome == SettleOutcome::Done).count();
            assert_eq!((done, bench.row(row.id).await.attempt), (1, 2), "{point:?}");
            clear(&bench, &job).await;
            if !held {
                return;
            }
        }
    }
}
