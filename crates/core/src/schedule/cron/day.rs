//! Which days of a month match: plain days, and Quartz's `L`, `W` and `#`.

use crate::schedule::civil;

/// A rule for days. Bits 1–31 are days of the month, bits 0–6 are weekdays from Sunday.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Days {
    /// Days of the month that are also one of the weekdays.
    Both { month_days: u32, weekdays: u32 },
    /// Days of the month, and all days that are one of the weekdays.
    Either { month_days: u32, weekdays: u32 },
    /// `n` days before the last of the month.
    FromEnd { offset: u32 },
    /// The weekday from Monday to Friday nearest to a day, within the month.
    Nearest(Anchor),
    /// The last such weekday of the month.
    LastWeekday { weekday: u32 },
    /// The `n`-th such weekday of the month.
    NthWeekday { weekday: u32, n: u32 },
}

/// The day that a nearest weekday is near to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Day(u32),
    FromEnd(u32),
}

/// Bits 1–31.
pub(super) const ALL_DAYS: u32 = 0xffff_fffe;
/// Bits 0–6.
pub(super) const ALL_WEEKDAYS: u32 = 0x7f;
/// A bit in each of five weeks: times a pattern of seven bits it repeats the pattern.
const EACH_WEEK: u64 = 1 | 1 << 7 | 1 << 14 | 1 << 21 | 1 << 28;

impl Days {
    /// The matching days of a month, bits 1–31. `start` is the number of its first day, as in [`civil`].
    #[inline]
    pub(super) fn in_month(self, year: u32, month: u32, start: u32) -> u32 {
        let length = civil::month_length(year, month);
        let first = civil::weekday(start);
        match self {
            Self::Both { month_days, weekdays } => month_days & spread(weekdays, first) & upto(length),
            Self::Either { month_days, weekdays } => (month_days | spread(weekdays, first)) & upto(length),
            Self::FromEnd { offset } => bit(length.checked_sub(offset), length),
            Self::Nearest(Anchor::Day(day)) => nearest_weekday(day, length, first),
            Self::Nearest(Anchor::FromEnd(offset)) => {
                length.checked_sub(offset).map_or(0, |day| nearest_weekday(day, length, first))
            }
            Self::LastWeekday { weekday } => {
                let last = (first + length - 1) % 7;
                1 << (length - (last + 7 - weekday) % 7)
            }
            Self::NthWeekday { weekday, n } => bit(Some(1 + (weekday + 7 - first) % 7 + 7 * (n - 1)), length),
        }
    }
}

/// Days 1 to `length`.
fn upto(length: u32) -> u32 {
    ALL_DAYS >> (31 - length) & ALL_DAYS
}

fn bit(day: Option<u32>, length: u32) -> u32 {
    day.filter(|day| (1..=length).contains(day)).map_or(0, |day| 1 << day)
}

/// The days of a month with the given weekdays, if its first day is weekday `first`.
fn spread(weekdays: u32, first: u32) -> u32 {
    // A week beginning with `first`, then five of them, of which the lowest 31 days count.
    let week = (weekdays >> first | weekdays << (7 - first)) & ALL_WEEKDAYS;
    let days = (u64::from(week) * EACH_WEEK) << 1;
    u32::try_from(days & u64::from(ALL_DAYS)).unwrap_or_default()
}

/// Saturday goes back and Sunday on, unless that leaves the month; a day that the month lacks has no neighbour.
fn nearest_weekday(day: u32, length: u32, first: u32) -> u32 {
    if day == 0 || day > length {
        return 0;
    }
    let near = match (first + day - 1) % 7 {
        6 if day == 1 => 3,
        6 => day - 1,
        0 if day == length => day - 2,
        0 => day + 1,
        _ => day,
    };
    1 << near
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The matching days of a month, found the slow way for comparison by the caller.
    fn days(rule: Days, year: u32, month: u32) -> Vec<u32> {
        let mask = rule.in_month(year, month, civil::month_start(year, month));
        (0..32).filter(|day| mask >> day & 1 == 1).collect()
    }

    fn each_month() -> impl Iterator<Item = (u32, u32, u32, u32)> {
        (1970..2300).flat_map(|year| (1..=12).map(move |month| (year, month))).map(|(year, month)| {
            let start = civil::month_start(year, month);
            (year, month, start, civil::month_length(year, month))
        })
    }

    #[test]
    fn weekdays_and_days_of_month_match_day_by_day() {
        for (year, month, start, length) in each_month() {
            let (month_days, weekdays) = (0b1010_0000_0000_1110, 0b100_1010);
            let in_days = |day: u32| month_days >> day & 1 == 1;
            let in_week = |day: u32| weekdays >> civil::weekday(start + day - 1) & 1 == 1;
            let both: Vec<u32> = (1..=length).filter(|&day| in_days(day) && in_week(day)).collect();
            let either: Vec<u32> = (1..=length).filter(|&day| in_days(day) || in_week(day)).collect();
            assert_eq!(days(Days::Both { month_days, weekdays }, year, month), both);
            assert_eq!(days(Days::Either { month_days, weekdays }, year, month), either);
        }
    }

    #[test]
    fn the_last_and_the_nth_weekday_are_found() {
        for (year, month, start, length) in each_month() {
            for weekday in 0..7 {
                let of: Vec<u32> =
                    (1..=length).filter(|day| civil::weekday(start + day - 1) == weekday).collect();
                assert_eq!(days(Days::LastWeekday { weekday }, year, month), vec![*of.last().unwrap()]);
                for n in 1..=5 {
                    let expected: Vec<u32> = of.iter().skip(n - 1).take(1).copied().collect();
                    let n = u32::try_from(n).unwrap();
                    assert_eq!(days(Days::NthWeekday { weekday, n }, year, month), expected);
                }
            }
        }
    }

    #[test]
    fn the_nearest_weekday_is_a_weekday_of_the_same_month_and_near() {
        for (year, month, start, length) in each_month() {
            for day in 1..=31 {
                let found = days(Days::Nearest(Anchor::Day(day)), year, month);
                if day > length {
                    assert!(found.is_empty(), "{year}-{month} has no day {day}");
                    continue;
                }
                let best = (1..=length)
                    .filter(|other| (1..=5).contains(&civil::weekday(start + other - 1)))
                    .min_by_key(|other| other.abs_diff(day));
                assert_eq!(found, vec![best.unwrap()], "{year}-{month}-{day}");
                let from_end = length - day;
                assert_eq!(days(Days::Nearest(Anchor::FromEnd(from_end)), year, month), found);
                assert_eq!(days(Days::FromEnd { offset: from_end }, year, month), vec![day]);
            }
            assert!(days(Days::FromEnd { offset: length }, year, month).is_empty());
        }
    }
}
