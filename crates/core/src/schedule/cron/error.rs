//! Why an expression was refused: where, what, and what to write instead.

use crate::error::Error;

/// A cron expression that cannot be read.
///
/// `Display` is one line: `column 7: 32 is not a day of month; use 1 to 31`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {message}; {hint}")]
pub struct CronError {
    column: usize,
    message: String,
    hint: String,
}

impl CronError {
    pub(super) fn new(column: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { column, message: message.into(), hint: hint.into() }
    }

    /// Where, in characters from 1; one more than the text has if something is missing at its end.
    pub fn column(&self) -> usize {
        self.column
    }

    /// What is wrong there.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl From<CronError> for Error {
    fn from(error: CronError) -> Self {
        Self::invalid("cron", error.to_string())
    }
}
