//! Steps of the calendar: every so many seconds, minutes, hours, days, weeks, months or years from a start.
//!
//! Seconds, minutes and hours are elapsed time. From days on the wall time of the start is kept, whatever the clocks
//! do in between. Every step is counted from the *start* and not from the instant before: 31 January plus one month
//! is 28 February, plus two months is 31 March. [`MonthEnd::Sticks`] does as Quartz does, where a day that was cut
//! off by a short month stays cut off.

use std::fmt;

use chrono::{Datelike, Months, NaiveDate, NaiveDateTime};
use serde::{Deserialize, Serialize};

use super::cron::{Dst, Gap, Overlap};
use super::wall::{self, FIRST_YEAR, LAST_YEAR};
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::zone::{Reading, Zone};

/// Fires at `start` and then every `interval` units.
///
/// # Examples
/// ```
/// use punctual_core::schedule::{CalendarInterval, CalendarUnit, Schedule};
/// use punctual_core::{Timestamp, Zone};
///
/// let at = |text: &str| Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
/// let monthly = CalendarInterval::new(1, CalendarUnit::Month, at("2026-01-31T08:00:00Z"), Zone::utc())?;
/// let next = Schedule::from(monthly).next_n(at("2026-01-31T08:00:00Z"), 2);
/// assert_eq!(next, [at("2026-02-28T08:00:00Z"), at("2026-03-31T08:00:00Z")]);
/// # Ok::<(), punctual_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct CalendarInterval {
    interval: u32,
    unit: CalendarUnit,
    start: Timestamp,
    zone: Zone,
    month_end: MonthEnd,
    clocks: Clocks,
}

/// The unit of a [`CalendarInterval`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalendarUnit {
    /// Elapsed seconds.
    Second,
    /// Elapsed minutes.
    Minute,
    /// Elapsed hours.
    Hour,
    /// Days of the wall clock.
    Day,
    /// Weeks of the wall clock.
    Week,
    /// Months.
    Month,
    /// Years.
    Year,
}

/// What becomes of the 29th, 30th or 31st in a month that lacks it. The last day of that month takes its place, and:
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonthEnd {
    /// the next longer month has the day of the start again. The default.
    #[default]
    FromStart,
    /// the shorter day is kept for ever, as in Quartz.
    Sticks,
}

/// What happens from days on when the clocks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Clocks {
    /// The rules of this project, as for cron expressions.
    Dst(Dst),
    /// What Quartz means to do.
    ///
    /// A wall time in a gap is moved on by the gap's length, or is left out if both flags are set. In an overlap
    /// days and weeks keep the offset of the instant before if they can, months and years take the second pass.
    Quartz {
        /// `preserveHourOfDayAcrossDaylightSavings`.
        preserve_hour_of_day: bool,
        /// `skipDayIfHourDoesNotExist`.
        skip_day_if_hour_does_not_exist: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    interval: u32,
    unit: CalendarUnit,
    start: Timestamp,
    zone: Zone,
    #[serde(default)]
    month_end: MonthEnd,
    #[serde(default = "default_clocks")]
    clocks: Clocks,
}

const fn default_clocks() -> Clocks {
    Clocks::Dst(Dst { gap: Gap::AtEndOfGap, overlap: Overlap::First })
}

impl CalendarInterval {
    /// The largest interval, in units.
    pub const LONGEST: u32 = 1_000_000_000;

    /// Fires at `start` and every `interval` units from there, in the wall time of `zone`.
    ///
    /// A wall time that does not exist fires at the end of its gap, one that comes twice on its first pass; see
    /// [`CalendarInterval::with_clocks`].
    ///
    /// # Errors
    /// `Invalid` if the interval is not between 1 and [`CalendarInterval::LONGEST`], or if the start is not in the
    /// local years 1970 to 2299. Nothing fires after those years.
    pub fn new(interval: u32, unit: CalendarUnit, start: Timestamp, zone: Zone) -> Result<Self> {
        if !(1..=Self::LONGEST).contains(&interval) {
            let message = format!("interval {interval} is not between 1 and {}", Self::LONGEST);
            return Err(Error::invalid("calendar interval", message));
        }
        if !(FIRST_YEAR..=LAST_YEAR).contains(&zone.to_local(start).year()) {
            let message = format!("start {start} is not in the years {FIRST_YEAR} to {LAST_YEAR}");
            return Err(Error::invalid("calendar interval", message));
        }
        let month_end = MonthEnd::default();
        Ok(Self { interval, unit, start, zone, month_end, clocks: default_clocks() })
    }

    /// Sets what happens when the clocks change.
    #[must_use]
    pub fn with_clocks(self, clocks: Clocks) -> Self {
        Self { clocks, ..self }
    }

    /// Sets what happens to the last days of long months.
    #[must_use]
    pub fn with_month_end(self, month_end: MonthEnd) -> Self {
        Self { month_end, ..self }
    }

    /// How many units lie between two instants.
    pub fn interval(&self) -> u32 {
        self.interval
    }

    /// The unit.
    pub fn unit(&self) -> CalendarUnit {
        self.unit
    }

    /// The first instant.
    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// The zone whose wall time is kept.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What happens to the last days of long months.
    pub fn month_end(&self) -> MonthEnd {
        self.month_end
    }

    /// What happens when the clocks change.
    pub fn clocks(&self) -> Clocks {
        self.clocks
    }

    /// Seconds of a unit of elapsed time.
    fn elapsed(&self) -> Option<i64> {
        match self.unit {
            CalendarUnit::Second => Some(1),
            CalendarUnit::Minute => Some(60),
            CalendarUnit::Hour => Some(3_600),
            CalendarUnit::Day | CalendarUnit::Week | CalendarUnit::Month | CalendarUnit::Year => None,
        }
    }

