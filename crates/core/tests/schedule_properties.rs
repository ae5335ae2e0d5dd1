//! Schedules against their own definition: whatever is asked, the answers fit one sequence of instants, and the
//! sequence is the one that a slow reading of the definition gives.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up should fail")]

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Weekday};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use punctual_core::schedule::{
    CalendarInterval, CalendarUnit, Clocks, Cron, Daily, DailyClocks, Dialect, Dst, Every, Gap, MonthEnd,
    Once, Overlap, TimeOfDay, Weekdays,
};
use punctual_core::zone::Reading;
use punctual_core::{Schedule, Timestamp, Zone};

fn zones() -> impl Strategy<Value = Zone> {
    select(Zone::names()).prop_map(|name| Zone::get(&name).unwrap())
}

fn policies() -> impl Strategy<Value = Dst> {
    let gap = select(vec![Gap::Skip, Gap::AtEndOfGap]);
    let overlap = select(vec![Overlap::First, Overlap::Second, Overlap::Both]);
    (gap, overlap).prop_map(|(gap, overlap)| Dst { gap, overlap })
}

/// An expression together with what it means, so that the reading does not rest on the parser.
#[derive(Clone, Debug)]
struct Plain {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    /// From Monday, which is 0.
    weekdays: BTreeSet<u32>,
}

