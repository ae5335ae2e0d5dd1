//! Leases and observers in time: one tick is the interval of check-ins.
//!
//! A holder runs the body of an exclusive job for as long as its lease and the wind-down after it allow; a taker watches
//! its beat, declares it dead, and may begin the body in the same moment. Messages take any time, connections break, the
//! database fails for a while. The lease and the observer are those of `core`, with a profile that keeps the inequality
//! of all profiles as tightly as whole ticks allow.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use punctual_core::node::{NodeInfo, NodeRecord, NodeState};
use punctual_core::protocol::membership::{Lease, Observer};
use punctual_core::{BootInstant, NodeId, Profile, Timestamp};
use stateright::{Model, Property};

use crate::model::alarm::{self, Alarm};
use crate::model::firing::Reach;
use crate::model::mutant::Mutant;

/// What a model of leases is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Case {
    /// The holder may be slow or cut off as it likes; bodies must not overlap.
    Overlap,
    /// The holder checks in as announced; only the database fails now and then. Nobody may be declared dead.
    Outage,
    /// The same, and the holder has a slower profile than the taker.
    Mixed,
    /// The database loses commits.
    Restored,
    /// The holder dies; it must be declared dead within the bound.
    Death,
}

impl Case {
    pub(crate) const ALL: [Self; 5] = [Self::Overlap, Self::Outage, Self::Mixed, Self::Restored, Self::Death];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Overlap => "leases, overlap",
            Self::Outage => "leases, outage",
            Self::Mixed => "leases, mixed profiles",
            Self::Restored => "leases, restored store",
            Self::Death => "leases, death",
        }
    }

    /// Where a mistake is looked for.
    pub(crate) const fn of(mutant: Mutant) -> Self {
        match mutant {
            Mutant::M12 | Mutant::M27 => Self::Outage,
            Mutant::M26 => Self::Restored,
            Mutant::M30 => Self::Mixed,
            _ => Self::Overlap,
        }
    }
}

const fn ticks(interval: u64, hold: u64, wind_down: u64, take: u64) -> Profile {
    Profile {
        interval: Duration::from_secs(interval),
        hold: Duration::from_secs(hold),
        wind_down: Duration::from_secs(wind_down),
        take: Duration::from_secs(take),
        idle: Duration::from_secs(1),
    }
}

/// 1/2/1/4: whole ticks cannot come closer to what [`Profile::check`] demands.
const SWIFT: Profile = ticks(1, 2, 1, 4);
const SLOW: Profile = ticks(3, 6, 1, 8);

/// Boot time; nobody began before its first tick.
fn boot(tick: u8) -> BootInstant {
    BootInstant::from_micros(1_000_000 * (u64::from(tick) + 1))
}

const HOLDER: u8 = 0;
const TAKER: u8 = 1;

fn id(node: u8) -> NodeId {
    NodeId::from_stored(i64::from(node) + 1)
}

/// An observer of `core`, compared by all that it says of itself.
#[derive(Clone)]
struct Observing {
    observer: Observer,
    print: String,
}

impl Observing {
    fn new(observer: Observer) -> Self {
        let print = format!("{observer:?}");
        Self { observer, print }
    }
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print)
    }
}

impl PartialEq for Observing {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for Observing {}

impl Hash for Observing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

/// A check-in under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum CheckIn {
    Sent {
        at: u8,
    },
    /// Committed or read: the node's own beat, and that of the holder if it is up.
    Answered {
        at: u8,
        beat: u8,
        holder: Option<u8>,
    },
}

/// A node's lease, as far as two leases of one profile differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    sent: u8,
    beat: u8,
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    now: u8,
    /// The committed beats; `None` is dead.
    beats: [Option<u8>; 2],
    /// When the holder last committed a beat.
    spoke: u8,
    check_ins: [Option<CheckIn>; 2],
    lease: Held,
    observing: Observing,
    /// The beat by which the taker is declaring the holder dead.
    suspects: Option<u8>,
    has_halted: bool,
    is_crashed: bool,
    /// Whether nobody can write at the moment, and how many more ticks that may last.
    is_out: bool,
    outage: u8,
    /// Connections that may still break.
    cuts: u8,
    /// A restore that may still happen.
    restores: u8,
    /// Whether the holder could write at some moment of this tick.
    was_writable: bool,
    /// Who has sent a check-in within this tick; more often it is never sent.
    has_sent: [bool; 2],
    /// Whether the taker has checked in within this tick.
    has_looked: bool,
    alarms: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Tick,
    Send(u8),
    Commit(u8),
    Hear(u8),
    Cut(u8),
    TakeOver,
    Fail,
    Mend,
    Restore,
    Crash,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Leases {
    case: Case,
    mutant: Option<Mutant>,
    ticks: u8,
    cuts: u8,
}

fn put<T>(list: &mut [T; 2], node: u8, value: T) {
    if let Some(place) = list.get_mut(usize::from(node)) {
        *place = value;
    }
}

