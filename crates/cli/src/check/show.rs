//! The findings and repairs as tables and as JSON.

use std::collections::BTreeSet;

use punctual_core::check::{Finding, Remedy, RepairRecord, Rule};
use serde_json::{Value, json};

use super::{Fate, Shown};
use crate::look::{columns, text};

/// The longest detail in a table; JSON has all of it.
const DETAIL: usize = 80;

/// The table of what was found, and for each rule what is wrong and what is done about it.
pub(super) fn findings(shown: &[Shown]) -> String {
    if shown.is_empty() {
        return "Nothing was found that should not be there.".to_owned();
    }
    let rows = shown.iter().map(|Shown { finding, .. }| {
        vec![
            finding.rule.to_string(),
            finding.place.to_string(),
            text::cut(&text::one_line(&finding.detail), DETAIL),
            who(finding.rule).to_owned(),
        ]
    });
    let mut lines = vec![columns(&["RULE", "WHERE", "WHAT", "MENDED BY"], &[], rows)];
    let rules: BTreeSet<Rule> = shown.iter().map(|shown| shown.finding.rule).collect();
    for rule in rules {
        lines.push(format!("\n{rule}: {}\n  {}", rule.wrong(), rule.remedy().sentence()));
    }
    lines.join("\n")
}

/// Who mends what breaks a rule.
const fn who(rule: Rule) -> &'static str {
    match rule.remedy() {
        Remedy::Repair(_) => "--repair",
        Remedy::Nodes(_) => "a node",
        Remedy::Person(_) => "you",
    }
}

/// What was done, in the last line; before it what had changed.
pub(super) fn sum(shown: &[Shown], repair: bool) -> String {
    if shown.is_empty() {
        return "0 findings.".to_owned();
    }
    let count = |fate| shown.iter().filter(|shown| shown.fate == fate).count();
    let (mended, changed, left) = (count(Fate::Mended), count(Fate::Changed), count(Fate::Left));
    let mut lines = vec![String::new()];
    let is_changed = |shown: &&Shown| shown.fate == Fate::Changed;
    for Shown { finding, .. } in shown.iter().filter(is_changed) {
        lines.push(format!("{}: {} has changed since, and was left alone", finding.rule, finding.place));
    }
    lines.push(if repair {
        format!("{}: {mended} mended, {changed} changed meanwhile, {left} left.", of(shown.len()))
    } else {
        let safe = shown.iter().filter(|shown| shown.finding.rule.has_repair()).count();
        format!("{}; `punctual check --repair` mends {safe}.", of(shown.len()))
    });
    lines.join("\n")
}

fn of(count: usize) -> String {
    if count == 1 { "1 finding".to_owned() } else { format!("{count} findings") }
}

pub(super) fn findings_json(shown: &[Shown], repair: bool) -> String {
    let one = |Shown { finding, fate }: &Shown| {
        let Finding { rule, place, detail } = finding;
        let fate = match fate {
            Fate::Left => "left",
            Fate::Mended => "mended",
            Fate::Changed => "changed",
        };
        json!({
            "rule": rule.as_str(),
            "where": place.to_string(),
            "what": detail,
            "mended_by": who(*rule),
            "remedy": rule.remedy().sentence(),
            "fate": fate,
        })
    };
    let findings: Vec<Value> = shown.iter().map(one).collect();
    let left = shown.iter().filter(|shown| shown.fate == Fate::Left).count();
    json!({ "findings": findings, "repair": repair, "left": left }).to_string()
}

pub(super) fn repairs(repairs: &[RepairRecord]) -> String {
    if repairs.is_empty() {
        return "No repair was ever made.".to_owned();
    }
    let rows = repairs.iter().map(|repair| {
        vec![
            text::instant(repair.at),
            repair.rule.to_string(),
            repair.place.to_string(),
            text::cut(&text::one_line(&repair.detail), DETAIL),
            repair.by.to_string(),
        ]
    });
    columns(&["AT", "RULE", "WHERE", "WHAT", "BY"], &[], rows)
}

pub(super) fn repairs_json(repairs: &[RepairRecord]) -> String {
    let one = |repair: &RepairRecord| {
        let RepairRecord { at, rule, place, detail, by } = repair;
        json!({ "at": text::instant(*at), "rule": rule, "where": place, "what": detail, "by": by })
    };
    json!({ "repairs": repairs.iter().map(one).collect::<Vec<Value>>() }).to_string()
}
