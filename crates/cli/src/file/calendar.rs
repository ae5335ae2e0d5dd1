//! `[calendar.NAME]` tables: times that triggers leave out.
//!
//! A table may say several things; each becomes a calendar of a chain, so that an instant is left out if any of them
//! leaves it out. What lies below is `base`: a table of the same kind, or the name of another calendar of the file.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDate, Timelike};
use punctual::{Error, Zone};
use punctual_core::calendar::{AnnualDay, Calendar as Excluded, ClockTime, Excludes};
use punctual_core::schedule::{Cron, Weekdays};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::value::Datetime;

use super::plan::Planned;
use super::source::Source;
use super::value::{Clock, ZoneName};
use super::when::cron_trouble;
use crate::trouble::{Trouble, nearest};

/// To the end of which year events that come again are read, unless the table says otherwise. Fixed, so that all nodes
/// read the same out of the same file.
const UNTIL: i32 = 2100;

/// A `[calendar.NAME]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calendar {
    zone: Option<ZoneName>,
    dates: Option<Spanned<Vec<Spanned<Datetime>>>>,
    annual: Option<Spanned<Vec<AnnualDay>>>,
    monthly: Option<Spanned<Vec<u8>>>,
    weekly: Option<Spanned<Weekdays>>,
    daily: Option<Spanned<Part>>,
    cron: Option<Spanned<String>>,
    ics: Option<Spanned<String>>,
    until: Option<Spanned<i32>>,
    base: Option<Spanned<Base>>,
}

/// A part of each day that is left out; inverted, all but that part.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    from: Clock,
    to: Clock,
    #[serde(default)]
    invert: bool,
}

