//! What can go wrong inside a step, and what the caller is told of it.

use punctual_core::record::BadColumn;
use punctual_core::{Error, ErrorKind};

/// What goes wrong: in the engine, or in what we make of its rows.
#[derive(Debug)]
pub(crate) enum Trouble {
    Engine(redb::Error),
    Ours(Error),
}

/// The answer of a part of a step. Losing a race is no trouble, but an answer.
pub(crate) type Tried<T> = Result<T, Trouble>;

impl Trouble {
    /// The reason, if this says that a value cannot be read; other trouble stays trouble.
    pub(crate) fn unreadable(self) -> Tried<String> {
        match self {
            Self::Ours(error) if error.kind() == ErrorKind::Corrupt => Ok(error.message().to_owned()),
            other => Err(other),
        }
    }

    /// The error of the contract. Its kind says what the caller should do next.
    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Engine(error) => {
                let (kind, message) = meaning(&error);
                Error::new(kind, operation, message).with_source(error)
            }
        }
    }
}

/// The table of the engine's errors. Only `Unavailable` is repeated by a node.
fn meaning(error: &redb::Error) -> (ErrorKind, &'static str) {
    use redb::Error as E;
    match error {
        E::DatabaseAlreadyOpen => {
            (ErrorKind::Unavailable, "the file is open already; one process at a time may have it")
        }
        E::Io(_) => (ErrorKind::Unavailable, "the file cannot be read or written"),
        E::PreviousIo | E::DatabaseClosed => {
            (ErrorKind::Unavailable, "an earlier failure closed the file; open it again")
        }
        E::ValueTooLarge(_) => (ErrorKind::Invalid, "a row is larger than redb can keep"),
        E::Corrupted(_) | E::RepairAborted => (ErrorKind::Corrupt, "the file is damaged"),
        E::UpgradeRequired(_) => (ErrorKind::Unsupported, "another version of redb wrote the file"),
        // Tables of other types, tables opened twice: nothing that a caller could mend.
        _ => (ErrorKind::Internal, "redb was used wrongly"),
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<BadColumn> for Trouble {
    fn from(bad: BadColumn) -> Self {
        Self::Ours(bad.into_error("look-up"))
    }
}

macro_rules! engine {
    ($($error:ident),+) => {
        $(impl From<redb::$error> for Trouble {
            fn from(error: redb::$error) -> Self {
                Self::Engine(error.into())
            }
        })+
    };
}

engine!(CommitError, DatabaseError, StorageError, TableError, TransactionError);

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_what_may_pass_is_to_be_repeated() {
        let kind = |error| Trouble::Engine(error).into_error("step").kind();
        for passing in [redb::Error::DatabaseAlreadyOpen, redb::Error::Io(io::ErrorKind::StorageFull.into())]
        {
            assert!(kind(passing).is_retryable());
        }
        assert_eq!(kind(redb::Error::ValueTooLarge(1)), ErrorKind::Invalid);
        assert_eq!(kind(redb::Error::Corrupted(String::new())), ErrorKind::Corrupt);
        assert_eq!(kind(redb::Error::UpgradeRequired(9)), ErrorKind::Unsupported);
        assert_eq!(kind(redb::Error::TableDoesNotExist(String::new())), ErrorKind::Internal);
    }
}
