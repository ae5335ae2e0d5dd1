//! All-day events of an iCalendar file (RFC 5545) as dates.
//!
//! A reader of the part that holiday files use. What it does not understand is an error with the number of the line,
//! because a holiday that is passed over in silence is a job that runs when it should not.

use std::collections::BTreeSet;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::error::{Error, Result};

/// The longest file, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// The most dates of one file.
const MAX_DATES: usize = 100_000;
/// The longest event, in days.
const MAX_DAYS: i64 = 366;

/// The dates of all events up to the end of a year, sorted.
pub(super) fn dates(text: &str, until_year: i32) -> Result<Vec<NaiveDate>> {
    if text.len() > MAX_BYTES {
        return Err(Error::invalid("ics", format!("the file is longer than {MAX_BYTES} bytes")));
    }
    let mut dates = BTreeSet::new();
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut event = Event::default();
    let mut calendars = 0;
    for (number, line) in unfold(text) {
        let line = Line::read(number, &line)?;
        match line.name.as_str() {
            "BEGIN" => {
                let component = line.value.to_ascii_uppercase();
                if open.is_empty() && component != "VCALENDAR" {
                    return Err(line.wrong("the file does not begin with BEGIN:VCALENDAR"));
                }
                calendars += usize::from(open.is_empty());
                if component == "VEVENT" {
                    event = Event { line: number, ..Event::default() };
                }
                open.push((number, component));
            }
            "END" => match open.pop() {
                Some((_, component)) if component == line.value.to_ascii_uppercase() => {
                    if component == "VEVENT" {
                        event.expand(until_year, &mut dates)?;
                    }
                }
                Some((begin, component)) => {
                    let message = format!("{} ends where {component} of line {begin} is open", line.value);
                    return Err(line.wrong(&message));
                }
                None => return Err(line.wrong("there is nothing to end")),
            },
            _ if open.is_empty() => return Err(line.wrong("the file does not begin with BEGIN:VCALENDAR")),
            _ if open.last().is_some_and(|(_, component)| component == "VEVENT") => event.take(&line)?,
            _ => {}
        }
        if dates.len() > MAX_DATES {
            return Err(line.wrong(&format!("there are more than {MAX_DATES} dates")));
        }
    }
    match (open.pop(), calendars) {
        (Some((begin, component)), _) => {
            Err(Error::invalid("ics", format!("line {begin}: {component} does not end")))
        }
        (None, 0) => Err(Error::invalid("ics", "line 1: the file does not begin with BEGIN:VCALENDAR")),
        (None, _) => Ok(dates.into_iter().collect()),
    }
}

/// Joins folded lines; each with its number. Empty lines are left out.
fn unfold(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some((_, last))) => last.push_str(more),
            _ if line.is_empty() => {}
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    lines
}

/// A content line: `NAME;PARAMETER=…:value`.
struct Line {
    number: usize,
    name: String,
    parameters: Vec<String>,
    value: String,
}

impl Line {
    fn read(number: usize, text: &str) -> Result<Self> {
        let mut quoted = false;
        let colon = text.find(|letter| {
            quoted ^= letter == '"';
            letter == ':' && !quoted
        });
        let Some((head, value)) = colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) else {
            return Err(Error::invalid("ics", format!("line {number}: there is no `:` after a name")));
        };
        let mut parts = head.split(';').map(str::to_ascii_uppercase);
        let name = parts.next().unwrap_or_default();
        Ok(Self { number, name, parameters: parts.collect(), value: value.trim().to_owned() })
    }

    fn wrong(&self, message: &str) -> Error {
        Error::invalid("ics", format!("line {}: {message}", self.number))
    }

    /// The dates of a comma-separated value.
    fn dates(&self) -> Result<Vec<NaiveDate>> {
        if self
            .parameters
            .iter()
            .any(|parameter| parameter.starts_with("VALUE=") && parameter != "VALUE=DATE")
        {
            return Err(self.wrong(&format!("{} is not a date; only all-day events are read", self.name)));
        }
        self.value.split(',').map(|text| self.date(text)).collect()
    }

    fn date(&self, text: &str) -> Result<NaiveDate> {
        let shown: String = text.chars().take(40).flat_map(char::escape_debug).collect();
        let wrong = || {
            let message =
                format!("{}: `{shown}` is not a date YYYYMMDD; only all-day events are read", self.name);
            self.wrong(&message)
        };
        let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
        let part = |range| text.get(range).and_then(|part: &str| part.parse::<u32>().ok());
        let date = || {
            let year = i32::try_from(part(0..4)?).ok()?;
            NaiveDate::from_ymd_opt(year, part(4..6)?, part(6..8)?)
        };
        if digits { date().ok_or_else(wrong) } else { Err(wrong()) }
    }
}

