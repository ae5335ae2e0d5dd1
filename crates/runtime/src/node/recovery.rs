//! Taking over from the dead, and settling what they have left behind.
//!
//! Whatever a dead node was doing may have left locks behind: those of this store end soon, but a process that stands
//! still may also hold a transaction of its user's, which only its database ends. So this is done beside the check-ins,
//! at most [`AT_ONCE`] nodes at a time: whoever waits for such a lock goes on beating, and takes over from others as long as
//! fewer than that keep it waiting.

use std::collections::BTreeMap;
use std::sync::Arc;

use punctual_core::event::Event;
use punctual_core::node::NodeState;
use punctual_core::protocol::membership::Suspect;
use punctual_core::protocol::{finish, recover};
use punctual_core::store::{ClaimRef, PoisonRow, Readable, SettleOutcome, SettlePlan, Settlement};
use punctual_core::{NodeId, Result};
use tokio::task::JoinHandle;

use super::Node;

/// How many rows of a dead node one step takes over.
const BATCH: u32 = 500;

/// From how many nodes one node takes over at a time, so that connections to the store are left for everything else.
const AT_ONCE: usize = 2;

/// How many rows in a row may be beyond reach until the rest is left to the next check-in.
const MOST_LOCKED: u32 = 3;

/// The take-overs of a node that are under way. Dropping it ends them where they are.
#[derive(Debug, Default)]
pub(crate) struct Recoveries(BTreeMap<NodeId, JoinHandle<()>>);

impl Recoveries {
    /// Takes over from a node that seems to be dead, if the store agrees. Does nothing if that is under way, or if enough
    /// is: the next check-in finds it again.
    pub(crate) fn take_over(&mut self, node: &Arc<Node>, suspect: Suspect, name: String) {
        let observer = Arc::clone(node);
        self.begin(node, suspect.node, async move {
            if observer.store.take_over(suspect.node, suspect.beat).await? {
                observer.tell(Event::TookOver { dead: suspect.node, name });
                recover_all(&observer, suspect.node).await?;
            }
            Ok(())
        });
    }

    /// Settles what a node that is not up has left behind, on the same terms.
    pub(crate) fn recover(&mut self, node: &Arc<Node>, owner: NodeId) {
        let observer = Arc::clone(node);
        self.begin(node, owner, async move { recover_all(&observer, owner).await });
    }

    fn begin(
        &mut self,
        node: &Arc<Node>,
        from: NodeId,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        self.0.retain(|_, task| !task.is_finished());
        if self.0.len() >= AT_ONCE || self.0.contains_key(&from) {
            return;
        }
        let observer = Arc::clone(node);
        let task = tokio::spawn(async move {
            if let Err(error) = work.await {
                observer.trouble(&error);
            }
        });
        self.0.insert(from, task);
    }
}

impl Drop for Recoveries {
    fn drop(&mut self) {
        self.0.values().for_each(JoinHandle::abort);
    }
}

/// Settles everything that a node which is not up has left behind.
async fn recover_all(node: &Node, owner: NodeId) -> Result<()> {
    let nodes = node.store.inspect().nodes().await?;
    let has_left = nodes.iter().any(|one| one.info.id == owner && one.state == NodeState::Left);
    loop {
        let rows = node.store.orphans(owner, BATCH).await?;
        let now = node.store_time();
        let plans: Vec<_> = rows
            .iter()
            .filter_map(|row| match row {
                Readable::Row(row) if has_left => Some(recover::hand_back(&row.execution, owner)),
                Readable::Row(row) => Some(recover::settle(&row.execution, &row.spec(), owner, now)),
                Readable::Poison(poison) => {
                    node.tell(Event::SetAside { reason: poison.reason.clone() });
                    match poison.row {
                        PoisonRow::Execution(claim) => Some(finish::hold(claim, &poison.reason)),
                        PoisonRow::Trigger { .. } => None,
                    }
                }
            })
            .collect();
        let full = rows.len() >= usize::try_from(BATCH).unwrap_or(usize::MAX);
        if plans.is_empty() {
            return Ok(());
        }
        let settled = settle(node, owner, &plans).await?;
        node.hint.notify_one();
        if !full || !settled {
            return Ok(());
        }
    }
}

/// Settles rows of a node, and answers whether any of them were. A row that somebody keeps locked holds up no other for
/// longer than a session waits for a lock.
async fn settle(node: &Node, owner: NodeId, plans: &[SettlePlan]) -> Result<bool> {
    let error = match node.store.settle(plans.to_vec()).await {
        Ok(outcomes) => return Ok(tell(node, owner, plans, &outcomes)),
        Err(error) => error,
    };
    if plans.len() < 2 || !error.kind().is_retryable() {
        return Err(error);
    }
    let (mut settled, mut locked) = (false, 0);
    for plan in plans {
        match node.store.settle(vec![plan.clone()]).await {
            Ok(outcomes) => {
                locked = 0;
                settled |= tell(node, owner, std::slice::from_ref(plan), &outcomes);
            }
            Err(error) if !error.kind().is_retryable() || locked == MOST_LOCKED => return Err(error),
            Err(_) => locked += 1,
        }
    }
    node.trouble(&error);
    Ok(settled)
}

/// Tells of the rows that were settled, and answers whether there were any. Of the others another node was faster, and
/// nothing was changed.
fn tell(node: &Node, owner: NodeId, plans: &[SettlePlan], outcomes: &[SettleOutcome]) -> bool {
    let mut settled = false;
    for (plan, _) in plans.iter().zip(outcomes).filter(|(_, outcome)| **outcome == SettleOutcome::Done) {
        settled = true;
        let outcome = match &plan.then {
            Settlement::End(record) => Some(record.outcome),
            // No recovery forgets: what was lost with its node has not succeeded.
            Settlement::Forget | Settlement::Back(_) => None,
        };
        let ClaimRef { id, fence, .. } = plan.claim;
        node.tell(Event::Recovered { from: owner, id, fence, outcome });
    }
    settled
}
