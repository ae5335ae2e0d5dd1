//! Named leases. The row of a name stays when its lease has ended, because its fence must not repeat.

use std::time::Duration;

use async_trait::async_trait;
use punctual_core::key::MAX_NAME_BYTES;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::{Error, Fence, LockProvider, Result, Timestamp};
use rusqlite::params;

use crate::sql;
use crate::store::SqliteStore;

#[async_trait]
impl LockProvider for SqliteStore {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        let LockRequest { name, owner, span } = request;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(
                "lock",
                format!("the name {name:?} must have 1 to {MAX_NAME_BYTES} bytes"),
            ));
        }
        self.write("lock", move |step| {
            let (now, until) = (step.now(), step.now().plus(span));
            let values = params![name, owner.get(), now.as_micros(), until.as_micros()];
            let fence = step.number(sql::ACQUIRE_LOCK, values)?;
            Ok(fence.map(|fence| Lease { name, owner, fence: Fence::from_stored(fence), until }))
        })
        .await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        let lease = lease.clone();
        self.write("renew", move |step| {
            let until = step.now().plus(span);
            let values = params![
                lease.name,
                lease.owner.get(),
                lease.fence.get(),
                step.now().as_micros(),
                until.as_micros()
            ];
            let rows = step.run(sql::RENEW_LOCK, values)?;
            Ok((rows > 0).then_some(Lease { until, ..lease }))
        })
        .await
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        let lease = lease.clone();
        self.write("release", move |step| {
            let (now, over) = (step.now().as_micros(), Timestamp::MIN.as_micros());
            let rows = step
                .run(sql::RENEW_LOCK, params![lease.name, lease.owner.get(), lease.fence.get(), now, over])?;
            Ok(rows > 0)
        })
        .await
    }
}
