//! How late first attempts began, and which of them count.

use crate::common::{Run, SECOND, all_but, alone, at, boot, every, go, id_of, once};
use punctual_checker::{BodyEvent, FaultEvent, Pausable, Rule};

#[test]
fn shares_are_of_all_that_count() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    for n in 1..=10_u8 {
        let due = i64::from(n) * 1000;
        run.done(go(n, "a", due, 1), due + i64::from(n), due + 100);
    }
    let verdict = run.breaks(&[]);
    let shares = [verdict.lateness_ms_p50, verdict.lateness_ms_p99, verdict.lateness_ms_max];
    assert_eq!((shares, verdict.lateness_samples), ([5.0, 10.0, 10.0], 10));
}

#[test]
fn either_the_journal_or_the_body_says_that_it_is_a_firing() {
    let mut run = all_but(11);
    for event in &mut run.bodies {
        let (BodyEvent::Begin(start) | BodyEvent::End(start) | BodyEvent::Cancelled(start)) = event;
        (start.trigger, start.generation) = (None, None);
    }
    assert_eq!(run.breaks(&[]).lateness_samples, 10);
    run.bodies.clear();
    assert_eq!(run.verdict().lateness_samples, 10);
}

#[test]
fn work_that_was_enqueued_or_waits_its_turn_is_not_late() {
    let mut run = all_but(11);
    run.trigger("x", once(2000));
    run.done(alone(70, "x", 2000, 1), 4000, 4100).done(go(71, "", 2000, 1), 4000, 4100);
    let verdict = run.breaks(&[]);
    assert_eq!((verdict.lateness_samples, verdict.lateness_ms_max), (10, 5.0));
}

#[test]
fn only_first_attempts_count() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.claimed(five, 5005).done(five.retry(2), 5500, 5600);
    assert_eq!(run.verdict().lateness_samples, 9);
}

#[test]
fn a_pause_of_another_trigger_holds_nothing_back() {
    let mut run = all_but(11);
    let what = Pausable::Trigger(id_of("b"));
    run.faults.push(FaultEvent::Paused { what, at: at(3001), boot_us: boot(3001) });
    assert_eq!(run.breaks(&[]).lateness_samples, 10);
}

#[test]
fn what_was_due_while_a_connection_was_in_trouble_does_not_count() {
    let mut run = all_but(11);
    let (what, boot_us, until_us) = ("slow".to_owned(), boot(3000), boot(3500));
    run.faults.push(FaultEvent::Link { pid: 999, what, boot_us, until_us });
    assert_eq!(run.breaks(&[]).lateness_samples, 8, "nor in the second after it");
}

#[test]
fn a_kill_is_over_when_its_work_was_offered_again_and_no_sooner() {
    // What began before the kill counts, and what was due a second after the work was offered.
    let mut run = all_but(11);
    run.join(4, 0).kill(4, 3500).took_over(2, 4, 6000);
    assert_eq!(run.breaks(&[]).lateness_samples, 3 + 4);
    // An earlier take-over is none of this kill.
    let mut run = all_but(11);
    run.join(4, 0).join(5, 0).kill(4, 500).took_over(2, 4, 1500).kill(5, 3500);
    assert_eq!(run.breaks(&[]).lateness_samples, 1);
}

#[test]
fn the_events_of_a_violation_say_when_who_and_what() {
    let mut run = Run::new();
    run.trigger("x", every(5 * SECOND));
    let first = alone(1, "x", 5000, 1);
    run.done(first, 5005, 10_500).done(first.then(2, 10_000, 2), 10_005, 12_000);
    let events = &run.verdict().violations[0].events;
    let (one, two) = (first.id(), first.then(2, 10_000, 2).id());
    assert_eq!(
        *events,
        [
            format!("1005.005000s {one} body in process 101: begin of attempt 1 fence 1, ran for 5.495s"),
            format!("1010.005000s {two} body in process 102: begin of attempt 1 fence 2, ran for 1.995s"),
        ]
    );
    let run = all_but(5);
    let verdict = run.breaks(&[(Rule::Lost, 1)]);
    let told: Vec<&str> =
        verdict.violations[0].events.iter().filter_map(|event| event.split(' ').next()).collect();
    assert_eq!(told, ["record:", "record:", "row:"]);
}
