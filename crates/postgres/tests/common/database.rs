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

/// A database that is dropped with this value.
pub(crate) struct Database {
    name: String,
    url: String,
}

impl Database {
    /// Makes a database that nobody else uses.
    pub(crate) fn fresh() -> Self {
        Self::with("ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
    }

    /// The same with options of `CREATE DATABASE`.
    pub(crate) fn with(options: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("punctual_test_{}_{count}", std::process::id());
        at_server(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).expect("an old database goes");
        at_server(&format!("CREATE DATABASE {name} TEMPLATE template0 {options}"))
            .expect("a database can be made");
        let server = server();
        let (address, options) = server.split_once('?').map_or((&*server, None), |(a, o)| (a, Some(o)));
        let (host, _) = address.rsplit_once('/').expect("the URL ends with a database");
        let url = match options {
            None => format!("{host}/{name}"),
            Some(options) => format!("{host}/{name}?{options}"),
        };
        Self { name, url }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // One that stays behind has the process's number in its name, and harms nobody.
        let _ = at_server(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
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
