//! The decisions of the protocol, one by one and under random schedules.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use punctual_core::calendar::{Calendar, WhenExcluded};
use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{
    AttemptOutcome, Execution, ExecutionState, MAX_ATTEMPTS_KEPT, Outcome, SkipReason,
};
use punctual_core::instants::Instants;
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, OnNodeLoss, Payload, RetryPolicy, WhenBusy};
use punctual_core::misfire::{self, MisfirePolicy};
use punctual_core::protocol::finish::{BodyEnd, Ended, MAX_LOSSES};
use punctual_core::protocol::{finish, fire, recover};
use punctual_core::quartz::{CatchUp, Instruction, Progress};
use punctual_core::schedule::{Custom, Every, Once, Weekdays};
use punctual_core::store::{Back, DueTrigger, PARK, Settlement, TriggerPatch};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};
use punctual_core::{ExecutionId, Fence, JobId, Kind, NodeId, Schedule, Timestamp, TriggerId, Zone};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn every(n: u64) -> TriggerSpec {
    TriggerSpec::new(Schedule::Every(Every::new(secs(n)).unwrap()))
}

fn entropy() -> SeededEntropy {
    SeededEntropy::new(1)
}

fn due(spec: TriggerSpec, next: Timestamp) -> DueTrigger {
    let job = JobRecord {
        id: JobId::from_stored(1),
        key: "job".parse().unwrap(),
        kind: Kind::new("k").unwrap(),
        description: None,
        spec: ExecutionSpec::default(),
        payload: Payload::null(),
        priority: 1,
        durable: false,
        set: None,
        rev: 1,
        created: Timestamp::EPOCH,
    };
    let id = TriggerId::from_stored(2);
    let trigger = TriggerRecord {
        id,
        key: "trigger".parse().unwrap(),
        job_id: job.id,
        description: None,
        spec,
        payload: None,
        priority: 2,
        state: TriggerState::Active,
        next_fire: Some(next),
        wake: Some(next),
        last: None,
        progress: Progress::default(),
        fires: 0,
        fire_seq: 5,
        generation: 3,
        rev: 7,
        slice: slice_of(id),
        error: None,
        set: None,
        hash: 0,
        created: Timestamp::EPOCH,
    };
    DueTrigger { trigger, job, calendar: None }
}

fn exclusive(mut due: DueTrigger, when_busy: WhenBusy) -> DueTrigger {
    due.job.spec.concurrency = Some(Concurrency::exclusive(&due.job.key, when_busy));
    due
}

fn row(spec: &ExecutionSpec) -> Execution {
    let new = fire::plan(&due(every(1), NOW), NOW, &entropy()).executions.remove(0);
    Execution {
        id: new.id,
        occurrence: new.occurrence,
        job: new.job,
        kind: new.kind,
        scheduled: new.scheduled,
        priority: new.priority,
        state: ExecutionState::Claimed,
        owner: Some(NodeId::from_stored(9)),
        fence: Fence::from_stored(4),
        attempt: 1,
        losses: 0,
        wake: NOW,
        slot: None,
        catch_up: None,
        spec: Some(spec.clone()),
        payload: None,
        attempts: Vec::new(),
        cancel: None,
        error: None,
        created: NOW,
    }
}

fn ended(end: BodyEnd) -> Ended {
    Ended { end, started: Some(NOW), ended: NOW.plus(secs(1)), output: Some("out".to_owned()) }
}

fn settled(row: &Execution, spec: &ExecutionSpec, end: BodyEnd) -> Settlement {
    finish::settle(row, spec, NodeId::from_stored(9), ended(end), &entropy()).then
}

fn back(settlement: Settlement) -> Back {
    match settlement {
        Settlement::Back(back) => back,
        Settlement::End(record) => panic!("ended: {record:?}"),
    }
}

fn outcome(settlement: &Settlement) -> Outcome {
    match settlement {
        Settlement::End(record) => record.outcome,
        Settlement::Back(back) => panic!("went back: {back:?}"),
    }
}

