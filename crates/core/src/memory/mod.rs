//! A store in the memory of one process: the reference for what the contract of [`JobStore`] means.
//!
//! It keeps plain ordered maps behind one lock, and each step holds that lock from its first read to its last write:
//! what is atomic here by construction has to be made so by SQL elsewhere. It is written to be read, not to be fast:
//! reads of what is due go through all triggers and live rows. It knows nothing of threads, executors or files, and
//! forgets everything with its last handle.

mod claim;
mod definitions;
mod inspect;
mod locks;
mod manual;
mod members;
mod prune;
mod settle;
mod signal;
mod slots;
mod state;
mod work;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

pub use self::manual::ManualClock;
use self::signal::Signal;
use self::state::State;
use crate::check::Check;
use crate::error::Result;
use crate::execution::ExecutionWithJob;
use crate::inspect::Inspect;
use crate::key::{ExecutionId, Fence, NodeId};
use crate::node::NodeInfo;
use crate::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, ClaimShape, Claimed, ClaimedReady,
    Due, Enqueue, JobStore, Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby,
    StoreFeatures, Wake,
};
use crate::time::{BoxFuture, Clock, Timestamp};

/// A store in memory. A clone is another handle on the same data: give each node of a cluster its own.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use punctual_core::memory::{ManualClock, MemoryStore};
/// use punctual_core::{JobStore, Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_secs(1_000_000));
/// let one = MemoryStore::new(Arc::new(clock));
/// let other = one.clone();
/// assert_eq!(other.features().name, "memory");
/// ```
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    /// The last change that an answer through this handle could speak of.
    seen: AtomicU64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    signal: Signal,
}

impl MemoryStore {
    /// An empty store whose time is `clock`'s wall clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, shared: Arc::default(), seen: AtomicU64::new(0) }
    }

    /// One atomic step; `now` is read when nothing can block it any more.
    fn step<T>(&self, body: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.wall();
        let answer = body(&mut state, now);
        let news = std::mem::take(&mut state.news);
        drop(state);
        if news {
            self.shared.signal.raise();
        }
        answer
    }

    /// A step whose answer speaks of everything that is available at its moment.
    fn look<T>(&self, body: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let raised = self.shared.signal.raised();
        let answer = self.step(body);
        self.seen.fetch_max(raised, Ordering::AcqRel);
        answer
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        let seen = AtomicU64::new(self.shared.signal.raised());
        Self { clock: Arc::clone(&self.clock), shared: Arc::clone(&self.shared), seen }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

impl Wake for MemoryStore {
    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.shared.signal.past(&self.seen))
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    fn features(&self) -> StoreFeatures {
        StoreFeatures {
            name: "memory",
            shared: false,
            max_batch: 10_000,
            clock_step: Duration::from_micros(1),
            claims: ClaimShape::Cas,
            lock_fences: true,
        }
    }

    fn inspect(&self) -> &dyn Inspect {
        self
    }

    fn wake(&self) -> Option<&dyn Wake> {
        Some(self)
    }

    fn checks(&self) -> Option<&dyn Check> {
        None
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.clock.wall())
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        Ok(self.step(|state, now| state.apply(now, changes)))
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.step(|state, now| state.enqueue(now, work))
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        Ok(self.step(|state, now| state.cancel(now, &ids, &why)))
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        Ok(self.step(|state, now| state.join(now, info)))
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        Ok(self.step(|state, now| state.check_in(now, node)))
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        Ok(self.step(|state, now| state.take_over(now, dead, beat)))
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.step(|state, now| state.leave(now, node));
        Ok(())
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        Ok(self.step(|state, _| state.set_standby(node, standby)))
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        Fence::check_epoch("raise_epoch", to)?;
        Ok(self.step(|state, now| state.raise_epoch(now, to)))
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        Ok(self.step(|state, _| state.orphans(owner, limit)))
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        Ok(self.look(|state, now| state.read_due(now, &request)))
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        Ok(self.step(|state, now| state.claim(now, request)))
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        Ok(self.step(|state, now| state.claim_ready(now, &request)))
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        Ok(self.step(|state, _| state.begin(&claims)))
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        self.step(|state, now| state.settle(now, plans))
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        Ok(self.step(|state, _| state.wake_waiting(limit)))
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        Ok(self.step(|state, now| state.prune(now, request)))
    }
}
