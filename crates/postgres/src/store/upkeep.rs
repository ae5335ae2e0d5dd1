//! Upkeep: what is old goes, in bounded steps, and takes nothing with it that anybody still needs.
//!
//! Each kind of row is a transaction of its own, so that none holds locks for the others.

use std::time::Duration;

use punctual_core::Result;
use punctual_core::store::{Prune, Pruned};
use punctual_core::time::micros;

use super::Shared;
use super::definitions::retire_trigger;
use crate::rows::{Columns, params};
use crate::sql;
use crate::step::{Outcome, Shape, Step};

const OPERATION: &str = "prune";

/// How long the last instant of a deleted trigger is remembered.
const MARKS: Duration = Duration::from_secs(90 * 86_400);

pub(super) async fn prune(shared: &Shared, request: Prune) -> Result<Pruned> {
    let Prune { history, limit } = request;
    let delete = async |sql: &'static str, age: Duration| {
        let request = (sql, micros(age), i64::from(limit));
        shared
            .step(OPERATION, Shape::One, &request, |step, request| Box::pin(delete_old(step, request)))
            .await
    };
    let mut other = delete(sql::PRUNE_NODES, history).await?;
    other += prune_triggers(shared, micros(history), limit).await?;
    other += delete(sql::PRUNE_MARKS, MARKS).await?;
    other += shared
        .step(OPERATION, Shape::Many, &limit, |step, limit| Box::pin(prune_slots(step, *limit)))
        .await?;
    Ok(Pruned { history: delete(sql::PRUNE_HISTORY, history).await?, other })
}

async fn delete_old(step: &mut Step<'_>, (sql, age, limit): &(&'static str, i64, i64)) -> Outcome<u64> {
    let given = step.given();
    step.run(sql, params![given, age, limit]).await
}

async fn prune_triggers(shared: &Shared, age: i64, limit: u32) -> Result<u64> {
    let request = (age, i64::from(limit));
    let over = shared
        .step(OPERATION, Shape::One, &request, |step, request| Box::pin(completed(step, request)))
        .await?;
    let mut gone = 0;
    for one in over {
        gone += shared.step(OPERATION, Shape::Many, &one, |step, one| Box::pin(retire(step, one))).await?;
    }
    Ok(gone)
}

/// A trigger that is over: its id, its revision, and its job.
type Over = (i64, i64, i64);

async fn completed(step: &mut Step<'_>, (age, limit): &(i64, i64)) -> Outcome<Vec<Over>> {
    let given = step.given();
    let rows = step.all(sql::COMPLETED, params![given, age, limit]).await?;
    Ok(rows.iter().map(Columns::of).map(|row| (row.int(), row.int(), row.int())).collect())
}

async fn retire(step: &mut Step<'_>, (trigger, rev, job): &Over) -> Outcome<u64> {
    let gone = retire_trigger(step, *trigger, *rev).await?;
    step.run(sql::LOCK_JOB, params![job]).await?;
    Ok(gone + step.run(sql::PRUNE_JOB, params![job]).await?)
}

async fn prune_slots(step: &mut Step<'_>, limit: u32) -> Outcome<u64> {
    step.run(sql::LOCK_FLOOR, params![]).await?;
    let rows = step.all(sql::PRUNE_SLOTS, params![i64::from(limit)]).await?;
    if let Some(highest) = rows.iter().map(|row| Columns::of(row).int()).max() {
        step.run(sql::RAISE_FLOOR, params![highest]).await?;
    }
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}
