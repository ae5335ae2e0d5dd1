//! Claiming within a lock, for stores that need it and for people who want one claim at a time, as Quartz has it with
//! `acquireTriggersWithinLock`.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::lock::{Lease, LockRequest};
use punctual_core::{LockProvider, NodeId, Result};

/// The lock that all claims of a cluster are made within.
#[derive(Debug)]
pub(crate) struct ClaimLock {
    pub(crate) locks: Arc<dyn LockProvider>,
    pub(crate) name: Box<str>,
}

impl ClaimLock {
    /// Takes the lock for one round of claims, if nobody holds it. A round that takes longer than `span` is refused by
    /// the store as soon as another node has claimed.
    pub(crate) async fn try_acquire(&self, owner: NodeId, span: Duration) -> Result<Option<Lease>> {
        self.locks.try_acquire(LockRequest { name: self.name.clone(), owner, span }).await
    }

    /// Gives it back. That it had passed to another node is no trouble here: the store has refused the claim.
    pub(crate) async fn release(&self, lease: &Lease) -> Result<()> {
        self.locks.release(lease).await.map(drop)
    }
}
