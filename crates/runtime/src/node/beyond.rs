//! What a round of looking knows of the ones before, and how many executions it may begin.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use punctual_core::execution::ExecutionWithJob;
use punctual_core::store::{ClaimedReady, FirePlan, Readable, ReadyPlace};
use punctual_core::{BootInstant, Timestamp};

/// For how long at least, and at most, a node with a long queue of ready rows looks behind what it has claimed only, before
/// it looks at all of it again. So much longer urgent work may have to wait.
const BEHIND: Range<Duration> = Duration::from_millis(100)..Duration::from_secs(5);

/// Within these, it does so for so many times as long as the last look at all of it took. That goes through the entries of
/// what was worked off until they are cleaned up: through a million in tens of milliseconds, and in more the more nodes
/// look at once. So it takes about a twentieth of a node's time, and of the database's, however many nodes there are.
const TIMES_A_LOOK: u32 = 20;

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
    /// The last look at all of the queue.
    look: Look,
}

/// A look at all of a queue, by a round that named no place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// When it began.
    pub(super) at: BootInstant,
    /// How long its round waited for the store, and began bodies meanwhile.
    pub(super) took: Duration,
}

impl Look {
    /// How long none is needed after this one began.
    fn lasts(&self) -> Duration {
        self.took.saturating_mul(TIMES_A_LOOK).clamp(BEHIND.start, BEHIND.end)
    }
}

impl MoreReady {
    /// What is known after a full claim; `look` is its own, or the last one if it named a place.
    pub(super) fn behind(ready: &ClaimedReady, gate: i64, look: Look) -> Self {
        let place = match ready.work.last() {
            Some(Readable::Row(ExecutionWithJob { execution, .. })) => {
                Some(ReadyPlace { priority: execution.priority, wake: execution.wake })
            }
            Some(Readable::Poison(_)) | None => None,
        };
        Self { gate, place, look }
    }

    /// Where a round may begin to look, and the last look at what stands before.
    pub(super) fn after(&self, now: BootInstant) -> Option<(ReadyPlace, Look)> {
        self.place.filter(|_| now.since(self.look.at) < self.look.lasts()).map(|place| (place, self.look))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Until when a node need not look at all of its queue, after a look that began at 0 and took so long; in milliseconds.
    fn lasts(took: u64) -> u128 {
        Look { at: BootInstant::default(), took: Duration::from_millis(took) }.lasts().as_millis()
    }

    #[test]
    fn looks_are_a_twentieth_of_the_time_and_not_too_far_apart() {
        assert_eq!(lasts(0), 100);
        assert_eq!(lasts(5), 100);
        assert_eq!(lasts(20), 400);
        assert_eq!(lasts(200), 4_000);
        assert_eq!(lasts(60_000), 5_000, "a server that stood still for a minute delays nothing for twenty");
    }
}
