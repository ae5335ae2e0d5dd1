//! Pauses of single triggers, which are writes of the trigger like any other. Those of groups need no plan: the store finds
//! whom they are about.

use super::calendars::rewritten;
use crate::pause::Pause;
use crate::store::Change;
use crate::trigger::{TriggerRecord, TriggerState};

/// The change that pauses a trigger; `None` if it has a pause of its own already.
///
/// A trigger that is complete or set aside keeps the pause for the day on which it is defined anew.
pub fn pause_trigger(trigger: &TriggerRecord, pause: Pause) -> Option<Change> {
    let has_none = trigger.paused.is_none() || trigger.state == TriggerState::Active;
    has_none.then(|| rewritten(TriggerRecord { paused: Some(pause), ..trigger.clone() }))
}

/// The change that lifts a trigger's own pause; `None` if it has none. It goes on unless its group is paused.
pub fn resume_trigger(trigger: &TriggerRecord, group_is_paused: bool) -> Option<Change> {
    let is_held_for_nothing = trigger.state == TriggerState::Paused && !group_is_paused;
    (trigger.paused.is_some() || is_held_for_nothing)
        .then(|| rewritten(TriggerRecord { paused: None, wake: trigger.next_fire, ..trigger.clone() }))
}
