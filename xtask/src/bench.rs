//! `cargo xtask bench`: what things cost, built in release and measured beside what others offer.
//!
//! The benchmarks are a crate of their own, `crates/bench`, so that nothing else of the workspace depends on what they
//! compare with.

use clap::{Args, Subcommand};

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
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let What::Schedule { runs, json } = options.what;
    let runs = runs.to_string();
    let mut arguments =
        vec!["run", "--release", "--quiet", "-p", "punctual-bench", "--", "schedule", "--runs", &runs];
    arguments.extend(json.then_some("--json"));
    shell::run(&mut shell::cargo(&arguments))
}
