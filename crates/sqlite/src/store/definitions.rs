//! Changes of jobs, triggers, calendars and sets: all of a batch, or none of it.

use punctual_core::job::JobRecord;
use punctual_core::record::{CalendarRow, JobRow, PayloadRow, SetRow, Stored, TriggerRow, document};
use punctual_core::store::{Applied, CalendarRecord, Change, Expect, Leave, LiveWork, SetRecord};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{JobId, Timestamp, TriggerId};
use rusqlite::params;

use super::Outcome;
use super::pauses::{follow_pauses, pause_group, resume_group};
use super::work::end_cancelled;
use crate::rows::{FromColumns, ToParams};
use crate::sql;
use crate::step::{News, Step};

/// What a live row is told when its job is deleted.
const JOB_DELETED: &str = "its job was deleted";

/// Whether a change fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Written,
    Lost,
}

impl Fit {
    const fn of(rows: usize) -> Self {
        if rows == 0 { Self::Lost } else { Self::Written }
    }
}

pub(super) fn apply(step: &Step<'_>, changes: Vec<Change>) -> Outcome<Applied> {
    let mut lost = None;
    let undone = step.part(|| {
        for (at, change) in changes.into_iter().enumerate() {
            if change_one(step, change)? == Fit::Lost {
                lost = Some(at);
                // An error that is not shown: it makes the savepoint undo what the earlier changes wrote.
                return Err(punctual_core::Error::internal("apply", "a change did not fit").into());
            }
        }
        Ok(())
    });
    match lost {
        Some(at) => Ok(Applied::Lost { at }),
        None => undone.map(|()| Applied::All),
    }
}

fn change_one(step: &Step<'_>, change: Change) -> Outcome<Fit> {
    match change {
        Change::PutJob { expect, job } => put_job(step, expect, job),
        Change::PutTrigger { expect, trigger } => put_trigger(step, expect, trigger),
        Change::DeleteTrigger { id, rev, leave } => delete_trigger(step, id, rev, &leave),
        Change::DeleteJob { id, rev, live, leave } => delete_job(step, id, rev, live, &leave),
        Change::PutSet { expect, set } => put_set(step, expect, set),
        Change::PutCalendar { expect, calendar } => put_calendar(step, expect, calendar),
        Change::DeleteCalendar { name, rev } => {
            Ok(Fit::of(step.run(sql::DELETE_CALENDAR, params![name, rev])?))
        }
        Change::PauseGroup(paused) => pause_group(step, &paused).map(|()| Fit::Written),
        Change::ResumeGroup { group } => resume_group(step, &group).map(|()| Fit::Written),
    }
}

