use super::*;
use crate::schedule::Schedule;

fn at(text: &str) -> Timestamp {
    Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
}

fn time(text: &str) -> TimeOfDay {
    text.parse().unwrap()
}

fn daily(interval: u32, from: &str, to: &str, zone: &str) -> Daily {
    Daily::new(interval, Zone::get(zone).unwrap()).unwrap().between(time(from), time(to)).unwrap()
}

fn walls(daily: &Daily, after: &str, n: usize) -> Vec<String> {
    let next = Schedule::from(daily.clone()).next_n(at(after), n).into_iter();
    next.map(|t| daily.zone().to_local(t).format("%d %H:%M").to_string()).collect()
}

#[test]
fn a_window_fires_at_both_its_ends() {
    let office = daily(4 * 3600, "09:00:00", "17:00:00", "UTC").on(Weekdays::WORKING).unwrap();
    let next = walls(&office, "2026-05-01T09:00:00Z", 3);
    assert_eq!(next, ["01 13:00", "01 17:00", "04 09:00"]);
    let one = daily(1, "09:00:00", "09:00:00", "UTC");
    assert_eq!(walls(&one, "2026-05-01T09:00:00Z", 2), ["02 09:00", "03 09:00"]);
    assert!(Daily::new(1, Zone::utc()).unwrap().between(time("10:00:00"), time("09:59:59")).is_err());
}

#[test]
fn a_window_is_as_wide_as_it_looks_when_the_clocks_change() {
    let night = daily(1800, "02:00:00", "03:00:00", "Europe/Berlin");
    assert_eq!(walls(&night, "2026-03-28T12:00:00Z", 3), ["29 03:00", "30 02:00", "30 02:30"]);
    let autumn = walls(&night, "2026-10-24T12:00:00Z", 6);
    assert_eq!(autumn, ["25 02:00", "25 02:30", "25 02:00", "25 02:30", "25 03:00", "26 02:00"]);
    let quartz = night.with_clocks(DailyClocks::Quartz);
    assert_eq!(walls(&quartz, "2026-10-24T12:00:00Z", 4), ["25 02:00", "25 02:30", "25 03:00", "26 02:00"]);
}

#[test]
fn midnight_that_comes_twice_belongs_to_one_day() {
    // In 2006 the clocks of St John's went from 00:01 back to 23:01 of the day before.
    let late = daily(1800, "23:00:00", "23:59:59", "America/St_Johns");
    let next = walls(&late, "2006-10-28T12:00:00Z", 3);
    assert_eq!(next, ["28 23:00", "28 23:30", "29 23:00"]);
    let all = daily(3600, "00:00:00", "23:59:59", "America/St_Johns");
    let instants = Schedule::from(all).next_n(at("2006-10-28T02:30:00Z"), 60);
    assert!(instants.windows(2).all(|pair| pair[1].since(pair[0]).as_secs() == 3600), "{instants:?}");
}

#[test]
fn a_repeat_count_ends_it_wherever_it_ends() {
    let from = at("2026-01-01T12:00:00Z");
    for zone in ["UTC", "Europe/Berlin", "America/St_Johns"] {
        let plain = daily(3600 * 5 + 7, "01:30:00", "22:00:00", zone).on(Weekdays::WORKING).unwrap();
        let all = Schedule::from(plain.clone()).next_n(wall::just_before(from), 5_000);
        for count in [0, 1, 2, 3, 17, 900, 901, 902, 903, 4_999] {
            let ended = Schedule::from(plain.clone().repeating(count, from));
            let index = usize::try_from(count).unwrap();
            assert_eq!(ended.last_within(Timestamp::MIN, Timestamp::MAX), Some(all[index]), "{zone} {count}");
            assert_eq!(ended.next_after(Timestamp::MIN), Some(all[0]));
            assert_eq!(ended.next_after(all[index]), None);
        }
    }
    let forever = daily(1, "00:00:00", "23:59:59", "UTC").repeating(u32::MAX, from);
    assert_eq!(forever.next_after(Timestamp::MAX), None);
    assert!(forever.next_after(at("2100-01-01T00:00:00Z")).is_some());
    assert_eq!(forever.next_after(at("2170-01-01T00:00:00Z")), None);
}

#[test]
fn the_document_has_every_setting() {
    let schedule = Schedule::from(daily(60, "09:00:00", "17:30:00", "UTC").repeating(2, Timestamp::EPOCH));
    let json = serde_json::to_string(&schedule).unwrap();
    assert_eq!(
        json,
        r#"{"type":"daily","interval":60,"from":"09:00:00","to":"17:30:00","days":["mon","tue","wed","thu","fri","sat","sun"],"zone":"UTC","clocks":"widest","repeat":{"count":2,"from":0}}"#
    );
    assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
    for text in ["9:00:00", "24:00:00", "09:00", "09:00:0x", "+9:00:00", "09:00:00:00"] {
        assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
    }
    assert_eq!(Schedule::from(Daily::new(86_400, Zone::utc()).unwrap()).next_after(Timestamp::MAX), None);
}
