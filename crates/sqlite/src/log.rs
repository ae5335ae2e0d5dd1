//! When pages go from the write-ahead log back into the file, and when the log begins anew.
//!
//! SQLite by itself writes back at every commit once the log is long, and the log begins anew only when a commit finds
//! nobody who reads from it. Where several processes write and read all the time that is never: the log would take the
//! whole disk, and every page of it is one that the machine has not had in use before, which costs more than writing it.
//! Here a certain number of pages is waited for each time, and nobody waits meanwhile: it happens after a step has been
//! answered. Only a log that has not begun anew by itself makes others wait, for a moment.

use std::time::Duration;

use rusqlite::{Connection, Row};

use crate::sql;
use crate::worker::with_patience;

/// How many pages of the log are new before they are written back. Work that comes and goes writes the same pages over and
/// over; the more of that is in the log, the fewer pages are written back.
const PAGES: i64 = 16_000;

/// How many more pages a log has that should have begun anew. From here on it is made to, and each time that it does not
/// it is tried again after as many.
const SPARE: i64 = PAGES / 8;

/// How long others may be kept from writing so that the log can begin anew. Readers mostly need a few milliseconds; for
/// who reads longer nobody waits, and the log grows.
const PATIENCE: Duration = Duration::from_millis(50);

/// Looks after the log of a connection that writes.
#[derive(Debug, Default)]
pub(crate) struct Log {
    changes: Option<u64>,
    tried: i64,
}

impl Log {
    /// Writes back what has come together, if that is enough. Whatever fails here is tried again after the next step.
    pub(crate) fn tend(&mut self, connection: &Connection) {
        let changes = connection.total_changes();
        if self.changes.replace(changes) == Some(changes) {
            return;
        }
        let Some((length, written_back)) = run(connection, sql::LOG_LENGTH) else { return };
        if length < self.tried {
            self.tried = 0;
        }
        if length >= PAGES + SPARE && length >= self.tried + SPARE {
            self.tried = length;
            // Most of it first, for which nobody waits. If another process is at it, the rest is its task, too.
            if run(connection, sql::WRITE_BACK).is_some() {
                let begun = with_patience(PATIENCE, || run(connection, sql::BEGIN_ANEW));
                if begun.is_none() {
                    tracing::debug!(
                        pages = length,
                        "the log of an SQLite file could not begin anew: somebody reads it"
                    );
                }
            }
        } else if length < PAGES + SPARE && length - written_back >= PAGES {
            run(connection, sql::WRITE_BACK);
        }
    }
}

/// Runs a statement that answers with the length of the log and how much of it is written back, in pages. None if it was
/// in the way of others, or they in its way.
fn run(connection: &Connection, sql: &str) -> Option<(i64, i64)> {
    let mut statement = connection.prepare_cached(sql).ok()?;
    let answer = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, (row.get(1)?, row.get(2)?)));
    let (busy, lengths) = statement.query_row([], answer).ok()?;
    (busy == 0).then_some(lengths)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Two connections to a file with an empty table.
    fn two(folder: &tempfile::TempDir) -> [Connection; 2] {
        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; \
                        CREATE TABLE IF NOT EXISTS item (n INTEGER PRIMARY KEY, data BLOB)";
        [(), ()].map(|()| {
            let connection = Connection::open(folder.path().join("file.db")).unwrap();
            connection.execute_batch(settings).unwrap();
            connection
        })
    }

    /// Writes that many pages and a few more, and answers with the length of the log and how much of it is written back.
    fn fill(connection: &Connection, pages: i64) -> (i64, i64) {
        let sql = "INSERT INTO item (data) WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c \
                   WHERE n < ?1) SELECT zeroblob(4000) FROM c";
        connection.execute(sql, [pages]).unwrap();
        run(connection, sql::LOG_LENGTH).unwrap()
    }

    #[test]
    fn the_log_is_written_back_when_enough_has_come_together() {
        let folder = tempfile::tempdir().unwrap();
        let [connection, _other] = two(&folder);
        let mut log = Log::default();
        let (length, _) = fill(&connection, 1_000);
        log.tend(&connection);
        assert_eq!(run(&connection, sql::LOG_LENGTH), Some((length, 0)));
        let (length, _) = fill(&connection, PAGES - 1_000);
        log.tend(&connection);
        assert_eq!(run(&connection, sql::LOG_LENGTH), Some((length, length)));
        let (length, written_back) = fill(&connection, 1_000);
        assert!(length < PAGES && written_back == 0, "it began anew: {length}, {written_back}");
    }

    thread_local! {
        static OTHER: RefCell<Option<Connection>> = const { RefCell::new(None) };
        static WAITS: Cell<u32> = const { Cell::new(0) };
    }

    /// What happens while a connection waits for the other one: it commits.
    fn other_commits(_tries: i32) -> bool {
        OTHER.with_borrow_mut(Option::take).is_some_and(|other| other.execute_batch("COMMIT").is_ok())
    }

    /// Gives up at once.
    fn count_a_wait(_tries: i32) -> bool {
        WAITS.set(WAITS.get() + 1);
        false
    }

    /// With two busy processes one is always writing when the other one has written back.
    #[test]
    fn a_log_begins_anew_though_somebody_is_always_writing() {
        let folder = tempfile::tempdir().unwrap();
        let [mut connection, other] = two(&folder);
        connection.busy_handler(Some(other_commits as fn(i32) -> bool)).unwrap();
        let (before, _) = fill(&connection, PAGES + SPARE);
        other.execute_batch("BEGIN IMMEDIATE; INSERT INTO item (data) VALUES (x'00')").unwrap();
        OTHER.set(Some(other));
        Log::default().tend(&connection);
        assert!(OTHER.take().is_none(), "it waited for the other one");
        let (length, written_back) = run(&connection, sql::LOG_LENGTH).unwrap();
        assert!(length > before && written_back == length, "{before}, then {length}, {written_back}");
        let (length, written_back) = fill(&connection, 1);
        assert!(length < 10 && written_back == 0, "it began anew: {length}, {written_back}");
    }

    /// A listing that takes long must not stop those who write again and again.
    #[test]
    fn who_reads_for_long_is_waited_for_once_in_a_while_only() {
        let folder = tempfile::tempdir().unwrap();
        let [mut connection, reader] = two(&folder);
        reader.execute_batch("BEGIN; SELECT count(*) FROM item").unwrap();
        connection.busy_handler(Some(count_a_wait as fn(i32) -> bool)).unwrap();
        let mut log = Log::default();
        let mut waits = |pages| {
            fill(&connection, pages);
            log.tend(&connection);
            WAITS.take()
        };
        assert_eq!([waits(PAGES + SPARE), waits(1), waits(SPARE), waits(1)], [1, 0, 1, 0]);
        reader.execute_batch("COMMIT").unwrap();
        assert_eq!([waits(SPARE), waits(1)], [0, 0]);
        assert!(run(&connection, sql::LOG_LENGTH).unwrap().0 < 10);
    }
}
