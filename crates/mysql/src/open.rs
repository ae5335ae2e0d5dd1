//! Connections: how they are made, what they are set to, and which servers are refused.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::{Hook, HookError, Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use mysql_async::{Conn, Opts, OptsBuilder};
use punctual_core::migrate::MigrateMode;
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::StatementHook;
use punctual_core::{BoxFuture, Clock, Error, ErrorKind, Result};

use crate::error::{Failure, classify};
use crate::query::{Sql, Statement, values};
use crate::rows::{Columns, Raw};
use crate::sql;

/// Where connections come from.
#[derive(Clone)]
pub(crate) enum Source {
    /// From a pool of the store's own.
    Url(String),
    /// From a pool that was handed in.
    Pool(Pool<AsyncMysqlConnection>),
}

impl fmt::Debug for Source {
    /// A URL holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url(_) => "Url",
            Self::Pool(_) => "Pool",
        })
    }
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) source: Source,
    pub(crate) connections: usize,
    pub(crate) migrate: MigrateMode,
    pub(crate) claims: ClaimShape,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) hook: Option<Arc<dyn StatementHook>>,
}

/// Which of the two servers it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    MySql,
    MariaDb,
}

/// What the store knows of its server and database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) flavor: Flavor,
    /// For error texts: the database.
    pub(crate) database: String,
    /// The same for every connection of this process to the same database.
    pub(crate) place: String,
}

/// Connections, and what they have to be told.
pub(crate) struct Connections {
    pool: Pool<AsyncMysqlConnection>,
    /// A pool of somebody else's: its sessions are set anew for each step.
    foreign: bool,
    pub(crate) server: Server,
}

const OPERATION: &str = "open";

/// How long a pooled connection may have been idle to be used without a look whether it still lives. Well below the
/// `wait_timeout` that sessions are set to.
const FRESH: Duration = Duration::from_secs(10);

impl Connections {
    /// Makes the pool if there is none, and looks at the server.
    pub(crate) async fn open(options: &Options) -> Result<Self> {
        let (pool, place, foreign) = match &options.source {
            Source::Url(url) => {
                let (pool, place) = own_pool(url, options.connections)?;
                (pool, place, false)
            }
            Source::Pool(pool) => (pool.clone(), "the given pool".to_owned(), true),
        };
        let failed = |failure| classify(OPERATION, &place, failure);
        let mut object = checked_out(&pool).await.map_err(failed)?;
        let connection: &mut AsyncMysqlConnection = &mut object;
        let server = probe(connection).await?;
        if foreign {
            set(connection, server.flavor).await.map_err(failed)?;
        }
        Ok(Self { pool, foreign, server })
    }

    /// A connection that is set to what this store needs.
    pub(crate) async fn get(&self) -> std::result::Result<Held, Failure> {
        let mut held = Held { object: Some(checked_out(&self.pool).await?) };
        if self.foreign {
            set(held.connection()?, self.server.flavor).await?;
        }
        Ok(held)
    }
}

async fn checked_out(
    pool: &Pool<AsyncMysqlConnection>,
) -> std::result::Result<Object<AsyncMysqlConnection>, Failure> {
    pool.get().await.map_err(|error| {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            // Most of them repeat their cause.
            let said = cause.to_string();
            text = if text.ends_with(&said) { said } else { format!("{text}: {said}") };
            source = cause.source();
        }
        Failure::Connect(text)
    })
}

/// A connection in use. It goes back to its pool only if somebody says that it is clean; else it is closed.
pub(crate) struct Held {
    object: Option<Object<AsyncMysqlConnection>>,
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("is_there", &self.object.is_some()).finish()
    }
}

impl Held {
    pub(crate) fn connection(&mut self) -> std::result::Result<&mut AsyncMysqlConnection, Failure> {
        match &mut self.object {
            Some(object) => Ok(object),
            None => Err(Error::internal("connection", "it was given back already").into()),
        }
    }

