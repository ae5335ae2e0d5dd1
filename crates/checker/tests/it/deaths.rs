//! What made others declare a node dead, and from when on its work lay about (G10).

use std::time::Duration;

use crate::common::{Run, all_but, boot, node, pid};
use punctual_checker::FaultEvent;
use punctual_core::event::Event;

/// How long the take-over of node 1, at `taken`, is said to have taken; and how many deaths are said to be false.
fn judged(run: &mut Run, by: i64, taken: i64) -> (f64, u64) {
    let verdict = run.took_over(by, 1, taken).verdict();
    (verdict.takeover_seconds_max, verdict.false_deaths)
}

fn link(of: u32, from: i64, until: i64) -> FaultEvent {
    FaultEvent::Link { pid: of, what: "silent".to_owned(), boot_us: boot(from), until_us: boot(until) }
}

#[test]
fn a_freeze_that_was_over_when_the_node_was_killed_is_not_the_cause() {
    let mut run = all_but(11);
    run.freeze(1, 9000, 9500).kill(1, 10_500);
    assert_eq!(judged(&mut run, 2, 15_500), (5.0, 0));
}

#[test]
fn a_freeze_after_the_death_is_not_the_cause() {
    let mut run = all_but(11);
    run.freeze(1, 13_000, 14_000);
    assert_eq!(judged(&mut run, 2, 12_000), (0.0, 1));
}

#[test]
fn a_freeze_long_before_the_death_is_not_the_cause() {
    let mut run = all_but(11);
    run.freeze(1, 1000, 2000);
    assert_eq!(judged(&mut run, 2, 200_000), (0.0, 1));
}

#[test]
fn only_the_killed_nodes_own_silence_delays_what_it_has_sent() {
    let mut run = all_but(11);
    run.kill(1, 10_500);
    run.faults.extend([link(pid(3), 10_000, 14_000), link(pid(1), 1000, 2000), link(pid(1), 11_000, 12_000)]);
    assert_eq!(judged(&mut run, 2, 15_500), (5.0, 0));
}

#[test]
fn nobody_observes_himself() {
    let mut run = all_but(11);
    run.event(2, 4000, Event::Left).join(3, 6500).freeze(1, 5000, 6000);
    assert_eq!(judged(&mut run, 3, 9000), (2.5, 0));
}

#[test]
fn a_process_does_not_observe_who_it_was_before() {
    let mut run = all_but(11);
    run.event(2, 4000, Event::Left).freeze(1, 5000, 9000).event(3, 9100, Event::Rejoined { old: node(1) });
    run.join(4, 11_000);
    assert_eq!(judged(&mut run, 4, 12_000), (1.0, 0));
}

#[test]
fn a_kill_of_who_had_left_is_of_another_process() {
    let mut run = all_but(11);
    run.options.takeover_bound = Some(Duration::from_secs(5));
    run.event(1, 10_200, Event::Left).kill(1, 12_000).event(2, 30_000, Event::Left).breaks(&[]);
    run.journal.retain(|stamped| stamped.node != node(1) || stamped.event != Event::Left);
    assert_eq!(run.verdict().violations.len(), 1, "without its leaving");
}
