//! Listings.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_trait::async_trait;

use super::MemoryStore;
use crate::error::Result;
use crate::execution::{Execution, HistoryRecord};
use crate::inspect::{ExecutionFilter, FoundSet, FoundTrigger, HistoryFilter, Inspect, MAX_PAGE, Page};
use crate::job::JobRecord;
use crate::key::{ExecutionId, JobId, JobKey, TriggerKey};
use crate::node::NodeRecord;
use crate::pause::PausedGroup;
use crate::store::{CalendarRecord, Readable};
use crate::trigger::TriggerRecord;

fn page_of(limit: u32) -> usize {
    usize::try_from(limit.min(MAX_PAGE)).unwrap_or(usize::MAX)
}

fn filter_page(limit: u32) -> usize {
    page_of(if limit == 0 { MAX_PAGE } else { limit })
}

/// The ids of a page of keys.
fn paged<'a, K: Ord, I: Copy>(
    ids: &'a BTreeMap<K, I>,
    page: &'a Page<K>,
    group: impl Fn(&K) -> &str + 'a,
) -> impl Iterator<Item = I> + 'a {
    let Page { group: wanted, after, limit } = page;
    let begin = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
    let in_group = move |key: &K| wanted.as_deref().is_none_or(|wanted| wanted == group(key));
    ids.range::<K, _>((begin, Bound::Unbounded))
        .filter(move |(key, _)| in_group(key))
        .map(|(_, id)| *id)
        .take(page_of(*limit))
}

#[async_trait]
impl Inspect for MemoryStore {
    async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
        Ok(self.step(|state, _| {
            let here = &state.definitions;
            here.job_ids.get(key).and_then(|id| here.jobs.get(id)).cloned()
        }))
    }

    async fn job_by_id(&self, id: JobId) -> Result<Option<JobRecord>> {
        Ok(self.step(|state, _| state.definitions.jobs.get(&id).cloned()))
    }

    async fn jobs(&self, page: Page<JobKey>) -> Result<Vec<JobRecord>> {
        Ok(self.step(|state, _| {
            let here = &state.definitions;
            let ids = paged(&here.job_ids, &page, JobKey::group);
            ids.filter_map(|id| here.jobs.get(&id)).cloned().collect()
        }))
    }

    async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger> {
        Ok(self.step(|state, _| {
            let here = &state.definitions;
            let stored = here.trigger_ids.get(key).and_then(|id| here.triggers.get(id));
            let mark = here.marks.get(key).map(|mark| mark.last);
            FoundTrigger { trigger: stored.map(|stored| stored.record.clone()), mark }
        }))
    }

    async fn triggers(&self, page: Page<TriggerKey>) -> Result<Vec<TriggerRecord>> {
        Ok(self.step(|state, _| {
            let here = &state.definitions;
            let ids = paged(&here.trigger_ids, &page, TriggerKey::group);
            ids.filter_map(|id| here.triggers.get(&id)).map(|stored| stored.record.clone()).collect()
        }))
    }

    async fn triggers_of(&self, job: JobId) -> Result<Vec<TriggerRecord>> {
        Ok(self.step(|state, _| {
            let here = &state.definitions;
            let all = here.trigger_ids.values().filter_map(|id| here.triggers.get(id));
            all.map(|stored| &stored.record).filter(|trigger| trigger.job_id == job).cloned().collect()
        }))
    }

    async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
        Ok(self.step(|state, _| state.definitions.calendars.get(name).cloned()))
    }

    async fn calendars(&self) -> Result<Vec<CalendarRecord>> {
        Ok(self
            .step(|state, _| state.definitions.calendars.values().take(page_of(MAX_PAGE)).cloned().collect()))
    }

    async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
        Ok(self.step(|state, _| state.definitions.users_of(calendar).cloned().collect()))
    }

    async fn paused_groups(&self) -> Result<Vec<PausedGroup>> {
        Ok(self.step(|state, _| {
            let groups = state.definitions.paused_groups.iter().take(page_of(MAX_PAGE));
            groups.map(|(group, pause)| PausedGroup { group: group.clone(), pause: pause.clone() }).collect()
        }))
    }

    async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>> {
        Ok(self.step(|state, _| state.live.get(&id).map(|live| live.row.clone())))
    }

    async fn executions(&self, filter: ExecutionFilter) -> Result<Vec<Readable<Execution>>> {
        let ExecutionFilter { job, state: wanted, owner, after, limit } = filter;
        let fits = |row: &&Execution| {
            job.is_none_or(|job| row.job.as_ref().is_some_and(|of| of.id == job))
                && wanted.is_none_or(|wanted| row.state == wanted)
                && owner.is_none_or(|owner| row.owner == Some(owner))
        };
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.step(|state, _| {
            let rows = state.live.range((begin, Bound::Unbounded)).map(|(_, live)| &live.row).filter(fits);
            rows.take(filter_page(limit)).cloned().map(Readable::Row).collect()
        }))
    }

    async fn record(&self, id: ExecutionId) -> Result<Option<HistoryRecord>> {
        Ok(self.step(|state, _| state.history.get(&id).cloned()))
    }

    async fn history(&self, filter: HistoryFilter) -> Result<Vec<HistoryRecord>> {
        let HistoryFilter { trigger, job, before, limit } = filter;
        let fits = |record: &&HistoryRecord| {
            let of_trigger = |key: &TriggerKey| record.occurrence.as_ref().is_some_and(|of| of.key == *key);
            let of_job = |key: &JobKey| record.job.as_ref().is_some_and(|of| of.key == *key);
            trigger.as_ref().is_none_or(of_trigger) && job.as_ref().is_none_or(of_job)
        };
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        Ok(self.step(|state, _| {
            let newest_first = state.history.range((Bound::Unbounded, end)).rev().map(|(_, record)| record);
            newest_first.filter(fits).take(filter_page(limit)).cloned().collect()
        }))
    }

    async fn nodes(&self) -> Result<Vec<NodeRecord>> {
        Ok(self.step(|state, _| state.members().cloned().collect()))
    }

    async fn epoch(&self) -> Result<u32> {
        Ok(self.step(|state, _| state.epoch))
    }

    async fn set(&self, name: &str) -> Result<FoundSet> {
        Ok(self.step(|state, _| {
            let here = &state.definitions;
            let jobs = here.job_ids.values().filter_map(|id| here.jobs.get(id));
            let triggers = here.trigger_ids.values().filter_map(|id| here.triggers.get(id));
            FoundSet {
                set: here.sets.get(name).cloned(),
                jobs: jobs.filter(|job| job.set.as_deref() == Some(name)).cloned().collect(),
                triggers: triggers
                    .map(|stored| &stored.record)
                    .filter(|trigger| trigger.set.as_deref() == Some(name))
                    .cloned()
                    .collect(),
            }
        }))
    }
}
