//! Deliberately broken stores: each must be rejected by the case that was made for it.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::inspect::{Inspect, Page};
use punctual_core::key::{ExecutionId, NodeId};
use punctual_core::node::NodeInfo;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, Claimed, ClaimedReady, Due, Enqueue,
    Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby, StoreFeatures, Wake,
};
use punctual_core::{JobStore, Result, Timestamp};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A claim does not compare the trigger's revision: an edit in between is lost.
    ClaimIgnoresTheRevision,
    /// An end does not compare the fence: a node that was declared dead completes what another runs.
    SettleIgnoresTheFence,
    /// Due triggers come in any order: late ones starve.
    ReadForgetsTheOrder,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 3] =
        [Self::ClaimIgnoresTheRevision, Self::SettleIgnoresTheFence, Self::ReadForgetsTheOrder];

    /// The case that must reject a store with this fault.
    pub const fn caught_by(self) -> &'static str {
        match self {
            Self::ClaimIgnoresTheRevision => "claim::an_edit_in_between_survives",
            Self::SettleIgnoresTheFence => "recover::a_late_completion_after_recovery_is_fenced",
            Self::ReadForgetsTheOrder => "due::comes_in_the_order_of_wake_times",
        }
    }
}

/// A store with a fault, around a sound one.
#[derive(Debug)]
pub struct Broken {
    inner: Arc<dyn JobStore>,
    fault: Fault,
}

impl Broken {
    /// Breaks a store.
    pub fn new(inner: Arc<dyn JobStore>, fault: Fault) -> Self {
        Self { inner, fault }
    }

    /// Fills in what the trigger shows now, as a claim without comparison would.
    async fn renew(&self, claim: &mut Claim) -> Result<()> {
        let triggers = self.inner.inspect().triggers(Page::first(u32::MAX)).await?;
        for plan in &mut claim.plans {
            if let Some(trigger) = triggers.iter().find(|trigger| trigger.id == plan.trigger) {
                (plan.rev, plan.fire_seq) = (trigger.rev, trigger.fire_seq);
            }
        }
        Ok(())
    }

    /// Fills in the owner and fence that the row shows now.
    async fn adopt(&self, claim: &mut ClaimRef) -> Result<()> {
        if let Some(row) = self.inner.inspect().execution(claim.id).await?
            && let Some(owner) = row.owner
        {
            (claim.owner, claim.fence) = (owner, row.fence);
        }
        Ok(())
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl JobStore for Broken {
    fn features(&self) -> StoreFeatures {
        self.inner.features()
    }

    fn inspect(&self) -> &dyn Inspect {
        self.inner.inspect()
    }

    fn wake(&self) -> Option<&dyn Wake> {
        self.inner.wake()
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        self.inner.apply(changes).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.inner.enqueue(work).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        self.inner.cancel(ids, why).await
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        self.inner.join(info).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        self.inner.check_in(node).await
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        self.inner.take_over(dead, beat).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.inner.leave(node).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        self.inner.set_standby(node, standby).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        self.inner.orphans(owner, limit).await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        let mut due = self.inner.read_due(request).await?;
        if self.fault == Fault::ReadForgetsTheOrder {
            due.triggers.reverse();
        }
        Ok(due)
    }

    async fn claim(&self, mut request: Claim) -> Result<Claimed> {
        if self.fault == Fault::ClaimIgnoresTheRevision {
            self.renew(&mut request).await?;
        }
        self.inner.claim(request).await
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        self.inner.claim_ready(request).await
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        self.inner.begin(claims).await
    }

    async fn settle(&self, mut plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        if self.fault == Fault::SettleIgnoresTheFence {
            for plan in &mut plans {
                self.adopt(&mut plan.claim).await?;
            }
        }
        self.inner.settle(plans).await
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        self.inner.wake_waiting(limit).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.inner.prune(request).await
    }
}
