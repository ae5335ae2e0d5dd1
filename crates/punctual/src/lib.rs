//! Clustered job scheduling on the SQL database that a team already runs.
//!
//! Any number of processes on one store share schedules and queued work: each due instant fires once, also while
//! processes are killed, frozen or restarted, and nothing of that rests on a wall clock.
//!
//! ```
//! use std::sync::Arc;
//!
//! use punctual::runtime::SystemClock;
//! use punctual::{Context, Failure, Job, MemoryStore, Scheduler};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Report { region: String }
//!
//! impl Job for Report { const KIND: &'static str = "report"; }
//!
//! async fn report(job: Report, ctx: Context) -> Result<(), Failure> {
//!     println!("{} for {}", job.region, ctx.scheduled_at());
//! #   DONE.notify_one();
//!     Ok(())
//! }
//! # static DONE: tokio::sync::Notify = tokio::sync::Notify::const_new();
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> punctual::Result<()> {
//! let scheduler = Scheduler::builder(MemoryStore::new(Arc::new(SystemClock))).job(report).build().await?;
//!
//! scheduler
//!     .schedule(Report { region: "EU".into() })
//!     .cron("0 0 9 ? * MON-FRI").time_zone("Europe/Berlin")
//!     .key("reports/daily-eu").await?;
//! scheduler.enqueue(Report { region: "US".into() }).await?;
//!
//! # let shutdown_signal = || DONE.notified();
//! scheduler.run_until(shutdown_signal()).await
//! # }
//! ```
//!
//! This crate only gathers the others under one name: [`Scheduler`] and what it needs, and one store for each feature.
//!
//! | feature | store | a cluster is |
//! |---|---|---|
//! | – | [`MemoryStore`], for tests | a process |
//! | `sqlite` | `SqliteStore`, for any number of processes of one machine | a file |
//! | `postgres` | `PostgresStore`, PostgreSQL 14 or later, for any number of machines | a schema of a database |
//! | `mysql` | `MysqlStore`, MySQL 8.0 or MariaDB 10.6 or later, for any number of machines | a database |
//!
//! Rust 1.89 builds this crate; with the feature `postgres`, whose driver is newer, it takes Rust 1.94.

#[doc(inline)]
pub use punctual_core as core;
pub use punctual_core::calendar::{Calendar, WhenExcluded};
pub use punctual_core::job::{
    Backoff, Concurrency, ExecutionSpec, OnLeaseLoss, OnNodeLoss, RetryPolicy, WhenBusy,
};
pub use punctual_core::memory::MemoryStore;
pub use punctual_core::schedule::{Cron, Dst, Every, Once};
pub use punctual_core::{
    Error, ErrorKind, ExecutionId, Fence, JobKey, JobStore, LockProvider, MisfirePolicy, NodeId, Profile,
    Result, Schedule, TriggerKey, Zone,
};
#[cfg(feature = "mysql")]
pub use punctual_mysql::{MysqlBuilder, MysqlMigrations, MysqlStore, TransactionError};
#[cfg(feature = "postgres")]
pub use punctual_postgres::{PostgresBuilder, PostgresMigrations, PostgresStore};
#[doc(inline)]
pub use punctual_runtime as runtime;
pub use punctual_runtime::{
    Builder, Context, DeleteJob, Exclusive, Failure, Held, Job, Output, Resumed, Scheduler, Settings, State,
    StopReason, Terms,
};
#[cfg(feature = "sqlite")]
pub use punctual_sqlite::{SqliteBuilder, SqliteMigrations, SqliteStore};

/// The program in the README, compiled so that it stays true.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The programs in the chapters, compiled for the same reason.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/schedules.md")]
#[doc = include_str!("../../../docs/quartz-triggers.md")]
#[doc = include_str!("../../../docs/locks.md")]
struct Chapters;
