//! A database for the tests of one process, on the server that the environment names.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::runtime::Builder;

/// The variable with the URL of a server on which databases may be made.
const SERVER: &str = "PUNCTUAL_POSTGRES_URL";

/// The URL of the server.
///
/// # Panics
/// If there is none: without a server nothing here is tested, and that must not look like success.
pub(crate) fn server() -> String {
    std::env::var(SERVER).unwrap_or_else(|_| {
        panic!("{SERVER} is not set; run `cargo xtask test`, or set it to the URL of a server to make databases on")
    })
}

/// The variable with the URL of a pooler in transaction mode in front of that server.
pub(crate) const POOLED: &str = "PUNCTUAL_POSTGRES_POOLED_URL";

/// The variable that tells a second process of a test program the name of the first one's database.
pub(crate) const DATABASE: &str = "PUNCTUAL_POSTGRES_TEST_DATABASE";

/// A database that is dropped with this value, if it was made by it.
pub(crate) struct Database {
    name: String,
    url: String,
    is_ours: bool,
}

impl Database {
    /// Makes a database that nobody else uses; in a second process, opens that of the first.
    pub(crate) fn fresh() -> Self {
        match std::env::var(DATABASE) {
            Ok(name) => Self { url: address_of(&name), name, is_ours: false },
            Err(_) => Self::with("ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"),
        }
    }

    /// The same with options of `CREATE DATABASE`.
    pub(crate) fn with(options: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("punctual_test_{}_{count}", std::process::id());
        at_server(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).expect("an old database goes");
        at_server(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}"))
            .expect("a database can be made");
        Self { url: address_of(&name), name, is_ours: true }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its URL on the server itself, where [`Database::url`] may lead through a pooler.
    pub(crate) fn direct_url(&self) -> String {
        with_name(&server(), &self.name)
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        // One that stays behind has the process's number in its name, and harms nobody.
        let _ = at_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// The URL of a database on the server, or through a pooler in front of it if the environment names one.
fn address_of(name: &str) -> String {
    with_name(&std::env::var(POOLED).unwrap_or_else(|_| server()), name)
}

fn with_name(server: &str, name: &str) -> String {
    let (address, options) = server.split_once('?').map_or((server, None), |(a, o)| (a, Some(o)));
    let (host, _) = address.rsplit_once('/').expect("the URL ends with a database");
    match options {
        None => format!("{host}/{name}"),
        Some(options) => format!("{host}/{name}?{options}"),
    }
}

/// Runs a statement on the server's own database, on a thread of its own, so that it works inside of a runtime too.
fn at_server(sql: &str) -> Result<(), sqlx::Error> {
    let sql = sql.to_owned();
    let run = move || {
        Builder::new_current_thread().enable_all().build().expect("an executor").block_on(async {
            let mut connection = PgConnection::connect(&server()).await?;
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
            connection.close().await
        })
    };
    std::thread::spawn(run).join().expect("the thread ends")
}
