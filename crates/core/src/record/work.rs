//! Rows of live executions and of the history.

use serde::{Deserialize, Serialize};

use super::{
    BadColumn, Coded, Decoded, JobRow, PayloadRow, at, boxed, document, micros_of, named, number, parsed,
    text_of,
};
use crate::error::Result;
use crate::execution::{
    Attempt, AttemptOutcome, Execution, ExecutionState, ExecutionWithJob, HistoryRecord, JobRef,
    NewExecution, Occurrence, Outcome, Skip, SkipReason, Slot,
};
use crate::job::ExecutionSpec;
use crate::key::{ExecutionId, Fence, JobId, Kind, NodeId, TriggerId};
use crate::store::Owned;
use crate::time::Timestamp;

/// A row of `execution`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the columns, explained by Execution")]
pub struct ExecutionRow {
    pub id: [u8; 16],
    pub trigger_id: Option<i64>,
    pub generation: Option<i64>,
    pub trigger_key: Option<String>,
    pub job_id: Option<i64>,
    pub job_key: Option<String>,
    pub kind: String,
    pub scheduled_us: i64,
    pub priority: i64,
    pub state: i64,
    pub owner: Option<i64>,
    pub fence: i64,
    pub attempt: i64,
    pub losses: i64,
    pub wake_us: i64,
    pub slot_key: Option<String>,
    pub slot_limit: Option<i64>,
    pub spec: Option<String>,
    pub payload: PayloadRow,
    pub attempts: String,
    pub cancel: Option<String>,
    pub error: Option<String>,
    pub created_us: i64,
    pub catch_up: Option<String>,
}

impl ExecutionRow {
    /// The row of work that enters the store: ready at its scheduled instant, attempt 1, nobody's.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn ready(new: &NewExecution, now: Timestamp) -> Result<Self> {
        let occurrence = new.occurrence.as_ref();
        Ok(Self {
            id: new.id.to_bytes(),
            trigger_id: occurrence.map(|of| of.trigger_id.get()),
            generation: occurrence.map(|of| of.generation),
            trigger_key: occurrence.map(|of| of.key.to_string()),
            job_id: new.job.as_ref().map(|job| job.id.get()),
            job_key: new.job.as_ref().map(|job| job.key.to_string()),
            kind: new.kind.as_str().to_owned(),
            scheduled_us: new.scheduled.as_micros(),
            priority: new.priority.into(),
            state: ExecutionState::Ready.code(),
            owner: None,
            fence: Fence::NONE.get(),
            attempt: 1,
            losses: 0,
            wake_us: new.scheduled.as_micros(),
            slot_key: new.slot.as_ref().map(|slot| slot.key.to_string()),
            slot_limit: new.slot.as_ref().map(|slot| i64::from(slot.limit)),
            spec: new.spec.as_ref().map(document).transpose()?,
            payload: PayloadRow::of(new.payload.as_ref()),
            attempts: "[]".to_owned(),
            cancel: None,
            error: None,
            created_us: now.as_micros(),
            catch_up: new.catch_up.as_ref().map(document).transpose()?,
        })
    }

    /// The row of work that its node claims in the step that makes it.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn claimed(new: &NewExecution, now: Timestamp, owner: NodeId, fence: Fence) -> Result<Self> {
        let (state, owner) = (ExecutionState::Claimed.code(), Some(owner.get()));
        Ok(Self { state, owner, fence: fence.get(), ..Self::ready(new, now)? })
    }
}

fn occurrence(
    column: &'static str,
    id: Option<i64>,
    generation: Option<i64>,
    key: Option<&str>,
) -> Decoded<Option<Occurrence>> {
    match (id, generation, key) {
        (None, None, None) => Ok(None),
        (Some(id), Some(generation), Some(key)) => {
            let key = named(column, key.parse())?;
            Ok(Some(Occurrence { trigger_id: TriggerId::from_stored(id), generation, key }))
        }
        _ => Err(BadColumn::new(column, "id, generation and key must be all there or all null")),
    }
}

