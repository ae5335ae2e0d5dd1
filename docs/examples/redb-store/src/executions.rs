//! Live rows and the history: `enqueue`, `cancel`, and keeping the indexes beside them.

use std::collections::BTreeMap;

use punctual_core::execution::ExecutionState;
use punctual_core::record::{Coded, ExecutionRow, HistoryRow, after};
use punctual_core::store::{Applied, Cancelled, ClaimRef, Enqueue, PARK};
use punctual_core::{ExecutionId, Fence, NodeId};
use redb::ReadableTable;

use crate::step::Step;
use crate::tables::{KeptExecution, Way, entry, find, save};
use crate::trouble::Tried;

/// The key of an execution: in the order of its bytes, which is the order of ids.
pub(crate) const fn number(id: ExecutionId) -> u128 {
    u128::from_be_bytes(id.to_bytes())
}

impl KeptExecution {
    /// A row that is due at its `wake`.
    pub(crate) const fn new(row: ExecutionRow) -> Self {
        let due_us = row.wake_us;
        Self { row, due_us }
    }

    pub(crate) const fn number(&self) -> u128 {
        u128::from_be_bytes(self.row.id)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.row.state == ExecutionState::Ready.code()
    }

    /// How many may hold the slot key that this row needs.
    pub(crate) fn slot_limit(&self) -> u32 {
        self.row.slot_limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0)
    }

    /// The slot key that this row waits for. What waits for its time is no waiter: it is not due before its `wake`.
    fn waits_for(&self) -> Option<&str> {
        self.row.slot_key.as_deref().filter(|_| self.is_ready() && self.row.wake_us > self.due_us)
    }

    fn instant(&self) -> Option<(i64, i64, i64)> {
        Some((self.row.trigger_id?, self.row.generation?, self.row.scheduled_us))
    }
}

