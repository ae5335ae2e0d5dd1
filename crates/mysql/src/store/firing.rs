//! Reading what is due, and claiming triggers by plans.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use punctual_core::execution::ExecutionWithJob;
use punctual_core::record::{Coded, DueRow, ExecutionRow, SkipRow, WorkRow, document, progress_document};
use punctual_core::store::{
    Claim, ClaimOutcome, ClaimRef, ClaimShape, Claimed, Due, DueTrigger, FirePlan, Poison, PoisonRow,
    ReadDue, Readable, TriggerPatch, Within,
};
use punctual_core::{Error, ExecutionId, Fence, Kind, NodeId, Timestamp, TriggerId};

use super::slots::{self, Slots};
use super::work::{known_occurrences, places, put, values_of};
use super::{Outcome, ready};
use crate::error::Remedy;
use crate::query::{Sql, Value, digits, values};
use crate::rows::{Columns, Read};
use crate::sql;
use crate::step::{Manner, Step};

pub(super) async fn read_due(step: &mut Step<'_>, request: &ReadDue) -> Outcome<Due> {
    let ReadDue { node, kinds, limit, slice: _, ahead: _, after: _ } = request;
    let kinds = distinct(kinds);
    if kinds.is_empty() {
        let gate = step.number(sql::GATE, values![node.get()]).await?.unwrap_or(0);
        return Ok(Due { now: step.now().await?, gate, triggers: Vec::new(), next_wake: None, ready: false });
    }
    let (mut due, has_ready) = glance(step, *node, &kinds).await?;
    let now = due.now;
    let horizon = request.horizon(now);
    let mut next_wake = due.next_wake.filter(|first| *first > horizon);
    let has_due = next_wake != due.next_wake;
    // What comes next is read before what is due: what is put in between then is seen by the second.
    if has_ready {
        let levels = ready::levels(step, &kinds).await?;
        due.ready = levels.iter().any(|level| level.wake <= now.as_micros());
        let of_ready = ready::next_wake(step, &levels, now).await?.map(Timestamp::from_micros);
        next_wake = next_wake.into_iter().chain(of_ready).min();
    }
    due.next_wake = next_wake;
    if !has_due {
        return Ok(due);
    }
    let mut values = Vec::new();
    for kind in &kinds {
        values.extend(values![*kind, horizon.as_micros()]);
    }
    let of_triggers =
        step.number(Sql::made(sql::each(sql::NEXT_WAKE_OF_TRIGGERS, kinds.len())), values).await?;
    due.next_wake = of_triggers.map(Timestamp::from_micros).into_iter().chain(next_wake).min();

    let (from, last) = request.slices();
    let everybodys = now.minus(request.grace()).as_micros();
    let mut values = Vec::new();
    for kind in &kinds {
        values.extend(values![*kind, horizon.as_micros(), everybodys, from, last, *limit]);
    }
    values.push((*limit).into());
    let text = Sql::made(sql::each(sql::READ_DUE, kinds.len()));
    let mut rows = step.rows::<DueRow>(text, values).await?;
    rows.sort_by_key(|Read { row: DueRow { trigger, job, .. }, .. }| {
        let rank = job.priority.saturating_add(trigger.priority);
        (trigger.wake_us, Reverse(rank), trigger.id)
    });
    due.triggers = rows.into_iter().map(readable_due).collect();
    Ok(due)
}

/// What there is at all: the time, the gate, the first wake in `next_wake` though it may have passed, and beside it whether
/// there are ready rows, whenever they wake.
async fn glance(step: &mut Step<'_>, node: NodeId, kinds: &[&str]) -> Outcome<(Due, bool)> {
    let mut values = values![node.get()];
    for kind in kinds {
        values.extend(values![*kind, *kind]);
    }
    let read =
        |c: &Columns| (c.int(), c.int_or_null(), c.int_or_null(), c.int_or_null().is_some_and(|n| n != 0));
    let text = Sql::made(sql::each(sql::GLANCE, kinds.len()));
    let seen = step.first(text, values, read).await?;
    let (now, gate, first, has_ready) =
        seen.ok_or_else(|| Error::internal("read_due", "an aggregate has no row"))?;
    let due = Due {
        now: step.given_now().unwrap_or_else(|| Timestamp::from_micros(now)),
        gate: gate.unwrap_or(0),
        triggers: Vec::new(),
        next_wake: first.map(Timestamp::from_micros),
        ready: false,
    };
    Ok((due, has_ready))
}

