//! The connection that the migration algorithm of core runs on: one immediate transaction for all that is missing.
//!
//! SQLite's definitions are transactional, so a process that dies half-way leaves nothing. `PRAGMA user_version` is
//! kept as a second witness, for people with a file and no documentation.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use punctual_core::migrate::{
    LockedEnd, Migrated, Migration, MigrationConn, MigrationRow, MigrationState, MigrationStep, migrate,
    parse, validate,
};
use punctual_core::{Error, Result, Timestamp};
use rusqlite::{Connection, params};

use crate::error::{Failure, classify};
use crate::sql;

const OPERATION: &str = "migrate";

/// Brings the tables up to date.
pub(crate) fn upgrade(connection: &mut Connection, path: &Path) -> Result<Migrated> {
    with_known(connection, path, async |conn, known| migrate(conn, known, env!("CARGO_PKG_VERSION")).await)
}

/// Checks that the tables are what this binary needs.
pub(crate) fn check(connection: &mut Connection, path: &Path) -> Result<i64> {
    with_known(connection, path, async |conn, known| validate(conn, known).await)
}

fn with_known<T>(
    connection: &mut Connection,
    path: &Path,
    run: impl AsyncFnOnce(&mut SqliteMigrations<'_>, &[Migration]) -> Result<T>,
) -> Result<T> {
    let known = parse(punctual_migrations::SQLITE)?;
    let mut conn = SqliteMigrations { connection, path };
    at_once(run(&mut conn, &known)).map_err(|error| {
        let file = path.display().to_string();
        if error.message().starts_with(&file) {
            return error;
        }
        Error::new(error.kind(), OPERATION, format!("{file}: {}", error.message())).with_source(error)
    })
}

/// Runs a future that never waits: all of [`SqliteMigrations`] is done when it returns.
fn at_once<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            Err(Error::internal(OPERATION, "a migration waited where nothing waits; please report it"))
        }
    }
}

struct SqliteMigrations<'c> {
    connection: &'c mut Connection,
    path: &'c Path,
}

impl SqliteMigrations<'_> {
    fn tried<T>(&self, body: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        body(self.connection).map_err(|error| classify(OPERATION, self.path, Failure::from(error)))
    }
}

#[async_trait]
impl MigrationConn for SqliteMigrations<'_> {
    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        let rows = self.tried(|connection| {
            if !connection.query_row(sql::HAS_MIGRATION, [], |row| row.get::<_, bool>(0))? {
                return Ok(Vec::new());
            }
            let mut statement = connection.prepare(sql::MIGRATIONS)?;
            let read = |row: &rusqlite::Row<'_>| {
                let text = |at| row.get::<_, String>(at).map(String::into_boxed_str);
                let state = MigrationState::from_code(row.get(3)?);
                let (started, finished): (i64, Option<i64>) = (row.get(4)?, row.get(5)?);
                Ok(state.map(|state| (state, started, finished)).and_then(|(state, started, finished)| {
                    let named = |error| Error::corrupt(OPERATION, "a row cannot be read").with_source(error);
                    Ok(MigrationRow {
                        version: row.get(0).map_err(named)?,
                        name: text(1).map_err(named)?,
                        checksum: row.get(2).map_err(named)?,
                        state,
                        started: Timestamp::from_micros(started),
                        finished: finished.map(Timestamp::from_micros),
                        binary: text(6).map_err(named)?,
                        min_reader: row.get(7).map_err(named)?,
                        min_writer: row.get(8).map_err(named)?,
                    })
                }))
            };
            statement.query_map([], read)?.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter().collect()
    }

    async fn lock(&mut self) -> Result<()> {
        self.tried(|connection| {
            connection.execute_batch(sql::BEGIN_WRITE)?;
            connection.execute_batch(sql::CREATE_MIGRATION)
        })
    }

    async fn now(&mut self) -> Result<Timestamp> {
        self.tried(|connection| connection.query_row(sql::CLOCK, [], |row| row.get(0)))
            .map(Timestamp::from_micros)
    }

    async fn run(&mut self, step: &MigrationStep) -> Result<()> {
        let ran = self.tried(|connection| connection.prepare(&step.sql)?.execute([]).map(drop));
        ran.map_err(|error| {
            let what = format!("{}: step {}: {}", self.path.display(), step.name, error.message());
            Error::new(error.kind(), OPERATION, what).with_source(error)
        })
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
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
        self.tried(|connection| {
            let (state, started) = (state.code(), started.as_micros());
            connection.execute(
                sql::PUT_MIGRATION,
                params![version, name, checksum, state, started, finished, binary, min_reader, min_writer],
            )?;
            connection.pragma_update(None, "user_version", version)
        })
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        self.tried(|connection| match end {
            LockedEnd::Commit => connection.execute_batch(sql::COMMIT),
            LockedEnd::Rollback if connection.is_autocommit() => Ok(()),
            LockedEnd::Rollback => connection.execute_batch(sql::ROLLBACK),
        })
    }
}
