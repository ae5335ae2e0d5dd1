//! A schema for a run in a PostgreSQL database, and whether somebody stands in a transaction on its tables.

use std::time::Duration;

use punctual::runtime::SystemClock;
use punctual_core::Clock;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};

use super::super::failed::Failed;
use super::STUCK;
use crate::db::{Location, Postgres};

/// How long a statement that was under way may take when its client has been stopped.
const GLANCE: Duration = Duration::from_millis(25);

/// The schema of a run.
#[derive(Debug)]
pub(super) struct Schema {
    place: Postgres,
    name: String,
}

impl Schema {
    pub(super) async fn make(place: Postgres, name: String) -> Result<Self, Failed> {
        if let Some(schema) = &place.schema {
            return Err(Failed::new(format!(
                "it judges a whole history, so it makes a schema of its own: leave schema={schema} out of --db"
            )));
        }
        let schema = Self { place, name };
        let made = schema.execute(format!("CREATE SCHEMA {}", schema.name)).await;
        made.map(|()| schema)
    }

    /// Where it is, for nodes.
    pub(super) fn text(&self) -> String {
        let Postgres { url, is_pooled, .. } = &self.place;
        let join = if url.contains('?') { '&' } else { '?' };
        let pooler = if *is_pooled { "&pooler=transaction" } else { "" };
        format!("{url}{join}schema={}{pooler}", self.name)
    }

    /// The statement that takes it away.
    pub(super) fn dropping(&self) -> String {
        format!("DROP SCHEMA {} CASCADE", self.name)
    }

    pub(super) async fn drop(&self) -> Result<(), Failed> {
        self.execute(self.dropping()).await
    }

    /// Whether a session of any node is idle in a transaction that has touched the tables, and stays so.
    pub(super) async fn stands(&self) -> Result<bool, Failed> {
        let mut connection = self.connect().await?;
        SystemClock.sleep(GLANCE).await;
        let Some(idle) = self.longest_idle(&mut connection).await? else { return Ok(false) };
        SystemClock.sleep(STUCK.saturating_sub(idle)).await;
        Ok(self.longest_idle(&mut connection).await?.is_some_and(|idle| idle >= STUCK))
    }

    /// For how long the longest of those has been idle.
    async fn longest_idle(&self, connection: &mut PgConnection) -> Result<Option<Duration>, Failed> {
        // Locks tell whose transaction it is: names of sessions may be anybody's, and a pooler's are.
        let sql = format!(
            "SELECT (max(extract(epoch FROM clock_timestamp() - a.state_change)) * 1000)::bigint
             FROM pg_catalog.pg_stat_activity a
             WHERE a.datname = current_database() AND a.state = 'idle in transaction' AND EXISTS (
               SELECT 1 FROM pg_catalog.pg_locks l
               JOIN pg_catalog.pg_class c ON c.oid = l.relation
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE l.pid = a.pid AND l.granted AND n.nspname = '{}')",
            self.name
        );
        let row = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await;
        let row = row.map_err(Failed::at("looking for who stands in a transaction"))?;
        let millis: Option<i64> = row.try_get(0).map_err(Failed::at("the age of a transaction"))?;
        Ok(millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))))
    }

    async fn execute(&self, sql: String) -> Result<(), Failed> {
        let mut connection = self.connect().await?;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(&mut connection).await;
        done.map_err(Failed::at(format!("{}: {sql}", Location::Postgres(self.place.clone()))))?;
        // All that was to be done is done.
        let _ = connection.close().await;
        Ok(())
    }

    /// A session for simple queries only, as any pooler lets them through.
    async fn connect(&self) -> Result<PgConnection, Failed> {
        let failed = || Failed::at(Location::Postgres(self.place.clone()));
        let options: PgConnectOptions = self.place.url.parse().map_err(failed())?;
        let options = options.extra_float_digits(None).disable_statement_logging();
        PgConnection::connect_with(&options).await.map_err(failed())
    }
}
