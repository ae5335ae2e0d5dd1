//! Wall times on the way to instants, for the schedules that step by days: rules for gaps and overlaps in one place.

use std::time::Duration;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime};

use super::cron::{Dst, Gap, Overlap};
use crate::time::Timestamp;
use crate::zone::{Reading, Zone};

/// The first local year in which anything fires.
pub(super) const FIRST_YEAR: i32 = 1970;
/// The last local year in which anything fires, as for cron expressions.
pub(super) const LAST_YEAR: i32 = 2299;

/// The instants of one wall time under the rules of [`Dst`], in order: none, one or two.
pub(super) fn instants(zone: &Zone, wall: NaiveDateTime, dst: Dst) -> [Option<Timestamp>; 2] {
    match zone.resolve(wall) {
        Reading::Once(at) => [Some(at), None],
        Reading::Skipped { gap_end, .. } => match dst.gap {
            Gap::AtEndOfGap => [Some(gap_end), None],
            Gap::Skip => [None, None],
        },
        Reading::Twice { first, second } => match dst.overlap {
            Overlap::First => [Some(first), None],
            Overlap::Second => [Some(second), None],
            Overlap::Both => [Some(first), Some(second)],
        },
    }
}

/// The first instant at which the wall clock shows `wall` or later.
pub(super) fn earliest(zone: &Zone, wall: NaiveDateTime) -> Timestamp {
    match zone.resolve(wall) {
        Reading::Once(at) | Reading::Twice { first: at, .. } | Reading::Skipped { gap_end: at, .. } => at,
    }
}

/// The last instant at which the wall clock shows `wall`, or the end of the gap that holds it.
pub(super) fn latest(zone: &Zone, wall: NaiveDateTime) -> Timestamp {
    match zone.resolve(wall) {
        Reading::Once(at) | Reading::Twice { second: at, .. } | Reading::Skipped { gap_end: at, .. } => at,
    }
}

/// Quartz's reading: the later pass of an overlap; in a gap, moved on by the gap's length.
pub(super) fn shifted(zone: &Zone, wall: NaiveDateTime) -> Timestamp {
    match zone.resolve(wall) {
        Reading::Once(at) | Reading::Twice { second: at, .. } | Reading::Skipped { shifted: at, .. } => at,
    }
}

/// A date and a time of day as one wall time.
pub(super) fn on(date: NaiveDate, time: NaiveTime) -> NaiveDateTime {
    date.and_time(time)
}

/// The date `days` later, while it lies in the years that fire.
pub(super) fn later(date: NaiveDate, days: u64) -> Option<NaiveDate> {
    date.checked_add_days(Days::new(days)).filter(|date| date.year() <= LAST_YEAR)
}

/// The local date at `t`, clamped to the years that fire, so that it can be counted from.
pub(super) fn date_at(zone: &Zone, t: Timestamp) -> NaiveDate {
    let end = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    zone.to_local(t).date().clamp(end(FIRST_YEAR, 1, 1), end(LAST_YEAR, 12, 31))
}

/// The instant a microsecond earlier.
pub(super) fn just_before(t: Timestamp) -> Timestamp {
    t.minus(Duration::from_micros(1))
}
