//! The guarded writes of an owner: beginning a body, and what becomes of the execution after it.

use std::collections::BTreeSet;

use punctual_core::Error;
use punctual_core::record::{HistoryRow, back_code, document};
use punctual_core::store::{Back, ClaimRef, SettleOutcome, SettlePlan, Settlement};
use punctual_core::time::micros;

use super::Shared;
use super::firing::set_aside;
use crate::rows::{Columns, ToArrays, params};
use crate::sql;
use crate::step::{News, Outcome, Shape, Step};

const OPERATION: &str = "settle";

pub(super) async fn begin(step: &mut Step<'_>, claims: &[ClaimRef]) -> Outcome<Vec<SettleOutcome>> {
    let Claims { ids, owners, fences } = Claims::of(claims.iter());
    // Whatever the history says: a body that is not known to be this claim's must not begin.
    let mut outcomes = vec![SettleOutcome::Fenced; claims.len()];
    for row in step.all(sql::BEGIN, params![ids, owners, fences]).await? {
        mark(&mut outcomes, Columns::of(&row).int(), SettleOutcome::Done);
    }
    Ok(outcomes)
}

/// Claims as arrays.
#[derive(Default)]
struct Claims {
    ids: Vec<[u8; 16]>,
    owners: Vec<i64>,
    fences: Vec<i64>,
}

impl Claims {
    fn of<'c>(claims: impl Iterator<Item = &'c ClaimRef>) -> Self {
        let mut arrays = Self::default();
        for ClaimRef { id, owner, fence } in claims {
            arrays.ids.push(id.to_bytes());
            arrays.owners.push(owner.get());
            arrays.fences.push(fence.get());
        }
        arrays
    }
}

/// Sets the outcome with an ordinal number, which counts from 1.
fn mark(outcomes: &mut [SettleOutcome], ord: i64, outcome: SettleOutcome) {
    let place = usize::try_from(ord - 1).ok().and_then(|at| outcomes.get_mut(at));
    if let Some(place) = place {
        *place = outcome;
    }
}

/// Plans as the arrays of SETTLE.
#[derive(Default)]
struct Batch {
    claims: Vec<ClaimRef>,
    ends: Vec<bool>,
    states: Vec<Option<i64>>,
    delays: Vec<Option<i64>>,
    attempts: Vec<Option<i64>>,
    losses: Vec<Option<i64>>,
    documents: Vec<Option<String>>,
    keeps: Vec<bool>,
    errors: Vec<Option<String>>,
    records: Vec<HistoryRow>,
    /// Which plans have a record.
    has_record: Vec<bool>,
    /// Whether a row becomes ready at once, or at all.
    news: News,
}

impl Batch {
    fn push(&mut self, plan: SettlePlan) -> punctual_core::Result<()> {
        let SettlePlan { claim, then } = plan;
        let has_record = matches!(then, Settlement::End(_));
        let ends = has_record || matches!(then, Settlement::Forget);
        let (mut state, mut delay, mut attempt, mut losses, mut document_, mut keeps, mut error_) =
            (None, None, None, None, None, false, None);
        match then {
            Settlement::End(record) => {
                if record.id != claim.id {
                    let why =
                        format!("the record of execution {} cannot end execution {}", record.id, claim.id);
                    return Err(Error::invalid(OPERATION, why));
                }
                self.records.push(HistoryRow::of(&record)?);
            }
            Settlement::Forget => {}
            Settlement::Back(back) => {
                let Back { state: to, delay: after, attempt: next, losses: lost, attempts, keep_slot, error } =
                    back;
                (state, document_) = (Some(back_code(claim, to)?), Some(document(&attempts)?));
                (delay, attempt, losses) =
                    (Some(micros(after)), Some(i64::from(next)), Some(i64::from(lost)));
                (keeps, error_) = (keep_slot, error.map(|error| crate::rows::plain(&error).into_owned()));
                // Others need not know of what comes later; this process may sleep for something later still.
                self.news = self.news.max(if after.is_zero() { News::Everywhere } else { News::Here });
            }
        }
        self.claims.push(claim);
        self.has_record.push(has_record);
        self.ends.push(ends);
        self.states.push(state);
        self.delays.push(delay);
        self.attempts.push(attempt);
        self.losses.push(losses);
        self.documents.push(document_);
        self.keeps.push(keeps);
        self.errors.push(error_);
        Ok(())
    }
}

/// What became of one plan.
struct Settled {
    was_written: bool,
    was_recorded: bool,
}

