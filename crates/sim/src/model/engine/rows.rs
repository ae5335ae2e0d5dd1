//! The tables, their keys and their rows: as few columns as the protocol's guards look at.

/// A primary key of one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    /// A node, by its id.
    Node(u8),
    /// The beat of a node.
    Beat(u8),
    /// A trigger.
    Trigger(u8),
    /// The one place of the exclusive key.
    Slot,
    /// A live execution.
    Live(u8),
    /// The record of an execution that has ended.
    History(u8),
    /// The record of instants of a trigger that are left out, by trigger, generation and first instant.
    Skip(u8, u8, u8),
    /// What the work of an execution has written in the user's own table; written a second time it is another row.
    Effect(u8, u8),
}

/// A row of the table that its key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Row {
    Node(Node),
    Beat(u8),
    Trigger(Trigger),
    Slot(Slot),
    Live(Live),
    History(History),
    Skip { until: u8 },
    Effect,
}

/// What the cluster thinks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    Up,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) standing: Standing,
    pub(crate) standby: bool,
    pub(crate) gate: u8,
    /// Which process joined under this id, as its name says. The protocol does not look at it.
    pub(crate) process: u8,
    /// How often a process has joined under this id. Only the witness looks at it.
    pub(crate) life: u8,
    /// The commands that were given to the node. Only the witness looks at them.
    pub(crate) orders: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TriggerState {
    Active,
    Complete,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Trigger {
    pub(crate) state: TriggerState,
    pub(crate) rev: u8,
    pub(crate) fire_seq: u8,
    pub(crate) generation: u8,
    pub(crate) next: Option<u8>,
    pub(crate) last: Option<u8>,
    /// Whether it waits for a slot: its wake-up is later than its instant.
    pub(crate) is_parked: bool,
    /// How often somebody has edited it. Only the witness looks at it.
    pub(crate) edition: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) holder: Option<u8>,
    pub(crate) fence: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WorkState {
    Ready,
    Claimed,
    Running,
}

/// One instant of one generation of a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Occurrence {
    pub(crate) trigger: u8,
    pub(crate) generation: u8,
    pub(crate) scheduled: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Live {
    pub(crate) of: Occurrence,
    pub(crate) state: WorkState,
    pub(crate) owner: Option<u8>,
    pub(crate) fence: u8,
    pub(crate) attempt: u8,
    pub(crate) losses: u8,
    pub(crate) is_parked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct History {
    pub(crate) of: Occurrence,
    pub(crate) outcome: Outcome,
    pub(crate) fence: u8,
}

impl Row {
    pub(crate) const fn node(self) -> Option<Node> {
        if let Self::Node(node) = self { Some(node) } else { None }
    }

    pub(crate) const fn beat(self) -> Option<u8> {
        if let Self::Beat(beat) = self { Some(beat) } else { None }
    }

    pub(crate) const fn trigger(self) -> Option<Trigger> {
        if let Self::Trigger(trigger) = self { Some(trigger) } else { None }
    }

    pub(crate) const fn slot(self) -> Option<Slot> {
        if let Self::Slot(slot) = self { Some(slot) } else { None }
    }

    pub(crate) const fn live(self) -> Option<Live> {
        if let Self::Live(live) = self { Some(live) } else { None }
    }

    pub(crate) const fn history(self) -> Option<History> {
        if let Self::History(record) = self { Some(record) } else { None }
    }
}
