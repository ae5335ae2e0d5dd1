//! One step: a closure between the beginning and the end of one transaction, with the time that it sees.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{Clock, Error, Result, Timestamp};
use rusqlite::{Connection, Params, Row};

use crate::error::{Failure, classify};
use crate::rows::{FromColumns, Read};
use crate::sql;

/// What a step made available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    /// Nothing.
    Nothing,
    /// Something that this process should look at: another time to wake at.
    Here,
    /// Something that any process may take now.
    Everywhere,
}

/// A transaction in progress.
pub(crate) struct Step<'c> {
    connection: &'c Connection,
    given_now: Option<Timestamp>,
    now: Timestamp,
    epoch: i64,
    news: Cell<News>,
    watch: Option<Watch>,
}

/// Somebody who is told of each statement of a step.
pub(crate) struct Watch {
    hook: Arc<dyn StatementHook>,
    step: &'static str,
    index: Cell<u32>,
}

impl Watch {
    pub(crate) const fn new(hook: Arc<dyn StatementHook>, step: &'static str) -> Self {
        Self { hook, step, index: Cell::new(0) }
    }

    /// A cut connection is a step that failed: what it had written is rolled back as the file would be without it.
    fn at(&self, statement: &str, side: Side) -> Outcome<()> {
        let point = StatementPoint { step: self.step, statement, index: self.index.get(), side };
        if side == Side::After {
            self.index.set(self.index.get() + 1);
        }
        match self.hook.at(&point) {
            HookAnswer::Continue => Ok(()),
            HookAnswer::Cut => Err(Error::unavailable(self.step, "the connection was cut").into()),
        }
    }
}

type Outcome<T> = std::result::Result<T, Failure>;

impl<'c> Step<'c> {
    pub(crate) const fn new(connection: &'c Connection, watch: Option<Watch>) -> Self {
        let (given_now, now, news) = (None, Timestamp::EPOCH, Cell::new(News::Nothing));
        Self { connection, given_now, now, epoch: 0, news, watch }
    }

