//! Histories that look odd and are legal, and the figures that are computed from them.

use std::time::Duration;

use crate::common::{Go, Run, SECOND, alone, at, boot, every, go, key, node, once, rescheduled};
use punctual_checker::{FaultEvent, Rule};
use punctual_core::event::Event;
use punctual_core::execution::{AttemptOutcome, Outcome};

fn seconds() -> Run {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.seconds("a", 1, 10);
    run
}

#[test]
fn a_plain_run_has_plain_figures() {
    let verdict = seconds().breaks(&[]);
    assert_eq!((verdict.fired, verdict.attempts, verdict.skipped, verdict.takeovers), (10, 10, 0, 0));
    assert!((verdict.firings_per_second - 1.0).abs() < 1e-9);
    assert_eq!(verdict.lateness_samples, 10);
    for lateness in [verdict.lateness_ms_p50, verdict.lateness_ms_p99, verdict.lateness_ms_max] {
        assert!((lateness - 5.0).abs() < 1e-9, "{lateness}");
    }
}

#[test]
fn a_run_that_took_no_time_has_no_rate() {
    let mut run = Run::new();
    run.until = 0;
    assert!(run.breaks(&[]).firings_per_second.abs() < 1e-9);
}

#[test]
fn a_retry_is_a_new_attempt_under_a_new_fence() {
    let mut run = Run::new();
    run.trigger("a", every(5 * SECOND));
    let first = go(1, "a", 5000, 1);
    run.ran(first, 5005, 5100).settled(first, 5100, None).done(first.retry(2), 6000, 6100);
    run.done(go(2, "a", 10_000, 1), 10_005, 10_100);
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.attempts, verdict.fired), (3, 2));
}

#[test]
fn released_work_runs_again_as_the_same_attempt() {
    let mut run = Run::new();
    run.trigger("x", every(10 * SECOND));
    let first = alone(1, "x", 10_000, 1);
    run.claimed(first, 10_005).began(first, 10_005).cancelled(first, 10_300).settled(first, 10_300, None);
    run.done(first.again(2), 10_310, 12_000);
    assert_eq!(run.breaks(&[]).attempts, 2);
}

#[test]
fn a_skipped_range_accounts_for_its_instants() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.seconds("a", 1, 3).skip(go(90, "a", 4000, 1), 8000, 5).seconds("a", 9, 10);
    assert_eq!(run.breaks(&[]).skipped, 5);
}

#[test]
fn a_range_may_hold_one_instant() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.seconds("a", 1, 3).skip(go(90, "a", 4000, 1), 4000, 1).skip(go(91, "a", 5000, 1), 6000, 2);
    run.seconds("a", 7, 10);
    assert_eq!(run.breaks(&[]).skipped, 3);
}

#[test]
fn a_last_line_may_be_torn() {
    let run = seconds();
    let mut checker = run.checker();
    checker.journal(&b"{\"node\":1,\"boot_us\":12,\"ev"[..], "killed.jsonl").unwrap();
    let verdict = checker.verdict();
    assert!(verdict.is_clean());
    assert_eq!((verdict.torn_lines, verdict.lines), (1, 52));
}

#[test]
fn a_killed_body_has_no_end_and_its_work_runs_again() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5005)
        .began(first, 5005)
        .kill(1, 6000)
        .took_over(2, 1, 11_000)
        .recovered(2, first, 11_200);
    run.done(first.retry(2), 11_300, 12_000);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.takeovers, verdict.exclusive_running_at_kill, verdict.false_deaths), (1, 1, 0));
    assert!((verdict.takeover_seconds_max - 5.2).abs() < 1e-9);
}

#[test]
fn a_body_may_begin_between_the_stamp_of_a_kill_and_the_kill() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5004)
        .kill(1, 5005)
        .began(first, 5006)
        .took_over(2, 1, 11_000)
        .recovered(2, first, 11_200);
    run.done(first.retry(2), 11_300, 12_000);
    run.breaks(&[]);
}

#[test]
fn a_process_number_may_be_used_again() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    run.until = 9000;
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5005)
        .began(first, 5005)
        .kill(1, 6000)
        .took_over(2, 1, 11_000)
        .recovered(2, first, 11_200);
    run.done(first.retry(2), 11_300, 12_000).kill(1, 30_000);
    run.faults.push(FaultEvent::KillAll { boot_us: boot(31_000) });
    let verdict = run.breaks(&[]);
    assert!((verdict.takeover_seconds_max - 5.2).abs() < 1e-9);
}

#[test]
fn a_node_killed_right_after_a_commit_could_not_tell_of_it() {
    let mut run = Run::new();
    run.trigger("a", every(10 * SECOND));
    let first = go(1, "a", 10_000, 1);
    run.ran(first, 10_005, 10_100).record(first).kill(1, 10_101);
    run.breaks(&[]);
}

