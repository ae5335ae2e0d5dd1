//! Pauses of groups, and what they make of the state of a trigger.
//!
//! A trigger that is put into a group while the group is being paused must not be missed by both, and neither can lock
//! what is not there yet: so whoever writes triggers shares a guard, which whoever pauses or resumes a group has alone.

use punctual_core::pause::PausedGroup;
use punctual_core::record::{PauseRow, document};
use punctual_core::store::Change;
use punctual_core::trigger::TriggerRecord;

use super::Outcome;
use crate::query::values;
use crate::rows::Columns;
use crate::sql;
use crate::step::{News, Step};

/// Takes the guard as the batch needs it, before any other lock of it.
pub(super) async fn guard(step: &mut Step<'_>, changes: &[Change]) -> Outcome<()> {
    if changes.iter().any(Change::is_of_group) {
        step.number(sql::LOCK_PAUSES, values![]).await?;
    } else if changes.iter().any(Change::puts_trigger) {
        step.number(sql::SHARE_PAUSES, values![]).await?;
    }
    Ok(())
}

pub(super) async fn pause_group(step: &mut Step<'_>, paused: &PausedGroup) -> Outcome<()> {
    let PauseRow { group_name, document } = PauseRow::of(paused)?;
    step.run(sql::PUT_PAUSE, values![group_name, document.clone(), document]).await?;
    set_triggers(step, &paused.group, sql::PAUSE_TRIGGERS).await?;
    Ok(())
}

pub(super) async fn resume_group(step: &mut Step<'_>, group: &str) -> Outcome<()> {
    step.run(sql::DELETE_PAUSE, values![group]).await?;
    if set_triggers(step, group, sql::RESUME_TRIGGERS).await? > 0 {
        step.tell(News::Everywhere);
    }
    Ok(())
}

async fn set_triggers(step: &mut Step<'_>, group: &str, set: &'static str) -> Outcome<usize> {
    let ids = step.all(sql::TRIGGERS_OF_GROUP, values![group], Columns::int).await?;
    if ids.is_empty() { Ok(0) } else { step.run(set, values![document(&ids)?]).await }
}

/// Gives a trigger the state that its pause and that of its group leave it.
pub(super) async fn follow_pauses(step: &mut Step<'_>, trigger: &mut TriggerRecord) -> Outcome<()> {
    trigger.follow_pauses(step.holds(sql::GROUP_IS_PAUSED, values![trigger.key.group()]).await?);
    Ok(())
}
