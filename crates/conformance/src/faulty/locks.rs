//! Locks with a fault.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_core::key::Fence;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::{LockProvider, Result};

use super::Fault;

/// Locks with a fault, around sound ones.
#[derive(Debug)]
pub struct BrokenLocks {
    inner: Arc<dyn LockProvider>,
    fault: Fault,
}

impl BrokenLocks {
    /// Breaks locks.
    pub fn new(inner: Arc<dyn LockProvider>, fault: Fault) -> Self {
        Self { inner, fault }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl LockProvider for BrokenLocks {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        let lease = self.inner.try_acquire(request).await?;
        let first = |lease| Lease { fence: Fence::NONE.next(), ..lease };
        Ok(if self.fault == Fault::LockRepeatsTheFence { lease.map(first) } else { lease })
    }

    async fn renew(&self, lease: &Lease, span: std::time::Duration) -> Result<Option<Lease>> {
        let renewed = self.inner.renew(lease, span).await?;
        if renewed.is_none() && self.fault == Fault::LockRenewsWhatHasEnded {
            let LockRequest { name, owner, .. } =
                LockRequest { name: lease.name.clone(), owner: lease.owner, span };
            return self.inner.try_acquire(LockRequest { name, owner, span }).await;
        }
        Ok(renewed)
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        self.inner.release(lease).await
    }
}
