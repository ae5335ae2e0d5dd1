//! Tells listeners what happens, and keeps what they do away from the node.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use punctual_core::event::{Event, Listener, Stamped};
use punctual_core::{Clock, NodeId};

/// The listeners of a node.
#[derive(Debug)]
pub(crate) struct Journal {
    listeners: Vec<Arc<dyn Listener>>,
    clock: Arc<dyn Clock>,
    // One lock around stamping and telling, so that every listener hears events in the order of their stamps.
    order: Mutex<()>,
}

impl Journal {
    pub(crate) const fn new(listeners: Vec<Arc<dyn Listener>>, clock: Arc<dyn Clock>) -> Self {
        Self { listeners, clock, order: Mutex::new(()) }
    }

    pub(crate) fn tell(&self, node: NodeId, event: Event) {
        log(node, &event);
        if self.listeners.is_empty() {
            return;
        }
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let stamped = Stamped { node, boot_us: self.clock.boot(), event };
        for listener in &self.listeners {
            if catch_unwind(AssertUnwindSafe(|| listener.hear(&stamped))).is_err() {
                tracing::error!(%node, "a listener panicked; the node goes on without its answer");
            }
        }
    }
}

fn log(node: NodeId, event: &Event) {
    match event {
        Event::Trouble { error } => tracing::warn!(%node, %error, "a step failed and will be repeated"),
        Event::TookOver { dead, name } => tracing::warn!(%node, %dead, name, "took a dead node's work over"),
        Event::LeaseLost => tracing::warn!(%node, "lease lost: claiming nothing until a check-in succeeds"),
        Event::Rejoined { old } => tracing::warn!(%node, %old, "was declared dead; goes on as a new member"),
        Event::SetAside { reason } => tracing::error!(%node, reason, "set a row aside"),
        Event::Found { rule, place, detail, mended } => {
            tracing::warn!(%node, rule, place, detail, mended, "found what should not be in the store");
        }
        Event::Fenced { work } => {
            tracing::warn!(%node, execution = %work.id, "result refused: the work had passed on")
        }
        other => tracing::debug!(%node, event = ?other),
    }
}
