//! A MySQL or MariaDB database for a run, and whether somebody stands in a transaction in it.

use std::collections::BTreeSet;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
use punctual::runtime::SystemClock;
use punctual_core::Clock;

use super::super::failed::Failed;
use super::STUCK;
use crate::db::{Location, Mysql};

/// How long the server shows the same picture of its transactions to those who ask again soon.
const PICTURE: Duration = Duration::from_millis(110);

/// The database of a run.
#[derive(Debug)]
pub(super) struct Database {
    place: Mysql,
    name: String,
}

impl Database {
    pub(super) async fn make(given: &Mysql, name: String) -> Result<Self, Failed> {
        let database = Self { place: Mysql { url: with_database(&given.url, &name)? }, name };
        let made = database.execute(format!("CREATE DATABASE {}", database.name)).await;
        made.map(|()| database)
    }

    /// Where it is, for nodes.
    pub(super) fn text(&self) -> &str {
        &self.place.url
    }

    /// The statement that takes it away.
    pub(super) fn dropping(&self) -> String {
        format!("DROP DATABASE {}", self.name)
    }

    pub(super) async fn drop(&self) -> Result<(), Failed> {
        self.execute(self.dropping()).await
    }

    /// Whether a session of any node has a transaction open, says nothing, and stays so.
    pub(super) async fn stands(&self) -> Result<bool, Failed> {
        let mut connection = self.connect().await?;
        // A statement that was under way when its client was stopped is done by then, and an older picture is gone.
        SystemClock.sleep(PICTURE).await;
        let before = self.silent(&mut connection).await?;
        if before.is_empty() {
            return Ok(false);
        }
        SystemClock.sleep(STUCK).await;
        Ok(!self.silent(&mut connection).await?.is_disjoint(&before))
    }

    /// The transactions whose client says nothing at this moment.
    async fn silent(&self, connection: &mut Conn) -> Result<BTreeSet<String>, Failed> {
        let sql = format!(
            "SELECT CONCAT(t.trx_mysql_thread_id, ' ', t.trx_id, ' ', t.trx_started)
             FROM information_schema.innodb_trx t
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id
             WHERE p.db = '{}' AND p.command = 'Sleep'",
            self.name
        );
        let found: Result<Vec<String>, _> = connection.query(sql).await;
        let why = "looking for who stands in a transaction, for which the user needs the right PROCESS";
        Ok(found.map_err(Failed::at(why))?.into_iter().collect())
    }

    async fn execute(&self, sql: String) -> Result<(), Failed> {
        let mut connection = self.connect().await?;
        let done = connection.query_drop(&sql).await;
        done.map_err(Failed::at(format!("{}: {sql}", Location::Mysql(self.place.clone()))))?;
        // All that was to be done is done.
        let _ = connection.disconnect().await;
        Ok(())
    }

    /// A session that uses no database.
    async fn connect(&self) -> Result<Conn, Failed> {
        let failed = || Location::Mysql(self.place.clone());
        let options = Opts::from_url(&self.place.url).map_err(Failed::at(failed()))?;
        let options = OptsBuilder::from_opts(options).db_name(None::<String>);
        Conn::new(options).await.map_err(Failed::at(failed()))
    }
}

/// The URL with another database.
fn with_database(url: &str, name: &str) -> Result<String, Failed> {
    let (base, parameters) = url.split_once('?').map_or((url, None), |(base, rest)| (base, Some(rest)));
    let (scheme, rest) = base.split_once("://").ok_or_else(|| Failed::new("--db has no host"))?;
    let server = rest.split('/').next().unwrap_or_default();
    let parameters = parameters.map(|rest| format!("?{rest}")).unwrap_or_default();
    Ok(format!("{scheme}://{server}/{name}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_exchanged() {
        for (url, expected) in [
            ("mysql://u:p@h:3/old", "mysql://u:p@h:3/new"),
            ("mysql://u:p@h", "mysql://u:p@h/new"),
            ("mysql://h/old?require_ssl=true", "mysql://h/new?require_ssl=true"),
        ] {
            assert_eq!(with_database(url, "new").unwrap(), expected);
        }
    }
}
