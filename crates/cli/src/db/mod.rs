//! Which database is meant, and how it is opened.

mod location;

use std::sync::Arc;

use punctual::core::migrate::{Fingerprint, MigrateMode, Migration, MigrationConn};
use punctual::{Error, ErrorKind, JobStore};

pub(crate) use self::location::{Location, Mysql, Postgres};
use crate::args::Db;
use crate::trouble::{Exit, Trouble};

/// The variables of the environment that say what `--db` and `--db-listen` say otherwise.
pub(crate) const VARIABLE: &str = "PUNCTUAL_DB";
pub(crate) const LISTEN_VARIABLE: &str = "PUNCTUAL_DB_LISTEN";

/// What a command may do to the database that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Make what is missing: the file or the schema, and the tables, which are brought up to date.
    Make,
    /// Take it as it is, or refuse it.
    AsItIs,
}

/// Opens the database that `--db` or `PUNCTUAL_DB` names.
pub(crate) async fn open(db: &Db, access: Access) -> Result<Arc<dyn JobStore>, Trouble> {
    connect(&location(db)?, access).await
}

/// The location that `--db` and `--db-listen` name together.
fn location(db: &Db) -> Result<Location, Trouble> {
    let mut location = Location::parse(&db.db)?;
    match (&mut location, &db.db_listen) {
        (Location::Postgres(postgres), Some(url)) => postgres.listen = Some(url.clone()),
        (_, Some(_)) => {
            return Err(Trouble::new(
                Exit::Usage,
                format!("--db-listen is for PostgreSQL alone, and the database is {location}"),
            )
            .hint("leave out --db-listen and PUNCTUAL_DB_LISTEN"));
        }
        (_, None) => {}
    }
    Ok(location)
}

/// Opens the database at a location.
pub(crate) async fn connect(location: &Location, access: Access) -> Result<Arc<dyn JobStore>, Trouble> {
    let opened = match location {
        Location::Sqlite(path) => sqlite(path, access).await?,
        Location::Postgres(place) => postgres(place, access).await?,
        Location::Mysql(place) => mysql(place, access).await?,
    };
    opened.map_err(|error| refused(location, error))
}

/// A database that was found and cannot be used.
fn refused(location: &Location, error: Error) -> Trouble {
    let kind = error.kind();
    let trouble = Trouble::from(error).exit(Exit::Store);
    match (location, kind) {
        (Location::Sqlite(_), ErrorKind::NotFound) => {
            trouble.hint("`punctual run FILE.toml` makes one; name another with --db or PUNCTUAL_DB")
        }
        (Location::Sqlite(_), _) => trouble,
        _ => trouble.about(location),
    }
}

/// A database as `punctual migrate` sees it.
pub(crate) struct Target {
    pub(crate) conn: Box<dyn MigrationConn>,
    /// The migrations of this binary for it.
    pub(crate) known: Vec<Migration>,
    /// The shape of its schema after each of them.
    pub(crate) shapes: Vec<Fingerprint>,
}

/// Opens the database for the migration engine. No table is made, and a missing file only if it may be.
pub(crate) async fn migrations(db: &Db, access: Access) -> Result<Target, Trouble> {
    let location = location(db)?;
    let target = match &location {
        Location::Sqlite(path) => sqlite_migrations(path, access)?,
        Location::Postgres(place) => postgres_migrations(place).await?,
        Location::Mysql(place) => mysql_migrations(place).await?,
    };
    target.map_err(|error| refused(&location, error))
}

type Targeted = Result<Result<Target, Error>, Trouble>;

#[cfg(feature = "sqlite")]
fn sqlite_migrations(path: &std::path::Path, access: Access) -> Targeted {
    use punctual::SqliteMigrations;

    let target = |conn| {
        let known = SqliteMigrations::known()?;
        Ok(Target { conn: Box::new(conn), known, shapes: SqliteMigrations::shapes() })
    };
    let builder = punctual::SqliteStore::builder(path);
    let builder = match access {
        Access::Make => builder,
        Access::AsItIs => builder.existing_only(),
    };
    Ok(builder.migrations().and_then(target))
}

