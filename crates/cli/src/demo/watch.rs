//! What is going on right now, gathered from the journals of the nodes and the log of the bodies while they grow.
//!
//! This serves the live view and the choice of victims. The verdict does not use it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use punctual_checker::BodyEvent;
use punctual_core::event::{Event, Stamped};
use punctual_core::execution::SkipReason;
use punctual_core::{BootInstant, ExecutionId, Fence, NodeId};

use super::failed::Failed;
use super::tail::Tail;

/// How many seconds of firings are kept.
const SECONDS: usize = 60;
/// How many remarkable events are kept.
const EVENTS: usize = 8;

/// What one process said of itself.
#[derive(Debug)]
struct Journal {
    seat: usize,
    tail: Tail,
    node: Option<NodeId>,
    /// What it has claimed and not settled, and the slot that it holds for it.
    running: BTreeMap<ExecutionId, Option<Box<str>>>,
}

/// Something worth a line.
#[derive(Clone, Debug)]
pub(crate) struct Remark {
    /// When.
    pub(crate) boot: BootInstant,
    /// Whose journal says it.
    pub(crate) seat: usize,
    /// What.
    pub(crate) text: String,
}

/// What is known at this moment.
#[derive(Debug)]
pub(crate) struct Watch {
    journals: Vec<Journal>,
    bodies: Tail,
    /// The body that runs in each exclusive slot.
    exclusive: BTreeMap<Box<str>, (ExecutionId, Fence)>,
    /// Firings by second of the boot-time clock.
    by_second: BTreeMap<u64, u64>,
    /// Executions of triggers that were claimed for the first time.
    pub(crate) fired: u64,
    /// Instants that were left out.
    pub(crate) skipped: u64,
    dead: BTreeSet<NodeId>,
    /// Results that were refused.
    pub(crate) fenced: u64,
    remarks: VecDeque<Remark>,
    /// Remarks made so far, forgotten ones included.
    pub(crate) remarked: usize,
    /// Lines that could not be understood; the verdict will say which.
    pub(crate) garbled: u64,
}

impl Watch {
    /// Follows the log of bodies, and no journal yet.
    pub(crate) const fn new(bodies: PathBuf) -> Self {
        Self {
            journals: Vec::new(),
            bodies: Tail::of(bodies),
            exclusive: BTreeMap::new(),
            by_second: BTreeMap::new(),
            fired: 0,
            skipped: 0,
            dead: BTreeSet::new(),
            fenced: 0,
            remarks: VecDeque::new(),
            remarked: 0,
            garbled: 0,
        }
    }

    /// Follows the journal of a process that has been started in a seat; what an earlier one ran, it runs no more.
    pub(crate) fn follow(&mut self, seat: usize, journal: PathBuf) {
        self.dead(seat);
        self.journals.push(Journal { seat, tail: Tail::of(journal), node: None, running: BTreeMap::new() });
    }

    /// The process of a seat is gone.
    pub(crate) fn dead(&mut self, seat: usize) {
        self.journals
            .iter_mut()
            .filter(|journal| journal.seat == seat)
            .for_each(|journal| journal.running.clear());
    }

    /// Reads what has been added since.
    pub(crate) fn catch_up(&mut self) -> Result<(), Failed> {
        let mut events = Vec::new();
        let mut garbled = 0;
        for (index, journal) in self.journals.iter_mut().enumerate() {
            journal.tail.each(|line| match serde_json::from_slice::<Stamped>(line) {
                Ok(stamped) => events.push((index, stamped)),
                Err(_) => garbled += 1,
            })?;
        }
        events.sort_by_key(|(_, stamped)| stamped.boot_us);
        for (index, stamped) in events {
            self.hear(index, stamped);
        }
        let exclusive = &mut self.exclusive;
        self.bodies.each(|line| match serde_json::from_slice::<BodyEvent>(line) {
            Ok(event) => {
                let start = event.start();
                let Some(slot) = &start.slot else { return };
                let this = (start.execution, start.fence);
                match event {
                    BodyEvent::Begin(_) => drop(exclusive.insert(slot.clone(), this)),
                    _ if exclusive.get(slot) == Some(&this) => drop(exclusive.remove(slot)),
                    _ => {}
                }
            }
            Err(_) => garbled += 1,
        })?;
        self.garbled += garbled;
        let latest = self.by_second.keys().next_back().copied().unwrap_or(0);
        let oldest = latest.saturating_sub(u64::try_from(SECONDS).unwrap_or(0));
        self.by_second = self.by_second.split_off(&oldest);
        Ok(())
    }

