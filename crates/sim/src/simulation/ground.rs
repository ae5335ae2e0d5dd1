//! The stores that can be simulated.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use punctual_core::memory::MemoryStore;
use punctual_core::migrate::MigrateMode;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, Error, JobStore, Result};
use punctual_sqlite::SqliteStore;
use rusqlite::Connection;
use tempfile::TempDir;

use super::clock::StoreClock;
use super::cut::Scissors;
use super::line::now_or_never;
use super::world::{Host, World};

/// Which store a run is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The memory store of `core`, as the store of a server that does each step as a whole.
    Memory,
    /// The SQLite store, its SQL and its locks, with connections of its own for each process.
    Sqlite,
}

impl Store {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
        }
    }
}

/// The database of a run.
#[derive(Debug)]
pub(crate) enum Ground {
    Memory(MemoryStore),
    Sqlite { folder: TempDir, clock: Arc<StoreClock>, inside: Arc<AtomicBool>, lock: Option<Connection> },
}

impl Ground {
    pub(crate) fn new(store: Store, clock: &Arc<StoreClock>) -> Result<Self> {
        match store {
            Store::Memory => Ok(Self::Memory(MemoryStore::new(Arc::clone(clock) as Arc<dyn Clock>))),
            Store::Sqlite => {
                // In memory where that is offered: a disk would only be slow, and no power fails here.
                let memory = Path::new("/dev/shm");
                let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
                let folder = folder.map_err(|error| {
                    Error::unavailable("simulate", "no folder could be made").with_source(error)
                })?;
                Ok(Self::Sqlite { folder, clock: Arc::clone(clock), inside: Arc::default(), lock: None })
            }
        }
    }

    /// The folder of the database, whose name is another one each time.
    pub(crate) fn folder(&self) -> Option<String> {
        match self {
            Self::Memory(_) => None,
            Self::Sqlite { folder, .. } => Some(folder.path().display().to_string()),
        }
    }

    /// Opens the store for a process.
    pub(crate) fn open(&self, world: &Arc<World>, host: Host) -> Result<(Arc<dyn JobStore>, Arc<Scissors>)> {
        match self {
            Self::Memory(store) => Ok((Arc::new(store.clone()), Scissors::of_whole_steps(host))),
            Self::Sqlite { folder, clock, inside, .. } => {
                let scissors = Scissors::of_statements(host, world, Arc::clone(inside));
                let builder = SqliteStore::builder(folder.path().join("jobs.db"))
                    .clock(Arc::clone(clock) as Arc<dyn Clock>)
                    .busy_timeout(Duration::ZERO)
                    .relaxed_durability()
                    .migrate(MigrateMode::Auto)
                    .statement_hook(Arc::clone(&scissors) as Arc<dyn StatementHook>)
                    .without_threads();
                let store = now_or_never(Box::pin(builder.open()))?;
                Ok((Arc::new(store), scissors))
            }
        }
    }

    /// Whether the write lock is held from outside.
    pub(crate) const fn holds_lock(&self) -> bool {
        matches!(self, Self::Sqlite { lock: Some(_), .. })
    }

    /// Takes the write lock from outside. Whether the store has one; if not, somebody has to pretend.
    pub(crate) fn hold_lock(&mut self) -> Result<bool> {
        let Self::Sqlite { folder, lock, .. } = self else { return Ok(false) };
        let taken = Connection::open(folder.path().join("jobs.db"))
            .and_then(|connection| connection.execute_batch("BEGIN IMMEDIATE").map(|()| connection));
        let connection = taken
            .map_err(|error| Error::internal("simulate", "the lock could not be taken").with_source(error))?;
        *lock = Some(connection);
        Ok(true)
    }

    /// Gives the lock back.
    pub(crate) fn free_lock(&mut self) {
        if let Self::Sqlite { lock, .. } = self {
            // Closing the connection rolls back.
            drop(lock.take());
        }
    }
}
