//! `punctual next`: the instants of an expression, with what the clocks do to them.

use punctual::{Schedule, Zone};
use punctual_core::schedule::{Cron, CronError, Dst, Every, Gap};
use punctual_core::zone::Reading;
use punctual_core::{Clock, Timestamp};
use punctual_runtime::SystemClock;
use serde_json::json;

use super::{columns, print, print_json, text};
use crate::args::NextArgs;
use crate::trouble::{Exit, Trouble};

pub(crate) fn next(args: &NextArgs) -> Result<(), Trouble> {
    let usage = |message: &str| {
        let (message, hint) = message.split_once("; ").unwrap_or((message, "see `punctual next --help`"));
        Trouble::new(Exit::Usage, message).hint(hint)
    };
    let zone = Zone::get(&args.zone).map_err(|error| usage(error.message()))?;
    let schedule = read(&args.expression.join(" "), args.unix, &zone)?;
    let after = match &args.after {
        None => SystemClock.wall(),
        Some(after) => moment(after, &zone).map_err(|why| usage(&why))?,
    };
    let rows = upcoming(&schedule, &zone, after, usize::from(args.number));
    if args.json {
        let times: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "utc": text::instant(row.at),
                    "us": row.at.as_micros(),
                    "local": row.local(),
                    "offset": offset(row.offset),
                    "marks": row.marks.iter().map(Mark::name).collect::<Vec<_>>(),
                })
            })
            .collect();
        print_json(
            &json!({ "schedule": schedule, "zone": zone.name(), "after": text::instant(after), "times": times }),
        );
        return Ok(());
    }
    if rows.is_empty() {
        print(&format!("no instant after {}", text::instant(after)));
        return Ok(());
    }
    let table = rows.iter().map(|row| {
        vec![
            weekday(row.at, &zone).to_owned(),
            row.local(),
            offset(row.offset),
            text::instant(row.at),
            text::relative(row.at, after),
            row.marks.iter().map(Mark::text).collect::<Vec<_>>().join("; "),
        ]
    });
    let local = format!("LOCAL ({zone})");
    print(&columns(
        &["", &local, "OFFSET", "UTC", if args.after.is_some() { "AFTER" } else { "FROM NOW" }, ""],
        &[],
        table,
    ));
    Ok(())
}

/// Reads an expression: `every 5s`, a name with `@`, or cron in the dialect that is stated.
fn read(text: &str, unix: bool, zone: &Zone) -> Result<Schedule, Trouble> {
    let text = text.trim();
    if let Some(interval) = text.strip_prefix("every ") {
        let hint = "write it like `every 5s` or `every 1h 30m`";
        let span = humantime::parse_duration(interval.trim()).map_err(|error| {
            Trouble::new(Exit::Usage, format!("{interval:?} is not a duration: {error}")).hint(hint)
        })?;
        let every = Every::new(span)
            .map_err(|error| Trouble::new(Exit::Usage, error.message().to_owned()).hint(hint))?;
        return Ok(Schedule::Every(every));
    }
    let unix = unix || text.starts_with('@');
    let cron = if unix { Cron::unix(text, zone.clone()) } else { Cron::quartz(text, zone.clone()) };
    cron.map(Schedule::Cron).map_err(|error| {
        let other = if unix { Cron::quartz(text, zone.clone()) } else { Cron::unix(text, zone.clone()) };
        pointing(text, &error, other.is_ok().then_some(unix))
    })
}

/// The expression with a mark under the column. `other` is whether the dialect tried was Unix's, if the text is right
/// in the other one.
fn pointing(text: &str, error: &CronError, other: Option<bool>) -> Trouble {
    let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    let before = " ".repeat(error.column().saturating_sub(1).min(300));
    let hint = match other {
        Some(false) => "it is an expression of Unix; add --unix".to_owned(),
        Some(true) => "it is an expression of Quartz; leave --unix out".to_owned(),
        None => error.hint().to_owned(),
    };
    Trouble::new(Exit::Usage, format!("column {}: {}", error.column(), error.message()))
        .excerpt(vec![format!("  {shown}"), format!("  {before}^")])
        .hint(hint)
}

/// An instant with its offset, or a wall time of the zone.
fn moment(text: &str, zone: &Zone) -> Result<Timestamp, String> {
    if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc().into());
    }
    let local = text.parse::<chrono::NaiveDateTime>().ok();
    let date = || text.parse::<chrono::NaiveDate>().ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    match local.or_else(date).map(|local| zone.resolve(local)) {
        Some(Reading::Once(at)) => Ok(at),
        Some(Reading::Skipped { gap_end, .. }) => Ok(gap_end),
        Some(Reading::Twice { first, .. }) => Ok(first),
        None => Err(format!(
            "--after {text:?} is not an instant; write it like 2026-03-29T00:00:00Z or 2026-03-29"
        )),
    }
}

/// What the clocks do around an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The wall time does not exist that day; it fires at the end of the gap.
    EndOfGap,
    /// Wall times before this instant do not exist that day and were left out.
    GapSkipped,
    /// The wall time comes twice, and this is the first.
    FirstPass,
    /// The wall time comes twice, and this is the second.
    SecondPass,
    /// The offset is another than that of the instant before, in minutes.
    Offset(i32),
}

