//! Locks whose connection is cut between any two statements: whoever got no answer can find out, and fences never come
//! again.

use std::sync::Arc;

use punctual_core::LockProvider;
use punctual_core::key::NodeId;
use punctual_core::lock::{Lease, LockRequest};

use crate::bench::{Bench, secs};
use crate::case::cases;
use crate::probe::{Point, Probe};

async fn acquire(locks: &dyn LockProvider, owner: i64) -> punctual_core::Result<Option<Lease>> {
    let owner = NodeId::from_stored(owner);
    locks.try_acquire(LockRequest { name: "l".into(), owner, span: secs(10) }).await
}

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Acquire,
    Renew,
    Release,
}

/// Cuts a step at each of its points, and lets somebody else have the lock afterwards.
async fn cut(bench: &Bench, cut: Cut) {
    let probe = Arc::new(Probe::default());
    let (hooked, locks) = (bench.hooked_locks(&probe).await, bench.locks().await);
    let mut last = punctual_core::Fence::NONE;
    for point in Point::all(u32::MAX) {
        let mut lease = None;
        if cut != Cut::Acquire {
            lease = acquire(&*locks, 1).await.expect("a write");
            assert!(lease.is_some(), "the lock is free");
        }
        probe.cut_at(point);
        let failed = match (cut, &lease) {
            (Cut::Renew, Some(lease)) => hooked.renew(lease, secs(99)).await.is_err(),
            (Cut::Release, Some(lease)) => hooked.release(lease).await.is_err(),
            _ => acquire(&*hooked, 1).await.is_err(),
        };
        let over = probe.statements() <= point.statement && !failed;
        // Held or not, for ten seconds or for ninety-nine: at the end of them it is free for the next.
        bench.advance(secs(100));
        let next = acquire(&*locks, 2).await.expect("a write").expect("every lease has ended");
        assert!(next.fence > last, "{cut:?} {point:?}: the fence comes again");
        if let Some(lease) = lease {
            assert!(next.fence > lease.fence);
            assert_eq!(locks.renew(&lease, secs(10)).await.expect("a write"), None, "{cut:?} {point:?}");
        }
        last = next.fence;
        assert!(locks.release(&next).await.expect("a write"));
        if over {
            return;
        }
    }
}

cases! {
    C "lock_cuts";

    /// A lock whose holder was cut off while it took it is free when its lease has ended, under a larger fence.
    [Statements, Locks, Clock]
    async fn acquire_cut(bench) {
        cut(&bench, Cut::Acquire).await;
    }

    /// A lease whose holder was cut off while it renewed it ends, and can then be renewed no more.
    [Statements, Locks, Clock]
    async fn renew_cut(bench) {
        cut(&bench, Cut::Renew).await;
    }

    /// A lock whose holder was cut off while it released it can be had by the next, under a larger fence.
    [Statements, Locks, Clock]
    async fn release_cut(bench) {
        cut(&bench, Cut::Release).await;
    }
}
