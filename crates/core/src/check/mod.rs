//! What should not be in a store: the rules, what a look found, and what is done about it.
//!
//! Nothing that a cluster does leads to these states: each has a hand, a restored backup, a defect or a lost guarantee of
//! the database behind it. A store reads and mends ([`Check`]); which states are wrong, which of them pass by themselves,
//! and what a repair does is said here.

mod definition;
mod finding;
mod rule;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

pub use self::definition::{Copies, DefinitionRow};
pub use self::finding::{Finding, Place};
pub use self::rule::{Remedy, Rule};
use crate::error::Result;
use crate::inspect::{ExecutionFilter, Inspect, MAX_PAGE};
use crate::key::TriggerId;
use crate::store::{Poison, PoisonRow, Readable};
use crate::time::Timestamp;

/// How long after a first look the second one is due, for what may pass by itself.
///
/// Longer than one check-in of every published profile, and three rounds of
/// [`wake_waiting`](crate::JobStore::wake_waiting): a cluster in which somebody is at work has dealt with it by then.
pub const PAUSE: Duration = Duration::from_secs(15);

/// Looks for what should not be in a store, and mends it.
///
/// # Contract
/// * A look takes no lock and changes nothing. Each rule reads one snapshot.
/// * A repair is one atomic step. It compares everything that the finding says, and writes only if the very same is found
///   again; the repair and its record are committed together, or neither is.
/// * A slot is freed as [`settle`](crate::JobStore::settle) frees it: whoever waits for it is woken.
#[async_trait]
pub trait Check: fmt::Debug + Send + Sync {
    /// Rows that contradict one another, of each rule at most `limit`.
    async fn contradictions(&self, limit: u32) -> Result<Vec<Finding>>;

    /// What is wrong with triggers after an id, and with their jobs: at most `limit` triggers by id, as
    /// [`DefinitionRow::findings`] judges them. A job is spoken of once for each of its triggers.
    async fn definitions(&self, after: Option<TriggerId>, limit: u32) -> Result<Definitions>;

    /// Mends what was found, if it is still exactly so, and records that it was done `by` somebody.
    ///
    /// [`Mended::Changed`] if it is not so any more, or if the rule has no repair.
    async fn repair(&self, finding: &Finding, by: &str) -> Result<Mended>;

    /// Repairs that were recorded before a time, newest first, at most `limit`.
    async fn repairs(&self, before: Option<Timestamp>, limit: u32) -> Result<Vec<RepairRecord>>;
}

/// A page of what [`Check::definitions`] looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// The last trigger that was looked at; `None` if there was none left.
    pub last: Option<TriggerId>,
}

/// What became of a repair.
#[must_use = "what has changed is to be looked at again"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It was written and recorded.
    Done,
    /// It is not so any more; nothing was written.
    Changed,
}

/// A repair as the store remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepairRecord {
    /// When, on the store's clock.
    pub at: Timestamp,
    /// The word of the rule. Text, because a later version may know rules that this one does not.
    pub rule: Box<str>,
    /// Which row.
    pub place: Box<str>,
    /// What was found.
    pub detail: Box<str>,
    /// Who did it.
    pub by: Box<str>,
}

/// Looks for everything that a repair or a node of the cluster can do something about: contradictions and definitions.
/// Of each rule at most `limit` findings; ordered by rule and place, each once.
///
/// # Errors
/// Those of the store.
pub async fn look(check: &dyn Check, limit: u32) -> Result<Vec<Finding>> {
    let mut found: BTreeSet<Finding> = check.contradictions(limit).await?.into_iter().collect();
    let mut after = None;
    loop {
        let Definitions { findings, last } = check.definitions(after, PAGE).await?;
        found.extend(findings);
        if last.is_none() {
            break;
        }
        after = last;
    }
    let mut of_rule = 0;
    let mut rule = None;
    let within_limit = |finding: &Finding| {
        of_rule = if rule == Some(finding.rule) { of_rule + 1 } else { 1 };
        rule = Some(finding.rule);
        of_rule <= limit
    };
    Ok(found.into_iter().filter(within_limit).collect())
}

/// How many triggers a look reads at once.
const PAGE: u32 = 1_000;

/// Live rows that cannot be understood, at most `limit`. Reads them all: a node that claims such a row sets it aside
/// ([`Rule::Held`]), so this is for people who cannot wait for that.
///
/// # Errors
/// Those of the store.
pub async fn unreadable(inspect: &dyn Inspect, limit: u32) -> Result<Vec<Finding>> {
    let mut found = Vec::new();
    let mut filter = ExecutionFilter::default();
    loop {
        let rows = inspect.executions(filter.clone()).await?;
        let is_last = rows.len() < usize::try_from(MAX_PAGE).unwrap_or(usize::MAX);
        for row in rows {
            filter.after = match row {
                Readable::Row(row) => Some(row.id),
                Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason }) => {
                    found.push(Finding::unreadable(claim, &reason));
                    Some(claim.id)
                }
                Readable::Poison(Poison { row: PoisonRow::Trigger { .. }, .. }) => filter.after,
            };
            if found.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                return Ok(found);
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}

/// Whether a second look is needed before it is known which of these count.
pub fn needs_second_look(first: &[Finding]) -> bool {
    first.iter().any(|finding| finding.rule.passes())
}

/// What counts of two looks that were [`PAUSE`] apart: of what may pass by itself only what both found, the very same; of
/// the rest what the second found.
pub fn confirmed(first: &[Finding], second: Vec<Finding>) -> Vec<Finding> {
    second.into_iter().filter(|finding| !finding.rule.passes() || first.contains(finding)).collect()
}

#[cfg(test)]
mod tests;
