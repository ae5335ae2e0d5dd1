//! Changes of jobs, triggers, calendars and sets: all of a batch, or none of it.

use punctual_core::job::JobRecord;
use punctual_core::record::{CalendarRow, JobRow, PayloadRow, SetRow, Stored, TriggerRow, document};
use punctual_core::store::{Applied, CalendarRecord, Change, Expect, Leave, LiveWork, SetRecord};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{JobId, Timestamp, TriggerId};

use super::Outcome;
use super::pauses::{follow_pauses, guard, pause_group, resume_group};
use super::work::{cancel_rows, list_of_ids};
use crate::query::values;
use crate::rows::{Columns, IntoValues};
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

pub(super) async fn apply(step: &mut Step<'_>, changes: &[Change]) -> Outcome<Applied> {
    guard(step, changes).await?;
    for (at, change) in changes.iter().enumerate() {
        if change_one(step, change).await? == Fit::Lost {
            step.give_up();
            return Ok(Applied::Lost { at });
        }
    }
    Ok(Applied::All)
}

async fn change_one(step: &mut Step<'_>, change: &Change) -> Outcome<Fit> {
    match change {
        Change::PutJob { expect, job } => put_job(step, *expect, job.clone()).await,
        Change::PutTrigger { expect, trigger } => put_trigger(step, *expect, trigger.clone()).await,
        Change::DeleteTrigger { id, rev, leave } => delete_trigger(step, *id, *rev, leave).await,
        Change::DeleteJob { id, rev, live, leave } => delete_job(step, *id, *rev, *live, leave).await,
        Change::PutSet { expect, set } => put_set(step, *expect, set).await,
        Change::PutCalendar { expect, calendar } => put_calendar(step, *expect, calendar.clone()).await,
        Change::DeleteCalendar { name, rev } => delete_calendar(step, name, *rev).await,
        Change::PauseGroup(paused) => pause_group(step, paused).await.map(|()| Fit::Written),
        Change::ResumeGroup { group } => resume_group(step, group).await.map(|()| Fit::Written),
    }
}

/// What is stored under an id or key, locked.
async fn stored(
    step: &mut Step<'_>,
    find: &'static str,
    (group, name, id): (&str, &str, i64),
) -> Outcome<Option<Stored>> {
    let read = |c: &Columns| (c.int() == id && c.text() == group && c.text() == name, c.int());
    let found = step.all(find, values![id, group, name], read).await?;
    // Whatever is under the id or the key comes once for each; anything that is not both does not fit.
    let same_id = found.iter().all(|(same, _)| *same);
    Ok(found.iter().map(|(_, rev)| *rev).max().map(|rev| Stored::Present { same_id, rev }))
}

async fn put_job(step: &mut Step<'_>, expect: Expect, mut job: JobRecord) -> Outcome<Fit> {
    let key = (job.key.group(), job.key.name(), job.id.get());
    let found = stored(step, sql::FIND_JOB, key).await?;
    let Some(rev) = found.unwrap_or(Stored::Absent { mark: None }).next_rev(expect) else {
        return Ok(Fit::Lost);
    };
    job.rev = rev;
    let row = JobRow::of(&job)?;
    let (id, copies) = (row.id, values![row.kind.clone(), row.priority, row.slot_key.clone(), row.id]);
    let mut values = row.into_values();
    if found.is_none() {
        step.run(sql::PUT_JOB, values).await?;
        return Ok(Fit::Written);
    }
    values.push(id.into());
    step.run(sql::UPDATE_JOB, values).await?;
    step.run(sql::SPREAD_JOB, copies).await?;
    Ok(Fit::Written)
}

async fn put_trigger(step: &mut Step<'_>, expect: Expect, mut trigger: TriggerRecord) -> Outcome<Fit> {
    let key = (trigger.key.group(), trigger.key.name(), trigger.id.get());
    let found = stored(step, sql::FIND_TRIGGER, key).await?;
    let fits = match found {
        Some(found) => found,
        None => {
            let mark = step.number(sql::FIND_MARK, values![key.0, key.1]).await?;
            Stored::Absent { mark: mark.map(Timestamp::from_micros) }
        }
    };
    let Some(rev) = fits.next_rev(expect) else { return Ok(Fit::Lost) };
    trigger.rev = rev;
    follow_pauses(step, &mut trigger).await?;
    let row = TriggerRow::of(&trigger)?;
    let read = |c: &Columns| (c.text(), c.int(), c.text_or_null());
    let job = step.first(sql::JOB_OF_TRIGGER, values![row.job_id], read).await?;
    let Some((kind, job_priority, slot_key)) = job else { return Ok(Fit::Lost) };
    if let Some(calendar) = &row.calendar
        && step.number(sql::CALENDAR_OF_TRIGGER, values![calendar.clone()]).await?.is_none()
    {
        return Ok(Fit::Lost);
    }
    let now = step.now().await?.as_micros();
    let urgency = job_priority.saturating_add(row.priority).saturating_neg();
    let (id, state) = (row.id, row.state);
    let (group, name) = (row.group_name.clone(), row.name.clone());
    let mut values = row.into_values();
    values.extend(values![kind, urgency, slot_key, state, now]);
    if found.is_none() {
        step.run(sql::PUT_TRIGGER, values).await?;
        step.run(sql::DELETE_MARK, values![group, name]).await?;
    } else {
        values.push(id.into());
        step.run(sql::UPDATE_TRIGGER, values).await?;
    }
    step.tell(News::Everywhere);
    Ok(Fit::Written)
}

