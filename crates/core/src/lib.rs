//! Schedules, the pure cluster protocol and the store traits of Punctual.
//!
//! This crate does no I/O. It knows no executor, no SQL and no driver; clocks, randomness and ids come from outside.
//! A store implements [`JobStore`]; everything that has to be *decided* is decided here.

pub mod error;
pub mod schedule;
pub mod time;
pub mod zone;

pub use error::{Error, ErrorKind, Result};
pub use schedule::Schedule;
pub use time::{BootInstant, BoxFuture, Clock, Timestamp};
pub use zone::Zone;
