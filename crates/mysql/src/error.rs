//! What the server's errors mean for the caller: one table.
//!
//! diesel keeps the text of an error and drops its number, so the table is by text. The texts are the English ones of
//! both servers; sessions are set to them.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use punctual_core::{Error, ErrorKind};

/// What can go wrong inside a step.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server or the driver refused something.
    Sql(DieselError),
    /// There was no connection to be had.
    Connect(String),
    /// A hook of a test closed the connection.
    Cut,
    /// The step itself found something wrong; the transaction is rolled back all the same.
    Core(Error),
}

impl From<DieselError> for Failure {
    fn from(error: DieselError) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// What a step should do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// Roll back and do it again: the server chose this step to give way.
    Again,
    /// Roll back and do it once more: somebody has kept a lock for as long as a session waits for one.
    OnceMore,
    /// Roll back and do it again element by element: a unique key was breached.
    Carefully,
    /// Give up, and the connection too: nobody knows what state it is in.
    Discard,
    /// Roll back and answer.
    Answer,
}

/// What an error text means, and what the caller should do about it.
struct Meaning {
    part: &'static str,
    kind: ErrorKind,
    remedy: Remedy,
    advice: &'static str,
}

const fn meaning(part: &'static str, kind: ErrorKind, remedy: Remedy, advice: &'static str) -> Meaning {
    Meaning { part, kind, remedy, advice }
}

/// Advice to whoever has something of the name that a migration needs.
const TAKEN: &str = "something of that name is there, and no migration of Punctual has made it; rename it, or use another \
                     database";

/// By a part of the text; the first that fits counts. What is not here is `Internal`.
const MEANINGS: &[Meaning] = &[
    // 1213, also as Galera says it when another node was first.
    meaning(
        "Deadlock",
        ErrorKind::Unavailable,
        Remedy::Again,
        "it was chosen to give way in one deadlock after the other; look for statements of others that lock many rows",
    ),
    // 1205. Rolls back only the statement by default.
    meaning(
        "Lock wait timeout exceeded",
        ErrorKind::Unavailable,
        Remedy::OnceMore,
        "another session holds a lock for too long; look for one that hangs, for example in SHOW ENGINE INNODB STATUS",
    ),
    // 1020, from `innodb_snapshot_isolation`.
    meaning(
        "Record has changed since last read",
        ErrorKind::Unavailable,
        Remedy::Again,
        "others change the same rows all the time",
    ),
    // 1412 and 1615: somebody changed a table.
    meaning(
        "Table definition has changed",
        ErrorKind::Unavailable,
        Remedy::Again,
        "somebody changes the tables; try again when that is done",
    ),
    meaning(
        "Prepared statement needs to be re-prepared",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "somebody changes the tables; try again when that is done",
    ),
    // 1062.
    meaning(
        "Duplicate entry",
        ErrorKind::Internal,
        Remedy::Carefully,
        "a unique key was breached that no step should breach; please report it",
    ),
    meaning(
        "Input/output error",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the connection broke; if it goes on, look whether the server runs and can be reached",
    ),
    meaning(
        "onnection was killed",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the server or its administrator ended the connection",
    ),
    meaning(
        "onnection",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the connection broke, or could not be made",
    ),
    meaning(
        "disconnected by the server because of inactivity",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the client was silent for too long; the step may be repeated",
    ),
    meaning(
        "erver shutdown in progress",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the server is being stopped",
    ),
    meaning(
        "gone away",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the connection broke; if it goes on, look whether the server runs and can be reached",
    ),
    meaning(
        "ackets out of order",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the connection was used by two at once, or broke",
    ),
    meaning(
        "buf doesn't have enough data",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "an earlier statement on this connection was cut off",
    ),
    meaning(
        "interrupted",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the statement was ended from outside, or took longer than the server allows",
    ),
    meaning(
        "many connections",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "raise max_connections, or use smaller pools",
    ),
    meaning(
        "max_prepared_stmt_count",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "raise max_prepared_stmt_count; each connection of a node keeps up to 150 statements",
    ),
    meaning(
        "read-only",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the server takes no writes; if it became a replica, connect to the new primary",
    ),
    meaning(
        "READ ONLY",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the server takes no writes; if it became a replica, connect to the new primary",
    ),
    meaning(
        "is full",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the disk or the table space is full; make room, and the step will be repeated",
    ),
    meaning(
        "No space left",
        ErrorKind::Unavailable,
        Remedy::Discard,
        "the disk is full; make room, and the step will be repeated",
    ),
    meaning(
        "max_allowed_packet",
        ErrorKind::Invalid,
        Remedy::Discard,
        "a batch is larger than the server takes; raise max_allowed_packet to 16 MiB at least",
    ),
    meaning(
        "acket too large",
        ErrorKind::Invalid,
        Remedy::Discard,
        "a batch is larger than the server takes; raise max_allowed_packet to 16 MiB at least",
    ),
    meaning("Data too long", ErrorKind::Invalid, Remedy::Answer, "a name or key is longer than its column"),
    meaning("Incorrect string value", ErrorKind::Invalid, Remedy::Answer, "a text is not UTF-8"),
    meaning(
        "Access denied",
        ErrorKind::Unsupported,
        Remedy::Discard,
        "give this user SELECT, INSERT, UPDATE and DELETE on the database, and CREATE, ALTER, INDEX and REFERENCES for \
         migrations; and check its name and password",
    ),
    meaning(
        "command denied",
        ErrorKind::Unsupported,
        Remedy::Answer,
        "give this user SELECT, INSERT, UPDATE and DELETE on the database, and CREATE, ALTER, INDEX and REFERENCES for \
         migrations",
    ),
    // 1050, 1060, 1061: what a migration makes is there already.
    meaning("already exists", ErrorKind::AlreadyExists, Remedy::Answer, TAKEN),
    meaning("Duplicate column name", ErrorKind::AlreadyExists, Remedy::Answer, TAKEN),
    meaning("Duplicate key name", ErrorKind::AlreadyExists, Remedy::Answer, TAKEN),
    meaning(
        "Unknown database",
        ErrorKind::Invalid,
        Remedy::Discard,
        "the database does not exist; create it, or name another one in the URL",
    ),
    meaning(
        "No database selected",
        ErrorKind::Invalid,
        Remedy::Answer,
        "name the database of the store in the URL of the connection",
    ),
    meaning(
        "doesn't exist",
        ErrorKind::Unsupported,
        Remedy::Answer,
        "the tables are missing in the database that this connection uses; run the migrations, or use the store's \
         database",
    ),
    meaning(
        "Unknown column",
        ErrorKind::Unsupported,
        Remedy::Answer,
        "the tables are of another version than this binary; run the migrations, or use a newer binary",
    ),
];

