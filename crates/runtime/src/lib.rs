//! Nodes of Punctual: they check in, acquire what is due, run it, and take over from those that died.
//!
//! A [`Scheduler`] is the handle that an application holds. It decides nothing about schedules and the protocol, which
//! `punctual-core` does, and knows no database, which stores do.

mod builder;
mod command;
mod context;
mod exclusive;
mod handler;
mod journal;
mod node;
mod pauses;
mod registry;
mod request;
mod scheduler;
mod settings;
mod system;
mod watched;

pub use builder::Builder;
pub use command::{DeleteJob, SetOutcome};
pub use context::{Context, StopReason};
pub use exclusive::{Exclusive, Held, Terms};
pub use handler::{Argument, End, Failure, Handler, IntoEnd, Job, Need, Output, State};
pub use pauses::Resumed;
pub use request::{EnqueueMany, EnqueueRequest, ScheduleRequest};
pub use scheduler::Scheduler;
pub use settings::Settings;
pub use system::{SystemClock, SystemEntropy};
