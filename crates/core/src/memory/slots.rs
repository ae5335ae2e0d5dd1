//! Exclusivity as rows: one row holds one execution, and its fence never goes back.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::state::State;
use crate::execution::{ExecutionState, Slot};
use crate::key::{ExecutionId, Fence};
use crate::trigger::TriggerState;

/// All slots.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) rows: BTreeMap<(Box<str>, u32), SlotRow>,
    /// No row that is made from now on begins below it.
    pub(super) floor: Fence,
}

/// One place among those that a key allows.
#[derive(Debug)]
pub(super) struct SlotRow {
    pub(super) holder: Option<ExecutionId>,
    pub(super) fence: Fence,
}

impl Slots {
    /// The place that `id` holds.
    pub(super) fn held_by(&self, id: ExecutionId) -> Option<(Box<str>, u32)> {
        self.rows.iter().find(|(_, row)| row.holder == Some(id)).map(|(place, _)| place.clone())
    }

    /// Takes a place for `id`, or keeps the one that it holds, and answers its next fence; `None` if all are taken.
    ///
    /// A limit that was lowered counts those that hold places beyond it. The fence is also above `above`, that of the
    /// execution's last claim, which may have been on another place of the key.
    pub(super) fn take(&mut self, slot: &Slot, id: ExecutionId, above: Fence) -> Option<Fence> {
        let key = &slot.key;
        let of_key = || self.rows.range((key.clone(), 0)..=(key.clone(), u32::MAX));
        let kept = of_key().find(|(_, row)| row.holder == Some(id)).map(|((_, n), _)| *n);
        let n = match kept {
            Some(n) => n,
            None => {
                let held = of_key().filter(|(_, row)| row.holder.is_some()).count();
                if u32::try_from(held).unwrap_or(u32::MAX) >= slot.limit {
                    return None;
                }
                let is_free =
                    |n: &u32| self.rows.get(&(key.clone(), *n)).is_none_or(|row| row.holder.is_none());
                (0..slot.limit).find(is_free)?
            }
        };
        let floor = self.floor;
        let row = self.rows.entry((key.clone(), n)).or_insert(SlotRow { holder: None, fence: floor });
        row.holder = Some(id);
        row.fence = row.fence.max(above).next();
        Some(row.fence)
    }
}

impl State {
    /// Frees the place that an execution holds, if any, and wakes one of those that wait for its key.
    pub(super) fn free_slot_of(&mut self, id: ExecutionId) {
        let Some(place) = self.slots.held_by(id) else { return };
        if let Some(row) = self.slots.rows.get_mut(&place) {
            row.holder = None;
        }
        self.wake_one(&place.0);
    }

    /// Wakes the best parked ready row of a key, else the first parked trigger of it.
    fn wake_one(&mut self, key: &str) {
        let waits = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| &*slot.key == key);
        let parked = self.live.values_mut().filter(|live| {
            live.row.state == ExecutionState::Ready && live.is_parked() && waits(&live.row.slot)
        });
        if let Some(live) = parked.min_by_key(|live| (Reverse(live.row.priority), live.due, live.row.id)) {
            live.row.wake = live.due;
            self.news = true;
            return;
        }
        let jobs = &self.definitions.jobs;
        let parked = self.definitions.triggers.values_mut().filter_map(|stored| {
            let trigger = &mut stored.record;
            let job = jobs.get(&trigger.job_id)?;
            let is_parked = trigger.state == TriggerState::Active && trigger.wake > trigger.next_fire;
            let waits = job.spec.concurrency.as_ref().is_some_and(|concurrency| &*concurrency.key == key);
            let rank =
                (trigger.next_fire, Reverse(job.priority.saturating_add(trigger.priority)), trigger.id);
            (is_parked && waits).then_some((rank, trigger))
        });
        if let Some((_, trigger)) = parked.min_by_key(|(rank, _)| *rank) {
            trigger.wake = trigger.next_fire;
            trigger.rev += 1;
            self.news = true;
        }
    }
}
