//! How late bodies began while nothing was wrong.

use std::time::Duration;

use punctual_core::time::BootInstant;

use crate::cluster::{Cluster, Paused};
use crate::history::{History, What};
use crate::spans::{Span, Spans};
use crate::takeover::Takeover;
use crate::verdict::Verdict;

/// How long after the end of a fault its traces are not held against the cluster.
const SETTLING: Duration = Duration::from_secs(1);

/// How long a kill that led to no take-over counts as a fault.
const UNTAKEN: Duration = Duration::from_secs(20);

/// Computes the delay of first attempts of firings that need no slot: those that need one wait by design.
///
/// What was held back by a pause, and what was due, or began, in the time of a fault is left out. That is the time from a kill or freeze until the work of
/// its node was offered again, any other disturbance, and whenever no node lived or the store was out of reach; and the
/// second after each.
pub(crate) fn measure(history: &History, cluster: &Cluster, takeovers: &[Takeover], verdict: &mut Verdict) {
    let faults = faults(cluster, takeovers, history.horizon);
    let mut delays: Vec<u64> = Vec::new();
    for trail in history.trails.values().filter(|trail| trail.fired && trail.slot.is_none()) {
        let began = trail.facts.iter().filter_map(|fact| match fact.what {
            What::Began(at) if fact.attempt == 1 => Some((fact.boot, at)),
            _ => None,
        });
        let Some((boot, at)) = began.min() else { continue };
        let held_back = |pause: &Paused| pause.covers(trail) && pause.touches(trail.scheduled, at);
        if cluster.pauses.iter().any(held_back) {
            continue;
        }
        let delay = at.since(trail.scheduled);
        let due = boot.minus(delay);
        if !faults.touch(due, boot) {
            delays.push(as_micros(delay));
        }
    }
    delays.sort_unstable();
    let share = |percent: usize| {
        let rank = (delays.len() * percent).div_ceil(100).saturating_sub(1);
        Duration::from_micros(delays.get(rank).copied().unwrap_or(0)).as_secs_f64() * 1000.0
    };
    verdict.lateness_ms_p50 = share(50);
    verdict.lateness_ms_p99 = share(99);
    verdict.lateness_ms_max = share(100);
    verdict.lateness_samples = u64::try_from(delays.len()).unwrap_or(u64::MAX);
}

fn as_micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn faults(cluster: &Cluster, takeovers: &[Takeover], horizon: BootInstant) -> Spans {
    let mut faults = Vec::new();
    let mut add = |from: BootInstant, to: BootInstant| faults.push(Span { from, to: to.plus(SETTLING) });
    let over = |from: BootInstant| {
        let by = takeovers.iter().filter(|takeover| takeover.since.is_some() && takeover.offered >= from);
        by.map(|takeover| takeover.offered).min().unwrap_or_else(|| from.plus(UNTAKEN))
    };
    let kills = cluster.kills.iter().map(|(_, at)| *at).chain(cluster.kill_alls.iter().copied());
    for at in kills {
        add(at, over(at));
    }
    for (pid, _) in &cluster.freezes {
        for freeze in cluster.frozen(*pid, horizon).iter() {
            add(freeze.from, freeze.to);
        }
    }
    for takeover in takeovers {
        add(takeover.since.unwrap_or(takeover.offered), takeover.offered);
    }
    for disturbance in cluster.disturbances.iter().chain(cluster.links()) {
        add(disturbance.from, disturbance.to);
    }
    let always = Span { from: BootInstant::default(), to: horizon };
    for nobody in cluster.covered(horizon).cut_from(always).iter() {
        add(nobody.from, nobody.to);
    }
    Spans::union(faults)
}
