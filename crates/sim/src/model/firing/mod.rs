//! The life of firings as a model: processes that claim, run, settle, check in and take over, an editor, and faults.
//!
//! No clock decides anything here: a node may be declared dead at any moment after its beat was seen. So what holds here
//! rests on no clock. The one thing that time promises is taken as given: when a node is declared dead by a beat, its
//! lease from that beat is over, and what must stop has stopped. That this is so is the matter of the model of leases.

mod actions;
mod heal;
mod process;
mod state;
mod witness;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use stateright::{Model, Property};

pub(crate) use self::actions::Action;
use self::process::Process;
pub(crate) use self::state::State;
use crate::model::alarm;
use crate::model::decide::{self, Work};
use crate::model::engine::Database;
use crate::model::engine::rows::{Key, Node, Row, Slot, Standing, Trigger, TriggerState};
use crate::model::mutant::Mutant;
use crate::model::steps::{Dialect, Manner};

/// What a model of firings is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scene {
    /// Several nodes claim the instants of one trigger.
    Claims,
    /// Nodes are declared dead, rightly and wrongly, and their work is taken over.
    Takeover,
    /// A process crashes, and its work is taken over.
    Crash,
    /// Nodes look after their own rows.
    Own,
    /// Two triggers of one exclusive job.
    Exclusive,
    /// An exclusive job whose node is declared dead.
    Succession,
    /// Attempts fail and come again.
    Retry,
    /// Triggers are edited, and nodes are put in and out of standby.
    Commands,
    /// Work that runs at most once.
    AtMostOnce,
    /// Ends that are committed together with rows of the user's own.
    Effects,
    /// Instants that are too late.
    Late,
}

impl Scene {
    pub(crate) const ALL: [Self; 11] = [
        Self::Claims,
        Self::Takeover,
        Self::Crash,
        Self::Own,
        Self::Exclusive,
        Self::Succession,
        Self::Retry,
        Self::Commands,
        Self::AtMostOnce,
        Self::Effects,
        Self::Late,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::Takeover => "takeover",
            Self::Crash => "crash",
            Self::Own => "own rows",
            Self::Exclusive => "exclusive",
            Self::Succession => "succession",
            Self::Retry => "retry",
            Self::Commands => "commands",
            Self::AtMostOnce => "at most once",
            Self::Effects => "effects",
            Self::Late => "late",
        }
    }
}

/// How far a model goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Seconds, for tests.
    Quick,
    /// Minutes, for every change.
    Pr,
    /// As far as a night allows.
    Nightly,
}

/// What there is, and how often each thing may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) work: Work,
    pub(crate) processes: u8,
    pub(crate) triggers: u8,
    /// How often each process may look for work.
    pub(crate) looks: [u8; 3],
    /// How often each process may check in after its first time.
    pub(crate) checks: [u8; 3],
    /// How often a node may be declared dead. Processes are alike, so it is always the first one that is observed.
    pub(crate) deaths: u8,
    /// How many crashes and broken connections there may be.
    pub(crate) faults: u8,
    pub(crate) edits: u8,
    pub(crate) standbys: u8,
    /// Whether the first attempt of everything fails.
    pub(crate) first_fails: bool,
    /// Whether bodies write rows of the user's own, committed with their end.
    pub(crate) writes: bool,
}

impl Scene {
    pub(crate) fn bounds(self, reach: Reach) -> Bounds {
        let work = Work { is_exclusive: false, at_most_once: false, leaves_out: false, instants: 1 };
        let base = Bounds {
            work,
            processes: 2,
            triggers: 1,
            looks: [1, 1, 0],
            checks: [0; 3],
            deaths: 0,
            faults: 0,
            edits: 0,
            standbys: 0,
            first_fails: false,
            writes: false,
        };
        // What stays small gets one more of everything for every change, and the rest at night.
        let more = u8::from(reach >= Reach::Pr);
        let night = u8::from(reach == Reach::Nightly);
        let two_instants = Work { instants: 2, ..work };
        let exclusive = Work { is_exclusive: true, ..work };
        match self {
            Self::Claims => Bounds {
                work: two_instants,
                looks: [1 + more, 1 + more, night],
                faults: 1,
                processes: 2 + night,
                ..base
            },
            Self::Takeover => {
                Bounds { looks: [2, night, 0], checks: [2, 0, 0], deaths: 1, faults: night, ..base }
            }
            Self::Crash => Bounds { looks: [1, night, 0], deaths: 1, faults: 1, ..base },
            Self::Own => Bounds { looks: [1, 1, 0], checks: [2, 0, 0], faults: 1, ..base },
            Self::Exclusive => {
                Bounds { work: exclusive, triggers: 2, looks: [2, 2, 0], faults: more, ..base }
            }
            Self::Succession => Bounds {
                work: exclusive,
                looks: [1, 1, 0],
                checks: [1 + night, 0, 0],
                deaths: 1,
                faults: night,
                ..base
            },
            Self::Retry => Bounds { first_fails: true, looks: [2, 1 + more, 0], faults: 1 + night, ..base },
            Self::Commands => Bounds {
                work: two_instants,
                looks: [1 + more, 1 + night, 0],
                edits: 1,
                standbys: 2,
                faults: night,
                ..base
            },
            Self::AtMostOnce => Bounds {
                work: Work { at_most_once: true, ..work },
                looks: [1, 1 + night, 0],
                checks: [night, 0, 0],
                deaths: 1,
                faults: more,
                ..base
            },
            Self::Effects => Bounds {
                writes: true,
                looks: [1, more, 0],
                checks: [night, 0, 0],
                deaths: more,
                faults: 1,
                ..base
            },
            Self::Late => {
                let work = Work { leaves_out: true, ..two_instants };
                Bounds { work, looks: [1 + more, 1 + more, 0], faults: 1 + night, ..base }
            }
        }
    }
}

