//! Forged histories with instants lost, doubled or accounted for wrongly, and input that is none. Each must be rejected by
//! the count meant for it.

use crate::common::{Go, Run, SECOND, all_but, alone, at, every, go, key, lines, once};
use punctual_checker::{BodyEvent, Checker, Rule, Window};
use punctual_core::event::Event;
use punctual_core::trigger::TriggerState;

#[test]
fn one_instant_fired_on_two_nodes() {
    let mut run = all_but(5);
    run.done(go(5, "a", 5000, 1), 5005, 5010).done(go(50, "a", 5000, 2), 5006, 5011);
    let verdict = run.breaks(&[(Rule::DoubleFiring, 1)]);
    assert_eq!((verdict.duplicates, verdict.fired), (1, 11));
    assert_eq!(verdict.violations[0].events.len(), 10, "{:#?}", verdict.violations);
}

#[test]
fn a_double_firing_that_only_a_body_tells_of() {
    let mut run = all_but(5);
    run.done(go(5, "a", 5000, 1), 5005, 5010);
    let second = go(50, "a", 5000, 2);
    run.bodies.push(BodyEvent::Begin(second.start(5006)));
    let verdict = run.breaks(&[(Rule::DoubleFiring, 1), (Rule::Unclaimed, 1), (Rule::Vanished, 1)]);
    assert_eq!(verdict.duplicates, 1);
}

#[test]
fn one_instant_fired_three_times() {
    let mut run = all_but(5);
    for n in [5, 50, 51] {
        run.done(go(n, "a", 5000, 1), 5005, 5010);
    }
    assert_eq!(run.breaks(&[(Rule::DoubleFiring, 2)]).duplicates, 2);
}

#[test]
fn one_start_twice() {
    let mut run = all_but(5);
    let five = go(5, "a", 5000, 1);
    run.done(five, 5005, 5010).began(Go { pid: Some(999), ..five }, 5020);
    let verdict = run.breaks(&[(Rule::DoubleStart, 1)]);
    assert_eq!((verdict.duplicates, verdict.attempts), (1, 11));
}

#[test]
fn an_instant_fired_again_in_the_next_generation() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND)).generation = 2;
    run.seconds("a", 1, 5);
    for n in 5..=10 {
        let due = i64::from(n) * 1000;
        run.done(Go { generation: 2, ..go(50 + n, "a", due, 1) }, due + 5, due + 10);
    }
    run.breaks(&[(Rule::Refired, 1)]);
}

#[test]
fn a_lost_instant() {
    let verdict = all_but(5).breaks(&[(Rule::Lost, 1)]);
    assert_eq!(verdict.lost, 1);
    assert!(verdict.violations[0].text.contains("default/a"), "{:?}", verdict.violations);
}

#[test]
fn a_lost_instant_behind_a_skip_of_another_generation() {
    let mut run = all_but(5);
    run.skip(Go { generation: 0, ..go(90, "a", 5000, 1) }, 5000, 1);
    assert_eq!(run.breaks(&[(Rule::Lost, 1)]).lost, 1);
    let mut run = all_but(5);
    run.skip(Go { generation: 2, ..go(90, "a", 5000, 1) }, 5000, 1);
    assert_eq!(run.breaks(&[(Rule::Lost, 1), (Rule::Misaccounted, 1)]).lost, 1);
}

#[test]
fn a_lost_instant_behind_a_record_of_another_trigger_of_the_key() {
    let mut run = all_but(5);
    run.skip(go(90, "b", 5000, 1), 5000, 1);
    run.tables.history.last_mut().unwrap().occurrence.as_mut().unwrap().key = key("a");
    assert_eq!(run.breaks(&[(Rule::Lost, 1)]).lost, 1);
}

#[test]
fn instants_lost_at_both_ends_are_counted() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.seconds("a", 3, 7);
    assert_eq!(run.breaks(&[(Rule::Lost, 5)]).lost, 5);
}

