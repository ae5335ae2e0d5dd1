//! What the bodies of a node count, at the price of a clock reading and a few atomic additions each.
//!
//! A body does nothing but this. It keeps no list of what has run: it adds up a number that is mixed of the execution's
//! id, so that the driver can compare what has run with what the database says, whatever the order, and a body that ran
//! twice or is in no record shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use punctual_core::{Clock, ExecutionId, Timestamp};
use punctual_runtime::{Context, Failure, Job, State, SystemClock};
use serde::{Deserialize, Serialize};

use super::histogram::{Counts, Histogram};
use super::latency;
use super::spent::{Spent, Statements};

/// The job of nearly all these benchmarks: no data, nothing to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Nothing {}

impl Job for Nothing {
    const KIND: &'static str = "nothing";
}

/// A job that runs until its node is killed; the attempt after that ends at once.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hold {}

impl Job for Hold {
    const KIND: &'static str = "hold";
}

/// Counters of a process.
#[derive(Debug)]
pub(crate) struct Tally {
    begun: AtomicU64,
    sum: AtomicU64,
    first: AtomicI64,
    late: Histogram,
    probes: Histogram,
    holding: AtomicU64,
    rerun: AtomicI64,
    statements: Arc<Statements>,
    /// How far the store's clock is ahead of this machine's, in microseconds.
    ahead: i64,
}

/// What was counted until some moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Bodies that have begun.
    pub(crate) begun: u64,
    /// The sum of [`mixed`] over them.
    pub(crate) sum: u64,
    /// When the first one did, on this machine's clock in microseconds.
    pub(crate) first: Option<i64>,
    /// How much later than their instant, those that `latency` schedules left out.
    pub(crate) late: Counts,
    /// How much later those are.
    pub(crate) probes: Counts,
    /// Bodies of [`Hold`] that run.
    pub(crate) holding: u64,
    /// When the last one began that another node had run before, on this machine's clock in microseconds.
    pub(crate) rerun: Option<i64>,
    /// Statements of the store, if it was told to count them.
    pub(crate) spent: Vec<Spent>,
    /// The most memory of the process so far, in KiB.
    pub(crate) peak_kib: Option<u64>,
}

impl Tally {
    pub(crate) fn new(ahead: i64, statements: Arc<Statements>) -> Self {
        Self {
            begun: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            first: AtomicI64::new(i64::MAX),
            late: Histogram::default(),
            probes: Histogram::default(),
            holding: AtomicU64::new(0),
            rerun: AtomicI64::new(i64::MIN),
            statements,
            ahead,
        }
    }

    fn body(&self, id: ExecutionId, scheduled: Timestamp, probe: bool) {
        let now = SystemClock.wall().as_micros();
        let late = now.saturating_add(self.ahead).saturating_sub(scheduled.as_micros());
        let spans = if probe { &self.probes } else { &self.late };
        spans.count(u64::try_from(late).unwrap_or(0));
        self.sum.fetch_add(mixed(id), Ordering::Relaxed);
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
    }

    pub(crate) fn so_far(&self) -> Snapshot {
        let first = self.first.load(Ordering::Relaxed);
        let rerun = self.rerun.load(Ordering::Relaxed);
        Snapshot {
            begun: self.begun.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
            first: (first != i64::MAX).then_some(first),
            late: self.late.so_far(),
            probes: self.probes.so_far(),
            holding: self.holding.load(Ordering::Relaxed),
            rerun: (rerun != i64::MIN).then_some(rerun),
            spent: self.statements.so_far(),
            peak_kib: super::kernel::peak_memory(),
        }
    }
}

/// The handler of [`Nothing`].
pub(crate) async fn nothing(_: Nothing, tally: State<Arc<Tally>>, ctx: Context) -> Result<(), Failure> {
    let probe = ctx.trigger().is_some_and(|trigger| trigger.group() == latency::GROUP);
    tally.body(ctx.execution_id(), ctx.scheduled_at().into(), probe);
    Ok(())
}

/// The handler of [`Hold`].
pub(crate) async fn hold(_: Hold, tally: State<Arc<Tally>>, ctx: Context) -> Result<(), Failure> {
    if ctx.recovering() {
        tally.rerun.store(SystemClock.wall().as_micros(), Ordering::Relaxed);
    } else {
        tally.holding.fetch_add(1, Ordering::Relaxed);
        ctx.stopped().await;
        tally.holding.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A number of an execution that looks drawn by chance, so that sums of other executions differ.
pub(crate) fn mixed(id: ExecutionId) -> u64 {
    let bytes = id.to_bytes();
    let half = |from: usize| {
        bytes.iter().skip(from).take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    // The finishing steps of splitmix64, over one half and then over both.
    let mix = |number: u64| {
        let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ number >> 31
    };
    mix(mix(half(0)) ^ half(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_runs_twice_shows_in_the_sum() {
        let id = |n: u8| ExecutionId::from_bytes([n; 16]);
        let sum = |ids: &[u8]| ids.iter().fold(0_u64, |sum, n| sum.wrapping_add(mixed(id(*n))));
        assert_eq!(sum(&[1, 2, 3]), sum(&[3, 1, 2]));
        assert_ne!(sum(&[1, 2, 3]), sum(&[1, 2, 2]));
        assert_ne!(mixed(id(0)), mixed(id(1)));
    }

    #[test]
    fn a_body_is_counted_with_its_lateness() {
        let tally = Tally::new(2_000_000, Arc::default());
        tally.body(ExecutionId::from_bytes([7; 16]), SystemClock.wall(), false);
        let seen = tally.so_far();
        assert_eq!((seen.begun, seen.sum), (1, mixed(ExecutionId::from_bytes([7; 16]))));
        assert!(seen.late.at(500) >= 2_000.0 && seen.first.is_some());
        tally.body(ExecutionId::from_bytes([8; 16]), SystemClock.wall(), true);
        let seen = tally.so_far();
        assert_eq!((seen.late.total(), seen.probes.total(), seen.begun), (1, 1, 2));
    }
}