fn at<T: Copy>(list: &[T; 2], node: u8) -> T {
    let [first, second] = *list;
    if node == HOLDER { first } else { second }
}

impl Leases {
    pub(crate) fn new(case: Case, reach: Reach, mutant: Option<Mutant>) -> Self {
        let more: u8 = match reach {
            Reach::Quick => 0,
            Reach::Pr => 1,
            Reach::Nightly => 2,
        };
        let (ticks, cuts) = match case {
            Case::Overlap => (5, more),
            Case::Outage => (8 + more, 0),
            Case::Mixed => (9 + more, 0),
            Case::Restored => (4 + more, 0),
            Case::Death => (9 + more, 0),
        };
        Self { case, mutant, ticks, cuts }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn profile(&self, node: u8) -> Profile {
        let base = if self.case == Case::Mixed && node == HOLDER { SLOW } else { SWIFT };
        if self.is(Mutant::M11) { Profile { take: base.hold, ..base } } else { base }
    }

    fn lease(&self, state: &State) -> Lease {
        let Held { sent, beat } = state.lease;
        Lease::begin(self.profile(HOLDER), boot(sent), beat.into(), 0)
    }

    /// Looks whether a body of the holder may run while the taker's does.
    fn look_at_bodies(&self, state: &mut State) {
        let runs = !state.is_crashed && boot(state.now) < self.lease(state).drop_at();
        if self.case == Case::Overlap && at(&state.beats, HOLDER).is_none() && runs {
            state.alarms |= Alarm::G3b.bit();
        }
    }

    /// Whether the holder is to check in as it has announced.
    fn is_diligent(&self) -> bool {
        matches!(self.case, Case::Outage | Case::Mixed)
    }

    fn record(&self, beat: u8) -> NodeRecord {
        // By whose figures a node is judged is what it publishes.
        let judged = if self.is(Mutant::M30) { TAKER } else { HOLDER };
        NodeRecord {
            info: NodeInfo {
                id: id(HOLDER),
                name: "holder".into(),
                host: "host".into(),
                pid: 1,
                version: "0".into(),
                zone_data: "0".into(),
                profile: self.profile(judged),
                capacity: 1,
                kinds: Vec::new(),
            },
            state: NodeState::Up,
            standby: false,
            gate: 0,
            joined: Timestamp::EPOCH,
            beat: beat.into(),
            seen: None,
        }
    }

    fn observe(&self, state: &mut State, read: u8, holder: Option<u8>) {
        let nodes: Vec<NodeRecord> = holder.map(|beat| self.record(beat)).into_iter().collect();
        let mut observer = state.observing.observer.clone();
        let suspects = observer.observe(boot(read), &nodes);
        state.observing = Observing::new(observer);
        if let Some(suspect) = suspects.first() {
            state.suspects = u8::try_from(suspect.beat).ok();
        }
    }

    fn hear(&self, state: &mut State, node: u8) -> Option<()> {
        let CheckIn::Answered { at: sent, beat, holder } = at(&state.check_ins, node)? else { return None };
        put(&mut state.check_ins, node, None);
        if node == TAKER {
            let read = if self.is(Mutant::M10) { sent } else { state.now };
            self.observe(state, read, holder);
            return Some(());
        }
        let counts = if self.is(Mutant::M9) { state.now } else { sent };
        let goes_back = beat <= state.lease.beat;
        if self.lease(state).renew(boot(counts), beat.into(), 0).is_err() && !self.is(Mutant::M26) {
            state.has_halted = true;
            return Some(());
        }
        state.lease = Held { sent: state.lease.sent.max(counts), beat };
        if goes_back && self.lease(state).may_start(boot(state.now)) {
            // It could begin work that others have done in a history which is lost.
            state.alarms |= Alarm::G4.bit();
        }
        self.look_at_bodies(state);
        Some(())
    }

    fn tick(&self, state: &mut State) -> Option<()> {
        if state.now >= self.ticks {
            return None;
        }
        if self.case == Case::Death && state.suspects.is_some() {
            return None;
        }
        // Where bodies may overlap, answers take any time; else they come at once.
        let is_heard = |check_in: &Option<CheckIn>| !matches!(check_in, Some(CheckIn::Answered { .. }));
        if self.case != Case::Overlap && !state.check_ins.iter().all(is_heard) {
            return None;
        }
        // One check-in of a slow node may be lost; beside an outage none.
        let Profile { interval, hold, .. } = self.profile(HOLDER);
        let patience = if self.case == Case::Mixed { hold } else { interval };
        let late = u64::from(state.now - state.spoke) >= patience.as_secs();
        if self.is_diligent() && state.was_writable && late {
            return None;
        }
        if matches!(self.case, Case::Death | Case::Outage | Case::Mixed)
            && state.was_writable
            && !state.has_looked
        {
            return None;
        }
        state.now += 1;
        (state.was_writable, state.has_looked, state.has_sent) = (!state.is_out, false, [false; 2]);
        // These observers take what they saw last for news, or read where nobody can write.
        let goes_on = self.is(Mutant::M12) || (self.is(Mutant::M27) && state.is_out);
        if goes_on {
            let seen = at(&state.beats, HOLDER);
            let last = if self.is(Mutant::M12) { state.observing_last() } else { seen };
            self.observe(state, state.now, last);
        }
        let bound = self.profile(HOLDER).take + self.profile(TAKER).interval * 2;
        let overdue = u64::from(state.now - state.spoke) > bound.as_secs() + 1;
        if self.case == Case::Death && state.is_crashed && overdue && at(&state.beats, HOLDER).is_some() {
            state.alarms |= Alarm::G10.bit();
        }
        Some(())
    }

    fn after(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Tick => self.tick(&mut state)?,
            Action::Send(node) => {
                put(&mut state.check_ins, node, Some(CheckIn::Sent { at: before.now }));
                put(&mut state.has_sent, node, true);
            }
            Action::Commit(node) => {
                let CheckIn::Sent { at: sent } = at(&state.check_ins, node)? else { return None };
                let beat = at(&state.beats, node)?.saturating_add(1);
                put(&mut state.beats, node, Some(beat));
                if node == HOLDER {
                    state.spoke = state.now;
                } else {
                    state.has_looked = true;
                }
                let holder = at(&state.beats, HOLDER);
                put(&mut state.check_ins, node, Some(CheckIn::Answered { at: sent, beat, holder }));
            }
            Action::Hear(node) => self.hear(&mut state, node)?,
            Action::Cut(node) => {
                state.cuts = state.cuts.checked_sub(1)?;
                put(&mut state.check_ins, node, None);
            }
            Action::TakeOver => {
                let beat = state.suspects.take()?;
                if at(&state.beats, HOLDER) == Some(beat) {
                    put(&mut state.beats, HOLDER, None);
                    self.look_at_bodies(&mut state);
                    if self.is_diligent() {
                        state.alarms |= Alarm::FalseDeath.bit();
                    }
                }
            }
            Action::Fail => (state.is_out, state.outage) = (true, state.outage.checked_sub(1)?),
            Action::Mend => (state.is_out, state.was_writable) = (false, true),
            Action::Restore => {
                state.restores = state.restores.checked_sub(1)?;
                let beat = at(&state.beats, HOLDER)?;
                put(&mut state.beats, HOLDER, Some(beat.saturating_sub(1)));
            }
            Action::Crash => {
                state.is_crashed = true;
                put(&mut state.check_ins, HOLDER, None);
            }
        }
        Some(state)
    }
}

