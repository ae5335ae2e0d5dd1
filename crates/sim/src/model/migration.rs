//! Several starters bring one schema up to date where definitions cannot be rolled back, as on MySQL: look, lock, look
//! again, and for each step the journal says that it begins, it is executed, the journal says that it is done. A starter
//! may die at any moment; what it had sent last may still be executed before the server ends its session and its lock.

use stateright::{Model, Property};

use crate::model::alarm::{self, Alarm};
use crate::model::firing::Reach;
use crate::model::mutant::Mutant;

/// The steps of the one migration.
const STEPS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Noted {
    Not,
    Started,
    Done,
}

/// Where a starter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum At {
    Look,
    Lock,
    LookAgain,
    /// It decides about a step and notes that it begins.
    Begin(usize),
    Execute(usize),
    Finish(usize),
    Record,
    Unlock,
    End,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Starter {
    at: At,
    /// The journal as it read it last.
    journal: [Noted; STEPS],
    /// Whether it read that the migration is done.
    is_done: bool,
}

/// All there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    starters: Vec<Starter>,
    lock: Option<usize>,
    journal: [Noted; STEPS],
    /// How often each step was executed.
    executed: [u8; STEPS],
    is_done: bool,
    /// The statement of a dead starter that the server has not executed yet; its session still has the lock.
    left: Option<usize>,
    crashes: u8,
    alarms: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Go(usize),
    Crash(usize),
    /// The server executes the statement of a dead starter, or ends its session before it.
    Left(bool),
    Restart(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Migration {
    starters: usize,
    crashes: u8,
    mutant: Option<Mutant>,
}

impl Migration {
    pub(crate) fn new(reach: Reach, mutant: Option<Mutant>) -> Self {
        match reach {
            Reach::Quick => Self { starters: 2, crashes: 1, mutant },
            Reach::Pr => Self { starters: 3, crashes: 2, mutant },
            Reach::Nightly => Self { starters: 4, crashes: 3, mutant },
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The next thing that a starter does.
    fn go(&self, state: &mut State, at: usize) -> Option<()> {
        let mut starter = state.starters.get(at)?.clone();
        let reads = |starter: &mut Starter, state: &State| {
            (starter.journal, starter.is_done) = (state.journal, state.is_done);
        };
        starter.at = match starter.at {
            At::Look => {
                reads(&mut starter, state);
                if starter.is_done { At::End } else { At::Lock }
            }
            At::Lock => {
                state.lock.is_none().then_some(())?;
                state.lock = Some(at);
                At::LookAgain
            }
            At::LookAgain => {
                if !self.is(Mutant::M24) {
                    reads(&mut starter, state);
                }
                if starter.is_done { At::Unlock } else { At::Begin(0) }
            }
            At::Begin(step) if step == STEPS => At::Record,
            At::Begin(step) => match starter.journal.get(step)? {
                Noted::Done => At::Begin(step + 1),
                // Begun by somebody: whether it was executed is asked of the schema itself.
                Noted::Started if *state.executed.get(step)? > 0 => At::Finish(step),
                _ if self.is(Mutant::M25) => {
                    *state.journal.get_mut(step)? = Noted::Done;
                    At::Execute(step)
                }
                _ => {
                    *state.journal.get_mut(step)? = Noted::Started;
                    At::Execute(step)
                }
            },
            At::Execute(step) => {
                execute(state, step)?;
                if self.is(Mutant::M25) { At::Begin(step + 1) } else { At::Finish(step) }
            }
            At::Finish(step) => {
                *state.journal.get_mut(step)? = Noted::Done;
                At::Begin(step + 1)
            }
            At::Record => {
                state.is_done = true;
                At::Unlock
            }
            At::Unlock => {
                state.lock = None;
                At::Look
            }
            At::End | At::Dead => return None,
        };
        *state.starters.get_mut(at)? = starter;
        Some(())
    }

    fn after(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Go(at) => self.go(&mut state, at)?,
            Action::Crash(at) => {
                state.crashes = state.crashes.checked_sub(1)?;
                let starter = state.starters.get_mut(at)?;
                if let At::Execute(step) = starter.at {
                    state.left = Some(step);
                } else if state.lock == Some(at) {
                    state.lock = None;
                }
                starter.at = At::Dead;
            }
            Action::Left(is_executed) => {
                let step = state.left.take()?;
                if is_executed {
                    execute(&mut state, step)?;
                }
                state.lock = None;
            }
            Action::Restart(at) => state.starters.get_mut(at)?.at = At::Look,
        }
        let is_whole = state.executed.iter().all(|count| *count == 1);
        if state.is_done && !is_whole {
            state.alarms |= Alarm::G13.bit();
        }
        // Starters are alike.
        if state.lock.is_none() && state.left.is_none() {
            state.starters.sort();
        }
        Some(state)
    }
}

/// Executes a step. The server refuses one that was executed before, and so somebody's start fails.
fn execute(state: &mut State, step: usize) -> Option<()> {
    let count = state.executed.get_mut(step)?;
    *count += 1;
    if *count > 1 {
        state.alarms |= Alarm::G13.bit();
    }
    Some(())
}

impl Model for Migration {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let journal = [Noted::Not; STEPS];
        let starter = Starter { at: At::Look, journal, is_done: false };
        vec![State {
            starters: vec![starter; self.starters],
            lock: None,
            journal,
            executed: [0; STEPS],
            is_done: false,
            left: None,
            crashes: self.crashes,
            alarms: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.alarms != 0 {
            return;
        }
        for (at, starter) in state.starters.iter().enumerate() {
            match starter.at {
                At::End => {}
                At::Dead => actions.push(Action::Restart(at)),
                _ => {
                    actions.push(Action::Go(at));
                    if state.crashes > 0 && state.left.is_none() {
                        actions.push(Action::Crash(at));
                    }
                }
            }
        }
        if state.left.is_some() {
            actions.extend([Action::Left(true), Action::Left(false)]);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.after(state, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties: Vec<Property<Self>> = alarm::properties!(state => state.alarms);
        properties.push(Property::sometimes("everybody has started", |_, state: &State| {
            state.starters.iter().all(|starter| starter.at == At::End)
        }));
        properties.push(Property::sometimes("a dead starter's statement is executed", |_, state: &State| {
            state.lock.is_none()
                && state.starters.iter().any(|starter| starter.at == At::Dead)
                && state.journal.first() == Some(&Noted::Started)
                && state.executed.first() == Some(&1)
        }));
        properties
    }
}
