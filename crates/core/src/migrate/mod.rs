//! Schema migrations: what the files say, what a database has, and how the one becomes the other.
//!
//! The algorithm exists once, here, over [`MigrationConn`]; it knows no SQL and never waits by itself. Any number of
//! processes may run it at once:
//!
//! 1. a cheap read; a database that is current needs no lock;
//! 2. the lock, which belongs to a connection or a transaction and so dies with its holder;
//! 3. the same read again *under the lock*: the decision is made on what is there now, never on the first read;
//! 4. the missing migrations, in order;
//! 5. a last read that verifies what was done.
//!
//! Where a database can take definitions back, all of it is one transaction and a crash leaves nothing. Where it cannot,
//! each statement is a step with an entry in a journal and a probe that tells whether it was done; whoever comes next
//! goes on from there. No crash leaves anything that a person has to clean up.

mod conn;
mod export;
mod file;
mod fingerprint;
mod history;
mod mode;
mod prepare;
mod repair;
mod run;
#[cfg(test)]
mod tests;

pub use self::conn::{Dialect, Holder, LockOutcome, LockedEnd, MigrationConn, StepRow};
pub use self::export::export;
pub use self::file::{Migration, MigrationStep, parse};
pub use self::fingerprint::{Drift, Fingerprint};
pub use self::history::{Damage, MigrationRow, MigrationState, Standing, judge, version_of};
pub use self::mode::MigrateMode;
pub use self::prepare::prepare;
pub use self::repair::{Repair, baseline, repair, repairs};
pub use self::run::{
    LIMIT, Migrated, MigrationOutcome, PATIENCE, Progress, Runner, migrate, rehearse, validate,
};

pub(crate) const OPERATION: &str = "migrate";
