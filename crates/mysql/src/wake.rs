//! Learning early that there may be work: from the steps of this process. Other processes are learnt of by polling.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use punctual_core::BoxFuture;
use punctual_core::store::Wake;
use tokio::sync::watch;

use crate::store::MysqlStore;

/// The signals of the databases that this process has stores on, so that two stores on one database hear each other.
static SIGNALS: Mutex<BTreeMap<String, Weak<Signal>>> = Mutex::new(BTreeMap::new());

/// Counts what became available, and tells those who wait.
#[derive(Debug)]
pub(crate) struct Signal {
    raised: watch::Sender<u64>,
}

impl Signal {
    /// The signal of a database.
    pub(crate) fn of(place: &str) -> Arc<Self> {
        let mut signals = SIGNALS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = signals.get(place).and_then(Weak::upgrade) {
            return signal;
        }
        signals.retain(|_, signal| signal.strong_count() > 0);
        let signal = Arc::new(Self { raised: watch::Sender::new(0) });
        signals.insert(place.to_owned(), Arc::downgrade(&signal));
        signal
    }

    pub(crate) fn raise(&self) {
        self.raised.send_modify(|raised| *raised += 1);
    }

    /// How often it was raised.
    pub(crate) fn raised(&self) -> u64 {
        *self.raised.borrow()
    }

    /// Waits until it was raised more often than `seen` says, and then moves `seen` up.
    async fn past(&self, seen: &AtomicU64) {
        let mut receiver = self.raised.subscribe();
        let newer = receiver.wait_for(|raised| *raised > seen.load(Ordering::Acquire)).await;
        // The sender lives as long as `self`, so there is always an answer.
        seen.fetch_max(newer.map_or(0, |raised| *raised), Ordering::AcqRel);
    }
}

impl Wake for MysqlStore {
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.signal().past(self.seen()))
    }
}
