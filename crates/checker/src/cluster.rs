//! Which processes and nodes lived when, and what was done to them.

use std::collections::BTreeMap;
use std::time::Duration;

use punctual_core::event::{Event, Stamped};
use punctual_core::key::{NodeId, TriggerId};
use punctual_core::node::NodeRecord;
use punctual_core::time::{BootInstant, Timestamp};

use crate::history::Trail;
use crate::record::{FaultEvent, Pausable};
use crate::restore::Restore;
use crate::spans::{Span, Spans};

/// How long after its thaw a freeze may still be why a node is declared dead.
pub(crate) const AFTERMATH: Duration = Duration::from_secs(5);

/// How often a node looks for work at the least, unless it is told otherwise.
const POLL: Duration = Duration::from_secs(1);

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node {
    pub(crate) pid: Option<u32>,
    pub(crate) joined: Option<BootInstant>,
    /// When it left, or was followed by another node in its process.
    gone: Option<BootInstant>,
    before: Option<NodeId>,
    /// Who declared it dead first, and when.
    pub(crate) taken: Option<(BootInstant, NodeId)>,
    /// When the last of its work was offered again.
    pub(crate) recovered: Option<BootInstant>,
    /// Within which time its work is to be offered again, by its own profile.
    bound: Option<Duration>,
}

/// A time in which a node was to claim nothing, on the store's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standby {
    pub(crate) node: NodeId,
    pub(crate) from: Timestamp,
    pub(crate) until: Option<Timestamp>,
}

/// A node that has made a claim notes it within this time, or is no member any more.
const NOTED_WITHIN: Duration = Duration::from_secs(120);

/// A time in which a trigger or a group was not to fire, on the store's clock.
#[derive(Clone, Debug)]
pub(crate) struct Paused {
    what: Pausable,
    pub(crate) from: Timestamp,
    until: Option<Timestamp>,
    /// From when to when on the boot-time clock.
    boot: (BootInstant, Option<BootInstant>),
}

impl Paused {
    /// Whether it is about what fired.
    pub(crate) fn covers(&self, trail: &Trail) -> bool {
        match &self.what {
            Pausable::Trigger(id) => trail.of.is_some_and(|(trigger, _)| trigger == *id),
            Pausable::Group(group) => trail.key.as_ref().is_some_and(|key| key.group() == &**group),
        }
    }

    /// Whether a claim that was made at `at`, and noted at `boot`, lies within it. Times before and after a jump of the store's
    /// clock tell nothing of each other.
    pub(crate) fn holds_at(&self, at: Timestamp, boot: BootInstant, store_jumps: &[BootInstant]) -> bool {
        let (from, until) = (self.boot.0, self.boot.1.unwrap_or(boot));
        let jumped =
            |jump: &BootInstant| jump.plus(NOTED_WITHIN) >= from.min(boot) && *jump <= until.max(boot);
        at > self.from && self.until.is_none_or(|until| at < until) && !store_jumps.iter().any(jumped)
    }

    /// Whether anything of it lies between two times.
    pub(crate) fn touches(&self, from: Timestamp, to: Timestamp) -> bool {
        to >= self.from && self.until.is_none_or(|until| from <= until)
    }
}

/// What is known of all processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) kills: Vec<(u32, BootInstant)>,
    pub(crate) kill_alls: Vec<BootInstant>,
    pub(crate) freezes: Vec<(u32, BootInstant)>,
    thaws: Vec<(u32, BootInstant)>,
    exits: Vec<(u32, BootInstant)>,
    pub(crate) disturbances: Vec<Span>,
    outages: Vec<Span>,
    links: Vec<(u32, Span)>,
    /// How often a wall clock was set.
    pub(crate) clock_jumps: u64,
    /// When it was the store's.
    pub(crate) store_jumps: Vec<BootInstant>,
    pub(crate) standbys: Vec<Standby>,
    pub(crate) pauses: Vec<Paused>,
    pub(crate) unscheduled: BTreeMap<TriggerId, Timestamp>,
    pub(crate) stop: Option<(BootInstant, Timestamp)>,
    pub(crate) rescheduled: BTreeMap<(TriggerId, i64), Timestamp>,
    pub(crate) restores: Vec<Restore>,
    /// Events and commands that a restored store may have lost, until all restores are known.
    events: Vec<Stamped>,
    commands: Vec<FaultEvent>,
}