#[test]
fn a_node_killed_while_it_was_frozen_was_silent_before() {
    let mut run = seconds();
    run.freeze(1, 3000, 4000).freeze(1, 10_100, 99_000).kill(1, 12_000).took_over(2, 1, 15_100);
    let verdict = run.breaks(&[]);
    assert!((verdict.takeover_seconds_max - 5.0).abs() < 1e-9, "{}", verdict.takeover_seconds_max);
}

#[test]
fn the_fewest_bodies_of_all_kills_are_shown() {
    let mut run = seconds();
    for name in ["x", "y", "z"] {
        let body = alone(name.as_bytes()[0], name, 2000, 2);
        run.trigger(name, once(2000));
        run.done(body, 2005, if name == "z" { 6000 } else { 3000 });
    }
    run.kill(1, 2500);
    assert_eq!(run.verdict().exclusive_running_at_kill, 3);
    run.kill(1, 4000);
    assert_eq!(run.verdict().exclusive_running_at_kill, 1);
}

#[test]
fn a_killed_command_ends_when_its_node_says_so() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = Go { pid: Some(777), ..alone(1, "x", 5000, 1) };
    run.claimed(first, 5005).began(first, 5005);
    let Some(Event::Began { work, .. }) = run.journal.last().map(|stamped| stamped.event.clone()) else {
        panic!("the journal says that it began");
    };
    run.event(1, 9000, Event::Ended { work, outcome: AttemptOutcome::TimedOut, error: None });
    run.settled(first, 9001, Some(Outcome::Failed)).record(first).done(
        first.then(2, 10_000, 2),
        10_005,
        11_000,
    );
    run.breaks(&[]);
}

#[test]
fn a_frozen_nodes_late_result_is_refused() {
    let mut run = Run::new();
    run.until = 9000;
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5005).began(first, 5005).freeze(1, 6000, 14_000).took_over(2, 1, 10_800);
    run.recovered(2, first, 10_900).done(first.retry(2), 11_000, 13_000);
    run.cancelled(first, 14_100).fenced(first, 14_100).event(3, 14_200, Event::Rejoined { old: node(1) });
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.fenced_completions, verdict.overlaps_declared, verdict.false_deaths), (1, 0, 0));
    assert!((verdict.takeover_seconds_max - 4.9).abs() < 1e-9);
}

#[test]
fn a_declared_death_may_overlap_for_a_moment() {
    let mut run = Run::new();
    run.until = 9000;
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    run.claimed(first, 5005).began(first, 5005).freeze(1, 6000, 14_000).took_over(2, 1, 10_800);
    run.recovered(2, first, 10_900).done(first.retry(2), 11_000, 20_000).cancelled(first, 15_500);
    let verdict = run.breaks(&[]);
    assert_eq!(verdict.overlaps_declared, 1);
    assert!((verdict.overlap_declared_seconds_max - 1.5).abs() < 1e-9);
}

#[test]
fn a_death_without_a_fault_is_false() {
    let mut run = seconds();
    run.took_over(2, 1, 10_800);
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.takeovers, verdict.false_deaths), (1, 1));
}

#[test]
fn a_node_taken_over_by_two_counts_once() {
    let mut run = seconds();
    run.join(3, 0).kill(1, 10_200).took_over(2, 1, 15_800).took_over(3, 1, 15_700);
    let verdict = run.breaks(&[]);
    assert_eq!(verdict.takeovers, 1);
    assert!((verdict.takeover_seconds_max - 5.5).abs() < 1e-9);
}

#[test]
fn a_cluster_killed_as_a_whole_takes_over_when_it_is_back() {
    let mut run = seconds();
    run.faults.push(FaultEvent::KillAll { boot_us: boot(10_200) });
    run.join(3, 15_200).join(4, 15_300).took_over(3, 1, 22_200).took_over(3, 2, 22_200);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    let verdict = run.breaks(&[]);
    assert_eq!(verdict.takeovers, 2);
    assert!((verdict.takeover_seconds_max - 7.0).abs() < 1e-9, "{}", verdict.takeover_seconds_max);
}

#[test]
fn a_take_over_has_its_time_from_the_end_of_an_outage() {
    let outage =
        |from, to| FaultEvent::Outage { what: "restart".into(), boot_us: boot(from), until_us: boot(to) };
    let mut run = seconds();
    run.kill(1, 10_200).took_over(2, 1, 21_000);
    run.options.takeover_bound = Some(Duration::from_secs(10));
    run.breaks(&[(Rule::LateTakeover, 1)]);
    run.faults.push(outage(11_000, 14_000));
    let verdict = run.breaks(&[]);
    assert!((verdict.takeover_seconds_max - 7.0).abs() < 1e-9, "{}", verdict.takeover_seconds_max);
    run.faults.push(outage(3000, 9000));
    assert!((run.breaks(&[]).takeover_seconds_max - 7.0).abs() < 1e-9, "an earlier one excuses nothing");
    run.faults.retain(|fault| !matches!(fault, FaultEvent::Outage { .. }));
    run.faults.push(outage(10_100, 10_900));
    run.breaks(&[(Rule::LateTakeover, 1)]);
}

