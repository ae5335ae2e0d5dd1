//! What a node has its store do, and how long it waits for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use punctual_core::Clock;
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_runtime::SystemClock;
use serde::{Deserialize, Serialize};

/// Counts the statements of a store, and measures from each one's beginning to its answer.
#[derive(Debug, Default)]
pub(crate) struct Statements(Mutex<BTreeMap<(&'static str, String), Kept>>);

/// The statements of a sort.
#[derive(Debug, Default)]
struct Kept {
    count: u64,
    micros: u64,
    /// When those began that have no answer yet, on the clock since boot. An answer is taken for that of the last one: a
    /// statement that failed gets none, and must not be measured until the answers of all that come after it.
    begun: Vec<u64>,
}

/// What was counted of a sort of statements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// The step that they are of.
    pub(crate) step: String,
    /// What they do, and to which table.
    pub(crate) what: String,
    pub(crate) count: u64,
    /// From their beginnings to their answers.
    pub(crate) micros: u64,
}

impl Statements {
    /// Everything so far, by step and sort.
    pub(crate) fn so_far(&self) -> Vec<Spent> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let spent = kept.iter().map(|((step, what), kept)| Spent {
            step: (*step).to_owned(),
            what: what.clone(),
            count: kept.count,
            micros: kept.micros,
        });
        spent.collect()
    }

    fn note(&self, point: &StatementPoint<'_>, now: u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.entry((point.step, sort(point.statement))).or_default();
        match point.side {
            Side::Before => {
                kept.count += 1;
                kept.begun.push(now);
            }
            Side::After => {
                kept.micros += kept.begun.pop().map_or(0, |begun| now.saturating_sub(begun));
            }
        }
    }
}

impl StatementHook for Statements {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        self.note(point, SystemClock.boot().as_micros());
        HookAnswer::Continue
    }
}

/// The number of statements in an account.
pub(crate) fn total(spent: &[Spent]) -> u64 {
    spent.iter().map(|spent| spent.count).sum()
}

/// What was spent between two accounts of a node.
pub(crate) fn between(before: &[Spent], after: &[Spent]) -> Vec<Spent> {
    let rest = |now: &Spent| {
        let then = before.iter().find(|then| (&then.step, &then.what) == (&now.step, &now.what));
        let (count, micros) = then.map_or((0, 0), |then| (then.count, then.micros));
        Spent {
            count: now.count.saturating_sub(count),
            micros: now.micros.saturating_sub(micros),
            ..now.clone()
        }
    };
    after.iter().map(rest).filter(|spent| spent.count > 0).collect()
}

/// The accounts of several nodes as one, what took the longest first.
pub(crate) fn together(nodes: impl IntoIterator<Item = Vec<Spent>>) -> Vec<Spent> {
    let mut sums: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    for spent in nodes.into_iter().flatten() {
        let sum = sums.entry((spent.step, spent.what)).or_default();
        *sum = (sum.0 + spent.count, sum.1 + spent.micros);
    }
    let mut all: Vec<Spent> =
        sums.into_iter().map(|((step, what), (count, micros))| Spent { step, what, count, micros }).collect();
    all.sort_by_key(|spent| std::cmp::Reverse(spent.micros));
    all
}

/// What a statement changes, each verb with its table, in the order of its text. One that changes nothing is named by its
/// first word, and a read by the first table as well.
fn sort(statement: &str) -> String {
    let words: Vec<&str> = statement.split_ascii_whitespace().take(2_000).collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let is = |at: usize, name: &str| word(at).trim_start_matches('(').eq_ignore_ascii_case(name);
    let verbs = ["INSERT", "UPDATE", "DELETE"];
    let verb = |at: &usize| {
        // Not `FOR UPDATE`, `ON DUPLICATE KEY UPDATE`, `DO UPDATE`.
        let another = *at > 0 && ["FOR", "KEY", "DO", "NO"].iter().any(|name| is(*at - 1, name));
        verbs.iter().any(|name| is(*at, name)) && !another
    };
    let changes: Vec<usize> = (0..words.len()).filter(verb).collect();
    let target = |at: usize| {
        let skipped = ["INTO", "FROM", "IGNORE", "OR", "ONLY"];
        let name = (at + 1..words.len()).find(|at| !skipped.iter().any(|name| is(*at, name)))?;
        Some(plain(word(name)))
    };
    if !changes.is_empty() {
        let parts: Vec<String> = changes
            .iter()
            .map(|at| format!("{} {}", plain(word(*at)).to_uppercase(), target(*at).unwrap_or_default()))
            .collect();
        return parts.join(", ");
    }
    let first = plain(word(0)).to_uppercase();
    if first != "SELECT" && first != "WITH" {
        return first;
    }
    let from = (0..words.len()).filter(|at| is(*at, "FROM")).filter_map(target);
    let table = from.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
    format!("SELECT {table}").trim_end().to_owned()
}

/// A name without its schema and whatever stands around it.
fn plain(word: &str) -> String {
    let word = word.trim_start_matches('(');
    let end = word.find(['(', ')', ',', ';']).unwrap_or(word.len());
    let word = word.get(..end).unwrap_or_default();
    let word = word.rsplit('.').next().unwrap_or_default();
    word.trim_matches(['"', '`']).trim_start_matches("punctual_").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_sorted_by_what_they_change() {
        let of = [
            ("SELECT id, wake FROM punctual_trigger WHERE a = ? FOR UPDATE SKIP LOCKED", "SELECT trigger"),
            ("INSERT INTO \"punctual\".history (a, b) VALUES ($1, $2)", "INSERT history"),
            (
                "WITH a AS (SELECT 1), b AS (UPDATE p.trigger SET x = 1 RETURNING 1) DELETE FROM p.execution",
                "UPDATE trigger, DELETE execution",
            ),
            ("INSERT INTO punctual_slot(a) VALUES (1) ON DUPLICATE KEY UPDATE a = 1", "INSERT slot"),
            ("BEGIN IMMEDIATE", "BEGIN"),
            ("COMMIT", "COMMIT"),
            ("SELECT 1", "SELECT"),
            ("", ""),
        ];
        for (statement, what) in of {
            assert_eq!(sort(statement), what, "{statement}");
        }
    }

    #[test]
    fn a_statement_without_an_answer_spoils_no_other() {
        let statements = Statements::default();
        let at = |side, millis: u64| {
            let point = StatementPoint { step: "claim", statement: "COMMIT", index: 1, side };
            statements.note(&point, millis * 1_000);
        };
        for (side, millis) in [(Side::Before, 0), (Side::Before, 1_000), (Side::After, 1_003)] {
            at(side, millis);
        }
        let so_far = statements.so_far();
        let spent = Spent { step: "claim".into(), what: "COMMIT".into(), count: 2, micros: 3_000 };
        assert_eq!(so_far.as_slice(), std::slice::from_ref(&spent));
        at(Side::Before, 2_000);
        at(Side::After, 2_001);
        let rest = between(&so_far, &statements.so_far());
        assert_eq!(rest, [Spent { count: 1, micros: 1_000, ..spent }]);
        let both = together([rest.clone(), rest]);
        assert_eq!((total(&both), both[0].micros), (2, 2_000));
    }
}
