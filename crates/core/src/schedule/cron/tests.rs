use super::*;
use crate::schedule::Schedule;

fn at(text: &str) -> Timestamp {
    Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
}

fn zone(name: &str) -> Zone {
    Zone::get(name).unwrap()
}

fn quartz(expression: &str) -> Cron {
    Cron::quartz(expression, Zone::utc()).unwrap()
}

/// The next instants in the zone's wall time, such as `2026-03-29 03:00`, with the offset where `%z` style matters.
fn walls(cron: &Cron, after: &str, n: usize) -> Vec<String> {
    let schedule = Schedule::from(cron.clone());
    let walls = schedule.next_n(at(after), n).into_iter();
    walls.map(|t| cron.zone().to_local(t).format("%Y-%m-%d %H:%M:%S").to_string()).collect()
}

fn error(dialect: Dialect, expression: &str) -> CronError {
    Cron::new(dialect, expression, Zone::utc()).unwrap_err()
}

#[test]
fn both_dialects_read_their_own_sunday() {
    let sunday = ["2026-01-04 00:00:00"];
    assert_eq!(walls(&quartz("0 0 0 ? * 1"), "2026-01-01T00:00:00Z", 1), sunday);
    for expression in ["0 0 * * 0", "0 0 * * 7", "0 0 * * sun", "@weekly"] {
        let cron = Cron::unix(expression, Zone::utc()).unwrap();
        assert_eq!(walls(&cron, "2026-01-01T00:00:00Z", 1), sunday, "{expression}");
    }
}

#[test]
fn unix_days_are_alternatives_unless_one_begins_with_a_star() {
    let next = |expression: &str| {
        let cron = Cron::unix(expression, Zone::utc()).unwrap();
        walls(&cron, "2026-01-01T00:00:00Z", 3)
    };
    let fridays_and_13th = ["2026-01-02 00:00:00", "2026-01-09 00:00:00", "2026-01-13 00:00:00"];
    assert_eq!(next("0 0 13 * fri"), fridays_and_13th);
    // The star of `*/13` makes it "and": days 1, 14, 27 that are Fridays.
    assert_eq!(next("0 0 */13 * fri"), ["2026-02-27 00:00:00", "2026-03-27 00:00:00", "2026-05-01 00:00:00"]);
    assert_eq!(next("0 0 13 * *"), ["2026-01-13 00:00:00", "2026-02-13 00:00:00", "2026-03-13 00:00:00"]);
}

#[test]
fn ranges_wrap_round_in_every_cyclic_field() {
    let same = [
        ("50-10/10 * * * * ?", "0,10,50 * * * * ?"),
        ("0 0 22-2 * * ?", "0 0 22,23,0,1,2 * * ?"),
        ("0 0 0 30-2 * ?", "0 0 0 30,31,1,2 * ?"),
        ("0 0 0 1 NOV-FEB ?", "0 0 0 1 11,12,1,2 ?"),
        ("0 0 0 ? * FRI-MON", "0 0 0 ? * 6,7,1,2"),
        ("0/20 * * * * ?", "/20 * * * * ?"),
        ("0 0 0 ? * 5/2", "0 0 0 ? * 5,7"),
        ("0 0 0 1 1 ? 2290/4", "0 0 0 1 1 ? 2290,2294,2298"),
    ];
    for (one, other) in same {
        assert_eq!(quartz(one).fields, quartz(other).fields, "{one}");
    }
    let unix = |expression| Cron::unix(expression, Zone::utc()).unwrap().fields;
    assert_eq!(unix("0 0 * * 5-7"), unix("0 0 * * 0,5,6"));
    assert_eq!(unix("0 0 * * FRI-1/2"), unix("0 0 * * 5,0"));
    assert_eq!(unix("0 0 * * *"), unix("@midnight"));
    assert_eq!(unix("0 0 1 1 *"), unix("@annually"));
}

#[test]
fn special_days_stand_alone() {
    let next = |expression: &str| walls(&quartz(expression), "2026-01-01T00:00:00Z", 2).join(", ");
    assert_eq!(next("0 0 0 L-30 * ?"), "2026-03-01 00:00:00, 2026-05-01 00:00:00");
    assert_eq!(next("0 0 0 LW 2 ?"), "2026-02-27 00:00:00, 2027-02-26 00:00:00");
    assert_eq!(next("0 0 0 l-1w * ?"), "2026-01-30 00:00:00, 2026-02-27 00:00:00");
    assert_eq!(next("0 0 0 31w * ?"), "2026-01-30 00:00:00, 2026-03-31 00:00:00");
    assert_eq!(next("0 0 0 ? * FRIL"), next("0 0 0 ? * 6L"));
    assert_eq!(next("0 0 0 ? * 2#5"), "2026-03-30 00:00:00, 2026-06-29 00:00:00");
    assert_eq!(next("0 0 0 ? * L"), next("0 0 0 ? * SAT"));
    for list in ["1,L", "L,1", "15W,1", "1,15W", "LW,L"] {
        assert!(Cron::quartz(&format!("0 0 0 {list} * ?"), Zone::utc()).is_err(), "{list}");
    }
}

