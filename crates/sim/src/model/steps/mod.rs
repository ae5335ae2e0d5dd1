//! The steps of a store, statement by statement, as each dialect takes them.
//!
//! | dialect | a step is | reads see | locking reads see |
//! |---|---|---|---|
//! | Postgres | one statement, which commits with its end | the snapshot of its beginning | the snapshot decides what is locked, the newest version whether it still fits |
//! | MySQL | several statements, then a commit of its own | what is committed | the newest version |
//! | SQLite | one closure under the lock of the database | everything | everything |
//!
//! A step names its places with numbers. Between two of them every other session may run; where a lock is held by
//! another session, the step stays where it is.

mod claim;
mod members;
mod settle;

use crate::model::engine::rows::{Key, TriggerState};
use crate::model::engine::{Change, Database, Refusal, Result};
use crate::model::mutant::Mutant;

/// How a store speaks with its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Dialect {
    Postgres,
    Mysql,
    Sqlite,
}

impl Dialect {
    pub(crate) const ALL: [Self; 3] = [Self::Postgres, Self::Mysql, Self::Sqlite];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Sqlite => "sqlite",
        }
    }
}

/// How a trigger moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Patch {
    pub(crate) state: TriggerState,
    pub(crate) next: Option<u8>,
    pub(crate) last: Option<u8>,
    pub(crate) is_parked: bool,
    /// Instants that are left out: the first and the last one.
    pub(crate) skip: Option<(u8, u8)>,
}

/// What is to become of a due trigger, as `core` decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub(crate) trigger: u8,
    pub(crate) rev: u8,
    pub(crate) fire_seq: u8,
    pub(crate) generation: u8,
    pub(crate) fires: Option<u8>,
    pub(crate) then: Patch,
    pub(crate) busy: Patch,
    /// What the witness compares: the edition of the trigger, and the commands to the node, that the plan was made under.
    pub(crate) edition: u8,
    pub(crate) orders: u8,
}

/// Which claim of which execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Claim {
    pub(crate) exec: u8,
    pub(crate) owner: u8,
    pub(crate) fence: u8,
}

/// What becomes of an execution, as `core` decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Then {
    End { outcome: crate::model::engine::rows::Outcome, fence: u8 },
    Back { attempt: u8, losses: u8, keeps_slot: bool },
}

/// A step of a store, with what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Claim {
        node: u8,
        gate: u8,
        life: u8,
        plan: Plan,
    },
    ClaimReady {
        node: u8,
        gate: u8,
        life: u8,
        orders: u8,
    },
    Begin(Claim),
    /// With `writes`, the user's own rows are written in the same transaction.
    Settle {
        claim: Claim,
        then: Then,
        writes: bool,
    },
    CheckIn {
        node: u8,
    },
    TakeOver {
        dead: u8,
        beat: u8,
    },
    /// Gives back whatever names a node that is not up, in one statement; only a mutant does that.
    Sweep,
    Join {
        node: u8,
        process: u8,
    },
    Standby {
        node: u8,
        on: bool,
    },
    /// Defines the instants of a trigger anew.
    Edit {
        trigger: u8,
        rev: u8,
    },
    WakeWaiting,
}

/// What a check-in answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct View {
    pub(crate) is_up: bool,
    /// The nodes that are up, with their beats.
    pub(crate) beats: Vec<(u8, u8)>,
    /// The live rows of the node that asks.
    pub(crate) owned: Vec<(u8, u8)>,
    /// Owners of live rows that are not up.
    pub(crate) gone: Vec<u8>,
}

/// What a step answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// The node may not claim.
    Closed,
    Fired {
        exec: u8,
        fence: u8,
        attempt: u8,
        losses: u8,
    },
    Busy,
    /// Nothing was written.
    Lost,
    /// The trigger moved on, and nothing fired.
    Moved,
    Done,
    AlreadyDone,
    Fenced,
    CheckedIn(View),
    TakenOver(bool),
}

/// A step under way: where it is, and what it has found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Frame {
    /// Its session.
    pub(crate) session: u8,
    /// The process that asked for it.
    pub(crate) process: u8,
    pub(crate) step: Step,
    pub(crate) place: u8,
    /// The row that it works on.
    pub(crate) row: Option<u8>,
    /// The fence that it has drawn.
    pub(crate) fence: Option<u8>,
    pub(crate) is_busy: bool,
    pub(crate) answer: Option<Answer>,
    /// Whether its end is committed, or rolled back: what is left is the way of its answer.
    pub(crate) is_over: bool,
}

/// What a statement did.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// The step goes on at a place.
    At(u8),
    /// The same, in a transaction of its own.
    Apart(u8),
    Done(Answer),
    /// The transaction is rolled back.
    Undo(Answer),
}

