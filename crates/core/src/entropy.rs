//! Randomness as a part that is handed in: ids and jitter come from here, and a seed replays them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of random numbers. Not for secrets.
///
/// # Contract
/// Two sources of two processes must not give the same sequence: node ids are drawn from them.
pub trait Entropy: fmt::Debug + Send + Sync + 'static {
    /// Draws 64 random bits.
    fn draw(&self) -> u64;

    /// Draws a random number from 1 to `i64::MAX`.
    fn positive(&self) -> i64 {
        loop {
            if let Ok(id @ 1..) = i64::try_from(self.draw() >> 1) {
                return id;
            }
        }
    }

    /// Draws a span from zero up to, not including, `bound`.
    fn below(&self, bound: Duration) -> Duration {
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.draw().checked_rem(nanos).unwrap_or(0))
    }
}

/// A sequence that its seed determines (SplitMix64, Steele, Lea and Flood 2014), for tests and simulation.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// Makes the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn draw(&self) -> u64 {
        let state =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}
