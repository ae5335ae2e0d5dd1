//! How a store is opened: settings with their defaults.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::migrate::MigrateMode;
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, Error, Result};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::migrate::PostgresMigrations;
use crate::open::{Listen, Options, Sessions, check_schema, parse, place_of};
use crate::pool::{Pool, Source};
use crate::store::PostgresStore;

/// Settings of a store; made by [`PostgresStore::builder`] or [`PostgresStore::from_pool`].
#[derive(Clone)]
#[must_use = "a builder does nothing until it is opened"]
pub struct PostgresBuilder {
    address: PgConnectOptions,
    pool: Option<PgPool>,
    options: Options,
    mode: Option<MigrateMode>,
}

impl fmt::Debug for PostgresBuilder {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresBuilder").field("schema", &self.options.schema_name).finish_non_exhaustive()
    }
}

impl PostgresBuilder {
    pub(crate) fn of_url(url: &str) -> Result<Self> {
        Ok(Self { address: parse(url)?, pool: None, options: Options::default(), mode: None })
    }

    pub(crate) fn of_pool(pool: PgPool) -> Self {
        let address = PgConnectOptions::clone(&pool.connect_options());
        let options = Options { sessions: Sessions::Shared, ..Options::default() };
        Self { address, pool: Some(pool), options, mode: None }
    }

    /// The schema that holds the tables; `punctual` by default. Made if it is missing. Several schemas of one database
    /// are several stores that know nothing of one another.
    pub fn schema(mut self, name: &str) -> Self {
        name.clone_into(&mut self.options.schema_name);
        self
    }

    /// The most connections that the store opens at once, not counting the one that listens; 8 by default. Without
    /// effect on a given pool.
    pub fn max_connections(mut self, connections: u32) -> Self {
        self.options.connections = connections;
        self
    }

    /// How long a statement waits for a lock before it is tried again; 2 s by default.
    pub fn lock_timeout(mut self, span: Duration) -> Self {
        self.options.lock_timeout = span;
        self
    }

    /// How long a statement may take; 10 s by default.
    pub fn statement_timeout(mut self, span: Duration) -> Self {
        self.options.statement_timeout = span;
        self
    }

    /// How long a transaction may wait for its client before the server ends it: `T_idle` of the profile, 2 s by default.
    /// A process that is frozen in the middle of a step keeps its locks for that long.
    pub fn idle_in_transaction_timeout(mut self, span: Duration) -> Self {
        self.options.idle_timeout = span;
        self
    }

    /// Says that the address is that of a pooler which gives each transaction another session, such as PgBouncer in
    /// transaction mode: each step is an explicit transaction that brings its settings along, and nothing is prepared by
    /// name. Then nodes poll, unless [`PostgresBuilder::listen_url`] names a way around the pooler.
    pub fn transaction_pooler(mut self, pooled: bool) -> Self {
        self.options.sessions = match (pooled, &self.pool) {
            (true, _) => Sessions::Pooled,
            (false, Some(_)) => Sessions::Shared,
            (false, None) => Sessions::Own,
        };
        self
    }

    /// A URL that leads to the server itself, for the session that listens for news of other processes.
    ///
    /// # Errors
    /// `Invalid` if it cannot be understood.
    pub fn listen_url(mut self, url: &str) -> Result<Self> {
        self.options.listen = Listen::At(Box::new(parse(url)?));
        Ok(self)
    }

    /// Opens no session to listen on: nodes poll.
    pub fn without_listening(mut self) -> Self {
        self.options.listen = Listen::Never;
        self
    }

    /// What is done about the tables: by default they are made and brought up to date. Without this, the variable
    /// `PUNCTUAL_MIGRATE` of the environment decides, if it is set.
    pub fn migrate(mut self, mode: MigrateMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Reads `now` from the wall clock of `clock` instead of the server's. For tests: all processes on one schema must
    /// have the same time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.options.clock = Some(clock);
        self
    }

    /// How ready rows are claimed; [`ClaimShape::SkipLocked`] by default. [`ClaimShape::Cas`] never asks a server to leave
    /// out locked rows, for those that speak PostgreSQL's language and do that badly; nodes wait for one another then.
    ///
    /// # Errors
    /// `Unsupported` for [`ClaimShape::WithinLock`]: claims are safe here without a lock, and may be made within one
    /// whatever this says.
    pub fn claims(mut self, claims: ClaimShape) -> Result<Self> {
        if claims == ClaimShape::WithinLock {
            let why = "this store's claims need no lock; choose SkipLocked or Cas";
            return Err(Error::new(punctual_core::ErrorKind::Unsupported, "open", why));
        }
        self.options.claims = claims;
        Ok(self)
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
    /// Each names the server and what to do: `Invalid` if the schema's name or the password is wrong, `NotFound` if the
    /// database does not exist, `Unsupported` if the server is older than PostgreSQL 14, the database is not UTF-8, the
    /// user lacks rights, or the tables are newer than this binary, `Unavailable` if the server cannot be reached or is
    /// a standby.
    pub async fn open(self) -> Result<PostgresStore> {
        let (source, address, mut options, mode) = self.parts();
        options.migrate = MigrateMode::chosen(mode, std::env::var_os(MigrateMode::VARIABLE))?;
        PostgresStore::start(source, address, options).await
    }

    /// Opens the schema for the migration engine alone (`punctual_core::migrate`), and changes nothing by that.
    ///
    /// # Errors
    /// As [`PostgresBuilder::open`].
    pub async fn migrations(self) -> Result<PostgresMigrations> {
        let (source, address, options, _) = self.parts();
        check_schema(&options.schema_name)?;
        let place = place_of(&address, &options.schema_name).into();
        let pool = Pool::new(source, &options, Arc::clone(&place));
        PostgresMigrations::on(&pool, &options, &place).await
    }

    fn parts(self) -> (Source, PgConnectOptions, Options, Option<MigrateMode>) {
        let Self { address, pool, mut options, mode } = self;
        if options.sessions == Sessions::Pooled && matches!(options.listen, Listen::Beside) {
            options.listen = Listen::Never;
        }
        let source = match pool {
            Some(pool) => Source::Given(pool),
            None => Source::Own(Box::new(options.address(address.clone()))),
        };
        (source, address, options, mode)
    }
}
