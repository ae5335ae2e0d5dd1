//! When pages go from the write-ahead log back into the file.
//!
//! SQLite by itself writes back at every commit once the log is long, and the log begins anew only when a commit finds
//! nobody who reads from it. Where several processes read all the time that is seldom, and until then each page would be
//! written twice at once. Here a certain number of pages is waited for each time, and nobody waits meanwhile: it happens
//! after a step has been answered.

use rusqlite::Connection;

use crate::sql;

/// How many pages of the log are new before they are written back. Work that comes and goes writes the same pages over and
/// over; the more of that is in the log, the fewer pages are written back.
const PAGES: i64 = 16_000;

/// The length of a log that should have begun anew, in pages. From here on it gets a chance sooner.
const LONG: i64 = 2 * PAGES;

/// Looks after the log of a connection that writes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    changes: Option<u64>,
}

impl Log {
    /// Writes back what has come together, if that is enough. Whatever fails here is tried again after the next step.
    pub(crate) fn tend(&mut self, connection: &Connection) {
        let changes = connection.total_changes();
        if self.changes.replace(changes) == Some(changes) {
            return;
        }
        let Some((length, written_back)) = run(connection, sql::LOG_LENGTH) else { return };
        let enough = if length < LONG { PAGES } else { PAGES / 8 };
        if length - written_back >= enough && run(connection, sql::WRITE_BACK).is_none() {
            tracing::debug!("the log of an SQLite file could not be written back");
        }
    }
}

/// Runs a statement that answers with the length of the log and how much of it is written back, in pages.
fn run(connection: &Connection, sql: &str) -> Option<(i64, i64)> {
    let mut statement = connection.prepare_cached(sql).ok()?;
    statement.query_row([], |row| Ok((row.get(1)?, row.get(2)?))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_written_back_when_enough_has_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("file.db")).unwrap();
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; \
                        CREATE TABLE item (n INTEGER PRIMARY KEY, data BLOB)";
        connection.execute_batch(settings).unwrap();
        let mut log = Log::default();
        let fill = |rows: i64| {
            let sql = "INSERT INTO item (data) WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c \
                       WHERE n < ?1) SELECT zeroblob(4000) FROM c";
            connection.execute(sql, [rows]).unwrap();
            run(&connection, sql::LOG_LENGTH).unwrap()
        };
        let (length, _) = fill(1_000);
        log.tend(&connection);
        assert_eq!(run(&connection, sql::LOG_LENGTH), Some((length, 0)));
        let (length, _) = fill(PAGES);
        log.tend(&connection);
        assert_eq!(run(&connection, sql::LOG_LENGTH), Some((length, length)));
        let (length, written_back) = fill(1_000);
        assert!(length < PAGES && written_back == 0, "it began anew: {length}, {written_back}");
    }
}
