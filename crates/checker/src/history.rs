//! What happened, by execution and by instant, as the lines come in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use punctual_core::event::{Event, Stamped, Work};
use punctual_core::execution::{AttemptOutcome, Outcome};
use punctual_core::job::JobRecord;
use punctual_core::key::{ExecutionId, Fence, NodeId, TriggerId, TriggerKey};
use punctual_core::time::{BootInstant, Timestamp};

use crate::record::BodyEvent;

/// Who says that something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// A node, in its journal.
    Node(NodeId),
    /// A body, in its own log.
    Body(u32),
}

/// What happened to an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// At this time of the store.
    Claimed(Timestamp),
    Began(Timestamp),
    Ended(AttemptOutcome),
    Settled(Option<Outcome>),
    Fenced,
    Recovered {
        from: NodeId,
        outcome: Option<Outcome>,
    },
    BodyBegan,
    BodyEnded,
    BodyCancelled,
}

/// One thing that happened to an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) boot: BootInstant,
    pub(crate) by: By,
    pub(crate) attempt: u32,
    pub(crate) fence: Fence,
    pub(crate) what: What,
}

impl Fact {
    pub(crate) const fn is_claim(&self) -> bool {
        matches!(self.what, What::Claimed(_))
    }

    /// When it was claimed, on the store's clock, if it was.
    pub(crate) const fn claimed_at(&self) -> Option<Timestamp> {
        match self.what {
            What::Claimed(at) => Some(at),
            _ => None,
        }
    }
}

/// All that happened to one execution, in the order in which it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    /// The key of the slot that it needs, if any.
    pub(crate) slot: Option<Arc<str>>,
    /// Whether one may run at a time under that key.
    pub(crate) exclusive: bool,
    /// Whether it is the firing of a trigger.
    pub(crate) fired: bool,
    /// The trigger and the generation of its definition, if a node named them.
    pub(crate) of: Option<(TriggerId, i64)>,
    pub(crate) key: Option<TriggerKey>,
    pub(crate) scheduled: Timestamp,
    pub(crate) facts: Vec<Fact>,
}

/// The executions of one instant of one generation of a trigger.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    pub(crate) first: ExecutionId,
    /// The others, of which there should be none.
    pub(crate) others: Vec<ExecutionId>,
}

/// A token that a body was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) token: u64,
    pub(crate) id: ExecutionId,
    pub(crate) fact: Fact,
}

/// What journals and bodies said.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) trails: BTreeMap<ExecutionId, Trail>,
    pub(crate) firings: BTreeMap<TriggerKey, BTreeMap<(i64, Timestamp), Firing>>,
    /// The latest stamp of all sources.
    pub(crate) horizon: BootInstant,
    /// What bodies were given, where they say so.
    pub(crate) tokens: Vec<Token>,
    slots: BTreeSet<Arc<str>>,
}

impl History {
    /// Takes in an event of a node, if it is about an execution.
    pub(crate) fn node_event(&mut self, stamped: Stamped) {
        let Stamped { node, boot_us: boot, event } = stamped;
        self.seen(boot);
        let by = By::Node(node);
        let (work, what) = match event {
            Event::Claimed { work, lateness_us } => {
                let at = work.scheduled.as_micros().saturating_add(lateness_us);
                (work, What::Claimed(Timestamp::from_micros(at)))
            }
            Event::Began { work, at } => (work, What::Began(at)),
            Event::Ended { work, outcome, .. } => (work, What::Ended(outcome)),
            Event::Settled { work, outcome } => (work, What::Settled(outcome)),
            Event::Fenced { work } => (work, What::Fenced),
            Event::Recovered { from, id, fence, outcome } => {
                let what = What::Recovered { from, outcome };
                let fact = Fact { boot, by, attempt: 0, fence, what };
                self.trails.entry(id).or_default().facts.push(fact);
                return;
            }
            _ => return,
        };
        let Work { id, trigger, trigger_id, generation, scheduled, attempt, fence, slot, .. } = work;
        let slot = slot.map(|key| self.intern(&key));
        if let (Some(trigger), Some(generation)) = (&trigger, generation) {
            self.fired(trigger, generation, scheduled, id);
        }
        let trail = self.trails.entry(id).or_default();
        trail.scheduled = scheduled;
        trail.fired |= trigger.is_some();
        trail.key = trail.key.take().or(trigger);
        trail.of = trigger_id.zip(generation).or(trail.of);
        trail.slot = slot.or_else(|| trail.slot.take());
        trail.facts.push(Fact { boot, by, attempt, fence, what });
    }

    /// Takes in a line of a body.
    pub(crate) fn body_event(&mut self, event: &BodyEvent) {
        let start = event.start();
        self.seen(start.boot_us);
        let what = match event {
            BodyEvent::Begin(_) => What::BodyBegan,
            BodyEvent::End(_) => What::BodyEnded,
            BodyEvent::Cancelled(_) => What::BodyCancelled,
        };
        if let (Some(trigger), Some(generation)) = (&start.trigger, start.generation) {
            self.fired(trigger, generation, start.scheduled, start.execution);
        }
        let slot = start.slot.as_ref().map(|key| self.intern(key));
        let trail = self.trails.entry(start.execution).or_default();
        trail.scheduled = start.scheduled;
        trail.fired |= start.trigger.is_some();
        trail.exclusive |= slot.is_some();
        trail.slot = slot.or_else(|| trail.slot.take());
        let (by, attempt, fence) = (By::Body(start.pid), start.attempt, start.fence);
        let fact = Fact { boot: start.boot_us, by, attempt, fence, what };
        trail.facts.push(fact);
        if let (Some(token), What::BodyBegan) = (start.token, what) {
            self.tokens.push(Token { token, id: start.execution, fact });
        }
    }

