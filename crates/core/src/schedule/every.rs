//! A fixed interval of elapsed time, counted from an anchor.
//!
//! It knows no zones and no calendar: `every 24h` drifts against the wall clock when the clocks change.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::time::Timestamp;

/// Fires at `anchor + k · interval` for `k` = 0, 1, 2 …, at most `repeat + 1` times.
///
/// Without an anchor the instants are the multiples of the interval since 1970-01-01T00:00:00Z: every node that is
/// told `every 5s` means the same seconds. Nothing fires before the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Every {
    /// Microseconds, from [`Every::SHORTEST`] to [`Every::LONGEST`].
    interval: i64,
    anchor: Timestamp,
    repeat: Option<u32>,
}

/// How an interval is stored: microseconds, and the anchor always, so that one definition has one text.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    interval: i64,
    #[serde(default)]
    anchor: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<u32>,
}

impl Every {
    /// The shortest interval, a millisecond.
    pub const SHORTEST: Duration = Duration::from_millis(1);
    /// The longest interval, 365,250 days or about a thousand years.
    pub const LONGEST: Duration = Duration::from_secs(365_250 * 86_400);

    /// Fires on the multiples of `interval` since the Unix epoch.
    ///
    /// # Errors
    /// `Invalid` if the interval is not a whole number of microseconds from [`Every::SHORTEST`] to
    /// [`Every::LONGEST`].
    pub fn new(interval: Duration) -> Result<Self> {
        let micros = i64::try_from(interval.as_micros())
            .ok()
            .filter(|_| interval.subsec_nanos().is_multiple_of(1_000));
        let micros = micros.ok_or_else(|| out_of_range(&format!("{interval:?}")))?;
        Self::from_parts(micros, Timestamp::EPOCH, None)
    }

    fn from_parts(interval: i64, anchor: Timestamp, repeat: Option<u32>) -> Result<Self> {
        let valid = u64::try_from(interval)
            .is_ok_and(|micros| (Self::SHORTEST..=Self::LONGEST).contains(&Duration::from_micros(micros)));
        if !valid {
            return Err(out_of_range(&format!("{interval}µs")));
        }
        Ok(Self { interval, anchor, repeat })
    }

    /// Counts from `anchor`, which is the first instant.
    #[must_use]
    pub const fn anchored_at(self, anchor: Timestamp) -> Self {
        Self { anchor, ..self }
    }

    /// Ends after `repeat + 1` instants, as Quartz's repeat count does.
    #[must_use]
    pub const fn repeating(self, repeat: u32) -> Self {
        Self { repeat: Some(repeat), ..self }
    }

    /// The time from one instant to the next.
    pub fn interval(self) -> Duration {
        Duration::from_micros(self.interval.unsigned_abs())
    }

    /// The first instant.
    pub const fn anchor(self) -> Timestamp {
        self.anchor
    }

    /// How many instants follow the first; `None` for no limit.
    pub const fn repeat(self) -> Option<u32> {
        self.repeat
    }

    /// Instant number `k`, if the limit and the range of [`Timestamp`] allow it.
    fn instant(self, k: i64) -> Option<Timestamp> {
        if k < 0 || self.repeat.is_some_and(|repeat| k > i64::from(repeat)) {
            return None;
        }
        // The time from the anchor may exceed 64 bits although the instant does not.
        let micros = i128::from(self.anchor.as_micros()) + i128::from(self.interval) * i128::from(k);
        Some(Timestamp::from_micros(i64::try_from(micros).ok()?))
    }

    /// The number of the last instant at or before `t`, however many there may be; negative if there is none.
    fn number_at(self, t: Timestamp) -> i64 {
        // In 128 bits because the anchor may be at one end of time and `t` at the other; the quotient fits again,
        // since the interval is not less than 1,000.
        let elapsed = i128::from(t.as_micros()) - i128::from(self.anchor.as_micros());
        let number = elapsed.div_euclid(i128::from(self.interval));
        let last = self.repeat.map_or(i64::MAX, i64::from);
        i64::try_from(number).unwrap_or(i64::MAX).min(last)
    }

    pub(super) fn next_after(self, t: Timestamp) -> Option<Timestamp> {
        if t < self.anchor { Some(self.anchor) } else { self.instant(self.number_at(t).checked_add(1)?) }
    }

