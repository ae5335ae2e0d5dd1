//! Deletes old rows, and wakes those who wait for a slot that is free; a bounded number at a time. Any number of nodes may
//! do it at once.

use std::sync::Arc;

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
            () = node.clock.sleep(wait) => {}
        }
        wait = match node.store.prune(Prune { history, limit }).await {
            // A backlog is worked off in small bites that leave the store to others in between.
            Ok(pruned) if pruned.may_be_more(limit) => std::time::Duration::from_millis(200),
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
            () = node.clock.sleep(node.jittered(turn)) => {}
        }
        if let Err(error) = node.store.wake_waiting(node.settings.upkeep_rows).await {
            node.trouble(&error);
        }
    }
}
