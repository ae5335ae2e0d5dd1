//! The connection that the migration algorithm of core runs on: one immediate transaction for all that is missing.
//!
//! SQLite's definitions are transactional, so a process that dies half-way leaves nothing. `PRAGMA user_version` is
//! kept as a second witness, for people with a file and no documentation.

use std::borrow::BorrowMut;
use std::cell::Cell;
use std::error::Error as _;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::migrate::{
    self, Dialect, Fingerprint, Holder, LockOutcome, LockedEnd, MigrateMode, Migration, MigrationConn,
    MigrationRow, MigrationState, Progress, Runner, StepRow, parse,
};
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{Error, ErrorKind, Result, Timestamp};
use rusqlite::{Connection, Params, params};

use crate::error::{Failure, classify};
use crate::sql;
use crate::worker::{pause, wait_for_locks};

const OPERATION: &str = "migrate";

/// Does what the mode says. `steps` is how long the connection waits for locks otherwise.
pub(crate) fn prepare(
    connection: &mut Connection,
    path: &Path,
    mode: MigrateMode,
    steps: Duration,
) -> Result<()> {
    if mode == MigrateMode::Off {
        return Ok(());
    }
    let known = parse(punctual_migrations::SQLITE)?;
    let shapes = shapes();
    let runner = Runner::of_this_process(&known, &shapes, env!("CARGO_PKG_VERSION"));
    let mut conn = SqliteMigrations::on(&mut *connection, path.to_owned(), None);
    let done = at_once(migrate::prepare(&mut conn, &runner, mode, &mut |progress| told(path, progress)));
    wait_for_locks(connection, steps).map_err(|error| classify(OPERATION, path, error.into()))?;
    done.map_err(|error| {
        let file = path.display().to_string();
        if error.message().starts_with(&file) {
            return error;
        }
        Error::new(error.kind(), OPERATION, format!("{file}: {}", error.message())).with_source(error)
    })
}

/// The shapes of the schema after each migration.
pub(crate) fn shapes() -> Vec<Fingerprint> {
    punctual_migrations::SQLITE_SHAPES.iter().map(|text| Fingerprint::of(text.lines())).collect()
}

fn told(path: &Path, progress: Progress<'_>) {
    match progress {
        Progress::Waiting { holder } => {
            let holder = Holder::or_unknown(holder);
            tracing::info!(file = %path.display(), holder, "waits for another process that migrates");
        }
        Progress::Applied { migration } => {
            tracing::info!(file = %path.display(), version = migration.version, name = %migration.name, "migrated");
        }
        Progress::Locked | Progress::Step { .. } | Progress::Found { .. } | Progress::HeldBack { .. } => {}
    }
}

/// Runs a future that never waits: all of [`SqliteMigrations`] is done when it returns.
pub(crate) fn at_once<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            Err(Error::internal(OPERATION, "a migration waited where nothing waits; please report it"))
        }
    }
}

/// A file as the migration engine sees it; made by [`crate::SqliteBuilder::migrations`].
///
/// It blocks the thread that it is used on, for SQLite does.
#[derive(Debug)]
pub struct SqliteMigrations<C = Connection> {
    connection: C,
    path: PathBuf,
    /// That of the run in progress; 0 if there is none.
    generation: i64,
    hook: Option<Arc<dyn StatementHook>>,
    /// How many statements were run.
    index: Cell<u32>,
    /// Whether the hook has cut the connection off.
    is_cut: Cell<bool>,
}

impl SqliteMigrations<Connection> {
    /// The migrations of this binary.
    ///
    /// # Errors
    /// `Internal` if one of them cannot be parsed.
    pub fn known() -> Result<Vec<Migration>> {
        parse(punctual_migrations::SQLITE)
    }

    /// The shape of the schema after each of them.
    pub fn shapes() -> Vec<Fingerprint> {
        shapes()
    }
}

impl<C: BorrowMut<Connection> + Send> SqliteMigrations<C> {
    pub(crate) const fn on(connection: C, path: PathBuf, hook: Option<Arc<dyn StatementHook>>) -> Self {
        Self { connection, path, generation: 0, hook, index: Cell::new(0), is_cut: Cell::new(false) }
    }

    /// Runs a statement, and tells whoever watches.
    fn tried<T>(&self, sql: &str, body: impl FnOnce(&Connection, &str) -> rusqlite::Result<T>) -> Result<T> {
        self.tell(sql, Side::Before)?;
        let answer = body(self.connection.borrow(), sql);
        let answer = answer.map_err(|error| classify(OPERATION, &self.path, Failure::from(error)))?;
        self.tell(sql, Side::After)?;
        Ok(answer)
    }

