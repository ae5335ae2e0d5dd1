//! How long the work of dead nodes lay about (G10).
//!
//! The time runs from the fault, or from the end of the last stretch after it in which nobody could have noticed: a
//! cluster that was killed as a whole takes over when it is back, and one whose store was out of reach when it answers
//! again.

use std::time::Duration;

use punctual_core::key::NodeId;
use punctual_core::time::BootInstant;

use crate::cluster::Cluster;
use crate::history::Boot;
use crate::spans::Span;
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
    for (id, node) in &cluster.nodes {
        let Some((taken, by)) = node.taken else {
            never(cluster, *id, horizon, bound, verdict);
            continue;
        };
        verdict.takeovers += 1;
        let offered = node.recovered.map_or(taken, |recovered| recovered.max(taken));
        let cause = cluster.cause_of_death(*id, taken, horizon);
        let since = cause.map(|cause| noticeable(cluster, *id, cause, offered, horizon));
        all.push(Takeover { since, offered });
        let (Some(cause), Some(since)) = (cause, since) else {
            verdict.false_deaths += 1;
            continue;
        };
        let took = offered.since(since);
        longest = longest.max(took);
        if let Some(bound) = bound.filter(|bound| took > *bound) {
            let text =
                format!("the work of node {id} was offered again after {took:?}, the bound is {bound:?}");
            verdict.broke(Rule::LateTakeover, 1, text, || {
                vec![
                    format!("{} fault: node {id} killed or frozen", Boot(cause)),
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
    let since = noticeable(cluster, id, killed, until, horizon);
    if since.plus(bound) < until {
        let text = format!("node {id} was killed and never taken over in {:?}", until.since(since));
        verdict
            .broke(Rule::LateTakeover, 1, text, || vec![format!("{} fault: node {id} killed", Boot(killed))]);
    }
}

/// The end of the last stretch between `cause` and `until` in which no other node lived and reached the store, else
/// `cause`.
fn noticeable(
    cluster: &Cluster,
    id: NodeId,
    cause: BootInstant,
    until: BootInstant,
    horizon: BootInstant,
) -> BootInstant {
    let nobody = cluster.covered(Some(id), horizon).cut_from(Span { from: cause, to: until });
    nobody.iter().next_back().map_or(cause, |last| last.to)
}
