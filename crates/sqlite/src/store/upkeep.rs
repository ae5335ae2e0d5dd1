//! Upkeep: what is old goes, in bounded steps, and takes nothing with it that anybody still needs.

use punctual_core::store::{KEEP_MARKS, Prune, Pruned};
use rusqlite::params;

use super::Outcome;
use super::definitions::retire_trigger;
use crate::sql;
use crate::step::Step;

pub(super) fn prune(step: &Step<'_>, request: Prune) -> Outcome<Pruned> {
    let Prune { history, limit } = request;
    let old = step.now().minus(history).as_micros();
    let counts = [
        step.run(sql::PRUNE_NODES, params![step.now().minus(request.nodes()).as_micros(), limit])?,
        prune_triggers(step, old, limit)?,
        step.run(sql::PRUNE_MARKS, params![step.now().minus(KEEP_MARKS).as_micros(), limit])?,
        prune_slots(step, limit)?,
    ];
    let history = step.run(sql::PRUNE_HISTORY, params![old, limit])?;
    let count = |rows: usize| u64::try_from(rows).unwrap_or(u64::MAX);
    Ok(Pruned { history: count(history), other: counts.into_iter().map(count).sum() })
}

fn prune_triggers(step: &Step<'_>, old: i64, limit: u32) -> Outcome<usize> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let over: Vec<(i64, i64, i64)> = step.all(sql::COMPLETED, params![old, limit], read)?;
    let mut gone = 0;
    for (id, rev, job) in over {
        gone += retire_trigger(step, id, rev)?;
        gone += step.run(sql::PRUNE_JOB, [job])?;
    }
    Ok(gone)
}

fn prune_slots(step: &Step<'_>, limit: u32) -> Outcome<usize> {
    let fences = step.all(sql::PRUNE_SLOTS, [limit], |row| row.get::<_, i64>(0))?;
    if let Some(highest) = fences.iter().max() {
        step.run(sql::RAISE_FLOOR, [highest])?;
    }
    Ok(fences.len())
}
