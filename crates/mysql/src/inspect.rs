//! Listings. Each statement is one snapshot.

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

use crate::query::{Value, values};
use crate::rows::{FromColumns, Read};
use crate::sql;
use crate::step::Step;
use crate::store::firing::claim_of;
use crate::store::{MysqlStore, Outcome};

/// The records of rows that can be understood.
fn good<T, R: TryFrom<T, Error: Into<BadColumn>>>(rows: Vec<Read<T>>) -> Vec<R> {
    rows.into_iter().filter_map(|read| read.decode().ok()).collect()
}

/// The record of a look-up; a row that cannot be understood is an error here.
fn one<T, R: TryFrom<T, Error: Into<BadColumn>>>(
    operation: &'static str,
    row: Option<Read<T>>,
) -> Outcome<Option<R>> {
    row.map(Read::decode).transpose().map_err(|bad| bad.into_error(operation).into())
}

fn filter_page(limit: u32) -> u32 {
    if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) }
}

/// The values of a page: after which group and name it begins, the last group that it may hold, and how many it has.
fn page(group: Option<&str>, after: Option<(&str, &str)>, limit: u32) -> Vec<Value> {
    let (of_group, name) = after.unwrap_or_default();
    let (of_group, name) = group.map_or((of_group, name), |group| (group, "").max((of_group, name)));
    let end = group.map(str::to_owned);
    values![of_group, of_group, name, end.clone(), end, limit.min(MAX_PAGE)]
}

