//! All that a store shows, so that two can be compared.

use std::fmt::Debug;

use punctual_core::JobStore;
use punctual_core::execution::{Execution, HistoryRecord};
use punctual_core::inspect::{ExecutionFilter, FoundSet, FoundTrigger, HistoryFilter, Page};
use punctual_core::job::JobRecord;
use punctual_core::node::NodeRecord;
use punctual_core::pause::PausedGroup;
use punctual_core::store::CalendarRecord;
use punctual_core::trigger::TriggerRecord;

use super::definitions::{SET, TRIGGERS};
use super::normal;
use crate::bench::{readable, trigger_key};

/// What is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) jobs: Vec<JobRecord>,
    pub(crate) triggers: Vec<TriggerRecord>,
    /// What the keys of triggers stand for, with the marks of those that were deleted.
    pub(crate) keys: Vec<FoundTrigger>,
    pub(crate) calendars: Vec<CalendarRecord>,
    pub(crate) set: FoundSet,
    pub(crate) live: Vec<Execution>,
    pub(crate) history: Vec<HistoryRecord>,
    pub(crate) nodes: Vec<NodeRecord>,
    pub(crate) paused_groups: Vec<PausedGroup>,
    pub(crate) epoch: u32,
}

impl View {
    pub(crate) async fn of(store: &dyn JobStore) -> Self {
        let inspect = store.inspect();
        let mut keys = Vec::new();
        for name in TRIGGERS {
            keys.push(inspect.trigger(&trigger_key(name)).await.expect("a read"));
        }
        let live = inspect.executions(ExecutionFilter::default()).await.expect("a read");
        Self {
            jobs: inspect.jobs(Page::first(u32::MAX)).await.expect("a read"),
            triggers: inspect.triggers(Page::first(u32::MAX)).await.expect("a read"),
            keys,
            calendars: inspect.calendars().await.expect("a read"),
            set: inspect.set(SET).await.expect("a read"),
            live: live.into_iter().map(readable).collect(),
            history: inspect.history(HistoryFilter::default()).await.expect("a read"),
            nodes: inspect.nodes().await.expect("a read"),
            paused_groups: inspect.paused_groups().await.expect("a read"),
            epoch: inspect.epoch().await.expect("a read"),
        }
    }

    /// What the other shows otherwise, if anything, but for what the contract leaves open.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        self.normal().difference_of_all(&other.normal())
    }

    fn normal(&self) -> Self {
        let mut view = self.clone();
        view.live.iter_mut().for_each(normal::execution);
        view.history.iter_mut().for_each(normal::record);
        let keys = view.keys.iter_mut().filter_map(|found| found.trigger.as_mut());
        let triggers = view.triggers.iter_mut().chain(&mut view.set.triggers).chain(keys);
        triggers.for_each(normal::trigger);
        view
    }

    fn difference_of_all(&self, other: &Self) -> Option<String> {
        let parts = [
            rows("job", &self.jobs, &other.jobs),
            rows("trigger", &self.triggers, &other.triggers),
            rows("key", &self.keys, &other.keys),
            rows("calendar", &self.calendars, &other.calendars),
            rows("set", std::slice::from_ref(&self.set), std::slice::from_ref(&other.set)),
            rows("live row", &self.live, &other.live),
            rows("record", &self.history, &other.history),
            rows("node", &self.nodes, &other.nodes),
            rows("pause", &self.paused_groups, &other.paused_groups),
            rows("epoch", &[self.epoch], &[other.epoch]),
        ];
        let all = parts.concat();
        (!all.is_empty()).then_some(all)
    }
}

/// The rows of each that are not at the same place of the other.
fn rows<T: Debug + PartialEq>(what: &str, here: &[T], there: &[T]) -> String {
    if here == there {
        return String::new();
    }
    let only = |here: &[T], there: &[T], sign: char| -> String {
        let rows = here.iter().filter(|row| !there.contains(row));
        rows.map(|row| format!("\n{sign} {what} {row:#?}")).collect()
    };
    let found = only(here, there, '-') + &only(there, here, '+');
    if found.is_empty() { format!("\n{what}s in another order: {here:#?}\n{there:#?}") } else { found }
}
