//! Stores that were put back to an earlier state: what they lost may be done again, under larger tokens, and nothing else.

use std::time::Duration;

use crate::common::{Go, Run, at, boot, go, id_of, once};
use punctual_checker::{BodyEvent, FaultEvent, Pausable, Rule};
use punctual_core::event::Event;

/// A run whose store is put back from 7 s to 8 s, to what it was at `kept`, and whose third node comes after that.
fn put_back(kept: i64) -> Run {
    let mut run = Run::new();
    run.trigger("a", once(5000));
    run.join(3, 8100);
    run.faults.push(FaultEvent::Restored { kept_us: boot(kept), boot_us: boot(7000), until_us: boot(8000) });
    run
}

/// Does a piece of work, whose body says which token it was given.
fn with_token(run: &mut Run, go: Go, from: i64, token: u64) {
    run.ran(go, from, from + 100);
    let of_this = |event: &&mut BodyEvent| event.start().execution == go.id();
    for event in run.bodies.iter_mut().filter(of_this) {
        let (BodyEvent::Begin(start) | BodyEvent::End(start) | BodyEvent::Cancelled(start)) = event;
        start.token = Some(token);
    }
}

#[test]
fn what_the_backup_lacks_may_be_done_again() {
    let mut run = put_back(4500);
    let (lost, again) = (go(1, "a", 5000, 1), go(2, "a", 5000, 3));
    run.ran(lost, 5005, 5105).settled(lost, 5105, Some(punctual_core::execution::Outcome::Succeeded));
    run.done(again, 8200, 8300).breaks(&[]);
    run.faults.clear();
    let verdict = run.verdict();
    assert!(
        verdict.count(Rule::DoubleFiring) == 1 && verdict.count(Rule::Vanished) == 1,
        "without the restore"
    );
}

#[test]
fn a_pause_that_the_backup_lacks_pauses_nothing() {
    let mut run = put_back(4500);
    let what = Pausable::Trigger(id_of("a"));
    run.faults.push(FaultEvent::Paused { what, at: at(4600), boot_us: boot(4600) });
    run.done(go(1, "a", 5000, 3), 8200, 8300).breaks(&[]);
    run.faults.remove(0);
    assert_eq!(run.verdict().count(Rule::FiredInPause), 1, "without the restore");
    // What is of the moment of the backup is in it, and nothing is lost any more once nodes may come.
    for moment in [4500, 8000] {
        let mut run = put_back(4500);
        let what = Pausable::Trigger(id_of("a"));
        run.faults.push(FaultEvent::Paused { what, at: at(moment), boot_us: boot(moment) });
        run.done(go(1, "a", 5000, 3), 8200, 8300).breaks(&[(Rule::FiredInPause, 1)]);
    }
}

#[test]
fn what_the_backup_has_may_not() {
    let mut run = put_back(6000);
    let (kept, again) = (go(1, "a", 5000, 1), go(2, "a", 5000, 3));
    run.done(kept, 5005, 5105).done(again, 8200, 8300).breaks(&[(Rule::DoubleFiring, 1)]);
}

#[test]
fn what_the_backup_has_may_not_be_lost() {
    let mut run = put_back(6000);
    let kept = go(1, "a", 5000, 1);
    run.ran(kept, 5005, 5105);
    let verdict = run.verdict();
    assert_eq!(verdict.count(Rule::Vanished), 1, "{:?}", verdict.violations);
}

#[test]
fn tokens_of_after_a_restore_are_larger_than_all_before() {
    for (token, from, broken) in [(7, 8200, 1), (6, 8200, 1), (7, 8000, 1), (1 << 40 | 1, 8200, 0)] {
        let mut run = put_back(4500);
        with_token(&mut run, go(1, "a", 5000, 1), 5005, 7);
        with_token(&mut run, go(2, "a", 5000, 3), from, token);
        run.settled(go(2, "a", 5000, 3), from + 100, Some(punctual_core::execution::Outcome::Succeeded));
        run.record(go(2, "a", 5000, 3));
        let expected = [(Rule::TokenBackwards, broken)];
        run.breaks(if broken == 0 { &[] } else { &expected });
    }
}

#[test]
fn nobody_takes_over_from_nodes_that_the_restore_has_ended() {
    let mut run = put_back(6000);
    run.options.takeover_bound = Some(Duration::from_secs(2));
    run.until = 20_000;
    run.done(go(1, "a", 5000, 1), 5005, 5105).kill(2, 5500).event(3, 19_000, Event::Left);
    run.breaks(&[]);
    run.faults.remove(0);
    assert_eq!(run.verdict().count(Rule::LateTakeover), 1, "without the restore");
}

#[test]
fn a_restore_ends_who_had_joined_and_was_up() {
    // Taken over before the backup, and joined in the moment in which nodes could come again.
    let mut run = put_back(6000);
    run.kill(2, 1000).took_over(1, 2, 5500);
    assert_eq!(run.verdict().takeovers, 1);
    run.join(4, 8000).kill(4, 9000).took_over(3, 4, 14_000);
    assert_eq!(run.verdict().takeovers, 2);
    // Up when the backup was taken; that it was taken over later is lost.
    run.kill(1, 6100).took_over(2, 1, 7900);
    assert_eq!(run.verdict().takeovers, 2);
}
