//! What bodies write about themselves, and what a driver writes about the faults it causes.

use punctual_core::key::{ExecutionId, Fence, NodeId, TriggerId, TriggerKey};
use punctual_core::time::{BootInstant, Timestamp};
use serde::{Deserialize, Serialize};

/// One line of a body's own log, appended in one write to a file opened with `O_APPEND`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "body", rename_all = "snake_case")]
pub enum BodyEvent {
    /// The first thing that a body does.
    Begin(BodyStart),
    /// The last thing that a body does.
    End(BodyStart),
    /// The last thing that a body does when it stops because it was told to.
    Cancelled(BodyStart),
}

/// What can be paused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pausable {
    /// A trigger; one that is made anew under its key is not paused.
    Trigger(TriggerId),
    /// A group of triggers.
    Group(Box<str>),
}

/// Which start of which execution a body is, where, and when the line was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyStart {
    /// The execution.
    pub execution: ExecutionId,
    /// The try.
    pub attempt: u32,
    /// The fence that it was claimed under.
    pub fence: Fence,
    /// The trigger, if it has one, as `group/name`.
    #[serde(default)]
    pub trigger: Option<TriggerKey>,
    /// The generation of the trigger's definition.
    #[serde(default)]
    pub generation: Option<i64>,
    /// The scheduled instant, in microseconds since the epoch.
    pub scheduled: Timestamp,
    /// The key that lets one body run at a time; none if its limit is more than one.
    #[serde(default)]
    pub slot: Option<Box<str>>,
    /// The process that the body runs in: its node's, or a child of its own.
    pub pid: u32,
    /// When this line was written, on the host's boot-time clock.
    pub boot_us: BootInstant,
    /// The token that the body would give to other systems. Without it, what a restored store hands out is not judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
}

