//! Sets of weekdays, as daily schedules and weekly calendars hold them.

use std::fmt;

use chrono::Weekday;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of weekdays, stored as a list such as `["mon","tue"]`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weekdays(u8);

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const DAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

impl Weekdays {
    /// No day.
    pub const NONE: Self = Self(0);
    /// Every day.
    pub const ALL: Self = Self(0x7f);
    /// Monday to Friday.
    pub const WORKING: Self = Self(0x1f);
    /// Saturday and Sunday.
    pub const WEEKEND: Self = Self(0x60);

    /// The set with `day` in it.
    #[must_use]
    pub fn with(self, day: Weekday) -> Self {
        Self(self.0 | bit(day))
    }

    /// Whether `day` is in the set.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }

    /// Whether no day is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many days are in the set.
    pub const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// The days from Monday on.
    pub fn iter(self) -> impl Iterator<Item = Weekday> {
        DAYS.into_iter().filter(move |&day| self.contains(day))
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.num_days_from_monday()
}

impl FromIterator<Weekday> for Weekdays {
    fn from_iter<I: IntoIterator<Item = Weekday>>(days: I) -> Self {
        days.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl fmt::Display for Weekdays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, day) in self.iter().enumerate() {
            write!(f, "{}{day}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl Serialize for Weekdays {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let names = NAMES.iter().zip(DAYS).filter(|&(_, day)| self.contains(day));
        serializer.collect_seq(names.map(|(name, _)| name))
    }
}

impl<'de> Deserialize<'de> for Weekdays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut days = Self::NONE;
        for name in Vec::<String>::deserialize(deserializer)? {
            let day = NAMES.iter().zip(DAYS).find(|&(known, _)| *known == name).map(|(_, day)| day);
            let wrong = || D::Error::unknown_variant(&name, &NAMES);
            days = days.with(day.ok_or_else(wrong)?);
        }
        Ok(days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_a_list_of_names() {
        let days: Weekdays = [Weekday::Sun, Weekday::Mon, Weekday::Mon].into_iter().collect();
        assert_eq!(serde_json::to_string(&days).unwrap(), r#"["mon","sun"]"#);
        assert_eq!(serde_json::from_str::<Weekdays>(r#"["sun","mon"]"#).unwrap(), days);
        assert!(serde_json::from_str::<Weekdays>(r#"["sunday"]"#).is_err());
        assert_eq!(Weekdays::WORKING.to_string(), "Mon,Tue,Wed,Thu,Fri");
        assert_eq!(Weekdays::WEEKEND.len() + Weekdays::WORKING.len(), Weekdays::ALL.len());
    }
}
