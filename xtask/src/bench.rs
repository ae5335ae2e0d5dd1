//! `cargo xtask bench`: what things cost, built in release and measured beside what others offer.
//!
//! The benchmarks are a crate of their own, `crates/bench`, so that nothing else of the workspace depends on what they
//! compare with.

use clap::{Args, Subcommand};

use crate::db;
use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Next instants, parsing, expressions that never fire and zone conversions, beside `cron` and `croner`.
    Schedule {
        /// How many samples each median is taken of.
        #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
        runs: u16,
        /// Print the figures as one JSON object in the last line.
        #[arg(long)]
        json: bool,
    },
    /// What long queues of work that cannot go cost those who can.
    Queue {
        /// On which database: sqlite, postgres or mysql. A server is started if it needs one.
        #[arg(long, default_value = "sqlite")]
        store: String,
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
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let (runs, json) = match &options.what {
        What::Schedule { runs, json } => (*runs, *json),
        What::Queue { store, rows, triggers, seconds, json } => {
            return queue(
                store,
                [("--rows", u64::from(*rows)), ("--triggers", (*triggers).into()), ("--seconds", *seconds)],
                *json,
            );
        }
    };
    let runs = runs.to_string();
    let mut arguments =
        vec!["run", "--release", "--quiet", "-p", "punctual-bench", "--", "schedule", "--runs", &runs];
    arguments.extend(json.then_some("--json"));
    shell::run(&mut shell::cargo(&arguments))
}

fn queue(store: &str, figures: [(&str, u64); 3], json: bool) -> Result<Verdict> {
    // Only the database that is measured has to be there.
    let package = match store {
        "sqlite" => "punctual-sqlite",
        "postgres" => "punctual-postgres",
        "mysql" => "punctual-mysql",
        other => return Err(format!("{other:?} is none of sqlite, postgres and mysql").into()),
    };
    let servers = db::running(&db::needs_of(&[package.to_owned()])?, &db::Programs::default())?;
    let mut arguments: Vec<String> =
        ["run", "--release", "--quiet", "-p", "punctual-bench", "--", "queue", "--store", store]
            .map(str::to_owned)
            .to_vec();
    for (name, value) in figures {
        arguments.extend([name.to_owned(), value.to_string()]);
    }
    arguments.extend(json.then(|| "--json".to_owned()));
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut cargo = shell::cargo(&words);
    cargo.envs(servers.variables());
    shell::run(&mut cargo)
}
