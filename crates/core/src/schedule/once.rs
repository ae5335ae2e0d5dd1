//! One instant.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Fires once, at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Once {
    at: Timestamp,
}

impl Once {
    /// Fires at `at`.
    pub const fn new(at: Timestamp) -> Self {
        Self { at }
    }

    /// The instant.
    pub const fn at(self) -> Timestamp {
        self.at
    }

    pub(super) fn next_after(self, t: Timestamp) -> Option<Timestamp> {
        (self.at > t).then_some(self.at)
    }

    pub(super) fn first_from(self, t: Timestamp) -> Option<Timestamp> {
        (self.at >= t).then_some(self.at)
    }

    pub(super) fn last_within(self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        (after < self.at && self.at <= until).then_some(self.at)
    }

    pub(super) fn count_within(self, after: Timestamp, until: Timestamp) -> u64 {
        u64::from(self.last_within(after, until).is_some())
    }
}

impl fmt::Display for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "once at {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_is_after_what_is_before_it_only() {
        let once = Once::new(Timestamp::from_secs(5));
        assert_eq!(once.next_after(Timestamp::from_secs(4)), Some(once.at()));
        assert_eq!(once.next_after(once.at()), None);
        assert_eq!(once.first_from(once.at()), Some(once.at()));
        assert_eq!(once.count_within(once.at(), Timestamp::MAX), 0);
        assert_eq!(once.count_within(Timestamp::MIN, once.at()), 1);
    }
}
