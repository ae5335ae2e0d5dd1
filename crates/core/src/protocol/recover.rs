//! What becomes of the work of a node that is gone.

use std::time::Duration;

use crate::execution::{Attempt, AttemptOutcome, Execution, ExecutionState, Outcome};
use crate::job::{ExecutionSpec, OnNodeLoss};
use crate::key::NodeId;
use crate::protocol::finish::{self, MAX_LOSSES, back, end, with_attempt};
use crate::store::{ClaimRef, SettlePlan, Settlement};
use crate::time::Timestamp;

/// Decides about a live row that names `owner`, a node that was declared dead, or that nobody remembers.
///
/// Work that runs at least once goes back with its slot and one more attempt, for its body may have begun; after
/// [`MAX_LOSSES`] losses it is taken for their cause and ends as failed. Work that runs at most once goes back
/// unchanged if it had not begun, and is recorded as lost if it had.
pub fn settle(row: &Execution, spec: &ExecutionSpec, owner: NodeId, now: Timestamp) -> SettlePlan {
    let attempt = Attempt {
        number: row.attempt,
        node: owner,
        fence: row.fence,
        started: None,
        ended: now,
        outcome: AttemptOutcome::Lost,
        error: Some(format!("node {owner} is gone").into()),
    };
    let losses = row.losses.saturating_add(1);
    let then = match (spec.on_node_loss, row.state) {
        (OnNodeLoss::Lose, ExecutionState::Running) => end(row, Outcome::Lost, attempt, None),
        (OnNodeLoss::Lose, _) => back(Duration::ZERO, row.attempt, row.losses, row.attempts.clone(), true),
        (OnNodeLoss::Rerun, _) if losses > MAX_LOSSES => {
            let why = format!("given up after {losses} nodes died while they ran it");
            end(row, Outcome::Failed, Attempt { error: Some(why.into()), ..attempt }, None)
        }
        (OnNodeLoss::Rerun, _) => {
            let next = row.attempt.saturating_add(1);
            back(Duration::ZERO, next, losses, with_attempt(row, attempt), true)
        }
    };
    SettlePlan { claim: ClaimRef { id: row.id, owner, fence: row.fence }, then: under_a_new_fence(then) }
}

/// Decides about a live row that names `owner`, a node that has left.
///
/// A node leaves when all that it knew of is settled. So this row is of a claim that it never knew of, because the answer
/// was lost or came too late, and nothing of it has begun: it goes back as it is.
pub fn hand_back(row: &Execution, owner: NodeId) -> SettlePlan {
    finish::hand_back(ClaimRef { id: row.id, owner, fence: row.fence }, row)
}

/// A record that a recovery writes carries a fence of its own: the taking over is a hand-over like any other. Under the
/// old one, a late result of the old owner would look like a repeat of a step that had committed.
fn under_a_new_fence(then: Settlement) -> Settlement {
    match then {
        Settlement::End(mut record) => {
            record.fence = record.fence.next();
            Settlement::End(record)
        }
        other @ (Settlement::Forget | Settlement::Back(_)) => other,
    }
}
