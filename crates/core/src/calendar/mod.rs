//! Times that are left out: holidays, weekends, hours of the night.
//!
//! A [`Calendar`] says of any instant whether it is included. It is stored by name as one document, and triggers name
//! it. Calendars are chained: an instant must be included by a calendar and by all of its bases.
//!
//! Everything is judged by the face of the clock in the calendar's own zone, so that a range of 02:00 to 03:00 is left
//! out on both passes of an overlap. A calendar knows neither schedules nor triggers; [`Filter`] joins them.

mod clock;
mod filter;
mod ics;
mod rule;

use std::collections::BTreeSet;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};

pub use self::clock::ClockTime;
pub use self::filter::{Filter, WhenExcluded};
pub use self::rule::{AnnualDay, Date, Excludes};
use crate::error::{Error, Result};
use crate::schedule::{Cron, Weekdays};
use crate::time::Timestamp;
use crate::zone::Zone;

/// A set of instants that are left out, with the calendars below it.
///
/// # Examples
/// ```
/// use punctual_core::calendar::Calendar;
/// use punctual_core::schedule::Weekdays;
/// use punctual_core::{Timestamp, Zone};
///
/// let at = |text: &str| Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap());
/// let weekends = Calendar::weekly(Weekdays::WEEKEND, Zone::utc());
/// // 2026-05-02 was a Saturday.
/// assert!(!weekends.includes(at("2026-05-02T12:00:00Z")));
/// assert_eq!(weekends.next_included(at("2026-05-02T12:00:00Z")), Some(at("2026-05-04T00:00:00Z")));
/// # Ok::<(), punctual_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Document", into = "Document")]
pub struct Calendar {
    excludes: Excludes,
    base: Option<Box<Self>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    excludes: Excludes,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Box<Calendar>>,
}

/// Before this instant everything is included: 0001-01-03T00:00:00Z, since when there are dates.
const BEGIN: Timestamp = Timestamp::from_secs(-62_135_424_000);
/// After this instant nothing is included any more: 2300-01-03T00:00:00Z, later than any schedule of wall times.
const END: Timestamp = Timestamp::from_secs(10_413_964_800);
/// How often an answer may move from one exclusion into the next. Two cron calendars that leave out every second
/// between them would go on for ever.
const MOVES: u32 = 200_000;

impl Calendar {
    /// The longest chain.
    pub const MAX_CHAIN: usize = 16;

    /// A calendar that leaves out what `excludes` says.
    ///
    /// # Errors
    /// `Invalid` if `excludes` holds something that is no date, or too much.
    pub fn new(excludes: Excludes) -> Result<Self> {
        excludes.check()?;
        Ok(Self { excludes, base: None })
    }

    /// Leaves out days of each week.
    pub fn weekly(days: Weekdays, zone: Zone) -> Self {
        Self { excludes: Excludes::Weekly { days, zone }, base: None }
    }

    /// Leaves out days of each month, 1 to 31.
    ///
    /// # Errors
    /// `Invalid` if a day is not between 1 and 31.
    pub fn monthly(days: impl IntoIterator<Item = u8>, zone: Zone) -> Result<Self> {
        Self::new(Excludes::Monthly { days: days.into_iter().collect(), zone })
    }

    /// Leaves out days of each year, as month and day.
    ///
    /// # Errors
    /// `Invalid` if a day is in no year.
    pub fn annual(days: impl IntoIterator<Item = (u8, u8)>, zone: Zone) -> Result<Self> {
        let days: Result<BTreeSet<_>> =
            days.into_iter().map(|(month, day)| AnnualDay::new(month, day)).collect();
        Self::new(Excludes::Annual { days: days?, zone })
    }

    /// Leaves out dates.
    ///
    /// # Errors
    /// `Invalid` if there are too many.
    pub fn holiday(dates: impl IntoIterator<Item = NaiveDate>, zone: Zone) -> Result<Self> {
        let dates = dates.into_iter().map(Date::from).collect();
        Self::new(Excludes::Holiday { dates, zone })
    }

    /// Leaves out a part of each day, both ends included to the millisecond; or, inverted, all but that part.
    ///
    /// # Errors
    /// `Invalid` if the part ends before it begins.
    pub fn daily(from: ClockTime, to: ClockTime, invert: bool, zone: Zone) -> Result<Self> {
        Self::new(Excludes::Daily { from, to, invert, zone })
    }

    /// Leaves out every second that matches an expression.
    pub fn cron(cron: Cron) -> Self {
        Self { excludes: Excludes::Cron(cron), base: None }
    }

