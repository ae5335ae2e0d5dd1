//! Pauses of groups: a row, and the state of each trigger of the group.

use punctual_core::pause::PausedGroup;
use punctual_core::record::{Coded, PauseRow};
use punctual_core::trigger::TriggerState;
use redb::ReadableTable;

use crate::step::Step;
use crate::tables::save;
use crate::trouble::Tried;

impl Step<'_> {
    pub(crate) fn pause_group(&mut self, paused: &PausedGroup) -> Tried<()> {
        save(&mut self.tables.pause, &*paused.group, &PauseRow::of(paused)?)?;
        self.set_triggers(&paused.group, TriggerState::Active, TriggerState::Paused)
    }

    pub(crate) fn resume_group(&mut self, group: &str) -> Tried<()> {
        self.tables.pause.remove(group)?;
        self.set_triggers(group, TriggerState::Paused, TriggerState::Active)
    }

    pub(crate) fn is_paused(&self, group: &str) -> Tried<bool> {
        Ok(self.tables.pause.get(group)?.is_some())
    }

    /// Sets the triggers of a group from one state to another, but for those that have a pause of their own.
    fn set_triggers(&mut self, group: &str, from: TriggerState, to: TriggerState) -> Tried<()> {
        let mut ids = Vec::new();
        for entry in self.tables.trigger_key.range((group, "")..)? {
            let (key, id) = entry?;
            if key.value().0 != group {
                break;
            }
            ids.push(id.value());
        }
        for id in ids {
            let Some(old) = self.trigger(id)?.filter(|old| old.row.state == from.code()) else { continue };
            if to == TriggerState::Active && old.row.paused.is_some() {
                continue;
            }
            let mut new = old.clone();
            (new.row.state, new.row.rev) = (to.code(), old.row.rev.saturating_add(1));
            new.row.wake_us = new.row.next_fire_us;
            self.put_trigger(Some(&old), new)?;
        }
        Ok(())
    }
}
