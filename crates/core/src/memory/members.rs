//! Membership: rows, beats and gates of nodes, and the work of those that are gone.

use std::collections::BTreeSet;

use super::state::{Member, State};
use crate::execution::ExecutionWithJob;
use crate::key::NodeId;
use crate::node::{NodeInfo, NodeRecord, NodeState};
use crate::store::{CheckedIn, Owned, Readable, Standby, Standing};
use crate::time::Timestamp;

impl State {
    pub(super) fn join(&mut self, now: Timestamp, info: NodeInfo) -> CheckedIn {
        let id = info.id;
        self.nodes.entry(id).or_insert_with(|| Member {
            record: NodeRecord {
                info,
                state: NodeState::Up,
                standby: false,
                gate: 0,
                joined: now,
                beat: 1,
                seen: Some(now),
            },
            ended: None,
        });
        self.checked_in(now, id)
    }

    pub(super) fn check_in(&mut self, now: Timestamp, node: NodeId) -> CheckedIn {
        if let Some(record) = self.up(node) {
            record.beat += 1;
            record.seen = Some(now);
        }
        self.checked_in(now, node)
    }

    fn checked_in(&self, now: Timestamp, node: NodeId) -> CheckedIn {
        let record = self.nodes.get(&node).map(|member| &member.record);
        let is_up = self.is_up(node);
        let owners: BTreeSet<NodeId> = self.live.values().filter_map(|live| live.row.owner).collect();
        let mine = self.live.values().map(|live| &live.row).filter(|row| row.owner == Some(node));
        CheckedIn {
            now,
            standing: if is_up { Standing::Up } else { Standing::Gone },
            beat: record.map_or(0, |record| record.beat),
            gate: record.map_or(0, |record| record.gate),
            standby: if record.is_some_and(|record| record.standby) { Standby::On } else { Standby::Off },
            epoch: self.epoch,
            nodes: self.members().filter(|record| record.state == NodeState::Up).cloned().collect(),
            owned: mine
                .map(|row| Owned {
                    id: row.id,
                    fence: row.fence,
                    attempt: row.attempt,
                    cancel: row.cancel.clone(),
                })
                .collect(),
            gone_owners: owners.into_iter().filter(|owner| !self.is_up(*owner)).collect(),
        }
    }

    /// All nodes, by time of joining.
    pub(super) fn members(&self) -> impl Iterator<Item = &NodeRecord> {
        let mut all: Vec<_> = self.nodes.values().map(|member| &member.record).collect();
        all.sort_by_key(|record| (record.joined, record.info.id));
        all.into_iter()
    }

    pub(super) fn take_over(&mut self, now: Timestamp, dead: NodeId, beat: i64) -> bool {
        match self.up(dead) {
            Some(record) if record.beat != beat => false,
            Some(_) => {
                self.end(now, dead, NodeState::Dead);
                true
            }
            // It is dead already, or has left: its rows are orphans either way.
            None => true,
        }
    }

    pub(super) fn leave(&mut self, now: Timestamp, node: NodeId) {
        self.end(now, node, NodeState::Left);
    }

    pub(super) fn set_standby(&mut self, node: NodeId, standby: Standby) -> Option<i64> {
        let record = self.up(node)?;
        record.standby = standby == Standby::On;
        record.gate += 1;
        let gate = record.gate;
        self.news |= standby == Standby::Off;
        Some(gate)
    }

    pub(super) fn raise_epoch(&mut self, now: Timestamp, to: u32) -> u32 {
        if self.epoch < to {
            self.epoch = to;
            let all: Vec<NodeId> = self.nodes.keys().copied().collect();
            for node in all {
                self.end(now, node, NodeState::Dead);
            }
        }
        self.epoch
    }

    pub(super) fn orphans(&self, owner: NodeId, limit: u32) -> Vec<Readable<ExecutionWithJob>> {
        if self.is_up(owner) {
            return Vec::new();
        }
        let rows = self.live.values().map(|live| &live.row).filter(|row| row.owner == Some(owner));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        rows.take(limit).map(|row| Readable::Row(self.with_job(row))).collect()
    }

    fn up(&mut self, node: NodeId) -> Option<&mut NodeRecord> {
        let record = &mut self.nodes.get_mut(&node)?.record;
        (record.state == NodeState::Up).then_some(record)
    }

    fn end(&mut self, now: Timestamp, node: NodeId, state: NodeState) {
        if let Some(record) = self.up(node) {
            record.state = state;
            record.beat = 0;
            record.seen = None;
        } else {
            return;
        }
        if let Some(member) = self.nodes.get_mut(&node) {
            member.ended = Some(now);
        }
    }
}
