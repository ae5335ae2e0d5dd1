//! Putting work in, and asking it to stop.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::execution::{MAX_ERROR_BYTES, clip};
use punctual_core::record::{ExecutionRow, after, document};
use punctual_core::store::{Applied, Cancelled, Enqueue, PARK};
use punctual_core::{Error, ErrorKind, ExecutionId, Timestamp};

use super::Outcome;
use super::slots;
use crate::query::{Value, digits, values};
use crate::rows::{Columns, IntoValues};
use crate::sql;
use crate::step::{News, Step};

/// A list of ids as one value.
pub(super) fn list_of_ids(ids: &[[u8; 16]]) -> Outcome<String> {
    Ok(document(&ids.iter().map(|id| digits(id)).collect::<Vec<_>>())?)
}

/// The indexes that a statement answers with places of a list, counted from 1.
pub(super) async fn places(step: &mut Step<'_>, sql: &'static str, list: String) -> Outcome<BTreeSet<usize>> {
    let places = step.all(sql, values![list], Columns::int).await?;
    Ok(places.into_iter().filter_map(|n| usize::try_from(n.saturating_sub(1)).ok()).collect())
}

/// Which rows of a batch have an occurrence that is there already.
pub(super) async fn known_occurrences(
    step: &mut Step<'_>,
    occurrences: &[(Option<i64>, Option<i64>, i64)],
) -> Outcome<BTreeSet<usize>> {
    if occurrences.iter().all(|(trigger, ..)| trigger.is_none()) {
        return Ok(BTreeSet::new());
    }
    places(step, sql::KNOWS_OCCURRENCE, document(occurrences)?).await
}

pub(super) async fn enqueue(step: &mut Step<'_>, work: &[Enqueue]) -> Outcome<Applied> {
    if work.is_empty() {
        return Ok(Applied::All);
    }
    let ids: Vec<_> = work.iter().map(|one| one.execution.id.to_bytes()).collect();
    let known = places(step, sql::KNOWS_EXECUTION, list_of_ids(&ids)?).await?;
    let wanted: BTreeSet<i64> =
        work.iter().filter_map(|one| one.execution.job.as_ref().map(|job| job.id.get())).collect();
    let mut jobs = BTreeSet::new();
    if !wanted.is_empty() {
        jobs.extend(step.all(sql::KNOWS_JOB, values![document(&wanted)?], Columns::int).await?);
    }
    let now = step.now().await?;
    let mut rows: Vec<ExecutionRow> = Vec::with_capacity(work.len());
    for (at, Enqueue { execution, delay }) in work.iter().enumerate() {
        if known.contains(&at) {
            continue;
        }
        let mut row = ExecutionRow::ready(execution, now)?;
        if row.job_id.is_some_and(|job| !jobs.contains(&job)) {
            return Ok(Applied::Lost { at });
        }
        if let Some(delay) = delay {
            row.scheduled_us = after(now, *delay);
            row.wake_us = row.scheduled_us;
        }
        rows.push(row);
    }
    let occurrences: Vec<_> =
        rows.iter().map(|row| (row.trigger_id, row.generation, row.scheduled_us)).collect();
    if let Some(twice) = known_occurrences(step, &occurrences).await?.first() {
        let of = rows.get(*twice).and_then(|row| row.trigger_key.clone()).unwrap_or_default();
        let why = format!("trigger {of} has an execution of that instant already");
        return Err(Error::new(ErrorKind::AlreadyExists, "enqueue", why).into());
    }
    // An id may be in the batch twice; the first one counts.
    let mut seen = BTreeSet::new();
    rows.retain(|row| seen.insert(row.id));
    if rows.is_empty() {
        return Ok(Applied::All);
    }
    let mut queues = Queues::of(step, &rows, now).await?;
    let rows = rows.into_iter().map(|row| {
        let due = row.wake_us;
        let wake = if queues.must_wait(&row, now) { after(now, PARK) } else { due };
        values_of(ExecutionRow { wake_us: wake, ..row }, due)
    });
    let rows = rows.collect();
    put(step, rows).await?;
    // What is due later must be known too: it may be earlier than what others sleep for.
    step.tell(News::Everywhere);
    Ok(Applied::All)
}

