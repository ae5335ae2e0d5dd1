//! Listings. Each is one snapshot.

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

use crate::rows::{Args, FromColumns, Read, params};
use crate::sql;
use crate::step::{Outcome, Shape, Step};
use crate::store::PostgresStore;
use crate::store::firing::claim_of;

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

fn filter_page(limit: u32) -> i64 {
    i64::from(if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) })
}

/// After which group and name a page begins, the last group that it may hold if there is one, and how long it may be.
type Bounds = (String, String, Option<String>, i64);

fn bounds(group: Option<&str>, after: Option<(&str, &str)>, limit: u32) -> Bounds {
    let (of_group, name) = after.unwrap_or_default();
    let begin = group.map_or((of_group, name), |group| (group, "").max((of_group, name)));
    (begin.0.to_owned(), begin.1.to_owned(), group.map(str::to_owned), i64::from(limit.min(MAX_PAGE)))
}

async fn page<T: FromColumns, R: TryFrom<T, Error: Into<BadColumn>>>(
    step: &mut Step<'_>,
    sql: &'static str,
    (group, name, end, limit): &Bounds,
) -> Outcome<Vec<R>> {
    Ok(good(step.rows::<T>(sql, params![group, name, end, limit]).await?))
}

async fn look_up<T: FromColumns, R: TryFrom<T, Error: Into<BadColumn>>>(
    step: &mut Step<'_>,
    operation: &'static str,
    sql: &'static str,
    args: Outcome<Args>,
) -> Outcome<Option<R>> {
    one(operation, step.row::<T>(sql, args?).await?)
}

async fn list<T: FromColumns, R: TryFrom<T, Error: Into<BadColumn>>>(
    step: &mut Step<'_>,
    sql: &'static str,
    args: Outcome<Args>,
) -> Outcome<Vec<R>> {
    Ok(good(step.rows::<T>(sql, args?).await?))
}

fn of_key(key: (&str, &str)) -> Outcome<Args> {
    Ok(params![key.0, key.1])
}

fn of_text(text: &str) -> Outcome<Args> {
    Ok(params![text])
}

fn of_number(number: i64) -> Outcome<Args> {
    Ok(params![number])
}

fn of_id(id: ExecutionId) -> Outcome<Args> {
    Ok(params![id.to_bytes()])
}

#[async_trait]
impl Inspect for PostgresStore {
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        self.step("job", Shape::One, key.clone(), |step, key| {
            Box::pin(look_up::<JobRow, _>(step, "job", sql::JOB, of_key((key.group(), key.name()))))
        })
        .await
    }

    async fn job_by_id(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.step("job_by_id", Shape::One, id, |step, id| {
            Box::pin(look_up::<JobRow, _>(step, "job_by_id", sql::JOB_BY_ID, of_number(id.get())))
        })
        .await
    }

    async fn jobs(&self, wanted: Page<JobKey>) -> Result<Vec<JobRecord>> {
        let Page { group, after, limit } = wanted;
        let after = after.as_ref().map(|key| (key.group(), key.name()));
        let bounds = bounds(group.as_deref(), after, limit);
        self.step("jobs", Shape::One, bounds, |step, bounds| {
            Box::pin(page::<JobRow, _>(step, sql::JOBS, bounds))
        })
        .await
    }

    async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger> {
        self.step("trigger", Shape::Snapshot, key.clone(), |step, key| Box::pin(found_trigger(step, key)))
            .await
    }

    async fn triggers(&self, wanted: Page<TriggerKey>) -> Result<Vec<TriggerRecord>> {
        let Page { group, after, limit } = wanted;
        let after = after.as_ref().map(|key| (key.group(), key.name()));
        let bounds = bounds(group.as_deref(), after, limit);
        self.step("triggers", Shape::One, bounds, |step, bounds| {
            Box::pin(page::<TriggerRow, _>(step, sql::TRIGGERS, bounds))
        })
        .await
    }

    async fn triggers_of(&self, job: JobId) -> Result<Vec<TriggerRecord>> {
        self.step("triggers_of", Shape::One, job, |step, job| {
            Box::pin(list::<TriggerRow, _>(step, sql::TRIGGERS_OF, of_number(job.get())))
        })
        .await
    }

    async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
        self.step("calendar", Shape::One, name.to_owned(), |step, name| {
            Box::pin(look_up::<CalendarRow, _>(step, "calendar", sql::CALENDAR, of_text(name)))
        })
        .await
    }

    async fn calendars(&self) -> Result<Vec<CalendarRecord>> {
        self.step("calendars", Shape::One, (), |step, ()| {
            Box::pin(list::<CalendarRow, _>(step, sql::CALENDARS, of_number(i64::from(MAX_PAGE))))
        })
        .await
    }

    async fn paused_groups(&self) -> Result<Vec<PausedGroup>> {
        self.step("pauses", Shape::One, (), |step, ()| {
            Box::pin(list::<PauseRow, _>(step, sql::PAUSES, of_number(i64::from(MAX_PAGE))))
        })
        .await
    }

    async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
        self.step("triggers_using", Shape::One, calendar.to_owned(), |step, name| {
            Box::pin(list::<TriggerRow, _>(step, sql::TRIGGERS_USING, of_text(name)))
        })
        .await
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>> {
        self.step("execution", Shape::One, id, |step, id| {
            Box::pin(look_up::<ExecutionRow, _>(step, "execution", sql::EXECUTION, of_id(*id)))
        })
        .await
    }

    async fn executions(&self, filter: ExecutionFilter) -> Result<Vec<Readable<Execution>>> {
        self.step("executions", Shape::One, filter, |step, filter| Box::pin(executions(step, filter))).await
    }

    async fn record(&self, id: ExecutionId) -> Result<Option<HistoryRecord>> {
        self.step("record", Shape::One, id, |step, id| {
            Box::pin(look_up::<HistoryRow, _>(step, "record", sql::RECORD, of_id(*id)))
        })
        .await
    }

    async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryRecord>> {
        self.step("history", Shape::One, filter, |step, filter| Box::pin(history(step, filter))).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        self.step("nodes", Shape::One, (), |step, ()| {
            Box::pin(list::<NodeRow, _>(step, sql::NODES, Ok(Args::default())))
        })
        .await
    }

    async fn epoch(&self) -> Result<u32> {
        self.step("epoch", Shape::One, (), |step, ()| {
            Box::pin(crate::store::members::epoch(step, sql::EPOCH))
        })
        .await
    }

    async fn set(&self, name: &str) -> Result<FoundSet> {
        self.step("set", Shape::Snapshot, name.to_owned(), |step, name| Box::pin(found_set(step, name))).await
    }
}