fn job_ref(column: &'static str, id: Option<i64>, key: Option<&str>) -> Decoded<Option<JobRef>> {
    match (id, key) {
        (None, None) => Ok(None),
        (Some(id), Some(key)) => {
            Ok(Some(JobRef { id: JobId::from_stored(id), key: named(column, key.parse())? }))
        }
        _ => Err(BadColumn::new(column, "id and key must be both there or both null")),
    }
}

impl TryFrom<ExecutionRow> for Execution {
    type Error = BadColumn;

    fn try_from(row: ExecutionRow) -> Decoded<Self> {
        let slot = match (row.slot_key, row.slot_limit) {
            (None, None) => None,
            (Some(key), Some(limit)) => {
                Some(Slot { key: key.into(), limit: number("execution.slot_limit", limit)? })
            }
            _ => {
                return Err(BadColumn::new(
                    "execution.slot_key",
                    "key and limit must be both there or both null",
                ));
            }
        };
        let spec: Option<ExecutionSpec> =
            row.spec.as_deref().map(|text| parsed("execution.spec", text)).transpose()?;
        let attempts: Vec<Attempt> = parsed("execution.attempts", &row.attempts)?;
        Ok(Self {
            id: ExecutionId::from_bytes(row.id),
            occurrence: occurrence(
                "execution.trigger_key",
                row.trigger_id,
                row.generation,
                row.trigger_key.as_deref(),
            )?,
            job: job_ref("execution.job_key", row.job_id, row.job_key.as_deref())?,
            kind: named("execution.kind", Kind::new(&row.kind))?,
            scheduled: Timestamp::from_micros(row.scheduled_us),
            priority: number("execution.priority", row.priority)?,
            state: ExecutionState::decode("execution.state", row.state)?,
            owner: row.owner.map(NodeId::from_stored),
            fence: Fence::from_stored(row.fence),
            attempt: number("execution.attempt", row.attempt)?,
            losses: number("execution.losses", row.losses)?,
            wake: Timestamp::from_micros(row.wake_us),
            slot,
            catch_up: row.catch_up.as_deref().map(|text| parsed("execution.catch_up", text)).transpose()?,
            spec,
            payload: row.payload.decode("execution.payload")?,
            attempts,
            cancel: boxed(row.cancel),
            error: boxed(row.error),
            created: Timestamp::from_micros(row.created_us),
        })
    }
}

/// A live row with the rows that it takes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields say it")]
pub struct WorkRow {
    pub execution: ExecutionRow,
    pub job: Option<JobRow>,
    pub trigger_payload: PayloadRow,
}

impl TryFrom<WorkRow> for ExecutionWithJob {
    type Error = BadColumn;

    fn try_from(row: WorkRow) -> Decoded<Self> {
        Ok(Self {
            execution: row.execution.try_into()?,
            job: row.job.map(TryInto::try_into).transpose()?,
            trigger_payload: row.trigger_payload.decode("trigger.payload")?,
        })
    }
}

/// What a check-in reads of a node's own live rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the columns, explained by Owned")]
pub struct OwnedRow {
    pub id: [u8; 16],
    pub fence: i64,
    pub attempt: i64,
    pub cancel: Option<String>,
}

impl From<OwnedRow> for Owned {
    /// An attempt that is out of range is shown as 0: the node must learn of the row in any case.
    fn from(row: OwnedRow) -> Self {
        Self {
            id: ExecutionId::from_bytes(row.id),
            fence: Fence::from_stored(row.fence),
            attempt: u32::try_from(row.attempt).unwrap_or(0),
            cancel: boxed(row.cancel),
        }
    }
}

/// A row of `history`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the columns, explained by HistoryRecord")]
pub struct HistoryRow {
    pub id: [u8; 16],
    pub trigger_id: Option<i64>,
    pub generation: Option<i64>,
    pub trigger_key: Option<String>,
    pub job_id: Option<i64>,
    pub job_key: Option<String>,
    pub kind: String,
    pub scheduled_us: i64,
    pub until_us: Option<i64>,
    pub instants: Option<i64>,
    pub outcome: i64,
    pub reason: Option<i64>,
    pub attempt: i64,
    pub node_id: Option<i64>,
    pub fence: i64,
    pub started_us: Option<i64>,
    pub ended_us: i64,
    pub error: Option<String>,
    pub output: Option<String>,
    pub attempts: String,
}

