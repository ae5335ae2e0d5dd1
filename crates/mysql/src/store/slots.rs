//! Exclusivity as rows: taking slots, and freeing them for whoever waits.
//!
//! Whoever reads or writes slots of a key holds the lock of the key's row 0. Keys are locked in their order, before live
//! rows and after triggers.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::record::document;
use punctual_core::store::ClaimShape;

use super::Outcome;
use super::work::list_of_ids;
use crate::query::{digits, values};
use crate::rows::Columns;
use crate::sql;
use crate::step::{News, Step};

/// A live row that is locked, as far as guards look at it.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) id: [u8; 16],
    pub(super) owner: Option<i64>,
    pub(super) fence: i64,
    pub(super) slot_key: Option<String>,
}

/// Locks live rows in the order of their ids, and the keys of their slots before. What is not answered is not there.
pub(super) async fn lock_live(step: &mut Step<'_>, ids: &[[u8; 16]]) -> Outcome<Vec<Live>> {
    let ids: BTreeSet<_> = ids.iter().copied().collect();
    let list = list_of_ids(&ids.into_iter().collect::<Vec<_>>())?;
    let keys = step.all(sql::KEYS_OF_LIVE, values![list.clone()], Columns::text).await?;
    let mut locked: BTreeSet<String> = keys.into_iter().collect();
    lock(step, &locked).await?;
    let rows = lock_listed(step, list).await?;
    // A row may have come in between, or be younger than the snapshot of a transaction that is not this store's own.
    let late: BTreeSet<String> =
        rows.iter().filter_map(|row| row.slot_key.clone()).filter(|key| locked.insert(key.clone())).collect();
    lock(step, &late).await?;
    Ok(rows)
}

/// Locks live rows alone, for steps that touch no slot.
pub(super) async fn lock_rows(step: &mut Step<'_>, ids: &[[u8; 16]]) -> Outcome<Vec<Live>> {
    let ids: BTreeSet<_> = ids.iter().copied().collect();
    let list = list_of_ids(&ids.into_iter().collect::<Vec<_>>())?;
    lock_listed(step, list).await
}

async fn lock_listed(step: &mut Step<'_>, list: String) -> Outcome<Vec<Live>> {
    let read =
        |c: &Columns| Live { id: c.id(), owner: c.int_or_null(), fence: c.int(), slot_key: c.text_or_null() };
    step.all(sql::LOCK_LIVE, values![list], read).await
}

/// Locks keys until the end of the transaction.
pub(super) async fn lock(step: &mut Step<'_>, keys: &BTreeSet<String>) -> Outcome<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let locked: BTreeSet<String> =
        step.all(sql::LOCK_SLOTS, values![document(keys)?], Columns::text).await?.into_iter().collect();
    for key in keys.difference(&locked) {
        step.run(sql::MAKE_LOCK, values![key.as_str()]).await?;
    }
    Ok(())
}

/// A slot as it was read under the lock of its key.
#[derive(Clone, Copy, Debug)]
struct Place {
    holder: Option<[u8; 16]>,
    fence: i64,
    is_new: bool,
    is_changed: bool,
}

/// The slots of some keys, which are locked; taken here first, and written all at once.
#[derive(Debug, Default)]
pub(super) struct Slots {
    keys: BTreeMap<String, BTreeMap<i64, Place>>,
    floor: i64,
}

impl Slots {
    pub(super) async fn read(step: &mut Step<'_>, keys: &BTreeSet<String>) -> Outcome<Self> {
        let mut slots = Self::default();
        if keys.is_empty() {
            return Ok(slots);
        }
        let read = |c: &Columns| {
            let (key, n, holder, fence) = (c.text(), c.int(), c.id_or_null(), c.int());
            (key, n, Place { holder, fence, is_new: false, is_changed: false })
        };
        for (key, n, place) in step.all(sql::FREE_SLOT, values![document(keys)?], read).await? {
            slots.keys.entry(key).or_default().insert(n, place);
        }
        slots.floor = step.number(sql::SLOT_FLOOR, values![]).await?.unwrap_or(0);
        Ok(slots)
    }

    /// How many slots of a key are held.
    pub(super) fn held(&self, key: &str) -> i64 {
        let held = self
            .keys
            .get(key)
            .map_or(0, |places| places.values().filter(|place| place.holder.is_some()).count());
        i64::try_from(held).unwrap_or(i64::MAX)
    }

    /// Takes a slot of `key` for an execution, or keeps the one that it holds, and answers its next fence; `None` if as
    /// many are held as the limit says. The fence is above `above`, that of the execution's last claim.
    pub(super) fn take(&mut self, key: &str, limit: i64, id: [u8; 16], above: i64) -> Option<i64> {
        let is_full = self.held(key) >= limit;
        let floor = self.floor;
        // A row 0 that was only made to be locked begins at the floor too.
        let begun = |fence: i64| if fence == 0 { floor } else { fence };
        let places = self.keys.entry(key.to_owned()).or_default();
        let kept = places.iter().find(|(_, place)| place.holder == Some(id)).map(|(n, _)| *n);
        let n = match kept {
            Some(n) => n,
            None if is_full => return None,
            None => (0..limit).find(|n| places.get(n).is_none_or(|place| place.holder.is_none()))?,
        };
        let place =
            places.entry(n).or_insert(Place { holder: None, fence: 0, is_new: true, is_changed: false });
        place.fence = begun(place.fence).max(above).saturating_add(1);
        (place.holder, place.is_changed) = (Some(id), true);
        Some(place.fence)
    }

