//! Pauses of groups, and what they make of the state of a trigger.
//!
//! A trigger that is put into a group while the group is being paused must not be missed by both, and neither can lock
//! what is not there yet: so whoever writes triggers shares a guard, which whoever pauses or resumes a group has alone.

use punctual_core::pause::PausedGroup;
use punctual_core::record::PauseRow;
use punctual_core::store::Change;
use punctual_core::trigger::TriggerRecord;

use crate::rows::{params, plain};
use crate::sql;
use crate::step::{News, Outcome, Step};

/// Takes the guard as the batch needs it, before any other lock of it.
pub(super) async fn guard(step: &mut Step<'_>, changes: &[Change]) -> Outcome<()> {
    if changes.iter().any(Change::is_of_group) {
        step.all(sql::LOCK_PAUSES, params![]).await?;
    } else if changes.iter().any(Change::puts_trigger) {
        step.all(sql::SHARE_PAUSES, params![]).await?;
    }
    Ok(())
}

pub(super) async fn pause_group(step: &mut Step<'_>, paused: &PausedGroup) -> Outcome<()> {
    let (group, row) = (&*paused.group, PauseRow::of(paused)?);
    step.run(sql::PUT_PAUSE, params![group, plain(&row.document)]).await?;
    step.all(sql::LOCK_GROUP, params![group]).await?;
    step.run(sql::PAUSE_TRIGGERS, params![group]).await?;
    Ok(())
}

pub(super) async fn resume_group(step: &mut Step<'_>, group: &str) -> Outcome<()> {
    step.run(sql::DELETE_PAUSE, params![group]).await?;
    step.all(sql::LOCK_GROUP, params![group]).await?;
    if step.run(sql::RESUME_TRIGGERS, params![group]).await? > 0 {
        step.tell(News::Everywhere);
    }
    Ok(())
}

/// Gives a trigger the state that its pause and that of its group leave it.
pub(super) async fn follow_pauses(step: &mut Step<'_>, trigger: &mut TriggerRecord) -> Outcome<()> {
    trigger.follow_pauses(step.one(sql::GROUP_IS_PAUSED, params![trigger.key.group()]).await?);
    Ok(())
}
