//! Benchmarks of whole clusters: real databases, nodes that are processes of their own, and counters that do not disturb
//! what they count.
//!
//! The driver makes a database, loads it, starts nodes, lets them warm up, and reads counters at both ends of a window;
//! what has run is counted from the database when the nodes have ended, and compared with what the bodies have counted.

mod commits;
mod crew;
mod drain;
mod fill;
mod ground;
mod histogram;
mod history;
mod idle;
mod kernel;
mod latency;
mod load;
pub(crate) mod node;
mod options;
mod profile;
mod recurring;
mod scale;
mod show;
mod spent;
mod store;
mod takeover;
mod tally;
mod window;

pub(crate) use self::options::{Benchmark, Options};

/// What goes wrong in a benchmark is shown to a person, and ends it.
pub(crate) type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Whether all that is checked was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sound {
    Yes,
    No,
}

/// Runs a benchmark and prints what came of it.
pub(crate) async fn run(benchmark: Benchmark, options: &Options) -> Result<Sound> {
    match benchmark {
        Benchmark::Fire => recurring::run(&recurring::FIRE, options).await,
        Benchmark::Keepup => recurring::run(&recurring::KEEPUP, options).await,
        Benchmark::Drain => drain::run(options).await,
        Benchmark::Latency => latency::run(options).await,
        Benchmark::Idle => idle::run(options).await,
        Benchmark::Takeover => takeover::run(options).await,
        Benchmark::Scale => scale::run(options).await,
        Benchmark::History => history::run(options).await,
        Benchmark::Commits => commits::run(options).await,
        Benchmark::Profile => profile::run(options).await,
    }
}
