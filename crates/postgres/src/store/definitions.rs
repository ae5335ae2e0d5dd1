//! Changes of jobs, triggers, calendars and sets: all of a batch, or none of it.
//!
//! What a change compares is locked by the comparison, and compared once more by the write; where there is nothing to
//! lock because the record is not there, a unique key decides, and whoever breaches it has lost.

use punctual_core::job::JobRecord;
use punctual_core::record::{CalendarRow, JobRow, PayloadRow, SetRow, Stored, TriggerRow, document};
use punctual_core::store::{Applied, CalendarRecord, Change, Expect, Leave, LiveWork, SetRecord};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{JobId, Timestamp, TriggerId};

use super::pauses::{follow_pauses, guard, pause_group, resume_group};
use super::slots::wake_freed;
use super::work::end_cancelled;
use crate::rows::{Columns, ToParams, params, plain};
use crate::sql;
use crate::step::{News, Outcome, Step};

/// What a live row is told when its job is deleted.
const JOB_DELETED: &str = "its job was deleted";

/// Whether a change fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    Written,
    Lost,
}

impl Fit {
    const fn of(rows: u64) -> Self {
        if rows == 0 { Self::Lost } else { Self::Written }
    }
}

pub(super) async fn apply(step: &mut Step<'_>, changes: &[Change]) -> Outcome<Applied> {
    guard(step, changes).await?;
    for (at, change) in changes.iter().enumerate() {
        let fit = match change_one(step, change).await {
            // Somebody else has just created a record under this key or id.
            Err(failure) if failure.is_breach() => Fit::Lost,
            other => other?,
        };
        if fit == Fit::Lost {
            step.undo();
            return Ok(Applied::Lost { at });
        }
    }
    // Not sooner: a trigger that is woken has another `rev`, and a later change of the batch may name the old one.
    wake_freed(step).await?;
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
        Change::DeleteCalendar { name, rev } => {
            step.run(sql::FIND_CALENDAR, params![&**name]).await?;
            Ok(Fit::of(step.run(sql::DELETE_CALENDAR, params![&**name, rev]).await?))
        }
        Change::PauseGroup(paused) => pause_group(step, paused).await.map(|()| Fit::Written),
        Change::ResumeGroup { group } => resume_group(step, group).await.map(|()| Fit::Written),
    }
}

/// What is stored under a key or id; a mark is asked for only where there can be one.
async fn stored(
    step: &mut Step<'_>,
    find: &'static str,
    (group, name, id): (&str, &str, i64),
    mark: Option<&'static str>,
) -> Outcome<Stored> {
    let found = step.first(find, params![group, name, id]).await?;
    let found = found.as_ref().map(Columns::of).map(|row| (row.int(), row.get::<bool>(), row.int()));
    let (rows, same_id, rev) = found.unwrap_or_default();
    if rows > 0 {
        return Ok(Stored::Present { same_id, rev });
    }
    let mark = match mark {
        Some(find_mark) => step.value(find_mark, params![group, name]).await?,
        None => None,
    };
    Ok(Stored::Absent { mark: mark.map(Timestamp::from_micros) })
}

async fn put_job(step: &mut Step<'_>, expect: Expect, mut job: JobRecord) -> Outcome<Fit> {
    let key = (job.key.group(), job.key.name(), job.id.get());
    let Some(rev) = stored(step, sql::FIND_JOB, key, None).await?.next_rev(expect) else {
        return Ok(Fit::Lost);
    };
    job.rev = rev;
    let row = JobRow::of(&job)?;
    let fit = Fit::of(step.run(sql::PUT_JOB, row.params()?).await?);
    if fit == Fit::Written && rev > 1 {
        step.run(sql::SPREAD_JOB, params![row.id, row.kind, row.priority]).await?;
    }
    Ok(fit)
}

async fn put_trigger(step: &mut Step<'_>, expect: Expect, mut trigger: TriggerRecord) -> Outcome<Fit> {
    let key = (trigger.key.group(), trigger.key.name(), trigger.id.get());
    if matches!(expect, Expect::Absent { .. }) {
        step.run(sql::LOCK_KEY, params![key.0, key.1]).await?;
    }
    let found = stored(step, sql::FIND_TRIGGER, key, Some(sql::FIND_MARK)).await?;
    let Some(rev) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    trigger.rev = rev;
    follow_pauses(step, &mut trigger).await?;
    let row = TriggerRow::of(&trigger)?;
    let given = step.given();
    let mut args = params![given];
    row.push_to(&mut args)?;
    if step.run(sql::PUT_TRIGGER, args).await? == 0 {
        return Ok(Fit::Lost);
    }
    step.run(sql::DELETE_MARK, params![row.group_name, row.name]).await?;
    step.tell(News::Everywhere);
    Ok(Fit::Written)
}

