//! Reading what is due, and claiming it: triggers by plans, ready rows by order.

use std::collections::BTreeSet;

use punctual_core::execution::ExecutionWithJob;
use punctual_core::record::{Coded, DueRow, ExecutionRow, SkipRow, WorkRow, progress_document};
use punctual_core::store::{
    Claim, ClaimOutcome, ClaimReady, ClaimRef, ClaimShape, Claimed, ClaimedReady, Due, DueTrigger, FirePlan,
    Poison, PoisonRow, ReadDue, Readable, ReadyPlace, TriggerPatch, Within,
};
use punctual_core::time::micros;
use punctual_core::{ExecutionId, Fence, Kind, NodeId, Timestamp, TriggerId};

use super::Shared;
use crate::error::Failure;
use crate::rows::{Args, Columns, FromColumns, Read, ToArrays, params, plain};
use crate::sql;
use crate::step::{Outcome, Shape, Step};

/// How often one step looks for ready rows anew because slots were taken or rows were parked; the rest is left to the
/// next step.
const MOST_LOOKS: u32 = 8;

pub(super) async fn read_due(step: &mut Step<'_>, request: &ReadDue) -> Outcome<Due> {
    let ReadDue { node, kinds, limit, slice: _, ahead, after } = request;
    let (from, last) = request.slices();
    let grace = micros(request.grace());
    let (given, kinds) = (step.given(), names(kinds));
    let (priority, wake) = place(*after);
    let most = i64::from(*limit);
    let values = params![given, kinds, grace, from, last, most, node.get(), micros(*ahead), priority, wake];
    let rows = step.all(sql::READ_DUE, values).await?;
    let first = rows.first().ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?;
    let head = Columns::of(first);
    let (now, gate) = (head.int(), head.int());
    let next_wake = [head.int_or_null(), head.int_or_null()].into_iter().flatten().min();
    let ready = head.get();
    Ok(Due {
        now: Timestamp::from_micros(now),
        gate,
        triggers: behind::<DueRow>(&rows, DUE_HEAD).map(readable_due).collect(),
        next_wake: next_wake.map(Timestamp::from_micros),
        ready,
    })
}

/// A place among ready rows as two values.
fn place(after: Option<ReadyPlace>) -> (Option<i64>, Option<i64>) {
    after.map(|place| (i64::from(place.priority), place.wake.as_micros())).unzip()
}

/// How many columns of READ_DUE, and of CLAIM_READY, come before those of a row.
const DUE_HEAD: usize = 5;
const READY_HEAD: usize = 4;

/// The rows behind the head that each of them repeats; none if there is only the head.
fn behind<T: FromColumns>(rows: &[sqlx::postgres::PgRow], head: usize) -> impl Iterator<Item = Read<T>> {
    rows.iter().filter_map(move |row| {
        let columns = Columns::of(row);
        columns.pass(head);
        if columns.is_null() {
            return None;
        }
        let flat = T::read(&columns);
        Some(columns.done(flat))
    })
}

fn names(kinds: &[Kind]) -> Vec<&str> {
    kinds.iter().map(Kind::as_str).collect()
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

/// Where a node begins among the free slots of a key, so that nodes do not all try the same one.
fn offset(node: NodeId) -> i64 {
    node.get().rem_euclid(1 << 32)
}

fn lock_of(within: Option<&Within>) -> Option<&str> {
    within.map(|within| &*within.lock)
}

fn fence_of(within: Option<&Within>) -> Option<i64> {
    within.map(|within| within.fence.get())
}

/// What CLAIM said of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Fired(Option<i64>),
    Busy,
    Twice,
    Lost,
}

/// What CLAIM answered.
struct Answer {
    gate_open: bool,
    now: Timestamp,
    verdicts: Vec<Verdict>,
}

/// A part of a claim, with plans of different triggers.
struct Part<'p> {
    node: NodeId,
    gate: i64,
    within: Option<&'p Within>,
    plans: Vec<(usize, &'p FirePlan)>,
}

