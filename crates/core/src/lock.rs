//! Named, leased, fenced locks for the users' own code. No job store needs one.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::key::{Fence, NodeId};
use crate::time::Timestamp;

/// Hands out leases on names.
///
/// # Contract
/// At most one lease on a name is in force on the store's clock. Each new holder gets a larger fence; fences of a name
/// never repeat, not even after its release.
///
/// A lease is not mutual exclusion: a holder that was frozen may wake after its lease ran out. What must never happen
/// twice has to compare the fence where it is written (Kleppmann, "How to do distributed locking", 2016).
#[async_trait]
pub trait LockProvider: fmt::Debug + Send + Sync + 'static {
    /// Takes the lock if nobody holds it: `None` if somebody does.
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>>;
    /// Extends a lease that is still this one to `span` after now: `None` if it has passed to somebody else or ended.
    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>>;
    /// Gives a lease back: `false` if it had passed to somebody else or ended.
    async fn release(&self, lease: &Lease) -> Result<bool>;
}

/// Asks for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// The name, 1 to 200 bytes.
    pub name: Box<str>,
    /// Who asks.
    pub owner: NodeId,
    /// How long the lease lasts unless renewed.
    pub span: Duration,
}

/// A lock held for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The name.
    pub name: Box<str>,
    /// Who holds it.
    pub owner: NodeId,
    /// Larger than that of every holder before.
    pub fence: Fence,
    /// When it ends, on the store's clock.
    pub until: Timestamp,
}
