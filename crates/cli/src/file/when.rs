//! The keys that say when become schedules: cron expressions, intervals, steps of the calendar, daily windows.

use std::ops::Range;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use punctual::{Error, Schedule, Zone};
use punctual_core::Timestamp;
use punctual_core::schedule::{
    CalendarInterval, Clocks, Cron, CronError, Daily, DailyClocks, Dst, Every, Once, TimeOfDay,
};
use punctual_core::zone::Reading;
use toml::Spanned;
use toml::value::{Datetime, Offset};

use super::raw::{Steps, Trigger, Window};
use super::source::Source;
use super::value::{Clock, DstRules};
use crate::trouble::Trouble;

/// The keys that say when, in the order of [`When::keys`].
const KEYS: &str = "`cron`, `unix_cron`, `every`, `at`, `calendar_interval` and `daily`";

/// A trigger with what it takes from its job and from the defaults.
#[derive(Debug)]
pub(super) struct When<'a> {
    pub(super) source: &'a Source,
    pub(super) trigger: &'a Trigger,
    /// Rules for clock changes of the trigger or its job.
    pub(super) dst: Option<&'a Spanned<DstRules>>,
    pub(super) default_dst: Option<DstRules>,
    /// The zone, if the trigger, its job or the defaults name one.
    pub(super) zone: Option<Zone>,
    pub(super) start: Option<Timestamp>,
}