/// Applies plans in one statement, or, where a unique key is breached, in halves, until the guilty one is alone.
/// A trigger that comes twice is claimed by a statement for each time.
pub(super) async fn claim(shared: &Shared, request: Claim) -> punctual_core::Result<Claimed> {
    let Claim { node, gate, within, plans } = &request;
    let mut claimed =
        Claimed { now: Timestamp::EPOCH, gate_open: false, outcomes: vec![ClaimOutcome::Lost; plans.len()] };
    let mut left: Vec<(usize, &FirePlan)> = plans.iter().enumerate().collect();
    loop {
        let mut seen = BTreeSet::new();
        let (now, later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, plan)| seen.insert(plan.trigger));
        let part = Part { node: *node, gate: *gate, within: within.as_ref(), plans: now };
        let answer = claim_part(shared, &part).await?;
        (claimed.now, claimed.gate_open) = (answer.now, answer.gate_open);
        for ((at, plan), verdict) in part.plans.iter().zip(answer.verdicts) {
            if let Some(outcome) = claimed.outcomes.get_mut(*at) {
                *outcome = outcome_of(shared, plan, verdict).await?;
            }
        }
        if later.is_empty() || !claimed.gate_open {
            return Ok(claimed);
        }
        left = later;
    }
}

async fn claim_part(shared: &Shared, part: &Part<'_>) -> punctual_core::Result<Answer> {
    match shared.engine.run("claim", Shape::One, part, |step, part| Box::pin(claim_once(step, part))).await {
        Ok((answer, _)) => Ok(answer),
        Err(failure) if failure.is_breach() && part.plans.len() > 1 => {
            let mut whole = Answer { gate_open: false, now: Timestamp::EPOCH, verdicts: Vec::new() };
            for half in part.plans.chunks(part.plans.len().div_ceil(2)) {
                let half = Part { plans: half.to_vec(), ..*part };
                let Answer { gate_open, now, verdicts } = Box::pin(claim_part(shared, &half)).await?;
                // Where the gate closes between two parts, what the first one fired has to be started all the same.
                (whole.gate_open, whole.now) = (whole.gate_open || gate_open, now);
                whole.verdicts.extend(verdicts);
            }
            Ok(whole)
        }
        Err(failure) if failure.is_breach() => {
            let now = shared.step("claim", Shape::One, &(), |step, ()| Box::pin(step.now())).await?;
            Ok(Answer { gate_open: true, now, verdicts: vec![Verdict::Twice] })
        }
        Err(failure) => Err(shared.failed("claim", failure)),
    }
}

/// What became of a plan. One that would store something twice sets its own trigger aside, and nothing else.
async fn outcome_of(
    shared: &Shared,
    plan: &FirePlan,
    verdict: Verdict,
) -> punctual_core::Result<ClaimOutcome> {
    Ok(match verdict {
        Verdict::Fired(slot_fence) => {
            let holder = holder(plan).map(|holder| holder.id);
            let fence =
                |id| slot_fence.filter(|_| holder == Some(id)).map_or(Fence::NONE.next(), Fence::from_stored);
            ClaimOutcome::Fired(plan.executions.iter().map(|execution| fence(execution.id)).collect())
        }
        Verdict::Busy => ClaimOutcome::Busy,
        Verdict::Lost => ClaimOutcome::Lost,
        Verdict::Twice => {
            let why = "the plan has an id or an instant that has an execution already";
            let trigger = plan.trigger.get();
            shared
                .step("claim", Shape::One, &trigger, |step, trigger| Box::pin(set_aside(step, *trigger, why)))
                .await?;
            ClaimOutcome::Lost
        }
    })
}

/// Sets a trigger aside that would fire something twice.
pub(super) async fn set_aside(step: &mut Step<'_>, trigger: i64, why: &'static str) -> Outcome<()> {
    tracing::error!(trigger = %TriggerId::from_stored(trigger), why, "a trigger would have fired twice, and was set aside");
    step.run(sql::SET_ASIDE, params![trigger, why]).await?;
    Ok(())
}

/// The execution of a plan that holds its slot.
fn holder(plan: &FirePlan) -> Option<&punctual_core::execution::NewExecution> {
    let of_slot = plan.executions.iter().find(|execution| execution.slot.is_some());
    of_slot.or_else(|| plan.executions.first())
}

