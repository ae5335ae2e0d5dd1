//! A job store for Punctual on one redb file: the worked example of the chapter "Writing a store".
//!
//! One process holds the file, and as many nodes as it likes share it through clones of one [`RedbStore`]. Each step of
//! the contract is one write transaction, and redb has one writer at a time: so nothing here locks a row, and every
//! guard is a plain comparison.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # fn open(clock: Arc<dyn punctual_core::Clock>) -> punctual_core::Result<()> {
//! // `clock` is `Arc::new(punctual::runtime::SystemClock)` in a program.
//! let store = redb_store::RedbStore::open("jobs.redb", clock)?;
//! // Scheduler::builder(store) …
//! # let _ = store;
//! # Ok(())
//! # }
//! ```

mod claim;
mod define;
mod definitions;
mod due;
mod executions;
mod inspect;
mod locks;
mod members;
mod pauses;
mod prune;
mod settle;
mod slots;
mod step;
mod store;
mod tables;
mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use punctual_core::{BoxFuture, Clock, Error, ErrorKind, Result};
use redb::{Database, ReadableDatabase};
use tokio::sync::watch;

use crate::step::Step;
use crate::tables::{Snapshot, Tables};
use crate::trouble::Tried;

/// The layout of the tables. A file of a later one is refused.
const LAYOUT: i64 = 1;

/// A handle on the store in one file. A clone is another handle on the same data, for another node of this process.
///
/// Its futures need a tokio runtime. The clock of the store is the wall clock of the [`Clock`] that it was opened with.
#[derive(Debug)]
pub struct RedbStore {
    file: Arc<File>,
    /// How many news this handle has heard of.
    heard: AtomicU64,
}

/// What all handles share.
#[derive(Debug)]
struct File {
    database: Database,
    clock: Arc<dyn Clock>,
    /// Counts steps after which there may be work.
    news: watch::Sender<u64>,
}

impl Clone for RedbStore {
    fn clone(&self) -> Self {
        let heard = *self.file.news.borrow();
        Self { file: Arc::clone(&self.file), heard: AtomicU64::new(heard) }
    }
}

impl RedbStore {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be opened or another process has it open, `Unsupported` if a later version of
    /// this crate or of redb wrote it.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self> {
        let open = || -> Tried<Self> {
            let database = Database::create(path)?;
            let file = Arc::new(File { database, clock, news: watch::Sender::new(0) });
            file.write(|step| step.check_layout(LAYOUT))?;
            Ok(Self { file, heard: AtomicU64::new(0) })
        };
        open().map_err(|trouble| trouble.into_error("open"))
    }

    /// The engine, for tools that look into the file while it is open. A write transaction of theirs keeps every step
    /// of the store waiting.
    pub fn database(&self) -> &Database {
        &self.file.database
    }

    /// Runs one step of the contract: all of it in one write transaction, or nothing.
    pub(crate) async fn write<T, F>(&self, operation: &'static str, step: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Step<'_>) -> Tried<T> + Send + 'static,
    {
        self.on_a_thread(operation, move |file| file.write(step)).await
    }

    /// Reads one snapshot. Takes no lock, and sees no step that has not ended.
    pub(crate) async fn read<T, F>(&self, operation: &'static str, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot, &dyn Clock) -> Tried<T> + Send + 'static,
    {
        self.on_a_thread(operation, move |file| {
            let transaction = file.database.begin_read()?;
            read(&Snapshot::open(&transaction)?, &*file.clock)
        })
        .await
    }

    /// Runs `work` where nobody cancels it: a caller that drops this future has a step that is done or not done, and
    /// the transaction ends in any case.
    async fn on_a_thread<T, F>(&self, operation: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&File) -> Tried<T> + Send + 'static,
    {
        let file = Arc::clone(&self.file);
        let done = tokio::task::spawn_blocking(move || work(&file)).await;
        match done {
            Ok(tried) => tried.map_err(|trouble| trouble.into_error(operation)),
            // The runtime is going down, or the step has a defect; its transaction was dropped, and so rolled back.
            Err(gone) => {
                Err(Error::new(ErrorKind::Unavailable, operation, "the step did not run to its end")
                    .with_source(gone))
            }
        }
    }

    /// See [`punctual_core::store::Wake`].
    pub(crate) fn wait_for_news(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let mut news = self.file.news.subscribe();
            let heard = self.heard.load(Ordering::Relaxed);
            // The sender lives as long as `self`, so there is no end of news.
            if let Ok(count) = news.wait_for(|count| *count != heard).await {
                self.heard.store(*count, Ordering::Relaxed);
            }
        })
    }
}

impl File {
    fn write<T>(&self, work: impl FnOnce(&mut Step<'_>) -> Tried<T>) -> Tried<T> {
        // Waits until no other step runs. The clock is read after that: a time from before the wait would be too old.
        let transaction = self.database.begin_write()?;
        let mut step = Step::new(Tables::open(&transaction)?, self.clock.wall());
        let answer = work(&mut step)?;
        let (keep, news) = step.close();
        if keep {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        // Only what is committed is news.
        if keep && news {
            self.news.send_modify(|count| *count += 1);
        }
        Ok(answer)
    }
}

impl Step<'_> {
    fn check_layout(&mut self, known: i64) -> Tried<()> {
        let found = self.number("layout")?;
        if found > known {
            let message = format!("the file has layout {found}, this program knows {known}; use a newer one");
            return Err(Error::new(ErrorKind::Unsupported, "open", message).into());
        }
        self.set_number("layout", known)
    }
}