/// What is stored under a key or id; a mark is asked for only where there can be one.
fn stored(
    step: &Step<'_>,
    find: &'static str,
    (group, name, id): (&str, &str, i64),
    mark: Option<&'static str>,
) -> Outcome<Stored> {
    let found =
        step.first(find, params![group, name, id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let (rows, same_id, rev): (i64, bool, i64) = found.unwrap_or_default();
    if rows > 0 {
        return Ok(Stored::Present { same_id, rev });
    }
    let mark = match mark {
        Some(find_mark) => step.number(find_mark, params![group, name])?,
        None => None,
    };
    Ok(Stored::Absent { mark: mark.map(Timestamp::from_micros) })
}

fn put_job(step: &Step<'_>, expect: Expect, mut job: JobRecord) -> Outcome<Fit> {
    let key = (job.key.group(), job.key.name(), job.id.get());
    let Some(rev) = stored(step, sql::FIND_JOB, key, None)?.next_rev(expect) else { return Ok(Fit::Lost) };
    job.rev = rev;
    let row = JobRow::of(&job)?;
    step.run(sql::PUT_JOB, &*row.params())?;
    step.run(sql::SPREAD_JOB, params![row.id, row.kind, row.priority])?;
    Ok(Fit::Written)
}

fn put_trigger(step: &Step<'_>, expect: Expect, mut trigger: TriggerRecord) -> Outcome<Fit> {
    let key = (trigger.key.group(), trigger.key.name(), trigger.id.get());
    let found = stored(step, sql::FIND_TRIGGER, key, Some(sql::FIND_MARK))?;
    let Some(rev) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    trigger.rev = rev;
    follow_pauses(step, &mut trigger)?;
    let row = TriggerRow::of(&trigger)?;
    let now = step.now().as_micros();
    let mut values = row.params();
    values.push(&now);
    if step.run(sql::PUT_TRIGGER, &*values)? == 0 {
        return Ok(Fit::Lost);
    }
    step.run(sql::DELETE_MARK, params![row.group_name, row.name])?;
    step.tell(News::Everywhere);
    Ok(Fit::Written)
}

fn leave_behind(step: &Step<'_>, sql: &'static str, of: i64, leave: &Leave) -> Outcome<()> {
    let PayloadRow { codec, version, data } = PayloadRow::of(Some(&leave.payload));
    step.run(sql, params![of, document(&leave.spec)?, codec, version, data])?;
    Ok(())
}

fn delete_trigger(step: &Step<'_>, id: TriggerId, rev: i64, leave: &Leave) -> Outcome<Fit> {
    let fit = remove_trigger(step, id.get(), rev)?;
    if fit == Fit::Written {
        leave_behind(step, sql::LEAVE_TRIGGER, id.get(), leave)?;
    }
    Ok(fit)
}

fn remove_trigger(step: &Step<'_>, id: i64, rev: i64) -> Outcome<Fit> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let gone: Option<(String, String, Option<i64>)> =
        step.first(sql::DELETE_TRIGGER, params![id, rev], read)?;
    let Some((group, name, last)) = gone else { return Ok(Fit::Lost) };
    match last {
        Some(last) => step.run(sql::PUT_MARK, params![group, name, last, step.now().as_micros()])?,
        None => step.run(sql::DELETE_MARK, params![group, name])?,
    };
    Ok(Fit::Written)
}

/// Deletes a trigger that upkeep found to be over. Answers how many rows went.
pub(super) fn retire_trigger(step: &Step<'_>, id: i64, rev: i64) -> Outcome<usize> {
    Ok(match remove_trigger(step, id, rev)? {
        Fit::Written => 1,
        Fit::Lost => 0,
    })
}

fn delete_job(step: &Step<'_>, id: JobId, rev: i64, live: LiveWork, leave: &Leave) -> Outcome<Fit> {
    let id = id.get();
    if live == LiveWork::MustBeNone && step.holds(sql::LIVE_OF_JOB, [id])? {
        return Ok(Fit::Lost);
    }
    let fit = Fit::of(step.run(sql::DELETE_JOB, params![id, rev])?);
    if fit == Fit::Lost {
        return Ok(fit);
    }
    leave_behind(step, sql::LEAVE_JOB, id, leave)?;
    if live == LiveWork::Cancel {
        for execution in step.all(sql::UNOWNED_OF_JOB, [id], |row| row.get::<_, Vec<u8>>(0))? {
            end_cancelled(step, &execution, JOB_DELETED)?;
        }
        step.run(sql::CANCEL_OWNED_OF_JOB, params![id, JOB_DELETED])?;
    }
    Ok(fit)
}

fn put_set(step: &Step<'_>, expect: Expect, set: SetRecord) -> Outcome<Fit> {
    let found = step.first(sql::SET, [&*set.name], SetRow::from_row)?;
    let found = match found {
        None => Stored::Absent { mark: None },
        Some(read) => Stored::Present { same_id: true, rev: read.row.rev },
    };
    let Some(rev) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    let row = SetRow {
        name: set.name.into(),
        revision: set.revision,
        hash: set.hash,
        written_by: set.by.into(),
        rev,
        written_us: step.now().as_micros(),
    };
    step.run(sql::PUT_SET, &*row.params())?;
    Ok(Fit::Written)
}

fn put_calendar(step: &Step<'_>, expect: Expect, mut calendar: CalendarRecord) -> Outcome<Fit> {
    let found = match step.number(sql::FIND_CALENDAR, [&*calendar.name])? {
        None => Stored::Absent { mark: None },
        Some(rev) => Stored::Present { same_id: true, rev },
    };
    let Some(rev) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    (calendar.rev, calendar.updated) = (rev, step.now());
    step.run(sql::PUT_CALENDAR, &*CalendarRow::of(&calendar)?.params())?;
    Ok(Fit::Written)
}