impl When<'_> {
    /// Where the keys are that say when; exactly one is to be there.
    pub(super) fn keys(trigger: &Trigger) -> [Option<Range<usize>>; 6] {
        [
            trigger.cron.as_ref().map(Spanned::span),
            trigger.unix_cron.as_ref().map(Spanned::span),
            trigger.every.as_ref().map(Spanned::span),
            trigger.at.as_ref().map(Spanned::span),
            trigger.calendar_interval.as_ref().map(Spanned::span),
            trigger.daily.as_ref().map(Spanned::span),
        ]
    }

    pub(super) fn schedule(&self, place: Range<usize>) -> Result<Schedule, Trouble> {
        match Self::keys(self.trigger).into_iter().flatten().count() {
            0 => {
                let message = format!(
                    "nothing says when it runs; add one of {}, or a list `triggers`",
                    KEYS.replace(" and ", " or ")
                );
                return Err(self.source.trouble(place, &message));
            }
            1 => {}
            _ => {
                let message = format!(
                    "more than one key says when it runs; keep one of {KEYS}, or make a list `triggers`"
                );
                return Err(self.source.trouble(place, &message));
            }
        }
        let Trigger { cron, unix_cron, every, at, calendar_interval, daily, .. } = self.trigger;
        if let Some(dst) = self.dst
            && (every.is_some() || at.is_some())
        {
            let message = "`dst` concerns schedules of wall times, such as cron expressions, only; remove it";
            return Err(self.source.trouble(dst.span(), message));
        }
        if let Some(text) = cron {
            return self.cron("cron", text, Cron::quartz);
        }
        if let Some(text) = unix_cron {
            return self.cron("unix_cron", text, Cron::unix);
        }
        if let Some(every) = every {
            let interval = Every::new(every.get_ref().0).map_err(|error| {
                let message = format!("`every`: {}; choose another", error.message());
                self.source.trouble(every.span(), &message)
            })?;
            return Ok(Schedule::Every(match self.start {
                Some(start) => interval.anchored_at(start),
                None => interval,
            }));
        }
        if let Some(at) = at {
            return Ok(Schedule::Once(Once::new(instant(self.source, "at", at, self.zone.as_ref())?)));
        }
        if let Some(steps) = calendar_interval {
            return self.steps(steps);
        }
        match daily {
            Some(daily) => self.daily(daily),
            None => Err(self.source.trouble(place, "nothing says when it runs; add `cron`")),
        }
    }

    fn cron(
        &self,
        key: &str,
        text: &Spanned<String>,
        make: impl Fn(&str, Zone) -> Result<Cron, CronError>,
    ) -> Result<Schedule, Trouble> {
        let cron = make(text.get_ref(), self.zone_or_utc())
            .map_err(|error| cron_trouble(self.source, key, text, &error))?;
        let own = cron.dst();
        Ok(Schedule::Cron(match self.rules() {
            Some(rules) => cron.with_dst(merged(own, rules)),
            None => cron,
        }))
    }

    fn steps(&self, given: &Spanned<Steps>) -> Result<Schedule, Trouble> {
        let wrong = |why: &str| self.source.trouble(given.span(), &format!("`calendar_interval`: {why}"));
        let Steps { every, unit, start, zone, month_end } = given.get_ref();
        let zone = zone.as_ref().map(|zone| zone.0.clone()).or_else(|| self.zone.clone());
        let start = match start {
            Some(start) => Some(instant(self.source, "start", start, zone.as_ref())?),
            None => self.start,
        };
        let Some(start) = start else {
            return Err(wrong(
                "nothing says where its steps begin; add `start`, such as 2026-01-31T09:00:00Z",
            ));
        };
        let steps = CalendarInterval::new(*every, *unit, start, zone.unwrap_or_else(Zone::utc))
            .map_err(|error| wrong(&format!("{}; choose another", error.message())))?
            .with_month_end(*month_end);
        let steps = match (self.rules(), steps.clocks()) {
            (Some(DstRules { quartz: true, .. }), _) => steps.with_clocks(Clocks::Quartz {
                preserve_hour_of_day: false,
                skip_day_if_hour_does_not_exist: false,
            }),
            (Some(rules), Clocks::Dst(own)) => steps.with_clocks(Clocks::Dst(merged(own, rules))),
            _ => steps,
        };
        Ok(Schedule::CalendarInterval(steps))
    }

    fn daily(&self, given: &Spanned<Window>) -> Result<Schedule, Trouble> {
        let wrong = |why: &str| self.source.trouble(given.span(), &format!("`daily`: {why}"));
        let failed = |error: Error| wrong(&format!("{}; correct it", error.message()));
        let Window { every, from, to, days, count, zone } = given.get_ref();
        if let Some(dst) = self.dst.filter(|dst| !dst.get_ref().quartz) {
            let message = "`dst`: a daily window has one rule of its own; use \"quartz\", or remove it";
            return Err(self.source.trouble(dst.span(), message));
        }
        let seconds = Some(every.0).filter(|span| span.subsec_nanos() == 0);
        let Some(seconds) = seconds.and_then(|span| u32::try_from(span.as_secs()).ok()) else {
            return Err(wrong("its interval is not a number of whole seconds up to a day; choose another"));
        };
        let zone = zone.as_ref().map_or_else(|| self.zone_or_utc(), |zone| zone.0.clone());
        let daily = Daily::new(seconds, zone).map_err(failed)?;
        let time = |clock: &Option<Clock>, otherwise: TimeOfDay| match clock {
            Some(Clock(time)) => TimeOfDay::new(time.hour(), time.minute(), time.second()).map_err(failed),
            None => Ok(otherwise),
        };
        let (first, last) = daily.window();
        let mut daily = daily.between(time(from, first)?, time(to, last)?).map_err(failed)?;
        if let Some(days) = days {
            daily = daily.on(*days).map_err(failed)?;
        }
        if self.rules().is_some_and(|rules| rules.quartz) {
            daily = daily.with_clocks(DailyClocks::Quartz);
        }
        if let Some(count) = count {
            let Some(repeat) = count.checked_sub(1) else {
                return Err(wrong("a `count` of 0 never fires; use 1 or more, or leave it out"));
            };
            let Some(start) = self.start else {
                return Err(wrong("nothing says from when on `count` counts; add `start` to the trigger"));
            };
            daily = daily.repeating(repeat, start);
        }
        Ok(Schedule::Daily(daily))
    }

    fn rules(&self) -> Option<DstRules> {
        self.dst.map(|dst| *dst.get_ref()).or(self.default_dst)
    }

    fn zone_or_utc(&self) -> Zone {
        self.zone.clone().unwrap_or_else(Zone::utc)
    }
}

fn merged(own: Dst, rules: DstRules) -> Dst {
    Dst { gap: rules.gap.unwrap_or(own.gap), overlap: rules.overlap.unwrap_or(own.overlap) }
}

/// Points at the column within the expression.
pub(super) fn cron_trouble(source: &Source, key: &str, text: &Spanned<String>, error: &CronError) -> Trouble {
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
