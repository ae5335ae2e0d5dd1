//! Pauses of triggers and of groups: in force when the call returns, and what came due meanwhile.

mod common;

use common::*;
use punctual_core::ErrorKind;
use punctual_core::execution::{Outcome, SkipReason};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::trigger::TriggerState;
use punctual_runtime::Resumed;

#[tokio::test]
async fn a_paused_trigger_fires_no_more_until_it_is_resumed() {
    let world = World::new();
    let node = world.member(1).await;
    let (scheduler, key) = (&node.scheduler, "tick".parse().unwrap());
    scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(5)).await;
    assert!(scheduler.pause_trigger(&key, "Ada", Some("a look")).await.unwrap());
    assert!(!scheduler.pause_trigger(&key, "Grace", None).await.unwrap(), "the earlier pause stays");
    let before = world.runs("tick").len();
    world.pass(secs(30)).await;
    assert_eq!(world.runs("tick").len(), before);
    let stored = scheduler.trigger(&key).await.unwrap().unwrap();
    assert_eq!(stored.state, TriggerState::Paused);
    let pause = stored.paused.unwrap();
    assert_eq!((&*pause.by, pause.reason.as_deref()), ("Ada", Some("a look")));

    assert_eq!(scheduler.resume_trigger(&key).await.unwrap(), Resumed::GoesOn);
    assert_eq!(scheduler.resume_trigger(&key).await.unwrap(), Resumed::WasNotPaused);
    world.pass(secs(5)).await;
    // None of it was late enough to be a misfire.
    assert_eq!(world.runs("tick").len(), 40);
}

#[tokio::test]
async fn what_came_due_under_a_long_pause_is_a_misfire_and_is_accounted_for() {
    let world = World::new();
    let node = world.member(1).await;
    let (scheduler, key) = (&node.scheduler, "tick".parse().unwrap());
    let every = scheduler.schedule(task("tick")).every(secs(10)).key("tick");
    every.on_misfire(MisfirePolicy::FireOnceNow).await.unwrap();
    world.pass(secs(10)).await;
    scheduler.pause_trigger(&key, "Ada", None).await.unwrap();
    world.pass(secs(300)).await;
    assert_eq!(world.runs("tick").len(), 1);
    scheduler.resume_trigger(&key).await.unwrap();
    world.pass(secs(1)).await;
    assert_eq!(world.runs("tick").len(), 2, "the latest of them fires");
    let skipped: Vec<_> =
        world.history().await.into_iter().filter(|record| record.outcome == Outcome::Skipped).collect();
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].reason, skipped[0].count), (Some(SkipReason::Misfire), Some(29)));
}

#[tokio::test]
async fn a_paused_group_holds_back_what_is_put_into_it() {
    let world = World::new();
    let node = world.member(1).await;
    let scheduler = &node.scheduler;
    scheduler.schedule(task("old")).every(secs(1)).key("night/old").await.unwrap();
    scheduler.schedule(task("free")).every(secs(1)).key("day/free").await.unwrap();
    scheduler.pause_group("night", "Ada", None).await.unwrap();
    scheduler.schedule(task("new")).every(secs(1)).key("night/new").await.unwrap();
    world.pass(secs(5)).await;
    let runs = |name| world.runs(name).len();
    assert_eq!((runs("old"), runs("new"), runs("free")), (0, 0, 5));
    let old = "night/old".parse().unwrap();
    assert_eq!(scheduler.resume_trigger(&old).await.unwrap(), Resumed::GroupIsPaused);
    let groups = scheduler.paused_groups().await.unwrap();
    assert_eq!(groups.iter().map(|paused| &*paused.group).collect::<Vec<_>>(), ["night"]);
    assert!(scheduler.resume_group("night").await.unwrap());
    assert!(!scheduler.resume_group("night").await.unwrap());
    world.pass(secs(5)).await;
    assert_eq!((runs("old"), runs("new"), runs("free")), (10, 10, 10));
}

#[tokio::test]
async fn a_pause_needs_a_trigger_a_group_that_can_be_one_and_a_name() {
    let world = World::new();
    let scheduler = world.client().await;
    let nobody = "nobody".parse().unwrap();
    let kind = |error: punctual_core::Error| error.kind();
    assert_eq!(scheduler.pause_trigger(&nobody, "Ada", None).await.map_err(kind), Err(ErrorKind::NotFound));
    assert_eq!(scheduler.resume_trigger(&nobody).await.map_err(kind), Err(ErrorKind::NotFound));
    for group in ["", "a/b", " a"] {
        assert_eq!(scheduler.pause_group(group, "Ada", None).await.map_err(kind), Err(ErrorKind::Invalid));
    }
    assert_eq!(scheduler.pause_group("a", " ", None).await.map_err(kind), Err(ErrorKind::Invalid));
    let long = "x".repeat(2_001);
    assert_eq!(scheduler.pause_group("a", "Ada", Some(&long)).await.map_err(kind), Err(ErrorKind::Invalid));
    assert_eq!(scheduler.paused_groups().await.unwrap(), []);
}
