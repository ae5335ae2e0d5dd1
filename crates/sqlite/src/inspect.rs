//! Listings. Each is one snapshot on the connection that reads.

use async_trait::async_trait;
use punctual_core::execution::{Execution, HistoryRecord};
use punctual_core::inspect::{
    ExecutionFilter, FoundSet, FoundTrigger, HistoryFilter, Inspect, MAX_PAGE, Page,
};
use punctual_core::job::JobRecord;
use punctual_core::node::NodeRecord;
use punctual_core::pause::PausedGroup;
use punctual_core::record::{
    BadColumn, CalendarRow, Coded, ExecutionRow, HistoryRow, JobRow, NodeRow, PauseRow, SetRow, TriggerRow,
};
use punctual_core::store::{CalendarRecord, Poison, PoisonRow, Readable, SetRecord};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{ExecutionId, JobId, JobKey, NodeId, Result, Timestamp, TriggerKey};
use rusqlite::params;
use rusqlite::types::Value;

use crate::error::Failure;
use crate::rows::{FromColumns, Read};
use crate::sql;
use crate::step::Step;
use crate::store::SqliteStore;
use crate::store::firing::claim_of;

/// The records of rows that can be understood.
fn good<T, R: TryFrom<T, Error: Into<BadColumn>>>(rows: Vec<Read<T>>) -> Vec<R> {
    rows.into_iter().filter_map(|read| read.decode().ok()).collect()
}

/// The record of a look-up; a row that cannot be understood is an error here.
fn one<T, R: TryFrom<T, Error: Into<BadColumn>>>(
    operation: &'static str,
    row: Option<Read<T>>,
) -> std::result::Result<Option<R>, Failure> {
    row.map(Read::decode).transpose().map_err(|bad| bad.into_error(operation).into())
}

fn filter_page(limit: u32) -> u32 {
    if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) }
}

/// After which group and name a page begins, and the last group that it may hold. A blob sorts after every text, so an
/// empty one is the end of all groups.
fn bounds(group: Option<&str>, after: Option<(&str, &str)>) -> (String, String, Value) {
    let (of_group, name) = after.unwrap_or_default();
    let begin = group.map_or((of_group, name), |group| (group, "").max((of_group, name)));
    let end = group.map_or(Value::Blob(Vec::new()), |group| Value::Text(group.to_owned()));
    (begin.0.to_owned(), begin.1.to_owned(), end)
}

fn page<T: FromColumns, R: TryFrom<T, Error: Into<BadColumn>>>(
    step: &Step<'_>,
    sql: &'static str,
    (group, name, end): (String, String, Value),
    limit: u32,
) -> std::result::Result<Vec<R>, Failure> {
    Ok(good(step.rows::<T>(sql, params![group, name, end, limit.min(MAX_PAGE)])?))
}

