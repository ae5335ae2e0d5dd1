//! What the demo does to its cluster, written down as it is done: the checker reads it, and nothing else counts it.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use punctual_checker::FaultEvent;
use serde::Serialize;

use super::failed::Failed;

/// The log of faults, one JSON line each.
#[derive(Debug)]
pub(crate) struct FaultLog {
    file: File,
    path: PathBuf,
}

impl FaultLog {
    /// Begins the log.
    pub(crate) fn create(path: PathBuf) -> Result<Self, Failed> {
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        Ok(Self { file: file.map_err(Failed::at(path.display()))?, path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a fault.
    pub(crate) fn note(&mut self, fault: &FaultEvent) -> Result<(), Failed> {
        let mut line = serde_json::to_vec(fault).map_err(Failed::at("a fault"))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(Failed::at(self.path.display()))
    }
}

/// How often what was done, by the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Done {
    /// Processes that were killed.
    pub(crate) kills: u64,
    /// Processes that were frozen.
    pub(crate) freezes: u64,
    /// Processes that were started in the place of a dead one.
    pub(crate) restarts: u64,
    /// How often the database's server was restarted.
    pub(crate) database_restarts: u64,
    /// For how long the store answered nobody then.
    pub(crate) database_down_ms: u64,
}

/// Counts what the log says.
pub(crate) fn count(path: &Path) -> Result<Done, Failed> {
    let reader = BufReader::new(File::open(path).map_err(Failed::at(path.display()))?);
    let mut done = Done::default();
    let mut alive = BTreeSet::new();
    for line in reader.lines() {
        let line = line.map_err(Failed::at(path.display()))?;
        match serde_json::from_str(&line).map_err(Failed::at(path.display()))? {
            FaultEvent::Start { pid, .. } => drop(alive.insert(pid)),
            FaultEvent::Restart { pid, .. } => {
                done.restarts += 1;
                alive.insert(pid);
            }
            FaultEvent::Kill { pid, .. } => done.kills += u64::from(alive.remove(&pid)),
            FaultEvent::KillAll { .. } => {
                done.kills += u64::try_from(alive.len()).unwrap_or(u64::MAX);
                alive.clear();
            }
            FaultEvent::Exit { pid, .. } => drop(alive.remove(&pid)),
            FaultEvent::Freeze { .. } => done.freezes += 1,
            FaultEvent::Outage { boot_us, until_us, .. } => {
                done.database_restarts += 1;
                let down = until_us.since(boot_us).as_millis();
                done.database_down_ms += u64::try_from(down).unwrap_or(u64::MAX);
            }
            _ => {}
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use punctual_core::BootInstant;

    use super::*;

    #[test]
    fn the_log_is_what_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = FaultLog::create(dir.path().join("faults.jsonl")).unwrap();
        let boot_us = BootInstant::from_micros(1);
        for pid in 1..=3 {
            log.note(&FaultEvent::Start { pid, boot_us }).unwrap();
        }
        log.note(&FaultEvent::Kill { pid: 1, node: None, boot_us }).unwrap();
        log.note(&FaultEvent::Exit { pid: 1, boot_us }).unwrap();
        log.note(&FaultEvent::Restart { pid: 4, boot_us }).unwrap();
        log.note(&FaultEvent::Freeze { pid: 4, node: None, boot_us }).unwrap();
        log.note(&FaultEvent::KillAll { boot_us }).unwrap();
        let until_us = BootInstant::from_micros(2_500_001);
        log.note(&FaultEvent::Outage { what: "x".to_owned(), boot_us, until_us }).unwrap();
        let done = count(log.path()).unwrap();
        let expected =
            Done { kills: 4, freezes: 1, restarts: 1, database_restarts: 1, database_down_ms: 2500 };
        assert_eq!(done, expected);
        assert!(FaultLog::create(log.path().to_owned()).is_err(), "a log of another run is not continued");
    }
}
