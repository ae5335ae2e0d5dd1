//! Pauses of triggers and of groups of triggers.
//!
//! A trigger has at most one pause of its own, and its group at most one: each is lifted for itself, and the trigger goes
//! on when neither is left. A pause holds back what has not been claimed; work that was claimed before, waits for another
//! attempt or was enqueued goes on.
//!
//! A group is paused by its row and by a write of each of its triggers, not by the gates of the nodes: so a claim that was
//! planned before loses those triggers alone, and what is paused is not among what a node reads.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Who stopped something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it was asked for, on the store's clock.
    pub since: Timestamp,
    /// Who did it: a person, a program.
    pub by: Box<str>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Box<str>>,
}

impl Pause {
    /// The longest name of who pauses, in bytes.
    pub const MAX_BY: usize = 200;
    /// The longest reason, in bytes.
    pub const MAX_REASON: usize = 2_000;

    /// Makes a pause.
    ///
    /// # Errors
    /// `Invalid` if `by` is empty or longer than [`Pause::MAX_BY`], or the reason is longer than [`Pause::MAX_REASON`].
    pub fn new(by: &str, reason: Option<&str>, since: Timestamp) -> Result<Self> {
        if by.trim().is_empty() || by.len() > Self::MAX_BY {
            let message = format!("who pauses is named in 1 to {} bytes; {by:?} is not", Self::MAX_BY);
            return Err(Error::invalid("pause", message));
        }
        if let Some(reason) = reason.filter(|reason| reason.len() > Self::MAX_REASON) {
            let message =
                format!("a reason has at most {} bytes, this one {}", Self::MAX_REASON, reason.len());
            return Err(Error::invalid("pause", message));
        }
        Ok(Self { since, by: by.into(), reason: reason.map(Into::into) })
    }
}

/// The pause of a group of triggers. The group need not have any: those that come are paused too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PausedGroup {
    /// The group.
    pub group: Box<str>,
    /// Its pause.
    pub pause: Pause,
}
