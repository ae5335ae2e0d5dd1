//! What becomes of late instants, case by case and under random looks: each is accounted for once.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NOW, due, entropy, every, exclusive, patch, secs};
use proptest::prelude::*;
use punctual_core::calendar::{Calendar, WhenExcluded};
use punctual_core::entropy::SeededEntropy;
use punctual_core::instants::Instants;
use punctual_core::job::WhenBusy;
use punctual_core::misfire::{self, COUNT_CAP, MisfirePolicy};
use punctual_core::protocol::fire;
use punctual_core::quartz::CatchUp;
use punctual_core::schedule::{Custom, Weekdays};
use punctual_core::store::{ClaimRef, Poison, PoisonRow};
use punctual_core::trigger::{TriggerSpec, TriggerState};
use punctual_core::{ExecutionId, Fence, NodeId, Schedule, Zone};

fn policies() -> impl Strategy<Value = MisfirePolicy> {
    let age = proptest::option::of((0_u64..5_000).prop_map(secs));
    prop_oneof![
        Just(MisfirePolicy::FireOnceNow),
        Just(MisfirePolicy::Skip),
        Just(MisfirePolicy::FireAll),
        (1_u32..20, age.clone()).prop_map(|(limit, max_age)| MisfirePolicy::CatchUp { limit, max_age }),
        (1_u32..20, age, 1_u64..600).prop_map(|(limit, max_age, over)| {
            MisfirePolicy::Spread { limit, max_age, over: secs(over) }
        }),
    ]
}

/// Leaves out a part of each day, or days of the week; `None` leaves out nothing.
fn calendars() -> impl Strategy<Value = Option<Arc<Calendar>>> {
    let time = |minutes: u32| format!("{:02}:{:02}:00.000", minutes / 60, minutes % 60).parse().unwrap();
    let daily = (0_u32..1_400, 1_u32..39, any::<bool>()).prop_map(move |(from, length, invert)| {
        Calendar::daily(time(from), time(from + length), invert, Zone::utc()).unwrap()
    });
    let weekly = Just(Calendar::weekly(Weekdays::WEEKEND, Zone::utc()));
    proptest::option::of(prop_oneof![daily, weekly].prop_map(Arc::new))
}

