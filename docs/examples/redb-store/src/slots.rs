//! Slots: taking one, freeing one, and waking those who wait.
//!
//! A slot is an entry under its key and its number. The entries of a key are walked: a limit is at most 10,000, and
//! usually one.

use punctual_core::Fence;
use redb::ReadableTable;

use crate::step::Step;
use crate::tables::{KeptExecution, KeptTrigger};
use crate::trouble::Tried;

impl Step<'_> {
    /// How many executions hold a slot of a key.
    pub(crate) fn held(&self, key: &str) -> Tried<u32> {
        let mut held = 0;
        for slot in self.tables.slot.range((key, 0)..=(key, u32::MAX))? {
            held += u32::from(slot?.1.value().0.is_some());
        }
        Ok(held)
    }

    /// Takes a slot for `id`, or finds the one that it kept: the new fence, above the slot's and above `last`. `None`
    /// if as many as `limit` are held by others, also where a higher limit let them in.
    pub(crate) fn take_slot(&mut self, key: &str, limit: u32, id: u128, last: i64) -> Tried<Option<Fence>> {
        let (mut held, mut end, mut free, mut kept) = (0, 0, None, None);
        for slot in self.tables.slot.range((key, 0)..=(key, u32::MAX))? {
            let slot = slot?;
            let ((_, number), (holder, fence)) = (slot.0.value(), slot.1.value());
            end = number.saturating_add(1);
            match holder {
                Some(holder) if holder == id => kept = Some((number, fence)),
                Some(_) => held += 1,
                None => free = free.or(Some((number, fence))),
            }
        }
        let (number, fence) = match kept.or_else(|| free.filter(|_| held < limit)) {
            Some(slot) => slot,
            None if held < limit => (end, self.number("slot_floor")?),
            None => return Ok(None),
        };
        let fence = fence.max(last).saturating_add(1);
        self.tables.slot.insert((key, number), (Some(id), fence))?;
        Ok(Some(Fence::from_stored(fence)))
    }

    /// Frees the slot that a row holds, if it holds one, and wakes who waits for it.
    pub(crate) fn free_slot(&mut self, row: &KeptExecution) -> Tried<()> {
        let Some(key) = row.row.slot_key.as_deref() else { return Ok(()) };
        let mut found = None;
        for slot in self.tables.slot.range((key, 0)..=(key, u32::MAX))? {
            let slot = slot?;
            let (holder, fence) = slot.1.value();
            if holder == Some(row.number()) {
                found = Some((slot.0.value().1, fence));
            }
        }
        if let Some((number, fence)) = found {
            self.tables.slot.insert((key, number), (None, fence))?;
            self.wake_one(key)?;
        }
        Ok(())
    }

    /// Whether a row waits for a key.
    pub(crate) fn somebody_waits(&self, key: &str) -> Tried<bool> {
        Ok(self.first_parked_row(key)?.is_some())
    }

    /// Whether a row or a trigger waits for a key.
    pub(crate) fn is_waited_for(&self, key: &str) -> Tried<bool> {
        Ok(self.somebody_waits(key)? || self.first_parked_trigger(key)?.is_some())
    }

    /// Wakes who waits for a key: the best row, else the first trigger. Whether there was somebody.
    fn wake_one(&mut self, key: &str) -> Tried<bool> {
        if let Some(old) = self.first_parked_row(key)? {
            let mut new = old.clone();
            new.row.wake_us = old.due_us;
            self.put_execution(Some(&old), &new)?;
        } else if let Some(old) = self.first_parked_trigger(key)? {
            let mut new = old.clone();
            new.row.wake_us = new.row.next_fire_us;
            // Any write raises the revision: an edit that was planned before must not park the trigger again.
            new.row.rev = new.row.rev.saturating_add(1);
            self.put_trigger(Some(&old), new)?;
        } else {
            return Ok(false);
        }
        self.tell();
        Ok(true)
    }

    fn first_parked_row(&self, key: &str) -> Tried<Option<KeptExecution>> {
        for entry in self.tables.parked_row.range(of_row_key(key))? {
            if let Some(row) = self.execution(entry?.0.value().3)? {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    fn first_parked_trigger(&self, key: &str) -> Tried<Option<KeptTrigger>> {
        let from = (key, i64::MIN, i64::MIN, i64::MIN);
        for entry in self.tables.parked_trigger.range(from..=(key, i64::MAX, i64::MAX, i64::MAX))? {
            if let Some(trigger) = self.trigger(entry?.0.value().3)? {
                return Ok(Some(trigger));
            }
        }
        Ok(None)
    }

    /// Goes from key to key, however many wait for each.
    pub(crate) fn wake_waiting(&mut self, limit: u32) -> Tried<u32> {
        let (mut woken, mut after) = (0, None);
        while let Some(key) = self.next_waited_for(after.as_deref())? {
            let free = self.allowed(&key)?.saturating_sub(self.held(&key)?);
            for _ in 0..free.min(limit - woken) {
                if !self.wake_one(&key)? {
                    break;
                }
                woken += 1;
            }
            after = Some(key);
        }
        Ok(woken)
    }

    /// The first key after `after` that a row or a trigger waits for.
    fn next_waited_for(&self, after: Option<&str>) -> Tried<Option<String>> {
        // No key is longer than that by the first character of the alphabet only.
        let from = after.map_or_else(String::new, |after| format!("{after}\0"));
        let row = self.tables.parked_row.range((&*from, i64::MIN, i64::MIN, 0)..)?.next().transpose()?;
        let trigger =
            self.tables.parked_trigger.range((&*from, i64::MIN, i64::MIN, i64::MIN)..)?.next().transpose()?;
        let row = row.map(|first| first.0.value().0.to_owned());
        let trigger = trigger.map(|first| first.0.value().0.to_owned());
        Ok(row.into_iter().chain(trigger).min())
    }

    /// How many may hold a key, as those say who are the first to wait for it.
    fn allowed(&self, key: &str) -> Tried<u32> {
        let of_row = self.first_parked_row(key)?.map_or(0, |row| row.slot_limit());
        let trigger = self.first_parked_trigger(key)?;
        let job = trigger.map(|trigger| self.job(trigger.row.job_id)).transpose()?.flatten();
        let of_trigger = job.and_then(|job| job.slot_limit).and_then(|limit| u32::try_from(limit).ok());
        Ok(of_row.max(of_trigger.unwrap_or(0)))
    }
}

/// All entries of a slot key.
const fn of_row_key(key: &str) -> std::ops::RangeInclusive<(&str, i64, i64, u128)> {
    (key, i64::MIN, i64::MIN, 0)..=(key, i64::MAX, i64::MAX, u128::MAX)
}
