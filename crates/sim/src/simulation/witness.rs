//! A witness of every commit and every body: it keeps books of its own, and notes at once what a promise rules out.
//!
//! The checker judges by what a run leaves behind, as it would judge a real one. The witness sees more: the order of
//! commits, what each node had read before, and who was frozen. It believes no guard of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use punctual_checker::Guarantee;
use punctual_core::execution::{AttemptOutcome, Execution, Slot};
use punctual_core::node::{NodeInfo, Profile};
use punctual_core::store::{ClaimRef, FirePlan, SettleOutcome, SettlePlan, Settlement, Standby};
use punctual_core::{ExecutionId, Fence, NodeId, Timestamp, TriggerId};

use super::world::{Host, Micros};

/// How many breaches are kept in full.
const KEPT: usize = 20;

/// The guarantees of which the witness alone speaks, beside those of the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// One that the checker judges, too.
    Checked(Guarantee),
    /// Work that runs at most once begins at most once.
    G6,
    /// A command takes effect at its commit.
    G12,
    /// A graceful stop uses up no attempt.
    G14,
}

impl Promise {
    /// Its name: `G12`.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Checked(guarantee) => format!("{guarantee:?}"),
            Self::G6 => "G6".to_owned(),
            Self::G12 => "G12".to_owned(),
            Self::G14 => "G14".to_owned(),
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which promise.
    pub promise: String,
    /// What happened, in a sentence.
    pub text: String,
    /// What shows it.
    pub events: Vec<String>,
}

#[derive(Debug)]
struct Member {
    host: Host,
    up: bool,
    profile: Profile,
    /// When its last beat was committed.
    beat: Micros,
    /// Whether it stands by, and when that was last commanded.
    standby: bool,
    commanded: u64,
    /// When it last read what is due.
    read: u64,
}

#[derive(Debug)]
struct Live {
    owner: Option<NodeId>,
    fence: Fence,
    attempt: u32,
}

#[derive(Debug, Default)]
struct Key {
    holder: Option<ExecutionId>,
    fence: Fence,
}

/// A body that runs under an exclusive key.
#[derive(Clone, Debug)]
struct Body {
    host: Host,
    id: ExecutionId,
    fence: Fence,
}

/// The books of the witness.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    /// Grows with everything that is seen.
    position: u64,
    nodes: BTreeMap<NodeId, Member>,
    live: BTreeMap<ExecutionId, Live>,
    ended: BTreeSet<ExecutionId>,
    instants: BTreeSet<(TriggerId, i64, Timestamp)>,
    keys: BTreeMap<Box<str>, Key>,
    /// The revision that the last change of each trigger made.
    edited: BTreeMap<TriggerId, i64>,
    generations: BTreeMap<TriggerId, i64>,
    bodies: BTreeMap<Box<str>, Vec<Body>>,
    begun: BTreeSet<ExecutionId>,
    /// Broken promises.
    pub(crate) breaches: Vec<Breach>,
    /// How many there were.
    pub(crate) broken: u64,
}

fn exclusive(slot: Option<&Slot>) -> Option<Box<str>> {
    slot.filter(|slot| slot.limit == 1).map(|slot| slot.key.clone())
}

impl Witness {
    pub(crate) fn broke(&mut self, promise: Promise, now: Micros, text: String) {
        self.broken += 1;
        if self.breaches.len() < KEPT {
            let events = vec![format!("{}.{:06}s the witness saw it", now / 1_000_000, now % 1_000_000)];
            self.breaches.push(Breach { promise: promise.name(), text, events });
        }
    }

    fn checked(&mut self, guarantee: Guarantee, now: Micros, text: String) {
        self.broke(Promise::Checked(guarantee), now, text);
    }

    /// The next position. A step that reads takes it before it reads, one that writes after it has committed.
    pub(crate) const fn turn(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    // ---- members ----

    pub(crate) fn joined(&mut self, host: Host, info: &NodeInfo, now: Micros) {
        let (id, profile) = (info.id, info.profile);
        // A repeated join changes nothing; one of a node that is gone does not bring it back.
        self.nodes.entry(id).or_insert(Member {
            host,
            up: true,
            profile,
            beat: now,
            standby: false,
            commanded: 0,
            read: 0,
        });
    }

    pub(crate) fn checked_in(&mut self, id: NodeId, now: Micros) {
        if let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) {
            node.beat = now;
        }
    }

