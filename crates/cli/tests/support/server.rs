//! Real servers for tests, and places on them that are there for one test only.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tokio::runtime::{Builder, Runtime};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Postgres,
    Mysql,
}

impl Server {
    /// The URL of the server that the environment names: without one nothing here is tested, and that must not look
    /// like success.
    pub(crate) fn url(self) -> String {
        let variable = match self {
            Self::Postgres => "PUNCTUAL_POSTGRES_URL",
            Self::Mysql => "PUNCTUAL_MYSQL_URL",
        };
        std::env::var(variable).unwrap_or_else(|_| {
            panic!(
                "{variable} is not set; run `cargo xtask test`, or set it to the URL of a server to make databases on"
            )
        })
    }

    /// The first column of what a statement answers.
    pub(crate) fn ask(self, sql: &str) -> Vec<String> {
        let sql = sql.to_owned();
        executor().block_on(async {
            match self {
                Self::Postgres => {
                    let mut connection = PgConnection::connect(&self.url()).await.unwrap();
                    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                    rows.iter().map(|row| row.get(0)).collect()
                }
                Self::Mysql => {
                    let mut connection = mysql_async::Conn::from_url(self.url()).await.unwrap();
                    let rows = connection.query(sql).await.unwrap();
                    connection.disconnect().await.unwrap();
                    rows
                }
            }
        })
    }

    /// The schemas or databases whose names begin so.
    pub(crate) fn names(self, prefix: &str) -> Vec<String> {
        let prefix = prefix.replace('_', "\\_");
        self.ask(&format!(
            "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE '{prefix}%'"
        ))
    }
}

fn executor() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A schema or a database of a test, dropped with this value.
pub(crate) struct Ground {
    server: Server,
    name: String,
}

impl Ground {
    /// A name that nobody else uses; on MySQL the database is there, on PostgreSQL the schema is not.
    pub(crate) fn on(server: Server) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("punctual_cli_{}_{count}", std::process::id());
        let ground = Self { server, name };
        ground.drop();
        if server == Server::Mysql {
            server.ask(&format!("CREATE DATABASE {}", ground.name));
        }
        ground
    }

    /// What `--db` is to be.
    pub(crate) fn location(&self) -> String {
        let url = self.server.url();
        match self.server {
            Server::Postgres => {
                let join = if url.contains('?') { '&' } else { '?' };
                format!("{url}{join}schema={}", self.name)
            }
            Server::Mysql => {
                let (address, options) = url.split_once('?').map_or((&*url, None), |(a, o)| (a, Some(o)));
                let (host, _) = address.rsplit_once('/').expect("the URL ends with a database");
                let options = options.map(|options| format!("?{options}")).unwrap_or_default();
                format!("{host}/{}{options}", self.name)
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn drop(&self) {
        let Self { server, name } = self;
        server.ask(&match server {
            Server::Postgres => format!("DROP SCHEMA IF EXISTS {name} CASCADE"),
            Server::Mysql => format!("DROP DATABASE IF EXISTS {name}"),
        });
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        Self::drop(self);
    }
}
