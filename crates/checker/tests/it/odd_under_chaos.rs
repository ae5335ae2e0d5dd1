//! Histories that chaos makes, odd but legal: none may be rejected.

use std::time::Duration;

use crate::common::{
    Go, Run, SECOND, all_but, alone, at, boot, every, go, id_of, key, node, once, pid, rescheduled,
};
use punctual_checker::{FaultEvent, Rule};
use punctual_core::execution::AttemptOutcome::{Lost, Released, TimedOut};
use punctual_core::execution::Outcome;
use punctual_core::node::{NodeState, Profile};

#[test]
fn careful_work_that_was_released_before_it_began_runs_once_elsewhere() {
    let mut run = Run::new();
    run.at_most_once("a").trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    run.claimed(first, 5005).recovered(2, first, 10_600).done(first.again(2), 10_700, 10_800);
    run.breaks(&[]);
}

#[test]
fn careful_work_that_its_node_handed_back_unbegun_may_be_claimed_by_it_again() {
    let mut run = Run::new();
    run.at_most_once("a").trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    // The answer of the first claim was lost.
    run.recovered(1, first, 7100).done(first.again(1), 7105, 7200).breaks(&[]);
}

/// Seed 40004 of the simulation on SQLite: the answer to the handing back came late, and the node had the work again by
/// then, had begun and ended it.
#[test]
fn careful_work_may_begin_under_a_new_claim_before_it_is_told_that_the_old_one_was_handed_back() {
    let mut run = Run::new();
    run.at_most_once("a").trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    run.done(first.again(1), 7105, 7200).recovered(1, first, 7800).breaks(&[]);
}

#[test]
fn careful_work_that_timed_out_may_begin_again_if_its_retries_say_so() {
    let mut run = Run::new();
    run.at_most_once("a").trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    run.ran(first, 5005, 5100).done(first.retry(2), 6000, 6100);
    run.after(Outcome::Succeeded, &[(1, 1, 1, TimedOut)]).breaks(&[]);
}

#[test]
fn careful_work_is_lost_with_the_node_that_ran_it() {
    let mut run = Run::new();
    run.at_most_once("a").trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    run.claimed(first, 5005).began(first, 5005).kill(1, 5100).record(first).after(Outcome::Lost, &[]);
    run.tables.nodes[0].state = NodeState::Dead;
    run.tables.history[0].attempts[0].outcome = Lost;
    run.breaks(&[]);
}

#[test]
fn a_commit_of_an_effect_without_its_answer_happened() {
    let mut run = Run::new();
    run.trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    // The node died before it learned that the transaction had been committed.
    run.claimed(first, 5005).began(first, 5005).kill(1, 5100).record(first).effect(first).breaks(&[]);
}

#[test]
fn a_commit_of_an_effect_without_its_answer_did_not_happen() {
    let mut run = Run::new();
    run.trigger("a", once(5000));
    let first = go(1, "a", 5000, 1);
    run.claimed(first, 5005).began(first, 5005).ended(first, 5050).fenced(first, 14_000);
    run.freeze(1, 5060, 14_000).took_over(2, 1, 10_500).recovered(2, first, 10_600);
    let next = first.retry(2);
    run.done(next, 11_000, 11_100).effect(next).breaks(&[]);
}

#[test]
fn a_claim_that_was_committed_unseen_is_handed_back_without_costing_an_attempt() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.recovered(1, five, 7100).done(five.again(2), 7200, 7300).breaks(&[]);
}

#[test]
fn work_that_fired_before_a_change_runs_after_it() {
    let mut run = Run::new();
    run.until = 2000;
    let trigger = run.trigger("a", once(90_000));
    (trigger.generation, trigger.rev) = (2, 9);
    run.faults.push(rescheduled("a", 2, 2500));
    run.faults.push(FaultEvent::Unscheduled { trigger_id: id_of("b"), at: at(10), boot_us: boot(10) });
    let first = go(1, "a", 2000, 1);
    run.claimed(first, 2005).kill(1, 2010).recovered(2, first, 8000).done(first.retry(2), 8100, 8200);
    run.breaks(&[]);
}

#[test]
fn a_trigger_made_anew_counts_its_generations_anew() {
    let mut run = Run::new();
    run.until = 6000;
    run.trigger("a", every(2 * SECOND)).created = at(3000);
    run.tables.triggers[0].generation = 2;
    // Of the earlier trigger of the key, at times that a store's clock shows which was set back before this one was made.
    for (generation, ms) in [(2, 1000), (3, 4000)] {
        let (trigger, trigger_id) = (key("a"), id_of("old"));
        let (at, boot_us) = (at(ms), boot(1000));
        run.faults.push(FaultEvent::Rescheduled { trigger, trigger_id, generation, at, boot_us });
    }
    run.done(Go { generation: 2, ..go(1, "a", 6000, 1) }, 6005, 6010).breaks(&[]);
    run.faults.push(rescheduled("a", 3, 5000));
    run.breaks(&[(Rule::OldDefinition, 1)]);
}