/// Of a text that no meaning fits.
const UNKNOWN: Meaning =
    meaning("", ErrorKind::Internal, Remedy::Answer, "the server refused a statement; please report it");

fn meaning_of(text: &str) -> &'static Meaning {
    MEANINGS.iter().find(|meaning| text.contains(meaning.part)).unwrap_or(&UNKNOWN)
}

fn meaning_of_sql(error: &DieselError) -> &'static Meaning {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _) => meaning_of("Duplicate entry"),
        DieselError::DatabaseError(_, information) => meaning_of(information.message()),
        _ => &UNKNOWN,
    }
}

impl Failure {
    /// What the step should do.
    pub(crate) fn remedy(&self) -> Remedy {
        match self {
            Self::Sql(error) => match meaning_of_sql(error).remedy {
                // Something that the driver or diesel could not make sense of: the connection may be out of step.
                Remedy::Answer if !matches!(error, DieselError::DatabaseError(..)) => Remedy::Discard,
                remedy => remedy,
            },
            Self::Connect(_) | Self::Cut => Remedy::Discard,
            Self::Core(_) => Remedy::Answer,
        }
    }
}

/// The error of a step on the database `place`.
pub(crate) fn classify(operation: &'static str, place: &str, failure: Failure) -> Error {
    match failure {
        Failure::Core(error) => error,
        Failure::Cut => Error::unavailable(operation, format!("{place}: the connection was cut")),
        Failure::Sql(error) => {
            let Meaning { kind, advice, .. } = meaning_of_sql(&error);
            Error::new(*kind, operation, format!("{place}: {advice}")).with_source(error)
        }
        Failure::Connect(text) => {
            let Meaning { kind, advice, .. } = meaning_of(&text);
            let kind = if *kind == ErrorKind::Internal { ErrorKind::Unavailable } else { *kind };
            Error::new(kind, operation, format!("{place}: {advice}")).with_source(text)
        }
    }
}