    /// Forgets what a restored store has lost, wherever it was written down.
    pub(crate) fn forget(&mut self, is_lost: impl Fn(BootInstant) -> bool) {
        self.trails.retain(|_, trail| {
            trail.facts.retain(|fact| !is_lost(fact.boot));
            !trail.facts.is_empty()
        });
        let trails = &self.trails;
        for instants in self.firings.values_mut() {
            instants.retain(|_, firing| {
                firing.others.retain(|id| trails.contains_key(id));
                if !trails.contains_key(&firing.first) {
                    let Some(first) = firing.others.pop() else { return false };
                    firing.first = first;
                }
                true
            });
        }
    }

    /// Notes that an execution is the firing of an instant, whoever says so.
    pub(crate) fn fired(&mut self, trigger: &TriggerKey, generation: i64, at: Timestamp, id: ExecutionId) {
        if !self.firings.contains_key(trigger) {
            self.firings.insert(trigger.clone(), BTreeMap::new());
        }
        let Some(instants) = self.firings.get_mut(trigger) else { return };
        let firing =
            instants.entry((generation, at)).or_insert_with(|| Firing { first: id, others: Vec::new() });
        if firing.first != id && !firing.others.contains(&id) {
            firing.others.push(id);
        }
    }

    /// Takes the limits of keys from the jobs, where they are known; otherwise bodies say what is exclusive.
    pub(crate) fn limits(&mut self, jobs: &[JobRecord]) {
        let mut limits: BTreeMap<&str, u32> = BTreeMap::new();
        for concurrency in jobs.iter().filter_map(|job| job.spec.concurrency.as_ref()) {
            let limit = limits.entry(&concurrency.key).or_default();
            *limit = concurrency.limit.max(*limit);
        }
        for trail in self.trails.values_mut() {
            if let Some(limit) = trail.slot.as_deref().and_then(|key| limits.get(key)) {
                trail.exclusive = *limit == 1;
            }
        }
    }

    /// Moves the horizon to `boot`, if that is later.
    pub(crate) fn seen(&mut self, boot: BootInstant) {
        self.horizon = self.horizon.max(boot);
    }

    /// All facts about some executions in the order of time, as text.
    pub(crate) fn show(&self, ids: &[ExecutionId]) -> Vec<String> {
        let facts = |id: &ExecutionId| self.trails.get(id).map(|trail| (*id, trail.facts.as_slice()));
        let mut all: Vec<(ExecutionId, Fact)> = ids
            .iter()
            .filter_map(facts)
            .flat_map(|(id, facts)| facts.iter().map(move |fact| (id, *fact)))
            .collect();
        all.sort_by_key(|(_, fact)| fact.boot);
        all.iter().map(|(id, fact)| line(*id, fact)).collect()
    }

    fn intern(&mut self, key: &str) -> Arc<str> {
        if let Some(known) = self.slots.get(key) {
            return Arc::clone(known);
        }
        let new: Arc<str> = key.into();
        self.slots.insert(Arc::clone(&new));
        new
    }
}

/// A fact about an execution, as text.
pub(crate) fn line(id: ExecutionId, fact: &Fact) -> String {
    format!("{} {id} {fact}", Boot(fact.boot))
}

/// A reading of the boot-time clock in seconds.
pub(crate) struct Boot(pub(crate) BootInstant);

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        write!(f, "{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Node(node) => write!(f, "node {node}: ")?,
            By::Body(pid) => write!(f, "body in process {pid}: ")?,
        }
        let claim = (self.attempt, self.fence);
        let named = |f: &mut fmt::Formatter<'_>, word: &str| {
            write!(f, "{word} attempt {} fence {}", claim.0, claim.1)
        };
        match self.what {
            What::Claimed(at) => named(f, "claimed").and_then(|()| write!(f, " at {at}")),
            What::Began(at) => named(f, "began").and_then(|()| write!(f, " at {at}")),
            What::Ended(outcome) => named(f, "ended").and_then(|()| write!(f, " {outcome:?}")),
            What::Settled(Some(outcome)) => named(f, "settled").and_then(|()| write!(f, " as {outcome:?}")),
            What::Settled(None) => named(f, "gave back"),
            What::Fenced => named(f, "was refused the result of"),
            What::Recovered { from, outcome: None } => write!(f, "recovered from {from}, to run again"),
            What::Recovered { from, outcome: Some(outcome) } => {
                write!(f, "recovered from {from} as {outcome:?}")
            }
            What::BodyBegan => named(f, "begin of"),
            What::BodyEnded => named(f, "end of"),
            What::BodyCancelled => named(f, "cancelled"),
        }
    }
}
