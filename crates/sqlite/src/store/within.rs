//! Steps inside a transaction of the user's own: work and the user's own rows become visible together, or not at all.

use punctual_core::Result;
use punctual_core::store::{Applied, Enqueue, SettleOutcome, SettlePlan, Settlement};
use rusqlite::Transaction;

use super::{SqliteStore, settling, work};
use crate::step::join;

impl SqliteStore {
    /// Puts work into the store within the caller's transaction on the store's file; else as
    /// [`JobStore::enqueue`](punctual_core::JobStore::enqueue).
    ///
    /// The work exists for others when, and only if, the transaction is committed. On [`Applied::Lost`] and on an error
    /// nothing was written for it, and the transaction may go on. Nodes of all processes learn of the commit by
    /// themselves. It blocks as long as SQLite does; begin the transaction as `IMMEDIATE`, or another writer may make it
    /// fail at its first write.
    ///
    /// # Errors
    /// As `enqueue`; `Unavailable` if the file is locked; `Invalid` if the transaction's database is another one.
    pub fn enqueue_in(&self, transaction: &Transaction<'_>, work: Vec<Enqueue>) -> Result<Applied> {
        self.shared.file.check_connection("enqueue_in", transaction)?;
        let clock = &self.shared.ground.setting.clock;
        join(transaction, &self.shared.ground.path, clock, "enqueue_in", |step| work::enqueue(step, work))
    }

    /// Ends an execution within the caller's transaction, so that what the work has done and the fact that it is done are
    /// committed together: exactly once, as far as this database reaches.
    ///
    /// The plan must be an [`Settlement::End`]. Only [`SettleOutcome::Done`] may be committed. [`SettleOutcome::Fenced`]
    /// says that the work belongs to another node by now, [`SettleOutcome::AlreadyDone`] that an earlier transaction of
    /// this attempt was committed though its answer was lost: roll back after either, or what the attempt writes will be
    /// there twice.
    ///
    /// # Errors
    /// `Invalid` if the plan puts the execution back or the transaction's database is another one; `Unavailable` if the
    /// file is locked.
    pub fn complete_in(&self, transaction: &Transaction<'_>, plan: SettlePlan) -> Result<SettleOutcome> {
        let operation = "complete_in";
        if !matches!(plan.then, Settlement::End(_)) {
            let why =
                "only an end can be written in a transaction of the caller's; let the node put work back";
            return Err(punctual_core::Error::invalid(operation, why));
        }
        self.shared.file.check_connection(operation, transaction)?;
        let clock = &self.shared.ground.setting.clock;
        join(transaction, &self.shared.ground.path, clock, operation, |step| {
            settling::Settling::begin(step)?.settle(plan)
        })
    }
}
