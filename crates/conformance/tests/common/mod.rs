//! The memory store as the kit sees it: one store a space, a handle for each opening.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use punctual_conformance::{Harness, Space, StoreClock};
use punctual_core::{JobStore, LockProvider, MemoryStore, Result};

#[derive(Default)]
pub(crate) struct Memory {
    spaces: Mutex<BTreeMap<String, MemoryStore>>,
}

impl Memory {
    fn store(&self, space: &Space) -> MemoryStore {
        let mut spaces = self.spaces.lock().expect("no case panics in here");
        spaces.entry(space.name().to_owned()).or_insert_with(|| MemoryStore::new(space.clock())).clone()
    }
}

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.store(space)))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.store(space))))
    }
}
