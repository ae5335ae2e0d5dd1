//! Bodies of one exclusive key that ran at once (G3b).
//!
//! A body runs from its own first line to its own last one. Without a last line it ended when its node said that it
//! had (a command that was stopped from outside says nothing); else, at the latest, the grace after a kill of its
//! process or its node's, which may be stamped before the body began, or when its process is known to have been gone;
//! else it runs to the end of the history.
//! While its own process is frozen it does not run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::key::{ExecutionId, NodeId};
use punctual_core::time::BootInstant;

use crate::checker::Options;
use crate::claims::Claims;
use crate::cluster::{AFTERMATH, Cluster};
use crate::history::{By, Fact, History, Trail, What, line};
use crate::spans::{Span, Spans};
use crate::verdict::{Rule, Verdict};

/// A body of an exclusive key.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    id: ExecutionId,
    begin: Fact,
    owner: Option<NodeId>,
    whole: Span,
    active: Spans,
}

impl Body {
    /// Whether it ran at `at`, frozen or not.
    pub(crate) fn lived_at(&self, at: BootInstant) -> bool {
        self.whole.from <= at && at <= self.whole.to
    }
}

/// All bodies of each exclusive key, in the order of their beginnings.
pub(crate) type Bodies = BTreeMap<Arc<str>, Vec<Body>>;

/// Finds the bodies of exclusive keys.
pub(crate) fn bodies(history: &History, cluster: &Cluster, claims: &Claims, options: &Options) -> Bodies {
    let mut frozen: BTreeMap<u32, Spans> = BTreeMap::new();
    for (pid, _) in &cluster.freezes {
        frozen.entry(*pid).or_insert_with(|| cluster.frozen(*pid, history.horizon));
    }
    let mut bodies = Bodies::new();
    for (id, trail) in &history.trails {
        let Some(slot) = trail.slot.as_ref().filter(|_| trail.exclusive) else { continue };
        for begin in trail.facts.iter().filter(|fact| fact.what == What::BodyBegan) {
            let By::Body(pid) = begin.by else { continue };
            let owner = claims.owner(*id, begin.fence);
            let to = end(trail, begin, pid, owner, cluster, options).unwrap_or(history.horizon);
            let whole = Span { from: begin.boot, to };
            let active = frozen.get(&pid).cloned().unwrap_or_default().cut_from(whole);
            bodies.entry(Arc::clone(slot)).or_default().push(Body {
                id: *id,
                begin: *begin,
                owner,
                whole,
                active,
            });
        }
    }
    for of_slot in bodies.values_mut() {
        of_slot.sort_by_key(|body| body.whole);
    }
    bodies
}

fn end(
    trail: &Trail,
    begin: &Fact,
    pid: u32,
    owner: Option<NodeId>,
    cluster: &Cluster,
    options: &Options,
) -> Option<BootInstant> {
    let same =
        |fact: &&Fact| (fact.attempt, fact.fence) == (begin.attempt, begin.fence) && fact.boot >= begin.boot;
    let after = || trail.facts.iter().filter(same);
    let by_itself = after()
        .filter(|fact| matches!(fact.what, What::BodyEnded | What::BodyCancelled) && fact.by == begin.by)
        .map(|fact| fact.boot)
        .min();
    let by_node = || after().filter(|fact| matches!(fact.what, What::Ended(_))).map(|fact| fact.boot).min();
    let by_death = || {
        // The stamp of a kill is taken before the signal: a body may begin in between. A node that joined after the kill
        // is another process.
        let joined = owner.and_then(|owner| cluster.nodes.get(&owner)?.joined).unwrap_or(begin.boot);
        let since = begin.boot.minus(options.kill_grace).max(joined).min(begin.boot);
        let owner = owner.and_then(|owner| cluster.pid(owner));
        let killed =
            [Some(pid), owner].into_iter().flatten().filter_map(|pid| cluster.killed(pid, since)).min();
        let killed = killed.map(|at| at.plus(options.kill_grace));
        killed.into_iter().chain(cluster.known_gone(pid, begin.boot)).min()
    };
    by_itself.or_else(by_node).or_else(by_death)
}

/// Judges each pair of bodies of one key that ran at once.
pub(crate) fn judge(
    bodies: &Bodies,
    cluster: &Cluster,
    wind_down: impl Fn(Option<NodeId>) -> Duration,
    options: &Options,
    verdict: &mut Verdict,
) {
    let mut longest_declared = Duration::ZERO;
    for (slot, bodies) in bodies {
        let mut running: Vec<&Body> = Vec::new();
        for body in bodies {
            running.retain(|earlier| earlier.whole.to > body.whole.from);
            for earlier in &running {
                let both = Duration::from_micros(earlier.active.both(&body.active).micros());
                if both.is_zero() {
                    continue;
                }
                let stale = if earlier.begin.fence <= body.begin.fence { earlier } else { body };
                let allowed = wind_down(stale.owner) + options.wake_slack;
                let declared = falsely_dead(cluster, stale, allowed);
                if declared && both <= allowed {
                    verdict.overlaps_declared += 1;
                    longest_declared = longest_declared.max(both);
                    continue;
                }
                let why = if declared {
                    format!(", more than the {allowed:?} after a false death")
                } else {
                    String::new()
                };
                let text = format!("two bodies of {slot:?} ran at once for {both:?}{why}");
                verdict.broke(Rule::Overlap, 1, text, || vec![shown(earlier), shown(body)]);
            }
            running.push(body);
        }
    }
    verdict.overlap_declared_seconds_max = longest_declared.as_secs_f64();
}

/// Whether the owner of a body was declared dead while its process was frozen, or right after, and the body had begun
/// before that, or right after the process was thawed and could not know yet. A node that was not frozen stops its
/// bodies in time, whoever declares it dead.
fn falsely_dead(cluster: &Cluster, body: &Body, allowed: Duration) -> bool {
    let Some(owner) = body.owner else { return false };
    let Some((taken, _)) = cluster.nodes.get(&owner).and_then(|node| node.taken) else { return false };
    if cluster.ended(owner).is_some_and(|(at, killed)| killed && at <= taken) {
        return false;
    }
    let frozen = cluster.pid(owner).map(|pid| cluster.frozen(pid, body.whole.to)).unwrap_or_default();
    let innocent = frozen.iter().any(|freeze| {
        let by_freeze = (freeze.from..=freeze.to.plus(AFTERMATH)).contains(&taken);
        let unaware =
            (freeze.from..=freeze.to).contains(&taken) && body.begin.boot <= freeze.to.plus(allowed);
        by_freeze && (body.begin.boot <= taken || unaware)
    });
    taken <= body.whole.to && innocent
}

fn shown(body: &Body) -> String {
    format!("{}, ran for {:?}", line(body.id, &body.begin), body.whole.to.since(body.whole.from))
}
