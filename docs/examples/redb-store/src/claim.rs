//! `claim` and `claim_ready`: from plans and ready rows to claimed ones.

use std::collections::BTreeSet;
use std::time::Duration;

use punctual_core::execution::{ExecutionState, ExecutionWithJob, NewExecution};
use punctual_core::protocol::fire::set_aside;
use punctual_core::record::{Coded, ExecutionRow, after};
use punctual_core::store::{
    Claim, ClaimOutcome, ClaimReady, Claimed, ClaimedReady, FirePlan, Poison, PoisonRow, Readable, Standby,
    Within,
};
use punctual_core::{Fence, NodeId};
use redb::ReadableTable;

use crate::due::{Turn, count, kinds, priorities, rows, unreadable, vanished, with_job};
use crate::executions::number;
use crate::step::Step;
use crate::tables::{KeptExecution, load};
use crate::trouble::Tried;

impl Step<'_> {
    pub(crate) fn claim(&mut self, request: &Claim) -> Tried<Claimed> {
        let mut outcomes = vec![ClaimOutcome::Lost; request.plans.len()];
        let gate_open = self.open_gate(request.node, request.gate, request.within.as_ref())?;
        if gate_open {
            let mut plans: Vec<_> = request.plans.iter().zip(&mut outcomes).collect();
            plans.sort_by_key(|(plan, _)| plan.trigger);
            for (plan, outcome) in plans {
                *outcome = self.fire(plan, request.node)?;
            }
        }
        Ok(Claimed { now: self.now, gate_open, outcomes })
    }

    /// Whether the node may claim. A claim that is refused writes nothing.
    fn open_gate(&mut self, node: NodeId, gate: i64, within: Option<&Within>) -> Tried<bool> {
        let may = (gate, Standby::Off.code());
        let mut open = self.up(node)?.is_some_and(|node| (node.row.gate, node.row.standby) == may);
        if let Some(Within { lock, fence }) = within.filter(|_| open) {
            let highest = self.tables.lock_guard.get(&**lock)?.map_or(i64::MIN, |fence| fence.value());
            open = fence.get() >= highest;
            if open {
                self.tables.lock_guard.insert(&**lock, fence.get())?;
            }
        }
        if !open {
            self.forget();
        }
        Ok(open)
    }

    fn fire(&mut self, plan: &FirePlan, node: NodeId) -> Tried<ClaimOutcome> {
        let Some(old) = self.trigger(plan.trigger.get())? else { return self.set_unreadable_aside(plan) };
        let is_due = old.row.wake_us.is_some_and(|wake| wake <= self.now_us());
        if (old.row.rev, old.row.fire_seq) != (plan.rev, plan.fire_seq) || !old.is_active() || !is_due {
            return Ok(ClaimOutcome::Lost);
        }

        if let Some(reason) = self.repeats(plan)? {
            // The last line of defence: whoever made this plan was mistaken, and so might be the next one.
            let row = PoisonRow::Trigger { id: plan.trigger, rev: plan.rev, fire_seq: plan.fire_seq };
            if let Some(aside) = set_aside(&Poison { row, reason }) {
                self.patch(&old, &aside.then)?;
            }
            return Ok(ClaimOutcome::Lost);
        }
        let mut slot = None;
        if let (Some(of), Some(first)) = (&plan.slot, plan.executions.iter().find(|new| new.slot.is_some())) {
            slot = self.take_slot(&of.key, of.limit, number(first.id), 0)?;
            if slot.is_none() {
                self.patch(&old, &plan.busy)?;
                return Ok(ClaimOutcome::Busy);
            }
        }
        let mut fences = Vec::new();
        for new in &plan.executions {
            let fence = slot.filter(|_| new.slot.is_some()).unwrap_or(Fence::NONE.next());
            let row = ExecutionRow::claimed(new, self.now, node, fence)?;
            self.put_execution(None, &KeptExecution::new(row))?;
            fences.push(fence);
        }
        self.patch(&old, &plan.then)?;
        Ok(ClaimOutcome::Fired(fences))
    }

    /// Why a plan must not be applied though its trigger is as it was read: an instant has a row already.
    fn repeats(&self, plan: &FirePlan) -> Tried<Option<String>> {
        let mut new: Vec<&NewExecution> = Vec::new();
        for execution in &plan.executions {
            let instant = |new: &NewExecution| {
                let of = new.occurrence.as_ref()?;
                Some((of.trigger_id.get(), of.generation, new.scheduled.as_micros()))
            };
            let within =
                new.iter().any(|other| other.id == execution.id || instant(other) == instant(execution));
            let stored = match instant(execution) {
                Some(instant) => {
                    self.tables.live_instant.get(instant)?.is_some()
                        || self.tables.past_instant.get(instant)?.is_some()
                }
                None => false,
            };
            if within || stored || self.is_known(number(execution.id))? {
                return Ok(Some(format!("instant {} has an execution already", execution.scheduled)));
            }
            new.push(execution);
        }
        Ok(None)
    }

    /// A trigger whose value is no row has no guards and no place that could be worked out: it leaves the list of due
    /// ones, and its value stays for whoever repairs it. That list is walked as a whole, for once.
    fn set_unreadable_aside(&mut self, plan: &FirePlan) -> Tried<ClaimOutcome> {
        let is_there = self.tables.trigger.get(plan.trigger.get())?.is_some();
        if !is_there || (plan.rev, plan.fire_seq) != (0, 0) || !plan.executions.is_empty() {
            return Ok(ClaimOutcome::Lost);
        }
        self.tables.due.retain(|(_, _, _, id), _| id != plan.trigger.get())?;
        Ok(ClaimOutcome::Fired(Vec::new()))
    }

    pub(crate) fn claim_ready(&mut self, request: &ClaimReady) -> Tried<ClaimedReady> {
        let gate_open = self.open_gate(request.node, request.gate, request.within.as_ref())?;
        let (mut work, mut seen) = (Vec::new(), BTreeSet::new());
        while gate_open && work.len() < count(request.limit) {
            let mut found = self.ready_rows(request, count(request.limit) - work.len())?;
            // Each of them leaves the list, claimed or parked, so this comes to an end. Only at the end of time is there no
            // later instant to park at, and a row stays where it was.
            found.retain(|(_, (_, _, id))| seen.insert(*id));
            if found.is_empty() {
                break;
            }
            for (kind, place) in found {
                work.extend(self.claim_row(request, kind, place)?);
            }
        }
        Ok(ClaimedReady { now: self.now, gate_open, work })
    }

    /// The best ready rows of the kinds, each with its kind.
    fn ready_rows<'r>(&self, request: &'r ClaimReady, room: usize) -> Tried<Vec<(&'r str, Turn)>> {
        let mut found = Vec::new();
        for kind in kinds(&request.kinds) {
            let mut of_kind = Vec::new();
            for priority in priorities(&self.tables.ready, kind)? {
                let due = (i64::MIN, self.now_us());
                of_kind.extend(rows(&self.tables.ready, kind, priority, due, room - of_kind.len())?);
                if of_kind.len() == room {
                    break;
                }
            }
            found.extend(of_kind.into_iter().map(|place| (kind, place)));
        }
        found.sort_by_key(|(_, place)| *place);
        found.truncate(room);
        Ok(found)
    }

    /// Claims a ready row, or parks it and answers nothing.
    fn claim_row(
        &mut self,
        request: &ClaimReady,
        kind: &str,
        (priority, wake, id): Turn,
    ) -> Tried<Option<Readable<ExecutionWithJob>>> {
        let old: KeptExecution =
            match load(&self.tables.execution, id).and_then(|kept| kept.ok_or_else(vanished)) {
                Ok(old) => old,
                // The value is no row. It leaves the list, stays for whoever repairs it, and the node is told.
                Err(trouble) => {
                    self.tables.ready.remove((kind, priority, wake, id))?;
                    return Ok(Some(unreadable(id, request.node, trouble.unreadable()?)));
                }
            };
        let mut new = old.clone();
        let fence = match &old.row.slot_key {
            Some(key) => self.take_slot(key, old.slot_limit(), id, old.row.fence)?,
            None => Some(Fence::from_stored(old.row.fence).next()),
        };
        let Some(fence) = fence else {
            // At least one step of the clock, so that the row is out of the way in any case.
            new.row.wake_us = after(self.now, request.park.max(Duration::from_micros(1)));
            self.put_execution(Some(&old), &new)?;
            return Ok(None);
        };
        new.row.state = ExecutionState::Claimed.code();
        (new.row.owner, new.row.fence) = (Some(request.node.get()), fence.get());
        self.put_execution(Some(&old), &new)?;
        with_job(&self.tables.job, &self.tables.trigger, new.row).map(Some)
    }
}
