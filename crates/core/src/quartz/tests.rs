use super::*;
use crate::misfire::MisfirePolicy;
use crate::schedule::{CalendarUnit, Weekdays};
use crate::zone::Zone;

fn secs(seconds: i64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

fn at(text: &str) -> Timestamp {
    Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
}

fn simple(end: Option<i64>, repeat: Option<u32>) -> Trigger {
    Trigger::simple(secs(100), end.map(secs), Duration::from_secs(10), repeat).unwrap()
}

fn fires(trigger: &Trigger, calendar: Option<&Calendar>, n: usize) -> Vec<i64> {
    let first = Some(trigger.first(calendar)).filter(Position::may_fire_again);
    let next =
        |position: &Position| Some(trigger.triggered(position, calendar)).filter(Position::may_fire_again);
    let all = std::iter::successors(first, next).take(n);
    all.filter_map(|position| position.next).map(|t| t.as_micros() / 1_000_000).collect()
}

#[test]
fn ends_are_exclusive_or_not_by_type() {
    assert_eq!(fires(&simple(Some(120), None), None, 9), [100, 110]);
    assert_eq!(fires(&simple(Some(100), None), None, 9), [100]);
    assert_eq!(fires(&simple(None, Some(2)), None, 9), [100, 110, 120]);
    let cron = Cron::quartz("0/10 * * * * ?", Zone::utc()).unwrap();
    let cron = Trigger::cron(cron, secs(100), Some(secs(120))).unwrap();
    assert_eq!(fires(&cron, None, 9), [100, 110, 120]);
    let daily = Daily::new(10, Zone::utc()).unwrap();
    let daily = Trigger::daily(daily, secs(100), Some(secs(120)), None).unwrap();
    assert_eq!(fires(&daily, None, 9), [100, 110, 120]);
    let minutes = |end| {
        let steps = CalendarInterval::new(1, CalendarUnit::Minute, secs(120), Zone::utc()).unwrap();
        fires(&Trigger::calendar_interval(steps, Some(secs(end))).unwrap(), None, 9)
    };
    assert_eq!((minutes(240), minutes(241)), (vec![120, 180], vec![120, 180, 240]));
    for trigger in [simple(Some(125), None), simple(None, Some(2)), cron, daily] {
        let spec = trigger.spec().unwrap();
        let all = std::iter::successors(spec.next_after(Timestamp::EPOCH), |&t| spec.next_after(t));
        assert_eq!(all.take(9).collect::<Vec<_>>(), [100, 110, 120].map(secs));
        assert_eq!(trigger.final_fire_time(), Some(secs(120)));
        let again = Trigger::of(&spec).unwrap();
        assert_eq!(fires(&again, None, 9), [100, 110, 120]);
    }
}

#[test]
fn instructions_change_the_start_and_the_counters() {
    let trigger = simple(None, Some(5));
    let position = trigger.triggered(&trigger.first(None), None);
    let after = |instruction, now| trigger.after_misfire(instruction, &position, None, secs(now));
    let parts = |position: Position| {
        let progress = position.progress;
        (
            position.next.map(|t| t.as_micros() / 1_000_000),
            progress.start,
            progress.repeat,
            progress.triggered,
        )
    };
    let now = secs(135);
    assert_eq!(parts(after(Instruction::Ignore, 135)), (Some(110), None, None, 1));
    assert_eq!(parts(after(Instruction::NowExisting, 135)), (Some(135), Some(now), Some(4), 0));
    assert_eq!(parts(after(Instruction::Smart, 135)), (Some(135), Some(now), Some(4), 0));
    assert_eq!(parts(after(Instruction::NowRemaining, 135)), (Some(135), Some(now), Some(2), 0));
    assert_eq!(parts(after(Instruction::FireNow, 135)), (Some(135), Some(now), Some(2), 0));
    assert_eq!(parts(after(Instruction::NextRemaining, 135)), (Some(140), None, None, 4));
    assert_eq!(parts(after(Instruction::NextExisting, 135)), (Some(140), None, None, 1));
    assert_eq!(parts(after(Instruction::NextExisting, 155)), (None, None, None, 1));
    let moved = after(Instruction::NowExisting, 135);
    let next = trigger.triggered(&moved, None);
    assert_eq!(next.next, Some(secs(145)));
    assert_eq!(next.progress.triggered, 1);
}

#[test]
fn what_begins_anew_at_its_end_fires_then_and_after_it_never() {
    let trigger = simple(Some(135), Some(5));
    let position = trigger.triggered(&trigger.first(None), None);
    let after = |now| trigger.after_misfire(Instruction::NowExisting, &position, None, secs(now));
    let anew = Progress { repeat: Some(4), ..Progress::default() };
    let last = after(135);
    assert_eq!((last.next, last.progress), (Some(secs(135)), Progress { start: Some(secs(135)), ..anew }));
    let over = after(136);
    assert_eq!((over.next, over.progress), (None, anew), "its count begins anew all the same");
    assert!(last.may_fire_again() && !over.may_fire_again());
}

#[test]
fn what_fires_once_has_no_count_that_begins_anew() {
    let trigger = simple(None, Some(0));
    let anew = trigger.after_misfire(Instruction::NowExisting, &trigger.first(None), None, secs(135));
    let progress = Progress { start: Some(secs(135)), ..Progress::default() };
    assert_eq!((anew.next, anew.progress), (Some(secs(135)), progress));
}

#[test]
fn a_calendar_leaves_fires_out_by_position() {
    let calendar = Calendar::cron(Cron::quartz("10,20,30 * * * * ?", Zone::utc()).unwrap());
    // 100 s is second 40 of a minute.
    let trigger = simple(None, Some(6));
    assert_eq!(fires(&trigger, Some(&calendar), 9), [100, 110, 120, 160]);
    let never = Calendar::weekly(Weekdays::ALL, Zone::utc());
    assert!(fires(&trigger, Some(&never), 9).is_empty());
    assert!(Trigger::simple(secs(1), Some(secs(0)), Duration::from_secs(1), None).is_err());
    assert!(Trigger::simple(secs(1), None, Duration::ZERO, None).is_err());
    assert!(Trigger::simple(secs(1), None, Duration::ZERO, Some(0)).is_ok());
}

#[test]
fn every_number_of_quartz_has_its_instruction() {
    for trigger_type in [
        TriggerType::Simple,
        TriggerType::Cron,
        TriggerType::CalendarInterval,
        TriggerType::DailyTimeInterval,
    ] {
        let known = if trigger_type == TriggerType::Simple { -1..=5 } else { -1..=2 };
        for code in -3..9 {
            match Instruction::from_code(trigger_type, code) {
                Ok(instruction) => {
                    assert!(known.contains(&code));
                    assert_eq!(instruction.code(), code);
                    assert!(instruction.policy(trigger_type, None).check().is_ok());
                }
                Err(error) => assert!(!known.contains(&code), "{error}"),
            }
        }
    }
}

#[test]
fn the_smart_policy_and_fire_now_depend_on_the_repeats() {
    use Instruction::*;
    let counts = [Some(0), Some(3), None];
    let of = |instruction: Instruction, trigger_type| counts.map(|n| instruction.resolved(trigger_type, n));
    assert_eq!(of(Smart, TriggerType::Simple), [FireNow, NowExisting, NextRemaining]);
    assert_eq!(of(FireNow, TriggerType::Simple), [FireNow, NowRemaining, NowRemaining]);
    for other in [TriggerType::Cron, TriggerType::CalendarInterval, TriggerType::DailyTimeInterval] {
        assert_eq!(of(Smart, other), [FireOnceNow; 3], "{other}");
    }
    for chosen in [Ignore, NowExisting, NowRemaining, NextRemaining, NextExisting, FireOnceNow, DoNothing] {
        assert_eq!(of(chosen, TriggerType::Simple), [chosen; 3]);
    }
}

#[test]
fn the_nearest_policy_of_this_project_fires_for_none_once_or_each() {
    let policy = |instruction: Instruction| instruction.policy(TriggerType::Simple, Some(3));
    assert_eq!(policy(Instruction::Ignore), MisfirePolicy::FireAll);
    for on_the_grid in [Instruction::NextRemaining, Instruction::NextExisting, Instruction::DoNothing] {
        assert_eq!(policy(on_the_grid), MisfirePolicy::Skip);
    }
    for now in [Instruction::Smart, Instruction::FireNow, Instruction::NowExisting, Instruction::NowRemaining]
    {
        assert_eq!(policy(now), MisfirePolicy::FireOnceNow);
    }
    assert_eq!(Instruction::Smart.policy(TriggerType::Simple, None), MisfirePolicy::Skip);
}

#[test]
fn a_number_that_the_type_does_not_have_is_refused_by_its_name() {
    let types = [
        (TriggerType::Simple, "simple"),
        (TriggerType::Cron, "cron"),
        (TriggerType::CalendarInterval, "calendar interval"),
        (TriggerType::DailyTimeInterval, "daily time interval"),
    ];
    for (trigger_type, name) in types {
        let error = Instruction::from_code(trigger_type, 9).unwrap_err();
        assert_eq!(error.message(), format!("{name} triggers have no misfire instruction 9"));
    }
}

#[test]
fn a_stored_trigger_is_one_of_quartz_or_refused() {
    let quartz = |spec: TriggerSpec| TriggerSpec {
        misfire: MisfirePolicy::Quartz { instruction: Instruction::Smart },
        ..spec
    };
    quartz(simple(None, None).spec().unwrap()).check().unwrap();
    let every = crate::schedule::Every::new(Duration::from_secs(5)).unwrap();
    assert!(quartz(TriggerSpec::new(every.into())).check().is_err());
    let other = TriggerSpec { start: Some(secs(7)), ..TriggerSpec::new(every.anchored_at(secs(5)).into()) };
    assert!(quartz(other).check().is_err());
    let custom = crate::schedule::Custom::new("tides", serde_json::Value::Null).unwrap();
    assert!(quartz(TriggerSpec::new(custom.into())).check().is_err());
}

#[test]
fn the_ends_of_time_have_an_answer() {
    let cron = || Cron::quartz("* * * * * ?", Zone::get("Pacific/Apia").unwrap()).unwrap();
    let weekends = Calendar::weekly(Weekdays::WEEKEND, Zone::utc());
    for start in [Timestamp::MIN, Timestamp::EPOCH, Timestamp::MAX] {
        let daily = Daily::new(86_400, Zone::utc()).unwrap();
        for trigger in [
            Trigger::simple(start, None, Duration::MAX.min(Duration::from_secs(1 << 40)), None).unwrap(),
            Trigger::simple(start, Some(Timestamp::MAX), Duration::from_millis(1), Some(u32::MAX)).unwrap(),
            Trigger::cron(cron(), start, None).unwrap(),
            Trigger::daily(daily, start, Some(Timestamp::MAX), Some(3)).unwrap(),
        ] {
            for calendar in [None, Some(&weekends)] {
                let position = trigger.first(calendar);
                let _ = trigger.triggered(&position, calendar);
                let _ = trigger.final_fire_time();
                for now in [Timestamp::MIN, Timestamp::MAX] {
                    for code in -1..=5 {
                        if let Ok(instruction) = Instruction::from_code(trigger.trigger_type(), code) {
                            let _ = trigger.after_misfire(instruction, &position, calendar, now);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_start_that_was_moved_behind_the_end_never_comes() {
    let moved = Progress { start: Some(secs(200)), ..Progress::default() };
    let trigger = simple(Some(150), None);
    assert_eq!(
        trigger.fire_time_after(&moved, secs(140)),
        Some(secs(200)),
        "the start fires, whatever the end"
    );
    assert_eq!(trigger.fire_time_after(&moved, secs(150)), None);
}

#[test]
fn the_start_fires_though_the_end_is_the_same() {
    assert_eq!(simple(Some(100), None).fire_time_after(&Progress::default(), secs(50)), Some(secs(100)));
}

#[test]
fn a_search_without_a_last_year_is_given_up() {
    let cron = Cron::quartz("0 0 0 1 1 ? *", Zone::utc()).unwrap();
    let trigger = Trigger::cron(cron, Timestamp::EPOCH, None).unwrap();
    assert_eq!(fires(&trigger.clone().giving_up_after(1972), None, 9).len(), 3);
    assert_eq!(fires(&trigger, None, 9).len(), 9);
    // Years that the expression names are looked at, however late they are, but no open step after them.
    let cron = Cron::quartz("0 0 0 1 1 ? 1975-1977,1996/20", Zone::utc()).unwrap();
    let trigger = Trigger::cron(cron, Timestamp::EPOCH, None).unwrap();
    assert_eq!(fires(&trigger.giving_up_after(1972), None, 9).len(), 3);
    let end = at("1980-06-01T00:00:00Z");
    let cron = Cron::quartz("0 0 0 1 1 ? *", Zone::utc()).unwrap();
    let ends = Trigger::cron(cron, Timestamp::EPOCH, Some(end)).unwrap();
    let last = Some(at("1980-01-01T00:00:00Z"));
    assert_eq!(ends.final_fire_time(), last);
    assert_eq!(ends.clone().giving_up_after(1980).final_fire_time(), last);
    assert_eq!(ends.giving_up_after(1979).final_fire_time(), None);
}

#[test]
fn an_included_instant_is_its_own_answer_unless_seconds_are_left_out() {
    let t = secs(100);
    let weekends = Calendar::weekly(Weekdays::WEEKEND, Zone::utc());
    assert_eq!(next_included(&weekends, t), Some(t));
    let minutes = Calendar::cron(Cron::quartz("0 * * * * ?", Zone::utc()).unwrap());
    assert_eq!(next_included(&minutes, t), Some(t.plus(Duration::from_millis(1))));
    assert_eq!(next_included(&minutes, secs(120)), Some(secs(121)), "the minute itself is left out");
}
