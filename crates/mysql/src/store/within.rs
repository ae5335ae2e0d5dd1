//! Steps inside a transaction of the user's own: work and the user's own rows become visible together, or not at all.

use diesel_async::AsyncMysqlConnection;
use punctual_core::store::{Applied, Enqueue, SettleOutcome, SettlePlan, Settlement};
use punctual_core::{Error, Result};

use super::{MysqlStore, Outcome, settling, work};
use crate::query::values;
use crate::rows::Columns;
use crate::sql;
use crate::step::{Manner, Step};

impl MysqlStore {
    /// Puts work into the store within the caller's transaction on the store's database; else as
    /// [`JobStore::enqueue`](punctual_core::JobStore::enqueue).
    ///
    /// The work exists for others when, and only if, the transaction is committed. On [`Applied::Lost`] nothing was
    /// written for it, and the transaction may go on. Nodes of other processes learn of the commit at their next poll;
    /// those of this process too, unless [`MysqlStore::announce`] is called after it. The rows of the jobs are locked
    /// shared until the transaction ends, so keep it short: who edits one of those jobs waits.
    ///
    /// The transaction may have any isolation. The settings of the session are left alone; it must use utf8mb4, as
    /// diesel-async sees to, and must not have `ANSI_QUOTES` or `PIPES_AS_CONCAT`.
    ///
    /// # Errors
    /// As `enqueue`; `Invalid` if the connection uses another database. After `Unavailable` roll the transaction back:
    /// on a deadlock the server has done so already. It is not tried again here, because only the caller can repeat what
    /// came before.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a statement half sent, as with every statement of diesel-async: close the connection
    /// then.
    pub async fn enqueue_in(
        &self,
        transaction: &mut AsyncMysqlConnection,
        work: Vec<Enqueue>,
    ) -> Result<Applied> {
        let operation = "enqueue_in";
        let mut step = self.join(transaction, operation).await?;
        let outcome = in_part(&mut step, async |step| work::enqueue(step, &work).await).await;
        outcome.map_err(|failure| self.shared.error(operation, failure))
    }

    /// Ends an execution within the caller's transaction, so that what the work has done and the fact that it is done are
    /// committed together: exactly once, as far as this database reaches.
    ///
    /// The plan must be an [`Settlement::End`]. Only [`SettleOutcome::Done`] may be committed. [`SettleOutcome::Fenced`]
    /// says that the work belongs to another node by now, [`SettleOutcome::AlreadyDone`] that an earlier transaction of
    /// this attempt was committed though its answer was lost: roll back after either, or what the attempt writes will be
    /// there twice. Make it the last statement before the commit: until then the execution's row and the key of its slot
    /// are locked, and others that wait for the slot wait for this transaction.
    ///
    /// # Errors
    /// `Invalid` if the plan puts the execution back or the connection uses another database; else as
    /// [`MysqlStore::enqueue_in`].
    ///
    /// # Cancel safety
    /// As [`MysqlStore::enqueue_in`].
    pub async fn complete_in(
        &self,
        transaction: &mut AsyncMysqlConnection,
        plan: SettlePlan,
    ) -> Result<SettleOutcome> {
        let operation = "complete_in";
        if !matches!(plan.then, Settlement::End(_)) {
            let why =
                "only an end can be written in a transaction of the caller's; let the node put work back";
            return Err(Error::invalid(operation, why));
        }
        let mut step = self.join(transaction, operation).await?;
        let plans = [plan];
        let outcomes = in_part(&mut step, async |step| settling::settle(step, &plans).await).await;
        let outcomes = outcomes.map_err(|failure| self.shared.error(operation, failure))?;
        Ok(outcomes.first().copied().unwrap_or(SettleOutcome::Fenced))
    }

    /// Tells the nodes of this process that there may be work, as after the commit of a transaction with
    /// [`MysqlStore::enqueue_in`] or [`MysqlStore::complete_in`]. Without it they find it at their next poll.
    pub fn announce(&self) {
        self.shared.signal.raise();
    }

    /// A step on somebody else's connection, which must use the store's database.
    async fn join<'c>(
        &'c self,
        connection: &'c mut AsyncMysqlConnection,
        operation: &'static str,
    ) -> Result<Step<'c>> {
        // Element by element, because a breach of a key must not cost the caller the transaction.
        let mut step = Step::on(connection, &self.shared.setting, operation, Manner::OneByOne);
        let found = step.first(sql::DATABASE, values![], Columns::text).await;
        let found = found.map_err(|failure| self.shared.error(operation, failure))?;
        let own = &self.shared.connections.server.place;
        if found.as_ref() == Some(own) {
            return Ok(step);
        }
        let why = format!(
            "the transaction is on {}, and the store on {own}; use a connection to the store's database",
            found.unwrap_or_default()
        );
        Err(Error::invalid(operation, why))
    }
}

/// Runs a step within a savepoint, so that its failure leaves nothing behind, if the server lets the transaction live.
async fn in_part<T>(step: &mut Step<'_>, body: impl AsyncFnOnce(&mut Step<'_>) -> Outcome<T>) -> Outcome<T> {
    step.begin_users_part().await?;
    let outcome = body(step).await;
    if outcome.is_err() {
        // After a deadlock there is no savepoint any more; the first failure is what the caller is to see.
        drop(step.undo_users_part().await);
    } else {
        step.keep_users_part().await?;
    }
    outcome
}