    /// Reads the all-day events of an iCalendar file (RFC 5545) as dates to leave out, to the end of `until_year`.
    ///
    /// Understood are `VEVENT`s with dates: `DTSTART`, `DTEND` or `DURATION` in days, `RDATE`, `EXDATE`, and `RRULE`
    /// with `FREQ=YEARLY` and `INTERVAL`, `COUNT`, `UNTIL`, `BYMONTH`, `BYMONTHDAY`, `BYDAY`. Cancelled events are
    /// left alone.
    ///
    /// # Errors
    /// `Invalid` with the number of the line, if an event has a time of day or a rule that is not understood. Nothing
    /// is passed over in silence.
    pub fn from_ics(text: &str, until_year: i32, zone: Zone) -> Result<Self> {
        Self::holiday(ics::dates(text, until_year)?, zone)
    }

    /// Puts the chain `base` below this one.
    ///
    /// # Errors
    /// `Invalid` if the chain gets longer than [`Calendar::MAX_CHAIN`].
    pub fn with_base(self, base: Self) -> Result<Self> {
        // A chain cannot be opened in the middle: what is there goes on top of it.
        let base = match self.base {
            Some(own) => own.with_base(base)?,
            None => base,
        };
        let calendar = Self { excludes: self.excludes, base: Some(Box::new(base)) };
        if calendar.chain().count() > Self::MAX_CHAIN {
            let message = format!("a chain of calendars is longer than {}", Self::MAX_CHAIN);
            return Err(Error::invalid("calendar", message));
        }
        Ok(calendar)
    }

    /// What this calendar itself leaves out.
    pub fn excludes(&self) -> &Excludes {
        &self.excludes
    }

    /// The calendar below.
    pub fn base(&self) -> Option<&Self> {
        self.base.as_deref()
    }

    /// This calendar and those below it.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |calendar| calendar.base())
    }

    /// Whether an instant is included.
    pub fn includes(&self, t: Timestamp) -> bool {
        self.excluded_until(t).is_none()
    }

    /// The first included instant at or after `t`; `None` if there is none before the year 2300.
    pub fn next_included(&self, t: Timestamp) -> Option<Timestamp> {
        self.next_included_in(t, &mut { MOVES })
    }

    /// The same within a number of moves, which is counted down.
    pub(crate) fn next_included_in(&self, t: Timestamp, moves: &mut u32) -> Option<Timestamp> {
        let mut at = t;
        while at < END {
            *moves = moves.checked_sub(1)?;
            match self.excluded_until(at) {
                None => return Some(at),
                // Every exclusion ends later than it was met.
                Some(later) => at = later.max(at.plus(std::time::Duration::from_micros(1))),
            }
        }
        None
    }

    /// Whether a date is left out, by the calendars of the chain that are about whole days.
    pub fn excludes_date(&self, date: NaiveDate) -> bool {
        self.chain().any(|calendar| calendar.excludes.date(date))
    }

    /// Whether the chain is about whole days only, so that an instant can be moved to another day.
    pub fn is_daywise(&self) -> bool {
        self.chain().all(|calendar| calendar.excludes.is_daywise())
    }

    /// If `t` is left out, an instant up to which it certainly is.
    fn excluded_until(&self, t: Timestamp) -> Option<Timestamp> {
        if t < BEGIN {
            return None;
        }
        self.chain().filter_map(|calendar| calendar.excludes.until(t)).max()
    }
}

impl TryFrom<Document> for Calendar {
    type Error = Error;

    fn try_from(document: Document) -> Result<Self> {
        let calendar = Self::new(document.excludes)?;
        match document.base {
            Some(base) => calendar.with_base(*base),
            None => Ok(calendar),
        }
    }
}

impl From<Calendar> for Document {
    fn from(calendar: Calendar) -> Self {
        Self { excludes: calendar.excludes, base: calendar.base }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, calendar) in self.chain().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "; " }, calendar.excludes)?;
        }
        Ok(())
    }
}

/// The instant at which the wall clock, which shows `wall` at `t`, gets to `target`, or changes before.
fn advance(zone: &Zone, t: Timestamp, wall: NaiveDateTime, target: NaiveDateTime) -> Timestamp {
    let ahead = (target - wall).num_microseconds().unwrap_or(i64::MAX);
    let reached = Timestamp::from_micros(t.as_micros().saturating_add(ahead));
    zone.next_change(t).map_or(reached, |change| change.min(reached))
}

/// The beginning of a date, as a wall time.
fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

#[cfg(test)]
mod tests;
