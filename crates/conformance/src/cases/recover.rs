//! The work of nodes that are gone: orphans, recovery, and what their old owners may still do.

use punctual_core::execution::{AttemptOutcome, Execution, ExecutionState, Outcome};
use punctual_core::job::{ExecutionSpec, OnNodeLoss};
use punctual_core::protocol::finish::MAX_LOSSES;
use punctual_core::protocol::recover;
use punctual_core::store::{SettleOutcome, SettlePlan};

use crate::bench::{Bench, Node, claim_of, data, readable, success};
use crate::case::cases;

/// A row of a node that was declared dead while it ran it.
async fn orphan(bench: &Bench, job: &punctual_core::job::JobRecord) -> (Node, Execution) {
    let node = bench.node("dead").await;
    bench.enqueue(job).await;
    let row = bench.take_one(node).await;
    bench.bury(node).await;
    (node, row)
}

async fn recovery(bench: &Bench, row: &Execution, spec: &ExecutionSpec) -> SettlePlan {
    recover::settle(row, spec, row.owner.expect("an owner"), bench.now().await)
}

fn at_most_once() -> ExecutionSpec {
    ExecutionSpec { on_node_loss: OnNodeLoss::Lose, ..ExecutionSpec::default() }
}

cases! {
    A "recover";

    /// A node that is up has no orphans.
    async fn a_node_that_is_up_has_no_orphans(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        assert!(bench.store.orphans(node.id, 10).await.expect("a read").is_empty());
    }

    /// The orphans of a dead node are its live rows, each with its job and its trigger's data.
    async fn a_dead_nodes_rows_are_orphans(bench) {
        let (node, other) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.trigger_with("t", &job, |trigger| trigger.payload = Some(data("trigger's"))).await;
        let row = bench.fire_one(node).await;
        bench.enqueue(&job).await;
        bench.take_one(other).await;
        bench.bury(node).await;
        let orphans = bench.store.orphans(node.id, 10).await.expect("a read");
        assert_eq!(orphans.len(), 1);
        let orphan = readable(orphans.into_iter().next().expect("one"));
        assert_eq!((&orphan.execution, orphan.job.as_ref()), (&row, Some(&job)));
        assert_eq!(orphan.trigger_payload, Some(data("trigger's")));
    }

    /// Rows of a node that has left are orphans too.
    async fn a_left_nodes_rows_are_orphans(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        bench.store.leave(node.id).await.expect("a write");
        assert_eq!(bench.store.orphans(node.id, 10).await.expect("a read").len(), 1);
    }

    /// At most as many orphans come as were asked for.
    async fn orphans_keep_to_the_limit(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for _ in 0..3 {
            bench.enqueue(&job).await;
        }
        bench.take(node, 3).await;
        bench.bury(node).await;
        assert_eq!(bench.store.orphans(node.id, 2).await.expect("a read").len(), 2);
        assert_eq!(bench.store.orphans(node.id, 9).await.expect("a read").len(), 3);
    }

    /// Recovered work runs again, at its next attempt, with a larger fence.
    async fn recovered_work_runs_again(bench) {
        let job = bench.job("j").await;
        let (dead, row) = orphan(&bench, &job).await;
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        let node = bench.node("a").await;
        let again = bench.take_one(node).await;
        assert_eq!((again.id, again.attempt, again.losses), (row.id, 2, 1));
        assert!(again.fence > row.fence);
        let attempt = &again.attempts[0];
        assert_eq!((attempt.node, attempt.outcome, attempt.number), (dead.id, AttemptOutcome::Lost, 1));
    }

    /// What was recovered is no orphan any more, and its owner is not named any more.
    async fn recovery_ends_the_search(bench) {
        let job = bench.job("j").await;
        let (dead, row) = orphan(&bench, &job).await;
        let node = bench.node("a").await;
        assert_eq!(bench.check_in(node).await.gone_owners, [dead.id]);
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        assert!(bench.check_in(node).await.gone_owners.is_empty());
        assert!(bench.store.orphans(dead.id, 10).await.expect("a read").is_empty());
    }

    /// Of two nodes that recover the same row one does.
    async fn a_row_is_recovered_once(bench) {
        let job = bench.job("j").await;
        let (_, row) = orphan(&bench, &job).await;
        let plan = recovery(&bench, &row, &job.spec).await;
        assert_eq!(bench.settle(plan.clone()).await, SettleOutcome::Done);
        assert_eq!(bench.settle(plan).await, SettleOutcome::Fenced);
        assert_eq!(bench.row(row.id).await.attempt, 2);
    }

    /// A node that was declared dead completes nothing that was recovered.
    async fn a_late_completion_after_recovery_is_fenced(bench) {
        let job = bench.job("j").await;
        let (_, row) = orphan(&bench, &job).await;
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        assert_eq!(bench.settle(success(&row)).await, SettleOutcome::Fenced);
        let node = bench.node("a").await;
        let again = bench.take_one(node).await;
        assert_eq!(bench.settle(success(&row)).await, SettleOutcome::Fenced);
        bench.finish(&again).await;
        assert_eq!(bench.record(row.id).await.expect("a record").node, Some(node.id));
    }

    /// A completion that comes before the recovery counts, and the recovery does nothing.
    async fn a_completion_before_recovery_counts(bench) {
        let job = bench.job("j").await;
        let (_, row) = orphan(&bench, &job).await;
        let plan = recovery(&bench, &row, &job.spec).await;
        bench.finish(&row).await;
        assert_eq!(bench.settle(plan).await, SettleOutcome::AlreadyDone);
        assert_eq!(bench.record(row.id).await.expect("a record").outcome, Outcome::Succeeded);
        assert_eq!(bench.live(row.id).await, None);
    }

    /// Recovered work keeps its slot, so that nothing of its key runs before it.
    async fn recovered_work_keeps_its_slot(bench) {
        let job = bench.limited("j", "key", 1).await;
        let (_, row) = orphan(&bench, &job).await;
        let node = bench.node("a").await;
        bench.enqueue_with(&job, |work| work.priority = 9).await;
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        let again = bench.take_one(node).await;
        assert_eq!(again.id, row.id);
        bench.finish(&again).await;
        assert_eq!(bench.take(node, 10).await.len(), 1);
    }

    /// Work that runs at most once and had begun is recorded as lost.
    async fn begun_work_at_most_once_is_lost(bench) {
        let job = bench.job_with("j", |job| job.spec = at_most_once()).await;
        let (_, row) = orphan(&bench, &job).await;
        assert_eq!(bench.store.begin(vec![claim_of(&row)]).await.expect("a write"), [SettleOutcome::Done]);
        let row = bench.row(row.id).await;
        assert_eq!(row.state, ExecutionState::Running);
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        assert_eq!(bench.record(row.id).await.expect("a record").outcome, Outcome::Lost);
        assert_eq!(bench.live(row.id).await, None);
    }

    /// The old owner of work that was recorded as lost learns that its result was refused: it is not a repeat of the
    /// record that the recovery wrote.
    async fn a_late_completion_of_lost_work_is_fenced(bench) {
        let job = bench.job_with("j", |job| job.spec = at_most_once()).await;
        let (_, row) = orphan(&bench, &job).await;
        assert_eq!(bench.store.begin(vec![claim_of(&row)]).await.expect("a write"), [SettleOutcome::Done]);
        let row = bench.row(row.id).await;
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        assert_eq!(bench.settle(success(&row)).await, SettleOutcome::Fenced);
        let record = bench.record(row.id).await.expect("a record");
        assert_eq!(record.outcome, Outcome::Lost);
        assert!(record.fence > row.fence, "a recovery is a hand-over, and carries a larger fence");
    }

    /// Work that runs at most once and had not begun runs, its attempt unchanged.
    async fn unbegun_work_at_most_once_runs(bench) {
        let job = bench.job_with("j", |job| job.spec = at_most_once()).await;
        let (_, row) = orphan(&bench, &job).await;
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        let node = bench.node("a").await;
        assert_eq!(bench.take_one(node).await.attempt, 1);
    }

    /// A body of lost work cannot begin any more.
    async fn recovered_work_cannot_be_begun_by_its_old_owner(bench) {
        let job = bench.job_with("j", |job| job.spec = at_most_once()).await;
        let (_, row) = orphan(&bench, &job).await;
        assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        let outcomes = bench.store.begin(vec![claim_of(&row)]).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Fenced]);
    }

    /// Work that outlived its last permitted node ends as failed.
    async fn work_that_kills_its_nodes_ends(bench) {
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        for _ in 0..=MAX_LOSSES {
            let node = bench.node("dead").await;
            let row = bench.take_one(node).await;
            bench.bury(node).await;
            assert_eq!(bench.settle(recovery(&bench, &row, &job.spec).await).await, SettleOutcome::Done);
        }
        let record = bench.record(id).await.expect("a record");
        assert_eq!(record.outcome, Outcome::Failed);
        assert_eq!(record.attempts.len(), usize::try_from(MAX_LOSSES).expect("a small number") + 1);
    }
}
