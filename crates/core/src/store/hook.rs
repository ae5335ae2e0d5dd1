//! A view into the middle of a step, for tests that stop, cut or kill it between two statements.
//!
//! SQL stores take a hook by a hidden setting of their builders. Without one a step pays one comparison a statement.

use std::fmt;

/// Is told of each statement of each step.
pub trait StatementHook: fmt::Debug + Send + Sync {
    /// Called before and after each statement, the ones that begin and end a transaction included. It may block, which
    /// holds the step where it is: asynchronous stores call it where blocking is allowed.
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer;

    /// Another text to be run in the place of this statement, which `at` is still told of as it was. Only asked for what
    /// is neither the beginning nor the end of a transaction. Must not block.
    ///
    /// For tests of tests: a statement with a mistake in it must be noticed.
    fn instead_of(&self, statement: &str) -> Option<String> {
        let _ = statement;
        None
    }
}

/// The name under which a store runs what belongs to no step: hints that it sends in the background, now or later.
pub const HINT: &str = "hint";

/// A moment within a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementPoint<'a> {
    /// The step, by the name of its method: `claim`, `settle`, …; or [`HINT`].
    pub step: &'static str,
    /// The text of the statement.
    pub statement: &'a str,
    /// Its place within the step, from 0.
    pub index: u32,
    /// Before or after it.
    pub side: Side,
}

/// A side of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The statement was not sent yet.
    Before,
    /// Its answer is there.
    After,
}

/// How the step goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// As if nothing had been asked.
    Continue,
    /// The connection is closed at once, without another byte; the step fails as with a lost connection.
    Cut,
}
