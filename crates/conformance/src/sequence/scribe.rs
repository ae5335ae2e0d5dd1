//! Makes steps of moves: what a node, an editor or somebody who is late would ask for at that moment.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::Execution;
use punctual_core::key::Fence;
use punctual_core::node::{NodeInfo, NodeState, Profile};
use punctual_core::protocol::fire;
use punctual_core::store::{
    Change, Claim, ClaimReady, Enqueue, FirePlan, PARK, Prune, ReadDue, Readable, SLICE_GRACE, Slice,
    Standby, Within,
};
use punctual_core::trigger::SLICES;
use punctual_core::{Kind, NodeId, Timestamp};

use super::moves::{Move, What};
use super::view::View;
use crate::bench::{WORK, kind, secs};
use crate::step::{Answer, Step};

/// How many nodes there are at most.
const NODES: usize = 8;

/// How many plans and claims are remembered, so that some are used when they are stale.
const REMEMBERED: usize = 24;

/// See the module.
pub(crate) struct Scribe {
    pub(super) entropy: SeededEntropy,
    /// When the sequence began.
    pub(super) t0: Timestamp,
    /// All nodes that ever joined.
    nodes: Vec<NodeId>,
    /// Plans with the node that made them and the gate that it saw, oldest first.
    plans: Vec<(NodeId, i64, FirePlan)>,
    /// Claimed rows as they were when they were claimed, oldest first.
    pub(super) claimed: Vec<Execution>,
    /// What was put in last.
    pub(super) enqueued: Vec<Enqueue>,
}

/// One of several, by a number.
pub(super) fn one<T>(of: &[T], which: u8) -> Option<&T> {
    usize::from(which).checked_rem(of.len()).and_then(|at| of.get(at))
}

impl Scribe {
    pub(crate) const fn new(t0: Timestamp) -> Self {
        let entropy = SeededEntropy::new(1);
        Self { entropy, t0, nodes: Vec::new(), plans: Vec::new(), claimed: Vec::new(), enqueued: Vec::new() }
    }

    /// The step of a move; `None` if there is nothing that it could be about.
    pub(crate) fn step(&mut self, next: Move, view: &View, now: Timestamp) -> Option<Step> {
        let Move { what, which, how, extra } = next;
        Some(match what {
            What::Advance | What::SetBack => return None,
            What::Join => Step::Join(self.joining(which)),
            What::CheckIn => Step::CheckIn(self.node(view, which, extra)?),
            What::TakeOver => {
                let node = self.node(view, which, extra)?;
                let beat = beat_of(view, node);
                Step::TakeOver(node, if how % 4 == 3 { beat - 1 } else { beat })
            }
            What::Leave => Step::Leave(self.node(view, which, extra)?),
            What::Standby => {
                let standby = if how.is_multiple_of(3) { Standby::On } else { Standby::Off };
                Step::SetStandby(self.node(view, which, extra)?, standby)
            }
            What::Orphans => {
                let owners: Vec<NodeId> = view.live.iter().filter_map(|row| row.owner).collect();
                let is_up =
                    |id| view.nodes.iter().any(|node| node.info.id == id && node.state == NodeState::Up);
                let gone: Vec<NodeId> = owners.iter().copied().filter(|id| !is_up(*id)).collect();
                let owner = one(&gone, which).filter(|_| extra < 192).or_else(|| one(&owners, which))?;
                Step::Orphans(*owner, if how < 64 { 1 } else { 100 })
            }
            What::PutJob | What::DeleteJob | What::PutTrigger | What::DeleteTrigger => {
                Step::Apply(vec![self.change(next, view, now)?])
            }
            What::PutCalendar | What::DeleteCalendar | What::PutSet | What::Pause => {
                Step::Apply(vec![self.change(next, view, now)?])
            }
            What::Batch => Step::Apply(self.batch(next, view, now)),
            What::Enqueue => Step::Enqueue(self.work(next, view, now)),
            What::Cancel => Step::Cancel(Self::to_cancel(next, view)?),
            What::Read => Step::ReadDue(ReadDue {
                node: self.node(view, which, extra)?,
                kinds: kinds(how),
                limit: [100, 100, 2, 1][usize::from(how / 8 % 4)],
                slice: match how / 32 {
                    6 => Some(Slice { from: 0, to: SLICES / 2, grace: SLICE_GRACE }),
                    7 => Some(Slice { from: SLICES / 2, to: SLICES, grace: secs(3_600) }),
                    _ => None,
                },
                ahead: [Duration::ZERO, secs(5)][usize::from(how / 4 % 2)],
                after: None,
            }),
            What::Claim => Step::Claim(self.claim(how, extra)?),
            What::ClaimReady => {
                let node = self.node(view, which, extra)?;
                let limit = [100, 2, 1, 1][usize::from(how / 8 % 4)];
                let park = if how < 128 { PARK } else { secs(10) };
                let gate = gate_of(view, node) + i64::from(how == 255);
                let within = within(how, extra);
                Step::ClaimReady(ClaimReady {
                    node,
                    gate,
                    within,
                    kinds: kinds(how),
                    limit,
                    park,
                    after: None,
                })
            }
            What::Begin => Step::Begin(self.to_begin(next, view)?),
            What::Settle => Step::Settle(self.ends(next, view, now)?),
            What::Recover => Step::Settle(Self::recovered(next, view, now)?),
            What::WakeWaiting => Step::WakeWaiting(1_000),
            // One that is new at most once: it costs all nodes their membership.
            What::RaiseEpoch => Step::RaiseEpoch(u32::from(how < 64)),
            What::Prune => {
                Step::Prune(Prune { history: secs(if how % 3 == 1 { 60 } else { 86_400 }), limit: 1_000 })
            }
        })
    }

