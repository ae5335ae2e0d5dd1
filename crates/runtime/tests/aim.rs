//! Claims are sent so early that they arrive when their instants come, and nothing begins before.

mod common;

use std::time::Duration;

use common::*;

/// How late each firing of a trigger that fires every second was while `span` passed.
async fn late(world: &World, span: Duration) -> Vec<Duration> {
    let before = world.runs("t").len();
    world.pass(span).await;
    let runs = world.runs("t").split_off(before);
    assert!(runs.iter().all(|run| run.begun >= run.scheduled), "early: {runs:#?}");
    runs.iter().map(|run| run.begun.since(run.scheduled)).collect()
}

#[tokio::test]
async fn a_claim_arrives_when_its_instant_comes_and_is_made_again_if_that_was_too_soon() {
    let world = World::new();
    let node = world.member(1).await;
    let on_the_way = |way| *node.line.way_of_claims.lock().unwrap() = Some((world.clock.clone(), way));
    on_the_way(millis(4));
    node.scheduler.schedule(task("t")).every(secs(1)).key("t").await.expect("it is stored");
    world.pass(millis(500)).await;

    assert_eq!(late(&world, secs(4)).await, [millis(4); 4], "nothing is known of the way yet");
    assert_eq!(
        late(&world, secs(10)).await,
        [millis(2); 10],
        "half of the way is behind it when the instant comes"
    );
    on_the_way(Duration::ZERO);
    assert_eq!(late(&world, secs(1)).await, [Duration::ZERO], "it came too soon, and was made again");
    on_the_way(millis(4));
    assert_eq!(late(&world, secs(32)).await, [millis(4); 32], "nobody trusts the way after that");
    assert_eq!(late(&world, secs(5)).await, [millis(2); 5], "until it is forgotten");
}