impl Step<'_> {
    pub(crate) fn enqueue(&mut self, work: Vec<Enqueue>) -> Tried<Applied> {
        // How many slots of a key are taken, those included that earlier rows of the batch will need.
        let mut taken: BTreeMap<String, u32> = BTreeMap::new();
        for (at, Enqueue { execution, delay }) in work.into_iter().enumerate() {
            // First of all: a repeated step finds its work, whatever became of the job since.
            if self.is_known(number(execution.id))? {
                continue;
            }
            if let Some(job) = &execution.job
                && self.tables.job.get(job.id.get())?.is_none()
            {
                self.forget();
                return Ok(Applied::Lost { at });
            }
            let mut row = ExecutionRow::ready(&execution, self.now)?;
            if let Some(delay) = delay {
                row.scheduled_us = after(self.now, delay);
                row.wake_us = row.scheduled_us;
            }
            let mut new = KeptExecution::new(row);
            if let Some(slot) = execution.slot.filter(|_| new.due_us <= self.now_us()) {
                let held = self.held(&slot.key)?;
                let taken = taken.entry(slot.key.to_string()).or_insert(held);
                if *taken >= slot.limit || self.somebody_waits(&slot.key)? {
                    new.row.wake_us = after(self.now, PARK);
                } else {
                    *taken += 1;
                }
            }
            self.put_execution(None, &new)?;
        }
        self.tell();
        Ok(Applied::All)
    }

    pub(crate) fn cancel(&mut self, ids: &[ExecutionId], why: &str) -> Tried<Cancelled> {
        let mut done = Cancelled::default();
        for id in ids {
            match self.cancel_one(number(*id), why)? {
                Some(Stop::Ended) => done.ended += 1,
                Some(Stop::Asked) => done.asked += 1,
                None => {}
            }
        }
        Ok(done)
    }

    /// Ends a row that nobody owns, and marks one that somebody does.
    pub(crate) fn cancel_one(&mut self, id: u128, why: &str) -> Tried<Option<Stop>> {
        let Some(old) = self.execution(id)? else { return Ok(None) };
        if old.row.is_owned() {
            let mut new = old.clone();
            new.row.cancel = Some(why.to_owned());
            self.put_execution(Some(&old), &new)?;
            return Ok(Some(Stop::Asked));
        }
        self.end(&old, &HistoryRow::cancelled(&old.row, why, self.now))?;
        Ok(Some(Stop::Ended))
    }

    /// Moves a row to the history and frees its slot.
    pub(crate) fn end(&mut self, old: &KeptExecution, record: &HistoryRow) -> Tried<()> {
        self.record(record)?;
        self.drop_unrecorded(old)
    }

    /// Ends an execution of which nothing is to be known afterwards.
    pub(crate) fn drop_unrecorded(&mut self, old: &KeptExecution) -> Tried<()> {
        self.place_execution(old, Way::Out)?;
        self.tables.execution.remove(old.number())?;
        self.free_slot(old)
    }

    pub(crate) fn record(&mut self, row: &HistoryRow) -> Tried<()> {
        self.place_record(row, Way::In)?;
        save(&mut self.tables.history, u128::from_be_bytes(row.id), row)
    }

    pub(crate) fn place_record(&mut self, row: &HistoryRow, way: Way) -> Tried<()> {
        let id = u128::from_be_bytes(row.id);
        entry(&mut self.tables.history_end, way, (row.ended_us, id), ())?;
        if let (Some(trigger), Some(generation)) = (row.trigger_id, row.generation) {
            let instant = (trigger, generation, row.scheduled_us);
            entry(&mut self.tables.past_instant, way, instant, id)?;
        }
        Ok(())
    }

    pub(crate) fn execution(&self, id: u128) -> Tried<Option<KeptExecution>> {
        find(&self.tables.execution, id)
    }

    /// Whether an id is there already, live or in the history.
    pub(crate) fn is_known(&self, id: u128) -> Tried<bool> {
        Ok(self.tables.execution.get(id)?.is_some() || self.tables.history.get(id)?.is_some())
    }

    pub(crate) fn executions_of_trigger(&self, trigger: i64) -> Tried<Vec<u128>> {
        let all = (trigger, i64::MIN, i64::MIN)..=(trigger, i64::MAX, i64::MAX);
        self.tables.live_instant.range(all)?.map(|entry| Ok(entry?.1.value())).collect()
    }

    pub(crate) fn executions_of_job(&self, job: i64) -> Tried<Vec<u128>> {
        let entries = self.tables.job_execution.range((job, 0)..=(job, u128::MAX))?;
        entries.map(|entry| Ok(entry?.0.value().1)).collect()
    }

    /// Writes a live row in place of its old one.
    pub(crate) fn put_execution(&mut self, old: Option<&KeptExecution>, new: &KeptExecution) -> Tried<()> {
        if let Some(old) = old {
            self.place_execution(old, Way::Out)?;
        }
        self.place_execution(new, Way::In)?;
        save(&mut self.tables.execution, new.number(), new)
    }

    /// Every index that a live row is in.
    fn place_execution(&mut self, kept: &KeptExecution, way: Way) -> Tried<()> {
        let (tables, row, id) = (&mut self.tables, &kept.row, kept.number());
        if kept.is_ready() {
            entry(&mut tables.ready, way, (&*row.kind, row.priority.saturating_neg(), row.wake_us, id), ())?;
        }
        if let Some(key) = kept.waits_for() {
            entry(&mut tables.parked_row, way, (key, row.priority.saturating_neg(), kept.due_us, id), ())?;
        }
        if let Some(owner) = row.owner {
            entry(&mut tables.owned, way, (owner, id), ())?;
        }
        if let Some(job) = row.job_id {
            entry(&mut tables.job_execution, way, (job, id), ())?;
        }
        if let Some(instant) = kept.instant() {
            entry(&mut tables.live_instant, way, instant, id)?;
        }
        Ok(())
    }
}

/// What a cancellation did to a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    Ended,
    Asked,
}

/// The claim that a row has. A row that nobody owns has one that fits nobody.
pub(crate) fn claim_of(row: &ExecutionRow) -> ClaimRef {
    let owner = NodeId::from_stored(row.owner.unwrap_or(0));
    ClaimRef { id: ExecutionId::from_bytes(row.id), owner, fence: Fence::from_stored(row.fence) }
}
