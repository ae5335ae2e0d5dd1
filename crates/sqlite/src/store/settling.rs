//! The guarded writes of an owner: beginning a body, and what becomes of the execution after it.

use punctual_core::Error;
use punctual_core::record::{HistoryRow, after, back_code, document};
use punctual_core::store::{Back, ClaimRef, SettleOutcome, SettlePlan, Settlement};
use rusqlite::params;

use super::firing::set_aside;
use super::{Outcome, slots};
use crate::rows::ToParams;
use crate::sql;
use crate::step::{News, Step};

pub(super) fn begin(step: &Step<'_>, claims: &[ClaimRef]) -> Outcome<Vec<SettleOutcome>> {
    let begin_one = |claim: &ClaimRef| {
        let ClaimRef { id, owner, fence } = claim;
        let rows = step.run(sql::BEGIN, params![id.to_bytes(), owner.get(), fence.get()])?;
        // Whatever the history says: a body that is not known to be this claim's must not begin.
        Ok(if rows > 0 { SettleOutcome::Done } else { SettleOutcome::Fenced })
    };
    claims.iter().map(begin_one).collect()
}

pub(super) fn settle(step: &Step<'_>, plans: Vec<SettlePlan>) -> Outcome<Vec<SettleOutcome>> {
    let settling = Settling::begin(step)?;
    plans.into_iter().map(|plan| settling.settle(plan)).collect()
}

/// What settlements of one step have in common.
pub(super) struct Settling<'s, 'c> {
    step: &'s Step<'c>,
    /// Whether anything held a slot when the step began; if nothing did, nothing is to be freed.
    slots: bool,
}

impl<'s, 'c> Settling<'s, 'c> {
    pub(super) fn begin(step: &'s Step<'c>) -> Outcome<Self> {
        Ok(Self { step, slots: step.holds(sql::SLOT_IS_HELD, [])? })
    }

    pub(super) fn settle(&self, plan: SettlePlan) -> Outcome<SettleOutcome> {
        let (step, SettlePlan { claim, then }) = (self.step, plan);
        let (id, owner, fence) = (claim.id.to_bytes(), claim.owner.get(), claim.fence.get());
        let (settled, frees) = match then {
            Settlement::End(record) => {
                if record.id != claim.id {
                    let why =
                        format!("the record of execution {} cannot end execution {}", record.id, claim.id);
                    return Err(Error::invalid("settle", why).into());
                }
                let gone = step.run(sql::SETTLE_END, params![id, owner, fence])? > 0;
                if gone {
                    record_end(step, &HistoryRow::of(&record)?)?;
                }
                (gone, true)
            }
            Settlement::Forget => (step.run(sql::SETTLE_END, params![id, owner, fence])? > 0, true),
            Settlement::Back(Back { state, delay, attempt, losses, attempts, keep_slot, error }) => {
                let (state, attempts) = (back_code(claim, state)?, document(&attempts)?);
                let wake = after(step.now(), delay);
                let values = params![id, owner, fence, state, wake, attempt, losses, attempts, error];
                let back = step.run(sql::SETTLE_BACK, values)? > 0;
                if back {
                    // Others need not know of what comes later; this process may sleep for something later still.
                    step.tell(if delay.is_zero() { News::Everywhere } else { News::Here });
                }
                (back, !keep_slot)
            }
        };
        if !settled {
            let earlier = step.holds(sql::KNOWS_END, params![id, fence])?;
            return Ok(if earlier { SettleOutcome::AlreadyDone } else { SettleOutcome::Fenced });
        }
        if frees && self.slots {
            slots::free(step, &id)?;
        }
        Ok(SettleOutcome::Done)
    }
}

/// Appends the record of an execution that ran. If its occurrence is there already, that first record stays, and the
/// trigger that fired twice is set aside; the batch goes on.
fn record_end(step: &Step<'_>, row: &HistoryRow) -> Outcome<()> {
    if step.run(sql::INSERT_HISTORY, &*row.params())? == 0
        && let Some(trigger) = row.trigger_id
    {
        set_aside(step, trigger, "an instant has two executions; the second one has no record")?;
    }
    Ok(())
}
