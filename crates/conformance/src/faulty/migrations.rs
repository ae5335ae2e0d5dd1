//! Migrations with a fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::migrate::{
    Dialect, Fingerprint, Holder, LockOutcome, LockedEnd, MigrateMode, Migration, MigrationConn,
    MigrationRow, StepRow,
};
use punctual_core::{JobStore, Result, Timestamp};

use super::Fault::{self, *};
use crate::target::{MigrationTarget, Tamper};

/// A schema whose migrations have a fault, around a sound one.
#[derive(Debug)]
pub struct BrokenTarget {
    inner: Arc<dyn MigrationTarget>,
    fault: Fault,
    /// The row that is the lock, for those who store one.
    row: Arc<AtomicBool>,
}

impl BrokenTarget {
    /// Breaks the migrations of a schema.
    pub fn new(inner: Arc<dyn MigrationTarget>, fault: Fault) -> Self {
        Self { inner, fault, row: Arc::default() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MigrationTarget for BrokenTarget {
    fn known(&self) -> Vec<Migration> {
        self.inner.known()
    }

    fn shapes(&self) -> Vec<Fingerprint> {
        self.inner.shapes()
    }

    async fn connect(&self) -> Result<Box<dyn MigrationConn>> {
        let inner = self.inner.connect().await?;
        let row = Arc::clone(&self.row);
        Ok(Box::new(Broken { inner, fault: self.fault, row, read: None, holder: None }))
    }

    async fn open(&self, mode: MigrateMode) -> Result<Arc<dyn JobStore>> {
        self.inner.open(mode).await
    }

    async fn run_script(&self, script: &str) -> Result<()> {
        self.inner.run_script(script).await
    }

    async fn tamper(&self, tamper: Tamper) -> Result<bool> {
        self.inner.tamper(tamper).await
    }
}

/// A connection with a fault.
struct Broken {
    inner: Box<dyn MigrationConn>,
    fault: Fault,
    row: Arc<AtomicBool>,
    /// The history as it was read first, for those who never read it again.
    read: Option<Vec<MigrationRow>>,
    /// Who has the lock, while it is had.
    holder: Option<Holder>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl MigrationConn for Broken {
    fn dialect(&self) -> Dialect {
        self.inner.dialect()
    }

    async fn history(&mut self) -> Result<Vec<MigrationRow>> {
        if let (MigrationsDecideTooEarly, true, Some(read)) =
            (self.fault, self.holder.is_some(), self.read.clone())
        {
            return Ok(read);
        }
        let history = self.inner.history().await?;
        self.read = Some(history.clone());
        Ok(history)
    }

    async fn lock(&mut self, who: &Holder, patience: Duration, online: bool) -> Result<LockOutcome> {
        let by_a_row = self.fault == MigrationLockIsARow;
        if by_a_row && self.row.swap(true, Ordering::SeqCst) {
            return Ok(LockOutcome::TimedOut(None));
        }
        let locked = self.inner.lock(who, patience, online).await?;
        self.holder = (locked == LockOutcome::Taken).then(|| who.clone());
        Ok(locked)
    }

    async fn owns_lock(&mut self) -> Result<bool> {
        self.inner.owns_lock().await
    }

    async fn pause(&mut self, span: Duration) -> Result<()> {
        self.inner.pause(span).await
    }

    async fn now(&mut self) -> Result<Timestamp> {
        self.inner.now().await
    }

    async fn run(&mut self, sql: &str) -> Result<()> {
        self.inner.run(sql).await?;
        if let (MigrationsCommitEachStep, Some(who)) = (self.fault, self.holder.clone()) {
            self.inner.unlock(LockedEnd::Commit).await?;
            let _nobody_else_is_there = self.inner.lock(&who, Duration::ZERO, false).await?;
        }
        Ok(())
    }

    async fn probe(&mut self, sql: &str) -> Result<bool> {
        self.inner.probe(sql).await
    }

    async fn record(&mut self, row: &MigrationRow) -> Result<()> {
        let checksum = if self.fault == MigrationsForgetTheChecksum { 0 } else { row.checksum };
        self.inner.record(&MigrationRow { checksum, ..row.clone() }).await
    }

    async fn journal(&mut self, version: i64) -> Result<Vec<StepRow>> {
        self.inner.journal(version).await
    }

    async fn record_step(&mut self, row: &StepRow) -> Result<()> {
        self.inner.record_step(row).await
    }

    async fn forget_step(&mut self, version: i64, step: &str) -> Result<()> {
        self.inner.forget_step(version, step).await
    }

    async fn replace(&mut self, version: i64, rows: &[MigrationRow]) -> Result<()> {
        self.inner.replace(version, rows).await
    }

    async fn note(&mut self, what: &str) -> Result<()> {
        self.inner.note(what).await
    }

    async fn fingerprint(&mut self) -> Result<Fingerprint> {
        self.inner.fingerprint().await
    }

    async fn live_binaries(&mut self) -> Result<Vec<Box<str>>> {
        self.inner.live_binaries().await
    }

    async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
        self.holder = None;
        let end = if self.fault == MigrationsKeepARehearsal { LockedEnd::Commit } else { end };
        self.inner.unlock(end).await?;
        if self.fault == MigrationLockIsARow {
            self.row.store(false, Ordering::SeqCst);
        }
        Ok(())
    }

    fn text(&self, sql: &str) -> String {
        self.inner.text(sql)
    }

    fn bootstrap(&self) -> Vec<String> {
        self.inner.bootstrap()
    }

    fn export_row(&self, row: &MigrationRow) -> String {
        self.inner.export_row(row)
    }
}
