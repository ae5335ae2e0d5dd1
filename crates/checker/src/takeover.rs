//! How long the work of dead nodes lay about (G10).
//!
//! What counts is the longest time after the fault in which one other node lived and reached the store without
//! trouble: whoever observes begins anew when he was hindered himself. So a cluster that was killed as a whole takes over
//! when it is back, one whose store was out of reach when it answers again, and a fault that hits one observer excuses
//! no other.

use std::time::Duration;

use punctual_core::key::NodeId;
use punctual_core::time::BootInstant;

use crate::cluster::Cluster;
use crate::history::Boot;
use crate::verdict::{Rule, Verdict};

/// A node that was declared dead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Takeover {
    /// When the time began to run; none for a false death.
    pub(crate) since: Option<BootInstant>,
    /// When all of its work had been offered again.
    pub(crate) offered: BootInstant,
}

/// Measures the take-overs and compares them with the bound.
pub(crate) fn judge(
    cluster: &Cluster,
    horizon: BootInstant,
    bound: Option<Duration>,
    verdict: &mut Verdict,
) -> Vec<Takeover> {
    let mut all = Vec::new();
    let mut longest = Duration::ZERO;
    for (id, node) in cluster.nodes.iter().filter(|(id, _)| !cluster.ended_by_restore(**id)) {
        let bound = bound.map(|bound| bound + cluster.slower(*id));
        let Some((taken, by)) = node.taken else {
            never(cluster, *id, horizon, bound, verdict);
            continue;
        };
        verdict.takeovers += 1;
        let offered = node.recovered.map_or(taken, |recovered| recovered.max(taken));
        let cause = cluster.cause_of_death(*id, taken, horizon);
        let took = cause.map(|cause| noticeable(cluster, *id, cause, offered, horizon));
        let since = took.map(|took| offered.minus(took));
        all.push(Takeover { since, offered });
        let (Some(cause), Some(took)) = (cause, took) else {
            // Whoever never heard that it had joined has not lived under this id: the answer was lost, and it joined again.
            verdict.false_deaths += u64::from(node.joined.is_some());
            continue;
        };
        longest = longest.max(took);
        if let Some(bound) = bound.filter(|bound| took > *bound) {
            let text =
                format!("the work of node {id} was offered again after {took:?}, the bound is {bound:?}");
            verdict.broke(Rule::LateTakeover, 1, text, || {
                vec![
                    format!("{} fault: node {id} killed, frozen or cut off", Boot(cause)),
                    format!("{} node {by}: took over {id}", Boot(taken)),
                    format!("{} the last of its work was offered again", Boot(offered)),
                ]
            });
        }
    }
    verdict.takeover_seconds_max = longest.as_secs_f64();
    all
}

/// A killed node that nobody took over although there was time and somebody to do it.
fn never(
    cluster: &Cluster,
    id: NodeId,
    horizon: BootInstant,
    bound: Option<Duration>,
    verdict: &mut Verdict,
) {
    let Some(bound) = bound else { return };
    let Some((killed, true)) = cluster.ended(id) else { return };
    let until = cluster.stop.map_or(horizon, |(stop, _)| stop.min(horizon));
    let had = noticeable(cluster, id, killed, until, horizon);
    if had > bound {
        let text = format!("node {id} was killed and never taken over in {had:?}");
        verdict
            .broke(Rule::LateTakeover, 1, text, || vec![format!("{} fault: node {id} killed", Boot(killed))]);
    }
}

/// The longest time between `cause` and `until` in which one other node lived and reached the store.
fn noticeable(
    cluster: &Cluster,
    id: NodeId,
    cause: BootInstant,
    until: BootInstant,
    horizon: BootInstant,
) -> Duration {
    let watched = cluster.watchers(Some(id), horizon).into_iter().flat_map(|(_, spans)| spans);
    let within = watched.map(|span| span.to.min(until).since(span.from.max(cause)));
    within.max().unwrap_or_default()
}
