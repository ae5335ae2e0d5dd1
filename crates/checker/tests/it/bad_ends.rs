//! Forged histories of work that runs at most once, and of effects that are committed with the end of their work (G5, G6,
//! G8). Each must be rejected by the count meant for it.

use crate::common::{Go, Run, SECOND, every, go, once};
use punctual_checker::{Guarantee, Rule};
use punctual_core::event::Event;
use punctual_core::execution::AttemptOutcome::{Failed, Lost, Released};
use punctual_core::execution::{AttemptOutcome, Outcome};
use punctual_core::job::OnNodeLoss;
use punctual_core::node::NodeState;

/// A trigger that fires once, at five seconds, for a job that runs at most once.
fn careful() -> (Run, Go) {
    let mut run = Run::new();
    run.at_most_once("a").trigger("a", once(5000));
    (run, go(1, "a", 5000, 1))
}

/// The body of `first` begins, and begins again, with this outcome of the first time in the record.
fn begun_twice(outcome: Option<AttemptOutcome>) -> Run {
    let (mut run, first) = careful();
    let next = first.again(2);
    run.claimed(first, 5005).began(first, 5005).done(next, 9000, 9100);
    let before: Vec<_> = outcome.into_iter().map(|outcome| (1, 1, 1, outcome)).collect();
    run.after(Outcome::Succeeded, &before);
    if outcome == Some(Lost) {
        run.tables.nodes[0].state = NodeState::Dead;
    }
    run
}

#[test]
fn careful_work_that_began_again_after_its_node_died() {
    begun_twice(Some(Lost)).breaks(&[(Rule::BegunAgain, 1)]);
}

#[test]
fn careful_work_that_began_again_after_it_was_handed_back() {
    begun_twice(Some(Released)).breaks(&[(Rule::BegunAgain, 1)]);
}

#[test]
fn careful_work_that_began_again_though_nobody_says_how_it_ended() {
    begun_twice(None).breaks(&[(Rule::BegunAgain, 1)]);
    begun_twice(Some(Failed)).breaks(&[]);
}

#[test]
fn careful_work_that_was_offered_again_after_it_had_begun() {
    let (mut run, first) = careful();
    run.claimed(first, 5005).began(first, 5005).kill(1, 5010).took_over(2, 1, 10_500);
    run.recovered(2, first, 10_600).ready(first, 99_000);
    run.breaks(&[(Rule::BegunAgain, 1)]);
    // In one moment nobody can tell which of the two came first.
    run.bodies.clear();
    run.began(first, 10_600).breaks(&[]);
}

#[test]
fn careful_work_that_is_live_and_began_twice() {
    let (mut run, first) = careful();
    run.ran(first, 5005, 5100).ran(first.again(2), 6005, 6100);
    run.ready(first.again(2), 99_000).breaks(&[(Rule::BegunAgain, 1)]);
}

#[test]
fn work_that_runs_at_least_once_recorded_as_lost() {
    let (mut run, first) = careful();
    run.done(first, 5005, 5100).after(Outcome::Lost, &[]);
    run.breaks(&[]);
    run.tables.jobs[0].spec.on_node_loss = OnNodeLoss::Rerun;
    run.breaks(&[(Rule::WronglyLost, 1)]);
}

#[test]
fn enqueued_work_that_runs_at_least_once_recorded_as_lost() {
    let mut run = Run::new();
    run.queue("a").done(go(1, "", 5000, 1), 5005, 5100).after(Outcome::Lost, &[]);
    let job = &run.tables.jobs[0];
    let job = punctual_core::execution::JobRef { id: job.id, key: job.key.clone() };
    run.tables.history[0].job = Some(job);
    run.breaks(&[(Rule::WronglyLost, 1)]);
}

/// One second's execution of three, with an effect each.
fn paid() -> Run {
    let mut run = Run::new();
    run.until = 3000;
    run.trigger("a", every(SECOND));
    for n in 1..=3_u8 {
        let go = go(n, "a", i64::from(n) * 1000, 1);
        run.done(go, go.due + 5, go.due + 50).effect(go);
    }
    run
}

#[test]
fn an_effect_that_is_there_twice() {
    let mut run = paid();
    run.breaks(&[]);
    run.effect(go(2, "a", 2000, 1));
    let verdict = run.breaks(&[(Rule::EffectDoubled, 1)]);
    assert_eq!((verdict.effects, verdict.effects_doubled), (4, 1));
    assert_eq!(verdict.guarantees[&Guarantee::G8], 1);
}

#[test]
fn an_effect_that_is_there_three_times() {
    let mut run = paid();
    run.effect(go(2, "a", 2000, 1)).effect(go(2, "a", 2000, 1)).breaks(&[(Rule::EffectDoubled, 2)]);
}

#[test]
fn an_effect_of_work_that_failed() {
    let mut run = paid();
    run.after(Outcome::Failed, &[]).breaks(&[(Rule::EffectAlone, 1)]);
}

#[test]
fn an_effect_of_work_that_is_still_to_run() {
    let mut run = paid();
    run.tables.history.pop();
    run.ready(go(3, "a", 3000, 1), 3000).breaks(&[(Rule::EffectAlone, 1)]);
}

#[test]
fn an_effect_of_work_that_nobody_knows() {
    let mut run = paid();
    run.effect(go(99, "a", 2000, 1)).breaks(&[(Rule::EffectAlone, 1)]);
}

#[test]
fn work_that_succeeded_without_its_effect() {
    let mut run = paid();
    run.effects.rows.remove(1);
    run.breaks(&[(Rule::EffectMissing, 1)]);
    run.effects.kinds.clear();
    run.breaks(&[]);
}

#[test]
fn an_effect_of_an_owner_whose_work_had_passed_on() {
    let mut run = paid();
    let late = go(3, "a", 3000, 1);
    run.tables.history.pop();
    let next = late.again(2);
    run.journal
        .retain(|stamped| !matches!(&stamped.event, Event::Settled { work, .. } if work.id == late.id()));
    run.fenced(late, 9000).done(next, 8000, 8100).breaks(&[(Rule::StaleEffect, 1)]);
}

#[test]
fn a_doubled_effect_of_two_owners() {
    let mut run = paid();
    let late = go(3, "a", 3000, 1);
    run.tables.history.pop();
    run.journal
        .retain(|stamped| !matches!(&stamped.event, Event::Settled { work, .. } if work.id == late.id()));
    let next = late.again(2);
    run.done(next, 8000, 8100).effect(next);
    run.breaks(&[(Rule::StaleEffect, 1), (Rule::EffectDoubled, 1)]);
}
