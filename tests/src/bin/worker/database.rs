//! A worker's store, and its bodies' own transactions on the same database.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use punctual::core::store::hook::{Side, StatementHook, StatementPoint};
use punctual::core::store::{SettleOutcome, SettlePlan};
use punctual::{JobStore, SqliteStore};
use punctual_mysql::MysqlStore;
use punctual_postgres::PostgresStore;
use punctual_tests::chaos::orders::EFFECT;
use rusqlite::TransactionBehavior;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::points::Points;

/// What can go wrong in a transaction of a body's.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// A store, and what else is needed to complete work in a transaction of one's own.
#[derive(Clone)]
pub(crate) struct Database {
    pub(crate) store: Arc<dyn JobStore>,
    own: Own,
    points: Arc<Points>,
}

#[derive(Clone)]
enum Own {
    Sqlite(Arc<SqliteStore>, PathBuf),
    Postgres(Arc<PostgresStore>, String),
    Mysql(Arc<MysqlStore>, String),
}

impl Database {
    pub(crate) async fn open(location: &str, points: Arc<Points>) -> punctual::core::Result<Self> {
        let hook = Arc::clone(&points) as Arc<dyn StatementHook>;
        let (store, own): (Arc<dyn JobStore>, Own) = match location.split_once("://") {
            Some(("postgres", _)) => {
                let store = PostgresStore::builder(location)?.statement_hook(hook).open().await?;
                let store = Arc::new(store);
                (Arc::clone(&store) as _, Own::Postgres(store, location.to_owned()))
            }
            Some(("mysql", _)) => {
                let store = Arc::new(MysqlStore::builder(location).statement_hook(hook).open().await?);
                (Arc::clone(&store) as _, Own::Mysql(store, location.to_owned()))
            }
            _ => {
                let store = Arc::new(SqliteStore::builder(location).statement_hook(hook).open().await?);
                (Arc::clone(&store) as _, Own::Sqlite(store, location.into()))
            }
        };
        Ok(Self { store, own, points })
    }

    /// Writes the row of an execution and completes it, in one transaction.
    ///
    /// # Errors
    /// Those of the database: then it is not known whether that was done.
    pub(crate) async fn pay(&self, plan: SettlePlan) -> Result<SettleOutcome, Trouble> {
        let (id, fence) = (plan.claim.id, plan.claim.fence);
        let insert = format!("INSERT INTO chaos_effect VALUES ('{id}', {fence})");
        let this = self.clone();
        // Nobody may drop it in the middle of a statement.
        tokio::spawn(async move {
            match &this.own {
                Own::Sqlite(store, path) => {
                    let (store, path, this) = (Arc::clone(store), path.clone(), this.clone());
                    let pay = move || this.pay_sqlite(&store, &path, plan, &insert);
                    tokio::task::spawn_blocking(pay).await?
                }
                Own::Postgres(store, url) => this.pay_postgres(store, url, plan, &insert).await,
                Own::Mysql(store, url) => this.pay_mysql(store, url, plan, &insert).await,
            }
        })
        .await?
    }

    fn pay_sqlite(
        &self,
        store: &SqliteStore,
        path: &PathBuf,
        plan: SettlePlan,
        insert: &str,
    ) -> Result<SettleOutcome, Trouble> {
        let mut connection = rusqlite::Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(insert, [])?;
        self.at(insert, 1, Side::After);
        let outcome = store.complete_in(&transaction, plan)?;
        if outcome == SettleOutcome::Done {
            self.at("COMMIT", 2, Side::Before);
            transaction.commit()?;
            self.at("COMMIT", 2, Side::After);
        }
        Ok(outcome)
    }

    async fn pay_postgres(
        &self,
        store: &PostgresStore,
        url: &str,
        plan: SettlePlan,
        insert: &str,
    ) -> Result<SettleOutcome, Trouble> {
        let mut connection = PgConnection::connect(url).await?;
        // As a careful user has it: a client that is frozen keeps no locks for long.
        let set = "SET idle_in_transaction_session_timeout = '2s'; SET lock_timeout = '2s'";
        sqlx::raw_sql(set).execute(&mut connection).await?;
        sqlx::raw_sql("BEGIN").execute(&mut connection).await?;
        sqlx::raw_sql(AssertSqlSafe(insert.to_owned())).execute(&mut connection).await?;
        self.at_blocking(insert, 1, Side::After).await;
        let outcome = store.complete_in(&mut connection, plan).await?;
        if outcome == SettleOutcome::Done {
            self.at_blocking("COMMIT", 2, Side::Before).await;
            sqlx::raw_sql("COMMIT").execute(&mut connection).await?;
            self.at_blocking("COMMIT", 2, Side::After).await;
            store.announce();
        }
        connection.close().await?;
        Ok(outcome)
    }

    async fn pay_mysql(
        &self,
        store: &MysqlStore,
        url: &str,
        plan: SettlePlan,
        insert: &str,
    ) -> Result<SettleOutcome, Trouble> {
        let mut connection = AsyncMysqlConnection::establish(url).await?;
        connection.batch_execute("SET SESSION innodb_lock_wait_timeout = 2").await?;
        connection.batch_execute("START TRANSACTION").await?;
        connection.batch_execute(insert).await?;
        self.at_blocking(insert, 1, Side::After).await;
        let outcome = store.complete_in(&mut connection, plan).await?;
        if outcome == SettleOutcome::Done {
            self.at_blocking("COMMIT", 2, Side::Before).await;
            connection.batch_execute("COMMIT").await?;
            self.at_blocking("COMMIT", 2, Side::After).await;
            store.announce();
        }
        Ok(outcome)
    }

    fn at(&self, statement: &str, index: u32, side: Side) {
        // This transaction is not the store's: it cannot be cut from here.
        let _continue = self.points.at(&StatementPoint { step: EFFECT, statement, index, side });
    }

    async fn at_blocking(&self, statement: &str, index: u32, side: Side) {
        let (this, statement) = (self.clone(), statement.to_owned());
        let _ended = tokio::task::spawn_blocking(move || this.at(&statement, index, side)).await;
    }
}
