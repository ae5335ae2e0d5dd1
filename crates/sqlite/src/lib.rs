//! The SQLite store of Punctual: any number of processes of one machine on one file.
//!
//! Each step of [`punctual_core::JobStore`] is one closure that runs between `BEGIN IMMEDIATE` and `COMMIT` on a thread
//! of its own, so that nobody can cancel it half-way; callers wait for its answer. The crate knows SQL, rusqlite and
//! files. It decides nothing about schedules, and knows neither the runtime nor other stores.
//!
//! # Examples
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> punctual_core::Result<()> {
//! # let folder = tempfile::tempdir().expect("a folder for the example");
//! # let path = folder.path().join("jobs.db");
//! use punctual_core::JobStore;
//! use punctual_sqlite::SqliteStore;
//!
//! let store = SqliteStore::open(path).await?;
//! println!("the clock of the store says {}", store.now().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//! SQLite has one writer at a time. A process that is stopped (SIGSTOP) in the middle of a commit holds up all others,
//! and no server can end it; transactions here take milliseconds, so this is rare. Files on network file systems are
//! refused, because their locks and shared memory are not to be relied on.

mod builder;
mod error;
mod group;
mod inspect;
mod lock;
mod log;
mod migrate;
mod open;
mod rows;
mod sql;
mod step;
mod store;
mod wake;
mod worker;

pub use self::builder::SqliteBuilder;
pub use self::migrate::SqliteMigrations;
pub use self::store::SqliteStore;
