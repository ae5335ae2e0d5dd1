//! Named leases. The row of a name stays when its lease has ended, because its fence must not repeat.

use std::time::Duration;

use async_trait::async_trait;
use punctual_core::key::MAX_NAME_BYTES;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::time::micros;
use punctual_core::{Error, Fence, LockProvider, Result, Timestamp};

use crate::rows::{Columns, params};
use crate::sql;
use crate::step::{Outcome, Shape, Step};
use crate::store::PostgresStore;

#[async_trait]
impl LockProvider for PostgresStore {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        let name = &request.name;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(
                "lock",
                format!("the name {name:?} must have 1 to {MAX_NAME_BYTES} bytes"),
            ));
        }
        self.step("lock", Shape::One, request, |step, request| Box::pin(acquire(step, request))).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        let request = (lease.clone(), span);
        self.step("renew", Shape::One, request, |step, (lease, span)| Box::pin(renew(step, lease, *span)))
            .await
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        self.step("release", Shape::One, lease.clone(), |step, lease| Box::pin(release(step, lease))).await
    }
}

async fn acquire(step: &mut Step<'_>, request: &LockRequest) -> Outcome<Option<Lease>> {
    let LockRequest { name, owner, span } = request;
    let given = step.given();
    let row = step.first(sql::ACQUIRE_LOCK, params![given, &**name, owner.get(), micros(*span)]).await?;
    Ok(row.as_ref().map(Columns::of).map(|row| {
        let (fence, until) = (Fence::from_stored(row.int()), Timestamp::from_micros(row.int()));
        Lease { name: name.clone(), owner: *owner, fence, until }
    }))
}

async fn renew(step: &mut Step<'_>, lease: &Lease, span: Duration) -> Outcome<Option<Lease>> {
    let Lease { name, owner, fence, .. } = lease;
    let given = step.given();
    let values = params![given, &**name, owner.get(), fence.get(), micros(span)];
    let until: Option<i64> = step.value(sql::RENEW_LOCK, values).await?;
    Ok(until.map(|until| Lease { until: Timestamp::from_micros(until), ..lease.clone() }))
}

async fn release(step: &mut Step<'_>, lease: &Lease) -> Outcome<bool> {
    let Lease { name, owner, fence, .. } = lease;
    let given = step.given();
    Ok(step.run(sql::RELEASE_LOCK, params![given, &**name, owner.get(), fence.get()]).await? > 0)
}
