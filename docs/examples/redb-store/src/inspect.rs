//! Listings. Each reads one snapshot; a row that cannot be understood is left out of a list, and `Corrupt` by itself.

use std::ops::Bound;

use async_trait::async_trait;
use punctual_core::execution::{Execution, HistoryRecord};
use punctual_core::inspect::{ExecutionFilter, FoundSet, FoundTrigger, HistoryFilter, MAX_PAGE, Page};
use punctual_core::job::JobRecord;
use punctual_core::node::NodeRecord;
use punctual_core::pause::PausedGroup;
use punctual_core::record::{CalendarRow, Coded, ExecutionRow, HistoryRow, JobRow, PauseRow, SetRow};
use punctual_core::store::{CalendarRecord, Poison, PoisonRow, Readable};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{ExecutionId, Inspect, JobId, JobKey, Result, Timestamp, TriggerKey};
use redb::{ReadOnlyTable, ReadableTable};

use crate::RedbStore;
use crate::due::count;
use crate::executions::{claim_of, number};
use crate::tables::{KeptExecution, KeptNode, KeptTrigger, Key, Snapshot, load};
use crate::trouble::Tried;

#[async_trait]
impl Inspect for RedbStore {
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        let key = key.clone();
        self.read("job", move |snapshot, _| {
            let id = snapshot.job_key.get((key.group(), key.name()))?.map(|id| id.value());
            id.map_or(Ok(None), |id| snapshot.job(id))
        })
        .await
    }

    async fn job_by_id(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.read("job", move |snapshot, _| snapshot.job(id.get())).await
    }

    async fn jobs(&self, page: Page<JobKey>) -> Result<Vec<JobRecord>> {
        self.read("jobs", move |snapshot, _| {
            let most = count(page.limit.min(MAX_PAGE));
            let after = page.after.as_ref().map(|key| (key.group(), key.name()));
            listed(&snapshot.job_key, page.group.as_deref(), after, most, |id| snapshot.job(id))
        })
        .await
    }

    async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger> {
        let key = key.clone();
        self.read("trigger", move |snapshot, _| {
            let key = (key.group(), key.name());
            let id = snapshot.trigger_key.get(key)?.map(|id| id.value());
            let mark = snapshot.mark.get(key)?.map(|mark| Timestamp::from_micros(mark.value().0));
            Ok(FoundTrigger { trigger: id.map_or(Ok(None), |id| snapshot.trigger(id))?, mark })
        })
        .await
    }

    async fn triggers(&self, page: Page<TriggerKey>) -> Result<Vec<TriggerRecord>> {
        self.read("triggers", move |snapshot, _| {
            let most = count(page.limit.min(MAX_PAGE));
            let after = page.after.as_ref().map(|key| (key.group(), key.name()));
            listed(&snapshot.trigger_key, page.group.as_deref(), after, most, |id| snapshot.trigger(id))
        })
        .await
    }

    async fn triggers_of(&self, job: JobId) -> Result<Vec<TriggerRecord>> {
        self.read("triggers_of", move |snapshot, _| {
            let entries = snapshot.job_trigger.range((job.get(), i64::MIN)..=(job.get(), i64::MAX))?;
            by_key(snapshot, entries.map(|entry| Ok(entry?.0.value().1)))
        })
        .await
    }

    async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
        let name = name.to_owned();
        self.read("calendar", move |snapshot, _| {
            let row: Option<CalendarRow> = load(&snapshot.calendar, &*name)?;
            Ok(row.map(TryInto::try_into).transpose()?)
        })
        .await
    }

    async fn calendars(&self) -> Result<Vec<CalendarRecord>> {
        self.read("calendars", |snapshot, _| {
            let names = snapshot.calendar.iter()?.map(|entry| Ok(entry?.0.value().to_owned()));
            let read = |name: String| {
                let row: Option<CalendarRow> = load(&snapshot.calendar, &*name)?;
                Ok(row.map(TryInto::try_into).transpose()?)
            };
            understood(names, page(0), read)
        })
        .await
    }

    async fn paused_groups(&self) -> Result<Vec<PausedGroup>> {
        self.read("paused_groups", |snapshot, _| {
            let groups = snapshot.pause.iter()?.map(|entry| Ok(entry?.0.value().to_owned()));
            let read = |group: String| {
                let row: Option<PauseRow> = load(&snapshot.pause, &*group)?;
                Ok(row.map(TryInto::try_into).transpose()?)
            };
            understood(groups, page(0), read)
        })
        .await
    }

    async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
        let name = calendar.to_owned();
        self.read("triggers_using", move |snapshot, _| {
            let entries = snapshot.calendar_trigger.range((&*name, i64::MIN)..=(&*name, i64::MAX))?;
            by_key(snapshot, entries.map(|entry| Ok(entry?.0.value().1)))
        })
        .await
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>> {
        self.read("execution", move |snapshot, _| {
            let kept: Option<KeptExecution> = load(&snapshot.execution, number(id))?;
            Ok(kept.map(|kept| kept.row.try_into()).transpose()?)
        })
        .await
    }

    async fn executions(&self, filter: ExecutionFilter) -> Result<Vec<Readable<Execution>>> {
        self.read("executions", move |snapshot, _| snapshot.executions(&filter)).await
    }

    async fn record(&self, id: ExecutionId) -> Result<Option<HistoryRecord>> {
        self.read("record", move |snapshot, _| {
            let row: Option<HistoryRow> = load(&snapshot.history, number(id))?;
            Ok(row.map(TryInto::try_into).transpose()?)
        })
        .await
    }

    async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryRecord>> {
        self.read("history", move |snapshot, _| snapshot.history(&filter)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        self.read("nodes", |snapshot, _| {
            let ids = snapshot.node.iter()?.map(|entry| Ok(entry?.0.value()));
            let read = |id| {
                let kept: Option<KeptNode> = load(&snapshot.node, id)?;
                Ok(kept.map(|kept| kept.row.try_into()).transpose()?)
            };
            let mut nodes: Vec<NodeRecord> = understood(ids, usize::MAX, read)?;
            nodes.sort_by_key(|node| (node.joined, node.info.id));
            Ok(nodes)
        })
        .await
    }

    async fn epoch(&self) -> Result<u32> {
        self.read("epoch", |snapshot, _| {
            let epoch = snapshot.meta.get("epoch")?.map_or(0, |number| number.value());
            Ok(u32::try_from(epoch).unwrap_or(u32::MAX))
        })
        .await
    }

    async fn set(&self, name: &str) -> Result<FoundSet> {
        let name = name.to_owned();
        self.read("set", move |snapshot, _| {
            let set: Option<SetRow> = load(&snapshot.set, &*name)?;
            // Sets are read when a program starts: no index is kept for them.
            let (job, trigger) = (|id| snapshot.job(id), |id| snapshot.trigger(id));
            let mut jobs = listed(&snapshot.job_key, None, None, usize::MAX, job)?;
            let mut triggers = listed(&snapshot.trigger_key, None, None, usize::MAX, trigger)?;
            jobs.retain(|job| job.set.as_deref() == Some(&*name));
            triggers.retain(|trigger| trigger.set.as_deref() == Some(&*name));
            Ok(FoundSet { set: set.map(Into::into), jobs, triggers })
        })
        .await
    }
}

