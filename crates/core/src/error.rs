//! The one error of stores and of the scheduler: what happened, where, and what to do about it.
//!
//! Losing a race is not in here: it is a value of the step that lost it.

use std::error::Error as StdError;
use std::fmt;

/// What the caller should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something with this name or id exists. Choose another name, or change what is there.
    AlreadyExists,
    /// Stored data cannot be read. Repair the row that the message names; other rows are not affected.
    Corrupt,
    /// The caller's claim has passed to somebody else. Stop the work, and undo what is not in the database.
    Fenced,
    /// A defect in Punctual or in a store. Please report it with the message.
    Internal,
    /// The request itself is wrong. Correct what the message names; repeating it as it is cannot help.
    Invalid,
    /// Nothing has this name or id. It may have been deleted meanwhile.
    NotFound,
    /// The store cannot be reached or is busy. Every step may be repeated.
    Unavailable,
    /// This store, or this version of its server, cannot do that.
    Unsupported,
}

impl ErrorKind {
    /// Whether the same call may succeed later without any change.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyExists => "already exists",
            Self::Corrupt => "corrupt",
            Self::Fenced => "fenced",
            Self::Internal => "internal",
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Unavailable => "unavailable",
            Self::Unsupported => "unsupported",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error of a store step or of the scheduler.
///
/// `Display` gives `operation: message`; the cause is reached through [`StdError::source`] and not repeated.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a step of a store answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an error. `message` names the thing and the next step; lower case, no full stop.
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, operation, message: message.into(), source: None }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Shorthand for [`ErrorKind::Invalid`].
    pub fn invalid(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, operation, message)
    }

    /// Shorthand for [`ErrorKind::NotFound`].
    pub fn not_found(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, operation, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, operation, message)
    }

    /// Shorthand for [`ErrorKind::Corrupt`].
    pub fn corrupt(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, operation, message)
    }

    /// Shorthand for [`ErrorKind::Unavailable`].
    pub fn unavailable(operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, operation, message)
    }

    /// What the caller should do next.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The step that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What happened, without the operation.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The error and its causes in one line, for logs and for people.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
