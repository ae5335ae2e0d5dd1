//! What time it is on the store's clock, as well as a node can know it.
//!
//! An answer carries a reading of that clock, made at some moment between the request and the answer. Counted on from
//! the answer it is a bound, but for the drift of the two clocks: the store's clock shows at least that. So claims, which
//! must not be early, are compared with the store's own clock as well. Answers overtake one another, and a slow one may
//! carry a reading that is older than what is known, so the larger bound counts; or else work that was due by one
//! answer would seem to begin early by the next.
//!
//! A clock that was set back shows itself by an answer to a request that was sent after the latest reading was at hand:
//! what it carries must be the later one, so if it is behind what is known even by the time that the request took, it
//! replaces everything; unless the two clocks may have drifted apart by as much. Of a request that was under way by
//! then nobody knows which of the two readings is the later one: it may be of before a leap forward.

use punctual_core::node::DRIFT_PERCENT;
use punctual_core::{BootInstant, Timestamp};

/// A reading, and when it was at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoreTime {
    reading: Timestamp,
    at: BootInstant,
}

impl StoreTime {
    /// Begins with a guess.
    pub(crate) const fn guess(reading: Timestamp, at: BootInstant) -> Self {
        Self { reading, at }
    }

    /// What the store's clock shows at `boot`, at least.
    pub(crate) fn at(self, boot: BootInstant) -> Timestamp {
        self.reading.plus(boot.since(self.at))
    }

    /// Takes in the reading of an answer that came at `answered` to a request that was sent at `sent`.
    pub(crate) fn take_in(&mut self, reading: Timestamp, sent: BootInstant, answered: BootInstant) {
        let known = self.at(answered);
        let (age, took) = (answered.since(self.at), answered.since(sent));
        let drifted = (age + took) * DRIFT_PERCENT / 100;
        let is_later = sent >= self.at;
        if reading > known || (is_later && reading.plus(took + drifted) < known) {
            *self = Self { reading, at: answered };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn boot(ms: u64) -> BootInstant {
        BootInstant::from_micros(ms * 1000)
    }

    fn store(ms: u64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000).plus(Duration::from_millis(ms))
    }

    #[test]
    fn an_answer_that_was_overtaken_does_not_turn_time_back() {
        let mut time = StoreTime::guess(store(0), boot(500));
        time.take_in(store(1000), boot(1000), boot(1001));
        // Asked before, read before, and answered after a commit that took its time.
        time.take_in(store(980), boot(979), boot(1010));
        assert_eq!(time.at(boot(1010)), store(1009));
        time.take_in(store(1012), boot(1011), boot(1013));
        assert_eq!(time.at(boot(1013)), store(1012));
    }

    /// Seed 40010 of the simulation on SQLite: a check-in was answered after half a second, and work began half a second
    /// before its instant by the clock of a node whose own one was slow.
    #[test]
    fn a_slow_answer_beside_a_clock_that_drifts_does_not_turn_time_back() {
        let mut time = StoreTime::guess(store(0), boot(0));
        time.take_in(store(10_000), boot(9_999), boot(10_000));
        // A second of the store's is 1,010 ms of this machine's, and half a second was between the reading and the answer.
        time.take_in(store(10_990), boot(11_000), boot(11_505));
        assert_eq!(time.at(boot(11_505)), store(11_505));
        time.take_in(store(11_000), boot(11_505), boot(11_505));
        assert_eq!(time.at(boot(11_505)), store(11_000), "too far behind for a drift");
    }

    /// Seed 40154 of the simulation on memory: the store's clock was set 34 seconds forward while a claim was under way,
    /// and the answer, read before, seemed to tell of a clock that was set back.
    #[test]
    fn an_answer_of_before_a_leap_forward_does_not_turn_time_back() {
        let mut time = StoreTime::guess(store(0), boot(0));
        time.take_in(store(34_010), boot(9), boot(10));
        time.take_in(store(5), boot(4), boot(700));
        assert_eq!(time.at(boot(700)), store(34_700));
        time.take_in(store(900), boot(701), boot(702));
        assert_eq!(time.at(boot(702)), store(900), "asked since, and behind: it was set back");
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed() {
        let mut time = StoreTime::guess(store(5000), boot(0));
        time.take_in(store(3000), boot(10), boot(20));
        assert_eq!(time.at(boot(20)), store(3000));
        time.take_in(store(3021), boot(30), boot(45));
        assert_eq!(time.at(boot(45)), store(3025), "what is known is a better bound than a slow answer");
        time.take_in(store(2990), boot(50), boot(52));
        assert_eq!(time.at(boot(52)), store(2990));
    }
}
