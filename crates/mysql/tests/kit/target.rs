//! The migrations of this store as the kit sees them.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{MigrationTarget, Tamper};
use punctual_core::migrate::{Fingerprint, MigrateMode, Migration, MigrationConn};
use punctual_core::{Error, JobStore, Result};
use punctual_mysql::{MysqlBuilder, MysqlMigrations};

use crate::support::Server;

/// The database of a space.
pub(super) struct Database {
    pub(super) name: String,
    pub(super) builder: MysqlBuilder,
    pub(super) server: Arc<Server>,
}

#[async_trait]
impl MigrationTarget for Database {
    fn known(&self) -> Vec<Migration> {
        MysqlMigrations::known().expect("the migrations can be read")
    }

    fn shapes(&self) -> Vec<Fingerprint> {
        MysqlMigrations::shapes()
    }

    async fn connect(&self) -> Result<Box<dyn MigrationConn>> {
        Ok(Box::new(self.builder.clone().migrations().await?))
    }

    async fn open(&self, mode: MigrateMode) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.builder.clone().connections(1).migrate(mode).open().await?))
    }

    async fn run_script(&self, script: &str) -> Result<()> {
        let done = self.server.try_execute(&self.name, script).await;
        done.map_err(|error| Error::internal("script", "the script was refused").with_source(error))
    }

    async fn tamper(&self, tamper: Tamper) -> Result<bool> {
        let script = match tamper {
            Tamper::Duplicate(version) => format!(
                "ALTER TABLE punctual_migration DROP PRIMARY KEY; \
                 INSERT INTO punctual_migration SELECT * FROM punctual_migration WHERE version = {version}"
            ),
            Tamper::Occupy => {
                "CREATE TABLE punctual_job (mine INT); INSERT INTO punctual_job VALUES (7)".to_owned()
            }
            Tamper::Overtake => {
                "INSERT INTO punctual_migration_run (generation, who, began_us) VALUES (1000, 'x', 0)"
                    .to_owned()
            }
        };
        self.run_script(&script).await?;
        Ok(true)
    }
}