/// What became of an attempt to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Went {
    /// Another session holds a lock.
    Waits,
    On {
        /// What was committed; empty if nothing was.
        changes: Vec<Change>,
        /// A unique key stood in the way of the step, which was rolled back.
        breach: bool,
    },
}

/// What the steps need to know besides what they were asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) dialect: Dialect,
    pub(crate) mutant: Option<Mutant>,
    /// Whether the jobs share one exclusive key.
    pub(crate) is_exclusive: bool,
    /// The last instant of every schedule.
    pub(crate) instants: u8,
}

impl Manner {
    pub(crate) fn is(self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn is_postgres(self) -> bool {
        self.dialect == Dialect::Postgres
    }
}

impl Frame {
    pub(crate) const fn new(session: u8, process: u8, step: Step) -> Self {
        let (row, fence, answer) = (None, None, None);
        Self { session, process, step, place: 0, row, fence, is_busy: false, answer, is_over: false }
    }

    /// Whether the server would carry the step to its end if its client were gone: all of it is with the server.
    pub(crate) fn may_outlive_client(&self, manner: Manner) -> bool {
        !self.is_over
            && match manner.dialect {
                Dialect::Postgres => !self.is_transaction(manner) || self.answer.is_some(),
                Dialect::Mysql => self.answer.is_some(),
                Dialect::Sqlite => true,
            }
    }

    /// Whether it is several statements with a commit of its own.
    fn is_transaction(&self, manner: Manner) -> bool {
        match manner.dialect {
            Dialect::Postgres => matches!(self.step, Step::Settle { writes: true, .. }),
            Dialect::Mysql => true,
            Dialect::Sqlite => false,
        }
    }

    /// Executes the next statement.
    pub(crate) fn advance(&mut self, database: &mut Database, manner: Manner) -> Went {
        let mut changes = Vec::new();
        if self.answer.is_some() {
            self.is_over = true;
            return Went::On { changes: database.commit(self.session), breach: false };
        }
        loop {
            match self.statement(database, manner) {
                Err(Refusal::Wait) => return Went::Waits,
                Err(Refusal::Breach) => {
                    database.rollback(self.session);
                    self.over(Answer::Lost);
                    return Went::On { changes, breach: true };
                }
                Ok(Turn::At(place)) => self.place = place,
                Ok(Turn::Apart(place)) => {
                    changes.extend(database.commit(self.session));
                    self.place = place;
                    // A half that is committed is there for everybody, also on SQLite.
                    return Went::On { changes, breach: false };
                }
                Ok(Turn::Done(answer)) if self.is_transaction(manner) => self.answer = Some(answer),
                Ok(Turn::Done(answer)) => {
                    changes.extend(database.commit(self.session));
                    self.over(answer);
                    return Went::On { changes, breach: false };
                }
                Ok(Turn::Undo(answer)) => {
                    database.rollback(self.session);
                    self.over(answer);
                    return Went::On { changes, breach: false };
                }
            }
            if manner.dialect != Dialect::Sqlite {
                return Went::On { changes, breach: false };
            }
        }
    }

    fn over(&mut self, answer: Answer) {
        (self.answer, self.is_over) = (Some(answer), true);
        // Nothing of it matters any more but its answer.
        (self.place, self.row, self.fence, self.is_busy) = (0, None, None, false);
    }

    fn statement(&mut self, database: &mut Database, manner: Manner) -> Result<Turn> {
        if self.place == 0 && manner.is_postgres() && !self.is_transaction(manner) {
            database.snapshot(self.session);
        }
        match self.step {
            Step::Claim { node, gate, plan, .. } => self.claim(database, manner, (node, gate), plan),
            Step::ClaimReady { node, gate, .. } => self.claim_ready(database, manner, (node, gate)),
            Step::Begin(claim) => self.begin(database, manner, claim),
            Step::Settle { claim, then, writes } => self.settle(database, manner, claim, then, writes),
            Step::CheckIn { node } => self.check_in(database, manner, node),
            Step::TakeOver { dead, beat } => self.take_over(database, manner, dead, beat),
            Step::Sweep => self.sweep(database),
            Step::Join { node, process } => self.join(database, manner, node, process),
            Step::Standby { node, on } => self.standby(database, manner, node, on),
            Step::Edit { trigger, rev } => self.edit(database, manner, trigger, rev),
            Step::WakeWaiting => self.wake_waiting(database),
        }
    }
}

/// The trigger rows that a session sees.
fn triggers(
    database: &Database,
    session: u8,
) -> impl Iterator<Item = (u8, crate::model::engine::rows::Trigger)> + '_ {
    database.seen(session).iter().filter_map(|(key, row)| match key {
        Key::Trigger(id) => row.trigger().map(|trigger| (id, trigger)),
        _ => None,
    })
}
