//! Jobs, triggers, marks, calendars and sets, and the step that changes them: all of a batch, or nothing.

use std::collections::BTreeMap;

use super::state::State;
use crate::execution::ExecutionState;
use crate::job::JobRecord;
use crate::key::{ExecutionId, JobId, JobKey, TriggerId, TriggerKey};
use crate::pause::{Pause, PausedGroup};
use crate::store::{Applied, CalendarRecord, Change, Expect, Leave, LiveWork, SetRecord};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

/// What a live row is told when its job is deleted.
const JOB_DELETED: &str = "its job was deleted";

/// The definitions.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    pub(super) jobs: BTreeMap<JobId, JobRecord>,
    pub(super) job_ids: BTreeMap<JobKey, JobId>,
    pub(super) triggers: BTreeMap<TriggerId, StoredTrigger>,
    pub(super) trigger_ids: BTreeMap<TriggerKey, TriggerId>,
    pub(super) marks: BTreeMap<TriggerKey, Mark>,
    pub(super) sets: BTreeMap<Box<str>, SetRecord>,
    pub(super) calendars: BTreeMap<Box<str>, CalendarRecord>,
    pub(super) paused_groups: BTreeMap<Box<str>, Pause>,
}

/// A trigger's row with what only upkeep needs.
#[derive(Clone, Debug)]
pub(super) struct StoredTrigger {
    pub(super) record: TriggerRecord,
    /// When it became complete.
    pub(super) completed: Option<Timestamp>,
}

impl StoredTrigger {
    /// Notes the time at which the trigger became complete.
    pub(super) fn note_end(&mut self, now: Timestamp) {
        self.completed = match self.record.state {
            TriggerState::Complete => self.completed.or(Some(now)),
            TriggerState::Active | TriggerState::Paused | TriggerState::Error => None,
        };
    }
}

/// What a deleted trigger left under its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) last: Timestamp,
    pub(super) written: Timestamp,
}

/// What was there before a change, so that a batch that loses leaves nothing.
enum Before {
    Job(JobId, Option<JobRecord>),
    Trigger(TriggerId, Option<Box<StoredTrigger>>),
    Mark(TriggerKey, Option<Mark>),
    Set(Box<str>, Option<SetRecord>),
    Calendar(Box<str>, Option<CalendarRecord>),
    Pause(Box<str>, Option<Pause>),
}

/// What a change does to live rows, once it is known that the batch applies.
enum Effect {
    /// Rows of a trigger keep what they inherited.
    LeaveTrigger(TriggerId, Leave),
    /// Rows of a job keep what they inherited, and end if they were told to.
    LeaveJob(JobId, LiveWork, Leave),
}

/// A change that did not fit.
struct Lost;

impl Definitions {
    fn set_job(&mut self, id: JobId, job: Option<JobRecord>) -> Before {
        let before = self.jobs.remove(&id);
        if let Some(old) = &before {
            self.job_ids.remove(&old.key);
        }
        if let Some(job) = job {
            self.job_ids.insert(job.key.clone(), id);
            self.jobs.insert(id, job);
        }
        Before::Job(id, before)
    }

    fn set_trigger(&mut self, id: TriggerId, trigger: Option<StoredTrigger>) -> Before {
        let before = self.triggers.remove(&id);
        if let Some(old) = &before {
            self.trigger_ids.remove(&old.record.key);
        }
        if let Some(stored) = trigger {
            self.trigger_ids.insert(stored.record.key.clone(), id);
            self.triggers.insert(id, stored);
        }
        Before::Trigger(id, before.map(Box::new))
    }

    fn set_mark(&mut self, key: &TriggerKey, mark: Option<Mark>) -> Before {
        let before = match mark {
            Some(mark) => self.marks.insert(key.clone(), mark),
            None => self.marks.remove(key),
        };
        Before::Mark(key.clone(), before)
    }

    fn set_set(&mut self, name: &str, set: Option<SetRecord>) -> Before {
        let before = match set {
            Some(set) => self.sets.insert(name.into(), set),
            None => self.sets.remove(name),
        };
        Before::Set(name.into(), before)
    }

    fn set_calendar(&mut self, name: &str, calendar: Option<CalendarRecord>) -> Before {
        let before = match calendar {
            Some(calendar) => self.calendars.insert(name.into(), calendar),
            None => self.calendars.remove(name),
        };
        Before::Calendar(name.into(), before)
    }

    fn set_pause(&mut self, group: &str, pause: Option<Pause>) -> Before {
        let before = match pause {
            Some(pause) => self.paused_groups.insert(group.into(), pause),
            None => self.paused_groups.remove(group),
        };
        Before::Pause(group.into(), before)
    }