impl HistoryRow {
    /// The row of a record.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn of(record: &HistoryRecord) -> Result<Self> {
        let occurrence = record.occurrence.as_ref();
        Ok(Self {
            id: record.id.to_bytes(),
            trigger_id: occurrence.map(|of| of.trigger_id.get()),
            generation: occurrence.map(|of| of.generation),
            trigger_key: occurrence.map(|of| of.key.to_string()),
            job_id: record.job.as_ref().map(|job| job.id.get()),
            job_key: record.job.as_ref().map(|job| job.key.to_string()),
            kind: record.kind.as_str().to_owned(),
            scheduled_us: record.scheduled.as_micros(),
            until_us: micros_of(record.until),
            instants: record.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
            outcome: record.outcome.code(),
            reason: record.reason.map(Coded::code),
            attempt: record.attempt.into(),
            node_id: record.node.map(NodeId::get),
            fence: record.fence.get(),
            started_us: micros_of(record.started),
            ended_us: record.ended.as_micros(),
            error: text_of(record.error.as_deref()),
            output: text_of(record.output.as_deref()),
            attempts: match &*record.attempts {
                [only] if only_attempt(record).as_ref() == Some(only) => AS_THE_ROW.to_owned(),
                attempts => document(attempts)?,
            },
        })
    }
}

/// What `history.attempts` holds where there was one attempt, and the rest of the row says all of it. Most rows are such,
/// and a third of their bytes would be the same numbers once more.
const AS_THE_ROW: &str = "null";

/// The attempt of a record that needed no other one.
fn only_attempt(record: &HistoryRecord) -> Option<Attempt> {
    if record.outcome != Outcome::Succeeded {
        return None;
    }
    Some(Attempt {
        number: record.attempt,
        node: record.node?,
        fence: record.fence,
        started: record.started,
        ended: record.ended,
        outcome: AttemptOutcome::Succeeded,
        error: record.error.clone(),
    })
}

impl TryFrom<HistoryRow> for HistoryRecord {
    type Error = BadColumn;

    fn try_from(row: HistoryRow) -> Decoded<Self> {
        let is_short = row.attempts == AS_THE_ROW;
        let mut record = Self {
            id: ExecutionId::from_bytes(row.id),
            occurrence: occurrence(
                "history.trigger_key",
                row.trigger_id,
                row.generation,
                row.trigger_key.as_deref(),
            )?,
            job: job_ref("history.job_key", row.job_id, row.job_key.as_deref())?,
            kind: named("history.kind", Kind::new(&row.kind))?,
            scheduled: Timestamp::from_micros(row.scheduled_us),
            until: at(row.until_us),
            count: row.instants.map(|instants| number("history.instants", instants)).transpose()?,
            outcome: Outcome::decode("history.outcome", row.outcome)?,
            reason: row.reason.map(|code| SkipReason::decode("history.reason", code)).transpose()?,
            attempt: number("history.attempt", row.attempt)?,
            node: row.node_id.map(NodeId::from_stored),
            fence: Fence::from_stored(row.fence),
            started: at(row.started_us),
            ended: Timestamp::from_micros(row.ended_us),
            error: boxed(row.error),
            output: boxed(row.output),
            attempts: if is_short { Vec::new() } else { parsed("history.attempts", &row.attempts)? },
        };
        if is_short {
            let only = only_attempt(&record);
            record.attempts.push(only.ok_or_else(|| {
                BadColumn::new("history.attempts", "is null, but the row is none of a success on a node")
            })?);
        }
        Ok(record)
    }
}

/// What a skip adds to the history; the rest comes from the trigger's row and its job's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the columns, explained by Skip")]
pub struct SkipRow {
    pub id: [u8; 16],
    pub scheduled_us: i64,
    pub until_us: i64,
    pub instants: Option<i64>,
    pub reason: i64,
}

impl From<&Skip> for SkipRow {
    fn from(skip: &Skip) -> Self {
        Self {
            id: skip.id.to_bytes(),
            scheduled_us: skip.first.as_micros(),
            until_us: skip.last.as_micros(),
            instants: skip.count.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
            reason: skip.reason.code(),
        }
    }
}