fn first_from(list: &[(u32, BootInstant)], pid: u32, from: BootInstant) -> Option<BootInstant> {
    list.iter().filter(|(of, at)| *of == pid && *at >= from).map(|(_, at)| *at).min()
}

impl Cluster {
    /// Takes in an event of a node, if it is about a node.
    pub(crate) fn node_event(&mut self, stamped: &Stamped) {
        use Event::{Joined, Left, Recovered, Rejoined, TookOver};
        if let Joined { .. } | Left | Rejoined { .. } | TookOver { .. } | Recovered { .. } = stamped.event {
            self.events.push(stamped.clone());
        }
    }

    /// Works out what became of nodes and triggers, now that it is known what restores have undone.
    pub(crate) fn conclude(&mut self) {
        let restores = self.restores.clone();
        let is_lost = |at: BootInstant| restores.iter().any(|restore| restore.has_lost(at));
        for stamped in std::mem::take(&mut self.events) {
            if !is_lost(stamped.boot_us) {
                self.happened(&stamped);
            }
        }
        for command in std::mem::take(&mut self.commands) {
            match command {
                command if is_lost(command.boot()) => {}
                FaultEvent::Unscheduled { trigger_id, at, .. } => {
                    self.unscheduled.insert(trigger_id, at);
                }
                FaultEvent::Rescheduled { trigger_id, generation, at, .. } => {
                    self.rescheduled.insert((trigger_id, generation), at);
                }
                FaultEvent::Paused { what, at, boot_us } => {
                    self.pauses.push(Paused { what, from: at, until: None, boot: (boot_us, None) });
                }
                FaultEvent::Resuming { what, at, boot_us } => {
                    let open =
                        self.pauses.iter_mut().filter(|pause| pause.what == what && pause.until.is_none());
                    open.for_each(|pause| (pause.until, pause.boot.1) = (Some(at), Some(boot_us)));
                }
                _ => {}
            }
        }
    }

    fn happened(&mut self, stamped: &Stamped) {
        let at = stamped.boot_us;
        let node = self.nodes.entry(stamped.node).or_default();
        match &stamped.event {
            Event::Joined { pid, .. } => {
                node.pid = Some(*pid);
                node.joined = Some(node.joined.map_or(at, |joined| joined.min(at)));
            }
            Event::Left => node.gone = Some(at),
            Event::Rejoined { old } => {
                node.before = Some(*old);
                node.joined = Some(node.joined.map_or(at, |joined| joined.min(at)));
                self.nodes.entry(*old).or_default().gone = Some(at);
            }
            Event::TookOver { dead, .. } => {
                let taken = &mut self.nodes.entry(*dead).or_default().taken;
                *taken = Some(taken.map_or((at, stamped.node), |first| first.min((at, stamped.node))));
            }
            Event::Recovered { from, .. } => {
                let recovered = &mut self.nodes.entry(*from).or_default().recovered;
                *recovered = (*recovered).max(Some(at));
            }
            _ => {}
        }
    }

