//! Time zones by IANA name, resolved from the data bundled with this binary.
//!
//! Two nodes must never disagree about an instant because their machines were upgraded on different days. So the
//! system's zone files are not looked at: the data comes with the binary, and [`Zone::data_version`] names it.
//!
//! A zone is read once into a flat table of spans with one offset each; every conversion is a lookup in it. After the
//! year 2500 the table repeats with the 400 years of the Gregorian calendar, so each `Timestamp` has an answer.
//! This module knows nothing of schedules: whether a wall time that does not exist is left out is their affair.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use chrono::{NaiveDateTime, TimeDelta};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

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

    /// Names the bundled zone data: nodes that give the same text compute the same instants.
    ///
    /// It is a fingerprint of the rules of all zones from 2020 to 2060, because that is what matters between nodes
    /// and what the reader of the data lets us see. Computed at the first call, which takes some milliseconds.
    pub fn data_version() -> &'static str {
        static VERSION: OnceLock<String> = OnceLock::new();
        VERSION.get_or_init(fingerprint)
    }

    /// Seconds to add to UTC to get the wall time at `at`; positive east of Greenwich.
    pub fn offset_at(&self, at: Timestamp) -> i32 {
        self.0.table.offset_at(at.as_micros().div_euclid(1_000_000))
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

/// The end of a table: 2500-01-01T00:00:00Z. The 400 years before it hold only rules that go on for ever.
const END: i64 = 16_725_225_600;
/// 400 Gregorian years in seconds: a whole number of weeks, after which every rule falls on the same days again.
const CYCLE: i64 = 146_097 * 86_400;
/// No offset is this large, so that `local - DAY` always lies before the instant.
const DAY: i64 = 86_400;
/// Spans are found by the upper bits of the instant: about 194 days are one slot.
const SLOT_BITS: u32 = 24;

/// All changes of one zone's offset. Instants and wall times are in seconds since 1970-01-01T00:00:00.
pub(crate) struct Table {
    /// When each span begins; the first began for ever ago.
    starts: Box<[i64]>,
    offsets: Box<[i32]>,
    /// For each slot since 1970 the span that holds its beginning.
    slots: Box<[u16]>,
}

/// [`Reading`] in whole seconds.
enum Resolved {
    Once(i64),
    Skipped { gap_end: i64, shifted: i64 },
    Twice { first: i64, second: i64 },
}

impl Table {
    fn new(zone: &TimeZone) -> Self {
        let mut starts = vec![i64::MIN];
        let mut offset = zone.to_offset(jiff::Timestamp::MIN).seconds();
        let mut offsets = vec![offset];
        for change in zone.following(jiff::Timestamp::MIN) {
            let start = change.timestamp().as_second();
            if start >= END {
                break;
            }
            // Some changes concern only the abbreviation.
            if change.offset().seconds() != offset {
                offset = change.offset().seconds();
                starts.push(start);
                offsets.push(offset);
            }
        }
        let mut span = 0;
        let slots = (0..=END >> SLOT_BITS)
            .map(|slot| {
                while starts.get(span + 1).is_some_and(|&start| start <= slot << SLOT_BITS) {
                    span += 1;
                }
                u16::try_from(span).expect("a zone changes a few times a year")
            })
            .collect();
        Self { starts: starts.into(), offsets: offsets.into(), slots }
    }

    /// The index of the span that holds an instant. Not folded by the cycle: instants after the table are in its
    /// last span.
    #[inline]
    pub(crate) fn span_at(&self, seconds: i64) -> usize {
        if self.starts.len() == 1 {
            return 0;
        }
        let slot = usize::try_from(seconds >> SLOT_BITS).ok().and_then(|slot| self.slots.get(slot));
        if let Some(&span) = slot {
            let mut span = usize::from(span);
            while self.starts.get(span + 1).is_some_and(|&start| start <= seconds) {
                span += 1;
            }
            span
        } else {
            self.starts.partition_point(|&start| start <= seconds).saturating_sub(1)
        }
    }

    /// Seconds east of Greenwich in a span.
    #[inline]
    pub(crate) fn offset(&self, span: usize) -> i64 {
        i64::from(self.offsets[span])
    }

    /// When a span begins; `i64::MIN` for the first.
    #[inline]
    pub(crate) fn start(&self, span: usize) -> i64 {
        self.starts[span]
    }

    /// When a span ends and the offset after it; `None` for the last.
    #[inline]
    pub(crate) fn end(&self, span: usize) -> Option<(i64, i64)> {
        Some((*self.starts.get(span + 1)?, self.offset(span + 1)))
    }

    fn offset_at(&self, seconds: i64) -> i32 {
        self.offsets[self.span_at(seconds - cycles(seconds))]
    }

    fn resolve(&self, local: i64) -> Resolved {
        let folded = cycles(local);
        let wall = local - folded;
        let mut span = self.span_at(wall.saturating_sub(DAY));
        loop {
            let offset = self.offset(span);
            let at = local - offset;
            let Some((end, next_offset)) = self.end(span) else { return Resolved::Once(at) };
            if wall < end + offset {
                return if wall >= end + next_offset {
                    Resolved::Twice { first: at, second: local - next_offset }
                } else {
                    Resolved::Once(at)
                };
            }
            if wall < end + next_offset {
                return Resolved::Skipped { gap_end: end + folded, shifted: at };
            }
            span += 1;
        }
    }
}

/// What to take off an instant or wall time to get into the part of the table that repeats.
fn cycles(seconds: i64) -> i64 {
    // A day early, so that no conversion at the seam needs a span after the last.
    let beyond = seconds - (END - DAY);
    if beyond < 0 { 0 } else { (beyond / CYCLE + 1) * CYCLE }
}

fn fingerprint() -> String {
    // FNV-1a with 64 bits: stable over releases of Rust, which `DefaultHasher` is not.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |bytes: &[u8]| {
        for &byte in bytes {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let from = jiff::Timestamp::new(1_577_836_800, 0).expect("2020 is in range");
    let until = jiff::Timestamp::new(2_840_140_800, 0).expect("2060 is in range");
    for name in Zone::names() {
        let Ok(zone) = database().get(&name) else { continue };
        eat(name.as_bytes());
        eat(&zone.to_offset(from).seconds().to_be_bytes());
        for change in zone.following(from).take_while(|change| change.timestamp() < until) {
            eat(&change.timestamp().as_second().to_be_bytes());
            eat(&change.offset().seconds().to_be_bytes());
        }
    }
    format!("bundled-{hash:016x}")
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
mod tests {
    use chrono::NaiveDate;

    use super::*;

    fn wall(month: u32, day: u32, hour: u32, minute: u32) -> NaiveDateTime {
        NaiveDate::from_ymd_opt(2026, month, day).unwrap().and_hms_opt(hour, minute, 0).unwrap()
    }

    fn instant(text: &str) -> Timestamp {
        Timestamp::from(text.parse::<chrono::DateTime<chrono::Utc>>().unwrap())
    }

    #[test]
    fn wall_times_round_a_change_are_told_apart() {
        let berlin = Zone::get("Europe/Berlin").unwrap();
        assert_eq!(berlin.resolve(wall(7, 1, 12, 0)), Reading::Once(instant("2026-07-01T10:00:00Z")));
        assert_eq!(
            berlin.resolve(wall(3, 29, 2, 30)),
            Reading::Skipped {
                gap_end: instant("2026-03-29T01:00:00Z"),
                shifted: instant("2026-03-29T01:30:00Z")
            }
        );
        assert_eq!(
            berlin.resolve(wall(10, 25, 2, 30)),
            Reading::Twice { first: instant("2026-10-25T00:30:00Z"), second: instant("2026-10-25T01:30:00Z") }
        );
        assert_eq!(berlin.to_local(instant("2026-10-25T01:30:00Z")), wall(10, 25, 2, 30));
    }

    #[test]
    fn an_unknown_name_is_an_error_with_a_near_one() {
        let message = |name: &str| Zone::get(name).unwrap_err().to_string();
        assert_eq!(
            message("Europe/Berln"),
            "zone: unknown time zone `Europe/Berln`; did you mean `Europe/Berlin`?"
        );
        assert!(message("europe/berlin").contains("did you mean `Europe/Berlin`?"));
        assert!(message("Tokyo").contains("did you mean `Asia/Tokyo`?"));
        assert!(message("Mars/Olympus_Mons").contains("use a name of the IANA database"));
        for name in ["", "Etc/Unknown", "+02:00", "utc", "Europe/Berlin ", "Europe/\u{0}\n", &"x".repeat(9999)] {
            assert!(Zone::get(name).is_err(), "{name:?}");
            assert!(!message(name).contains('\n'));
        }
    }

    #[test]
    fn every_zone_agrees_with_the_database_at_and_around_its_changes() {
        for name in Zone::names() {
            let zone = Zone::get(&name).unwrap();
            let source = database().get(&name).unwrap();
            let table = zone.table();
            for span in 1..table.starts.len() {
                let start = table.start(span);
                for seconds in [start - 1, start, start + 1] {
                    let expected = source.to_offset(jiff::Timestamp::new(seconds, 0).unwrap()).seconds();
                    assert_eq!(zone.offset_at(Timestamp::from_secs(seconds)), expected, "{name} {seconds}");
                }
                // What the search for cron times rests on: a span is longer than the fold or gap at its ends.
                let shift = (table.offset(span) - table.offset(span - 1)).abs();
                assert!(shift < DAY + 1, "{name} {start}");
                if start >= 0 {
                    assert!(start - table.start(span - 1) > shift, "{name} {start}");
                }
            }
        }
    }

    #[test]
    fn the_rules_go_on_after_the_table() {
        for name in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"] {
            let zone = Zone::get(name).unwrap();
            let source = database().get(name).unwrap();
            for step in 0..4_000 {
                let seconds = END - 40 * DAY + step * 7_654_321;
                let expected = source.to_offset(jiff::Timestamp::new(seconds, 0).unwrap()).seconds();
                let at = Timestamp::from_secs(seconds);
                assert_eq!(zone.offset_at(at), expected, "{name} {at}");
                let local = zone.to_local(at);
                let back = match zone.resolve(local) {
                    Reading::Once(one) => one == at,
                    Reading::Twice { first, second } => first == at || second == at,
                    Reading::Skipped { .. } => false,
                };
                assert!(back, "{name} {at}");
            }
        }
    }

    #[test]
    fn the_ends_of_time_have_an_offset() {
        let zone = Zone::get("America/New_York").unwrap();
        for at in [Timestamp::MIN, Timestamp::MAX] {
            assert!(zone.offset_at(at).abs() < 86_400);
            let _ = zone.to_local(at);
        }
        let _ = zone.resolve(NaiveDateTime::MAX);
        let _ = zone.resolve(NaiveDateTime::MIN);
    }

    #[test]
    fn a_zone_is_its_name_in_text_and_json() {
        let zone: Zone = "Asia/Tokyo".parse().unwrap();
        assert_eq!(zone.to_string(), "Asia/Tokyo");
        let json = serde_json::to_string(&zone).unwrap();
        assert_eq!(json, "\"Asia/Tokyo\"");
        assert_eq!(serde_json::from_str::<Zone>(&json).unwrap(), zone);
        assert!(serde_json::from_str::<Zone>("\"Asia/Tokio\"").is_err());
        assert_eq!(Zone::get("UTC").unwrap(), Zone::utc());
        assert_ne!(Zone::get("Etc/UTC").unwrap(), Zone::utc());
        assert_eq!(Zone::data_version(), Zone::data_version());
    }
}
