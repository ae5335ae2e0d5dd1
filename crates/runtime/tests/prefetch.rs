//! Claiming ahead: large batches of short bodies, never more at once than there is room for, and nothing held back.

mod common;

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::*;
use punctual_core::JobStore;
use punctual_core::execution::{Execution, Outcome};
use punctual_core::store::Standby;
use punctual_runtime::Scheduler;

/// The most bodies of a name that ran at once.
fn most_at_once(world: &World, name: &str) -> usize {
    let runs = world.runs(name);
    let at_once =
        |at| runs.iter().filter(|run| run.begun <= at && run.ended.is_none_or(|ended| ended > at)).count();
    runs.iter().map(|run| at_once(run.begun)).max().unwrap_or(0)
}

/// Short bodies go first.
async fn enqueue(client: &Scheduler, name: &str, count: usize, takes: Duration) {
    let work = client.enqueue_many((0..count).map(|_| long(name, takes)));
    work.priority(if name == "short" { 1 } else { 0 }).await.expect("it is stored");
}

#[tokio::test]
async fn short_bodies_are_claimed_ahead_and_no_more_run_than_there_is_room_for() {
    let mut looks = Vec::new();
    for span in [millis(0), millis(200)] {
        let world = World::new();
        enqueue(&world.client().await, "short", 400, millis(10)).await;
        let node = world.member_with(1, |builder| builder.capacity(4).prefetch(span)).await;
        world.pass(secs(3)).await;
        let runs = world.runs("short");
        assert_eq!(runs.len(), 400);
        assert_eq!(most_at_once(&world, "short"), 4);
        assert!(runs.iter().all(|run| run.begun.since(START) <= millis(1_050)), "none waits for a look");
        looks.push(node.line.looks.load(Ordering::SeqCst));
    }
    assert!(looks[1] * 2 < looks[0], "{looks:?}");
}

#[tokio::test]
async fn what_is_claimed_ahead_begins_in_the_order_of_its_priority() {
    let world = World::new();
    let client = world.client().await;
    enqueue(&client, "first", 50, millis(1)).await;
    let _node = world.member_with(1, |builder| builder.capacity(1).prefetch(millis(200))).await;
    world.pass(millis(30)).await;
    for (name, priority) in [("low", 1), ("high", 9), ("middle", 5)] {
        let work = (0..20).map(|_| long(name, millis(1)));
        client.enqueue_many(work).priority(priority).await.expect("it is stored");
    }
    world.pass(secs(2)).await;
    let names: Vec<String> = world.log.bodies.lock().unwrap().iter().map(|run| run.name.clone()).collect();
    let after = |name: &str| names.iter().position(|other| other == name).expect("it ran");
    // What was claimed before something better came stays in front of it; what one claim gave keeps its order.
    assert_eq!(names.len(), 110);
    assert!(after("high") < after("middle"), "{names:?}");
}

/// The pace was learnt from short bodies, and then come long ones: what this node cannot begin soon goes back, and costs
/// no attempt.
#[tokio::test]
async fn what_finds_no_room_goes_back_for_others_to_run() {
    let world = World::new();
    let client = world.client().await;
    enqueue(&client, "short", 100, millis(1)).await;
    enqueue(&client, "long", 20, secs(30)).await;
    let busy = world.member_with(1, |builder| builder.capacity(1)).await;
    world.pass(millis(300)).await;
    assert_eq!((world.runs("short").len(), world.runs("long").len()), (100, 1));
    let other = world.member_with(2, |builder| builder.capacity(30)).await;
    world.pass(secs(2)).await;
    let runs = world.runs("long");
    assert_eq!(runs.len(), 20, "the others do not wait behind the first");
    assert_eq!(runs.iter().filter(|run| run.node == busy.scheduler.node_id()).count(), 1);
    assert_eq!(runs.iter().filter(|run| run.node == other.scheduler.node_id()).count(), 19);
    world.pass(secs(60)).await;
    let history = world.history().await;
    assert_eq!(history.len(), 120);
    assert!(history.iter().all(|record| record.outcome == Outcome::Succeeded && record.attempt == 1));
}

