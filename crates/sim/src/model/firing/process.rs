//! A process, with the node that it is at the moment.

use crate::model::steps::{Claim, Frame};

/// How far a claimed execution has come in its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Its beginning is to be recorded first.
    Marking,
    Body,
    /// The body has ended by itself.
    Ended,
    /// The body was stopped.
    Stopped,
    /// The body was never begun.
    Refused,
}

/// A claimed execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    pub(crate) claim: Claim,
    pub(crate) attempt: u8,
    pub(crate) losses: u8,
    pub(crate) phase: Phase,
}

/// A row that names the node though the node does not run it, and the claims that had begun when it was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stranger {
    pub(crate) exec: u8,
    pub(crate) fence: u8,
    pub(crate) begun: u8,
}

/// The loops of a node; each has one step under way at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    /// Claims.
    Work,
    /// Begins and ends.
    Results,
    /// Checks in, takes over, recovers and hands back.
    Members,
}

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Work, Self::Results, Self::Members];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) is_alive: bool,
    /// The id of its node.
    pub(crate) id: u8,
    /// The last beat that it knows of, 0 if it has not joined.
    pub(crate) beat: u8,
    /// The lease from this beat, and from all before it, is over.
    pub(crate) over: u8,
    pub(crate) lanes: [Option<Frame>; 3],
    pub(crate) running: Vec<Run>,
    /// How many claims have begun and have been answered.
    pub(crate) begun: u8,
    pub(crate) answered: u8,
    pub(crate) strangers: Vec<Stranger>,
    /// Rows that are to be handed back.
    pub(crate) forgotten: Vec<(u8, u8)>,
    /// The beats of others, as the last check-in showed them.
    pub(crate) seen: Vec<(u8, u8)>,
    /// Nodes whose work is to be taken back.
    pub(crate) gone: Vec<u8>,
    pub(crate) looks: u8,
    pub(crate) checks: u8,
}

impl Process {
    pub(crate) const fn new(id: u8, seen: Vec<(u8, u8)>, looks: u8, checks: u8) -> Self {
        Self {
            is_alive: true,
            id,
            beat: 1,
            over: 0,
            lanes: [None, None, None],
            running: Vec::new(),
            begun: 0,
            answered: 0,
            strangers: Vec::new(),
            forgotten: Vec::new(),
            seen,
            gone: Vec::new(),
            looks,
            checks,
        }
    }

    pub(crate) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.lanes.iter().flatten()
    }

    pub(crate) fn lane(&self, lane: Lane) -> Option<&Frame> {
        self.place(lane).and_then(Option::as_ref)
    }

    pub(crate) fn is_idle(&self, lane: Lane) -> bool {
        self.lane(lane).is_none()
    }

    fn place(&self, lane: Lane) -> Option<&Option<Frame>> {
        let [work, results, members] = &self.lanes;
        Some(match lane {
            Lane::Work => work,
            Lane::Results => results,
            Lane::Members => members,
        })
    }

    pub(crate) const fn place_mut(&mut self, lane: Lane) -> &mut Option<Frame> {
        let [work, results, members] = &mut self.lanes;
        match lane {
            Lane::Work => work,
            Lane::Results => results,
            Lane::Members => members,
        }
    }

    /// Whether its lease lets it start work.
    pub(crate) const fn may_start(&self) -> bool {
        self.beat > self.over
    }

    pub(crate) fn runs(&self, exec: u8) -> bool {
        self.running.iter().any(|run| run.claim.exec == exec)
    }

    /// The claims whose bodies run.
    pub(crate) fn bodies(&self) -> Vec<Claim> {
        self.running.iter().filter(|run| run.phase == Phase::Body).map(|run| run.claim).collect()
    }

    /// Stops what a lost lease stops.
    pub(crate) fn stop(&mut self, which: impl Fn(&Run) -> bool) {
        for run in self.running.iter_mut().filter(|run| run.phase == Phase::Body && which(run)) {
            run.phase = Phase::Stopped;
        }
    }
}