/// Settles plans. An execution that comes twice in the batch is settled by a statement for each time.
pub(super) async fn settle(
    shared: &Shared,
    plans: Vec<SettlePlan>,
) -> punctual_core::Result<Vec<SettleOutcome>> {
    let mut outcomes = vec![SettleOutcome::Fenced; plans.len()];
    let mut left: Vec<(usize, SettlePlan)> = plans.into_iter().enumerate().collect();
    let mut batches = Vec::new();
    while !left.is_empty() {
        let mut seen = BTreeSet::new();
        let (now, later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, plan)| seen.insert(plan.claim.id));
        let (mut places, mut batch) = (Vec::new(), Batch::default());
        for (at, plan) in now {
            places.push(at);
            batch.push(plan)?;
        }
        batches.push((places, batch));
        left = later;
    }
    for (places, batch) in batches {
        for (at, outcome) in places.into_iter().zip(settle_batch(shared, batch).await?) {
            if let Some(place) = outcomes.get_mut(at) {
                *place = outcome;
            }
        }
    }
    Ok(outcomes)
}

/// Ends one execution within a transaction of the user's.
pub(super) async fn complete(step: &mut Step<'_>, plan: SettlePlan) -> Outcome<SettleOutcome> {
    let (claim, mut batch) = (plan.claim, Batch::default());
    batch.push(plan)?;
    for Settled { was_written, was_recorded } in settle_once(step, &batch).await? {
        if was_recorded {
            let why =
                format!("the instant of execution {} has a record of another execution already", claim.id);
            return Err(Error::new(punctual_core::ErrorKind::AlreadyExists, "complete_in", why).into());
        }
        if was_written {
            return Ok(SettleOutcome::Done);
        }
    }
    let ended = known_ends(step, &[(0, claim)]).await?;
    Ok(if ended.is_empty() { SettleOutcome::Fenced } else { SettleOutcome::AlreadyDone })
}

async fn settle_batch(shared: &Shared, batch: Batch) -> punctual_core::Result<Vec<SettleOutcome>> {
    let settled =
        shared.step(OPERATION, Shape::One, &batch, |step, batch| Box::pin(settle_once(step, batch))).await?;
    let mut outcomes: Vec<SettleOutcome> = Vec::with_capacity(settled.len());
    let mut missed = Vec::new();
    for (claim, Settled { was_written, was_recorded }) in batch.claims.iter().zip(settled) {
        if was_recorded {
            // The first record of the instant stays. The trigger is locked before any execution, so not in that step.
            alarm(shared, *claim, &batch.records).await?;
        }
        if !was_written {
            missed.push((outcomes.len(), *claim));
        }
        outcomes.push(if was_written { SettleOutcome::Done } else { SettleOutcome::Fenced });
    }
    if missed.is_empty() {
        return Ok(outcomes);
    }
    let ended = shared
        .step(OPERATION, Shape::One, &missed, |step, missed| Box::pin(known_ends(step, missed)))
        .await?;
    for ord in ended {
        let place = usize::try_from(ord - 1).ok().and_then(|at| missed.get(at));
        if let Some(outcome) = place.and_then(|(at, _)| outcomes.get_mut(*at)) {
            *outcome = SettleOutcome::AlreadyDone;
        }
    }
    Ok(outcomes)
}

async fn alarm(shared: &Shared, claim: ClaimRef, records: &[HistoryRow]) -> punctual_core::Result<()> {
    let record = records.iter().find(|record| record.id == claim.id.to_bytes());
    let Some(trigger) = record.and_then(|record| record.trigger_id) else { return Ok(()) };
    let why = "an instant has two executions; the second one has no record";
    shared
        .step(OPERATION, Shape::One, &trigger, |step, trigger| Box::pin(set_aside(step, *trigger, why)))
        .await
}

async fn known_ends(step: &mut Step<'_>, missed: &[(usize, ClaimRef)]) -> Outcome<Vec<i64>> {
    let Claims { ids, fences, .. } = Claims::of(missed.iter().map(|(_, claim)| claim));
    Ok(step
        .all(sql::KNOWS_END, params![ids, fences])
        .await?
        .iter()
        .map(|row| Columns::of(row).int())
        .collect())
}

async fn settle_once(step: &mut Step<'_>, batch: &Batch) -> Outcome<Vec<Settled>> {
    let Batch { claims, ends, states, delays, attempts, losses, documents, keeps, errors, .. } = batch;
    let Batch { records, has_record, news, .. } = batch;
    let Claims { ids, owners, fences } = Claims::of(claims.iter());
    let given = step.given();
    let mut args =
        params![given, ids, owners, fences, ends, states, delays, attempts, losses, documents, keeps, errors];
    HistoryRow::push_arrays(records, &mut args)?;
    let rows = step.all(sql::SETTLE, args).await?;
    let mut settled = Vec::with_capacity(rows.len());
    for row in &rows {
        let columns = Columns::of(row);
        if columns.int_or_null().is_some() {
            let (was_written, had_none): (bool, bool) = (columns.get(), columns.get());
            let was_recorded = had_none && has_record.get(settled.len()).is_some_and(|it| *it);
            settled.push(Settled { was_written, was_recorded });
        } else {
            columns.pass(2);
            let (slot_key, slots, woken) = (columns.text(), columns.int(), columns.int());
            step.has_free(slot_key.clone(), slots);
            step.woken(&slot_key, woken);
        }
    }
    if settled.iter().any(|one| one.was_written) {
        step.tell(*news);
    }
    Ok(settled)
}
