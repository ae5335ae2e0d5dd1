//! The connection that the migration algorithm of core runs on.
//!
//! Definitions commit by themselves here, so a run that ends half-way leaves some of its steps behind. Its row in the
//! history says `Started` then, and the next run asks each step's probe whether it has been done. `GET_LOCK` keeps two
//! runs apart; it belongs to the session, so it is held by the connection that runs the steps, and looked at before each
//! of them.

use async_trait::async_trait;
use diesel_async::AsyncMysqlConnection;
use punctual_core::migrate::{
    LockedEnd, MigrationConn, MigrationRow, MigrationState, MigrationStep, migrate, parse, validate,
};
use punctual_core::protocol::define::stable_hash;
use punctual_core::store::ClaimShape;
use punctual_core::{Error, Result, Timestamp};

use crate::error::{Failure, classify};
use crate::open::{Connections, Held, Schema};
use crate::query::{Sql, Value, values};
use crate::rows::Columns;
use crate::sql;
use crate::step::{Setting, Step, StoreClock};

const OPERATION: &str = "migrate";

/// How many seconds a run waits for others that migrate the same database.
const PATIENCE: u32 = 120;

/// Brings the tables up to date, or checks that they are.
pub(crate) async fn bring_up(connections: &Connections, schema: Schema) -> Result<()> {
    let database = &connections.server.database;
    let failed = |failure| classify(OPERATION, database, failure);
    let held = connections.get().await.map_err(failed)?;
    let known = parse(punctual_migrations::MYSQL)?;
    let setting = Setting { clock: StoreClock::Server, claims: ClaimShape::SkipLocked, hook: None };
    let name = format!("punctual:{:016x}", stable_hash(database.as_bytes()));
    let mut conn = MysqlMigrations { held, setting, database, name };
    let outcome = match schema {
        Schema::Migrate => migrate(&mut conn, &known, env!("CARGO_PKG_VERSION")).await.map(drop),
        Schema::Validate => validate(&mut conn, &known).await.map(drop),
    };
    match outcome {
        Ok(()) => {
            conn.held.clean();
            Ok(())
        }
        Err(error) if error.message().starts_with(database) => Err(error),
        Err(error) => {
            let why = format!("{database}: {}", error.message());
            Err(Error::new(error.kind(), OPERATION, why).with_source(error))
        }
    }
}

struct MysqlMigrations<'c> {
    held: Held,
    setting: Setting,
    database: &'c str,
    /// Of the lock.
    name: String,
}

impl MysqlMigrations<'_> {
    fn step(&mut self) -> Result<Step<'_>> {
        let failed = |failure| classify(OPERATION, self.database, failure);
        let connection: &mut AsyncMysqlConnection = self.held.connection().map_err(failed)?;
        Ok(Step::unwatched(connection, &self.setting))
    }

    fn failed(&self, failure: Failure) -> Error {
        classify(OPERATION, self.database, failure)
    }

    async fn number(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Result<Option<i64>> {
        let answer = self.step()?.number(sql, values).await;
        answer.map_err(|failure| self.failed(failure))
    }

    async fn execute(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Result<()> {
        let answer = self.step()?.run(sql, values).await;
        answer.map(drop).map_err(|failure| self.failed(failure))
    }

    /// Checks that the lock is still this connection's. It is lost if the session ended and came back behind a proxy.
    async fn check_lock(&mut self) -> Result<()> {
        if self.number(sql::HAS_LOCK, values![self.name.clone()]).await? == Some(1) {
            return Ok(());
        }
        let why = "the lock of migrations was lost; connect to the server itself, without a proxy that shares sessions";
        Err(Error::unavailable(OPERATION, why))
    }
}

fn row_of(c: &Columns) -> Result<MigrationRow> {
    let (version, name, checksum, state) = (c.int(), c.text(), c.int(), c.int());
    let (started, finished) = (c.int(), c.int_or_null());
    let (binary, min_reader, min_writer) = (c.text(), c.int(), c.int());
    Ok(MigrationRow {
        version,
        name: name.into(),
        checksum,
        state: MigrationState::from_code(state)?,
        started: Timestamp::from_micros(started),
        finished: finished.map(Timestamp::from_micros),
        binary: binary.into(),
        min_reader,
        min_writer,
    })
}

#[async_trait]
impl MigrationConn for MysqlMigrations<'_> {
    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        if self.number(sql::HAS_MIGRATION, values![]).await?.unwrap_or(0) == 0 {
            return Ok(Vec::new());
        }
        let rows = self.step()?.all(sql::MIGRATIONS, values![], row_of).await;
        rows.map_err(|failure| self.failed(failure))?.into_iter().collect()
    }

    async fn lock(&mut self) -> Result<()> {
        for _ in 0..PATIENCE {
            if self.number(sql::GET_LOCK, values![self.name.clone()]).await? == Some(1) {
                return self.execute(sql::CREATE_MIGRATION, values![]).await;
            }
        }
        let why =
            format!("another process has been migrating the tables for {PATIENCE} s; look whether it hangs");
        Err(Error::unavailable(OPERATION, why))
    }

    async fn now(&mut self) -> Result<Timestamp> {
        let now = self.step()?.now().await;
        now.map_err(|failure| self.failed(failure))
    }

    async fn run(&mut self, step: &MigrationStep) -> Result<()> {
        self.check_lock().await?;
        if let Some(probe) = &step.probe
            && self.number(Sql::once(probe.to_string()), values![]).await?.unwrap_or(0) != 0
        {
            return Ok(());
        }
        let ran = self.execute(Sql::once(step.sql.to_string()), values![]).await;
        ran.map_err(|error| {
            let what = format!("{}: step {}: {}", self.database, step.name, error.message());
            Error::new(error.kind(), OPERATION, what).with_source(error)
        })
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        self.check_lock().await?;
        let MigrationRow { version, name, checksum, state, started, finished, .. } = row;
        let (state, finished) = (state.code(), finished.map(Timestamp::as_micros));
        let values = values![
            *version,
            &**name,
            *checksum,
            state,
            started.as_micros(),
            finished,
            &*row.binary,
            row.min_reader,
            row.min_writer,
            state,
            finished
        ];
        self.execute(sql::PUT_MIGRATION, values).await
    }

    async fn unlock(&mut self, _: LockedEnd) -> Result<()> {
        // What was defined stays defined either way; the history says how far it came.
        self.execute(sql::RELEASE_LOCK, values![self.name.clone()]).await
    }
}
