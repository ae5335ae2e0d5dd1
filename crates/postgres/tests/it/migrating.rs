//! Short ways to migrate, with migrations of this project or of a test.

use std::sync::Arc;

use punctual_core::Result;
use punctual_core::migrate::{
    Fingerprint, Holder, LIMIT, Migrated, Migration, MigrationConn, MigrationOutcome, MigrationState,
    PATIENCE, Runner, migrate, parse,
};
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_postgres::{PostgresBuilder, PostgresMigrations, PostgresStore};

use crate::database::Database;

/// Two tables, one after the other.
pub(crate) const TABLES: &str = "-- min-reader: 1\n-- min-writer: 1\n-- step: a\nCREATE TABLE {s}.a (id bigint NOT NULL PRIMARY KEY)\n\
                                 -- step: rows\nINSERT INTO {s}.a SELECT generate_series(1, 100)\n\
                                 -- step: b\nCREATE TABLE {s}.b (id bigint NOT NULL)\n";
/// A change to one of them.
pub(crate) const COLUMN: &str =
    "-- min-reader: 1\n-- min-writer: 1\n-- step: column\nALTER TABLE {s}.a ADD COLUMN more bigint\n";
/// An index that is built while others write.
pub(crate) const INDEX: &str = "-- min-reader: 1\n-- min-writer: 1\n-- online:\n-- step: a_more\n\
CREATE UNIQUE INDEX CONCURRENTLY a_more ON {s}.a (more)\n\
-- probe:\nSELECT EXISTS (SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{s}.a_more') AND indisvalid)\n\
-- cleanup:\nDROP INDEX CONCURRENTLY IF EXISTS {s}.a_more\n";

pub(crate) fn known(texts: &[&str]) -> Vec<Migration> {
    let names: Vec<String> = (1..=texts.len()).map(|n| format!("{n:04}_m{n}.sql")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(texts.iter().copied()).collect();
    parse(&files).unwrap()
}

/// The version that all of them lead to.
pub(crate) fn newest(known: &[Migration]) -> i64 {
    known.last().map_or(0, |migration| migration.version)
}

pub(crate) fn runner<'k>(known: &'k [Migration], shapes: &'k [Fingerprint]) -> Runner<'k> {
    let who = Holder { who: "a test".into(), since: None, step: None };
    Runner { known, shapes, binary: "0.1.0", who, patience: PATIENCE, limit: LIMIT }
}

pub(crate) fn builder(database: &Database) -> PostgresBuilder {
    PostgresStore::builder(database.url()).unwrap()
}

pub(crate) async fn conn(database: &Database) -> PostgresMigrations {
    builder(database).migrations().await.unwrap()
}

/// A connection that `hook` is told of.
pub(crate) async fn hooked(
    database: &Database,
    hook: impl Fn(&StatementPoint<'_>) -> HookAnswer + Send + Sync + 'static,
) -> PostgresMigrations {
    builder(database).statement_hook(Arc::new(Hook(Box::new(hook)))).migrations().await.unwrap()
}

pub(crate) async fn outcome(conn: &mut PostgresMigrations, known: &[Migration]) -> Result<MigrationOutcome> {
    migrate(conn, &runner(known, &[]), &mut |_| {}).await
}

pub(crate) async fn run(conn: &mut PostgresMigrations, known: &[Migration]) -> Result<Migrated> {
    outcome(conn, known).await?.ready()
}

/// The versions in the history, each of which must be complete.
pub(crate) async fn versions(conn: &mut PostgresMigrations) -> Vec<i64> {
    let history = conn.history().await.unwrap();
    assert!(history.iter().all(|row| row.state == MigrationState::Done), "{history:?}");
    history.iter().map(|row| row.version).collect()
}

type Told = dyn Fn(&StatementPoint<'_>) -> HookAnswer + Send + Sync;

/// Is told of statements.
pub(crate) struct Hook(pub(crate) Box<Told>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl StatementHook for Hook {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        (self.0)(point)
    }
}

/// Whether a point is on this side of a statement with this text.
pub(crate) fn is_at(point: &StatementPoint<'_>, side: Side, text: &str) -> bool {
    point.step == "migrate" && point.side == side && point.statement.contains(text)
}