    /// Gives it back: no transaction is open, and no answer outstanding.
    pub(crate) fn clean(mut self) {
        drop(self.object.take());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}

/// A pool for a URL, and how messages call what is there: without user and password.
fn own_pool(url: &str, connections: usize) -> Result<(Pool<AsyncMysqlConnection>, String)> {
    let opts = Opts::from_url(url).map_err(|error| {
        let why = format!(
            "the URL cannot be read ({error}); it looks like mysql://user:password@host:3306/database"
        );
        Error::invalid(OPERATION, why)
    })?;
    if opts.db_name().is_none_or(str::is_empty) {
        return Err(Error::invalid(
            OPERATION,
            "the URL names no database; add it behind the host, as in …/jobs",
        ));
    }
    let database = opts.db_name().unwrap_or_default();
    let place = format!("{}:{}/{database}", opts.ip_or_hostname(), opts.tcp_port());
    if opts.ssl_opts().is_some() {
        name_a_provider();
    }
    let opts: Opts = OptsBuilder::from_opts(opts)
        .client_found_rows(true)
        .stmt_cache_size(0)
        .tcp_keepalive(Some(10_000_u32))
        .tcp_nodelay(true)
        .into();
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| Box::pin(connect(opts.clone())));
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    let pool = Pool::builder(manager)
        .max_size(connections)
        .pre_recycle(Hook::async_fn(|connection: &mut AsyncMysqlConnection, metrics| {
            let idle = metrics.last_used();
            Box::pin(async move {
                if idle < FRESH {
                    return Ok(());
                }
                let alive = connection.batch_execute(sql::PING).await;
                alive.map_err(|error| HookError::message(error.to_string()))
            })
        }))
        .build()
        .map_err(|error| Error::internal(OPERATION, "the pool cannot be made").with_source(error));
    Ok((pool?, place))
}

/// rustls panics if a process has two providers and named none. An application that wants another one names it first.
fn name_a_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may name one at the same moment; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

fn connect(opts: Opts) -> BoxFuture<'static, diesel::ConnectionResult<AsyncMysqlConnection>> {
    Box::pin(async move {
        let refused = |text: String| ConnectionError::BadConnection(text);
        let conn = Conn::new(opts).await.map_err(|error| refused(error.to_string()))?;
        let mut connection = AsyncMysqlConnection::try_from(conn).await?;
        let server = probe(&mut connection).await.map_err(|error| refused(error.to_string()))?;
        set(&mut connection, server.flavor).await.map_err(|failure| match failure {
            Failure::Sql(error) => ConnectionError::CouldntSetupConfiguration(error),
            other => refused(classify(OPERATION, &server.database, other).to_string()),
        })?;
        Ok(connection)
    })
}

async fn first<T>(
    connection: &mut AsyncMysqlConnection,
    text: &'static str,
    read: impl Fn(&Columns) -> T,
) -> std::result::Result<Option<T>, Failure> {
    let statement = Statement { sql: Sql::once(text.to_owned()), values: values![] };
    let rows = statement.load::<Raw>(connection).await?;
    Ok(rows.into_iter().next().map(|row| read(&Columns::of(row))))
}

/// Looks which server it is, and refuses those that cannot do what this store needs.
async fn probe(connection: &mut AsyncMysqlConnection) -> Result<Server> {
    let read = |c: &Columns| (c.text(), c.int(), c.int(), c.text(), c.text(), c.text());
    let found = first(connection, sql::SERVER, read);
    let found = found.await.map_err(|failure| classify(OPERATION, "the server", failure))?;
    let (version, read_only, log, format, database, place) =
        found.ok_or_else(|| Error::internal(OPERATION, "the server says nothing about itself"))?;
    let flavor = flavor_of(&version)?;
    let unsupported = |why: String| Err(Error::new(ErrorKind::Unsupported, OPERATION, why));
    if database.is_empty() {
        return Err(Error::invalid(
            OPERATION,
            "the connection uses no database; name the store's in its URL",
        ));
    }
    if read_only != 0 {
        return unsupported(format!(
            "{database}: the server is read-only, so it is a replica or under maintenance; connect to the primary"
        ));
    }
    if log != 0 && format == "STATEMENT" {
        return unsupported(format!(
            "{database}: the server logs statements (binlog_format=STATEMENT), which does not go with READ COMMITTED; \
             set binlog_format to ROW or MIXED"
        ));
    }
    Ok(Server { flavor, database, place })
}

