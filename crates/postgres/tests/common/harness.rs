//! The kit's harness: each case has a schema of its own, in one database for the whole run.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, StoreClock};
use punctual_core::{JobStore, LockProvider, Result};
use punctual_postgres::{PostgresBuilder, PostgresStore};

use crate::database::Database;

pub(crate) struct Postgres {
    /// The store's name in reports.
    pub(crate) name: &'static str,
    /// How often each race is run.
    pub(crate) rounds: u32,
    /// Settings for a database, by its URL.
    pub(crate) builder: fn(&str) -> Result<PostgresBuilder>,
    pub(crate) database: Database,
}

impl Postgres {
    async fn store(&self, space: &Space) -> Result<PostgresStore> {
        (self.builder)(self.database.url())?.schema(space.name()).clock(space.clock()).open().await
    }
}

#[async_trait]
impl Harness for Postgres {
    fn name(&self) -> &'static str {
        self.name
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

    fn rounds(&self) -> u32 {
        self.rounds
    }
}