#[test]
fn a_punctual_instant_fires_and_the_trigger_moves_to_the_next() {
    let plan = fire::plan(&due(every(10), NOW), NOW.plus(secs(3)), &entropy());
    assert_eq!((plan.rev, plan.fire_seq), (7, 5));
    assert_eq!(plan.executions.len(), 1);
    assert_eq!(plan.executions[0].scheduled, NOW);
    assert_eq!(plan.executions[0].priority, 3);
    assert_eq!(plan.then.next_fire, Some(NOW.plus(secs(10))));
    assert_eq!((plan.then.last, plan.then.fires), (Some(NOW), 1));
    assert!(plan.then.skips.is_empty());
}

#[test]
fn the_last_instant_completes_the_trigger() {
    let once = TriggerSpec::new(Schedule::Once(Once::new(NOW)));
    let plan = fire::plan(&due(once, NOW), NOW, &entropy());
    assert_eq!(plan.executions.len(), 1);
    assert_eq!((plan.then.state, plan.then.next_fire), (TriggerState::Complete, None));
}

#[test]
fn a_trigger_that_woke_before_its_instant_only_goes_back_to_sleep() {
    let next = NOW.plus(secs(5));
    let plan = fire::plan(&due(every(10), next), NOW, &entropy());
    assert!(plan.executions.is_empty());
    assert_eq!((plan.then.wake, plan.then.next_fire, plan.then.fires), (Some(next), Some(next), 0));
}

#[test]
fn a_taken_slot_parks_the_trigger_with_its_instant_still_due() {
    let plan = fire::plan(&exclusive(due(every(10), NOW), WhenBusy::Queue), NOW, &entropy());
    assert_eq!(plan.slot.as_ref().map(|slot| slot.limit), Some(1));
    assert_eq!((plan.busy.next_fire, plan.busy.wake), (Some(NOW), Some(NOW.plus(PARK))));
    assert!(plan.busy.skips.is_empty() && plan.busy.last.is_none());
}

#[test]
fn a_taken_slot_skips_the_instant_with_its_reason() {
    let plan = fire::plan(&exclusive(due(every(10), NOW), WhenBusy::Skip), NOW, &entropy());
    assert_eq!(plan.busy.next_fire, Some(NOW.plus(secs(10))));
    let skip = &plan.busy.skips[0];
    assert_eq!((skip.first, skip.last, skip.count, skip.reason), (NOW, NOW, Some(1), SkipReason::Overlap));
}

fn late(policy: MisfirePolicy) -> punctual_core::store::FirePlan {
    let spec = TriggerSpec { misfire: policy, ..every(60) };
    fire::plan(&due(spec, NOW), NOW.plus(secs(600)), &entropy())
}

#[test]
fn each_misfire_policy_accounts_for_every_missed_instant() {
    let at = |n: u64| NOW.plus(secs(60 * n));
    let of = |plan: &punctual_core::store::FirePlan| {
        let skip = plan.then.skips.first().map(|skip| (skip.first, skip.last, skip.count));
        (skip, plan.executions.first().map(|new| new.scheduled), plan.then.next_fire)
    };
    assert_eq!(
        of(&late(MisfirePolicy::FireOnceNow)),
        (Some((at(0), at(9), Some(10))), Some(at(10)), Some(at(11)))
    );
    assert_eq!(of(&late(MisfirePolicy::Skip)), (Some((at(0), at(10), Some(11))), None, Some(at(11))));
    assert_eq!(of(&late(MisfirePolicy::FireAll)), (None, Some(at(0)), Some(at(1))));
    let last_three = MisfirePolicy::CatchUp { limit: 3, max_age: None };
    assert_eq!(of(&late(last_three)), (Some((at(0), at(7), Some(8))), Some(at(8)), Some(at(9))));
    let young = MisfirePolicy::CatchUp { limit: 9, max_age: Some(secs(65)) };
    assert_eq!(of(&late(young)), (Some((at(0), at(8), Some(9))), Some(at(9)), Some(at(10))));
    let none = MisfirePolicy::CatchUp { limit: 9, max_age: Some(Duration::ZERO) };
    let spec = TriggerSpec { misfire: none, ..every(60) };
    let plan = fire::plan(&due(spec, NOW), NOW.plus(secs(601)), &entropy());
    assert_eq!(of(&plan), (Some((at(0), at(10), Some(11))), None, Some(at(11))));
}