    /// Brings the triggers of a group to what the pauses say, under new revisions.
    fn follow_pauses(&mut self, group: &str, undo: &mut Vec<Before>) {
        let wrong = |stored: &&StoredTrigger| {
            let record = &stored.record;
            record.key.group() == group && record.state != record.state.under(self.is_paused(record))
        };
        let wrong: Vec<StoredTrigger> = self.triggers.values().filter(wrong).cloned().collect();
        for mut stored in wrong {
            let record = &mut stored.record;
            record.state = record.state.under(self.is_paused(record));
            record.wake = record.next_fire;
            record.rev = record.rev.saturating_add(1);
            undo.push(self.set_trigger(record.id, Some(stored)));
        }
    }

    /// Whether a trigger is under a pause.
    fn is_paused(&self, trigger: &TriggerRecord) -> bool {
        trigger.paused.is_some() || self.paused_groups.contains_key(trigger.key.group())
    }

    /// Whether the calendar that a trigger names, if any, is there.
    fn has_calendar_of(&self, trigger: &TriggerRecord) -> bool {
        trigger.spec.calendar.as_ref().is_none_or(|name| self.calendars.contains_key(name))
    }

    /// The triggers that name a calendar.
    pub(super) fn users_of<'a>(&'a self, calendar: &'a str) -> impl Iterator<Item = &'a TriggerRecord> {
        let in_order = self.trigger_ids.values().filter_map(|id| self.triggers.get(id));
        in_order
            .map(|stored| &stored.record)
            .filter(|trigger| trigger.spec.calendar.as_deref() == Some(calendar))
    }

    fn restore(&mut self, before: Before) {
        let _undone = match before {
            Before::Job(id, job) => self.set_job(id, job),
            Before::Trigger(id, trigger) => self.set_trigger(id, trigger.map(|trigger| *trigger)),
            Before::Mark(key, mark) => self.set_mark(&key, mark),
            Before::Set(name, set) => self.set_set(&name, set),
            Before::Calendar(name, calendar) => self.set_calendar(&name, calendar),
            Before::Pause(group, pause) => self.set_pause(&group, pause),
        };
    }

    /// Deletes a trigger and remembers its last instant under its key.
    pub(super) fn remove_trigger(&mut self, id: TriggerId, now: Timestamp) {
        if let Some(stored) = self.triggers.get(&id) {
            let (key, last) = (stored.record.key.clone(), stored.record.last);
            self.set_trigger(id, None);
            self.set_mark(&key, last.map(|last| Mark { last, written: now }));
        }
    }

    /// Deletes a job that nothing refers to.
    pub(super) fn remove_job(&mut self, id: JobId) {
        self.set_job(id, None);
    }

    /// Whether a trigger refers to the job.
    pub(super) fn is_used(&self, job: JobId) -> bool {
        self.triggers.values().any(|stored| stored.record.job_id == job)
    }
}

/// The next `rev` of a record, if what is stored under its key is what was expected.
fn next_rev(stored: Option<(bool, i64)>, expect: Expect, mark: Option<Timestamp>) -> Result<i64, Lost> {
    match (stored, expect) {
        (None, Expect::Absent { mark: expected }) if expected == mark => Ok(1),
        (Some((true, rev)), Expect::Rev(expected)) if expected == rev => Ok(rev + 1),
        _ => Err(Lost),
    }
}

impl State {
    pub(super) fn apply(&mut self, now: Timestamp, changes: Vec<Change>) -> Applied {
        let mut undo = Vec::new();
        let mut effects = Vec::new();
        for (at, change) in changes.into_iter().enumerate() {
            if let Err(Lost) = self.change(now, change, &mut undo, &mut effects) {
                undo.into_iter().rev().for_each(|before| self.definitions.restore(before));
                return Applied::Lost { at };
            }
        }
        for effect in effects {
            self.take_effect(now, effect);
        }
        self.news = true;
        Applied::All
    }

