//! The loop that hands results to the store: what arrives while one batch is under way makes the next batch.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::event::{Event, Work};
use punctual_core::execution::Outcome;
use punctual_core::store::{SettleOutcome, SettlePlan, Settlement};
use tokio::sync::mpsc;

use super::Node;

/// A result on its way to the store.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) plan: SettlePlan,
    pub(crate) work: Work,
}

/// Settles until every sender is gone. A result stays among the running attempts until the store has answered, so
/// that neither a reconciliation nor a shutdown takes it for forgotten.
pub(crate) async fn run(node: Arc<Node>, mut results: mpsc::Receiver<Results>) {
    let most = usize::try_from(node.store.features().max_batch).unwrap_or(1).max(1);
    let mut batch = Vec::new();
    while results.recv_many(&mut batch, most).await > 0 {
        settle(&node, std::mem::take(&mut batch)).await;
    }
}

async fn settle(node: &Node, mut batch: Vec<Results>) {
    let mut failures = 0_u32;
    while !batch.is_empty() {
        // After repeated failure the results go one by one, so that one that cannot be stored holds up no other.
        let take = if failures < 3 { batch.len() } else { 1 };
        let plans = batch.iter().take(take).map(|result| result.plan.clone()).collect();
        match node.store.settle(plans).await {
            Ok(outcomes) => {
                failures = if take == batch.len() { 0 } else { failures };
                for (result, outcome) in batch.drain(..take).zip(outcomes) {
                    done(node, result, outcome);
                }
            }
            Err(error) => {
                node.trouble(&error);
                failures = failures.saturating_add(1);
                batch.rotate_left(if failures > 3 { 1 } else { 0 });
                node.clock.sleep(node.jittered(Duration::from_millis(20) * 2_u32.pow(failures.min(6)))).await;
            }
        }
    }
}

fn done(node: &Node, result: Results, outcome: SettleOutcome) {
    let Results { plan, work } = result;
    let event = match outcome {
        SettleOutcome::Fenced => Event::Fenced { work },
        SettleOutcome::Done | SettleOutcome::AlreadyDone => {
            let outcome = match &plan.then {
                Settlement::End(record) => Some(record.outcome),
                Settlement::Forget => Some(Outcome::Succeeded),
                Settlement::Back(_) => None,
            };
            Event::Settled { work, outcome }
        }
    };
    node.journal.tell(plan.claim.owner, event);
    node.forget(plan.claim);
}
