//! What the connection of migrations does: statements, the lock, and writes that only the newest run may make.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::migrate::{Holder, MigrationRow, StepRow};
use punctual_core::store::hook::Side;
use punctual_core::{Entropy, Error, ErrorKind, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, ValueRef};

use super::conn::STEP_TRIES;
use super::{Lock, OPERATION, PostgresMigrations, STEP};
use crate::error::{Failure, classify};
use crate::open::{Sessions, check_session};
use crate::rows::{Args, params};
use crate::sql;
use crate::step::{Outcome, watch};
use crate::wait::within;

/// How long an answer may take before the connection is given up: longer than the server lets it.
pub(super) const ANSWER: Duration = Duration::from_secs(STEP.as_secs() * 2 + 5);

/// The tables of the engine, and whether each is there.
pub(super) const TABLES: [(&str, &str); 3] = [
    (sql::HAS_MIGRATION, sql::CREATE_MIGRATION),
    (sql::HAS_MIGRATION_STEP, sql::CREATE_MIGRATION_STEP),
    (sql::HAS_MIGRATION_RUN, sql::CREATE_MIGRATION_RUN),
];

impl PostgresMigrations {
    pub(super) fn failed(&self, failure: Failure) -> Error {
        classify(OPERATION, &self.place, failure)
    }

    /// Closes the connection: the server rolls back what is open on it, and ends its lock.
    pub(super) fn lose(&mut self) {
        (self.around, self.held) = (None, None);
    }

    pub(super) fn connection(&mut self) -> Outcome<&mut PgConnection> {
        match (&mut self.around, &mut self.held) {
            (Some(around), _) => Ok(around),
            (None, Some(held)) => held.connection(),
            (None, None) => {
                let why = "the connection was lost; the migrations may be run again";
                Err(Error::unavailable(OPERATION, format!("{}: {why}", self.place)).into())
            }
        }
    }

    pub(super) async fn exchange(
        &mut self,
        text: &Arc<str>,
        args: Option<Args>,
        patience: Duration,
    ) -> Outcome<Vec<PgRow>> {
        let hook = self.hook.clone();
        watch(hook.as_ref(), OPERATION, self.index, text, Side::Before).await?;
        let connection = self.connection()?;
        let sql = AssertSqlSafe(Arc::clone(text));
        let rows = within(patience, async {
            match args {
                // A simple query: outside of a transaction a pooler may give the parts of a prepared one to two servers.
                None => Ok(sqlx::raw_sql(sql).fetch_all(connection).await?),
                Some(args) => Ok(sqlx::query_with(sql, args.into_inner())
                    .persistent(false)
                    .fetch_all(connection)
                    .await?),
            }
        });
        let rows = rows.await?;
        watch(hook.as_ref(), OPERATION, self.index, text, Side::After).await?;
        Ok(rows)
    }

    pub(super) async fn ask(
        &mut self,
        text: Arc<str>,
        args: Option<Args>,
        patience: Duration,
    ) -> Outcome<Vec<PgRow>> {
        let answer = self.exchange(&text, args, patience).await;
        self.index = self.index.wrapping_add(1);
        if let Err(failure) = &answer
            && failure.ends_connection()
        {
            self.lose();
        }
        answer
    }

    pub(super) async fn rows(&mut self, sql: &'static str, args: Option<Args>) -> Outcome<Vec<PgRow>> {
        self.ask(self.statements.text(sql), args, ANSWER).await
    }

    pub(super) async fn say(&mut self, sql: &'static str) -> Outcome<()> {
        self.rows(sql, None).await.map(drop)
    }

    /// Whether the first column of the first row is true.
    pub(super) async fn holds(&mut self, sql: &'static str, args: Option<Args>) -> Outcome<bool> {
        let rows = self.rows(sql, args).await?;
        let first = rows.first().map(|row| row.try_get::<Option<bool>, _>(0)).transpose()?;
        Ok(first.flatten().unwrap_or(false))
    }

    /// A write that only the newest run may make.
    pub(super) async fn write(&mut self, sql: &'static str, args: Args) -> Outcome<()> {
        match self.holds(sql, Some(args)).await? {
            true => Ok(()),
            false => Err(self.fenced().into()),
        }
    }