    /// Takes in a fault.
    pub(crate) fn fault(&mut self, fault: FaultEvent) {
        match fault {
            // A process counts from the joining of its node on.
            FaultEvent::Start { .. } | FaultEvent::Restart { .. } => {}
            FaultEvent::Kill { pid, node, boot_us } => {
                self.hint(node, pid);
                self.kills.push((pid, boot_us));
            }
            FaultEvent::KillAll { boot_us } => self.kill_alls.push(boot_us),
            FaultEvent::Freeze { pid, node, boot_us } => {
                self.hint(node, pid);
                self.freezes.push((pid, boot_us));
            }
            FaultEvent::Thaw { pid, boot_us } => self.thaws.push((pid, boot_us)),
            FaultEvent::Exit { pid, boot_us } => self.exits.push((pid, boot_us)),
            FaultEvent::Outage { boot_us, until_us, .. } => {
                self.outages.push(Span { from: boot_us, to: until_us });
            }
            FaultEvent::Disturbance { boot_us, until_us, .. } => {
                self.disturbances.push(Span { from: boot_us, to: until_us });
            }
            FaultEvent::Link { pid, boot_us, until_us, .. } => {
                self.links.push((pid, Span { from: boot_us, to: until_us }));
            }
            FaultEvent::ClockJump { pid, boot_us, .. } => {
                self.clock_jumps += 1;
                self.store_jumps.extend(pid.is_none().then_some(boot_us));
            }
            FaultEvent::Standby { node, at, .. } => {
                self.standbys.push(Standby { node, from: at, until: None });
            }
            FaultEvent::Resume { node, at, .. } => {
                let open = |standby: &&mut Standby| standby.node == node && standby.until.is_none();
                if let Some(standby) = self.standbys.iter_mut().rfind(open) {
                    standby.until = Some(at);
                }
            }
            command @ (FaultEvent::Paused { .. }
            | FaultEvent::Resuming { .. }
            | FaultEvent::Unscheduled { .. }
            | FaultEvent::Rescheduled { .. }) => {
                self.commands.push(command);
            }
            FaultEvent::Restored { kept_us, until_us, .. } => {
                let lost = Span { from: kept_us, to: until_us };
                // Nobody of before is there to observe, or to be observed, until nodes are started again.
                self.outages.push(lost);
                self.disturbances.push(lost);
                self.restores.push(Restore { lost });
            }
            FaultEvent::StopRequested { boot_us, at } => {
                let first = self.stop.map_or((boot_us, at), |stop| stop.min((boot_us, at)));
                self.stop = Some(first);
            }
        }
    }

    /// Fills in from the table of nodes what the journals did not say.
    pub(crate) fn table(&mut self, records: &[NodeRecord]) {
        for record in records {
            let node = self.nodes.entry(record.info.id).or_default();
            node.pid = node.pid.or(Some(record.info.pid));
            node.bound = Some(record.info.profile.takeover_bound(POLL));
        }
    }

    fn hint(&mut self, node: Option<NodeId>, pid: u32) {
        if let Some(node) = node {
            let node = self.nodes.entry(node).or_default();
            node.pid = node.pid.or(Some(pid));
        }
    }

    /// How much longer than with the fastest profile of the run it may take until the work of a node is offered again.
    pub(crate) fn slower(&self, node: NodeId) -> Duration {
        let fastest = self.nodes.values().filter_map(|node| node.bound).min();
        let own = self.nodes.get(&node).and_then(|node| node.bound);
        own.zip(fastest).map(|(own, fastest)| own.saturating_sub(fastest)).unwrap_or_default()
    }

    /// The process of a node.
    pub(crate) fn pid(&self, node: NodeId) -> Option<u32> {
        let mut node = self.nodes.get(&node)?;
        for _ in 0..self.nodes.len() {
            if node.pid.is_some() {
                break;
            }
            node = node.before.and_then(|before| self.nodes.get(&before))?;
        }
        node.pid
    }

    /// The first kill that hit the process `pid`, of those who lived at `from`.
    pub(crate) fn killed(&self, pid: u32, from: BootInstant) -> Option<BootInstant> {
        let all = self.kill_alls.iter().filter(|at| **at >= from).min().copied();
        first_from(&self.kills, pid, from).into_iter().chain(all).min()
    }

    /// When the process that lived at `from` is known to have been gone, other than by a kill.
    pub(crate) fn known_gone(&self, pid: u32, from: BootInstant) -> Option<BootInstant> {
        first_from(&self.exits, pid, from)
    }

    /// The stretches in which the process `pid` was frozen.
    pub(crate) fn frozen(&self, pid: u32, horizon: BootInstant) -> Spans {
        let of_pid = self.freezes.iter().filter(|(of, _)| *of == pid);
        Spans::union(
            of_pid
                .map(|(_, from)| {
                    let thaw = first_from(&self.thaws, pid, *from);
                    let end = thaw.into_iter().chain(self.killed(pid, *from)).min();
                    Span { from: *from, to: end.unwrap_or(horizon) }
                })
                .collect(),
        )
    }

    /// The stretches in which the process `pid` was frozen, or had trouble with its connections.
    fn silent(&self, pid: u32, horizon: BootInstant) -> Spans {
        let links = self.links.iter().filter(|(of, _)| *of == pid).map(|(_, span)| *span);
        Spans::union(self.frozen(pid, horizon).iter().chain(links).collect())
    }

