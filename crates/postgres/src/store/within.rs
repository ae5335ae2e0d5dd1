//! Steps inside a transaction of the user's own: work and the user's own rows become visible together, or not at all.

use punctual_core::store::{Applied, Enqueue, SettleOutcome, SettlePlan, Settlement};
use punctual_core::{Error, Result};
use sqlx::PgConnection;

use super::{PostgresStore, settling, work};
use crate::error::Failure;
use crate::sql;
use crate::step::{News, Outcome, Step, Tries};

impl PostgresStore {
    /// Puts work into the store within the caller's transaction on the same database; else as
    /// [`JobStore::enqueue`](punctual_core::JobStore::enqueue).
    ///
    /// The work exists for others when, and only if, the transaction is committed. On [`Applied::Lost`] and on an error
    /// nothing was written for it, and the transaction may go on: the step runs behind a savepoint. Call
    /// [`PostgresStore::announce`] after the commit; otherwise nodes learn of it when they next poll.
    ///
    /// # Errors
    /// As `enqueue`; `Invalid` if the connection is in no transaction, or in one that has failed.
    ///
    /// # Cancel safety
    /// None: it runs on the caller's connection. Roll the transaction back if the future was dropped.
    pub async fn enqueue_in(&self, transaction: &mut PgConnection, work: Vec<Enqueue>) -> Result<Applied> {
        let (operation, engine) = ("enqueue_in", &self.shared.engine);
        let mut tries = Tries::begin();
        loop {
            let mut step = Step::within(transaction, engine, operation);
            match saved(&mut step, async |step: &mut Step<'_>| work::enqueue(step, &work).await).await {
                Err(failure) if engine.may_try_again(&tries, &failure) => engine.back_off(&mut tries).await,
                outcome => return outcome.map_err(|failure| self.shared.failed(operation, failure)),
            }
        }
    }

    /// Ends an execution within the caller's transaction, so that what the work has done and the fact that it is done are
    /// committed together: exactly once, as far as this database reaches.
    ///
    /// The plan must be an [`Settlement::End`]. Only [`SettleOutcome::Done`] may be committed. [`SettleOutcome::Fenced`]
    /// says that the work belongs to another node by now, [`SettleOutcome::AlreadyDone`] that an earlier transaction of
    /// this attempt was committed though its answer was lost: roll back after either, or what the attempt writes will be
    /// there twice.
    ///
    /// Commit soon: until then the transaction holds the execution's row and its slot, and the row of whoever is woken by
    /// that. Call [`PostgresStore::announce`] after the commit.
    ///
    /// # Errors
    /// `Invalid` if the plan puts the execution back, or the connection is in no transaction or in one that has failed;
    /// `AlreadyExists` if the instant has another record. Nothing was written then, and the transaction may go on.
    ///
    /// # Cancel safety
    /// None: it runs on the caller's connection. Roll the transaction back if the future was dropped.
    pub async fn complete_in(
        &self,
        transaction: &mut PgConnection,
        plan: SettlePlan,
    ) -> Result<SettleOutcome> {
        let operation = "complete_in";
        if !matches!(plan.then, Settlement::End(_)) {
            let why =
                "only an end can be written in a transaction of the caller's; let the node put work back";
            return Err(Error::invalid(operation, why));
        }
        let mut step = Step::within(transaction, &self.shared.engine, operation);
        let outcome =
            saved(&mut step, async |step: &mut Step<'_>| settling::complete(step, plan).await).await;
        outcome.map_err(|failure| self.shared.failed(operation, failure))
    }

    /// Says that a transaction with work of this store was committed: nodes look at once instead of when they next poll.
    pub fn announce(&self) {
        self.shared.announce(News::Everywhere);
    }
}

/// Runs a part of the user's transaction that leaves nothing behind if it fails.
async fn saved<T>(step: &mut Step<'_>, body: impl AsyncFnOnce(&mut Step<'_>) -> Outcome<T>) -> Outcome<T> {
    step.do_now(sql::SAVEPOINT).await?;
    match body(step).await {
        Ok(answer) => {
            step.do_now(sql::SAVEPOINT_KEEP).await?;
            Ok(answer)
        }
        Err(failure) => {
            undo(step, &failure).await?;
            Err(failure)
        }
    }
}

async fn undo(step: &mut Step<'_>, failure: &Failure) -> Outcome<()> {
    if !failure.ends_connection() {
        step.do_now(sql::SAVEPOINT_UNDO).await?;
        step.do_now(sql::SAVEPOINT_KEEP).await?;
    }
    Ok(())
}
