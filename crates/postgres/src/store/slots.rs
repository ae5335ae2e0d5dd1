//! Exclusivity as rows: waking those that wait for slots that were freed. Slots are taken inside the claims themselves.

use std::collections::BTreeMap;

use sqlx::Row;

use super::Shared;
use crate::rows::params;
use crate::sql;
use crate::step::{Engine, News, Outcome, Shape, Step};

const OPERATION: &str = "wake_waiting";

/// How often the best waiters of a key are looked for while other steps wake or claim them first.
const ROUNDS: u32 = 5;

/// Slots of keys: how many.
pub(crate) type Slots = BTreeMap<String, i64>;

/// Wakes as many waiters of each key as slots of it were freed, rows before triggers. Answers how many.
pub(crate) async fn wake(engine: &Engine, freed: Slots) -> Outcome<i64> {
    let (left, rows) = wake_kind(engine, sql::WAKE_READY, freed).await?;
    let (_, triggers) = wake_kind(engine, sql::WAKE_TRIGGER, left).await?;
    Ok(rows + triggers)
}

/// The same within a transaction of the user's. A waiter that another step takes first is left to the search for those
/// who were missed.
pub(super) async fn wake_within(step: &mut Step<'_>, freed: &Slots) -> Outcome<()> {
    let mut left = Slots::new();
    for (key, found, _) in wake_once(step, sql::WAKE_READY, freed).await? {
        let slots = freed.get(&key).copied().unwrap_or(0);
        if found < slots {
            left.insert(key, slots - found);
        }
    }
    if !left.is_empty() {
        wake_once(step, sql::WAKE_TRIGGER, &left).await?;
    }
    Ok(())
}

/// Wakes work that waits although its key has free slots.
pub(super) async fn wake_waiting(shared: &Shared, limit: u32) -> punctual_core::Result<u32> {
    let limit = i64::from(limit);
    let waiting = shared
        .step(OPERATION, Shape::One, &limit, |step, limit| Box::pin(waiting_keys(step, *limit)))
        .await?;
    let (mut woken, mut keys) = (0, waiting.into_iter().peekable());
    while woken < limit && keys.peek().is_some() {
        let (mut some, mut left) = (Slots::new(), limit - woken);
        while left > 0
            && let Some((key, free)) = keys.next()
        {
            some.insert(key, free.min(left));
            left = left.saturating_sub(free);
        }
        woken += wake(&shared.engine, some).await.map_err(|failure| shared.failed(OPERATION, failure))?;
    }
    if woken > 0 {
        shared.announce(News::Everywhere);
    }
    Ok(u32::try_from(woken).unwrap_or(u32::MAX))
}

async fn waiting_keys(step: &mut Step<'_>, limit: i64) -> Outcome<Vec<(String, i64)>> {
    let rows = step.all(sql::WAITING_KEYS, params![limit]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Wakes waiters of one kind. Answers for how many slots of which keys there was none, and how many were woken.
async fn wake_kind(engine: &Engine, sql: &'static str, mut wanted: Slots) -> Outcome<(Slots, i64)> {
    let (mut none, mut sum) = (Slots::new(), 0);
    for _ in 0..ROUNDS {
        if wanted.is_empty() {
            break;
        }
        let request = (sql, wanted);
        let (answers, _) = engine
            .run("wake", Shape::One, &request, |step, (sql, wanted)| Box::pin(wake_once(step, sql, wanted)))
            .await?;
        let (_, asked) = request;
        wanted = Slots::new();
        for (key, found, woken) in answers {
            sum += woken;
            let slots = asked.get(&key).copied().unwrap_or(0);
            if found < slots {
                none.insert(key.clone(), slots - found);
            }
            if woken < found {
                wanted.insert(key, found - woken);
            }
        }
    }
    Ok((none, sum))
}

async fn wake_once(
    step: &mut Step<'_>,
    sql: &'static str,
    wanted: &Slots,
) -> Outcome<Vec<(String, i64, i64)>> {
    let keys: Vec<&str> = wanted.keys().map(String::as_str).collect();
    let slots: Vec<i64> = wanted.values().copied().collect();
    let rows = step.all(sql, params![keys, slots]).await?;
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    rows.iter().map(read).collect()
}
