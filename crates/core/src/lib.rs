//! Schedules, the pure cluster protocol and the store traits of Punctual.
//!
//! This crate does no I/O. It knows no executor, no SQL and no driver; clocks, randomness and ids come from outside.
//! A store implements [`JobStore`]; everything that has to be *decided* is decided here, in [`protocol`].

pub mod calendar;
pub mod check;
pub mod entropy;
pub mod error;
pub mod event;
pub mod execution;
pub mod inspect;
pub mod instants;
pub mod job;
pub mod key;
pub mod lock;
pub mod memory;
pub mod migrate;
pub mod misfire;
pub mod node;
pub mod pause;
pub mod preview;
pub mod protocol;
pub mod quartz;
pub mod record;
pub mod schedule;
pub mod store;
pub mod time;
pub mod trigger;
pub mod zone;

pub use entropy::Entropy;
pub use error::{Error, ErrorKind, Result};
pub use inspect::Inspect;
pub use key::{ExecutionId, Fence, JobId, JobKey, Kind, NodeId, TriggerId, TriggerKey};
pub use lock::LockProvider;
pub use memory::MemoryStore;
pub use misfire::MisfirePolicy;
pub use node::Profile;
pub use schedule::Schedule;
pub use store::JobStore;
pub use time::{BootInstant, BoxFuture, Clock, Timestamp};
pub use zone::Zone;
