//! Records as flat rows: the numbers, texts and bytes that every SQL store keeps, and the way back.
//!
//! No I/O and no SQL: a store binds the fields of a row in the order that they are declared in, and reads them back
//! the same way. Whatever a database holds, decoding answers a record or the column that is wrong; it never panics.
//! Times are microseconds since the epoch, documents are JSON, ids of executions are 16 bytes.

mod node;
mod work;

use std::fmt;
use std::num::TryFromIntError;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::node::NodeRow;
pub use self::work::{ExecutionRow, HistoryRow, OwnedRow, SkipRow, WorkRow};
use crate::calendar::Calendar;
use crate::error::{Error, Result};
use crate::execution::{ExecutionState, Outcome, SkipReason};
use crate::job::{JobRecord, Payload};
use crate::key::{JobId, JobKey, Kind, TriggerId, TriggerKey};
use crate::node::NodeState;
use crate::quartz::Progress;
use crate::store::{CalendarRecord, ClaimRef, DueTrigger, Expect, SetRecord, Standby};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

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

coded!(TriggerState { Active = 1, Complete = 2, Error = 3 });
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// A row of `job`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the columns, explained by JobRecord")]
pub struct JobRow {
    pub id: i64,
    pub group_name: String,
    pub name: String,
    pub kind: String,
    pub description: Option<String>,
    pub spec: String,
    pub payload: PayloadRow,
    pub priority: i64,
    pub durable: i64,
    pub set_name: Option<String>,
    pub rev: i64,
    pub created_us: i64,
    /// The concurrency key of `spec`; written, never read back.
    pub slot_key: Option<String>,
    /// How many the key allows at once, as `spec` says; written, never read back.
    pub slot_limit: Option<i64>,
}

impl JobRow {
    /// The row of a record.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn of(job: &JobRecord) -> Result<Self> {
        Ok(Self {
            id: job.id.get(),
            group_name: job.key.group().to_owned(),
            name: job.key.name().to_owned(),
            kind: job.kind.as_str().to_owned(),
            description: text_of(job.description.as_deref()),
            spec: document(&job.spec)?,
            payload: PayloadRow::of(Some(&job.payload)),
            priority: job.priority.into(),
            durable: flag(job.durable),
            set_name: text_of(job.set.as_deref()),
            rev: job.rev,
            created_us: job.created.as_micros(),
            slot_key: job.spec.concurrency.as_ref().map(|concurrency| concurrency.key.to_string()),
            slot_limit: job.spec.concurrency.as_ref().map(|concurrency| concurrency.limit.into()),
        })
    }
}

impl TryFrom<JobRow> for JobRecord {
    type Error = BadColumn;

    fn try_from(row: JobRow) -> Decoded<Self> {
        let payload = row.payload.decode("job.payload")?;
        Ok(Self {
            id: JobId::from_stored(row.id),
            key: named("job.name", JobKey::new(&row.group_name, &row.name))?,
            kind: named("job.kind", Kind::new(&row.kind))?,
            description: boxed(row.description),
            spec: parsed("job.spec", &row.spec)?,
            payload: payload.ok_or_else(|| BadColumn::new("job.payload", "is null"))?,
            priority: number("job.priority", row.priority)?,
            durable: boolean("job.durable", row.durable)?,
            set: boxed(row.set_name),
            rev: row.rev,
            created: Timestamp::from_micros(row.created_us),
        })
    }
}

/// A row of `trigger`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the columns, explained by TriggerRecord")]
pub struct TriggerRow {
    pub id: i64,
    pub group_name: String,
    pub name: String,
    pub job_id: i64,
    pub description: Option<String>,
    pub spec: String,
    pub payload: PayloadRow,
    pub priority: i64,
    pub state: i64,
    pub next_fire_us: Option<i64>,
    pub wake_us: Option<i64>,
    pub last_us: Option<i64>,
    pub fires: i64,
    pub fire_seq: i64,
    pub generation: i64,
    pub rev: i64,
    pub slice: i64,
    pub error: Option<String>,
    pub set_name: Option<String>,
    pub hash: i64,
    pub created_us: i64,
    pub progress: Option<String>,
    /// The calendar that `spec` names; written, never read back.
    pub calendar: Option<String>,
}

/// The document of what a trigger has come to; `None` if that is nothing.
///
/// # Errors
/// Those of [`document`].
pub fn progress_document(progress: &Progress) -> Result<Option<String>> {
    if progress.is_empty() { Ok(None) } else { document(progress).map(Some) }
}

