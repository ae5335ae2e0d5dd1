//! The conformance kit on this store.

mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, Spoil, StoreClock};
use punctual_core::{JobStore, LockProvider, Result};
use redb_store::RedbStore;

/// One store on the file of each space: a process opens a file once, so the handles are clones.
#[derive(Default)]
struct Redb {
    stores: Mutex<BTreeMap<String, RedbStore>>,
}

impl Redb {
    fn store(&self, space: &Space) -> Result<RedbStore> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(space.name()) {
            return Ok(store.clone());
        }
        let path = space.folder().join(format!("{}.redb", space.name()));
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

    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        let store = self.store(space)?;
        match spoil {
            Spoil::Trigger(id) => common::spoil::<i64>(&store, "trigger", id.get(), "/row/spec"),
            Spoil::Job(id) => common::spoil::<i64>(&store, "job", id.get(), "/spec"),
            Spoil::Execution(id) => {
                common::spoil::<u128>(&store, "execution", u128::from_be_bytes(id.to_bytes()), "/row/spec");
            }
            Spoil::Calendar(name) => common::spoil::<&str>(&store, "calendar", &name, "/document"),
            Spoil::MissingCalendar(name) => common::rewrite::<&str>(&store, "calendar", &name, |_| None),
        }
        Ok(true)
    }
}

punctual_conformance::conformance!(Redb::default());
