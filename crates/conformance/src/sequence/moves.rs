//! The moves of a sequence: what to do, and three numbers that say to what and how.

use std::time::Duration;

use proptest::prelude::{Just, Strategy, any};
use proptest::strategy::Union;

use crate::bench::secs;

/// What a move does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Lets time pass.
    Advance,
    /// Sets the clock back.
    SetBack,
    Join,
    CheckIn,
    TakeOver,
    Leave,
    Standby,
    Orphans,
    PutJob,
    DeleteJob,
    PutTrigger,
    DeleteTrigger,
    PutCalendar,
    DeleteCalendar,
    PutSet,
    /// Pauses or resumes a trigger, or the group of all.
    Pause,
    /// Several changes of definitions in one step.
    Batch,
    Enqueue,
    Cancel,
    Read,
    Claim,
    ClaimReady,
    Begin,
    /// Ends rows or puts them back, as a node does.
    Settle,
    /// Decides about rows of nodes that are gone.
    Recover,
    WakeWaiting,
    Prune,
    RaiseEpoch,
}

/// A move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub(crate) what: What,
    /// To which of those that there are.
    pub(crate) which: u8,
    /// How.
    pub(crate) how: u8,
    /// What else there is to say.
    pub(crate) extra: u8,
}

const fn of(what: What, which: u8, how: u8, extra: u8) -> Move {
    Move { what, which, how, extra }
}

/// How often each is drawn.
const WEIGHTS: &[(u32, What)] = &[
    (8, What::Advance),
    (1, What::SetBack),
    (4, What::Join),
    (4, What::CheckIn),
    (2, What::TakeOver),
    (1, What::Leave),
    (2, What::Standby),
    (8, What::Orphans),
    (4, What::PutJob),
    (2, What::DeleteJob),
    (6, What::PutTrigger),
    (2, What::DeleteTrigger),
    (1, What::PutCalendar),
    (1, What::DeleteCalendar),
    (1, What::PutSet),
    (3, What::Pause),
    (1, What::RaiseEpoch),
    (2, What::Batch),
    (9, What::Enqueue),
    (3, What::Cancel),
    (12, What::Read),
    (12, What::Claim),
    (10, What::ClaimReady),
    (2, What::Begin),
    (12, What::Settle),
    (3, What::Recover),
    (2, What::WakeWaiting),
    (2, What::Prune),
];

/// What every sequence begins with: members, exclusive and other jobs, triggers.
pub(crate) const OPEN: &[Move] = &[
    of(What::Join, 0, 0, 0),
    of(What::Join, 1, 0, 0),
    of(What::PutJob, 0, 1, 0),
    of(What::PutJob, 1, 0, 1),
    of(What::PutTrigger, 0, 0, 0),
    of(What::PutTrigger, 1, 0, 1),
];

/// What every sequence ends with. What a step has left in rows that no listing shows, a slot that is never freed or a
/// waiter that nobody wakes, shows when others want to run.
pub(crate) const CLOSE: &[Move] = &[
    of(What::Join, 4, 0, 0),
    of(What::Advance, 0, 3, 0),
    of(What::WakeWaiting, 0, 0, 0),
    of(What::Read, 4, 0, 0),
    of(What::Claim, 0, 1, 0),
    of(What::ClaimReady, 4, 0, 0),
    of(What::Recover, 0, 0, 0),
    of(What::Recover, 1, 0, 0),
    of(What::Settle, 0, 0, 2),
    of(What::Settle, 0, 0, 2),
    of(What::WakeWaiting, 0, 0, 0),
    of(What::ClaimReady, 4, 0, 0),
    of(What::Settle, 0, 0, 2),
    of(What::Advance, 0, 6, 0),
    of(What::Prune, 0, 0, 0),
    of(What::CheckIn, 4, 0, 0),
];

/// Sequences of up to `most` moves.
pub(crate) fn any_moves(most: usize) -> impl Strategy<Value = Vec<Move>> {
    let whats = Union::new_weighted(WEIGHTS.iter().map(|(weight, what)| (*weight, Just(*what))).collect());
    let one = (whats, any::<[u8; 3]>());
    let one = one.prop_map(|(what, [which, how, extra])| Move { what, which, how, extra });
    proptest::collection::vec(one, 1..=most)
}

impl Move {
    /// How far the clock goes.
    pub(crate) fn span(self) -> Duration {
        const SPANS: [u64; 8] = [1, 7, 31, 61, 600, 3_700, 100 * 86_400, 0];
        // Long spans are rare: what is late by days is all alike.
        let at = if self.how < 8 { self.how } else { self.how % 6 };
        secs(SPANS.get(usize::from(at)).copied().unwrap_or(1)) + Duration::from_millis(u64::from(self.extra))
    }
}