impl State {
    /// The beat of the holder as its observer saw it last.
    fn observing_last(&self) -> Option<u8> {
        at(&self.beats, HOLDER)
    }
}

impl Model for Leases {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut observer = Observer::new(id(TAKER), self.profile(TAKER));
        let _ = observer.observe(boot(0), &[self.record(1)]);
        vec![State {
            now: 0,
            beats: [Some(1); 2],
            spoke: 0,
            check_ins: [None; 2],
            lease: Held { sent: 0, beat: 1 },
            observing: Observing::new(observer),
            suspects: None,
            has_halted: false,
            is_crashed: false,
            is_out: false,
            outage: u8::from(self.case == Case::Outage),
            cuts: self.cuts,
            restores: u8::from(self.case == Case::Restored),
            was_writable: true,
            has_sent: [false; 2],
            has_looked: false,
            alarms: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.alarms != 0 {
            return;
        }
        for node in [HOLDER, TAKER] {
            if node == HOLDER && (state.is_crashed || state.has_halted) {
                continue;
            }
            match at(&state.check_ins, node) {
                None if at(&state.beats, node).is_some() && !at(&state.has_sent, node) => {
                    actions.push(Action::Send(node))
                }
                None => {}
                Some(check_in) => {
                    let next = match check_in {
                        CheckIn::Sent { .. } => Action::Commit(node),
                        CheckIn::Answered { .. } => Action::Hear(node),
                    };
                    if !state.is_out || next == Action::Hear(node) {
                        actions.push(next);
                    }
                    if state.cuts > 0 {
                        actions.push(Action::Cut(node));
                    }
                }
            }
        }
        if state.suspects.is_some() && !state.is_out {
            actions.push(Action::TakeOver);
        }
        if state.is_out {
            actions.push(Action::Mend);
        } else if state.outage > 0 {
            actions.push(Action::Fail);
        }
        if state.restores > 0 && at(&state.beats, HOLDER).is_some_and(|beat| beat > 1) {
            actions.push(Action::Restore);
        }
        if self.case == Case::Death && !state.is_crashed {
            actions.push(Action::Crash);
        }
        actions.push(Action::Tick);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        alarm::properties!(state => state.alarms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_of_the_model_are_ones_that_a_node_may_have() {
        SWIFT.check().unwrap();
        SLOW.check().unwrap();
        let tighter = Profile { take: SWIFT.take - Duration::from_secs(1), ..SWIFT };
        assert!(tighter.check().is_err());
    }
}
