//! The harness of the conformance kit.

mod copies;
mod target;

use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use punctual_conformance::{Contradiction, Harness, MigrationTarget, Space, Spoil, StoreClock};
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::StatementHook;
use punctual_core::{JobStore, LockProvider, Result};
use punctual_mysql::{MysqlBuilder, MysqlStore};

use self::copies::Copies;
use crate::support::Server;

struct Mysql {
    name: &'static str,
    claims: ClaimShape,
    server: Arc<Server>,
    copies: Copies,
}

impl Mysql {
    async fn builder(&self, space: &Space) -> MysqlBuilder {
        let url = self.server.database(space.name()).await;
        MysqlStore::builder(url).claims(self.claims).clock(space.clock())
    }

    /// The builder on a database with its tables. A second process finds them there.
    async fn filled(&self, space: &Space) -> Result<MysqlBuilder> {
        if std::env::var_os(SECOND).is_none() && self.copies.begin(space.name()) {
            self.copies.make(&self.server, space.name()).await?;
        }
        Ok(self.builder(space).await)
    }

    async fn store(&self, space: &Space) -> Result<MysqlStore> {
        self.filled(space).await?.open().await
    }

    async fn hooked(&self, space: &Space, hook: Arc<dyn StatementHook>) -> Result<MysqlStore> {
        self.filled(space).await?.statement_hook(hook).open().await
    }
}

#[async_trait]
impl Harness for Mysql {
    fn name(&self) -> &'static str {
        self.name
    }

    fn clock(&self) -> StoreClock {
        StoreClock::Settable
    }

    async fn open(&self, space: &Space) -> Result<Arc<dyn JobStore>> {
        Ok(Arc::new(self.store(space).await?))
    }

    async fn locks(&self, space: &Space) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.store(space).await?)))
    }

    async fn open_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn JobStore>>> {
        Ok(Some(Arc::new(self.hooked(space, hook).await?)))
    }

    async fn locks_hooked(
        &self,
        space: &Space,
        hook: Arc<dyn StatementHook>,
    ) -> Result<Option<Arc<dyn LockProvider>>> {
        Ok(Some(Arc::new(self.hooked(space, hook).await?)))
    }

    fn for_a_second_process(&self) -> Option<Vec<(&'static str, String)>> {
        Some(vec![(SECOND, "1".to_owned())])
    }

    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        let database = space.name();
        let sql = match spoil {
            Spoil::Trigger(id) => {
                format!("UPDATE {database}.punctual_trigger SET spec = '{{' WHERE id = {}", id.get())
            }
            Spoil::Job(id) => {
                format!("UPDATE {database}.punctual_job SET spec = '{{' WHERE id = {}", id.get())
            }
            Spoil::Execution(id) => format!(
                "UPDATE {database}.punctual_execution SET spec = '{{' WHERE id = X'{:032X}'",
                u128::from_be_bytes(id.to_bytes())
            ),
            Spoil::Calendar(name) => {
                format!("UPDATE {database}.punctual_calendar SET document = '{{' WHERE name = '{name}'")
            }
            Spoil::MissingCalendar(name) => {
                format!("DELETE FROM {database}.punctual_calendar WHERE name = '{name}'")
            }
        };
        self.server.execute(&sql).await;
        Ok(true)
    }

    async fn contradict(&self, space: &Space, contradiction: Contradiction) -> Result<bool> {
        let bytes = |id: [u8; 16]| format!("X'{:032X}'", u128::from_be_bytes(id));
        let sql = contradiction.statement(|table| format!("{}.punctual_{table}", space.name()), bytes);
        self.server.execute(&sql).await;
        Ok(true)
    }

    async fn migrations(&self, space: &Space) -> Result<Option<Arc<dyn MigrationTarget>>> {
        self.copies.begin(space.name());
        let (builder, server) = (self.builder(space).await, Arc::clone(&self.server));
        Ok(Some(Arc::new(target::Database { name: space.name().to_owned(), builder, server })))
    }
}

/// Set in a second process, which leaves the databases to the first.
const SECOND: &str = "PUNCTUAL_MYSQL_SECOND";

/// Runs all cases, and drops their databases.
pub(crate) fn run(name: &'static str, claims: ClaimShape) -> ExitCode {
    let server = Arc::new(Server::of_environment());
    let code = punctual_conformance::run(Mysql {
        name,
        claims,
        server: Arc::clone(&server),
        copies: Copies::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if std::env::var_os(SECOND).is_none() {
        runtime.expect("an executor to clean up with").block_on(server.clean_up());
    }
    code
}
