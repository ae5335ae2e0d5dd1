//! The connection that the migration algorithm of core runs on.
//!
//! Definitions commit by themselves here, so a run that ends half-way leaves some of its steps behind; the journal and
//! the probes of the steps tell the next run where to go on. `GET_LOCK` keeps two runs apart. It belongs to the session,
//! so the connection that has it runs the steps, and is never replaced within a run: a session does not end before its
//! statement does, so the lock covers each statement even if the client is gone. Should a proxy share sessions all the
//! same, each write compares the generation of its run.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::migrate::{
    Dialect, Fingerprint, Holder, LockOutcome, LockedEnd, Migration, MigrationConn, MigrationRow,
    MigrationState, PATIENCE, StepRow, parse,
};
use punctual_core::protocol::define::stable_hash;
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Error, ErrorKind, Result, Timestamp};

use super::{OPERATION, shape};
use crate::error::{Failure, Remedy, classify};
use crate::open::{Connections, Flavor, Held};
use crate::query::{Sql, Value, values};
use crate::rows::Columns;
use crate::sql;
use crate::step::{Manner, Setting, Step, StoreClock};

/// How long a statement waits at most for those who use its table. Whoever comes after it to the same table waits
/// behind it, so it steps back again and again.
const MOST_TABLE_WAIT: Duration = Duration::from_secs(5);

/// For how long it steps back, about.
const STEP_BACK: Duration = Duration::from_millis(500);

/// A database as the migration engine sees it, through one connection; made by [`crate::MysqlBuilder::migrations`].
///
/// # Cancel safety
/// A call that is dropped before it has answered closes the connection: later ones answer `Unavailable`. The lock ends
/// with it, as soon as the server has finished the statement.
#[derive(Debug)]
pub struct MysqlMigrations {
    /// Nothing if it was lost. It is never replaced.
    held: Option<Held>,
    /// A call is in progress, or was dropped.
    busy: bool,
    setting: Setting,
    flavor: Flavor,
    database: String,
    /// Of the lock.
    name: String,
    /// That of the run in progress; 0 if there is none.
    generation: i64,
    /// How long the run in progress waits for others.
    patience: Duration,
    /// Whether the session was set to what a run needs.
    was_locked: bool,
}

impl MysqlMigrations {
    /// The migrations of this binary.
    ///
    /// # Errors
    /// `Internal` if one of them cannot be parsed.
    pub fn known() -> Result<Vec<Migration>> {
        parse(punctual_migrations::MYSQL)
    }

    /// The shape of the schema after each of them.
    pub fn shapes() -> Vec<Fingerprint> {
        punctual_migrations::MYSQL_SHAPES.iter().map(|text| Fingerprint::of(text.lines())).collect()
    }

    /// On a connection of its own.
    pub(crate) async fn on(connections: &Connections, hook: Option<Arc<dyn StatementHook>>) -> Result<Self> {
        let server = &connections.server;
        let database = server.database.clone();
        let held = connections.get().await;
        let held = held.map_err(|failure| classify(OPERATION, &database, failure))?;
        Ok(Self {
            held: Some(held),
            busy: false,
            setting: Setting { clock: StoreClock::Server, claims: ClaimShape::SkipLocked, hook },
            flavor: server.flavor,
            // The names of locks are the server's, not the database's, and have 64 characters at most.
            name: format!("punctual:{:016x}", stable_hash(database.as_bytes())),
            database,
            generation: 0,
            patience: PATIENCE,
            was_locked: false,
        })
    }

    /// Gives the connection back to its pool, if it is as it came; else it is closed.
    pub(super) fn give_back(mut self) {
        if let Some(held) = self.held.take()
            && !self.was_locked
            && !self.busy
        {
            held.clean();
        }
    }

