//! Putting work in, and asking it to stop.

use std::collections::BTreeMap;

use punctual_core::execution::{MAX_ERROR_BYTES, clip};
use punctual_core::record::{ExecutionRow, after};
use punctual_core::store::{Applied, Cancelled, Enqueue, PARK};
use punctual_core::{Error, ErrorKind, ExecutionId};
use rusqlite::params;

use super::Outcome;
use super::slots;
use crate::rows::ToParams;
use crate::sql;
use crate::step::{News, Step};

pub(super) fn enqueue(step: &Step<'_>, work: Vec<Enqueue>) -> Outcome<Applied> {
    let mut rows: Vec<ExecutionRow> = Vec::with_capacity(work.len());
    for (at, Enqueue { execution, delay }) in work.into_iter().enumerate() {
        if step.holds(sql::KNOWS_EXECUTION, [execution.id.to_bytes()])? {
            continue;
        }
        let mut row = ExecutionRow::ready(&execution, step.now())?;
        if let Some(job) = row.job_id
            && !step.holds(sql::KNOWS_JOB, [job])?
        {
            return Ok(Applied::Lost { at });
        }
        if let Some(delay) = delay {
            row.scheduled_us = after(step.now(), delay);
            row.wake_us = row.scheduled_us;
        }
        if step.holds(sql::KNOWS_OCCURRENCE, params![row.trigger_id, row.generation, row.scheduled_us])? {
            let of = row.trigger_key.unwrap_or_default();
            let why = format!("trigger {of} has an execution of that instant already");
            return Err(Error::new(ErrorKind::AlreadyExists, "enqueue", why).into());
        }
        rows.push(row);
    }
    let mut queues = Queues::default();
    for row in &rows {
        // An id may be in the batch twice; the first one counts.
        if !step.holds(sql::KNOWS_EXECUTION, [row.id])? {
            insert(step, row)?;
            if queues.must_wait(step, row)? {
                step.run(sql::PARK_READY, params![row.id, after(step.now(), PARK)])?;
            }
            // What is due later must be known too: it may be earlier than what others sleep for.
            step.tell(News::Everywhere);
        }
    }
    Ok(Applied::All)
}

/// How many more due rows each key has room for, so that the rest of a batch is parked at once.
#[derive(Default)]
struct Queues {
    taken: BTreeMap<String, i64>,
}

impl Queues {
    fn must_wait(&mut self, step: &Step<'_>, row: &ExecutionRow) -> Outcome<bool> {
        let (Some(key), Some(limit)) = (&row.slot_key, row.slot_limit) else { return Ok(false) };
        if row.wake_us > step.now().as_micros() {
            return Ok(false);
        }
        let taken = match self.taken.get_mut(key) {
            Some(taken) => taken,
            None => {
                let seen = step.first(sql::SLOTS_HELD, [key], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let (held, is_waited_for): (i64, bool) = seen.unwrap_or_default();
                let taken = if is_waited_for { i64::MAX } else { held };
                self.taken.entry(key.clone()).or_insert(taken)
            }
        };
        let waits = *taken >= limit;
        // Behind one that waits all others wait, also those that know of a higher limit.
        *taken = if waits { i64::MAX } else { *taken + 1 };
        Ok(waits)
    }
}

/// Inserts a live row.
pub(super) fn insert(step: &Step<'_>, row: &ExecutionRow) -> Outcome<()> {
    step.run(sql::INSERT_EXECUTION, &*row.params())?;
    Ok(())
}

pub(super) fn cancel(step: &Step<'_>, ids: &[ExecutionId], why: &str) -> Outcome<Cancelled> {
    let why = clip(why, MAX_ERROR_BYTES);
    let mut done = Cancelled::default();
    for id in ids {
        let id = id.to_bytes();
        if end_cancelled(step, &id, &why)? {
            done.ended += 1;
        } else if step.run(sql::CANCEL_OWNED, params![id, why])? > 0 {
            done.asked += 1;
        }
    }
    Ok(done)
}

/// Ends a row that nobody owns as cancelled; `false` if it is owned or gone. Copied by SQL, so that a row that cannot be
/// understood can be cancelled too.
pub(super) fn end_cancelled(step: &Step<'_>, id: &[u8], why: &str) -> Outcome<bool> {
    if step.run(sql::RECORD_CANCELLED, params![id, step.now().as_micros(), why])? == 0 {
        return Ok(false);
    }
    let slot_key: Option<Option<String>> = step.first(sql::DELETE_UNOWNED, [id], |row| row.get(0))?;
    if slot_key.flatten().is_some() {
        slots::free(step, id)?;
    }
    Ok(true)
}
