//! One piece of work from its claim to its record: the live row, its attempts, and what history keeps.

use serde::{Deserialize, Serialize};

use crate::job::{ExecutionSpec, JobRecord, Payload};
use crate::key::{ExecutionId, Fence, JobId, JobKey, Kind, NodeId, TriggerId, TriggerKey};
use crate::quartz::CatchUp;
use crate::time::Timestamp;

/// The longest error text that is kept, in bytes.
pub const MAX_ERROR_BYTES: usize = 4 << 10;
/// The longest output that is kept, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 64 << 10;
/// The most attempts that are kept with an execution; the oldest go first.
pub const MAX_ATTEMPTS_KEPT: usize = 20;

/// Where a live row stands. `Claimed` and `Running` rows have an owner, the others have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionState {
    /// Anybody may claim it once its time has come.
    Ready,
    /// It has an owner. Work that runs at least once may be running.
    Claimed,
    /// Work that runs at most once has begun.
    Running,
    /// It cannot be understood, and is set aside with its reason.
    Held,
}

/// Which firing of which trigger an execution is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrence {
    /// The trigger.
    pub trigger_id: TriggerId,
    /// The generation of its definition.
    pub generation: i64,
    /// Its name, for people: the trigger may be gone before its execution.
    pub key: TriggerKey,
}

/// The job that an execution belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRef {
    /// The job.
    pub id: JobId,
    /// Its name, for people.
    pub key: JobKey,
}

/// How one try of an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// The handler returned success.
    Succeeded,
    /// The handler returned an error.
    Failed,
    /// The handler panicked.
    Panicked,
    /// The handler took longer than its timeout.
    TimedOut,
    /// A person or a deletion cancelled it.
    Cancelled,
    /// Its node died.
    Lost,
    /// Its node stopped or lost its lease, and handed the work back.
    Released,
}

/// One try of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// The node that ran it.
    pub node: NodeId,
    /// The fence that it ran under.
    pub fence: Fence,
    /// When the body began, on the store's clock as the node knew it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: AttemptOutcome,
    /// Why, if it did not succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Box<str>>,
}

/// An execution as it enters the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewExecution {
    /// Made before the step, so that the step may be repeated.
    pub id: ExecutionId,
    /// The firing that it is, or `None` if it was enqueued.
    pub occurrence: Option<Occurrence>,
    /// The stored job that it belongs to, or `None` if it brings everything along.
    pub job: Option<JobRef>,
    /// Which handler runs it.
    pub kind: Kind,
    /// The scheduled instant; for enqueued work, when it was asked to run.
    pub scheduled: Timestamp,
    /// Higher starts first.
    pub priority: i32,
    /// Its own rules, or `None` to take the job's at each claim; the defaults, if it has no job.
    pub spec: Option<ExecutionSpec>,
    /// Its own data, or `None` to take the trigger's over the job's at each claim.
    pub payload: Option<Payload>,
    /// The slot key that it must hold to run, with the key's limit.
    pub slot: Option<Slot>,
    /// Its place in a run of late instants that is caught up with.
    pub catch_up: Option<CatchUp>,
}

/// A slot that work must hold to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The shared name.
    pub key: Box<str>,
    /// How many may hold it at once.
    pub limit: u32,
}

impl Slot {
    /// The slot that work under `spec` needs.
    pub fn of(spec: &ExecutionSpec) -> Option<Self> {
        spec.concurrency.as_ref().map(|c| Self { key: c.key.clone(), limit: c.limit })
    }
}

/// A live row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its id.
    pub id: ExecutionId,
    /// The firing that it is, or `None` if it was enqueued.
    pub occurrence: Option<Occurrence>,
    /// The stored job that it belongs to.
    pub job: Option<JobRef>,
    /// Which handler runs it.
    pub kind: Kind,
    /// The scheduled instant; for enqueued work, when it was asked to run.
    pub scheduled: Timestamp,
    /// Higher starts first.
    pub priority: i32,
    /// Where it stands.
    pub state: ExecutionState,
    /// Who runs it.
    pub owner: Option<NodeId>,
    /// The fence of its last claim.
    pub fence: Fence,
    /// The number of the current try, from 1.
    pub attempt: u32,
    /// How many tries were lost with their node.
    pub losses: u32,
    /// Not before this instant.
    pub wake: Timestamp,
    /// The slot that it must hold to run.
    pub slot: Option<Slot>,
    /// Its place in a run of late instants that is caught up with.
    pub catch_up: Option<CatchUp>,
    /// Its own rules, or `None` to take the job's; the defaults, if it has no job.
    pub spec: Option<ExecutionSpec>,
    /// Its own data, or `None` to take the trigger's over the job's.
    pub payload: Option<Payload>,
    /// The tries that have ended.
    pub attempts: Vec<Attempt>,
    /// Why it is to stop, if somebody asked.
    pub cancel: Option<Box<str>>,
    /// Why it is held.
    pub error: Option<Box<str>>,
    /// When the row was made, on the store's clock.
    pub created: Timestamp,
}