#[tokio::test]
async fn what_waits_for_room_is_cancelled_without_being_begun() {
    let world = World::new();
    let client = world.client().await;
    enqueue(&client, "short", 50, millis(1)).await;
    enqueue(&client, "long", 5, secs(30)).await;
    let node = world.member_with(1, |builder| builder.capacity(1).prefetch(millis(750))).await;
    world.pass(millis(100)).await;
    let running = world.runs("long");
    assert_eq!(running.len(), 1);
    let owned = |row: &Execution| row.owner.is_some() && row.id != running[0].id;
    let waiting: Vec<_> = world.live().await.into_iter().filter(owned).collect();
    assert_eq!(waiting.len(), 4, "they are claimed");
    let ids = waiting.iter().map(|row| row.id).collect();
    node.scheduler.cancel(ids, "no longer wanted").await.expect("they are marked");
    world.pass(secs(2)).await;
    assert_eq!(world.runs("long").len(), 1, "none of them was begun");
    let history = world.history().await;
    let cancelled = history.iter().filter(|record| record.outcome == Outcome::Cancelled).count();
    assert_eq!(cancelled, 4);
}

#[tokio::test]
async fn a_node_that_is_shut_down_gives_back_what_waits_at_once() {
    let world = World::new();
    let client = world.client().await;
    enqueue(&client, "short", 50, millis(1)).await;
    enqueue(&client, "long", 5, secs(30)).await;
    let mut node = world.member_with(1, |builder| builder.capacity(1).prefetch(millis(750))).await;
    world.pass(millis(100)).await;
    node.shut_down();
    world.pass(millis(1)).await;
    let owned = world.live().await.into_iter().filter(|row| row.owner.is_some()).count();
    assert_eq!(owned, 1, "only what runs is still its own");
    world.pass(secs(40)).await;
    assert!(node.has_ended());
    assert_eq!(world.runs("long").len(), 1);
}

/// A node that has claimed the first four of forty, and as many as it asked for.
async fn in_a_long_queue() -> (World, Member) {
    let world = World::new();
    enqueue(&world.client().await, "short", 40, millis(50)).await;
    let node = world.member_with(1, |builder| builder.capacity(4).prefetch(millis(0))).await;
    world.pass(millis(10)).await;
    assert_eq!(world.runs("short").len(), 4);
    (world, node)
}

/// Who has claimed all that it asked for expects more, and claims again while it looks for what is due: that begins, also
/// if the look fails.
#[tokio::test]
async fn a_long_queue_does_not_wait_for_the_triggers_to_be_read() {
    let (world, node) = in_a_long_queue().await;
    node.line.set_for("read_due", Mode::Down);
    world.pass(millis(60)).await;
    let begun = world.runs("short").len();
    assert!(begun > 4, "what was claimed beside the look began: {begun}");
    node.line.set(Mode::Up);
    world.pass(secs(4)).await;
    assert_eq!(world.runs("short").len(), 40);
    assert_eq!(most_at_once(&world, "short"), 4);
}

/// Behind what it has claimed, a node looks for a tenth of a second only, where a look takes no time.
#[tokio::test]
async fn a_long_queue_hides_no_urgent_work() {
    let world = World::new();
    let client = world.client().await;
    enqueue(&client, "short", 100, millis(10)).await;
    let _node = world.member_with(1, |builder| builder.capacity(4).prefetch(millis(0))).await;
    world.pass(millis(15)).await;
    assert_eq!(world.runs("short").len(), 8);
    client.enqueue_many([long("urgent", millis(10))]).priority(9).await.expect("it is stored");
    world.pass(millis(130)).await;
    let short = world.runs("short").len();
    assert_eq!(world.runs("urgent").len(), 1, "{short} others began before");
    assert!(short < 100);
    world.pass(secs(2)).await;
    assert_eq!(world.runs("short").len(), 100);
}

/// The gate of the last look is another one by now.
#[tokio::test]
async fn a_claim_that_does_not_wait_for_the_look_respects_a_standby() {
    let (world, node) = in_a_long_queue().await;
    // The store alone knows of it: the node's own idea of its gate is old.
    let id = node.scheduler.node_id();
    world.store.set_standby(id, Standby::On).await.expect("it is stored");
    world.store.set_standby(id, Standby::Off).await.expect("it is stored");
    node.line.set_for("read_due", Mode::Down);
    world.pass(millis(200)).await;
    assert_eq!(world.runs("short").len(), 4, "claims with the gate of before are refused");
    node.line.set(Mode::Up);
    world.pass(secs(5)).await;
    assert_eq!(world.runs("short").len(), 40, "the gate that it has now is open");
}

#[tokio::test]
async fn a_prefetch_that_outlasts_the_lease_is_refused() {
    let world = World::new();
    let error = world.builder(&Default::default(), 1).prefetch(millis(751)).build().await.unwrap_err();
    assert!(error.message().contains("a quarter of the profile's hold"), "{error}");
}