#[test]
fn a_body_that_ran_accounts_for_nothing_without_a_record() {
    let mut run = all_but(5);
    run.ran(go(5, "a", 5000, 1), 5005, 5010);
    run.breaks(&[(Rule::Vanished, 1), (Rule::Lost, 1)]);
}

#[test]
fn a_lost_one_shot() {
    let mut run = Run::new();
    run.trigger("a", once(4000));
    assert_eq!(run.breaks(&[(Rule::Lost, 1)]).lost, 1);
}

#[test]
fn a_trigger_that_was_set_aside() {
    let mut run = Run::new();
    let trigger = run.trigger("a", every(SECOND));
    (trigger.state, trigger.next_fire) = (TriggerState::Error, None);
    run.seconds("a", 1, 6);
    assert_eq!(run.breaks(&[(Rule::Lost, 4)]).lost, 4);
}

#[test]
fn a_trigger_that_nobody_looked_at_any_more() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND)).next_fire = Some(at(8000));
    run.seconds("a", 1, 7);
    let verdict = run.breaks(&[(Rule::Lost, 3)]);
    assert!(verdict.violations[0].text.contains("still due"), "{:?}", verdict.violations);
}

#[test]
fn a_trigger_that_waits_for_a_slot_that_was_free() {
    let mut run = Run::new();
    run.until = 30_000;
    run.queue("x").trigger("x", every(10 * SECOND)).next_fire = Some(at(20_000));
    run.done(alone(1, "x", 10_000, 1), 10_005, 12_000);
    run.event(1, 30_000, Event::Left);
    assert_eq!(run.breaks(&[(Rule::Lost, 2)]).waiting, 0);
}

#[test]
fn a_lost_instant_before_those_that_wait() {
    let mut run = Run::new();
    run.queue("x").trigger("x", every(2 * SECOND)).next_fire = Some(at(6000));
    run.done(alone(1, "x", 2000, 1), 2005, 12_000);
    let verdict = run.breaks(&[(Rule::Lost, 1)]);
    assert_eq!(
        (verdict.lost, verdict.waiting),
        (1, 3),
        "4 s was decided about and is gone; 6, 8 and 10 s wait"
    );
}

#[test]
fn an_instant_fired_and_skipped() {
    let mut run = all_but(5);
    run.done(go(5, "a", 5000, 1), 5005, 5010).skip(go(90, "a", 5000, 1), 5000, 1);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn an_instant_skipped_twice() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.skip(go(90, "a", 1000, 1), 4000, 4).skip(go(91, "a", 4000, 1), 6000, 3).seconds("a", 7, 10);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn a_skip_that_counts_wrongly() {
    let mut run = Run::new();
    run.trigger("a", every(SECOND));
    run.skip(go(90, "a", 1000, 1), 4000, 3).seconds("a", 5, 10);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn an_instant_that_is_none() {
    let mut run = all_but(5);
    run.done(go(5, "a", 5000, 1), 5005, 5010).done(go(50, "a", 5500, 1), 5505, 5510);
    run.breaks(&[(Rule::Misaccounted, 1)]);
}

#[test]
fn a_run_without_tables_or_journals() {
    let verdict = Checker::new(Window { from: at(0), until: at(1) }).verdict();
    assert_eq!(verdict.count(Rule::Incomplete), 2);
}

#[test]
fn a_line_torn_in_the_middle() {
    let run = all_but(5);
    let text = lines(&run.journal);
    let cut = text.find("},").unwrap();
    let torn = format!("{}\n{}", &text[..cut], text.split_once('\n').unwrap().1);
    let error = run.checker().journal(torn.as_bytes(), "n1.jsonl").unwrap_err();
    assert_eq!((error.source_name.as_str(), error.line), ("n1.jsonl", 3));
    let foreign = run.checker().bodies("{\"body\":\"yawn\"}\n".as_bytes(), "bodies").unwrap_err();
    assert!(foreign.to_string().starts_with("bodies, line 1: "), "{foreign}");
}
