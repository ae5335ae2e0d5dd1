//! Forged histories of commands, migrations, stops and clocks that broke the rules (G12 to G15), and of fences and keys in
//! the order of time (G2, G3a). Each must be rejected by the count meant for it.

use crate::common::{
    Go, Run, SECOND, all_but, alone, at, boot, every, go, id_of, key, node, once, pid, rescheduled,
};
use punctual_checker::{FaultEvent, Guarantee, Pausable, Rule};
use punctual_core::execution::AttemptOutcome::{Lost, Released};
use punctual_core::execution::Outcome;
use punctual_core::node::NodeState;

/// A trigger of two instants a second apart, in generation 2 since `ms`; the execution of its last one has generation 1.
fn changed(ms: i64) -> (Run, Go) {
    let mut run = Run::new();
    run.until = 2000;
    let trigger = run.trigger("a", once(90_000));
    (trigger.generation, trigger.rev) = (2, 9);
    run.faults.push(rescheduled("a", 2, ms));
    (run, go(1, "a", 2000, 1))
}

#[test]
fn a_firing_under_a_definition_that_was_changed() {
    let (mut run, late) = changed(1900);
    run.done(late, 2005, 2010);
    let verdict = run.breaks(&[(Rule::OldDefinition, 1)]);
    assert_eq!(verdict.guarantees[&Guarantee::G12], 1);
}

#[test]
fn a_firing_of_a_trigger_that_was_deleted() {
    let (mut run, late) = changed(8000);
    run.done(late, 2005, 2010).breaks(&[]);
    run.faults.push(FaultEvent::Unscheduled { trigger_id: id_of("a"), at: at(2004), boot_us: boot(2004) });
    run.breaks(&[(Rule::OldDefinition, 1)]);
}

#[test]
fn a_firing_in_the_moment_of_a_command() {
    let (mut run, late) = changed(2005);
    run.done(late, 2005, 2010).breaks(&[]);
    run.faults.push(FaultEvent::Unscheduled { trigger_id: id_of("a"), at: at(2005), boot_us: boot(2005) });
    run.breaks(&[]);
}

#[test]
fn a_firing_two_definitions_late() {
    let (mut run, late) = changed(1500);
    run.faults.push(rescheduled("a", 3, 1900));
    run.tables.triggers[0].generation = 3;
    run.done(Go { generation: 2, ..late }, 2005, 2010).breaks(&[(Rule::OldDefinition, 1)]);
}

fn standby(run: &mut Run, from: i64, until: i64) {
    run.faults.push(FaultEvent::Standby { node: node(1), at: at(from), boot_us: boot(from) });
    run.faults.push(FaultEvent::Resume { node: node(1), at: at(until), boot_us: boot(until) });
}

#[test]
fn a_node_that_claimed_in_standby() {
    let mut run = all_but(11);
    // Node 1 claims what is due at even seconds.
    standby(&mut run, 2500, 3900);
    run.breaks(&[]);
    standby(&mut run, 4005, 6005);
    run.breaks(&[]);
    standby(&mut run, 4500, 6500);
    run.breaks(&[(Rule::ClaimInStandby, 1)]);
}

#[test]
fn a_node_that_resumed_says_nothing_of_another_one() {
    let mut run = all_but(11);
    for (n, ms) in [(1, 7500), (2, 7600)] {
        run.faults.push(FaultEvent::Standby { node: node(n), at: at(ms), boot_us: boot(ms) });
    }
    run.faults.push(FaultEvent::Resume { node: node(1), at: at(7700), boot_us: boot(7700) });
    // Node 2 claims what is due at odd seconds.
    run.breaks(&[(Rule::ClaimInStandby, 1)]);
}

#[test]
fn a_node_that_claimed_what_was_ready_in_standby() {
    let mut run = all_but(11);
    standby(&mut run, 8500, 9500);
    let ready = Go { fence: 7, ..alone(60, "", 100, 1) };
    run.done(ready, 9000, 9100).breaks(&[(Rule::ClaimInStandby, 1)]);
}

