//! Deletes old rows, wakes those who wait for a slot that is free, and mends what should not be in the store; a bounded
//! number at a time. Any number of nodes may do it at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::Result;
use punctual_core::check::{Check, Finding, Mended, PAUSE, confirmed, look, needs_second_look};
use punctual_core::event::Event;
use punctual_core::store::{Prune, WAKE_WAITING};

use super::{Node, Phase};

pub(crate) async fn run(node: Arc<Node>) {
    let Some(history) = node.settings.keep_history else { return };
    let limit = node.settings.upkeep_rows;
    let mut wait = node.jittered(node.settings.upkeep);
    while node.phase() == Phase::Running {
        tokio::select! {
            biased;
            () = node.reached(Phase::Draining) => return,
            () = node.clock.nap(wait) => {}
        }
        wait = match node.store.prune(Prune { history, limit }).await {
            // A backlog is worked off in small bites that leave the store to others in between.
            Ok(pruned) if pruned.may_be_more(limit) => Duration::from_millis(200),
            Ok(_) => node.jittered(node.settings.upkeep),
            Err(error) => {
                node.trouble(&error);
                node.jittered(node.settings.upkeep)
            }
        };
    }
}

/// Wakes those who parked in the moment in which their slot was freed. The nodes share the work: each does its part of
/// it so seldom that together they do it every [`WAKE_WAITING`].
pub(crate) async fn wake_waiting(node: Arc<Node>) {
    while node.phase() == Phase::Running {
        let turn = WAKE_WAITING.saturating_mul(node.member().nodes_up);
        tokio::select! {
            biased;
            () = node.reached(Phase::Draining) => return,
            () = node.clock.nap(node.jittered(turn)) => {}
        }
        if let Err(error) = node.store.wake_waiting(node.settings.upkeep_rows).await {
            node.trouble(&error);
        }
    }
}

/// Looks for what should not be in the store, mends what it may, and tells of each finding once for as long as it stays.
/// The nodes share the work, as that of [`wake_waiting`].
pub(crate) async fn check(node: Arc<Node>) {
    let (Some(every), Some(check)) = (node.settings.check, node.store.checks()) else { return };
    let mut told = BTreeSet::new();
    while node.phase() == Phase::Running {
        let turn = every.saturating_mul(node.member().nodes_up);
        if !rest(&node, node.jittered(turn)).await {
            return;
        }
        match found(&node, check).await {
            Ok(Some(found)) => told = tell(&node, check, found, &told).await,
            Ok(None) => return,
            Err(error) => node.trouble(&error),
        }
    }
}

/// Waits; `false` if the node is to stop meanwhile.
async fn rest(node: &Node, span: Duration) -> bool {
    tokio::select! {
        biased;
        () = node.reached(Phase::Draining) => false,
        () = node.clock.nap(span) => true,
    }
}

/// What counts, of two looks if one does not tell; `None` if the node is to stop.
async fn found(node: &Node, check: &dyn Check) -> Result<Option<Vec<Finding>>> {
    let limit = node.settings.upkeep_rows;
    let first = look(check, limit).await?;
    if !needs_second_look(&first) {
        return Ok(Some(first));
    }
    if !rest(node, PAUSE).await {
        return Ok(None);
    }
    Ok(Some(confirmed(&first, look(check, limit).await?)))
}

/// Mends what has a repair, and tells of what was not `told` before. Answers what is left, of which it has told now.
async fn tell(
    node: &Node,
    check: &dyn Check,
    found: Vec<Finding>,
    told: &BTreeSet<Finding>,
) -> BTreeSet<Finding> {
    let by = format!("node {}", node.id());
    let mut left = BTreeSet::new();
    for finding in found {
        let mended = match mend(check, &finding, &by).await {
            // It is not so any more: there is nothing to tell of.
            Ok(Some(Mended::Changed)) => continue,
            Ok(mended) => mended == Some(Mended::Done),
            Err(error) => {
                node.trouble(&error);
                false
            }
        };
        if !told.contains(&finding) {
            let Finding { rule, place, detail } = &finding;
            let (rule, place, detail) = (rule.to_string(), place.to_string(), detail.to_string());
            node.tell(Event::Found { rule, place, detail, mended });
        }
        if !mended {
            left.insert(finding);
        }
    }
    left
}

/// `None`: there is no repair.
async fn mend(check: &dyn Check, finding: &Finding, by: &str) -> Result<Option<Mended>> {
    if finding.rule.has_repair() { check.repair(finding, by).await.map(Some) } else { Ok(None) }
}
