//! The migrations of this store as the kit sees them.

use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{MigrationTarget, Tamper};
use punctual_core::migrate::{Fingerprint, MigrateMode, Migration, MigrationConn};
use punctual_core::{Error, JobStore, Result};
use punctual_postgres::{PostgresBuilder, PostgresMigrations};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// The schema of a space.
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) builder: PostgresBuilder,
    /// The URL for those who do things by hand.
    pub(crate) admin: String,
}

#[async_trait]
impl MigrationTarget for Schema {
    fn known(&self) -> Vec<Migration> {
        PostgresMigrations::known().expect("the migrations can be read")
    }

    fn shapes(&self) -> Vec<Fingerprint> {
        PostgresMigrations::shapes()
    }

    async fn connect(&self) -> Result<Box<dyn MigrationConn>> {
        Ok(Box::new(self.builder.clone().migrations().await?))
    }

    async fn open(&self, mode: MigrateMode) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.builder.clone().migrate(mode).open().await?))
    }

    async fn run_script(&self, script: &str) -> Result<()> {
        let mut admin = PgConnection::connect(&self.admin).await.expect("the database can be reached");
        let done = sqlx::raw_sql(AssertSqlSafe(script.to_owned())).execute(&mut admin).await;
        done.map(drop).map_err(|error| Error::internal("script", "the script was refused").with_source(error))
    }

    async fn tamper(&self, tamper: Tamper) -> Result<bool> {
        let s = &self.name;
        let script = match tamper {
            Tamper::Duplicate(version) => format!(
                "ALTER TABLE {s}.migration DROP CONSTRAINT migration_pkey;
                 INSERT INTO {s}.migration SELECT * FROM {s}.migration WHERE version = {version}"
            ),
            Tamper::Occupy => {
                format!("CREATE SCHEMA {s}; CREATE TABLE {s}.job (mine int); INSERT INTO {s}.job VALUES (7)")
            }
            Tamper::Overtake => {
                format!("INSERT INTO {s}.migration_run (generation, who, began_us) VALUES (1000, 'x', 0)")
            }
        };
        self.run_script(&script).await?;
        Ok(true)
    }
}
