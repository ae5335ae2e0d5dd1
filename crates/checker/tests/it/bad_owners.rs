//! Forged histories of owners, bodies and nodes that broke the rules. Each must be rejected by the count meant for it.

use std::time::Duration;

use crate::common::{Go, Run, SECOND, all_but, alone, at, boot, every, go, node, pid};
use punctual_checker::{BodyEvent, FaultEvent, Guarantee, Rule};
use punctual_core::event::Event;
use punctual_core::execution::{ExecutionState, Outcome, Slot};
use punctual_core::key::Fence;
use punctual_core::node::NodeState;
use punctual_core::store::WAKE_WAITING;

#[test]
fn two_exclusive_bodies_at_once() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    run.done(first, 5005, 10_500).done(first.then(2, 10_000, 2), 10_005, 12_000);
    let verdict = run.breaks(&[(Rule::Overlap, 1)]);
    assert_eq!((verdict.overlaps, verdict.overlaps_declared), (1, 0));
    assert_eq!(verdict.violations[0].events.len(), 2);
}

#[test]
fn the_jobs_say_what_is_exclusive_even_if_bodies_do_not() {
    let mut run = Run::new();
    run.queue("x").trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    run.done(first, 5005, 10_500).done(first.then(2, 10_000, 2), 10_005, 12_000);
    for event in &mut run.bodies {
        let (BodyEvent::Begin(start) | BodyEvent::End(start) | BodyEvent::Cancelled(start)) = event;
        start.slot = None;
    }
    run.breaks(&[(Rule::Overlap, 1)]);
    run.tables.jobs[0].spec.concurrency.as_mut().unwrap().limit = 2;
    run.breaks(&[]);
}

#[test]
fn a_body_that_never_ended_overlaps_all_that_follow() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5005).began(first, 5005).settled(first, 5006, Some(Outcome::Succeeded)).record(first);
    run.done(first.then(2, 10_000, 2), 10_005, 12_000);
    run.breaks(&[(Rule::Overlap, 1)]);
}

/// Node 1 is frozen in a body; node 2 takes over and runs it again from 11 s on; the thawed body runs for `tail` more.
fn frozen_for(tail: i64, body_pid: Option<u32>) -> Run {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    let first = Go { pid: body_pid, ..alone(1, "x", 5000, 1) };
    let next = Go { pid: None, ..first.retry(2) };
    run.claimed(first, 5005).began(first, 5005).freeze(1, 6000, 14_000).took_over(2, 1, 10_800);
    run.recovered(2, first, 10_900).done(next, 11_000, 20_000);
    run.ended(first, 14_000 + tail).fenced(first, 14_000 + tail);
    run
}

#[test]
fn an_overlap_after_a_declared_death_longer_than_allowed() {
    let verdict = frozen_for(2001, None).breaks(&[(Rule::Overlap, 1)]);
    assert_eq!((verdict.overlaps, verdict.overlaps_declared), (1, 0));
    let verdict = frozen_for(2000, None).breaks(&[]);
    assert_eq!((verdict.overlaps, verdict.overlaps_declared, verdict.fenced_completions), (0, 1, 1));
    // It is the profile of the node that died that says how long.
    let mut run = frozen_for(2000, None);
    run.tables.nodes[1].info.profile.wind_down = Duration::ZERO;
    run.breaks(&[]);
    run.tables.nodes[0].info.profile.wind_down = Duration::ZERO;
    run.breaks(&[(Rule::Overlap, 1)]);
}

#[test]
fn an_earlier_attempt_that_never_ended_overlaps_all_that_follow() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    let again = first.retry(1);
    run.claimed(first, 5005).began(first, 5005).settled(first, 5006, None).done(again, 6000, 6100);
    run.done(again.then(2, 10_000, 1), 10_005, 10_100);
    assert_eq!(run.verdict().overlaps, 2);
}

