//! The MySQL and MariaDB store of Punctual: any number of processes on any number of machines.
//!
//! Each step of [`punctual_core::JobStore`] is one short transaction at READ COMMITTED, in a task of its own, so that
//! nobody can cancel it half-way; callers wait for its answer. The crate knows SQL, diesel-async and its pool; no C library
//! is needed. It decides nothing about schedules, and knows neither the runtime nor other stores.
//!
//! # Examples
//! ```no_run
//! # async fn example() -> punctual_core::Result<()> {
//! use punctual_core::JobStore;
//! use punctual_mysql::MysqlStore;
//!
//! let store = MysqlStore::connect("mysql://jobs:secret@127.0.0.1:3306/jobs").await?;
//! println!("the clock of the store says {}", store.now().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Servers
//! MySQL 8.0 or MariaDB 10.6 at least, with one primary that takes the writes. Galera and other clusters with several
//! writers are not supported as such: let all nodes connect to the same member, because a member learns of the locks of
//! another only at the commit, and its clock is its own. A cluster of nodes is a database: two clusters on one server use
//! two databases. All tables begin with `punctual_`, so the database may be the application's own.
//!
//! Definitions cannot be rolled back here: a journal and a probe for each step let the next process go on where one was cut
//! off. Connections to a proxy that shares sessions (such as ProxySQL with multiplexing) are not for migrations: the lock
//! that keeps two apart is the session's.
//!
//! MySQL cannot end a transaction whose client says nothing; MariaDB is told to, after 2 s. On MySQL a client machine that
//! vanishes in the middle of a step holds its locks until the server notices, which TCP keep-alive and `wait_timeout`
//! bound to half a minute.

mod builder;
mod error;
mod inspect;
mod lock;
mod migrate;
mod open;
mod query;
mod rows;
mod sql;
mod step;
mod store;
mod wake;

pub use self::builder::MysqlBuilder;
pub use self::error::TransactionError;
pub use self::migrate::MysqlMigrations;
pub use self::store::MysqlStore;
