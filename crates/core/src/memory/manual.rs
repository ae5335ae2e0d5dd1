//! A clock that stands still until it is moved by hand, for tests and simulation.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::time::{BootInstant, BoxFuture, Clock, Timestamp};

/// A clock whose time passes only by [`ManualClock::advance`]. A clone is another handle on the same clock.
///
/// Its two readings move together unless [`ManualClock::set_wall`] steps the wall clock, as an administrator does.
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Mutex<Face>>,
}

struct Face {
    boot: BootInstant,
    wall: Timestamp,
    tickets: u64,
    sleepers: BTreeMap<(BootInstant, u64), Option<Waker>>,
}

impl ManualClock {
    /// A clock that shows `wall`; the machine was started a second ago.
    pub fn at(wall: Timestamp) -> Self {
        let boot = BootInstant::from_micros(1_000_000);
        Self { shared: Arc::new(Mutex::new(Face { boot, wall, tickets: 0, sleepers: BTreeMap::new() })) }
    }

    /// Lets `span` pass on both clocks, and wakes everybody whose time has come.
    pub fn advance(&self, span: Duration) {
        let mut face = self.face();
        face.boot = face.boot.plus(span);
        face.wall = face.wall.plus(span);
        let boot = face.boot;
        let due = face.sleepers.range_mut(..=(boot, u64::MAX));
        let wakers: Vec<Waker> = due.filter_map(|(_, waker)| waker.take()).collect();
        drop(face);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Sets the wall clock, forwards or backwards; the boot-time clock does not notice.
    pub fn set_wall(&self, wall: Timestamp) {
        self.face().wall = wall;
    }

    /// How long until the first sleeper is to be woken; `None` if nobody sleeps.
    pub fn until_next_sleeper(&self) -> Option<Duration> {
        let face = self.face();
        face.sleepers.keys().next().map(|(until, _)| until.since(face.boot))
    }

    /// How many futures sleep.
    pub fn sleepers(&self) -> usize {
        let face = self.face();
        face.sleepers.keys().filter(|(until, _)| *until > face.boot).count()
    }

    fn face(&self) -> MutexGuard<'_, Face> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let face = self.face();
        f.debug_struct("ManualClock")
            .field("wall", &face.wall)
            .field("boot", &face.boot)
            .finish_non_exhaustive()
    }
}

impl Clock for ManualClock {
    fn boot(&self) -> BootInstant {
        self.face().boot
    }

    fn wall(&self) -> Timestamp {
        self.face().wall
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'_, ()> {
        let mut face = self.face();
        face.tickets += 1;
        // The span counts from the call, not from the first poll.
        let place = (face.boot.plus(span), face.tickets);
        face.sleepers.insert(place, None);
        drop(face);
        Box::pin(Sleep { clock: self, place })
    }
}

struct Sleep<'a> {
    clock: &'a ManualClock,
    place: (BootInstant, u64),
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut face = self.clock.face();
        if face.boot >= self.place.0 {
            return Poll::Ready(());
        }
        face.sleepers.insert(self.place, Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        self.clock.face().sleepers.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::at(Timestamp::EPOCH);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let mut sleep = clock.sleep(Duration::from_secs(2));
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            (count.0.load(Ordering::SeqCst), clock.until_next_sleeper()),
            (0, Some(Duration::from_secs(1)))
        );
        assert!(sleep.as_mut().poll(&mut context).is_pending());
        clock.advance(Duration::from_secs(1));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(sleep.as_mut().poll(&mut context).is_ready());
    }

    #[test]
    fn a_dropped_sleeper_is_forgotten() {
        let clock = ManualClock::at(Timestamp::EPOCH);
        let sleep = clock.sleep(Duration::from_secs(2));
        assert_eq!(clock.sleepers(), 1);
        drop(sleep);
        assert_eq!((clock.sleepers(), clock.until_next_sleeper()), (0, None));
    }

    #[test]
    fn a_step_of_the_wall_clock_wakes_nobody() {
        let clock = ManualClock::at(Timestamp::EPOCH);
        let before = clock.boot();
        clock.set_wall(Timestamp::from_secs(-5));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.wall(), Timestamp::from_secs(-4));
        assert_eq!(clock.boot().since(before), Duration::from_secs(1));
    }
}