/// A live row with what it takes from its job and trigger, as a claim or a recovery returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutionWithJob {
    /// The row.
    pub execution: Execution,
    /// The job that it belongs to, if that is still there.
    pub job: Option<JobRecord>,
    /// The trigger's own data, if the trigger is still there and has any.
    pub trigger_payload: Option<Payload>,
}

impl ExecutionWithJob {
    /// The rules of this execution: its own, else the job's, else the defaults.
    pub fn spec(&self) -> ExecutionSpec {
        let inherited = || self.job.as_ref().map(|job| job.spec.clone());
        self.execution.spec.clone().or_else(inherited).unwrap_or_default()
    }

    /// The data of this execution: its own, else the trigger's over the job's, else `null`.
    pub fn payload(&self) -> Payload {
        if let Some(own) = &self.execution.payload {
            return own.clone();
        }
        merged(self.job.as_ref(), self.trigger_payload.as_ref())
    }
}

/// The data of a trigger laid over that of its job.
pub fn merged(job: Option<&JobRecord>, trigger: Option<&Payload>) -> Payload {
    match (job, trigger) {
        (Some(job), Some(trigger)) => job.payload.overlay(trigger),
        (Some(job), None) => job.payload.clone(),
        (None, Some(trigger)) => trigger.clone(),
        (None, None) => Payload::null(),
    }
}

/// How an execution, or a range of instants, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It succeeded.
    Succeeded,
    /// Its last attempt failed.
    Failed,
    /// A person or a deletion cancelled it.
    Cancelled,
    /// Its node died, and it was not to run again.
    Lost,
    /// It never ran; the reason says why.
    Skipped,
}

/// Why instants were left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// They were later than the tolerance, and the policy left them out.
    Misfire,
    /// An earlier execution of the key was still there.
    Overlap,
}

/// Instants of a trigger that will not fire, as they enter the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// The id of the history row.
    pub id: ExecutionId,
    /// The first instant.
    pub first: Timestamp,
    /// The last instant.
    pub last: Timestamp,
    /// How many, if they were counted.
    pub count: Option<u64>,
    /// Why.
    pub reason: SkipReason,
}

/// A row of the history: an execution that ended, or instants that were skipped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRecord {
    /// The execution.
    pub id: ExecutionId,
    /// The firing that it was, or `None` if it was enqueued.
    pub occurrence: Option<Occurrence>,
    /// The job that it belonged to.
    pub job: Option<JobRef>,
    /// Which handler ran it.
    pub kind: Kind,
    /// The scheduled instant; the first one of a skipped range.
    pub scheduled: Timestamp,
    /// The last instant of a skipped range.
    pub until: Option<Timestamp>,
    /// How many instants a skipped range has, if they were counted; 1 for an execution.
    pub count: Option<u64>,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was skipped.
    pub reason: Option<SkipReason>,
    /// The number of the last attempt; 0 for a skip.
    pub attempt: u32,
    /// The node of the last attempt.
    pub node: Option<NodeId>,
    /// The fence of the last attempt.
    pub fence: Fence,
    /// When the last attempt began.
    pub started: Option<Timestamp>,
    /// When it ended, or was skipped.
    pub ended: Timestamp,
    /// The last error.
    pub error: Option<Box<str>>,
    /// What the body gave out, cut to [`MAX_OUTPUT_BYTES`].
    pub output: Option<Box<str>>,
    /// All kept attempts, the last one included.
    pub attempts: Vec<Attempt>,
}

/// Cuts a text to at most `limit` bytes at a character boundary, and says so.
pub fn clip(text: &str, limit: usize) -> Box<str> {
    if text.len() <= limit {
        return text.into();
    }
    let mark = " … (cut)";
    let mut end = limit.saturating_sub(mark.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", text.get(..end).unwrap_or_default()).into()
}
