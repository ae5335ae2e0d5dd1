//! Reading what is due, and claiming it: triggers by plans, ready rows by order.

use punctual_core::execution::{ExecutionWithJob, Skip};
use punctual_core::record::{
    Coded, DueRow, ExecutionRow, SkipRow, WorkRow, after, kinds_document, progress_document,
};
use punctual_core::store::{
    Claim, ClaimOutcome, ClaimReady, ClaimRef, Claimed, ClaimedReady, Due, FirePlan, Poison, PoisonRow,
    ReadDue, Readable, TriggerPatch, Within,
};
use punctual_core::{Error, ErrorKind, ExecutionId, Fence, NodeId, Timestamp, TriggerId};
use rusqlite::{Row, params};

use super::work::insert;
use super::{Outcome, slots};
use crate::error::{Failure, is_constraint};
use crate::rows::Read;
use crate::sql;
use crate::step::Step;

/// How many ready rows one step looks at before it leaves the rest to the next one, so that a long queue of a busy key
/// does not keep the write lock.
const MOST_CANDIDATES: u32 = 2_000;

pub(super) fn read_due(step: &Step<'_>, request: &ReadDue) -> Outcome<Due> {
    let ReadDue { node, kinds, limit, slice: _, ahead: _, after: _ } = request;
    let (kinds, limit) = (kinds_document(kinds)?, *limit);
    let glance = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let seen = step.first(sql::GLANCE, params![kinds, node.get()], glance)?;
    let (machine, gate, first, has_ready): (i64, Option<i64>, Option<i64>, bool) =
        seen.ok_or_else(|| Error::internal("read_due", "a glance has no row"))?;
    let at = step.time(machine);
    let (now, horizon) = (at.as_micros(), request.horizon(at).as_micros());
    let mut next_wake = first.filter(|first| *first > horizon);
    let mut due =
        Due { now: at, gate: gate.unwrap_or(0), triggers: Vec::new(), next_wake: None, ready: false };
    // What comes next is read before what is due: what is put in between then is seen by the second.
    if has_ready {
        let of_ready = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let of_ready = step.first(sql::NEXT_WAKE_OF_READY, params![kinds, now], of_ready)?;
        let (next_ready, ready): (Option<i64>, bool) = of_ready.unwrap_or_default();
        due.ready = ready;
        next_wake = next_wake.into_iter().chain(next_ready).min();
    }
    if first.is_some_and(|first| first <= horizon) {
        let of_triggers = step.number(sql::NEXT_WAKE_OF_TRIGGERS, params![kinds, horizon])?;
        next_wake = next_wake.into_iter().chain(of_triggers).min();
        let everybodys = at.minus(request.grace()).as_micros();
        let (from, last) = request.slices();
        let rows =
            step.rows::<DueRow>(sql::READ_DUE, params![kinds, horizon, everybodys, from, last, limit])?;
        due.triggers = rows.into_iter().map(readable_due).collect();
    }
    due.next_wake = next_wake.map(Timestamp::from_micros);
    Ok(due)
}

fn readable_due(read: Read<DueRow>) -> Readable<punctual_core::store::DueTrigger> {
    let trigger = &read.row.trigger;
    let row = PoisonRow::Trigger {
        id: TriggerId::from_stored(trigger.id),
        rev: trigger.rev,
        fire_seq: trigger.fire_seq,
    };
    match read.decode() {
        Ok(due) => Readable::Row(due),
        Err(bad) => Readable::Poison(Poison { row, reason: bad.to_string() }),
    }
}

/// Which claim of which execution a flat row is.
pub(crate) fn claim_of(row: &ExecutionRow) -> ClaimRef {
    ClaimRef {
        id: ExecutionId::from_bytes(row.id),
        owner: NodeId::from_stored(row.owner.unwrap_or(0)),
        fence: Fence::from_stored(row.fence),
    }
}

pub(super) fn readable_work(read: Read<WorkRow>) -> Readable<ExecutionWithJob> {
    let claim = claim_of(&read.row.execution);
    match read.decode() {
        Ok(work) => Readable::Row(work),
        Err(bad) => Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason: bad.to_string() }),
    }
}

