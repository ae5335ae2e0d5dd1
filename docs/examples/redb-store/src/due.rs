//! `read_due` and `orphans`: what a node reads before it plans. No lock, one snapshot.

use std::collections::BTreeSet;
use std::sync::Arc;

use punctual_core::execution::ExecutionWithJob;
use punctual_core::record::{BadColumn, CalendarRow, DueRow, ExecutionRow, JobRow, PayloadRow, WorkRow};
use punctual_core::store::{ClaimRef, Due, DueTrigger, Poison, PoisonRow, ReadDue, Readable};
use punctual_core::{ExecutionId, Fence, Kind, NodeId, Timestamp, TriggerId};
use redb::ReadableTable;

use crate::executions::claim_of;
use crate::tables::{Json, KeptExecution, KeptNode, KeptTrigger, Ready, Snapshot, load};
use crate::trouble::{Tried, Trouble};

/// Where a trigger stands in the list of due ones: wake, negative rank, id.
type Place = (i64, i64, i64);

/// Where a ready row stands among those of its kind: negative priority, wake, id.
pub(crate) type Turn = (i64, i64, u128);

/// The largest key that begins with a kind and an instant.
const LAST: (i64, i64) = (i64::MAX, i64::MAX);

impl Snapshot {
    pub(crate) fn read_due(&self, request: &ReadDue, now: Timestamp) -> Tried<Due> {
        let node: Option<KeptNode> = load(&self.node, request.node.get())?;
        let horizon = request.horizon(now);
        let (mut places, mut later, mut ready) = (Vec::new(), Vec::new(), false);
        for kind in kinds(&request.kinds) {
            places.extend(self.places(kind, request, now)?);
            later.extend(self.next_trigger(kind, horizon)?);
            for priority in priorities(&self.ready, kind)? {
                ready |= !rows(&self.ready, kind, priority, (i64::MIN, now.as_micros()), 1)?.is_empty();
                let Some(after_now) = now.as_micros().checked_add(1) else { continue };
                let next = rows(&self.ready, kind, priority, (after_now, i64::MAX), 1)?;
                later.extend(next.first().map(|row| row.1));
            }
        }
        places.sort_unstable();
        places.truncate(count(request.limit));
        Ok(Due {
            now,
            gate: node.map_or(0, |node| node.row.gate),
            triggers: places.iter().map(|place| self.due_trigger(place.2)).collect::<Tried<_>>()?,
            next_wake: later.into_iter().min().map(Timestamp::from_micros),
            ready,
        })
    }

    /// The triggers of a kind that are due, or will be by the horizon, as many as asked for.
    fn places(&self, kind: &str, request: &ReadDue, now: Timestamp) -> Tried<Vec<Place>> {
        let grace = request.slice.map_or(i64::MIN, |slice| now.minus(slice.grace).as_micros());
        let last = (kind, request.horizon(now).as_micros(), LAST.0, LAST.1);
        let due = self.due.range((kind, i64::MIN, i64::MIN, i64::MIN)..=last)?;
        let mut places = Vec::new();
        for entry in due {
            if places.len() == count(request.limit) {
                break;
            }
            let entry = entry?;
            let ((_, wake, rank, id), number) = (entry.0.value(), entry.1.value());
            let mine = request.slice.is_none_or(|slice| (slice.from..slice.to).contains(&number));
            if mine || wake < grace {
                places.push((wake, rank, id));
            }
        }
        Ok(places)
    }

    /// The first wake behind the horizon of a trigger of a kind.
    fn next_trigger(&self, kind: &str, horizon: Timestamp) -> Tried<Option<i64>> {
        let Some(behind) = horizon.as_micros().checked_add(1) else { return Ok(None) };
        let mut later =
            self.due.range((kind, behind, i64::MIN, i64::MIN)..=(kind, i64::MAX, LAST.0, LAST.1))?;
        Ok(later.next().transpose()?.map(|entry| entry.0.value().1))
    }

    /// A due trigger with its job and calendar. Whatever cannot be understood makes this trigger a poison, no other.
    fn due_trigger(&self, id: i64) -> Tried<Readable<DueTrigger>> {
        let poison = |reason, rev, fire_seq| {
            let row = PoisonRow::Trigger { id: TriggerId::from_stored(id), rev, fire_seq };
            Readable::Poison(Poison { row, reason })
        };
        let kept: KeptTrigger = match load(&self.trigger, id).and_then(|kept| kept.ok_or_else(vanished)) {
            Ok(kept) => kept,
            // Not even its guards are known: see `Step::set_unreadable_aside`.
            Err(trouble) => return Ok(poison(trouble.unreadable()?, 0, 0)),
        };
        let (rev, fire_seq) = (kept.row.rev, kept.row.fire_seq);
        match self.with_job(kept) {
            Ok(due) => Ok(Readable::Row(due)),
            Err(trouble) => Ok(poison(trouble.unreadable()?, rev, fire_seq)),
        }
    }

