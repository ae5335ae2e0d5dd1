//! What others say: chrono-tz about every zone, the `cron` crate about plain expressions.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up should fail")]

use std::collections::BTreeSet;
use std::str::FromStr;

use chrono::{DateTime, Offset, TimeZone, Utc};
use proptest::prelude::*;
use proptest::sample::subsequence;
use punctual_core::schedule::{Cron, Dst, Gap, Overlap};
use punctual_core::{Schedule, Timestamp, Zone};

/// Zones that differ between chrono-tz's release (2025b) and ours, with the day on which the first difference was
/// found. The later release knows new laws (Morocco, British Columbia, Alberta, Manitoba), and corrects the past of
/// others (Baja California to 1975, Iran in 1979, Colombia in 1992, Moldova from 2022).
const CHANGED: [(&str, &str); 20] = [
    ("Africa/Casablanca", "2026-09-20"),
    ("Africa/El_Aaiun", "2026-09-20"),
    ("America/Bogota", "1992-05-02"),
    ("America/Edmonton", "2026-11-05"),
    ("America/Ensenada", "1970-04-26"),
    ("America/Inuvik", "2026-11-05"),
    ("America/Rainy_River", "2026-11-05"),
    ("America/Santa_Isabel", "1970-04-26"),
    ("America/Tijuana", "1970-04-26"),
    ("America/Vancouver", "2026-11-05"),
    ("America/Winnipeg", "2026-11-05"),
    ("America/Yellowknife", "2026-11-05"),
    ("Asia/Tehran", "1979-05-25"),
    ("Canada/Central", "2026-11-05"),
    ("Canada/Mountain", "2026-11-05"),
    ("Canada/Pacific", "2026-11-05"),
    ("Europe/Chisinau", "2022-03-27"),
    ("Europe/Tiraspol", "2022-03-27"),
    ("Iran", "1979-05-25"),
    ("Mexico/BajaNorte", "1970-04-26"),
];
/// The release that the list was made with; another one has its own differences.
const OURS: &str = "2026e";

/// 2100-01-01T00:00:00Z.
const UNTIL: i64 = 4_102_444_800;

fn theirs(zone: chrono_tz::Tz, seconds: i64) -> i32 {
    let at = DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
    zone.offset_from_utc_datetime(&at).fix().local_minus_utc()
}

/// The first instant from 1970 to 2100 at which the two disagree: at our changes, and week by week.
fn first_difference(name: &str) -> Option<i64> {
    let ours = Zone::get(name).unwrap();
    let other = chrono_tz::Tz::from_str(name).unwrap();
    let same = |seconds: i64| ours.offset_at(Timestamp::from_secs(seconds)) == theirs(other, seconds);
    let first = std::iter::successors(ours.next_change(Timestamp::EPOCH), |&at| ours.next_change(at));
    let changes = first.map(|at| at.as_micros() / 1_000_000).take_while(|&at| at < UNTIL);
    let at_changes = changes.flat_map(|at| [at - 1, at]).find(|&at| !same(at));
    let weekly = (0..UNTIL / 604_800).map(|week| week * 604_800).find(|&at| !same(at));
    at_changes.into_iter().chain(weekly).min()
}

#[test]
fn chrono_tz_reads_every_zone_as_we_do_where_the_releases_agree() {
    let ours: BTreeSet<String> = Zone::names().into_iter().collect();
    let names = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).filter(|name| ours.contains(*name));
    let names: BTreeSet<&str> = names.collect();
    let (mut compared, mut differ) = (0, Vec::new());
    for name in names {
        compared += 1;
        if let Some(at) = first_difference(name) {
            let day = DateTime::from_timestamp(at, 0).unwrap().format("%Y-%m-%d").to_string();
            differ.push((name.to_owned(), day));
        }
    }
    assert!(compared > 550, "{compared} zones");
    let listed = CHANGED.map(|(name, day)| (name.to_owned(), day.to_owned()));
    assert_eq!(Zone::data_version(), OURS, "the list must be made anew, and each difference looked up");
    assert_eq!(differ, listed);
}

/// The fields of a plain expression as sorted lists.
fn lists() -> impl Strategy<Value = String> {
    let list = |first: u32, last: u32| {
        let values: Vec<u32> = (first..=last).collect();
        let most = values.len().min(5);
        let some = subsequence(values, 1..=most)
            .prop_map(|values| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
        let step = (first..=last, 1..=(last - first)).prop_map(|(from, step)| format!("{from}/{step}"));
        let range = (first..=last, first..=last).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
        prop_oneof![Just("*".to_owned()), some, step, range].boxed()
    };
    let days = prop_oneof![
        list(1, 31).prop_map(|days| (days, "?".to_owned())),
        list(1, 7).prop_map(|days| ("?".to_owned(), days)),
    ];
    (list(0, 59), list(0, 59), list(0, 23), days, list(1, 12)).prop_map(|(s, m, h, (day, weekday), month)| {
        let (s, m) = (s.replace("/0", "/1"), m.replace("/0", "/1"));
        format!("{s} {m} {h} {day} {month} {weekday}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cron_crate_reads_plain_expressions_as_we_do(text in lists(), from in 0_i64..3_900_000_000) {
        let theirs = cron::Schedule::from_str(&text).unwrap();
        let ours = Schedule::from(Cron::quartz(&text, Zone::utc()).unwrap());
        let after = DateTime::<Utc>::from_timestamp(from, 0).unwrap();
        let expected: Vec<Timestamp> = theirs.after(&after).take(6).map(Timestamp::from).collect();
        let got = ours.next_n(Timestamp::from_secs(from), 6);
        // That crate ends with the year 2100.
        let end = Timestamp::from_secs(4_133_980_800);
        let got: Vec<Timestamp> = got.into_iter().filter(|&t| t < end).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn no_rule_for_clock_changes_shows_where_the_clocks_stand_still(
        text in lists(), from in 0_i64..3_900_000_000, second in any::<bool>(),
    ) {
        let cron = Cron::quartz(&text, Zone::get("Asia/Tokyo").unwrap()).unwrap();
        let overlap = if second { Overlap::Second } else { Overlap::Both };
        let other = cron.clone().with_dst(Dst { gap: Gap::Skip, overlap });
        let from = Timestamp::from_secs(from);
        prop_assert_eq!(Schedule::from(cron).next_n(from, 4), Schedule::from(other).next_n(from, 4));
    }
}
