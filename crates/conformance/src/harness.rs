//! What a store must provide to be tested.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_core::memory::ManualClock;
use punctual_core::{Clock, ExecutionId, JobId, JobStore, LockProvider, Result, TriggerId};

/// Opens stores for cases.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The store's name in reports.
    fn name(&self) -> &'static str;

    /// Whether the store's time can be given by [`Space::clock`].
    fn clock(&self) -> StoreClock;

    /// Opens a store on the data of `space`, which begin empty. Two opens of one space are two nodes on the same data.
    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>>;

    /// Opens the store's locks on the data of `space`, if it has any.
    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        let _ = space;
        Ok(None)
    }

    /// Makes a stored row unreadable behind the store's back, as a defect or a careless hand would.
    ///
    /// Answers `false` if this cannot be done to the store in that way; that the row is not there is no reason for it.
    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        let _ = (space, spoil);
        Ok(false)
    }

    /// How often each race is run.
    fn rounds(&self) -> u32 {
        100
    }
}

/// A row that is to become unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// A trigger's rules become something that is no document.
    Trigger(TriggerId),
    /// A job's rules become something that is no document.
    Job(JobId),
    /// A live row's own rules become something that is no document.
    Execution(ExecutionId),
    /// A calendar's document becomes something that is none.
    Calendar(Box<str>),
    /// A calendar goes, though triggers name it.
    MissingCalendar(Box<str>),
}

/// Where the store's time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreClock {
    /// From [`Space::clock`]: cases move it by hand.
    Settable,
    /// From elsewhere: cases about the passing of time do not apply.
    OfItsOwn,
}

/// A place for data that no other case shares.
#[derive(Clone, Debug)]
pub struct Space {
    name: Box<str>,
    clock: ManualClock,
}

impl Space {
    pub(crate) fn new(name: &str, clock: ManualClock) -> Self {
        Self { name: name.into(), clock }
    }

    /// A name of lower-case letters, digits and `_`, at most 30 bytes, that no other case of this process has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The clock that the store is to take its time from, if it can.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// The same clock, to be moved.
    pub fn manual_clock(&self) -> &ManualClock {
        &self.clock
    }
}