/// One kind of patch of many plans as arrays.
#[derive(Default)]
struct Patches {
    states: Vec<i64>,
    next_fires: Vec<Option<i64>>,
    wakes: Vec<Option<i64>>,
    lasts: Vec<Option<i64>>,
    fires: Vec<i64>,
    errors: Vec<Option<String>>,
    progress: Vec<Option<String>>,
}

impl Patches {
    fn push(&mut self, patch: &TriggerPatch) -> punctual_core::Result<()> {
        let TriggerPatch { state, next_fire, wake, last, progress, fires, error, skips: _ } = patch;
        self.states.push(state.code());
        self.next_fires.push(next_fire.map(Timestamp::as_micros));
        self.wakes.push(wake.map(Timestamp::as_micros));
        self.lasts.push(last.map(Timestamp::as_micros));
        self.fires.push(*fires);
        self.errors.push(error.as_deref().map(|error| plain(error).into_owned()));
        self.progress.push(progress_document(progress)?);
        Ok(())
    }

    fn push_to(&self, args: &mut Args) -> Outcome<()> {
        let Self { states, next_fires, wakes, lasts, fires, errors, progress } = self;
        args.push(states)?;
        args.push(next_fires)?;
        args.push(wakes)?;
        args.push(lasts)?;
        args.push(fires)?;
        args.push(errors)?;
        args.push(progress)
    }
}

/// Instants that plans leave out, as arrays.
#[derive(Default)]
struct Skips {
    plans: Vec<i64>,
    busy: Vec<bool>,
    ids: Vec<[u8; 16]>,
    first: Vec<i64>,
    last: Vec<i64>,
    counts: Vec<Option<i64>>,
    reasons: Vec<i64>,
}

impl Skips {
    fn push(&mut self, plan: i64, patch: &TriggerPatch, if_busy: bool) {
        for skip in &patch.skips {
            let SkipRow { id, scheduled_us, until_us, instants, reason } = skip.into();
            self.plans.push(plan);
            self.busy.push(if_busy);
            self.ids.push(id);
            self.first.push(scheduled_us);
            self.last.push(until_us);
            self.counts.push(instants);
            self.reasons.push(reason);
        }
    }

    fn push_to(&self, args: &mut Args) -> Outcome<()> {
        let Self { plans, busy, ids, first, last, counts, reasons } = self;
        args.push(plans)?;
        args.push(busy)?;
        args.push(ids)?;
        args.push(first)?;
        args.push(last)?;
        args.push(counts)?;
        args.push(reasons)
    }
}

async fn claim_once(step: &mut Step<'_>, part: &Part<'_>) -> Outcome<Answer> {
    let Part { node, gate, within, plans } = part;
    let (mut rows, mut of_plan) = (Vec::new(), Vec::new());
    let (mut then, mut busy, mut skips) = (Patches::default(), Patches::default(), Skips::default());
    let (mut slot_keys, mut slot_limits, mut holders) = (Vec::new(), Vec::new(), Vec::new());
    for (ord, (_, plan)) in (1_i64..).zip(plans) {
        for execution in &plan.executions {
            // The time of creation and the fence of a slot come from the statement.
            rows.push(ExecutionRow::claimed(execution, Timestamp::EPOCH, *node, Fence::NONE.next())?);
            of_plan.push(ord);
        }
        then.push(&plan.then)?;
        busy.push(&plan.busy)?;
        skips.push(ord, &plan.then, false);
        skips.push(ord, &plan.busy, true);
        slot_keys.push(plan.slot.as_ref().map(|slot| &*slot.key));
        slot_limits.push(plan.slot.as_ref().map(|slot| i64::from(slot.limit)));
        holders.push(holder(plan).map(|holder| holder.id.to_bytes()));
    }
    let is_plain = within.is_none() && skips.plans.is_empty() && slot_keys.iter().all(Option::is_none);
    let given = step.given();
    let mut args = params![given];
    ExecutionRow::push_arrays(&rows, &mut args)?;
    args.push(of_plan)?;
    args.push(node.get())?;
    args.push(*gate)?;
    args.push(plans.iter().map(|(_, plan)| plan.trigger.get()).collect::<Vec<_>>())?;
    args.push(plans.iter().map(|(_, plan)| plan.rev).collect::<Vec<_>>())?;
    args.push(plans.iter().map(|(_, plan)| plan.fire_seq).collect::<Vec<_>>())?;
    args.push(slot_keys)?;
    args.push(slot_limits)?;
    args.push(holders)?;
    then.push_to(&mut args)?;
    busy.push_to(&mut args)?;
    let rows = if is_plain {
        step.all(sql::CLAIM_PLAIN, args).await?
    } else {
        skips.push_to(&mut args)?;
        args.push(lock_of(*within))?;
        args.push(fence_of(*within))?;
        args.push(offset(*node))?;
        step.all(sql::CLAIM, args).await?
    };
    let head = rows.first().map(Columns::of).ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?;
    let (gate_open, now) = (head.get(), Timestamp::from_micros(head.int()));
    let verdicts = rows.iter().filter_map(|row| {
        let columns = Columns::of(row);
        columns.pass(2);
        columns.int_or_null()?;
        Some(match columns.int() {
            1 => Verdict::Fired(columns.int_or_null()),
            2 => Verdict::Busy,
            3 => Verdict::Twice,
            _ => Verdict::Lost,
        })
    });
    Ok(Answer { gate_open, now, verdicts: verdicts.collect() })
}

