//! `punctual next`: the instants of an expression, with what the clocks do to them.

use std::path::Path;
use std::sync::Arc;

use punctual::{Schedule, Zone};
use punctual_core::calendar::{Calendar, WhenExcluded};
use punctual_core::preview::{Fate, Mark, Preview, preview};
use punctual_core::schedule::{Cron, CronError, Every};
use punctual_core::trigger::TriggerSpec;
use punctual_core::zone::Reading;
use punctual_core::{Clock, Timestamp};
use punctual_runtime::SystemClock;
use serde_json::json;

use super::{columns, print, print_json, text};
use crate::args::{Db, NextArgs};
use crate::db::{self, Access};
use crate::file;
use crate::trouble::{Exit, Trouble, nearest};

/// To the end of which year events of an iCalendar file are read.
const LAST_YEAR: i32 = 2100;

pub(crate) async fn next(args: NextArgs) -> Result<(), Trouble> {
    let zone = match &args.zone {
        Some(name) => Some(Zone::get(name).map_err(|error| usage(error.message()))?),
        None => None,
    };
    let words = args.expression.join(" ");
    let Asked { spec, calendar } = match &args.file {
        Some(path) => of_file(path, &words)?,
        None => {
            let zone = zone.clone().unwrap_or_else(Zone::utc);
            Asked { spec: TriggerSpec::new(read(&words, args.unix, &zone)?), calendar: None }
        }
    };
    let zone = zone.or_else(|| spec.schedule.zone().cloned()).unwrap_or_else(Zone::utc);
    let after = match &args.after {
        None => SystemClock.wall(),
        Some(after) => moment(after, &zone).map_err(|why| usage(&why))?,
    };
    let when_excluded = args.when_excluded.into();
    let calendar = match (&args.calendar, &args.stored_calendar) {
        (Some(path), _) => Some((Arc::new(holidays(path, &zone)?), when_excluded)),
        (None, Some(name)) => Some((stored(&args.db, name).await?, when_excluded)),
        (None, None) => calendar,
    };
    let seen = calendar.as_ref().map(|(calendar, when)| (&**calendar, *when));
    let rows =
        preview(&spec, seen, after, usize::from(args.number)).map_err(|error| usage(error.message()))?;
    if args.json {
        let times: Vec<_> = rows.iter().map(|row| document(row, &zone)).collect();
        let schedule = &spec.schedule;
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
            local(row.at, &zone),
            offset(zone.offset_at(row.at)),
            text::instant(row.at),
            text::relative(row.at, after),
            fate(row.fate)
                .into_iter()
                .map(str::to_owned)
                .chain(row.marks.iter().map(said))
                .collect::<Vec<_>>()
                .join("; "),
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

fn usage(message: &str) -> Trouble {
    let (message, hint) = message.split_once("; ").unwrap_or((message, "see `punctual next --help`"));
    Trouble::new(Exit::Usage, message).hint(hint)
}

fn document(row: &Preview, zone: &Zone) -> serde_json::Value {
    json!({
        "utc": text::instant(row.at),
        "us": row.at.as_micros(),
        "local": local(row.at, zone),
        "offset": offset(zone.offset_at(row.at)),
        "fate": match row.fate {
            Fate::Moved => "moved",
            Fate::Excluded => "excluded",
            _ => "fires",
        },
        "marks": row.marks.iter().map(name).collect::<Vec<_>>(),
    })
}

/// What is asked about.
struct Asked {
    spec: TriggerSpec,
    calendar: Option<(Arc<Calendar>, WhenExcluded)>,
}

/// A trigger of a schedule file, by its key or by that of its job if the job has one trigger.
fn of_file(path: &Path, key: &str) -> Result<Asked, Trouble> {
    let set = match file::load(path) {
        Ok(schedules) => schedules.set,
        Err(troubles) => {
            let first = Trouble::new(Exit::File, format!("{}: cannot be read", path.display()));
            return Err(troubles.into_iter().next().unwrap_or(first));
        }
    };
    let wanted = |text: &str| text == key || text.strip_prefix("default/") == Some(key);
    let Some(trigger) = set.triggers.iter().find(|trigger| wanted(&trigger.key.to_string())) else {
        let keys: Vec<String> = set.triggers.iter().map(|trigger| trigger.key.to_string()).collect();
        let hint = match nearest(key, keys.iter().map(String::as_str)) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("its triggers are {}", keys.join(", ")),
        };
        let message = format!("{}: there is no trigger {key}", path.display());
        return Err(Trouble::new(Exit::NotFound, message).hint(hint));
    };
    let named = |name: &str| set.calendars.iter().find(|calendar| *calendar.name == *name);
    let calendar = trigger.spec.calendar.as_deref().and_then(named);
    let calendar = calendar.map(|found| (Arc::clone(&found.calendar), trigger.spec.when_excluded));
    Ok(Asked { spec: trigger.spec.clone(), calendar })
}

/// A calendar of the database.
async fn stored(database: &Db, name: &str) -> Result<Arc<Calendar>, Trouble> {
    let store = db::open(database, Access::AsItIs).await?;
    let inspect = store.inspect();
    if let Some(found) = inspect.calendar(name).await? {
        return Ok(found.calendar);
    }
    let all = inspect.calendars().await?;
    let hint = match nearest(name, all.iter().map(|calendar| &*calendar.name)) {
        Some(near) => format!("did you mean {near}?"),
        None if all.is_empty() => "it has no calendars".to_owned(),
        None => {
            let names: Vec<&str> = all.iter().map(|calendar| &*calendar.name).collect();
            format!("its calendars are {}", names.join(", "))
        }
    };
    Err(Trouble::new(Exit::NotFound, format!("the database has no calendar {name}")).hint(hint))
}

/// The all-day events of an iCalendar file.
fn holidays(path: &Path, zone: &Zone) -> Result<Calendar, Trouble> {
    let wrong = |why: &str| Trouble::new(Exit::File, format!("{}: {why}", path.display()));
    let text = std::fs::read_to_string(path)
        .map_err(|error| wrong(&format!("cannot be read: {error}")).hint("check the path"))?;
    Calendar::from_ics(&text, LAST_YEAR, zone.clone()).map_err(|error| {
        wrong(error.message()).hint("only all-day events are read; correct or remove the line")
    })
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

fn name(mark: &Mark) -> &'static str {
    match mark {
        Mark::GapEnd => "end_of_gap",
        Mark::GapSkipped => "gap_skipped",
        Mark::OverlapFirst => "overlap_first",
        Mark::OverlapSecond => "overlap_second",
        Mark::OffsetChange { .. } => "offset_change",
        _ => "other",
    }
}

/// A mark in words.
fn said(mark: &Mark) -> String {
    match mark {
        Mark::GapEnd => "moved to the end of a gap (clocks put forward)".to_owned(),
        Mark::GapSkipped => "after a gap: wall times in it are left out".to_owned(),
        Mark::OverlapFirst => "first pass of an overlap (clocks put back)".to_owned(),
        Mark::OverlapSecond => "second pass of an overlap (clocks put back)".to_owned(),
        Mark::OffsetChange { by } => format!("clocks changed by {:+} min", by / 60),
        other => format!("{other:?}"),
    }
}

fn fate(fate: Fate) -> Option<&'static str> {
    match fate {
        Fate::Moved => Some("moved here from an excluded day"),
        Fate::Excluded => Some("left out by the calendar"),
        _ => None,
    }
}

fn local(at: Timestamp, zone: &Zone) -> String {
    zone.to_local(at).to_string_iso()
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
        let spec = TriggerSpec::new(read(expression, false, &zone).unwrap());
        let rows = preview(&spec, None, moment(after, &zone).unwrap(), 2).unwrap();
        rows.iter().map(|row| (local(row.at, &zone), row.marks.iter().map(name).collect())).collect()
    }

    #[test]
    fn a_daily_time_in_a_gap_is_marked_as_moved() {
        let rows = marks("0 30 2 * * ?", "2026-03-28T12:00:00");
        assert_eq!(rows[0], ("2026-03-29 03:00:00".to_owned(), vec!["end_of_gap", "offset_change"]));
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
        assert_eq!(rows[0], ("2026-03-29 03:30:00".to_owned(), vec!["offset_change", "gap_skipped"]));
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
