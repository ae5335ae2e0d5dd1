//! What SQLite's result codes mean for the caller: one table.

use std::path::Path;

use punctual_core::{Error, ErrorKind};
use rusqlite::ffi;

/// What can go wrong inside a step.
pub(crate) enum Failure {
    /// SQLite refused something.
    Sqlite(rusqlite::Error),
    /// The step itself found something wrong; the transaction is rolled back all the same.
    Core(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// What a result code means, and what the caller should do about it.
struct Meaning {
    code: i32,
    kind: ErrorKind,
    advice: &'static str,
}

const fn meaning(code: i32, kind: ErrorKind, advice: &'static str) -> Meaning {
    Meaning { code, kind, advice }
}

/// By primary result code (the lower byte of an extended one). What is not here is `Internal`.
const MEANINGS: &[Meaning] = &[
    meaning(
        ffi::SQLITE_BUSY,
        ErrorKind::Unavailable,
        "another process holds the write lock for too long; look for one that hangs or is stopped",
    ),
    meaning(ffi::SQLITE_LOCKED, ErrorKind::Unavailable, "another connection of this process is writing"),
    meaning(ffi::SQLITE_NOMEM, ErrorKind::Unavailable, "there is not enough memory"),
    meaning(ffi::SQLITE_INTERRUPT, ErrorKind::Unavailable, "the statement was interrupted"),
    meaning(
        ffi::SQLITE_FULL,
        ErrorKind::Unavailable,
        "the disk is full; make room, and the step will be repeated",
    ),
    meaning(ffi::SQLITE_IOERR, ErrorKind::Unavailable, "the disk or file system reports an error; check it"),
    meaning(
        ffi::SQLITE_PROTOCOL,
        ErrorKind::Unavailable,
        "the write-ahead log could not be locked; too many processes start at once, or the file system lacks locks",
    ),
    meaning(
        ffi::SQLITE_CANTOPEN,
        ErrorKind::Unavailable,
        "the file cannot be opened; check that its directory exists and may be written to",
    ),
    meaning(
        ffi::SQLITE_READONLY,
        ErrorKind::Unsupported,
        "the file or its directory is read-only; give this user the right to write both, or choose another path",
    ),
    meaning(
        ffi::SQLITE_PERM,
        ErrorKind::Unsupported,
        "access is denied; give this user the right to read and write the file and its directory",
    ),
    meaning(
        ffi::SQLITE_AUTH,
        ErrorKind::Unsupported,
        "access is denied; give this user the right to read and write the file and its directory",
    ),
    meaning(
        ffi::SQLITE_NOTADB,
        ErrorKind::Invalid,
        "the file is not an SQLite database; choose another path, or move the file away",
    ),
    meaning(
        ffi::SQLITE_CORRUPT,
        ErrorKind::Corrupt,
        "the file is damaged; stop all processes, and restore it from a backup or try `sqlite3 FILE .recover`",
    ),
    meaning(
        ffi::SQLITE_TOOBIG,
        ErrorKind::Invalid,
        "a text or blob is larger than SQLite allows; make it smaller",
    ),
    meaning(
        ffi::SQLITE_CONSTRAINT,
        ErrorKind::Internal,
        "a unique key or check was breached that no step should breach; please report it",
    ),
    meaning(
        ffi::SQLITE_SCHEMA,
        ErrorKind::Unavailable,
        "another process changed the tables meanwhile; the step may be repeated",
    ),
];

/// The primary result code of a failure that SQLite reported.
pub(crate) fn primary_code(error: &rusqlite::Error) -> Option<i32> {
    match error {
        rusqlite::Error::SqliteFailure(code, _) => Some(code.extended_code & 0xff),
        rusqlite::Error::SqlInputError { error, .. } => Some(error.extended_code & 0xff),
        _ => None,
    }
}

/// Whether a unique key, or another constraint, was breached.
pub(crate) fn is_constraint(failure: &Failure) -> bool {
    matches!(failure, Failure::Sqlite(error) if primary_code(error) == Some(ffi::SQLITE_CONSTRAINT))
}

/// The error of a step on the file `path`.
pub(crate) fn classify(operation: &'static str, path: &Path, failure: Failure) -> Error {
    let error = match failure {
        Failure::Core(error) => return error,
        Failure::Sqlite(error) => error,
    };
    let code = primary_code(&error);
    let known = MEANINGS.iter().find(|meaning| code == Some(meaning.code));
    let path = path.display();
    match known {
        Some(Meaning { kind, advice, .. }) => Error::new(*kind, operation, format!("{path}: {advice}")),
        None => {
            Error::internal(operation, format!("{path}: SQLite failed (code {code:?}); please report it"))
        }
    }
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn of(code: i32) -> Error {
        let failure = rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("native text".to_owned()));
        classify("claim", Path::new("/x/jobs.db"), failure.into())
    }

    #[test]
    fn codes_are_classified_by_what_the_caller_should_do() {
        for (code, kind) in [
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable),
            (ffi::SQLITE_BUSY_RECOVERY, ErrorKind::Unavailable),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorKind::Unavailable),
            (ffi::SQLITE_LOCKED, ErrorKind::Unavailable),
            (ffi::SQLITE_NOMEM, ErrorKind::Unavailable),
            (ffi::SQLITE_FULL, ErrorKind::Unavailable),
            (ffi::SQLITE_IOERR, ErrorKind::Unavailable),
            (ffi::SQLITE_IOERR_FSYNC, ErrorKind::Unavailable),
            (ffi::SQLITE_CANTOPEN, ErrorKind::Unavailable),
            (ffi::SQLITE_READONLY, ErrorKind::Unsupported),
            (ffi::SQLITE_READONLY_DBMOVED, ErrorKind::Unsupported),
            (ffi::SQLITE_PERM, ErrorKind::Unsupported),
            (ffi::SQLITE_NOTADB, ErrorKind::Invalid),
            (ffi::SQLITE_TOOBIG, ErrorKind::Invalid),
            (ffi::SQLITE_CORRUPT, ErrorKind::Corrupt),
            (ffi::SQLITE_CONSTRAINT, ErrorKind::Internal),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, ErrorKind::Internal),
            (ffi::SQLITE_MISUSE, ErrorKind::Internal),
        ] {
            let error = of(code);
            assert_eq!(error.kind(), kind, "{code}: {error}");
            assert!(error.message().starts_with("/x/jobs.db: "), "{error}");
            assert!(error.source().is_some_and(|source| source.to_string().contains("native text")));
        }
    }

    #[test]
    fn what_the_step_found_itself_stays_as_it_is() {
        let error = classify("claim", Path::new("x"), Error::invalid("settle", "no").into());
        assert_eq!((error.kind(), error.operation(), error.message()), (ErrorKind::Invalid, "settle", "no"));
    }
}
