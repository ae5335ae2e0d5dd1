//! The steps of a store as data: what is asked, and what is answered.

use punctual_core::execution::ExecutionWithJob;
use punctual_core::key::ExecutionId;
use punctual_core::node::NodeInfo;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, Claimed, ClaimedReady, Due, Enqueue,
    Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby,
};
use punctual_core::{JobStore, NodeId, Result};

/// A step with all that it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Apply(Vec<Change>),
    Enqueue(Vec<Enqueue>),
    Cancel(Vec<ExecutionId>),
    Join(NodeInfo),
    CheckIn(NodeId),
    TakeOver(NodeId, i64),
    Leave(NodeId),
    SetStandby(NodeId, Standby),
    RaiseEpoch(u32),
    Orphans(NodeId, u32),
    ReadDue(ReadDue),
    Claim(Claim),
    ClaimReady(ClaimReady),
    Begin(Vec<ClaimRef>),
    Settle(Vec<SettlePlan>),
    WakeWaiting(u32),
    Prune(Prune),
}

/// What a store answers to a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Applied(Applied),
    Cancelled(Cancelled),
    CheckedIn(CheckedIn),
    TakenOver(bool),
    Left,
    Gate(Option<i64>),
    Epoch(u32),
    Orphans(Vec<Readable<ExecutionWithJob>>),
    Due(Due),
    Claimed(Claimed),
    Ready(ClaimedReady),
    Settled(Vec<SettleOutcome>),
    Woken(u32),
    Pruned(Pruned),
}

impl Step {
    /// Does it, and answers what the store answered.
    pub(crate) async fn run(&self, store: &dyn JobStore) -> Result<Answer> {
        Ok(match self.clone() {
            Self::Apply(changes) => Answer::Applied(store.apply(changes).await?),
            Self::Enqueue(work) => Answer::Applied(store.enqueue(work).await?),
            Self::Cancel(ids) => Answer::Cancelled(store.cancel(ids, "somebody said so".to_owned()).await?),
            Self::Join(info) => Answer::CheckedIn(store.join(info).await?),
            Self::CheckIn(node) => Answer::CheckedIn(store.check_in(node).await?),
            Self::TakeOver(node, beat) => Answer::TakenOver(store.take_over(node, beat).await?),
            Self::Leave(node) => {
                store.leave(node).await?;
                Answer::Left
            }
            Self::SetStandby(node, standby) => Answer::Gate(store.set_standby(node, standby).await?),
            Self::RaiseEpoch(to) => Answer::Epoch(store.raise_epoch(to).await?),
            Self::Orphans(node, limit) => Answer::Orphans(store.orphans(node, limit).await?),
            Self::ReadDue(request) => Answer::Due(store.read_due(request).await?),
            Self::Claim(claim) => Answer::Claimed(store.claim(claim).await?),
            Self::ClaimReady(claim) => Answer::Ready(store.claim_ready(claim).await?),
            Self::Begin(claims) => Answer::Settled(store.begin(claims).await?),
            Self::Settle(plans) => Answer::Settled(store.settle(plans).await?),
            Self::WakeWaiting(limit) => Answer::Woken(store.wake_waiting(limit).await?),
            Self::Prune(request) => Answer::Pruned(store.prune(request).await?),
        })
    }
}