#[test]
fn a_catch_up_has_bounds_and_may_lie_on_them() {
    let spread = |limit, over| MisfirePolicy::Spread { limit, max_age: None, over };
    let (short, long) = (Duration::from_millis(1), secs(86_400));
    let within = [
        MisfirePolicy::CatchUp { limit: 1, max_age: None },
        MisfirePolicy::CatchUp { limit: 100, max_age: None },
        spread(1, short),
        spread(100, long),
        MisfirePolicy::FireAll,
    ];
    for policy in within {
        policy.check().unwrap_or_else(|error| panic!("{policy:?}: {error}"));
    }
    let beyond = [
        (MisfirePolicy::CatchUp { limit: 0, max_age: None }, "a catch-up of 0 instants"),
        (MisfirePolicy::CatchUp { limit: 101, max_age: None }, "a catch-up of 101 instants"),
        (spread(101, long), "a catch-up of 101 instants"),
        (spread(1, short / 2), "spread over 500µs"),
        (spread(1, long + short), "spread over 86400.001s"),
    ];
    for (policy, named) in beyond {
        let error = policy.check().unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn a_trigger_whose_instants_cannot_be_known_is_set_aside_with_the_reason() {
    let custom = Custom::new("tides", serde_json::Value::Null).unwrap();
    let mut unknown = due(TriggerSpec::new(Schedule::from(custom)), NOW);
    let plan = fire::plan(&unknown, NOW, &entropy());
    assert_eq!((plan.then.state, plan.executions.len()), (TriggerState::Error, 0));
    assert!(plan.then.error.unwrap().contains("tides"));
    unknown.trigger.spec = TriggerSpec { calendar: Some("holidays".into()), ..every(10) };
    let plan = fire::plan(&unknown, NOW, &entropy());
    assert!(plan.then.error.unwrap().contains("holidays"));
    let hours =
        Calendar::daily("08:00:00.000".parse().unwrap(), "09:00:00.000".parse().unwrap(), false, Zone::utc());
    unknown.calendar = Some(Arc::new(hours.unwrap()));
    assert_eq!(fire::plan(&unknown, NOW, &entropy()).executions.len(), 1);
    unknown.trigger.spec.when_excluded = WhenExcluded::Before;
    assert_eq!(fire::plan(&unknown, NOW, &entropy()).then.state, TriggerState::Error);
}

#[test]
fn a_trigger_that_cannot_be_read_is_set_aside_as_it_was_found() {
    let found = due(every(10), NOW).trigger;
    let row = PoisonRow::Trigger { id: found.id, rev: found.rev, fire_seq: found.fire_seq };
    let plan = fire::set_aside(&Poison { row, reason: "its spec is no JSON".to_owned() }).unwrap();
    assert_eq!((plan.trigger, plan.rev, plan.fire_seq), (found.id, found.rev, found.fire_seq));
    assert_eq!((plan.executions.len(), &plan.slot, &plan.busy), (0, &None, &plan.then));
    assert_eq!((plan.then.state, plan.then.next_fire, plan.then.wake), (TriggerState::Error, None, None));
    assert_eq!(plan.then.error.as_deref(), Some("its spec is no JSON"));
    let claim = ClaimRef {
        id: ExecutionId::draw(NOW, &entropy()),
        owner: NodeId::from_stored(9),
        fence: Fence::from_stored(4),
    };
    let no_trigger = Poison { row: PoisonRow::Execution(claim), reason: "its spec is no JSON".to_owned() };
    assert_eq!(fire::set_aside(&no_trigger), None);
}

#[test]
fn a_late_instant_that_is_spread_waits_once_whatever_its_slot_does() {
    let over = secs(100);
    let spec =
        TriggerSpec { misfire: MisfirePolicy::Spread { limit: 1, max_age: None, over }, ..every(3_600) };
    let mut state = exclusive(due(spec, NOW), WhenBusy::Queue);
    let now = NOW.plus(secs(600));
    let plan = fire::plan(&state, now, &entropy());
    let until = plan.then.wake.unwrap();
    assert!(plan.executions.is_empty() && now <= until && until < now.plus(over));
    patch(&mut state, &plan.then);
    // A slot of its key is freed: it is woken, and goes back to the same wait.
    state.trigger.wake = state.trigger.next_fire;
    let plan = fire::plan(&state, until.minus(secs(1)), &entropy());
    assert_eq!((plan.executions.len(), plan.then.wake), (0, Some(until)));
    patch(&mut state, &plan.then);
    // Its slot is taken: it is parked, woken again, and does not wait a second time.
    let plan = fire::plan(&state, until, &entropy());
    assert_eq!(plan.executions.len(), 1);
    patch(&mut state, &plan.busy);
    state.trigger.wake = state.trigger.next_fire;
    let plan = fire::plan(&state, until.plus(secs(1)), &entropy());
    assert_eq!(plan.executions.len(), 1);
    assert_eq!(plan.then.progress.wait, None);
    // The next instant, if it is late, waits for itself.
    patch(&mut state, &plan.then);
    assert!(fire::plan(&state, NOW.plus(secs(3_600 + 600)), &entropy()).then.progress.wait.is_some());
}

#[test]
fn each_of_those_that_are_spread_waits_for_its_share_at_most() {
    let misfire = MisfirePolicy::Spread { limit: 4, max_age: None, over: secs(100) };
    let state = due(TriggerSpec { misfire, ..every(3_600) }, NOW);
    let now = NOW.plus(secs(600));
    let wait = |seed| {
        let plan = fire::plan(&state, now, &SeededEntropy::new(seed));
        plan.then.wake.unwrap().since(now)
    };
    let longest = (0..100).map(wait).max().unwrap();
    assert!(secs(20) < longest && longest < secs(25), "{longest:?}");
}

#[test]
fn an_instant_is_late_when_it_is_later_than_the_tolerance() {
    let spec = TriggerSpec { misfire: MisfirePolicy::Skip, tolerance: secs(10), ..every(3_600) };
    let at = |late| fire::plan(&due(spec.clone(), NOW), NOW.plus(late), &entropy());
    assert_eq!(at(secs(10)).executions.len(), 1);
    let beyond = at(secs(10) + Duration::from_micros(1));
    assert_eq!((beyond.executions.len(), beyond.then.skips.len()), (0, 1));
}

#[test]
fn a_catch_up_ends_with_the_last_instant_that_is_late() {
    let spec = TriggerSpec { misfire: MisfirePolicy::FireAll, tolerance: secs(10), ..every(4) };
    // Of the instants at 0, 4, 8 and 12 s the first one is late at 11 s, the second one is due and not late; at 15 s it is.
    let at = |now| fire::plan(&due(spec.clone(), NOW), NOW.plus(secs(now)), &entropy()).then;
    assert_eq!(at(11).progress.catch_up, None);
    assert!(at(15).progress.catch_up.is_some());
}

#[test]
fn as_many_skipped_instants_are_counted_as_the_cap_allows() {
    let spec = TriggerSpec { misfire: MisfirePolicy::Skip, ..every(4) };
    let skipped = |instants: u64| {
        let now = NOW.plus(secs(4 * (instants - 1)));
        let skips = fire::plan(&due(spec.clone(), NOW), now, &entropy()).then.skips;
        skips.iter().map(|skip| skip.count).collect::<Vec<_>>()
    };
    assert_eq!(skipped(COUNT_CAP), [Some(COUNT_CAP)]);
    assert_eq!(skipped(COUNT_CAP + 1), [None]);
}

#[test]
fn an_instant_that_is_parked_and_not_late_is_not_taken_for_one_that_has_waited() {
    let spec = TriggerSpec {
        misfire: MisfirePolicy::Spread { limit: 1, max_age: None, over: secs(100) },
        ..every(3_600)
    };
    let mut state = exclusive(due(spec, NOW), WhenBusy::Queue);
    let plan = fire::plan(&state, NOW, &entropy());
    patch(&mut state, &plan.busy);
    assert!(state.trigger.wake > state.trigger.next_fire);
    let plan = fire::plan(&state, NOW.plus(secs(100)), &entropy());
    assert!(plan.executions.is_empty() && plan.then.progress.wait.is_some(), "it is late by now");
}

#[test]
fn a_run_of_late_instants_is_counted() {
    let spec = TriggerSpec { misfire: MisfirePolicy::CatchUp { limit: 3, max_age: None }, ..every(120) };
    let mut state = due(spec, NOW);
    let now = NOW.plus(secs(1_270));
    let mut places = Vec::new();
    for _ in 0..9 {
        let plan = fire::plan(&state, now, &entropy());
        places.extend(plan.executions.iter().map(|new| new.catch_up.map(|CatchUp { k, n }| (k, n))));
        patch(&mut state, &plan.then);
    }
    assert_eq!(places, [Some((1, 3)), Some((2, 3)), Some((3, 3))]);
    assert!(state.trigger.progress.is_empty());
}

#[test]
fn an_interval_that_never_meets_the_hours_of_its_calendar_has_no_instant() {
    let minute =
        Calendar::daily("00:01:00.000".parse().unwrap(), "00:02:00.000".parse().unwrap(), true, Zone::utc());
    let calendar = minute.unwrap();
    let spec = |seconds| TriggerSpec { calendar: Some("minute".into()), ..every(seconds) };
    let next = |spec: &TriggerSpec| Instants::seen(spec, Some(&calendar)).unwrap().next_after(NOW);
    assert_eq!(next(&spec(180)), None, "180 s divide the day, and none of its steps lies in the minute");
    assert!(next(&spec(7)).is_some());
}

proptest! {
    /// `targets = fired + skipped`: whatever the policy and the calendar, and however late each look comes, every
    /// instant is accounted for once, in order.
    #[test]
    fn misfire_conserves_targets(
        interval in 1_u64..200,
        tolerance in 0_u64..300,
        policy in policies(),
        calendar in calendars(),
        looks in proptest::collection::vec(0_u64..2_000, 1..40),
        busy in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let name = calendar.as_ref().map(|_| "c".into());
        let spec =
            TriggerSpec { misfire: policy, tolerance: secs(tolerance), calendar: name, ..every(interval) };
        let instants = Instants::seen(&spec, calendar.as_deref()).unwrap();
        let first = instants.next_after(NOW);
        // An interval that divides the day may never meet the hours that its calendar leaves: nothing is owed.
        prop_assume!(first.is_some());
        let first = first.unwrap();
        let mut state = exclusive(due(spec.clone(), first), WhenBusy::Skip);
        state.calendar = calendar.clone();
        let entropy = entropy();
        let mut now = NOW;
        let mut accounted = Vec::new();
        for (look, busy) in looks.into_iter().zip(busy) {
            now = now.plus(secs(look));
            while state.trigger.wake.is_some_and(|wake| wake <= now) {
                let plan = fire::plan(&state, now, &entropy);
                let then = if busy { &plan.busy } else { &plan.then };
                prop_assert_eq!(then.state, TriggerState::Active);
                for skip in &then.skips {
                    let mut at = Some(skip.first);
                    let before = accounted.len();
                    while let Some(instant) = at.filter(|at| *at <= skip.last) {
                        accounted.push(instant);
                        at = instants.next_after(instant);
                    }
                    prop_assert_eq!(Some((accounted.len() - before) as u64), skip.count);
                }
                if !busy {
                    accounted.extend(plan.executions.iter().map(|new| new.scheduled));
                }
                let waits = then.progress.wait.is_some();
                prop_assert!(waits || then.last > state.trigger.last);
                prop_assert!(!waits || state.trigger.progress.wait.is_none(), "it waits once");
                patch(&mut state, then);
            }
        }
        let mut owed = Vec::new();
        let mut at = Some(first);
        while let Some(instant) = at.filter(|at| state.trigger.next_fire.is_none_or(|next| *at < next)) {
            owed.push(instant);
            at = instants.next_after(instant);
        }
        prop_assert_eq!(accounted, owed);
        // What is left is still to come, or waits to be caught up with.
        let waits = state.trigger.progress.wait.is_some();
        prop_assert!(waits || state.trigger.next_fire.is_none_or(|next| next > now));
    }

    #[test]
    fn a_decision_never_fires_the_future_or_the_past_twice(
        interval in 1_u64..500, late in 0_u64..100_000, policy in policies(),
    ) {
        let spec = TriggerSpec { misfire: policy, ..every(interval) };
        let due = spec.next_after(NOW).unwrap();
        let now = due.plus(secs(late));
        let decision = misfire::decide(&spec, due, now);
        if let Some(fire) = decision.fire {
            prop_assert!(due <= fire && fire <= now);
        }
        if let (Some(missed), Some(fire)) = (decision.missed, decision.fire) {
            prop_assert!(missed.first == due && missed.last < fire);
            prop_assert_eq!(spec.next_after(missed.last), Some(fire));
        }
    }
}
