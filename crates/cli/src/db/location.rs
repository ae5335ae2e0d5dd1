//! Where a database is, as `--db` and `PUNCTUAL_DB` say it: a path, or a URL with a few parameters of our own.

use std::fmt;
use std::path::PathBuf;

use crate::trouble::{Exit, Trouble, nearest};

/// Our parameters of a PostgreSQL URL, which its driver does not see.
const SCHEMA: &str = "schema";
const POOLER: &str = "pooler";

/// The parameters that the driver of PostgreSQL knows. It leaves out others without a word, so `shema=x` would quietly
/// be another cluster.
const OF_THE_DRIVER: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];

/// A database, and the cluster in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A file.
    Sqlite(PathBuf),
    /// A schema of a PostgreSQL database.
    Postgres(Postgres),
    /// A MySQL or MariaDB database.
    Mysql(Mysql),
}

/// A schema of a PostgreSQL database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Postgres {
    /// The URL without our own parameters.
    pub(crate) url: String,
    /// The schema, if it is not the usual one.
    pub(crate) schema: Option<String>,
    /// Whether each transaction may have another session, as through PgBouncer in transaction mode.
    pub(crate) is_pooled: bool,
    /// The URL of a session that listens, around the pooler.
    pub(crate) listen: Option<String>,
}

/// A MySQL or MariaDB database.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Mysql {
    /// The URL, as the driver takes it.
    pub(crate) url: String,
}

impl Location {
    /// Reads what `--db` says.
    pub(crate) fn parse(text: &str) -> Result<Self, Trouble> {
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest)) if rest.starts_with("//") || scheme == "sqlite" => (scheme, rest),
            _ => ("sqlite", text),
        };
        match scheme {
            "sqlite" => sqlite(rest).map(Self::Sqlite),
            "postgres" | "postgresql" => postgres(text).map(Self::Postgres),
            "mysql" | "mariadb" => mysql(rest).map(Self::Mysql),
            other => Err(usage(format!("--db: {other:?} is no kind of database known here")).hint(
                "give the path of an SQLite file, or postgres://USER@HOST/DATABASE, or mysql://USER@HOST/DATABASE",
            )),
        }
    }
}

impl fmt::Display for Location {
    /// As it was given, without the password and without parameters of the driver, which may hold one too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(place) => {
                f.write_str(&without_password(&place.url))?;
                place.schema.iter().try_for_each(|schema| write!(f, "?{SCHEMA}={schema}"))
            }
            Self::Mysql(place) => f.write_str(&without_password(&place.url)),
        }
    }
}

impl fmt::Debug for Postgres {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = without_password(&self.url);
        let listen = self.listen.as_deref().map(without_password);
        let Self { schema, is_pooled, .. } = self;
        f.debug_struct("Postgres")
            .field("url", &url)
            .field("schema", schema)
            .field("is_pooled", is_pooled)
            .field("listen", &listen)
            .finish()
    }
}

impl fmt::Debug for Mysql {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mysql").field("url", &without_password(&self.url)).finish()
    }
}

/// The scheme, user, server and database of a URL: neither password nor parameters.
fn without_password(url: &str) -> String {
    let base = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = base.split_once("://") else { return String::from("…") };
    // A password with an unescaped `/` or `@` in it must not be shown either: the last `@` ends it.
    match rest.rsplit_once('@') {
        Some((user, place)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{place}")
        }
        // An `@` further on: the password has an unescaped `?` or `#` in it, and where it ends is anybody's guess.
        None if url.contains('@') => format!("{scheme}://…"),
        None => base.to_owned(),
    }
}

fn usage(message: String) -> Trouble {
    Trouble::new(Exit::Usage, message)
}

fn sqlite(rest: &str) -> Result<PathBuf, Trouble> {
    match rest.strip_prefix("//").unwrap_or(rest) {
        "" => Err(usage("--db names no file".to_owned()).hint("give a path such as punctual.db")),
        ":memory:" => Err(usage("--db: a database in memory cannot be shared by nodes".to_owned())
            .hint("give a path such as punctual.db")),
        path => Ok(PathBuf::from(path)),
    }
}

/// Takes our own parameters out of the URL.
fn postgres(text: &str) -> Result<Postgres, Trouble> {
    let (base, parameters) = text.split_once('?').unwrap_or((text, ""));
    let (mut schema, mut is_pooled, mut others) = (None, false, Vec::new());
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name {
            SCHEMA if value.is_empty() => {
                return Err(about(text, "`schema` has no value").hint("give the name: schema=jobs"));
            }
            SCHEMA => schema = Some(value.to_owned()),
            POOLER if value == "transaction" => is_pooled = true,
            POOLER => {
                let what = format!("`pooler={value}` is no mode that matters here");
                return Err(about(text, &what).hint(
                    "say pooler=transaction if the pooler gives each transaction another session, and nothing otherwise",
                ));
            }
            _ if OF_THE_DRIVER.contains(&name) || name.starts_with("options[") => others.push(parameter),
            _ => {
                let known = OF_THE_DRIVER.iter().copied().chain([SCHEMA, POOLER]);
                let trouble = about(text, &format!("the parameter `{name}` is not known"));
                return Err(match nearest(name, known) {
                    Some(near) => trouble.hint(format!("did you mean `{near}`?")),
                    None => trouble.hint(
                        "docs/command.md lists our own; others are those of libpq that sqlx understands",
                    ),
                });
            }
        }
    }
    let url = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    Ok(Postgres { url, schema, is_pooled, listen: None })
}