    pub(crate) fn left(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.up = false;
        }
    }

    /// A node was declared dead by a process on `host`. Answers which node that process is, if the dead one was up until
    /// now.
    pub(crate) fn taken_over(&mut self, host: Host, id: NodeId, now: Micros) -> Option<NodeId> {
        let node = self.nodes.get_mut(&id).filter(|node| node.up)?;
        node.up = false;
        let silent = Duration::from_micros(now - node.beat);
        // The observer's clock may be a hundredth too fast.
        let announced = node.profile.take * 100 / 101;
        if silent < announced {
            let text = format!(
                "node {id} was declared dead {silent:?} after its last beat; it had announced {announced:?}"
            );
            self.checked(Guarantee::G2, now, text);
        }
        let by = self.nodes.iter().filter(|(_, node)| node.up && node.host == host);
        by.max_by_key(|(_, node)| node.beat).map(|(by, _)| *by)
    }

    pub(crate) fn commanded(&mut self, id: NodeId, standby: Standby) {
        let position = self.turn();
        if let Some(node) = self.nodes.get_mut(&id) {
            node.standby = standby == Standby::On;
            node.commanded = position;
        }
    }

    // ---- definitions and reading ----

    /// A trigger was written, as this revision and in this generation, or deleted. Answers whether the generation is a new
    /// one.
    pub(crate) fn edited(&mut self, trigger: TriggerId, written: Option<(i64, i64)>) -> bool {
        self.turn();
        self.edited.insert(trigger, written.map_or(i64::MAX, |(rev, _)| rev));
        written
            .is_some_and(|(_, generation)| self.generations.insert(trigger, generation) != Some(generation))
    }

    /// A node has looked, not before `position`.
    pub(crate) fn read(&mut self, node: NodeId, position: u64) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.read = position;
        }
    }

    // ---- claims ----

    /// Whoever claims is up, is not in standby, and has looked since it was last told anything.
    fn may_claim(&mut self, id: NodeId, now: Micros) {
        let Some(node) = self.nodes.get(&id) else { return };
        let (up, standby, late) = (node.up, node.standby, node.read < node.commanded);
        if !up {
            self.checked(Guarantee::G2, now, format!("node {id} claimed work, though it is not up"));
        }
        if standby || late {
            let text = format!("node {id} claimed work that it had planned before it was told to stand by");
            self.broke(Promise::G12, now, text);
        }
    }

    /// A plan has been carried out. What it was made by is told by the revision that the node itself had read: a reader
    /// may be overtaken by a change and see it all the same, so the moment of its look would not tell.
    pub(crate) fn fired(
        &mut self,
        node: NodeId,
        plan: &FirePlan,
        fences: &[Fence],
        (shown, now): (Timestamp, Micros),
    ) {
        self.turn();
        self.may_claim(node, now);
        let trigger = plan.trigger;
        if self.edited.get(&trigger).is_some_and(|edited| *edited > plan.rev) {
            let text = format!("node {node} fired trigger {trigger} by a definition that had been replaced");
            self.broke(Promise::G12, now, text);
        }
        for (new, fence) in plan.executions.iter().zip(fences) {
            if new.scheduled > shown {
                let text = format!("{} was claimed at {shown}, before its instant {}", new.id, new.scheduled);
                self.checked(Guarantee::G11, now, text);
            }
            if let Some(of) = &new.occurrence
                && !self.instants.insert((of.trigger_id, of.generation, new.scheduled))
            {
                let text = format!("{} generation {} fired {} twice", of.key, of.generation, new.scheduled);
                self.checked(Guarantee::G1, now, text);
            }
            let key = exclusive(new.slot.as_ref());
            self.owned(new.id, node, *fence, 1, key, now);
        }
    }

    pub(crate) fn claimed_ready(&mut self, node: NodeId, row: &Execution, now: Micros) {
        self.turn();
        self.may_claim(node, now);
        let key = exclusive(row.slot.as_ref());
        self.owned(row.id, node, row.fence, row.attempt, key, now);
    }

    fn owned(
        &mut self,
        id: ExecutionId,
        owner: NodeId,
        fence: Fence,
        attempt: u32,
        key: Option<Box<str>>,
        now: Micros,
    ) {
        if let Some(before) = self.live.get(&id) {
            let (had, old) = (before.owner, before.fence);
            if let Some(had) = had {
                self.checked(Guarantee::G2, now, format!("{id} was claimed by {owner} while {had} owned it"));
            }
            if old >= fence {
                self.checked(Guarantee::G2, now, format!("{id} was claimed under fence {fence} after {old}"));
            }
        }
        if self.ended.contains(&id) {
            self.checked(Guarantee::G7, now, format!("{id} was claimed after its end"));
        }
        if let Some(key) = &key {
            let slot = self.keys.entry(key.clone()).or_default();
            let (holder, old) = (slot.holder.replace(id), slot.fence);
            slot.fence = slot.fence.max(fence);
            if let Some(holder) = holder.filter(|holder| *holder != id) {
                self.checked(Guarantee::G3a, now, format!("{id} took {key}, which {holder} held"));
            } else if old >= fence {
                self.checked(Guarantee::G2, now, format!("{key} was taken under fence {fence} after {old}"));
            }
        }
        self.live.insert(id, Live { owner: Some(owner), fence, attempt });
    }

    // ---- ends ----

    pub(crate) fn settled(&mut self, host: Host, plan: &SettlePlan, outcome: SettleOutcome, now: Micros) {
        if outcome != SettleOutcome::Done {
            return;
        }
        let ClaimRef { id, owner, fence } = plan.claim;
        let Some(live) = self.live.get_mut(&id) else { return };
        let (had, old, attempt) = (live.owner, live.fence, live.attempt);
        live.owner = None;
        let mut wrong = Vec::new();
        if had != Some(owner) {
            wrong.push((Guarantee::G2, format!("{owner} wrote about {id}, which {had:?} owned")));
        } else if old != fence {
            wrong.push((
                Guarantee::G4,
                format!("a result of {id} under fence {fence} was taken, though it had fence {old}"),
            ));
        }
        if self.nodes.get(&owner).is_some_and(|node| node.up && node.host != host) {
            wrong.push((Guarantee::G2, format!("{owner} lost {id} to another node, though it is up")));
        }
        match &plan.then {
            Settlement::End(_) | Settlement::Forget => {
                self.live.remove(&id);
                if !self.ended.insert(id) {
                    wrong.push((Guarantee::G7, format!("{id} ended twice")));
                }
                self.free(id);
            }
            Settlement::Back(back) => {
                let released =
                    back.attempts.last().is_some_and(|last| last.outcome == AttemptOutcome::Released);
                if released && back.attempt > attempt && back.losses == 0 {
                    self.broke(Promise::G14, now, format!("handing {id} back used up attempt {attempt}"));
                }
                if !back.keep_slot {
                    self.free(id);
                }
            }
        }
        for (guarantee, text) in wrong {
            self.checked(guarantee, now, text);
        }
    }

    /// Executions that nobody owned have ended by a person's command.
    pub(crate) fn cancelled(&mut self, ids: &[ExecutionId]) {
        for id in ids {
            if self.live.get(id).is_some_and(|live| live.owner.is_none()) {
                self.live.remove(id);
                self.ended.insert(*id);
                self.free(*id);
            }
        }
    }

    fn free(&mut self, id: ExecutionId) {
        for slot in self.keys.values_mut().filter(|slot| slot.holder == Some(id)) {
            slot.holder = None;
        }
    }

    // ---- bodies ----

    /// A body begins. `innocent` says of a host whether what runs there may still run: it is frozen, or was until now.
    pub(crate) fn body_began(
        &mut self,
        (host, id, fence): (Host, ExecutionId, Fence),
        key: Option<&str>,
        at_most_once: bool,
        innocent: impl Fn(Host) -> bool,
        now: Micros,
    ) {
        if at_most_once && !self.begun.insert(id) {
            self.broke(
                Promise::G6,
                now,
                format!("{id}, which may begin once, began again under fence {fence}"),
            );
        }
        let Some(key) = key else { return };
        let running = self.bodies.entry(key.into()).or_default();
        let other = running.iter().find(|body| !innocent(body.host)).cloned();
        running.push(Body { host, id, fence });
        if let Some(other) = other {
            let text = format!(
                "{id} under fence {fence} began while {} under fence {} ran, both of {key}",
                other.id, other.fence
            );
            self.checked(Guarantee::G3b, now, text);
        }
    }

    pub(crate) fn body_ended(&mut self, id: ExecutionId, fence: Fence, key: Option<&str>) {
        if let Some(running) = key.and_then(|key| self.bodies.get_mut(key)) {
            running.retain(|body| (body.id, body.fence) != (id, fence));
        }
    }

    /// A process is gone, and its bodies with it.
    pub(crate) fn host_died(&mut self, host: Host) {
        for running in self.bodies.values_mut() {
            running.retain(|body| body.host != host);
        }
    }
}

