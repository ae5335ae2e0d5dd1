//! Putting work in, and asking it to stop.

use std::collections::BTreeMap;

use super::state::{Instant, State};
use crate::error::{Error, ErrorKind, Result};
use crate::execution::{Execution, ExecutionState, NewExecution};
use crate::key::{ExecutionId, Fence, NodeId};
use crate::store::{Applied, Cancelled, Enqueue, PARK};
use crate::time::Timestamp;

/// The first row of an execution: nobody's, and ready at its scheduled instant.
pub(super) fn first_row(new: NewExecution, now: Timestamp) -> Execution {
    let NewExecution { id, occurrence, job, kind, scheduled, priority, spec, payload, slot, catch_up } = new;
    Execution {
        id,
        occurrence,
        job,
        kind,
        scheduled,
        priority,
        state: ExecutionState::Ready,
        owner: None,
        fence: Fence::NONE,
        attempt: 1,
        losses: 0,
        wake: scheduled,
        slot,
        catch_up,
        spec,
        payload,
        attempts: Vec::new(),
        cancel: None,
        error: None,
        created: now,
    }
}

/// The row of an execution that its node claims in the step that makes it.
pub(super) fn claimed_row(new: NewExecution, now: Timestamp, node: NodeId, fence: Fence) -> Execution {
    Execution { state: ExecutionState::Claimed, owner: Some(node), fence, ..first_row(new, now) }
}

impl State {
    pub(super) fn enqueue(&mut self, now: Timestamp, work: Vec<Enqueue>) -> Result<Applied> {
        let mut rows: Vec<Execution> = Vec::new();
        for (at, Enqueue { execution, delay }) in work.into_iter().enumerate() {
            if self.knows(execution.id) || rows.iter().any(|row| row.id == execution.id) {
                continue;
            }
            if execution.job.as_ref().is_some_and(|job| !self.definitions.jobs.contains_key(&job.id)) {
                return Ok(Applied::Lost { at });
            }
            let scheduled = delay.map_or(execution.scheduled, |delay| now.plus(delay));
            if let Some(of) = &execution.occurrence
                && self.occurrences.contains(&Instant::of(of, scheduled))
            {
                let why = format!("trigger {} has an execution of {scheduled} already", of.key);
                return Err(Error::new(ErrorKind::AlreadyExists, "enqueue", why));
            }
            rows.push(first_row(NewExecution { scheduled, ..execution }, now));
        }
        self.news |= !rows.is_empty();
        let mut taken: BTreeMap<Box<str>, u32> = BTreeMap::new();
        for row in rows {
            let (id, slot) = (row.id, row.slot.clone().filter(|_| row.wake <= now));
            self.insert(row);
            let Some(slot) = slot else { continue };
            let taken = taken.entry(slot.key.clone()).or_default();
            if self.slots.held(&slot.key).saturating_add(*taken) < slot.limit
                && !self.has_parked_rows(&slot.key)
            {
                *taken += 1;
            } else if let Some(live) = self.live.get_mut(&id) {
                live.row.wake = now.plus(PARK);
            }
        }
        Ok(Applied::All)
    }

    pub(super) fn cancel(&mut self, now: Timestamp, ids: &[ExecutionId], why: &str) -> Cancelled {
        let mut done = Cancelled::default();
        for id in ids {
            let Some(live) = self.live.get_mut(id) else { continue };
            match live.row.state {
                ExecutionState::Ready | ExecutionState::Held => {
                    self.end_cancelled(now, *id, why);
                    done.ended += 1;
                }
                ExecutionState::Claimed | ExecutionState::Running => {
                    live.row.cancel.get_or_insert_with(|| why.into());
                    done.asked += 1;
                }
            }
        }
        done
    }
}
