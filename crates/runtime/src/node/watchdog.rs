//! Stops the node in time when its lease runs out, whatever the store is doing meanwhile.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::event::Event;

use super::{Node, Phase};
use crate::context::StopReason;

/// The longest time between two looks at the boot-time clock: after a suspend or a freeze the first look comes at once.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) async fn run(node: Arc<Node>) {
    while node.phase() < Phase::Done {
        let now = node.clock.boot();
        let left = {
            let mut member = node.member();
            match member.lease {
                Some(lease) if !member.fenced && !lease.may_start(now) => {
                    member.fenced = true;
                    None
                }
                Some(lease) if !member.fenced => Some(lease.fence_at().since(now)),
                _ => Some(LOOK),
            }
        };
        match left {
            None => {
                node.tell(Event::LeaseLost);
                // Each body is dropped by its own task when the wind-down after the lease is over.
                node.stop_bodies(&StopReason::LeaseLost, |running| running.stops_on_lease_loss);
            }
            Some(left) => {
                // Only the last look before the end of the lease has to be on time.
                let pause = if left < LOOK * 2 {
                    node.clock.sleep(left.clamp(Duration::from_millis(1), LOOK))
                } else {
                    node.clock.nap(LOOK)
                };
                tokio::select! {
                    biased;
                    () = node.reached(Phase::Done) => {}
                    () = pause => {}
                }
            }
        }
    }
}
