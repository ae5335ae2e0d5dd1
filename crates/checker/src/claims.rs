//! Who may run what, and whose result counts: G1, G2, G4, G5, G7 and G11 for each execution.

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::execution::{Execution, HistoryRecord, Outcome};
use punctual_core::key::{ExecutionId, Fence, NodeId};
use punctual_core::time::Timestamp;

use crate::checker::Tables;
use crate::history::{By, Fact, History, Trail, What, line};
use crate::verdict::{Rule, Verdict};

/// Who claimed what under which fence, by the journals and by the tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(BTreeMap<(ExecutionId, Fence), (NodeId, u32)>);

impl Claims {
    /// Gathers them. The tables fill in what a node that was killed could not write down any more.
    pub(crate) fn gather(history: &History, tables: &Tables) -> Self {
        let mut claims = BTreeMap::new();
        for record in &tables.history {
            claims.extend(record.node.map(|node| ((record.id, record.fence), (node, record.attempt))));
            claims.extend(
                record.attempts.iter().map(|past| ((record.id, past.fence), (past.node, past.number))),
            );
        }
        for row in &tables.live {
            claims.extend(row.owner.map(|owner| ((row.id, row.fence), (owner, row.attempt))));
            claims.extend(row.attempts.iter().map(|past| ((row.id, past.fence), (past.node, past.number))));
        }
        for (id, trail) in &history.trails {
            for fact in trail.facts.iter().filter(|fact| fact.is_claim()) {
                let By::Node(node) = fact.by else { continue };
                claims.insert((*id, fact.fence), (node, fact.attempt));
            }
        }
        Self(claims)
    }

    /// The node that claimed an execution under a fence.
    pub(crate) fn owner(&self, id: ExecutionId, fence: Fence) -> Option<NodeId> {
        self.0.get(&(id, fence)).map(|(node, _)| *node)
    }

    /// All of them, by execution and fence.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&(ExecutionId, Fence), &(NodeId, u32))> {
        self.0.iter()
    }

    fn attempt(&self, id: ExecutionId, fence: Fence) -> Option<u32> {
        self.0.get(&(id, fence)).map(|(_, attempt)| *attempt)
    }
}

/// Judges what was fired twice.
pub(crate) fn judge_firings(history: &History, verdict: &mut Verdict) {
    for (trigger, instants) in &history.firings {
        let mut generations: BTreeMap<Timestamp, (i64, ExecutionId)> = BTreeMap::new();
        for ((generation, at), firing) in instants {
            for other in &firing.others {
                let text = format!(
                    "{trigger} generation {generation} fired {at} twice: {} and {other}",
                    firing.first
                );
                verdict.broke(Rule::DoubleFiring, 1, text, || history.show(&[firing.first, *other]));
            }
            let (first, id) = *generations.entry(*at).or_insert((*generation, firing.first));
            if first != *generation {
                let text = format!("{trigger} fired {at} in generation {first} and again in {generation}");
                verdict.broke(Rule::Refired, 1, text, || history.show(&[id, firing.first]));
            }
        }
    }
}

/// Judges each execution for itself.
pub(crate) fn judge_executions(history: &History, claims: &Claims, verdict: &mut Verdict) {
    let mut by_slot: BTreeMap<(&str, Fence), ExecutionId> = BTreeMap::new();
    for (id, trail) in &history.trails {
        starts(*id, trail, claims, verdict);
        fences(*id, trail, verdict);
        ends(*id, trail, verdict);
        let Some(slot) = trail.slot.as_deref().filter(|_| trail.exclusive) else { continue };
        let claimed = trail.facts.iter().filter(|fact| fact.is_claim());
        for fence in claimed.map(|fact| fact.fence).collect::<BTreeSet<_>>() {
            let first = *by_slot.entry((slot, fence)).or_insert(*id);
            if first != *id {
                let text = format!("{first} and {id} were claimed under the same fence {fence} of {slot:?}");
                verdict.broke(Rule::SharedFence, 1, text, || history.show(&[first, *id]));
            }
        }
    }
}

fn starts(id: ExecutionId, trail: &Trail, claims: &Claims, verdict: &mut Verdict) {
    let mut begun: BTreeMap<(u32, Fence), &Fact> = BTreeMap::new();
    for fact in &trail.facts {
        match fact.what {
            What::BodyBegan => {
                verdict.attempts += 1;
                let start = (fact.attempt, fact.fence);
                if let Some(first) = begun.insert(start, fact) {
                    let text = format!("attempt {} of {id} began twice under fence {}", start.0, start.1);
                    verdict.broke(Rule::DoubleStart, 1, text, || vec![line(id, first), line(id, fact)]);
                }
                if claims.attempt(id, fact.fence) != Some(fact.attempt) {
                    let text = format!("nobody claimed attempt {} of {id} under fence {}", start.0, start.1);
                    verdict.broke(Rule::Unclaimed, 1, text, || vec![line(id, fact)]);
                }
            }
            What::Began(at) if at < trail.scheduled => {
                let text = format!(
                    "{id} began {:?} before its instant {}",
                    trail.scheduled.since(at),
                    trail.scheduled
                );
                verdict.broke(Rule::Early, 1, text, || vec![line(id, fact)]);
            }
            _ => {}
        }
    }
}

