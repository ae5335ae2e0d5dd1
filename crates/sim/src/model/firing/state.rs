//! All there is at one moment.

use super::process::Process;
use crate::model::alarm::Alarm;
use crate::model::engine::Database;
use crate::model::steps::Frame;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) database: Database,
    pub(crate) processes: Vec<Process>,
    /// The step of whoever edits triggers and commands nodes.
    pub(crate) editor: Option<Frame>,
    /// Steps that go on in the server though their clients are gone.
    pub(crate) late: Vec<Frame>,
    /// How much of each may still happen.
    pub(crate) faults: u8,
    pub(crate) deaths: u8,
    pub(crate) edits: u8,
    pub(crate) standbys: u8,
    /// The next id that a node draws.
    pub(crate) next_node: u8,
    /// How often the body of each execution has begun; counted for work that runs at most once.
    pub(crate) begun: Vec<u8>,
    /// The promises that were broken on the way here.
    pub(crate) alarms: u16,
    /// Whether the faults are over and everything is let run to its end.
    pub(crate) heals: bool,
}

impl State {
    pub(crate) fn alarm(&mut self, alarm: Alarm) {
        self.alarms |= alarm.bit();
    }

    pub(crate) fn alarm_if(&mut self, is_broken: bool, alarm: Alarm) {
        if is_broken {
            self.alarm(alarm);
        }
    }

    /// Counts a body that has begun.
    pub(crate) fn has_begun(&mut self, exec: u8) {
        let at = usize::from(exec);
        if self.begun.len() <= at {
            self.begun.resize(at + 1, 0);
        }
        let mut is_twice = false;
        if let Some(count) = self.begun.get_mut(at) {
            *count += 1;
            is_twice = *count > 1;
        }
        self.alarm_if(is_twice, Alarm::G6);
    }

    /// A session number that no step under way has.
    pub(crate) fn free_session(&self) -> u8 {
        let used = |session: u8| {
            let of_processes = self.processes.iter().flat_map(Process::frames);
            of_processes.chain(&self.editor).chain(&self.late).any(|frame| frame.session == session)
        };
        (0..u8::MAX).find(|session| !used(*session)).unwrap_or(u8::MAX)
    }
}
