//! What is written down of a run: handed to the checker, hashed, and counted.

use std::collections::BTreeMap;

use punctual_checker::{BodyEvent, Checker, FaultEvent, InputError};
use punctual_core::event::Stamped;
use serde::Serialize;

use super::fault::Fault;

/// What is written down.
#[derive(Debug)]
pub(crate) struct Log {
    checker: Checker,
    hash: u64,
    line: Vec<u8>,
    faults: BTreeMap<Fault, u64>,
    /// The first line that the checker could not read, which is a mistake of the simulation.
    unread: Option<InputError>,
    kept: Option<Vec<String>>,
}

/// FNV-1a, which needs no key and stays the same.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl Log {
    pub(crate) fn new(checker: Checker) -> Self {
        Self { checker, hash: OFFSET, line: Vec::new(), faults: BTreeMap::new(), unread: None, kept: None }
    }

    /// Keeps the lines, too.
    pub(crate) fn keep_lines(&mut self) {
        self.kept = Some(Vec::new());
    }

    pub(crate) fn node(&mut self, stamped: &Stamped) {
        self.write(stamped, |checker, line| checker.journal(line, "journal"));
    }

    pub(crate) fn body(&mut self, event: &BodyEvent) {
        self.write(event, |checker, line| checker.bodies(line, "bodies"));
    }

    pub(crate) fn fault(&mut self, event: &FaultEvent) {
        self.write(event, |checker, line| checker.faults(line, "faults"));
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn write(
        &mut self,
        event: &impl Serialize,
        read: impl FnOnce(&mut Checker, &[u8]) -> Result<(), InputError>,
    ) {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event).expect("events can be written as JSON");
        for byte in &self.line {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(String::from_utf8_lossy(&self.line).into_owned());
        }
        if let Err(error) = read(&mut self.checker, &self.line) {
            self.unread.get_or_insert(error);
        }
    }

    /// Ends the log.
    pub(crate) fn close(self) -> Closed {
        let Self { checker, hash, faults, unread, kept, .. } = self;
        let unread = unread.map(|error| error.to_string());
        Closed { checker, hash, faults, unread, lines: kept.unwrap_or_default() }
    }
}

/// What a log comes to.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) checker: Checker,
    pub(crate) hash: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) unread: Option<String>,
    pub(crate) lines: Vec<String>,
}
