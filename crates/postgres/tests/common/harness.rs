//! The kit's harness: each case has a schema of its own, in one database for the whole run.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use punctual_conformance::{Contradiction, Harness, MigrationTarget, Plan, Space, Spoil, StoreClock};
use punctual_core::migrate::export;
use punctual_core::store::hook::StatementHook;
use punctual_core::{JobStore, LockProvider, Result};
use punctual_postgres::{PostgresBuilder, PostgresMigrations, PostgresStore};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::OnceCell;

use crate::database::{DATABASE, Database, POOLED};
use crate::{plans, target};

pub(crate) struct Postgres {
    /// The store's name in reports.
    pub(crate) name: &'static str,
    /// How often each race is run.
    pub(crate) rounds: u32,
    /// Settings for a database, by its URL.
    pub(crate) builder: fn(&str) -> Result<PostgresBuilder>,
    pub(crate) database: Database,
    /// How schemas come to their tables.
    pub(crate) schemas: Schemas,
}

/// The script that an administrator would run instead of letting the store migrate, which is quicker.
#[derive(Default)]
pub(crate) struct Schemas {
    script: OnceCell<String>,
    /// The schemas that are in use. What a case about migrations finds in its own is its business: nothing is made there.
    begun: Mutex<BTreeSet<String>>,
}

/// Stands for the name of a schema in the script.
const MODEL: &str = "the_schema_of_a_case";

impl Schemas {
    /// Notes that a schema is in use; whether it was not before.
    fn begin(&self, name: &str) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }
}

impl Postgres {
    fn builder(&self, space: &Space) -> Result<PostgresBuilder> {
        self.builder_on(space.name()).map(|builder| builder.clock(space.clock()))
    }

    fn builder_on(&self, schema: &str) -> Result<PostgresBuilder> {
        let builder = (self.builder)(self.database.url())?.schema(schema);
        // A machine that is busy with other things is no defect of the store.
        let patience = Duration::from_secs(60);
        let builder = builder.lock_timeout(patience).statement_timeout(patience * 2);
        let builder = builder.idle_in_transaction_timeout(patience);
        if std::env::var_os(POOLED).is_none() {
            return Ok(builder);
        }
        // Nobody can listen through such a pooler; there is a way around it.
        builder.transaction_pooler(true).listen_url(&self.database.direct_url())
    }

    /// The builder on a schema with its tables. A second process finds them there.
    async fn filled(&self, space: &Space) -> Result<PostgresBuilder> {
        if std::env::var_os(DATABASE).is_none() && self.schemas.begin(space.name()) {
            let script = self.schemas.script.get_or_try_init(|| self.script()).await?;
            let script = sqlx::raw_sql(AssertSqlSafe(script.replace(MODEL, space.name())));
            script.execute(&mut self.connection().await).await.expect("the tables can be made");
        }
        self.builder(space)
    }

    async fn script(&self) -> Result<String> {
        let connection = self.builder_on(MODEL)?.migrations().await?;
        let known = PostgresMigrations::known()?;
        export(&connection, &known, 0, known.iter().map(|one| one.version).max().unwrap_or(0), "the kit")
    }

    async fn store(&self, space: &Space) -> Result<PostgresStore> {
        self.filled(space).await?.open().await
    }

    async fn hooked(&self, space: &Space, hook: Arc<dyn StatementHook>) -> Result<PostgresStore> {
        self.filled(space).await?.statement_hook(hook).open().await
    }

    async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.database.direct_url()).await.expect("the database can be reached")
    }
}

#[async_trait]
impl Harness for Postgres {
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
        Some(vec![(DATABASE, self.database.name().to_owned())])
    }

    async fn plans(&self, space: &Space, statements: &[String]) -> Result<Option<Vec<Plan>>> {
        let tables = plans::TABLES.map(|table| format!("{}.{table}", space.name())).join(", ");
        let analysed = sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {tables}")));
        analysed.execute(&mut self.connection().await).await.expect("the tables can be looked at");
        let texts = self.store(space).await?.explain(statements.to_vec()).await?;
        Ok(Some(texts.iter().map(|lines| plans::read(lines)).collect()))
    }

    async fn spoil(&self, space: &Space, spoil: Spoil) -> Result<bool> {
        let schema = space.name();
        let (sql, id) = match spoil {
            Spoil::Trigger(id) => ("UPDATE {s}.trigger SET spec = '{' WHERE id = ", id.get().to_string()),
            Spoil::Job(id) => ("UPDATE {s}.job SET spec = '{' WHERE id = ", id.get().to_string()),
            Spoil::Execution(id) => {
                let hex: String = id.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
                ("UPDATE {s}.execution SET spec = '{' WHERE id = ", format!("'\\x{hex}'"))
            }
            Spoil::Calendar(name) => {
                ("UPDATE {s}.calendar SET document = '{' WHERE name = ", format!("'{name}'"))
            }
            Spoil::MissingCalendar(name) => ("DELETE FROM {s}.calendar WHERE name = ", format!("'{name}'")),
        };
        let sql = sql.replace("{s}", schema) + &id;
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection().await).await;
        done.expect("the row can be written");
        Ok(true)
    }

    async fn contradict(&self, space: &Space, contradiction: Contradiction) -> Result<bool> {
        let bytes = |id: [u8; 16]| format!("'\\x{:032x}'", u128::from_be_bytes(id));
        let sql = contradiction.statement(|table| format!("{}.{table}", space.name()), bytes);
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection().await).await;
        done.expect("the row can be written");
        Ok(true)
    }

    async fn migrations(&self, space: &Space) -> Result<Option<Arc<dyn MigrationTarget>>> {
        self.schemas.begin(space.name());
        let (builder, admin) = (self.builder(space)?, self.database.direct_url());
        Ok(Some(Arc::new(target::Schema { name: space.name().to_owned(), builder, admin })))
    }

    fn rounds(&self) -> u32 {
        self.rounds
    }
}
