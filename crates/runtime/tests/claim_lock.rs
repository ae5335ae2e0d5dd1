//! Claims within a lock: one at a time, each instant once, and no node that hangs holds the others up for long.

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use common::*;
use punctual_core::lock::{Lease, LockProvider, LockRequest};
use punctual_core::{ErrorKind, Profile, Result};

const LOCK: &str = "claims";

/// A lock that is given to everybody, as one whose leases ran out too early would be: each holder has a fence of its own.
#[derive(Debug)]
struct Generous {
    inner: Arc<dyn LockProvider>,
}

#[async_trait]
impl LockProvider for Generous {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        let lease = self.inner.try_acquire(request).await?;
        if let Some(lease) = &lease {
            self.inner.release(lease).await?;
        }
        Ok(lease)
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        self.inner.renew(lease, span).await
    }

    async fn release(&self, _lease: &Lease) -> Result<bool> {
        Ok(false)
    }
}

async fn fires_every_second_once(locks: impl Fn(&World) -> Arc<dyn LockProvider>) {
    let world = World::new();
    let locks = locks(&world);
    let within = |builder: punctual_runtime::Builder| builder.claim_within(Arc::clone(&locks), LOCK);
    let (one, _two) = (world.member_with(1, within).await, world.member_with(2, within).await);
    for n in 0..3 {
        one.scheduler
            .schedule(task(&format!("t{n}")))
            .every(secs(1))
            .key(&format!("t{n}"))
            .await
            .expect("it is stored");
    }
    world.pass(secs(30)).await;
    for n in 0..3 {
        let mut instants: Vec<_> = world.runs(&format!("t{n}")).iter().map(|run| run.scheduled).collect();
        instants.sort();
        let owed: Vec<_> = (1..=30).map(|second| START.plus(secs(second))).collect();
        assert_eq!(instants, owed, "t{n}");
    }
}

#[tokio::test]
async fn two_nodes_fire_each_instant_once() {
    fires_every_second_once(|world| Arc::new(world.store.clone())).await;
}

#[tokio::test]
async fn a_lock_that_breaks_its_promise_makes_nothing_fire_twice() {
    fires_every_second_once(|world| Arc::new(Generous { inner: Arc::new(world.store.clone()) })).await;
}

#[tokio::test]
async fn a_lock_that_a_dead_node_held_is_free_when_its_lease_ends() {
    let world = World::new();
    let locks: Arc<dyn LockProvider> = Arc::new(world.store.clone());
    let within = |builder: punctual_runtime::Builder| builder.claim_within(Arc::clone(&locks), LOCK);
    let (one, _two) = (world.member_with(1, within).await, world.member_with(2, within).await);
    one.scheduler.schedule(task("t")).every(secs(1)).key("t").await.unwrap();
    world.pass(secs(5)).await;
    // It dies with the lock in its hands.
    one.line.set_for("claim", Mode::Cut);
    world.pass(secs(2)).await;
    one.kill();
    world.pass(Profile::FAST.takeover_bound(secs(1)) + secs(10)).await;
    let last = world.runs("t").iter().map(|run| run.scheduled).max().unwrap();
    assert!(last >= START.plus(secs(15)), "the other node goes on: {last}");
}

#[tokio::test]
async fn an_idle_node_takes_no_lock() {
    let world = World::new();
    let locks: Arc<dyn LockProvider> = Arc::new(world.store.clone());
    let within = |builder: punctual_runtime::Builder| builder.claim_within(Arc::clone(&locks), LOCK);
    let _one = world.member_with(1, within).await;
    world.pass(secs(60)).await;
    let request =
        LockRequest { name: LOCK.into(), owner: punctual_core::NodeId::from_stored(7), span: secs(1) };
    let first = locks.try_acquire(request).await.unwrap().expect("nobody holds it");
    assert_eq!(first.fence.get(), 1, "nobody has ever held it");
}

#[tokio::test]
async fn a_store_that_needs_a_lock_is_refused_without_one() {
    let world = World::new();
    let line: Arc<Line> = Arc::default();
    line.needs_lock();
    let refused = world.builder(&line, 1).build().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("claim_within"), "{refused}");
    let locks: Arc<dyn LockProvider> = Arc::new(world.store.clone());
    assert!(world.builder(&line, 1).claim_within(locks, LOCK).build().await.is_ok());
}