#[derive(Default)]
struct Event {
    line: usize,
    start: Option<NaiveDate>,
    end: Option<NaiveDate>,
    days: Option<i64>,
    rule: Option<Rule>,
    more: Vec<NaiveDate>,
    except: Vec<NaiveDate>,
    cancelled: bool,
}

impl Event {
    fn take(&mut self, line: &Line) -> Result<()> {
        match line.name.as_str() {
            "DTSTART" => self.start = line.dates()?.first().copied(),
            "DTEND" => self.end = line.dates()?.first().copied(),
            "DURATION" => self.days = Some(duration(line)?),
            "RDATE" => self.more.extend(line.dates()?),
            "EXDATE" => self.except.extend(line.dates()?),
            "RRULE" if self.rule.is_some() => return Err(line.wrong("a second RRULE is not understood")),
            "RRULE" => self.rule = Some(Rule::read(line)?),
            "EXRULE" | "RECURRENCE-ID" => {
                return Err(line.wrong(&format!("{} is not understood", line.name)));
            }
            "STATUS" => self.cancelled = line.value.eq_ignore_ascii_case("CANCELLED"),
            _ => {}
        }
        Ok(())
    }

    fn expand(&self, until_year: i32, dates: &mut BTreeSet<NaiveDate>) -> Result<()> {
        let wrong = |message: &str| Error::invalid("ics", format!("line {}: {message}", self.line));
        if self.cancelled {
            return Ok(());
        }
        let start = self.start.ok_or_else(|| wrong("the event has no DTSTART"))?;
        let days = match (self.end, self.days) {
            // The end of an all-day event is the day after it; some programs write the same day for one day.
            (Some(end), _) if end == start => 1,
            (Some(end), _) => (end - start).num_days(),
            (None, days) => days.unwrap_or(1),
        };
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(wrong(&format!(
                "the event lasts {days} days, which is not between 1 and {MAX_DAYS}"
            )));
        }
        let mut begins = BTreeSet::from([start]);
        if let Some(rule) = &self.rule {
            begins.extend(rule.expand(start, until_year));
        }
        begins.extend(&self.more);
        for begin in begins.into_iter().filter(|begin| !self.except.contains(begin)) {
            let days = begin.iter_days().take(usize::try_from(days).unwrap_or(1));
            dates.extend(days.filter(|date| date.year() <= until_year));
            if dates.len() > MAX_DATES {
                return Err(wrong(&format!("there are more than {MAX_DATES} dates")));
            }
        }
        Ok(())
    }
}

/// `P3D` or `P2W`.
fn duration(line: &Line) -> Result<i64> {
    let text = line.value.strip_prefix('+').unwrap_or(&line.value);
    let days = |text: &str, unit: char| text.strip_prefix('P')?.strip_suffix(unit)?.parse::<u16>().ok();
    let days = days(text, 'D').map(i64::from).or_else(|| days(text, 'W').map(|weeks| i64::from(weeks) * 7));
    days.ok_or_else(|| line.wrong("DURATION is not in days or weeks; only all-day events are read"))
}

/// A yearly rule.
struct Rule {
    interval: i32,
    count: Option<usize>,
    until: Option<NaiveDate>,
    months: Vec<u32>,
    /// From 1, or from the end of the month if negative.
    month_days: Vec<i32>,
    /// A weekday; which one, or 0 for all of them.
    weekdays: Vec<(i32, Weekday)>,
}

