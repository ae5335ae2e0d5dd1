//! The seams to the machine: its clocks and its randomness. The only module of the runtime that reads either.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

mod alarm;

use punctual_core::entropy::SeededEntropy;
use punctual_core::{BootInstant, BoxFuture, Clock, Entropy, Timestamp};

/// The longest that one timer is asked for: timers of the executor stand still in suspend, the boot-time clock does not.
const LONGEST: Duration = Duration::from_secs(1);

/// What is left of a sleep when the executor's timers, which are up to two milliseconds late, are no longer asked.
const TICK: Duration = Duration::from_millis(2);

/// The clocks of this machine. Sleeps end within about a tenth of a millisecond of their time; naps up to two later, and
/// wake one thread where a sleep wakes three.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn boot(&self) -> BootInstant {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let id = rustix::time::ClockId::Boottime;
        // Elsewhere the monotonic clock is the nearest thing; on macOS it stops in suspend.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let id = rustix::time::ClockId::Monotonic;
        let reading = rustix::time::clock_gettime(id);
        let micros =
            |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000);
        BootInstant::from_micros(u64::try_from(micros(reading.tv_sec, reading.tv_nsec)).unwrap_or(0))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.reach(self.boot().plus(span), TICK))
    }

    fn nap(&self, span: Duration) -> BoxFuture<'_, ()> {
        Box::pin(self.reach(self.boot().plus(span), Duration::ZERO))
    }
}

impl SystemClock {
    /// Waits for an instant; for the last part of the time not by the executor's timers, but by the alarm.
    #[expect(clippy::disallowed_methods, reason = "this is the injected clock")]
    async fn reach(&self, until: BootInstant, last: Duration) {
        loop {
            let left = until.since(self.boot());
            if left.is_zero() {
                return;
            }
            let far = left.saturating_sub(last);
            if !far.is_zero() {
                tokio::time::sleep(far.min(LONGEST)).await;
            } else if let Some(told) = alarm::at(until) {
                // Told, or the thread is no more: a look at the clock follows either way.
                drop(told.await);
            } else {
                tokio::time::sleep(left).await;
            }
        }
    }
}

/// Randomness for ids and jitter, seeded by the operating system at process start. Not for secrets.
#[derive(Debug)]
pub struct SystemEntropy(SeededEntropy);

impl SystemEntropy {
    /// Draws a seed from the operating system, by way of the keys that the standard library draws for its hashers.
    pub fn new() -> Self {
        Self(SeededEntropy::new(RandomState::new().hash_one(std::process::id())))
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn draw(&self) -> u64 {
        self.0.draw()
    }
}