/// A look-up of one row, or of many: the statement with its values.
type Look = (&'static str, Vec<Value>);

async fn many<T: FromColumns, R: TryFrom<T, Error: Into<BadColumn>>>(
    step: &mut Step<'_>,
    (sql, values): &Look,
) -> Outcome<Vec<R>> {
    Ok(good(step.rows::<T>(*sql, values.clone()).await?))
}

#[async_trait]
impl Inspect for MysqlStore {
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        let look: Look = (sql::JOB, values![key.group(), key.name()]);
        self.read("job", look, |step, (sql, values)| {
            Box::pin(async move { one("job", step.row::<JobRow>(*sql, values.clone()).await?) })
        })
        .await
    }

    async fn job_by_id(&self, id: JobId) -> Result<Option<JobRecord>> {
        let look: Look = (sql::JOB_BY_ID, values![id.get()]);
        self.read("job_by_id", look, |step, (sql, values)| {
            Box::pin(async move { one("job_by_id", step.row::<JobRow>(*sql, values.clone()).await?) })
        })
        .await
    }

    async fn jobs(&self, wanted: Page<JobKey>) -> Result<Vec<JobRecord>> {
        let Page { group, after, limit } = wanted;
        let after = after.as_ref().map(|key| (key.group(), key.name()));
        let look: Look = (sql::JOBS, page(group.as_deref(), after, limit));
        self.read("jobs", look, |step, look| Box::pin(many::<JobRow, _>(step, look))).await
    }

    async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger> {
        self.read("trigger", key.clone(), |step, key| {
            Box::pin(async move {
                let row = step.row::<TriggerRow>(sql::TRIGGER, values![key.group(), key.name()]).await?;
                let mark = step.number(sql::FIND_MARK, values![key.group(), key.name()]).await?;
                let trigger = one("trigger", row)?;
                Ok(FoundTrigger { trigger, mark: mark.map(Timestamp::from_micros) })
            })
        })
        .await
    }

    async fn triggers(&self, wanted: Page<TriggerKey>) -> Result<Vec<TriggerRecord>> {
        let Page { group, after, limit } = wanted;
        let after = after.as_ref().map(|key| (key.group(), key.name()));
        let look: Look = (sql::TRIGGERS, page(group.as_deref(), after, limit));
        self.read("triggers", look, |step, look| Box::pin(many::<TriggerRow, _>(step, look))).await
    }

    async fn triggers_of(&self, job: JobId) -> Result<Vec<TriggerRecord>> {
        let look: Look = (sql::TRIGGERS_OF, values![job.get()]);
        self.read("triggers_of", look, |step, look| Box::pin(many::<TriggerRow, _>(step, look))).await
    }

    async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
        let look: Look = (sql::CALENDAR, values![name]);
        self.read("calendar", look, |step, (sql, values)| {
            Box::pin(async move { one("calendar", step.row::<CalendarRow>(*sql, values.clone()).await?) })
        })
        .await
    }

    async fn calendars(&self) -> Result<Vec<CalendarRecord>> {
        let look: Look = (sql::CALENDARS, values![MAX_PAGE]);
        self.read("calendars", look, |step, look| Box::pin(many::<CalendarRow, _>(step, look))).await
    }

    async fn paused_groups(&self) -> Result<Vec<PausedGroup>> {
        let look: Look = (sql::PAUSES, values![MAX_PAGE]);
        self.read("pauses", look, |step, look| Box::pin(many::<PauseRow, _>(step, look))).await
    }

    async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
        let look: Look = (sql::TRIGGERS_USING, values![calendar]);
        self.read("triggers_using", look, |step, look| Box::pin(many::<TriggerRow, _>(step, look))).await
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>> {
        let look: Look = (sql::EXECUTION, values![id.to_bytes()]);
        self.read("execution", look, |step, (sql, values)| {
            Box::pin(async move { one("execution", step.row::<ExecutionRow>(*sql, values.clone()).await?) })
        })
        .await
    }

    async fn executions(&self, filter: ExecutionFilter) -> Result<Vec<Readable<Execution>>> {
        let ExecutionFilter { job, state, owner, after, limit } = filter;
        let after = after.map_or(Vec::new(), |id| id.to_bytes().to_vec());
        let (job, state, owner) = (job.map(JobId::get), state.map(Coded::code), owner.map(NodeId::get));
        let values = values![after, job, job, state, state, owner, owner, filter_page(limit)];
        self.read("executions", values, |step, values| {
            Box::pin(async move {
                let rows = step.rows::<ExecutionRow>(sql::EXECUTIONS, values.clone()).await?;
                Ok(rows.into_iter().map(readable).collect())
            })
        })
        .await
    }

    async fn record(&self, id: ExecutionId) -> Result<Option<HistoryRecord>> {
        let look: Look = (sql::RECORD, values![id.to_bytes()]);
        self.read("record", look, |step, (sql, values)| {
            Box::pin(async move { one("record", step.row::<HistoryRow>(*sql, values.clone()).await?) })
        })
        .await
    }

    async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryRecord>> {
        let HistoryFilter { trigger, job, before, limit } = filter;
        // 17 bytes are after every id.
        let before = before.map_or_else(|| vec![0xff; 17], |id| id.to_bytes().to_vec());
        let (trigger, job) = (trigger.map(|key| key.to_string()), job.map(|key| key.to_string()));
        let limit = filter_page(limit);
        let look: Look = match (trigger, job) {
            (None, None) => (sql::HISTORY, values![before, limit]),
            (None, Some(job)) => (sql::HISTORY_OF_JOB, values![job, before, limit]),
            (Some(trigger), job) => {
                (sql::HISTORY_OF_TRIGGER, values![trigger, before, job.clone(), job, limit])
            }
        };
        self.read("history", look, |step, look| Box::pin(many::<HistoryRow, _>(step, look))).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        let look: Look = (sql::NODES, values![]);
        self.read("nodes", look, |step, look| Box::pin(many::<NodeRow, _>(step, look))).await
    }

    async fn epoch(&self) -> Result<u32> {
        self.read("epoch", (), |step, ()| Box::pin(crate::store::members::epoch(step, sql::EPOCH))).await
    }

    async fn set(&self, name: &str) -> Result<FoundSet> {
        self.read("set", name.to_owned(), |step, name| {
            Box::pin(async move {
                let set = step.row::<SetRow>(sql::SET, values![name.as_str()]).await?;
                let jobs = step.rows::<JobRow>(sql::JOBS_OF_SET, values![name.as_str()]).await?;
                let triggers = step.rows::<TriggerRow>(sql::TRIGGERS_OF_SET, values![name.as_str()]).await?;
                Ok(FoundSet {
                    set: set.map(|read| SetRecord::from(read.row)),
                    jobs: good(jobs),
                    triggers: good(triggers),
                })
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