    fn change(
        &mut self,
        now: Timestamp,
        change: Change,
        undo: &mut Vec<Before>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Lost> {
        let here = &mut self.definitions;
        match change {
            Change::PutJob { expect, mut job } => {
                let stored = here.job_ids.get(&job.key).and_then(|id| here.jobs.get(id));
                job.rev = next_rev(stored.map(|old| (old.id == job.id, old.rev)), expect, None)?;
                if stored.is_none() && here.jobs.contains_key(&job.id) {
                    return Err(Lost);
                }
                undo.push(here.set_job(job.id, Some(job)));
            }
            Change::PutTrigger { expect, mut trigger } => {
                let stored = here.trigger_ids.get(&trigger.key).and_then(|id| here.triggers.get(id));
                let mark = here.marks.get(&trigger.key).map(|mark| mark.last);
                let found = stored.map(|old| (old.record.id == trigger.id, old.record.rev));
                trigger.rev = next_rev(found, expect, mark)?;
                let id_is_taken = stored.is_none() && here.triggers.contains_key(&trigger.id);
                let has_job = here.jobs.contains_key(&trigger.job_id);
                if id_is_taken || !has_job || !here.has_calendar_of(&trigger) {
                    return Err(Lost);
                }
                let completed = stored.and_then(|old| old.completed);
                trigger.follow_pauses(here.paused_groups.contains_key(trigger.key.group()));
                let mut stored = StoredTrigger { record: trigger, completed };
                stored.note_end(now);
                undo.push(here.set_mark(&stored.record.key, None));
                undo.push(here.set_trigger(stored.record.id, Some(stored)));
            }
            Change::DeleteTrigger { id, rev, leave } => {
                let stored = here.triggers.get(&id).filter(|stored| stored.record.rev == rev).ok_or(Lost)?;
                let (key, last) = (stored.record.key.clone(), stored.record.last);
                undo.push(here.set_trigger(id, None));
                undo.push(here.set_mark(&key, last.map(|last| Mark { last, written: now })));
                effects.push(Effect::LeaveTrigger(id, leave));
            }
            Change::DeleteJob { id, rev, live, leave } => {
                here.jobs.get(&id).filter(|job| job.rev == rev).ok_or(Lost)?;
                let has_rows =
                    || self.live.values().any(|live| live.row.job.as_ref().is_some_and(|of| of.id == id));
                if here.is_used(id) || (live == LiveWork::MustBeNone && has_rows()) {
                    return Err(Lost);
                }
                undo.push(here.set_job(id, None));
                effects.push(Effect::LeaveJob(id, live, leave));
            }
            Change::PutSet { expect, mut set } => {
                let stored = here.sets.get(&set.name);
                set.rev = next_rev(stored.map(|old| (true, old.rev)), expect, None)?;
                set.written = now;
                undo.push(here.set_set(&set.name.clone(), Some(set)));
            }
            Change::PutCalendar { expect, mut calendar } => {
                let stored = here.calendars.get(&calendar.name);
                calendar.rev = next_rev(stored.map(|old| (true, old.rev)), expect, None)?;
                calendar.updated = now;
                undo.push(here.set_calendar(&calendar.name.clone(), Some(calendar)));
            }
            Change::DeleteCalendar { name, rev } => {
                here.calendars.get(&name).filter(|stored| stored.rev == rev).ok_or(Lost)?;
                if here.users_of(&name).next().is_some() {
                    return Err(Lost);
                }
                undo.push(here.set_calendar(&name, None));
            }
            Change::PauseGroup(PausedGroup { group, pause }) => {
                undo.push(here.set_pause(&group, Some(pause)));
                here.follow_pauses(&group, undo);
            }
            Change::ResumeGroup { group } => {
                undo.push(here.set_pause(&group, None));
                here.follow_pauses(&group, undo);
            }
        }
        Ok(())
    }

    fn take_effect(&mut self, now: Timestamp, effect: Effect) {
        let (leave, live) = match &effect {
            Effect::LeaveTrigger(_, leave) => (leave, LiveWork::Detach),
            Effect::LeaveJob(_, live, leave) => (leave, *live),
        };
        let mut to_end: Vec<ExecutionId> = Vec::new();
        for live_row in self.live.values_mut() {
            let row = &mut live_row.row;
            let inherits = match &effect {
                Effect::LeaveTrigger(id, _) => row.occurrence.as_ref().is_some_and(|of| of.trigger_id == *id),
                Effect::LeaveJob(id, ..) => row.job.as_ref().is_some_and(|of| of.id == *id),
            };
            if !inherits {
                continue;
            }
            row.spec.get_or_insert_with(|| leave.spec.clone());
            row.payload.get_or_insert_with(|| leave.payload.clone());
            if live == LiveWork::Cancel {
                match row.state {
                    ExecutionState::Ready | ExecutionState::Held => to_end.push(row.id),
                    ExecutionState::Claimed | ExecutionState::Running => {
                        row.cancel.get_or_insert_with(|| JOB_DELETED.into());
                    }
                }
            }
        }
        for id in to_end {
            self.end_cancelled(now, id, JOB_DELETED);
        }
    }
}
