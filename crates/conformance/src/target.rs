//! What a store with migrations must provide, so that these can be tested.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use punctual_core::migrate::{Fingerprint, MigrateMode, Migration, MigrationConn};
use punctual_core::{JobStore, Result};

/// The schema of one space, and the migrations that make it.
#[async_trait]
pub trait MigrationTarget: Send + Sync + 'static {
    /// The migrations of the store, in order; at least one.
    fn known(&self) -> Vec<Migration>;

    /// The shape of the schema after each of them.
    fn shapes(&self) -> Vec<Fingerprint>;

    /// A connection of its own for the migration engine. Being opened, it changes nothing.
    async fn connect(&self) -> Result<Box<dyn MigrationConn>>;

    /// Opens the store, which does with its schema what the mode says.
    async fn open(&self, mode: MigrateMode) -> Result<Arc<dyn JobStore>>;

    /// Runs a script, as an administrator does with the database's own client.
    async fn run_script(&self, script: &str) -> Result<()>;

    /// Does to the schema what somebody might do behind the store's back. Answers `false` if the database does not let
    /// anybody do that, which is an answer for [`Tamper::Overtake`] only.
    async fn tamper(&self, tamper: Tamper) -> Result<bool>;
}

impl fmt::Debug for dyn MigrationTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MigrationTarget")
    }
}

/// What somebody does to a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tamper {
    /// The row of a migration is in the history a second time, and the key that forbids this is gone.
    Duplicate(i64),
    /// A table with a row in it takes the name of one that the first migration makes. The schema may not be there yet.
    Occupy,
    /// The generation is raised, as if another run had begun while somebody holds the lock.
    Overtake,
}