/// What a closure of diesel-async's `transaction` can end with: an error of the store, or one of diesel.
///
/// `?` turns both into it. Applications with an error type of their own need not use it.
#[derive(Debug)]
pub enum TransactionError {
    /// The store refused or could not do something.
    Store(Error),
    /// A statement of the application, or the commit, failed.
    Diesel(DieselError),
}

impl From<Error> for TransactionError {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<DieselError> for TransactionError {
    fn from(error: DieselError) -> Self {
        Self::Diesel(error)
    }
}

impl std::fmt::Display for TransactionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Diesel(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TransactionError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Diesel(error) => Some(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn server(text: &str) -> Failure {
        DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_owned())).into()
    }

    #[test]
    fn texts_are_classified_by_what_the_caller_should_do() {
        use {ErrorKind as K, Remedy as R};
        for (text, kind, remedy) in [
            ("Deadlock found when trying to get lock; try restarting transaction", K::Unavailable, R::Again),
            ("Deadlock: wsrep aborted transaction", K::Unavailable, R::Again),
            ("Record has changed since last read in table 'punctual_job'", K::Unavailable, R::Again),
            ("Lock wait timeout exceeded; try restarting transaction", K::Unavailable, R::OnceMore),
            ("Duplicate entry 'x' for key 'PRIMARY'", K::Internal, R::Carefully),
            ("Input/output error: can't parse: buf doesn't have enough data", K::Unavailable, R::Discard),
            ("Input/output error: Connection reset by peer (os error 104)", K::Unavailable, R::Discard),
            ("Connection was killed", K::Unavailable, R::Discard),
            ("Driver error: `Connection to the server is closed.'", K::Unavailable, R::Discard),
            ("Server shutdown in progress", K::Unavailable, R::Discard),
            ("Too many connections", K::Unavailable, R::Discard),
            ("Query execution was interrupted", K::Unavailable, R::Discard),
            ("Query execution was interrupted (max_statement_time exceeded)", K::Unavailable, R::Discard),
            (
                "The MariaDB server is running with the --read-only option so it cannot execute",
                K::Unavailable,
                R::Discard,
            ),
            ("Cannot execute statement in a READ ONLY transaction", K::Unavailable, R::Discard),
            ("The table 'punctual_history' is full", K::Unavailable, R::Discard),
            ("Got a packet bigger than 'max_allowed_packet' bytes", K::Invalid, R::Discard),
            ("Data too long for column 'slot_key' at row 1", K::Invalid, R::Answer),
            ("Access denied for user 'x'@'localhost' (using password: YES)", K::Unsupported, R::Discard),
            ("Unknown database 'jobs'", K::Invalid, R::Discard),
            ("Table 'jobs.punctual_job' doesn't exist", K::Unsupported, R::Answer),
            ("Unknown column 'slot_limit' in 'field list'", K::Unsupported, R::Answer),
            ("Table 'punctual_job' already exists", K::AlreadyExists, R::Answer),
            ("Duplicate key name 'job_set'", K::AlreadyExists, R::Answer),
            ("something new", K::Internal, R::Answer),
        ] {
            assert_eq!(server(text).remedy(), remedy, "{text}");
            let error = classify("claim", "jobs", server(text));
            assert_eq!(error.kind(), kind, "{text}: {error}");
            assert!(error.message().starts_with("jobs: "), "{error}");
            assert!(error.source().is_some_and(|source| source.to_string().contains(text)));
        }
    }

    #[test]
    fn a_connection_that_cannot_be_had_is_unavailable_whatever_the_reason() {
        for (text, kind) in [
            ("Connection refused (os error 111)", ErrorKind::Unavailable),
            ("something new", ErrorKind::Unavailable),
            ("Access denied for user 'x'@'localhost'", ErrorKind::Unsupported),
        ] {
            let failure = Failure::Connect(text.to_owned());
            assert_eq!(failure.remedy(), Remedy::Discard);
            let error = classify("open", "jobs", failure);
            assert_eq!(error.kind(), kind, "{text}");
            assert!(error.source().is_some_and(|source| source.to_string() == text), "{error}");
        }
    }

    #[test]
    fn what_the_step_found_itself_stays_as_it_is() {
        let error = classify("claim", "x", Error::invalid("settle", "no").into());
        assert_eq!((error.kind(), error.operation(), error.message()), (ErrorKind::Invalid, "settle", "no"));
    }
}
