//! Late triggers under the rules of Quartz: whatever the type, the instruction and the calendar, every target fires
//! once or is skipped once, in order.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::{due, entropy, exclusive, patch, secs};
use proptest::prelude::*;
use proptest::sample::select;
use punctual_core::calendar::Calendar;
use punctual_core::instants::Instants;
use punctual_core::job::WhenBusy;
use punctual_core::misfire::{COUNT_CAP, MisfirePolicy};
use punctual_core::protocol::fire;
use punctual_core::quartz::{Instruction, Progress, Trigger, TriggerType};
use punctual_core::schedule::{CalendarInterval, CalendarUnit, Clocks, Cron, Daily, TimeOfDay, Weekdays};
use punctual_core::trigger::{TriggerSpec, TriggerState};
use punctual_core::{Timestamp, Zone};

/// Two days before clocks are put forward in Berlin.
fn start() -> Timestamp {
    Timestamp::from("2026-03-27T05:00:00Z".parse::<DateTime<Utc>>().unwrap())
}

fn berlin() -> Zone {
    Zone::get("Europe/Berlin").unwrap()
}

/// A trigger of each type, and about how far apart its instants are.
fn triggers() -> impl Strategy<Value = (Trigger, Duration)> {
    let end = |steps: Option<u32>, step: Duration| steps.map(|steps| start().plus(step * steps));
    let repeat = proptest::option::of(0_u32..40);
    let last = proptest::option::of(1_u32..200);
    let simple = (1_u64..5_000, repeat.clone(), last.clone()).prop_map(move |(interval, repeat, last)| {
        (Trigger::simple(start(), end(last, secs(interval)), secs(interval), repeat).unwrap(), secs(interval))
    });
    let expressions = vec![
        ("0/20 * * * * ?", 20),
        ("0 0/15 * * * ?", 900),
        ("0 30 1-3 * * ?", 9_000),
        ("0 0 9 ? * MON-FRI", 86_400),
    ];
    let cron = (select(expressions), last.clone()).prop_map(move |((text, step), last)| {
        let cron = Cron::quartz(text, berlin()).unwrap();
        (Trigger::cron(cron, start(), end(last, secs(step))).unwrap(), secs(step))
    });
    let units = vec![
        (CalendarUnit::Minute, 60),
        (CalendarUnit::Hour, 3_600),
        (CalendarUnit::Day, 86_400),
        (CalendarUnit::Week, 604_800),
        (CalendarUnit::Month, 2_600_000),
    ];
    let interval = (1_u32..4, select(units), any::<[bool; 2]>(), last.clone()).prop_map(
        move |(n, (unit, step), [preserve_hour_of_day, skip_day_if_hour_does_not_exist], last)| {
            let flags = Clocks::Quartz { preserve_hour_of_day, skip_day_if_hour_does_not_exist };
            let steps = CalendarInterval::new(n, unit, start(), berlin()).unwrap().with_clocks(flags);
            (Trigger::calendar_interval(steps, end(last, secs(step))).unwrap(), secs(step) * n)
        },
    );
    let days = select(vec![Weekdays::ALL, Weekdays::WORKING]);
    let daily =
        (1_u32..120, 0_u32..10, days, repeat, last).prop_map(move |(minutes, from, days, repeat, last)| {
            let clock = |hour| TimeOfDay::new(hour, 30, 0).unwrap();
            let daily =
                Daily::new(minutes * 60, berlin()).unwrap().between(clock(from), clock(from + 8)).unwrap();
            let step = secs(u64::from(minutes) * 60);
            (Trigger::daily(daily.on(days).unwrap(), start(), end(last, step), repeat).unwrap(), step)
        });
    prop_oneof![simple, cron, interval, daily]
}

/// Leaves out weekends, a part of each day, or days of the month; `None` leaves out nothing.
fn calendars() -> impl Strategy<Value = Option<Arc<Calendar>>> {
    let morning = ("07:00:00".parse().unwrap(), "08:59:59.999".parse().unwrap());
    let all = [
        Calendar::weekly(Weekdays::WEEKEND, berlin()),
        Calendar::daily(morning.0, morning.1, false, berlin()).unwrap(),
        Calendar::monthly([1, 2, 31], berlin()).unwrap(),
    ];
    proptest::option::of(select(all.map(Arc::new).to_vec()))
}

