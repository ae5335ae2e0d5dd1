//! From a due trigger to a plan: which instants are skipped, which one fires, and how the trigger moves on.

use crate::entropy::Entropy;
use crate::execution::{JobRef, NewExecution, Occurrence, Skip, SkipReason, Slot};
use crate::job::WhenBusy;
use crate::key::ExecutionId;
use crate::misfire;
use crate::store::{DueTrigger, FirePlan, PARK, Poison, PoisonRow, TriggerPatch};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

/// Plans what happens to a due trigger at `now`, the time that its read returned.
///
/// At most one occurrence fires for each plan; what is left stays due for the next read.
pub fn plan(due: &DueTrigger, now: Timestamp, entropy: &dyn Entropy) -> FirePlan {
    let DueTrigger { trigger, job } = due;
    let base = |then: TriggerPatch| FirePlan {
        trigger: trigger.id,
        rev: trigger.rev,
        fire_seq: trigger.fire_seq,
        executions: Vec::new(),
        slot: None,
        busy: then.clone(),
        then,
    };
    let Some(oldest) = trigger.next_fire else {
        return base(moved_on(trigger, trigger.last, Vec::new()));
    };
    if oldest > now {
        // It woke before its instant, as a trigger whose parking was cut short does: look again when it is time.
        return base(TriggerPatch { wake: Some(oldest), ..unchanged(trigger) });
    }

    let decision = misfire::decide(&trigger.spec, oldest, now);
    let skip =
        |first, last, count, reason| Skip { id: ExecutionId::draw(now, entropy), first, last, count, reason };
    let missed: Vec<Skip> =
        decision.missed.iter().map(|m| skip(m.first, m.last, m.count, SkipReason::Misfire)).collect();
    let Some(instant) = decision.fire else {
        let last = decision.missed.map_or(oldest, |missed| missed.last);
        return base(moved_on(trigger, Some(last), missed));
    };

    let execution = NewExecution {
        id: ExecutionId::draw(now, entropy),
        occurrence: Some(Occurrence {
            trigger_id: trigger.id,
            generation: trigger.generation,
            key: trigger.key.clone(),
        }),
        job: Some(JobRef { id: job.id, key: job.key.clone() }),
        kind: job.kind.clone(),
        scheduled: instant,
        priority: job.priority.saturating_add(trigger.priority),
        spec: None,
        payload: None,
        slot: Slot::of(&job.spec),
    };
    let busy = match job.spec.concurrency.as_ref().map(|concurrency| concurrency.when_busy) {
        Some(WhenBusy::Skip) => {
            let mut skips = missed.clone();
            skips.push(skip(instant, instant, Some(1), SkipReason::Overlap));
            moved_on(trigger, Some(instant), skips)
        }
        // Nothing is decided yet: the instant stays due, and is looked at again when its slot is freed.
        Some(WhenBusy::Queue) | None => TriggerPatch { wake: Some(now.plus(PARK)), ..unchanged(trigger) },
    };
    let mut then = moved_on(trigger, Some(instant), missed);
    then.fires = 1;
    FirePlan { slot: execution.slot.clone(), executions: vec![execution], busy, ..base(then) }
}

/// Plans to set a trigger aside whose row cannot be understood; `None` if the poison is no trigger.
pub fn set_aside(poison: &Poison) -> Option<FirePlan> {
    let PoisonRow::Trigger { id, rev, fire_seq } = poison.row else { return None };
    let then = TriggerPatch {
        state: TriggerState::Error,
        next_fire: None,
        wake: None,
        last: None,
        fires: 0,
        error: Some(crate::execution::clip(&poison.reason, crate::execution::MAX_ERROR_BYTES)),
        skips: Vec::new(),
    };
    Some(FirePlan {
        trigger: id,
        rev,
        fire_seq,
        executions: Vec::new(),
        slot: None,
        busy: then.clone(),
        then,
    })
}

fn unchanged(trigger: &TriggerRecord) -> TriggerPatch {
    TriggerPatch {
        state: trigger.state,
        next_fire: trigger.next_fire,
        wake: trigger.wake,
        last: trigger.last,
        fires: 0,
        error: None,
        skips: Vec::new(),
    }
}

fn moved_on(trigger: &TriggerRecord, last: Option<Timestamp>, skips: Vec<Skip>) -> TriggerPatch {
    let next = last.and_then(|last| trigger.spec.next_after(last));
    TriggerPatch {
        state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
        next_fire: next,
        wake: next,
        last,
        skips,
        ..unchanged(trigger)
    }
}
