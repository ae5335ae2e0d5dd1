//! The conformance kit on this store, opened by a URL, with the defaults but for its patience.

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

punctual_conformance::conformance!(Postgres {
    name: "postgres",
    rounds: 100,
    builder: PostgresStore::builder,
    database: Database::fresh(),
    schemas: Schemas::default(),
});
