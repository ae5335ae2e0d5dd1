//! A store whose nodes do not see something: one another's beats, so that they take over whoever has spoken meanwhile; or
//! that their own beat went back, so that they go on though the store was put back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use punctual::JobStore;
use punctual::core::check::Check;
use punctual::core::execution::ExecutionWithJob;
use punctual::core::inspect::Inspect;
use punctual::core::node::NodeInfo;
use punctual::core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, Claimed, ClaimedReady, Due, Enqueue,
    Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby, StoreFeatures, Wake,
};
use punctual::core::{ExecutionId, NodeId, Result, Timestamp};

/// See the module.
#[derive(Debug)]
pub(crate) struct Blind {
    inner: Arc<dyn JobStore>,
    to: What,
    /// The beat that each other node had when it was first seen, or that each node was last told of itself.
    beats: Mutex<BTreeMap<NodeId, i64>>,
}

/// What nodes do not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The beats of others.
    Beats,
    /// That their own goes back.
    Rollback,
}

impl Blind {
    pub(crate) fn new(inner: Arc<dyn JobStore>, to: What) -> Self {
        Self { inner, to, beats: Mutex::default() }
    }
}

#[async_trait]
impl JobStore for Blind {
    fn features(&self) -> StoreFeatures {
        self.inner.features()
    }

    fn inspect(&self) -> &dyn Inspect {
        self.inner.inspect()
    }

    fn wake(&self) -> Option<&dyn Wake> {
        self.inner.wake()
    }

    fn checks(&self) -> Option<&dyn Check> {
        self.inner.checks()
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
        let mut seen = self.inner.check_in(node).await?;
        let mut beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        if self.to == What::Rollback {
            let last = beats.entry(node).or_default();
            (seen.beat, *last) = (seen.beat.max(*last + 1), seen.beat.max(*last + 1));
            return Ok(seen);
        }
        for other in seen.nodes.iter_mut().filter(|other| other.info.id != node) {
            other.beat = *beats.entry(other.info.id).or_insert(other.beat);
        }
        Ok(seen)
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        if self.to == What::Rollback {
            return self.inner.take_over(dead, beat).await;
        }
        let nodes = self.inner.inspect().nodes().await?;
        let now = nodes.iter().find(|node| node.info.id == dead).map_or(beat, |node| node.beat);
        self.inner.take_over(dead, now).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.inner.leave(node).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        self.inner.set_standby(node, standby).await
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        self.inner.raise_epoch(to).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        self.inner.orphans(owner, limit).await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        self.inner.read_due(request).await
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        self.inner.claim(request).await
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        self.inner.claim_ready(request).await
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        self.inner.begin(claims).await
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        self.inner.settle(plans).await
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        self.inner.wake_waiting(limit).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.inner.prune(request).await
    }
}
