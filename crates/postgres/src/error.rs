//! What PostgreSQL's error codes mean for the caller: one table.

use punctual_core::{Error, ErrorKind};
use sqlx::postgres::{PgDatabaseError, PgSeverity};

/// What can go wrong inside a step.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused something, or the connection did not last.
    Sqlx(sqlx::Error),
    /// The step itself found something wrong; its transaction is rolled back all the same.
    Core(Error),
    /// No answer came in time.
    Silent,
    /// A test cut the connection.
    Cut,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sqlx(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

/// What a code means, and what the caller should do about it.
struct Meaning {
    code: &'static str,
    kind: ErrorKind,
    advice: &'static str,
}

const fn meaning(code: &'static str, kind: ErrorKind, advice: &'static str) -> Meaning {
    Meaning { code, kind, advice }
}

/// By SQLSTATE, or by its class (the first two characters); the first that fits counts. What is not here is `Internal`.
const MEANINGS: &[Meaning] = &[
    meaning(
        "0A000",
        ErrorKind::Unavailable,
        "a prepared statement no longer fits its tables; the step may be repeated on a new connection",
    ),
    meaning(
        "08P01",
        ErrorKind::Unavailable,
        "the other end refused the connection as it is made; if that is a pooler in transaction mode, say so, by \
         `transaction_pooler(true)` or `pooler=transaction` in the URL of the command",
    ),
    meaning(
        "08",
        ErrorKind::Unavailable,
        "the connection failed; check the network and that the server runs",
    ),
    meaning(
        "22021",
        ErrorKind::Invalid,
        "a text has a character that the database cannot keep; leave U+0000 out of names and keys",
    ),
    meaning(
        "23505",
        ErrorKind::Internal,
        "a unique key was breached that no step should breach; please report it",
    ),
    meaning(
        "25006",
        ErrorKind::Unavailable,
        "the server takes no writes, perhaps because another one was promoted; connect to the primary",
    ),
    meaning(
        "25P03",
        ErrorKind::Unavailable,
        "the server ended a transaction that had been idle for too long; the step may be repeated",
    ),
    meaning(
        "26000",
        ErrorKind::Unsupported,
        "a prepared statement is gone: the connection goes through a pooler in transaction mode; open the store with \
         `transaction_pooler(true)`",
    ),
    meaning("25P01", ErrorKind::Invalid, "the connection is in no transaction; begin one first"),
    meaning(
        "25P02",
        ErrorKind::Invalid,
        "the transaction had failed before; roll it back, and begin another one",
    ),
    meaning("28", ErrorKind::Invalid, "the server refused the user or its password; correct the URL"),
    meaning("3D000", ErrorKind::NotFound, "the database does not exist; create it, or correct the URL"),
    meaning("3F000", ErrorKind::Unsupported, "the schema is missing; run the migrations first"),
    meaning(
        "40001",
        ErrorKind::Unavailable,
        "other transactions were in the way each time; the step may be repeated",
    ),
    meaning("40P01", ErrorKind::Unavailable, "the step met a deadlock each time; it may be repeated"),
    meaning(
        "42501",
        ErrorKind::Unsupported,
        "the database user may not do that; grant it the rights on the schema and its tables",
    ),
    meaning(
        "42P07",
        ErrorKind::AlreadyExists,
        "a table or index of that name is there already; look at what it is, and take the schema over with \
         `punctual migrate baseline` if it is Punctual's",
    ),
    meaning("42P01", ErrorKind::Unsupported, "a table is missing; run the migrations first"),
    meaning(
        "42P05",
        ErrorKind::Unsupported,
        "a pooler mixes prepared statements; open the store with `transaction_pooler(true)`",
    ),
    meaning(
        "53",
        ErrorKind::Unavailable,
        "the server has no room left (disk, memory or connections); make some",
    ),
    meaning(
        "55P03",
        ErrorKind::Unavailable,
        "a lock was not granted in time; look in pg_stat_activity for a session that hangs",
    ),
    meaning(
        "57014",
        ErrorKind::Unavailable,
        "the statement was cancelled, or took longer than the statement timeout; look for a server that is overloaded",
    ),
    meaning("57P", ErrorKind::Unavailable, "the server shuts down or starts; the step will be repeated"),
    meaning("58", ErrorKind::Unavailable, "the server's disk or file system reports an error; check it"),
    meaning("XX001", ErrorKind::Corrupt, "a table is damaged; restore it from a backup"),
    meaning("XX002", ErrorKind::Corrupt, "an index is damaged; rebuild it with REINDEX"),
];

impl Failure {
    fn of_server(&self) -> Option<&PgDatabaseError> {
        match self {
            Self::Sqlx(sqlx::Error::Database(error)) => error.try_downcast_ref::<PgDatabaseError>(),
            _ => None,
        }
    }

    /// The SQLSTATE, if the server said something.
    pub(crate) fn code(&self) -> Option<&str> {
        self.of_server().map(PgDatabaseError::code)
    }

    /// Whether the same step may well succeed if it is repeated at once.
    pub(crate) fn is_repeatable(&self) -> bool {
        matches!(self.code(), Some("40001" | "40P01" | "55P03"))
    }

    /// Whether somebody else has a lock that it needs.
    pub(crate) fn is_locked(&self) -> bool {
        self.code() == Some("55P03")
    }

    /// Whether a unique key was breached.
    pub(crate) fn is_breach(&self) -> bool {
        self.code() == Some("23505")
    }

    /// Whether the connection must not be used again.
    pub(crate) fn ends_connection(&self) -> bool {
        match self {
            Self::Core(_) | Self::Sqlx(sqlx::Error::Encode(_) | sqlx::Error::Decode(_)) => false,
            Self::Silent | Self::Cut => true,
            Self::Sqlx(_) => self.of_server().is_none_or(|error| {
                matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
                    || matches!(error.code(), "0A000" | "25006" | "26000" | "42P05")
            }),
        }
    }
}

/// The error of a step on the store `place`.
pub(crate) fn classify(operation: &'static str, place: &str, failure: Failure) -> Error {
    let code = failure.code().map(str::to_owned);
    let error = match failure {
        Failure::Core(error) => return error,
        Failure::Silent => {
            let why = "the server did not answer in time, and the connection was given up; the step may be repeated";
            return Error::unavailable(operation, format!("{place}: {why}"));
        }
        Failure::Cut => return Error::unavailable(operation, format!("{place}: the connection was cut")),
        Failure::Sqlx(error) => error,
    };
    if let Some(code) = code {
        return match MEANINGS.iter().find(|meaning| code.starts_with(meaning.code)) {
            Some(Meaning { kind, advice, .. }) => Error::new(*kind, operation, format!("{place}: {advice}")),
            None => Error::internal(
                operation,
                format!("{place}: PostgreSQL failed (SQLSTATE {code}); please report it"),
            ),
        }
        .with_source(error);
    }
    let (kind, advice) = match &error {
        sqlx::Error::Configuration(_) => (ErrorKind::Invalid, "the URL cannot be understood; correct it"),
        sqlx::Error::Tls(_) => (
            ErrorKind::Unavailable,
            "no encrypted connection came about; check `sslmode` and the certificates",
        ),
        sqlx::Error::PoolTimedOut => {
            (ErrorKind::Unavailable, "the given pool had no connection in time; make it larger")
        }
        sqlx::Error::PoolClosed => (ErrorKind::Unavailable, "the given pool was closed"),
        sqlx::Error::Io(_) => {
            (ErrorKind::Unavailable, "the connection failed; check the network and that the server runs")
        }
        sqlx::Error::Protocol(_) => (
            ErrorKind::Unavailable,
            "the connection broke off in the middle of an answer; the step may be repeated on a new one",
        ),
        _ => (ErrorKind::Internal, "the driver failed; please report it"),
    };
    Error::new(kind, operation, format!("{place}: {advice}")).with_source(error)
}
