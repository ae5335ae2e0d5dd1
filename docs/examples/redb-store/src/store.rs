//! The methods of the contract, each of which is one transaction.

use std::time::Duration;

use async_trait::async_trait;
use punctual_core::check::Check;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, ClaimShape, Claimed, ClaimedReady,
    Due, Enqueue, Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby, StoreFeatures, Wake,
};
use punctual_core::{BoxFuture, ExecutionId, Fence, Inspect, JobStore, NodeId, Result, Timestamp};

use crate::RedbStore;

#[async_trait]
impl JobStore for RedbStore {
    fn features(&self) -> StoreFeatures {
        StoreFeatures {
            name: "redb",
            // redb locks the file: a second process cannot even open it.
            shared: false,
            max_batch: 10_000,
            clock_step: Duration::from_micros(1),
            // Guards are compared in the transaction that writes, and no other writes meanwhile.
            claims: ClaimShape::Cas,
            lock_fences: true,
        }
    }

    fn inspect(&self) -> &dyn Inspect {
        self
    }

    fn wake(&self) -> Option<&dyn Wake> {
        Some(self)
    }

    fn checks(&self) -> Option<&dyn Check> {
        None
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.file.clock.wall())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        self.write("apply", move |step| step.apply(changes)).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.write("enqueue", move |step| step.enqueue(work)).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        self.write("cancel", move |step| step.cancel(&ids, &why)).await
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        self.write("join", move |step| step.join(&info)).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        self.write("check_in", move |step| step.check_in(node)).await
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        self.write("take_over", move |step| step.take_over(dead, beat)).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.write("leave", move |step| step.leave_cluster(node)).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        self.write("set_standby", move |step| step.set_standby(node, standby)).await
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        Fence::check_epoch("raise_epoch", to)?;
        self.write("raise_epoch", move |step| step.raise_epoch(to)).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        self.read("orphans", move |snapshot, _| snapshot.orphans(owner, limit)).await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        self.read("read_due", move |snapshot, clock| snapshot.read_due(&request, clock.wall())).await
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        self.write("claim", move |step| step.claim(&request)).await
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        self.write("claim_ready", move |step| step.claim_ready(&request)).await
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        self.write("begin", move |step| claims.into_iter().map(|claim| step.begin(claim)).collect()).await
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        self.write("settle", move |step| plans.iter().map(|plan| step.settle(plan)).collect()).await
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        self.write("wake_waiting", move |step| step.wake_waiting(limit)).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.write("prune", move |step| step.prune(request)).await
    }
}

impl Wake for RedbStore {
    fn changed(&self) -> BoxFuture<'_, ()> {
        self.wait_for_news()
    }
}
