//! The store behind the network: each step is done at one moment, perhaps with a mistake that is to be found, and the
//! witness sees what came of it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use punctual_checker::FaultEvent;
use punctual_core::check::Check;
use punctual_core::event::{Event, Stamped};
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::protocol::finish;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimOutcome, ClaimReady, ClaimRef, Claimed, ClaimedReady,
    Due, Enqueue, Expect, Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Settlement, Standby,
    StoreFeatures, Wake,
};
use punctual_core::trigger::TriggerState;
use punctual_core::{BootInstant, ExecutionId, Fence, Inspect, JobStore, NodeId, Result, Timestamp};

use super::clock::StoreClock;
use super::mutant::Mutant;
use super::world::{Host, World};

/// How many check-ins are made ahead, by the mistake that counts a lease from too late.
const AHEAD: u32 = 2;

/// The store of one process, with the witness behind it.
pub(crate) struct Court {
    world: Arc<World>,
    host: Host,
    /// The number of the process, which the store is to show as its id.
    pid: u32,
    store: Arc<dyn JobStore>,
    clock: Arc<StoreClock>,
    mutant: Option<Mutant>,
    /// What the last check-in showed as owned.
    owned: Mutex<BTreeSet<(ExecutionId, Fence)>>,
    /// Answers to check-ins that were made before they were asked for.
    ahead: Mutex<Vec<(NodeId, CheckedIn)>>,
}

impl Court {
    pub(crate) const fn new(
        world: Arc<World>,
        host: Host,
        pid: u32,
        store: Arc<dyn JobStore>,
        clock: Arc<StoreClock>,
        mutant: Option<Mutant>,
    ) -> Self {
        let owned = Mutex::new(BTreeSet::new());
        Self { world, host, pid, store, clock, mutant, owned, ahead: Mutex::new(Vec::new()) }
    }

    fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The answer to a check-in of a node that was made before it was asked for, if there is one.
    fn made_ahead(&self, node: NodeId) -> Option<CheckedIn> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        ahead.pop_if(|(of, _)| *of == node).map(|(_, reply)| reply)
    }

    /// Spoils what a node learns of the others.
    async fn spoilt(&self, mut reply: CheckedIn, node: NodeId) -> Result<CheckedIn> {
        let own = reply.nodes.iter().find(|other| other.info.id == node).map(|own| own.info.profile);
        match self.mutant {
            Some(Mutant::M5) => reply.gone_owners.clear(),
            Some(Mutant::M10) => {
                // Every second beat is shown before it comes; then the guard of a take-over holds, and the time does not.
                let others = reply.nodes.iter_mut().filter(|other| other.info.id != node);
                others.for_each(|other| other.beat += other.beat & 1);
            }
            Some(Mutant::M11) => {
                reply.nodes.iter_mut().for_each(|other| other.info.profile.take = other.info.profile.hold);
            }
            Some(Mutant::M16) => reply.owned.clear(),
            Some(Mutant::M17) => {
                let owned: BTreeSet<_> = reply.owned.iter().map(|owned| (owned.id, owned.fence)).collect();
                let before = std::mem::replace(
                    &mut *self.owned.lock().unwrap_or_else(PoisonError::into_inner),
                    owned.clone(),
                );
                for (id, fence) in owned.intersection(&before).copied() {
                    let Some(row) = self.store.inspect().execution(id).await? else { continue };
                    let plan = finish::hand_back(ClaimRef { id, owner: node, fence }, &row);
                    let outcomes = self.store.settle(vec![plan.clone()]).await?;
                    self.see_settled(&[plan], &outcomes);
                }
            }
            Some(Mutant::M30) => {
                for other in &mut reply.nodes {
                    other.info.profile = own.unwrap_or(other.info.profile);
                }
            }
            _ => {}
        }
        Ok(reply)
    }

    /// Spoils what a claim compares.
    async fn spoil_claim(&self, request: &mut Claim) -> Result<()> {
        if self.has(Mutant::M29) {
            request.gate = self.gate(request.node, request.gate).await?;
        }
        for plan in &mut request.plans {
            if self.has(Mutant::M14) {
                plan.slot = None;
            }
            let key = plan.executions.iter().find_map(|new| new.occurrence.as_ref()).map(|of| of.key.clone());
            let (Some(key), true) = (key, self.has(Mutant::M4) || self.has(Mutant::M28)) else { continue };
            let Some(trigger) = self.store.inspect().trigger(&key).await?.trigger else { continue };
            if trigger.id != plan.trigger || trigger.state != TriggerState::Active {
                continue;
            }
            let is_due = trigger.wake <= Some(self.store.now().await?);
            if self.has(Mutant::M4) && is_due {
                (plan.rev, plan.fire_seq) = (trigger.rev, trigger.fire_seq);
            } else if self.has(Mutant::M28) && trigger.fire_seq == plan.fire_seq {
                plan.rev = trigger.rev;
            }
        }
        Ok(())
    }

    async fn gate(&self, node: NodeId, seen: i64) -> Result<i64> {
        let nodes = self.store.inspect().nodes().await?;
        Ok(nodes.iter().find(|other| other.info.id == node).map_or(seen, |node| node.gate))
    }

    /// Spoils what an end compares.
    async fn spoil_settle(&self, plans: &mut [SettlePlan]) -> Result<()> {
        for plan in plans {
            let back = matches!(plan.then, Settlement::Back(_));
            if !(self.has(Mutant::M1) || self.has(Mutant::M15) && back) {
                continue;
            }
            let Some(row) = self.store.inspect().execution(plan.claim.id).await? else { continue };
            match row.owner {
                Some(owner) if self.has(Mutant::M15) => {
                    (plan.claim.owner, plan.claim.fence) = (owner, row.fence)
                }
                Some(owner) if owner == plan.claim.owner => plan.claim.fence = row.fence,
                _ => {}
            }
        }
        Ok(())
    }

    fn see_settled(&self, plans: &[SettlePlan], outcomes: &[SettleOutcome]) {
        let now = self.world.now();
        let mut witness = self.world.witness();
        for (plan, outcome) in plans.iter().zip(outcomes) {
            witness.settled(self.host, plan, *outcome, now);
        }
    }
}

impl fmt::Debug for Court {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Court").field("host", &self.host).finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl JobStore for Court {
    fn features(&self) -> StoreFeatures {
        self.store.features()
    }

    fn inspect(&self) -> &dyn Inspect {
        self.store.inspect()
    }

    fn wake(&self) -> Option<&dyn Wake> {
        self.store.wake()
    }

    fn checks(&self) -> Option<&dyn Check> {
        self.store.checks()
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.now().await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        let mut edited = Vec::new();
        for change in &changes {
            match change {
                Change::PutTrigger { expect, trigger } => {
                    let rev = match expect {
                        Expect::Absent { .. } => 1,
                        Expect::Rev(rev) => rev + 1,
                    };
                    edited.push((trigger.id, Some((trigger.key.clone(), rev, trigger.generation))));
                }
                Change::DeleteTrigger { id, .. } => edited.push((*id, None)),
                _ => {}
            }
        }
        let applied = self.store.apply(changes).await?;
        if applied == Applied::All {
            let (at, boot_us) = (self.clock.latest(), BootInstant::from_micros(self.world.now()));
            for (id, written) in edited {
                let numbers = written.as_ref().map(|(_, rev, generation)| (*rev, *generation));
                let is_new = self.world.witness().edited(id, numbers);
                if let (true, Some((trigger, _, generation))) = (is_new, written) {
                    let event = FaultEvent::Rescheduled { trigger, trigger_id: id, generation, at, boot_us };
                    self.world.write(|log| log.fault(&event));
                }
            }
        }
        Ok(applied)
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.store.enqueue(work).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        let cancelled = self.store.cancel(ids.clone(), why).await?;
        self.world.witness().cancelled(&ids);
        Ok(cancelled)
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        let info = NodeInfo { pid: self.pid, ..info };
        let reply = self.store.join(info.clone()).await?;
        self.world.witness().joined(self.host, &info, self.world.now());
        self.spoilt(reply, info.id).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        if let Some(reply) = self.made_ahead(node) {
            return Ok(CheckedIn { now: self.store.now().await?, ..reply });
        }
        let reply = self.store.check_in(node).await?;
        self.world.witness().checked_in(node, self.world.now());
        if self.has(Mutant::M9) {
            // The beats of the next check-ins are committed now; the node will count its lease from when it asks for them.
            let mut ahead = Vec::new();
            for _ in 0..AHEAD {
                ahead.push((node, self.store.check_in(node).await?));
            }
            ahead.reverse();
            *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
        }
        self.spoilt(reply, node).await
    }