/// Reads a version such as `8.0.36`, `10.11.19-MariaDB-0+deb12u1` or `5.5.5-10.6.5-MariaDB`.
fn flavor_of(version: &str) -> Result<Flavor> {
    let (flavor, least, text) = if version.contains("MariaDB") {
        // Old servers said so to be let in by old clients.
        (Flavor::MariaDb, (10, 6), version.strip_prefix("5.5.5-").unwrap_or(version))
    } else {
        (Flavor::MySql, (8, 0), version)
    };
    let mut parts = text.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < least {
        let why = format!("the server is {version}; Punctual needs MySQL 8.0 or MariaDB 10.6 at least");
        return Err(Error::new(ErrorKind::Unsupported, OPERATION, why));
    }
    Ok(flavor)
}

/// Sets a session, and looks whether it took what it was told.
async fn set(connection: &mut AsyncMysqlConnection, flavor: Flavor) -> std::result::Result<(), Failure> {
    connection.batch_execute(sql::SETTINGS).await?;
    let state = match flavor {
        Flavor::MariaDb => {
            connection.batch_execute(sql::SETTINGS_OF_MARIADB).await?;
            sql::SESSION_OF_MARIADB
        }
        Flavor::MySql => sql::SESSION_OF_MYSQL,
    };
    let found = first(connection, state, |c| {
        let (isolation, autocommit, mode, zone) = (c.text(), c.int(), c.text(), c.text());
        let (language, patience, silence, charset, collation) =
            (c.text(), c.int(), c.int(), c.text(), c.text());
        format!(
            "{isolation} {autocommit} {mode} {zone} {language} {patience} {silence} {charset} {collation}"
        )
    })
    .await?;
    if found.as_deref() == Some(WANTED) {
        return Ok(());
    }
    let why = format!(
        "the session did not take its settings: it has {found:?} and should have {WANTED:?}; look for a proxy or an \
         init_connect that changes them"
    );
    Err(Error::new(ErrorKind::Unsupported, OPERATION, why).into())
}

/// What a session must have come to.
const WANTED: &str =
    "READ-COMMITTED 1 STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION +00:00 en_US 2 30 utf8mb4 utf8mb4_bin";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_are_refused_by_their_version() {
        for (version, flavor) in [
            ("8.0.36", Flavor::MySql),
            ("8.4.0-commercial", Flavor::MySql),
            ("9.1.0", Flavor::MySql),
            ("10.6.5-MariaDB", Flavor::MariaDb),
            ("10.11.19-MariaDB-0+deb12u1", Flavor::MariaDb),
            ("5.5.5-10.11.6-MariaDB-log", Flavor::MariaDb),
            ("11.8.2-MariaDB", Flavor::MariaDb),
        ] {
            assert_eq!(flavor_of(version).unwrap(), flavor, "{version}");
        }
        for version in ["5.7.44-log", "10.5.27-MariaDB", "5.5.5-10.3.39-MariaDB", "nonsense", ""] {
            let error = flavor_of(version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{version}");
            assert!(error.message().contains("MySQL 8.0 or MariaDB 10.6"), "{error}");
        }
    }

    #[test]
    fn a_url_without_a_database_is_refused() {
        for url in ["mysql://user:secret@host", "postgres://x/y", "nonsense"] {
            let error = own_pool(url, 1).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
