//! Virtual time, and everything that is to happen in it.
//!
//! There is one thread. Whatever waits, for time or for the store, has an entry in the agenda; entries of one moment
//! come in an order that the seed draws.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use punctual_core::Entropy;
use punctual_core::entropy::SeededEntropy;

use super::fault::{Fault, Weather, pick};
use super::log::{Closed, Log};
use super::sky::Sky;
use super::witness::Witness;

/// True time in microseconds since the machines were started.
pub(crate) type Micros = u64;

pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const HOUR: Micros = 3_600 * SECOND;

/// A place where a process runs, and the process that runs there now.
pub(crate) type Host = usize;

/// What a step does at the store, or when its answer is there.
pub(crate) type Deed = Box<dyn FnOnce(&Arc<World>) + Send>;

/// Something that is to happen.
pub(crate) enum Entry {
    /// A task of a host wakes.
    Alarm(Host, Waker),
    /// A step of a host reaches the store.
    Step(Host, Deed),
    /// An answer reaches whoever has asked.
    Answer(Deed),
    /// Something happens to the cluster.
    Event(Event),
}

/// What happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A fault of a kind that comes so often each hour.
    Strike(Fault, u32),
    /// A host starts a process.
    Start(Host),
    /// A host is thawed.
    Thaw(Host),
    /// Work is enqueued, and again after a while.
    Enqueue,
    /// A node goes on after standby.
    Resume(Host),
    /// Whatever is still paused is resumed.
    LetGo,
    /// Somebody gives the locks of the store back.
    FreeLock,
}

/// When an entry comes, and its turn among those of the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) at: Micros,
    lot: u64,
    ticket: u64,
}

#[derive(Default)]
struct Agenda {
    now: Micros,
    tickets: u64,
    entries: BTreeMap<Place, Entry>,
    /// Hosts that have something to do.
    ready: BTreeSet<Host>,
}

/// What all parts of a simulation share.
pub(crate) struct World {
    agenda: Mutex<Agenda>,
    pub(crate) dice: SeededEntropy,
    pub(crate) weather: Weather,
    log: Mutex<Option<Log>>,
    sky: Mutex<Sky>,
    witness: Mutex<Witness>,
    /// Whether the operator is at a pause.
    pub(crate) pausing: AtomicBool,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now()).finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(dice: SeededEntropy, weather: Weather, log: Log, hosts: usize) -> Arc<Self> {
        Arc::new(Self {
            agenda: Mutex::default(),
            dice,
            weather,
            log: Mutex::new(Some(log)),
            sky: Mutex::new(Sky::new(hosts)),
            witness: Mutex::default(),
            pausing: AtomicBool::new(false),
        })
    }

    pub(crate) fn now(&self) -> Micros {
        locked(&self.agenda).now
    }

    /// Writes a line, unless the log was closed.
    pub(crate) fn write(&self, line: impl FnOnce(&mut Log)) {
        if let Some(log) = &mut *locked(&self.log) {
            line(log);
        }
    }

    /// Ends the log. What is written after that is lost.
    pub(crate) fn close_log(&self) -> Option<Closed> {
        let log = locked(&self.log).take();
        log.map(Log::close)
    }

    /// How the store and the ways to it are. Nothing else of the world may be touched while it is held.
    pub(crate) fn sky(&self) -> MutexGuard<'_, Sky> {
        locked(&self.sky)
    }

    /// Who watches commits. Nothing else of the world may be touched while it is held.
    pub(crate) fn witness(&self) -> MutexGuard<'_, Witness> {
        locked(&self.witness)
    }

    /// Counts a fault.
    pub(crate) fn count(&self, fault: Fault) {
        self.write(|log| log.count(fault));
    }

    /// Puts something on the agenda; nothing comes in the past.
    pub(crate) fn add(&self, at: Micros, entry: Entry) -> Place {
        let lot = self.dice.draw();
        let mut agenda = locked(&self.agenda);
        agenda.tickets += 1;
        let place = Place { at: at.max(agenda.now), lot, ticket: agenda.tickets };
        agenda.entries.insert(place, entry);
        place
    }

    /// Puts something on the agenda in `after` microseconds.
    pub(crate) fn add_after(&self, after: Micros, entry: Entry) -> Place {
        self.add(self.now() + after, entry)
    }

    /// Takes something from the agenda.
    pub(crate) fn remove(&self, place: Place) {
        let entry = locked(&self.agenda).entries.remove(&place);
        // Dropped without the lock: with the last waker of a task goes the task, and all that it waits for.
        drop(entry);
    }

    /// Takes the next entry up to `until`, and lets time pass to it.
    pub(crate) fn next(&self, until: Micros) -> Option<Entry> {
        let mut agenda = locked(&self.agenda);
        if agenda.entries.first_key_value().is_none_or(|(place, _)| place.at > until) {
            agenda.now = until;
            return None;
        }
        let (place, entry) = agenda.entries.pop_first()?;
        agenda.now = place.at;
        Some(entry)
    }

    /// Takes the next step of a host other than `but` that would reach the store before `until`, without letting time
    /// pass: it was faster.
    pub(crate) fn overtaking(&self, but: Host, until: Micros) -> Option<Deed> {
        let mut agenda = locked(&self.agenda);
        let mut soon = agenda.entries.range(..Place { at: until, lot: 0, ticket: 0 });
        let place = *soon.find(|(_, entry)| matches!(entry, Entry::Step(host, _) if *host != but))?.0;
        match agenda.entries.remove(&place)? {
            Entry::Step(_, deed) => Some(deed),
            _ => None,
        }
    }

    /// Drops steps that have not reached the store, of the hosts and by the chances that `which` says.
    pub(crate) fn drop_steps(&self, mut which: impl FnMut(Host) -> bool) -> usize {
        let mut agenda = locked(&self.agenda);
        let chosen =
            agenda.entries.iter().filter(|(_, entry)| matches!(entry, Entry::Step(host, _) if which(*host)));
        let chosen: Vec<Place> = chosen.map(|(place, _)| *place).collect();
        let dropped: Vec<Entry> = chosen.iter().filter_map(|place| agenda.entries.remove(place)).collect();
        // Dropped without the lock.
        drop(agenda);
        dropped.len()
    }

    /// Whether a step or an answer is under way.
    pub(crate) fn is_under_way(&self) -> bool {
        locked(&self.agenda).entries.values().any(|entry| matches!(entry, Entry::Step(..) | Entry::Answer(_)))
    }

    /// Says that a host has something to do.
    pub(crate) fn rouse(&self, host: Host) {
        locked(&self.agenda).ready.insert(host);
    }

    /// Takes one of the hosts that have something to do and may.
    pub(crate) fn take_ready(&self, may: impl Fn(Host) -> bool) -> Option<Host> {
        let mut agenda = locked(&self.agenda);
        let ready: Vec<Host> = agenda.ready.iter().copied().filter(|host| may(*host)).collect();
        let host = match ready.as_slice() {
            [host] => *host,
            many => *pick(&self.dice, many)?,
        };
        agenda.ready.remove(&host);
        Some(host)
    }
}
