//! Named leases. The row of a name stays when its lease has ended, because its fence must not repeat.

use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use super::state::State;
use crate::error::{Error, Result};
use crate::key::{Fence, MAX_NAME_BYTES, NodeId};
use crate::lock::{Lease, LockProvider, LockRequest};
use crate::time::Timestamp;

/// The row of a lock's name.
#[derive(Debug)]
pub(super) struct Held {
    owner: NodeId,
    fence: Fence,
    until: Timestamp,
}

impl State {
    fn acquire(&mut self, now: Timestamp, request: &LockRequest) -> Option<Lease> {
        let LockRequest { name, owner, span } = request;
        let until = now.plus(*span);
        let held = self.locks.entry(name.clone()).or_insert(Held {
            owner: *owner,
            fence: Fence::NONE,
            until: Timestamp::MIN,
        });
        if held.until > now {
            return None;
        }
        *held = Held { owner: *owner, fence: held.fence.next(), until };
        Some(Lease { name: name.clone(), owner: *owner, fence: held.fence, until })
    }

    fn in_force(&mut self, now: Timestamp, lease: &Lease) -> Option<&mut Held> {
        let same = |held: &&mut Held| (held.owner, held.fence) == (lease.owner, lease.fence);
        self.locks.get_mut(&lease.name).filter(same).filter(|held| held.until > now)
    }
}

#[async_trait]
impl LockProvider for MemoryStore {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        if request.name.is_empty() || request.name.len() > MAX_NAME_BYTES {
            let why = format!("the name {:?} must have 1 to {MAX_NAME_BYTES} bytes", request.name);
            return Err(Error::invalid("lock", why));
        }
        Ok(self.step(|state, now| state.acquire(now, &request)))
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        Ok(self.step(|state, now| {
            let held = state.in_force(now, lease)?;
            held.until = now.plus(span);
            Some(Lease { until: held.until, ..lease.clone() })
        }))
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        Ok(self.step(|state, now| match state.in_force(now, lease) {
            Some(held) => {
                held.until = Timestamp::MIN;
                true
            }
            None => false,
        }))
    }
}
