//! The oracle's definitions as ours.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc, Weekday};
use punctual_core::calendar::{Calendar, ClockTime, Excludes};
use punctual_core::quartz::{Instruction, Trigger};
use punctual_core::schedule::{
    CalendarInterval, CalendarUnit, Clocks, Cron, Daily, Dst, TimeOfDay, Weekdays,
};
use punctual_core::{Timestamp, Zone};
use serde_json::Value;

use super::zones::Zones;

/// The year after which the oracle's Quartz gave up: a hundred years after the year of its clock.
const LAST_YEAR: i32 = 2126;

pub(super) fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value[name].as_str().ok_or_else(|| format!("`{name}` is no text"))
}

pub(super) fn instant(value: &Value) -> Result<Timestamp, String> {
    let text = value.as_str().ok_or("an instant is missing")?;
    text.parse::<DateTime<Utc>>().map(Timestamp::from).map_err(|error| format!("{text}: {error}"))
}

fn optional_instant(value: &Value) -> Result<Option<Timestamp>, String> {
    if value.is_null() { Ok(None) } else { instant(value).map(Some) }
}

fn number<T: TryFrom<i64>>(value: &Value, name: &str) -> Result<T, String> {
    let number = value[name].as_i64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("`{name}` is no number that fits"))
}

fn flag(value: &Value, name: &str) -> Result<bool, String> {
    value[name].as_bool().ok_or_else(|| format!("`{name}` is neither true nor false"))
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    value[name].as_array().map(Vec::as_slice).ok_or_else(|| format!("`{name}` is no list"))
}

