//! When a job runs: cron expressions, intervals and instants of a file become schedules.

use std::ops::Range;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use punctual::{Schedule, Zone};
use punctual_core::Timestamp;
use punctual_core::schedule::{Cron, CronError, Dst, Every, Once};
use punctual_core::zone::Reading;
use toml::Spanned;
use toml::value::{Datetime, Offset};

use super::raw::{DstRules, Positive};
use super::source::Source;
use crate::trouble::Trouble;

/// The keys that say when; exactly one of the first four is there.
#[derive(Debug)]
pub(crate) struct When<'a> {
    pub(crate) cron: Option<&'a Spanned<String>>,
    pub(crate) unix_cron: Option<&'a Spanned<String>>,
    pub(crate) every: Option<&'a Spanned<Positive>>,
    pub(crate) at: Option<&'a Spanned<Datetime>>,
    pub(crate) dst: Option<DstRules>,
    /// The zone, if the trigger, its job or the defaults name one.
    pub(crate) zone: Option<Zone>,
    pub(crate) start: Option<Timestamp>,
}

impl When<'_> {
    /// How many of the keys are there.
    pub(crate) fn count(&self) -> usize {
        [self.cron.is_some(), self.unix_cron.is_some(), self.every.is_some(), self.at.is_some()]
            .into_iter()
            .filter(|there| *there)
            .count()
    }

    pub(crate) fn schedule(&self, source: &Source, place: Range<usize>) -> Result<Schedule, Trouble> {
        let zone = || self.zone.clone().unwrap_or_else(Zone::utc);
        match (self.cron, self.unix_cron, self.every, self.at) {
            (Some(text), None, None, None) => {
                let cron = Cron::quartz(text.get_ref(), zone());
                cron.map(|cron| self.with_dst(cron)).map_err(|error| cron_trouble(source, "cron", text, &error))
            }
            (None, Some(text), None, None) => {
                let cron = Cron::unix(text.get_ref(), zone());
                cron.map(|cron| self.with_dst(cron)).map_err(|error| cron_trouble(source, "unix_cron", text, &error))
            }
            (None, None, Some(every), None) => {
                let interval = Every::new(every.get_ref().0)
                    .map_err(|error| source.trouble(every.span(), &format!("`every`: {}; choose another", error.message())))?;
                Ok(Schedule::Every(match self.start {
                    Some(start) => interval.anchored_at(start),
                    None => interval,
                }))
            }
            (None, None, None, Some(at)) => {
                Ok(Schedule::Once(Once::new(instant(source, "at", at, self.zone.as_ref())?)))
            }
            (None, None, None, None) => Err(source.trouble(
                place,
                "nothing says when it runs; add one of `cron`, `unix_cron`, `every` or `at`, or a list `triggers`",
            )),
            _ => Err(source.trouble(
                place,
                "more than one key says when it runs; keep one of `cron`, `unix_cron`, `every` and `at`, or make a list `triggers`",
            )),
        }
    }

    fn with_dst(&self, cron: Cron) -> Schedule {
        let own = cron.dst();
        Schedule::Cron(match self.dst {
            Some(rules) => {
                let dst =
                    Dst { gap: rules.gap.unwrap_or(own.gap), overlap: rules.overlap.unwrap_or(own.overlap) };
                cron.with_dst(dst)
            }
            None => cron,
        })
    }
}

/// Points at the column within the expression.
fn cron_trouble(source: &Source, key: &str, text: &Spanned<String>, error: &CronError) -> Trouble {
    let span = text.span();
    let written = source.text.get(span.clone()).unwrap_or_default();
    let inner = written.get(1..written.len().saturating_sub(1)).unwrap_or_default();
    // In a string without escapes each letter is where it seems to be.
    let at = if inner == text.get_ref() {
        let offset =
            inner.char_indices().nth(error.column().saturating_sub(1)).map_or(inner.len(), |(at, _)| at);
        let width = inner.get(offset..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        span.start + 1 + offset..span.start + 1 + offset + width
    } else {
        span
    };
    let message = format!("`{key}`: {} (column {} of the expression)", error.message(), error.column());
    source.trouble(at, &message).hint(error.hint())
}

/// The instant of a date-time: with its own offset, or as wall time of `zone`.
pub(crate) fn instant(
    source: &Source,
    key: &str,
    value: &Spanned<Datetime>,
    zone: Option<&Zone>,
) -> Result<Timestamp, Trouble> {
    let wrong = |why: &str| source.trouble(value.span(), &format!("`{key}`: {why}"));
    let written = value.get_ref();
    let (Some(date), Some(time)) = (written.date, written.time) else {
        return Err(wrong("not a date with a time; write it like 2026-12-24T18:00:00+01:00"));
    };
    let no_such = || wrong("there is no such date or time; check day, hour and minute");
    let date =
        NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into()).ok_or_else(no_such)?;
    let (second, nanosecond) = (time.second.unwrap_or(0), time.nanosecond.unwrap_or(0));
    // A leap second is the second after it: the store's clock has no other.
    let leap = second == 60;
    let second = if leap { 59 } else { second };
    let time = NaiveTime::from_hms_nano_opt(time.hour.into(), time.minute.into(), second.into(), nanosecond)
        .ok_or_else(no_such)?;
    let local: NaiveDateTime = date.and_time(time);
    let micros = local.and_utc().timestamp_micros().saturating_add(if leap { 1_000_000 } else { 0 });
    let offset = match written.offset {
        Some(Offset::Z) => 0,
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        None => {
            let zone =
                zone.ok_or_else(|| wrong("it has no offset; add one (…+01:00, or Z), or give a `zone`"))?;
            return match zone.resolve(local) {
                Reading::Once(at) => Ok(at),
                Reading::Skipped { .. } => Err(wrong(&format!(
                    "this wall time does not exist in {zone}, where the clocks are put forward over it; write another, or with an offset"
                ))),
                Reading::Twice { .. } => Err(wrong(&format!(
                    "this wall time comes twice in {zone}, where the clocks are put back over it; write it with the offset you mean"
                ))),
            };
        }
    };
    Ok(Timestamp::from_micros(micros.saturating_sub(offset * 60_000_000)))
}
