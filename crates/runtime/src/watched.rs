//! A value that tasks wait for.
//!
//! It wakes those who wait in the order in which they asked. Tokio's `watch` draws that order at random, and no seed could
//! replay a run.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A value, and the tasks that wait for it to change.
#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Notify,
}

impl<T> Watched<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), changed: Notify::const_new() }
    }

    pub(crate) fn get(&self) -> T
    where
        T: Clone,
    {
        self.value().clone()
    }

    pub(crate) fn set(&self, value: T) {
        self.change(|now| {
            *now = value;
            true
        });
    }

    /// Changes the value in place, and tells those who wait if `change` says so.
    pub(crate) fn change(&self, change: impl FnOnce(&mut T) -> bool) {
        let tell = change(&mut self.value());
        if tell {
            self.changed.notify_waiters();
        }
    }

    /// Waits until `look` finds in the value what it looks for. Cancel safe.
    pub(crate) async fn until<R>(&self, mut look: impl FnMut(&T) -> Option<R>) -> R {
        loop {
            // Made before the look, so that a change after the look is not missed.
            let changed = self.changed.notified();
            let found = look(&self.value());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }

    fn value(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
