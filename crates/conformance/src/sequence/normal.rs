//! Takes out what the contract leaves open: the order of the lists of a check-in, the words of a store's own reasons,
//! how many rows of its own an upkeep deletes, and which of several free slots of a key is taken, which shows in fences.

use punctual_core::Fence;
use punctual_core::execution::{Attempt, Execution, HistoryRecord};
use punctual_core::store::{ClaimOutcome, Readable};
use punctual_core::trigger::TriggerRecord;

use super::definitions::POOL;
use crate::step::Answer;

/// An answer.
pub(super) fn answer(mut answer: Answer) -> Answer {
    match &mut answer {
        Answer::CheckedIn(reply) => {
            reply.nodes.sort_by_key(|node| node.info.id);
            reply.owned.sort_by_key(|owned| owned.id);
            reply.gone_owners.sort_unstable();
            // The rows themselves are compared.
            reply.owned.iter_mut().for_each(|owned| owned.fence = Fence::NONE);
        }
        Answer::Due(due) => {
            for row in &mut due.triggers {
                if let Readable::Row(row) = row {
                    trigger(&mut row.trigger);
                }
            }
        }
        Answer::Claimed(claimed) => {
            for outcome in &mut claimed.outcomes {
                if let ClaimOutcome::Fired(fences) = outcome {
                    fences.fill(Fence::NONE);
                }
            }
        }
        Answer::Ready(claimed) => claimed.work.iter_mut().for_each(work),
        Answer::Orphans(rows) => rows.iter_mut().for_each(work),
        // Rows that only the store knows of are counted, too.
        Answer::Pruned(pruned) => pruned.other = 0,
        _ => {}
    }
    answer
}

fn work(row: &mut Readable<punctual_core::execution::ExecutionWithJob>) {
    if let Readable::Row(row) = row {
        execution(&mut row.execution);
    }
}

/// A live row.
pub(super) fn execution(row: &mut Execution) {
    if row.slot.as_ref().is_some_and(|slot| &*slot.key == POOL) {
        row.fence = Fence::NONE;
    }
    row.attempts.iter_mut().for_each(attempt);
}

/// A record, which does not say what slot it had.
pub(super) fn record(record: &mut HistoryRecord) {
    record.fence = Fence::NONE;
    record.attempts.iter_mut().for_each(attempt);
}

fn attempt(attempt: &mut Attempt) {
    attempt.fence = Fence::NONE;
}

/// A trigger.
pub(super) fn trigger(trigger: &mut TriggerRecord) {
    if let Some(error) = &mut trigger.error {
        *error = "some reason".into();
    }
}
