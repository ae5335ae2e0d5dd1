//! A window of each day in which it fires at an interval: every 10 minutes from 09:00 to 17:00, Monday to Friday.
//!
//! The interval is elapsed time from the day's start. The window is wall time in a zone that is always named. A day
//! ends at its midnight: where the clocks go back over midnight, the hour that comes again is not fired again.

use std::fmt;

use chrono::{Datelike, Days, NaiveDate, NaiveTime, Timelike};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wall::{self, FIRST_YEAR, LAST_YEAR};
use super::weekdays::Weekdays;
use crate::error::{Error, Result};
use crate::time::Timestamp;
use crate::zone::Zone;

/// Fires each day from `from` to `to`, both included, at an interval.
///
/// # Examples
/// ```
/// use punctual_core::schedule::{Daily, Schedule, TimeOfDay, Weekdays};
/// use punctual_core::{Timestamp, Zone};
///
/// let at = |text: &str| Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
/// let office = Daily::new(4 * 3600, Zone::utc())?
///     .between(TimeOfDay::new(9, 0, 0)?, TimeOfDay::new(17, 0, 0)?)?
///     .on(Weekdays::WORKING)?;
/// // 2026-05-01 was a Friday.
/// let next = Schedule::from(office).next_n(at("2026-05-01T13:00:00Z"), 2);
/// assert_eq!(next, [at("2026-05-01T17:00:00Z"), at("2026-05-04T09:00:00Z")]);
/// # Ok::<(), punctual_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Daily {
    /// Seconds.
    interval: u32,
    from: TimeOfDay,
    to: TimeOfDay,
    days: Weekdays,
    zone: Zone,
    clocks: DailyClocks,
    repeat: Option<Repeat>,
    /// The last instant, if a repeat count ends it.
    last: Option<Timestamp>,
}

/// What the limits of a window mean when the clocks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DailyClocks {
    /// A limit in a gap is the gap's end. The window begins on the first pass of an overlap and ends on the second,
    /// so that it is never shorter than it looks. The default.
    #[default]
    Widest,
    /// As Quartz: a limit in a gap is moved on by the gap's length, in an overlap it means the second pass.
    Quartz,
}

/// An end after a number of instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeat {
    /// How many follow the first.
    count: u32,
    /// The first instant is not before this one.
    from: Timestamp,
}

/// A time of day to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(NaiveTime);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Seconds.
    interval: u32,
    #[serde(default = "TimeOfDay::first")]
    from: TimeOfDay,
    #[serde(default = "TimeOfDay::last")]
    to: TimeOfDay,
    #[serde(default = "every_day")]
    days: Weekdays,
    zone: Zone,
    #[serde(default)]
    clocks: DailyClocks,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat: Option<Repeat>,
}

fn every_day() -> Weekdays {
    Weekdays::ALL
}

impl TimeOfDay {
    /// A time of day.
    ///
    /// # Errors
    /// `Invalid` if there is no such time; 24:00 is none.
    pub fn new(hour: u32, minute: u32, second: u32) -> Result<Self> {
        let time = NaiveTime::from_hms_opt(hour, minute, second).map(Self);
        let wrong = || Error::invalid("time of day", format!("{hour}:{minute}:{second} is no time of day"));
        time.ok_or_else(wrong)
    }

    fn first() -> Self {
        Self(NaiveTime::MIN)
    }

    fn last() -> Self {
        Self(NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default())
    }

    /// As chrono's type.
    pub fn time(self) -> NaiveTime {
        self.0
    }
}

impl Daily {
    /// The longest interval: a day.
    pub const LONGEST: u32 = 86_400;

    /// Fires every `interval` seconds from 00:00:00 to 23:59:59 of every day.
    ///
    /// # Errors
    /// `Invalid` if the interval is not from a second to a day.
    pub fn new(interval: u32, zone: Zone) -> Result<Self> {
        if !(1..=Self::LONGEST).contains(&interval) {
            let message = format!("interval {interval}s is not between 1 s and a day");
            return Err(Error::invalid("daily", message));
        }
        let (from, to) = (TimeOfDay::first(), TimeOfDay::last());
        let clocks = DailyClocks::default();
        Ok(Self { interval, from, to, days: Weekdays::ALL, zone, clocks, repeat: None, last: None })
    }

