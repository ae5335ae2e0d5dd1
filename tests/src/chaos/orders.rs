//! What a worker is told at its start, and in lines on its standard input afterwards.

use std::path::PathBuf;

use punctual::core::store::hook::{Side, StatementPoint};
use serde::{Deserialize, Serialize};

/// What a worker is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Duty {
    /// Where the store is: a path or a URL.
    pub database: String,
    /// The node's name, for people.
    pub name: String,
    /// The name of the node's profile.
    pub profile: String,
    /// The file of the node's events.
    pub journal: PathBuf,
    /// The file of all bodies' own lines.
    pub bodies: PathBuf,
    /// The file of what the worker does to itself, and of commands that it has carried out.
    pub faults: PathBuf,
    /// The file of moments that it was struck at.
    pub moments: PathBuf,
    /// What its store gets wrong, if anything.
    pub mutant: Option<String>,
}

/// What a worker is told to do. Its standard input is also its life line: it stops in good order when that closes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// To end or stop itself at the next such moment.
    Strike(Strike),
    /// To strike no more.
    Calm,
    /// To claim nothing.
    Standby,
    /// To claim again.
    Resume,
    /// To take its wall clock for so much later, or earlier.
    SetClock {
        /// Seconds from the true time.
        seconds: i64,
    },
}

/// A blow that a process deals itself at a moment that nobody else could hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strike {
    /// What happens.
    pub blow: Blow,
    /// When.
    pub moment: Moment,
    /// In which step; in any that writes if it is none.
    pub step: Option<String>,
    /// How much later than the moment, in microseconds, while the statement is under way.
    pub delay_us: u64,
}

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blow {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
}

/// A moment within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Before a statement is sent.
    Before,
    /// After its answer has come.
    After,
    /// Within the transaction, after its first statement, before its commit.
    Inside,
    /// Before the commit is sent.
    BeforeCommit,
    /// While the commit is under way.
    InCommit,
    /// After the commit was answered.
    AfterCommit,
}

/// Steps that are only one statement, whose commit is their own.
fn is_alone(point: &StatementPoint<'_>) -> bool {
    point.index == 0 && !begins(point.statement)
}

fn begins(statement: &str) -> bool {
    ["BEGIN", "START TRANSACTION"].iter().any(|word| statement.starts_with(word))
}

/// Whether a statement is a commit.
pub fn is_commit(statement: &str) -> bool {
    statement == "COMMIT"
}

/// The steps that write, and that a strike without a step waits for.
pub const WRITING: &[&str] = &["claim", "claim_ready", "settle", "check_in", "begin", EFFECT];

/// The name under which a body's own transaction, which completes it, is told of.
pub const EFFECT: &str = "effect";

impl Strike {
    /// Whether this is the moment.
    pub fn fits(&self, point: &StatementPoint<'_>) -> bool {
        let step = match &self.step {
            Some(step) => step == point.step,
            None => WRITING.contains(&point.step),
        };
        let commit = is_commit(point.statement);
        step && match self.moment {
            Moment::Before => point.side == Side::Before,
            Moment::After => point.side == Side::After,
            Moment::Inside => point.side == Side::After && point.index > 0 && !commit,
            Moment::BeforeCommit | Moment::InCommit => {
                point.side == Side::Before && (commit || is_alone(point))
            }
            Moment::AfterCommit => point.side == Side::After && (commit || is_alone(point)),
        }
    }
}

/// A moment that a worker was struck at, or that had passed before the blow came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The blow is dealt now.
    Struck(Moment),
    /// The commit was answered before the blow came.
    Passed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(statement: &str, index: u32, side: Side) -> StatementPoint<'_> {
        StatementPoint { step: "claim", statement, index, side }
    }

    #[test]
    fn a_strike_waits_for_its_moment() {
        let strike = |moment| Strike { blow: Blow::Kill, moment, step: None, delay_us: 0 };
        let within = point("UPDATE x", 2, Side::After);
        let commit = point("COMMIT", 3, Side::Before);
        assert!(strike(Moment::Inside).fits(&within) && !strike(Moment::Inside).fits(&commit));
        assert!(strike(Moment::InCommit).fits(&commit) && !strike(Moment::InCommit).fits(&within));
        assert!(strike(Moment::InCommit).fits(&point("WITH x", 0, Side::Before)), "it is alone");
        assert!(!strike(Moment::InCommit).fits(&point("BEGIN IMMEDIATE", 0, Side::Before)));
        let elsewhere = Strike { step: Some("settle".to_owned()), ..strike(Moment::InCommit) };
        assert!(!elsewhere.fits(&commit));
        assert!(!strike(Moment::Before).fits(&StatementPoint { step: "read_due", ..commit }));
    }
}
