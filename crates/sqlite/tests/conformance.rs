//! The conformance kit on this store: each case has a file of its own.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, StoreClock};
use punctual_core::{JobStore, LockProvider, Result};
use punctual_sqlite::SqliteStore;
use tempfile::TempDir;

struct Sqlite {
    folder: TempDir,
}

impl Sqlite {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for the files of the cases") }
    }

    async fn store(&self, space: &Space) -> Result<SqliteStore> {
        let path = self.folder.path().join(format!("{}.db", space.name()));
        SqliteStore::builder(path).clock(space.clock()).open().await
    }
}

#[async_trait]
impl Harness for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
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

punctual_conformance::conformance!(Sqlite::new());