/// The firing of trigger `a` that is due at 2000 and claimed at 2005, and a pause.
fn paused(what: Pausable, from: i64, until: Option<i64>) -> Run {
    let (mut run, late) = changed(8000);
    run.done(late, 2005, 2010);
    run.faults.push(FaultEvent::Paused { what: what.clone(), at: at(from), boot_us: boot(from) });
    if let Some(until) = until {
        run.faults.push(FaultEvent::Resuming { what, at: at(until), boot_us: boot(until) });
    }
    run
}

#[test]
fn a_firing_of_a_paused_trigger() {
    let trigger = || Pausable::Trigger(id_of("a"));
    paused(trigger(), 2004, None).breaks(&[(Rule::FiredInPause, 1)]);
    paused(trigger(), 2004, Some(2006)).breaks(&[(Rule::FiredInPause, 1)]);
    paused(trigger(), 2004, Some(2005)).breaks(&[]);
    paused(trigger(), 2005, None).breaks(&[]);
    let other = || Pausable::Trigger(id_of("b"));
    paused(other(), 2004, None).breaks(&[]);
    let mut run = paused(trigger(), 2004, None);
    run.faults.push(FaultEvent::Resuming { what: other(), at: at(2004), boot_us: boot(2004) });
    run.breaks(&[(Rule::FiredInPause, 1)]);
}

#[test]
fn what_had_fired_before_a_pause_may_be_tried_again_in_it() {
    let (mut run, first) = changed(8000);
    run.ran(first, 2001, 2002).settled(first, 2002, None).done(first.retry(2), 2005, 2010);
    let what = Pausable::Trigger(id_of("a"));
    run.faults.push(FaultEvent::Paused { what, at: at(2003), boot_us: boot(2003) });
    run.breaks(&[]);
}

#[test]
fn a_firing_in_a_pause_while_the_stores_clock_is_set() {
    let jumped = |ms: i64| {
        let mut run = paused(Pausable::Trigger(id_of("a")), 2004, None);
        run.faults.push(FaultEvent::ClockJump { pid: None, by_us: 500, boot_us: boot(ms) });
        run
    };
    // Nobody can tell whether the claim or the pause came first.
    jumped(1000).breaks(&[]);
    for elsewhen in [2500, -200_000] {
        jumped(elsewhen).breaks(&[(Rule::FiredInPause, 1)]);
    }
}

#[test]
fn what_a_pause_held_back_is_not_late() {
    let mut run = all_but(11);
    let what = || Pausable::Trigger(id_of("a"));
    run.faults.push(FaultEvent::Paused { what: what(), at: at(3001), boot_us: boot(3001) });
    run.faults.push(FaultEvent::Resuming { what: what(), at: at(3004), boot_us: boot(3004) });
    assert_eq!(run.breaks(&[]).lateness_samples, 9);
}

#[test]
fn a_firing_of_a_paused_group() {
    let group = |name: &str| Pausable::Group(name.into());
    let own = key("a").group().to_owned();
    paused(group(&own), 2004, None).breaks(&[(Rule::FiredInPause, 1)]);
    paused(group(&own), 1000, Some(2004)).breaks(&[]);
    paused(group("another"), 2004, None).breaks(&[]);
}

#[test]
fn a_node_that_never_resumed_and_claimed() {
    let mut run = all_but(11);
    run.faults.push(FaultEvent::Standby { node: node(1), at: at(7500), boot_us: boot(7500) });
    run.breaks(&[(Rule::ClaimInStandby, 2)]);
}

#[test]
fn a_migration_that_was_applied_twice() {
    let mut run = all_but(11);
    run.migrations = vec![1, 2, 3];
    run.breaks(&[]);
    run.migrations.push(2);
    assert_eq!(run.breaks(&[(Rule::MigratedTwice, 1)]).guarantees[&Guarantee::G13], 1);
}

