//! Named leases. The row of a name stays when its lease has ended, because its fence must not repeat.

use std::time::Duration;

use async_trait::async_trait;
use punctual_core::key::MAX_NAME_BYTES;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::{Error, Fence, LockProvider, Result, Timestamp};

use crate::query::values;
use crate::rows::Columns;
use crate::sql;
use crate::step::Step;
use crate::store::{MysqlStore, Outcome};

async fn acquire(step: &mut Step<'_>, request: &LockRequest) -> Outcome<Option<Lease>> {
    let LockRequest { name, owner, span } = request;
    let read = |c: &Columns| (c.int(), c.int(), c.int());
    let found = step.first(sql::FIND_LOCK, values![&**name], read).await?;
    let now = step.now().await?;
    let until = now.plus(*span);
    let fence = match found {
        None => {
            step.run(sql::MAKE_LEASE, values![&**name, owner.get(), until.as_micros()]).await?;
            Fence::NONE.next()
        }
        Some((_, _, held_until)) if held_until > now.as_micros() => return Ok(None),
        Some((_, fence, _)) => {
            step.run(sql::ACQUIRE_LOCK, values![owner.get(), until.as_micros(), &**name]).await?;
            Fence::from_stored(fence).next()
        }
    };
    Ok(Some(Lease { name: name.clone(), owner: *owner, fence, until }))
}

/// Moves the end of a lease that is still in force to `span` after now, or, for a release, to the beginning of time.
async fn renew(step: &mut Step<'_>, (lease, span): &(Lease, Option<Duration>)) -> Outcome<Option<Lease>> {
    let read = |c: &Columns| (c.int(), c.int(), c.int());
    let Some((owner, fence, until)) = step.first(sql::FIND_LOCK, values![&*lease.name], read).await? else {
        return Ok(None);
    };
    let now = step.now().await?;
    if (owner, fence) != (lease.owner.get(), lease.fence.get()) || until <= now.as_micros() {
        return Ok(None);
    }
    let until = span.map_or(Timestamp::MIN, |span| now.plus(span));
    step.run(sql::RENEW_LOCK, values![until.as_micros(), &*lease.name, owner, fence]).await?;
    Ok(Some(Lease { until, ..lease.clone() }))
}

#[async_trait]
impl LockProvider for MysqlStore {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        let name = &request.name;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(Error::invalid(
                "lock",
                format!("the name {name:?} must have 1 to {MAX_NAME_BYTES} bytes"),
            ));
        }
        self.write("lock", request, |step, request| Box::pin(acquire(step, request))).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        self.write("renew", (lease.clone(), Some(span)), |step, wanted| Box::pin(renew(step, wanted))).await
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        let released =
            self.write("release", (lease.clone(), None), |step, wanted| Box::pin(renew(step, wanted)));
        Ok(released.await?.is_some())
    }
}
