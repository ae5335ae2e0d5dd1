//! Why the demo could not be held.

use std::fmt;

use crate::trouble::Trouble;

/// A sentence that says what went wrong, and where.
#[derive(Debug)]
pub(crate) struct Failed {
    text: String,
    /// Whether somebody wanted it so.
    pub(crate) wanted: bool,
}

impl Failed {
    /// Says it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), wanted: false }
    }

    /// Says how somebody ended it.
    pub(crate) fn wanted(text: impl Into<String>) -> Self {
        Self { text: text.into(), wanted: true }
    }

    /// Says what was being done when `cause` came.
    pub(crate) fn at<E: fmt::Display>(doing: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |cause| Self::new(format!("{doing}: {cause}"))
    }
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::new(trouble.to_string())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failed {}
