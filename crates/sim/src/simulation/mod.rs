//! Runs the real nodes on real stores under virtual time, in one thread, and judges what came of it.
//!
//! Every host has an executor of its own, so that a process can be frozen or dropped as a whole. Whatever waits, for
//! time or for the store, is an entry of one agenda; whatever is random is drawn from one seed. So a seed tells the whole
//! story, and tells it the same way each time.
//!
//! ```text
//!  operator   node   node …      each a Process with a ProcessClock and a Scheduler
//!      └───────┼──────┘
//!            Line                latency, losses, lateness, cuts: Weather and Sky
//!            Court               one moment for each step; Mutant, Witness
//!            Ground              memory, or SQLite with its statements and locks
//! ```

mod clock;
mod cluster;
mod court;
mod cut;
mod fault;
mod ground;
mod line;
mod log;
mod mutant;
mod operator;
mod process;
mod run;
mod sky;
mod storm;
mod sweep;
mod witness;
mod work;
mod world;

pub use self::fault::Fault;
pub use self::ground::Store;
pub use self::mutant::Mutant;
pub use self::run::{Order, Report, run};
pub use self::sweep::{Hunt, LEAST_FAULTS, LEAST_FIRINGS, LEAST_TAKEOVERS, SHOWS_ALL, Sum, hunt, sweep};
pub use self::witness::Breach;
