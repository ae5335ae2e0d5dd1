//! What the store holds, and the look-ups that several steps share.

use std::collections::{BTreeMap, BTreeSet};

use super::definitions::Definitions;
use super::locks::Held;
use super::slots::Slots;
use crate::execution::{Execution, ExecutionWithJob, HistoryRecord, Occurrence, Outcome};
use crate::key::{ExecutionId, Fence, NodeId, TriggerId};
use crate::node::{NodeRecord, NodeState};
use crate::store::Within;
use crate::time::Timestamp;

/// Everything.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) definitions: Definitions,
    pub(super) epoch: u32,
    pub(super) nodes: BTreeMap<NodeId, Member>,
    pub(super) live: BTreeMap<ExecutionId, Live>,
    pub(super) history: BTreeMap<ExecutionId, HistoryRecord>,
    /// The occurrences of all live rows and all of the history: the unique key that makes a second firing impossible.
    pub(super) occurrences: BTreeSet<Instant>,
    pub(super) slots: Slots,
    pub(super) locks: BTreeMap<Box<str>, Held>,
    /// The highest fence that a claim within each lock came with.
    pub(super) lock_guards: BTreeMap<Box<str>, Fence>,
    /// Whether the step has made something available that nobody was told of yet.
    pub(super) news: bool,
}

/// One instant of one generation of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant {
    pub(super) trigger: TriggerId,
    pub(super) generation: i64,
    pub(super) scheduled: Timestamp,
}

impl Instant {
    pub(super) const fn of(occurrence: &Occurrence, scheduled: Timestamp) -> Self {
        Self { trigger: occurrence.trigger_id, generation: occurrence.generation, scheduled }
    }
}

/// A node's row with what only upkeep needs.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) record: NodeRecord,
    /// When it left or was declared dead.
    pub(super) ended: Option<Timestamp>,
}

/// A live row with the time that it would wake at if its slot were free.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) row: Execution,
    /// Parked if and only if `row.wake` is later.
    pub(super) due: Timestamp,
}

impl Live {
    /// Whether the row waits for a slot.
    pub(super) fn is_parked(&self) -> bool {
        self.row.wake > self.due
    }
}

impl State {
    /// Whether the node is a member.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|member| member.record.state == NodeState::Up)
    }

    /// Whether the node may claim what it planned when it saw `gate`, within the lock that it holds. If it may, claims
    /// with smaller fences of that lock are refused from now on.
    pub(super) fn may_claim(&mut self, node: NodeId, gate: i64, within: Option<&Within>) -> bool {
        let open = |node: &NodeRecord| node.state == NodeState::Up && !node.standby && node.gate == gate;
        if !self.nodes.get(&node).is_some_and(|member| open(&member.record)) {
            return false;
        }
        let Some(Within { lock, fence }) = within else { return true };
        let highest = self.lock_guards.entry(lock.clone()).or_insert(*fence);
        *highest = (*highest).max(*fence);
        highest == fence
    }

    /// Whether an execution of this id was ever stored and is still remembered.
    pub(super) fn knows(&self, id: ExecutionId) -> bool {
        self.live.contains_key(&id) || self.history.contains_key(&id)
    }

    /// The row with what it takes from its job and trigger.
    pub(super) fn with_job(&self, row: &Execution) -> ExecutionWithJob {
        let job = row.job.as_ref().and_then(|job| self.definitions.jobs.get(&job.id)).cloned();
        let trigger = row.occurrence.as_ref().and_then(|of| self.definitions.triggers.get(&of.trigger_id));
        let trigger_payload = trigger.and_then(|stored| stored.record.payload.clone());
        ExecutionWithJob { execution: row.clone(), job, trigger_payload }
    }

    /// Inserts a live row that does not wait for a slot.
    pub(super) fn insert(&mut self, row: Execution) {
        self.occurrences.extend(row.occurrence.as_ref().map(|of| Instant::of(of, row.scheduled)));
        self.live.insert(row.id, Live { due: row.wake, row });
    }

    /// Appends to the history.
    pub(super) fn record(&mut self, record: HistoryRecord) {
        self.occurrences.extend(record.occurrence.as_ref().map(|of| Instant::of(of, record.scheduled)));
        self.history.insert(record.id, record);
    }

    /// Ends a row that nobody owns as cancelled, and frees the slot that it may have kept.
    pub(super) fn end_cancelled(&mut self, now: Timestamp, id: ExecutionId, why: &str) {
        let Some(Live { row, .. }) = self.live.remove(&id) else { return };
        self.record(HistoryRecord {
            id: row.id,
            occurrence: row.occurrence,
            job: row.job,
            kind: row.kind,
            scheduled: row.scheduled,
            until: None,
            count: Some(1),
            outcome: Outcome::Cancelled,
            reason: None,
            attempt: row.attempt,
            node: None,
            fence: row.fence,
            started: None,
            ended: now,
            error: Some(why.into()),
            output: None,
            attempts: row.attempts,
        });
        self.free_slot_of(id);
    }

    /// The fence of a live row, or [`Fence::NONE`].
    pub(super) fn fence_of(&self, id: ExecutionId) -> Fence {
        self.live.get(&id).map_or(Fence::NONE, |live| live.row.fence)
    }
}
