//! What a server and its sessions must be like: settings with their defaults, each read back, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::migrate::MigrateMode;
use punctual_core::store::ClaimShape;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, Error, ErrorKind, Result};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection, Row};

use crate::error::{Failure, classify};
use crate::sql;

const OPERATION: &str = "open";

/// The oldest server that this store runs on, as its version number.
const OLDEST_SERVER: i64 = 140_000;

/// Which plans the server makes of prepared statements.
const PLANS: &str = "force_generic_plan";

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 160;

/// Whether a session belongs to this store from one step to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    /// The store opened it, and set it up for all of its steps.
    Own,
    /// It is the user's, or a pooler's: each transaction brings its settings, and leaves none behind.
    Shared,
    /// The same, and it is another server process for each transaction, so that nothing may be prepared by name.
    Pooled,
}

/// All settings of a store.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) schema_name: String,
    pub(crate) migrate: MigrateMode,
    pub(crate) connections: u32,
    pub(crate) lock_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) sessions: Sessions,
    pub(crate) listen: Listen,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) claims: ClaimShape,
    pub(crate) hook: Option<Arc<dyn StatementHook>>,
}

/// How the store learns what others have made available.
#[derive(Clone, Debug)]
pub(crate) enum Listen {
    /// On a session beside the others.
    Beside,
    /// On a session of its own, to this URL.
    At(Box<PgConnectOptions>),
    /// Not at all: nodes poll.
    Never,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            schema_name: "punctual".to_owned(),
            migrate: MigrateMode::Auto,
            connections: 8,
            lock_timeout: Duration::from_secs(2),
            statement_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(2),
            sessions: Sessions::Own,
            listen: Listen::Beside,
            clock: None,
            claims: ClaimShape::SkipLocked,
            hook: None,
        }
    }
}

impl Options {
    /// The settings of a session by their names.
    ///
    /// Generic plans, because a batch has the same plan whatever is in it, and planning costs more than running it;
    /// no JIT for the same reason. The server's own way, `auto`, plans the first five runs of a statement for their
    /// parameters and then compares costs, so that the plan of a step would depend on what came before it. A plan that was made while a table was empty must not go through it when it is large,
    /// so no table is gone through where there is an index.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let ms = |span: Duration| span.as_millis().max(1).to_string();
        vec![
            ("lock_timeout", ms(self.lock_timeout)),
            ("statement_timeout", ms(self.statement_timeout)),
            ("idle_in_transaction_session_timeout", ms(self.idle_timeout)),
            ("plan_cache_mode", PLANS.to_owned()),
            ("jit", "off".to_owned()),
            ("enable_seqscan", "off".to_owned()),
        ]
    }

    /// The statement that begins a transaction, with the settings that it must bring along. Settings are numbers and
    /// words of this module, so nothing of a user's is in the text.
    ///
    /// A commit that was acknowledged must not be lost with the server: a role that turned that off is overruled.
    pub(crate) fn beginning(&self, begin: &'static str) -> Arc<str> {
        let mut text = begin.to_owned();
        if self.sessions != Sessions::Own {
            for (name, value) in self.settings() {
                text.push_str("; SET LOCAL ");
                text.push_str(name);
                text.push_str(" = '");
                text.push_str(&value);
                text.push('\'');
            }
            text.push_str(
                "; SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
            );
        }
        text.into()
    }

    /// How long a step may take before its connection is given up: longer than the server lets it.
    pub(crate) fn patience(&self) -> Duration {
        self.statement_timeout.saturating_mul(2).saturating_add(Duration::from_secs(5))
    }

    /// An address for a session without any settings of the store's.
    pub(crate) fn direct(&self, given: PgConnectOptions) -> PgConnectOptions {
        let named = given.get_application_name().is_some();
        let given = if named { given } else { given.application_name("punctual") };
        given.disable_statement_logging()
    }

    /// The given address with the settings of own sessions, or as little as a pooler takes.
    pub(crate) fn address(&self, given: PgConnectOptions) -> PgConnectOptions {
        let given = self.direct(given);
        match self.sessions {
            Sessions::Own => {
                let fixed = [
                    ("default_transaction_isolation", "read committed".to_owned()),
                    ("default_transaction_read_only", "off".to_owned()),
                    ("tcp_user_timeout", self.patience().as_millis().to_string()),
                    ("client_connection_check_interval", "1000".to_owned()),
                ];
                given.options(fixed.into_iter().chain(self.settings())).statement_cache_capacity(STATEMENTS)
            }
            Sessions::Shared | Sessions::Pooled => given.extra_float_digits(None).statement_cache_capacity(0),
        }
    }
}

/// Refuses a name of a schema that would have to be quoted.
pub(crate) fn check_schema(name: &str) -> Result<()> {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let fits = !name.is_empty()
        && name.len() <= 63
        && name.starts_with(first)
        && name.chars().all(|c| first(c) || c.is_ascii_digit())
        && !name.starts_with("pg_");
    if fits {
        return Ok(());
    }
    Err(Error::invalid(
        OPERATION,
        format!(
            "the schema {name:?} must begin with a lower-case letter or `_`, have lower-case letters, digits and `_` \
             only, at most 63 bytes, and not begin with `pg_`"
        ),
    ))
}

/// What a session says of itself and of its server.
#[derive(Clone, Debug)]
struct About {
    number: i64,
    version: String,
    encoding: String,
    is_standby: bool,
    isolation: String,
    synchronous_commit: String,
    read_only: String,
    plans: String,
}