#[test]
fn what_never_happens_is_none() {
    for expression in [
        "0 0 0 30 2 ?",
        "0 0 0 31 2,4,6,9,11 ?",
        "0 0 0 29 2 ? 2027",
        "0 0 0 31W 6 ?",
        "0 0 0 L-30 2 ?",
        "0 0 0 1 1 ? 1970",
    ] {
        let cron = quartz(expression);
        assert_eq!(cron.next_after(Timestamp::EPOCH), None, "{expression}");
        assert_eq!(cron.next_after(Timestamp::MAX), None, "{expression}");
    }
    let last = quartz("59 59 23 31 12 ?");
    assert_eq!(walls(&last, "2298-12-31T23:59:59Z", 9), ["2299-12-31 23:59:59"]);
}

#[test]
fn the_first_wall_time_is_that_of_1970() {
    for (name, first) in [("Asia/Tokyo", -9 * 3600), ("UTC", 0), ("America/New_York", 5 * 3600)] {
        let cron = Cron::quartz("* * * * * ?", zone(name)).unwrap();
        assert_eq!(cron.next_after(Timestamp::MIN), Some(Timestamp::from_secs(first)), "{name}");
        assert_eq!(cron.first_from(Timestamp::from_secs(first)), Some(Timestamp::from_secs(first)));
        let after_the_end = Timestamp::from_secs(20_000_000_000);
        assert_eq!(cron.next_after(after_the_end), None);
        let last = Schedule::from(cron.clone()).last_within(Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!(cron.zone().to_local(last).to_string(), "2299-12-31 23:59:59");
    }
}

#[test]
fn a_gap_is_skipped_or_ends_in_one_firing() {
    let berlin = Cron::quartz("0 10,30 2 * * ?", zone("Europe/Berlin")).unwrap();
    let next = |gap| {
        let cron = berlin.clone().with_dst(Dst { gap, overlap: Overlap::First });
        walls(&cron, "2026-03-28T12:00:00Z", 2)
    };
    assert_eq!(next(Gap::Skip), ["2026-03-30 02:10:00", "2026-03-30 02:30:00"]);
    assert_eq!(next(Gap::AtEndOfGap), ["2026-03-29 03:00:00", "2026-03-30 02:10:00"]);
    // Its own end and what is due there anyway are one.
    let cron = Cron::quartz("0 0/30 2-3 * * ?", zone("Europe/Berlin")).unwrap();
    let expected = ["2026-03-29 03:00:00", "2026-03-29 03:30:00", "2026-03-30 02:00:00"];
    assert_eq!(walls(&cron, "2026-03-29T00:00:00Z", 3), expected);
    // Apia had no 30 December 2011; the day after begins at the end of the gap.
    let apia = Cron::quartz("0 0 12 30 12 ?", zone("Pacific/Apia")).unwrap();
    assert_eq!(walls(&apia, "2011-06-01T00:00:00Z", 2), ["2011-12-31 00:00:00", "2012-12-30 12:00:00"]);
}

#[test]
fn an_overlap_fires_on_the_pass_that_is_asked_for() {
    let fire = |expression: &str, overlap, after: &str| {
        let cron = Cron::quartz(expression, zone("Europe/Berlin")).unwrap();
        let cron = cron.with_dst(Dst { gap: Gap::Skip, overlap });
        let next = Schedule::from(cron).next_n(at(after), 2);
        let hours = next.iter().map(|t| t.to_chrono().format("%dT%H:%M").to_string());
        hours.collect::<Vec<_>>().join(" ")
    };
    let (daily, hourly) = ("0 30 2 * * ?", "0 30 * * * ?");
    let before = "2026-10-24T22:45:00Z";
    assert_eq!(fire(daily, Overlap::First, before), "25T00:30 26T01:30");
    assert_eq!(fire(daily, Overlap::Second, before), "25T01:30 26T01:30");
    assert_eq!(fire(daily, Overlap::Both, before), "25T00:30 25T01:30");
    assert_eq!(fire(hourly, Overlap::First, before), "24T23:30 25T00:30");
    // Asked from inside the first pass, nothing of the second is lost.
    let first_pass = "2026-10-25T00:40:00Z";
    assert_eq!(fire(daily, Overlap::First, first_pass), "26T01:30 27T01:30");
    assert_eq!(fire(daily, Overlap::Second, first_pass), "25T01:30 26T01:30");
    assert_eq!(fire(daily, Overlap::Both, first_pass), "25T01:30 26T01:30");
    assert_eq!(fire(hourly, Overlap::First, first_pass), "25T02:30 25T03:30");
    assert_eq!(fire(hourly, Overlap::Both, first_pass), "25T01:30 25T02:30");
    // The only instant left is on the second pass.
    assert_eq!(fire("0 30 2 25 10 ? 2026", Overlap::Both, first_pass), "25T01:30");
}

#[test]
fn defaults_follow_the_form_of_the_expression() {
    let dst = |expression: &str| quartz(expression).dst();
    let (first, both) = (Overlap::First, Overlap::Both);
    assert_eq!(dst("0 30 2 * * ?"), Dst { gap: Gap::AtEndOfGap, overlap: first });
    assert_eq!(dst("0 0,30 1-5 * * ?"), Dst { gap: Gap::AtEndOfGap, overlap: first });
    assert_eq!(dst("0 0/10 2 * * ?"), Dst { gap: Gap::AtEndOfGap, overlap: both });
    assert_eq!(dst("0 0 */2 * * ?"), Dst { gap: Gap::AtEndOfGap, overlap: both });
    assert_eq!(dst("0 30 * * * ?"), Dst { gap: Gap::Skip, overlap: both });
    assert_eq!(Cron::unix("@hourly", Zone::utc()).unwrap().dst(), Dst { gap: Gap::Skip, overlap: both });
    assert_eq!(Cron::unix("@daily", Zone::utc()).unwrap().dst(), dst("0 0 0 * * ?"));
}

#[test]
fn both_passes_match_whatever_fires() {
    let cron = Cron::quartz("0 30 2 * * ?", zone("Europe/Berlin")).unwrap().with_dst(Dst::quartz());
    assert!(cron.matches(at("2026-10-25T00:30:00.999Z")));
    assert!(cron.matches(at("2026-10-25T01:30:00Z")));
    assert!(!cron.matches(at("2026-10-25T01:30:01Z")));
}

#[test]
fn an_error_points_at_the_column_and_says_what_to_write() {
    use Dialect::{Quartz, Unix};
    for (dialect, expression, column) in [
        (Quartz, "", 1),
        (Quartz, "0 0 12 * *", 11),
        (Quartz, "0 0 12 * * ? * *", 16),
        (Quartz, "0 60 12 * * ?", 3),
        (Quartz, "0 0 12 * * MON", 12),
        (Quartz, "0 0 12 ? * ?", 12),
        (Quartz, "0 0,,5 12 * * ?", 5),
        (Quartz, "0 5X 12 * * ?", 4),
        (Quartz, "0 0/0 12 * * ?", 5),
        (Quartz, "0 0/60 12 * * ?", 5),
        (Quartz, "0 0/ 12 * * ?", 5),
        (Quartz, "0 5- 12 * * ?", 5),
        (Quartz, "0 0 12 ? * MONDAY", 12),
        (Quartz, "0 0 12 ? * MON-FRI/2", 19),
        (Quartz, "0 0 12 ? * MON-6", 16),
        (Quartz, "0 0 12 ? * 6#6", 14),
        (Quartz, "0 0 12 ? * 6#", 14),
        (Quartz, "0 0 12 ? * 6#3,2", 15),
        (Quartz, "0 0 12 ? * MON,6L", 17),
        (Quartz, "0 0 12 L-31 * ?", 10),
        (Quartz, "0 0 12 0W * ?", 8),
        (Quartz, "0 0 12 ?x * ?", 9),
        (Quartz, "L 0 12 * * ?", 1),
        (Quartz, "0 0 12 1 1 ? 1969", 14),
        (Quartz, "0 0 12 1 1 ? 2030-2029", 19),
        (Quartz, "0\u{a0}0 12 * * ?", 2),
        (Quartz, "0 0 12 * * ?\n", 13),
        (Quartz, "0 0 12 * * ü", 12),
        (Quartz, "@daily", 1),
        (Unix, "@daily 5", 8),
        (Unix, "@reboot", 1),
        (Unix, "0 0 12 * * ?", 12),
        (Unix, "0 0 L * *", 5),
        (Unix, "5/15 * * * *", 1),
        (Unix, "/15 * * * *", 1),
        (Unix, "0 0 * * 8", 9),
    ] {
        let error = error(dialect, expression);
        assert_eq!(error.column(), column, "{expression:?}: {error}");
        assert!(!error.message().is_empty() && !error.hint().is_empty());
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
    let long = "0 ".repeat(200);
    assert_eq!(error(Quartz, &long).column(), 257);
    let error = Error::from(error(Quartz, "0 0 12 32 * ?"));
    assert_eq!(error.to_string(), "cron: column 8: 32 is not a day of month; use 1 to 31");
}

#[test]
fn the_document_is_canonical() {
    let one = Cron::quartz("  0\t0 9 ?  * mon-fri ", zone("Europe/Berlin")).unwrap();
    let json = serde_json::to_string(&Schedule::from(one.clone())).unwrap();
    assert_eq!(
        json,
        r#"{"type":"cron","dialect":"quartz","expression":"0 0 9 ? * MON-FRI","zone":"Europe/Berlin","dst":{"gap":"at_end_of_gap","overlap":"first"}}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), Schedule::from(one.clone()));
    assert_eq!(one.to_string(), "cron 0 0 9 ? * MON-FRI (Europe/Berlin)");
    assert_eq!(one, Cron::quartz("0 0 9 ? * MON-FRI", zone("Europe/Berlin")).unwrap());
}
