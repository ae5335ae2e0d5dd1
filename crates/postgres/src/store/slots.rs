//! Exclusivity as rows: waking those that wait for slots that were freed. Slots are taken inside the claims themselves.

use sqlx::Row;

use crate::rows::params;
use crate::sql;
use crate::step::{Engine, News, Outcome, Shape, Slots, Step};

/// Wakes as many waiters as slots were freed by this transaction, rows before triggers. Call it when everything else is
/// written.
pub(super) async fn wake_freed(step: &mut Step<'_>) -> Outcome<()> {
    if !step.idle_slots().is_empty() {
        let freed = step.idle_slots().clone();
        wake(step, sql::WAKE, &freed).await?;
    }
    Ok(())
}

/// Looks once more for waiters, for slots that were freed without anybody being woken. Answers who should know.
pub(super) async fn wake_again(engine: &Engine, freed: &Slots) -> Outcome<News> {
    let waking = engine
        .run("wake", Shape::One, freed, |step, freed| Box::pin(wake(step, sql::WAKE_AGAIN, freed)))
        .await?;
    Ok(waking.1.news)
}

async fn wake(step: &mut Step<'_>, sql: &'static str, freed: &Slots) -> Outcome<()> {
    let keys: Vec<&str> = freed.keys().map(String::as_str).collect();
    let slots: Vec<i64> = freed.values().copied().collect();
    for row in step.all(sql, params![keys, slots]).await? {
        let (key, count): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        step.woken(&key, count);
    }
    Ok(())
}

/// Wakes work that waits although its key has free slots, at most `limit`. Answers how many.
pub(super) async fn wake_waiting(step: &mut Step<'_>, limit: u32) -> Outcome<u32> {
    let mut sum: i64 = 0;
    for row in step.all(sql::WAKE_WAITING, params![i64::from(limit)]).await? {
        sum += row.try_get::<i64, _>(1)?;
    }
    if sum > 0 {
        step.tell(News::Everywhere);
    }
    Ok(u32::try_from(sum).unwrap_or(u32::MAX))
}