#[test]
fn a_failure_is_tried_again_until_its_attempts_are_used_up() {
    let spec = ExecutionSpec { retry: RetryPolicy::fixed(2, secs(30)), ..ExecutionSpec::default() };
    let mut row = row(&spec);
    let next = back(settled(&row, &spec, BodyEnd::Failed("no".to_owned())));
    assert_eq!((next.attempt, next.delay, next.keep_slot), (2, secs(30), false));
    assert_eq!(next.attempts[0].outcome, AttemptOutcome::Failed);
    row.attempt = 2;
    assert_eq!(outcome(&settled(&row, &spec, BodyEnd::Failed("no".to_owned()))), Outcome::Failed);
}

#[test]
fn losses_do_not_use_up_the_attempts_that_may_fail() {
    let spec = ExecutionSpec { retry: RetryPolicy::fixed(2, secs(30)), ..ExecutionSpec::default() };
    let row = Execution { attempt: 4, losses: 3, ..row(&spec) };
    let next = back(settled(&row, &spec, BodyEnd::Failed("no".to_owned())));
    assert_eq!((next.attempt, next.losses), (5, 3));
}

#[test]
fn what_is_handed_back_keeps_its_attempt_and_its_slot() {
    let spec = ExecutionSpec::default();
    let next = back(settled(&row(&spec), &spec, BodyEnd::HandedBack("stop".to_owned())));
    assert_eq!((next.attempt, next.delay, next.keep_slot), (1, Duration::ZERO, true));
}

#[test]
fn at_most_once_work_that_has_begun_is_lost_when_it_is_stopped_and_goes_back_when_it_has_not() {
    let spec = ExecutionSpec { on_node_loss: OnNodeLoss::Lose, ..ExecutionSpec::default() };
    let stop = || BodyEnd::HandedBack("stop".to_owned());
    assert_eq!(outcome(&settled(&row(&spec), &spec, stop())), Outcome::Lost);
    let unbegun = Ended { started: None, ..ended(stop()) };
    back(finish::settle(&row(&spec), &spec, NodeId::from_stored(9), unbegun, &entropy()).then);
}

#[test]
fn a_dead_nodes_work_goes_back_with_its_slot_and_one_more_attempt_until_it_has_killed_enough() {
    let spec = ExecutionSpec::default();
    let owner = NodeId::from_stored(9);
    let plan = recover::settle(&row(&spec), &spec, owner, NOW);
    let next = back(plan.then);
    assert_eq!((next.attempt, next.losses, next.keep_slot), (2, 1, true));
    let worn = Execution { losses: MAX_LOSSES, ..row(&spec) };
    assert_eq!(outcome(&recover::settle(&worn, &spec, owner, NOW).then), Outcome::Failed);
}

#[test]
fn a_dead_nodes_at_most_once_work_is_lost_if_begun_and_unchanged_if_not() {
    let spec = ExecutionSpec { on_node_loss: OnNodeLoss::Lose, ..ExecutionSpec::default() };
    let owner = NodeId::from_stored(9);
    let begun = Execution { state: ExecutionState::Running, ..row(&spec) };
    assert_eq!(outcome(&recover::settle(&begun, &spec, owner, NOW).then), Outcome::Lost);
    let next = back(recover::settle(&row(&spec), &spec, owner, NOW).then);
    assert_eq!((next.attempt, next.losses), (1, 0));
}

#[test]
fn only_the_newest_attempts_are_kept() {
    let spec = ExecutionSpec { retry: RetryPolicy::fixed(1_000, secs(1)), ..ExecutionSpec::default() };
    let mut row = row(&spec);
    for _ in 0..50 {
        let next = back(settled(&row, &spec, BodyEnd::Failed("no".to_owned())));
        (row.attempt, row.attempts) = (next.attempt, next.attempts);
    }
    assert_eq!(row.attempts.len(), MAX_ATTEMPTS_KEPT);
    assert_eq!(row.attempts.last().map(|attempt| attempt.number), Some(50));
}

