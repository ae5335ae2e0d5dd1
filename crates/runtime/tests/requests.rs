//! What `schedule(…)` understands, as it is stored.

mod common;

use common::*;
use punctual_core::inspect::Page;
use punctual_core::schedule::{CalendarUnit, Clocks, Cron, Daily, Dst, Gap, Overlap, TimeOfDay, Weekdays};
use punctual_core::store::Enqueue;
use punctual_core::{ErrorKind, Inspect, Schedule, Zone};

const DST: Dst = Dst { gap: Gap::Skip, overlap: Overlap::Second };

async fn stored(world: &World, key: &str) -> Schedule {
    let page = Page { group: None, after: None, limit: 100 };
    let triggers = world.store.triggers(page).await.expect("a page");
    triggers.into_iter().find(|trigger| trigger.key.to_string() == key).expect("it is stored").spec.schedule
}

#[tokio::test]
async fn windows_and_steps_are_asked_for_word_by_word() {
    let world = World::new();
    let client = world.client().await;
    let zone = Zone::get("Europe/Berlin").unwrap();

    client
        .schedule(task("steps"))
        .key("a/steps")
        .calendar_every(2, CalendarUnit::Month)
        .start(START.into())
        .time_zone("Europe/Berlin")
        .dst(DST)
        .await
        .unwrap();
    let Schedule::CalendarInterval(steps) = stored(&world, "a/steps").await else { panic!() };
    assert_eq!((steps.interval(), steps.unit(), steps.start()), (2, CalendarUnit::Month, START));
    assert_eq!((steps.zone(), steps.clocks()), (&zone, Clocks::Dst(DST)));

    let clock = |hour| TimeOfDay::new(hour, 0, 0).unwrap();
    let daily = Daily::new(900, zone.clone()).unwrap().between(clock(9), clock(17)).unwrap();
    let daily = daily.on(Weekdays::WORKING).unwrap();
    client.schedule(task("daily")).key("a/daily").daily(daily.clone()).await.unwrap();
    assert_eq!(stored(&world, "a/daily").await, Schedule::Daily(daily));

    client.schedule(task("cron")).key("a/cron").cron("0 30 2 * * ?").dst(DST).await.unwrap();
    let cron = Cron::quartz("0 30 2 * * ?", Zone::utc()).unwrap().with_dst(DST);
    assert_eq!(stored(&world, "a/cron").await, Schedule::Cron(cron));
}

/// A row without rules has the defaults, so these are not written.
#[tokio::test]
async fn rules_of_enqueued_work_are_written_if_they_are_no_defaults() {
    let world = World::new();
    let client = world.client().await;
    let written = |work: Enqueue| work.execution.spec;
    assert_eq!(written(client.enqueue(task("plain")).prepare().unwrap()), None);
    let limited = client.enqueue(task("limited")).timeout(secs(7)).prepare().unwrap();
    assert_eq!(written(limited).and_then(|rules| rules.timeout), Some(secs(7)));
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused() {
    let world = World::new();
    let client = world.client().await;
    let request = client.schedule(task("steps")).calendar_every(1, CalendarUnit::Day);
    let error = request.await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains(".start(…)"), "{error}");
    let error = client.schedule(task("every")).every(secs(5)).dst(DST).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Invalid && error.message().contains(".dst(…)"), "{error}");
}
