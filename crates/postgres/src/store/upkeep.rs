//! Upkeep: what is old goes, in bounded steps, and takes nothing with it that anybody still needs.

use punctual_core::store::{KEEP_MARKS, Prune, Pruned};
use punctual_core::time::micros;

use crate::rows::{Columns, params};
use crate::sql;
use crate::step::{Outcome, Step};

/// In the order of locks; last of all the floor, which claims that take a slot wait for.
pub(super) async fn prune(step: &mut Step<'_>, request: Prune) -> Outcome<Pruned> {
    let (age, limit) = (micros(request.history), i64::from(request.limit));
    let mut other = delete_old(step, sql::PRUNE_NODES, micros(request.nodes()), limit).await?;
    other += prune_triggers(step, age, limit).await?;
    other += delete_old(step, sql::PRUNE_MARKS, micros(KEEP_MARKS), limit).await?;
    let history = delete_old(step, sql::PRUNE_HISTORY, age, limit).await?;
    other += prune_slots(step, limit).await?;
    Ok(Pruned { history, other })
}

async fn delete_old(step: &mut Step<'_>, sql: &'static str, age: i64, limit: i64) -> Outcome<u64> {
    let given = step.given();
    step.run(sql, params![given, age, limit]).await
}

/// Completed triggers, and those of their jobs that nothing else needs.
async fn prune_triggers(step: &mut Step<'_>, age: i64, limit: i64) -> Outcome<u64> {
    let given = step.given();
    let gone = step.all(sql::PRUNE_TRIGGERS, params![given, age, limit]).await?;
    let jobs: Vec<i64> = gone.iter().map(|row| Columns::of(row).int()).collect();
    let mut sum = u64::try_from(gone.len()).unwrap_or(u64::MAX);
    if !jobs.is_empty() {
        step.all(sql::LOCK_JOBS, params![&jobs]).await?;
        sum += step.run(sql::PRUNE_JOBS, params![&jobs]).await?;
    }
    Ok(sum)
}

async fn prune_slots(step: &mut Step<'_>, limit: i64) -> Outcome<u64> {
    step.run(sql::LOCK_FLOOR, params![]).await?;
    let rows = step.all(sql::PRUNE_SLOTS, params![limit]).await?;
    if let Some(highest) = rows.iter().map(|row| Columns::of(row).int()).max() {
        step.run(sql::RAISE_FLOOR, params![highest]).await?;
    }
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}
