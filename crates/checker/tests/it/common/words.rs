//! Instants, names, and claims of executions.

use std::time::Duration;

use punctual_checker::{BodyStart, FaultEvent};
use punctual_core::event::Work;
use punctual_core::execution::{Occurrence, Slot};
use punctual_core::key::{ExecutionId, Fence, NodeId, TriggerId, TriggerKey};
use punctual_core::schedule::{Every, Once, Schedule};
use punctual_core::time::{BootInstant, Timestamp};

/// Milliseconds.
pub(crate) const SECOND: u64 = 1000;

/// The store's time at the start of every run.
pub(crate) fn at(ms: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + ms * 1000)
}

pub(crate) fn boot(ms: i64) -> BootInstant {
    // The machine had been up for a while.
    BootInstant::from_micros(u64::try_from(1_000_000_000 + ms * 1000).unwrap())
}

pub(crate) fn node(n: i64) -> NodeId {
    NodeId::from_stored(n)
}

pub(crate) fn pid(n: i64) -> u32 {
    u32::try_from(100 + n).unwrap()
}

pub(crate) fn key(name: &str) -> TriggerKey {
    TriggerKey::new("default", name).unwrap()
}

pub(crate) fn every(ms: u64) -> Schedule {
    Every::new(Duration::from_millis(ms)).unwrap().into()
}

pub(crate) fn once(ms: i64) -> Schedule {
    Once::new(at(ms)).into()
}

/// The change that began a generation of the trigger `name`.
pub(crate) fn rescheduled(name: &str, generation: i64, ms: i64) -> FaultEvent {
    let (trigger, trigger_id, at, boot_us) = (key(name), id_of(name), at(ms), boot(ms));
    FaultEvent::Rescheduled { trigger, trigger_id, generation, at, boot_us }
}

/// One claim of one execution of the trigger `name`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Go {
    pub(crate) n: u8,
    pub(crate) name: &'static str,
    pub(crate) due: i64,
    pub(crate) node: i64,
    pub(crate) attempt: u32,
    pub(crate) fence: i64,
    pub(crate) generation: i64,
    pub(crate) exclusive: bool,
    pub(crate) pid: Option<u32>,
}

impl Go {
    pub(crate) fn id(&self) -> ExecutionId {
        ExecutionId::from_bytes([self.n; 16])
    }

    /// The same execution, claimed by `node` under the next fence.
    pub(crate) fn again(self, node: i64) -> Self {
        Self { node, fence: self.fence + 1, ..self }
    }

    /// The same, as the next attempt.
    pub(crate) fn retry(self, node: i64) -> Self {
        Self { attempt: self.attempt + 1, ..self.again(node) }
    }

    /// The next execution of the key, claimed under the next fence.
    pub(crate) fn then(self, n: u8, due: i64, node: i64) -> Self {
        Self { n, due, node, fence: self.fence + 1, attempt: 1, ..self }
    }

    pub(crate) fn slot(&self) -> Option<Slot> {
        self.exclusive.then(|| Slot { key: format!("job:default/{}", self.name).into(), limit: 1 })
    }

    pub(crate) fn occurrence(&self) -> Option<Occurrence> {
        let named = !self.name.is_empty();
        named.then(|| Occurrence {
            trigger_id: id_of(self.name),
            generation: self.generation,
            key: key(self.name),
        })
    }

    pub(crate) fn work(&self) -> Work {
        let trigger = self.occurrence();
        Work {
            id: self.id(),
            job: None,
            trigger_id: trigger.as_ref().map(|of| of.trigger_id),
            generation: trigger.as_ref().map(|of| of.generation),
            trigger: trigger.map(|of| of.key),
            scheduled: at(self.due),
            attempt: self.attempt,
            fence: Fence::from_stored(self.fence),
            slot: self.slot().map(|slot| slot.key),
        }
    }

    pub(crate) fn start(&self, ms: i64) -> BodyStart {
        let Work { id, trigger, generation, scheduled, attempt, fence, slot, .. } = self.work();
        let pid = self.pid.unwrap_or_else(|| pid(self.node));
        BodyStart {
            execution: id,
            attempt,
            fence,
            trigger,
            generation,
            scheduled,
            slot,
            pid,
            boot_us: boot(ms),
            token: None,
        }
    }
}

/// A claim of the execution `n` of trigger `name` for the instant `due`, by `node`.
pub(crate) fn go(n: u8, name: &'static str, due: i64, node: i64) -> Go {
    Go { n, name, due, node, attempt: 1, fence: 1, generation: 1, exclusive: false, pid: None }
}

/// The same for a job that runs one at a time.
pub(crate) fn alone(n: u8, name: &'static str, due: i64, node: i64) -> Go {
    Go { exclusive: true, ..go(n, name, due, node) }
}

pub(crate) fn id_of(name: &str) -> TriggerId {
    TriggerId::from_stored(name.bytes().fold(7, |sum, byte| sum * 31 + i64::from(byte)))
}
