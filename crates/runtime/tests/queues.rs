//! Long queues of work that cannot go: what can go does not wait for them, and they are worked off in order.

mod common;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use common::*;
use punctual_core::job::WhenBusy;
use punctual_core::{Clock, JobStore};

/// So many triggers that share one slot, all due at the same instant.
const BLOCKED: u64 = 2_000;

#[tokio::test]
async fn blocked_triggers_are_out_of_the_way_after_a_few_looks() {
    let world = World::new();
    let client = world.client().await;
    // Whoever comes first holds the only slot for an hour.
    for n in 0..BLOCKED {
        let key = format!("blocked/{n}");
        let request = client.schedule(long("blocked", secs(3_600))).every(secs(86_400)).start(START.into());
        request.limit("slot", 1, WhenBusy::Queue).key(&key).await.expect("it is stored");
    }
    let free = START.plus(millis(1));
    client.schedule(task("free")).at(free.into()).key("free").await.expect("it is stored");

    let node = world.member_with(1, |builder| builder.capacity(8)).await;
    world.pass(millis(2)).await;
    assert_eq!(world.runs("blocked").len(), 1, "one slot, one body");
    assert_eq!(world.runs("free").len(), 1, "it went past them");
    let looks = node.line.looks.load(Ordering::SeqCst);
    assert!(looks <= 20, "{BLOCKED} triggers took {looks} looks");
    // From then on they cost nothing: nobody reads them while the slot is taken.
    let due =
        world.store.inspect().triggers(punctual_core::inspect::Page::first(10_000)).await.expect("a read");
    assert!(due.iter().all(|trigger| trigger.wake.is_none_or(|wake| wake > world.clock.wall())));
}

#[tokio::test]
async fn a_queue_goes_one_by_one_and_loses_nobody() {
    let world = World::new();
    let _nodes = (world.member(1).await, world.member(2).await);
    let client = world.client().await;
    for n in 0..50 {
        let work = client.enqueue(long("queued", millis(100))).limit("slot", 1);
        work.await.unwrap_or_else(|error| panic!("element {n}: {error}"));
    }
    world.pass(secs(30)).await;
    assert_eq!(world.runs("queued").len(), 50);
    world.assert_never_at_once("queued");
}

/// Half of the triggers are in the slice of a node that has no room. They wait for the grace, and not for the poll, also
/// where others fall due at the same instant.
#[tokio::test]
async fn what_a_full_node_leaves_lying_is_taken_after_the_grace() {
    let world = World::new();
    let full = world.member_with(1, |builder| builder.capacity(1)).await;
    full.scheduler.enqueue(long("hog", secs(600))).await.unwrap();
    world.pass(secs(1)).await;
    let other = world.member(2).await;
    world.pass(secs(5)).await;
    for n in 0..20 {
        let key = format!("t{n}");
        other.scheduler.schedule(task(&key)).every(secs(1)).key(&key).await.unwrap();
    }
    world.pass(secs(30)).await;
    let late = (0..20).flat_map(|n| world.runs(&format!("t{n}"))).map(|run| run.begun.since(run.scheduled));
    let late: Vec<_> = late.collect();
    assert!(late.len() >= 20 * 28, "{}", late.len());
    assert!(late.iter().max().unwrap() <= &millis(560), "{late:?}");
    assert!(late.iter().any(|late| *late > millis(400)), "some were in the slice of the full node");
}

/// Two nodes of which each could do all of it, and both are late with everything. The first look may take what is the
/// other's; from then on each has its own, or they would be after the same triggers all the time.
#[tokio::test]
async fn nodes_that_are_all_late_keep_to_their_own_triggers() {
    let world = World::new();
    let nodes = [world.member(1).await, world.member(2).await];
    world.pass(secs(5)).await;
    for n in 0..20 {
        let key = format!("t{n}");
        nodes[0].scheduler.schedule(task(&key)).every(millis(100)).key(&key).await.unwrap();
    }
    for node in &nodes {
        node.line.set_for("read_due", Mode::Late);
    }
    world.pass(secs(10)).await;
    for node in &nodes {
        node.line.set(Mode::Up);
    }
    world.pass(secs(5)).await;
    let mut owners = BTreeSet::new();
    for n in 0..20 {
        let runs = world.runs(&format!("t{n}"));
        assert!(runs.len() >= 140, "t{n} fired {} times", runs.len());
        let first = runs.iter().filter(|run| run.node == runs[0].node).count();
        let strange = first.min(runs.len() - first);
        assert!(strange <= 2, "the other node had {strange} of t{n}'s {} firings", runs.len());
        owners.insert(runs.last().unwrap().node);
    }
    assert_eq!(owners.len(), 2, "each had a share");
}