#[cfg(test)]
mod tests {
    use punctual_core::store::TriggerPatch;
    use punctual_core::trigger::TriggerState;

    use super::*;

    fn plan(trigger: TriggerId, rev: i64) -> FirePlan {
        let patch = TriggerPatch {
            state: TriggerState::Active,
            next_fire: None,
            wake: None,
            last: None,
            progress: Default::default(),
            fires: 1,
            error: None,
            skips: Vec::new(),
        };
        let (then, busy) = (patch.clone(), patch);
        FirePlan { trigger, rev, fire_seq: 0, executions: Vec::new(), slot: None, then, busy }
    }

    /// Seed 110062 on SQLite: a reader was overtaken by a change between its statements, saw it, and planned by it.
    #[test]
    fn whoever_has_read_a_change_may_fire_by_it_however_early_it_had_begun_to_read() {
        let (mut witness, node) = (Witness::default(), NodeId::from_stored(1));
        let (trigger, shown) = (TriggerId::from_stored(7), (Timestamp::MIN, 0));
        let before = witness.turn();
        assert!(witness.edited(trigger, Some((5, 1))));
        witness.read(node, before);
        witness.fired(node, &plan(trigger, 5), &[], shown);
        assert_eq!(witness.broken, 0);
        witness.fired(node, &plan(trigger, 4), &[], shown);
        assert_eq!(witness.broken, 1);
        assert!(!witness.edited(trigger, None));
        witness.fired(node, &plan(trigger, 6), &[], shown);
        assert_eq!(witness.broken, 2, "a trigger that is deleted fires no more");
    }
}
