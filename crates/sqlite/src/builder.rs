//! How a store is opened: settings with their defaults.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::migrate::MigrateMode;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, Result};

use crate::migrate::SqliteMigrations;
use crate::open::{self, Durability, Missing, NetworkFiles, Options};
use crate::store::SqliteStore;
use crate::worker::Place;

/// Settings of a store; made by [`SqliteStore::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct SqliteBuilder {
    path: PathBuf,
    options: Options,
    mode: Option<MigrateMode>,
}

impl SqliteBuilder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, options: Options::default(), mode: None }
    }

    /// How long a step waits for other processes before it answers `Unavailable`; 5 s by default.
    pub fn busy_timeout(mut self, patience: Duration) -> Self {
        self.options.patience = patience;
        self
    }

    /// Commits without waiting for the disk (`synchronous=NORMAL`): faster, and still consistent after a crash of the
    /// process, but a power failure may take the last commits with it. By default every commit reaches the disk.
    pub fn relaxed_durability(mut self) -> Self {
        self.options.durability = Durability::Normal;
        self
    }

    /// Opens only a file that is there already; by default a missing one is made.
    pub fn existing_only(mut self) -> Self {
        self.options.missing = Missing::Refuse;
        self
    }

    /// What is done about the tables: by default they are made and brought up to date. Without this, the variable
    /// `PUNCTUAL_MIGRATE` of the environment decides, if it is set.
    pub fn migrate(mut self, mode: MigrateMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Takes a file on a network file system all the same. Only sensible if a single machine uses it and its locks work.
    pub fn allow_network_file_system(mut self) -> Self {
        self.options.network = NetworkFiles::Allow;
        self
    }

    /// Reads `now` from the wall clock of `clock` instead of SQLite's. For tests: all processes on one file must have
    /// the same time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = Some(clock);
        self
    }

    /// Tells `hook` of each statement of each step. For tests of what a crash in between leaves behind.
    #[doc(hidden)]
    pub fn statement_hook(mut self, hook: Arc<dyn StatementHook>) -> Self {
        self.options.hook = Some(hook);
        self
    }

    /// Runs each step where it is asked for, without a thread. For simulations that must be the same each time: what
    /// other processes have made available is looked for after steps only, and the caller stands still while SQLite works
    /// or waits for a lock.
    #[doc(hidden)]
    pub fn without_threads(mut self) -> Self {
        self.options.place = Place::Caller;
        self
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Each names the file and what to do: `Invalid` if it is no SQLite database or its directory is missing, `NotFound`
    /// if it is missing and may not be made, `Unsupported` if it or its directory is read-only, on a network file
    /// system or newer than this binary, `Unavailable` if it stays locked, `Corrupt` if it is damaged.
    pub async fn open(self) -> Result<SqliteStore> {
        let Self { path, mut options, mode } = self;
        options.migrate = MigrateMode::chosen(mode, std::env::var_os(MigrateMode::VARIABLE))?;
        SqliteStore::start(path, options).await
    }

    /// Opens the file for the migration engine alone (`punctual_core::migrate`), and changes no table by that.
    ///
    /// # Errors
    /// As [`SqliteBuilder::open`].
    pub fn migrations(self) -> Result<SqliteMigrations> {
        let Self { path, options, .. } = self;
        let connection = open::writer(&path, &Options { migrate: MigrateMode::Off, ..options.clone() })?;
        Ok(SqliteMigrations::on(connection, path, options.hook))
    }
}
