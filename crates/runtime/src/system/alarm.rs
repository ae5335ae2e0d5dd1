//! Waking somebody to a tenth of a millisecond.
//!
//! The executor's timers go by milliseconds and round up, the wait of its poll rounds up once more, and together they are
//! later than much of what a firing costs. So the end of each sleep is left to a thread that waits on its own.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use punctual_core::{BootInstant, Clock};
use tokio::sync::oneshot;

use super::SystemClock;

/// Somebody who wants to be told that an instant has come.
struct Sleeper {
    until: BootInstant,
    tell: oneshot::Sender<()>,
}

/// The thread's orders; none if it could not be started. It lives as long as the process, and sleeps while nobody waits.
static ORDERS: LazyLock<Option<mpsc::Sender<Sleeper>>> = LazyLock::new(|| {
    let (sender, orders) = mpsc::channel();
    let started = thread::Builder::new().name("punctual-alarm".to_owned()).spawn(move || serve(&orders));
    match started {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::warn!(%error, "no thread for short sleeps could be started; they end a millisecond late");
            None
        }
    }
});

/// Tells when an instant of the boot-time clock has come. None: ask somebody else.
pub(super) fn at(until: BootInstant) -> Option<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    ORDERS.as_ref()?.send(Sleeper { until, tell }).ok()?;
    Some(told)
}

fn serve(orders: &mpsc::Receiver<Sleeper>) {
    // Linux lets the waits of a thread end up to 50 µs late, so that it wakes for several at once.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1)) {
        tracing::debug!(%error, "the ends of short sleeps cannot be made more exact");
    }
    let mut sleepers: Vec<Sleeper> = Vec::new();
    loop {
        let next = sleepers.iter().map(|sleeper| sleeper.until).min();
        let order = match next {
            None => orders.recv().map_err(RecvTimeoutError::from),
            Some(until) => orders.recv_timeout(until.since(SystemClock.boot())),
        };
        match order {
            Ok(sleeper) => sleepers.push(sleeper),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = SystemClock.boot();
        let (due, later) = sleepers.into_iter().partition(|sleeper| sleeper.until <= now);
        sleepers = later;
        for Sleeper { tell, .. } in due {
            // Whoever no longer waits has no use for it.
            let _ = tell.send(());
        }
    }
}
