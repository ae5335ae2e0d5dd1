//! Nodes: joining, beating, leaving, being declared dead.

use std::collections::BTreeSet;

use punctual_core::NodeId;
use punctual_core::node::{NodeInfo, NodeRecord, NodeState};
use punctual_core::record::{Coded, NodeRow, OwnedRow};
use punctual_core::store::{CheckedIn, Owned, Standby, Standing};
use redb::ReadableTable;

use crate::step::Step;
use crate::tables::{KeptExecution, KeptNode, find, save};
use crate::trouble::Tried;

impl KeptNode {
    pub(crate) fn is_up(&self) -> bool {
        self.row.state == NodeState::Up.code()
    }
}

impl Step<'_> {
    pub(crate) fn join(&mut self, info: &NodeInfo) -> Tried<CheckedIn> {
        if self.node(info.id.get())?.is_none() {
            self.put_node(&KeptNode { row: NodeRow::of(info, self.now)?, ended_us: None })?;
        }
        self.told(info.id)
    }

    pub(crate) fn check_in(&mut self, id: NodeId) -> Tried<CheckedIn> {
        if let Some(mut node) = self.up(id)? {
            node.row.beat = node.row.beat.map(|beat| beat.saturating_add(1));
            node.row.seen_us = Some(self.now_us());
            self.put_node(&node)?;
        }
        self.told(id)
    }

    /// One writer at a time: a claim of the node that is under way has ended before this step begins.
    pub(crate) fn take_over(&mut self, id: NodeId, beat: i64) -> Tried<bool> {
        let Some(node) = self.up(id)? else { return Ok(true) };
        if node.row.beat != Some(beat) {
            return Ok(false);
        }
        self.end_node(node, NodeState::Dead)?;
        Ok(true)
    }

    pub(crate) fn leave_cluster(&mut self, id: NodeId) -> Tried<()> {
        match self.up(id)? {
            Some(node) => self.end_node(node, NodeState::Left),
            None => Ok(()),
        }
    }

    pub(crate) fn set_standby(&mut self, id: NodeId, standby: Standby) -> Tried<Option<i64>> {
        let Some(mut node) = self.up(id)? else { return Ok(None) };
        node.row.standby = standby.code();
        node.row.gate = node.row.gate.saturating_add(1);
        self.put_node(&node)?;
        Ok(Some(node.row.gate))
    }

    pub(crate) fn raise_epoch(&mut self, to: u32) -> Tried<u32> {
        let epoch = self.epoch()?;
        if epoch >= to {
            return Ok(epoch);
        }
        self.set_number("epoch", i64::from(to))?;
        let all: Vec<i64> =
            self.tables.node.iter()?.map(|entry| Ok(entry?.0.value())).collect::<Tried<_>>()?;
        for id in all {
            if let Some(node) = self.node(id)?.filter(KeptNode::is_up) {
                self.end_node(node, NodeState::Dead)?;
            }
        }
        Ok(to)
    }

    fn epoch(&self) -> Tried<u32> {
        Ok(u32::try_from(self.number("epoch")?).unwrap_or(u32::MAX))
    }

    /// The row of a node that is up and has a beat.
    pub(crate) fn up(&self, id: NodeId) -> Tried<Option<KeptNode>> {
        Ok(self.node(id.get())?.filter(|node| node.is_up() && node.row.beat.is_some()))
    }

    fn node(&self, id: i64) -> Tried<Option<KeptNode>> {
        find(&self.tables.node, id)
    }

    fn put_node(&mut self, node: &KeptNode) -> Tried<()> {
        save(&mut self.tables.node, node.row.id, node)
    }

    fn end_node(&mut self, mut node: KeptNode, state: NodeState) -> Tried<()> {
        node.row.state = state.code();
        node.row.beat = None;
        node.ended_us = Some(self.now_us());
        node.row.seen_us = None;
        self.put_node(&node)
    }

    /// What a node needs to know once an interval.
    fn told(&self, id: NodeId) -> Tried<CheckedIn> {
        let epoch = self.epoch()?;
        let mut told = CheckedIn {
            now: self.now,
            standing: Standing::Gone,
            beat: 0,
            gate: 0,
            standby: Standby::Off,
            epoch,
            nodes: Vec::new(),
            owned: Vec::new(),
            gone_owners: Vec::new(),
        };
        if let Some(node) = self.node(id.get())? {
            told.standing = if node.is_up() { Standing::Up } else { Standing::Gone };
            told.beat = node.row.beat.unwrap_or(0);
            told.gate = node.row.gate;
            told.standby = Standby::decode("node.standby", node.row.standby)?;
        }
        let mut up = BTreeSet::new();
        for entry in self.tables.node.iter()? {
            let id = entry?.0.value();
            // A node whose row cannot be understood is shown by nobody, but its work is not orphaned.
            if let Some(node) = self.node(id)?.filter(KeptNode::is_up) {
                up.insert(id);
                told.nodes.extend(NodeRecord::try_from(node.row).ok());
            }
        }
        told.owned = self.owned_by(id.get())?;
        let mut from = i64::MIN;
        while let Some(entry) = self.tables.owned.range((from, 0)..)?.next().transpose()? {
            let (owner, _) = entry.0.value();
            if !up.contains(&owner) {
                told.gone_owners.push(NodeId::from_stored(owner));
            }
            let Some(next) = owner.checked_add(1) else { break };
            from = next;
        }
        Ok(told)
    }

    fn owned_by(&self, owner: i64) -> Tried<Vec<Owned>> {
        let mut owned = Vec::new();
        for entry in self.tables.owned.range((owner, 0)..=(owner, u128::MAX))? {
            let kept: Option<KeptExecution> = find(&self.tables.execution, entry?.0.value().1)?;
            owned.extend(kept.map(|KeptExecution { row, .. }| {
                Owned::from(OwnedRow {
                    id: row.id,
                    fence: row.fence,
                    attempt: row.attempt,
                    cancel: row.cancel,
                })
            }));
        }
        Ok(owned)
    }
}