    async fn take_over(&self, dead: NodeId, mut beat: i64) -> Result<bool> {
        if self.has(Mutant::M6) {
            let nodes = self.store.inspect().nodes().await?;
            beat = nodes.iter().find(|node| node.info.id == dead).map_or(beat, |node| node.beat);
        }
        let taken = self.store.take_over(dead, beat).await?;
        let now = self.world.now();
        let by = if taken { self.world.witness().taken_over(self.host, dead, now) } else { None };
        if let Some(node) = by {
            // Whoever took over may die before it can tell, or may never hear that it has.
            let event = Event::TookOver { dead, name: String::new() };
            let stamped = Stamped { node, boot_us: BootInstant::from_micros(now), event };
            self.world.write(|log| log.node(&stamped));
        }
        Ok(taken)
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.store.leave(node).await?;
        self.world.witness().left(node);
        // It may die before it can tell: then nobody has to take it over.
        let boot_us = BootInstant::from_micros(self.world.now());
        self.world.write(|log| log.fault(&FaultEvent::Exit { pid: self.pid, boot_us }));
        Ok(())
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        let gate = self.store.set_standby(node, standby).await?;
        if gate.is_some() {
            self.world.witness().commanded(node, standby);
        }
        Ok(gate)
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        self.store.raise_epoch(to).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        self.store.orphans(owner, limit).await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        let node = request.node;
        let position = self.world.witness().turn();
        let due = self.store.read_due(request).await?;
        self.world.witness().read(node, position);
        Ok(due)
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        let mut sent = request.clone();
        self.spoil_claim(&mut sent).await?;
        let claimed = self.store.claim(sent).await?;
        // The clock may have been set back since the claim was planned: what it has shown, it has shown.
        let now = (self.clock.latest(), self.world.now());
        let mut witness = self.world.witness();
        for (plan, outcome) in request.plans.iter().zip(&claimed.outcomes) {
            if let ClaimOutcome::Fired(fences) = outcome {
                witness.fired(request.node, plan, fences, now);
            }
        }
        drop(witness);
        Ok(claimed)
    }

    async fn claim_ready(&self, mut request: ClaimReady) -> Result<ClaimedReady> {
        let node = request.node;
        if self.has(Mutant::M29) {
            request.gate = self.gate(node, request.gate).await?;
        }
        let claimed = self.store.claim_ready(request).await?;
        let mut witness = self.world.witness();
        for work in &claimed.work {
            if let Readable::Row(row) = work {
                witness.claimed_ready(node, &row.execution, self.world.now());
            }
        }
        drop(witness);
        Ok(claimed)
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        if self.has(Mutant::M19) {
            return Ok(vec![SettleOutcome::Done; claims.len()]);
        }
        self.store.begin(claims).await
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        let mut sent = plans.clone();
        self.spoil_settle(&mut sent).await?;
        let outcomes = self.store.settle(sent).await?;
        self.see_settled(&plans, &outcomes);
        Ok(outcomes)
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        self.store.wake_waiting(limit).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.store.prune(request).await
    }
}