/// Puts live rows in, each as its values. A breach of the primary key or of execution_occurrence is an error.
pub(super) async fn put(step: &mut Step<'_>, rows: Vec<Vec<Value>>) -> Outcome<()> {
    match <[Vec<Value>; 1]>::try_from(rows) {
        Ok([row]) => step.run(sql::INSERT_ONE_EXECUTION, row).await.map(drop),
        Err(rows) => step.insert(sql::INSERT_EXECUTION, rows).await,
    }
}

/// The values of a live row that is due at an instant.
pub(super) fn values_of(row: ExecutionRow, due: i64) -> Vec<Value> {
    let mut values = row.into_values();
    values.push(due.into());
    values
}

/// How many more due rows each key has room for, so that the rest of a batch is parked at once.
struct Queues {
    taken: BTreeMap<String, i64>,
}

impl Queues {
    async fn of(step: &mut Step<'_>, rows: &[ExecutionRow], now: Timestamp) -> Outcome<Self> {
        let due = rows.iter().filter(|row| row.wake_us <= now.as_micros());
        let keys: BTreeSet<&String> = due.filter_map(|row| row.slot_key.as_ref()).collect();
        if keys.is_empty() {
            return Ok(Self { taken: BTreeMap::new() });
        }
        let read = |c: &Columns| {
            let (key, held, is_waited_for) = (c.text(), c.int(), c.int() != 0);
            (key, if is_waited_for { i64::MAX } else { held })
        };
        let taken = step.all(sql::SLOTS_HELD, values![document(&keys)?], read).await?;
        Ok(Self { taken: taken.into_iter().collect() })
    }

    fn must_wait(&mut self, row: &ExecutionRow, now: Timestamp) -> bool {
        let (Some(key), Some(limit)) = (&row.slot_key, row.slot_limit) else { return false };
        if row.wake_us > now.as_micros() {
            return false;
        }
        let Some(taken) = self.taken.get_mut(key) else { return false };
        let waits = *taken >= limit;
        // Behind one that waits all others wait, also those that know of a higher limit.
        *taken = if waits { i64::MAX } else { *taken + 1 };
        waits
    }
}

pub(super) async fn cancel(step: &mut Step<'_>, ids: &[ExecutionId], why: &str) -> Outcome<Cancelled> {
    let ids: BTreeSet<_> = ids.iter().map(|id| id.to_bytes()).collect();
    let ids: Vec<_> = ids.into_iter().collect();
    cancel_rows(step, &ids, &clip(why, MAX_ERROR_BYTES)).await
}

/// Ends rows that nobody owns as cancelled, and asks the owners of the others. Copied by SQL, so that rows that cannot be
/// understood can be cancelled too.
pub(super) async fn cancel_rows(step: &mut Step<'_>, ids: &[[u8; 16]], why: &str) -> Outcome<Cancelled> {
    if ids.is_empty() {
        return Ok(Cancelled::default());
    }
    let rows = slots::lock_live(step, ids).await?;
    let (owned, free): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.owner.is_some());
    let ids_of = |rows: &[slots::Live]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    let count = |rows: &[slots::Live]| u32::try_from(rows.len()).unwrap_or(u32::MAX);
    if !free.is_empty() {
        let (now, list) = (step.now().await?.as_micros(), list_of_ids(&ids_of(&free))?);
        step.run(sql::RECORD_CANCELLED, values![now, why, list.clone()]).await?;
        step.run(sql::DELETE_UNOWNED, values![list]).await?;
        let held: Vec<_> = free.iter().filter(|row| row.slot_key.is_some()).map(|row| row.id).collect();
        slots::free(step, &held).await?;
    }
    if !owned.is_empty() {
        step.run(sql::CANCEL_OWNED, values![list_of_ids(&ids_of(&owned))?, why]).await?;
    }
    Ok(Cancelled { ended: count(&free), asked: count(&owned) })
}
