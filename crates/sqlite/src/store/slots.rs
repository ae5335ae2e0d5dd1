//! Exclusivity as rows: taking a slot, and freeing it for whoever waits.

use rusqlite::params;

use super::Outcome;
use crate::rows::Columns;
use crate::sql;
use crate::step::{News, Step};

/// Takes a slot of `key` for an execution, or keeps the one that it holds, and answers its next fence; `None` if as many
/// are held as the limit says. The fence is above `above`, that of the execution's last claim.
pub(super) fn take(
    step: &Step<'_>,
    key: &str,
    limit: i64,
    id: &[u8; 16],
    above: i64,
) -> Outcome<Option<i64>> {
    let place = match step.number(sql::HELD_SLOT, params![key, id])? {
        Some(held) => Some(held),
        None => step.number(sql::FREE_SLOT, params![key, limit])?,
    };
    let Some(n) = place else { return Ok(None) };
    step.number(sql::TAKE_SLOT, params![key, n, id, above])
}

/// At most `limit` keys that work waits for although they have free slots, and how many these are. A key that cannot be
/// read is nobody's.
pub(super) fn waiting_keys(step: &Step<'_>, limit: u32) -> Outcome<Vec<(String, i64)>> {
    step.all(sql::WAITING_KEYS, [limit], |row| {
        let c = Columns::of(row);
        Ok((c.shown(), c.int()))
    })
}

/// Wakes work that waits although its key has free slots.
pub(super) fn wake_waiting(step: &Step<'_>, limit: u32) -> Outcome<u32> {
    let mut woken = 0;
    for (key, free) in waiting_keys(step, limit)? {
        for _ in 0..free {
            if woken == limit || !wake_one(step, &key)? {
                break;
            }
            woken += 1;
        }
    }
    Ok(woken)
}

/// Wakes a row that waits for a key, else a trigger; `false` if nobody does.
pub(super) fn wake_one(step: &Step<'_>, key: &str) -> Outcome<bool> {
    let woken = step.run(sql::WAKE_READY, [key])? > 0 || step.run(sql::WAKE_TRIGGER, [key])? > 0;
    if woken {
        step.tell(News::Everywhere);
    }
    Ok(woken)
}

/// Frees the slot that an execution holds, if any, and wakes one of those that wait for its key.
pub(super) fn free(step: &Step<'_>, id: &[u8]) -> Outcome<()> {
    let Some(key) = step.first(sql::FREE_HELD_SLOT, [id], |row| row.get::<_, String>(0))? else {
        return Ok(());
    };
    wake_one(step, &key)?;
    Ok(())
}
