//! One node and its work: order, retries, panics, timeouts, commands, shutdown.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use punctual_core::event::{Event, Listener, Stamped};
use punctual_core::execution::{AttemptOutcome, Outcome, SkipReason};
use punctual_core::inspect::Page;
use punctual_core::job::{Payload, RetryPolicy, WhenBusy};
use punctual_core::node::NodeState;
use punctual_core::schedule::Every;
use punctual_core::trigger::TriggerSpec;
use punctual_core::{Clock, ErrorKind, JobKey, JobStore, Schedule};
use punctual_runtime::{Context, DeleteJob, Failure, Job, Scheduler, State};
use serde::{Deserialize, Serialize};

#[tokio::test]
async fn work_runs_now_later_and_at_an_instant() {
    let world = World::new();
    let node = world.member(1).await;
    let scheduler = &node.scheduler;
    scheduler.enqueue(task("now")).await.unwrap();
    scheduler.enqueue(task("later")).after(secs(10)).await.unwrap();
    scheduler.enqueue(task("at")).at(START.plus(secs(20)).into()).await.unwrap();
    world.pass(secs(30)).await;
    let begun = |name: &str| world.runs(name)[0].begun.since(START);
    assert_eq!((begun("now"), begun("later"), begun("at")), (secs(0), secs(10), secs(20)));
}

#[tokio::test]
async fn many_enter_in_one_step_and_the_higher_priority_goes_first() {
    let world = World::new();
    let client = world.client().await;
    client.enqueue_many((0..5).map(|n| task(&format!("low{n}")))).await.unwrap();
    client.enqueue_many((0..5).map(|n| task(&format!("high{n}")))).priority(7).await.unwrap();
    let _node = world.member_with(1, |builder| builder.capacity(1)).await;
    world.pass(secs(5)).await;
    let names: Vec<String> = world.log.bodies.lock().unwrap().iter().map(|run| run.name.clone()).collect();
    assert_eq!(names.len(), 10);
    assert!(names[..5].iter().all(|name| name.starts_with("high")), "{names:?}");
}

#[tokio::test]
async fn a_failing_job_is_tried_again_with_its_delays_and_then_fails() {
    let world = World::new();
    let node = world.member(1).await;
    let hopeless = Task { fails: 99, ..task("hopeless") };
    node.scheduler.enqueue(hopeless).retry(RetryPolicy::fixed(3, secs(10))).await.unwrap();
    let backing_off = Task { fails: 3, ..task("backing off") };
    let mut policy = RetryPolicy::exponential(9, secs(4));
    policy.jitter_percent = 0;
    node.scheduler.enqueue(backing_off).retry(policy).await.unwrap();
    world.pass(secs(60)).await;

    let begun =
        |name: &str| world.runs(name).iter().map(|run| run.begun.since(START).as_secs()).collect::<Vec<_>>();
    assert_eq!(begun("hopeless"), [0, 10, 20]);
    assert_eq!(begun("backing off"), [0, 4, 12, 28]);
    let history = world.history().await;
    let hopeless = history.iter().find(|record| record.outcome == Outcome::Failed).unwrap();
    assert_eq!(hopeless.attempts.len(), 3);
    assert_eq!(hopeless.error.as_deref(), Some("as told"));
    assert_eq!(history.iter().filter(|record| record.outcome == Outcome::Succeeded).count(), 1);
}

