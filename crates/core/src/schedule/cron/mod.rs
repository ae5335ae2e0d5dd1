//! Cron expressions: wall times in a zone.
//!
//! # Dialects
//! The dialect is stated, never guessed, because `0 0 12 * 1` and `0 0 12 ? * 1` do not mean the same Sunday.
//!
//! * [`Dialect::Quartz`]: `second minute hour day-of-month month day-of-week [year]`. Sunday is 1. Exactly one of the
//!   two day fields is `?`. Day-of-month takes `L`, `L-n`, `LW`, `L-nW`, `nW`; day-of-week takes `L` (which is
//!   Saturday), `nL`, `n#k`. Ranges may wrap round (`22-2`, `FRI-MON`). `a/n` runs to the end of the field.
//! * [`Dialect::Unix`]: `minute hour day-of-month month day-of-week`, as Vixie's cron. Sunday is 0 or 7. If neither
//!   day field begins with `*`, a day need match only one of them.
//!
//!   Also `@hourly`, `@daily`, `@midnight`, `@weekly` (Sunday), `@monthly`, `@yearly` and `@annually`.
//!
//! Letters count in any case; fields are parted by blanks and tabs. The parser reads all of its text or refuses it:
//! what Quartz takes although its manual does not have it (`MONDAY`, `5X`, `0/0`, `99` for `*`) is an error here.
//!
//! # Years
//! Local years 1970 to 2299. Nothing fires outside, so "never" is known after at most 3,960 months, which takes some
//! microseconds and does not depend on today's date.
//!
//! # When the clocks change
//! [`Dst`] says what happens to wall times that do not exist and to those that come twice. If it is not given:
//!
//! * Gap: an expression that fires in every hour of the day leaves the missing wall times out ([`Gap::Skip`]), for the
//!   next one comes within the hour anyway. Any other fires at the end of the gap ([`Gap::AtEndOfGap`]), so that
//!   `0 30 2 * * ?` does not lose a day.
//! * Overlap: if the second, minute or hour field is `*` or has a step, the expression follows the clock and fires on
//!   both passes ([`Overlap::Both`]), so that it is not silent for an hour. If all three are fixed times, it is owed
//!   once and fires on the first pass ([`Overlap::First`]).
//!
//! [`Dst::quartz`] does what Quartz does. In every mode the instants strictly increase and none comes twice.
//!
//! This module knows no triggers: start, end and excluded times are theirs.

mod day;
mod error;
mod field;
#[cfg(feature = "cron")]
mod foreign;
mod parse;
mod search;
mod special;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::error::CronError;
use self::parse::{Fields, Parsed};
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::zone::Zone;

/// A cron expression in a zone.
///
/// # Examples
/// ```
/// use punctual_core::schedule::{Cron, Schedule};
/// use punctual_core::{Timestamp, Zone};
///
/// let cron = Cron::quartz("0 0 9 ? * MON-FRI", Zone::get("Europe/Berlin")?)?;
/// let next = Schedule::from(cron).next_after(Timestamp::EPOCH);
/// // 1970-01-01 was a Thursday, and nine o'clock in Berlin is eight o'clock UTC.
/// assert_eq!(next, Some(Timestamp::from_secs(8 * 3600)));
/// # Ok::<(), punctual_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Cron {
    dialect: Dialect,
    /// In upper case (names with `@`: lower case), fields parted by one blank.
    expression: Box<str>,
    zone: Zone,
    dst: Dst,
    fields: Fields,
}

/// Which of the two languages an expression is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Dialect {
    /// Six or seven fields, seconds first, as in Quartz.
    Quartz,
    /// Five fields, minutes first, or a name such as `@daily`, as in a crontab.
    Unix,
}

/// What becomes of wall times at which the clocks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dst {
    /// For wall times that do not exist.
    pub gap: Gap,
    /// For wall times that come twice.
    pub overlap: Overlap,
}

/// What to do with a wall time that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gap {
    /// Leave it out.
    Skip,
    /// Fire at the first instant after the gap, once for all wall times in it.
    AtEndOfGap,
}

/// What to do with a wall time that comes twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Overlap {
    /// Fire before the clocks are put back only.
    First,
    /// Fire after the clocks were put back only.
    Second,
    /// Fire on both passes.
    Both,
}

/// How an expression is stored. The rules for clock changes are always written out, so that a stored schedule keeps
/// its meaning if the defaults should ever change.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    dialect: Dialect,
    expression: String,
    zone: Zone,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dst: Option<Dst>,
}

