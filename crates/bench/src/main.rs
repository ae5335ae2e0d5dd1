//! What things cost: `cargo xtask bench`.
//!
//! `schedule` is beside other crates in this process; `queue` looks at long queues; the others are of whole clusters, in
//! processes of their own.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this is for")]
#![allow(clippy::future_not_send, reason = "one program, which waits for it in its main thread")]

mod cluster;
mod engine;
mod list;
mod measure;
mod queue;
mod schedule;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use punctual_tests::place::{Kind, Place};

use self::cluster::{Benchmark, Options, Sound};

/// Benchmarks; run them in release.
#[derive(Debug, Parser)]
#[command(name = "punctual-bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Next instants, parsing, expressions that never fire, and conversions between instants and wall times.
    Schedule {
        /// Print the figures as one JSON object in the last line.
        #[arg(long)]
        json: bool,
        /// How many samples each median is taken of.
        #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
        runs: u16,
    },
    /// What long queues of work that cannot go cost those who can. Servers are named by the environment, as for tests.
    Queue {
        /// On which database.
        #[arg(long, value_enum, default_value_t = Store::Sqlite)]
        store: Store,
        /// Ready rows of a key whose only slot is taken.
        #[arg(long, default_value_t = 100_000)]
        rows: u32,
        /// Due triggers of the same key.
        #[arg(long, default_value_t = 10_000)]
        triggers: u32,
        /// How long one of four nodes is full, in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// Print the figures as one JSON object in the last line.
        #[arg(long)]
        json: bool,
    },
    /// Firings a second of recurring triggers that are always behind, with 1, 2, 4 and 8 nodes.
    Fire(Options),
    /// How late triggers are that come due every second, with 1 and 4 nodes.
    Keepup(Options),
    /// Enqueueing, and how fast a backlog is worked off.
    Drain(Options),
    /// How long after its instant one trigger begins on an idle cluster, or with `--half-load` on a half busy one.
    Latency(Options),
    /// What idle nodes cost the database and their machine.
    Idle(Options),
    /// How long after a node was killed its work is run again, with the profiles `fast` and `default`.
    Takeover(Options),
    /// What a firing costs beside a thousand, and up to a million, stored triggers.
    Scale(Options),
    /// How fast triggers fire without old history, with ten million rows of it, and while it is deleted.
    History(Options),
    /// How fast triggers fire where each commit takes 2 ms more; on Postgres.
    Commits(Options),
    /// What nodes have the database do while they fire, and how long they wait for it, with 1 and 4 nodes.
    Profile(Options),
    /// A node of one of these; started by them.
    #[command(hide = true)]
    Node {
        /// What it is, as JSON.
        seat: String,
    },
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Store {
    Sqlite,
    Postgres,
    Mysql,
}

impl Store {
    const fn kind(self) -> Kind {
        match self {
            Self::Sqlite => Kind::Sqlite,
            Self::Postgres => Kind::Postgres,
            Self::Mysql => Kind::Mysql,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
        }
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("punctual-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> cluster::Result<ExitCode> {
    let (benchmark, options) = match command {
        Command::Schedule { json, runs } => return Ok(schedule::run(usize::from(runs), json)?),
        Command::Queue { store, rows, triggers, seconds, json } => {
            let load = queue::Load { rows, triggers, full: Duration::from_secs(seconds) };
            return queue(store, load, json).map(|()| ExitCode::SUCCESS);
        }
        Command::Node { seat } => {
            executor()?.block_on(cluster::node::run(serde_json::from_str(&seat)?))?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Fire(options) => (Benchmark::Fire, options),
        Command::Keepup(options) => (Benchmark::Keepup, options),
        Command::Drain(options) => (Benchmark::Drain, options),
        Command::Latency(options) => (Benchmark::Latency, options),
        Command::Idle(options) => (Benchmark::Idle, options),
        Command::Takeover(options) => (Benchmark::Takeover, options),
        Command::Scale(options) => (Benchmark::Scale, options),
        Command::History(options) => (Benchmark::History, options),
        Command::Commits(options) => (Benchmark::Commits, options),
        Command::Profile(options) => (Benchmark::Profile, options),
    };
    let sound = executor()?.block_on(cluster::run(benchmark, &options))?;
    Ok(if sound == Sound::Yes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn executor() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Measures long queues on a database of the benchmark's own.
fn queue(store: Store, load: queue::Load, json: bool) -> cluster::Result<()> {
    let folder = tempfile::tempdir()?;
    let place = Place::new(store.kind(), folder.path());
    let open = async || Ok(place.open().await?.0);
    let figures = executor()?.block_on(queue::run(open, load))?;
    println!("{store:?}, {} ready rows and {} due triggers of one busy key:", load.rows, load.triggers);
    for (name, value) in figures.as_object().into_iter().flatten() {
        println!("  {name:<42} {value}");
    }
    if json {
        println!("{figures}");
    }
    Ok(())
}