impl Snapshot {
    fn job(&self, id: i64) -> Tried<Option<JobRecord>> {
        let row: Option<JobRow> = load(&self.job, id)?;
        Ok(row.map(TryInto::try_into).transpose()?)
    }

    fn trigger(&self, id: i64) -> Tried<Option<TriggerRecord>> {
        let kept: Option<KeptTrigger> = load(&self.trigger, id)?;
        Ok(kept.map(|kept| kept.row.try_into()).transpose()?)
    }

    fn executions(&self, filter: &ExecutionFilter) -> Tried<Vec<Readable<Execution>>> {
        let wanted = |row: &ExecutionRow| {
            filter.job.is_none_or(|job| row.job_id == Some(job.get()))
                && filter.state.is_none_or(|state| row.state == state.code())
                && filter.owner.is_none_or(|owner| row.owner == Some(owner.get()))
        };
        let mut found = Vec::new();
        for entry in self.execution.range(filter.after.map_or(0, |id| number(id).saturating_add(1))..)? {
            if found.len() == page(filter.limit) {
                break;
            }
            let id = entry?.0.value();
            let row = match load::<u128, KeptExecution>(&self.execution, id) {
                Ok(Some(kept)) => kept.row,
                Ok(None) => continue,
                Err(trouble) => {
                    let row = ExecutionRow { id: id.to_be_bytes(), ..ExecutionRow::default() };
                    let row = PoisonRow::Execution(claim_of(&row));
                    found.push(Readable::Poison(Poison { row, reason: trouble.unreadable()? }));
                    continue;
                }
            };
            if wanted(&row) {
                let poison = PoisonRow::Execution(claim_of(&row));
                found.push(match Execution::try_from(row) {
                    Ok(execution) => Readable::Row(execution),
                    Err(bad) => Readable::Poison(Poison { row: poison, reason: bad.to_string() }),
                });
            }
        }
        Ok(found)
    }