impl Plain {
    fn text(&self) -> String {
        let list = |values: &mut dyn Iterator<Item = u32>| {
            values.map(|value| value.to_string()).collect::<Vec<_>>().join(",")
        };
        let minutes = list(&mut self.minutes.iter().copied());
        let hours = list(&mut self.hours.iter().copied());
        let weekdays = list(&mut self.weekdays.iter().map(|day| (day + 1) % 7 + 1));
        format!("0 {minutes} {hours} ? * {weekdays}")
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        wall.second() == 0
            && self.minutes.contains(&wall.minute())
            && self.hours.contains(&wall.hour())
            && self.weekdays.contains(&wall.weekday().num_days_from_monday())
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let some = |values: u32, least: usize, most: usize| {
        subsequence((0..values).collect::<Vec<_>>(), least..=most).prop_map(BTreeSet::from_iter)
    };
    let sparse = (some(60, 1, 4), some(24, 1, 6), some(7, 1, 7));
    let dense = (some(60, 10, 60), some(24, 20, 24), some(7, 7, 7));
    prop_oneof![sparse, dense].prop_map(|(minutes, hours, weekdays)| Plain { minutes, hours, weekdays })
}

/// Texts of both dialects with everything in them.
fn expressions() -> impl Strategy<Value = (Dialect, String)> {
    let number = |max: u32| (0..=max).prop_map(|n| n.to_string()).boxed();
    let clock = move |max: u32| {
        prop_oneof![
            Just("*".to_owned()),
            number(max),
            (0..=max, 1..=max).prop_map(|(from, step)| format!("{from}/{step}")),
            (0..=max, 0..=max, 1..=max).prop_map(|(from, to, step)| format!("{from}-{to}/{step}")),
            (1..=max).prop_map(|step| format!("*/{step}")),
        ]
    };
    let month = select(vec!["*", "2", "NOV-FEB", "6,9", "1/5"]);
    let quartz_days = select(vec![
        ("*", "?"),
        ("?", "*"),
        ("L", "?"),
        ("L-3", "?"),
        ("LW", "?"),
        ("L-2W", "?"),
        ("15W", "?"),
        ("31", "?"),
        ("28-3", "?"),
        ("?", "6L"),
        ("?", "MON#5"),
        ("?", "FRI-MON"),
        ("?", "L"),
        ("30W", "?"),
        ("29", "?"),
    ]);
    let year = select(vec!["", " *", " 2026/3", " 1999,2028-2031"]);
    let quartz = (clock(59), clock(59), clock(23), quartz_days, month.clone(), year).prop_map(
        |(second, minute, hour, (day, weekday), month, year)| {
            (Dialect::Quartz, format!("{second} {minute} {hour} {day} {month} {weekday}{year}"))
        },
    );
    let unix_clock = |max: u32| {
        prop_oneof![
            Just("*".to_owned()),
            (0..=max).prop_map(|n| n.to_string()),
            (1..=max).prop_map(|step| format!("*/{step}")),
        ]
    };
    let unix_days = select(vec![("*", "*"), ("13", "5"), ("*/2", "1-5"), ("1", "*"), ("*", "sat-sun")]);
    let unix = (unix_clock(59), unix_clock(23), unix_days, select(vec!["*", "2", "1-6/2"])).prop_map(
        |(minute, hour, (day, weekday), month)| {
            (Dialect::Unix, format!("{minute} {hour} {day} {month} {weekday}"))
        },
    );
    prop_oneof![3 => quartz, 1 => unix, 1 => Just((Dialect::Unix, "@monthly".to_owned()))]
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let instant = (-4_000_000_000_000_000_i64..8_000_000_000_000_000).prop_map(Timestamp::from_micros);
    let once = instant.clone().prop_map(|at| Schedule::from(Once::new(at)));
    let every = (1_000_u64..40_000_000_000_000, instant, proptest::option::of(0_u32..50)).prop_map(
        |(interval, anchor, repeat)| {
            let every = Every::new(Duration::from_micros(interval)).unwrap().anchored_at(anchor);
            Schedule::from(repeat.map_or(every, |repeat| every.repeating(repeat)))
        },
    );
    let cron = (expressions(), zones(), policies(), any::<bool>()).prop_map(
        |((dialect, text), zone, dst, default)| {
            let cron = Cron::new(dialect, &text, zone).unwrap();
            Schedule::from(if default { cron } else { cron.with_dst(dst) })
        },
    );
    prop_oneof![1 => once, 3 => every, 8 => cron, 4 => calendar_intervals(), 4 => dailies()]
}

fn calendar_intervals() -> impl Strategy<Value = Schedule> {
    let units = vec![
        CalendarUnit::Second,
        CalendarUnit::Minute,
        CalendarUnit::Hour,
        CalendarUnit::Day,
        CalendarUnit::Week,
        CalendarUnit::Month,
        CalendarUnit::Year,
    ];
    let quartz = |(preserve_hour_of_day, skip_day_if_hour_does_not_exist)| Clocks::Quartz {
        preserve_hour_of_day,
        skip_day_if_hour_does_not_exist,
    };
    let clocks = prop_oneof![policies().prop_map(Clocks::Dst), any::<(bool, bool)>().prop_map(quartz)];
    let start = (0_i64..4_000_000_000).prop_map(Timestamp::from_secs);
    let month_end = select(vec![MonthEnd::FromStart, MonthEnd::Sticks]);
    (1_u32..40, select(units), start, zones(), clocks, month_end).prop_map(
        |(interval, unit, start, zone, clocks, month_end)| {
            let steps = CalendarInterval::new(interval, unit, start, zone).unwrap();
            Schedule::from(steps.with_clocks(clocks).with_month_end(month_end))
        },
    )
}

fn dailies() -> impl Strategy<Value = Schedule> {
    let week: Vec<Weekday> = Weekdays::ALL.iter().collect();
    let time = |minute: u32| TimeOfDay::new(minute / 60, minute % 60, 30).unwrap();
    let repeat = proptest::option::of((0_u32..3_000, 0_i64..4_000_000_000));
    let clocks = select(vec![DailyClocks::Widest, DailyClocks::Quartz]);
    (1_u32..=86_400, 0_u32..1_440, 0_u32..1_440, subsequence(week, 1..=7), zones(), clocks, repeat).prop_map(
        move |(interval, a, b, days, zone, clocks, repeat)| {
            let daily = Daily::new(interval, zone).unwrap().between(time(a.min(b)), time(a.max(b))).unwrap();
            let daily = daily.on(days.into_iter().collect()).unwrap().with_clocks(clocks);
            Schedule::from(match repeat {
                Some((count, from)) => daily.repeating(count, Timestamp::from_secs(from)),
                None => daily,
            })
        },
    )
}

fn instants() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (-500_000_000_000_000_i64..6_000_000_000_000_000).prop_map(Timestamp::from_micros),
        // Whole seconds and minutes, where instants are.
        (0_i64..70_000_000).prop_map(|minute| Timestamp::from_secs(minute * 60)),
        any::<i64>().prop_map(Timestamp::from_micros),
    ]
}