#[test]
fn instants_may_wait_for_the_slot_of_a_job_that_queues() {
    let mut run = Run::new();
    run.queue("x").trigger("x", every(5 * SECOND)).next_fire = Some(at(10_000));
    run.done(alone(1, "x", 5000, 1), 5005, 12_000);
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.waiting, verdict.lost), (1, 0));
}

#[test]
fn a_new_generation_owes_from_its_first_record_or_from_the_command() {
    let mut run = Run::new();
    let trigger = run.trigger("a", every(2 * SECOND));
    (trigger.generation, trigger.rev) = (2, 9);
    run.seconds("a", 1, 5);
    for n in [8, 10] {
        let due = i64::from(n) * 1000;
        run.done(Go { generation: 2, ..go(n, "a", due, 1) }, due + 5, due + 10);
    }
    run.breaks(&[]);
    run.faults.push(rescheduled("a", 2, 6100));
    run.breaks(&[]);
    run.faults[0] = rescheduled("a", 2, 5500);
    assert_eq!(run.verdict().lost, 1, "the instant at 6 s");
}

#[test]
fn a_new_generation_does_not_owe_what_the_one_before_had_decided() {
    let mut run = Run::new();
    run.trigger("a", once(4000)).generation = 2;
    run.faults.push(rescheduled("a", 2, 5000));
    assert_eq!(
        run.verdict().lost,
        1,
        "an instant of the past is owed at once, if nobody has decided about it"
    );
    run.done(go(4, "a", 4000, 1), 4005, 4100).breaks(&[]);
}

#[test]
fn a_one_shot_that_is_complete_owes_no_more() {
    let mut run = Run::new();
    run.trigger("a", once(-2000)).created = at(-1000);
    run.breaks(&[]);
    let mut run = Run::new();
    run.trigger("a", once(3000));
    run.done(go(1, "a", 3000, 1), 3005, 3010).breaks(&[]);
}

#[test]
fn a_start_in_the_past_is_owed_if_the_trigger_was_made_in_the_run() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND)).spec.start = Some(at(-5000));
    run.seconds("a", 1, 10);
    assert_eq!(run.verdict().lost, 6);
    run.skip(go(90, "a", -5000, 1), 0, 6).breaks(&[]);
}

#[test]
fn a_trigger_made_anew_does_not_owe_what_the_old_one_of_its_key_decided() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND)).spec.start = Some(at(-5000));
    run.seconds("a", 1, 10).skip(go(92, "b", -5000, 1), -4000, 2).skip(go(90, "b", -3000, 1), -2000, 2);
    run.skip(go(91, "a", -1000, 1), 0, 2);
    assert_eq!(run.verdict().lost, 4);
    run.tables
        .history
        .iter_mut()
        .filter_map(|record| record.occurrence.as_mut())
        .for_each(|of| of.key = key("a"));
    run.breaks(&[]);
}

#[test]
fn an_older_trigger_owes_from_the_beginning_of_the_window() {
    let mut run = seconds();
    run.tables.triggers[0].created = at(-3_600_000);
    run.done(go(90, "a", 0, 1), 5, 10);
    run.breaks(&[]);
}

#[test]
fn nothing_is_owed_after_the_stop() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND)).next_fire = Some(at(8000));
    run.seconds("a", 1, 7);
    run.faults.push(FaultEvent::StopRequested { boot_us: boot(7800), at: at(7500) });
    run.breaks(&[]);
}

#[test]
fn enqueued_work_has_no_trigger() {
    let mut run = seconds();
    run.done(go(60, "", 3333, 1), 3334, 3400).ready(go(61, "", 9000, 1), 60_000);
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.fired, verdict.attempts), (10, 11));
}

#[test]
fn a_claim_that_a_killed_node_could_not_write_down_is_proven_by_the_tables() {
    let mut run = seconds();
    run.journal.retain(|stamped| stamped.node != node(1));
    run.breaks(&[]);
}

#[test]
fn lateness_in_the_time_of_a_fault_is_left_out() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.seconds("a", 1, 4).kill(1, 4500).took_over(2, 1, 6500);
    for n in [5, 6, 7] {
        let due = i64::from(n) * 1000;
        run.done(go(n, "a", due, 2), due + 900, due + 950);
    }
    run.seconds("a", 8, 10);
    let verdict = run.breaks(&[]);
    assert!((verdict.lateness_ms_max - 5.0).abs() < 1e-9, "{}", verdict.lateness_ms_max);
    assert_eq!(verdict.lateness_samples, 7);
}