fn mysql(rest: &str) -> Result<Mysql, Trouble> {
    // The driver knows one scheme for both servers.
    let url = format!("mysql:{rest}");
    let (_, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    for name in parameters.split('&').filter_map(|parameter| parameter.split('=').next()) {
        if [SCHEMA, POOLER].contains(&name) {
            return Err(about(&url, &format!("`{name}` is a parameter for PostgreSQL")).hint(
                "a cluster on MySQL is a database, which the URL names behind the host: mysql://USER@HOST/DATABASE",
            ));
        }
    }
    Ok(Mysql { url })
}

fn about(url: &str, what: &str) -> Trouble {
    usage(format!("--db {}: {what}", without_password(url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<PathBuf> {
        match Location::parse(text) {
            Ok(Location::Sqlite(path)) => Some(path),
            _ => None,
        }
    }

    fn on_postgres(text: &str) -> Postgres {
        match Location::parse(text) {
            Ok(Location::Postgres(place)) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_location_is_a_path_or_names_its_kind() {
        for (location, expected) in [
            ("jobs.db", "jobs.db"),
            ("sqlite:jobs.db", "jobs.db"),
            ("sqlite:///tmp/jobs.db", "/tmp/jobs.db"),
            ("/tmp/a:b.db", "/tmp/a:b.db"),
        ] {
            assert_eq!(path(location), Some(PathBuf::from(expected)), "{location}");
        }
        for (location, word) in
            [("oracle://host/db", "oracle"), ("", "names no file"), ("sqlite::memory:", "memory")]
        {
            assert!(Location::parse(location).unwrap_err().message().contains(word), "{location}");
        }
    }

    #[test]
    fn our_own_parameters_are_not_handed_to_the_driver() {
        let plain = on_postgres("postgres://u:p@h:5/db");
        assert_eq!(
            (plain.url.as_str(), plain.schema, plain.is_pooled),
            ("postgres://u:p@h:5/db", None, false)
        );
        let all =
            on_postgres("postgresql://u:p@h/db?sslmode=require&schema=jobs&pooler=transaction&options[x]=1");
        assert_eq!(all.url, "postgresql://u:p@h/db?sslmode=require&options[x]=1");
        assert_eq!((all.schema.as_deref(), all.is_pooled), (Some("jobs"), true));
        assert_eq!(on_postgres("postgres://h/db?schema=jobs").url, "postgres://h/db");
    }

    #[test]
    fn both_names_of_mysql_are_one() {
        let url = "mysql://u:p@h:3/db?require_ssl=true".to_owned();
        for text in ["mysql://u:p@h:3/db?require_ssl=true", "mariadb://u:p@h:3/db?require_ssl=true"] {
            assert_eq!(Location::parse(text).unwrap(), Location::Mysql(Mysql { url: url.clone() }));
        }
    }

    #[test]
    fn parameters_that_nobody_would_heed_are_refused() {
        for (location, word) in [
            ("postgres://h/db?shema=a", "`shema`"),
            ("postgres://h/db?schema=", "no value"),
            ("postgres://h/db?pooler=session", "pooler=session"),
            ("mysql://h/db?schema=a", "`schema`"),
            ("mariadb://h/db?pooler=transaction", "`pooler`"),
        ] {
            let trouble = Location::parse(location).unwrap_err();
            assert!(trouble.message().contains(word), "{location}: {}", trouble.text());
            assert!(trouble.text().contains("hint: "), "{location}");
        }
        assert!(Location::parse("postgres://h/db?shema=a").unwrap_err().text().contains("`schema`?"));
    }

    #[test]
    fn no_password_is_shown() {
        for text in [
            "postgres://jobs:secret@h/db?password=secret&schema=a",
            "postgres://jobs:sec/secret@ret@h/db?schema=a",
            "postgres://jobs@h/db?password=secret&shema=a",
            "mysql://jobs:secret@h/db?x=secret",
            "mariadb://jobs:secret@h/db?schema=secret",
        ] {
            let shown = match Location::parse(text) {
                Ok(location) => format!("{location} {location:?}"),
                Err(trouble) => trouble.text(),
            };
            assert!(!shown.contains("secret") && shown.contains("//jobs@h/db"), "{shown}");
        }
        let odd = Location::parse("mysql://jobs:sec?ret@h/db").unwrap().to_string();
        assert_eq!(odd, "mysql://…");
        let shown = Location::parse("postgres://jobs:secret@h/db?schema=a").unwrap().to_string();
        assert_eq!(shown, "postgres://jobs@h/db?schema=a");
    }
}
