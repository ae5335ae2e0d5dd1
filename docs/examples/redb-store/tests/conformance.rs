//! The conformance kit on this store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, StoreClock};
use punctual_core::{JobStore, LockProvider, Result};
use redb_store::RedbStore;
use tempfile::TempDir;

/// A file for each space, and one store on it: one process may open a file once, so handles are clones.
struct Redb {
    folder: TempDir,
    stores: Mutex<BTreeMap<String, RedbStore>>,
}

impl Redb {
    fn store(&self, space: &Space) -> Result<RedbStore> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(space.name()) {
            return Ok(store.clone());
        }
        let path = self.folder.path().join(format!("{}.redb", space.name()));
        let store = RedbStore::open(path, space.clock())?;
        stores.insert(space.name().to_owned(), store.clone());
        Ok(store)
    }
}

#[async_trait]
impl Harness for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.store(space)?))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.store(space)?)))
    }
}

punctual_conformance::conformance!(Redb {
    folder: TempDir::new().expect("a folder for the files"),
    stores: Mutex::default(),
});
