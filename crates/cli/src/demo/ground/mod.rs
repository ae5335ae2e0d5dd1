//! What the nodes of a run meet on: a file, or a schema or database that is made for this run alone, because the demo
//! judges a whole history. It also knows whether somebody stands in the middle of a transaction, and does not go on.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use punctual::JobStore;
use punctual::runtime::SystemClock;
use punctual_core::Clock;

use super::failed::Failed;
use super::session::Inside;
use crate::db::{self, Access, Location};

/// Who has held a transaction for so long without going on stands still.
const STUCK: Duration = Duration::from_millis(350);

/// What a run has for itself, by the kind of its database.
#[derive(Debug)]
enum Own {
    #[cfg(feature = "sqlite")]
    File(sqlite::File),
    #[cfg(feature = "postgres")]
    Schema(postgres::Schema),
    #[cfg(feature = "mysql")]
    Database(mysql::Database),
}

/// The ground of a run.
#[derive(Debug)]
pub(crate) struct Ground {
    location: Location,
    /// The same as nodes are told, password included.
    text: String,
    own: Own,
}

impl Ground {
    /// Makes the ground of a run: a file in its folder, or what the viewer asks for.
    pub(crate) async fn make(asked: Option<&str>, dir: &Path, freeze: Inside) -> Result<Self, Failed> {
        let name = format!("punctual_demo_{}_{}", std::process::id(), SystemClock.boot().as_micros());
        let given = match asked {
            Some(text) => Location::parse(text)?,
            None => Location::Sqlite(dir.join("demo.db")),
        };
        let (text, own) = match given {
            Location::Sqlite(path) => file(path)?,
            Location::Postgres(mut place) => {
                // A step of its own sessions is one statement, in which nobody can be caught: it goes on without its
                // client. Through a pooler it is a transaction of several.
                place.is_pooled |= freeze == Inside::Transaction;
                schema(place, name).await?
            }
            Location::Mysql(place) => database(place, name).await?,
        };
        let location = Location::parse(&text)?;
        Ok(Self { location, text, own })
    }

    /// What nodes are told to open.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Opens the store, and makes its tables.
    pub(crate) async fn open(&self) -> Result<Arc<dyn JobStore>, Failed> {
        Ok(db::connect(&self.location, Access::Make).await?)
    }

    /// Whether the database is a server, which can be restarted under its clients.
    pub(crate) const fn is_server(&self) -> bool {
        !matches!(self.location, Location::Sqlite(_))
    }

    /// Whether somebody is in the middle of a transaction on it, and does not go on. Answers within a second.
    pub(crate) async fn stands(&self) -> Result<bool, Failed> {
        match &self.own {
            #[cfg(feature = "sqlite")]
            Own::File(file) => file.stands(),
            #[cfg(feature = "postgres")]
            Own::Schema(schema) => schema.stands().await,
            #[cfg(feature = "mysql")]
            Own::Database(database) => database.stands().await,
        }
    }

    /// Takes away what was made; a file goes with its folder.
    pub(crate) async fn clear(self) -> Result<(), Failed> {
        match &self.own {
            #[cfg(feature = "sqlite")]
            Own::File(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Own::Schema(schema) => schema.drop().await,
            #[cfg(feature = "mysql")]
            Own::Database(database) => database.drop().await,
        }
    }

    /// Where it is and how to take it away, if it is not in the folder of the run.
    pub(crate) fn leftover(&self) -> Option<String> {
        let statement: Option<String> = match &self.own {
            #[cfg(feature = "sqlite")]
            Own::File(_) => None,
            #[cfg(feature = "postgres")]
            Own::Schema(schema) => Some(schema.dropping()),
            #[cfg(feature = "mysql")]
            Own::Database(database) => Some(database.dropping()),
        };
        statement.map(|statement| format!("{}, and `{statement}` takes it away", self.location))
    }
}

impl fmt::Display for Ground {
    /// Where it is, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.location.fmt(f)
    }
}

#[cfg(feature = "sqlite")]
fn file(path: std::path::PathBuf) -> Result<(String, Own), Failed> {
    let text = path.to_str().map(|path| format!("sqlite:{path}"));
    let text = text.ok_or_else(|| Failed::new(format!("{} is no text", path.display())))?;
    Ok((text, Own::File(sqlite::File::new(path)?)))
}

#[cfg(feature = "postgres")]
async fn schema(place: db::Postgres, name: String) -> Result<(String, Own), Failed> {
    let schema = postgres::Schema::make(place, name).await?;
    Ok((schema.text(), Own::Schema(schema)))
}

#[cfg(feature = "mysql")]
async fn database(place: db::Mysql, name: String) -> Result<(String, Own), Failed> {
    let database = mysql::Database::make(&place, name).await?;
    Ok((database.text().to_owned(), Own::Database(database)))
}

#[cfg(not(feature = "sqlite"))]
fn file(_path: std::path::PathBuf) -> Result<(String, Own), Failed> {
    Err(Failed::new("this build of punctual has no store for SQLite; name a server with --db"))
}

#[cfg(not(feature = "postgres"))]
async fn schema(_place: db::Postgres, _name: String) -> Result<(String, Own), Failed> {
    Err(Failed::new("this build of punctual has no store for PostgreSQL"))
}

#[cfg(not(feature = "mysql"))]
async fn database(_place: db::Mysql, _name: String) -> Result<(String, Own), Failed> {
    Err(Failed::new("this build of punctual has no store for MySQL and MariaDB"))
}
