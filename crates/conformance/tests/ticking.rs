//! The kit on a store with a clock of its own: cases that do not ask for a clock must not need one that stands still.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use punctual_conformance::{Harness, Need, Space, StoreClock, all_cases, check};
use punctual_core::{BootInstant, BoxFuture, Clock, JobStore, LockProvider, MemoryStore, Result, Timestamp};

/// A clock that goes on by 137 µs at each look.
#[derive(Debug)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn boot(&self) -> BootInstant {
        BootInstant::from_micros(self.wall().as_micros().unsigned_abs())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(137, Ordering::SeqCst))
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'_, ()> {
        unreachable!("stores do not sleep")
    }
}

#[derive(Default)]
struct Memory {
    spaces: Mutex<BTreeMap<String, MemoryStore>>,
}

impl Memory {
    fn store(&self, space: &Space) -> MemoryStore {
        let mut spaces = self.spaces.lock().expect("no case panics in here");
        let new = || MemoryStore::new(Arc::new(Ticking(AtomicI64::new(1_800_000_000_000_000))));
        spaces.entry(space.name().to_owned()).or_insert_with(new).clone()
    }
}

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &'static str {
        "ticking"
    }

    fn clock(&self) -> StoreClock {
        StoreClock::OfItsOwn
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.store(space)))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.store(space))))
    }

    fn rounds(&self) -> u32 {
        5
    }
}

#[test]
fn cases_that_do_not_ask_for_a_clock_do_not_need_one() {
    let has = |need: &Need| [Need::Locks, Need::LockFences, Need::Wake].contains(need);
    let cases = all_cases().filter(|case| case.needs.iter().all(has));
    let failed: Vec<_> = cases
        .filter_map(|case| check(Memory::default(), case.name).err().map(|why| (case.name, why)))
        .collect();
    assert!(failed.is_empty(), "{failed:#?}");
}
