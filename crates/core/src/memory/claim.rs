//! Reading what is due, and claiming it: triggers by plans, ready rows by order.

use std::cmp::Reverse;
use std::sync::Arc;

use super::state::{Instant, Live, State};
use super::work::claimed_row;
use crate::execution::{ExecutionState, HistoryRecord, JobRef, NewExecution, Occurrence, Outcome, Skip};
use crate::job::JobRecord;
use crate::key::{ExecutionId, Fence, Kind, NodeId};
use crate::store::{
    Claim, ClaimOutcome, ClaimReady, Claimed, ClaimedReady, Due, DueTrigger, FirePlan, Poison, PoisonRow,
    ReadDue, Readable, ReadyPlace, TriggerPatch,
};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

impl State {
    pub(super) fn read_due(&self, now: Timestamp, request: &ReadDue) -> Due {
        let ReadDue { node, kinds, limit, slice, ahead: _, after } = request;
        let horizon = request.horizon(now);
        let known = |kind: &Kind| kinds.contains(kind);
        let gate = self.nodes.get(node).map_or(0, |member| member.record.gate);

        let in_reach = |wake: Timestamp, trigger: &TriggerRecord| {
            slice.is_none_or(|slice| (slice.from..slice.to).contains(&trigger.slice))
                || slice.is_some_and(|slice| now.since(wake) > slice.grace)
        };
        let (mut mine, mut next_wake) = (Vec::new(), None);
        for stored in self.definitions.triggers.values() {
            let trigger = &stored.record;
            let Some(wake) = trigger.wake.filter(|_| trigger.state == TriggerState::Active) else { continue };
            let job = self.definitions.jobs.get(&trigger.job_id).filter(|job| known(&job.kind));
            match job {
                Some(job) if wake <= horizon && in_reach(wake, trigger) => mine.push((wake, trigger, job)),
                Some(_) if wake > horizon => earliest(&mut next_wake, wake),
                _ => {}
            }
        }
        let mut ready = false;
        for live in self.live.values().filter(|live| is_ready(live, kinds, *after)) {
            if live.row.wake <= now {
                ready = true;
            } else {
                earliest(&mut next_wake, live.row.wake);
            }
        }
        mine.sort_by_key(|(wake, trigger, job)| {
            (*wake, Reverse(job.priority.saturating_add(trigger.priority)), trigger.id)
        });
        let row = |(_, trigger, job): (_, &TriggerRecord, &JobRecord)| {
            let calendar = match &trigger.spec.calendar {
                None => None,
                Some(name) => match self.definitions.calendars.get(name) {
                    Some(stored) => Some(Arc::clone(&stored.calendar)),
                    None => return Readable::Poison(without_calendar(trigger, name)),
                },
            };
            Readable::Row(DueTrigger { trigger: trigger.clone(), job: job.clone(), calendar })
        };
        Due {
            now,
            gate,
            triggers: mine.into_iter().take(at_most(*limit)).map(row).collect(),
            next_wake,
            ready,
        }
    }

    pub(super) fn claim(&mut self, now: Timestamp, request: Claim) -> Claimed {
        let Claim { node, gate, within, plans } = request;
        let gate_open = self.may_claim(node, gate, within.as_ref());
        let mut outcomes = vec![ClaimOutcome::Lost; plans.len()];
        if gate_open {
            let mut in_order: Vec<_> = plans.into_iter().zip(&mut outcomes).collect();
            in_order.sort_by_key(|(plan, _)| plan.trigger);
            for (plan, outcome) in in_order {
                *outcome = self.fire(now, node, plan);
            }
        }
        Claimed { now, gate_open, outcomes }
    }

    fn fire(&mut self, now: Timestamp, node: NodeId, plan: FirePlan) -> ClaimOutcome {
        let FirePlan { trigger, rev, fire_seq, executions, slot, then, busy } = plan;
        let Some(stored) = self.definitions.triggers.get(&trigger) else { return ClaimOutcome::Lost };
        let record = &stored.record;
        if (record.rev, record.fire_seq, record.state) != (rev, fire_seq, TriggerState::Active) {
            return ClaimOutcome::Lost;
        }
        if record.wake.is_none_or(|wake| wake > now) {
            return ClaimOutcome::Lost;
        }
        let record = record.clone();
        let holder =
            executions.iter().find(|execution| execution.slot.is_some()).or_else(|| executions.first());
        let slot = slot.zip(holder.map(|execution| execution.id));
        let is_busy =
            slot.as_ref().is_some_and(|(slot, holder)| self.slots.place_for(slot, *holder).is_none());
        let (inserted, skips) = if is_busy { (&[][..], &busy.skips) } else { (&executions[..], &then.skips) };
        if let Some(why) = self.repeated(&record, inserted, skips) {
            self.set_aside(now, &record, &why);
            return ClaimOutcome::Lost;
        }
        if is_busy {
            self.patch(now, &record, busy);
            return ClaimOutcome::Busy;
        }

        let holder = slot.as_ref().map(|(_, holder)| *holder);
        let slot_fence = slot.and_then(|(slot, holder)| self.slots.take(&slot, holder, Fence::NONE));
        let mut fences = Vec::with_capacity(executions.len());
        for execution in executions {
            let fence = slot_fence.filter(|_| holder == Some(execution.id)).unwrap_or(Fence::NONE.next());
            fences.push(fence);
            self.insert(claimed_row(execution, now, node, fence));
        }
        self.patch(now, &record, then);
        ClaimOutcome::Fired(fences)
    }