#[test]
fn long_errors_and_outputs_are_cut_at_a_character() {
    let spec = ExecutionSpec::default();
    let text = "ä".repeat(100_000);
    let body = Ended { output: Some(text.clone()), ..ended(BodyEnd::Dead(text)) };
    let Settlement::End(record) =
        finish::settle(&row(&spec), &spec, NodeId::from_stored(9), body, &entropy()).then
    else {
        panic!("a dead failure ends")
    };
    assert!(record.error.unwrap().len() <= punctual_core::execution::MAX_ERROR_BYTES);
    assert!(record.output.unwrap().len() <= punctual_core::execution::MAX_OUTPUT_BYTES);
}

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

/// Writes a patch into the trigger, as a store does.
fn patch(state: &mut DueTrigger, patch: &TriggerPatch) {
    let trigger = &mut state.trigger;
    (trigger.next_fire, trigger.wake, trigger.state) = (patch.next_fire, patch.wake, patch.state);
    (trigger.progress, trigger.last) = (patch.progress, patch.last.or(trigger.last));
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
    while state.trigger.next_fire.is_some_and(|next| next <= now) {
        let plan = fire::plan(&state, now, &entropy());
        places.extend(plan.executions.iter().map(|new| new.catch_up.map(|CatchUp { k, n }| (k, n))));
        patch(&mut state, &plan.then);
    }
    assert_eq!(places, [Some((1, 3)), Some((2, 3)), Some((3, 3))]);
    assert!(state.trigger.progress.is_empty());
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
        let first = instants.next_after(NOW).unwrap();
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

    /// By the rules of Quartz too every instant of the grid that was not moved fires once or is skipped once, in order,
    /// and nothing fires at an excluded time unless it is "now".
    #[test]
    fn quartz_goes_on_in_order_through_calendars(
        interval in 1_u64..200,
        tolerance in 0_u64..300,
        instruction in prop_oneof![
            Just(Instruction::Smart),
            Just(Instruction::Ignore),
        ],
        calendar in calendars(),
        looks in proptest::collection::vec(0_u64..2_000, 1..30),
    ) {
        let every = Every::new(secs(interval)).unwrap().anchored_at(NOW);
        let name = calendar.as_ref().map(|_| "c".into());
        let spec = TriggerSpec {
            misfire: MisfirePolicy::Quartz { instruction },
            tolerance: secs(tolerance),
            start: Some(NOW),
            calendar: name,
            ..TriggerSpec::new(every.into())
        };
        let instants = Instants::seen(&spec, calendar.as_deref()).unwrap();
        let Some(first) = instants.first(NOW, None) else { return Ok(()) };
        let mut state = due(spec.clone(), first);
        state.calendar = calendar.clone();
        let entropy = entropy();
        let mut now = NOW;
        let mut last_fired = None;
        for look in looks {
            now = now.plus(secs(look));
            while state.trigger.wake.is_some_and(|wake| wake <= now) {
                let plan = fire::plan(&state, now, &entropy);
                prop_assert_ne!(plan.then.state, TriggerState::Error, "{:?}", plan.then.error);
                for new in &plan.executions {
                    prop_assert!(Some(new.scheduled) > last_fired && new.scheduled <= now);
                    last_fired = Some(new.scheduled);
                    let included = calendar.as_ref().is_none_or(|it| it.includes(new.scheduled));
                    prop_assert!(included || new.scheduled == now);
                }
                prop_assert!(plan.then.last > state.trigger.last);
                prop_assert!(plan.then.next_fire.is_none_or(|next| Some(next) > plan.then.last));
                patch(&mut state, &plan.then);
            }
        }
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

    #[test]
    fn execution_ids_of_one_millisecond_differ(seed: u64) {
        let entropy = SeededEntropy::new(seed);
        prop_assert_ne!(ExecutionId::draw(NOW, &entropy), ExecutionId::draw(NOW, &entropy));
    }
}
