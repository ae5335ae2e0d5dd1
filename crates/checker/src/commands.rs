//! Commands take effect at their commit (G12): nothing is claimed later under what they ended.
//!
//! A claim counts for when the store says that it was made. A command's own time is read from the store after it had
//! returned, so a claim that is later than that was committed after the command, whatever the network did. Claims of a
//! key's slot are left out for triggers, because their fences do not tell whether it was the first claim, and later
//! claims of work that fired before the command are right.

use punctual_core::key::Fence;
use punctual_core::time::Timestamp;

use crate::cluster::{Cluster, Paused, Standby};
use crate::history::{By, Fact, History, Trail, line};
use crate::verdict::{Rule, Verdict};

/// The fence of the first claim of work that needs no slot.
const FIRST: Fence = Fence::from_stored(1);

pub(crate) fn judge(history: &History, cluster: &Cluster, verdict: &mut Verdict) {
    for (id, trail) in &history.trails {
        for fact in trail.facts.iter().filter(|fact| fact.is_claim()) {
            let Some(at) = fact.claimed_at() else { continue };
            if let Some(command) = ended_before(trail, fact, at, cluster) {
                let text = format!("{id} fired at {at} under a definition that {command} had ended");
                verdict.broke(Rule::OldDefinition, 1, text, || vec![line(*id, fact)]);
            }
            if trail.slot.is_none() && fact.fence == FIRST {
                let during = |pause: &&Paused| {
                    pause.covers(trail) && pause.holds_at(at, fact.boot, &cluster.store_jumps)
                };
                if let Some(pause) = cluster.pauses.iter().find(during) {
                    let text = format!("{id} fired at {at} under a pause of {}", pause.from);
                    verdict.broke(Rule::FiredInPause, 1, text, || vec![line(*id, fact)]);
                }
            }
            let By::Node(node) = fact.by else { continue };
            let during = |standby: &&Standby| {
                standby.node == node && at > standby.from && standby.until.is_none_or(|until| at < until)
            };
            if let Some(standby) = cluster.standbys.iter().find(during) {
                let text = format!("node {node} claimed {id} at {at}, in standby since {}", standby.from);
                verdict.broke(Rule::ClaimInStandby, 1, text, || vec![line(*id, fact)]);
            }
        }
    }
}

/// The command that had ended the definition that a first claim was made under, as text.
fn ended_before(trail: &Trail, claim: &Fact, at: Timestamp, cluster: &Cluster) -> Option<String> {
    let (trigger, generation) = trail.of.filter(|_| trail.slot.is_none() && claim.fence == FIRST)?;
    if let Some(deleted) = cluster.unscheduled.get(&trigger).filter(|deleted| at > **deleted) {
        return Some(format!("its deletion at {deleted}"));
    }
    let newer = cluster.rescheduled.range((trigger, generation.saturating_add(1))..=(trigger, i64::MAX));
    let changed = newer.map(|(_, changed)| *changed).min()?;
    (at > changed).then(|| format!("a change at {changed}"))
}
