//! Triggers that are seen through a calendar: what it leaves out is not owed, must not fire, and is in no skipped range.

use std::sync::Arc;

use crate::common::{Go, Run, SECOND, at, every, go, rescheduled};
use punctual_checker::Rule;
use punctual_core::calendar::Calendar;
use punctual_core::instants::Instants;
use punctual_core::schedule::Cron;
use punctual_core::store::CalendarRecord;
use punctual_core::{Timestamp, Zone};

/// Leaves out the seconds 3 and 4 of a run; each begins at second 20 of a minute.
fn three_and_four() -> Calendar {
    Calendar::cron(Cron::quartz("23,24 * * * * ?", Zone::utc()).unwrap())
}

/// A trigger of each second, seen through a calendar that the final tables have.
fn seen_through(calendar: Calendar) -> Run {
    let mut run = Run::new();
    let until = at(run.until);
    let trigger = run.trigger("a", every(SECOND));
    trigger.spec.calendar = Some("c".into());
    trigger.next_fire = Instants::seen(&trigger.spec, Some(&calendar)).unwrap().next_after(until);
    run.tables.calendars.push(CalendarRecord {
        name: "c".into(),
        calendar: Arc::new(calendar),
        rev: 1,
        updated: Timestamp::EPOCH,
    });
    run
}

/// The instants of a generation from `from` to `to`, one a second.
fn of_generation(run: &mut Run, generation: i64, from: u8, to: u8) {
    for n in from..=to {
        let due = i64::from(n) * 1000;
        run.done(Go { generation, ..go(n, "a", due, 1) }, due + 5, due + 105);
    }
}

#[test]
fn what_is_left_out_is_not_owed() {
    let mut run = seen_through(three_and_four());
    run.seconds("a", 1, 2).seconds("a", 5, 10);
    assert_eq!(run.breaks(&[]).fired, 8);
    // Without the calendar both were owed.
    run.tables.triggers[0].spec.calendar = None;
    run.breaks(&[(Rule::Lost, 2)]);
}

#[test]
fn what_is_left_out_must_not_fire() {
    let mut run = seen_through(three_and_four());
    run.seconds("a", 1, 3).seconds("a", 5, 10);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn what_is_let_through_is_owed() {
    let mut run = seen_through(three_and_four());
    run.seconds("a", 1, 2).seconds("a", 7, 10);
    run.breaks(&[(Rule::Lost, 2)]);
}

#[test]
fn a_skipped_range_counts_only_what_is_let_through() {
    let skipped = |count| {
        let mut run = seen_through(three_and_four());
        run.seconds("a", 1, 1).skip(go(90, "a", 2000, 1), 6000, count).seconds("a", 7, 10);
        run
    };
    assert_eq!(skipped(3).breaks(&[]).skipped, 3);
    skipped(5).breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn another_calendar_begins_another_generation_with_other_instants() {
    let mut run = seen_through(Calendar::cron(Cron::quartz("28 * * * * ?", Zone::utc()).unwrap()));
    run.tables.triggers[0].generation = 2;
    // Under the first calendar, which is gone, the trigger fired with all its seconds but 3 and 4.
    run.seconds("a", 1, 2).seconds("a", 5, 5);
    of_generation(&mut run, 2, 6, 7);
    of_generation(&mut run, 2, 9, 10);
    run.faults.push(rescheduled("a", 2, 5500));
    run.breaks(&[]);
    of_generation(&mut run, 2, 8, 8);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn an_instant_of_the_next_generation_is_owed_from_the_change_on() {
    let mut run = seen_through(three_and_four());
    run.tables.triggers[0].generation = 2;
    run.seconds("a", 1, 2);
    of_generation(&mut run, 2, 6, 10);
    run.faults.push(rescheduled("a", 2, 2500));
    // Second 5; 3 and 4 are left out.
    run.breaks(&[(Rule::Lost, 1)]);
}

#[test]
fn without_the_calendar_only_the_records_tell() {
    let mut run = seen_through(three_and_four());
    run.tables.calendars.clear();
    run.seconds("a", 1, 1).seconds("a", 3, 3).seconds("a", 9, 10);
    run.breaks(&[]);
    // What needs no schedule is judged all the same.
    run.skip(go(90, "a", 8000, 1), 9000, 2);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}