    /// Newest first, row by row until the page is full: a person asks for this.
    fn history(&self, filter: &HistoryFilter) -> Tried<Vec<HistoryRecord>> {
        let trigger = filter.trigger.as_ref().map(ToString::to_string);
        let job = filter.job.as_ref().map(ToString::to_string);
        let before = filter.before.map_or(u128::MAX, |id| number(id).saturating_sub(1));
        let ids = self.history.range(..=before)?.rev().map(|entry| Ok(entry?.0.value()));
        understood(ids, page(filter.limit), |id| {
            let row: Option<HistoryRow> = load(&self.history, id)?;
            let wanted = |row: &HistoryRow| {
                (trigger.is_none() || row.trigger_key == trigger) && (job.is_none() || row.job_key == job)
            };
            Ok(row.filter(wanted).map(TryInto::try_into).transpose()?)
        })
    }
}

/// The size of a page.
fn page(limit: u32) -> usize {
    count(if limit == 0 { MAX_PAGE } else { limit.min(MAX_PAGE) })
}

/// The rows of a list that can be understood, at most `most`.
fn understood<I, T>(
    ids: impl Iterator<Item = Tried<I>>,
    most: usize,
    read: impl Fn(I) -> Tried<Option<T>>,
) -> Tried<Vec<T>> {
    let mut found = Vec::new();
    for id in ids {
        if found.len() == most {
            break;
        }
        match read(id?) {
            Ok(row) => found.extend(row),
            Err(trouble) => drop(trouble.unreadable()?),
        }
    }
    Ok(found)
}

/// A page of what an index of keys lists.
fn listed<T>(
    index: &ReadOnlyTable<Key, i64>,
    group: Option<&str>,
    after: Option<(&str, &str)>,
    most: usize,
    read: impl Fn(i64) -> Tried<Option<T>>,
) -> Tried<Vec<T>> {
    let begin = (group.unwrap_or_default(), "");
    let from = after.filter(|after| *after >= begin).map_or(Bound::Included(begin), Bound::Excluded);
    let entries = index.range::<(&str, &str)>((from, Bound::Unbounded))?;
    let ids = entries.map(|entry| {
        let entry = entry?;
        let inside = group.is_none_or(|group| entry.0.value().0 == group);
        Ok(inside.then(|| entry.1.value()))
    });
    // Trouble goes through, so that it is not taken for the end of the group.
    let ids = ids.take_while(|id| !matches!(id, Ok(None))).filter_map(Result::transpose);
    understood(ids, most, read)
}

/// Triggers of a list in the order of their keys.
fn by_key(snapshot: &Snapshot, ids: impl Iterator<Item = Tried<i64>>) -> Tried<Vec<TriggerRecord>> {
    let mut triggers = understood(ids, usize::MAX, |id| snapshot.trigger(id))?;
    triggers.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(triggers)
}
