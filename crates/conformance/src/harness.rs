//! What a store must provide to be tested.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use punctual_core::memory::ManualClock;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, ExecutionId, JobId, JobStore, LockProvider, Result, Timestamp, TriggerId};

use crate::contradiction::Contradiction;
use crate::target::MigrationTarget;

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

    /// Opens a store on the data of `space` that tells `hook` of each statement of each step, if it has a way to.
    async fn open_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn JobStore>>> {
        let _ = (space, hook);
        Ok(None)
    }

    /// Opens locks on the data of `space` that tell `hook` of each statement, if the store has both.
    async fn locks_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn LockProvider>>> {
        let _ = (space, hook);
        Ok(None)
    }

    /// What a second process of this test program, which makes a harness of its own, must find in its environment so that
    /// it opens the spaces of this one; `None` if it cannot.
    fn for_a_second_process(&self) -> Option<Vec<(&'static str, String)>> {
        None
    }

    /// How the database would go about each of these statements of the store, on the data of `space`; `None` if the
    /// harness has no way to ask it.
    ///
    /// The texts are those that a [`StatementHook`] was told of, without the ones that begin and end transactions. The
    /// harness brings the database's figures about its tables up to date before it asks.
    async fn plans(&self, space: &Space, statements: &[String]) -> Result<Option<Vec<Plan>>> {
        let _ = (space, statements);
        Ok(None)
    }

    /// Makes a stored row unreadable behind the store's back, as a defect or a careless hand would.
    ///
    /// Answers `false` if this cannot be done to the store in that way. To learn that, the kit asks before the first case
    /// for a row that is not there: nothing is to be changed then, and the answer is the same as for one that is.
    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        let _ = (space, spoil);
        Ok(false)
    }

    /// Writes something into the store behind its back that none of its steps would.
    ///
    /// Answers `false` if this cannot be done to the store. To learn that, the kit asks before the first case for a row that
    /// is not there, as it does with [`Harness::spoil`].
    async fn contradict(&self, space: &Space, contradiction: Contradiction) -> Result<bool> {
        let _ = (space, contradiction);
        Ok(false)
    }

    /// The schema of `space`, which need not be there yet, and the migrations that make it; `None` if the store has none.
    async fn migrations(&self, space: &Space) -> Result<Option<Arc<dyn MigrationTarget>>> {
        let _ = space;
        Ok(None)
    }

    /// How often each race is run.
    fn rounds(&self) -> u32 {
        100
    }
}

/// How a database goes about a statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tables that it reads from end to end, without an index.
    pub scans: Vec<String>,
    /// Indexes that it uses, primary keys included.
    pub indexes: Vec<String>,
    /// The whole answer of the database, to be shown when a case fails.
    pub text: String,
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
///
/// A case may open a space in a second process, which has the same name, folder and time.
#[derive(Clone, Debug)]
pub struct Space {
    name: Box<str>,
    folder: PathBuf,
    clock: ManualClock,
}

impl Space {
    pub(crate) fn new(name: &str, folder: &Path, clock: ManualClock) -> Self {
        Self { name: name.into(), folder: folder.to_path_buf(), clock }
    }

    /// An empty space beside this one, whose clock shows the same and is moved apart.
    pub(crate) fn beside(&self, name: &str) -> Self {
        let clock = ManualClock::at(self.clock.wall());
        Self { name: format!("{}_{name}", self.name).into(), folder: self.folder.clone(), clock }
    }

    /// A name of lower-case letters, digits and `_`, at most 30 bytes, that no other case of this process has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A folder for files, which is deleted when the case has ended. A case with several spaces has all of them there, so
    /// a file must have the space's name in its own.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The clock that the store is to take its time from, if it can.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    /// What the clock shows.
    pub(crate) fn manual_clock_wall(&self) -> Timestamp {
        self.clock.wall()
    }

    /// The same clock, to be moved.
    pub fn manual_clock(&self) -> &ManualClock {
        &self.clock
    }
}
