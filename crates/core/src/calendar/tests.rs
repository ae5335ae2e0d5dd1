use super::*;
use crate::error::ErrorKind;
use crate::schedule::{Every, Schedule};

fn at(text: &str) -> Timestamp {
    Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn berlin() -> Zone {
    Zone::get("Europe/Berlin").unwrap()
}

fn next(calendar: &Calendar, t: &str) -> String {
    calendar.next_included(at(t)).map_or_else(|| "never".to_owned(), |t| t.to_string())
}

#[test]
fn days_are_those_of_the_calendars_zone() {
    let calendar = Calendar::weekly(Weekdays::WEEKEND, berlin());
    assert!(calendar.includes(at("2026-05-01T21:59:59.999999Z")));
    assert!(!calendar.includes(at("2026-05-01T22:00:00Z")));
    assert_eq!(next(&calendar, "2026-05-01T22:00:00Z"), "2026-05-03T22:00:00.000000Z");
    let monthly = Calendar::monthly([1, 2, 31], Zone::utc()).unwrap();
    assert_eq!(next(&monthly, "2026-01-31T07:00:00Z"), "2026-02-03T00:00:00.000000Z");
    let annual = Calendar::annual([(2, 28), (2, 29), (3, 1)], Zone::utc()).unwrap();
    assert_eq!(next(&annual, "2028-02-28T07:00:00Z"), "2028-03-02T00:00:00.000000Z");
    let holiday = Calendar::holiday([date("2026-12-25")], berlin()).unwrap();
    assert_eq!(next(&holiday, "2026-12-25T07:00:00Z"), "2026-12-25T23:00:00.000000Z");
    assert!(
        Calendar::monthly([0], Zone::utc()).is_err() && Calendar::annual([(2, 30)], Zone::utc()).is_err()
    );
}

#[test]
fn a_part_of_the_day_is_left_out_on_both_passes() {
    let time = |text: &str| text.parse::<ClockTime>().unwrap();
    let night = Calendar::daily(time("02:00:00"), time("02:59:59.999"), false, berlin()).unwrap();
    assert!(!night.includes(at("2026-10-25T00:30:00Z")) && !night.includes(at("2026-10-25T01:30:00Z")));
    assert_eq!(next(&night, "2026-10-25T00:00:00Z"), "2026-10-25T02:00:00.000000Z");
    // There is no 02:30 on that day.
    assert_eq!(next(&night, "2026-03-29T00:59:59Z"), "2026-03-29T00:59:59.000000Z");
    let inverse = Calendar::daily(time("02:00:00"), time("02:59:59.999"), true, berlin()).unwrap();
    assert_eq!(next(&inverse, "2026-03-29T00:00:00Z"), "2026-03-30T00:00:00.000000Z");
    assert_eq!(next(&inverse, "2026-03-30T12:00:00Z"), "2026-03-31T00:00:00.000000Z");
    assert!(Calendar::daily(time("02:00:00"), time("01:00:00"), false, berlin()).is_err());
    for text in ["24:00:00", "1:00:00", "01:00", "01:00:00.1", "01:00:00.0001", "01:00:60"] {
        assert!(text.parse::<ClockTime>().is_err(), "{text}");
    }
}

#[test]
fn cron_calendars_leave_out_seconds() {
    let cron = |text: &str| Calendar::cron(Cron::quartz(text, Zone::utc()).unwrap());
    assert_eq!(next(&cron("0 0/5 * * * ?"), "2026-01-01T00:05:00.25Z"), "2026-01-01T00:05:01.000000Z");
    assert_eq!(next(&cron("* * * ? * SAT,SUN"), "2026-05-02T07:00:00Z"), "2026-05-04T00:00:00.000000Z");
    assert_eq!(next(&cron("* 0-30 8-10 * * ?"), "2026-05-02T08:00:07Z"), "2026-05-02T08:31:00.000000Z");
    assert_eq!(next(&cron("* * * * * ?"), "2026-05-02T08:00:07Z"), "never");
    assert_eq!(next(&cron("* * * * * ? 2026"), "2026-05-02T08:00:07Z"), "2027-01-01T00:00:00.000000Z");
    let odd = cron("1/2 * * * * ?").with_base(cron("0/2 * * * * ?")).unwrap();
    assert_eq!(next(&odd, "2026-05-02T08:00:07Z"), "never");
}

#[test]
fn a_chain_includes_what_all_of_it_includes() {
    let calendar = Calendar::weekly(Weekdays::WEEKEND, Zone::utc())
        .with_base(Calendar::holiday([date("2026-05-01"), date("2026-05-04")], Zone::utc()).unwrap())
        .unwrap();
    assert_eq!(next(&calendar, "2026-05-01T00:00:00Z"), "2026-05-05T00:00:00.000000Z");
    let json = serde_json::to_string(&calendar).unwrap();
    assert_eq!(
        json,
        r#"{"excludes":{"type":"weekly","days":["sat","sun"],"zone":"UTC"},"base":{"excludes":{"type":"holiday","dates":["2026-05-01","2026-05-04"],"zone":"UTC"}}}"#
    );
    assert_eq!(serde_json::from_str::<Calendar>(&json).unwrap(), calendar);
    let mut long = calendar;
    let refused = (0..20).find_map(|_| {
        let next = long.clone().with_base(Calendar::new(Excludes::Nothing).unwrap());
        next.map(|next| long = next).err()
    });
    assert_eq!(refused.unwrap().kind(), ErrorKind::Invalid);
    for all in [
        Calendar::weekly(Weekdays::ALL, Zone::utc()),
        Calendar::monthly(1..=31, Zone::utc()).unwrap(),
        Calendar::monthly(1..=30, Zone::utc())
            .unwrap()
            .with_base(Calendar::monthly([31], Zone::utc()).unwrap())
            .unwrap(),
    ] {
        assert_eq!(next(&all, "2026-05-01T00:00:00Z"), "never");
    }
}

#[test]
fn bad_documents_are_refused() {
    for (document, why) in [
        (r#"{"excludes":{"type":"holiday","dates":["2026-02-29"],"zone":"UTC"}}"#, "is not YYYY-MM-DD"),
        (r#"{"excludes":{"type":"annual","days":["2-1"],"zone":"UTC"}}"#, "is not MM-DD"),
        (r#"{"excludes":{"type":"monthly","days":[32],"zone":"UTC"}}"#, "32 is no day of a month"),
        (r#"{"excludes":{"type":"weekly","days":[],"zone":"Mars"}}"#, "unknown time zone"),
        (r#"{"excludes":{"type":"weekly","days":[],"zone":"UTC","x":1}}"#, "unknown field"),
        (r#"{"excludes":{"type":"cron","dialect":"quartz","expression":"x","zone":"UTC"}}"#, "column 2"),
    ] {
        let error = serde_json::from_str::<Calendar>(document).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn excluded_instants_are_left_out_or_moved() {
    let calendar = Calendar::weekly(Weekdays::WEEKEND, berlin())
        .with_base(Calendar::holiday([date("2026-05-01")], berlin()).unwrap())
        .unwrap();
    let zone = berlin();
    let days = |when, expression: &str| {
        let cron = Schedule::from(Cron::quartz(expression, berlin()).unwrap());
        let filter = Filter::new(&calendar, zone.clone()).when_excluded(when).unwrap();
        let next = |t: &Timestamp| filter.next_after(|t| cron.next_after(t), *t);
        let first = next(&at("2026-04-29T22:00:00Z"));
        let all: Vec<Timestamp> = std::iter::successors(first, next).take(4).collect();
        let shown = all.iter().map(|&t| zone.to_local(t).format("%m-%dT%H").to_string());
        shown.collect::<Vec<_>>().join(" ")
    };
    let monthly = "0 0 9 1 * ?";
    assert_eq!(days(WhenExcluded::Skip, monthly), "06-01T09 07-01T09 09-01T09 10-01T09");
    // 1 August and 1 November 2026 are on weekends.
    assert_eq!(days(WhenExcluded::Before, monthly), "04-30T09 06-01T09 07-01T09 07-31T09");
    assert_eq!(days(WhenExcluded::After, monthly), "05-04T09 06-01T09 07-01T09 08-03T09");
    let twice = "0 0 9,18 * * ?";
    assert_eq!(days(WhenExcluded::After, twice), "04-30T09 04-30T18 05-04T09 05-04T18");
    assert_eq!(days(WhenExcluded::Before, twice), "04-30T09 04-30T18 05-04T09 05-04T18");
    // Hours that only the weekend has move into the week between its own.
    let weekend = "0 0 12 ? * SAT";
    assert_eq!(days(WhenExcluded::Before, weekend), "04-30T12 05-08T12 05-15T12 05-22T12");

    let all = Calendar::weekly(Weekdays::ALL, berlin());
    let filter = Filter::new(&all, zone.clone());
    let cron = Schedule::from(Cron::quartz("* * * * * ?", berlin()).unwrap());
    assert_eq!(filter.next_after(|t| cron.next_after(t), Timestamp::EPOCH), None);
    let after = filter.when_excluded(WhenExcluded::After).unwrap();
    assert_eq!(after.next_after(|t| cron.next_after(t), at("2299-11-01T00:00:00Z")), None);
    let seconds = Calendar::cron(Cron::quartz("* * * * * ?", berlin()).unwrap());
    assert!(Filter::new(&seconds, zone).when_excluded(WhenExcluded::After).is_err());
}

fn ics(events: &str) -> String {
    format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{}END:VCALENDAR\r\n", events.replace('\n', "\r\n"))
}

fn read(events: &str) -> String {
    match ics::dates(&ics(events), 2030) {
        Ok(dates) => dates.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn all_day_events_become_dates() {
    let event = |lines: &str| read(&format!("BEGIN:VEVENT\nSUMMARY:A: b\n{lines}\nEND:VEVENT\n"));
    assert_eq!(event("DTSTART;VALUE=DATE:20260101"), "2026-01-01");
    assert_eq!(event("DTSTART:20261224\nDTEND:20261227"), "2026-12-24 2026-12-25 2026-12-26");
    assert_eq!(event("DTSTART:20261224\nDURATION:P2D"), "2026-12-24 2026-12-25");
    assert_eq!(event("DTSTART:20260101\nRRULE:FREQ=YEARLY;CO\n UNT=3"), "2026-01-01 2027-01-01 2028-01-01");
    let thanksgiving = "DTSTART:20261126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;UNTIL=20281231T000000Z";
    assert_eq!(event(thanksgiving), "2026-11-26 2027-11-25 2028-11-23");
    let last_monday = "DTSTART:20260525\nRRULE:FREQ=YEARLY;BYMONTH=5;BYDAY=-1MO;COUNT=2";
    assert_eq!(event(last_monday), "2026-05-25 2027-05-31");
    let election =
        "DTSTART:20261103\nRRULE:FREQ=YEARLY;INTERVAL=2;BYMONTH=11;BYMONTHDAY=2,3,4,5,6,7,8;BYDAY=TU";
    assert_eq!(event(election), "2026-11-03 2028-11-07 2030-11-05");
    assert_eq!(event("DTSTART:20240229\nRRULE:FREQ=YEARLY"), "2024-02-29 2028-02-29");
    assert_eq!(event("DTSTART:20260101\nRDATE:20260301,20260401\nEXDATE:20260301"), "2026-01-01 2026-04-01");
    assert_eq!(event("STATUS:CANCELLED\nDTSTART:20260101"), "");
    assert_eq!(
        event("DTSTART:20260101\nRRULE:FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=-1;COUNT=2"),
        "2026-01-01 2026-12-31"
    );
    assert_eq!(
        event("BEGIN:VALARM\nTRIGGER:-P1D\nDURATION:PT5M\nEND:VALARM\nDTSTART:20260101"),
        "2026-01-01"
    );
}

#[test]
fn what_is_not_understood_names_its_line() {
    let event = |lines: &str| read(&format!("BEGIN:VEVENT\n{lines}\nEND:VEVENT\n"));
    for (lines, message) in [
        ("SUMMARY:x", "ics: line 3: the event has no DTSTART"),
        (
            "DTSTART:20260101T100000Z",
            "ics: line 4: DTSTART: `20260101T100000Z` is not a date YYYYMMDD; only all-day events are read",
        ),
        (
            "DTSTART;VALUE=DATE-TIME:20260101",
            "ics: line 4: DTSTART is not a date; only all-day events are read",
        ),
        (
            "DTSTART:20260231",
            "ics: line 4: DTSTART: `20260231` is not a date YYYYMMDD; only all-day events are read",
        ),
        ("RRULE:FREQ=WEEKLY", "ics: line 4: RRULE: `FREQ=WEEKLY` is not understood"),
        ("RRULE:FREQ=YEARLY;BYEASTER=1", "ics: line 4: RRULE: `BYEASTER=1` is not understood"),
        ("RRULE:FREQ=YEARLY;COUNT=0", "ics: line 4: RRULE: `COUNT=0` is not understood"),
        ("no colon", "ics: line 4: there is no `:` after a name"),
        (
            "DTSTART:20260102\nDTEND:20260101",
            "ics: line 3: the event lasts -1 days, which is not between 1 and 366",
        ),
        ("END:VTODO", "ics: line 4: VTODO ends where VEVENT of line 3 is open"),
    ] {
        assert_eq!(event(lines), message);
    }
    for text in ["", "x", "BEGIN:VEVENT", "BEGIN:VCALENDAR", "END:VCALENDAR", "A:b\nBEGIN:VCALENDAR"] {
        assert!(ics::dates(text, 2030).is_err(), "{text}");
    }
    let calendar = Calendar::from_ics(&ics(""), 2030, Zone::utc()).unwrap();
    assert!(calendar.includes(Timestamp::EPOCH));
}

#[test]
fn the_ends_of_time_have_an_answer() {
    let time = |text: &str| text.parse::<ClockTime>().unwrap();
    for calendar in [
        Calendar::weekly(Weekdays::WEEKEND, berlin()),
        Calendar::monthly(1..=30, berlin()).unwrap(),
        Calendar::annual([(1, 1), (12, 31)], berlin()).unwrap(),
        Calendar::daily(time("00:00:00"), time("23:59:59.999"), false, berlin()).unwrap(),
        Calendar::cron(Cron::quartz("* * * * * ?", berlin()).unwrap()),
    ] {
        let cron = Schedule::from(Cron::quartz("0 0 0 * * ?", berlin()).unwrap());
        let every = Schedule::from(Every::new(Every::LONGEST).unwrap().anchored_at(Timestamp::MIN));
        for t in [Timestamp::MIN, Timestamp::MAX] {
            for when in [WhenExcluded::Skip, WhenExcluded::Before, WhenExcluded::After] {
                for schedule in [&cron, &every] {
                    let filter = Filter::new(&calendar, berlin()).when_excluded(when);
                    let _ = filter.map(|filter| filter.next_after(|t| schedule.next_after(t), t));
                }
            }
            let _ = calendar.includes(t);
            let _ = calendar.next_included(t);
        }
    }
}
