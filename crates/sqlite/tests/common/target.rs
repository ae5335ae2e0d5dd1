//! The migrations of this store as the kit sees them.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{MigrationTarget, Tamper};
use punctual_core::migrate::{Fingerprint, MigrateMode, Migration, MigrationConn};
use punctual_core::{Clock, Error, JobStore, Result};
use punctual_sqlite::{SqliteMigrations, SqliteStore};
use rusqlite::{Connection, ErrorCode};

/// The file of a space.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
}

/// A history that has lost its key, and has each of its rows once.
const WITHOUT_KEY: &str = "
CREATE TABLE copy AS SELECT * FROM migration;
DROP TABLE migration;
ALTER TABLE copy RENAME TO migration;";

impl File {
    fn connection(&self) -> Connection {
        Connection::open(&self.path).expect("the file opens")
    }
}

#[async_trait]
impl MigrationTarget for File {
    fn known(&self) -> Vec<Migration> {
        SqliteMigrations::known().expect("the migrations can be read")
    }

    fn shapes(&self) -> Vec<Fingerprint> {
        SqliteMigrations::shapes()
    }

    async fn connect(&self) -> Result<Box<dyn MigrationConn>> {
        Ok(Box::new(SqliteStore::builder(&self.path).migrations()?))
    }

    async fn open(&self, mode: MigrateMode) -> Result<Arc<dyn JobStore>> {
        let store =
            SqliteStore::builder(&self.path).clock(Arc::clone(&self.clock)).migrate(mode).open().await?;
        Ok(Arc::new(store))
    }

    async fn run_script(&self, script: &str) -> Result<()> {
        let done = self.connection().execute_batch(script);
        done.map_err(|error| Error::internal("script", "the script was refused").with_source(error))
    }

    async fn tamper(&self, tamper: Tamper) -> Result<bool> {
        let file = self.connection();
        let done = match tamper {
            Tamper::Duplicate(version) => file.execute_batch(&format!(
                "{WITHOUT_KEY} INSERT INTO migration SELECT * FROM migration WHERE version = {version};"
            )),
            Tamper::Occupy => {
                file.execute_batch("CREATE TABLE job (mine INTEGER); INSERT INTO job VALUES (7);")
            }
            Tamper::Overtake => {
                file.busy_timeout(std::time::Duration::ZERO).expect("it can be set");
                file.execute_batch(
                    "INSERT INTO migration_run (generation, who, began_us) VALUES (1000, 'x', 0)",
                )
            }
        };
        match done {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            done => {
                done.expect("the file can be written");
                Ok(true)
            }
        }
    }
}
