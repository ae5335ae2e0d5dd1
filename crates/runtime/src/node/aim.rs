//! How long before an instant the claim for it is sent, so that it arrives when the instant comes.
//!
//! A claim is compared with the store's own clock, which it reaches after a while: the node wakes, the statement is on its
//! way, the server begins with it. A claim that is sent when the instant has come is late by all of that. One that arrives
//! too early is lost, changes nothing, and is made again; so no mistake that is made here makes anything early, but each
//! costs more than the others gain.

use std::collections::VecDeque;
use std::time::Duration;

use punctual_core::Timestamp;

/// How many claims are remembered.
const KEPT: usize = 32;

/// How many have to be known before any is sent early.
const ENOUGH: usize = 4;

/// The lead is this part of the shortest time that is remembered: a store may compare with its clock somewhat before it
/// reads what it answers, and a claim may arrive sooner than all those before.
const PART: u32 = 2;

/// How long claims took lately until they reached the store's clock, from when their node was to wake for them.
#[derive(Debug, Default)]
pub(super) struct Aim {
    took: VecDeque<Duration>,
}

impl Aim {
    /// How long before an instant its claim is to be sent.
    pub(super) fn lead(&self) -> Duration {
        let least = self.took.iter().min().filter(|_| self.took.len() >= ENOUGH);
        least.map_or(Duration::ZERO, |least| *least / PART)
    }

    /// Takes in what the store's clock said, at `read`, to a claim that was to be sent by the lead before `instant`. If that
    /// was lost it may have come too early: then the next ones go without a lead, as many as are remembered.
    pub(super) fn learn(&mut self, instant: Timestamp, read: Timestamp, is_lost: bool) {
        let took = if is_lost { Duration::ZERO } else { read.since(instant.minus(self.lead())) };
        if self.took.len() == KEPT {
            self.took.pop_front();
        }
        self.took.push_back(took);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_014_400);

    fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn the_lead_is_half_of_the_shortest_time_and_settles_there() {
        let mut aim = Aim::default();
        for took in [500, 400, 700] {
            aim.learn(NOON, NOON.plus(micros(took)), false);
            assert_eq!(aim.lead(), Duration::ZERO, "too little is known");
        }
        for _ in 0..100 {
            let sent = NOON.minus(aim.lead());
            aim.learn(NOON, sent.plus(micros(600)), false);
        }
        assert_eq!(aim.lead(), micros(300), "the 400 of the beginning are forgotten");
    }

    #[test]
    fn after_a_lost_claim_there_is_no_lead_for_a_while() {
        let mut aim = Aim::default();
        for _ in 0..KEPT {
            aim.learn(NOON, NOON.minus(aim.lead()).plus(micros(400)), false);
        }
        assert_eq!(aim.lead(), micros(200));
        aim.learn(NOON, NOON.minus(micros(50)), true);
        for _ in 1..KEPT {
            assert_eq!(aim.lead(), Duration::ZERO);
            aim.learn(NOON, NOON.plus(micros(150)), false);
        }
        assert_eq!(aim.lead(), Duration::ZERO);
        aim.learn(NOON, NOON.plus(micros(150)), false);
        assert_eq!(aim.lead(), micros(75));
    }
}