    /// The stretches in which some process had trouble with its connections.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Span> {
        self.links.iter().map(|(_, span)| span)
    }

    /// When the node ended, and whether a kill was the reason.
    pub(crate) fn ended(&self, id: NodeId) -> Option<(BootInstant, bool)> {
        let node = self.nodes.get(&id)?;
        let from = node.joined.unwrap_or_default();
        let pid = self.pid(id);
        let killed = pid.and_then(|pid| self.killed(pid, from));
        let exited = pid.and_then(|pid| self.known_gone(pid, from)).into_iter().chain(node.gone).min();
        match (killed, exited) {
            (Some(killed), exited) if exited.is_none_or(|exited| killed <= exited) => Some((killed, true)),
            (_, exited) => exited.map(|at| (at, false)),
        }
    }

    /// When the fault began that made others declare the node dead at `taken`, or when it ended without having left; none
    /// if nothing had happened to it.
    pub(crate) fn cause_of_death(
        &self,
        id: NodeId,
        taken: BootInstant,
        horizon: BootInstant,
    ) -> Option<BootInstant> {
        let ended = self.ended(id).filter(|(at, _)| *at <= taken).map(|(at, _)| at);
        let until = ended.unwrap_or(taken);
        let joined = self.nodes.get(&id).and_then(|node| node.joined).unwrap_or_default();
        let silent = self.pid(id).map(|pid| self.silent(pid, horizon)).unwrap_or_default();
        let freeze = silent.iter().rfind(|freeze| freeze.from <= until && freeze.to >= joined);
        if let Some(late) = ended.and_then(|ended| self.delivered(id, ended)) {
            return Some(late);
        }
        match (ended, freeze) {
            // Killed while it was frozen or cut off: its beats had stopped before.
            (Some(_), Some(freeze)) if freeze.to >= until => Some(freeze.from),
            (Some(ended), _) => Some(ended),
            (None, Some(freeze)) if freeze.to.plus(AFTERMATH) >= taken => Some(freeze.from),
            (None, _) => None,
        }
    }

    /// When what a process sent before it ended at `ended` has reached the store at the latest, if its connection was
    /// silent then: what is on its way may arrive when the silence ends, and one of it may be a beat.
    fn delivered(&self, id: NodeId, ended: BootInstant) -> Option<BootInstant> {
        let pid = self.pid(id)?;
        let silent = |(of, span): &&(u32, Span)| *of == pid && span.from <= ended && span.to >= ended;
        self.links.iter().filter(silent).map(|(_, span)| span.to).max()
    }

    /// Whether raising the epoch of a restored store has ended a node: it had joined before, and the backup knew of no
    /// take-over.
    pub(crate) fn ended_by_restore(&self, id: NodeId) -> bool {
        let Some(node) = self.nodes.get(&id) else { return false };
        self.restores.iter().any(|Restore { lost }| {
            let was_up = node.taken.is_none_or(|(taken, _)| taken >= lost.to);
            was_up && node.joined.is_some_and(|joined| joined < lost.to)
        })
    }

    /// The stretches in which some node lived, was not frozen and could reach the store.
    pub(crate) fn covered(&self, horizon: BootInstant) -> Spans {
        Spans::union(self.watchers(None, horizon).into_iter().flat_map(|(_, spans)| spans).collect())
    }

    /// For each node, `but` and others of its process left out, the stretches in which it lived, was not frozen and
    /// could reach the store without trouble.
    pub(crate) fn watchers(&self, but: Option<NodeId>, horizon: BootInstant) -> Vec<(NodeId, Vec<Span>)> {
        let but_pid = but.and_then(|but| self.pid(but));
        let outages = Spans::union(self.outages.clone());
        let mut watchers = Vec::new();
        for (id, node) in &self.nodes {
            let (Some(joined), pid) = (node.joined, self.pid(*id)) else { continue };
            if but == Some(*id) || (but_pid.is_some() && pid == but_pid) {
                continue;
            }
            let end = self.ended(*id).map_or(horizon, |(at, _)| at);
            let silent = pid.map(|pid| self.silent(pid, horizon)).unwrap_or_default();
            let alive = silent.cut_from(Span { from: joined, to: end.max(joined) });
            let watching = alive.iter().flat_map(|span| outages.cut_from(span).iter().collect::<Vec<_>>());
            watchers.push((*id, watching.collect()));
        }
        watchers
    }
}