    /// Reads the clock and the epoch.
    pub(crate) fn look_around(&mut self, clock: &StoreClock) -> Outcome<()> {
        let read = self.first(sql::NOW, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (machine, epoch) =
            read.ok_or_else(|| Error::corrupt("begin", "table meta has no row `epoch`"))?;
        self.epoch = epoch;
        self.given_now = clock.given_now();
        self.now = self.time(machine);
        Ok(())
    }

    /// What time it is, when SQLite's clock shows `machine`.
    pub(crate) fn time(&self, machine: i64) -> Timestamp {
        self.given_now.unwrap_or_else(|| Timestamp::from_micros(machine))
    }

    /// The time by the clock that was handed in, if one was, for a statement that reads SQLite's itself.
    pub(crate) const fn given_now(&self) -> Option<Timestamp> {
        self.given_now
    }

    /// The store's clock, read when this step held its lock or snapshot already. Not for a step that has none.
    pub(crate) const fn now(&self) -> Timestamp {
        self.now
    }

    /// The epoch of the store.
    pub(crate) fn epoch(&self) -> u32 {
        u32::try_from(self.epoch).unwrap_or(u32::MAX)
    }

    /// Says that something became available.
    pub(crate) fn tell(&self, news: News) {
        self.news.set(self.news.get().max(news));
    }

    /// What it has said so far.
    pub(crate) const fn news(&self) -> News {
        self.news.get()
    }

    /// Tells whoever watches of a statement, before and after.
    fn watched<T>(&self, sql: &str, statement: impl FnOnce(&str) -> Outcome<T>) -> Outcome<T> {
        let Some(watch) = &self.watch else { return statement(sql) };
        watch.at(sql, Side::Before)?;
        let answer = statement(watch.hook.instead_of(sql).as_deref().unwrap_or(sql))?;
        watch.at(sql, Side::After)?;
        Ok(answer)
    }

    /// Runs a statement that returns no rows, and answers how many it wrote.
    pub(crate) fn run(&self, sql: &'static str, params: impl Params) -> Outcome<usize> {
        self.watched(sql, |sql| Ok(self.connection.prepare_cached(sql)?.execute(params)?))
    }

    /// The first row of a statement.
    pub(crate) fn first<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Outcome<Option<T>> {
        self.watched(sql, |sql| {
            let mut statement = self.connection.prepare_cached(sql)?;
            let only_reads = statement.readonly();
            let mut rows = statement.query(params)?;
            let found = rows.next()?.map(read).transpose()?;
            // What writes and is a transaction by itself is committed when it has come to its end, after its rows; and
            // only who goes there is told if it cannot be.
            while !only_reads && rows.next()?.is_some() {}
            Ok(found)
        })
    }

    /// The first column of the first row, if there is one and it is not null.
    pub(crate) fn number(&self, sql: &'static str, params: impl Params) -> Outcome<Option<i64>> {
        Ok(self.first(sql, params, |row| row.get(0))?.flatten())
    }

    /// The answer of a statement that asks whether something is so.
    pub(crate) fn holds(&self, sql: &'static str, params: impl Params) -> Outcome<bool> {
        Ok(self.number(sql, params)?.is_some_and(|answer| answer != 0))
    }

    /// All rows of a statement.
    pub(crate) fn all<T>(
        &self,
        sql: &'static str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Outcome<Vec<T>> {
        self.watched(sql, |sql| {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params, read)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// All rows of a statement as flat rows.
    pub(crate) fn rows<T: FromColumns>(
        &self,
        sql: &'static str,
        params: impl Params,
    ) -> Outcome<Vec<Read<T>>> {
        self.all(sql, params, T::from_row)
    }

    /// Runs a part of the step that is undone by itself if it fails.
    pub(crate) fn part<T>(&self, body: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
        self.run(sql::SAVEPOINT, [])?;
        let outcome = body();
        if outcome.is_err() {
            self.run(sql::SAVEPOINT_UNDO, [])?;
        }
        self.run(sql::SAVEPOINT_KEEP, [])?;
        outcome
    }
}

/// What all steps of a store have in common.
pub(crate) struct Setting {
    pub(crate) clock: StoreClock,
    pub(crate) hook: Option<Arc<dyn StatementHook>>,
}

/// Which clock the store goes by.
#[derive(Clone, Debug)]
pub(crate) enum StoreClock {
    /// SQLite's, which is the machine's.
    Machine,
    /// One that was handed in.
    Given(Arc<dyn Clock>),
}

impl StoreClock {
    fn given_now(&self) -> Option<Timestamp> {
        match self {
            Self::Machine => None,
            Self::Given(clock) => Some(clock.wall()),
        }
    }
}

/// How the statements of a step belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It takes the write lock first.
    Write,
    /// It reads one snapshot.
    Read,
    /// Each of them is a transaction of its own, and reads the clock itself.
    Apart,
}

/// Runs a step that reads, or whose statements stand alone. Whatever goes wrong, no transaction stays open.
pub(crate) fn transact<T>(
    connection: &Connection,
    path: &Path,
    Setting { clock, hook }: &Setting,
    (operation, mode): (&'static str, Mode),
    body: impl FnOnce(&Step<'_>) -> Outcome<T>,
) -> Result<T> {
    let guard = Rollback(connection);
    let watch = hook.as_ref().map(|hook| Watch::new(Arc::clone(hook), operation));
    let outcome = begin(connection, clock, mode, watch).and_then(|step| {
        let answer = body(&step)?;
        if mode != Mode::Apart {
            step.run(sql::COMMIT, [])?;
        }
        Ok(answer)
    });
    drop(guard);
    outcome.map_err(|failure| classify(operation, path, failure))
}

/// Runs a step inside a transaction that somebody else began and will end. What it fails to write is undone by itself.
pub(crate) fn join<T>(
    connection: &Connection,
    path: &Path,
    clock: &StoreClock,
    operation: &'static str,
    body: impl FnOnce(&Step<'_>) -> Outcome<T>,
) -> Result<T> {
    let mut step = Step::new(connection, None);
    let outcome = step.look_around(clock).and_then(|()| {
        step.part(|| {
            let answer = body(&step)?;
            if step.news.get() == News::Everywhere {
                step.number(sql::RAISE_WAKE, [])?;
            }
            Ok(answer)
        })
    });
    outcome.map_err(|failure| classify(operation, path, failure))
}

pub(crate) fn begin<'c>(
    connection: &'c Connection,
    clock: &StoreClock,
    mode: Mode,
    watch: Option<Watch>,
) -> Outcome<Step<'c>> {
    let mut step = Step::new(connection, watch);
    let begin = match mode {
        Mode::Write => sql::BEGIN_WRITE,
        Mode::Read => sql::BEGIN_READ,
        Mode::Apart => {
            step.given_now = clock.given_now();
            return Ok(step);
        }
    };
    step.run(begin, [])?;
    step.look_around(clock)?;
    Ok(step)
}

/// Rolls back what was not committed, also when a step panics.
pub(crate) struct Rollback<'c>(pub(crate) &'c Connection);

impl Drop for Rollback<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit() {
            let rolled_back =
                self.0.prepare_cached(sql::ROLLBACK).and_then(|mut statement| statement.execute([]));
            if let Err(error) = rolled_back {
                tracing::error!(%error, "a transaction could not be rolled back");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of which one refuses a row when the transaction is committed, and not before.
    fn with_a_late_check() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "PRAGMA foreign_keys = ON;
                 CREATE TABLE parent(id INTEGER PRIMARY KEY);
                 CREATE TABLE child(parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);",
            )
            .unwrap();
        connection
    }

    #[test]
    fn a_statement_by_itself_that_cannot_be_committed_fails() {
        const LATE: &str = "INSERT INTO child(parent) VALUES (7) RETURNING parent";
        let connection = with_a_late_check();
        let setting = Setting { clock: StoreClock::Machine, hook: None };
        let answer = transact(&connection, Path::new("here"), &setting, ("check_in", Mode::Apart), |step| {
            step.number(LATE, [])
        });
        assert!(answer.is_err(), "it answers {answer:?}, and nothing was committed");
        assert_eq!(connection.query_row("SELECT COUNT(*) FROM child", [], |row| row.get(0)), Ok(0));
    }
}