impl Mark {
    fn name(&self) -> &'static str {
        match self {
            Self::EndOfGap => "end_of_gap",
            Self::GapSkipped => "gap_skipped",
            Self::FirstPass => "overlap_first",
            Self::SecondPass => "overlap_second",
            Self::Offset(_) => "offset_change",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::EndOfGap => "moved to the end of a gap (clocks put forward)".to_owned(),
            Self::GapSkipped => "after a gap: wall times in it are left out".to_owned(),
            Self::FirstPass => "first pass of an overlap (clocks put back)".to_owned(),
            Self::SecondPass => "second pass of an overlap (clocks put back)".to_owned(),
            Self::Offset(minutes) => format!("clocks changed by {minutes:+} min"),
        }
    }
}

struct Row {
    at: Timestamp,
    offset: i32,
    local: chrono::NaiveDateTime,
    marks: Vec<Mark>,
}

impl Row {
    fn local(&self) -> String {
        self.local.to_string_iso()
    }
}

/// Writes a wall time; chrono's own formatting needs a feature that nothing else does.
trait Iso {
    fn to_string_iso(&self) -> String;
}

impl Iso for chrono::NaiveDateTime {
    fn to_string_iso(&self) -> String {
        let text = self.and_utc().to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
        text.strip_suffix('Z').unwrap_or(&text).replace('T', " ")
    }
}

fn upcoming(schedule: &Schedule, zone: &Zone, after: Timestamp, number: usize) -> Vec<Row> {
    let cron = match schedule {
        Schedule::Cron(cron) => Some(cron),
        _ => None,
    };
    // The same expression with nothing left out in gaps tells where something was.
    let filled = cron
        .filter(|cron| cron.dst().gap == Gap::Skip)
        .map(|cron| Schedule::Cron(cron.clone().with_dst(Dst { gap: Gap::AtEndOfGap, ..cron.dst() })));
    let mut before = after;
    let mut offset_before = None;
    let mut rows = Vec::new();
    for at in schedule.next_n(after, number) {
        let offset = zone.offset_at(at);
        let local = zone.to_local(at);
        let mut marks = Vec::new();
        match zone.resolve(local) {
            Reading::Twice { first, .. } if first == at => marks.push(Mark::FirstPass),
            Reading::Twice { .. } => marks.push(Mark::SecondPass),
            _ => {}
        }
        if cron.is_some_and(|cron| !cron.matches(at)) {
            marks.push(Mark::EndOfGap);
        }
        let in_gap = |filled: &Schedule| filled.next_after(before).is_some_and(|filled| filled < at);
        if filled.as_ref().is_some_and(in_gap) {
            marks.push(Mark::GapSkipped);
        }
        if let Some(old) = offset_before
            && old != offset
        {
            marks.push(Mark::Offset((offset - old) / 60));
        }
        rows.push(Row { at, offset, local, marks });
        (before, offset_before) = (at, Some(offset));
    }
    rows
}

fn offset(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes, rest) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    let rest = if rest == 0 { String::new() } else { format!(":{rest:02}") };
    format!("{sign}{hours:02}:{minutes:02}{rest}")
}

fn weekday(at: Timestamp, zone: &Zone) -> &'static str {
    use chrono::{Datelike, Weekday};

    match zone.to_local(at).weekday() {
        Weekday::Mon => "Mon",
        Weekday::Tue => "Tue",
        Weekday::Wed => "Wed",
        Weekday::Thu => "Thu",
        Weekday::Fri => "Fri",
        Weekday::Sat => "Sat",
        Weekday::Sun => "Sun",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(expression: &str, after: &str) -> Vec<(String, Vec<&'static str>)> {
        let zone = Zone::get("Europe/Berlin").unwrap();
        let schedule = read(expression, false, &zone).unwrap();
        let rows = upcoming(&schedule, &zone, moment(after, &zone).unwrap(), 2);
        rows.iter().map(|row| (row.local(), row.marks.iter().map(Mark::name).collect())).collect()
    }

    #[test]
    fn a_daily_time_in_a_gap_is_marked_as_moved() {
        let rows = marks("0 30 2 * * ?", "2026-03-28T12:00:00");
        assert_eq!(rows[0], ("2026-03-29 03:00:00".to_owned(), vec!["end_of_gap"]));
        assert_eq!(rows[1].0, "2026-03-30 02:30:00");
    }

    #[test]
    fn an_overlap_is_marked_on_each_pass() {
        let rows = marks("0 30 * * * ?", "2026-10-25T02:00:00+02:00");
        assert_eq!(rows[0], ("2026-10-25 02:30:00".to_owned(), vec!["overlap_first"]));
        assert_eq!(rows[1], ("2026-10-25 02:30:00".to_owned(), vec!["overlap_second", "offset_change"]));
    }

    #[test]
    fn a_skipped_gap_is_marked_behind_it() {
        let rows = marks("0 30 * * * ?", "2026-03-29T01:45:00");
        assert_eq!(rows[0], ("2026-03-29 03:30:00".to_owned(), vec!["gap_skipped"]));
    }

    #[test]
    fn a_mistake_is_pointed_at_and_the_other_dialect_is_offered() {
        let text = read("0 0 9 32 * ?", false, &Zone::utc()).unwrap_err().text();
        assert!(text.contains("  0 0 9 32 * ?\n        ^"), "{text}");
        let text = read("0 9 * * 1", false, &Zone::utc()).unwrap_err().text();
        assert!(text.contains("--unix"), "{text}");
        assert!(read("every x", false, &Zone::utc()).is_err());
        assert!(read("", false, &Zone::utc()).is_err());
    }
}
