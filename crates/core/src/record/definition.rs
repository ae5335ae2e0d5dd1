//! Rows of definitions: jobs, triggers, calendars and sets.

use serde::{Deserialize, Serialize};

use super::{
    BadColumn, Coded, Decoded, PayloadRow, at, boolean, boxed, calendars, document, flag, micros_of, named,
    number, parsed, text_of,
};
use crate::error::Result;
use crate::job::JobRecord;
use crate::key::{JobId, JobKey, Kind, TriggerId, TriggerKey};
use crate::pause::PausedGroup;
use crate::quartz::Progress;
use crate::store::{CalendarRecord, DueTrigger, SetRecord};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerState};

/// A row of `job`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
    pub paused: Option<String>,
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
            paused: trigger.paused.as_ref().map(document).transpose()?,
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
            paused: row.paused.as_deref().map(|text| parsed("trigger.paused", text)).transpose()?,
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
            (Some(_), Some(text)) => Some(calendars::read(&text)?),
            (Some(name), None) => {
                return Err(BadColumn::new("trigger.spec", format_args!("there is no calendar `{name}`")));
            }
        };
        Ok(Self { trigger, job: row.job.try_into()?, calendar })
    }
}

/// A row of `definition_set`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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

impl SetRow {
    /// The row of a record.
    pub fn of(set: &SetRecord) -> Self {
        Self {
            name: set.name.to_string(),
            revision: set.revision,
            hash: set.hash,
            written_by: set.by.to_string(),
            rev: set.rev,
            written_us: set.written.as_micros(),
        }
    }
}

/// A row of `calendar`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
            calendar: calendars::read(&row.document)?,
            rev: row.rev,
            updated: Timestamp::from_micros(row.updated_us),
        })
    }
}

/// A row of `pause`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the columns, explained by PausedGroup")]
pub struct PauseRow {
    pub group_name: String,
    pub document: String,
}

impl PauseRow {
    /// The row of a record.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn of(paused: &PausedGroup) -> Result<Self> {
        Ok(Self { group_name: paused.group.to_string(), document: document(&paused.pause)? })
    }
}

impl TryFrom<PauseRow> for PausedGroup {
    type Error = BadColumn;

    fn try_from(row: PauseRow) -> Decoded<Self> {
        Ok(Self { group: row.group_name.into(), pause: parsed("pause.document", &row.document)? })
    }
}
