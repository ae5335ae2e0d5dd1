//! Short ways to reach a database; those to fill a store and to use it are the kit's.

pub(crate) use punctual_conformance::sample::*;
use punctual_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Connection, Decode, PgConnection, Postgres, Type};

use crate::database::Database;

pub(crate) async fn open(database: &Database) -> PostgresStore {
    PostgresStore::connect(database.url()).await.unwrap()
}

/// A connection of the user's own.
pub(crate) async fn users(database: &Database) -> PgConnection {
    PgConnection::connect(&database.direct_url()).await.unwrap()
}

/// The one value that a query answers.
pub(crate) async fn ask<T>(connection: &mut PgConnection, sql: &str) -> T
where
    T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
{
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await.unwrap()
}

/// Runs statements.
pub(crate) async fn say(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}
