//! The rules: a word, what is wrong, and what is done about it.

use std::fmt;

use serde::{Serialize, Serializer};

/// A state that should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A slot is held by an execution that is not live, or that is of another key.
    SlotOfNobody,
    /// An owned row that needs a slot holds none.
    OwnedWithoutSlot,
    /// A live row has a record in the history.
    LiveAndEnded,
    /// A live row belongs to a node that is not up.
    OwnerGone,
    /// Work waits for a slot of a key that has a free one.
    WaitsForNothing,
    /// A live row was set aside.
    Held,
    /// There is a beat of a node that is not up.
    BeatWithoutNode,
    /// A node is up and has no beat.
    NodeWithoutBeat,
    /// A trigger's copies of what its job and its rules say are not those.
    TriggerCopies,
    /// A job's copies of what its rules say are not those.
    JobCopies,
    /// An active trigger has no next instant, or no time to wake at.
    ActiveWithoutNext,
    /// An active trigger is under a pause, or a paused one under none.
    PauseDiffers,
    /// A trigger was set aside.
    TriggerInError,
    /// A trigger's job is not there.
    JobMissing,
    /// The calendar that a trigger names is not there.
    CalendarMissing,
    /// A row cannot be understood.
    Unreadable,
}

/// Who deals with a finding, and how: one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A repair does this.
    Repair(&'static str),
    /// Any node that is up does this by itself; if it stays, do that.
    Nodes(&'static str),
    /// No repair is safe; a person has to do this.
    Person(&'static str),
}

impl Remedy {
    /// The sentence.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Repair(sentence) | Self::Nodes(sentence) | Self::Person(sentence) => sentence,
        }
    }
}

impl Rule {
    /// All rules, in the order in which findings are listed and mended.
    pub const ALL: [Self; 16] = [
        Self::SlotOfNobody,
        Self::OwnedWithoutSlot,
        Self::LiveAndEnded,
        Self::OwnerGone,
        Self::WaitsForNothing,
        Self::Held,
        Self::BeatWithoutNode,
        Self::NodeWithoutBeat,
        Self::TriggerCopies,
        Self::JobCopies,
        Self::ActiveWithoutNext,
        Self::PauseDiffers,
        Self::TriggerInError,
        Self::JobMissing,
        Self::CalendarMissing,
        Self::Unreadable,
    ];

    /// Its word, which never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SlotOfNobody => "slot-of-nobody",
            Self::OwnedWithoutSlot => "owned-without-slot",
            Self::LiveAndEnded => "live-and-ended",
            Self::OwnerGone => "owner-gone",
            Self::WaitsForNothing => "waits-for-nothing",
            Self::Held => "held",
            Self::BeatWithoutNode => "beat-without-node",
            Self::NodeWithoutBeat => "node-without-beat",
            Self::TriggerCopies => "trigger-copies",
            Self::JobCopies => "job-copies",
            Self::ActiveWithoutNext => "active-without-next",
            Self::PauseDiffers => "pause-differs",
            Self::TriggerInError => "trigger-in-error",
            Self::JobMissing => "job-missing",
            Self::CalendarMissing => "calendar-missing",
            Self::Unreadable => "unreadable",
        }
    }

    /// What is wrong, in one sentence.
    pub const fn wrong(self) -> &'static str {
        match self {
            Self::SlotOfNobody => "A slot is held by an execution that is not live or has another key.",
            Self::OwnedWithoutSlot => "An owned execution of an exclusive key holds no slot of it.",
            Self::LiveAndEnded => "An execution is live, and the history has its end.",
            Self::OwnerGone => "An execution is owned by a node that is not up.",
            Self::WaitsForNothing => "Work waits for a slot of a key that has a free one.",
            Self::Held => "An execution was set aside because its row could not be understood.",
            Self::BeatWithoutNode => "There is a beat of a node that is not up.",
            Self::NodeWithoutBeat => "A node is up and has no beat.",
            Self::TriggerCopies => "What a trigger copies from its job and its rules is not what they say.",
            Self::JobCopies => "What a job copies from its rules is not what they say.",
            Self::ActiveWithoutNext => "An active trigger has no next instant, so it never fires.",
            Self::PauseDiffers => "An active trigger is under a pause, or a paused one under none.",
            Self::TriggerInError => "A trigger was set aside, and does not fire.",
            Self::JobMissing => "The job of a trigger is not there, so it never fires.",
            Self::CalendarMissing => "The calendar that a trigger names is not there.",
            Self::Unreadable => "A row cannot be understood.",
        }
    }

    /// What is done about it.
    pub const fn remedy(self) -> Remedy {
        match self {
            Self::SlotOfNobody => Remedy::Repair("Frees the slot and wakes whoever waits for it."),
            Self::OwnedWithoutSlot => {
                Remedy::Person("Wait until it ends; until then another one of its key may run beside it.")
            }
            Self::LiveAndEnded => Remedy::Repair("Deletes the live row and frees its slot; its end stands."),
            Self::OwnerGone => Remedy::Nodes("Start a node: any node offers the work again."),
            Self::WaitsForNothing => Remedy::Repair("Wakes as many as there are free slots."),
            Self::Held => Remedy::Person("Cancel it, or correct its row and set it to ready by hand."),
            Self::BeatWithoutNode => Remedy::Repair("Deletes the beat."),
            Self::NodeWithoutBeat => Remedy::Nodes(
                "Start a node: it declares this one dead, and that one joins again if it lives.",
            ),
            Self::TriggerCopies | Self::JobCopies => Remedy::Repair("Writes the copies again."),
            Self::ActiveWithoutNext | Self::TriggerInError => {
                Remedy::Person("Write its definition again, which computes its next instant.")
            }
            Self::PauseDiffers => Remedy::Person(
                "Pause or resume it, or its group, once more. A node of an older version wrote it.",
            ),
            Self::JobMissing => Remedy::Person("Delete the trigger, or define it again with its job."),
            Self::CalendarMissing => Remedy::Person("Write the calendar, or a definition without it."),
            Self::Unreadable => Remedy::Person("Correct the column, or write the definition again."),
        }
    }

    /// Whether a cluster that does its work may be in this state for a moment, so that only two looks tell.
    pub const fn passes(self) -> bool {
        matches!(self, Self::OwnerGone | Self::WaitsForNothing | Self::NodeWithoutBeat)
    }

    /// Whether there is a repair.
    pub const fn has_repair(self) -> bool {
        matches!(self.remedy(), Remedy::Repair(_))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