/// The instruction that a number stands for; numbers that the type does not have mean the smart policy.
fn instruction(trigger: &Trigger, code: i32) -> Instruction {
    Instruction::from_code(trigger.trigger_type(), code).unwrap_or_default()
}

/// The instants from `first` through `last` as the trigger stands, one after the other.
fn targets(instants: &Instants<'_>, first: Timestamp, last: Timestamp) -> Vec<Timestamp> {
    std::iter::successors(Some(first), |at| instants.next_after(*at)).take_while(|at| *at <= last).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// `targets = fired + skipped` for each decision and for the whole run.
    ///
    /// A target is an instant of the grid that is in force when it is decided about: 2 and 3 of simple triggers move the
    /// grid. Every "now" instruction adds one target, now itself, unless now is an instant anyway.
    #[test]
    fn quartz_conserves_targets(
        (trigger, step) in triggers(),
        code in -1_i32..=5,
        calendar in calendars(),
        tolerance in 0_u64..120,
        looks in proptest::collection::vec((0_u32..40, 0_u64..1_000_000), 1..12),
        busy in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let instruction = instruction(&trigger, code);
        let spec = TriggerSpec {
            misfire: MisfirePolicy::Quartz { instruction },
            tolerance: secs(tolerance),
            calendar: calendar.as_ref().map(|_| "c".into()),
            ..trigger.spec().unwrap()
        };
        let fresh = Instants::seen(&spec, calendar.as_deref()).unwrap();
        let Some(first) = fresh.first(start(), None) else { return Ok(()) };
        let mut state = exclusive(due(spec.clone(), first), WhenBusy::Skip);
        state.calendar = calendar.clone();
        let (mut now, mut accounted) = (start(), Vec::new());
        for ((steps, micros), busy) in looks.into_iter().zip(busy) {
            now = now.plus(step * steps).plus(Duration::from_micros(micros));
            // A trigger that ignores misfires would go on for long.
            for _ in 0..60 {
                let Some(oldest) = state.trigger.next_fire.filter(|next| *next <= now) else { break };
                let before = state.trigger.clone();
                let instants = Instants::seen(&spec, calendar.as_deref()).unwrap().with_progress(before.progress);
                let plan = fire::plan(&state, now, &entropy());
                let then = if busy { &plan.busy } else { &plan.then };
                prop_assert_ne!(then.state, TriggerState::Error, "{:?}", then.error);
                let last = then.last.unwrap();
                prop_assert!(Some(last) > before.last && last <= now);

                // The decision: what it skips and what it fires is what the grid has, each once and in order.
                let mut decided = Vec::new();
                for skip in &then.skips {
                    let range = if skip.first == skip.last { vec![skip.first] } else {
                        targets(&instants, skip.first, skip.last)
                    };
                    prop_assert_eq!(range.last(), Some(&skip.last));
                    prop_assert_eq!(skip.count, Some(range.len() as u64).filter(|count| *count <= COUNT_CAP));
                    decided.extend(range);
                }
                if !busy {
                    decided.extend(plan.executions.iter().map(|new| new.scheduled));
                }
                let owed = targets(&instants, oldest, last);
                let added: Vec<_> = decided.iter().filter(|at| !owed.contains(at)).copied().collect();
                prop_assert!(added.is_empty() || added == [now], "{added:?}");
                prop_assert!(decided.is_sorted_by(|a, b| a < b), "{decided:?}");
                decided.retain(|at| !added.contains(at));
                prop_assert_eq!(&decided, &owed);
                if let Some(calendar) = &calendar {
                    prop_assert!(owed.iter().all(|at| calendar.includes(*at)));
                }

                // Then nothing of the grid in force is passed over, and what is late is not left behind.
                let after = instants.clone().with_progress(then.progress);
                prop_assert_eq!(then.next_fire, after.next_after(last));
                prop_assert!(added.is_empty() || then.next_fire.is_none_or(|next| next > now));
                accounted.extend(decided);
                patch(&mut state, then);
            }
        }

        // The run: without a grid that moved, or a count that only fires use up, the instants of the definition.
        let progress = state.trigger.progress;
        let counted = trigger.trigger_type() == TriggerType::DailyTimeInterval;
        if progress.start.is_none() && progress.repeat.is_none() && !counted && let Some(last) = accounted.last() {
            prop_assert_eq!(&accounted, &targets(&fresh.with_progress(Progress::default()), first, *last));
        }
    }
}
