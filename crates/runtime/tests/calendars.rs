//! Calendars, catch-ups and custom schedules, from the handle to the body.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use punctual_core::calendar::{Calendar, ClockTime, WhenExcluded};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::define::{CalendarDefinition, SetDefinition, Unlisted};
use punctual_core::quartz::CatchUp;
use punctual_core::schedule::{Cron, Custom, CustomSchedule, Every};
use punctual_core::trigger::{TriggerSpec, TriggerState};
use punctual_core::{Error, ErrorKind, Schedule, Timestamp, TriggerKey, Zone};
use punctual_runtime::{Context, Failure, Job, Scheduler, State};
use serde::{Deserialize, Serialize};

const DAY: u64 = 86_400;

/// The days after the first one, by their number.
fn holidays(days: &[u64]) -> Calendar {
    let date = |day: &u64| START.plus(secs(DAY * day)).to_chrono().date_naive();
    Calendar::holiday(days.iter().map(date), Zone::utc()).unwrap()
}

fn noon(calendar: &str) -> TriggerSpec {
    let cron = Cron::quartz("0 0 12 * * ?", Zone::utc()).unwrap();
    TriggerSpec { calendar: Some(calendar.into()), ..TriggerSpec::new(cron.into()) }
}

async fn daily(scheduler: &Scheduler, name: &str, calendar: &str) -> TriggerKey {
    let key = scheduler.schedule(task(name)).every(secs(DAY)).key(name).await.unwrap();
    scheduler.reschedule(&key, noon(calendar)).await.unwrap();
    key
}

/// Lets days pass, with a node only around noon.
async fn live(world: &World, days: u64) {
    for _ in 0..days {
        let clock = &world.clock;
        let of_day = punctual_core::Clock::wall(clock).since(START).as_secs() % DAY;
        clock.advance(secs(DAY - of_day - 5));
        let node = world.member(1_000 + punctual_core::Clock::wall(clock).since(START).as_secs() / DAY).await;
        world.pass(secs(10)).await;
        node.kill();
        pump().await;
    }
}

fn days(world: &World, name: &str) -> Vec<u64> {
    world.runs(name).iter().map(|run| run.scheduled.since(START).as_secs() / DAY).collect()
}

#[tokio::test]
async fn a_daily_trigger_skips_the_holidays_of_its_calendar() {
    let world = World::new();
    let scheduler = world.client().await;
    assert!(scheduler.put_calendar("holidays", holidays(&[2, 3])).await.unwrap());
    assert!(!scheduler.put_calendar("holidays", holidays(&[2, 3])).await.unwrap());
    daily(&scheduler, "report", "holidays").await;
    live(&world, 5).await;
    assert_eq!(days(&world, "report"), [1, 4, 5]);
}

#[tokio::test]
async fn a_calendar_is_asked_for_word_by_word() {
    let world = World::new();
    let scheduler = world.client().await;
    scheduler.put_calendar("holidays", holidays(&[2, 3])).await.unwrap();
    let at_noon = |name: &str, rule| {
        let request = scheduler.schedule(task(name)).cron("0 0 12 * * ?").key(name);
        request.calendar("holidays").when_excluded(rule)
    };
    at_noon("left-out", WhenExcluded::Skip).await.unwrap();
    at_noon("before", WhenExcluded::Before).await.unwrap();
    at_noon("after", WhenExcluded::After).end(START.plus(secs(DAY * 4)).into()).await.unwrap();
    live(&world, 5).await;
    assert_eq!(days(&world, "left-out"), [1, 4, 5]);
    // The days left out meet the one before them, which fires once.
    assert_eq!(days(&world, "before"), [1, 4, 5]);
    // The window ends at midnight of the fourth day, but its last two instants are moved over it.
    assert_eq!(days(&world, "after"), [1, 4]);

    // The same again writes nothing, without the calendar it is another definition.
    let key: TriggerKey = "left-out".parse().unwrap();
    let generation = || async { scheduler.trigger(&key).await.unwrap().unwrap().generation };
    let before = generation().await;
    at_noon("left-out", WhenExcluded::Skip).await.unwrap();
    assert_eq!(generation().await, before);
    scheduler.schedule(task("left-out")).cron("0 0 12 * * ?").key("left-out").await.unwrap();
    assert!(generation().await > before);
}

#[tokio::test]
async fn a_calendar_that_cannot_be_meant_is_refused() {
    let world = World::new();
    let scheduler = world.client().await;
    let noon: ClockTime = "12:00:00".parse().unwrap();
    let lunch = Calendar::daily(noon, "13:00:00".parse().unwrap(), false, Zone::utc()).unwrap();
    scheduler.put_calendar("lunch", lunch).await.unwrap();
    let request = || scheduler.schedule(task("report")).every(secs(600)).key("report");

    let error = request().calendar("vacation").await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("vacation"), "{error}");
    let error = request().when_excluded(WhenExcluded::After).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("none is named"), "{error}");
    let error = request().calendar("lunch").when_excluded(WhenExcluded::After).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains("whole days"), "{error}");
    request().calendar("lunch").await.unwrap();
}

