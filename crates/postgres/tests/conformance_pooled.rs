//! The conformance kit on this store on a pool of the user's, as through a pooler: nothing outlasts a transaction.

#[path = "common/database.rs"]
mod database;
#[path = "common/harness.rs"]
mod harness;
#[path = "common/plans.rs"]
mod plans;
#[path = "common/target.rs"]
mod target;

use database::Database;
use harness::{Postgres, Schemas};
use punctual_postgres::PostgresStore;
use sqlx::postgres::PgPoolOptions;

punctual_conformance::conformance!(Postgres {
    name: "postgres-pooled",
    rounds: 25,
    builder: |url| {
        let pool =
            PgPoolOptions::new().max_connections(4).connect_lazy(url).expect("the URL of the test is good");
        PostgresStore::from_pool(pool).transaction_pooler(true).listen_url(url)
    },
    database: Database::fresh(),
    schemas: Schemas::default(),
});