    /// Remembers what an answer says to a node.
    pub(crate) fn learn(&mut self, step: &Step, answer: Answer, now: Timestamp) {
        match (step, answer) {
            (Step::Join(info), _) if !self.nodes.contains(&info.id) => self.nodes.push(info.id),
            (Step::ReadDue(request), Answer::Due(due)) => {
                for row in &due.triggers {
                    let plan = match row {
                        // What was read ahead of its time is not planned before that.
                        Readable::Row(row) if row.trigger.wake.is_some_and(|wake| wake > now) => continue,
                        Readable::Row(row) => fire::plan(row, now, &self.entropy),
                        Readable::Poison(poison) => match fire::set_aside(poison) {
                            Some(plan) => plan,
                            None => continue,
                        },
                    };
                    self.plans.push((request.node, due.gate, plan));
                }
                let surplus = self.plans.len().saturating_sub(REMEMBERED);
                self.plans.drain(..surplus);
            }
            (_, Answer::Ready(claimed)) => {
                let rows = claimed.work.into_iter().filter_map(|row| match row {
                    Readable::Row(row) => Some(row.execution),
                    Readable::Poison(_) => None,
                });
                self.remember(rows);
            }
            _ => {}
        }
    }

    /// Remembers claimed rows, and forgets the oldest ones.
    pub(super) fn remember(&mut self, rows: impl IntoIterator<Item = Execution>) {
        self.claimed.extend(rows);
        let surplus = self.claimed.len().saturating_sub(REMEMBERED);
        self.claimed.drain(..surplus);
    }

    /// Changes that are written together, each made as if it were the only one.
    fn batch(&self, next: Move, view: &View, now: Timestamp) -> Vec<Change> {
        const PARTS: [What; 7] = [
            What::DeleteTrigger,
            What::DeleteJob,
            What::PutJob,
            What::PutTrigger,
            What::PutCalendar,
            What::PutSet,
            What::DeleteCalendar,
        ];
        let Move { which, how, extra, .. } = next;
        let parts = [how % 7, how / 7 % 7, how / 49].map(|part| one(&PARTS, part));
        let parts = parts.into_iter().flatten().zip([(which, extra), (which, which), (extra, how)]);
        let changes = parts.filter_map(|(what, (which, extra))| {
            self.change(Move { what: *what, which, how, extra }, view, now)
        });
        changes.collect()
    }

    /// A node that is up, or seldom any that ever joined.
    pub(super) fn node(&self, view: &View, which: u8, extra: u8) -> Option<NodeId> {
        let up = view.nodes.iter().filter(|node| node.state == NodeState::Up).map(|node| node.info.id);
        let mut up: Vec<NodeId> = up.collect();
        up.sort_unstable();
        one(if extra > 208 { &self.nodes } else { &up }, which).copied()
    }

    /// A node that is to join: most often a new one.
    fn joining(&self, which: u8) -> NodeInfo {
        let again = one(&self.nodes, which).copied();
        let id = if self.nodes.len() < NODES && which < 224 { None } else { again };
        NodeInfo {
            id: id.unwrap_or_else(|| NodeId::draw(&self.entropy)),
            name: format!("node {which}").into(),
            host: "host".into(),
            pid: u32::from(which),
            version: "0.1.0".into(),
            zone_data: "2025b".into(),
            profile: Profile::FAST,
            capacity: 10,
            kinds: vec![kind(WORK)],
        }
    }

    /// A claim by plans of one node, mostly the youngest; seldom kept, so that they are sent again.
    fn claim(&mut self, how: u8, extra: u8) -> Option<Claim> {
        let (node, gate, _) = self.plans.get(self.plans.len().checked_sub(1 + usize::from(how / 64))?)?;
        let (node, gate) = (*node, *gate);
        let mut plans: Vec<FirePlan> = Vec::new();
        for (by, _, plan) in self.plans.iter().rev() {
            if *by == node && plans.len() < 3 && plans.iter().all(|other| other.trigger != plan.trigger) {
                plans.push(plan.clone());
            }
        }
        if !how.is_multiple_of(4) {
            self.plans.retain(|(_, _, plan)| plans.iter().all(|used| used != plan));
        }
        let gate = gate + i64::from(extra == 255);
        Some(Claim { node, gate, within: within(how, extra), plans })
    }
}

/// What a node can run.
fn kinds(how: u8) -> Arc<[Kind]> {
    let both = [kind(WORK), kind("other")];
    if how.is_multiple_of(8) { both.into_iter().collect() } else { Arc::new([kind(WORK)]) }
}

/// Some claims are made within a lock, with a fence that may have been overtaken.
fn within(how: u8, extra: u8) -> Option<Within> {
    let fence = Fence::from_stored(i64::from(extra % 3) + 1);
    (how % 8 == 7).then(|| Within { lock: "lock".into(), fence })
}

pub(super) fn gate_of(view: &View, node: NodeId) -> i64 {
    view.nodes.iter().find(|other| other.info.id == node).map_or(0, |node| node.gate)
}

fn beat_of(view: &View, node: NodeId) -> i64 {
    view.nodes.iter().find(|other| other.info.id == node).map_or(0, |node| node.beat)
}
