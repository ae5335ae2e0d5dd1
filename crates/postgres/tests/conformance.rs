//! The conformance kit on this store: each case has a schema of its own, in one database for the whole run.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, StoreClock};
use punctual_core::{JobStore, LockProvider, Result};
use punctual_postgres::PostgresStore;
use support::Database;

struct Postgres {
    database: Database,
}

impl Postgres {
    fn new() -> Self {
        Self { database: Database::fresh() }
    }

    async fn store(&self, space: &Space) -> Result<PostgresStore> {
        PostgresStore::builder(self.database.url())?.schema(space.name()).clock(space.clock()).open().await
    }
}

#[async_trait]
impl Harness for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.store(space).await?))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.store(space).await?)))
    }
}

punctual_conformance::conformance!(Postgres::new());
