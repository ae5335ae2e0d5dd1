//! Waiting for news without an executor: a counter, and the wakers of those who wait for it to grow.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Tells any number of waiters that something happened.
#[derive(Debug, Default)]
pub(super) struct Signal {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    raised: u64,
    tickets: u64,
    waiting: BTreeMap<u64, Waker>,
}

impl Signal {
    /// How often it was raised.
    pub(super) fn raised(&self) -> u64 {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).raised
    }

    /// Raises it, and wakes everybody.
    pub(super) fn raise(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.raised += 1;
        let waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits until it was raised more often than `seen` says, and then moves `seen` up.
    pub(super) fn past<'a>(&'a self, seen: &'a AtomicU64) -> Past<'a> {
        Past { signal: self, seen, ticket: None }
    }
}

/// See [`Signal::past`].
#[derive(Debug)]
pub(super) struct Past<'a> {
    signal: &'a Signal,
    seen: &'a AtomicU64,
    ticket: Option<u64>,
}

impl Future for Past<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let signal = self.signal;
        let mut inner = signal.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.raised > self.seen.load(Ordering::Acquire) {
            self.seen.fetch_max(inner.raised, Ordering::AcqRel);
            return Poll::Ready(());
        }
        let ticket = match self.ticket {
            Some(ticket) => ticket,
            None => {
                inner.tickets += 1;
                inner.tickets
            }
        };
        inner.waiting.insert(ticket, context.waker().clone());
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Past<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.signal.inner.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&ticket);
        }
    }
}
