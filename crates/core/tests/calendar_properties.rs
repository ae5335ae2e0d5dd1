//! Calendars and misfires against their own definitions.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up should fail")]

use std::time::Duration;

use chrono::{Datelike, NaiveDate, Weekday};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use punctual_core::calendar::{Calendar, ClockTime, Filter, WhenExcluded};
use punctual_core::instants::Instants;
use punctual_core::misfire::{self, Due, MisfirePolicy, Verdict};
use punctual_core::quartz::{Instruction, Progress};
use punctual_core::schedule::{Cron, Every, Weekdays};
use punctual_core::trigger::TriggerSpec;
use punctual_core::{Schedule, Timestamp, Zone};

fn zones() -> impl Strategy<Value = Zone> {
    let known = vec!["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia"];
    prop_oneof![2 => select(known).prop_map(str::to_owned), 1 => select(Zone::names())]
        .prop_map(|name| Zone::get(&name).unwrap())
}

fn dates() -> impl Strategy<Value = NaiveDate> {
    (10_000_i32..40_000).prop_map(|day| NaiveDate::from_epoch_days(day).unwrap())
}

fn daywise() -> impl Strategy<Value = Calendar> {
    let week: Vec<Weekday> = Weekdays::ALL.iter().collect();
    let weekly = (subsequence(week, 0..7), zones())
        .prop_map(|(days, zone)| Calendar::weekly(days.into_iter().collect(), zone));
    let monthly = (subsequence((1..=31).collect::<Vec<u8>>(), 0..28), zones())
        .prop_map(|(days, zone)| Calendar::monthly(days, zone).unwrap());
    let annual = (proptest::collection::vec((1_u8..13, 1_u8..29), 0..60), zones())
        .prop_map(|(days, zone)| Calendar::annual(days, zone).unwrap());
    let holiday = (proptest::collection::vec(dates(), 0..40), zones())
        .prop_map(|(dates, zone)| Calendar::holiday(dates, zone).unwrap());
    prop_oneof![weekly, monthly, annual, holiday]
}

fn any_calendar() -> impl Strategy<Value = Calendar> {
    let clock = |minute: u32| ClockTime::new(minute / 60, minute % 60, 0, 0).unwrap();
    let daily = (0_u32..1_440, 0_u32..1_440, any::<bool>(), zones()).prop_map(move |(a, b, invert, zone)| {
        Calendar::daily(clock(a.min(b)), clock(a.max(b)), invert, zone).unwrap()
    });
    let expressions =
        vec!["* * * ? * SAT,SUN", "0/2 * * * * ?", "* 0-30 2 * * ?", "0 0 * * * ?", "* * 22-5 * * ?"];
    let cron = (select(expressions), zones())
        .prop_map(|(text, zone)| Calendar::cron(Cron::quartz(text, zone).unwrap()));
    let one = prop_oneof![4 => daywise(), 2 => daily, 1 => cron].boxed();
    proptest::collection::vec(one, 1..4).prop_map(|chain| {
        let joined = chain.into_iter().reduce(|above, below| above.with_base(below).unwrap());
        joined.unwrap()
    })
}

