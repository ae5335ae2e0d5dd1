//! Stores as a benchmark needs them: by their own types, so that work can be put into a transaction of a user's.

use std::sync::Arc;

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use punctual_core::JobStore;
use punctual_core::store::hook::StatementHook;
use punctual_core::store::{Applied, Enqueue};
use punctual_mysql::MysqlStore;
use punctual_postgres::PostgresStore;
use punctual_sqlite::SqliteStore;
use rusqlite::TransactionBehavior;
use sqlx::{Connection, PgConnection};

use super::Result;

/// An open store.
#[derive(Clone, Debug)]
pub(crate) enum Opened {
    Postgres(Arc<PostgresStore>),
    Mysql(Arc<MysqlStore>),
    Sqlite(Arc<SqliteStore>),
}

/// A connection of a user's beside the store.
pub(crate) enum Session {
    Postgres(PgConnection),
    Mysql(Box<AsyncMysqlConnection>),
    Sqlite(rusqlite::Connection),
}

impl Session {
    pub(crate) async fn open(location: &str) -> Result<Self> {
        Ok(match location.split_once("://") {
            Some(("postgres" | "postgresql", _)) => Self::Postgres(PgConnection::connect(location).await?),
            Some(("mysql", _)) => Self::Mysql(Box::new(AsyncMysqlConnection::establish(location).await?)),
            _ => {
                let connection = rusqlite::Connection::open(location)?;
                connection.busy_timeout(std::time::Duration::from_secs(30))?;
                // As the store has it: what a user commits is as durable as the work that is committed with it.
                connection.pragma_update(None, "synchronous", 2)?;
                Self::Sqlite(connection)
            }
        })
    }
}

impl Opened {
    /// Opens the store at a path or a URL with all defaults, and has a hook told of its statements if one is given.
    pub(crate) async fn at(location: &str, hook: Option<Arc<dyn StatementHook>>) -> Result<Self> {
        Ok(match location.split_once("://") {
            Some(("postgres" | "postgresql", _)) => {
                let builder = PostgresStore::builder(location)?;
                let builder = if let Some(hook) = hook { builder.statement_hook(hook) } else { builder };
                Self::Postgres(Arc::new(builder.open().await?))
            }
            Some(("mysql", _)) => {
                let builder = MysqlStore::builder(location);
                let builder = if let Some(hook) = hook { builder.statement_hook(hook) } else { builder };
                Self::Mysql(Arc::new(builder.open().await?))
            }
            _ => {
                let builder = SqliteStore::builder(location);
                let builder = if let Some(hook) = hook { builder.statement_hook(hook) } else { builder };
                Self::Sqlite(Arc::new(builder.open().await?))
            }
        })
    }

    pub(crate) fn store(&self) -> Arc<dyn JobStore> {
        match self {
            Self::Postgres(store) => Arc::clone(store) as _,
            Self::Mysql(store) => Arc::clone(store) as _,
            Self::Sqlite(store) => Arc::clone(store) as _,
        }
    }

    /// Puts work into the store in a transaction of a user's, who writes a row in it too.
    pub(crate) async fn enqueue_with(
        &self,
        session: &mut Session,
        row: &'static str,
        work: Vec<Enqueue>,
    ) -> Result<()> {
        match (self, session) {
            (Self::Postgres(store), Session::Postgres(connection)) => {
                let mut transaction = connection.begin().await?;
                sqlx::query(row).execute(&mut *transaction).await?;
                written(store.enqueue_in(&mut transaction, work).await?)?;
                transaction.commit().await?;
                store.announce();
            }
            (Self::Mysql(store), Session::Mysql(connection)) => {
                connection.batch_execute("BEGIN").await?;
                connection.batch_execute(row).await?;
                written(store.enqueue_in(connection, work).await?)?;
                connection.batch_execute("COMMIT").await?;
                store.announce();
            }
            (Self::Sqlite(store), Session::Sqlite(connection)) => {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute(row, [])?;
                written(store.enqueue_in(&transaction, work)?)?;
                transaction.commit()?;
            }
            _ => return Err("the transaction is not on the store's database".into()),
        }
        Ok(())
    }
}

fn written(applied: Applied) -> Result<()> {
    match applied {
        Applied::All => Ok(()),
        Applied::Lost { at } => Err(format!("element {at} was not written").into()),
    }
}
