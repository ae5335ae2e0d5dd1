//! Figures of a comparison, and the cases that nothing explains.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::answer::Answer;

/// How many unexplained cases are printed.
const SHOWN: usize = 10;

/// What came out for one file or for all.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) equal: u64,
    pub(super) deviations: BTreeMap<&'static str, u64>,
    /// Cases without any unmarked answer.
    pub(super) all_marked: u64,
    unexplained: u64,
    answers: u64,
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
    pub(super) fn count(&mut self, answer: &Answer) {
        match (answer.marked, answer.is_same()) {
            (false, _) => self.answers += 1,
            (true, true) => self.marked_same += 1,
            (true, false) => self.marked_different += 1,
        }
    }

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
        self.marked_same += other.marked_same;
        self.marked_different += other.marked_different;
        self.shown.extend(other.shown);
    }

    pub(super) fn is_good(&self) -> bool {
        self.unexplained == 0
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = &Unexplained> {
        self.shown.iter().take(SHOWN)
    }

    /// Cases with an unmarked answer.
    fn cases(&self) -> u64 {
        self.equal + self.deviations.values().sum::<u64>() + self.unexplained
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "cases": self.cases(),
            "answers": self.answers,
            "equal": self.equal,
            "deviations": self.deviations,
            "unexplained": self.unexplained,
            "all_marked": self.all_marked,
            "marked_same": self.marked_same,
            "marked_different": self.marked_different,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cases = self.cases();
        write!(f, "{cases} cases with {} unmarked answers: {} equal, ", self.answers, self.equal)?;
        for (reason, count) in &self.deviations {
            let hundredths = (count * 10_000).checked_div(cases).unwrap_or(0);
            write!(f, "{count} {reason} ({}.{:02} %), ", hundredths / 100, hundredths % 100)?;
        }
        write!(
            f,
            "{} unexplained; marked answers: {} same, {} different",
            self.unexplained, self.marked_same, self.marked_different
        )
    }
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
