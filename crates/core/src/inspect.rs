//! Reading for people and programs: look-ups by key and listings by page. Nothing here writes or locks.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;
use crate::execution::{Execution, ExecutionState, HistoryRecord};
use crate::job::JobRecord;
use crate::key::{ExecutionId, JobId, JobKey, NodeId, TriggerKey};
use crate::node::NodeRecord;
use crate::pause::PausedGroup;
use crate::store::{CalendarRecord, Readable, SetRecord};
use crate::time::Timestamp;
use crate::trigger::TriggerRecord;

/// The largest page.
pub const MAX_PAGE: u32 = 10_000;

/// The listings of a store.
///
/// # Contract
/// Each method reads one consistent snapshot. Lists are ordered by key (history: newest first) and hold at most
/// `limit` rows, at most [`MAX_PAGE`]; the next page begins after the last key of this one. Rows that cannot be
/// understood are left out of lists of records and shown by their [`Readable::Poison`] where the type allows it; a
/// look-up of such a row by key is `Corrupt`.
#[async_trait]
pub trait Inspect: fmt::Debug + Send + Sync {
    /// The job of a key.
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>>;
    /// The job of an id.
    async fn job_by_id(&self, id: JobId) -> Result<Option<JobRecord>>;
    /// Jobs by key.
    async fn jobs(&self, page: Page<JobKey>) -> Result<Vec<JobRecord>>;
    /// The trigger of a key, or the mark that a deleted one left.
    async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger>;
    /// Triggers by key.
    async fn triggers(&self, page: Page<TriggerKey>) -> Result<Vec<TriggerRecord>>;
    /// All triggers of a job, by key.
    async fn triggers_of(&self, job: JobId) -> Result<Vec<TriggerRecord>>;
    /// The calendar of a name.
    async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>>;
    /// All calendars by name, at most [`MAX_PAGE`].
    async fn calendars(&self) -> Result<Vec<CalendarRecord>>;
    /// All triggers that name a calendar, by key.
    async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>>;
    /// A live execution.
    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>>;
    /// Live executions by id.
    async fn executions(&self, filter: ExecutionFilter) -> Result<Vec<Readable<Execution>>>;
    /// One history record.
    async fn record(&self, id: ExecutionId) -> Result<Option<HistoryRecord>>;
    /// History, newest id first.
    async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryRecord>>;
    /// All nodes that the store remembers, by time of joining.
    async fn nodes(&self) -> Result<Vec<NodeRecord>>;
    /// All paused groups of triggers, by name, at most [`MAX_PAGE`].
    async fn paused_groups(&self) -> Result<Vec<PausedGroup>>;
    /// The epoch of the store.
    async fn epoch(&self) -> Result<u32>;
    /// The row of a set, and the keys, revisions and hashes of what it defines.
    async fn set(&self, name: &str) -> Result<FoundSet>;
}

/// A page of a list ordered by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// Only keys of this group.
    pub group: Option<Box<str>>,
    /// Only keys after this one.
    pub after: Option<K>,
    /// How many at most.
    pub limit: u32,
}

impl<K> Page<K> {
    /// The first page of everything.
    pub const fn first(limit: u32) -> Self {
        Self { group: None, after: None, limit }
    }

    /// The first page of a group.
    pub fn of_group(group: &str, limit: u32) -> Self {
        Self { group: Some(group.into()), after: None, limit }
    }
}

/// What a key of a trigger stands for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct FoundTrigger {
    /// The trigger, if there is one.
    pub trigger: Option<TriggerRecord>,
    /// The last instant of the last deleted trigger of this key, if there is none now.
    pub mark: Option<Timestamp>,
}

/// Which live executions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionFilter {
    /// Only of this job.
    pub job: Option<JobId>,
    /// Only in this state.
    pub state: Option<ExecutionState>,
    /// Only of this owner.
    pub owner: Option<NodeId>,
    /// Only ids after this one.
    pub after: Option<ExecutionId>,
    /// How many at most; 0 is [`MAX_PAGE`].
    pub limit: u32,
}

/// Which history records to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryFilter {
    /// Only of triggers with this key.
    pub trigger: Option<TriggerKey>,
    /// Only of jobs with this key.
    pub job: Option<JobKey>,
    /// Only ids before this one.
    pub before: Option<ExecutionId>,
    /// How many at most; 0 is [`MAX_PAGE`].
    pub limit: u32,
}

/// A set as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundSet {
    /// Its row, if it was ever written.
    pub set: Option<SetRecord>,
    /// Its jobs, by key.
    pub jobs: Vec<JobRecord>,
    /// Its triggers, by key.
    pub triggers: Vec<TriggerRecord>,
}