    /// Sets the window; both ends fire if the interval meets them.
    ///
    /// # Errors
    /// `Invalid` if the window ends before it begins; it cannot cross midnight.
    pub fn between(self, from: TimeOfDay, to: TimeOfDay) -> Result<Self> {
        if to < from {
            return Err(Error::invalid("daily", format!("the window ends at {to}, before its start {from}")));
        }
        Ok(Self { from, to, ..self }.counted())
    }

    /// Sets the days of the week.
    ///
    /// # Errors
    /// `Invalid` if there is none.
    pub fn on(self, days: Weekdays) -> Result<Self> {
        if days.is_empty() {
            return Err(Error::invalid("daily", "it names no day of the week"));
        }
        Ok(Self { days, ..self }.counted())
    }

    /// Sets what the window means when the clocks change.
    #[must_use]
    pub fn with_clocks(self, clocks: DailyClocks) -> Self {
        Self { clocks, ..self }.counted()
    }

    /// Ends after `count + 1` instants, counted from the first at or after `from`, over all days. Nothing fires
    /// before `from`.
    #[must_use]
    pub fn repeating(self, count: u32, from: Timestamp) -> Self {
        Self { repeat: Some(Repeat { count, from }), ..self }.counted()
    }

    /// The interval in seconds.
    pub fn interval(&self) -> u32 {
        self.interval
    }

    /// The window.
    pub fn window(&self) -> (TimeOfDay, TimeOfDay) {
        (self.from, self.to)
    }

    /// The days of the week.
    pub fn days(&self) -> Weekdays {
        self.days
    }

    /// The zone of the window.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// What the window means when the clocks change.
    pub fn clocks(&self) -> DailyClocks {
        self.clocks
    }

    /// How many instants follow the first, and from when on they count.
    pub fn repeat(&self) -> Option<(u32, Timestamp)> {
        self.repeat.map(|repeat| (repeat.count, repeat.from))
    }

    /// The same without a repeat count.
    pub(crate) fn forever(self) -> Self {
        Self { repeat: None, last: None, ..self }
    }

    /// The first instant strictly after `t`, without the way through [`Schedule`](super::Schedule).
    pub(crate) fn following(&self, t: Timestamp) -> Option<Timestamp> {
        self.next_after(t)
    }

