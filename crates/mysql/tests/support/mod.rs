//! A server for tests, and databases on it that are there for one test only.

#![allow(dead_code, reason = "each test program uses its part of it")]

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};

/// The variable that says where the server is.
const URL: &str = "PUNCTUAL_MYSQL_URL";

/// A server with the databases that this process has made on it.
pub(crate) struct Server {
    /// Up to the database: `mysql://user:password@host:port`.
    base: String,
    admin: String,
    made: Mutex<BTreeSet<String>>,
}

impl Server {
    /// The server of the environment.
    pub(crate) fn of_environment() -> Self {
        let admin = std::env::var(URL).unwrap_or_else(|_| {
            panic!(
                "these tests need a server: run them with `cargo xtask test`, which starts one, or set {URL} to \
                 mysql://user:password@host:port/database with a user that may create databases"
            )
        });
        let base = admin.rsplit_once('/').unwrap_or_else(|| panic!("{URL} names no database")).0.to_owned();
        Self { base, admin, made: Mutex::default() }
    }

    /// The URL of a database of that name, which is made if this process has not made it yet.
    pub(crate) async fn database(&self, name: &str) -> String {
        let is_new = self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        if is_new {
            self.execute(&format!("CREATE DATABASE IF NOT EXISTS {name}")).await;
        }
        self.url(name)
    }

    /// Makes a database of that name, which this process has not made yet, and runs a script in it.
    pub(crate) async fn database_with(&self, name: &str, script: &str) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.execute(&format!("CREATE DATABASE {name}; USE {name}; {script}")).await;
    }

    /// The URL of a database that is there already.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.base)
    }

    /// Runs statements as the user of the environment.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = AsyncMysqlConnection::establish(&self.admin)
            .await
            .unwrap_or_else(|error| panic!("the server of {URL} cannot be reached: {error}"));
        connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs statements in a database that is there already.
    pub(crate) async fn try_execute(&self, name: &str, sql: &str) -> diesel::QueryResult<()> {
        let url = self.url(name);
        let mut connection = AsyncMysqlConnection::establish(&url)
            .await
            .unwrap_or_else(|error| panic!("database {name} cannot be reached: {error}"));
        connection.batch_execute(sql).await
    }

    /// Drops what this process has made.
    pub(crate) async fn clean_up(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        let drops: String = made.iter().map(|name| format!("DROP DATABASE IF EXISTS {name};")).collect();
        if !drops.is_empty() {
            self.execute(&drops).await;
        }
    }
}