impl TriggerRow {
    /// The row of a record.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn of(trigger: &TriggerRecord) -> Result<Self> {
        Ok(Self {
            id: trigger.id.get(),
            group_name: trigger.key.group().to_owned(),
            name: trigger.key.name().to_owned(),
            job_id: trigger.job_id.get(),
            description: text_of(trigger.description.as_deref()),
            spec: document(&trigger.spec)?,
            payload: PayloadRow::of(trigger.payload.as_ref()),
            priority: trigger.priority.into(),
            state: trigger.state.code(),
            next_fire_us: micros_of(trigger.next_fire),
            wake_us: micros_of(trigger.wake),
            last_us: micros_of(trigger.last),
            fires: trigger.fires,
            fire_seq: trigger.fire_seq,
            generation: trigger.generation,
            rev: trigger.rev,
            slice: trigger.slice,
            error: text_of(trigger.error.as_deref()),
            set_name: text_of(trigger.set.as_deref()),
            hash: trigger.hash,
            created_us: trigger.created.as_micros(),
            progress: progress_document(&trigger.progress)?,
            calendar: text_of(trigger.spec.calendar.as_deref()),
        })
    }
}

impl TryFrom<TriggerRow> for TriggerRecord {
    type Error = BadColumn;

    fn try_from(row: TriggerRow) -> Decoded<Self> {
        Ok(Self {
            id: TriggerId::from_stored(row.id),
            key: named("trigger.name", TriggerKey::new(&row.group_name, &row.name))?,
            job_id: JobId::from_stored(row.job_id),
            description: boxed(row.description),
            spec: parsed("trigger.spec", &row.spec)?,
            payload: row.payload.decode("trigger.payload")?,
            priority: number("trigger.priority", row.priority)?,
            state: TriggerState::decode("trigger.state", row.state)?,
            next_fire: at(row.next_fire_us),
            wake: at(row.wake_us),
            last: at(row.last_us),
            progress: row
                .progress
                .as_deref()
                .map(|text| parsed("trigger.progress", text))
                .transpose()?
                .unwrap_or_default(),
            fires: row.fires,
            fire_seq: row.fire_seq,
            generation: row.generation,
            rev: row.rev,
            slice: row.slice,
            error: boxed(row.error),
            set: boxed(row.set_name),
            hash: row.hash,
            created: Timestamp::from_micros(row.created_us),
        })
    }
}

/// A due trigger's row with its job's, and the document of its calendar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct DueRow {
    pub trigger: TriggerRow,
    pub job: JobRow,
    pub calendar: Option<String>,
}

impl TryFrom<DueRow> for DueTrigger {
    type Error = BadColumn;

    fn try_from(row: DueRow) -> Decoded<Self> {
        let trigger = TriggerRecord::try_from(row.trigger)?;
        let calendar = match (&trigger.spec.calendar, row.calendar) {
            (None, _) => None,
            (Some(_), Some(text)) => Some(Arc::new(parsed::<Calendar>("calendar.document", &text)?)),
            (Some(name), None) => {
                return Err(BadColumn::new("trigger.spec", format_args!("there is no calendar `{name}`")));
            }
        };
        Ok(Self { trigger, job: row.job.try_into()?, calendar })
    }
}

/// A row of `definition_set`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the columns, explained by SetRecord")]
pub struct SetRow {
    pub name: String,
    pub revision: i64,
    pub hash: i64,
    pub written_by: String,
    pub rev: i64,
    pub written_us: i64,
}

impl From<SetRow> for SetRecord {
    fn from(row: SetRow) -> Self {
        Self {
            name: row.name.into(),
            revision: row.revision,
            hash: row.hash,
            by: row.written_by.into(),
            rev: row.rev,
            written: Timestamp::from_micros(row.written_us),
        }
    }
}

/// A row of `calendar`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the columns, explained by CalendarRecord")]
pub struct CalendarRow {
    pub name: String,
    pub document: String,
    pub rev: i64,
    pub updated_us: i64,
}

impl CalendarRow {
    /// The row of a record.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn of(calendar: &CalendarRecord) -> Result<Self> {
        Ok(Self {
            name: calendar.name.to_string(),
            document: document(&*calendar.calendar)?,
            rev: calendar.rev,
            updated_us: calendar.updated.as_micros(),
        })
    }
}

impl TryFrom<CalendarRow> for CalendarRecord {
    type Error = BadColumn;

    fn try_from(row: CalendarRow) -> Decoded<Self> {
        Ok(Self {
            name: row.name.into(),
            calendar: Arc::new(parsed("calendar.document", &row.document)?),
            rev: row.rev,
            updated: Timestamp::from_micros(row.updated_us),
        })
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