#[test]
fn a_migration_that_was_left_out() {
    let mut run = all_but(11);
    run.migrations = vec![1, 4];
    run.breaks(&[(Rule::MigrationMissing, 2)]);
    // Of many breaches of one rule some are shown, and all are counted.
    run.migrations = vec![1, 1, 100];
    let verdict = run.breaks(&[(Rule::MigratedTwice, 1), (Rule::MigrationMissing, 98)]);
    let shown = |rule| verdict.violations.iter().filter(|violation| violation.rule == rule).count();
    assert_eq!((shown(Rule::MigratedTwice), shown(Rule::MigrationMissing)), (1, 10));
}

/// Node 2 ran what node 1 had before, with this outcome.
fn before(outcome: punctual_core::execution::AttemptOutcome, number: u32) -> Run {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    let next = if number == 1 { five.again(2) } else { five.retry(2) };
    run.claimed(five, 5005).began(five, 5005).cancelled(five, 5100).done(next, 5200, 5300);
    run.after(Outcome::Succeeded, &[(1, 1, 1, outcome)]);
    run
}

#[test]
fn an_attempt_lost_with_a_node_that_left_in_good_order() {
    let mut run = before(Lost, 2);
    let verdict = run.breaks(&[(Rule::LostAtStop, 1)]);
    assert_eq!(verdict.guarantees[&Guarantee::G14], 1);
    run.tables.nodes[0].state = NodeState::Dead;
    run.breaks(&[]);
}

#[test]
fn an_attempt_that_was_handed_back_and_counted() {
    before(Released, 2).breaks(&[(Rule::StopCostAttempt, 1)]);
    before(Released, 1).breaks(&[]);
}

#[test]
fn an_attempt_that_was_handed_back_and_counted_before_it_ran_again() {
    let mut run = before(Released, 2);
    let record = run.tables.history.pop().unwrap();
    let next = go(5, "a", 5000, 1).retry(2);
    run.journal.retain(|stamped| stamped.boot_us != boot(5300));
    run.live(next).attempts = record.attempts[..1].to_vec();
    run.tables.nodes[1].state = NodeState::Up;
    run.breaks(&[(Rule::StopCostAttempt, 1)]);
}

fn jump(run: &mut Run, of: Option<u32>) {
    run.faults.push(FaultEvent::ClockJump { pid: of, by_us: 3_600_000_000, boot_us: boot(4000) });
}

#[test]
fn an_instant_lost_while_a_nodes_clock_was_set() {
    let mut run = all_but(5);
    assert_eq!(run.breaks(&[(Rule::Lost, 1)]).guarantees[&Guarantee::G15], 0);
    jump(&mut run, Some(pid(1)));
    let verdict = run.breaks(&[(Rule::Lost, 1)]);
    assert_eq!((verdict.guarantees[&Guarantee::G15], verdict.clock_jumps), (1, 1));
}

#[test]
fn an_instant_fired_twice_while_the_stores_clock_was_set() {
    let mut run = all_but(11);
    run.done(go(60, "a", 5000, 2), 8005, 8100);
    jump(&mut run, None);
    let verdict = run.breaks(&[(Rule::DoubleFiring, 1)]);
    assert_eq!((verdict.guarantees[&Guarantee::G1], verdict.guarantees[&Guarantee::G15]), (1, 1));
}

#[test]
fn a_later_attempt_under_a_smaller_fence() {
    let mut run = all_but(5);
    let five = Go { fence: 8, ..go(5, "a", 5000, 1) };
    run.ran(five, 5005, 5100).done(Go { fence: 3, attempt: 2, ..five }, 6005, 6100);
    run.after(Outcome::Succeeded, &[(1, 1, 8, Lost)]);
    run.tables.nodes[0].state = NodeState::Dead;
    run.journal.retain(|stamped| stamped.boot_us != boot(6100));
    run.breaks(&[(Rule::FenceBackwards, 1), (Rule::StaleCompletion, 1)]);
}