#[tokio::test]
async fn a_retry_waits_in_the_row_and_survives_its_node() {
    let world = World::new();
    let first = world.member(1).await;
    let work = Task { fails: 1, ..task("work") };
    first.scheduler.enqueue(work).retry(RetryPolicy::fixed(2, secs(30))).await.unwrap();
    world.pass(secs(1)).await;
    first.kill();
    let _second = world.member(2).await;
    world.pass(secs(40)).await;
    let runs = world.runs("work");
    assert_eq!(runs.iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(runs[1].begun.since(START), secs(30));
}

#[tokio::test]
async fn a_panic_is_a_failed_attempt_and_the_node_goes_on() {
    let world = World::new();
    let node = world.member(1).await;
    node.scheduler.enqueue(Task { fails: 9, how: How::Panic, ..task("bang") }).await.unwrap();
    node.scheduler.enqueue(task("calm")).after(secs(1)).await.unwrap();
    world.pass(secs(5)).await;
    let history = world.history().await;
    let bang = history.iter().find(|record| record.outcome == Outcome::Failed).unwrap();
    assert_eq!(bang.attempts[0].outcome, AttemptOutcome::Panicked);
    assert_eq!(bang.error.as_deref(), Some("panicked: as told"));
    assert_eq!(world.runs("calm").len(), 1);
}

#[tokio::test]
async fn a_dead_failure_is_not_tried_again() {
    let world = World::new();
    let node = world.member(1).await;
    let dead = Task { fails: 9, how: How::Dead, ..task("dead") };
    node.scheduler.enqueue(dead).retry(RetryPolicy::fixed(5, secs(1))).await.unwrap();
    world.pass(secs(20)).await;
    assert_eq!(world.runs("dead").len(), 1);
    assert_eq!(world.history().await[0].outcome, Outcome::Failed);
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_stopped_whether_it_heeds_or_not() {
    let world = World::new();
    let node = world.member(1).await;
    for how in [How::Heed, How::Fail] {
        let slow = Task { how, ..long("slow", secs(3600)) };
        node.scheduler.enqueue(slow).timeout(secs(5)).await.unwrap();
    }
    world.pass(secs(20)).await;
    let took: Vec<_> = world.runs("slow").iter().map(|run| run.ended.unwrap().since(run.begun)).collect();
    assert_eq!(took.iter().min(), Some(&secs(5)));
    assert_eq!(
        took.iter().max(),
        Some(&secs(6)),
        "the one that does not heed is dropped after the wind-down"
    );
    for record in world.history().await {
        assert_eq!(record.attempts[0].outcome, AttemptOutcome::TimedOut);
    }
}

#[tokio::test]
async fn an_exclusive_job_longer_than_its_interval_waits_or_skips() {
    let world = World::new();
    let node = world.member(1).await;
    let every = |name: &str| node.scheduler.schedule(long(name, millis(2500))).every(secs(1)).key(name);
    every("queue").exclusive(WhenBusy::Queue).await.unwrap();
    every("skip").exclusive(WhenBusy::Skip).await.unwrap();
    world.pass(secs(21)).await;

    world.assert_never_at_once("queue");
    world.assert_never_at_once("skip");
    let queued: Vec<_> = world.runs("queue").iter().map(|run| run.scheduled.since(START).as_secs()).collect();
    assert_eq!(queued, (1..=9).collect::<Vec<u64>>(), "each in its turn, none left out");
    let ran: Vec<_> = world.runs("skip").iter().map(|run| run.scheduled.since(START).as_secs()).collect();
    assert_eq!(ran, [1, 4, 7, 10, 13, 16, 19]);
    let history = world.history().await;
    let skipped = history.iter().filter(|record| record.reason == Some(SkipReason::Overlap)).count();
    assert_eq!(skipped, 21 - ran.len(), "every instant that did not run is accounted for");
}

#[tokio::test]
async fn a_shutdown_waits_for_bodies_and_leaves_nothing_behind() {
    let world = World::new();
    let mut node = world.member(1).await;
    node.scheduler.enqueue(long("short", secs(10))).await.unwrap();
    node.scheduler.enqueue(long("long", secs(600))).await.unwrap();
    world.pass(secs(1)).await;
    node.shut_down();
    world.pass(secs(40)).await;
    assert!(node.has_ended());
    node.ended().await.unwrap();

    assert_eq!(world.history().await.len(), 1, "the short one ended well");
    let client = world.client().await;
    assert_eq!(client.running().await.unwrap(), []);
    let _other = world.member(2).await;
    world.pass(secs(1)).await;
    let long = world.runs("long");
    assert_eq!(
        long.iter().map(|run| run.attempt).collect::<Vec<_>>(),
        [1, 1],
        "handed back without using an attempt"
    );
    assert!(client.nodes().await.unwrap().iter().any(|node| node.state == NodeState::Left));
}

/// A node in the middle of a long body that is told to shut down while its store takes no results for `span`.
async fn shut_down_without_results_for(span: Duration) -> (World, Vec<u32>, NodeState) {
    let world = World::new();
    let mut node = world.member_with(1, |builder| builder.grace(secs(1))).await;
    node.scheduler.enqueue(long("long", secs(600))).await.expect("it is put in");
    world.pass(secs(1)).await;
    node.line.set_for("settle", Mode::Down);
    node.shut_down();
    world.pass(span).await;
    node.line.set(Mode::Up);
    world.pass(secs(10)).await;
    assert!(node.has_ended());
    let standing = world.store.inspect().nodes().await.expect("a listing")[0].state;
    let _other = world.member(2).await;
    world.pass(secs(12)).await;
    let attempts = world.runs("long").iter().map(|run| run.attempt).collect();
    (world, attempts, standing)
}

#[tokio::test]
async fn a_shutdown_hands_back_before_it_leaves_when_the_store_is_back_in_the_last_moment() {
    let (_world, attempts, standing) = shut_down_without_results_for(secs(6)).await;
    assert_eq!(attempts, [1, 1], "handed back without using an attempt");
    assert_eq!(standing, NodeState::Left);
}

#[tokio::test]
async fn a_node_that_could_not_hand_back_does_not_say_that_it_left_in_good_order() {
    let (_world, attempts, standing) = shut_down_without_results_for(secs(60)).await;
    assert_eq!(attempts, [1, 2]);
    assert_eq!(standing, NodeState::Up, "others find out by its silence");
}

#[tokio::test]
async fn a_claim_that_nobody_knew_of_when_its_node_left_costs_no_attempt() {
    let world = World::new();
    let mut node = world.member(1).await;
    world.pass(secs(1)).await;
    node.line.set_for("claim_ready", Mode::Deaf);
    node.scheduler.enqueue(task("unknown")).await.unwrap();
    world.pass(Duration::from_millis(100)).await;
    node.shut_down();
    world.pass(secs(4)).await;
    assert!(node.has_ended());
    let client = world.client().await;
    assert_eq!(client.nodes().await.unwrap()[0].state, NodeState::Left);
    assert_eq!(client.running().await.unwrap().len(), 1, "a row names the node that left");
    let _other = world.member(2).await;
    world.pass(secs(15)).await;
    let attempts: Vec<u32> = world.runs("unknown").iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [1]);
}

#[tokio::test]
async fn standby_claims_nothing_and_resume_catches_up() {
    let world = World::new();
    let node = world.member(1).await;
    node.scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(5)).await;
    node.scheduler.standby().await.unwrap();
    let before = world.runs("tick").len();
    world.pass(secs(20)).await;
    assert_eq!(world.runs("tick").len(), before);
    assert!(node.scheduler.nodes().await.unwrap()[0].standby);
    node.scheduler.resume().await.unwrap();
    world.pass(secs(5)).await;
    assert_eq!(world.runs("tick").len(), 30);
}