fn fences(id: ExecutionId, trail: &Trail, verdict: &mut Verdict) {
    let mut claimed: BTreeMap<Fence, &Fact> = BTreeMap::new();
    for fact in trail.facts.iter().filter(|fact| fact.is_claim()) {
        if let Some(first) = claimed.insert(fact.fence, fact) {
            let text = format!("{id} was claimed twice under fence {}", fact.fence);
            verdict.broke(Rule::SharedFence, 1, text, || vec![line(id, first), line(id, fact)]);
        }
    }
}

fn ends(id: ExecutionId, trail: &Trail, verdict: &mut Verdict) {
    let highest = trail.facts.iter().filter(|fact| fact.is_claim()).max_by_key(|fact| fact.fence);
    let mut refused = BTreeSet::new();
    let mut taken: BTreeMap<Fence, &Fact> = BTreeMap::new();
    let mut ended: Option<&Fact> = None;
    for fact in &trail.facts {
        let ends = match fact.what {
            What::Fenced => {
                refused.insert(fact.fence);
                false
            }
            What::Settled(outcome) => {
                if let Some(first) = taken.insert(fact.fence, fact) {
                    let text = format!("two results of {id} were taken under fence {}", fact.fence);
                    verdict.broke(Rule::StaleCompletion, 1, text, || vec![line(id, first), line(id, fact)]);
                }
                outcome.is_some()
            }
            What::Recovered { outcome, .. } => outcome.is_some(),
            _ => false,
        };
        if !ends {
            continue;
        }
        let settled = matches!(fact.what, What::Settled(_));
        if let Some(newer) = highest.filter(|newer| settled && newer.fence > fact.fence) {
            let text = format!(
                "a result of {id} under fence {} was taken, though fence {} exists",
                fact.fence, newer.fence
            );
            verdict.broke(Rule::StaleCompletion, 1, text, || vec![line(id, newer), line(id, fact)]);
        }
        if let Some(first) = ended.replace(fact) {
            let text = format!("{id} ended twice");
            verdict.broke(Rule::EndedTwice, 1, text, || vec![line(id, first), line(id, fact)]);
        }
    }
    verdict.fenced_completions += u64::try_from(refused.len()).unwrap_or(u64::MAX);
}

/// Judges whether the tables hold each execution once, with the result of its last owner.
pub(crate) fn judge_records(history: &History, tables: &Tables, verdict: &mut Verdict) {
    let mut ended: BTreeMap<ExecutionId, &HistoryRecord> = BTreeMap::new();
    for record in tables.history.iter().filter(|record| record.outcome != Outcome::Skipped) {
        if ended.insert(record.id, record).is_some() {
            let text = format!("the history holds {} twice", record.id);
            verdict.broke(Rule::EndedTwice, 1, text, || history.show(&[record.id]));
        }
    }
    let live: BTreeMap<ExecutionId, &Execution> = tables.live.iter().map(|row| (row.id, row)).collect();
    for id in live.keys().filter(|id| ended.contains_key(id)) {
        let text = format!("{id} is in the history and live");
        verdict.broke(Rule::EndedTwice, 1, text, || history.show(&[*id]));
    }
    for (id, trail) in &history.trails {
        let Some(record) = ended.get(id) else {
            if !live.contains_key(id) {
                let text = format!("{id} was claimed or run, but is neither live nor in the history");
                verdict.broke(Rule::Vanished, 1, text, || history.show(&[*id]));
            }
            continue;
        };
        let newer = trail.facts.iter().find(|fact| fact.is_claim() && fact.fence > record.fence);
        let taken = |fact: &&Fact| fact.fence == record.fence && matches!(fact.what, What::Settled(Some(_)));
        // If the journal tells of the same completion, it has been judged there.
        if let Some(newer) = newer.filter(|_| !trail.facts.iter().any(|fact| taken(&fact))) {
            let text =
                format!("{id} is recorded with fence {}, though fence {} exists", record.fence, newer.fence);
            verdict.broke(Rule::StaleCompletion, 1, text, || vec![line(*id, newer)]);
        }
    }
}