#[test]
fn a_false_death_is_one_of_a_frozen_node() {
    // Killed long after that, or declared dead right after it was thawed: the same.
    let mut run = frozen_for(900, None);
    run.kill(1, 30_000);
    assert_eq!(run.breaks(&[]).overlaps_declared, 1);
    let mut run = frozen_for(-2500, None);
    run.faults.clear();
    run.freeze(1, 6000, 10_000);
    assert_eq!(run.breaks(&[]).overlaps_declared, 1);
    // A freeze of long before is no reason.
    run.faults.clear();
    run.freeze(1, 1000, 1500).breaks(&[(Rule::Overlap, 1)]);
}

#[test]
fn a_child_of_a_frozen_node_was_not_frozen() {
    frozen_for(10, Some(777)).breaks(&[(Rule::Overlap, 1)]);
}

#[test]
fn an_overlap_without_a_declared_death_is_none_of_the_declared() {
    let mut run = frozen_for(500, None);
    run.journal.retain(|stamped| !matches!(stamped.event, Event::TookOver { .. }));
    run.breaks(&[(Rule::Overlap, 1)]);
}

#[test]
fn an_overlap_after_the_death_of_a_node_that_was_only_cut_off() {
    let mut run = frozen_for(900, None);
    run.breaks(&[]);
    let what = "silent".to_owned();
    run.faults = vec![FaultEvent::Link { pid: pid(1), what, boot_us: boot(6000), until_us: boot(14_000) }];
    run.breaks(&[(Rule::Overlap, 1)]);
}

#[test]
fn a_dead_node_that_was_not_frozen_may_begin_nothing() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5005).took_over(2, 1, 6000).recovered(2, first, 6001).done(first.retry(2), 6010, 9000);
    run.began(first, 7000).ended(first, 7100);
    run.breaks(&[(Rule::Overlap, 1)]);
    // Thawed before it was declared dead, it could know.
    run.freeze(1, 5010, 5500);
    run.breaks(&[(Rule::Overlap, 1)]);
    // Frozen between its claim and its beginning, it could not.
    run.faults.clear();
    run.freeze(1, 5010, 6990);
    assert_eq!(run.breaks(&[]).overlaps_declared, 1);
}

#[test]
fn the_child_of_a_killed_node_that_ran_on() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    let first = Go { pid: Some(777), ..alone(1, "x", 5000, 1) };
    run.claimed(first, 5005)
        .began(first, 5005)
        .kill(1, 6000)
        .took_over(2, 1, 11_000)
        .recovered(2, first, 11_001);
    run.done(Go { pid: None, ..first.retry(2) }, 11_010, 15_000).ended(first, 11_020);
    let verdict = run.breaks(&[(Rule::Overlap, 1)]);
    assert_eq!(verdict.overlaps_declared, 0);
}

#[test]
fn a_body_of_a_node_that_came_after_the_kill_was_not_killed() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    run.faults.push(FaultEvent::KillAll { boot_us: boot(4600) });
    run.join(3, 4700).join(4, 4700);
    let first = alone(1, "x", 5000, 3);
    run.claimed(first, 5004).began(first, 5005).done(first.retry(4), 7000, 9000);
    run.breaks(&[(Rule::Overlap, 1)]);
}

#[test]
fn a_body_before_its_instant() {
    let mut run = all_but(5);
    run.done(go(5, "a", 5000, 1), 4999, 5010);
    assert_eq!(run.breaks(&[(Rule::Early, 1)]).early, 1);
}

#[test]
fn a_body_that_nobody_claimed() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.done(five, 5005, 5010).began(five.again(2), 5020);
    assert_eq!(run.breaks(&[(Rule::Unclaimed, 1)]).unclaimed, 1);
    let mut run = all_but(5);
    run.done(five, 5005, 5010).began(Go { attempt: 2, ..five }, 5020);
    run.breaks(&[(Rule::Unclaimed, 1)]);
}

#[test]
fn a_result_taken_from_a_stale_owner() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.ran(five, 5005, 9000).ran(five.retry(2), 8000, 9500);
    run.settled(five, 9000, Some(Outcome::Succeeded)).fenced(five.retry(2), 9500).record(five);
    assert_eq!(run.breaks(&[(Rule::StaleCompletion, 1)]).stale_completions, 1);
}