impl Rule {
    fn read(line: &Line) -> Result<Self> {
        let mut rule = Self {
            interval: 1,
            count: None,
            until: None,
            months: Vec::new(),
            month_days: Vec::new(),
            weekdays: Vec::new(),
        };
        let mut yearly = false;
        for part in line.value.to_ascii_uppercase().split(';').filter(|part| !part.is_empty()) {
            let wrong = || line.wrong(&format!("RRULE: `{}` is not understood", part.escape_debug()));
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            match name {
                "FREQ" if value == "YEARLY" => yearly = true,
                "INTERVAL" => rule.interval = number(value, 1..=1000).ok_or_else(wrong)?,
                "COUNT" => {
                    let count = number(value, 1..=100_000).ok_or_else(wrong)?;
                    rule.count = usize::try_from(count).ok();
                }
                // An end with a time of day ends with that day.
                "UNTIL" => rule.until = Some(line.date(value.get(..8).unwrap_or(value))?),
                "BYMONTH" => {
                    let months = value.split(',').map(|text| number(text, 1..=12));
                    let months: Option<Vec<i32>> = months.collect();
                    rule.months = months.ok_or_else(wrong)?.into_iter().map(i32::unsigned_abs).collect();
                }
                "BYMONTHDAY" => {
                    let days = value.split(',').map(|text| number(text, -31..=31).filter(|&day| day != 0));
                    rule.month_days = days.collect::<Option<_>>().ok_or_else(wrong)?;
                }
                "BYDAY" => {
                    rule.weekdays = value.split(',').map(weekday).collect::<Option<_>>().ok_or_else(wrong)?;
                }
                "WKST" => {}
                _ => return Err(wrong()),
            }
        }
        if yearly { Ok(rule) } else { Err(line.wrong("RRULE without FREQ=YEARLY is not understood")) }
    }

    fn expand(&self, start: NaiveDate, until_year: i32) -> Vec<NaiveDate> {
        let until = self.until.unwrap_or(NaiveDate::MAX);
        let mut found = vec![start];
        let mut year = start.year();
        while year <= until_year.min(until.year()).min(9_999) {
            let days = NaiveDate::from_ymd_opt(year, 1, 1).into_iter().flat_map(|date| date.iter_days());
            let days = days.take_while(|date| date.year() == year);
            for date in days.filter(|&date| date > start && date <= until && self.matches(date, start)) {
                if self.count.is_some_and(|count| found.len() >= count) {
                    return found;
                }
                found.push(date);
            }
            year = year.saturating_add(self.interval);
        }
        found
    }

    fn matches(&self, date: NaiveDate, start: NaiveDate) -> bool {
        let (by_day, by_weekday) = (!self.month_days.is_empty(), !self.weekdays.is_empty());
        let month = match (self.months.is_empty(), by_day || by_weekday) {
            (false, _) => self.months.contains(&date.month()),
            (true, true) => true,
            (true, false) => date.month() == start.month(),
        };
        if !month {
            return false;
        }
        if !by_day && !by_weekday {
            return date.day() == start.day();
        }
        (!by_day || self.month_days.iter().any(|&day| day == from_start(date) || day == from_end(date)))
            && (!by_weekday || self.weekdays.iter().any(|&(nth, day)| self.is_nth(date, nth, day)))
    }

    /// Whether a date is the `nth` such weekday, of its month if the rule names months, else of its year.
    fn is_nth(&self, date: NaiveDate, nth: i32, weekday: Weekday) -> bool {
        if date.weekday() != weekday {
            return false;
        }
        let week = |day: i32| day.signum() * ((day.abs() - 1) / 7 + 1);
        let (from_start, from_end) = if self.months.is_empty() {
            let ordinal = i32::try_from(date.ordinal()).unwrap_or(1);
            let length = if date.leap_year() { 366 } else { 365 };
            (ordinal, ordinal - length - 1)
        } else {
            (from_start(date), from_end(date))
        };
        nth == 0 || nth == week(from_start) || nth == week(from_end)
    }
}

fn from_start(date: NaiveDate) -> i32 {
    i32::try_from(date.day()).unwrap_or(1)
}

/// -1 for the last day of a month.
fn from_end(date: NaiveDate) -> i32 {
    let rest = (1..=31).take_while(|&days| {
        date.checked_add_days(Days::new(days)).is_some_and(|other| other.month() == date.month())
    });
    -1 - i32::try_from(rest.count()).unwrap_or(0)
}

fn number(text: &str, range: std::ops::RangeInclusive<i32>) -> Option<i32> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// `MO`, `1MO`, `-1MO`.
fn weekday(text: &str) -> Option<(i32, Weekday)> {
    let (nth, name) = text.split_at_checked(text.len().checked_sub(2)?)?;
    let day = match name {
        "MO" => Weekday::Mon,
        "TU" => Weekday::Tue,
        "WE" => Weekday::Wed,
        "TH" => Weekday::Thu,
        "FR" => Weekday::Fri,
        "SA" => Weekday::Sat,
        "SU" => Weekday::Sun,
        _ => return None,
    };
    if nth.is_empty() { Some((0, day)) } else { Some((number(nth, -53..=53).filter(|&nth| nth != 0)?, day)) }
}
