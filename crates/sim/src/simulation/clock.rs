//! Clocks on virtual time: one for each process, which drifts and whose wall clock can be set, and the store's.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use punctual_core::{BootInstant, BoxFuture, Clock, Timestamp};

use super::world::{Entry, Host, Micros, Place, World};

/// When the store's clock begins: a Tuesday.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const MILLION: i128 = 1_000_000;

/// The clocks of a process.
pub(crate) struct ProcessClock {
    world: Arc<World>,
    host: Host,
    /// How much faster than true time it goes, in millionths.
    drift: i64,
    /// What its boot-time clock showed when true time began.
    boot: u64,
    /// How much its wall clock is ahead of true time.
    ahead: AtomicI64,
}

impl ProcessClock {
    pub(crate) const fn new(world: Arc<World>, host: Host, drift: i64, boot: u64) -> Self {
        Self { world, host, drift, boot, ahead: AtomicI64::new(0) }
    }

    /// Sets the wall clock to `ahead` microseconds before true time.
    pub(crate) fn set_wall(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
    }

    fn shown(&self, at: Micros) -> u64 {
        let at = i128::from(at);
        let shown = i128::from(self.boot) + at + at * i128::from(self.drift) / MILLION;
        u64::try_from(shown).unwrap_or(u64::MAX)
    }

    /// The first true time at which this clock shows `reading`.
    fn when(&self, reading: u64) -> Micros {
        let span = i128::from(reading.saturating_sub(self.boot));
        let mut at = u64::try_from(span * MILLION / (MILLION + i128::from(self.drift))).unwrap_or(u64::MAX);
        while self.shown(at) < reading {
            at += 1;
        }
        at
    }
}

impl fmt::Debug for ProcessClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessClock").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Clock for ProcessClock {
    fn boot(&self) -> BootInstant {
        BootInstant::from_micros(self.shown(self.world.now()))
    }

    fn wall(&self) -> Timestamp {
        shifted(self.world.now(), self.ahead.load(Ordering::SeqCst))
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        let until = self.when(self.boot().plus(span).as_micros());
        Box::pin(Sleep { clock: self, until, waiting: None })
    }
}

fn shifted(at: Micros, ahead: i64) -> Timestamp {
    let at = i64::try_from(at).unwrap_or(i64::MAX);
    Timestamp::from_micros(START.as_micros().saturating_add(at).saturating_add(ahead))
}

struct Sleep<'a> {
    clock: &'a ProcessClock,
    until: Micros,
    waiting: Option<(Place, Waker)>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = &self.clock.world;
        if world.now() >= self.until {
            return Poll::Ready(());
        }
        if self.waiting.as_ref().is_some_and(|(_, waker)| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        if let Some((place, _)) = self.waiting.take() {
            self.clock.world.remove(place);
        }
        let waker = context.waker().clone();
        let place = self.clock.world.add(self.until, Entry::Alarm(self.clock.host, waker.clone()));
        self.waiting = Some((place, waker));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some((place, _)) = self.waiting.take() {
            self.clock.world.remove(place);
        }
    }
}

/// The store's clock, which somebody may set.
pub(crate) struct StoreClock {
    world: Arc<World>,
    ahead: AtomicI64,
    latest: AtomicI64,
}

impl StoreClock {
    pub(crate) const fn new(world: Arc<World>) -> Self {
        Self { world, ahead: AtomicI64::new(0), latest: AtomicI64::new(0) }
    }

    /// Sets the clock by `by` microseconds.
    pub(crate) fn jump(&self, by: i64) {
        let before = self.wall();
        self.latest.fetch_max(before.as_micros(), Ordering::SeqCst);
        self.ahead.fetch_add(by, Ordering::SeqCst);
    }

    /// The latest time that the clock has ever shown.
    pub(crate) fn latest(&self) -> Timestamp {
        self.wall().max(Timestamp::from_micros(self.latest.load(Ordering::SeqCst)))
    }
}

impl fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreClock").finish_non_exhaustive()
    }
}

impl Clock for StoreClock {
    fn boot(&self) -> BootInstant {
        BootInstant::from_micros(self.world.now())
    }

    fn wall(&self) -> Timestamp {
        shifted(self.world.now(), self.ahead.load(Ordering::SeqCst))
    }

    fn sleep(&self, _span: Duration) -> BoxFuture<'_, ()> {
        // Stores do not sleep: whoever waits is a process.
        Box::pin(std::future::pending())
    }
}
