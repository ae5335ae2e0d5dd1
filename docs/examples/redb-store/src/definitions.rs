//! Jobs and triggers as rows: looking them up, and keeping the indexes beside them.

use punctual_core::record::{Coded, JobRow, TriggerRow};
use punctual_core::store::TriggerPatch;
use punctual_core::trigger::TriggerState;

use punctual_core::record::HistoryRow;
use redb::ReadableTable;

use crate::step::Step;
use crate::tables::{KeptTrigger, Way, entry, find, save};
use crate::trouble::Tried;

impl KeptTrigger {
    pub(crate) fn is_active(&self) -> bool {
        self.row.state == TriggerState::Active.code()
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.row.state == TriggerState::Complete.code()
    }

    /// Parked is what is looked at later than it is due, and then it waits for a slot.
    fn parked_since(&self) -> Option<i64> {
        self.row.next_fire_us.filter(|next| self.is_active() && self.row.wake_us > Some(*next))
    }

    /// Copies what the indexes need from the job.
    pub(crate) fn inherit(&mut self, job: &JobRow) {
        self.kind.clone_from(&job.kind);
        self.rank = job.priority.saturating_add(self.row.priority);
        self.slot_key.clone_from(&job.slot_key);
    }

    /// Notes since when the trigger has been complete.
    fn note_completion(&mut self, now: i64) {
        self.completed_us = self.is_complete().then(|| self.completed_us.unwrap_or(now));
    }
}

impl Step<'_> {
    pub(crate) fn job(&self, id: i64) -> Tried<Option<JobRow>> {
        find(&self.tables.job, id)
    }

    pub(crate) fn trigger(&self, id: i64) -> Tried<Option<KeptTrigger>> {
        find(&self.tables.trigger, id)
    }

    /// The ids of a job's triggers.
    pub(crate) fn triggers_of(&self, job: i64) -> Tried<Vec<i64>> {
        let entries = self.tables.job_trigger.range((job, i64::MIN)..=(job, i64::MAX))?;
        entries.map(|entry| Ok(entry?.0.value().1)).collect()
    }

    /// Writes a job, and moves its triggers to where they belong now.
    pub(crate) fn put_job(&mut self, job: &JobRow) -> Tried<()> {
        save(&mut self.tables.job, job.id, job)?;
        self.tables.job_key.insert((&*job.group_name, &*job.name), job.id)?;
        for id in self.triggers_of(job.id)? {
            if let Some(old) = self.trigger(id)? {
                let mut new = old.clone();
                new.inherit(job);
                self.put_trigger(Some(&old), new)?;
            }
        }
        Ok(())
    }

    pub(crate) fn remove_job(&mut self, job: &JobRow) -> Tried<()> {
        self.tables.job.remove(job.id)?;
        self.tables.job_key.remove((&*job.group_name, &*job.name))?;
        Ok(())
    }

    /// Writes a trigger in place of its old row.
    pub(crate) fn put_trigger(&mut self, old: Option<&KeptTrigger>, mut new: KeptTrigger) -> Tried<()> {
        new.note_completion(self.now_us());
        if let Some(old) = old {
            self.place_trigger(old, Way::Out)?;
        }
        self.place_trigger(&new, Way::In)?;
        save(&mut self.tables.trigger, new.row.id, &new)
    }

    /// Deletes a trigger. Its last instant stays as the mark of its key.
    pub(crate) fn remove_trigger(&mut self, old: &KeptTrigger) -> Tried<()> {
        self.place_trigger(old, Way::Out)?;
        self.tables.trigger.remove(old.row.id)?;
        if let Some(last) = old.row.last_us {
            self.tables.mark.insert((&*old.row.group_name, &*old.row.name), (last, self.now.as_micros()))?;
        }
        Ok(())
    }

    /// Writes a claim's patch: the trigger moves on, and what it leaves out enters the history.
    pub(crate) fn patch(&mut self, old: &KeptTrigger, patch: &TriggerPatch) -> Tried<()> {
        if !patch.skips.is_empty() {
            let job = self.job(old.row.job_id)?.unwrap_or_default();
            for skip in &patch.skips {
                self.record(&HistoryRow::skipped(&old.row, &job, skip, self.now))?;
            }
        }
        let mut new = old.clone();
        new.row.patch(patch)?;
        self.put_trigger(Some(old), new)
    }

    /// Every index that a trigger is in.
    fn place_trigger(&mut self, kept: &KeptTrigger, way: Way) -> Tried<()> {
        let (tables, row) = (&mut self.tables, &kept.row);
        entry(&mut tables.trigger_key, way, (&*row.group_name, &*row.name), row.id)?;
        entry(&mut tables.job_trigger, way, (row.job_id, row.id), ())?;
        if let Some(calendar) = &row.calendar {
            entry(&mut tables.calendar_trigger, way, (&**calendar, row.id), ())?;
        }
        if let Some(wake) = row.wake_us.filter(|_| kept.is_active()) {
            entry(&mut tables.due, way, (&*kept.kind, wake, kept.rank.saturating_neg(), row.id), row.slice)?;
        }
        if let (Some(since), Some(key)) = (kept.parked_since(), &kept.slot_key) {
            entry(&mut tables.parked_trigger, way, (&**key, since, kept.rank.saturating_neg(), row.id), ())?;
        }
        if let (Some(completed), None) = (kept.completed_us, &row.set_name) {
            entry(&mut tables.completed, way, (completed, row.id), ())?;
        }
        Ok(())
    }
}

impl KeptTrigger {
    /// A row that is not stored yet.
    pub(crate) fn new(row: TriggerRow, job: &JobRow) -> Self {
        let mut kept = Self { row, kind: String::new(), rank: 0, slot_key: None, completed_us: None };
        kept.inherit(job);
        kept
    }
}
