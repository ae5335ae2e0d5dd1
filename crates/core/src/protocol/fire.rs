//! From a due trigger to a plan: which instants are skipped, which one fires, and how the trigger moves on.

use crate::calendar::Calendar;
use crate::entropy::Entropy;
use crate::error::Result;
use crate::execution::{JobRef, MAX_ERROR_BYTES, NewExecution, Occurrence, Skip, SkipReason, Slot, clip};
use crate::instants::Instants;
use crate::job::WhenBusy;
use crate::key::ExecutionId;
use crate::misfire::{self, Course, Verdict};
use crate::quartz::Progress;
use crate::store::{DueTrigger, FirePlan, PARK, Poison, PoisonRow, TriggerPatch};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

/// Plans what happens to a due trigger at `now`, the time that its read returned.
///
/// At most one occurrence fires for each plan; what is left stays due for the next read. A trigger whose instants cannot
/// be known is set aside with the reason. So resolve a custom schedule first, and make no plan where it is not known:
/// other nodes may know it.
///
/// A catch-up that is spread waits once for each instant. That it has waited is kept in [`Progress::wait`] and not read
/// off the trigger's wake-up, which a taken slot moves as well: parking is no wait, and a slot that is freed brings the
/// wake-up forward but draws no second wait. Woken early for a slot, the trigger only goes back to its wait; others that
/// are parked for the slot look again after [`PARK`] at the latest.
pub fn plan(due: &DueTrigger, now: Timestamp, entropy: &dyn Entropy) -> FirePlan {
    let DueTrigger { trigger, job, calendar } = due;
    let base = |then: TriggerPatch| FirePlan {
        trigger: trigger.id,
        rev: trigger.rev,
        fire_seq: trigger.fire_seq,
        executions: Vec::new(),
        slot: None,
        busy: then.clone(),
        then,
    };
    let later = |wake| base(TriggerPatch { wake: Some(wake), ..unchanged(trigger) });
    // It may wake before its instant, or before its wait is over, as a trigger whose parking was cut short does.
    let not_before = trigger.next_fire.max(trigger.progress.wait);
    if let Some(then) = not_before.filter(|then| *then > now) {
        return later(then);
    }
    let instants = match instants_of(trigger, calendar.as_deref()) {
        Ok(instants) => instants,
        Err(error) => return base(aside(&error.to_string())),
    };
    let Some(oldest) = trigger.next_fire else {
        let next = trigger.last.and_then(|last| instants.next_after(last));
        return base(moved_on(trigger, next));
    };

    let question = misfire::Due {
        instant: oldest,
        previous: trigger.last,
        now,
        waited: trigger.progress.wait.is_some(),
        random: entropy.draw(),
    };
    let course = match misfire::judge(&instants, &question) {
        Verdict::Go(course) => course,
        Verdict::Wait(until) => {
            let progress = Progress { wait: Some(until), ..trigger.progress };
            return base(TriggerPatch { wake: Some(until), progress, ..unchanged(trigger) });
        }
    };
    let Course { missed, fire, catch_up, last, next, progress } = course;
    let skip =
        |first, last, count, reason| Skip { id: ExecutionId::draw(now, entropy), first, last, count, reason };
    let missed: Vec<Skip> =
        missed.iter().map(|m| skip(m.first, m.last, m.count, SkipReason::Misfire)).collect();
    let moved_on = |skips| TriggerPatch { last: Some(last), progress, skips, ..moved_on(trigger, next) };
    let Some(instant) = fire else { return base(moved_on(missed)) };

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
        catch_up,
    };
    let busy = match job.spec.concurrency.as_ref().map(|concurrency| concurrency.when_busy) {
        Some(WhenBusy::Skip) => {
            let mut skips = missed.clone();
            skips.push(skip(instant, instant, Some(1), SkipReason::Overlap));
            moved_on(skips)
        }
        // Nothing is decided yet: the instant stays due, and is looked at again when its slot is freed.
        Some(WhenBusy::Queue) | None => TriggerPatch { wake: Some(now.plus(PARK)), ..unchanged(trigger) },
    };
    let then = TriggerPatch { fires: 1, ..moved_on(missed) };
    FirePlan { slot: execution.slot.clone(), executions: vec![execution], busy, ..base(then) }
}

/// Plans to set a trigger aside whose row cannot be understood; `None` if the poison is no trigger.
pub fn set_aside(poison: &Poison) -> Option<FirePlan> {
    let PoisonRow::Trigger { id, rev, fire_seq } = poison.row else { return None };
    let then = aside(&poison.reason);
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

/// The patch that sets a trigger aside. A correct definition makes it active again, and begins its instants anew.
fn aside(reason: &str) -> TriggerPatch {
    TriggerPatch {
        state: TriggerState::Error,
        next_fire: None,
        wake: None,
        last: None,
        progress: Progress::default(),
        fires: 0,
        error: Some(clip(reason, MAX_ERROR_BYTES)),
        skips: Vec::new(),
    }
}

fn instants_of<'a>(trigger: &'a TriggerRecord, calendar: Option<&'a Calendar>) -> Result<Instants<'a>> {
    let waited = Progress { wait: None, ..trigger.progress };
    Ok(Instants::seen(&trigger.spec, calendar)?.with_progress(waited))
}

fn unchanged(trigger: &TriggerRecord) -> TriggerPatch {
    TriggerPatch {
        state: trigger.state,
        next_fire: trigger.next_fire,
        wake: trigger.wake,
        last: trigger.last,
        progress: trigger.progress,
        fires: 0,
        error: None,
        skips: Vec::new(),
    }
}

fn moved_on(trigger: &TriggerRecord, next: Option<Timestamp>) -> TriggerPatch {
    TriggerPatch {
        state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
        next_fire: next,
        wake: next,
        ..unchanged(trigger)
    }
}
