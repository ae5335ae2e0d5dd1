//! The connection that the migration algorithm of core runs on: one transaction for all that is missing.
//!
//! PostgreSQL's definitions are transactional, so a process that dies half-way leaves nothing, and the lock ends with
//! the transaction, also behind a pooler.

use async_trait::async_trait;
use punctual_core::migrate::{
    LockedEnd, Migrated, Migration, MigrationConn, MigrationRow, MigrationState, MigrationStep, migrate,
    parse, validate,
};
use punctual_core::{Error, Result, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use crate::error::{Failure, classify};
use crate::pool::Held;
use crate::rows::{Args, params};
use crate::sql;
use crate::step::{Engine, Outcome};

const OPERATION: &str = "migrate";

/// How often the lock is asked for before another process that migrates is taken for stuck: about 20 s.
const TRIES: u32 = 120;

/// Brings the tables up to date.
pub(crate) async fn upgrade(engine: &Engine, place: &str) -> Result<Migrated> {
    let known = parse(punctual_migrations::POSTGRES)?;
    let mut conn = PostgresMigrations::on(engine, place).await?;
    let migrated = migrate(&mut conn, &known, env!("CARGO_PKG_VERSION")).await;
    conn.end(migrated)
}

/// Checks that the tables are what this binary needs.
pub(crate) async fn check(engine: &Engine, place: &str) -> Result<i64> {
    let known: Vec<Migration> = parse(punctual_migrations::POSTGRES)?;
    let mut conn = PostgresMigrations::on(engine, place).await?;
    let version = validate(&mut conn, &known).await;
    conn.end(version)
}

struct PostgresMigrations<'e> {
    engine: &'e Engine,
    place: &'e str,
    held: Held,
}

impl<'e> PostgresMigrations<'e> {
    async fn on(engine: &'e Engine, place: &'e str) -> Result<Self> {
        let held = engine.pool.take().await.map_err(|failure| classify(OPERATION, place, failure))?;
        Ok(Self { engine, place, held })
    }

    /// Gives the connection back if all went well, and names the database in what went wrong.
    fn end<T>(mut self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Ok(answer) => {
                self.held.is_clean();
                Ok(answer)
            }
            Err(error) if error.message().starts_with(self.place) => Err(error),
            Err(error) => {
                let message = format!("{}: {}", self.place, error.message());
                Err(Error::new(error.kind(), OPERATION, message).with_source(error))
            }
        }
    }

    async fn say(&mut self, text: std::sync::Arc<str>) -> Outcome<()> {
        sqlx::raw_sql(AssertSqlSafe(text)).execute(self.held.connection()?).await?;
        Ok(())
    }

    async fn all(&mut self, sql: &'static str, args: Args) -> Outcome<Vec<PgRow>> {
        let query = sqlx::query_with(AssertSqlSafe(self.engine.statements.text(sql)), args.into_inner());
        Ok(query.persistent(false).fetch_all(self.held.connection()?).await?)
    }

    /// All rows of a statement without parameters, as a simple query: outside of a transaction a pooler may give the
    /// parts of a prepared one to two servers.
    async fn simple(&mut self, sql: &'static str) -> Outcome<Vec<PgRow>> {
        let text = self.engine.statements.text(sql);
        Ok(sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(self.held.connection()?).await?)
    }

    async fn holds(&mut self, sql: &'static str) -> Outcome<bool> {
        let row = self.simple(sql).await?;
        Ok(row.first().map(|row| row.try_get(0)).transpose()?.unwrap_or(false))
    }

    /// Begins a transaction and takes the lock in it; `false` if somebody else has it, and nothing is open then.
    async fn try_lock(&mut self) -> Outcome<bool> {
        self.say(self.engine.begin_definitions()).await?;
        if self.holds(sql::LOCK_MIGRATIONS).await? {
            return Ok(true);
        }
        self.say(self.engine.statements.text(sql::ROLLBACK)).await?;
        Ok(false)
    }

    async fn bootstrap(&mut self) -> Outcome<()> {
        if !self.holds(sql::HAS_SCHEMA).await? {
            self.say(self.engine.statements.text(sql::CREATE_SCHEMA)).await?;
        }
        self.say(self.engine.statements.text(sql::CREATE_MIGRATION)).await
    }

    async fn put(&mut self, row: &MigrationRow) -> Outcome<()> {
        let MigrationRow {
            version,
            name,
            checksum,
            state,
            started,
            finished,
            binary,
            min_reader,
            min_writer,
        } = row;
        let finished = finished.map(Timestamp::as_micros);
        let (state, started) = (state.code(), started.as_micros());
        let values =
            params![version, &**name, checksum, state, started, finished, &**binary, min_reader, min_writer];
        self.all(sql::PUT_MIGRATION, values).await?;
        Ok(())
    }

    fn failed(&self) -> impl Fn(Failure) -> Error + use<'e> {
        let place = self.place;
        move |failure| classify(OPERATION, place, failure)
    }
}

fn read(row: &PgRow) -> Result<MigrationRow> {
    let named = |error: sqlx::Error| Error::corrupt(OPERATION, "a row cannot be read").with_source(error);
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(named);
    let text = |at: usize| row.try_get::<String, _>(at).map(String::into_boxed_str).map_err(named);
    let finished: Option<i64> = row.try_get(5).map_err(named)?;
    Ok(MigrationRow {
        version: number(0)?,
        name: text(1)?,
        checksum: number(2)?,
        state: MigrationState::from_code(number(3)?)?,
        started: Timestamp::from_micros(number(4)?),
        finished: finished.map(Timestamp::from_micros),
        binary: text(6)?,
        min_reader: number(7)?,
        min_writer: number(8)?,
    })
}

#[async_trait]
impl MigrationConn for PostgresMigrations<'_> {
    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        let failed = self.failed();
        if !self.holds(sql::HAS_MIGRATION).await.map_err(&failed)? {
            return Ok(Vec::new());
        }
        self.simple(sql::MIGRATIONS).await.map_err(&failed)?.iter().map(read).collect()
    }

    async fn lock(&mut self) -> Result<()> {
        let failed = self.failed();
        for tries in 1..=TRIES {
            if self.try_lock().await.map_err(&failed)? {
                return self.bootstrap().await.map_err(&failed);
            }
            self.engine.back_off(tries).await;
        }
        let why =
            "another process has held the lock of migrations for too long; look for it in pg_stat_activity";
        Err(Error::unavailable(OPERATION, format!("{}: {why}", self.place)))
    }

    async fn now(&mut self) -> Result<Timestamp> {
        let failed = self.failed();
        let rows = self.simple(sql::CLOCK).await.map_err(&failed)?;
        let row = rows.first().ok_or(Failure::Sqlx(sqlx::Error::RowNotFound)).map_err(&failed)?;
        row.try_get(0).map(Timestamp::from_micros).map_err(|error| failed(error.into()))
    }

    async fn run(&mut self, step: &MigrationStep) -> Result<()> {
        let failed = self.failed();
        let text = self.engine.statements.render(&step.sql);
        self.say(text).await.map_err(failed).map_err(|error| {
            let what = format!("{}: step {}: {}", self.place, step.name, error.message());
            Error::new(error.kind(), OPERATION, what).with_source(error)
        })
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        let failed = self.failed();
        self.put(row).await.map_err(failed)
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        let failed = self.failed();
        let end = match end {
            LockedEnd::Commit => sql::COMMIT,
            LockedEnd::Rollback => sql::ROLLBACK,
        };
        self.say(self.engine.statements.text(end)).await.map_err(failed)
    }
}