macro_rules! sights {
    ($($name:ident $what:literal;)*) => {
        /// Something that must happen somewhere in a model, or the model shows nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Sight { $($name,)* }

        impl Sight {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            pub(crate) const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            fn bit(self) -> u32 {
                match self { $(Self::$name => 1 << (Self::$name as u32),)* }
            }
        }
    };
}

sights! {
    Fired "an instant fires";
    LostRace "a claim loses its race";
    GateClosed "a claim finds its gate closed";
    Busy "a claim finds its slot taken";
    Edited "a trigger is edited";
    Crash "a process crashes";
    CommittedUnknown "a commit is done and its answer lost";
    NotCommittedUnknown "a connection breaks before the commit";
    LateStatement "a statement is executed after its client has given up";
    FalseDeath "a node is declared dead while its process runs";
    Spoke "a node speaks just before it would be declared dead";
    Rejoined "a process joins again under a new id";
    Recovered "work of a dead node is taken back";
    HandedBack "a row is handed back that its node does not run";
    Fenced "a late result is refused";
    AlreadyDone "a repeated end finds that it was done";
    Waited "a statement waits for a lock";
}

/// What was seen on the way, by all threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sights(Arc<AtomicU32>);

impl Sights {
    pub(crate) fn saw(&self, sight: Sight) {
        if self.0.load(Ordering::Relaxed) & sight.bit() == 0 {
            self.0.fetch_or(sight.bit(), Ordering::Relaxed);
        }
    }

    pub(crate) fn has(&self, sight: Sight) -> bool {
        self.0.load(Ordering::Relaxed) & sight.bit() != 0
    }
}

/// The model.
#[derive(Clone, Debug)]
pub(crate) struct Firing {
    pub(crate) bounds: Bounds,
    pub(crate) manner: Manner,
    pub(crate) sights: Sights,
}

impl Firing {
    pub(crate) fn new(scene: Scene, dialect: Dialect, reach: Reach, mutant: Option<Mutant>) -> Self {
        let bounds = scene.bounds(reach);
        let Work { is_exclusive, instants, .. } = bounds.work;
        let manner = Manner { dialect, mutant, is_exclusive, instants };
        Self { bounds, manner, sights: Sights::default() }
    }

    fn first(&self) -> State {
        let Bounds { work, processes, triggers, .. } = self.bounds;
        let mut rows = Vec::new();
        for id in 0..processes {
            let (standing, standby) = (Standing::Up, false);
            let node = Node { standing, standby, gate: 0, process: id, life: 0, orders: 0 };
            rows.push((Key::Node(id), Row::Node(node)));
            rows.push((Key::Beat(id), Row::Beat(1)));
        }
        for id in 0..triggers {
            let trigger = Trigger {
                state: TriggerState::Active,
                rev: 1,
                fire_seq: 0,
                generation: 1,
                next: decide::first_after(None, work.instants),
                last: None,
                is_parked: false,
                edition: 0,
            };
            rows.push((Key::Trigger(id), Row::Trigger(trigger)));
        }
        rows.push((Key::Slot, Row::Slot(Slot { holder: None, fence: 0 })));
        let others =
            |id: u8| (0..processes).filter(move |other| *other != id).map(|other| (other, 1)).collect();
        let first = |id: u8| {
            let of = |figures: [u8; 3]| figures.get(usize::from(id)).copied().unwrap_or(0);
            Process::new(id, others(id), of(self.bounds.looks), of(self.bounds.checks))
        };
        State {
            database: Database::of(rows),
            processes: (0..processes).map(first).collect(),
            editor: None,
            late: Vec::new(),
            faults: self.bounds.faults,
            deaths: self.bounds.deaths,
            edits: self.bounds.edits,
            standbys: self.bounds.standbys,
            next_node: processes,
            begun: Vec::new(),
            alarms: 0,
            heals: false,
        }
    }

    /// Whether nothing more can happen but what never ends by itself.
    fn is_at_end(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.enabled(state, &mut actions);
        actions.iter().all(|action| matches!(action, Action::Go(..) | Action::Edit))
            && actions.into_iter().all(|action| self.after(state, action).is_none())
    }
}

impl Model for Firing {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        // What follows on a violation shows nothing more.
        if state.alarms == 0 {
            self.enabled(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut after = self.after(state, action)?;
        if after.alarms == 0 && self.is_at_end(&after) {
            heal::judge(self, &mut after);
        }
        Some(after)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        alarm::properties!(state => state.alarms)
    }
}
