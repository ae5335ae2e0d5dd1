//! The PostgreSQL store of Punctual: any number of machines on one schema of one database.
//!
//! Each step of [`punctual_core::JobStore`] is one statement over arrays, or one short transaction, in a task of its own
//! that nobody can cancel half-way; callers wait for its answer. The crate knows SQL, sqlx and sessions. It decides
//! nothing about schedules, and knows neither the runtime nor other stores.
//!
//! # Examples
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> punctual_core::Result<()> {
//! use punctual_core::JobStore;
//! use punctual_postgres::PostgresStore;
//!
//! let store = PostgresStore::connect("postgres://jobs@localhost/app").await?;
//! println!("the clock of the store says {}", store.now().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Sessions
//! Sessions that the store opens itself get these settings when they begin: `default_transaction_isolation` read
//! committed, `default_transaction_read_only` off, `lock_timeout` 2 s,
//! `statement_timeout` 10 s, `idle_in_transaction_session_timeout` 2 s, `tcp_user_timeout` and
//! `client_connection_check_interval`, `plan_cache_mode` generic, `jit` and `enable_seqscan` off, time zone UTC, and an `application_name`
//! if the URL has none. Isolation and plans are read back, and a session that has others is refused: a pooler in between
//! has swallowed them. `synchronous_commit` is put back on where a role or the database has it off.
//! Sessions of a pool that was handed in keep theirs: there each transaction brings its settings, and they end with it.
//!
//! # TLS
//! `sslmode` in the URL decides, as the driver has it; certificates are checked with `verify-full`. The driver brings
//! rustls with ring and asks for no default provider of the process, with one exception: `verify-ca` takes that of the
//! process, and if it has named none by then, a URL with that mode names ring.
//!
//! # Limits
//! PostgreSQL 14 or newer, UTF-8, a primary. Texts cannot hold U+0000; where a job's error or output has one, it is
//! stored as U+FFFD.

mod builder;
mod error;
mod inspect;
mod lock;
mod migrate;
mod open;
mod plans;
mod pool;
mod rows;
mod sql;
mod step;
mod store;
mod wait;
mod wake;

pub use self::builder::PostgresBuilder;
pub use self::migrate::PostgresMigrations;
pub use self::store::PostgresStore;
