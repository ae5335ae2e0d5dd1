//! Definitions and enqueued work on their way into a store.

use std::sync::Arc;
use std::time::Duration;

use crate::calendar::Calendar;
use crate::error::{Error, Result};
use crate::execution::NewExecution;
use crate::job::{ExecutionSpec, JobRecord, Payload};
use crate::key::{JobId, TriggerId};
use crate::pause::PausedGroup;
use crate::time::Timestamp;
use crate::trigger::TriggerRecord;

/// What a record must be for a change to apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// No record has the key, and the mark of the key (the last instant of a deleted trigger) is this.
    Absent {
        /// As [`crate::Inspect::trigger`] reported it; `None` for all but triggers.
        mark: Option<Timestamp>,
    },
    /// The record has the same id and this revision.
    Rev(i64),
}

/// The new content of a set's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRecord {
    /// Its name: a file's, or a library's.
    pub name: Box<str>,
    /// Its revision. A lower one never overwrites a higher one.
    pub revision: i64,
    /// The hash of all its definitions.
    pub hash: i64,
    /// Who wrote it, for people.
    pub by: Box<str>,
    /// Grows with every write.
    pub rev: i64,
    /// When it was written, on the store's clock; set by the store.
    pub written: Timestamp,
}

/// A stored calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarRecord {
    /// Its name.
    pub name: Box<str>,
    /// What it leaves out.
    pub calendar: Arc<Calendar>,
    /// Grows with every write, also with those that only say that another trigger names it.
    pub rev: i64,
    /// When it was last written, on the store's clock; set by the store.
    pub updated: Timestamp,
}

impl CalendarRecord {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 200;

    /// Checks a name.
    ///
    /// # Errors
    /// `Invalid` if it is empty, longer than [`CalendarRecord::MAX_NAME`] or holds control characters.
    pub fn check_name(name: &str) -> Result<()> {
        if name.is_empty() || name.len() > Self::MAX_NAME || name.chars().any(char::is_control) {
            let message = format!("`{}` is no name for a calendar", name.escape_debug());
            return Err(Error::invalid("calendar", message));
        }
        Ok(())
    }
}

/// What live rows keep when what they inherited from goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The rules.
    pub spec: ExecutionSpec,
    /// The data.
    pub payload: Payload,
}

/// What happens to live executions of a job that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveWork {
    /// The change loses while there are any.
    MustBeNone,
    /// Those that nobody owns end as cancelled; owned ones are marked to stop.
    Cancel,
    /// They go on without their job.
    Detach,
}

/// One change of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a change lives for one step, and there is one in it")]
pub enum Change {
    /// Creates or replaces a job.
    PutJob {
        /// What must be there.
        expect: Expect,
        /// The new content.
        job: JobRecord,
    },
    /// Creates or replaces a trigger.
    PutTrigger {
        /// What must be there.
        expect: Expect,
        /// The new content.
        trigger: TriggerRecord,
    },
    /// Deletes a trigger.
    DeleteTrigger {
        /// Which.
        id: TriggerId,
        /// Its revision.
        rev: i64,
        /// What its live rows keep.
        leave: Leave,
    },
    /// Deletes a job.
    DeleteJob {
        /// Which.
        id: JobId,
        /// Its revision.
        rev: i64,
        /// What becomes of its live rows.
        live: LiveWork,
        /// What its live rows keep.
        leave: Leave,
    },
    /// Creates or replaces the row of a set.
    PutSet {
        /// What must be there.
        expect: Expect,
        /// The new content.
        set: SetRecord,
    },
    /// Creates or replaces a calendar.
    PutCalendar {
        /// What must be there.
        expect: Expect,
        /// The new content.
        calendar: CalendarRecord,
    },
    /// Deletes a calendar that no trigger names.
    DeleteCalendar {
        /// Which.
        name: Box<str>,
        /// Its revision.
        rev: i64,
    },
    /// Pauses a group of triggers, in place of an older pause of it.
    PauseGroup(PausedGroup),
    /// Lifts the pause of a group of triggers, if there is one.
    ResumeGroup {
        /// Which.
        group: Box<str>,
    },
}

impl Change {
    /// Whether it pauses or resumes a group, so that nobody else may write a trigger meanwhile.
    pub const fn is_of_group(&self) -> bool {
        matches!(self, Self::PauseGroup(_) | Self::ResumeGroup { .. })
    }

    /// Whether it writes a trigger, which the pauses of groups have a say in.
    pub const fn puts_trigger(&self) -> bool {
        matches!(self, Self::PutTrigger { .. })
    }
}

/// What became of a batch of changes.
#[must_use = "a lost race must be looked at"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// All were written.
    All,
    /// The one with this index did not fit; nothing was written.
    Lost {
        /// Its index.
        at: usize,
    },
}

/// Work to put into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enqueue {
    /// The row.
    pub execution: NewExecution,
    /// Run this long after the store's now; `None` runs at `execution.scheduled`.
    pub delay: Option<Duration>,
}

/// What a cancellation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancelled {
    /// Rows that ended at once.
    pub ended: u32,
    /// Rows whose owner was asked to stop them.
    pub asked: u32,
}