impl Dst {
    /// What Quartz does: wall times that do not exist are left out, those that come twice fire on the second pass.
    pub const fn quartz() -> Self {
        Self { gap: Gap::Skip, overlap: Overlap::Second }
    }

    fn of(parsed: &Parsed) -> Self {
        Self {
            gap: if parsed.fields.fires_each_hour() { Gap::Skip } else { Gap::AtEndOfGap },
            overlap: if parsed.repeating { Overlap::Both } else { Overlap::First },
        }
    }
}

impl Cron {
    /// The longest expression, in bytes.
    pub const MAX_LENGTH: usize = 256;

    /// Reads an expression of the Quartz dialect.
    ///
    /// # Errors
    /// If any part of the text cannot be read; the error points at the column.
    pub fn quartz(expression: &str, zone: Zone) -> Result<Self, CronError> {
        Self::new(Dialect::Quartz, expression, zone)
    }

    /// Reads a five-field Unix expression, or a name such as `@daily`.
    ///
    /// # Errors
    /// If any part of the text cannot be read; the error points at the column.
    pub fn unix(expression: &str, zone: Zone) -> Result<Self, CronError> {
        Self::new(Dialect::Unix, expression, zone)
    }

    /// Reads an expression of the dialect given.
    ///
    /// # Errors
    /// If any part of the text cannot be read; the error points at the column.
    pub fn new(dialect: Dialect, expression: &str, zone: Zone) -> Result<Self, CronError> {
        let parsed = parse::parse(dialect, expression)?;
        let dst = Dst::of(&parsed);
        Ok(Self { dialect, expression: parsed.text.into(), zone, dst, fields: parsed.fields })
    }

    /// Sets the rules for clock changes.
    #[must_use]
    pub fn with_dst(self, dst: Dst) -> Self {
        Self { dst, ..self }
    }

    /// Reads the wall time of another zone.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Self {
        Self { zone, ..self }
    }

    /// The dialect.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The expression in its canonical spelling: upper case, one blank between fields.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The zone whose wall time counts.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The rules for clock changes.
    pub fn dst(&self) -> Dst {
        self.dst
    }

    /// Whether the wall time at `t`, to the second, matches the expression.
    ///
    /// The clock's face alone counts: on the two passes of an overlap the answer is the same, whatever [`Dst`] says.
    pub fn matches(&self, t: Timestamp) -> bool {
        let second = t.as_micros().div_euclid(1_000_000);
        let table = self.zone.table();
        self.fields.match_wall(second + table.offset(table.span_at(second)))
    }

    /// The first instant strictly after `t`, without the way through [`Schedule`](super::Schedule).
    pub(crate) fn following(&self, t: Timestamp) -> Option<Timestamp> {
        self.next_after(t)
    }

    /// The last year that the expression itself names: the greatest of its numbers and ranges. `None` if it names
    /// none, because the year is left out, `*`, or only an open step.
    pub(crate) fn last_fixed_year(&self) -> Option<i32> {
        let years = self.expression.split(' ').nth(6).filter(|_| self.dialect == Dialect::Quartz)?;
        let fixed = years.split(',').filter(|item| item.contains('-') || !item.contains('/'));
        let ends = fixed.filter_map(|item| item.split('/').next()?.rsplit('-').next()?.parse().ok());
        ends.max()
    }

    pub(super) fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        self.next_second(t.as_micros().div_euclid(1_000_000) + 1).map(Timestamp::from_secs)
    }

    pub(super) fn first_from(&self, t: Timestamp) -> Option<Timestamp> {
        // Every instant is a whole second, so the one before `t` excludes nothing that is due at `t`.
        self.next_after(Timestamp::from_micros(t.as_micros().saturating_sub(1)))
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cron {} ({})", self.expression, self.zone)
    }
}

impl TryFrom<Document> for Cron {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        let cron = Self::new(document.dialect, &document.expression, document.zone)?;
        Ok(match document.dst {
            Some(dst) => cron.with_dst(dst),
            None => cron,
        })
    }
}

impl From<Cron> for Document {
    fn from(cron: Cron) -> Self {
        Self {
            dialect: cron.dialect,
            expression: cron.expression.into(),
            zone: cron.zone,
            dst: Some(cron.dst),
        }
    }
}

#[cfg(test)]
mod tests;