    /// Takes the lock and begins a run; `false` if somebody else has the lock, and nothing is open then.
    pub(super) async fn try_lock(&mut self, who: &Holder, online: bool) -> Outcome<bool> {
        if online {
            if !self.holds(sql::TRY_SESSION_LOCK, None).await? {
                return Ok(false);
            }
            self.lock = Lock::Session;
            if !self.holds(sql::OWNS_LOCK, None).await? {
                return Err(self.needs_session().into());
            }
            self.ask(Arc::clone(&self.begin), None, ANSWER).await?;
            self.begin_run(who).await?;
            self.say(sql::COMMIT).await?;
            return Ok(true);
        }
        self.ask(Arc::clone(&self.begin), None, ANSWER).await?;
        self.lock = Lock::Transaction;
        if self.holds(sql::TRY_LOCK, None).await? {
            self.begin_run(who).await?;
            return Ok(true);
        }
        self.say(sql::ROLLBACK).await?;
        self.lock = Lock::None;
        Ok(false)
    }

    /// Makes the tables of the engine if they are not there, and raises the generation.
    pub(super) async fn begin_run(&mut self, who: &Holder) -> Outcome<()> {
        if !self.holds(sql::HAS_SCHEMA, None).await? {
            self.say(sql::CREATE_SCHEMA).await?;
        }
        for (has, create) in TABLES {
            if !self.holds(has, None).await? {
                self.say(create).await?;
            }
        }
        let rows = self.rows(sql::BEGIN_MIGRATION_RUN, Some(params![&*who.who])).await?;
        let row = rows.first().ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?;
        self.generation = row.try_get(0)?;
        Ok(())
    }

    /// Takes back what can be taken back, and ends the lock; in any doubt the connection is closed.
    pub(super) async fn abandon(&mut self) {
        let (lock, generation) = (Lock::None, 0);
        let held = std::mem::replace(&mut self.lock, lock);
        self.generation = generation;
        let ended = match held {
            Lock::None => return,
            Lock::Transaction => self.say(sql::ROLLBACK).await,
            Lock::Session => {
                // A transaction may be open too, if the lock was not yet ready for use.
                match self.say(sql::ROLLBACK).await {
                    Ok(()) => self.say(sql::SESSION_UNLOCK).await,
                    refused => refused,
                }
            }
        };
        if ended.is_err() {
            self.lose();
        }
        self.around = None;
    }

    /// Makes the connection one that a lock of the session can be on.
    pub(super) async fn need_session(&mut self) -> Outcome<()> {
        if let Some(address) = &self.way_around {
            let (address, place) = (address.clone(), Arc::clone(&self.place));
            self.around = Some(
                within(ANSWER, async {
                    let mut connection = PgConnection::connect_with(&address).await?;
                    check_session(&mut connection, Sessions::Shared, &place).await?;
                    Ok(connection)
                })
                .await?,
            );
        } else if self.sessions == Sessions::Pooled {
            return Err(self.needs_session().into());
        } else {
            self.is_changed = true;
        }
        self.say(sql::LONG_STATEMENTS).await
    }

    pub(super) fn needs_session(&self) -> Error {
        let why = "the next migration cannot run inside a transaction, and so not through a pooler in transaction mode; run \
                   it at the server's own address with `punctual migrate apply`, or open the store with `listen_url`";
        Error::new(ErrorKind::Unsupported, OPERATION, format!("{}: {why}", self.place))
    }

