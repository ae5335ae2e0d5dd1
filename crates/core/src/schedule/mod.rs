//! When something is to fire: pure functions from an instant to the next one.
//!
//! A [`Schedule`] is a definition and nothing else. It has no state, reads no clock, and knows neither triggers, nor
//! start and end windows, nor calendars of excluded times. Asked the same question it gives the same answer on every
//! node, provided that the nodes' zone data are the same ([`Zone::data_version`]).
//!
//! The JSON form is canonical: equal definitions have equal bytes. Reading checks everything, because a stored row
//! may have been written by another version or by hand.

mod calendar_interval;
mod civil;
mod cron;
mod custom;
mod daily;
mod every;
mod once;
pub(crate) mod walk;
mod wall;
mod weekdays;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::calendar_interval::{CalendarInterval, CalendarUnit, Clocks, MonthEnd};
pub use self::cron::{Cron, CronError, Dialect, Dst, Gap, Overlap};
pub use self::custom::{Custom, CustomSchedule, CustomSchedules};
pub use self::daily::{Daily, DailyClocks, TimeOfDay};
pub use self::every::Every;
pub use self::once::Once;
pub use self::weekdays::Weekdays;
use crate::error::Result;
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
    /// Steps of the calendar from a start.
    CalendarInterval(CalendarInterval),
    /// A window of each day.
    Daily(Daily),
    /// A rule of the user's own, by name and data.
    Custom(Custom),
}

impl Schedule {
    /// The first instant strictly after `t`, or `None` if there is none any more.
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(once) => once.next_after(t),
            Self::Every(every) => every.next_after(t),
            Self::Cron(cron) => cron.next_after(t),
            Self::CalendarInterval(schedule) => schedule.next_after(t),
            Self::Daily(daily) => daily.next_after(t),
            Self::Custom(custom) => custom.next_after(t),
        }
    }

    /// The first instant at or after `t`.
    pub fn first_from(&self, t: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(once) => once.first_from(t),
            Self::Every(every) => every.first_from(t),
            Self::Cron(cron) => cron.first_from(t),
            // None of them fires at the very first microsecond of time.
            Self::CalendarInterval(_) | Self::Daily(_) | Self::Custom(_) => {
                self.next_after(wall::just_before(t))
            }
        }
    }

    /// The latest instant in `(after, until]`. Cheap, however many instants there are.
    pub fn last_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once(once) => once.last_within(after, until),
            Self::Every(every) => every.last_within(after, until),
            _ => walk::last_within(|t| self.next_after(t), after, until),
        }
    }

    /// The number of instants in `(after, until]`, or `None` if there are more than `cap`.
    ///
    /// The cost grows with the answer where there is no closed form; `cap` bounds it.
    pub fn count_within(&self, after: Timestamp, until: Timestamp, cap: u64) -> Option<u64> {
        match self {
            Self::Once(once) => Some(once.count_within(after, until)).filter(|&count| count <= cap),
            Self::Every(every) => Some(every.count_within(after, until)).filter(|&count| count <= cap),
            _ => walk::count_within(|t| self.next_after(t), after, until, cap),
        }
    }

    /// The first `n` instants strictly after `after`, or less if there are no more.
    pub fn next_n(&self, after: Timestamp, n: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after), |&t| self.next_after(t)).take(n).collect()
    }

    /// The zone whose wall time the instants follow, if any.
    pub fn zone(&self) -> Option<&Zone> {
        match self {
            Self::Once(_) | Self::Every(_) | Self::Custom(_) => None,
            Self::Cron(cron) => Some(cron.zone()),
            Self::CalendarInterval(schedule) => Some(schedule.zone()),
            Self::Daily(daily) => Some(daily.zone()),
        }
    }

    /// Finds the rule of a custom schedule; all others are complete as they are.
    ///
    /// # Errors
    /// `Unsupported` if its name is not registered; whatever the registered code says about its data.
    pub fn resolve(&mut self, known: &CustomSchedules) -> Result<()> {
        match self {
            Self::Custom(custom) => custom.resolve(known),
            _ => Ok(()),
        }
    }

    /// Whether its instants can be known here. Ask before a trigger is planned: a custom schedule that is not
    /// resolved has no instants, which must not be taken for its end.
    ///
    /// # Errors
    /// `Unsupported`, naming the custom schedule.
    pub fn resolved(&self) -> Result<()> {
        match self {
            Self::Custom(custom) => custom.resolved(),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(once) => once.fmt(f),
            Self::Every(every) => every.fmt(f),
            Self::Cron(cron) => cron.fmt(f),
            Self::CalendarInterval(schedule) => schedule.fmt(f),
            Self::Daily(daily) => daily.fmt(f),
            Self::Custom(custom) => custom.fmt(f),
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

impl From<CalendarInterval> for Schedule {
    fn from(schedule: CalendarInterval) -> Self {
        Self::CalendarInterval(schedule)
    }
}

impl From<Daily> for Schedule {
    fn from(daily: Daily) -> Self {
        Self::Daily(daily)
    }
}

impl From<Custom> for Schedule {
    fn from(custom: Custom) -> Self {
        Self::Custom(custom)
    }
}

#[cfg(test)]
mod tests;