#[test]
fn a_stale_result_that_only_the_history_shows() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.ran(five, 5005, 9000).ran(five.retry(2), 8000, 9500).record(five);
    assert_eq!(run.breaks(&[(Rule::StaleCompletion, 1)]).stale_completions, 1);
}

#[test]
fn two_results_under_one_fence() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.done(five, 5005, 5010).settled(five, 5020, None);
    run.breaks(&[(Rule::StaleCompletion, 1)]);
}

#[test]
fn an_execution_that_ended_twice() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.done(five, 5005, 5010).record(five);
    run.breaks(&[(Rule::EndedTwice, 1)]);
}

#[test]
fn an_execution_that_was_given_up_twice() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.claimed(five, 5005).kill(1, 5010).took_over(2, 1, 11_000).record(five).after(Outcome::Failed, &[]);
    let (from, id, fence) = (node(1), five.id(), Fence::from_stored(five.fence));
    let given_up = || Event::Recovered { from, id, fence, outcome: Some(Outcome::Failed) };
    run.event(2, 11_001, given_up()).breaks(&[]);
    run.event(2, 11_002, given_up()).breaks(&[(Rule::EndedTwice, 1)]);
}

#[test]
fn an_execution_that_ended_and_lives() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.done(five, 5005, 5010).ready(five, 60_000);
    run.breaks(&[(Rule::EndedTwice, 1)]);
}

#[test]
fn an_execution_that_nobody_knows_any_more() {
    let mut run = all_but(5);
    run.done(go(5, "a", 5000, 1), 5005, 5010).ran(go(60, "", 3000, 1), 3000, 4000);
    run.breaks(&[(Rule::Vanished, 1)]);
}

#[test]
fn one_fence_for_two_owners() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.done(five, 5005, 5010).claimed(Go { node: 2, ..five }, 5006);
    run.breaks(&[(Rule::SharedFence, 1)]);
}

#[test]
fn one_fence_of_a_key_for_two_executions() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.done(alone(1, "x", 5000, 1), 5005, 6000).done(alone(2, "x", 10_000, 2), 10_005, 12_000);
    run.breaks(&[(Rule::SharedFence, 1)]);
}

#[test]
fn a_dead_nodes_work_offered_too_late() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.claimed(five, 5005)
        .began(five, 5005)
        .kill(1, 5010)
        .took_over(2, 1, 11_000)
        .recovered(2, five, 15_011);
    run.done(five.retry(2), 15_020, 15_030);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    let verdict = run.breaks(&[(Rule::LateTakeover, 1)]);
    assert_eq!((verdict.takeovers, verdict.takeovers_late), (1, 1));
    assert!((verdict.takeover_seconds_max - 10.001).abs() < 1e-9);
    // Clocks that are set may make it later, and no promise says otherwise.
    run.faults.push(FaultEvent::ClockJump { pid: None, by_us: 500, boot_us: boot(5000) });
    assert_eq!(run.breaks(&[(Rule::LateTakeover, 1)]).guarantees[&Guarantee::G15], 0);
    run.options.takeover_bound = Some(Duration::from_millis(10_001));
    run.breaks(&[]);
    run.options.takeover_bound = None;
    run.breaks(&[]);
}

#[test]
fn a_dead_node_that_nobody_noticed() {
    let mut run = all_but(11);
    run.kill(1, 10_500).event(2, 20_500, Event::Left);
    run.options.takeover_bound = Some(Duration::from_millis(9900));
    run.breaks(&[(Rule::LateTakeover, 1)]);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    run.breaks(&[]);
    // Those who were asked to stop need not take over any more.
    run.options.takeover_bound = Some(Duration::from_secs(5));
    run.faults.push(FaultEvent::StopRequested { boot_us: boot(15_000), at: at(10_000) });
    run.breaks(&[]);
}

#[test]
fn nobody_need_notice_a_death_when_all_others_have_left() {
    let mut run = all_but(11);
    run.options.takeover_bound = Some(Duration::from_secs(5));
    run.kill(1, 10_500).join(3, 20_500);
    run.breaks(&[(Rule::LateTakeover, 1)]);
    run.event(2, 12_000, Event::Left).breaks(&[]);
}

