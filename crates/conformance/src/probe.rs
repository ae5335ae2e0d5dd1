//! A hook that counts the statements of a step, and cuts, ends or holds it at one of them.

use std::fmt;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};

use punctual_core::store::hook::{HINT, HookAnswer, Side, StatementHook, StatementPoint};
use tokio::sync::oneshot;

/// A moment within a step: before or after its statement of this number, from 0. Counted over everything that a store
/// does since the probe was set, so that a step which a store makes of several is one here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) statement: u32,
    pub(crate) side: Side,
}

impl Point {
    /// All points of a step of so many statements, in order.
    pub(crate) fn all(statements: u32) -> impl Iterator<Item = Self> {
        (0..statements).flat_map(|statement| [Side::Before, Side::After].map(|side| Self { statement, side }))
    }

    /// The points between which something happens: before each statement, and after the last.
    pub(crate) fn apart(statements: u32) -> impl Iterator<Item = Self> {
        let last = statements.saturating_sub(1);
        Self::all(statements).filter(move |point| point.side == Side::Before || point.statement == last)
    }
}

/// What a step that is held may have in its hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grip {
    /// Nothing: it has not begun yet, so nobody has to wait for it.
    Nothing,
    /// Locks, perhaps.
    Locks,
}

/// What a probe does at its point.
enum Deed {
    /// It cuts the connection.
    Cut,
    /// It ends the process, as a kill does: nothing is closed, and nobody is told.
    Die,
    /// It says that the step is there, and waits.
    Hold { reached: Option<oneshot::Sender<Grip>>, release: Receiver<()> },
}

#[derive(Default)]
struct Inner {
    statements: u32,
    texts: Vec<(&'static str, String)>,
    plan: Option<(Point, Deed)>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Probe(Mutex<Inner>);

/// A step that is held.
pub(crate) struct Held {
    /// Ends when the step has come to its point; an error if it never will.
    pub(crate) reached: oneshot::Receiver<Grip>,
    /// Lets it go on, also by being dropped.
    pub(crate) release: Sender<()>,
}

impl Probe {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts from here on, and does nothing else.
    pub(crate) fn watch(&self) {
        *self.inner() = Inner::default();
    }

    /// How many statements there were since the probe was set.
    pub(crate) fn statements(&self) -> u32 {
        self.inner().statements
    }

    /// The texts of these statements, each with its step.
    pub(crate) fn texts(&self) -> Vec<(&'static str, String)> {
        self.inner().texts.clone()
    }

    /// Cuts the connection at a point.
    pub(crate) fn cut_at(&self, point: Point) {
        *self.inner() = Inner { plan: Some((point, Deed::Cut)), ..Inner::default() };
    }

    /// Ends the process at a point.
    pub(crate) fn die_at(&self, point: Point) {
        *self.inner() = Inner { plan: Some((point, Deed::Die)), ..Inner::default() };
    }

    /// Holds the step at a point.
    pub(crate) fn hold_at(&self, point: Point) -> Held {
        let (tell, reached) = oneshot::channel();
        let (release, wait) = mpsc::channel();
        let deed = Deed::Hold { reached: Some(tell), release: wait };
        *self.inner() = Inner { plan: Some((point, deed)), ..Inner::default() };
        Held { reached, release }
    }
}

impl StatementHook for Probe {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.step == HINT {
            // It may come within any step, or between two: counting it would be counting on chance.
            return HookAnswer::Continue;
        }
        let mut inner = self.inner();
        let here = Point { statement: inner.statements, side: point.side };
        match point.side {
            Side::Before => inner.texts.push((point.step, point.statement.to_owned())),
            Side::After => inner.statements += 1,
        }
        if inner.plan.as_ref().is_none_or(|(point, _)| *point != here) {
            return HookAnswer::Continue;
        }
        match inner.plan.take() {
            Some((_, Deed::Cut)) => HookAnswer::Cut,
            Some((_, Deed::Die)) => std::process::exit(crate::child::DIED),
            Some((_, Deed::Hold { mut reached, release })) => {
                drop(inner);
                let begun = point.index > 0 || point.side == Side::After;
                let grip = if begun { Grip::Locks } else { Grip::Nothing };
                let _nobody_listens = reached.take().is_some_and(|reached| reached.send(grip).is_ok());
                // Dropping the other end releases it too.
                let _ = release.recv();
                HookAnswer::Continue
            }
            None => HookAnswer::Continue,
        }
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}
