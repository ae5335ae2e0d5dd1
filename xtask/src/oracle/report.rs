//! Figures of a comparison, and the cases that nothing explains.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::Verdict;
use super::answer::Answer;

/// How many unexplained cases are printed.
const SHOWN: usize = 10;

/// What came out for one file or for all: first in cases, then in single answers.
#[derive(Debug, Default)]
pub(super) struct Report {
    equal: u64,
    deviations: BTreeMap<&'static str, u64>,
    /// Cases without any unmarked answer.
    all_marked: u64,
    unexplained: u64,
    answers: u64,
    deviating_answers: BTreeMap<&'static str, u64>,
    unexplained_answers: u64,
    marked_same: u64,
    marked_different: u64,
    shown: Vec<Unexplained>,
}

/// A case that differs for no reason that is known.
#[derive(Debug)]
pub(super) struct Unexplained {
    text: String,
}

impl Report {
    /// Counts a case and its answers.
    pub(super) fn count(&mut self, case: &Value, answers: &[Answer], verdict: Verdict) {
        let mut different = 0;
        for answer in answers {
            let places = answer.places();
            if answer.marked {
                self.marked_same += places.all - places.different;
                self.marked_different += places.different;
            } else {
                self.answers += places.all;
                different += places.different;
            }
        }
        match verdict {
            Verdict::Marked => self.all_marked += 1,
            Verdict::Equal => self.equal += 1,
            Verdict::Deviates(reason) => {
                *self.deviations.entry(reason.as_str()).or_default() += 1;
                *self.deviating_answers.entry(reason.as_str()).or_default() += different;
            }
            Verdict::Unexplained(answers) => {
                self.unexplained_answers += different;
                self.unexplained(Unexplained::new(case, &answers));
            }
        }
    }

    /// Counts a case that could not even be read.
    pub(super) fn unexplained(&mut self, unexplained: Unexplained) {
        self.unexplained += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(unexplained);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.equal += other.equal;
        for (reason, count) in other.deviations {
            *self.deviations.entry(reason).or_default() += count;
        }
        self.all_marked += other.all_marked;
        self.unexplained += other.unexplained;
        self.answers += other.answers;
        for (reason, count) in other.deviating_answers {
            *self.deviating_answers.entry(reason).or_default() += count;
        }
        self.unexplained_answers += other.unexplained_answers;
        self.marked_same += other.marked_same;
        self.marked_different += other.marked_different;
        self.shown.extend(other.shown);
    }

    /// Whether every difference has its reason.
    pub(super) fn is_good(&self) -> bool {
        self.unexplained == 0
    }

    /// Whether at most one case of a hundred differs.
    pub(super) fn is_within_a_percent(&self) -> bool {
        let different = self.cases() - self.equal;
        different.saturating_mul(100) <= self.cases()
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = &Unexplained> {
        self.shown.iter().take(SHOWN)
    }

    /// Cases with an unmarked answer.
    fn cases(&self) -> u64 {
        self.equal + self.deviations.values().sum::<u64>() + self.unexplained
    }

    /// Single answers that are not marked and differ, for whatever reason.
    fn different_answers(&self) -> u64 {
        self.deviating_answers.values().sum::<u64>() + self.unexplained_answers
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "cases": self.cases(),
            "equal": self.equal,
            "deviations": self.deviations,
            "unexplained": self.unexplained,
            "all_marked": self.all_marked,
            "answers": self.answers,
            "deviating_answers": self.deviating_answers.values().sum::<u64>(),
            "deviating_answers_by_reason": self.deviating_answers,
            "unexplained_answers": self.unexplained_answers,
            "within_a_percent": self.is_within_a_percent(),
            "marked_same": self.marked_same,
            "marked_different": self.marked_different,
        })
    }

    /// The head of the table whose rows [`Report::row`] writes.
    pub(super) fn head() -> String {
        format!(
            "{:<26} {:>6} {:>6} {:>9} {:>8} {:>8}   {:>8} {:>9} {:>8} {:>6}   {:>7} {:>9}",
            "",
            "cases",
            "equal",
            "deviating",
            "",
            "unexpl.",
            "answers",
            "deviating",
            "",
            "≤ 1 %",
            "marked:",
            "different",
        )
    }

    /// One row: the unmarked cases, their single answers, and the marked answers.
    pub(super) fn row(&self, name: &str) -> String {
        let deviating = self.deviations.values().sum::<u64>();
        let different = self.different_answers();
        format!(
            "{name:<26} {:>6} {:>6} {deviating:>9} {:>8} {:>8}   {:>8} {different:>9} {:>8} {:>6}   {:>7} {:>9}",
            self.cases(),
            self.equal,
            share(deviating, self.cases()),
            self.unexplained,
            self.answers,
            share(different, self.answers),
            if self.is_within_a_percent() { "yes" } else { "NO" },
            self.marked_same,
            self.marked_different,
        )
    }

    /// Why cases deviate, with both figures.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        self.deviations.iter().map(|(reason, cases)| {
            let answers = self.deviating_answers.get(reason).copied().unwrap_or(0);
            format!("  {reason}: {cases} cases, {answers} answers")
        })
    }
}

/// Hundredths of a percent.
fn share(part: u64, whole: u64) -> String {
    let hundredths = part.saturating_mul(10_000).checked_div(whole).unwrap_or(0);
    format!("({}.{:02} %)", hundredths / 100, hundredths % 100)
}

impl Unexplained {
    pub(super) fn new(case: &Value, answers: &[Answer]) -> Self {
        let mut text = format!("unexplained: {}", without_answers(case));
        for answer in answers {
            let Answer { question, expected, got, .. } = answer;
            text.push_str(&format!("\n  {question}\n    expected {expected}\n    came     {got}"));
        }
        Self { text }
    }

    pub(super) fn unreadable(line: &str, error: &str) -> Self {
        let start: String = line.chars().take(200).collect();
        Self { text: format!("unexplained: {error}\n  {start}") }
    }
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What was asked: the definitions, without the lists of answers.
fn without_answers(case: &Value) -> Value {
    let mut case = case.clone();
    if let Some(object) = case.as_object_mut() {
        object.retain(|_, value| !value.is_array());
    }
    case
}