    /// Who has the lock, as far as this user may know it.
    pub(super) async fn holder(&mut self) -> Outcome<Option<Holder>> {
        let rows = self.rows(sql::LOCK_HOLDER, None).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let (who, since): (String, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        let step = match self.holds(sql::HAS_MIGRATION_STEP, None).await? {
            true => self.rows(sql::CURRENT_STEP, None).await?,
            false => Vec::new(),
        };
        let step = step.first().map(|row| row.try_get::<String, _>(0)).transpose()?;
        let (since, step) = (since.map(Timestamp::from_micros), step.map(String::into_boxed_str));
        Ok(Some(Holder { who: who.into(), since, step }))
    }

    /// The error of a step that others did not let through.
    pub(super) async fn in_the_way(&mut self, failure: Failure) -> Error {
        let other = match self.rows(sql::IN_THE_WAY, None).await {
            Ok(rows) => rows.first().and_then(|row| row.try_get::<String, _>(0).ok()),
            Err(_) => None,
        };
        let other =
            other.map_or_else(String::new, |other| format!("; the oldest transaction is that of {other}"));
        let why = format!(
            "its table was locked by others for longer than lock_timeout, {STEP_TRIES} times; run the migrations again \
             when they are done{other}"
        );
        let error = Error::unavailable(OPERATION, format!("{}: {why}", self.place));
        match failure {
            Failure::Sqlx(source) => error.with_source(source),
            Failure::Core(_) | Failure::Silent | Failure::Cut => error,
        }
    }

    /// A span that grows with each try, and is uneven so that those who collided do not meet again.
    pub(super) fn span(&self, tries: u32, [shortest, longest]: [Duration; 2]) -> Duration {
        let bound = shortest.saturating_mul(1 << tries.min(16)).min(longest);
        bound / 2 + self.jitter.below(bound / 2)
    }

    pub(super) async fn put(&mut self, row: &MigrationRow) -> Outcome<()> {
        let finished = row.finished.map(Timestamp::as_micros);
        let values = params![
            self.generation,
            row.version,
            &*row.name,
            row.checksum,
            row.state.code(),
            row.started.as_micros(),
            finished,
            &*row.binary,
            row.min_reader,
            row.min_writer
        ];
        self.write(sql::PUT_MIGRATION, values).await
    }

    pub(super) async fn put_all(&mut self, version: i64, rows: &[MigrationRow]) -> Outcome<()> {
        self.write(sql::DELETE_MIGRATION, params![self.generation, version]).await?;
        for row in rows {
            self.put(row).await?;
        }
        // Duplicates were possible because the primary key had been lost.
        if !self.holds(sql::HAS_MIGRATION_KEY, None).await? {
            self.say(sql::ADD_MIGRATION_KEY).await?;
        }
        Ok(())
    }

    pub(super) async fn put_step(&mut self, row: &StepRow) -> Outcome<()> {
        let now = self.clock().await?;
        let values = params![self.generation, row.version, &*row.step, row.state.code(), now];
        self.write(sql::PUT_MIGRATION_STEP, values).await
    }

    pub(super) async fn delete_step(&mut self, version: i64, step: &str) -> Outcome<()> {
        self.write(sql::DELETE_MIGRATION_STEP, params![self.generation, version, step]).await
    }

    pub(super) async fn put_note(&mut self, what: &str) -> Outcome<()> {
        self.write(sql::NOTE_MIGRATION_RUN, params![self.generation, what]).await
    }

    /// Ends the run, and with it the lock.
    pub(super) async fn keep(&mut self) -> Outcome<()> {
        self.write(sql::END_MIGRATION_RUN, params![self.generation]).await?;
        self.say(if self.lock == Lock::Session { sql::SESSION_UNLOCK } else { sql::COMMIT }).await
    }

    pub(super) async fn steps(&mut self, version: i64) -> Outcome<Vec<PgRow>> {
        self.rows(sql::MIGRATION_STEPS, Some(params![version])).await
    }

    pub(super) async fn clock(&mut self) -> Outcome<i64> {
        let rows = self.rows(sql::CLOCK, None).await?;
        Ok(rows.first().ok_or(Failure::Sqlx(sqlx::Error::RowNotFound))?.try_get(0)?)
    }

    pub(super) async fn texts(&mut self, sql: &'static str) -> Outcome<Vec<String>> {
        let rows = self.rows(sql, None).await?;
        Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, sqlx::Error>>()?)
    }

    pub(super) async fn read_probe(&mut self, sql: &str) -> Outcome<bool> {
        let rows = self.ask(self.statements.render(sql), None, ANSWER).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let value = row.try_get_raw(0)?;
        if value.is_null() {
            return Ok(false);
        }
        let value = value.as_str().map_err(sqlx::Error::Decode)?;
        Ok(!matches!(value, "f" | "0"))
    }

    /// The history; empty if there is none.
    pub(super) async fn read_history(&mut self) -> Outcome<Vec<PgRow>> {
        match self.holds(sql::HAS_MIGRATION, None).await? {
            true => self.rows(sql::MIGRATIONS, None).await,
            false => Ok(Vec::new()),
        }
    }

    pub(super) async fn read_binaries(&mut self) -> Outcome<Vec<String>> {
        match self.holds(sql::HAS_NODES, None).await? {
            true => self.texts(sql::LIVE_BINARIES).await,
            false => Ok(Vec::new()),
        }
    }
}