    /// The first instant strictly after `t`, without the way through [`Schedule`](super::Schedule).
    pub(crate) fn following(&self, t: Timestamp) -> Option<Timestamp> {
        self.next_after(t)
    }

    pub(super) fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        if t < self.start {
            return Some(self.start);
        }
        let next = match self.elapsed() {
            Some(unit) => self.elapsed_after(t, unit),
            None => self.wall_after(t),
        };
        next.filter(|&next| self.zone.to_local(next).year() <= LAST_YEAR)
    }

    fn elapsed_after(&self, t: Timestamp, unit: i64) -> Option<Timestamp> {
        let step = i128::from(unit) * i128::from(self.interval) * 1_000_000;
        let start = i128::from(self.start.as_micros());
        let passed = (i128::from(t.as_micros()) - start).div_euclid(step);
        i64::try_from(start + (passed + 1) * step).ok().map(Timestamp::from_micros)
    }

    fn wall_after(&self, t: Timestamp) -> Option<Timestamp> {
        let first = self.zone.to_local(self.start);
        // Two steps and two days back: no change of the clocks and no month's length can have moved more.
        let mut number = self.steps_before(first, t).saturating_sub(2).max(1);
        loop {
            let wall = self.wall(first, number)?;
            let mut instants = self.instants(first, number, wall).into_iter().flatten();
            if let Some(next) = instants.find(|&at| at > t) {
                return Some(next);
            }
            number += 1;
        }
    }

    /// About how many steps lie between the start and `t`; never too many.
    fn steps_before(&self, first: NaiveDateTime, t: Timestamp) -> u32 {
        let from = first.date();
        let until = wall::date_at(&self.zone, t);
        let days = (until - from).num_days() - 2;
        let months =
            i64::from(until.year() - from.year()) * 12 + i64::from(until.month()) - i64::from(from.month());
        let units = match self.unit {
            CalendarUnit::Week => days.div_euclid(7),
            CalendarUnit::Month => months - 1,
            CalendarUnit::Year => months.div_euclid(12) - 1,
            _ => days,
        };
        u32::try_from(units / i64::from(self.interval)).unwrap_or(0)
    }

    /// The wall time of step `number`, while it lies in the years that fire.
    fn wall(&self, first: NaiveDateTime, number: u32) -> Option<NaiveDateTime> {
        let units = u64::from(number) * u64::from(self.interval);
        let date = match self.unit {
            CalendarUnit::Month => self.month(first.date(), number, units),
            CalendarUnit::Year => self.month(first.date(), number, units.checked_mul(12)?),
            CalendarUnit::Week => wall::later(first.date(), units.checked_mul(7)?),
            _ => wall::later(first.date(), units),
        }?;
        Some(wall::on(date, first.time()))
    }

    fn month(&self, first: NaiveDate, number: u32, months: u64) -> Option<NaiveDate> {
        let step = |months: u64| {
            let months = u32::try_from(months).ok().filter(|&months| months <= 12 * 400)?;
            // Chrono goes back to the last day of a month that is too short.
            first.checked_add_months(Months::new(months)).filter(|date| date.year() <= LAST_YEAR)
        };
        let date = step(months)?;
        if self.month_end == MonthEnd::FromStart || first.day() <= 28 {
            return Some(date);
        }
        // The shortest month on the way decides. It is mostly found within a year, and never below 28.
        let mut day = first.day();
        for passed in 1..=u64::from(number) {
            day = day.min(step(months / u64::from(number) * passed)?.day());
            if day == 28 {
                break;
            }
        }
        date.with_day(day)
    }

    fn instants(&self, first: NaiveDateTime, number: u32, wall: NaiveDateTime) -> [Option<Timestamp>; 2] {
        let (preserve, skip) = match self.clocks {
            Clocks::Dst(dst) => return wall::instants(&self.zone, wall, dst),
            Clocks::Quartz { preserve_hour_of_day, skip_day_if_hour_does_not_exist } => {
                (preserve_hour_of_day, skip_day_if_hour_does_not_exist)
            }
        };
        let at = match self.zone.resolve(wall) {
            Reading::Once(at) => Some(at),
            Reading::Skipped { shifted, .. } => (!(preserve && skip)).then_some(shifted),
            Reading::Twice { first: at, second } => {
                let by_days = matches!(self.unit, CalendarUnit::Day | CalendarUnit::Week);
                let before = self.zone.offset_at(self.before(first, number));
                Some(if by_days && before == self.zone.offset_at(at) { at } else { second })
            }
        };
        [at, None]
    }

    /// The instant before step `number`, for its offset. If that one is on an overlap itself, its second pass.
    fn before(&self, first: NaiveDateTime, number: u32) -> Timestamp {
        match self.wall(first, number.saturating_sub(1)) {
            Some(wall) if number > 1 => wall::shifted(&self.zone, wall),
            _ => self.start,
        }
    }
}

impl TryFrom<Document> for CalendarInterval {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        let Document { interval, unit, start, zone, month_end, clocks } = document;
        Ok(Self::new(interval, unit, start, zone)?.with_month_end(month_end).with_clocks(clocks))
    }
}

impl From<CalendarInterval> for Document {
    fn from(schedule: CalendarInterval) -> Self {
        let CalendarInterval { interval, unit, start, zone, month_end, clocks } = schedule;
        Self { interval, unit, start, zone, month_end, clocks }
    }
}

impl fmt::Display for CalendarUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        })
    }
}

impl fmt::Display for CalendarInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.interval == 1 { "" } else { "s" };
        write!(f, "every {} {}{plural} from {} ({})", self.interval, self.unit, self.start, self.zone)
    }
}

#[cfg(test)]
mod tests;
