//! A file for a run, and whether somebody holds its write lock.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::super::failed::Failed;
use super::STUCK;

/// How long a look takes that only wants to know whether a longer one is worth its while.
const GLANCE: Duration = Duration::from_millis(25);

/// The file of a run, which the store makes.
#[derive(Debug)]
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn new(path: PathBuf) -> Result<Self, Failed> {
        if path.exists() {
            let why = "is there already; the demo judges a whole history, so give it an empty --dir and a --db of its own";
            return Err(Failed::new(format!("{} {why}", path.display())));
        }
        Ok(Self(path))
    }

    /// Whether somebody holds the write lock, and keeps it.
    pub(super) fn stands(&self) -> Result<bool, Failed> {
        Ok(stuck(&self.0, GLANCE)? && stuck(&self.0, STUCK)?)
    }
}

/// Whether the write lock cannot be had for as long as `patience`. Writes nothing.
fn stuck(path: &Path, patience: Duration) -> Result<bool, Failed> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(Failed::at(path.display()))?;
    connection.busy_timeout(patience).map_err(Failed::at("the busy timeout"))?;
    match connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
        Ok(()) => Ok(false),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(true),
        Err(error) => Err(Failed::at("trying the write lock")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_write_lock_is_seen_and_a_free_one_is_left_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let file = File::new(path.clone()).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x)").unwrap();
        assert!(!file.stands().unwrap());
        other.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
        assert!(file.stands().unwrap());
        other.execute_batch("COMMIT").unwrap();
        assert!(!file.stands().unwrap());
        assert!(File::new(path).is_err(), "a file with another history is not taken");
    }
}
