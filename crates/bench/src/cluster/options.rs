//! What the benchmarks of clusters can be told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::node::{History, Seat};
use crate::Store;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Benchmark {
    Fire,
    Keepup,
    Drain,
    Latency,
    Idle,
    Takeover,
    Scale,
    History,
    Commits,
    Profile,
}

/// How they are run. Where no number of nodes is given each benchmark has its own.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On which database. Servers are named by the environment, as for tests.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    pub(crate) store: Store,
    /// How many nodes; by default each number of nodes that the benchmark is about.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) nodes: Option<u32>,
    /// How often each is measured. Where there are several numbers of nodes they take turns.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    /// The length of a window, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) seconds: u64,
    /// How long nodes run before a window begins, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    pub(crate) warm_up: u64,
    /// How many triggers, where there are any.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) triggers: u32,
    /// How many jobs are enqueued, where any are.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) jobs: u32,
    /// How many executions a node runs at once; as nodes have it by default.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) capacity: u32,
    /// The longest time between two looks of a node for work, in milliseconds; as nodes have it by default.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    pub(crate) poll_ms: u64,
    /// The figures of failure detection, by name: `default` unless told otherwise; takeovers are measured with `fast`, too.
    #[arg(long, value_parser = ["default", "fast", "calm", "failover-tolerant"])]
    pub(crate) profile: Option<String>,
    /// How many nodes are killed in a run, where any are.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) kills: u32,
    /// How many triggers are stored, where sizes are compared; the first size is what the others are compared with.
    #[arg(
        long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000],
        value_parser = clap::value_parser!(u32).range(1..=10_000_000)
    )]
    pub(crate) sizes: Vec<u32>,
    /// How many rows of history are put in, where any are.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) history_rows: u32,
    /// How much longer a commit takes, in milliseconds, where that is compared.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) commit_delay_ms: u32,
    /// Keep the nodes half busy with other triggers meanwhile, where single ones are measured.
    #[arg(long)]
    pub(crate) half_load: bool,
    /// Where a file of SQLite is made; the folder for temporary files by default.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Print the figures as one JSON object in the last line.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    pub(crate) fn seat(&self, location: &str) -> Seat {
        Seat {
            location: location.to_owned(),
            name: String::new(),
            capacity: self.capacity,
            poll_ms: self.poll_ms,
            profile: self.profile().to_owned(),
            history: History::Default,
            holds: false,
            counts_statements: false,
        }
    }

    /// The name of the profile, where there is one for all.
    pub(crate) fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("default")
    }

    pub(crate) fn window(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    pub(crate) fn warming(&self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    /// The numbers of nodes to measure.
    pub(crate) fn crews(&self, own: &[u32]) -> Vec<u32> {
        self.nodes.map_or_else(|| own.to_vec(), |nodes| vec![nodes])
    }

    /// What all figures depend on.
    pub(crate) fn settings(&self) -> Value {
        let Self { runs, capacity, poll_ms, .. } = self;
        json!({
            "runs": runs, "capacity": capacity, "poll_ms": poll_ms, "profile": self.profile(),
            "optimised": !cfg!(debug_assertions),
        })
    }

    /// The same, where they are of windows.
    pub(crate) fn settings_of_windows(&self) -> Value {
        let mut settings = self.settings();
        settings["seconds"] = self.seconds.into();
        settings["warm_up"] = self.warm_up.into();
        settings
    }
}
