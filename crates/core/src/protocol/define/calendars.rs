//! Calendars: a change of one moves the triggers that name it.

use std::sync::Arc;
use std::time::Duration;

use super::{CalendarDefinition, caught_up, instants_of};
use crate::calendar::Calendar;
use crate::error::{Error, Result};
use crate::store::{CalendarRecord, Change, Expect};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

/// The change that writes a calendar as it is, so that a change of it that is under way meanwhile loses, or is noticed.
pub(super) fn touched(stored: &CalendarRecord) -> Change {
    Change::PutCalendar { expect: Expect::Rev(stored.rev), calendar: stored.clone() }
}

/// Plans a calendar with the triggers that name it: no change if it is there as wanted.
///
/// Each of them goes on, in a new generation, with its first instant under the new calendar that was not decided about
/// yet; a claim that was planned under the old one loses. What the old calendar left out before now stays left out.
/// Triggers that are set aside stay so.
///
/// # Errors
/// `Invalid` if the name is no name, or the calendar cannot move the instants of a trigger that wants that;
/// `Unsupported` if the custom schedule of a trigger is not resolved.
pub fn put_calendar(
    found: Option<&CalendarRecord>,
    wanted: &CalendarDefinition,
    triggers: &[TriggerRecord],
    now: Timestamp,
) -> Result<Vec<Change>> {
    let Some((expect, calendar)) = plan_calendar(found, wanted, now)? else { return Ok(Vec::new()) };
    let mut changes = vec![Change::PutCalendar { expect, calendar }];
    for trigger in triggers {
        changes.extend(recomputed(trigger, &wanted.calendar, now)?.map(rewritten));
    }
    Ok(changes)
}

pub(super) fn plan_calendar(
    found: Option<&CalendarRecord>,
    wanted: &CalendarDefinition,
    now: Timestamp,
) -> Result<Option<(Expect, CalendarRecord)>> {
    CalendarRecord::check_name(&wanted.name)?;
    if found.is_some_and(|stored| stored.calendar == wanted.calendar) {
        return Ok(None);
    }
    let expect = found.map_or(Expect::Absent { mark: None }, |stored| Expect::Rev(stored.rev));
    let (name, calendar) = (wanted.name.clone(), Arc::clone(&wanted.calendar));
    Ok(Some((expect, CalendarRecord { name, calendar, rev: 0, updated: now })))
}

/// A trigger as it goes on under another calendar; `None` if it stays as it is.
pub(super) fn recomputed(
    trigger: &TriggerRecord,
    calendar: &Calendar,
    now: Timestamp,
) -> Result<Option<TriggerRecord>> {
    if trigger.state == TriggerState::Error {
        return Ok(None);
    }
    let progress = caught_up(trigger.progress);
    let instants = instants_of(&trigger.key, &trigger.spec, Some(calendar))?.with_progress(progress);
    // What is before the next instant has been decided about, but nothing of what is still to come.
    let before_next = trigger.next_fire.map(|next| next.minus(Duration::from_micros(1)));
    let decided = before_next.map_or(now, |at| at.min(now));
    let next = instants.next_after(trigger.last.map_or(decided, |last| last.max(decided)));
    if next.is_none() && trigger.state == TriggerState::Complete {
        return Ok(None);
    }
    Ok(Some(TriggerRecord {
        state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
        next_fire: next,
        wake: next,
        progress,
        generation: trigger.generation.saturating_add(1),
        ..trigger.clone()
    }))
}

pub(super) fn rewritten(trigger: TriggerRecord) -> Change {
    Change::PutTrigger { expect: Expect::Rev(trigger.rev), trigger }
}

/// The change that deletes a calendar.
///
/// # Errors
/// `Invalid` if triggers name it.
pub fn delete_calendar(found: &CalendarRecord, users: &[TriggerRecord]) -> Result<Change> {
    if let Some(user) = users.first() {
        let others = users.len() - 1;
        let why = format!("calendar `{}` is used by trigger {} and {others} others", found.name, user.key);
        return Err(Error::invalid("calendar", why));
    }
    Ok(Change::DeleteCalendar { name: found.name.clone(), rev: found.rev })
}