#[tokio::test]
async fn another_calendar_under_the_name_moves_the_triggers_that_name_it() {
    let world = World::new();
    let scheduler = &world.client().await;
    scheduler.put_calendar("holidays", holidays(&[1, 2, 3])).await.unwrap();
    let key = daily(scheduler, "report", "holidays").await;
    let next = || async { scheduler.trigger(&key).await.unwrap().unwrap().next_fire.unwrap() };
    assert_eq!(next().await.since(START), secs(DAY * 4));
    live(&world, 1).await;
    scheduler.put_calendar("holidays", holidays(&[4])).await.unwrap();
    // The first day, which was left out, stays so.
    assert_eq!(next().await.since(START), secs(DAY * 2));
    live(&world, 4).await;
    assert_eq!(days(&world, "report"), [2, 3, 5]);

    let names: Vec<_> = scheduler.calendars().await.unwrap().into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["holidays".into()]);
    let refused = scheduler.delete_calendar("holidays").await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains("report"), "{refused}");
    scheduler.unschedule(&key).await.unwrap();
    assert!(scheduler.delete_calendar("holidays").await.unwrap());
    assert!(!scheduler.delete_calendar("holidays").await.unwrap());
}

#[tokio::test]
async fn an_unknown_calendar_is_named_with_its_trigger() {
    let world = World::new();
    let client = world.client().await;
    let key = client.schedule(task("report")).every(secs(DAY)).key("report").await.unwrap();
    let error = client.reschedule(&key, noon("vacation")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("vacation") && error.to_string().contains("report"), "{error}");
}

#[tokio::test]
async fn a_set_brings_its_calendars_and_moves_the_triggers_of_others() {
    let world = World::new();
    let scheduler = world.client().await;
    let set = |revision, days: &[u64]| SetDefinition {
        name: "set".into(),
        revision,
        by: "test".into(),
        calendars: vec![CalendarDefinition { name: "holidays".into(), calendar: Arc::new(holidays(days)) }],
        ..SetDefinition::default()
    };
    assert_ne!(set(1, &[1]).hash(), set(1, &[2]).hash());
    scheduler.apply_set(&set(1, &[1]), Unlisted::Keep).await.unwrap();
    daily(&scheduler, "report", "holidays").await;
    scheduler.apply_set(&set(2, &[2]), Unlisted::Keep).await.unwrap();
    live(&world, 3).await;
    assert_eq!(days(&world, "report"), [1, 3]);
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted;

impl Job for Counted {
    const KIND: &'static str = "counted";
}

type Seen = Mutex<Vec<(u64, Option<CatchUp>)>>;

async fn counted(_: Counted, seen: State<Arc<Seen>>, context: Context) -> Result<(), Failure> {
    let at = Timestamp::from(context.scheduled_at()).since(START).as_secs();
    seen.lock().unwrap().push((at, context.catch_up()));
    Ok(())
}

#[tokio::test]
async fn a_job_sees_which_of_the_late_instants_it_is() {
    for policy in [
        MisfirePolicy::CatchUp { limit: 3, max_age: None },
        MisfirePolicy::Spread { limit: 3, max_age: None, over: secs(120) },
    ] {
        let world = World::new();
        let client = world.client().await;
        client.schedule(Counted).every(secs(300)).key("counted").on_misfire(policy).await.unwrap();
        world.pass(secs(1_900)).await;
        let seen = Arc::<Seen>::default();
        let state = Arc::clone(&seen);
        let _node = world.member_with(1, |builder| builder.state(state).job(counted)).await;
        world.pass(secs(200)).await;
        let place = |k| Some(CatchUp { k, n: 3 });
        let seen = seen.lock().unwrap().clone();
        assert_eq!(
            seen,
            [(1_200, place(1)), (1_500, place(2)), (1_800, place(3)), (2_100, None)],
            "{policy:?}"
        );
    }
}

/// Every so many seconds.
#[derive(Debug)]
struct Beat(u64);

impl CustomSchedule for Beat {
    fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let every = Every::new(secs(self.0)).unwrap().anchored_at(START);
        Schedule::from(every).next_after(t)
    }
}

fn beat(data: &serde_json::Value) -> punctual_core::Result<Beat> {
    data.as_u64().map(Beat).ok_or_else(|| Error::invalid("beat", "the data is no number"))
}

#[tokio::test]
async fn a_custom_schedule_is_left_to_the_nodes_that_know_it() {
    let world = World::new();
    let stranger = world.member_with(1, |builder| builder.capacity(1)).await;
    let knower = world.member_with(2, |builder| builder.custom_schedule("beat", beat)).await;
    let spec = |data| TriggerSpec::new(Schedule::from(Custom::new("beat", data).unwrap()));
    let plain = stranger.scheduler.schedule(task("plain")).every(secs(10)).key("plain").await.unwrap();
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        let key = stranger.scheduler.schedule(task(name)).every(secs(10)).key(name).await.unwrap();
        let unknown = stranger.scheduler.reschedule(&key, spec(5.into())).await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::Unsupported);
        knower.scheduler.reschedule(&key, spec(5.into())).await.unwrap();
        keys.push(key);
    }
    assert!(knower.scheduler.reschedule(&plain, spec("five".into())).await.is_err());
    world.pass(secs(21)).await;
    for name in ["a", "b", "c"] {
        assert_eq!(world.runs(name).len(), 4, "{name}");
        assert!(world.runs(name).iter().all(|run| run.node == knower.scheduler.node_id()));
    }
    // Alone, the stranger goes on with what it knows, however many it does not know are due before.
    knower.kill();
    world.pass(secs(60)).await;
    assert!(world.runs("plain").iter().any(|run| run.node == stranger.scheduler.node_id()));
    assert_eq!(world.runs("plain").len(), 8);
    for key in keys {
        let trigger = stranger.scheduler.trigger(&key).await.unwrap().unwrap();
        assert_eq!(
            (trigger.state, trigger.next_fire < Some(START.plus(secs(30)))),
            (TriggerState::Active, true)
        );
    }
}