    /// What a plan would store a second time, if anything.
    fn repeated(&self, trigger: &TriggerRecord, new: &[NewExecution], skips: &[Skip]) -> Option<String> {
        let ids = new.iter().map(|execution| execution.id).chain(skips.iter().map(|skip| skip.id));
        if let Some(id) = ids.into_iter().find(|id| self.knows(*id)) {
            return Some(format!("execution {id} is there already"));
        }
        let fired = new.iter().filter_map(|execution| {
            execution.occurrence.as_ref().map(|of| Instant::of(of, execution.scheduled))
        });
        let (id, generation) = (trigger.id, trigger.generation);
        let skipped = skips.iter().map(|skip| Instant { trigger: id, generation, scheduled: skip.first });
        let mut instants = fired.chain(skipped);
        let twice = instants.find(|instant| self.occurrences.contains(instant))?;
        Some(format!("{} of generation {} has an execution already", twice.scheduled, twice.generation))
    }

    /// A breach of a unique key stops the trigger that would make it, and nothing else.
    fn set_aside(&mut self, now: Timestamp, trigger: &TriggerRecord, why: &str) {
        let patch = TriggerPatch {
            state: TriggerState::Error,
            next_fire: trigger.next_fire,
            wake: None,
            last: trigger.last,
            progress: trigger.progress,
            fires: 0,
            error: Some(why.into()),
            skips: Vec::new(),
        };
        self.patch(now, trigger, patch);
    }

    fn patch(&mut self, now: Timestamp, before: &TriggerRecord, patch: TriggerPatch) {
        let TriggerPatch { state, next_fire, wake, last, progress, fires, error, skips } = patch;
        if let Some(stored) = self.definitions.triggers.get_mut(&before.id) {
            let trigger = &mut stored.record;
            trigger.state = state;
            trigger.next_fire = next_fire;
            trigger.wake = wake;
            // A row that could not be read is set aside without its last instant; the mark of its key must survive.
            trigger.last = last.or(trigger.last);
            trigger.progress = progress;
            trigger.fires += fires;
            trigger.error = error;
            trigger.fire_seq += 1;
            trigger.rev += 1;
            stored.note_end(now);
        }
        let Some(job) = self.definitions.jobs.get(&before.job_id) else { return };
        let occurrence =
            Occurrence { trigger_id: before.id, generation: before.generation, key: before.key.clone() };
        let (job, kind) = (JobRef { id: job.id, key: job.key.clone() }, job.kind.clone());
        for skip in skips {
            self.record(skipped(skip, occurrence.clone(), job.clone(), kind.clone(), now));
        }
    }

    pub(super) fn claim_ready(&mut self, now: Timestamp, request: &ClaimReady) -> ClaimedReady {
        let ClaimReady { node, gate, within, kinds, limit, park, after } = request;
        let gate_open = self.may_claim(*node, *gate, within.as_ref());
        if !gate_open {
            return ClaimedReady { now, gate_open, work: Vec::new() };
        }
        let candidates =
            self.live.values().filter(|live| is_ready(live, kinds, *after) && live.row.wake <= now);
        let mut order: Vec<_> =
            candidates.map(|live| (Reverse(live.row.priority), live.row.wake, live.row.id)).collect();
        order.sort_unstable();

        let mut work = Vec::new();
        for (_, _, id) in order {
            if work.len() >= at_most(*limit) {
                break;
            }
            let fence = self.next_fence(id);
            let Some(live) = self.live.get_mut(&id) else { continue };
            match fence {
                Some(fence) => {
                    live.row.state = ExecutionState::Claimed;
                    live.row.owner = Some(*node);
                    live.row.fence = fence;
                    let row = live.row.clone();
                    work.push(Readable::Row(self.with_job(&row)));
                }
                // Only `wake` moves, so that whoever frees the slot knows that the row waits for it.
                None => live.row.wake = now.plus(*park),
            }
        }
        ClaimedReady { now, gate_open, work }
    }

    /// The fence of the next claim of a ready row; `None` if it needs a slot and there is none.
    fn next_fence(&mut self, id: ExecutionId) -> Option<Fence> {
        let own = self.fence_of(id);
        match self.live.get(&id)?.row.slot.as_ref() {
            Some(slot) => self.slots.take(slot, id, own),
            None => Some(own.next()),
        }
    }
}

fn without_calendar(trigger: &TriggerRecord, name: &str) -> Poison {
    Poison {
        row: PoisonRow::Trigger { id: trigger.id, rev: trigger.rev, fire_seq: trigger.fire_seq },
        reason: format!("there is no calendar `{name}`"),
    }
}

/// Whether a row is ready and looked at. Nothing is gained here by passing over rows; but who names a place is to see
/// what comes of it.
fn is_ready(live: &Live, kinds: &[Kind], after: Option<ReadyPlace>) -> bool {
    let Live { row, .. } = live;
    let is_before = after.is_some_and(|place| place.is_behind(row.priority, row.wake));
    row.state == ExecutionState::Ready && kinds.contains(&row.kind) && !is_before
}

/// Keeps the earlier of the two.
fn earliest(first: &mut Option<Timestamp>, at: Timestamp) {
    *first = Some(first.map_or(at, |first| first.min(at)));
}

fn at_most(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn skipped(skip: Skip, occurrence: Occurrence, job: JobRef, kind: Kind, now: Timestamp) -> HistoryRecord {
    let Skip { id, first, last, count, reason } = skip;
    HistoryRecord {
        id,
        occurrence: Some(occurrence),
        job: Some(job),
        kind,
        scheduled: first,
        until: Some(last),
        count,
        outcome: Outcome::Skipped,
        reason: Some(reason),
        attempt: 0,
        node: None,
        fence: Fence::NONE,
        started: None,
        ended: now,
        error: None,
        output: None,
        attempts: Vec::new(),
    }
}