#[test]
fn a_node_works_again_after_its_standby_and_others_work_during_it() {
    let mut run = all_but(11);
    run.faults.push(FaultEvent::Standby { node: node(1), at: at(4100), boot_us: boot(4100) });
    run.faults.push(FaultEvent::Resume { node: node(1), at: at(5900), boot_us: boot(5900) });
    run.breaks(&[]);
}

#[test]
fn work_released_at_a_graceful_stop_keeps_its_attempt() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.ran(five, 5005, 5100).settled(five, 5110, None).done(five.again(2), 5200, 5300);
    run.after(Outcome::Succeeded, &[(1, 1, 1, Released)]).breaks(&[]);
}

#[test]
fn a_wall_clock_may_be_set_back_and_forth() {
    let mut run = all_but(11);
    for (by_us, ms) in [(86_400_000_000, 2000), (-86_400_000_000, 3000), (-3_600_000_000, 4000)] {
        run.faults.push(FaultEvent::ClockJump { pid: Some(pid(1)), by_us, boot_us: boot(ms) });
    }
    assert_eq!(run.breaks(&[]).clock_jumps, 3);
}

#[test]
fn a_node_that_was_cut_off_is_declared_dead_rightly() {
    let mut run = all_but(11);
    let what = "nothing gets through".to_owned();
    run.faults.push(FaultEvent::Link { pid: pid(1), what, boot_us: boot(6000), until_us: boot(14_000) });
    run.took_over(2, 1, 11_500);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.takeovers, verdict.false_deaths), (1, 0));
    assert!((verdict.takeover_seconds_max - 5.5).abs() < 1e-9, "{}", verdict.takeover_seconds_max);
}

/// The beat that a killed process had sent reached the store when the silence of its connection ended.
#[test]
fn a_beat_may_arrive_after_the_death_of_who_sent_it() {
    for (taken, broken) in [(21_000, None), (25_000, Some((Rule::LateTakeover, 1)))] {
        let mut run = all_but(11);
        let what = "silent".to_owned();
        run.faults.push(FaultEvent::Link { pid: pid(1), what, boot_us: boot(6000), until_us: boot(14_000) });
        run.kill(1, 9000).took_over(2, 1, taken);
        run.options.takeover_bound = Some(Duration::from_secs(10));
        run.breaks(broken.as_slice());
    }
}

#[test]
fn a_node_that_ended_and_could_not_leave_is_declared_dead_rightly() {
    let mut run = all_but(11);
    run.took_over(2, 1, 16_200);
    assert_eq!(run.breaks(&[]).false_deaths, 1);
    run.faults.push(FaultEvent::Exit { pid: pid(1), boot_us: boot(10_700) });
    let verdict = run.breaks(&[]);
    assert_eq!(verdict.false_deaths, 0);
    assert!((verdict.takeover_seconds_max - 5.5).abs() < 1e-9, "{}", verdict.takeover_seconds_max);
}

#[test]
fn a_node_with_a_slower_profile_is_missed_later() {
    let mut run = all_but(11);
    run.kill(1, 10_200).took_over(2, 1, 25_000);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    run.breaks(&[(Rule::LateTakeover, 1)]);
    run.tables.nodes[0].info.profile = Profile::DEFAULT;
    run.breaks(&[]);
}

#[test]
fn a_journal_may_tell_of_a_claim_after_a_later_one() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    // The node was frozen between the commit of its claim and its journal; its work is done elsewhere by then.
    run.freeze(1, 5010, 14_000).took_over(2, 1, 10_500).recovered(2, first, 10_600);
    run.done(first.retry(2), 10_700, 10_800).done(first.retry(2).then(2, 10_000, 2), 10_900, 11_000);
    let late = run.journal.len();
    run.claimed(first, 5011).fenced(first, 14_100);
    run.journal[late].boot_us = boot(14_050);
    run.breaks(&[]);
}

#[test]
fn a_key_passes_from_body_to_body_without_a_gap() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    let second = first.then(2, 10_000, 2);
    run.claimed(first, 5005).began(first, 5005).ended(first, 10_000).told_end(first, 10_001);
    // The store had taken the result before its node heard of that.
    run.settled(first, 10_900, Some(Outcome::Succeeded)).record(first);
    run.claimed(second, 10_005).began(second, 10_005).ended(second, 10_100).told_end(second, 10_100);
    run.settled(second, 10_110, Some(Outcome::Succeeded)).record(second).breaks(&[]);
}

#[test]
fn a_completion_within_the_bodys_own_transaction_frees_the_key_before_the_body_ends() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    let second = Go { exclusive: true, ..first.then(2, 10_000, 2) };
    run.claimed(first, 5005).began(first, 5005).ended(first, 9_990).told_end(first, 10_500);
    run.settled(first, 10_510, Some(Outcome::Succeeded)).record(first).effect(first);
    run.claimed(second, 10_005).began(second, 10_005).ended(second, 10_100).told_end(second, 10_100);
    run.settled(second, 10_110, Some(Outcome::Succeeded)).record(second).effect(second);
    run.breaks(&[]);
}

/// The answer to its joining was lost, and it joined under another id: the row of the first one never beats.
#[test]
fn a_node_that_never_heard_of_its_joining_does_not_die_by_mistake() {
    let mut run = all_but(11);
    run.took_over(1, 77, 6000);
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.takeovers, verdict.false_deaths), (1, 0));
}
