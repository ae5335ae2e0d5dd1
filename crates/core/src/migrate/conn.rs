//! What the algorithm needs of a database.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::fingerprint::Fingerprint;
use super::history::{MigrationRow, MigrationState};
use crate::error::Result;
use crate::time::Timestamp;

/// What a kind of database can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// `postgres`, `mysql`, `sqlite`, ….
    pub name: &'static str,
    /// Whether definitions can be rolled back, so that all that is missing is one transaction.
    pub transactional: bool,
}

/// Who migrates, for people: it never decides anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Host and process, as far as they are known.
    pub who: Box<str>,
    /// Since when, on the database's clock.
    pub since: Option<Timestamp>,
    /// The step that it is at.
    pub step: Option<Box<str>>,
}

impl Holder {
    /// A holder in words, also where the database does not say who it is.
    pub fn or_unknown(holder: Option<&Self>) -> String {
        holder.map_or_else(|| "another process".to_owned(), ToString::to_string)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)?;
        if let Some(since) = self.since {
            write!(f, " since {since}")?;
        }
        if let Some(step) = &self.step {
            write!(f, ", at step {step}")?;
        }
        Ok(())
    }
}

/// What came of waiting for the lock.
#[must_use = "without the lock nothing may be done"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockOutcome {
    /// It is held.
    Taken,
    /// Somebody else kept it for longer than the patience.
    TimedOut(Option<Holder>),
}

/// How a locked run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockedEnd {
    /// Everything is kept.
    Commit,
    /// Nothing is kept, as far as the database can take it back.
    Rollback,
}

/// An entry of the journal of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// The migration.
    pub version: i64,
    /// The step's name.
    pub step: Box<str>,
    /// `Started` before the statement, `Done` after it.
    pub state: MigrationState,
}

/// A connection that migrations run on.
///
/// # Contract
/// * Between [`lock`](Self::lock) and [`unlock`](Self::unlock) no other connection of any process is locked on the same
///   database (schema, file). The lock belongs to the connection or to a transaction of it: it ends when the connection
///   does, and what the database can take back is then taken back. Nothing that is stored grants it.
/// * `lock` makes the tables of the engine (history, journal, runs) if they are not there, and raises the generation of
///   the run. Every later write of the engine through this connection compares that generation, and answers `Fenced` if
///   another run has begun since: a holder that was frozen can write nothing more.
/// * While it waits for the lock it keeps no transaction open.
/// * An error other than that somebody holds the lock (no permission, no connection, read-only) is an error at once and
///   no reason to wait.
#[async_trait]
pub trait MigrationConn: Send {
    /// What the database can do.
    fn dialect(&self) -> Dialect;
    /// All rows of the history, by version; empty if there is no history yet. Takes no lock.
    async fn history(&mut self) -> Result<Vec<MigrationRow>>;
    /// Waits for the lock, `patience` at most, and takes it. With `online`, the lock outlives transactions, and each later
    /// statement is one of its own.
    async fn lock(&mut self, who: &Holder, patience: Duration, online: bool) -> Result<LockOutcome>;
    /// Whether the lock is still this connection's. Asked before each step, because a reconnect may have lost it.
    async fn owns_lock(&mut self) -> Result<bool>;
    /// Waits, in whatever way this connection can: by a timer of the executor, of the thread or of the server. Asked for
    /// outside of the lock only.
    async fn pause(&mut self, span: Duration) -> Result<()>;
    /// Reads the database's clock.
    async fn now(&mut self) -> Result<Timestamp>;
    /// Runs the statement of a step.
    async fn run(&mut self, sql: &str) -> Result<()>;
    /// Whether a probe finds its step done: its first column of its first row is true or not 0.
    async fn probe(&mut self, sql: &str) -> Result<bool>;
    /// Writes a row of the history: a new one, or the state and times of the one with its version.
    async fn record(&mut self, row: &MigrationRow) -> Result<()>;
    /// The journal of a migration's steps; empty if there is none.
    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>>;
    /// Writes an entry of the journal, new or over the one of the same step.
    async fn record_step(&mut self, row: &StepRow) -> Result<()>;
    /// Deletes an entry of the journal: its statement was refused, and so has changed nothing.
    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()>;
    /// Replaces all rows of a version by these; for repairs.
    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()>;
    /// Notes for people what was done by hand: a repair or a baseline.
    async fn note(&mut self, what: &str) -> Result<()>;
    /// What tables, columns and indexes there are.
    async fn fingerprint(&mut self) -> Result<Fingerprint>;
    /// The versions of the binaries of all nodes that are up; empty if there is no table of nodes yet.
    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>>;
    /// Ends the locked run.
    async fn unlock(&mut self, end: LockedEnd) -> Result<()>;
    /// The text of a migration's statement as this connection runs it, with the schema where it stands for one.
    fn text(&self, sql: &str) -> String {
        sql.to_owned()
    }
    /// The statements that make the engine's tables, for exports.
    fn bootstrap(&self) -> Vec<String>;
    /// The statement that writes a row of the history whose times are the clock's when it is run, for exports.
    fn export_row(&self, row: &MigrationRow) -> String;
}