/// Whether a node may claim what it planned, within the lock that it holds. If it may, claims with smaller fences of that
/// lock are refused from now on.
fn may_claim(step: &Step<'_>, node: NodeId, gate: i64, within: Option<&Within>) -> Outcome<bool> {
    if !step.holds(sql::GATE_OPEN, params![node.get(), gate])? {
        return Ok(false);
    }
    match within {
        None => Ok(true),
        Some(Within { lock, fence }) => Ok(step.run(sql::RAISE_LOCK_GUARD, params![lock, fence.get()])? > 0),
    }
}

pub(super) fn claim(step: &Step<'_>, request: Claim) -> Outcome<Claimed> {
    let Claim { node, gate, within, plans } = request;
    let gate_open = may_claim(step, node, gate, within.as_ref())?;
    let mut outcomes = vec![ClaimOutcome::Lost; plans.len()];
    if gate_open {
        let mut in_order: Vec<_> = plans.into_iter().zip(&mut outcomes).collect();
        in_order.sort_by_key(|(plan, _)| plan.trigger);
        fire_all(step, node, &mut in_order)?;
    }
    Ok(Claimed { now: step.now(), gate_open, outcomes })
}

/// Applies plans, all of them as one part of the step; if one would store something twice, each as a part of its own.
fn fire_all(step: &Step<'_>, node: NodeId, plans: &mut [(FirePlan, &mut ClaimOutcome)]) -> Outcome<()> {
    let together = step.part(|| {
        for (plan, outcome) in &mut *plans {
            **outcome = fire(step, node, plan)?;
        }
        Ok(())
    });
    match together {
        Err(failure) if fires_twice(&failure).is_some() => {
            for (plan, outcome) in plans {
                **outcome = fire_alone(step, node, plan)?;
            }
            Ok(())
        }
        other => other,
    }
}

/// Why a plan failed, if it would have stored something twice.
fn fires_twice(failure: &Failure) -> Option<&str> {
    match failure {
        Failure::Core(error) if error.kind() == ErrorKind::AlreadyExists => Some(error.message()),
        failure if is_constraint(failure) => Some("the plan has an id or an instant twice"),
        _ => None,
    }
}

/// Applies a plan. One that would store something twice sets its own trigger aside, and nothing else.
fn fire_alone(step: &Step<'_>, node: NodeId, plan: &FirePlan) -> Outcome<ClaimOutcome> {
    let outcome = step.part(|| fire(step, node, plan));
    let Some(why) = outcome.as_ref().err().and_then(fires_twice) else { return outcome };
    set_aside(step, plan.trigger.get(), why)?;
    Ok(ClaimOutcome::Lost)
}

/// Sets a trigger aside that would fire something twice.
pub(super) fn set_aside(step: &Step<'_>, trigger: i64, why: &str) -> Outcome<()> {
    tracing::error!(trigger = %TriggerId::from_stored(trigger), why, "a trigger would have fired twice, and was set aside");
    step.run(sql::SET_ASIDE, params![trigger, why])?;
    Ok(())
}

fn fire(step: &Step<'_>, node: NodeId, plan: &FirePlan) -> Outcome<ClaimOutcome> {
    let FirePlan { executions, slot, then, busy, .. } = plan;
    let holder = executions.iter().find(|execution| execution.slot.is_some()).or_else(|| executions.first());
    let mut slot_fence = None;
    if let (Some(slot), Some(holder)) = (slot, holder) {
        // Who is late must not take the slot; else the trigger is compared when it is moved on.
        if !is_as_read(step, plan)? {
            return Ok(ClaimOutcome::Lost);
        }
        slot_fence = slots::take(step, &slot.key, slot.limit.into(), &holder.id.to_bytes(), 0)?;
        if slot_fence.is_none() {
            patch(step, plan, busy)?;
            return Ok(ClaimOutcome::Busy);
        }
    }
    if !patch(step, plan, then)? {
        return Ok(ClaimOutcome::Lost);
    }
    let mut fences = Vec::with_capacity(executions.len());
    for execution in executions {
        let own = slot_fence.filter(|_| holder.is_some_and(|holder| holder.id == execution.id));
        let fence = own.map_or(Fence::NONE.next(), Fence::from_stored);
        fences.push(fence);
        let row = ExecutionRow::claimed(execution, step.now(), node, fence)?;
        if step.holds(sql::KNOWS_FIRING, params![row.id, row.trigger_id, row.generation, row.scheduled_us])? {
            return Err(twice(execution.scheduled));
        }
        insert(step, &row)?;
    }
    Ok(ClaimOutcome::Fired(fences))
}

