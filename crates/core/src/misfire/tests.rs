use super::*;
use crate::calendar::{Calendar, WhenExcluded};
use crate::schedule::{Cron, Every, Schedule};
use crate::zone::Zone;

fn secs(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn every(interval: u64, misfire: MisfirePolicy) -> TriggerSpec {
    let every = Every::new(Duration::from_secs(interval)).unwrap();
    TriggerSpec { misfire, tolerance: Duration::from_secs(5), ..TriggerSpec::new(Schedule::from(every)) }
}

fn due(instant: i64, now: i64) -> Due {
    Due { instant: secs(instant), previous: None, now: secs(now), waited: false, random: 7_000_000 }
}

fn go(instants: &Instants<'_>, due: &Due) -> Course {
    match judge(instants, due) {
        Verdict::Go(course) => course,
        Verdict::Wait(until) => panic!("waits until {until}"),
    }
}

#[test]
fn a_catch_up_knows_which_of_how_many_it_is() {
    let spec = every(10, MisfirePolicy::CatchUp { limit: 3, max_age: None });
    let mut progress = Progress::default();
    let mut next = Some(secs(0));
    let mut seen = Vec::new();
    while let Some(instant) = next.filter(|&next| next <= secs(100)) {
        let instants = Instants::of(&spec).unwrap().with_progress(progress);
        let course = go(&instants, &Due { instant, ..due(0, 100) });
        seen.push((course.fire.unwrap(), course.catch_up.map(|turn| (turn.k, turn.n))));
        (next, progress) = (course.next, course.progress);
    }
    assert_eq!(seen, [(secs(80), Some((1, 3))), (secs(90), Some((2, 3))), (secs(100), None)]);
    assert!(progress.is_empty());
}

#[test]
fn a_spread_catch_up_waits_before_each_of_its_fires() {
    let spec = every(10, MisfirePolicy::Spread { limit: 2, max_age: None, over: Duration::from_secs(60) });
    let instants = Instants::of(&spec).unwrap();
    assert_eq!(judge(&instants, &due(0, 100)), Verdict::Wait(secs(107)));
    let course = go(&instants, &Due { waited: true, ..due(0, 100) });
    assert_eq!(course.fire, Some(secs(90)));
    // What is in time does not wait.
    assert_eq!(go(&instants, &due(100, 101)).fire, Some(secs(100)));
    let bad = MisfirePolicy::Spread { limit: 2, max_age: None, over: Duration::ZERO };
    assert!(bad.check().is_err());
}

#[test]
fn instructions_of_quartz_change_the_progress() {
    let quartz = |instruction| {
        let spec = every(10, MisfirePolicy::Quartz { instruction });
        let every = Every::new(Duration::from_secs(10)).unwrap().repeating(20);
        TriggerSpec { schedule: every.into(), start: Some(Timestamp::EPOCH), ..spec }
    };
    let spec = quartz(Instruction::NowRemaining);
    let progress = Progress { triggered: 3, ..Progress::default() };
    let instants = Instants::of(&spec).unwrap().with_progress(progress);
    let course = go(&instants, &due(30, 57));
    assert_eq!(course.fire, Some(secs(57)));
    assert_eq!(course.missed, Some(Missed { first: secs(30), last: secs(50), count: Some(3) }));
    assert_eq!(course.next, Some(secs(67)));
    let expected = Progress { start: Some(secs(57)), repeat: Some(15), triggered: 1, ..Progress::default() };
    assert_eq!(course.progress, expected);
    let moved = Instants::of(&spec).unwrap().with_progress(expected);
    assert_eq!(go(&moved, &due(67, 68)).next, Some(secs(77)));

    let spec = quartz(Instruction::NextExisting);
    let course = go(&Instants::of(&spec).unwrap(), &due(30, 57));
    assert_eq!((course.fire, course.next), (None, Some(secs(60))));
    assert_eq!(course.missed, Some(Missed { first: secs(30), last: secs(50), count: Some(3) }));
}

#[test]
fn what_a_calendar_leaves_out_is_not_missed() {
    let spec = every(10, MisfirePolicy::FireOnceNow);
    let calendar = Calendar::cron(Cron::quartz("40,50 * * * * ?", Zone::utc()).unwrap());
    let instants = Instants::of(&spec).unwrap().through(&calendar, WhenExcluded::Skip).unwrap();
    let course = go(&instants, &due(10, 57));
    assert_eq!(course.fire, Some(secs(30)));
    assert_eq!(course.missed, Some(Missed { first: secs(10), last: secs(20), count: Some(2) }));
    assert_eq!(course.next, Some(secs(60)));
}

#[test]
fn the_policies_have_their_documents() {
    for (policy, text) in [
        (
            MisfirePolicy::Quartz { instruction: Instruction::NowExisting },
            r#"{"policy":"quartz","instruction":"now_existing"}"#,
        ),
        (
            MisfirePolicy::Spread { limit: 5, max_age: None, over: Duration::from_secs(1) },
            r#"{"policy":"spread","limit":5,"over":1000000}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&policy).unwrap(), text);
        assert_eq!(serde_json::from_str::<MisfirePolicy>(text).unwrap(), policy);
    }
}
