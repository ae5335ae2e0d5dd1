//! Claiming ready rows by their order.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::Timestamp;
use punctual_core::record::{WorkRow, after, document};
use punctual_core::store::{ClaimReady, ClaimShape, ClaimedReady};

use super::Outcome;
use super::firing::{distinct, may_claim, readable_work};
use super::slots::{self, Slots};
use super::work::list_of_ids;
use crate::query::{Sql, digits, values};
use crate::rows::Columns;
use crate::sql;
use crate::step::Step;

/// How many ready rows one step looks at before it leaves the rest to the next one, so that a long queue of a busy key
/// does not keep the locks of the others.
const MOST_CANDIDATES: usize = 2_000;

/// How many levels one step looks at. Those of lower priority come when these are empty.
const MOST_LEVELS: usize = 64;

/// Ready rows of one kind and urgency, and when the first of them wakes.
#[derive(Clone, Debug)]
pub(super) struct Level<'k> {
    kind: &'k str,
    urgency: i64,
    pub(super) wake: i64,
}

/// The levels of some kinds, the most urgent ones first.
pub(super) async fn levels<'k>(step: &mut Step<'_>, kinds: &[&'k str]) -> Outcome<Vec<Level<'k>>> {
    let mut below: BTreeMap<&'k str, i64> = kinds.iter().map(|kind| (*kind, i64::MIN)).collect();
    let mut levels: Vec<Level<'k>> = Vec::new();
    while !below.is_empty() && levels.len() < MOST_LEVELS {
        let asked = below.iter().flat_map(|(kind, urgency)| values![*kind, *urgency]).collect();
        let text = Sql::made(sql::each(sql::LEVELS, below.len()));
        let found = step.all(text, asked, |c| (c.text(), c.int(), c.int())).await?;
        let mut next = BTreeMap::new();
        for (kind, urgency, wake) in found {
            if let Some((kind, _)) = below.get_key_value(kind.as_str()) {
                levels.push(Level { kind, urgency, wake });
                next.insert(*kind, urgency);
            }
        }
        below = next;
    }
    levels.sort_by_key(|level| level.urgency);
    Ok(levels)
}

/// The earliest wake after now of ready rows.
pub(super) async fn next_wake(
    step: &mut Step<'_>,
    levels: &[Level<'_>],
    now: Timestamp,
) -> Outcome<Option<i64>> {
    let now = now.as_micros();
    let (due, later): (Vec<_>, Vec<_>) = levels.iter().partition(|level| level.wake <= now);
    let first = later.into_iter().map(|level| level.wake).min();
    if due.is_empty() {
        return Ok(first);
    }
    let values = due.iter().flat_map(|level| values![level.kind, level.urgency, now]).collect();
    let text = Sql::made(sql::each(sql::NEXT_WAKE_OF_READY, due.len()));
    Ok(step.number(text, values).await?.into_iter().chain(first).min())
}

/// A ready row, as far as claiming it needs.
#[derive(Clone, Debug)]
struct Candidate {
    id: [u8; 16],
    slot_key: Option<String>,
    slot_limit: Option<i64>,
    fence: i64,
}

pub(super) async fn claim_ready(step: &mut Step<'_>, request: &ClaimReady) -> Outcome<ClaimedReady> {
    let ClaimReady { node, gate, within, kinds, limit, park, after: _ } = request;
    let gate_open = may_claim(step, *node, *gate, within.as_ref()).await?;
    let now = step.now().await?;
    let mut answer = ClaimedReady { now, gate_open, work: Vec::new() };
    let kinds = distinct(kinds);
    let room = usize::try_from(*limit).unwrap_or(usize::MAX).min(MOST_CANDIDATES);
    if !gate_open || room == 0 || kinds.is_empty() {
        return Ok(answer);
    }
    let (owner, parked_until) = (node.get(), after(now, *park));
    let mut claimed: Vec<[u8; 16]> = Vec::new();
    let mut looked_at = 0;
    while claimed.len() < room && looked_at < MOST_CANDIDATES {
        let wanted = room - claimed.len();
        let found = candidates(step, &kinds, now, wanted).await?;
        let keys: BTreeSet<String> = found.iter().filter_map(|(_, key)| key.clone()).collect();
        // Slots before rows, as everybody locks them.
        slots::lock(step, &keys).await?;
        let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
        let rows = lock_ready(step, &ids, now, wanted).await?;
        if rows.is_empty() {
            break;
        }
        looked_at += rows.len();
        let mut slots = Slots::read(step, &keys).await?;
        let (mut taken, mut parked) = (Vec::new(), Vec::new());
        for Candidate { id, slot_key, slot_limit, fence } in rows {
            // A row with half a slot cannot be understood; it is claimed, and held for that.
            let next = match slot_key.zip(slot_limit) {
                None => Some(fence.saturating_add(1)),
                // A row that kept its slot may go though the key has no other free.
                Some((key, limit)) => slots.take(&key, limit, id, fence),
            };
            match next {
                Some(fence) => {
                    taken.push((digits(&id), fence));
                    claimed.push(id);
                }
                None => parked.push(id),
            }
        }
        if !taken.is_empty() {
            step.run(sql::CLAIM_READY, values![document(&taken)?, owner]).await?;
        }
        if !parked.is_empty() {
            let park = match step.claims() {
                ClaimShape::SkipLocked => sql::PARK_READY,
                ClaimShape::Cas | ClaimShape::WithinLock => sql::PARK_WON,
            };
            step.run(park, values![list_of_ids(&parked)?, parked_until]).await?;
        }
        slots.write(step).await?;
    }
    if !claimed.is_empty() {
        let mut work = step.rows::<WorkRow>(sql::WORK, values![list_of_ids(&claimed)?]).await?;
        let places: BTreeMap<_, _> = claimed.iter().zip(0_usize..).collect();
        work.sort_by_key(|read| places.get(&read.row.execution.id).copied());
        answer.work = work.into_iter().map(readable_work).collect();
    }
    Ok(answer)
}

/// Rows that may be claimed, in their order; more than are wanted, because others may have locked some.
async fn candidates(
    step: &mut Step<'_>,
    kinds: &[&str],
    now: Timestamp,
    wanted: usize,
) -> Outcome<Vec<([u8; 16], Option<String>)>> {
    let now = now.as_micros();
    let mut due = levels(step, kinds).await?;
    due.retain(|level| level.wake <= now);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let most = match step.claims() {
        ClaimShape::SkipLocked => wanted.saturating_mul(4).clamp(32, MOST_CANDIDATES),
        ClaimShape::Cas | ClaimShape::WithinLock => wanted,
    };
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let mut values: Vec<_> =
        due.iter().flat_map(|level| values![level.kind, level.urgency, now, most]).collect();
    values.push(most.into());
    let text = Sql::made(sql::each(sql::READY, due.len()));
    step.all(text, values, |c| (c.id(), c.text_or_null())).await
}

/// Locks as many of the rows as are wanted, in their order.
async fn lock_ready(
    step: &mut Step<'_>,
    ids: &[[u8; 16]],
    now: Timestamp,
    wanted: usize,
) -> Outcome<Vec<Candidate>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let read = |c: &Columns| Candidate {
        id: c.id(),
        slot_key: c.text_or_null(),
        slot_limit: c.int_or_null(),
        fence: c.int(),
    };
    let now = now.as_micros();
    match step.claims() {
        ClaimShape::SkipLocked => {
            let most = i64::try_from(wanted).unwrap_or(i64::MAX);
            step.all(sql::LOCK_READY, values![list_of_ids(ids)?, now, most], read).await
        }
        ClaimShape::Cas | ClaimShape::WithinLock => {
            let mut won = Vec::new();
            for id in ids {
                if step.run(sql::CAS_READY, values![*id, now]).await? > 0 {
                    won.push(*id);
                }
            }
            if won.is_empty() {
                return Ok(Vec::new());
            }
            step.all(sql::WON_READY, values![list_of_ids(&won)?], read).await
        }
    }
}
