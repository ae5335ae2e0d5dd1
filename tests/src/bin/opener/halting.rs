//! A connection of the migration engine that stands still at one of its calls.
//!
//! Calls are what the engine asks of any database, so that one place to halt means the same on each of them.

use std::time::Duration;

use async_trait::async_trait;
use punctual::core::migrate::{
    Dialect, Fingerprint, Holder, LockOutcome, LockedEnd, MigrationConn, MigrationRow, StepRow,
};
use punctual::core::{Result, Timestamp};
use punctual_tests::crowd::Word;

use super::{say, wait_for_a_line};

/// A side of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
}

/// Where to halt.
#[derive(Clone, Debug)]
pub(super) struct Halt {
    side: Side,
    call: String,
    /// Which of the calls of that name, from 1.
    number: u32,
}

impl Halt {
    pub(super) fn of(side: &str, call: String, number: &str) -> Option<Self> {
        let side = match side {
            "before" => Side::Before,
            "after" => Side::After,
            _ => return None,
        };
        Some(Self { side, call, number: number.parse().ok()? })
    }
}

/// Hands every call on.
pub(super) struct Halting<'c> {
    conn: &'c mut dyn MigrationConn,
    halt: Option<Halt>,
    seen: u32,
}

impl<'c> Halting<'c> {
    pub(super) fn new(conn: &'c mut dyn MigrationConn, halt: Option<Halt>) -> Self {
        Self { conn, halt, seen: 0 }
    }

    fn at(&mut self, side: Side, call: &str) {
        let Some(halt) = &self.halt else { return };
        if halt.call != call {
            return;
        }
        self.seen += u32::from(side == Side::Before);
        if halt.side == side && halt.number == self.seen {
            say(&Word::Halted { at: format!("{call} {}", self.seen) });
            wait_for_a_line();
        }
    }
}

/// Hands a call on, and halts before or after it if that is the place.
macro_rules! halting {
    ($self:ident.$call:ident($($argument:expr),*)) => {{
        $self.at(Side::Before, stringify!($call));
        let answer = $self.conn.$call($($argument),*).await;
        $self.at(Side::After, stringify!($call));
        answer
    }};
}

#[async_trait]
impl MigrationConn for Halting<'_> {
    fn dialect(&self) -> Dialect {
        self.conn.dialect()
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        halting!(self.history())
    }

    async fn lock(&mut self, who: &Holder, patience: Duration, online: bool) -> Result<LockOutcome> {
        halting!(self.lock(who, patience, online))
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        halting!(self.owns_lock())
    }

    async fn pause(&mut self, span: Duration) -> Result<()> {
        self.conn.pause(span).await
    }

    async fn now(&mut self) -> Result<Timestamp> {
        halting!(self.now())
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        halting!(self.run(sql))
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        halting!(self.probe(sql))
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        halting!(self.record(row))
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        halting!(self.journal(version))
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        halting!(self.record_step(row))
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        halting!(self.forget_step(version, step))
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        halting!(self.replace(version, rows))
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        halting!(self.note(what))
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        halting!(self.fingerprint())
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        halting!(self.live_binaries())
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        halting!(self.unlock(end))
    }

    fn text(&self, sql: &str) -> String {
        self.conn.text(sql)
    }

    fn bootstrap(&self) -> Vec<String> {
        self.conn.bootstrap()
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        self.conn.export_row(row)
    }
}