#[cfg(feature = "postgres")]
async fn postgres_migrations(place: &Postgres) -> Targeted {
    use punctual::PostgresMigrations;

    let conn = match at_postgres(place) {
        Ok(builder) => builder.migrations().await,
        Err(error) => Err(error),
    };
    let target = |conn| {
        let known = PostgresMigrations::known()?;
        Ok(Target { conn: Box::new(conn), known, shapes: PostgresMigrations::shapes() })
    };
    Ok(conn.and_then(target))
}

#[cfg(feature = "mysql")]
async fn mysql_migrations(place: &Mysql) -> Targeted {
    use punctual::MysqlMigrations;

    let target = |conn| {
        let known = MysqlMigrations::known()?;
        Ok(Target { conn: Box::new(conn), known, shapes: MysqlMigrations::shapes() })
    };
    Ok(punctual::MysqlStore::builder(&place.url).migrations().await.and_then(target))
}

type Opened = Result<Result<Arc<dyn JobStore>, Error>, Trouble>;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
fn shared<S: JobStore + 'static>(store: S) -> Arc<dyn JobStore> {
    Arc::new(store)
}

#[cfg(feature = "sqlite")]
async fn sqlite(path: &std::path::Path, access: Access) -> Opened {
    let builder = punctual::SqliteStore::builder(path);
    let builder = match access {
        Access::Make => builder,
        Access::AsItIs => builder.existing_only().migrate(MigrateMode::Validate),
    };
    Ok(builder.open().await.map(shared))
}

#[cfg(feature = "postgres")]
async fn postgres(place: &Postgres, access: Access) -> Opened {
    Ok(match at_postgres(place) {
        Ok(builder) => {
            let builder = match access {
                Access::Make => builder,
                Access::AsItIs => builder.migrate(MigrateMode::Validate),
            };
            builder.open().await.map(shared)
        }
        Err(error) => Err(error),
    })
}

#[cfg(feature = "postgres")]
fn at_postgres(place: &Postgres) -> Result<punctual::PostgresBuilder, Error> {
    let mut builder = punctual::PostgresStore::builder(&place.url)?.transaction_pooler(place.is_pooled);
    if let Some(schema) = &place.schema {
        builder = builder.schema(schema);
    }
    if let Some(url) = &place.listen {
        builder = builder.listen_url(url)?;
    }
    Ok(builder)
}

#[cfg(feature = "mysql")]
async fn mysql(place: &Mysql, access: Access) -> Opened {
    let builder = punctual::MysqlStore::builder(&place.url);
    let builder = match access {
        Access::Make => builder,
        Access::AsItIs => builder.migrate(MigrateMode::Validate),
    };
    Ok(builder.open().await.map(shared))
}

/// What is said of a store that was left out of the build.
#[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
fn left_out<T>(what: &str, feature: &str) -> Result<T, Trouble> {
    Err(Trouble::new(Exit::Store, format!("this build of punctual has no store for {what}"))
        .hint(format!("build it with the feature `{feature}`, or name another database with --db")))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_path: &std::path::Path, _access: Access) -> Opened {
    left_out("SQLite", "sqlite")
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_place: &Postgres, _access: Access) -> Opened {
    left_out("PostgreSQL", "postgres")
}

#[cfg(not(feature = "mysql"))]
async fn mysql(_place: &Mysql, _access: Access) -> Opened {
    left_out("MySQL and MariaDB", "mysql")
}

#[cfg(not(feature = "sqlite"))]
fn sqlite_migrations(_path: &std::path::Path, _access: Access) -> Targeted {
    left_out("SQLite", "sqlite")
}

#[cfg(not(feature = "postgres"))]
async fn postgres_migrations(_place: &Postgres) -> Targeted {
    left_out("PostgreSQL", "postgres")
}

#[cfg(not(feature = "mysql"))]
async fn mysql_migrations(_place: &Mysql) -> Targeted {
    left_out("MySQL and MariaDB", "mysql")
}
