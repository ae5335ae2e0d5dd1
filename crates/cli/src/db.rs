//! Which database is meant, and how it is opened.

use std::path::PathBuf;
use std::sync::Arc;

use punctual::JobStore;
use punctual_core::migrate::{Fingerprint, Migration, MigrationConn};

use crate::trouble::{Exit, Trouble};

/// What a command may do to the database that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Make it if it is missing, and bring its tables up to date.
    Make,
    /// Take it as it is, or refuse it.
    AsItIs,
}

/// Opens the database that `--db` or `PUNCTUAL_DB` names.
pub(crate) async fn open(location: &str, access: Access) -> Result<Arc<dyn JobStore>, Trouble> {
    sqlite(path(location)?, access).await
}

/// A database as `punctual migrate` sees it.
pub(crate) struct Target {
    pub(crate) conn: Box<dyn MigrationConn>,
    /// The migrations of this binary for it.
    pub(crate) known: Vec<Migration>,
    /// The shape of its schema after each of them.
    pub(crate) shapes: Vec<Fingerprint>,
}

/// Opens the database for the migration engine; it is made if it is missing, and no table is.
pub(crate) async fn migrations(location: &str) -> Result<Target, Trouble> {
    sqlite_migrations(path(location)?)
}

#[cfg(feature = "sqlite")]
fn sqlite_migrations(path: PathBuf) -> Result<Target, Trouble> {
    use punctual::{SqliteMigrations, SqliteStore};

    let conn =
        SqliteStore::builder(path).migrations().map_err(|error| Trouble::from(error).exit(Exit::Store))?;
    Ok(Target { conn: Box::new(conn), known: SqliteMigrations::known()?, shapes: SqliteMigrations::shapes() })
}

#[cfg(not(feature = "sqlite"))]
fn sqlite_migrations(_path: PathBuf) -> Result<Target, Trouble> {
    Err(Trouble::new(Exit::Store, "this build of punctual has no store at all")
        .hint("build it with the feature `sqlite`"))
}

/// The file that a location names.
fn path(location: &str) -> Result<PathBuf, Trouble> {
    let usage = |message: String| Err(Trouble::new(Exit::Usage, message));
    let (scheme, rest) = match location.split_once(':') {
        Some((scheme, rest)) if rest.starts_with("//") || scheme == "sqlite" => (scheme, rest),
        _ => ("sqlite", location),
    };
    match scheme {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            match path {
                "" => usage(format!("--db {location:?} names no file; give a path such as punctual.db")),
                ":memory:" => {
                    usage("--db: a database in memory cannot be shared by nodes; give a path".to_owned())
                }
                path => Ok(PathBuf::from(path)),
            }
        }
        "postgres" | "postgresql" => Err(missing("PostgreSQL")),
        "mysql" | "mariadb" => Err(missing("MySQL")),
        other => {
            usage(format!("--db: {other:?} is no kind of database known here; give a path, or sqlite:PATH"))
        }
    }
}

fn missing(what: &str) -> Trouble {
    Trouble::new(Exit::Store, format!("this build of punctual has no store for {what}"))
        .hint("use an SQLite file: --db PATH, or PUNCTUAL_DB=PATH")
}

#[cfg(feature = "sqlite")]
async fn sqlite(path: PathBuf, access: Access) -> Result<Arc<dyn JobStore>, Trouble> {
    use punctual::core::migrate::MigrateMode;
    use punctual::{ErrorKind, SqliteStore};

    let builder = SqliteStore::builder(&path);
    let builder = match access {
        Access::Make => builder,
        Access::AsItIs => builder.existing_only().migrate(MigrateMode::Validate),
    };
    match builder.open().await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => {
            let missing = error.kind() == ErrorKind::NotFound;
            let trouble = Trouble::from(error).exit(Exit::Store);
            Err(match missing {
                true => {
                    trouble.hint("`punctual run FILE.toml` makes one; name another with --db or PUNCTUAL_DB")
                }
                false => trouble,
            })
        }
    }
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_path: PathBuf, _access: Access) -> Result<Arc<dyn JobStore>, Trouble> {
    Err(Trouble::new(Exit::Store, "this build of punctual has no store at all")
        .hint("build it with the feature `sqlite`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_names_its_kind() {
        for (location, expected) in [
            ("jobs.db", "jobs.db"),
            ("sqlite:jobs.db", "jobs.db"),
            ("sqlite:///tmp/jobs.db", "/tmp/jobs.db"),
            ("/tmp/a:b.db", "/tmp/a:b.db"),
        ] {
            assert_eq!(path(location).unwrap(), PathBuf::from(expected), "{location}");
        }
        for (location, word) in [
            ("postgres://host/db", "PostgreSQL"),
            ("mysql://host/db", "MySQL"),
            ("oracle://host/db", "oracle"),
            ("", "names no file"),
            ("sqlite::memory:", "memory"),
        ] {
            assert!(path(location).unwrap_err().message().contains(word), "{location}");
        }
    }
}
