//! The decisions of the protocol, one by one and under random schedules.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use std::time::Duration;

use common::{NOW, due, entropy, every, exclusive, row, secs};
use proptest::prelude::*;
use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{
    AttemptOutcome, Execution, ExecutionState, MAX_ATTEMPTS_KEPT, Outcome, SkipReason,
};
use punctual_core::job::{ExecutionSpec, OnNodeLoss, RetryPolicy, WhenBusy};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::finish::{BodyEnd, Ended, MAX_LOSSES};
use punctual_core::protocol::{finish, fire, recover};
use punctual_core::schedule::Once;
use punctual_core::store::{Back, PARK, Settlement};
use punctual_core::trigger::{TriggerSpec, TriggerState};
use punctual_core::{ExecutionId, NodeId, Schedule};

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
        Settlement::Forget => panic!("it was forgotten"),
    }
}

fn outcome(settlement: &Settlement) -> Outcome {
    match settlement {
        Settlement::End(record) => record.outcome,
        Settlement::Forget => panic!("it was forgotten"),
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
fn jitter_takes_its_share_of_a_delay_and_no_more() {
    let retry = RetryPolicy { jitter_percent: 20, ..RetryPolicy::fixed(2, secs(100)) };
    let spec = ExecutionSpec { retry, ..ExecutionSpec::default() };
    let (row, entropy) = (row(&spec), entropy());
    let delay = || {
        let failed = ended(BodyEnd::Failed("no".to_owned()));
        back(finish::settle(&row, &spec, NodeId::from_stored(9), failed, &entropy).then).delay
    };
    let delays: Vec<_> = (0..100).map(|_| delay()).collect();
    assert!(delays.iter().all(|delay| (secs(80)..=secs(100)).contains(delay)), "{delays:?}");
    assert!(delays.iter().min() < Some(&secs(85)) && delays.iter().max() > Some(&secs(95)), "{delays:?}");
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
fn only_a_success_of_what_no_trigger_fired_is_forgotten() {
    let spec = ExecutionSpec::default();
    let owner = NodeId::from_stored(9);
    let forgetting = |row: &Execution, end: BodyEnd| {
        let plan = finish::settle(row, &spec, owner, ended(end), &entropy());
        (finish::forgetting(row, plan.clone()), plan)
    };
    let (fired, enqueued) = (row(&spec), Execution { occurrence: None, ..row(&spec) });
    assert!(fired.occurrence.is_some());
    let (plan, recorded) = forgetting(&enqueued, BodyEnd::Succeeded);
    assert_eq!((plan.claim, plan.then), (recorded.claim, Settlement::Forget));
    for (row, end) in [
        (&fired, BodyEnd::Succeeded),
        (&enqueued, BodyEnd::Failed("no".to_owned())),
        (&enqueued, BodyEnd::Dead("no".to_owned())),
        (&enqueued, BodyEnd::Cancelled("no".to_owned())),
    ] {
        let (plan, recorded) = forgetting(row, end);
        assert_eq!(plan, recorded);
    }
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
    assert_eq!(next.attempts[0].error.as_deref(), Some(format!("node {owner} is gone").as_str()));
    let almost = Execution { losses: MAX_LOSSES - 1, ..row(&spec) };
    assert_eq!(back(recover::settle(&almost, &spec, owner, NOW).then).losses, MAX_LOSSES, "it survives them");
    let worn = Execution { losses: MAX_LOSSES, ..row(&spec) };
    let Settlement::End(record) = recover::settle(&worn, &spec, owner, NOW).then else {
        panic!("it is taken for their cause")
    };
    assert_eq!(record.outcome, Outcome::Failed);
    assert_eq!(record.error.as_deref(), Some("given up after 6 nodes died while they ran it"));
}

#[test]
fn the_work_of_a_node_that_left_goes_back_as_it_is() {
    let spec = ExecutionSpec::default();
    let worn = Execution { losses: MAX_LOSSES, ..row(&spec) };
    let next = back(recover::hand_back(&worn, NodeId::from_stored(9)).then);
    assert_eq!((next.attempt, next.losses, next.keep_slot), (worn.attempt, MAX_LOSSES, true));
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

proptest! {
    #[test]
    fn execution_ids_of_one_millisecond_differ(seed: u64) {
        let entropy = SeededEntropy::new(seed);
        prop_assert_ne!(ExecutionId::draw(NOW, &entropy), ExecutionId::draw(NOW, &entropy));
    }
}
