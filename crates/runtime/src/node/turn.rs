//! Whose turn it is: as many bodies run at once as the node has capacity for, and what is claimed beyond that waits here,
//! in the order in which it was claimed.
//!
//! A node claims ahead of its bodies, so that each statement carries as much as the node gets through in a moment and not
//! as much as happens to be free. How much is learnt from its own pace: what it has ended within the last
//! [`Settings::prefetch`](crate::settings::Settings::prefetch), and no more. So short bodies come in large batches, and
//! long ones are not held by a node that has no time for them; those that have to wait all the same, because the pace
//! has changed, go back to the store.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use punctual_core::BootInstant;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many times [`Settings::prefetch`](crate::settings::Settings::prefetch) a claimed execution waits for its turn before
/// it goes back.
pub(crate) const PATIENCE: u32 = 4;

/// The bodies that may run at once.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicU32>,
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

/// A place in the line.
pub(crate) enum Turn {
    /// It has come.
    Now(Permit),
    /// It has not.
    Later(Acquiring, Waiting),
}

/// The right to run a body, until it is dropped.
pub(crate) type Permit = OwnedSemaphorePermit;

impl Turns {
    pub(crate) fn new(capacity: u32) -> Self {
        let permits = usize::try_from(capacity).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { permits: Arc::new(Semaphore::new(permits)), waiting: Arc::default() }
    }

    /// Joins the line. Those who call this one after the other have their turns in that order.
    pub(crate) fn join(&self) -> Turn {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Turn::Now(permit);
        }
        let mut acquiring: Acquiring = Box::pin(Arc::clone(&self.permits).acquire_owned());
        // The first look is what takes the place in the line.
        match acquiring.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(permit)) => Turn::Now(permit),
            Poll::Ready(Err(_)) | Poll::Pending => {
                self.waiting.fetch_add(1, Ordering::Relaxed);
                Turn::Later(acquiring, Waiting(Arc::clone(&self.waiting)))
            }
        }
    }

    /// How many are in the line.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Counts as one of those who wait.
pub(crate) struct Waiting(Arc<AtomicU32>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// Waits until it has come; never comes if the line is closed, which nobody does. Dropping this gives up the place.
    pub(crate) async fn come(self) -> Permit {
        match self {
            Self::Now(permit) => permit,
            Self::Later(acquiring, _waiting) => match acquiring.await {
                Ok(permit) => permit,
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// How fast the node gets through bodies.
#[derive(Debug)]
pub(crate) struct Pace {
    span: Duration,
    /// Ended bodies in a second.
    per_second: u64,
    /// When this was last looked at, and how many had ended then.
    at: BootInstant,
    ended: u64,
}

/// Looks that come sooner than this after the last one say nothing about the pace.
const SHORTEST_LOOK: Duration = Duration::from_millis(5);

impl Pace {
    pub(crate) const fn new(span: Duration, now: BootInstant) -> Self {
        Self { span, per_second: 0, at: now, ended: 0 }
    }

    /// How many executions may be claimed beyond what can begin at once, if `ended` bodies have ended by `now`.
    pub(crate) fn ahead(&mut self, now: BootInstant, ended: u64) -> u32 {
        let passed = now.since(self.at);
        if passed >= SHORTEST_LOOK {
            let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX).max(1);
            let (passed, span) = (micros(passed), micros(self.span));
            let latest = (ended - self.ended).saturating_mul(1_000_000) / passed;
            // A rise counts at once, so that a full queue is soon worked off in large batches; a fall counts by how much
            // of the span it has lasted.
            self.per_second = if latest >= self.per_second {
                latest
            } else {
                let new = passed.min(span);
                (latest.saturating_mul(new) + self.per_second.saturating_mul(span - new)) / span
            };
            (self.at, self.ended) = (now, ended);
        }
        let ahead = u128::from(self.per_second) * self.span.as_micros() / 1_000_000;
        u32::try_from(ahead).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> BootInstant {
        BootInstant::from_micros(millis * 1_000)
    }

    #[test]
    fn what_is_claimed_ahead_is_what_ends_within_the_span() {
        let mut pace = Pace::new(Duration::from_millis(100), ms(0));
        assert_eq!(pace.ahead(ms(0), 0), 0, "nothing is known yet");
        assert_eq!(pace.ahead(ms(10), 64), 640);
        assert_eq!(pace.ahead(ms(11), 100), 640, "too soon to say anything");
        assert_eq!(pace.ahead(ms(20), 264), 2_000);
    }

    #[test]
    fn bodies_that_take_long_are_not_claimed_ahead() {
        let mut pace = Pace::new(Duration::from_millis(100), ms(0));
        assert_eq!(pace.ahead(ms(1_000), 9), 0, "64 at once that take seven seconds each");
        assert_eq!(pace.ahead(ms(2_000), 19), 1);
    }

    #[test]
    fn a_pace_that_falls_is_forgotten_within_the_span() {
        let mut pace = Pace::new(Duration::from_millis(100), ms(0));
        assert_eq!(pace.ahead(ms(10), 100), 1_000);
        assert_eq!(pace.ahead(ms(60), 100), 500);
        assert_eq!(pace.ahead(ms(160), 100), 0);
        let mut never = Pace::new(Duration::ZERO, ms(0));
        assert_eq!(never.ahead(ms(10), 1_000), 0);
    }

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_asked_for() {
        let turns = Turns::new(1);
        let (first, second, third) = (turns.join(), turns.join(), turns.join());
        let running = first.come().await;
        drop(second);
        assert_eq!(turns.waiting(), 1);
        let waiting = tokio::spawn(third.come());
        drop(running);
        let _permit = waiting.await.expect("the one in front has given up its place");
        assert_eq!(turns.waiting(), 0);
    }
}
