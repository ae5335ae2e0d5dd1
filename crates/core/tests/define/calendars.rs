//! Calendars, and the triggers that name them.

use std::sync::Arc;

use punctual_core::ErrorKind;
use punctual_core::TriggerKey;
use punctual_core::calendar::Calendar;
use punctual_core::inspect::FoundTrigger;
use punctual_core::protocol::define::{self, TriggerDefinition};
use punctual_core::quartz::{CatchUp, Progress};
use punctual_core::schedule::Once;
use punctual_core::store::{CalendarRecord, Change, Expect};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState};

use crate::common::{NOW, entropy, secs};
use crate::{
    calendar, found, never, on_the_calendar, stored_calendar, stored_job, stored_trigger, trigger, without,
};

/// A stored trigger that names the calendar `c` and has consumed [`NOW`].
fn user() -> TriggerRecord {
    TriggerRecord { spec: on_the_calendar().spec, generation: 4, ..stored_trigger(None) }
}

/// How `trigger` goes on when `c` becomes `wanted`, if it is written at all.
fn under(wanted: Arc<Calendar>, trigger: &TriggerRecord) -> Option<TriggerRecord> {
    let old = stored_calendar("c", without("00:00", "00:00"));
    let users = [trigger.clone()];
    let changes = define::put_calendar(Some(&old), &calendar("c", wanted), &users, NOW).unwrap();
    match changes.as_slice() {
        [Change::PutCalendar { .. }] => None,
        [Change::PutCalendar { .. }, Change::PutTrigger { expect, trigger: written }] => {
            assert_eq!(*expect, Expect::Rev(trigger.rev));
            Some(written.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_calendar_is_written_where_it_differs() {
    let wanted = calendar("c", without("08:00", "08:09"));
    let plan = |found: Option<&CalendarRecord>| define::put_calendar(found, &wanted, &[], NOW).unwrap();
    let record = CalendarRecord { rev: 0, ..stored_calendar("c", without("08:00", "08:09")) };
    let put = |expect| vec![Change::PutCalendar { expect, calendar: record.clone() }];
    assert_eq!(plan(None), put(Expect::Absent { mark: None }));
    assert_eq!(plan(Some(&stored_calendar("c", never()))), put(Expect::Rev(3)));
    assert_eq!(plan(Some(&stored_calendar("c", without("08:00", "08:09")))), []);
    let nameless = define::put_calendar(None, &calendar("", never()), &[], NOW);
    assert_eq!(nameless.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_trigger_goes_on_under_another_calendar_in_a_new_generation() {
    let progress = Progress {
        triggered: 2,
        catch_up: Some(CatchUp { k: 1, n: 2 }),
        wait: Some(NOW.plus(secs(90))),
        ..Progress::default()
    };
    let old = TriggerRecord { next_fire: Some(NOW.plus(secs(60))), progress, ..user() };
    let next = Some(NOW.plus(secs(600)));
    let progress = Progress { triggered: 2, ..Progress::default() };
    let goes_on = TriggerRecord { next_fire: next, wake: next, progress, generation: 5, ..old.clone() };
    assert_eq!(under(without("08:00", "08:09"), &old), Some(goes_on));
}

#[test]
fn what_a_calendar_left_out_is_past_and_what_was_not_decided_about_is_not() {
    let next = |old: &TriggerRecord| under(without("12:00", "12:00"), old).unwrap().next_fire;
    let late = NOW.minus(secs(120));
    let behind = TriggerRecord { next_fire: Some(late), last: Some(late.minus(secs(60))), ..user() };
    assert_eq!(next(&behind), Some(late), "it is late, and nobody has decided about it");
    let put_off = TriggerRecord { next_fire: Some(NOW.plus(secs(600))), last: None, ..user() };
    assert_eq!(next(&put_off), Some(NOW.plus(secs(60))), "what is still to come is included now");
    let ahead = TriggerRecord { last: Some(NOW.plus(secs(60))), ..put_off };
    assert_eq!(next(&ahead), Some(NOW.plus(secs(120))), "but nothing fires twice");
}

#[test]
fn a_trigger_without_an_instant_is_complete_until_a_calendar_has_one() {
    let active = under(never(), &user()).unwrap();
    assert_eq!((active.state, active.next_fire, active.wake), (TriggerState::Complete, None, None));
    let once = Once::new(NOW.plus(secs(60)));
    let spec = TriggerSpec { calendar: Some("c".into()), ..TriggerSpec::new(once.into()) };
    let over = TriggerRecord {
        spec,
        state: TriggerState::Complete,
        next_fire: None,
        wake: None,
        last: None,
        ..stored_trigger(None)
    };
    assert_eq!(under(never(), &over), None, "it stays as it is");
    let again = under(without("12:00", "12:00"), &over).unwrap();
    let next = Some(NOW.plus(secs(60)));
    assert_eq!((again.state, again.next_fire, again.wake), (TriggerState::Active, next, next));
    let broken = TriggerRecord { state: TriggerState::Error, ..user() };
    assert_eq!(under(never(), &broken), None, "it stays set aside");
}

#[test]
fn a_calendar_that_is_used_stays() {
    let stored = stored_calendar("c", never());
    let gone = Change::DeleteCalendar { name: "c".into(), rev: 3 };
    assert_eq!(define::delete_calendar(&stored, &[]).unwrap(), gone);
    let other = TriggerRecord { key: TriggerKey::new("g", "other").unwrap(), ..user() };
    let error = define::delete_calendar(&stored, &[user(), other]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.message(), "calendar `c` is used by trigger g/t and 1 others");
}

#[test]
fn a_trigger_comes_with_the_calendar_that_it_names() {
    let (calendar, named) = (stored_calendar("c", without("12:00", "12:00")), on_the_calendar());
    let plan = |found: &FoundTrigger, wanted: &TriggerDefinition| {
        let id = stored_job(None).id;
        define::put_trigger(found, wanted, Some(&calendar), id, None, NOW, &entropy()).unwrap()
    };
    let both = plan(&FoundTrigger::default(), &named);
    let [Change::PutCalendar { expect: Expect::Rev(3), .. }, Change::PutTrigger { trigger: stored, .. }] =
        both.as_slice()
    else {
        panic!("{both:?}")
    };
    assert_eq!(plan(&found(stored.clone()), &named), [], "it is there as wanted");
    assert_eq!(plan(&FoundTrigger::default(), &trigger()).len(), 1, "it names none");
}