#[tokio::test]
async fn an_unchanged_definition_writes_nothing_and_a_changed_one_goes_on_after_the_last_instant() {
    let world = World::new();
    let node = world.member(1).await;
    let define = |span| node.scheduler.schedule(task("tick")).every(span).key("tick");
    define(secs(2)).await.unwrap();
    world.pass(secs(5)).await;
    let key = "tick".parse().unwrap();
    let before = node.scheduler.trigger(&key).await.unwrap().unwrap();
    define(secs(2)).await.unwrap();
    assert_eq!(node.scheduler.trigger(&key).await.unwrap().unwrap(), before);

    define(secs(1)).await.unwrap();
    world.pass(secs(5)).await;
    let instants: Vec<_> =
        world.runs("tick").iter().map(|run| run.scheduled.since(START).as_secs()).collect();
    assert_eq!(instants, [2, 4, 6, 7, 8, 9, 10]);
}

#[tokio::test]
async fn triggers_are_rescheduled_unscheduled_and_listed() {
    let world = World::new();
    let node = world.member(1).await;
    let scheduler = &node.scheduler;
    for name in ["a", "b"] {
        scheduler.schedule(task(name)).every(secs(1)).key(&format!("group/{name}")).await.unwrap();
    }
    assert_eq!(scheduler.triggers(Page::of_group("group", 10)).await.unwrap().len(), 2);
    let (a, b) = ("group/a".parse().unwrap(), "group/b".parse().unwrap());
    world.pass(secs(2)).await;
    let spec = TriggerSpec::new(Schedule::Every(Every::new(secs(10)).unwrap()));
    let moved = scheduler.reschedule(&a, spec.clone()).await.unwrap();
    assert_eq!(moved.generation, 2);
    assert!(scheduler.unschedule(&b).await.unwrap());
    assert!(!scheduler.unschedule(&b).await.unwrap());
    world.pass(secs(10)).await;
    assert_eq!(world.runs("a").len(), 3);
    assert_eq!(world.runs("b").len(), 2);
    assert_eq!(scheduler.job(&"group/b".parse().unwrap()).await.unwrap(), None, "its job went with it");
    let error = scheduler.reschedule(&b, spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_job_is_triggered_now_with_data_laid_over_its_own() {
    let world = World::new();
    let node = world.member(1).await;
    let scheduler = &node.scheduler;
    scheduler.schedule(task("daily")).cron("0 0 0 * * ?").key("daily").await.unwrap();
    let key: JobKey = "daily".parse().unwrap();
    scheduler.trigger_now(&key, None).await.unwrap();
    let data = Payload::json(&serde_json::json!({"name": "by hand"})).unwrap();
    scheduler.trigger_now(&key, Some(data)).await.unwrap();
    world.pass(secs(1)).await;
    assert_eq!((world.runs("daily").len(), world.runs("by hand").len()), (1, 1));
    let missing = scheduler.trigger_now(&"nobody".parse().unwrap(), None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_deleted_jobs_work_is_waited_for_cancelled_or_let_go() {
    for (live, outcome) in [
        (DeleteJob::Wait, Outcome::Succeeded),
        (DeleteJob::Cancel, Outcome::Cancelled),
        (DeleteJob::Detach, Outcome::Succeeded),
    ] {
        let world = World::new();
        let node = world.member(1).await;
        let work = Task { how: How::Heed, ..long("work", secs(10)) };
        node.scheduler.schedule(work).every(secs(1)).exclusive(WhenBusy::Queue).key("work").await.unwrap();
        world.pass(secs(3)).await;
        let scheduler = node.scheduler.clone();
        let deletion =
            tokio::spawn(async move { scheduler.delete_job(&"work".parse().unwrap(), live).await });
        world.pass(millis(300)).await;
        assert_eq!(deletion.is_finished(), live != DeleteJob::Wait, "{live:?}");
        world.pass(secs(20)).await;
        assert!(deletion.await.unwrap().unwrap());
        assert_eq!(world.runs("work").len(), 1, "{live:?}: nothing new begins");
        let history = world.history().await;
        assert_eq!(history.iter().map(|record| record.outcome).collect::<Vec<_>>(), [outcome], "{live:?}");
        assert_eq!(node.scheduler.job(&"work".parse().unwrap()).await.unwrap(), None);
    }
}

#[tokio::test]
async fn running_work_is_cancelled_from_another_node() {
    let world = World::new();
    let (_one, two) = (world.member(1).await, world.member(2).await);
    let id = two.scheduler.enqueue(Task { how: How::Heed, ..long("work", secs(600)) }).await.unwrap();
    world.pass(secs(1)).await;
    let client = world.client().await;
    assert_eq!(client.running().await.unwrap().len(), 1);
    let cancelled = client.cancel(vec![id], "no longer needed").await.unwrap();
    assert_eq!((cancelled.ended, cancelled.asked), (0, 1));
    world.pass(secs(3)).await;
    let history = world.history().await;
    assert_eq!(history[0].outcome, Outcome::Cancelled);
    assert_eq!(history[0].error.as_deref(), Some("no longer needed"));
}

#[tokio::test]
async fn old_history_is_deleted_and_the_rest_stays() {
    let world = World::new();
    let node = world.member_with(1, |builder| builder.keep_history(Some(secs(600)))).await;
    node.scheduler.enqueue(task("old")).await.unwrap();
    node.scheduler.enqueue(task("new")).after(secs(900)).await.unwrap();
    world.pass(secs(1_000)).await;
    assert_eq!(world.runs("old").len(), 1);
    let history = world.history().await;
    assert_eq!(history.len(), 1, "{history:#?}");
}

#[tokio::test]
async fn successes_leave_no_record_where_none_is_wanted_and_all_else_does() {
    let world = World::new();
    let node = world.member_with(1, |builder| builder.record_successes(false)).await;
    node.scheduler.enqueue(task("good")).await.unwrap();
    node.scheduler.enqueue(Task { fails: 99, how: How::Dead, ..task("bad") }).await.unwrap();
    world.pass(secs(600)).await;
    assert_eq!(world.runs("good").len(), 1);
    let history = world.history().await;
    let outcomes: Vec<_> = history.iter().map(|record| record.outcome).collect();
    assert_eq!(outcomes, [Outcome::Failed], "{history:#?}");
    assert!(world.client().await.running().await.unwrap().is_empty());
}

#[derive(Debug)]
struct Clumsy;

impl Listener for Clumsy {
    fn hear(&self, event: &Stamped) {
        assert!(!matches!(event.event, Event::Ended { .. }), "a listener that breaks");
    }
}

#[tokio::test]
async fn a_listener_that_panics_breaks_nothing() {
    let world = World::new();
    let node = world.member_with(1, |builder| builder.listener(Clumsy)).await;
    node.scheduler.enqueue(task("work")).await.unwrap();
    world.pass(secs(2)).await;
    assert_eq!(world.history().await[0].outcome, Outcome::Succeeded);
}

#[derive(Serialize, Deserialize)]
struct Greeting {
    to: String,
}

impl Job for Greeting {
    const KIND: &'static str = "greeting";
}

#[derive(Serialize, Deserialize)]
struct Watching;

impl Job for Watching {
    const KIND: &'static str = "watching";
}

type Told = Arc<Mutex<Vec<punctual_core::BootInstant>>>;

async fn watch_lease(_: Watching, told: State<Told>, ctx: Context) -> Result<(), Failure> {
    loop {
        let until = ctx.lease_renewed().await;
        let mut told = told.lock().expect("nobody panics while it is held");
        told.push(until);
        let count = told.len();
        drop(told);
        assert!(count < 100, "told again and again of one renewal");
    }
}

#[tokio::test]
async fn a_body_is_told_of_each_renewal_of_the_lease_once() {
    let world = World::new();
    let told = Told::default();
    let (state, seen) = (Arc::clone(&told), told);
    let node = world.member_with(1, |builder| builder.state(state).job(watch_lease)).await;
    node.scheduler.enqueue(Watching).await.unwrap();
    world.pass(secs(10)).await;
    let seen = seen.lock().unwrap().clone();
    assert!((9..=13).contains(&seen.len()), "a check-in a second: {seen:?}");
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
}

struct Nobody;

async fn greet(greeting: Greeting, _who: State<Nobody>, _ctx: Context) -> Result<(), Failure> {
    Err(Failure::dead(greeting.to))
}

#[tokio::test]
async fn what_a_builder_lacks_or_has_twice_is_named() {
    let world = World::new();
    let build = |builder: punctual_runtime::Builder| async { builder.build().await.unwrap_err().to_string() };
    let missing = build(Scheduler::builder(world.store.clone()).job(greet)).await;
    assert!(missing.contains("greeting") && missing.contains("Nobody"), "{missing}");
    let twice = build(Scheduler::builder(world.store.clone()).state(Nobody).job(greet).job(greet)).await;
    assert!(twice.contains("two handlers") && twice.contains("greeting"), "{twice}");
    let nothing = build(Scheduler::builder(world.store.clone()).capacity(0)).await;
    assert!(nothing.contains("capacity"), "{nothing}");
}

#[tokio::test]
async fn a_payload_of_another_shape_fails_alone_with_its_reason() {
    let world = World::new();
    let node = world.member(1).await;
    let key = JobKey::new("default", "odd").unwrap();
    node.scheduler.schedule(task("odd")).cron("0 0 0 * * ?").key("odd").await.unwrap();
    let data = Payload::json(&serde_json::json!({"takes_ms": "long"})).unwrap();
    node.scheduler.trigger_now(&key, Some(data)).await.unwrap();
    node.scheduler.enqueue(task("fine")).await.unwrap();
    world.pass(secs(1)).await;
    let history = world.history().await;
    let odd = history.iter().find(|record| record.outcome == Outcome::Failed).unwrap();
    assert!(odd.error.as_deref().unwrap().contains("payload: not a task of version 1"), "{odd:?}");
    assert_eq!(world.runs("fine").len(), 1);
}

#[tokio::test]
async fn work_of_an_unknown_kind_waits_for_a_node_that_knows_it() {
    let world = World::new();
    let node = world.member(1).await;
    let client = Scheduler::builder(world.store.clone()).build().await.unwrap();
    client.enqueue(Greeting { to: "whom it may concern".into() }).await.unwrap();
    world.pass(secs(30)).await;
    assert_eq!(world.history().await.len(), 0);
    let clock = world.clock.clone();
    let knows = world.member_with(2, |builder| builder.state(Nobody).job(greet)).await;
    world.pass(secs(2)).await;
    let history = world.history().await;
    assert_eq!(history[0].node, Some(knows.scheduler.node_id()));
    assert!(clock.wall() > START && !node.has_ended());
}
