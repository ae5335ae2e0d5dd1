//! Learning early that there may be work: from this process's own steps at once, from other processes by looking at
//! `PRAGMA data_version`, which costs no disk access and changes only when another connection has committed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use punctual_core::BoxFuture;
use punctual_core::store::Wake;
use rusqlite::Connection;
use tokio::sync::watch;

use crate::sql;
use crate::store::SqliteStore;

/// Counts what became available, and tells those who wait.
#[derive(Debug)]
pub(crate) struct Signal {
    raised: watch::Sender<u64>,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { raised: watch::Sender::new(0) }
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

/// Looks for what other processes have made available.
#[derive(Debug)]
pub(crate) struct Watcher {
    signal: Arc<Signal>,
    data_version: Option<i64>,
    wake_seq: Option<i64>,
}

impl Watcher {
    pub(crate) const fn new(signal: Arc<Signal>) -> Self {
        Self { signal, data_version: None, wake_seq: None }
    }

    /// Looks once. Whatever fails here is only a hint that is late.
    pub(crate) fn look(&mut self, connection: &Connection) {
        if self.signal.raised.receiver_count() == 0 {
            return;
        }
        let read =
            |sql| connection.prepare_cached(sql).and_then(|mut s| s.query_row([], |row| row.get(0))).ok();
        let data_version = read(sql::DATA_VERSION);
        if data_version == self.data_version {
            return;
        }
        self.data_version = data_version;
        let wake_seq = read(sql::WAKE_SEQ);
        if wake_seq != self.wake_seq {
            self.wake_seq = wake_seq;
            self.signal.raise();
        }
    }
}

impl Wake for SqliteStore {
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.signal().past(self.seen()))
    }
}
