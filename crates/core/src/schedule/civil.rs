//! Dates of the proleptic Gregorian calendar as numbers, for the search on the hot path.
//!
//! Only dates from 1970 on are needed, so everything is unsigned and nothing can overflow or fail.

/// Seconds of a day of wall time.
pub(super) const DAY: i64 = 86_400;

/// A calendar date: `month` 1–12, `day` 1–31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub(super) year: u32,
    pub(super) month: u32,
    pub(super) day: u32,
}

/// Days before each month in a year without 29 February.
const BEFORE_MONTH: [u32; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// Days since 1970-01-01 to a date.
///
/// Years are counted from March, so that the leap day is the last of its year and the months' lengths follow the
/// line `(153 m + 2) / 5`. Within 400 years there are 146,097 days.
pub(super) fn date(days: u32) -> Date {
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    Date { year: era * 400 + year, month, day }
}

/// Days from 1970-01-01 to the first day of a month from 1970 on.
pub(super) fn month_start(year: u32, month: u32) -> u32 {
    let past = year - 1;
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    let new_year = 365 * past + past / 4 - past / 100 + past / 400 - 719_162;
    new_year + BEFORE_MONTH[month_index(month)] + u32::from(month > 2 && is_leap(year))
}

/// The number of days of a month.
pub(super) fn month_length(year: u32, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the week, Sunday being 0.
pub(super) fn weekday(days: u32) -> u32 {
    // 1970-01-01 was a Thursday.
    (days + 4) % 7
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_index(month: u32) -> usize {
    usize::try_from(month - 1).unwrap_or_default().min(11)
}

#[cfg(test)]
mod tests {
    use chrono::{Datelike, NaiveDate};

    use super::*;

    #[test]
    fn every_day_to_the_year_2600_agrees_with_chrono() {
        let mut expected = NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
        for days in 0..230_000 {
            let got = date(days);
            assert_eq!(i32::try_from(got.year).unwrap(), expected.year());
            assert_eq!((got.month, got.day), (expected.month(), expected.day()));
            assert_eq!(weekday(days), expected.weekday().num_days_from_sunday());
            assert_eq!(month_start(got.year, got.month) + got.day - 1, days);
            let next = expected.succ_opt().unwrap();
            assert_eq!(month_length(got.year, got.month) == got.day, next.month() != expected.month());
            expected = next;
        }
    }
}
