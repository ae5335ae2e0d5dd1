//! What happens between the statements of a step on SQLite: other processes' steps overtake it, or its connection is cut.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};

use super::fault::one_in;
use super::world::{Host, World};

/// One statement in so many lets others overtake.
const OVERTAKEN: u64 = 64;

/// The statement after which a reader still sees what others commit: its snapshot is that of its first look.
const BEGIN_READ: &str = "BEGIN DEFERRED";

/// The statement after which a step is done.
const COMMIT: &str = "COMMIT";

/// How soon a step must be about to reach the store to overtake another one, in microseconds.
const SOON: u64 = 50_000;

/// Cuts steps of one process.
pub(crate) struct Scissors {
    host: Host,
    /// Whether the store says when it is between two statements.
    statements: bool,
    world: OnceLock<Weak<World>>,
    /// How many statements are left until the cut; below zero, there is none.
    left: AtomicI64,
    cut: AtomicBool,
    inside: Arc<AtomicBool>,
}

impl Scissors {
    /// For a store that does a step as a whole.
    pub(crate) fn of_whole_steps(host: Host) -> Arc<Self> {
        Self::new(host, false, Arc::default())
    }

    /// For a store that tells of its statements. `inside` is shared by all processes: one level of overtaking is enough.
    pub(crate) fn of_statements(host: Host, world: &Arc<World>, inside: Arc<AtomicBool>) -> Arc<Self> {
        let scissors = Self::new(host, true, inside);
        scissors.world.get_or_init(|| Arc::downgrade(world));
        scissors
    }

    fn new(host: Host, statements: bool, inside: Arc<AtomicBool>) -> Arc<Self> {
        let (left, cut) = (AtomicI64::new(-1), AtomicBool::new(false));
        Arc::new(Self { host, statements, world: OnceLock::new(), left, cut, inside })
    }

    /// Whether steps can be cut in the middle.
    pub(crate) const fn can_cut(&self) -> bool {
        self.statements
    }

    /// Does a step whose connection is cut after so many statements, and answers whether it got as far.
    pub(crate) fn cut_after<T>(&self, statements: u64, step: impl FnOnce() -> T) -> (T, bool) {
        self.left.store(i64::try_from(statements).unwrap_or(0), Ordering::SeqCst);
        let done = step();
        self.left.store(-1, Ordering::SeqCst);
        (done, self.cut.swap(false, Ordering::SeqCst))
    }
}

impl fmt::Debug for Scissors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scissors").field("host", &self.host).finish_non_exhaustive()
    }
}

impl StatementHook for Scissors {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.side == Side::Before {
            return HookAnswer::Continue;
        }
        let left = self.left.load(Ordering::SeqCst);
        if left >= 0 {
            self.left.store(left - 1, Ordering::SeqCst);
            if left == 0 {
                self.cut.store(true, Ordering::SeqCst);
                // After the commit the step is done, and only its answer is lost: that is for the line to see to.
                return if point.statement == COMMIT { HookAnswer::Continue } else { HookAnswer::Cut };
            }
        }
        if [BEGIN_READ, COMMIT].contains(&point.statement) {
            // A reader has no snapshot yet, and whoever comes after a commit overtakes nobody: the witness, who sees a step
            // where it begins or when it is done, would take the two for each other.
            return HookAnswer::Continue;
        }
        let Some(world) = self.world.get().and_then(Weak::upgrade) else { return HookAnswer::Continue };
        if !self.inside.load(Ordering::SeqCst)
            && one_in(&world.dice, OVERTAKEN)
            && let Some(deed) = world.overtaking(self.host, world.now() + SOON)
        {
            self.inside.store(true, Ordering::SeqCst);
            deed(&world);
            self.inside.store(false, Ordering::SeqCst);
        }
        HookAnswer::Continue
    }
}