#[async_trait]
impl Inspect for SqliteStore {
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        let key = key.clone();
        self.read("job", move |step| {
            one("job", step.first(sql::JOB, [key.group(), key.name()], JobRow::from_row)?)
        })
        .await
    }

    async fn job_by_id(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.read("job_by_id", move |step| {
            one("job_by_id", step.first(sql::JOB_BY_ID, [id.get()], JobRow::from_row)?)
        })
        .await
    }

    async fn jobs(&self, wanted: Page<JobKey>) -> Result<Vec<JobRecord>> {
        let Page { group, after, limit } = wanted;
        let after = after.as_ref().map(|key| (key.group(), key.name()));
        let bounds = bounds(group.as_deref(), after);
        self.read("jobs", move |step| page::<JobRow, _>(step, sql::JOBS, bounds, limit)).await
    }

    async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger> {
        let key = key.clone();
        self.read("trigger", move |step| {
            let trigger =
                one("trigger", step.first(sql::TRIGGER, [key.group(), key.name()], TriggerRow::from_row)?)?;
            let mark = step.number(sql::FIND_MARK, [key.group(), key.name()])?;
            Ok(FoundTrigger { trigger, mark: mark.map(Timestamp::from_micros) })
        })
        .await
    }

    async fn triggers(&self, wanted: Page<TriggerKey>) -> Result<Vec<TriggerRecord>> {
        let Page { group, after, limit } = wanted;
        let after = after.as_ref().map(|key| (key.group(), key.name()));
        let bounds = bounds(group.as_deref(), after);
        self.read("triggers", move |step| page::<TriggerRow, _>(step, sql::TRIGGERS, bounds, limit)).await
    }

    async fn triggers_of(&self, job: JobId) -> Result<Vec<TriggerRecord>> {
        self.read("triggers_of", move |step| {
            Ok(good(step.rows::<TriggerRow>(sql::TRIGGERS_OF, [job.get()])?))
        })
        .await
    }

    async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
        let name = name.to_owned();
        self.read("calendar", move |step| {
            one("calendar", step.first(sql::CALENDAR, [name], CalendarRow::from_row)?)
        })
        .await
    }

    async fn calendars(&self) -> Result<Vec<CalendarRecord>> {
        self.read("calendars", |step| Ok(good(step.rows::<CalendarRow>(sql::CALENDARS, [MAX_PAGE])?))).await
    }

    async fn paused_groups(&self) -> Result<Vec<PausedGroup>> {
        self.read("pauses", |step| Ok(good(step.rows::<PauseRow>(sql::PAUSES, [MAX_PAGE])?))).await
    }

    async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
        let name = calendar.to_owned();
        self.read("triggers_using", move |step| {
            Ok(good(step.rows::<TriggerRow>(sql::TRIGGERS_USING, [name])?))
        })
        .await
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>> {
        let id = id.to_bytes();
        self.read("execution", move |step| {
            one("execution", step.first(sql::EXECUTION, [id], ExecutionRow::from_row)?)
        })
        .await
    }

    async fn executions(&self, filter: ExecutionFilter) -> Result<Vec<Readable<Execution>>> {
        let ExecutionFilter { job, state, owner, after, limit } = filter;
        let after = after.map_or(Vec::new(), |id| id.to_bytes().to_vec());
        let (job, state, owner) = (job.map(JobId::get), state.map(Coded::code), owner.map(NodeId::get));
        self.read("executions", move |step| {
            let values = params![after, job, state, owner, filter_page(limit)];
            let rows = step.rows::<ExecutionRow>(sql::EXECUTIONS, values)?;
            Ok(rows.into_iter().map(readable).collect())
        })
        .await
    }

    async fn record(&self, id: ExecutionId) -> Result<Option<HistoryRecord>> {
        let id = id.to_bytes();
        self.read("record", move |step| one("record", step.first(sql::RECORD, [id], HistoryRow::from_row)?))
            .await
    }

    async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryRecord>> {
        let HistoryFilter { trigger, job, before, limit } = filter;
        // 17 bytes are after every id.
        let before = before.map_or_else(|| vec![0xff; 17], |id| id.to_bytes().to_vec());
        let (trigger, job) = (trigger.map(|key| key.to_string()), job.map(|key| key.to_string()));
        self.read("history", move |step| {
            let limit = filter_page(limit);
            let rows = match (trigger, job) {
                (None, None) => step.rows::<HistoryRow>(sql::HISTORY, params![before, limit])?,
                (None, Some(job)) => step.rows(sql::HISTORY_OF_JOB, params![before, limit, job])?,
                (Some(trigger), job) => {
                    step.rows(sql::HISTORY_OF_TRIGGER, params![before, limit, trigger, job])?
                }
            };
            Ok(good(rows))
        })
        .await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        self.read("nodes", |step| Ok(good(step.rows::<NodeRow>(sql::NODES, [])?))).await
    }

    async fn epoch(&self) -> Result<u32> {
        self.read("epoch", |step| Ok(step.epoch())).await
    }

    async fn set(&self, name: &str) -> Result<FoundSet> {
        let name = name.to_owned();
        self.read("set", move |step| {
            let set = step.first(sql::SET, [&name], SetRow::from_row)?;
            Ok(FoundSet {
                set: set.map(|read| SetRecord::from(read.row)),
                jobs: good(step.rows::<JobRow>(sql::JOBS_OF_SET, [&name])?),
                triggers: good(step.rows::<TriggerRow>(sql::TRIGGERS_OF_SET, [&name])?),
            })
        })
        .await
    }
}

fn readable(read: Read<ExecutionRow>) -> Readable<Execution> {
    let claim = claim_of(&read.row);
    match read.decode() {
        Ok(row) => Readable::Row(row),
        Err(bad) => Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason: bad.to_string() }),
    }
}
