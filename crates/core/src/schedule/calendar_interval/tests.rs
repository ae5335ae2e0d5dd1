use super::*;
use crate::schedule::Schedule;

fn at(text: &str) -> Timestamp {
    Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
}

fn every(interval: u32, unit: CalendarUnit, start: &str, zone: &str) -> CalendarInterval {
    CalendarInterval::new(interval, unit, at(start), Zone::get(zone).unwrap()).unwrap()
}

/// The next instants in wall time.
fn walls(schedule: &CalendarInterval, after: &str, n: usize) -> Vec<String> {
    let zone = schedule.zone().clone();
    let next = Schedule::from(schedule.clone()).next_n(at(after), n).into_iter();
    next.map(|t| zone.to_local(t).format("%Y-%m-%d %H:%M").to_string()).collect()
}

const QUARTZ: Clocks = Clocks::Quartz { preserve_hour_of_day: false, skip_day_if_hour_does_not_exist: false };

#[test]
fn months_are_counted_from_the_start() {
    let monthly = every(1, CalendarUnit::Month, "2026-01-31T12:00:00Z", "UTC");
    let before = "2026-01-01T00:00:00Z";
    let days = ["2026-01-31 12:00", "2026-02-28 12:00", "2026-03-31 12:00", "2026-04-30 12:00"];
    assert_eq!(walls(&monthly, before, 4), days);
    let sticky = monthly.with_month_end(MonthEnd::Sticks);
    let days = ["2026-01-31 12:00", "2026-02-28 12:00", "2026-03-28 12:00", "2026-04-28 12:00"];
    assert_eq!(walls(&sticky, before, 4), days);
    let leap = every(1, CalendarUnit::Year, "2024-02-29T12:00:00Z", "UTC");
    assert_eq!(walls(&leap, "2027-03-01T00:00:00Z", 2), ["2028-02-29 12:00", "2029-02-28 12:00"]);
    let sticky = leap.with_month_end(MonthEnd::Sticks);
    assert_eq!(walls(&sticky, "2027-03-01T00:00:00Z", 1), ["2028-02-28 12:00"]);
}

#[test]
fn hours_are_elapsed_time_and_days_are_not() {
    let start = "2026-03-28T12:00:00Z";
    let hours = every(24, CalendarUnit::Hour, start, "Europe/Berlin");
    assert_eq!(walls(&hours, start, 1), ["2026-03-29 14:00"]);
    let days = every(1, CalendarUnit::Day, start, "Europe/Berlin");
    assert_eq!(walls(&days, start, 1), ["2026-03-29 13:00"]);
    let weeks = every(2, CalendarUnit::Week, start, "Europe/Berlin");
    assert_eq!(walls(&weeks, start, 2), ["2026-04-11 13:00", "2026-04-25 13:00"]);
}

#[test]
fn a_wall_time_in_a_gap_does_not_move_those_after_it() {
    let daily = every(1, CalendarUnit::Day, "2026-03-27T01:30:00Z", "Europe/Berlin");
    let after = "2026-03-28T12:00:00Z";
    assert_eq!(walls(&daily, after, 2), ["2026-03-29 03:00", "2026-03-30 02:30"]);
    let skip = daily.clone().with_clocks(Clocks::Dst(Dst { gap: Gap::Skip, overlap: Overlap::First }));
    assert_eq!(walls(&skip, after, 2), ["2026-03-30 02:30", "2026-03-31 02:30"]);
    let quartz = daily.clone().with_clocks(QUARTZ);
    assert_eq!(walls(&quartz, after, 2), ["2026-03-29 03:30", "2026-03-30 02:30"]);
    let both = Clocks::Quartz { preserve_hour_of_day: true, skip_day_if_hour_does_not_exist: true };
    assert_eq!(walls(&daily.with_clocks(both), after, 1), ["2026-03-30 02:30"]);
}

#[test]
fn an_overlap_fires_once_or_on_both_passes() {
    let next = |unit, clocks| {
        let schedule = every(1, unit, "2026-09-25T00:30:00Z", "Europe/Berlin").with_clocks(clocks);
        Schedule::from(schedule).next_n(at("2026-10-24T12:00:00Z"), 2)
    };
    let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
    let dst = |overlap| Clocks::Dst(Dst { gap: Gap::Skip, overlap });
    assert_eq!(next(CalendarUnit::Day, dst(Overlap::First))[0], first);
    assert_eq!(next(CalendarUnit::Day, dst(Overlap::Second))[0], second);
    assert_eq!(next(CalendarUnit::Day, dst(Overlap::Both)), [first, second]);
    assert_eq!(next(CalendarUnit::Day, QUARTZ)[0], first);
    assert_eq!(next(CalendarUnit::Month, QUARTZ)[0], second);
}

#[test]
fn the_ends_of_time_have_an_answer() {
    for unit in [CalendarUnit::Second, CalendarUnit::Day, CalendarUnit::Month, CalendarUnit::Year] {
        for interval in [1, CalendarInterval::LONGEST] {
            let schedule =
                every(interval, unit, "1970-01-31T00:00:00Z", "UTC").with_month_end(MonthEnd::Sticks);
            assert_eq!(schedule.next_after(Timestamp::MIN), Some(schedule.start()));
            assert_eq!(schedule.next_after(Timestamp::MAX), None);
        }
    }
    let start = Timestamp::MAX;
    assert!(CalendarInterval::new(1, CalendarUnit::Day, start, Zone::utc()).is_err());
    assert!(CalendarInterval::new(0, CalendarUnit::Day, Timestamp::EPOCH, Zone::utc()).is_err());
}

#[test]
fn the_document_has_every_setting() {
    let schedule = Schedule::from(every(3, CalendarUnit::Week, "1970-01-01T00:00:01Z", "Asia/Tokyo"));
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(
        json,
        r#"{"type":"calendar_interval","interval":3,"unit":"week","start":1000000,"zone":"Asia/Tokyo","month_end":"from_start","clocks":{"dst":{"gap":"at_end_of_gap","overlap":"first"}}}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
}