#[derive(Clone, Debug)]
enum Base {
    Named(String),
    Table(Box<Calendar>),
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Base;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a calendar or a table such as { weekly = [\"sat\", \"sun\"] }")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Base, E> {
                Ok(Base::Named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Base, A::Error> {
                Calendar::deserialize(MapAccessDeserializer::new(map))
                    .map(|table| Base::Table(Box::new(table)))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// The calendars of a file by name, and the mistakes in those that are none.
pub(super) fn calendars(
    source: &Source,
    tables: &BTreeMap<Spanned<String>, Calendar>,
    zone: Option<&ZoneName>,
) -> (BTreeMap<Box<str>, Excluded>, Vec<Trouble>) {
    let zone = zone.map_or_else(Zone::utc, |zone| zone.0.clone());
    let mut done = BTreeMap::new();
    let mut troubles = Vec::new();
    for (name, table) in tables {
        let text = name.get_ref();
        if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            let message = "a calendar's name has 1 to 200 bytes and no control characters; choose another";
            troubles.push(source.trouble(name.span(), message));
            continue;
        }
        let chain = Chain { source, tables, name, zone: &zone };
        match chain.build(table, &zone, &mut vec![text.as_str()]) {
            Ok(calendar) => {
                done.insert(text.as_str().into(), calendar);
            }
            Err(trouble) => troubles.push(trouble),
        }
    }
    (done, troubles)
}

/// One calendar on its way to its definition.
struct Chain<'a> {
    source: &'a Source,
    tables: &'a BTreeMap<Spanned<String>, Calendar>,
    name: &'a Spanned<String>,
    /// The zone of tables that name none.
    zone: &'a Zone,
}

impl<'a> Chain<'a> {
    /// `above` are the names on the way down to this table: a name that comes again would go on for ever.
    fn build(&self, table: &'a Calendar, outer: &Zone, above: &mut Vec<&'a str>) -> Planned<Excluded> {
        let zone = table.zone.as_ref().map_or_else(|| outer.clone(), |zone| zone.0.clone());
        let mut chain = match &table.base {
            Some(base) => Some(self.base(base, &zone, above)?),
            None => None,
        };
        for (link, at) in self.links(table, &zone)?.into_iter().rev() {
            chain = Some(match chain {
                Some(base) => link.with_base(base).map_err(|error| {
                    self.source.trouble(at, error.message()).hint("write some of them as one calendar")
                })?,
                None => link,
            });
        }
        let nothing = || {
            let message = format!(
                "calendar `{}` leaves nothing out; add one of `dates`, `annual`, `monthly`, `weekly`, `daily`, `cron` or `ics`",
                self.name.get_ref()
            );
            self.source.trouble(self.name.span(), &message)
        };
        chain.ok_or_else(nothing)
    }

    fn base(&self, base: &'a Spanned<Base>, zone: &Zone, above: &mut Vec<&'a str>) -> Planned<Excluded> {
        let name = match base.get_ref() {
            Base::Table(table) => return self.build(table, zone, above),
            Base::Named(name) => name.as_str(),
        };
        if above.contains(&name) {
            let message = format!("`base`: calendar {name:?} would lie below itself; remove one of the two");
            return Err(self.source.trouble(base.span(), &message));
        }
        let Some(table) = self.tables.get(name) else {
            let message = format!("`base`: there is no calendar {name:?} in this file");
            let hint = match nearest(name, self.tables.keys().map(|name| name.get_ref().as_str())) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("add a table [calendar.{name}]"),
            };
            return Err(self.source.trouble(base.span(), &message).hint(hint));
        };
        above.push(name);
        // Its own zone counts, or that of the defaults: it is the same calendar wherever it is named.
        let calendar = self.build(table, self.zone, above);
        above.pop();
        calendar
    }

    /// What the table itself leaves out, each with its place.
    fn links(&self, table: &Calendar, zone: &Zone) -> Planned<Vec<(Excluded, std::ops::Range<usize>)>> {
        let mut links = Vec::new();
        let mut add = |key: &str, at: std::ops::Range<usize>, made: Result<Excluded, Error>| match made {
            Ok(calendar) => {
                links.push((calendar, at));
                Ok(())
            }
            Err(error) => Err(self.source.trouble(at, &format!("`{key}`: {}; correct it", error.message()))),
        };
        if let Some(dates) = &table.dates {
            let days: Planned<Vec<NaiveDate>> = dates.get_ref().iter().map(|date| self.date(date)).collect();
            add("dates", dates.span(), Excluded::holiday(days?, zone.clone()))?;
        }
        if let Some(days) = &table.annual {
            let excludes =
                Excludes::Annual { days: days.get_ref().iter().copied().collect(), zone: zone.clone() };
            add("annual", days.span(), Excluded::new(excludes))?;
        }
        if let Some(days) = &table.monthly {
            add("monthly", days.span(), Excluded::monthly(days.get_ref().iter().copied(), zone.clone()))?;
        }
        if let Some(days) = &table.weekly {
            add("weekly", days.span(), Ok(Excluded::weekly(*days.get_ref(), zone.clone())))?;
        }
        if let Some(part) = &table.daily {
            let Part { from, to, invert } = *part.get_ref();
            let clock = |Clock(time): Clock| ClockTime::new(time.hour(), time.minute(), time.second(), 0);
            let made = clock(from).and_then(|from| Excluded::daily(from, clock(to)?, invert, zone.clone()));
            add("daily", part.span(), made)?;
        }
        if let Some(text) = &table.cron {
            let cron = Cron::quartz(text.get_ref(), zone.clone())
                .map_err(|error| cron_trouble(self.source, "cron", text, &error))?;
            add("cron", text.span(), Ok(Excluded::cron(cron)))?;
        }
        match (&table.ics, &table.until) {
            (Some(path), until) => {
                let text = self.read(path)?;
                let until = until.as_ref().map_or(UNTIL, |until| *until.get_ref());
                let made = Excluded::from_ics(&text, until, zone.clone());
                add(&format!("ics`: `{}", path.get_ref()), path.span(), made)?;
            }
            (None, Some(until)) => {
                let message =
                    "`until` is the last year that is read from an iCalendar file; add `ics`, or remove it";
                return Err(self.source.trouble(until.span(), message));
            }
            (None, None) => {}
        }
        Ok(links)
    }

    fn date(&self, given: &Spanned<Datetime>) -> Planned<NaiveDate> {
        let wrong = |why: &str| Err(self.source.trouble(given.span(), &format!("`dates`: {why}")));
        let Datetime { date: Some(date), time: None, .. } = given.get_ref() else {
            return wrong("not a date alone; write it like 2026-12-25");
        };
        match NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into()) {
            Some(date) => Ok(date),
            None => wrong("there is no such date; check month and day"),
        }
    }

    /// An iCalendar file, from the folder of the schedule file.
    fn read(&self, path: &Spanned<String>) -> Planned<String> {
        let wrong = |why: &dyn fmt::Display| {
            let message = format!("`ics`: {} cannot be read: {why}", path.get_ref());
            self.source.trouble(path.span(), &message).hint("the path begins at the folder of this file")
        };
        let place = self.source.folder.join(path.get_ref());
        let bytes = std::fs::metadata(&place).map_err(|error| wrong(&error))?.len();
        if bytes > 8 << 20 {
            return Err(wrong(&format!("{bytes} bytes are more than 8 MiB")));
        }
        std::fs::read_to_string(&place).map_err(|error| wrong(&error))
    }
}