fn twice(what: impl std::fmt::Display) -> Failure {
    Error::new(ErrorKind::AlreadyExists, "claim", format!("{what} has an execution already")).into()
}

fn is_as_read(step: &Step<'_>, plan: &FirePlan) -> Outcome<bool> {
    let FirePlan { trigger, rev, fire_seq, .. } = plan;
    step.holds(sql::IS_AS_READ, params![trigger.get(), rev, fire_seq, step.now().as_micros()])
}

/// Moves the trigger of a plan on; `false` if it is not as it was read.
fn patch(step: &Step<'_>, plan: &FirePlan, patch: &TriggerPatch) -> Outcome<bool> {
    let FirePlan { trigger, rev, fire_seq, .. } = plan;
    let TriggerPatch { state, next_fire, wake, last, progress, fires, error, skips } = patch;
    let micros = |at: &Option<Timestamp>| at.map(Timestamp::as_micros);
    let (next_fire, wake, last) = (micros(next_fire), micros(wake), micros(last));
    let (id, now, progress) = (trigger.get(), step.now().as_micros(), progress_document(progress)?);
    let moved = params![id, rev, fire_seq, now, state.code(), next_fire, wake, last, fires, error, progress];
    if step.run(sql::PATCH_TRIGGER, moved)? == 0 {
        return Ok(false);
    }
    if !skips.is_empty()
        && let Some(generation) = step.number(sql::GENERATION, [id])?
    {
        for skip in skips {
            record_skip(step, id, generation, skip)?;
        }
    }
    Ok(true)
}

fn record_skip(step: &Step<'_>, trigger: i64, generation: i64, skip: &Skip) -> Outcome<()> {
    let SkipRow { id, scheduled_us, until_us, instants, reason } = skip.into();
    if step.holds(sql::KNOWS_EXECUTION, [id])? {
        return Err(twice(skip.id));
    }
    if step.holds(sql::KNOWS_OCCURRENCE, params![trigger, generation, scheduled_us])? {
        return Err(twice(skip.first));
    }
    let now = step.now().as_micros();
    step.run(sql::RECORD_SKIP, params![trigger, id, scheduled_us, until_us, instants, reason, now])?;
    Ok(())
}

/// A ready row, as far as claiming it needs.
struct Candidate {
    id: [u8; 16],
    slot: Option<(String, i64)>,
    fence: i64,
}

pub(super) fn claim_ready(step: &Step<'_>, request: &ClaimReady) -> Outcome<ClaimedReady> {
    let ClaimReady { node, gate, within, kinds, limit, park, after: _ } = request;
    let gate_open = may_claim(step, *node, *gate, within.as_ref())?;
    let mut answer = ClaimedReady { now: step.now(), gate_open, work: Vec::new() };
    let room = usize::try_from(*limit).unwrap_or(usize::MAX);
    if !gate_open || room == 0 {
        return Ok(answer);
    }
    let kinds = kinds_document(kinds)?;
    let (now, parked) = (step.now().as_micros(), after(step.now(), *park));
    let mut looked_at = 0;
    while answer.work.len() < room && looked_at < MOST_CANDIDATES {
        let candidates = candidates(step, &kinds, now, (*limit).clamp(32, MOST_CANDIDATES))?;
        if candidates.is_empty() {
            break;
        }
        for Candidate { id, slot, fence } in candidates {
            if answer.work.len() == room {
                break;
            }
            looked_at += 1;
            let next = match slot {
                None => Some(fence.saturating_add(1)),
                // A row that kept its slot may go though the key has no other free.
                Some((key, limit)) => slots::take(step, &key, limit, &id, fence)?,
            };
            let Some(fence) = next else {
                step.run(sql::PARK_READY, params![id, parked])?;
                continue;
            };
            step.run(sql::CLAIM_READY, params![id, node.get(), fence])?;
            answer.work.extend(step.rows::<WorkRow>(sql::WORK, [id])?.into_iter().map(readable_work));
        }
    }
    Ok(answer)
}

fn candidates(step: &Step<'_>, kinds: &str, now: i64, limit: u32) -> Outcome<Vec<Candidate>> {
    step.all(sql::READY, params![kinds, now, limit], |row| {
        let key: Option<String> = row.get(1)?;
        let slot_limit: Option<i64> = row.get(2)?;
        // A row with half a slot cannot be understood; it is claimed, and held for that.
        Ok(Candidate { id: row.get(0)?, slot: key.zip(slot_limit), fence: row.get(3)? })
    })
}