    fn with_job(&self, kept: KeptTrigger) -> Tried<DueTrigger> {
        let job = load(&self.job, kept.row.job_id)?;
        let job = job.ok_or_else(|| BadColumn::new("trigger.job_id", "there is no such job"))?;
        let calendar: Option<CalendarRow> = match &kept.row.calendar {
            Some(name) => load(&self.calendar, &**name)?,
            None => None,
        };
        let calendar = calendar.map(|calendar| calendar.document);
        Ok(DueRow { trigger: kept.row, job, calendar }.try_into()?)
    }

    pub(crate) fn orphans(&self, owner: NodeId, limit: u32) -> Tried<Vec<Readable<ExecutionWithJob>>> {
        let node: Option<KeptNode> = load(&self.node, owner.get())?;
        if node.is_some_and(|node| node.is_up()) {
            return Ok(Vec::new());
        }
        let owned = self.owned.range((owner.get(), 0)..=(owner.get(), u128::MAX))?;
        let mut orphans = Vec::new();
        for entry in owned.take(count(limit)) {
            let id = entry?.0.value().1;
            orphans.push(match load(&self.execution, id).and_then(|kept| kept.ok_or_else(vanished)) {
                Ok(KeptExecution { row, .. }) => with_job(&self.job, &self.trigger, row)?,
                Err(trouble) => unreadable(id, owner, trouble.unreadable()?),
            });
        }
        Ok(orphans)
    }
}

/// A live row with what it takes from its job and its trigger, or the poison that it is.
pub(crate) fn with_job(
    jobs: &impl ReadableTable<i64, Json>,
    triggers: &impl ReadableTable<i64, Json>,
    execution: ExecutionRow,
) -> Tried<Readable<ExecutionWithJob>> {
    let row = PoisonRow::Execution(claim_of(&execution));
    let read = || -> Tried<ExecutionWithJob> {
        let job: Option<Option<JobRow>> = execution.job_id.map(|id| load(jobs, id)).transpose()?;
        let trigger: Option<Option<KeptTrigger>> =
            execution.trigger_id.map(|id| load(triggers, id)).transpose()?;
        let trigger_payload = trigger.flatten().map_or_else(PayloadRow::default, |kept| kept.row.payload);
        Ok(WorkRow { execution, job: job.flatten(), trigger_payload }.try_into()?)
    };
    match read() {
        Ok(work) => Ok(Readable::Row(work)),
        Err(trouble) => Ok(Readable::Poison(Poison { row, reason: trouble.unreadable()? })),
    }
}

/// The kinds of a request, each once.
pub(crate) fn kinds(kinds: &Arc<[Kind]>) -> BTreeSet<&str> {
    kinds.iter().map(Kind::as_str).collect()
}

/// A number of rows.
pub(crate) fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// The negative priorities that ready rows of a kind have, by one probe each.
pub(crate) fn priorities(ready: &impl ReadableTable<Ready, ()>, kind: &str) -> Tried<Vec<i64>> {
    let mut found = Vec::new();
    let mut from = Some(i64::MIN);
    while let Some(priority) = from {
        let rest = (kind, priority, i64::MIN, 0)..=(kind, i64::MAX, i64::MAX, u128::MAX);
        let Some(entry) = ready.range(rest)?.next().transpose()? else { break };
        let priority = entry.0.value().1;
        found.push(priority);
        from = priority.checked_add(1);
    }
    Ok(found)
}

/// The first ready rows of a kind and a negative priority that wake within `from..=to`.
pub(crate) fn rows(
    ready: &impl ReadableTable<Ready, ()>,
    kind: &str,
    priority: i64,
    (from, to): (i64, i64),
    limit: usize,
) -> Tried<Vec<Turn>> {
    let rows = ready.range((kind, priority, from, 0)..=(kind, priority, to, u128::MAX))?;
    let place = |entry: (redb::AccessGuard<'_, Ready>, _)| {
        let (_, priority, wake, id) = entry.0.value();
        (priority, wake, id)
    };
    rows.take(limit).map(|entry| Ok(place(entry?))).collect()
}

/// A live row whose value is no row: all that is known of it is under which key it stands, and whose list names it.
pub(crate) fn unreadable(id: u128, owner: NodeId, reason: String) -> Readable<ExecutionWithJob> {
    let id = ExecutionId::from_bytes(id.to_be_bytes());
    let row = PoisonRow::Execution(ClaimRef { id, owner, fence: Fence::NONE });
    Readable::Poison(Poison { row, reason })
}

/// What an index names and is not there.
pub(crate) fn vanished() -> Trouble {
    BadColumn::new("id", "an index names it, and it is not there").into()
}
