//! Pauses of groups, and what they make of the state of a trigger.

use punctual_core::pause::PausedGroup;
use punctual_core::record::PauseRow;
use punctual_core::trigger::TriggerRecord;

use super::Outcome;
use crate::sql;
use crate::step::{News, Step};

pub(super) fn pause_group(step: &Step<'_>, paused: &PausedGroup) -> Outcome<()> {
    let PauseRow { group_name, document } = PauseRow::of(paused)?;
    step.run(sql::PUT_PAUSE, [&group_name, &document])?;
    step.run(sql::PAUSE_TRIGGERS, [&group_name])?;
    Ok(())
}

pub(super) fn resume_group(step: &Step<'_>, group: &str) -> Outcome<()> {
    step.run(sql::DELETE_PAUSE, [group])?;
    if step.run(sql::RESUME_TRIGGERS, [group])? > 0 {
        step.tell(News::Everywhere);
    }
    Ok(())
}

/// Gives a trigger the state that its pause and that of its group leave it.
pub(super) fn follow_pauses(step: &Step<'_>, trigger: &mut TriggerRecord) -> Outcome<()> {
    trigger.follow_pauses(step.holds(sql::GROUP_IS_PAUSED, [trigger.key.group()])?);
    Ok(())
}