    pub(super) fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let t = self.repeat.map_or(t, |repeat| t.max(wall::just_before(repeat.from)));
        let next = self.unlimited_after(t)?;
        if self.repeat.is_some() && self.last.is_none_or(|last| next > last) { None } else { Some(next) }
    }

    fn unlimited_after(&self, t: Timestamp) -> Option<Timestamp> {
        // A day early: the clocks may have been put back over midnight.
        let first = wall::date_at(&self.zone, t).checked_sub_days(Days::new(1))?;
        // Two weeks hold every weekday, even where a day of the calendar was left out.
        (0..=14).filter_map(|later| self.on_day(wall::later(first, later)?, t)).next()
    }

    /// The first instant of a day that is after `t`.
    fn on_day(&self, date: NaiveDate, t: Timestamp) -> Option<Timestamp> {
        let (start, end) = self.window_on(date)?;
        let next = if t < start {
            start
        } else {
            let step = i64::from(self.interval) * 1_000_000;
            let passed = (t.as_micros() - start.as_micros()) / step;
            Timestamp::from_micros(start.as_micros().checked_add((passed + 1).checked_mul(step)?)?)
        };
        (next <= end).then_some(next)
    }

    /// The first and the last instant that a day may fire at.
    fn window_on(&self, date: NaiveDate) -> Option<(Timestamp, Timestamp)> {
        if !self.days.contains(date.weekday()) || !(FIRST_YEAR..=LAST_YEAR).contains(&date.year()) {
            return None;
        }
        let (from, to) = (wall::on(date, self.from.0), wall::on(date, self.to.0));
        let (start, end) = match self.clocks {
            DailyClocks::Quartz => {
                let start = wall::shifted(&self.zone, from);
                // A date that a zone left out altogether has no window.
                if self.zone.to_local(start).date() != date {
                    return None;
                }
                (start, wall::shifted(&self.zone, to))
            }
            DailyClocks::Widest => {
                let midnight = wall::earliest(&self.zone, wall::on(date.succ_opt()?, NaiveTime::MIN));
                let end = wall::latest(&self.zone, to).min(wall::just_before(midnight));
                (wall::earliest(&self.zone, from), end)
            }
        };
        (start <= end).then_some((start, end))
    }

    fn count_on(&self, date: NaiveDate, from: Timestamp) -> u64 {
        let Some((start, end)) = self.window_on(date) else { return 0 };
        let Some(first) = self.on_day(date, wall::just_before(from.max(start))) else { return 0 };
        1 + (end.as_micros() - first.as_micros()).unsigned_abs() / (u64::from(self.interval) * 1_000_000)
    }

    /// Finds the last instant of a schedule with a repeat count: day by day, but by whole weeks where the clocks do
    /// not change.
    fn counted(self) -> Self {
        let last = self.repeat.and_then(|repeat| self.find_last(repeat));
        Self { last, ..self }
    }

    fn find_last(&self, repeat: Repeat) -> Option<Timestamp> {
        let mut left = u64::from(repeat.count) + 1;
        let mut date = wall::date_at(&self.zone, self.unlimited_after(wall::just_before(repeat.from))?);
        loop {
            let from = wall::earliest(&self.zone, wall::on(date, NaiveTime::MIN));
            let quiet = self.zone.next_change(from.minus(std::time::Duration::from_secs(2 * 86_400)));
            let weeks = quiet.map_or(i64::MAX, |end| (end.as_micros() - from.as_micros()) / WEEK - 1);
            if repeat.from < from && weeks > 0 {
                let days = (0..7).filter_map(|day| wall::later(date, day));
                let week: u64 = days.map(|day| self.count_on(day, from)).sum();
                let whole = (left.saturating_sub(1) / week.max(1)).min(weeks.unsigned_abs());
                if whole > 0 {
                    left -= whole * week;
                    let Some(next) = wall::later(date, whole.saturating_mul(7)) else {
                        return Some(Timestamp::MAX);
                    };
                    date = next;
                    continue;
                }
            }
            let count = self.count_on(date, repeat.from);
            if count >= left {
                let (start, _) = self.window_on(date)?;
                let first = self.on_day(date, wall::just_before(repeat.from.max(start)))?;
                let step = i64::from(self.interval) * 1_000_000;
                let steps = i64::try_from(left - 1).ok()?;
                return Some(Timestamp::from_micros(first.as_micros() + steps * step));
            }
            left -= count;
            match wall::later(date, 1) {
                Some(next) => date = next,
                // The count goes beyond the years that fire.
                None => return Some(Timestamp::MAX),
            }
        }
    }
}

/// A week in microseconds.
const WEEK: i64 = 7 * 86_400 * 1_000_000;

impl TryFrom<Document> for Daily {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        let daily = Self::new(document.interval, document.zone)?
            .between(document.from, document.to)?
            .on(document.days)?
            .with_clocks(document.clocks);
        Ok(match document.repeat {
            Some(repeat) => daily.repeating(repeat.count, repeat.from),
            None => daily,
        })
    }
}

impl From<Daily> for Document {
    fn from(daily: Daily) -> Self {
        let Daily { interval, from, to, days, zone, clocks, repeat, last: _ } = daily;
        Self { interval, from, to, days, zone, clocks, repeat }
    }
}

impl fmt::Display for Daily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "every {}s from {} to {} on {} ({})",
            self.interval, self.from, self.to, self.days, self.zone
        )?;
        match self.repeat {
            Some(repeat) => write!(f, ", {} times", u64::from(repeat.count) + 1),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.0.hour(), self.0.minute(), self.0.second())
    }
}

impl std::str::FromStr for TimeOfDay {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("time of day", format!("`{}` is not HH:MM:SS", text.escape_debug()));
        let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        let parts: Vec<&str> = text.split(':').collect();
        match parts[..] {
            [h, m, s] if digits(h) && digits(m) && digits(s) => {
                let number = |part: &str| part.parse().map_err(|_| wrong());
                Self::new(number(h)?, number(m)?, number(s)?).map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

#[cfg(test)]
mod tests;