fn instants() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        4 => (900_000_000_i64..4_000_000_000).prop_map(Timestamp::from_secs),
        2 => (900_000_000_000_000_i64..4_000_000_000_000_000).prop_map(Timestamp::from_micros),
        1 => any::<i64>().prop_map(Timestamp::from_micros),
    ]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let every = (600_u64..200_000).prop_map(|s| Schedule::from(Every::new(Duration::from_secs(s)).unwrap()));
    let cron =
        (select(vec!["0 30 2 * * ?", "0 0/20 * * * ?", "0 0 9,18 ? * MON-FRI", "0 0 12 L * ?"]), zones())
            .prop_map(|(text, zone)| Schedule::from(Cron::quartz(text, zone).unwrap()));
    prop_oneof![every, cron]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_next_included_instant_is_the_first(
        calendar in any_calendar(), t in instants(), parts in proptest::collection::vec(0.0_f64..1.0, 20),
    ) {
        match calendar.next_included(t) {
            Some(next) => {
                prop_assert!(next >= t && calendar.includes(next));
                prop_assert_eq!(calendar.next_included(next), Some(next));
                prop_assert_eq!(next == t, calendar.includes(t));
                let width = next.since(t);
                for part in parts {
                    let between = t.plus(width.mul_f64(part));
                    prop_assert!(between == next || !calendar.includes(between), "{}", between);
                }
                if next > t {
                    prop_assert!(!calendar.includes(next.minus(Duration::from_micros(1))));
                }
            }
            None => prop_assert!(!calendar.includes(t) || t.to_chrono().year() >= 2300),
        }
    }

    #[test]
    fn calendars_commute_with_enumeration(
        calendar in any_calendar(), schedule in schedules(), from in 900_000_000_i64..4_000_000_000,
    ) {
        let from = Timestamp::from_secs(from);
        let filter = Filter::new(&calendar, Zone::utc());
        let next = |t: &Timestamp| filter.next_after(|t| schedule.next_after(t), *t);
        let seen: Vec<Timestamp> = std::iter::successors(next(&from), next).take(12).collect();
        // Not further than this: some calendars leave nearly everything out.
        let all = schedule.next_n(from, 4_000);
        let kept: Vec<Timestamp> = all.iter().copied().filter(|&t| calendar.includes(t)).take(12).collect();
        let reached = seen.iter().copied().take_while(|t| Some(t) <= all.last());
        prop_assert_eq!(reached.collect::<Vec<_>>(), kept);
    }

    #[test]
    fn moved_instants_are_those_of_the_definition(
        calendar in daywise(), schedule in schedules(), from in dates(), after in any::<bool>(),
    ) {
        let when = if after { WhenExcluded::After } else { WhenExcluded::Before };
        // One zone for all, without changes: the definition below knows no clocks.
        let zone = Zone::utc();
        let filter = Filter::new(&calendar, zone).when_excluded(when).unwrap();
        let start = Timestamp::from(from.and_hms_opt(0, 0, 0).unwrap().and_utc());
        let (begin, end) = (start.minus(40 * DAY), start.plus(60 * DAY));
        let mut expected: Vec<Timestamp> = Vec::new();
        let mut at = begin;
        while let Some(next) = schedule.next_after(at).filter(|&next| next < end.plus(40 * DAY)) {
            at = next;
            let day = |n: u32| if after { next.plus(n * DAY) } else { next.minus(n * DAY) };
            let open = |t: &Timestamp| !calendar.excludes_date(t.to_chrono().date_naive());
            expected.extend((0..=31).map(day).find(open));
        }
        expected.sort_unstable();
        expected.dedup();
        expected.retain(|&t| t > start && t <= end);
        let next = |t: &Timestamp| filter.next_after(|t| schedule.next_after(t), *t);
        let got = std::iter::successors(next(&start), next).take_while(|&t| t <= end);
        prop_assert_eq!(got.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_calendar_comes_back_with_the_same_bytes(calendar in any_calendar()) {
        let text = serde_json::to_string(&calendar).unwrap();
        let back: Calendar = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&back, &calendar);
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }

    #[test]
    fn any_text_is_read_as_a_file_of_events_or_refused(
        lines in proptest::collection::vec(
            prop_oneof![
                select(vec!["BEGIN:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "END:VCALENDAR", "DTSTART:20260101",
                    "RRULE:FREQ=YEARLY", "RRULE:FREQ=YEARLY;BYDAY=-1MO;BYMONTH=5", "DTEND:20260105"]).prop_map(str::to_owned),
                "[A-Z;:=,0-9 \"-]{0,30}", "\\PC{0,30}",
            ],
            0..12,
        ),
    ) {
        let _ = Calendar::from_ics(&lines.join("\r\n"), 2030, Zone::utc());
    }

    #[test]
    fn every_instant_fires_or_is_recorded_as_skipped(
        interval in 60_u64..5_000,
        repeat in proptest::option::of(0_u32..60),
        policy in policies(),
        calendar in proptest::option::of(any_calendar()),
        visits in proptest::collection::vec(0_u64..40_000, 1..12),
        random: u64,
    ) {
        let start = Timestamp::from_secs(1_700_000_000);
        let every = Every::new(Duration::from_secs(interval)).unwrap().anchored_at(start);
        let every = repeat.map_or(every, |repeat| every.repeating(repeat));
        let spec = TriggerSpec { misfire: policy, ..TriggerSpec::new(every.into()) };
        let plain = Instants::of(&spec).unwrap();
        let base = match &calendar {
            Some(calendar) => plain.through(calendar, WhenExcluded::Skip).unwrap(),
            None => plain,
        };
        let mut progress = Progress::default();
        let mut next = base.first(start.minus(Duration::from_secs(1)), None);
        let (mut now, mut previous, mut accounted, mut waited) = (start, None, 0_u64, false);
        let first = next;
        for wait in visits {
            now = now.plus(Duration::from_secs(wait));
            for _ in 0..200 {
                let Some(instant) = next.filter(|&next| next <= now) else { break };
                let instants = base.clone().with_progress(progress);
                let due = Due { instant, previous, now, waited, random };
                match misfire::judge(&instants, &due) {
                    Verdict::Wait(until) => {
                        prop_assert!(!waited && until >= now);
                        (now, waited) = (until, true);
                    }
                    Verdict::Go(course) => {
                        prop_assert!(course.last >= instant && course.last <= now);
                        prop_assert!(course.next.is_none_or(|next| next > course.last));
                        let skipped = course.missed.map_or(0, |missed| missed.count.unwrap());
                        accounted += skipped + u64::from(course.fire.is_some());
                        if let Some(turn) = course.catch_up {
                            prop_assert!(turn.k >= 1 && turn.k <= turn.n);
                        }
                        (next, previous, progress) = (course.next, Some(course.last), course.progress);
                        waited = false;
                    }
                }
            }
        }
        // What Quartz does "now" is no instant of the grid, which it then leaves.
        if !matches!(policy, MisfirePolicy::Quartz { .. }) {
            let until = previous.unwrap_or_else(|| start.minus(Duration::from_secs(1)));
            let owed = first.map_or(0, |first| {
                base.count_within(first.minus(Duration::from_micros(1)), until, u64::MAX).unwrap()
            });
            prop_assert_eq!(accounted, owed);
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn policies() -> impl Strategy<Value = MisfirePolicy> {
    let age = || proptest::option::of((0_u64..50_000).prop_map(Duration::from_secs));
    let instructions = vec![
        Instruction::Ignore,
        Instruction::Smart,
        Instruction::FireNow,
        Instruction::NowExisting,
        Instruction::NowRemaining,
        Instruction::NextRemaining,
        Instruction::NextExisting,
    ];
    prop_oneof![
        Just(MisfirePolicy::FireOnceNow),
        Just(MisfirePolicy::Skip),
        Just(MisfirePolicy::FireAll),
        (1_u32..9, age()).prop_map(|(limit, max_age)| MisfirePolicy::CatchUp { limit, max_age }),
        (1_u32..9, age(), 1_u64..900).prop_map(|(limit, max_age, over)| {
            MisfirePolicy::Spread { limit, max_age, over: Duration::from_secs(over) }
        }),
        select(instructions).prop_map(|instruction| MisfirePolicy::Quartz { instruction }),
    ]
}
