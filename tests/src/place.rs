//! Where a cluster of a test keeps its data: a file, or a database of its own on a server that the environment names.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use punctual::core::Result;
use punctual::{JobStore, LockProvider, SqliteStore};
use punctual_mysql::MysqlStore;
use punctual_postgres::PostgresStore;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    Sqlite,
    /// A database on the server of `PUNCTUAL_POSTGRES_URL`.
    Postgres,
    /// A database on the server of `PUNCTUAL_MYSQL_URL`.
    Mysql,
}

/// A database that no other test uses; it is dropped with this value.
#[derive(Debug)]
pub struct Place {
    kind: Kind,
    name: String,
    location: String,
}

/// What a database says against a statement.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// A store that is also a provider of locks.
pub type Opened = (Arc<dyn JobStore>, Arc<dyn LockProvider>);

impl Place {
    /// A new one. A file lies in `folder`.
    ///
    /// # Panics
    /// If the environment names no server, or it cannot make a database: that must not look like success.
    pub fn new(kind: Kind, folder: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("punctual_e2e_{}_{count}", std::process::id());
        let location = match kind {
            Kind::Sqlite => folder.join("cluster.db").display().to_string(),
            Kind::Postgres | Kind::Mysql => {
                at_server(kind, format!("DROP DATABASE IF EXISTS {name}"));
                at_server(kind, format!("CREATE DATABASE {name}"));
                on_server(&server(kind), &name)
            }
        };
        Self { kind, name, location }
    }

    /// What [`open`] and the node program take.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Runs statements of somebody's on it.
    ///
    /// # Errors
    /// What the database says against them.
    pub fn run(&self, sql: &str) -> std::result::Result<(), Trouble> {
        match self.kind {
            Kind::Sqlite => Ok(rusqlite::Connection::open(&self.location)?.execute_batch(sql)?),
            Kind::Postgres | Kind::Mysql => at(self.kind, self.location.clone(), sql.to_owned()),
        }
    }

    /// Ends the one session that somebody else has on it, as an administrator does.
    ///
    /// # Panics
    /// If there is none, as on a file.
    pub fn end_session(&self) {
        self.run(match self.kind {
            Kind::Sqlite => panic!("a file has no sessions"),
            Kind::Postgres => {
                "SELECT 1 / count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()"
            }
            Kind::Mysql => {
                "SET @other = (SELECT CONCAT('KILL ', MAX(id)) FROM information_schema.processlist \
                 WHERE db = DATABASE() AND id <> CONNECTION_ID()); \
                 PREPARE other FROM @other; EXECUTE other"
            }
        })
        .expect("there is another session");
    }

    /// Opens the store.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(&self) -> Result<Opened> {
        open(&self.location).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.kind {
            Kind::Sqlite => {}
            Kind::Postgres => {
                at_server(self.kind, format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name))
            }
            Kind::Mysql => at_server(self.kind, format!("DROP DATABASE IF EXISTS {}", self.name)),
        }
    }
}

/// Opens the store at a location: a path or a URL.
///
/// # Errors
/// Those of the store.
pub async fn open(location: &str) -> Result<Opened> {
    fn both(store: impl JobStore + LockProvider) -> Opened {
        let store = Arc::new(store);
        (Arc::clone(&store) as Arc<dyn JobStore>, store)
    }
    Ok(match location.split_once("://") {
        Some(("postgres" | "postgresql", _)) => both(PostgresStore::connect(location).await?),
        Some(("mysql", _)) => both(MysqlStore::connect(location).await?),
        _ => both(SqliteStore::open(location).await?),
    })
}

fn server(kind: Kind) -> String {
    let variable = if kind == Kind::Postgres { "PUNCTUAL_POSTGRES_URL" } else { "PUNCTUAL_MYSQL_URL" };
    std::env::var(variable).unwrap_or_else(|_| {
        panic!(
            "{variable} is not set; run `cargo xtask test`, which starts servers, or set it to the URL of one"
        )
    })
}

/// The URL of another database on the same server.
fn on_server(url: &str, name: &str) -> String {
    let (address, options) =
        url.split_once('?').map_or((url, None), |(address, options)| (address, Some(options)));
    let (host, _) = address.rsplit_once('/').unwrap_or((address, ""));
    options.map_or_else(|| format!("{host}/{name}"), |options| format!("{host}/{name}?{options}"))
}

/// Runs a statement on the server's own database.
fn at_server(kind: Kind, sql: String) {
    at(kind, server(kind), sql).unwrap_or_else(|error| panic!("the server of the tests: {error}"));
}

/// Runs statements on a database of a server, on a thread of its own, so that it works inside of an executor too.
fn at(kind: Kind, url: String, sql: String) -> std::result::Result<(), Trouble> {
    let run = move || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        executor.block_on(async {
            if kind == Kind::Postgres {
                let mut connection = PgConnection::connect(&url).await?;
                sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            } else {
                AsyncMysqlConnection::establish(&url).await?.batch_execute(&sql).await?;
            }
            Ok(())
        })
    };
    std::thread::spawn(run).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Makes of each function that takes a [`Kind`] one test for each database, in a module of the function's name.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident;)+) => {
        $(mod $name {
            #[tokio::test]
            async fn sqlite() {
                super::$name($crate::place::Kind::Sqlite).await;
            }

            #[tokio::test]
            async fn postgres() {
                super::$name($crate::place::Kind::Postgres).await;
            }

            #[tokio::test]
            async fn mysql() {
                super::$name($crate::place::Kind::Mysql).await;
            }
        })+
    };
}
