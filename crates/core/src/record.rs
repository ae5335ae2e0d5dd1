//! Records as flat rows: the numbers, texts and bytes that every SQL store keeps, and the way back.
//!
//! No I/O and no SQL: a store binds the fields of a row in the order that they are declared in, and reads them back
//! the same way. Whatever a database holds, decoding answers a record or the column that is wrong; it never panics.
//! Times are microseconds since the epoch, documents are JSON, ids of executions are 16 bytes.
//!
//! A store that keeps documents, not columns, writes whole rows: they serialise with serde under the names of their
//! columns. A column that is missing when a row is read has its default, and an unknown one is passed over, so rows of
//! neighbouring versions can be read. Keep rows, not records: a record with one bad part cannot be read at all, while
//! a row with one bad column still has the id and the guards by which it can be set aside, mended or deleted.

mod calendars;
mod check_in;
mod definition;
mod edit;
mod node;
mod work;

use std::fmt;
use std::num::TryFromIntError;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use self::check_in::{CheckInHead, CheckInRow, OwnBeat, checked_in};
pub use self::definition::{CalendarRow, DueRow, JobRow, PauseRow, SetRow, TriggerRow, progress_document};
pub use self::node::NodeRow;
pub use self::work::{ExecutionRow, HistoryRow, OwnedRow, SkipRow, WorkRow};
use crate::error::{Error, Result};
use crate::execution::{ExecutionState, Outcome, SkipReason};
use crate::job::Payload;
use crate::key::Kind;
use crate::node::NodeState;
use crate::store::{ClaimRef, Expect, Standby};
use crate::time::Timestamp;
use crate::trigger::TriggerState;

/// A column that cannot be understood, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadColumn {
    /// Table and column, as in `job.spec`.
    pub column: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl BadColumn {
    /// Names a column that is wrong.
    pub fn new(column: &'static str, why: impl fmt::Display) -> Self {
        Self { column, why: why.to_string() }
    }

    /// The `Corrupt` error of a look-up that met this column.
    pub fn into_error(self, operation: &'static str) -> Error {
        Error::corrupt(operation, self.to_string())
    }
}

impl fmt::Display for BadColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.why)
    }
}

type Decoded<T> = std::result::Result<T, BadColumn>;

/// An enum that stores keep as a number.
pub trait Coded: Sized {
    /// Its number.
    fn code(self) -> i64;

    /// The value of a number.
    ///
    /// # Errors
    /// Names `column` if no value has it.
    fn decode(column: &'static str, code: i64) -> Decoded<Self>;
}

macro_rules! coded {
    ($name:ident { $($variant:ident = $code:literal),+ }) => {
        impl Coded for $name {
            fn code(self) -> i64 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }

            fn decode(column: &'static str, code: i64) -> Decoded<Self> {
                match code {
                    $($code => Ok(Self::$variant),)+
                    _ => Err(BadColumn::new(column, format_args!("no value has the code {code}"))),
                }
            }
        }
    };
}

coded!(TriggerState { Active = 1, Complete = 2, Error = 3, Paused = 4 });
coded!(ExecutionState { Ready = 1, Claimed = 2, Running = 3, Held = 4 });
coded!(NodeState { Up = 1, Left = 2, Dead = 3 });
coded!(Outcome { Succeeded = 1, Failed = 2, Cancelled = 3, Lost = 4, Skipped = 5 });
coded!(SkipReason { Misfire = 1, Overlap = 2 });
coded!(Standby { Off = 0, On = 1 });

/// A flag as a number.
pub const fn flag(set: bool) -> i64 {
    if set { 1 } else { 0 }
}

/// Writes a document.
///
/// # Errors
/// `Internal`: no document of this crate has a shape that JSON lacks.
pub fn document<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| Error::internal("encode", "a document cannot be written as JSON").with_source(error))
}

fn parsed<T: DeserializeOwned>(column: &'static str, text: &str) -> Decoded<T> {
    serde_json::from_str(text).map_err(|error| BadColumn::new(column, error))
}

fn number<T: TryFrom<i64, Error = TryFromIntError>>(column: &'static str, value: i64) -> Decoded<T> {
    T::try_from(value).map_err(|_| BadColumn::new(column, format_args!("{value} is out of range")))
}

fn boolean(column: &'static str, value: i64) -> Decoded<bool> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(BadColumn::new(column, format_args!("{value} is neither 0 nor 1"))),
    }
}

fn named<T>(column: &'static str, value: Result<T>) -> Decoded<T> {
    value.map_err(|error| BadColumn::new(column, error.message()))
}

fn boxed(text: Option<String>) -> Option<Box<str>> {
    text.map(String::into_boxed_str)
}

fn at(micros: Option<i64>) -> Option<Timestamp> {
    micros.map(Timestamp::from_micros)
}

fn micros_of(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

fn text_of(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// The three columns of a payload; all of them null, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PayloadRow {
    /// The codec's name.
    pub codec: Option<String>,
    /// The version of the shape.
    pub version: Option<i64>,
    /// The bytes.
    pub data: Option<Vec<u8>>,
}

impl PayloadRow {
    /// The columns of a payload that may be missing.
    pub fn of(payload: Option<&Payload>) -> Self {
        Self {
            codec: payload.map(|payload| payload.codec.to_string()),
            version: payload.map(|payload| i64::from(payload.version)),
            data: payload.map(|payload| payload.data.clone()),
        }
    }

    /// The payload of the columns.
    ///
    /// # Errors
    /// Names `column` if only some of them are null, or the version is out of range.
    pub fn decode(self, column: &'static str) -> Decoded<Option<Payload>> {
        match (self.codec, self.version, self.data) {
            (None, None, None) => Ok(None),
            (Some(codec), Some(version), Some(data)) => {
                Ok(Some(Payload { codec: codec.into(), version: number(column, version)?, data }))
            }
            _ => Err(BadColumn::new(column, "codec, version and data must be all there or all null")),
        }
    }
}

/// What is stored under a key, as far as an [`Expect`] speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing, but perhaps the mark of a deleted trigger.
    Absent {
        /// The mark.
        mark: Option<Timestamp>,
    },
    /// A record.
    Present {
        /// Whether it has the id that the change speaks of.
        same_id: bool,
        /// Its revision.
        rev: i64,
    },
}

impl Stored {
    /// The `rev` that the change writes, or `None` if it does not fit.
    pub fn next_rev(self, expect: Expect) -> Option<i64> {
        match (self, expect) {
            (Self::Absent { mark }, Expect::Absent { mark: expected }) if mark == expected => Some(1),
            (Self::Present { same_id: true, rev }, Expect::Rev(expected)) if rev == expected => {
                Some(rev.saturating_add(1))
            }
            _ => None,
        }
    }
}

/// The code of the state in which an execution goes back.
///
/// # Errors
/// `Invalid` if rows of that state have an owner.
pub fn back_code(claim: ClaimRef, state: ExecutionState) -> Result<i64> {
    match state {
        ExecutionState::Ready | ExecutionState::Held => Ok(state.code()),
        ExecutionState::Claimed | ExecutionState::Running => {
            Err(Error::invalid("settle", format!("execution {} cannot go back as {state:?}", claim.id)))
        }
    }
}

/// The kinds of a request as a JSON array, for databases that take a list as one parameter.
///
/// # Errors
/// Those of [`document`].
pub fn kinds_document(kinds: &[Kind]) -> Result<String> {
    document(kinds)
}

/// The stored instant `span` after `now`, saturating.
pub fn after(now: Timestamp, span: Duration) -> i64 {
    now.plus(span).as_micros()
}

#[cfg(test)]
mod tests;