    fn tell(&self, statement: &str, side: Side) -> Result<()> {
        let Some(hook) = &self.hook else { return Ok(()) };
        let point = StatementPoint { step: OPERATION, statement, index: self.index.get(), side };
        if side == Side::After {
            self.index.set(self.index.get().wrapping_add(1));
        }
        if !self.is_cut.get() && hook.at(&point) == HookAnswer::Continue {
            return Ok(());
        }
        self.is_cut.set(true);
        // The file is left as it would be without this connection.
        let connection: &Connection = self.connection.borrow();
        if !connection.is_autocommit() {
            let _a_failed_one_leaves_nothing_either = connection.execute_batch(sql::ROLLBACK);
        }
        Err(Error::unavailable(OPERATION, format!("{}: the connection was cut", self.path.display())))
    }

    fn write(&self, sql: &str, params: impl Params) -> Result<usize> {
        self.tried(sql, |connection, sql| connection.execute(sql, params))
    }

    fn holds(&self, sql: &str) -> Result<bool> {
        self.tried(sql, |connection, sql| connection.query_row(sql, [], |row| row.get(0)))
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>> {
        self.tried(sql, |connection, sql| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?;
            rows.collect()
        })
    }

    fn clock(&self) -> Result<i64> {
        self.tried(sql::CLOCK, |connection, sql| connection.query_row(sql, [], |row| row.get(0)))
    }
}

#[async_trait]
impl<C: BorrowMut<Connection> + Send> MigrationConn for SqliteMigrations<C> {
    fn dialect(&self) -> Dialect {
        Dialect { name: "sqlite", transactional: true }
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        if !self.holds(sql::HAS_MIGRATION)? {
            return Ok(Vec::new());
        }
        let rows: Vec<Result<MigrationRow>> = self.tried(sql::MIGRATIONS, |connection, sql| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok(read_row(row)))?;
            rows.collect()
        })?;
        rows.into_iter().collect()
    }

    async fn lock(&mut self, who: &Holder, patience: Duration, _online: bool) -> Result<LockOutcome> {
        self.tell(sql::BEGIN_WRITE, Side::Before)?;
        let connection: &mut Connection = self.connection.borrow_mut();
        let begun =
            wait_for_locks(connection, patience).and_then(|()| connection.execute_batch(sql::BEGIN_WRITE));
        if let Err(error) = begun {
            let busy = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy);
            let error = classify(OPERATION, &self.path, error.into());
            return if busy { Ok(LockOutcome::TimedOut(None)) } else { Err(error) };
        }
        self.tell(sql::BEGIN_WRITE, Side::After)?;
        for create in [sql::CREATE_MIGRATION, sql::CREATE_MIGRATION_STEP, sql::CREATE_MIGRATION_RUN] {
            self.write(create, [])?;
        }
        let now = self.clock()?;
        self.generation = self.tried(sql::BEGIN_MIGRATION_RUN, |connection, sql| {
            connection.query_row(sql, params![who.who, now], |row| row.get(0))
        })?;
        Ok(LockOutcome::Taken)
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        let connection: &Connection = self.connection.borrow();
        Ok(!connection.is_autocommit())
    }

    async fn pause(&mut self, span: Duration) -> Result<()> {
        pause(span);
        Ok(())
    }

    async fn now(&mut self) -> Result<Timestamp> {
        self.clock().map(Timestamp::from_micros)
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        let done = self.tried(sql, |connection, sql| connection.prepare(sql)?.execute([]).map(drop));
        done.map_err(|error| {
            // SQLite has no code of its own for this.
            let says = error.source().map(ToString::to_string).unwrap_or_default();
            match says.split_once(" already exists") {
                Some((what, _)) => {
                    let why =
                        format!("{}: {what} is there already, and not by this run", self.path.display());
                    Error::new(ErrorKind::AlreadyExists, OPERATION, why).with_source(error)
                }
                None => error,
            }
        })
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        self.holds(sql)
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        self.put(row)?;
        self.tried("PRAGMA user_version", |connection, _| {
            connection.pragma_update(None, "user_version", row.version)
        })
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        let rows: Vec<(String, i64)> = self.tried(sql::MIGRATION_STEPS, |connection, sql| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([version], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })?;
        let row = |(step, state): (String, i64)| {
            Ok(StepRow { version, step: step.into(), state: MigrationState::from_code(state)? })
        };
        rows.into_iter().map(row).collect()
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        let now = self.clock()?;
        self.write(sql::PUT_MIGRATION_STEP, params![row.version, row.step, row.state.code(), now]).map(drop)
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        self.write(sql::DELETE_MIGRATION_STEP, params![version, step]).map(drop)
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        self.write(sql::DELETE_MIGRATION, [version])?;
        rows.iter().try_for_each(|row| self.put(row))?;
        // Duplicates were possible because the primary key had been lost.
        if !self.holds(sql::HAS_MIGRATION_KEY)? {
            let rows = self.history().await?;
            self.write(sql::DROP_MIGRATION, [])?;
            self.write(sql::CREATE_MIGRATION, [])?;
            rows.iter().try_for_each(|row| self.put(row))?;
        }
        Ok(())
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        self.write(sql::NOTE_MIGRATION_RUN, params![self.generation, what]).map(drop)
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        let mut lines = self.texts(sql::SHAPE)?;
        let texts = self.texts(sql::SHAPE_TEXTS)?;
        // How a text is broken into lines says nothing about what it makes.
        lines.extend(texts.iter().map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")));
        Ok(Fingerprint::of(lines.iter().map(String::as_str)))
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        if !self.holds(sql::HAS_NODES)? {
            return Ok(Vec::new());
        }
        Ok(self.texts(sql::LIVE_BINARIES)?.into_iter().map(String::into_boxed_str).collect())
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        let connection: &Connection = self.connection.borrow();
        if connection.is_autocommit() {
            return Ok(());
        }
        match end {
            LockedEnd::Commit => {
                let now = self.clock()?;
                self.write(sql::END_MIGRATION_RUN, params![self.generation, now])?;
                self.tried(sql::COMMIT, |connection, sql| connection.execute_batch(sql))
            }
            LockedEnd::Rollback => self.tried(sql::ROLLBACK, |connection, sql| connection.execute_batch(sql)),
        }
    }

    fn bootstrap(&self) -> Vec<String> {
        [sql::CREATE_MIGRATION, sql::CREATE_MIGRATION_STEP, sql::CREATE_MIGRATION_RUN]
            .map(str::to_owned)
            .to_vec()
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        let MigrationRow { version, name, checksum, state, binary, min_reader, min_writer, .. } = row;
        let clock = format!("({})", sql::CLOCK);
        let binary = binary.replace('\'', "''");
        // Names of migrations are those of files of this project: letters, digits and underscores.
        format!(
            "INSERT INTO migration (version, name, checksum, state, started_us, finished_us, binary, min_reader, \
             min_writer)\nVALUES ({version}, '{name}', {checksum}, {}, {clock}, {clock}, '{binary}', {min_reader}, \
             {min_writer});\nPRAGMA user_version = {version}",
            state.code()
        )
    }
}

