//! The search for the next instant: first among wall times, then from wall time to instant.
//!
//! Wall times are seconds since 1970-01-01T00:00:00 of the wall clock, instants are seconds since the Unix epoch.
//! Nothing here allocates.

use super::parse::Fields;
use super::{Cron, Gap, Overlap};
use crate::schedule::civil::{self, DAY};
use crate::time::Timestamp;

/// 2300-01-01T00:00:00, which is no wall time any more.
const END: i64 = 10_413_792_000;

impl Cron {
    /// The first instant at or after `from`.
    pub(super) fn next_second(&self, from: i64) -> Option<i64> {
        // Wall times end at `END`; a day covers every offset. This also keeps the sums below from overflowing.
        let from = from.max(-DAY);
        if from > END + DAY {
            return None;
        }
        let zone = self.zone.table();
        let mut span = zone.span_at(from);
        let mut wall = from + zone.offset(span);

        if span > 0 {
            let (start, before) = (zone.start(span), zone.offset(span - 1));
            if from == start && wall > start + before && self.dst.gap == Gap::AtEndOfGap {
                // The instant right after a gap stands for the wall times in it.
                wall = start + before;
                if self.fields.next_wall(wall)? < start + zone.offset(span) {
                    return Some(start);
                }
                wall = start + zone.offset(span);
            } else if self.dst.overlap == Overlap::First {
                // What the first pass had already is not repeated.
                wall = wall.max(start + before);
            }
        }

        let mut found = self.fields.next_wall(wall);
        loop {
            let offset = zone.offset(span);
            let Some((end, next_offset)) = zone.end(span) else { return found.map(|wall| wall - offset) };
            let overlap = next_offset < offset;
            // The first wall time that this span does not fire.
            let limit =
                if overlap && self.dst.overlap == Overlap::Second { end + next_offset } else { end + offset };
            match found {
                Some(wall) if wall < limit => return Some(wall - offset),
                Some(wall) if wall < end + next_offset && self.dst.gap == Gap::AtEndOfGap => {
                    return Some(end);
                }
                _ => {}
            }
            if overlap && self.dst.overlap != Overlap::First && wall > end + next_offset {
                // Started within the first pass: the second one has wall times before that.
                wall = end + next_offset;
                found = self.fields.next_wall(wall);
            }
            if self.dst.gap == Gap::Skip
                && found.is_some_and(|wall| end + offset <= wall && wall < end + next_offset)
            {
                found = self.fields.next_wall(end + next_offset);
            }
            // Changes between here and the wall time found cannot matter: no wall time lies between.
            span = zone.span_at(found?.saturating_sub(DAY)).max(span + 1);
        }
    }
}

impl Cron {
    /// Whether the clock's face matches anywhere in `[from, until)`, both being seconds of wall time.
    pub(crate) fn shows_within(&self, from: i64, until: i64) -> bool {
        self.fields.next_wall(from).is_some_and(|wall| wall < until)
    }

    /// The end of the run of matching seconds that holds `t`: the first instant, if a later one, at which the wall
    /// clock does not match or changes. [`Timestamp::MAX`] if it matches to the end of the years that fire.
    pub(crate) fn next_unmatched(&self, t: Timestamp) -> Timestamp {
        let second = t.as_micros().div_euclid(1_000_000);
        let zone = self.zone.table();
        let span = zone.span_at(second);
        let offset = zone.offset(span);
        match self.fields.run_end(second.saturating_add(offset)) {
            Some(wall) => {
                let change = zone.end(span).map_or(i64::MAX, |(end, _)| end);
                Timestamp::from_secs((wall - offset).min(change))
            }
            None => Timestamp::MAX,
        }
    }
}

impl Fields {
    /// The first wall time after `from` that does not match, if `from` does. Whole minutes, hours and days that match
    /// are passed at once.
    fn run_end(&self, from: i64) -> Option<i64> {
        let all = |set: u64, size: u32| set.count_ones() == size;
        let minutes_full = all(self.seconds, 60);
        let hours_full = minutes_full && all(self.minutes, 60);
        let days_full = hours_full && self.hours.count_ones() == 24;
        let step = match (minutes_full, hours_full, days_full) {
            (_, _, true) => DAY,
            (_, true, _) => 3_600,
            (true, _, _) => 60,
            _ => 1,
        };
        let mut wall = from;
        while wall < END {
            if !self.match_wall(wall) {
                return Some(wall.max(from.saturating_add(1)));
            }
            wall = (wall.div_euclid(step) + 1) * step;
        }
        None
    }

    pub(super) fn match_wall(&self, wall: i64) -> bool {
        self.next_wall(wall) == Some(wall)
    }

    /// The first wall time at or after `from`.
    fn next_wall(&self, from: i64) -> Option<i64> {
        let from = from.max(0);
        if from >= END {
            return None;
        }
        let today = u32::try_from(from / DAY).ok()?;
        let date = civil::date(today);

        let mut later = 0;
        if self.has_year(date.year) && self.months >> date.month & 1 == 1 {
            let days = self.days.in_month(date.year, date.month, today - (date.day - 1));
            if days >> date.day & 1 == 1
                && let Some(time) = self.next_time(u32::try_from(from % DAY).ok()?)
            {
                return Some(i64::from(today) * DAY + i64::from(time));
            }
            later = days >> date.day >> 1;
        }
        let day = if later != 0 {
            today + 1 + later.trailing_zeros()
        } else {
            self.first_day_after_month(date.year, date.month)?
        };
        Some(i64::from(day) * DAY + i64::from(self.first_time()))
    }

    /// The first time of day at or after `from`, in seconds.
    fn next_time(&self, from: u32) -> Option<u32> {
        let (hour, minute, second) = (from / 3_600, from / 60 % 60, from % 60);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1 {
                let seconds = self.seconds >> second;
                if seconds != 0 {
                    return Some(from + seconds.trailing_zeros());
                }
            }
            let minutes = self.minutes >> minute >> 1;
            if minutes != 0 {
                let minute = minute + 1 + minutes.trailing_zeros();
                return Some(hour * 3_600 + minute * 60 + self.seconds.trailing_zeros());
            }
        }
        let hours = self.hours >> hour >> 1;
        (hours != 0).then(|| {
            let hour = hour + 1 + hours.trailing_zeros();
            hour * 3_600 + self.minutes.trailing_zeros() * 60 + self.seconds.trailing_zeros()
        })
    }

    fn first_time(&self) -> u32 {
        self.hours.trailing_zeros() * 3_600
            + self.minutes.trailing_zeros() * 60
            + self.seconds.trailing_zeros()
    }

    fn first_day_after_month(&self, year: u32, month: u32) -> Option<u32> {
        let mut year = year;
        let mut months = if self.has_year(year) { self.months & u32::MAX << month << 1 } else { 0 };
        loop {
            while months != 0 {
                let month = months.trailing_zeros();
                months &= months - 1;
                let start = civil::month_start(year, month);
                let days = self.days.in_month(year, month, start);
                if days != 0 {
                    return Some(start + days.trailing_zeros() - 1);
                }
            }
            year = self.next_year(year + 1)?;
            months = self.months;
        }
    }
}
