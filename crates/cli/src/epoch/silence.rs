//! Whether nodes that a store takes for members are still there: seen from outside, by their beats.

use std::collections::BTreeMap;
use std::time::Duration;

use punctual::runtime::SystemClock;
use punctual_core::node::NodeRecord;
use punctual_core::protocol::membership::Observer;
use punctual_core::{Clock, JobStore, NodeId, Profile};

use super::up;
use crate::trouble::Trouble;

/// The time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// The longest that one of them must be silent to be taken for dead.
pub(super) fn longest(nodes: &[NodeRecord]) -> Duration {
    nodes.iter().map(|node| node.info.profile.take).max().unwrap_or_default()
}

/// Nodes, and the beats at which they were first seen.
pub(super) struct Silence {
    first: BTreeMap<NodeId, i64>,
    observer: Observer,
}

impl Silence {
    pub(super) fn of(nodes: &[NodeRecord]) -> Self {
        let first = nodes.iter().map(|node| (node.info.id, node.beat)).collect();
        // It looks more often than any profile beats; an id of nobody, for it is no member.
        let mut observer = Observer::new(NodeId::from_stored(0), Profile::FAST);
        observer.observe(SystemClock.boot(), nodes);
        Self { first, observer }
    }

    /// Watches until all have been silent for as long as another node would wait, or until some were not: those.
    pub(super) async fn watch(mut self, store: &dyn JobStore) -> Result<Option<Vec<NodeRecord>>, Trouble> {
        loop {
            SystemClock.sleep(LOOK).await;
            let nodes = up(store).await?;
            let suspects = self.observer.observe(SystemClock.boot(), &nodes).len();
            let beats = |node: &NodeRecord| self.first.get(&node.info.id) != Some(&node.beat);
            let beating: Vec<NodeRecord> = nodes.iter().filter(|node| beats(node)).cloned().collect();
            if !beating.is_empty() {
                return Ok(Some(beating));
            }
            if suspects == nodes.len() {
                return Ok(None);
            }
        }
    }
}