#[test]
fn who_joined_again_observes_anew() {
    let mut run = all_but(11);
    run.options.takeover_bound = Some(Duration::from_secs(5));
    run.kill(1, 10_500).event(3, 15_250, Event::Rejoined { old: node(2) }).event(3, 20_000, Event::Left);
    run.breaks(&[]);
    run.journal.retain(|stamped| !matches!(stamped.event, Event::Rejoined { .. }));
    run.breaks(&[(Rule::LateTakeover, 1)]);
}

#[test]
fn a_killed_node_of_which_only_its_killer_knows() {
    let mut run = all_but(11);
    run.options.takeover_bound = Some(Duration::from_secs(5));
    run.faults.push(FaultEvent::Kill { pid: pid(9), node: Some(node(9)), boot_us: boot(10_500) });
    run.event(2, 20_500, Event::Left).breaks(&[(Rule::LateTakeover, 1)]);
}

#[test]
fn a_live_row_that_names_a_node_that_is_not_up() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.claimed(five, 5005);
    run.live(five);
    assert_eq!(run.breaks(&[(Rule::Stuck, 1)]).stuck, 1);
    run.live(Go { n: 60, node: 77, ..go(60, "", 1000, 77) });
    assert_eq!(run.breaks(&[(Rule::Stuck, 2)]).stuck, 2);
    run.tables.live[1].owner = None;
    run.breaks(&[(Rule::Stuck, 2)]);
    assert_eq!(run.tables.live[0].owner, Some(node(1)));
}

#[test]
fn ready_work_that_nobody_took() {
    let mut run = all_but(5);
    run.until = 25_000;
    run.tables.triggers[0].spec.end = Some(at(10_000));
    run.ready(go(5, "a", 5000, 1), 5000);
    assert_eq!(run.breaks(&[(Rule::Stuck, 1)]).stuck, 1);
    // Parked for a slot that nobody holds any more: as stuck as if it were in sight.
    run.tables.live[0].wake = at(3_600_000);
    run.tables.live[0].slot = Some(Slot { key: "x".into(), limit: 1 });
    assert_eq!(run.breaks(&[(Rule::Stuck, 1)]).stuck, 1);
}

#[test]
fn a_live_row_that_is_not_claimed_and_names_an_owner() {
    let mut run = Run::new();
    run.tables.nodes[0].state = NodeState::Up;
    run.live(go(60, "", 1000, 1)).state = ExecutionState::Ready;
    let verdict = run.breaks(&[(Rule::Stuck, 1)]);
    assert!(verdict.violations[0].text.contains("is not claimed, but names an owner"));
}

#[test]
fn ready_work_is_stuck_when_it_was_due_for_long() {
    let mut run = Run::new();
    run.until = 30_000;
    let longest = 3 * i64::try_from(WAKE_WAITING.as_millis()).unwrap();
    run.ready(go(60, "", 1000, 1), 30_000 - longest).breaks(&[]);
    run.tables.live[0].wake = at(30_000 - longest - 1);
    run.breaks(&[(Rule::Stuck, 1)]);
    // Whoever failed before, or holds no place in a queue, starts when it is due and not before.
    run.tables.live[0].wake = at(99_000);
    run.breaks(&[]);
    run.tables.live[0].slot = alone(60, "x", 1000, 1).slot();
    run.breaks(&[(Rule::Stuck, 1)]);
    run.done(go(61, "", 1000, 1), 1005, 1010);
    run.tables.live[0].attempts = run.tables.history[0].attempts.clone();
    run.breaks(&[]);
}

#[test]
fn two_owned_live_rows_of_one_exclusive_key() {
    let mut run = Run::new();
    for n in [1, 2] {
        run.live(alone(n, "x", i64::from(n), 1));
    }
    run.tables.nodes[0].state = NodeState::Up;
    run.breaks(&[(Rule::SharedSlot, 1)]);
    for row in &mut run.tables.live {
        row.slot.as_mut().unwrap().limit = 2;
    }
    run.breaks(&[]);
}