fn ours<T>(result: Result<T, impl std::fmt::Display>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

pub(super) fn zone(value: &Value, zones: &Zones) -> Result<Zone, String> {
    zones.get(text(value, "tz")?)
}

/// The expression of a case, or why we refuse it.
pub(super) fn cron(value: &Value, zones: &Zones) -> Result<Cron, String> {
    let cron = ours(Cron::quartz(text(value, "expr")?, zone(value, zones)?))?;
    Ok(cron.with_dst(Dst::quartz()))
}

/// An expression as a trigger that has always been there.
pub(super) fn endless(cron: Cron) -> Result<Trigger, String> {
    let long_ago = Timestamp::from_secs(-4_000_000_000);
    Ok(ours(Trigger::cron(cron, long_ago, None))?.giving_up_after(LAST_YEAR))
}

pub(super) fn trigger(value: &Value, zones: &Zones) -> Result<Trigger, String> {
    let start = instant(&value["start"])?;
    let end = optional_instant(&value["end"])?;
    let repeat = || {
        let count: i64 = number(value, "repeat_count")?;
        if count == -1 { Ok(None) } else { u32::try_from(count).map(Some).map_err(|e| e.to_string()) }
    };
    let trigger = match text(value, "type")? {
        "simple" => {
            let interval = Duration::from_millis(number(value, "repeat_interval_ms")?);
            Trigger::simple(start, end, interval, repeat()?)
        }
        "cron" => Trigger::cron(cron(value, zones)?, start, end),
        "calendar_interval" => {
            let unit = match text(value, "unit")? {
                "SECOND" => CalendarUnit::Second,
                "MINUTE" => CalendarUnit::Minute,
                "HOUR" => CalendarUnit::Hour,
                "DAY" => CalendarUnit::Day,
                "WEEK" => CalendarUnit::Week,
                "MONTH" => CalendarUnit::Month,
                "YEAR" => CalendarUnit::Year,
                unit => return Err(format!("unit {unit}")),
            };
            let clocks = Clocks::Quartz {
                preserve_hour_of_day: flag(value, "preserve_hour_of_day")?,
                skip_day_if_hour_does_not_exist: flag(value, "skip_day_if_hour_does_not_exist")?,
            };
            let interval = number(value, "interval")?;
            let steps = ours(CalendarInterval::new(interval, unit, start, zone(value, zones)?))?;
            Trigger::calendar_interval(steps.with_clocks(clocks), end)
        }
        "daily_time_interval" => {
            let unit = match text(value, "unit")? {
                "SECOND" => 1,
                "MINUTE" => 60,
                "HOUR" => 3_600,
                unit => return Err(format!("unit {unit}")),
            };
            let interval: u32 = number(value, "interval")?;
            let from: TimeOfDay = ours(text(value, "start_time_of_day")?.parse())?;
            let to = value["end_time_of_day"].as_str().unwrap_or("23:59:59");
            let days = weekdays(list(value, "days_of_week")?)?;
            let daily = ours(Daily::new(interval.saturating_mul(unit), zone(value, zones)?))?;
            let daily = ours(ours(daily.between(from, ours(to.parse())?))?.on(days))?;
            Trigger::daily(daily, start, end, repeat()?)
        }
        other => return Err(format!("trigger type {other}")),
    };
    Ok(ours(trigger)?.giving_up_after(LAST_YEAR))
}

pub(super) fn instruction(case: &Value, trigger: &Trigger) -> Result<Instruction, String> {
    let code = number(case, "misfire_instruction")?;
    ours(Instruction::from_code(trigger.trigger_type(), code))
}

pub(super) fn calendar(value: &Value, zones: &Zones) -> Result<Option<Calendar>, String> {
    if value.is_null() {
        return Ok(None);
    }
    let zone = || zone(value, zones);
    let calendar = match text(value, "type")? {
        "base" => Calendar::new(Excludes::Nothing),
        "annual" => {
            let day = |day: &Value| {
                let (month, day) = day.as_str()?.split_once('-')?;
                Some((month.parse().ok()?, day.parse().ok()?))
            };
            let days: Option<Vec<(u8, u8)>> = list(value, "excluded_days")?.iter().map(day).collect();
            Calendar::annual(days.ok_or("a day of the year is wrong")?, zone()?)
        }
        "monthly" => {
            let day = |day: &Value| day.as_u64().and_then(|day| u8::try_from(day).ok());
            let days: Option<Vec<u8>> = list(value, "excluded_days")?.iter().map(day).collect();
            Calendar::monthly(days.ok_or("a day of the month is wrong")?, zone()?)
        }
        "weekly" => Ok(Calendar::weekly(weekdays(list(value, "excluded_days")?)?, zone()?)),
        "holiday" => {
            let date = |date: &Value| date.as_str()?.parse::<NaiveDate>().ok();
            let dates: Option<Vec<_>> = list(value, "excluded_dates")?.iter().map(date).collect();
            Calendar::holiday(dates.ok_or("a date is wrong")?, zone()?)
        }
        "daily" => {
            Calendar::daily(clock(value, "from")?, clock(value, "to")?, flag(value, "invert")?, zone()?)
        }
        "cron" => Ok(Calendar::cron(cron(value, zones)?)),
        other => return Err(format!("calendar type {other}")),
    };
    let calendar = ours(calendar)?;
    match self::calendar(&value["base"], zones)? {
        Some(base) => ours(calendar.with_base(base)).map(Some),
        None => Ok(Some(calendar)),
    }
}

/// `HH:MM:SS:mmm`.
fn clock(value: &Value, name: &str) -> Result<ClockTime, String> {
    let text = text(value, name)?;
    let (clock, milli) = text.rsplit_once(':').ok_or_else(|| format!("{text} is no time of day"))?;
    ours(format!("{clock}.{milli}").parse())
}

/// Numbers from Sunday, which is 1.
fn weekdays(numbers: &[Value]) -> Result<Weekdays, String> {
    let day = |number: &Value| match number.as_i64() {
        Some(1) => Ok(Weekday::Sun),
        Some(2) => Ok(Weekday::Mon),
        Some(3) => Ok(Weekday::Tue),
        Some(4) => Ok(Weekday::Wed),
        Some(5) => Ok(Weekday::Thu),
        Some(6) => Ok(Weekday::Fri),
        Some(7) => Ok(Weekday::Sat),
        _ => Err(format!("{number} is no day of the week")),
    };
    numbers.iter().map(day).collect()
}