    fn hear(&mut self, index: usize, stamped: Stamped) {
        let Stamped { node, boot_us, event } = stamped;
        let Some(journal) = self.journals.get_mut(index) else { return };
        let seat = journal.seat;
        let text = match event {
            Event::Joined { .. } => {
                journal.node = Some(node);
                "joined".to_owned()
            }
            Event::Claimed { work, .. } => {
                journal.running.insert(work.id, work.slot);
                if work.trigger.is_some() && work.attempt == 1 {
                    self.fired += 1;
                    *self.by_second.entry(boot_us.as_micros() / 1_000_000).or_default() += 1;
                }
                return;
            }
            Event::Settled { work, .. } => {
                journal.running.remove(&work.id);
                return;
            }
            Event::Fenced { work } => {
                journal.running.remove(&work.id);
                self.fenced += 1;
                format!(
                    "was refused the late result of {}",
                    work.job.map(|job| job.to_string()).unwrap_or_default()
                )
            }
            Event::Skipped { trigger, count, reason, .. } => {
                self.skipped += count.unwrap_or(1);
                if reason == SkipReason::Overlap {
                    return;
                }
                format!("skipped what was too late of {trigger}: {}", count.unwrap_or(1))
            }
            Event::TookOver { dead, name } => {
                // Two nodes that come to it at once both say so.
                self.dead.insert(dead);
                format!("took over {name}")
            }
            Event::LeaseLost => "lost its lease".to_owned(),
            Event::LeaseRegained => "regained its lease".to_owned(),
            Event::Rejoined { .. } => "had been declared dead, and rejoined as a new member".to_owned(),
            Event::SetAside { reason } => format!("set a row aside: {reason}"),
            Event::Trouble { error } => format!("trouble: {error}"),
            Event::Left => "left".to_owned(),
            _ => return,
        };
        self.remarked += 1;
        self.remarks.push_back(Remark { boot: boot_us, seat, text });
        while self.remarks.len() > EVENTS {
            self.remarks.pop_front();
        }
    }

    /// The latest remarks, oldest first, but only the `count` last ones.
    pub(crate) fn remarks(&self, count: usize) -> impl Iterator<Item = &Remark> {
        self.remarks.iter().skip(self.remarks.len().saturating_sub(count))
    }

    /// How many nodes were declared dead.
    pub(crate) fn takeovers(&self) -> usize {
        self.dead.len()
    }

    /// How many bodies of exclusive jobs run in the cluster.
    pub(crate) fn exclusive(&self) -> usize {
        self.exclusive.len()
    }

    /// How many executions the node of a seat has claimed and not settled.
    pub(crate) fn running(&self, seat: usize) -> usize {
        self.of(seat).map_or(0, |journal| journal.running.len())
    }

    /// How many bodies of exclusive jobs run for the node of a seat.
    pub(crate) fn exclusive_of(&self, seat: usize) -> usize {
        let Some(journal) = self.of(seat) else { return 0 };
        self.exclusive.values().filter(|(id, _)| journal.running.get(id).is_some_and(Option::is_some)).count()
    }

    /// Whether the process of a seat has become a member.
    pub(crate) fn joined(&self, seat: usize) -> bool {
        self.of(seat).is_some_and(|journal| journal.node.is_some())
    }

    fn of(&self, seat: usize) -> Option<&Journal> {
        self.journals.iter().rfind(|journal| journal.seat == seat)
    }

    /// Firings of each of the last `count` full seconds before `now`, oldest first.
    pub(crate) fn per_second(&self, now: BootInstant, count: u64) -> Vec<u64> {
        let this = now.as_micros() / 1_000_000;
        let seconds = this.saturating_sub(count.min(this))..this;
        seconds.map(|second| self.by_second.get(&second).copied().unwrap_or(0)).collect()
    }
}
