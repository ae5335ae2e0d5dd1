//! When something is to fire: pure functions from an instant to the next one.
//!
//! A [`Schedule`] is a definition and nothing else. It has no state, reads no clock, and knows neither triggers, nor
//! start and end windows, nor calendars of excluded times. Asked the same question it gives the same answer on every
//! node, provided that the nodes' zone data are the same ([`Zone::data_version`]).
//!
//! The JSON form is canonical: equal definitions have equal bytes. Reading checks everything, because a stored row
//! may have been written by another version or by hand.

mod civil;
mod cron;
mod every;
mod once;
mod walk;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::cron::{Cron, CronError, Dialect, Dst, Gap, Overlap};
pub use self::every::Every;
pub use self::once::Once;
use crate::time::Timestamp;
use crate::zone::Zone;

/// A definition of instants, strictly increasing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// One instant.
    Once(Once),
    /// A fixed interval of elapsed time.
    Every(Every),
    /// Wall times in a zone, by a cron expression.
    Cron(Cron),
}

impl Schedule {
    /// The first instant strictly after `t`, or `None` if there is none any more.
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(once) => once.next_after(t),
            Self::Every(every) => every.next_after(t),
            Self::Cron(cron) => cron.next_after(t),
        }
    }

    /// The first instant at or after `t`.
    pub fn first_from(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(once) => once.first_from(t),
            Self::Every(every) => every.first_from(t),
            Self::Cron(cron) => cron.first_from(t),
        }
    }

    /// The latest instant in `(after, until]`. Cheap, however many instants there are.
    pub fn last_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(once) => once.last_within(after, until),
            Self::Every(every) => every.last_within(after, until),
            Self::Cron(cron) => walk::last_within(|t| cron.next_after(t), after, until),
        }
    }

    /// The number of instants in `(after, until]`, or `None` if there are more than `cap`.
    ///
    /// The cost grows with the answer where there is no closed form; `cap` bounds it.
    pub fn count_within(&self, after: Timestamp, until: Timestamp, cap: u64) -> Option<u64> {
        match self {
            Self::Once(once) => Some(once.count_within(after, until)).filter(|&count| count <= cap),
            Self::Every(every) => Some(every.count_within(after, until)).filter(|&count| count <= cap),
            Self::Cron(cron) => walk::count_within(|t| cron.next_after(t), after, until, cap),
        }
    }

    /// The first `n` instants strictly after `after`, or less if there are no more.
    pub fn next_n(&self, after: Timestamp, n: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after), |&t| self.next_after(t)).take(n).collect()
    }

    /// The zone whose wall time the instants follow, if any.
    pub fn zone(&self) -> Option<&Zone> {
        match self {
            Self::Once(_) | Self::Every(_) => None,
            Self::Cron(cron) => Some(cron.zone()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(once) => once.fmt(f),
            Self::Every(every) => every.fmt(f),
            Self::Cron(cron) => cron.fmt(f),
        }
    }
}

impl From<Once> for Schedule {
    fn from(once: Once) -> Self {
        Self::Once(once)
    }
}

impl From<Every> for Schedule {
    fn from(every: Every) -> Self {
        Self::Every(every)
    }
}

impl From<Cron> for Schedule {
    fn from(cron: Cron) -> Self {
        Self::Cron(cron)
    }
}

#[cfg(test)]
mod tests;
