//! A database as the migration engine sees it, and what is wrong with its schema.

use std::fmt;
use std::time::Duration;

use punctual::core::Result;
use punctual::core::migrate::{
    Fingerprint, Holder, LIMIT, Migration, MigrationConn, MigrationState, Runner, Standing, judge,
};
use punctual::{SqliteMigrations, SqliteStore};
use punctual_mysql::{MysqlMigrations, MysqlStore};
use punctual_postgres::{PostgresMigrations, PostgresStore};

/// A database, the migrations that this build has for it, and the shape of its schema after each of them.
pub struct Schema {
    /// The connection.
    pub conn: Box<dyn MigrationConn>,
    /// The migrations.
    pub known: Vec<Migration>,
    /// The shapes.
    pub shapes: Vec<Fingerprint>,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schema").field("dialect", &self.conn.dialect()).finish_non_exhaustive()
    }
}

impl Schema {
    /// Connects to the database at a location, and changes nothing there.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn at(location: &str) -> Result<Self> {
        let (conn, known, shapes): (Box<dyn MigrationConn>, _, _) = match location.split_once("://") {
            Some(("postgres" | "postgresql", _)) => (
                Box::new(PostgresStore::builder(location)?.migrations().await?),
                PostgresMigrations::known()?,
                PostgresMigrations::shapes(),
            ),
            Some(("mysql", _)) => (
                Box::new(MysqlStore::builder(location).migrations().await?),
                MysqlMigrations::known()?,
                MysqlMigrations::shapes(),
            ),
            _ => (
                Box::new(SqliteStore::builder(location).migrations()?),
                SqliteMigrations::known()?,
                SqliteMigrations::shapes(),
            ),
        };
        Ok(Self { conn, known, shapes })
    }

    /// The connection, and what a run on it is made with.
    pub fn runner(&mut self, patience: Duration) -> (&mut dyn MigrationConn, Runner<'_>) {
        let who = format!("process {}", std::process::id());
        let who = Holder { who: who.into(), since: None, step: None };
        let (known, shapes) = (&*self.known, &*self.shapes);
        let runner = Runner { known, shapes, binary: env!("CARGO_PKG_VERSION"), who, patience, limit: LIMIT };
        (&mut *self.conn, runner)
    }

    /// The versions that the history has, in the order in which it lists them.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn versions(&mut self) -> Result<Vec<i64>> {
        Ok(self.conn.history().await?.iter().map(|row| row.version).collect())
    }

    /// What is not as a whole migration leaves it: each version once, complete, and in order, and the very shape that
    /// belongs to the newest one.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn faults(&mut self) -> Result<Vec<String>> {
        let Self { conn, known, shapes } = self;
        let mut faults = Vec::new();
        let history = conn.history().await?;
        let expected: Vec<i64> = known.iter().map(|migration| migration.version).collect();
        let versions: Vec<i64> = history.iter().map(|row| row.version).collect();
        if versions != expected {
            faults.push(format!("the history has versions {versions:?}, and should have {expected:?}"));
        }
        for row in history.iter().filter(|row| row.state != MigrationState::Done) {
            faults.push(format!("migration {} is in state {}", row.version, row.state.as_str()));
        }
        let standing = judge(known, &history, !conn.dialect().transactional);
        if standing != Standing::Current {
            faults.push(format!("the history is not current: {standing:?}"));
        }
        if let Some(golden) = shapes.last() {
            let drift = golden.drift(&conn.fingerprint().await?);
            faults.extend(drift.missing.iter().map(|line| format!("the schema lacks: {line}")));
            faults.extend(drift.extra.iter().map(|line| format!("the schema has too much: {line}")));
        }
        Ok(faults)
    }
}