/// What CLAIM_READY answered.
struct Looked {
    answer: ClaimedReady,
    /// How many rows were parked, so that others behind them may be looked at.
    parked: i64,
    /// How many rows were to be claimed; more than were if their slots were taken meanwhile.
    tried: i64,
}

/// Claims ready rows; looks again as long as there is room and something stood in the way.
pub(super) async fn claim_ready(
    shared: &Shared,
    request: &ClaimReady,
) -> punctual_core::Result<ClaimedReady> {
    let mut whole: Option<ClaimedReady> = None;
    for _ in 0..MOST_LOOKS {
        let taken = whole.as_ref().map_or(0, |whole| whole.work.len());
        let room = i64::from(request.limit).saturating_sub(i64::try_from(taken).unwrap_or(i64::MAX));
        let looking = (request, room);
        let looked = shared
            .step("claim_ready", Shape::One, &looking, |step, looking| {
                Box::pin(claim_ready_once(step, looking))
            })
            .await;
        let Looked { answer, parked, tried } = match (looked, whole.is_some()) {
            (Ok(looked), _) => looked,
            // What was claimed before must not get lost with the answer.
            (Err(error), true) => {
                tracing::warn!(%error, "a claim of ready rows stopped half-way");
                break;
            }
            (Err(error), false) => return Err(error),
        };
        let got = i64::try_from(answer.work.len()).unwrap_or(i64::MAX);
        let is_open = answer.gate_open;
        match &mut whole {
            None => whole = Some(answer),
            Some(whole) => {
                whole.now = answer.now;
                whole.work.extend(answer.work);
            }
        }
        if !is_open || got >= room || (parked == 0 && tried == got) {
            break;
        }
    }
    whole.ok_or_else(|| {
        punctual_core::Error::internal("claim_ready", "nothing was looked at; please report it")
    })
}

async fn claim_ready_once(step: &mut Step<'_>, (request, room): &(&ClaimReady, i64)) -> Outcome<Looked> {
    let ClaimReady { node, gate, within, kinds, limit: _, park, after } = *request;
    let (given, kinds) = (step.given(), names(kinds));
    let args = params![given, node.get(), gate, kinds, room, micros(*park), offset(*node)];
    let (mut args, within) = (args, within.as_ref());
    args.push(lock_of(within))?;
    args.push(fence_of(within))?;
    let (priority, wake) = place(*after);
    args.push(priority)?;
    args.push(wake)?;
    let sql = match step.claims() {
        ClaimShape::Cas => sql::CLAIM_READY_CAS,
        ClaimShape::SkipLocked | ClaimShape::WithinLock => sql::CLAIM_READY,
    };
    let rows = step.all(sql, args).await?;
    let head = rows.first().map(Columns::of).ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?;
    let (gate_open, now) = (head.get(), Timestamp::from_micros(head.int()));
    let (parked, tried) = (head.int(), head.int());
    let work = behind::<WorkRow>(&rows, READY_HEAD).map(readable_work).collect();
    Ok(Looked { answer: ClaimedReady { now, gate_open, work }, parked, tried })
}