async fn found_trigger(step: &mut Step<'_>, key: &TriggerKey) -> Outcome<FoundTrigger> {
    let key = (key.group(), key.name());
    let trigger = look_up::<TriggerRow, _>(step, "trigger", sql::TRIGGER, of_key(key)).await?;
    let mark: Option<i64> = step.value(sql::FIND_MARK, of_key(key)?).await?;
    Ok(FoundTrigger { trigger, mark: mark.map(Timestamp::from_micros) })
}

async fn executions(step: &mut Step<'_>, filter: &ExecutionFilter) -> Outcome<Vec<Readable<Execution>>> {
    let ExecutionFilter { job, state, owner, after, limit } = filter;
    // No id is before this one.
    let after = after.map_or(Vec::new(), |id| id.to_bytes().to_vec());
    let (job, state, owner) = (job.map(JobId::get), state.map(Coded::code), owner.map(NodeId::get));
    let values = params![after, job, state, owner, filter_page(*limit)];
    Ok(step.rows::<ExecutionRow>(sql::EXECUTIONS, values).await?.into_iter().map(readable).collect())
}

async fn history(step: &mut Step<'_>, filter: &HistoryFilter) -> Outcome<Vec<HistoryRecord>> {
    let HistoryFilter { trigger, job, before, limit } = filter;
    // 17 bytes are after every id.
    let before = before.map_or_else(|| vec![0xff; 17], |id| id.to_bytes().to_vec());
    let (trigger, job) = (trigger.as_ref().map(ToString::to_string), job.as_ref().map(ToString::to_string));
    let limit = filter_page(*limit);
    let rows = match (trigger, job) {
        (None, None) => step.rows::<HistoryRow>(sql::HISTORY, params![before, limit]).await?,
        (None, Some(job)) => step.rows(sql::HISTORY_OF_JOB, params![before, limit, job]).await?,
        (Some(trigger), job) => {
            step.rows(sql::HISTORY_OF_TRIGGER, params![before, limit, trigger, job]).await?
        }
    };
    Ok(good(rows))
}

async fn found_set(step: &mut Step<'_>, name: &str) -> Outcome<FoundSet> {
    let set = step.row::<SetRow>(sql::SET, of_text(name)?).await?;
    Ok(FoundSet {
        set: set.map(|read| SetRecord::from(read.row)),
        jobs: list::<JobRow, _>(step, sql::JOBS_OF_SET, of_text(name)).await?,
        triggers: list::<TriggerRow, _>(step, sql::TRIGGERS_OF_SET, of_text(name)).await?,
    })
}

fn readable(read: Read<ExecutionRow>) -> Readable<Execution> {
    let claim = claim_of(&read.row);
    match read.decode() {
        Ok(row) => Readable::Row(row),
        Err(bad) => Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason: bad.to_string() }),
    }
}
