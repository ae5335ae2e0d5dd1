//! That the rules hang together, that two looks are compared as they should be, and what is wrong with definitions.

use std::collections::BTreeSet;

use super::*;
use crate::key::{Fence, NodeId};
use crate::record::{JobRow, PayloadRow, TriggerRow};

#[test]
fn the_words_are_unique_and_the_sentences_whole() {
    let words: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
    assert_eq!(words.len(), Rule::ALL.len());
    assert!(Rule::ALL.is_sorted());
    for rule in Rule::ALL {
        let kebab = |c: char| c.is_ascii_lowercase() || c == '-';
        assert!(rule.as_str().chars().all(kebab), "{rule}");
        for sentence in [rule.wrong(), rule.remedy().sentence()] {
            assert!(sentence.ends_with('.') && sentence.starts_with(char::is_uppercase), "{sentence}");
        }
    }
}

fn orphan(fence: i64) -> Finding {
    Finding::orphan(([1; 16], Some(7), fence), None)
}

#[test]
fn what_may_pass_counts_only_if_both_looks_found_the_very_same() {
    let beat = Finding::beat(3, 4);
    assert!(needs_second_look(&[orphan(1)]) && !needs_second_look(std::slice::from_ref(&beat)));
    assert_eq!(confirmed(&[orphan(1)], vec![orphan(1), beat.clone()]), [orphan(1), beat]);
    assert_eq!(confirmed(&[orphan(1)], vec![orphan(2)]), [], "it has moved on");
    assert_eq!(confirmed(&[], vec![orphan(1)]), [], "it is new");
}

#[test]
fn an_owner_that_nobody_has_is_not_in_the_place() {
    let id = crate::key::ExecutionId::from_bytes([1; 16]);
    let claim = crate::store::ClaimRef { id, owner: NodeId::from_stored(0), fence: Fence::NONE };
    let place = Finding::unreadable(claim, "why").place;
    assert!(matches!(place, Place::Execution { owner: None, .. }), "{place:?}");
}

fn sound() -> DefinitionRow {
    let payload =
        PayloadRow { codec: Some("json".to_owned()), version: Some(1), data: Some(b"null".to_vec()) };
    let job = JobRow {
        id: 2,
        group_name: "g".to_owned(),
        name: "j".to_owned(),
        kind: "work".to_owned(),
        spec: r#"{"concurrency":{"key":"k","limit":2,"when_busy":"queue"}}"#.to_owned(),
        payload,
        priority: 3,
        durable: 1,
        slot_key: Some("k".to_owned()),
        slot_limit: Some(2),
        ..JobRow::default()
    };
    let trigger = TriggerRow {
        id: 1,
        group_name: "g".to_owned(),
        name: "t".to_owned(),
        job_id: 2,
        spec: r#"{"schedule":{"type":"once","at":5},"calendar":"c"}"#.to_owned(),
        priority: 4,
        state: 1,
        next_fire_us: Some(5),
        wake_us: Some(5),
        calendar: Some("c".to_owned()),
        ..TriggerRow::default()
    };
    let (kind, slot_key) = ("work".to_owned(), Some(Some("k".to_owned())));
    DefinitionRow {
        trigger,
        kind,
        rank: 7,
        slot_key,
        has_calendar: true,
        group_is_paused: false,
        job: Some(job),
        bad: None,
    }
}

fn rules(change: impl FnOnce(&mut DefinitionRow)) -> Vec<Rule> {
    let mut row = sound();
    change(&mut row);
    let findings = row.findings();
    for finding in &findings {
        assert_eq!(row.mend(finding).is_some(), finding.rule.has_repair(), "{finding:?}");
    }
    findings.into_iter().map(|finding| finding.rule).collect()
}

fn job(row: &mut DefinitionRow) -> &mut JobRow {
    row.job.as_mut().unwrap()
}

#[test]
fn each_mistake_in_a_definition_is_found_by_its_rule() {
    assert_eq!(sound().findings(), []);
    assert_eq!(rules(|row| row.kind = "other".to_owned()), [Rule::TriggerCopies]);
    assert_eq!(rules(|row| row.rank = 4), [Rule::TriggerCopies]);
    assert_eq!(rules(|row| row.trigger.calendar = None), [Rule::TriggerCopies]);
    assert_eq!(rules(|row| row.slot_key = Some(None)), [Rule::TriggerCopies]);
    assert_eq!(rules(|row| row.slot_key = None), [], "a store whose triggers have no such copy");
    assert_eq!(rules(|row| job(row).slot_limit = None), [Rule::JobCopies]);
    assert_eq!(rules(|row| job(row).slot_key = None), [Rule::JobCopies]);
    assert_eq!(rules(|row| row.has_calendar = false), [Rule::CalendarMissing]);
    assert_eq!(rules(|row| row.trigger.next_fire_us = None), [Rule::ActiveWithoutNext]);
    assert_eq!(rules(|row| row.trigger.wake_us = None), [Rule::ActiveWithoutNext]);
    let complete = |row: &mut DefinitionRow| (row.trigger.state, row.trigger.next_fire_us) = (2, None);
    assert_eq!(rules(complete), []);
    assert_eq!(rules(|row| row.trigger.state = 3), [Rule::TriggerInError]);
    let own = |row: &mut DefinitionRow| row.trigger.paused = Some(r#"{"since":5,"by":"Ada"}"#.to_owned());
    assert_eq!(rules(own), [Rule::PauseDiffers]);
    assert_eq!(rules(|row| row.group_is_paused = true), [Rule::PauseDiffers]);
    assert_eq!(rules(|row| row.trigger.state = 4), [Rule::PauseDiffers], "nothing pauses it");
    let paused = |row: &mut DefinitionRow| (row.trigger.state, row.group_is_paused) = (4, true);
    assert_eq!(rules(paused), []);
}

#[test]
fn what_cannot_be_understood_is_named_with_its_column() {
    let mut row = sound();
    row.trigger.spec = "{".to_owned();
    let found = row.findings();
    assert_eq!(found.len(), 1);
    assert!(found[0].rule == Rule::Unreadable && found[0].detail.contains("trigger.spec"), "{found:?}");
    let mut row = sound();
    job(&mut row).kind = String::new();
    let found = row.findings();
    assert!(found[0].place.to_string() == "job g/j" && found[0].detail.contains("job.kind"), "{found:?}");
    let mut row = sound();
    row.job = None;
    assert_eq!(row.findings()[0].rule, Rule::JobMissing);
}

#[test]
fn a_repair_is_not_made_for_what_has_changed() {
    let mut row = sound();
    row.rank = 4;
    let finding = row.findings().remove(0);
    row.trigger.rev += 1;
    assert_eq!(row.mend(&finding), None);
}
