//! Exclusivity as rows: waking those that wait for slots that were freed. Slots are taken inside the claims themselves.

use std::collections::BTreeMap;

use sqlx::Row;

use crate::rows::params;
use crate::sql;
use crate::step::{Engine, Outcome, Shape, Step};

/// How often the best waiters of a key are looked for while other steps wake or claim them first.
const ROUNDS: u32 = 5;

/// Wakes as many waiters of each key as slots of it were freed, rows before triggers. Answers whether there were any.
pub(crate) async fn wake(engine: &Engine, freed: BTreeMap<String, i64>) -> Outcome<bool> {
    let (left, some_rows) = wake_kind(engine, sql::WAKE_READY, freed).await?;
    let (_, some_triggers) = wake_kind(engine, sql::WAKE_TRIGGER, left).await?;
    Ok(some_rows || some_triggers)
}

/// Wakes waiters of one kind. Answers for how many slots of which keys there was none, and whether any was woken.
async fn wake_kind(
    engine: &Engine,
    sql: &'static str,
    mut wanted: BTreeMap<String, i64>,
) -> Outcome<(BTreeMap<String, i64>, bool)> {
    let (mut none, mut any) = (BTreeMap::new(), false);
    for _ in 0..ROUNDS {
        if wanted.is_empty() {
            break;
        }
        let request = (sql, wanted);
        let (answers, _) = engine
            .run(Shape::One, &request, |step, (sql, wanted)| Box::pin(wake_once(step, sql, wanted)))
            .await?;
        let (_, asked) = request;
        wanted = BTreeMap::new();
        for (key, found, woken) in answers {
            any |= woken > 0;
            let slots = asked.get(&key).copied().unwrap_or(0);
            if found < slots {
                none.insert(key.clone(), slots - found);
            }
            if woken < found {
                wanted.insert(key, found - woken);
            }
        }
    }
    Ok((none, any))
}

async fn wake_once(
    step: &mut Step<'_>,
    sql: &'static str,
    wanted: &BTreeMap<String, i64>,
) -> Outcome<Vec<(String, i64, i64)>> {
    let keys: Vec<&str> = wanted.keys().map(String::as_str).collect();
    let slots: Vec<i64> = wanted.values().copied().collect();
    let rows = step.all(sql, params![keys, slots]).await?;
    let read = |row: &sqlx::postgres::PgRow| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
    rows.iter().map(read).collect()
}
