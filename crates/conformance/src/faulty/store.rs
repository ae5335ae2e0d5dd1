//! A store with a fault, around a sound one. What a fault needs to know is read through the store's own listings.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::check::Check;
use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{ExecutionState, ExecutionWithJob};
use punctual_core::inspect::{ExecutionFilter, Inspect, Page};
use punctual_core::key::{ExecutionId, Fence, NodeId};
use punctual_core::node::{NodeInfo, NodeRecord, NodeState};
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimOutcome, ClaimReady, ClaimRef, Claimed, ClaimedReady,
    Due, Enqueue, Expect, FirePlan, PARK, Prune, Pruned, ReadDue, Readable, ReadyPlace, SettleOutcome,
    SettlePlan, Settlement, Standby, Standing, StoreFeatures, Wake,
};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{JobStore, Result, Timestamp};

use super::Fault::{self, *};

/// A store with a fault, around a sound one.
#[derive(Debug)]
pub struct Broken {
    inner: Arc<dyn JobStore>,
    fault: Fault,
    entropy: SeededEntropy,
    /// The time at which the store was opened, for those who never ask again.
    opened: Timestamp,
}

impl Broken {
    /// Breaks a store.
    ///
    /// # Errors
    /// Those of [`JobStore::now`].
    pub async fn open(inner: Arc<dyn JobStore>, fault: Fault) -> Result<Self> {
        let opened = inner.now().await?;
        Ok(Self { inner, fault, entropy: SeededEntropy::new(7), opened })
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    async fn triggers(&self) -> Result<Vec<TriggerRecord>> {
        self.inner.inspect().triggers(Page::first(u32::MAX)).await
    }

    async fn member(&self, node: NodeId) -> Result<Option<NodeRecord>> {
        let nodes = self.inner.inspect().nodes().await?;
        Ok(nodes.into_iter().find(|record| record.info.id == node))
    }

    async fn gate_of(&self, node: NodeId) -> Result<i64> {
        Ok(self.member(node).await?.map_or(0, |record| record.gate))
    }

    /// Fills in what the triggers show now, as a claim without comparison would.
    async fn renew(&self, claim: &mut Claim) -> Result<()> {
        let triggers = self.triggers().await?;
        for plan in &mut claim.plans {
            if let Some(trigger) = triggers.iter().find(|trigger| trigger.id == plan.trigger) {
                if !self.has(ClaimIgnoresTheFiringCounter) {
                    plan.rev = trigger.rev;
                }
                plan.fire_seq = trigger.fire_seq;
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

    /// Whether an id is in use.
    async fn knows(&self, id: ExecutionId) -> Result<bool> {
        let inspect = self.inner.inspect();
        Ok(inspect.execution(id).await?.is_some() || inspect.record(id).await?.is_some())
    }

    /// The trigger of a deletion without its last instant.
    async fn forget_last(&self, changes: &mut [Change]) -> Result<()> {
        for change in changes {
            let Change::DeleteTrigger { id, rev, .. } = change else { continue };
            let stored =
                self.triggers().await?.into_iter().find(|trigger| trigger.id == *id && trigger.rev == *rev);
            if let Some(trigger) = stored {
                let forgetful = TriggerRecord { last: None, ..trigger };
                let put = Change::PutTrigger { expect: Expect::Rev(*rev), trigger: forgetful };
                if self.inner.apply(vec![put]).await? == Applied::All {
                    *rev += 1;
                }
            }
        }
        Ok(())
    }

    /// Parks those triggers again that a step has woken.
    async fn park_again(&self, before: Vec<TriggerRecord>) -> Result<()> {
        let now = self.inner.now().await?;
        for trigger in self.triggers().await? {
            let old = before.iter().find(|old| old.id == trigger.id);
            if old.is_some_and(|old| old.wake > trigger.wake) {
                let expect = Expect::Rev(trigger.rev);
                let trigger = TriggerRecord { wake: Some(now.plus(PARK)), ..trigger };
                let _lost = self.inner.apply(vec![Change::PutTrigger { expect, trigger }]).await?;
            }
        }
        Ok(())
    }

    async fn claim_one_by_one(&self, mut request: Claim) -> Result<Claimed> {
        let plans = std::mem::take(&mut request.plans);
        let mut claimed = self.inner.claim(request.clone()).await?;
        for plan in plans {
            let one = self.inner.claim(Claim { plans: vec![plan], ..request.clone() }).await?;
            claimed.outcomes.extend(one.outcomes);
            claimed.gate_open &= one.gate_open;
        }
        Ok(claimed)
    }

    /// Gives a row back to the owner that it just lost.
    async fn keep_owner(&self, claim: ClaimRef) -> Result<()> {
        if let Some(row) = self.inner.inspect().execution(claim.id).await? {
            let gate = self.gate_of(claim.owner).await?;
            let request = ClaimReady::of(claim.owner, gate, [row.kind].into(), 1);
            self.inner.claim_ready(request).await?;
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

    fn checks(&self) -> Option<&dyn Check> {
        self.inner.checks()
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn apply(&self, mut changes: Vec<Change>) -> Result<Applied> {
        if self.has(DeletionForgetsTheMark) {
            self.forget_last(&mut changes).await?;
        }
        if !self.has(ApplyIsNotAtomic) && !self.has(AppliesOneByOne) {
            return self.inner.apply(changes).await;
        }
        for (at, change) in changes.into_iter().enumerate() {
            if self.inner.apply(vec![change]).await? != Applied::All {
                return Ok(Applied::Lost { at });
            }
        }
        Ok(Applied::All)
    }

    async fn enqueue(&self, mut work: Vec<Enqueue>) -> Result<Applied> {
        for one in &mut work {
            if self.has(EnqueueIsNotIdempotent) && self.knows(one.execution.id).await? {
                one.execution.id = ExecutionId::draw(self.opened, &self.entropy);
            }
            if self.has(DelaysGoByTheClient)
                && let Some(delay) = one.delay.take()
            {
                one.execution.scheduled = self.opened.plus(delay);
            }
        }
        self.inner.enqueue(work).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        let mut kept = Vec::new();
        for id in ids {
            let row = self.inner.inspect().execution(id).await?;
            let owned = row.is_some_and(|row| row.owner.is_some());
            if !(owned && self.has(CancelForgetsOwnedRows)) {
                kept.push(id);
            }
        }
        self.inner.cancel(kept, why).await
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        self.inner.join(info).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        let mut seen = self.inner.check_in(node).await?;
        if self.has(CheckInRevivesTheDead) {
            seen.standing = Standing::Up;
        }
        if self.has(CheckInForgetsOwnedRows) {
            seen.owned.clear();
        }
        Ok(seen)
    }

    async fn take_over(&self, dead: NodeId, mut beat: i64) -> Result<bool> {
        if self.has(TakeOverIgnoresTheBeat) {
            beat = self.member(dead).await?.map_or(beat, |record| record.beat);
        }
        self.inner.take_over(dead, beat).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.inner.leave(node).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        let before = self.gate_of(node).await?;
        let gate = self.inner.set_standby(node, standby).await?;
        Ok(if self.has(StandbyLeavesTheGate) { gate.map(|_| before) } else { gate })
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        if self.has(RaisedEpochIsForgotten) {
            return Ok(to);
        }
        let nodes = self.inner.inspect().nodes().await?;
        let epoch = self.inner.raise_epoch(to).await?;
        if self.has(RaisingLeavesTheNodesUp) {
            // A node that is gone cannot come back under its own id; one that nobody has seen stands in for it.
            for node in nodes.into_iter().filter(|node| node.state == NodeState::Up) {
                let id = NodeId::draw(&self.entropy);
                self.inner.join(NodeInfo { id, ..node.info }).await?;
            }
        }
        Ok(epoch)
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        if !self.has(OrphansOfTheLiving) {
            return self.inner.orphans(owner, limit).await;
        }
        let filter = ExecutionFilter { owner: Some(owner), limit, ..ExecutionFilter::default() };
        let rows = self.inner.inspect().executions(filter).await?;
        let with_job = |row| match row {
            Readable::Row(execution) => {
                Readable::Row(ExecutionWithJob { execution, job: None, trigger_payload: None })
            }
            Readable::Poison(poison) => Readable::Poison(poison),
        };
        Ok(rows.into_iter().map(with_job).collect())
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        let mut due = self.inner.read_due(request).await?;
        match self.fault {
            ReadForgetsTheOrder => due.triggers.reverse(),
            ReadForgetsTheNextWake => due.next_wake = None,
            ReadLeavesPoisonOut => due.triggers.retain(|row| matches!(row, Readable::Row(_))),
            _ => {}
        }
        Ok(due)
    }

    async fn claim(&self, mut request: Claim) -> Result<Claimed> {
        match self.fault {
            ClaimIgnoresTheLock => request.within = None,
            ClaimIgnoresTheRevision | ClaimIgnoresTheFiringCounter => self.renew(&mut request).await?,
            ClaimComparesTooEarly => {
                let triggers = self.triggers().await?;
                let fits = |plan: &FirePlan| {
                    let same =
                        |trigger: &TriggerRecord| (trigger.id, trigger.rev) == (plan.trigger, plan.rev);
                    triggers.iter().any(same)
                };
                if request.plans.iter().all(fits) {
                    self.renew(&mut request).await?;
                }
            }
            ClaimIgnoresTheGate => request.gate = self.gate_of(request.node).await?,
            ClaimIgnoresTheSlot => {
                for plan in &mut request.plans {
                    plan.slot = None;
                    plan.executions.iter_mut().for_each(|execution| execution.slot = None);
                }
            }
            ClaimForgetsSkips => {
                for plan in &mut request.plans {
                    plan.then.skips.clear();
                    plan.busy.skips.clear();
                }
            }
            _ => {}
        }
        let again = request.clone();
        if self.has(ClaimsOneByOne) {
            return self.claim_one_by_one(request).await;
        }
        let claimed = self.inner.claim(request).await?;
        if self.has(ClaimMovesTheTriggerFirst) && claimed.outcomes.contains(&ClaimOutcome::Lost) {
            let mut moved = again;
            moved.plans.iter_mut().for_each(|plan| plan.executions.clear());
            self.renew(&mut moved).await?;
            self.inner.claim(moved).await?;
        }
        Ok(claimed)
    }

    async fn claim_ready(&self, mut request: ClaimReady) -> Result<ClaimedReady> {
        if self.has(ReadyClaimIgnoresTheGate) {
            request.gate = self.gate_of(request.node).await?;
        }
        if self.has(ReadyClaimPassesOverThePlace) {
            request.after = request
                .after
                .map(|place| ReadyPlace { wake: place.wake.plus(Duration::from_micros(1)), ..place });
        }
        let mut claimed = self.inner.claim_ready(request).await?;
        if self.has(ReadyClaimRepeatsTheFence) {
            for row in &mut claimed.work {
                if let Readable::Row(row) = row {
                    row.execution.fence = Fence::NONE.next();
                }
            }
        }
        Ok(claimed)
    }

    async fn begin(&self, mut claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        let outcomes = self.inner.begin(claims.clone()).await?;
        if !self.has(BeginIgnoresTheFence) {
            return Ok(outcomes);
        }
        let mut begun = Vec::new();
        for claim in &mut claims {
            let there = self.inner.inspect().execution(claim.id).await?.is_some();
            begun.push(if there { SettleOutcome::Done } else { SettleOutcome::Fenced });
        }
        Ok(begun)
    }

    async fn settle(&self, mut plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        let before = if self.has(FreeingWakesNobody) { self.triggers().await? } else { Vec::new() };
        for plan in &mut plans {
            if self.has(SettleIgnoresTheFence) {
                self.adopt(&mut plan.claim).await?;
            }
            if let Settlement::Back(back) = &mut plan.then
                && self.has(RecoveryForgetsTheAttempt)
                && back.state == ExecutionState::Ready
                && let Some(row) = self.inner.inspect().execution(plan.claim.id).await?
            {
                back.attempt = row.attempt;
            }
        }
        let backs = plans.iter().filter(|plan| matches!(plan.then, Settlement::Back(_)));
        let backs: Vec<ClaimRef> = backs.map(|plan| plan.claim).collect();
        if self.has(SettlesOneByOne) {
            let mut outcomes = Vec::new();
            for plan in plans {
                outcomes.extend(self.inner.settle(vec![plan]).await?);
            }
            return Ok(outcomes);
        }
        let mut outcomes = self.inner.settle(plans).await?;
        match self.fault {
            FreeingWakesNobody => self.park_again(before).await?,
            BackKeepsTheOwner => {
                for claim in backs {
                    self.keep_owner(claim).await?;
                }
            }
            SettleForgetsWhatItHasDone => {
                for outcome in outcomes.iter_mut().filter(|outcome| **outcome == SettleOutcome::AlreadyDone) {
                    *outcome = SettleOutcome::Fenced;
                }
            }
            _ => {}
        }
        Ok(outcomes)
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        if self.has(WakeWaitingWakesNobody) {
            return Ok(0);
        }
        self.inner.wake_waiting(limit).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        if self.has(PruneDeletesLiveRows) {
            let rows = self.inner.inspect().executions(ExecutionFilter::default()).await?;
            let id = |row: Readable<punctual_core::execution::Execution>| match row {
                Readable::Row(row) => Some(row.id),
                Readable::Poison(_) => None,
            };
            self.inner.cancel(rows.into_iter().filter_map(id).collect(), "old".to_owned()).await?;
        }
        self.inner.prune(request).await
    }
}
