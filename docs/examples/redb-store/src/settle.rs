//! `begin` and `settle`: the guarded writes of an owner.

use punctual_core::execution::ExecutionState;
use punctual_core::record::{Coded, HistoryRow};
use punctual_core::store::{ClaimRef, SettleOutcome, SettlePlan, Settlement};
use redb::ReadableTable;

use crate::executions::number;
use crate::step::Step;
use crate::tables::{KeptExecution, load};
use crate::trouble::Tried;

impl Step<'_> {
    pub(crate) fn begin(&mut self, claim: ClaimRef) -> Tried<SettleOutcome> {
        let Some(old) = self.claimed(claim)? else { return Ok(SettleOutcome::Fenced) };
        let mut new = old.clone();
        new.row.state = ExecutionState::Running.code();
        self.put_execution(Some(&old), &new)?;
        Ok(SettleOutcome::Done)
    }

    pub(crate) fn settle(&mut self, plan: &SettlePlan) -> Tried<SettleOutcome> {
        let Some(old) = self.claimed(plan.claim)? else {
            self.disown_unreadable(plan.claim)?;
            return self.was_done(plan.claim);
        };
        match &plan.then {
            Settlement::End(record) => self.end(&old, &HistoryRow::of(record)?)?,
            Settlement::Forget => self.drop_unrecorded(&old)?,
            Settlement::Back(back) => {
                let mut row = old.row.clone();
                row.put_back(plan.claim, back, self.now)?;
                self.put_execution(Some(&old), &KeptExecution::new(row))?;
                if !back.keep_slot {
                    self.free_slot(&old)?;
                }
                self.tell();
            }
        }
        Ok(SettleOutcome::Done)
    }

    /// The row, if the claim is the one that it has.
    fn claimed(&self, claim: ClaimRef) -> Tried<Option<KeptExecution>> {
        let row = self.execution(number(claim.id))?;
        let its = (Some(claim.owner.get()), claim.fence.get());
        Ok(row.filter(|kept| (kept.row.owner, kept.row.fence) == its))
    }

    /// A live row whose value is no row cannot be settled, but its owner's list can be cleared of it.
    fn disown_unreadable(&mut self, claim: ClaimRef) -> Tried<()> {
        let id = number(claim.id);
        if self.tables.execution.get(id)?.is_some() && self.execution(id)?.is_none() {
            self.tables.owned.remove((claim.owner.get(), id))?;
        }
        Ok(())
    }

    /// Whether an earlier try of the same step had committed.
    fn was_done(&self, claim: ClaimRef) -> Tried<SettleOutcome> {
        let record: Option<HistoryRow> = load(&self.tables.history, number(claim.id))?;
        let done = record.is_some_and(|record| record.fence == claim.fence.get());
        Ok(if done { SettleOutcome::AlreadyDone } else { SettleOutcome::Fenced })
    }
}
