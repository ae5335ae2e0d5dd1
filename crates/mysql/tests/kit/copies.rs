//! Tables for the databases of cases, copied from one in which the migrations have run.
//!
//! A case takes some hundred milliseconds to migrate on MariaDB, because each index that is made after its table makes the
//! server write the table anew. Here a table is made with all of its indexes at once, from the server's own description.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl};
use punctual_core::Result;
use punctual_mysql::MysqlStore;
use tokio::sync::OnceCell;

use crate::support::Server;

/// See the module.
#[derive(Default)]
pub(super) struct Copies {
    script: OnceCell<String>,
    begun: Mutex<BTreeSet<String>>,
}

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Text, column_name = "Table")]
    name: String,
    #[diesel(sql_type = Text, column_name = "Create Table")]
    text: String,
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

impl Copies {
    /// Notes that a database is in use; whether it was not before.
    ///
    /// What a case about migrations finds in its database is its own business: no tables are copied to it afterwards.
    pub(super) fn begin(&self, name: &str) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned())
    }

    /// Makes a database with its tables.
    pub(super) async fn make(&self, server: &Server, name: &str) -> Result<()> {
        let script = self.script.get_or_try_init(|| script(server)).await?;
        server.database_with(name, script).await;
        Ok(())
    }
}

/// Migrates a database, and describes it by what makes another one like it.
async fn script(server: &Server) -> Result<String> {
    let model = format!("kit{:x}_model", std::process::id());
    let url = server.database(&model).await;
    MysqlStore::builder(&*url).connections(1).open().await?;
    let mut connection = AsyncMysqlConnection::establish(&url).await.expect("the database can be reached");
    let names: Vec<Name> = sql_query(
        "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() \
         ORDER BY table_name",
    )
    .load(&mut connection)
    .await
    .expect("the tables can be listed");
    let mut script = "SET foreign_key_checks = 0;\n".to_owned();
    for Name { name } in names {
        let shown = sql_query(format!("SHOW CREATE TABLE {name}"));
        let Table { name, text } = shown.get_result(&mut connection).await.expect("a table is described");
        script.push_str(&format!("{text};\nINSERT INTO {name} SELECT * FROM {model}.{name};\n"));
    }
    Ok(script)
}
