//! Finds out whether somebody holds the database's write lock and does not let go of it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::failed::Failed;

/// A connection of its own to the nodes' database, which writes nothing.
#[derive(Debug)]
pub(crate) struct Probe(Connection);

impl Probe {
    /// Opens the file, which must be there.
    pub(crate) fn open(db: &Path) -> Result<Self, Failed> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(db, flags).map(Self).map_err(Failed::at(db.display()))
    }

    /// Whether the write lock could not be had for as long as `patience`.
    pub(crate) fn stuck(&self, patience: Duration) -> Result<bool, Failed> {
        self.0.busy_timeout(patience).map_err(Failed::at("the busy timeout"))?;
        match self.0.execute_batch("BEGIN IMMEDIATE; ROLLBACK") {
            Ok(()) => Ok(false),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(true),
            Err(error) => Err(Failed::at("trying the write lock")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_write_lock_is_seen_and_a_free_one_is_left_free() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(x)").unwrap();
        let probe = Probe::open(&path).unwrap();
        let patience = Duration::from_millis(20);
        assert!(!probe.stuck(patience).unwrap());
        other.execute_batch("BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
        assert!(probe.stuck(patience).unwrap());
        other.execute_batch("COMMIT").unwrap();
        assert!(!probe.stuck(patience).unwrap());
    }
}