/// The first change of the zone's offset after `from`, if there is one within two years.
fn next_change(zone: &Zone, from: i64) -> Option<i64> {
    let offset = |seconds: i64| zone.offset_at(Timestamp::from_secs(seconds));
    let day = (0..730).map(|day| from + day * 86_400).find(|&day| offset(day) != offset(day + 86_400))?;
    let (mut low, mut high) = (day, day + 86_400);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if offset(middle) == offset(low) { low = middle } else { high = middle }
    }
    Some(high)
}

/// All instants in `[from, until]` by the definition: every minute of the wall clock, one by one.
fn by_definition(plain: &Plain, zone: &Zone, dst: Dst, from: i64, until: i64) -> Vec<Timestamp> {
    let mut instants = BTreeSet::new();
    let start = DateTime::from_timestamp((from - 2 * 86_400).div_euclid(60) * 60, 0).unwrap().naive_utc();
    let end = DateTime::from_timestamp(until + 2 * 86_400, 0).unwrap().naive_utc();
    let mut wall = start;
    while wall < end {
        if plain.matches(wall) {
            match zone.resolve(wall) {
                Reading::Once(at) => {
                    instants.insert(at);
                }
                Reading::Skipped { gap_end, .. } => {
                    if dst.gap == Gap::AtEndOfGap {
                        instants.insert(gap_end);
                    }
                }
                Reading::Twice { first, second } => {
                    if dst.overlap != Overlap::Second {
                        instants.insert(first);
                    }
                    if dst.overlap != Overlap::First {
                        instants.insert(second);
                    }
                }
            }
        }
        wall += TimeDelta::minutes(1);
    }
    instants.range(Timestamp::from_secs(from)..=Timestamp::from_secs(until)).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn instants_round_a_change_are_those_of_the_definition(
        plain in plain(),
        zone in zones(),
        dst in policies(),
        // Nothing fires before 1970, which the definition here does not know.
        from in 1_000_000_i64..4_102_444_800,
        inside in 0_i64..86_400,
    ) {
        let middle = next_change(&zone, from).unwrap_or(from);
        let (from, until) = (middle - 86_400, middle + 86_400);
        let cron = Schedule::from(Cron::quartz(&plain.text(), zone.clone()).unwrap().with_dst(dst));
        let expected = by_definition(&plain, &zone, dst, from, until);

        let mut got = Vec::new();
        let mut at = Timestamp::from_micros(from * 1_000_000 - 1);
        while let Some(next) = cron.next_after(at).filter(|&next| next <= Timestamp::from_secs(until)) {
            got.push(next);
            at = next;
        }
        prop_assert_eq!(&got, &expected);

        // And from any place in between, above all from inside gaps and overlaps.
        for start in [middle - inside % 7_200, middle + inside % 7_200, middle - 1, middle, middle + 1] {
            let start = Timestamp::from_secs(start);
            let next = expected.iter().copied().find(|&t| t > start);
            prop_assert_eq!(cron.next_after(start).filter(|&t| t <= Timestamp::from_secs(until)), next);
        }
    }

    #[test]
    fn the_sequence_strictly_increases_and_every_question_fits_it(
        schedule in schedules(),
        after in instants(),
        n in 1_usize..40,
        part in 0.0_f64..1.0,
    ) {
        let all = schedule.next_n(after, n);
        prop_assert!(all.iter().all(|&t| t > after));
        prop_assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        for (k, &t) in all.iter().enumerate() {
            let before = Timestamp::from_micros(t.as_micros() - 1);
            prop_assert_eq!(schedule.first_from(t), Some(t));
            prop_assert_eq!(schedule.next_after(before), Some(t));
            prop_assert_eq!(schedule.next_after(t), all.get(k + 1).copied().or_else(|| schedule.next_after(t)));
            let count = u64::try_from(k + 1).unwrap();
            prop_assert_eq!(schedule.count_within(after, t, count), Some(count));
            prop_assert_eq!(schedule.count_within(after, t, count - 1), None);
            prop_assert_eq!(schedule.count_within(after, before, u64::MAX), Some(count - 1));
            prop_assert_eq!(schedule.last_within(after, t), Some(t));
            prop_assert_eq!(schedule.last_within(after, before), k.checked_sub(1).map(|k| all[k]));
        }
        if let (Some(&first), Some(&last)) = (all.first(), all.last()) {
            prop_assert_eq!(schedule.first_from(after.min(first)), schedule.first_from(after));
            // Any instant between two of the sequence sees the earlier one as the last.
            let width = last.since(after).mul_f64(part);
            let until = after.plus(width);
            let expected = all.iter().copied().filter(|&t| t <= until).max();
            prop_assert_eq!(schedule.last_within(after, until), expected);
        }
    }

    #[test]
    fn the_last_instant_is_last(schedule in schedules(), one in instants(), other in instants()) {
        let (after, until) = (one.min(other), one.max(other));
        match schedule.last_within(after, until) {
            Some(last) => {
                prop_assert!(after < last && last <= until);
                prop_assert_eq!(schedule.first_from(last), Some(last));
                prop_assert!(schedule.next_after(last).is_none_or(|next| next > until));
            }
            None => prop_assert!(schedule.next_after(after).is_none_or(|next| next > until)),
        }
        prop_assert_eq!(schedule.last_within(until, until), None);
        prop_assert_eq!(schedule.count_within(until, after, 0), Some(0));
    }

    #[test]
    fn a_document_comes_back_with_the_same_bytes(schedule in schedules()) {
        let text = serde_json::to_string(&schedule).unwrap();
        let back: Schedule = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&back, &schedule);
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
        prop_assert!(!schedule.to_string().contains('\n'));
    }

    #[test]
    fn the_parser_answers_every_text(
        text in prop_oneof!["\\PC{0,40}", "[-0-9*/,?LW#@A-Za-z \t]{0,40}", ".{0,300}"],
    ) {
        for dialect in [Dialect::Quartz, Dialect::Unix] {
            check_text(dialect, &text)?;
        }
    }

    #[test]
    fn the_parser_answers_texts_that_are_nearly_right(
        (dialect, text) in expressions(),
        at in any::<prop::sample::Index>(),
        letter in "[-0-9*/,?LW#AN ü]",
        cut in any::<bool>(),
    ) {
        let mut letters: Vec<char> = text.chars().collect();
        let index = at.index(letters.len());
        if cut {
            letters.remove(index);
        } else {
            letters.splice(index..index, letter.chars());
        }
        check_text(dialect, &letters.into_iter().collect::<String>())?;
    }

    #[test]
    fn any_document_is_read_or_refused(text in "\\{\"type\":\"(once|every|cron|daily|calendar_interval|custom)\",\"[a-z]{2,10}\":[-0-9a-z\"]{1,20}\\}") {
        let _ = serde_json::from_str::<Schedule>(&text);
    }
}

