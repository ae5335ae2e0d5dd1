//! This store as the kit sees it: each space is a file of its own.

mod plans;
mod target;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{Contradiction, Harness, MigrationTarget, Plan, Space, Spoil, StoreClock};
use punctual_core::store::hook::StatementHook;
use punctual_core::{JobStore, LockProvider, Result};
use punctual_sqlite::SqliteStore;
use rusqlite::Connection;

pub(crate) struct Sqlite;

impl Sqlite {
    fn path(space: &Space) -> PathBuf {
        space.folder().join(format!("{}.db", space.name()))
    }

    async fn store(space: &Space) -> Result<SqliteStore> {
        SqliteStore::builder(Self::path(space)).clock(space.clock()).open().await
    }

    async fn hooked(space: &Space, hook: Arc<dyn StatementHook>) -> Result<SqliteStore> {
        SqliteStore::builder(Self::path(space)).clock(space.clock()).statement_hook(hook).open().await
    }
}

#[async_trait]
impl Harness for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(Self::store(space).await?))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(Self::store(space).await?)))
    }

    async fn open_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn JobStore>>> {
        Ok(Some(Arc::new(Self::hooked(space, hook).await?)))
    }

    async fn locks_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(Self::hooked(space, hook).await?)))
    }

    fn for_a_second_process(&self) -> Option<Vec<(&'static str, String)>> {
        // A space's folder is enough.
        Some(Vec::new())
    }

    async fn plans(&self, space: &Space, statements: &[String]) -> Result<Option<Vec<Plan>>> {
        let file = Connection::open(Self::path(space)).expect("the file opens");
        Ok(Some(plans::plans(&file, statements).expect("SQLite has plans")))
    }

    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        let file = Connection::open(Self::path(space)).expect("the file opens");
        let spoilt = match spoil {
            Spoil::Trigger(id) => file.execute("UPDATE trigger SET spec = '{' WHERE id = ?1", [id.get()]),
            Spoil::Job(id) => file.execute("UPDATE job SET spec = '{' WHERE id = ?1", [id.get()]),
            Spoil::Execution(id) => {
                file.execute("UPDATE execution SET spec = '{' WHERE id = ?1", [id.to_bytes()])
            }
            Spoil::Calendar(name) => {
                file.execute("UPDATE calendar SET document = '{' WHERE name = ?1", [name])
            }
            Spoil::MissingCalendar(name) => file.execute("DELETE FROM calendar WHERE name = ?1", [name]),
        };
        spoilt.expect("the file can be written");
        Ok(true)
    }

    async fn contradict(&self, space: &Space, contradiction: Contradiction) -> Result<bool> {
        let bytes = |id: [u8; 16]| format!("X'{:032x}'", u128::from_be_bytes(id));
        let sql = contradiction.statement(str::to_owned, bytes);
        let file = Connection::open(Self::path(space)).expect("the file opens");
        file.execute(&sql, []).expect("the file can be written");
        Ok(true)
    }

    async fn migrations(&self, space: &Space) -> Result<Option<Arc<dyn MigrationTarget>>> {
        Ok(Some(Arc::new(target::File { path: Self::path(space), clock: space.clock() })))
    }
}
