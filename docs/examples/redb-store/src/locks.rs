//! Named locks for the users' own code.

use std::time::Duration;

use async_trait::async_trait;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::{Error, Fence, LockProvider, Result, Timestamp};
use redb::ReadableTable;

use crate::RedbStore;
use crate::step::Step;
use crate::trouble::Tried;

#[async_trait]
impl LockProvider for RedbStore {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        if !(1..=200).contains(&request.name.len()) {
            return Err(Error::invalid("lock", "the name of a lock has 1 to 200 bytes"));
        }
        self.write("lock", move |step| step.acquire(request)).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        let lease = lease.clone();
        self.write("renew", move |step| {
            let until = step.now.plus(span);
            Ok(step.replace(&lease, until)?.then_some(Lease { until, ..lease }))
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        let lease = lease.clone();
        // The row stays: its fence must not come again.
        self.write("release", move |step| step.replace(&lease, Timestamp::MIN)).await
    }
}

impl Step<'_> {
    fn acquire(&mut self, LockRequest { name, owner, span }: LockRequest) -> Tried<Option<Lease>> {
        let old = self.tables.lock.get(&*name)?.map(|lock| lock.value());
        let last = match old {
            Some((_, _, until)) if until > self.now_us() => return Ok(None),
            Some((_, fence, _)) => Fence::from_stored(fence),
            None => Fence::NONE,
        };
        let (fence, until) = (last.next(), self.now.plus(span));
        self.tables.lock.insert(&*name, (owner.get(), fence.get(), until.as_micros()))?;
        Ok(Some(Lease { name, owner, fence, until }))
    }

    /// Gives a lease another end, if it is in force and nobody else's.
    fn replace(&mut self, lease: &Lease, until: Timestamp) -> Tried<bool> {
        let old = self.tables.lock.get(&*lease.name)?.map(|lock| lock.value());
        let its = (lease.owner.get(), lease.fence.get());
        let now = self.now_us();
        if !old.is_some_and(|(owner, fence, until)| (owner, fence) == its && until > now) {
            return Ok(false);
        }
        self.tables.lock.insert(&*lease.name, (its.0, its.1, until.as_micros()))?;
        Ok(true)
    }
}