impl About {
    async fn read(connection: &mut PgConnection) -> std::result::Result<Self, sqlx::Error> {
        // As a simple query: a pooler may give the parts of a prepared one to two servers.
        let row = sqlx::raw_sql(sql::SERVER).fetch_one(connection).await?;
        Ok(Self {
            number: row.try_get(0)?,
            version: row.try_get(1)?,
            encoding: row.try_get(2)?,
            is_standby: row.try_get(3)?,
            isolation: row.try_get(4)?,
            synchronous_commit: row.try_get(5)?,
            read_only: row.try_get(6)?,
            plans: row.try_get(7)?,
        })
    }

    /// Refuses servers and sessions on which steps would not be what they promise to be.
    fn check(&self, sessions: Sessions, place: &str) -> Result<()> {
        let unsupported =
            |why: &str| Err(Error::new(ErrorKind::Unsupported, OPERATION, format!("{place}: {why}")));
        if self.number < OLDEST_SERVER {
            return unsupported(&format!("the server is PostgreSQL {}; use 14 or newer", self.version));
        }
        if self.encoding != "UTF8" {
            let encoding = &self.encoding;
            return unsupported(&format!(
                "the database keeps texts as {encoding}; create one WITH ENCODING 'UTF8'"
            ));
        }
        if self.is_standby {
            let why = format!("{place}: the server is a standby and takes no writes; connect to the primary");
            return Err(Error::unavailable(OPERATION, why));
        }
        if sessions == Sessions::Own {
            let found = if self.isolation != "read committed" {
                Some(("default_transaction_isolation", &self.isolation))
            } else if self.plans != PLANS {
                Some(("plan_cache_mode", &self.plans))
            } else if self.read_only == "on" {
                Some(("transaction_read_only", &self.read_only))
            } else {
                None
            };
            if let Some((setting, value)) = found {
                return unsupported(&format!(
                    "the session has {setting} = {value}, though it was told otherwise when it began; check for a pooler or \
                     proxy in between, and open the store with `transaction_pooler(true)` if there is one"
                ));
            }
        }
        Ok(())
    }
}

/// Checks a session, and sets what could not be set on the way in.
pub(crate) async fn check_session(
    connection: &mut PgConnection,
    sessions: Sessions,
    place: &str,
) -> std::result::Result<(), Failure> {
    let about = About::read(&mut *connection).await?;
    about.check(sessions, place)?;
    if sessions == Sessions::Own && about.synchronous_commit == "off" {
        sqlx::raw_sql("SET synchronous_commit = on").execute(connection).await?;
    }
    Ok(())
}

/// The address of a URL.
pub(crate) fn parse(url: &str) -> Result<PgConnectOptions> {
    // The error of the driver names no part of the URL, which may hold a password.
    let address: PgConnectOptions =
        url.parse().map_err(|error| classify(OPERATION, "the given URL", Failure::Sqlx(error)))?;
    if matches!(address.get_ssl_mode(), PgSslMode::VerifyCa) {
        name_a_provider();
    }
    Ok(address)
}

/// In this one mode the driver asks for the process's provider, and rustls panics if there are two and none is named. An
/// application that wants another one names it first.
fn name_a_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may name one at the same moment; any will do.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}

/// How messages call the database of an address: without user and password.
pub(crate) fn place_of(address: &PgConnectOptions, schema: &str) -> String {
    let database = address.get_database().unwrap_or_else(|| address.get_username());
    format!("{}:{}/{database}, schema {schema}", address.get_host(), address.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_that_asks_the_process_for_a_provider_finds_one() {
        let named = || rustls::crypto::CryptoProvider::get_default().is_some();
        for others in ["disable", "prefer", "require", "verify-full"] {
            parse(&format!("postgres://user@host/db?sslmode={others}")).unwrap();
            assert!(!named(), "{others} leaves the process alone");
        }
        parse("postgres://user@host/db?sslmode=verify-ca").unwrap();
        assert!(named());
    }

    fn about() -> About {
        About {
            number: OLDEST_SERVER,
            version: "14.0".to_owned(),
            encoding: "UTF8".to_owned(),
            is_standby: false,
            isolation: "read committed".to_owned(),
            synchronous_commit: "on".to_owned(),
            read_only: "off".to_owned(),
            plans: PLANS.to_owned(),
        }
    }

    fn refused(about: &About, sessions: Sessions) -> Option<(ErrorKind, String)> {
        about.check(sessions, "here").err().map(|error| (error.kind(), error.message().to_owned()))
    }

    #[test]
    fn the_oldest_server_is_taken_and_an_older_one_refused() {
        assert_eq!(refused(&about(), Sessions::Own), None);
        let old = About { number: OLDEST_SERVER - 1, version: "13.99".to_owned(), ..about() };
        let (kind, why) = refused(&old, Sessions::Pooled).unwrap();
        assert_eq!(kind, ErrorKind::Unsupported);
        assert!(why.contains("PostgreSQL 13.99"), "{why}");
    }

    #[test]
    fn a_standby_is_refused_until_it_is_promoted() {
        let (kind, why) = refused(&About { is_standby: true, ..about() }, Sessions::Shared).unwrap();
        assert_eq!(kind, ErrorKind::Unavailable);
        assert!(why.contains("standby"), "{why}");
    }

    #[test]
    fn a_session_that_lost_its_settings_on_the_way_is_refused_unless_steps_bring_their_own() {
        for lost in [
            About { plans: "auto".to_owned(), ..about() },
            About { isolation: "serializable".to_owned(), ..about() },
            About { read_only: "on".to_owned(), ..about() },
        ] {
            let (kind, why) = refused(&lost, Sessions::Own).unwrap();
            assert_eq!(kind, ErrorKind::Unsupported);
            assert!(why.contains("transaction_pooler(true)"), "{why}");
            assert_eq!(refused(&lost, Sessions::Shared), None);
            assert_eq!(refused(&lost, Sessions::Pooled), None);
        }
    }
}
