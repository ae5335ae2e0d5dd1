//! A graceful stop uses up no attempt and loses nothing (G14).
//!
//! A node that left is one that was asked to stop, stopped, and said so to the store. It was not declared dead before,
//! or it could not have left. Of one that was up before a restore, the store may show what had ended long ago: it is not
//! judged.

use std::collections::BTreeSet;

use punctual_core::execution::{Attempt, AttemptOutcome};
use punctual_core::key::{ExecutionId, NodeId};
use punctual_core::node::NodeState;

use crate::checker::Tables;
use crate::cluster::Cluster;
use crate::history::History;
use crate::verdict::{Rule, Verdict};

pub(crate) fn judge(history: &History, cluster: &Cluster, tables: &Tables, verdict: &mut Verdict) {
    let left = tables.nodes.iter().filter(|node| node.state == NodeState::Left);
    let left = left.map(|node| node.info.id).filter(|id| !cluster.ended_by_restore(*id));
    let left: BTreeSet<NodeId> = left.collect();
    for record in &tables.history {
        attempts(record.id, &record.attempts, None, &left, history, verdict);
    }
    for row in &tables.live {
        attempts(row.id, &row.attempts, Some(row.attempt), &left, history, verdict);
    }
}

/// Judges the attempts of an execution, and the number of the one that is still to end.
fn attempts(
    id: ExecutionId,
    attempts: &[Attempt],
    current: Option<u32>,
    left: &BTreeSet<NodeId>,
    history: &History,
    verdict: &mut Verdict,
) {
    for (at, attempt) in attempts.iter().enumerate() {
        let next = attempts.get(at + 1).map(|next| next.number).or(current);
        match attempt.outcome {
            AttemptOutcome::Lost if left.contains(&attempt.node) => {
                let text = format!(
                    "attempt {} of {id} was lost with node {}, which left in good order",
                    attempt.number, attempt.node
                );
                verdict.broke(Rule::LostAtStop, 1, text, || history.show(&[id]));
            }
            AttemptOutcome::Released if next.is_some_and(|next| next != attempt.number) => {
                let text =
                    format!("attempt {} of {id} was handed back and counted all the same", attempt.number);
                verdict.broke(Rule::StopCostAttempt, 1, text, || history.show(&[id]));
            }
            _ => {}
        }
    }
}
