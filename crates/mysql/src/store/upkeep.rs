//! Upkeep: what is old goes, in bounded steps, and takes nothing with it that anybody still needs.

use std::collections::BTreeSet;

use punctual_core::record::document;
use punctual_core::store::{KEEP_MARKS, Prune, Pruned};

use super::definitions::{lock_unused_job, retire_trigger};
use super::work::list_of_ids;
use super::{Outcome, slots};
use crate::query::values;
use crate::rows::Columns;
use crate::sql;
use crate::step::Step;

pub(super) async fn prune(step: &mut Step<'_>, request: Prune) -> Outcome<Pruned> {
    let Prune { history, limit } = request;
    let now = step.now().await?;
    let old = now.minus(history).as_micros();
    let counts = [
        prune_nodes(step, now.minus(request.nodes()).as_micros(), limit).await?,
        prune_triggers(step, old, limit).await?,
        prune_marks(step, now.minus(KEEP_MARKS).as_micros(), limit).await?,
        prune_slots(step, limit).await?,
    ];
    let history = prune_history(step, old, limit).await?;
    let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
    Ok(Pruned { history: count(history), other: counts.into_iter().map(count).sum() })
}

async fn prune_nodes(step: &mut Step<'_>, old: i64, limit: u32) -> Outcome<usize> {
    let nodes = step.all(sql::OLD_NODES, values![old, limit], Columns::int).await?;
    if nodes.is_empty() {
        return Ok(0);
    }
    step.run(sql::PRUNE_NODES, values![document(&nodes)?]).await
}

async fn prune_history(step: &mut Step<'_>, old: i64, limit: u32) -> Outcome<usize> {
    let mut records = step.all(sql::OLD_HISTORY, values![old, limit], Columns::id).await?;
    if records.is_empty() {
        return Ok(0);
    }
    records.sort_unstable();
    step.run(sql::PRUNE_HISTORY, values![list_of_ids(&records)?]).await
}

async fn prune_triggers(step: &mut Step<'_>, old: i64, limit: u32) -> Outcome<usize> {
    let over = step.all(sql::COMPLETED, values![old, limit], |c| (c.int(), c.int(), c.int())).await?;
    let mut gone = 0;
    for (id, rev, job) in over {
        gone += retire_trigger(step, id, rev).await?;
        if lock_unused_job(step, job).await?.is_some()
            && step.all(sql::LIVE_OF_JOB, values![job], Columns::id).await?.is_empty()
        {
            gone += step.run(sql::PRUNE_JOB, values![job]).await?;
        }
    }
    Ok(gone)
}

async fn prune_marks(step: &mut Step<'_>, old: i64, limit: u32) -> Outcome<usize> {
    let marks = step.all(sql::OLD_MARKS, values![old, limit], |c| (c.text(), c.text())).await?;
    let mut gone = 0;
    for (group, name) in marks {
        gone += step.run(sql::PRUNE_MARKS, values![group, name, old]).await?;
    }
    Ok(gone)
}

async fn prune_slots(step: &mut Step<'_>, limit: u32) -> Outcome<usize> {
    let read = |c: &Columns| (c.text(), c.int());
    let idle = step.all(sql::OLD_SLOTS, values![limit], read).await?;
    let keys: BTreeSet<String> = idle.iter().map(|(key, _)| key.clone()).collect();
    slots::lock(step, &keys).await?;
    let mut highest = None;
    let mut gone = 0;
    for (key, n) in idle {
        // Read again under the lock: the slot may have been used meanwhile.
        let Some(fence) = step.number(sql::IDLE_SLOT, values![key.as_str(), n]).await? else { continue };
        gone += step.run(sql::PRUNE_SLOTS, values![key, n]).await?;
        highest = highest.max(Some(fence));
    }
    if let Some(highest) = highest {
        step.run(sql::RAISE_FLOOR, values![highest]).await?;
    }
    Ok(gone)
}