    fn step(&mut self) -> Result<Step<'_>, Failure> {
        if self.busy {
            self.held = None;
        }
        let Some(held) = &mut self.held else {
            let why = format!("{}: the connection of this run was lost; start it again", self.database);
            return Err(Error::unavailable(OPERATION, why).into());
        };
        self.busy = true;
        Ok(Step::on(held.connection()?, &self.setting, OPERATION, Manner::AtOnce))
    }

    /// Ends what [`Self::step`] began. A connection that nobody knows the state of is closed, and its lock ends.
    fn ended<T>(&mut self, answer: Result<T, Failure>) -> Result<T, Failure> {
        self.busy = false;
        if answer.as_ref().is_err_and(|failure| failure.remedy() == Remedy::Discard) {
            self.held = None;
        }
        answer
    }

    fn failed(&self, failure: Failure) -> Error {
        classify(OPERATION, &self.database, failure)
    }

    async fn try_execute(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
    ) -> Result<usize, Failure> {
        let answer = self.step()?.run(sql, values).await;
        self.ended(answer)
    }

    async fn execute(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Result<usize> {
        let written = self.try_execute(sql, values).await;
        written.map_err(|failure| self.failed(failure))
    }

    async fn all<T: Send>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: Vec<Value>,
        read: impl Fn(&Columns) -> T + Send,
    ) -> Result<Vec<T>> {
        let answer = match self.step() {
            Ok(mut step) => step.all(sql, values, read).await,
            Err(failure) => return Err(self.failed(failure)),
        };
        self.ended(answer).map_err(|failure| self.failed(failure))
    }

    async fn number(&mut self, sql: impl Into<Sql> + Send, values: Vec<Value>) -> Result<Option<i64>> {
        let found = self.all(sql, values, Columns::int_or_null).await?;
        Ok(found.into_iter().next().flatten())
    }

    async fn has_table(&mut self, name: &str) -> Result<bool> {
        Ok(self.number(sql::HAS_TABLE, values![name]).await?.unwrap_or(0) != 0)
    }

    /// A write that compares the generation. A row that was as it is to be counts as none on some connections.
    async fn write(&mut self, sql: &'static str, values: Vec<Value>) -> Result<()> {
        if self.execute(sql, values).await? > 0 || self.is_newest_run().await? {
            return Ok(());
        }
        Err(self.fenced())
    }

    async fn is_newest_run(&mut self) -> Result<bool> {
        let highest = self.number(sql::HIGHEST_GENERATION, values![]).await?;
        Ok(self.generation != 0 && highest == Some(self.generation))
    }

    fn fenced(&self) -> Error {
        let why = format!(
            "{}: another run of the migrations has begun since; this one writes nothing more",
            self.database
        );
        Error::new(ErrorKind::Fenced, OPERATION, why)
    }

    /// Takes the lock, if nobody else keeps it for longer than the patience. Waits a second at a time, so that the
    /// server notices soon if this client is gone.
    async fn take(&mut self, patience: Duration) -> Result<bool> {
        for round in 0..=patience.as_secs() {
            let seconds = i64::from(round > 0);
            match self.number(sql::GET_LOCK, values![self.name.clone(), seconds]).await? {
                Some(1) => return Ok(true),
                Some(_) => {}
                None => {
                    let why = "the server gave up waiting for the lock of the migrations; start again";
                    return Err(Error::unavailable(OPERATION, format!("{}: {why}", self.database)));
                }
            }
        }
        Ok(false)
    }

    /// How long a statement waits for those who use its table.
    fn table_wait(&self) -> Duration {
        (self.patience / 4).clamp(Duration::from_secs(1), MOST_TABLE_WAIT)
    }

    async fn begin(&mut self, who: &Holder) -> Result<()> {
        self.was_locked = true;
        let seconds = self.table_wait().as_secs();
        self.execute(Sql::once(format!("SET SESSION lock_wait_timeout = {seconds}")), values![]).await?;
        if self.flavor == Flavor::MariaDb {
            self.execute(sql::WITHOUT_LIMIT_ON_MARIADB, values![]).await?;
        }
        for create in self.bootstrap() {
            self.execute(Sql::once(create), values![]).await?;
        }
        let generation =
            self.number(sql::HIGHEST_GENERATION, values![]).await?.unwrap_or(0).saturating_add(1);
        let now = self.now().await?.as_micros();
        self.execute(sql::BEGIN_MIGRATION_RUN, values![generation, &*who.who, now]).await?;
        self.generation = generation;
        Ok(())
    }

    /// Who has the lock, as far as can be seen.
    async fn holder(&mut self) -> Result<Option<Holder>> {
        let session =
            self.all(sql::SESSION_OF_LOCK, values![self.name.clone()], Columns::text_or_null).await?;
        let run = if self.has_table("punctual_migration_run").await? {
            let read = |c: &Columns| (c.text_or_null(), c.int_or_null(), c.text_or_null());
            self.all(sql::LAST_MIGRATION_RUN, values![], read).await?.into_iter().next()
        } else {
            None
        };
        let (who, since, step) = run.unwrap_or_default();
        let session = session.into_iter().next().flatten();
        let who = match (who, session) {
            (Some(who), Some(session)) => format!("{who} ({session})"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Ok(None),
        };
        let since = since.map(Timestamp::from_micros);
        Ok(Some(Holder { who: who.into(), since, step: step.map(Into::into) }))
    }

    async fn put(&mut self, row: &MigrationRow) -> Result<()> {
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
            self.generation,
            state,
            finished
        ];
        self.write(sql::PUT_MIGRATION, values).await
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
impl MigrationConn for MysqlMigrations {
    fn dialect(&self) -> Dialect {
        Dialect { name: "mysql", transactional: false }
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        if !self.has_table("punctual_migration").await? {
            return Ok(Vec::new());
        }
        self.all(sql::MIGRATIONS, values![], row_of).await?.into_iter().collect()
    }

    async fn lock(&mut self, who: &Holder, patience: Duration, _online: bool) -> Result<LockOutcome> {
        self.patience = patience;
        if !self.take(patience).await? {
            // Only for people: that it cannot be told is no reason to fail otherwise.
            return Ok(LockOutcome::TimedOut(self.holder().await.unwrap_or(None)));
        }
        match self.begin(who).await {
            Ok(()) => Ok(LockOutcome::Taken),
            Err(error) => {
                drop(self.execute(sql::RELEASE_NAMED_LOCK, values![self.name.clone()]).await);
                Err(error)
            }
        }
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        let owns = self.number(sql::HAS_LOCK, values![self.name.clone()]).await?;
        Ok(owns == Some(1))
    }

    /// In the server, which has a timer.
    async fn pause(&mut self, span: Duration) -> Result<()> {
        let span = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        self.execute(sql::PAUSE, values![span]).await.map(drop)
    }

    async fn now(&mut self) -> Result<Timestamp> {
        let now = self.number(sql::NOW, values![]).await?;
        let now = now.ok_or_else(|| Error::internal(OPERATION, "the server's clock says nothing"))?;
        Ok(Timestamp::from_micros(now))
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        let mut waited = Duration::ZERO;
        loop {
            let Err(failure) = self.try_execute(Sql::once(sql.to_owned()), values![]).await else {
                return Ok(());
            };
            if !matches!(failure.remedy(), Remedy::Again | Remedy::OnceMore) {
                return Err(self.failed(failure));
            }
            if waited >= self.patience {
                let why = format!(
                    "{}: others kept the tables of this statement in use (metadata lock) for {} s; look for long \
                     transactions in SHOW FULL PROCESSLIST, end them, and run the migrations again",
                    self.database,
                    waited.as_secs()
                );
                return Err(Error::unavailable(OPERATION, why).with_source(self.failed(failure)));
            }
            self.pause(STEP_BACK).await?;
            waited += self.table_wait() + STEP_BACK;
        }
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        Ok(self.number(Sql::once(sql.to_owned()), values![]).await?.is_some_and(|found| found != 0))
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        self.put(row).await
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        let rows = self.all(sql::MIGRATION_STEPS, values![version], |c| (c.text(), c.int())).await?;
        let row = |(step, state): (String, i64)| {
            Ok(StepRow { version, step: step.into(), state: MigrationState::from_code(state)? })
        };
        rows.into_iter().map(row).collect()
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        let StepRow { version, step, state } = row;
        if !state.is_complete() {
            self.write(sql::STEP_OF_MIGRATION_RUN, values![&**step, self.generation]).await?;
        }
        let (state, now) = (state.code(), self.now().await?.as_micros());
        let values = values![*version, &**step, state, now, self.generation, state, now];
        self.write(sql::PUT_MIGRATION_STEP, values).await
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        self.write(sql::DELETE_MIGRATION_STEP, values![version, step, self.generation]).await
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        self.write(sql::DELETE_MIGRATION, values![version, self.generation]).await?;
        for row in rows {
            self.put(row).await?;
        }
        // Duplicates were possible because the primary key had been lost. Without it they would come again, for writes
        // rest on it.
        if self.number(sql::LACKS_MIGRATION_KEY, values![]).await? == Some(1) {
            self.execute(sql::ADD_MIGRATION_KEY, values![]).await?;
        }
        Ok(())
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        self.write(sql::NOTE_MIGRATION_RUN, values![what, self.generation]).await
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        let tables = self.all(sql::SHAPE_OF_TABLES, values![], shape::table).await?;
        let columns = self.all(sql::SHAPE_OF_COLUMNS, values![], shape::Column::of).await?;
        let indexes = self.all(sql::SHAPE_OF_INDEXES, values![], shape::index).await?;
        let keys = self.all(sql::SHAPE_OF_FOREIGN_KEYS, values![], shape::foreign_key).await?;
        Ok(shape::fingerprint(tables, &columns, &indexes, &keys))
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        if !self.has_table("punctual_node").await? {
            return Ok(Vec::new());
        }
        let versions = self.all(sql::LIVE_BINARIES, values![], Columns::text).await?;
        Ok(versions.into_iter().map(String::into_boxed_str).collect())
    }

    async fn unlock(&mut self, _: LockedEnd) -> Result<()> {
        // What was defined stays defined either way; history and journal say how far it came.
        let generation = std::mem::take(&mut self.generation);
        if self.held.is_none() || generation == 0 {
            // The lock ended with the connection.
            return Ok(());
        }
        let ended = match self.now().await {
            Ok(now) => self.execute(sql::END_MIGRATION_RUN, values![now.as_micros(), generation]).await,
            Err(error) => Err(error),
        };
        self.execute(sql::RELEASE_NAMED_LOCK, values![self.name.clone()]).await?;
        ended.map(drop)
    }

    fn bootstrap(&self) -> Vec<String> {
        let tables = [sql::CREATE_MIGRATION, sql::CREATE_MIGRATION_STEP, sql::CREATE_MIGRATION_RUN];
        tables.map(str::to_owned).to_vec()
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        let MigrationRow { version, name, checksum, state, binary, min_reader, min_writer, .. } = row;
        let clock = sql::NOW.trim_start_matches("SELECT ");
        let binary = binary.replace('\\', "\\\\").replace('\'', "''");
        // Names of migrations are those of files of this project: letters, digits and underscores.
        format!(
            "INSERT INTO punctual_migration (version, name, checksum, state, started_us, finished_us, `binary`, \
             min_reader, min_writer)\nVALUES ({version}, '{name}', {checksum}, {}, {clock}, {clock}, '{binary}', \
             {min_reader}, {min_writer})",
            state.code()
        )
    }
}
