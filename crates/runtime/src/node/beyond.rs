//! What a round of looking knows of the ones before, and how many executions it may begin.

use std::collections::BTreeMap;
use std::time::Duration;

use punctual_core::execution::ExecutionWithJob;
use punctual_core::store::{ClaimedReady, FirePlan, Readable, ReadyPlace};
use punctual_core::{BootInstant, Timestamp};

/// For how long a node with a long queue of ready rows looks behind what it has claimed only, before it looks at all of
/// it again. So much longer urgent work may have to wait.
const BEHIND: Duration = Duration::from_millis(100);

/// How many due triggers a round reads beyond what the node has room for: those that stand in front and cannot go.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    /// Triggers of schedules that this node does not know, as many as the last round saw.
    pub(super) strange: u32,
    /// Triggers whose slot is taken. Each round parks those that it sees, and as long as they are most of what it sees,
    /// the next one looks twice as far: ten thousand of them are out of the way after a few rounds.
    pub(super) blocked: u32,
    /// How many rounds in a row found as much in this node's own slice as they could hold.
    pub(super) crowded: u32,
    /// How far this node was behind with its own slice in the last round, by what it fired. Others leave a trigger lying if
    /// they are further behind than that by the grace: where all are late, they would only be in each other's way.
    pub(super) lag: Duration,
    /// When to look at what the nodes of other slices have left lying, if anything fell due since the last such look.
    pub(super) leftovers: Option<Timestamp>,
    /// That the last round claimed as many ready rows as it asked for. Where that many were ready there are more: the next
    /// round claims while it reads, and not after that.
    pub(super) more_ready: Option<MoreReady>,
    /// What the last round claimed and did not begin, because the next one follows at once: it begins them while the
    /// store is busy with its claim. The claim counts as under way until then.
    pub(super) held: Option<ClaimedReady>,
}

/// What is known of a queue that is longer than a claim.
#[derive(Clone, Copy, Debug)]
pub(super) struct MoreReady {
    /// The gate under which the last claim was made.
    pub(super) gate: i64,
    /// Where its last row stood.
    place: Option<ReadyPlace>,
    /// When a claim looked at all of the queue.
    looked: BootInstant,
}

impl MoreReady {
    /// What is known after a full claim; `looked` is when it, or the last one without a place, was made.
    pub(super) fn behind(ready: &ClaimedReady, gate: i64, looked: BootInstant) -> Self {
        let place = match ready.work.last() {
            Some(Readable::Row(ExecutionWithJob { execution, .. })) => {
                Some(ReadyPlace { priority: execution.priority, wake: execution.wake })
            }
            Some(Readable::Poison(_)) | None => None,
        };
        Self { gate, place, looked }
    }

    /// Where a round may begin to look, and since when none has looked at what stands before.
    pub(super) fn after(&self, now: BootInstant) -> Option<(ReadyPlace, BootInstant)> {
        self.place.filter(|_| now.since(self.looked) < BEHIND).map(|place| (place, self.looked))
    }
}

impl Beyond {
    pub(super) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, |ready| ready.work.len())
    }
}

/// How many executions a round may begin.
pub(super) struct Room {
    left: usize,
    keys: BTreeMap<Box<str>, u32>,
}

impl Room {
    pub(super) const fn of(left: usize) -> Self {
        Self { left, keys: BTreeMap::new() }
    }

    /// Whether a plan may be handed to the store. Of plans that share a slot key no more can fire than the key has slots,
    /// so more of them need no room: they will be parked.
    pub(super) fn admits(&mut self, plan: &FirePlan) -> bool {
        let needed = plan.executions.len();
        let taken =
            plan.slot.as_ref().map(|slot| (self.keys.entry(slot.key.clone()).or_default(), slot.limit));
        match taken {
            Some((taken, limit)) if *taken >= limit => return true,
            Some((taken, _)) if needed <= self.left => *taken += 1,
            _ => {}
        }
        let fits = needed <= self.left;
        if fits {
            self.left -= needed;
        }
        fits
    }
}