    /// Writes what was taken.
    pub(super) async fn write(self, step: &mut Step<'_>) -> Outcome<()> {
        let (mut taken, mut made) = (Vec::new(), Vec::new());
        for (key, places) in self.keys {
            for (n, place) in places.into_iter().filter(|(_, place)| place.is_changed) {
                if place.is_new {
                    let holder = place.holder.map(|id| id.to_vec());
                    made.push(values![key.as_str(), n, holder, place.fence]);
                } else {
                    taken.push((key.clone(), n, place.holder.map(|id| digits(&id)), place.fence));
                }
            }
        }
        if !taken.is_empty() {
            step.run(sql::TAKE_SLOT, values![document(&taken)?]).await?;
        }
        step.insert(sql::MAKE_SLOT, made).await
    }
}

/// Frees the slots that executions hold, and wakes for each one of those that wait for its key. Their keys are locked.
pub(super) async fn free(step: &mut Step<'_>, ids: &[[u8; 16]]) -> Outcome<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let list = list_of_ids(ids)?;
    let mut freed: BTreeMap<String, u32> = BTreeMap::new();
    for key in step.all(sql::HELD_SLOT, values![list.clone()], Columns::text).await? {
        *freed.entry(key).or_default() += 1;
    }
    if freed.is_empty() {
        return Ok(());
    }
    step.run(sql::FREE_HELD_SLOT, values![list]).await?;
    for (key, count) in freed {
        wake(step, &key, count).await?;
    }
    Ok(())
}

/// Wakes at most so many that wait for a key: rows before triggers. Answers how many.
pub(super) async fn wake(step: &mut Step<'_>, key: &str, most: u32) -> Outcome<u32> {
    let rows = step.all(sql::PARKED_READY, values![key, most], Columns::id).await?;
    let mut woken = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    if !rows.is_empty() {
        step.run(sql::WAKE_READY, values![list_of_ids(&rows)?]).await?;
    }
    if woken < most {
        woken += wake_triggers(step, key, most - woken).await?;
    }
    if woken > 0 {
        step.tell(News::Everywhere);
    }
    Ok(woken)
}

/// How many more triggers are looked at than woken, because others may have locked some.
const SPARE: u32 = 8;

async fn wake_triggers(step: &mut Step<'_>, key: &str, most: u32) -> Outcome<u32> {
    let looked_at = values![key, most.saturating_add(SPARE)];
    let mut triggers = step.all(sql::PARKED_TRIGGERS, looked_at, Columns::int).await?;
    if step.claims() == ClaimShape::SkipLocked && !triggers.is_empty() {
        let values = values![document(&triggers)?, most];
        triggers = step.all(sql::LOCK_PARKED_TRIGGERS, values, Columns::int).await?;
    }
    triggers.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    if triggers.is_empty() {
        return Ok(0);
    }
    let woken = step.run(sql::WAKE_TRIGGER, values![document(&triggers)?]).await?;
    Ok(u32::try_from(woken).unwrap_or(u32::MAX))
}

/// Keys that work waits for although they have free slots, with their limits; of each kind of waiters at most `limit`.
pub(super) async fn waiting_keys(step: &mut Step<'_>, limit: u32) -> Outcome<BTreeMap<String, i64>> {
    let mut limits: BTreeMap<String, i64> = BTreeMap::new();
    for statement in [sql::WAITING_KEYS, sql::WAITING_KEYS_OF_TRIGGERS] {
        let (mut key, mut found) = (String::new(), 0);
        let read = |c: &Columns| (c.text(), c.int_or_null().unwrap_or(0), c.int());
        while found < limit
            && let Some((next, slots, held)) = step.first(statement, values![key], read).await?
        {
            if held < slots {
                found += 1;
                let known = limits.entry(next.clone()).or_insert(slots);
                *known = (*known).max(slots);
            }
            key = next;
        }
    }
    Ok(limits)
}

/// Wakes work that waits although its key has free slots.
pub(super) async fn wake_waiting(step: &mut Step<'_>, limit: u32) -> Outcome<u32> {
    let limits = waiting_keys(step, limit).await?;
    wake_up_to(step, limits, limit).await
}

/// Wakes those who wait for keys, as many as the limit of each leaves slots free, and at most `most`. Answers how many.
pub(super) async fn wake_up_to(
    step: &mut Step<'_>,
    limits: BTreeMap<String, i64>,
    most: u32,
) -> Outcome<u32> {
    let keys = limits.keys().cloned().collect();
    lock(step, &keys).await?;
    let slots = Slots::read(step, &keys).await?;
    let mut woken = 0;
    for (key, of_key) in limits {
        let free = of_key.saturating_sub(slots.held(&key)).clamp(0, i64::from(most - woken));
        if free > 0 {
            woken += wake(step, &key, u32::try_from(free).unwrap_or(0)).await?;
        }
    }
    Ok(woken)
}