async fn leave_behind(step: &mut Step<'_>, sql: &'static str, of: i64, leave: &Leave) -> Outcome<()> {
    let PayloadRow { codec, version, data } = PayloadRow::of(Some(&leave.payload));
    step.run(sql, params![of, document(&leave.spec)?, codec, version, data]).await?;
    Ok(())
}

async fn delete_trigger(step: &mut Step<'_>, id: TriggerId, rev: i64, leave: &Leave) -> Outcome<Fit> {
    let fit = remove_trigger(step, id.get(), rev).await?;
    if fit == Fit::Written {
        leave_behind(step, sql::LEAVE_TRIGGER, id.get(), leave).await?;
    }
    Ok(fit)
}

async fn remove_trigger(step: &mut Step<'_>, id: i64, rev: i64) -> Outcome<Fit> {
    let Some(gone) = step.first(sql::DELETE_TRIGGER, params![id, rev]).await? else { return Ok(Fit::Lost) };
    let gone = Columns::of(&gone);
    let (group, name, last) = (gone.text(), gone.text(), gone.int_or_null());
    let given = step.given();
    match last {
        Some(last) => step.run(sql::PUT_MARK, params![given, group, name, last]).await?,
        None => step.run(sql::DELETE_MARK, params![group, name]).await?,
    };
    Ok(Fit::Written)
}

async fn delete_job(step: &mut Step<'_>, id: JobId, rev: i64, live: LiveWork, leave: &Leave) -> Outcome<Fit> {
    let id = id.get();
    step.run(sql::LOCK_JOB, params![id]).await?;
    if live == LiveWork::MustBeNone && step.one(sql::LIVE_OF_JOB, params![id]).await? {
        return Ok(Fit::Lost);
    }
    let fit = Fit::of(step.run(sql::DELETE_JOB, params![id, rev]).await?);
    if fit == Fit::Lost {
        return Ok(fit);
    }
    leave_behind(step, sql::LEAVE_JOB, id, leave).await?;
    if live == LiveWork::Cancel {
        let ids = step.all(sql::UNOWNED_OF_JOB, params![id]).await?;
        let ids: Vec<[u8; 16]> = ids.iter().map(|row| Columns::of(row).id()).collect();
        step.all(sql::LOCK_EXECUTIONS, params![&ids]).await?;
        end_cancelled(step, &ids, JOB_DELETED).await?;
        step.run(sql::CANCEL_OWNED_OF_JOB, params![id, JOB_DELETED]).await?;
    }
    Ok(fit)
}

async fn put_set(step: &mut Step<'_>, expect: Expect, set: &SetRecord) -> Outcome<Fit> {
    let found = match step.row::<SetRow>(sql::SET, params![&*set.name]).await? {
        None => Stored::Absent { mark: None },
        Some(read) => Stored::Present { same_id: true, rev: read.row.rev },
    };
    let Some(rev) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    let (given, by) = (step.given(), plain(&set.by));
    let values = params![given, &*set.name, set.revision, set.hash, by, rev];
    Ok(Fit::of(step.run(sql::PUT_SET, values).await?))
}

async fn put_calendar(step: &mut Step<'_>, expect: Expect, mut calendar: CalendarRecord) -> Outcome<Fit> {
    let found = match step.value(sql::FIND_CALENDAR, params![&*calendar.name]).await? {
        None => Stored::Absent { mark: None },
        Some(rev) => Stored::Present { same_id: true, rev },
    };
    let Some(rev) = found.next_rev(expect) else { return Ok(Fit::Lost) };
    calendar.rev = rev;
    let CalendarRow { name, document, rev, .. } = CalendarRow::of(&calendar)?;
    let given = step.given();
    Ok(Fit::of(step.run(sql::PUT_CALENDAR, params![given, name, document, rev]).await?))
}