    pub(super) fn first_from(self, t: Timestamp) -> Option<Timestamp> {
        if t <= self.anchor {
            return Some(self.anchor);
        }
        self.next_after(Timestamp::from_micros(t.as_micros() - 1))
    }

    pub(super) fn last_within(self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        self.instant(self.number_at(until)).filter(|&last| last > after)
    }

    pub(super) fn count_within(self, after: Timestamp, until: Timestamp) -> u64 {
        let upto = |t| self.number_at(t).max(-1);
        u64::try_from(upto(until).saturating_sub(upto(after))).unwrap_or(0)
    }
}

fn out_of_range(interval: &str) -> Error {
    Error::invalid(
        "every",
        format!("interval {interval} must be whole microseconds from 1 ms to 365250 days"),
    )
}

impl TryFrom<Document> for Every {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        Self::from_parts(document.interval, document.anchor, document.repeat)
    }
}

impl From<Every> for Document {
    fn from(every: Every) -> Self {
        Self { interval: every.interval, anchor: every.anchor, repeat: every.repeat }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every ")?;
        let mut rest = self.interval;
        for (unit, micros) in [
            ("d", 86_400_000_000),
            ("h", 3_600_000_000),
            ("m", 60_000_000),
            ("s", 1_000_000),
            ("ms", 1_000),
            ("us", 1),
        ] {
            if rest >= micros {
                write!(f, "{}{unit}", rest / micros)?;
                rest %= micros;
            }
        }
        if self.anchor != Timestamp::EPOCH {
            write!(f, " from {}", self.anchor)?;
        }
        match self.repeat {
            Some(repeat) => write!(f, ", {} times", u64::from(repeat) + 1),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: i64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    #[test]
    fn a_plain_interval_lies_on_the_grid_of_the_epoch() {
        let every = Every::new(Duration::from_secs(5)).unwrap();
        assert_eq!(every.next_after(secs(12)), Some(secs(15)));
        assert_eq!(every.next_after(secs(15)), Some(secs(20)));
        assert_eq!(every.first_from(secs(15)), Some(secs(15)));
        assert_eq!(every.next_after(Timestamp::MIN), Some(Timestamp::EPOCH));
        assert_eq!(every.to_string(), "every 5s");
    }

    #[test]
    fn a_repeat_count_ends_it() {
        let every = Every::new(Duration::from_millis(1_500)).unwrap().anchored_at(secs(10)).repeating(2);
        let last = Timestamp::from_micros(13_000_000);
        assert_eq!(every.next_after(secs(12)), Some(last));
        assert_eq!(every.next_after(last), None);
        assert_eq!(every.last_within(secs(0), Timestamp::MAX), Some(last));
        assert_eq!(every.count_within(Timestamp::MIN, Timestamp::MAX), 3);
        assert_eq!(every.count_within(secs(10), Timestamp::MAX), 2);
        assert_eq!(every.last_within(Timestamp::MIN, secs(9)), None);
        assert_eq!(every.to_string(), "every 1s500ms from 1970-01-01T00:00:10.000000Z, 3 times");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for interval in [Every::SHORTEST, Every::LONGEST] {
            for anchor in [Timestamp::MIN, Timestamp::EPOCH, Timestamp::MAX] {
                let every = Every::new(interval).unwrap().anchored_at(anchor);
                assert_eq!(every.next_after(Timestamp::MAX), None);
                assert_eq!(every.first_from(Timestamp::MIN), Some(anchor));
                let last = every.last_within(Timestamp::MIN, Timestamp::MAX).unwrap();
                assert_eq!(last.plus(interval), Timestamp::MAX, "the next one would not fit");
                assert_eq!(every.next_after(last), None);
                assert_eq!(every.next_after(last.minus(Duration::from_micros(1))), Some(last));
                let elapsed = last.as_micros().abs_diff(anchor.as_micros());
                let count = elapsed / u64::try_from(interval.as_micros()).unwrap();
                assert_eq!(every.count_within(anchor, Timestamp::MAX), count);
            }
        }
    }

    #[test]
    fn intervals_out_of_range_are_refused() {
        for interval in
            [Duration::ZERO, Duration::from_micros(999), Duration::from_nanos(1_000_001), Duration::MAX]
        {
            assert!(Every::new(interval).is_err(), "{interval:?}");
        }
        assert!(Every::new(Every::LONGEST + Duration::from_micros(1)).is_err());
    }
}
