//! `apply`: changes of definitions, all of them or none. A change of what cannot be read at all is an error, since nobody
//! could say what it replaces.

use punctual_core::record::{CalendarRow, JobRow, PayloadRow, SetRow, Stored, TriggerRow, document};
use punctual_core::store::{Applied, CalendarRecord, Change, Expect, Leave, LiveWork, SetRecord};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{JobId, Timestamp, TriggerId};
use redb::ReadableTable;

use crate::step::Step;
use crate::tables::{KeptTrigger, load, save};
use crate::trouble::Tried;

/// Why live rows of a deleted job are to stop.
const JOB_DELETED: &str = "its job was deleted";

/// Whether a change fitted.
type Fits = bool;

impl Step<'_> {
    pub(crate) fn apply(&mut self, changes: Vec<Change>) -> Tried<Applied> {
        for (at, change) in changes.into_iter().enumerate() {
            if !self.change(change)? {
                self.forget();
                return Ok(Applied::Lost { at });
            }
        }
        self.tell();
        Ok(Applied::All)
    }

    fn change(&mut self, change: Change) -> Tried<Fits> {
        match change {
            Change::PutJob { expect, job } => self.change_job(expect, JobRow::of(&job)?),
            Change::PutTrigger { expect, trigger } => self.change_trigger(expect, trigger),
            Change::DeleteTrigger { id, rev, leave } => self.delete_trigger(id, rev, &leave),
            Change::DeleteJob { id, rev, live, leave } => self.delete_job(id, rev, live, &leave),
            Change::PutSet { expect, set } => self.change_set(expect, &set),
            Change::PutCalendar { expect, calendar } => self.change_calendar(expect, &calendar),
            Change::DeleteCalendar { name, rev } => self.delete_calendar(&name, rev),
            Change::PauseGroup(paused) => self.pause_group(&paused).map(|()| true),
            Change::ResumeGroup { group } => self.resume_group(&group).map(|()| true),
        }
    }

    fn change_job(&mut self, expect: Expect, mut row: JobRow) -> Tried<Fits> {
        let id = self.tables.job_key.get((&*row.group_name, &*row.name))?.map(|id| id.value());
        let old = id.map(|id| load::<i64, JobRow>(&self.tables.job, id)).transpose()?.flatten();
        let stored = stored(old.map(|old| (old.id == row.id, old.rev)), None);
        let is_anothers = id != Some(row.id) && self.tables.job.get(row.id)?.is_some();
        let Some(rev) = stored.next_rev(expect).filter(|_| !is_anothers) else { return Ok(false) };
        row.rev = rev;
        self.put_job(&row)?;
        Ok(true)
    }

    fn change_trigger(&mut self, expect: Expect, mut trigger: TriggerRecord) -> Tried<Fits> {
        trigger.follow_pauses(self.is_paused(trigger.key.group())?);
        let mut row = TriggerRow::of(&trigger)?;
        let key = (&*row.group_name, &*row.name);
        let id = self.tables.trigger_key.get(key)?.map(|id| id.value());
        let mark = self.tables.mark.get(key)?.map(|mark| Timestamp::from_micros(mark.value().0));
        let old: Option<KeptTrigger> = id.map(|id| load(&self.tables.trigger, id)).transpose()?.flatten();
        let stored = stored(old.as_ref().map(|old| (old.row.id == row.id, old.row.rev)), mark);
        let is_anothers = id != Some(row.id) && self.tables.trigger.get(row.id)?.is_some();
        let rev = stored.next_rev(expect).filter(|_| !is_anothers);
        let (Some(rev), Some(job)) = (rev, self.job(row.job_id)?) else { return Ok(false) };
        if let Some(calendar) = &row.calendar
            && self.tables.calendar.get(&**calendar)?.is_none()
        {
            return Ok(false);
        }
        self.tables.mark.remove(key)?;
        row.rev = rev;
        let mut new = KeptTrigger::new(row, &job);
        new.completed_us = old.as_ref().and_then(|old| old.completed_us);
        self.put_trigger(old.as_ref(), new)?;
        Ok(true)
    }

    fn delete_trigger(&mut self, id: TriggerId, rev: i64, leave: &Leave) -> Tried<Fits> {
        let Some(old) = self.trigger(id.get())?.filter(|old| old.row.rev == rev) else { return Ok(false) };
        for execution in self.executions_of_trigger(id.get())? {
            self.leave(execution, leave)?;
        }
        self.remove_trigger(&old)?;
        Ok(true)
    }

    fn delete_job(&mut self, id: JobId, rev: i64, live: LiveWork, leave: &Leave) -> Tried<Fits> {
        let Some(old) = self.job(id.get())?.filter(|old| old.rev == rev) else { return Ok(false) };
        let executions = self.executions_of_job(id.get())?;
        let waits = live == LiveWork::MustBeNone && !executions.is_empty();
        if waits || !self.triggers_of(id.get())?.is_empty() {
            return Ok(false);
        }
        for execution in executions {
            self.leave(execution, leave)?;
            if live == LiveWork::Cancel {
                self.cancel_one(execution, JOB_DELETED)?;
            }
        }
        self.remove_job(&old)?;
        Ok(true)
    }

    /// Writes into a live row what it has inherited so far.
    fn leave(&mut self, id: u128, leave: &Leave) -> Tried<()> {
        let Some(old) = self.execution(id)? else { return Ok(()) };
        let mut new = old.clone();
        if new.row.spec.is_none() {
            new.row.spec = Some(document(&leave.spec)?);
        }
        if new.row.payload == PayloadRow::default() {
            new.row.payload = PayloadRow::of(Some(&leave.payload));
        }
        self.put_execution(Some(&old), &new)
    }

    fn change_set(&mut self, expect: Expect, set: &SetRecord) -> Tried<Fits> {
        let old: Option<SetRow> = load(&self.tables.set, &set.name)?;
        let Some(rev) = stored(old.map(|old| (true, old.rev)), None).next_rev(expect) else {
            return Ok(false);
        };
        let row = SetRow { rev, written_us: self.now_us(), ..SetRow::of(set) };
        save(&mut self.tables.set, &set.name, &row)?;
        Ok(true)
    }

    fn change_calendar(&mut self, expect: Expect, calendar: &CalendarRecord) -> Tried<Fits> {
        let old: Option<CalendarRow> = load(&self.tables.calendar, &calendar.name)?;
        let Some(rev) = stored(old.map(|old| (true, old.rev)), None).next_rev(expect) else {
            return Ok(false);
        };
        let row = CalendarRow { rev, updated_us: self.now_us(), ..CalendarRow::of(calendar)? };
        save(&mut self.tables.calendar, &calendar.name, &row)?;
        Ok(true)
    }

    fn delete_calendar(&mut self, name: &str, rev: i64) -> Tried<Fits> {
        let old: Option<CalendarRow> = load(&self.tables.calendar, name)?;
        let mut users = self.tables.calendar_trigger.range((name, i64::MIN)..=(name, i64::MAX))?;
        if old.is_none_or(|old| old.rev != rev) || users.next().is_some() {
            return Ok(false);
        }
        self.tables.calendar.remove(name)?;
        Ok(true)
    }
}

/// What is stored under a key: whether it has the id of the change, and its revision.
fn stored(found: Option<(bool, i64)>, mark: Option<Timestamp>) -> Stored {
    match found {
        Some((same_id, rev)) => Stored::Present { same_id, rev },
        None => Stored::Absent { mark },
    }
}
