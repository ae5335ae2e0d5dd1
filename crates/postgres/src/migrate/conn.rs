//! The connection that the migration algorithm of core runs on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::migrate::{
    Dialect, Fingerprint, Holder, LockOutcome, LockedEnd, MigrationConn, MigrationRow, MigrationState,
    StepRow,
};
use punctual_core::{Error, Result, Timestamp};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::session::{ANSWER, TABLES};
use super::{Lock, OPERATION, PostgresMigrations};
use crate::sql;
use crate::wait::pause;

/// The shortest and the longest wait before the lock is asked for again.
const LOCK_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// How often the statement of a step is tried if locks stand in its way, and the shortest and the longest wait before
/// the next try. The longest is shorter than a transaction may be idle.
pub(super) const STEP_TRIES: u32 = 5;
const STEP_WAITS: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// How often tables of the engine may turn out to have been made by somebody who does not take the lock.
const COLLISIONS: u32 = 3;

fn read(row: &PgRow) -> Result<MigrationRow> {
    let bad = |error: sqlx::Error| {
        Error::corrupt(OPERATION, "a row of table migration cannot be read").with_source(error)
    };
    let number = |at: usize| row.try_get::<i64, _>(at).map_err(bad);
    let text = |at: usize| row.try_get::<String, _>(at).map(String::into_boxed_str).map_err(bad);
    let finished: Option<i64> = row.try_get(5).map_err(bad)?;
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
impl MigrationConn for PostgresMigrations {
    fn dialect(&self) -> Dialect {
        Dialect { name: "postgres", transactional: true }
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        let rows = self.read_history().await.map_err(|failure| self.failed(failure))?;
        rows.iter().map(read).collect()
    }

    async fn lock(&mut self, who: &Holder, patience: Duration, online: bool) -> Result<LockOutcome> {
        if online {
            self.need_session().await.map_err(|failure| self.failed(failure))?;
        }
        let (mut waited, mut tries, mut collisions) = (Duration::ZERO, 0, 0);
        loop {
            match self.try_lock(who, online).await {
                Ok(true) => return Ok(LockOutcome::Taken),
                Ok(false) => {}
                Err(failure) => {
                    self.abandon().await;
                    let collided = matches!(failure.code(), Some("23505" | "42P06" | "42P07"));
                    collisions += 1;
                    if !collided || collisions > COLLISIONS || (online && self.way_around.is_some()) {
                        return Err(self.failed(failure));
                    }
                }
            }
            if waited >= patience {
                let holder = self.holder().await.map_err(|failure| self.failed(failure))?;
                self.around = None;
                return Ok(LockOutcome::TimedOut(holder));
            }
            let span = self.span(tries, LOCK_WAITS).min(patience.saturating_sub(waited));
            pause(span).await;
            (waited, tries) = (waited.saturating_add(span), tries + 1);
        }
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        self.holds(sql::OWNS_LOCK, None).await.map_err(|failure| self.failed(failure))
    }

    async fn pause(&mut self, span: Duration) -> Result<()> {
        pause(span).await;
        Ok(())
    }

    async fn now(&mut self) -> Result<Timestamp> {
        self.clock().await.map(Timestamp::from_micros).map_err(|failure| self.failed(failure))
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        let text = self.statements.render(sql);
        if self.lock == Lock::Session {
            // Nobody knows how long an index takes; the server tells of a connection that is gone.
            let done = self.ask(text, None, Duration::MAX).await;
            return done.map(drop).map_err(|failure| self.failed(failure));
        }
        let text: Arc<str> = format!("{};\n{text}\n;{}", sql::SAVEPOINT, sql::SAVEPOINT_KEEP).into();
        let mut tries = 1;
        loop {
            let Err(failure) = self.ask(Arc::clone(&text), None, ANSWER).await else { return Ok(()) };
            if failure.code() != Some("55P03") {
                return Err(self.failed(failure));
            }
            // Those who queued behind this statement go on, and then it is tried again.
            self.say(sql::SAVEPOINT_UNDO).await.map_err(|failure| self.failed(failure))?;
            if tries == STEP_TRIES {
                return Err(self.in_the_way(failure).await);
            }
            pause(self.span(tries, STEP_WAITS)).await;
            tries += 1;
        }
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        self.read_probe(sql).await.map_err(|failure| self.failed(failure))
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        self.put(row).await.map_err(|failure| self.failed(failure))
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        let rows = self.steps(version).await.map_err(|failure| self.failed(failure))?;
        let bad = |error: sqlx::Error| {
            Error::corrupt(OPERATION, "a row of table migration_step cannot be read").with_source(error)
        };
        let row = |row: &PgRow| {
            let step: String = row.try_get(0).map_err(bad)?;
            let state = MigrationState::from_code(row.try_get(1).map_err(bad)?)?;
            Ok(StepRow { version, step: step.into(), state })
        };
        rows.iter().map(row).collect()
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        self.put_step(row).await.map_err(|failure| self.failed(failure))
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        self.delete_step(version, step).await.map_err(|failure| self.failed(failure))
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        self.put_all(version, rows).await.map_err(|failure| self.failed(failure))
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        self.put_note(what).await.map_err(|failure| self.failed(failure))
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        let lines = self.texts(sql::SHAPE).await.map_err(|failure| self.failed(failure))?;
        Ok(Fingerprint::of(lines.iter().map(String::as_str)))
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        let binaries = self.read_binaries().await.map_err(|failure| self.failed(failure))?;
        Ok(binaries.into_iter().map(String::into_boxed_str).collect())
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        if self.lock == Lock::None || end == LockedEnd::Rollback {
            self.abandon().await;
            return Ok(());
        }
        match self.keep().await {
            Ok(()) => {
                (self.lock, self.generation, self.around) = (Lock::None, 0, None);
                Ok(())
            }
            Err(failure) => {
                self.abandon().await;
                Err(self.failed(failure))
            }
        }
    }

    fn text(&self, sql: &str) -> String {
        self.statements.render(sql).as_ref().to_owned()
    }

    fn bootstrap(&self) -> Vec<String> {
        let creates = TABLES.map(|(_, create)| create);
        [sql::CREATE_SCHEMA].into_iter().chain(creates).map(|sql| self.text(sql)).collect()
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        let MigrationRow { version, name, checksum, state, binary, min_reader, min_writer, .. } = row;
        let clock = format!("({})", sql::CLOCK);
        let binary = binary.replace('\'', "''");
        // Names of migrations are those of files of this project: letters, digits and underscores.
        self.text(&format!(
            "INSERT INTO {{s}}.migration (version, name, checksum, state, started_us, finished_us, \"binary\", \
             min_reader, min_writer)\nVALUES ({version}, '{name}', {checksum}, {}, {clock}, {clock}, '{binary}', \
             {min_reader}, {min_writer})",
            state.code()
        ))
    }
}
