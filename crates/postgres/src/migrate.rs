//! What a store does about its tables when it is opened, and the database as the migration engine of core sees it.
//!
//! PostgreSQL's definitions are transactional: all that is missing is one transaction, so a process that dies half-way
//! leaves nothing, and the lock ends with the transaction, also behind a pooler. Only online migrations are not: they
//! have a lock of the session, on a connection to the server itself, and a journal.

mod conn;
mod session;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::migrate::{self, Fingerprint, Holder, MigrateMode, Migration, Progress, Runner, parse};
use punctual_core::store::hook::StatementHook;
use punctual_core::{Error, ErrorKind, Result};
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use crate::error::classify;
use crate::open::{Listen, Options, Sessions, check_session};
use crate::pool::{Held, Pool};
use crate::sql::{self, Statements};

pub(crate) const OPERATION: &str = "migrate";

/// How long the statement of a step may take, unless its migration is online.
const STEP: Duration = Duration::from_secs(30);

/// Does what the mode says.
pub(crate) async fn prepare(pool: &Arc<Pool>, options: &Options, place: &Arc<str>) -> Result<()> {
    if options.migrate == MigrateMode::Off {
        return Ok(());
    }
    let known = PostgresMigrations::known()?;
    let shapes = PostgresMigrations::shapes();
    let runner = Runner::of_this_process(&known, &shapes, env!("CARGO_PKG_VERSION"));
    let mut conn = PostgresMigrations::on(pool, options, place).await?;
    let mut hear = |progress: Progress<'_>| told(place, progress);
    let done = migrate::prepare(&mut conn, &runner, options.migrate, &mut hear).await;
    conn.end(done)
}

fn told(place: &str, progress: Progress<'_>) {
    match progress {
        Progress::Waiting { holder } => {
            let holder = Holder::or_unknown(holder);
            tracing::info!(place, holder, "waits for another process that migrates");
        }
        Progress::Applied { migration } => {
            tracing::info!(place, version = migration.version, name = %migration.name, "migrated");
        }
        Progress::Locked | Progress::Step { .. } | Progress::Found { .. } | Progress::HeldBack { .. } => {}
    }
}

/// A schema as the migration engine sees it; made by [`crate::PostgresBuilder::migrations`].
///
/// It has one connection, and closes it when it is dropped. All methods must be called within a tokio runtime.
pub struct PostgresMigrations {
    statements: Statements,
    begin: Arc<str>,
    place: Arc<str>,
    sessions: Sessions,
    /// The way around a pooler, for what needs a session.
    way_around: Option<Box<PgConnectOptions>>,
    /// The connection; none if it was lost.
    held: Option<Held>,
    /// The connection around a pooler, while it is in use.
    around: Option<PgConnection>,
    lock: Lock,
    /// That of the run in progress; 0 if there is none.
    generation: i64,
    /// Whether settings of the session were changed.
    is_changed: bool,
    hook: Option<Arc<dyn StatementHook>>,
    /// How many statements were run.
    index: u32,
    jitter: SeededEntropy,
}

/// What the lock of migrations is tied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lock {
    None,
    Transaction,
    Session,
}

impl fmt::Debug for PostgresMigrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresMigrations")
            .field("place", &self.place)
            .field("lock", &self.lock)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl PostgresMigrations {
    /// The migrations of this binary. In their statements `{s}` stands for the schema; the connection fills it in.
    ///
    /// # Errors
    /// `Internal` if one of them cannot be parsed.
    pub fn known() -> Result<Vec<Migration>> {
        parse(punctual_migrations::POSTGRES)
    }

    /// The shape of the schema after each of them.
    pub fn shapes() -> Vec<Fingerprint> {
        punctual_migrations::POSTGRES_SHAPES.iter().map(|text| Fingerprint::of(text.lines())).collect()
    }

    pub(crate) async fn on(pool: &Arc<Pool>, options: &Options, place: &Arc<str>) -> Result<Self> {
        let failed = |failure| classify(OPERATION, place, failure);
        let mut held = pool.take().await.map_err(failed)?;
        let connection = held.connection().map_err(failed)?;
        check_session(connection, options.sessions, place).await.map_err(failed)?;
        let way_around = match &options.listen {
            Listen::At(address) => Some(Box::new(options.direct(PgConnectOptions::clone(address)))),
            Listen::Beside | Listen::Never => None,
        };
        let seed = u64::from(std::process::id()).rotate_left(32) ^ Arc::as_ptr(pool).addr() as u64;
        let statement_timeout = options.statement_timeout.max(STEP);
        // Sessions of the store's own have the settings of steps; a migration brings its own along everywhere.
        let settings = Options { statement_timeout, sessions: Sessions::Shared, ..options.clone() };
        Ok(Self {
            statements: Statements::of(&options.schema_name, options.claims),
            begin: settings.beginning(sql::BEGIN_WRITE),
            place: Arc::clone(place),
            sessions: options.sessions,
            way_around,
            held: Some(held),
            around: None,
            lock: Lock::None,
            generation: 0,
            is_changed: false,
            hook: options.hook.clone(),
            index: 0,
            jitter: SeededEntropy::new(seed),
        })
    }

    /// Gives the connection back if all went well, and names the database in what went wrong.
    fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Ok(answer) => {
                if let Some(held) = &mut self.held
                    && self.lock == Lock::None
                    && !self.is_changed
                {
                    held.is_clean();
                }
                Ok(answer)
            }
            Err(error) if error.message().starts_with(&*self.place) => Err(error),
            Err(error) => {
                let message = format!("{}: {}", self.place, error.message());
                Err(Error::new(error.kind(), OPERATION, message).with_source(error))
            }
        }
    }

    fn fenced(&self) -> Error {
        let why = "another run of migrations has begun meanwhile, and this one writes nothing more";
        Error::new(ErrorKind::Fenced, OPERATION, format!("{}: {why}", self.place))
    }
}