/// Something that the driver of a run did to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FaultEvent {
    /// A process was started for the first time.
    Start {
        /// The process.
        pid: u32,
        /// When.
        boot_us: BootInstant,
    },
    /// A process was started in the place of one that had been killed.
    Restart {
        /// The new process.
        pid: u32,
        /// When.
        boot_us: BootInstant,
    },
    /// SIGKILL was sent. The stamp is taken just before.
    Kill {
        /// The process.
        pid: u32,
        /// The node in it, if the driver knows it; otherwise the journals say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// When.
        boot_us: BootInstant,
    },
    /// SIGKILL was sent to all processes of the run.
    KillAll {
        /// When.
        boot_us: BootInstant,
    },
    /// SIGSTOP was sent.
    Freeze {
        /// The process.
        pid: u32,
        /// The node in it, if the driver knows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<NodeId>,
        /// When.
        boot_us: BootInstant,
    },
    /// SIGCONT was sent.
    Thaw {
        /// The process.
        pid: u32,
        /// When.
        boot_us: BootInstant,
    },
    /// A process was seen to have ended, for whatever reason.
    Exit {
        /// The process.
        pid: u32,
        /// When that was seen.
        boot_us: BootInstant,
    },
    /// The store answered nobody: its server was restarted, or stopped for a while. Nobody could say then that he
    /// lives, or notice that another one does not.
    Outage {
        /// Why, for people.
        what: String,
        /// When the last good answer before it was asked for.
        boot_us: BootInstant,
        /// When the first good answer after it came.
        until_us: BootInstant,
    },
    /// Something else was wrong for a while: a cut network, a held lock.
    Disturbance {
        /// What, for people.
        what: String,
        /// When it began.
        boot_us: BootInstant,
        /// When it was over.
        until_us: BootInstant,
    },
    /// One process had trouble with its connections to the store: they were cut, slow, silent, or lost an answer.
    Link {
        /// The process.
        pid: u32,
        /// What, for people.
        what: String,
        /// When it began.
        boot_us: BootInstant,
        /// When it was over.
        until_us: BootInstant,
    },
    /// A wall clock was set.
    ClockJump {
        /// The process whose clock it is; none for the store's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        /// By how much, in microseconds; negative if it was set back.
        by_us: i64,
        /// When.
        boot_us: BootInstant,
    },
    /// A node was put into standby, and the command had returned by `at`.
    Standby {
        /// The node.
        node: NodeId,
        /// When, on the store's clock.
        at: Timestamp,
        /// When, on the boot-time clock.
        boot_us: BootInstant,
    },
    /// A node is about to be taken out of standby.
    Resume {
        /// The node.
        node: NodeId,
        /// When, on the store's clock.
        at: Timestamp,
        /// When, on the boot-time clock.
        boot_us: BootInstant,
    },
    /// A trigger or a group of triggers was paused, and the command had returned by `at`. Whoever pauses the same twice
    /// waits in between until it has been resumed.
    Paused {
        /// What.
        what: Pausable,
        /// When, on the store's clock.
        at: Timestamp,
        /// When, on the boot-time clock.
        boot_us: BootInstant,
    },
    /// What was paused is about to be resumed.
    Resuming {
        /// What.
        what: Pausable,
        /// When, on the store's clock.
        at: Timestamp,
        /// When, on the boot-time clock.
        boot_us: BootInstant,
    },
    /// A trigger was deleted, and the command had returned by `at`.
    Unscheduled {
        /// The trigger, whose id is never used again.
        trigger_id: TriggerId,
        /// When, on the store's clock.
        at: Timestamp,
        /// When, on the boot-time clock.
        boot_us: BootInstant,
    },
    /// A trigger's instants were changed, and the command had returned by `at`.
    Rescheduled {
        /// The trigger's key.
        trigger: TriggerKey,
        /// The trigger. One that is deleted and made anew under its key counts its generations from the beginning.
        trigger_id: TriggerId,
        /// The generation that began.
        generation: i64,
        /// When, on the store's clock.
        at: Timestamp,
        /// When, on the boot-time clock.
        boot_us: BootInstant,
    },
    /// The store was put back to an earlier state, from a backup, and its epoch was raised. What happened after the backup
    /// has not happened, as far as the store knows: it is judged by its tokens alone.
    Restored {
        /// When the backup was begun.
        kept_us: BootInstant,
        /// When putting it back was begun.
        boot_us: BootInstant,
        /// When nodes could be started again.
        until_us: BootInstant,
    },
    /// The nodes were asked to stop. Instants up to `at` are owed, so leave time between the two.
    StopRequested {
        /// When.
        boot_us: BootInstant,
        /// The last instant that the nodes had time to decide about, on the store's clock.
        at: Timestamp,
    },
}

impl FaultEvent {
    /// When it happened.
    pub const fn boot(&self) -> BootInstant {
        match self {
            Self::Start { boot_us, .. }
            | Self::Restart { boot_us, .. }
            | Self::Kill { boot_us, .. }
            | Self::KillAll { boot_us }
            | Self::Freeze { boot_us, .. }
            | Self::Thaw { boot_us, .. }
            | Self::Exit { boot_us, .. }
            | Self::Outage { boot_us, .. }
            | Self::Disturbance { boot_us, .. }
            | Self::Link { boot_us, .. }
            | Self::ClockJump { boot_us, .. }
            | Self::Standby { boot_us, .. }
            | Self::Resume { boot_us, .. }
            | Self::Paused { boot_us, .. }
            | Self::Resuming { boot_us, .. }
            | Self::Unscheduled { boot_us, .. }
            | Self::Rescheduled { boot_us, .. }
            | Self::Restored { boot_us, .. }
            | Self::StopRequested { boot_us, .. } => *boot_us,
        }
    }
}

impl BodyEvent {
    /// What all three say.
    pub const fn start(&self) -> &BodyStart {
        match self {
            Self::Begin(start) | Self::End(start) | Self::Cancelled(start) => start,
        }
    }
}
