//! The guarded writes of an owner: beginning a body, and what becomes of the execution after it.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::record::{HistoryRow, after, back_code, document};
use punctual_core::store::{Back, ClaimRef, SettleOutcome, SettlePlan, Settlement};
use punctual_core::{Error, Timestamp};

use super::Outcome;
use super::firing::set_aside;
use super::slots::{self, Live};
use super::work::{list_of_ids, places};
use crate::error::Remedy;
use crate::query::{digits, values};
use crate::rows::IntoValues;
use crate::sql;
use crate::step::{Manner, News, Step};

fn matches(row: &Live, claim: ClaimRef) -> bool {
    row.owner == Some(claim.owner.get()) && row.fence == claim.fence.get()
}

pub(super) async fn begin(step: &mut Step<'_>, claims: &[ClaimRef]) -> Outcome<Vec<SettleOutcome>> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = claims.iter().map(|claim| claim.id.to_bytes()).collect();
    let rows: BTreeMap<_, _> =
        slots::lock_rows(step, &ids).await?.into_iter().map(|row| (row.id, row)).collect();
    let mut begun = BTreeSet::new();
    let mut outcomes = Vec::with_capacity(claims.len());
    for claim in claims {
        // Whatever the history says: a body that is not known to be this claim's must not begin.
        let is_its = rows.get(&claim.id.to_bytes()).is_some_and(|row| matches(row, *claim));
        if is_its {
            begun.insert(claim.id.to_bytes());
        }
        outcomes.push(if is_its { SettleOutcome::Done } else { SettleOutcome::Fenced });
    }
    if !begun.is_empty() {
        let begun: Vec<_> = begun.into_iter().collect();
        step.run(sql::BEGIN, values![list_of_ids(&begun)?]).await?;
    }
    Ok(outcomes)
}

/// A row that goes back, as the statement takes it: id, state, wake, attempt, losses, attempts, error.
type BackValues = (String, i64, i64, u32, u32, String, Option<String>);

/// What a settlement writes.
#[derive(Default)]
struct Batch {
    records: Vec<HistoryRow>,
    ended: Vec<[u8; 16]>,
    back: Vec<BackValues>,
    /// Rows that had a slot and keep none.
    freed: Vec<[u8; 16]>,
}

pub(super) async fn settle(step: &mut Step<'_>, plans: &[SettlePlan]) -> Outcome<Vec<SettleOutcome>> {
    for SettlePlan { claim, then } in plans {
        check(*claim, then)?;
    }
    if plans.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<_> = plans.iter().map(|plan| plan.claim.id.to_bytes()).collect();
    let mut rows: BTreeMap<_, _> =
        slots::lock_live(step, &ids).await?.into_iter().map(|row| (row.id, row)).collect();
    let goes_back = plans.iter().any(|plan| matches!(plan.then, Settlement::Back(_)));
    let now = if goes_back { step.now().await? } else { Timestamp::EPOCH };
    let mut batch = Batch::default();
    let mut outcomes = Vec::with_capacity(plans.len());
    for SettlePlan { claim, then } in plans {
        let id = claim.id.to_bytes();
        // A second plan for the same claim finds nothing any more.
        let Some(row) = rows.get(&id).filter(|row| matches(row, *claim)).cloned() else {
            outcomes.push(SettleOutcome::Fenced);
            continue;
        };
        rows.remove(&id);
        let frees = batch.add(step, *claim, then, now)?;
        if frees && row.slot_key.is_some() {
            batch.freed.push(id);
        }
        outcomes.push(SettleOutcome::Done);
    }
    batch.write(step).await?;
    find_earlier(step, plans, &mut outcomes).await?;
    Ok(outcomes)
}

fn check(claim: ClaimRef, then: &Settlement) -> Outcome<()> {
    match then {
        Settlement::End(record) if record.id != claim.id => {
            let why = format!("the record of execution {} cannot end execution {}", record.id, claim.id);
            Err(Error::invalid("settle", why).into())
        }
        Settlement::End(_) | Settlement::Forget => Ok(()),
        Settlement::Back(back) => Ok(back_code(claim, back.state).map(drop)?),
    }
}

/// Looks which of the claims that match no row had ended with this fence before.
async fn find_earlier(
    step: &mut Step<'_>,
    plans: &[SettlePlan],
    outcomes: &mut [SettleOutcome],
) -> Outcome<()> {
    let fenced: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, outcome)| **outcome == SettleOutcome::Fenced)
        .map(|(at, _)| at)
        .collect();
    if fenced.is_empty() {
        return Ok(());
    }
    let claims: Vec<_> = fenced
        .iter()
        .filter_map(|at| plans.get(*at))
        .map(|plan| (digits(&plan.claim.id.to_bytes()), plan.claim.fence.get()))
        .collect();
    for place in places(step, sql::KNOWS_END, document(&claims)?).await? {
        if let Some(outcome) = fenced.get(place).and_then(|at| outcomes.get_mut(*at)) {
            *outcome = SettleOutcome::AlreadyDone;
        }
    }
    Ok(())
}

impl Batch {
    /// Adds what a plan writes. Answers whether it frees a slot.
    fn add(
        &mut self,
        step: &mut Step<'_>,
        claim: ClaimRef,
        then: &Settlement,
        now: Timestamp,
    ) -> Outcome<bool> {
        let id = claim.id.to_bytes();
        match then {
            Settlement::End(record) => {
                self.records.push(HistoryRow::of(record)?);
                self.ended.push(id);
                Ok(true)
            }
            Settlement::Forget => {
                self.ended.push(id);
                Ok(true)
            }
            Settlement::Back(Back { state, delay, attempt, losses, attempts, keep_slot, error }) => {
                let (state, attempts) = (back_code(claim, *state)?, document(attempts)?);
                let (wake, error) = (after(now, *delay), error.as_ref().map(ToString::to_string));
                self.back.push((digits(&id), state, wake, *attempt, *losses, attempts, error));
                // Others need not know of what comes later; this process may sleep for something later still.
                step.tell(if delay.is_zero() { News::Everywhere } else { News::Here });
                Ok(!keep_slot)
            }
        }
    }

    async fn write(self, step: &mut Step<'_>) -> Outcome<()> {
        let Self { records, ended, back, freed } = self;
        match step.manner() {
            Manner::AtOnce => {
                let rows = records.into_iter().map(IntoValues::into_values).collect();
                step.insert(sql::INSERT_HISTORY, rows).await?;
            }
            Manner::OneByOne => {
                for record in records {
                    record_end(step, record).await?;
                }
            }
        }
        if !ended.is_empty() {
            step.run(sql::SETTLE_END, values![list_of_ids(&ended)?]).await?;
        }
        if !back.is_empty() {
            step.run(sql::SETTLE_BACK, values![document(&back)?]).await?;
        }
        slots::free(step, &freed).await
    }
}

/// Appends the record of an execution that ran. If its occurrence is there already, that first record stays, and the
/// trigger that fired twice is set aside; the batch goes on.
async fn record_end(step: &mut Step<'_>, record: HistoryRow) -> Outcome<()> {
    let trigger = record.trigger_id;
    step.begin_part().await?;
    let written = step.insert(sql::INSERT_HISTORY, vec![record.into_values()]).await;
    let is_twice = matches!(&written, Err(failure) if failure.remedy() == Remedy::Carefully);
    let written = step.end_part(written).await;
    if !is_twice {
        return written;
    }
    match trigger {
        Some(trigger) => {
            set_aside(step, trigger, "an instant has two executions; the second one has no record").await
        }
        None => Ok(()),
    }
}
