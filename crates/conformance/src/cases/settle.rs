//! `begin` and `settle`: the guarded writes of an owner.

use punctual_core::execution::{AttemptOutcome, ExecutionState};
use punctual_core::key::{ExecutionId, Fence, NodeId};
use punctual_core::protocol::finish::hold;
use punctual_core::store::{Back, ClaimRef, SettleOutcome, SettlePlan, Settlement};

use crate::bench::{Bench, Node, TheSlot, back, claim_of, ended_attempt, ms, secs, success};
use crate::case::cases;

async fn running(bench: &Bench) -> (Node, punctual_core::execution::Execution) {
    let node = bench.node("a").await;
    let job = bench.job("j").await;
    bench.enqueue(&job).await;
    (node, bench.take_one(node).await)
}

/// The claims that are not this one, but nearly.
fn near_misses(claim: ClaimRef) -> [ClaimRef; 3] {
    let fence = |n| Fence::from_stored(claim.fence.get() + n);
    [
        ClaimRef { owner: NodeId::from_stored(claim.owner.get() ^ 1), ..claim },
        ClaimRef { fence: fence(1), ..claim },
        ClaimRef { fence: fence(-1), ..claim },
    ]
}

cases! {
    A "settle";

    /// Ending an execution deletes its live row and stores its record as it was given.
    async fn an_end_moves_the_row_to_the_history(bench) {
        let (_, row) = running(&bench).await;
        let plan = success(&row);
        let Settlement::End(given) = plan.then.clone() else { unreachable!() };
        assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        assert_eq!((bench.live(row.id).await, bench.record(row.id).await), (None, Some(*given)));
    }

    /// What is to be forgotten leaves neither its row nor a record, whatever else is in the batch; afterwards it is fenced.
    async fn what_is_forgotten_leaves_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for _ in 0..3 {
            bench.enqueue(&job).await;
        }
        let rows: Vec<_> = bench.take(node, 3).await.into_iter().map(|work| work.execution).collect();
        let forget = |claim| SettlePlan { claim, then: Settlement::Forget };
        for claim in near_misses(claim_of(&rows[1])) {
            assert_eq!(bench.settle(forget(claim)).await, SettleOutcome::Fenced, "{claim:?}");
        }
        let plans = vec![success(&rows[0]), forget(claim_of(&rows[1]))];
        let outcomes = bench.store.settle(plans).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Done, SettleOutcome::Done]);
        assert_eq!((bench.live(rows[1].id).await, bench.record(rows[1].id).await), (None, None));
        assert!(bench.record(rows[0].id).await.is_some());
        assert_eq!(bench.row(rows[2].id).await, rows[2]);
        assert_eq!(bench.settle(forget(claim_of(&rows[1]))).await, SettleOutcome::Fenced);
    }

    /// An execution that goes back is as the plan says, without owner, and otherwise unchanged.
    async fn going_back_writes_what_the_plan_says(bench) {
        let (_, row) = running(&bench).await;
        let attempts = vec![ended_attempt(&row, AttemptOutcome::Panicked)];
        let then = Back {
            state: ExecutionState::Ready,
            delay: secs(0),
            attempt: 5,
            losses: 2,
            attempts: attempts.clone(),
            keep_slot: false,
            error: None,
        };
        let plan = SettlePlan { claim: claim_of(&row), then: Settlement::Back(then) };
        assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        let stored = bench.row(row.id).await;
        assert!(stored.wake >= bench.t0);
        let expected = punctual_core::execution::Execution {
            state: ExecutionState::Ready,
            owner: None,
            attempt: 5,
            losses: 2,
            attempts,
            wake: stored.wake,
            ..row
        };
        assert_eq!(stored, expected);
    }

    /// The wait of an execution that goes back counts from the store's now.
    [Clock]
    async fn the_wait_counts_from_now(bench) {
        let (_, row) = running(&bench).await;
        bench.advance(secs(7));
        bench.give_back(&row, ms(2500), TheSlot::Freed).await;
        assert_eq!(bench.row(row.id).await.wake, bench.now().await.plus(ms(2500)));
    }

    /// A row that cannot be understood is held with its reason.
    async fn holds_with_a_reason(bench) {
        let (_, row) = running(&bench).await;
        assert_eq!(bench.settle(hold(claim_of(&row), "payload: not JSON")).await, SettleOutcome::Done);
        let stored = bench.row(row.id).await;
        assert_eq!((stored.state, stored.owner), (ExecutionState::Held, None));
        assert_eq!(stored.error.as_deref(), Some("payload: not JSON"));
    }

    /// A claim with another owner or another fence ends nothing.
    async fn a_stale_owner_ends_nothing(bench) {
        let (_, row) = running(&bench).await;
        for claim in near_misses(claim_of(&row)) {
            let plan = SettlePlan { claim, ..success(&row) };
            assert_eq!(bench.settle(plan).await, SettleOutcome::Fenced, "{claim:?}");
        }
        assert_eq!((bench.row(row.id).await, bench.record(row.id).await), (row.clone(), None));
    }

    /// A claim with another owner or another fence puts nothing back.
    async fn a_stale_owner_puts_nothing_back(bench) {
        let (_, row) = running(&bench).await;
        for claim in near_misses(claim_of(&row)) {
            let plan = SettlePlan { claim, ..back(&row, secs(0), TheSlot::Freed) };
            assert_eq!(bench.settle(plan).await, SettleOutcome::Fenced, "{claim:?}");
        }
        assert_eq!(bench.row(row.id).await, row);
    }

    /// An execution that nobody knows is fenced.
    async fn an_unknown_execution_is_fenced(bench) {
        let (_, row) = running(&bench).await;
        let id = ExecutionId::draw(bench.t0, &bench.entropy);
        let claim = ClaimRef { id, ..claim_of(&row) };
        let plan = SettlePlan { claim, ..back(&row, secs(0), TheSlot::Freed) };
        assert_eq!(bench.settle(plan).await, SettleOutcome::Fenced);
    }

    /// An execution that nobody knows is fenced, though another one ended with the same fence.
    async fn the_end_of_another_is_no_end_of_its_own(bench) {
        let (_, row) = running(&bench).await;
        bench.finish(&row).await;
        let id = ExecutionId::draw(bench.t0, &bench.entropy);
        let plan = SettlePlan { claim: ClaimRef { id, ..claim_of(&row) }, ..back(&row, secs(0), TheSlot::Freed) };
        assert_eq!(bench.settle(plan).await, SettleOutcome::Fenced);
    }

    /// Beginning marks its own row, and no other of the same node.
    async fn beginning_marks_no_other_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.enqueue(&job).await;
        let rows = bench.take(node, 2).await;
        let [begun, other] = [&rows[0].execution, &rows[1].execution];
        let outcomes = bench.store.begin(vec![claim_of(begun)]).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Done]);
        assert_eq!(bench.row(other.id).await, *other);
    }

    /// Repeating an end whose answer was lost is known to be done.
    async fn a_repeated_end_is_already_done(bench) {
        let (_, row) = running(&bench).await;
        bench.finish(&row).await;
        let before = bench.record(row.id).await;
        assert_eq!(bench.settle(success(&row)).await, SettleOutcome::AlreadyDone);
        assert_eq!(bench.record(row.id).await, before);
    }

    /// A record of another claim does not make an end already done.
    async fn an_end_by_another_claim_is_fenced(bench) {
        let (node, stale) = running(&bench).await;
        bench.give_back(&stale, secs(0), TheSlot::Freed).await;
        let row = bench.take_one(node).await;
        bench.finish(&row).await;
        assert_eq!(bench.settle(success(&stale)).await, SettleOutcome::Fenced);
        assert_eq!(bench.record(row.id).await.expect("a record").fence, row.fence);
    }

    /// After an execution went back its claim is worth nothing.
    async fn a_claim_ends_when_the_row_goes_back(bench) {
        let (_, row) = running(&bench).await;
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        assert_eq!(bench.settle(success(&row)).await, SettleOutcome::Fenced);
        assert_eq!(bench.settle(back(&row, secs(0), TheSlot::Freed)).await, SettleOutcome::Fenced);
        assert_eq!(bench.row(row.id).await.state, ExecutionState::Ready);
    }

    /// One node's older claim of the same execution is fenced by its newer one.
    async fn a_newer_claim_fences_the_older_one_of_the_same_node(bench) {
        let (node, stale) = running(&bench).await;
        bench.give_back(&stale, secs(0), TheSlot::Freed).await;
        let row = bench.take_one(node).await;
        assert_eq!(bench.settle(success(&stale)).await, SettleOutcome::Fenced);
        bench.finish(&row).await;
    }

    /// Each plan of a batch is settled for itself, and the answers come in the order asked.
    async fn settles_each_for_itself(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for _ in 0..3 {
            bench.enqueue(&job).await;
        }
        let rows: Vec<_> = bench.take(node, 3).await.into_iter().map(|work| work.execution).collect();
        let stale = SettlePlan { claim: near_misses(claim_of(&rows[1]))[1], ..success(&rows[1]) };
        let plans = vec![success(&rows[2]), stale, back(&rows[0], secs(0), TheSlot::Freed)];
        let outcomes = bench.store.settle(plans).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Done, SettleOutcome::Fenced, SettleOutcome::Done]);
        assert_eq!(bench.row(rows[1].id).await, rows[1]);
    }

    /// One claim twice in a batch is settled once.
    async fn settles_a_claim_once_in_a_batch(bench) {
        let (_, row) = running(&bench).await;
        let outcomes = bench.store.settle(vec![success(&row), success(&row)]).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Done, SettleOutcome::AlreadyDone]);
    }

    /// Beginning marks a claimed row as running.
    async fn beginning_marks_the_row(bench) {
        let (_, row) = running(&bench).await;
        let outcomes = bench.store.begin(vec![claim_of(&row)]).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Done]);
        let expected = punctual_core::execution::Execution { state: ExecutionState::Running, ..row };
        assert_eq!(bench.row(expected.id).await, expected);
    }

    /// Repeating a beginning whose answer was lost succeeds.
    async fn beginning_may_be_repeated(bench) {
        let (_, row) = running(&bench).await;
        for _ in 0..2 {
            assert_eq!(
                bench.store.begin(vec![claim_of(&row)]).await.expect("a write"),
                [SettleOutcome::Done]
            );
        }
    }

    /// A stale owner does not begin.
    async fn a_stale_owner_does_not_begin(bench) {
        let (_, row) = running(&bench).await;
        let outcomes = bench.store.begin(near_misses(claim_of(&row)).to_vec()).await.expect("a write");
        assert_eq!(outcomes, [SettleOutcome::Fenced; 3]);
        assert_eq!(bench.row(row.id).await.state, ExecutionState::Claimed);
    }

    /// A row that has begun is ended like one that has not.
    async fn a_begun_row_can_be_settled(bench) {
        let (_, row) = running(&bench).await;
        assert_eq!(bench.store.begin(vec![claim_of(&row)]).await.expect("a write"), [SettleOutcome::Done]);
        bench.finish(&row).await;
        assert_eq!(bench.live(row.id).await, None);
    }

    /// The next claim of a begun row that went back is not begun.
    async fn a_begun_row_that_went_back_has_to_begin_again(bench) {
        let (node, row) = running(&bench).await;
        assert_eq!(bench.store.begin(vec![claim_of(&row)]).await.expect("a write"), [SettleOutcome::Done]);
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        assert_eq!(bench.take_one(node).await.state, ExecutionState::Claimed);
    }

    /// A mark to stop stays on a row that goes back.
    async fn a_mark_to_stop_survives_going_back(bench) {
        let (node, row) = running(&bench).await;
        bench.cancel(row.id).await;
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        assert!(bench.take_one(node).await.cancel.is_some());
    }

    /// Empty batches have empty answers.
    async fn empty_batches_are_nothing(bench) {
        assert!(bench.store.settle(Vec::new()).await.expect("a write").is_empty());
        assert!(bench.store.begin(Vec::new()).await.expect("a write").is_empty());
    }
}
