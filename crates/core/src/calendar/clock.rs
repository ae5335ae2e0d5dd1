//! Times of day to the millisecond, as the limits of daily calendars.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveTime, TimeDelta, Timelike};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A time of day to the millisecond: `09:00:00.000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockTime(NaiveTime);

impl ClockTime {
    /// A time of day.
    ///
    /// # Errors
    /// `Invalid` if there is no such time; 24:00 is none.
    pub fn new(hour: u32, minute: u32, second: u32, millisecond: u32) -> Result<Self> {
        // Chrono would take a leap second, which no wall clock here shows.
        let time = NaiveTime::from_hms_milli_opt(hour, minute, second, millisecond)
            .filter(|_| millisecond < 1_000)
            .map(Self);
        let wrong = || {
            let text = format!("{hour}:{minute}:{second}.{millisecond}");
            Error::invalid("calendar", format!("{text} is no time of day"))
        };
        time.ok_or_else(wrong)
    }

    /// As chrono's type.
    pub fn time(self) -> NaiveTime {
        self.0
    }

    /// The first time after this millisecond; `None` at the end of the day.
    pub(super) fn end(self) -> Option<NaiveTime> {
        let (time, days) = self.0.overflowing_add_signed(TimeDelta::milliseconds(1));
        (days == 0).then_some(time)
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (time, milli) = (self.0, self.0.nanosecond() / 1_000_000);
        write!(f, "{:02}:{:02}:{:02}.{milli:03}", time.hour(), time.minute(), time.second())
    }
}

impl FromStr for ClockTime {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("calendar", format!("`{}` is not HH:MM:SS.mmm", text.escape_debug()));
        let number = |part: &str, digits: usize| {
            let plain = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u32>().ok().filter(|_| plain).ok_or_else(wrong)
        };
        let (clock, milli) = text.split_once('.').unwrap_or((text, "000"));
        let parts: Vec<&str> = clock.split(':').collect();
        let [hour, minute, second] = parts[..] else { return Err(wrong()) };
        let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
        Self::new(hour, minute, second, number(milli, 3)?).map_err(|_| wrong())
    }
}

impl Serialize for ClockTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}