/// The instants of a daily window in `[from, until]` by its definition: the wall clock read at every minute.
fn windows_by_definition(daily: &Daily, zone: &Zone, from: i64, until: i64) -> BTreeSet<Timestamp> {
    let minutes = ((from - 3 * 86_400).div_euclid(60)..=(until + 3 * 86_400).div_euclid(60)).map(|m| m * 60);
    let shown: Vec<(i64, NaiveDateTime)> =
        minutes.map(|at| (at, zone.to_local(Timestamp::from_secs(at)))).collect();
    let reached = |wall: NaiveDateTime| shown.iter().find(|(_, other)| *other >= wall).map(|(at, _)| *at);
    let mut instants = BTreeSet::new();
    let mut date = shown[0].1.date();
    while date < shown[shown.len() - 1].1.date() - TimeDelta::days(1) {
        date += TimeDelta::days(1);
        if !daily.days().contains(date.weekday()) {
            continue;
        }
        let (first, last) = (date.and_time(daily.window().0.time()), date.and_time(daily.window().1.time()));
        let midnight = reached((date + TimeDelta::days(1)).into()).unwrap();
        let start = reached(first).unwrap();
        let day = shown.iter().filter(|(at, _)| *at < midnight);
        let end = if shown.iter().any(|(_, wall)| *wall == last) {
            day.rev().find(|(_, wall)| *wall <= last).unwrap().0
        } else {
            // The limit lies in a gap, and means its end.
            reached(last).unwrap().min(midnight - 1)
        };
        let mut at = start;
        while at <= end {
            instants.insert(Timestamp::from_secs(at));
            at += i64::from(daily.interval());
        }
    }
    instants.range(Timestamp::from_secs(from)..=Timestamp::from_secs(until)).copied().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn daily_windows_round_a_change_are_those_of_the_definition(
        zone in zones(),
        minutes in (1_u32..=1_440, 0_u32..1_440, 0_u32..1_440),
        // Before 1973 an offset was no whole number of minutes.
        from in 100_000_000_i64..4_102_444_800,
    ) {
        let (interval, a, b) = minutes;
        let time = |minute: u32| TimeOfDay::new(minute / 60, minute % 60, 0).unwrap();
        let daily = Daily::new(interval * 60, zone.clone()).unwrap();
        let daily = daily.between(time(a.min(b)), time(a.max(b))).unwrap();
        let middle = next_change(&zone, from).unwrap_or(from);
        let (from, until) = (middle - 2 * 86_400, middle + 2 * 86_400);
        let expected = windows_by_definition(&daily, &zone, from, until);
        let schedule = Schedule::from(daily);
        let before = Timestamp::from_micros(from * 1_000_000 - 1);
        let next = |t: &Timestamp| schedule.next_after(*t).filter(|&next| next <= Timestamp::from_secs(until));
        let got: BTreeSet<Timestamp> = std::iter::successors(next(&before), next).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn steps_of_the_calendar_keep_their_day_and_time(
        interval in 1_u32..50,
        unit in select(vec![CalendarUnit::Day, CalendarUnit::Week, CalendarUnit::Month, CalendarUnit::Year]),
        zone in select(vec!["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "America/Sao_Paulo"]),
        start in 100_000_000_i64..2_000_000_000,
        skip in 0_i64..2_000,
    ) {
        let zone = Zone::get(zone).unwrap();
        let start = Timestamp::from_secs(start);
        let first = zone.to_local(start);
        let steps = CalendarInterval::new(interval, unit, start, zone.clone()).unwrap();
        let from = start.plus(Duration::from_secs(skip.unsigned_abs() * 86_400));
        let mut last = None;
        for at in Schedule::from(steps).next_n(from, 30) {
            let wall = zone.to_local(at);
            let days = (wall.date() - first.date()).num_days();
            let months = i64::from(wall.year() - first.year()) * 12 + i64::from(wall.month()) - i64::from(first.month());
            let length = (28..=31).rev().find(|&day| wall.with_day(day).is_some()).unwrap();
            let (count, whole) = match unit {
                CalendarUnit::Day => (days, true),
                CalendarUnit::Week => (days / 7, days % 7 == 0),
                CalendarUnit::Month => (months, wall.day() == first.day().min(length)),
                _ => (months / 12, months % 12 == 0 && wall.day() == first.day().min(length)),
            };
            prop_assert!(whole, "{}", wall);
            prop_assert_eq!(count % i64::from(interval), 0);
            if let Some(last) = last {
                prop_assert_eq!(count - last, i64::from(interval));
            }
            last = Some(count);
            // Another time of day is the end of a gap, just before which the clock showed something earlier.
            let missing = matches!(zone.resolve(wall.date().and_time(first.time())), Reading::Skipped { .. });
            prop_assert!(missing || wall.time() == first.time(), "{}", wall);
        }
    }
}

/// Either an error within the text, or an expression that reads its own spelling as itself.
fn check_text(dialect: Dialect, text: &str) -> Result<(), TestCaseError> {
    match Cron::new(dialect, text, Zone::utc()) {
        Ok(cron) => {
            let again = Cron::new(dialect, cron.expression(), Zone::utc());
            prop_assert_eq!(again.as_ref(), Ok(&cron));
            let _ = Schedule::from(cron).next_after(Timestamp::EPOCH);
        }
        Err(error) => {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column()), "{}", error);
            prop_assert!(!error.to_string().contains(char::is_control), "{:?}", error.to_string());
        }
    }
    Ok(())
}