#[test]
fn a_later_claim_of_a_key_under_a_smaller_fence() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = Go { fence: 8, ..alone(1, "x", 5000, 1) };
    run.done(first, 5005, 6000).done(Go { fence: 3, ..first.then(2, 10_000, 2) }, 10_005, 12_000);
    run.breaks(&[(Rule::FenceBackwards, 1)]);
    // The store's clock may have been set: then its times say nothing.
    jump(&mut run, None);
    run.breaks(&[]);
}

#[test]
fn two_executions_of_a_key_owned_at_once() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    let second = first.then(2, 10_000, 2);
    // Their bodies took turns; their owners did not.
    run.claimed(first, 5005).began(first, 5005).ended(first, 5100).told_end(first, 10_500);
    run.settled(first, 10_600, Some(Outcome::Succeeded)).record(first);
    run.claimed(second, 10_005).began(second, 10_005).ended(second, 10_100).told_end(second, 10_100);
    run.settled(second, 10_110, Some(Outcome::Succeeded)).record(second);
    run.breaks(&[(Rule::SharedSlot, 1)]);
}

/// Executions of one key, each owned for a stretch; their bodies take turns.
fn owned(stretches: &[(i64, i64)]) -> Run {
    let mut run = Run::new();
    for ((from, to), n) in stretches.iter().zip(1_u8..) {
        let go = Go { fence: n.into(), ..alone(n, "", 100, 1) };
        run.claimed(go, *from).began(go, *from).ended(go, from + 1).told_end(go, *to);
        run.settled(go, to + 1, Some(Outcome::Succeeded)).record(go);
    }
    run
}

#[test]
fn each_execution_that_is_owned_while_another_one_is_counts() {
    owned(&[(5000, 6000), (6000, 7000)]).breaks(&[]);
    owned(&[(5000, 6001), (6000, 7000)]).breaks(&[(Rule::SharedSlot, 1)]);
    owned(&[(5000, 20_000), (6000, 7000), (8000, 9000)]).breaks(&[(Rule::SharedSlot, 2)]);
    owned(&[(5000, 6000), (5500, 20_000), (8000, 9000)]).breaks(&[(Rule::SharedSlot, 2)]);
}

#[test]
fn a_claim_is_compared_with_the_highest_fence_before_it() {
    let claims = |list: &[(i64, i64)]| {
        let mut run = Run::new();
        for ((ms, fence), n) in list.iter().zip(1_u8..) {
            run.done(Go { fence: *fence, ..alone(n, "", 100, 1) }, *ms, ms + 10);
        }
        run
    };
    claims(&[(2000, 2), (4000, 9), (6000, 4)]).breaks(&[(Rule::FenceBackwards, 1)]);
    // What was noted within a second of each other may have come in either order.
    claims(&[(2000, 9), (3000, 4)]).breaks(&[]);
    claims(&[(2000, 9), (3001, 4)]).breaks(&[(Rule::FenceBackwards, 1)]);
}

#[test]
fn an_execution_owned_within_the_time_of_another_of_its_key() {
    let mut run = Run::new();
    run.queue("x").trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    let second = first.then(2, 10_000, 2);
    run.claimed(first, 5005).told_end(first, 20_000).settled(first, 20_001, Some(Outcome::Succeeded));
    run.record(first).claimed(second, 10_005).told_end(second, 10_100);
    run.settled(second, 10_110, Some(Outcome::Succeeded)).record(second);
    run.breaks(&[(Rule::SharedSlot, 1)]);
}

#[test]
fn work_of_a_dead_node_left_lying_by_one_undisturbed_observer() {
    let mut run = all_but(11);
    run.join(3, 0).kill(1, 10_200).took_over(2, 1, 21_000);
    run.options.takeover_bound = Some(std::time::Duration::from_secs(10));
    // One observer was frozen, the other was not.
    run.freeze(3, 12_000, 16_000).breaks(&[(Rule::LateTakeover, 1)]);
    run.freeze(2, 11_000, 15_000).breaks(&[]);
}
