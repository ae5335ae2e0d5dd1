//! Exclusivity as rows: one row holds one execution, and its fence never goes back.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::state::{Live, State};
use crate::execution::{ExecutionState, Slot};
use crate::job::Concurrency;
use crate::key::{ExecutionId, Fence, TriggerId};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

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

    /// The place that `id` holds of a key, or else a free one; `None` if all are taken.
    ///
    /// A limit that was lowered counts those that hold places beyond it.
    pub(super) fn place_for(&self, slot: &Slot, id: ExecutionId) -> Option<u32> {
        let key = &slot.key;
        let mut of_key = self.rows.range((key.clone(), 0)..=(key.clone(), u32::MAX));
        if let Some(((_, n), _)) = of_key.find(|(_, row)| row.holder == Some(id)) {
            return Some(*n);
        }
        if self.held(key) >= slot.limit {
            return None;
        }
        let is_free = |n: &u32| self.rows.get(&(key.clone(), *n)).is_none_or(|row| row.holder.is_none());
        (0..slot.limit).find(is_free)
    }

    /// Takes a place for `id`, or keeps the one that it holds, and answers its next fence; `None` if all are taken.
    ///
    /// The fence is also above `above`, that of the execution's last claim, which may have been on another place of the
    /// key.
    pub(super) fn take(&mut self, slot: &Slot, id: ExecutionId, above: Fence) -> Option<Fence> {
        let n = self.place_for(slot, id)?;
        let floor = self.floor;
        let row = self.rows.entry((slot.key.clone(), n)).or_insert(SlotRow { holder: None, fence: floor });
        row.holder = Some(id);
        row.fence = row.fence.max(above).next();
        Some(row.fence)
    }
}

/// Somebody that waits for a slot.
#[derive(Clone, Copy, Debug)]
enum Waiter {
    Row(ExecutionId),
    Trigger(TriggerId),
}

impl Slots {
    /// How many places of a key are taken.
    pub(super) fn held(&self, key: &str) -> u32 {
        let of_key = self.rows.range((key.into(), 0)..=(key.into(), u32::MAX));
        u32::try_from(of_key.filter(|(_, row)| row.holder.is_some()).count()).unwrap_or(u32::MAX)
    }
}

impl State {
    /// Frees the place that an execution holds, if any, and wakes one of those that wait for its key.
    pub(super) fn free_slot_of(&mut self, id: ExecutionId) {
        let Some(place) = self.slots.held_by(id) else { return };
        if let Some(row) = self.slots.rows.get_mut(&place) {
            row.holder = None;
        }
        if let Some(waiter) = self.next_waiter(&place.0) {
            self.wake(waiter);
        }
    }

    /// Whether a ready row waits for a slot of the key.
    pub(super) fn has_parked_rows(&self, key: &str) -> bool {
        self.live.values().any(|live| waiting_row(live).is_some_and(|slot| *slot.key == *key))
    }

    pub(super) fn wake_waiting(&mut self, limit: u32) -> u32 {
        let mut woken = 0;
        for (key, slots) in self.waited_for() {
            for _ in self.slots.held(&key)..slots {
                match self.next_waiter(&key) {
                    Some(waiter) if woken < limit => self.wake(waiter),
                    _ => break,
                }
                woken += 1;
            }
        }
        woken
    }

    /// The keys that somebody waits for, with how many each allows: as the best row knows it, or a job whose trigger waits.
    fn waited_for(&self) -> BTreeMap<Box<str>, u32> {
        let mut rows: Vec<&Live> = self.live.values().filter(|live| waiting_row(live).is_some()).collect();
        rows.sort_by_key(|live| rank(live));
        let mut keys = BTreeMap::new();
        for slot in rows.into_iter().filter_map(waiting_row) {
            keys.entry(slot.key.clone()).or_insert(slot.limit);
        }
        for stored in self.definitions.triggers.values().filter(|stored| is_parked(&stored.record)) {
            let job = self.definitions.jobs.get(&stored.record.job_id);
            if let Some(Concurrency { key, limit, .. }) = job.and_then(|job| job.spec.concurrency.as_ref()) {
                let slots = keys.entry(key.clone()).or_insert(*limit);
                *slots = (*slots).max(*limit);
            }
        }
        keys
    }

    /// The best parked ready row of a key, else the first parked trigger of it.
    fn next_waiter(&self, key: &str) -> Option<Waiter> {
        let waits = |live: &&Live| waiting_row(live).is_some_and(|slot| *slot.key == *key);
        if let Some(live) = self.live.values().filter(waits).min_by_key(|live| rank(live)) {
            return Some(Waiter::Row(live.row.id));
        }
        let triggers = self.definitions.triggers.values().filter_map(|stored| {
            let trigger = &stored.record;
            let job = self.definitions.jobs.get(&trigger.job_id).filter(|_| is_parked(trigger))?;
            job.spec.concurrency.as_ref().filter(|concurrency| *concurrency.key == *key)?;
            Some((trigger.next_fire, Reverse(job.priority.saturating_add(trigger.priority)), trigger.id))
        });
        triggers.min().map(|(.., id)| Waiter::Trigger(id))
    }

    fn wake(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Row(id) => {
                if let Some(live) = self.live.get_mut(&id) {
                    live.row.wake = live.due;
                }
            }
            Waiter::Trigger(id) => {
                if let Some(stored) = self.definitions.triggers.get_mut(&id) {
                    stored.record.wake = stored.record.next_fire;
                    stored.record.rev += 1;
                }
            }
        }
        self.news = true;
    }
}

/// The slot that a row waits for.
fn waiting_row(live: &Live) -> Option<&Slot> {
    live.row.slot.as_ref().filter(|_| live.row.state == ExecutionState::Ready && live.is_parked())
}

/// The order in which rows that wait for one key get their turn.
fn rank(live: &Live) -> (Reverse<i32>, Timestamp, ExecutionId) {
    (Reverse(live.row.priority), live.due, live.row.id)
}

fn is_parked(trigger: &TriggerRecord) -> bool {
    trigger.state == TriggerState::Active && trigger.wake > trigger.next_fire
}
