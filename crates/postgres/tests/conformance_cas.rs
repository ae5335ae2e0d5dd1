//! The conformance kit on this store with claims that leave out no locked rows.

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
use punctual_core::store::ClaimShape;
use punctual_postgres::PostgresStore;

punctual_conformance::conformance!(Postgres {
    name: "postgres-cas",
    rounds: 25,
    builder: |url| PostgresStore::builder(url)?.claims(ClaimShape::Cas),
    database: Database::fresh(),
    schemas: Schemas::default(),
});
