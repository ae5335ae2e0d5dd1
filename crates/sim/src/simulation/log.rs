//! What is written down of a run: handed to the checker, hashed, and counted.

use std::collections::BTreeMap;

use punctual_checker::{BodyEvent, Checker, FaultEvent};
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
    kept: Option<Vec<String>>,
}

/// FNV-1a, which needs no key and stays the same.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl Log {
    pub(crate) fn new(checker: Checker) -> Self {
        Self { checker, hash: OFFSET, line: Vec::new(), faults: BTreeMap::new(), kept: None }
    }

    /// Keeps the lines, too.
    pub(crate) fn keep_lines(&mut self) {
        self.kept = Some(Vec::new());
    }

    pub(crate) fn node(&mut self, stamped: &Stamped) {
        self.write(stamped);
        self.checker.node_event(stamped.clone());
    }

    pub(crate) fn body(&mut self, event: &BodyEvent) {
        self.write(event);
        self.checker.body_event(event);
    }

    pub(crate) fn fault(&mut self, event: &FaultEvent) {
        self.write(event);
        self.checker.fault_event(event.clone());
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn write(&mut self, event: &impl Serialize) {
        self.line.clear();
        serde_json::to_writer(&mut self.line, event).expect("events can be written as JSON");
        for byte in &self.line {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(String::from_utf8_lossy(&self.line).into_owned());
        }
    }

    /// Ends the log.
    pub(crate) fn close(self) -> Closed {
        let Self { checker, hash, faults, kept, .. } = self;
        Closed { checker, hash, faults, lines: kept.unwrap_or_default() }
    }
}

/// What a log comes to.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) checker: Checker,
    pub(crate) hash: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    pub(crate) lines: Vec<String>,
}
