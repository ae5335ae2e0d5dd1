//! Clustered job scheduling on the SQL database that a team already runs.
//!
//! This crate only gathers the others under one name: [`Scheduler`] and what it needs, and one store for each feature.

#[doc(inline)]
pub use punctual_core as core;
pub use punctual_core::job::{
    Backoff, Concurrency, ExecutionSpec, OnLeaseLoss, OnNodeLoss, RetryPolicy, WhenBusy,
};
pub use punctual_core::memory::MemoryStore;
pub use punctual_core::{
    Error, ErrorKind, ExecutionId, Fence, JobKey, JobStore, LockProvider, MisfirePolicy, NodeId, Profile,
    Result, Schedule, TriggerKey, Zone,
};
#[doc(inline)]
pub use punctual_runtime as runtime;
pub use punctual_runtime::{
    Builder, Context, DeleteJob, Failure, Job, Output, Scheduler, Settings, State, StopReason,
};
#[cfg(feature = "sqlite")]
pub use punctual_sqlite::SqliteStore;
