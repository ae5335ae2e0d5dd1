//! What one calendar leaves out, without the chain below it.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ClockTime, advance, midnight};
use crate::error::{Error, Result};
use crate::schedule::{Cron, Weekdays};
use crate::time::Timestamp;
use crate::zone::Zone;

/// What a calendar leaves out, as Quartz's calendars do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Excludes {
    /// Nothing: only the base counts.
    Nothing,
    /// Days of every year.
    Annual {
        /// Month and day, such as `12-24`. `02-29` is left out in leap years.
        days: BTreeSet<AnnualDay>,
        /// The zone of the dates.
        zone: Zone,
    },
    /// Seconds that match a cron expression.
    Cron(Cron),
    /// A part of each day.
    Daily {
        /// The first time of day of the part.
        from: ClockTime,
        /// The last millisecond of the part.
        to: ClockTime,
        /// Leave out all but this part.
        #[serde(default)]
        invert: bool,
        /// The zone of the times.
        zone: Zone,
    },
    /// Dates.
    Holiday {
        /// The dates, such as `2026-12-25`.
        dates: BTreeSet<Date>,
        /// The zone of the dates.
        zone: Zone,
    },
    /// Days of every month.
    Monthly {
        /// From 1 to 31.
        days: BTreeSet<u8>,
        /// The zone of the dates.
        zone: Zone,
    },
    /// Days of every week.
    Weekly {
        /// The days.
        days: Weekdays,
        /// The zone of the dates.
        zone: Zone,
    },
}

/// A month and a day of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AnnualDay {
    month: u8,
    day: u8,
}

/// A date, stored as `2026-12-25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(NaiveDate);

/// The most dates of one calendar.
const MAX_DATES: usize = 100_000;
/// How many excluded days one step of an answer may pass: no pattern of days is longer than a leap cycle's eight years.
const MAX_RUN: u64 = 3_000;

impl Excludes {
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Daily { from, to, .. } if to < from => {
                let message = format!("the part of the day ends at {to}, before its start {from}");
                Err(Error::invalid("calendar", message))
            }
            Self::Monthly { days, .. } => match days.iter().find(|day| !(1..=31).contains(*day)) {
                Some(day) => Err(Error::invalid("calendar", format!("{day} is no day of a month"))),
                None => Ok(()),
            },
            Self::Holiday { dates, .. } if dates.len() > MAX_DATES => {
                let message = format!("{} dates are more than {MAX_DATES}", dates.len());
                Err(Error::invalid("calendar", message))
            }
            _ => Ok(()),
        }
    }

    /// If `t` is left out, an instant after it up to which it certainly is.
    pub(super) fn until(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Nothing => None,
            Self::Cron(cron) => cron.matches(t).then(|| cron.next_unmatched(t)),
            Self::Daily { from, to, invert, zone } => {
                let wall = zone.to_local(t);
                let time = wall.time();
                let inside = from.time() <= time && to.end().is_none_or(|end| time < end);
                if inside == *invert {
                    return None;
                }
                let tomorrow = || wall.date().succ_opt().map_or(wall, midnight);
                let target = if inside {
                    to.end().map(|end| wall.date().and_time(end))
                } else if time < from.time() {
                    Some(wall.date().and_time(from.time()))
                } else {
                    None
                };
                Some(advance(zone, t, wall, target.unwrap_or_else(tomorrow)))
            }
            Self::Annual { zone, .. }
            | Self::Holiday { zone, .. }
            | Self::Monthly { zone, .. }
            | Self::Weekly { zone, .. } => {
                let wall = zone.to_local(t);
                if !self.date(wall.date()) {
                    return None;
                }
                if self.all_days() {
                    return Some(Timestamp::MAX);
                }
                let mut days = wall.date().iter_days().skip(1);
                let end = (0..MAX_RUN).map_while(|_| days.next()).find(|&date| !self.date(date));
                Some(end.map_or(Timestamp::MAX, |date| advance(zone, t, wall, midnight(date))))
            }
        }
    }

    /// Whether a whole date is left out.
    pub(super) fn date(&self, date: NaiveDate) -> bool {
        let (month, day) = (low(date.month()), low(date.day()));
        match self {
            Self::Nothing | Self::Cron(_) | Self::Daily { .. } => false,
            Self::Annual { days, .. } => days.contains(&AnnualDay { month, day }),
            Self::Holiday { dates, .. } => dates.contains(&Date(date)),
            Self::Monthly { days, .. } => days.contains(&day),
            Self::Weekly { days, .. } => days.contains(date.weekday()),
        }
    }

    pub(super) fn is_daywise(&self) -> bool {
        !matches!(self, Self::Cron(_) | Self::Daily { .. })
    }

    fn all_days(&self) -> bool {
        match self {
            Self::Annual { days, .. } => days.len() == 366,
            Self::Monthly { days, .. } => days.len() == 31,
            Self::Weekly { days, .. } => *days == Weekdays::ALL,
            _ => false,
        }
    }
}

/// A month or a day of a month always fits.
fn low(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(0)
}

impl AnnualDay {
    /// A day of the year; 29 February is one.
    ///
    /// # Errors
    /// `Invalid` if no year has it.
    pub fn new(month: u8, day: u8) -> Result<Self> {
        match NaiveDate::from_ymd_opt(2024, month.into(), day.into()) {
            Some(_) => Ok(Self { month, day }),
            None => Err(Error::invalid("calendar", format!("{month:02}-{day:02} is in no year"))),
        }
    }
}

impl fmt::Display for AnnualDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}-{:02}", self.month, self.day)
    }
}

impl Serialize for AnnualDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AnnualDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // In a leap year every day of any year is found.
        match read_date(&format!("2024-{text}")) {
            Some(date) => Ok(Self { month: low(date.month()), day: low(date.day()) }),
            None => Err(serde::de::Error::custom(format!("`{}` is not MM-DD", text.escape_debug()))),
        }
    }
}

impl From<NaiveDate> for Date {
    fn from(date: NaiveDate) -> Self {
        Self(date)
    }
}

impl From<Date> for NaiveDate {
    fn from(date: Date) -> Self {
        date.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("`{}` is not YYYY-MM-DD", text.escape_debug()));
        read_date(&text).map(Self).ok_or_else(wrong)
    }
}

fn read_date(text: &str) -> Option<NaiveDate> {
    let number = |at: std::ops::Range<usize>| {
        let part = text.get(at)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok())?
    };
    let dashed = text.len() == 10 && text.get(4..5) == Some("-") && text.get(7..8) == Some("-");
    let year = i32::try_from(number(0..4)?).ok().filter(|_| dashed)?;
    NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)
}

impl fmt::Display for Excludes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Annual { days, zone } => write!(f, "{} days of the year ({zone})", days.len()),
            Self::Cron(cron) => cron.fmt(f),
            Self::Daily { from, to, invert, zone } => {
                write!(f, "{}{from} to {to} ({zone})", if *invert { "all but " } else { "" })
            }
            Self::Holiday { dates, zone } => write!(f, "{} dates ({zone})", dates.len()),
            Self::Monthly { days, zone } => write!(f, "{} days of the month ({zone})", days.len()),
            Self::Weekly { days, zone } => write!(f, "{days} ({zone})"),
        }
    }
}
