//! Which database is meant, and how it is opened.

mod location;

use std::sync::Arc;

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
    connect(&location, access).await
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
        Access::AsItIs => builder.existing_only().without_migrations(),
    };
    Ok(builder.open().await.map(shared))
}

#[cfg(feature = "postgres")]
async fn postgres(place: &Postgres, access: Access) -> Opened {
    let build = || {
        let mut builder = punctual::PostgresStore::builder(&place.url)?.transaction_pooler(place.is_pooled);
        if let Some(schema) = &place.schema {
            builder = builder.schema(schema);
        }
        if let Some(url) = &place.listen {
            builder = builder.listen_url(url)?;
        }
        Ok(match access {
            Access::Make => builder,
            Access::AsItIs => builder.without_migrations(),
        })
    };
    Ok(match build() {
        Ok(builder) => builder.open().await.map(shared),
        Err(error) => Err(error),
    })
}

#[cfg(feature = "mysql")]
async fn mysql(place: &Mysql, access: Access) -> Opened {
    let builder = punctual::MysqlStore::builder(&place.url);
    let builder = match access {
        Access::Make => builder,
        Access::AsItIs => builder.without_migrations(),
    };
    Ok(builder.open().await.map(shared))
}

/// What is said of a store that was left out of the build.
#[cfg(not(all(feature = "mysql", feature = "postgres", feature = "sqlite")))]
fn left_out(what: &str, feature: &str) -> Opened {
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
