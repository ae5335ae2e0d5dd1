//! `LockProvider`: leases on names.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::LockProvider;
use punctual_core::key::NodeId;
use punctual_core::lock::{Lease, LockRequest};

use crate::bench::{ms, secs};
use crate::case::cases;

const SPAN: Duration = Duration::from_secs(10);

fn owner(n: i64) -> NodeId {
    NodeId::from_stored(n)
}

async fn acquire(locks: &Arc<dyn LockProvider>, name: &str, n: i64) -> Option<Lease> {
    let request = LockRequest { name: name.into(), owner: owner(n), span: SPAN };
    locks.try_acquire(request).await.expect("a write")
}

async fn renew(locks: &Arc<dyn LockProvider>, lease: &Lease) -> Option<Lease> {
    locks.renew(lease, SPAN).await.expect("a write")
}

async fn release(locks: &Arc<dyn LockProvider>, lease: &Lease) -> bool {
    locks.release(lease).await.expect("a write")
}

cases! {
    A "locks";

    /// A free lock is taken, for the span that was asked for.
    [Locks, Clock]
    async fn a_free_lock_is_taken(bench) {
        let locks = bench.locks().await;
        let lease = acquire(&locks, "l", 1).await.expect("it is free");
        assert_eq!((&*lease.name, lease.owner, lease.until), ("l", owner(1), bench.t0.plus(SPAN)));
    }

    /// A lock that somebody holds is not given to another, nor to its holder a second time.
    [Locks]
    async fn a_held_lock_is_refused(bench) {
        let locks = bench.locks().await;
        assert!(acquire(&locks, "l", 1).await.is_some());
        assert_eq!(acquire(&locks, "l", 2).await, None);
        assert_eq!(acquire(&locks, "l", 1).await, None);
    }

    /// Another handle sees who holds a lock.
    [Locks]
    async fn two_handles_share_the_locks(bench) {
        let (one, other) = (bench.locks().await, bench.locks().await);
        let lease = acquire(&one, "l", 1).await.expect("it is free");
        assert_eq!(acquire(&other, "l", 2).await, None);
        assert!(release(&other, &lease).await);
        assert!(acquire(&one, "l", 2).await.is_some());
    }

    /// Each new holder gets a larger fence, also after a release.
    [Locks]
    async fn fences_grow_over_releases(bench) {
        let locks = bench.locks().await;
        let mut fences = Vec::new();
        for n in 0..4 {
            let lease = acquire(&locks, "l", n).await.expect("it is free");
            fences.push(lease.fence);
            assert!(release(&locks, &lease).await);
        }
        assert!(fences.is_sorted_by(|one, next| one < next), "{fences:?}");
    }

    /// A lease ends at its time, and the next holder gets a larger fence.
    [Locks, Clock]
    async fn a_lease_ends_at_its_time(bench) {
        let locks = bench.locks().await;
        let first = acquire(&locks, "l", 1).await.expect("it is free");
        bench.advance(SPAN - ms(1));
        assert_eq!(acquire(&locks, "l", 2).await, None);
        bench.advance(ms(1));
        let second = acquire(&locks, "l", 2).await.expect("it has ended");
        assert!(second.fence > first.fence);
    }

    /// Renewing extends a lease from now, with its fence.
    [Locks, Clock]
    async fn renewing_extends_a_lease(bench) {
        let locks = bench.locks().await;
        let lease = acquire(&locks, "l", 1).await.expect("it is free");
        bench.advance(secs(6));
        let renewed = renew(&locks, &lease).await.expect("it is in force");
        assert_eq!(renewed, Lease { until: bench.t0.plus(secs(16)), ..lease });
        bench.advance(secs(9));
        assert_eq!(acquire(&locks, "l", 2).await, None);
    }

    /// A lease that has ended cannot be renewed, though nobody took the lock.
    [Locks, Clock]
    async fn an_ended_lease_cannot_be_renewed(bench) {
        let locks = bench.locks().await;
        let lease = acquire(&locks, "l", 1).await.expect("it is free");
        bench.advance(SPAN);
        assert_eq!(renew(&locks, &lease).await, None);
        assert!(!release(&locks, &lease).await);
        assert!(acquire(&locks, "l", 2).await.is_some());
    }

    /// A stale holder neither renews nor releases the lease of the next one.
    [Locks]
    async fn a_stale_holder_changes_nothing(bench) {
        let locks = bench.locks().await;
        let stale = acquire(&locks, "l", 1).await.expect("it is free");
        assert!(release(&locks, &stale).await);
        let lease = acquire(&locks, "l", 1).await.expect("it is free");
        assert_eq!(renew(&locks, &stale).await, None);
        assert!(!release(&locks, &stale).await);
        assert_eq!(acquire(&locks, "l", 2).await, None);
        assert!(renew(&locks, &lease).await.is_some());
    }

    /// A released lease can be neither renewed nor released again.
    [Locks]
    async fn a_released_lease_is_over(bench) {
        let locks = bench.locks().await;
        let lease = acquire(&locks, "l", 1).await.expect("it is free");
        assert!(release(&locks, &lease).await);
        assert!(!release(&locks, &lease).await);
        assert_eq!(renew(&locks, &lease).await, None);
    }

    /// Renewing a lease renews no other one of its owner.
    [Locks, Clock]
    async fn a_renewal_is_of_one_lock(bench) {
        let locks = bench.locks().await;
        let lease = acquire(&locks, "l", 1).await.expect("it is free");
        assert!(acquire(&locks, "m", 1).await.is_some());
        bench.advance(SPAN / 2);
        assert!(renew(&locks, &lease).await.is_some());
        bench.advance(SPAN / 2);
        assert_eq!(acquire(&locks, "l", 2).await, None);
        assert!(acquire(&locks, "m", 2).await.is_some(), "it is over");
    }

    /// Names compare byte for byte.
    [Locks]
    async fn names_are_apart(bench) {
        let locks = bench.locks().await;
        for name in ["lock", "Lock", "lock ", "l%", "l_", "Straße", "STRASSE", "é", "e\u{301}"] {
            assert!(acquire(&locks, name, 1).await.is_some(), "{name:?}");
        }
    }

    /// A name has 1 to 200 bytes.
    [Locks]
    async fn names_have_a_length(bench) {
        let locks = bench.locks().await;
        assert!(acquire(&locks, &"x".repeat(200), 1).await.is_some());
        for name in ["", &"x".repeat(201)] {
            let request = LockRequest { name: name.into(), owner: owner(1), span: SPAN };
            let error = locks.try_acquire(request).await.expect_err("it is out of bounds");
            assert_eq!(error.kind(), punctual_core::ErrorKind::Invalid);
        }
    }
}
