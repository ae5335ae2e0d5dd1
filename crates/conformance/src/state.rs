//! Everything that a store shows, as lines that can be compared; and what is left when all work is done.

use punctual_core::JobStore;
use punctual_core::inspect::{ExecutionFilter, HistoryFilter, Page};
use punctual_core::store::Readable;

use crate::bench::Bench;

/// What a store shows, one line a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State(Vec<String>);

impl State {
    /// All that a store shows.
    pub(crate) async fn of(store: &dyn JobStore) -> Self {
        let mut state = Self::of_work(store).await;
        let nodes = store.inspect().nodes().await.expect("a read");
        state.0.push(format!("epoch {}", store.inspect().epoch().await.expect("a read")));
        state.0.extend(nodes.iter().map(|node| format!("{node:?}")));
        state
    }

    /// All but the nodes.
    async fn of_work(store: &dyn JobStore) -> Self {
        let inspect = store.inspect();
        let mut lines = Vec::new();
        for job in inspect.jobs(Page::first(u32::MAX)).await.expect("a read") {
            lines.push(format!("{job:?}"));
        }
        for trigger in inspect.triggers(Page::first(u32::MAX)).await.expect("a read") {
            lines.push(format!("{trigger:?}"));
        }
        for calendar in inspect.calendars().await.expect("a read") {
            lines.push(format!("{calendar:?}"));
        }
        for group in inspect.paused_groups().await.expect("a read") {
            lines.push(format!("{group:?}"));
        }
        for name in ["t", "u", "v"] {
            let mark = inspect.trigger(&crate::bench::trigger_key(name)).await.expect("a read").mark;
            lines.extend(mark.map(|mark| format!("mark of {name}: {mark:?}")));
        }
        lines.extend(inspect.set("s").await.expect("a read").set.map(|set| format!("{set:?}")));
        for row in inspect.executions(ExecutionFilter::default()).await.expect("a read") {
            lines.push(format!("{row:?}"));
        }
        for record in inspect.history(HistoryFilter::default()).await.expect("a read") {
            lines.push(format!("{record:?}"));
        }
        Self(lines)
    }

    /// What is there when everything that is due has been fired, claimed and ended.
    ///
    /// What a step left in rows that no listing shows, a slot that nobody holds any more or a lost waiter, shows here.
    pub(crate) async fn drained(bench: &Bench) -> Self {
        let node = bench.node("drain").await;
        loop {
            bench.store.wake_waiting(100).await.expect("a write");
            bench.fire(node).await;
            bench.take(node, 100).await;
            let rows = bench.store.inspect().executions(ExecutionFilter::default()).await.expect("a read");
            let owned: Vec<_> = rows
                .into_iter()
                .filter_map(|row| match row {
                    Readable::Row(row) if row.owner.is_some() => Some(row),
                    _ => None,
                })
                .collect();
            if owned.is_empty() {
                return Self::of_work(&*bench.store).await;
            }
            for row in owned {
                bench.finish(&row).await;
            }
        }
    }

    /// The lines of each that the other has not.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let only = |one: &Self, other: &Self, sign: char| {
            let lines = one.0.iter().filter(|line| !other.0.contains(line));
            lines.map(|line| format!("\n{sign} {line}")).collect::<String>()
        };
        only(self, other, '-') + &only(other, self, '+')
    }
}
