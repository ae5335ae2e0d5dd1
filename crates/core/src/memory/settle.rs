//! The guarded writes of an owner: beginning a body, and what becomes of the execution after it.

use super::state::{Live, State};
use crate::error::{Error, Result};
use crate::execution::ExecutionState;
use crate::store::{Back, ClaimRef, SettleOutcome, SettlePlan, Settlement};
use crate::time::Timestamp;

impl State {
    /// The row of a claim, if it still is that claim's.
    fn claimed(&mut self, claim: ClaimRef) -> Option<&mut Live> {
        let ClaimRef { id, owner, fence } = claim;
        self.live.get_mut(&id).filter(|live| live.row.owner == Some(owner) && live.row.fence == fence)
    }

    pub(super) fn begin(&mut self, claims: &[ClaimRef]) -> Vec<SettleOutcome> {
        let mut outcomes = Vec::with_capacity(claims.len());
        for claim in claims {
            outcomes.push(match self.claimed(*claim) {
                Some(live) => {
                    live.row.state = ExecutionState::Running;
                    SettleOutcome::Done
                }
                // Whatever the history says: a body that is not known to be this claim's must not begin.
                None => SettleOutcome::Fenced,
            });
        }
        outcomes
    }

    pub(super) fn settle(&mut self, now: Timestamp, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        for plan in &plans {
            check(plan)?;
        }
        Ok(plans.into_iter().map(|plan| self.settle_one(now, plan)).collect())
    }

    fn settle_one(&mut self, now: Timestamp, plan: SettlePlan) -> SettleOutcome {
        let SettlePlan { claim, then } = plan;
        let Some(live) = self.claimed(claim) else {
            let earlier = self.history.get(&claim.id).filter(|record| record.fence == claim.fence);
            return if earlier.is_some() { SettleOutcome::AlreadyDone } else { SettleOutcome::Fenced };
        };
        match then {
            Settlement::End(record) => {
                self.live.remove(&claim.id);
                self.record(*record);
                self.free_slot_of(claim.id);
            }
            Settlement::Forget => {
                self.live.remove(&claim.id);
                self.free_slot_of(claim.id);
            }
            Settlement::Back(Back { state, delay, attempt, losses, attempts, keep_slot, error }) => {
                live.due = now.plus(delay);
                let row = &mut live.row;
                row.state = state;
                row.owner = None;
                row.wake = now.plus(delay);
                row.attempt = attempt;
                row.losses = losses;
                row.attempts = attempts;
                row.error = error;
                self.news |= state == ExecutionState::Ready;
                if !keep_slot {
                    self.free_slot_of(claim.id);
                }
            }
        }
        SettleOutcome::Done
    }
}

/// Refuses plans that no row could follow, before anything is written.
fn check(plan: &SettlePlan) -> Result<()> {
    let SettlePlan { claim, then } = plan;
    match then {
        Settlement::End(record) if record.id != claim.id => Err(Error::invalid(
            "settle",
            format!("the record of execution {} cannot end execution {}", record.id, claim.id),
        )),
        Settlement::Back(back) if !matches!(back.state, ExecutionState::Ready | ExecutionState::Held) => Err(
            Error::invalid("settle", format!("execution {} cannot go back as {:?}", claim.id, back.state)),
        ),
        Settlement::End(_) | Settlement::Forget | Settlement::Back(_) => Ok(()),
    }
}
