//! How a store is opened: settings with their defaults.

use std::sync::Arc;

use diesel_async::AsyncMysqlConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use punctual_core::migrate::MigrateMode;
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, Result};

use crate::migrate::MysqlMigrations;
use crate::open::{Connections, Options, Source};
use crate::store::MysqlStore;

/// Settings of a store; made by [`MysqlStore::builder`] and [`MysqlStore::from_pool`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct MysqlBuilder {
    options: Options,
    mode: Option<MigrateMode>,
}

impl MysqlBuilder {
    fn of(source: Source) -> Self {
        let options = Options {
            source,
            connections: 4,
            migrate: MigrateMode::Auto,
            claims: ClaimShape::SkipLocked,
            clock: None,
            hook: None,
        };
        Self { options, mode: None }
    }

    pub(crate) fn of_url(url: String) -> Self {
        Self::of(Source::Url(url))
    }

    pub(crate) fn of_pool(pool: Pool<AsyncMysqlConnection>) -> Self {
        Self::of(Source::Pool(pool))
    }

    /// How many connections the store's own pool has at most; 6 by default. A node uses up to four at once, and two
    /// more while it takes over from dead ones.
    pub fn connections(mut self, most: usize) -> Self {
        self.options.connections = most.max(1);
        self
    }

    /// What is done about the tables: by default they are made and brought up to date, for which the user needs the right
    /// to define tables. Without this, the variable `PUNCTUAL_MIGRATE` of the environment decides, if it is set.
    pub fn migrate(mut self, mode: MigrateMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// How claims are made safe: [`ClaimShape::SkipLocked`] by default, or [`ClaimShape::Cas`] for servers that speak
    /// MySQL's language but have no good `SKIP LOCKED`: there, conditional writes decide, and nodes wait for each other
    /// where they would pass each other by.
    pub fn claims(mut self, shape: ClaimShape) -> Self {
        self.options.claims = shape;
        self
    }

    /// Reads `now` from the wall clock of `clock` instead of the server's. For tests: all processes on one database must
    /// have the same time.
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

    /// Opens the store.
    ///
    /// # Errors
    /// Each names the database and what to do: `Invalid` if the URL cannot be read or the database is missing,
    /// `Unsupported` if the server is too old, read-only or logs statements, if the user lacks rights, if the tables are
    /// newer than this binary; `Unavailable` if the server cannot be reached, or somebody else migrates for too long; `Corrupt` if
    /// the history of migrations cannot be understood.
    pub async fn open(self) -> Result<MysqlStore> {
        let Self { mut options, mode } = self;
        options.migrate = MigrateMode::chosen(mode, std::env::var_os(MigrateMode::VARIABLE))?;
        MysqlStore::start(options).await
    }

    /// Connects for the migration engine alone (`punctual_core::migrate`), and changes no table by that.
    ///
    /// # Errors
    /// As [`MysqlBuilder::open`].
    pub async fn migrations(self) -> Result<MysqlMigrations> {
        let Self { options, .. } = self;
        let connections = Connections::open(&options).await?;
        MysqlMigrations::on(&connections, options.hook).await
    }
}