async fn delete_trigger(step: &mut Step<'_>, id: TriggerId, rev: i64, leave: &Leave) -> Outcome<Fit> {
    let fit = remove_trigger(step, id.get(), rev).await?;
    if fit == Fit::Written {
        let PayloadRow { codec, version, data } = PayloadRow::of(Some(&leave.payload));
        let values = values![document(&leave.spec)?, codec, version, data, id.get()];
        step.run(sql::LEAVE_TRIGGER, values).await?;
    }
    Ok(fit)
}

async fn remove_trigger(step: &mut Step<'_>, id: i64, rev: i64) -> Outcome<Fit> {
    let read = |c: &Columns| (c.text(), c.text(), c.int_or_null());
    let gone = step.first(sql::TRIGGER_TO_DELETE, values![id, rev], read).await?;
    let Some((group, name, last)) = gone else { return Ok(Fit::Lost) };
    step.run(sql::DELETE_TRIGGER, values![id, rev]).await?;
    match last {
        Some(last) => {
            let now = step.now().await?.as_micros();
            step.run(sql::PUT_MARK, values![group, name, last, now, last, now]).await?;
        }
        None => {
            step.run(sql::DELETE_MARK, values![group, name]).await?;
        }
    }
    Ok(Fit::Written)
}

/// Deletes a trigger that upkeep found to be over. Answers how many rows went.
pub(super) async fn retire_trigger(step: &mut Step<'_>, id: i64, rev: i64) -> Outcome<usize> {
    Ok(match remove_trigger(step, id, rev).await? {
        Fit::Written => 1,
        Fit::Lost => 0,
    })
}

/// Locks a job of a revision. `None`: it is gone, was changed, or triggers refer to it.
pub(super) async fn lock_unused_job(step: &mut Step<'_>, id: i64) -> Outcome<Option<i64>> {
    let Some(rev) = step.number(sql::LOCK_JOB, values![id]).await? else { return Ok(None) };
    let is_used = step.holds(sql::TRIGGERS_AT_JOB, values![id]).await?;
    Ok((!is_used).then_some(rev))
}

async fn delete_job(step: &mut Step<'_>, id: JobId, rev: i64, live: LiveWork, leave: &Leave) -> Outcome<Fit> {
    let id = id.get();
    if lock_unused_job(step, id).await? != Some(rev) {
        return Ok(Fit::Lost);
    }
    let rows = step.all(sql::LIVE_OF_JOB, values![id], Columns::id).await?;
    if live == LiveWork::MustBeNone && !rows.is_empty() {
        return Ok(Fit::Lost);
    }
    if Fit::of(step.run(sql::DELETE_JOB, values![id, rev]).await?) == Fit::Lost {
        return Ok(Fit::Lost);
    }
    if rows.is_empty() {
        return Ok(Fit::Written);
    }
    if live == LiveWork::Cancel {
        cancel_rows(step, &rows, JOB_DELETED).await?;
    }
    let PayloadRow { codec, version, data } = PayloadRow::of(Some(&leave.payload));
    let values = values![list_of_ids(&rows)?, document(&leave.spec)?, codec, version, data];
    step.run(sql::LEAVE_JOB, values).await?;
    Ok(Fit::Written)
}

async fn put_set(step: &mut Step<'_>, expect: Expect, set: &SetRecord) -> Outcome<Fit> {
    let rev = step.number(sql::LOCK_SET, values![&*set.name]).await?;
    let found = rev.map_or(Stored::Absent { mark: None }, |rev| Stored::Present { same_id: true, rev });
    let Some(next) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    let row = SetRow {
        name: set.name.to_string(),
        revision: set.revision,
        hash: set.hash,
        written_by: set.by.to_string(),
        rev: next,
        written_us: step.now().await?.as_micros(),
    };
    let mut values = row.into_values();
    if rev.is_none() {
        step.run(sql::PUT_SET, values).await?;
    } else {
        values.push((&*set.name).into());
        step.run(sql::UPDATE_SET, values).await?;
    }
    Ok(Fit::Written)
}

async fn put_calendar(step: &mut Step<'_>, expect: Expect, mut calendar: CalendarRecord) -> Outcome<Fit> {
    let rev = step.number(sql::FIND_CALENDAR, values![&*calendar.name]).await?;
    let found = rev.map_or(Stored::Absent { mark: None }, |rev| Stored::Present { same_id: true, rev });
    let Some(next) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    (calendar.rev, calendar.updated) = (next, step.now().await?);
    let mut values = CalendarRow::of(&calendar)?.into_values();
    if rev.is_none() {
        step.run(sql::PUT_CALENDAR, values).await?;
    } else {
        values.push((&*calendar.name).into());
        step.run(sql::UPDATE_CALENDAR, values).await?;
    }
    Ok(Fit::Written)
}

async fn delete_calendar(step: &mut Step<'_>, name: &str, rev: i64) -> Outcome<Fit> {
    if step.number(sql::FIND_CALENDAR, values![name]).await? != Some(rev)
        || step.holds(sql::TRIGGERS_AT_CALENDAR, values![name]).await?
    {
        return Ok(Fit::Lost);
    }
    Ok(Fit::of(step.run(sql::DELETE_CALENDAR, values![name, rev]).await?))
}