/// The kinds of a request as texts, each once.
pub(super) fn distinct(kinds: &[Kind]) -> Vec<&str> {
    kinds.iter().map(Kind::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

fn readable_due(read: Read<DueRow>) -> Readable<DueTrigger> {
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
pub(super) async fn may_claim(
    step: &mut Step<'_>,
    node: NodeId,
    gate: i64,
    within: Option<&Within>,
) -> Outcome<bool> {
    if !step.holds(sql::GATE_OPEN, values![node.get(), gate]).await? {
        return Ok(false);
    }
    let Some(Within { lock, fence }) = within else { return Ok(true) };
    let (lock, fence) = (&**lock, fence.get());
    match step.number(sql::LOCK_GUARD, values![lock]).await? {
        Some(seen) if seen > fence => return Ok(false),
        Some(seen) if seen == fence => {}
        Some(_) => drop(step.run(sql::RAISE_LOCK_GUARD, values![fence, lock]).await?),
        None => drop(step.run(sql::MAKE_GUARD, values![lock, fence]).await?),
    }
    Ok(true)
}

pub(super) async fn claim(step: &mut Step<'_>, request: &Claim) -> Outcome<Claimed> {
    let Claim { node, gate, within, plans } = request;
    let mut outcomes = vec![ClaimOutcome::Lost; plans.len()];
    if let Some(winners) = alone(step, request).await? {
        let now = fire(step, *node, winners, &mut outcomes).await?;
        return Ok(Claimed { now, gate_open: true, outcomes });
    }
    let gate_open = may_claim(step, *node, *gate, within.as_ref()).await?;
    if !gate_open || plans.is_empty() {
        return Ok(Claimed { now: step.now().await?, gate_open, outcomes });
    }
    let mut order: Vec<usize> = (0..plans.len()).collect();
    order.sort_by_key(|at| plans.get(*at).map(|plan| plan.trigger));
    let in_order: Vec<(usize, &FirePlan)> =
        order.into_iter().filter_map(|at| plans.get(at).map(|plan| (at, plan))).collect();
    let now = match step.manner() {
        Manner::AtOnce => {
            let winners = together(step, &in_order).await?;
            fire(step, *node, winners, &mut outcomes).await?
        }
        Manner::OneByOne => {
            for one in &in_order {
                fire_alone(step, *node, *one, &mut outcomes).await?;
            }
            step.now().await?
        }
    };
    Ok(Claimed { now, gate_open, outcomes })
}

/// Applies a plan. One that would store something twice sets its own trigger aside, and nothing else.
async fn fire_alone(
    step: &mut Step<'_>,
    node: NodeId,
    plan: (usize, &FirePlan),
    outcomes: &mut [ClaimOutcome],
) -> Outcome<()> {
    step.begin_part().await?;
    let fired = async {
        let winners = together(step, &[plan]).await?;
        fire(step, node, winners, outcomes).await.map(drop)
    };
    let fired = fired.await;
    let is_twice = matches!(&fired, Err(failure) if failure.remedy() == Remedy::Carefully);
    let fired = step.end_part(fired).await;
    if !is_twice {
        return fired;
    }
    if let Some(outcome) = outcomes.get_mut(plan.0) {
        *outcome = ClaimOutcome::Lost;
    }
    set_aside(step, plan.1.trigger.get(), "the plan has an id or an instant twice").await
}

/// Sets a trigger aside that would fire something twice.
pub(super) async fn set_aside(step: &mut Step<'_>, trigger: i64, why: &str) -> Outcome<()> {
    tracing::error!(trigger = %TriggerId::from_stored(trigger), why, "a trigger would have fired twice, and was set aside");
    step.run(sql::SET_ASIDE, values![why, trigger]).await?;
    Ok(())
}

/// Locks the triggers of plans that are still as they were read, and are due, and answers their generations.
async fn compared(step: &mut Step<'_>, plans: &[(usize, &FirePlan)]) -> Outcome<BTreeMap<i64, i64>> {
    let ids: BTreeSet<i64> = plans.iter().map(|(_, plan)| plan.trigger.get()).collect();
    let mut wanted: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    for (_, plan) in plans {
        wanted.entry(plan.trigger.get()).or_insert((plan.rev, plan.fire_seq));
    }
    let given = step.given_now().map(Timestamp::as_micros);
    if step.claims() != ClaimShape::SkipLocked {
        let mut won = BTreeSet::new();
        for (id, (rev, fire_seq)) in wanted {
            if step.run(sql::CAS_TRIGGER, values![id, rev, fire_seq, given]).await? > 0 {
                won.insert(id);
            }
        }
        let read = |c: &Columns| (c.int(), c.int());
        return Ok(step.all(sql::GENERATIONS, values![document(&won)?], read).await?.into_iter().collect());
    }
    let read = |c: &Columns| (c.int(), (c.int(), c.int()), c.int());
    let found = step.all(sql::COMPARE_TRIGGER, values![document(&ids)?, given], read).await?;
    let fits = |(id, guards, _): &(i64, (i64, i64), i64)| wanted.get(id) == Some(guards);
    Ok(found.into_iter().filter(fits).map(|(id, _, generation)| (id, generation)).collect())
}

/// Plans that win their triggers and would store nothing twice, each with its place and the generation of its trigger; and
/// the clock, if it was read. Nobody else moves those triggers before the end of the step.
type Winners<'p> = (Vec<(usize, i64, &'p FirePlan)>, Option<Timestamp>);

/// Compares the plan that a trigger alone has when it comes due, in the statement that looks at the node's gate. None:
/// that statement cannot tell.
async fn alone<'p>(step: &mut Step<'_>, request: &'p Claim) -> Outcome<Option<Winners<'p>>> {
    let Claim { node, gate, within: None, plans } = request else { return Ok(None) };
    let [plan] = &**plans else { return Ok(None) };
    let [execution] = &*plan.executions else { return Ok(None) };
    let Some(occurrence) = &execution.occurrence else { return Ok(None) };
    let has_skips = !(plan.then.skips.is_empty() && plan.busy.skips.is_empty());
    if has_skips || step.claims() != ClaimShape::SkipLocked || step.manner() != Manner::AtOnce {
        return Ok(None);
    }
    let given = step.given_now();
    let values = values![
        execution.id.to_bytes(),
        occurrence.trigger_id.get(),
        occurrence.generation,
        execution.scheduled.as_micros(),
        node.get(),
        *gate,
        plan.trigger.get(),
        given.map(Timestamp::as_micros),
    ];
    let read = |c: &Columns| ((c.int(), c.int()), c.int(), c.int(), c.int() != 0);
    let found = step.first(sql::COMPARE_ONE_TRIGGER, values, read).await?;
    // What is known sets the trigger aside, and that needs to be told exactly.
    Ok(found.filter(|(_, _, _, is_known)| !is_known).map(|(guards, generation, now, _)| {
        let is_as_planned = guards == (plan.rev, plan.fire_seq);
        let won = is_as_planned.then_some((0, generation, plan)).into_iter().collect();
        (won, Some(given.unwrap_or_else(|| Timestamp::from_micros(now))))
    }))
}

/// Compares plans of any kind and number.
async fn together<'p>(step: &mut Step<'_>, plans: &[(usize, &'p FirePlan)]) -> Outcome<Winners<'p>> {
    let mut generations = compared(step, plans).await?;
    // Of two plans for one trigger the first one counts: it moves what the second was made for.
    let fits = plans
        .iter()
        .filter_map(|(at, plan)| generations.remove(&plan.trigger.get()).map(|of| (*at, of, *plan)))
        .collect();
    without_known(step, fits).await
}

/// The execution of a plan that holds its slot.
fn holder(plan: &FirePlan) -> Option<&punctual_core::execution::NewExecution> {
    let wants = plan.executions.iter().find(|execution| execution.slot.is_some());
    wants.or_else(|| plan.executions.first())
}

/// Applies plans that win, all of them at once, and answers the clock that they were applied at.
async fn fire(
    step: &mut Step<'_>,
    node: NodeId,
    (fits, read): Winners<'_>,
    outcomes: &mut [ClaimOutcome],
) -> Outcome<Timestamp> {
    let keys: BTreeSet<String> = fits
        .iter()
        .filter(|(_, _, plan)| !plan.executions.is_empty())
        .filter_map(|(_, _, plan)| plan.slot.as_ref().map(|slot| slot.key.to_string()))
        .collect();
    slots::lock(step, &keys).await?;
    let mut slots = Slots::read(step, &keys).await?;
    // Slots may have been waited for.
    let now = match read.filter(|_| keys.is_empty()) {
        Some(now) => now,
        None => step.now().await?,
    };
    let mut batch = Batch::default();
    for (at, _, plan) in fits {
        let mut slot_fence = None;
        if let (Some(slot), Some(holder)) = (&plan.slot, holder(plan)) {
            slot_fence = slots.take(&slot.key, slot.limit.into(), holder.id.to_bytes(), 0);
            if slot_fence.is_none() {
                batch.patch(plan.trigger, &plan.busy)?;
                set(outcomes, at, ClaimOutcome::Busy);
                continue;
            }
        }
        let mut fences = Vec::with_capacity(plan.executions.len());
        for execution in &plan.executions {
            let own = slot_fence.filter(|_| holder(plan).is_some_and(|holder| holder.id == execution.id));
            let fence = own.map_or(Fence::NONE.next(), Fence::from_stored);
            fences.push(fence);
            let row = ExecutionRow::claimed(execution, now, node, fence)?;
            let due = row.wake_us;
            batch.rows.push(values_of(row, due));
        }
        batch.patch(plan.trigger, &plan.then)?;
        set(outcomes, at, ClaimOutcome::Fired(fences));
    }
    batch.write(step, now).await?;
    slots.write(step).await?;
    Ok(now)
}

fn set(outcomes: &mut [ClaimOutcome], at: usize, outcome: ClaimOutcome) {
    if let Some(place) = outcomes.get_mut(at) {
        *place = outcome;
    }
}

/// Plans without those that have an id or an instant that the history has already; their triggers are set aside. With
/// them the clock, if it was read.
async fn without_known<'p>(
    step: &mut Step<'_>,
    plans: Vec<(usize, i64, &'p FirePlan)>,
) -> Outcome<Winners<'p>> {
    let (mut firings, mut of) = (Vec::new(), Vec::new());
    for (index, (_, generation, plan)) in plans.iter().enumerate() {
        for execution in &plan.executions {
            let occurrence = execution.occurrence.as_ref();
            firings.push((
                digits(&execution.id.to_bytes()),
                occurrence.map(|of| of.trigger_id.get()),
                occurrence.map(|of| of.generation),
                execution.scheduled.as_micros(),
            ));
            of.push(index);
        }
        for skip in plan.then.skips.iter().chain(&plan.busy.skips) {
            let (trigger, first) = (plan.trigger.get(), skip.first.as_micros());
            firings.push((digits(&skip.id.to_bytes()), Some(trigger), Some(*generation), first));
            of.push(index);
        }
    }
    if firings.is_empty() {
        return Ok((plans, None));
    }
    let read = |c: &Columns| (c.int(), c.int());
    let seen = step.first(sql::FIRED_BEFORE, values![document(&firings)?], read).await?;
    let (now, known) = seen.ok_or_else(|| Error::internal("claim", "an aggregate has no row"))?;
    let now = step.given_now().unwrap_or_else(|| Timestamp::from_micros(now));
    if known == 0 {
        return Ok((plans, Some(now)));
    }
    let ids: Vec<&str> = firings.iter().map(|(id, ..)| &**id).collect();
    let occurrences: Vec<_> =
        firings.iter().map(|(_, trigger, generation, at)| (*trigger, *generation, *at)).collect();
    let mut known = places(step, sql::KNOWS_EXECUTION, document(&ids)?).await?;
    known.extend(known_occurrences(step, &occurrences).await?);
    let guilty: BTreeSet<usize> = known.into_iter().filter_map(|place| of.get(place).copied()).collect();
    let mut fits = Vec::with_capacity(plans.len());
    for (index, plan) in plans.into_iter().enumerate() {
        if guilty.contains(&index) {
            set_aside(step, plan.2.trigger.get(), "an id or an instant of its plan has an execution already")
                .await?;
        } else {
            fits.push(plan);
        }
    }
    Ok((fits, Some(now)))
}

/// A skip as the statement takes it: id, trigger, first, last, number, reason.
type SkipValues = (String, i64, i64, i64, Option<i64>, i64);

/// A patch as the statement takes it: id, state, next_fire, wake, last, fires, error, progress.
type PatchValues = (i64, i64, Option<i64>, Option<i64>, Option<i64>, i64, Option<String>, Option<String>);

/// What a claim writes.
#[derive(Default)]
struct Batch {
    rows: Vec<Vec<Value>>,
    skips: Vec<SkipValues>,
    patches: Vec<PatchValues>,
}

impl Batch {
    fn patch(&mut self, trigger: TriggerId, patch: &TriggerPatch) -> Outcome<()> {
        let TriggerPatch { state, next_fire, wake, last, progress, fires, error, skips } = patch;
        let trigger = trigger.get();
        for skip in skips {
            let SkipRow { id, scheduled_us, until_us, instants, reason } = skip.into();
            self.skips.push((digits(&id), trigger, scheduled_us, until_us, instants, reason));
        }
        let micros = |at: &Option<Timestamp>| at.map(Timestamp::as_micros);
        let (next_fire, wake, last) = (micros(next_fire), micros(wake), micros(last));
        let error = error.as_ref().map(ToString::to_string);
        let progress = progress_document(progress)?;
        self.patches.push((trigger, state.code(), next_fire, wake, last, *fires, error, progress));
        Ok(())
    }

    async fn write(self, step: &mut Step<'_>, now: Timestamp) -> Outcome<()> {
        let Self { rows, skips, patches } = self;
        put(step, rows).await?;
        let now = now.as_micros();
        if !skips.is_empty() {
            step.run(sql::RECORD_SKIP, values![now, document(&skips)?]).await?;
        }
        let (many, one) = match step.claims() {
            ClaimShape::SkipLocked => (sql::PATCH_TRIGGER, sql::PATCH_ONE_TRIGGER),
            ClaimShape::Cas | ClaimShape::WithinLock => (sql::PATCH_WON_TRIGGER, sql::PATCH_ONE_WON_TRIGGER),
        };
        match <[PatchValues; 1]>::try_from(patches) {
            Ok([(trigger, state, next_fire, wake, last, fires, error, progress)]) => {
                let values =
                    values![state, now, state, next_fire, wake, last, fires, error, progress, trigger];
                step.run(one, values).await?;
            }
            Err(patches) if patches.is_empty() => {}
            Err(patches) => drop(step.run(many, values![document(&patches)?, now]).await?),
        }
        Ok(())
    }
}