impl<C: BorrowMut<Connection> + Send> SqliteMigrations<C> {
    /// The update stands alone, because a history that was damaged may have no key to conflict with.
    fn put(&self, row: &MigrationRow) -> Result<()> {
        let MigrationRow { version, name, checksum, state, started, finished, binary, .. } = row;
        let finished = finished.map(Timestamp::as_micros);
        let (state, started) = (state.code(), started.as_micros());
        if self.write(sql::CHANGE_MIGRATION, params![version, state, finished])? > 0 {
            return Ok(());
        }
        let MigrationRow { min_reader, min_writer, .. } = row;
        let values =
            params![version, name, checksum, state, started, finished, binary, min_reader, min_writer];
        self.write(sql::PUT_MIGRATION, values).map(drop)
    }
}

fn read_row(row: &rusqlite::Row<'_>) -> Result<MigrationRow> {
    let bad = |error| Error::corrupt(OPERATION, "a row of table migration cannot be read").with_source(error);
    let text = |at| row.get::<_, String>(at).map(String::into_boxed_str).map_err(bad);
    let number = |at| row.get::<_, i64>(at).map_err(bad);
    let finished: Option<i64> = row.get(5).map_err(bad)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The shape of the schema after each migration is the one that is kept beside it. With UPDATE_SHAPES=1 in the
    /// environment, the test writes what it finds.
    #[test]
    fn the_shapes_beside_the_migrations_are_true() {
        let folder = tempfile::tempdir().unwrap();
        let known = parse(punctual_migrations::SQLITE).unwrap();
        for (count, (file, _)) in (1..).zip(punctual_migrations::SQLITE) {
            let path = folder.path().join(format!("{count}.db"));
            let connection = Connection::open(&path).unwrap();
            let mut conn = SqliteMigrations::on(connection, path, None);
            let runner = Runner::of_this_process(&known[..count], &[], "0.1.0");
            let migrated =
                at_once(migrate::migrate(&mut conn, &runner, &mut |_| {})).unwrap().ready().unwrap();
            assert_eq!(usize::try_from(migrated.version).unwrap(), count);
            let found = at_once(conn.fingerprint()).unwrap();
            let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
            let beside = beside.join(file.replace(".sql", ".schema"));
            if std::env::var_os("UPDATE_SHAPES").is_some() {
                let text: String = found.lines().map(|line| format!("{line}\n")).collect();
                std::fs::write(&beside, text).unwrap();
            } else {
                assert_eq!(shapes()[count - 1], found, "{}", beside.display());
            }
        }
    }
}
