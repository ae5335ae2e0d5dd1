//! Commands of the workspace: `cargo xtask --help` lists them.
//!
//! One file a command. Each prints the commands that it runs, so that anybody can run them without it, and ends with
//! an exit status that says whether all is well. With `--json` the last line is one JSON object.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these commands are for")]

mod bench;
mod chaos;
mod ci;
mod conformance;
mod contract;
mod db;
mod ends;
mod evidence;
mod migrate_race;
mod model;
mod oracle;
mod shell;
mod sim;
mod tally;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Commands of the workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every test of the workspace, the conformance kit of every store included.
    Test(test::Options),
    /// Run the conformance kit on stores, and show what came out as a table.
    Conformance(conformance::Options),
    /// Write the chapter of the book that has every sentence of the contract of a store.
    Contract(contract::Options),
    /// Start throw-away database servers, or end them.
    Db(db::Options),
    /// Check the rules of the house that no compiler checks.
    Tidy(tidy::Options),
    /// Run everything that a change must pass.
    Ci(ci::Options),
    /// Run a command, keep its figures, and write the chapter of the book that shows them.
    Evidence(evidence::Options),
    /// Have many processes open one empty database at once, and look at what they make of it.
    MigrateRace(migrate_race::Options),
    /// Hurt a cluster of real processes on a real database in every way that can be arranged, and judge what is left.
    Chaos(chaos::Options),
    /// Measure what things cost, in release, beside what others offer.
    Bench(bench::Options),
    /// Check the models of the protocol, or that they find every mistake that is put into them.
    Model(model::Options),
    /// Run simulated clusters through faults, seed after seed, and judge what came of it.
    Sim(sim::Options),
    /// Compare schedules, calendars and misfires with the answers of Quartz.
    Oracle(oracle::Args),
    /// Show which tools are used beyond the Rust toolchain, and which of them are here.
    Tools,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Conformance(options) => conformance::run(&options),
        Command::Contract(options) => contract::run(&options),
        Command::Db(options) => db::run(&options),
        Command::Tidy(options) => tidy::run(&options),
        Command::Ci(options) => ci::run(&options),
        Command::Evidence(options) => evidence::run(&options),
        Command::MigrateRace(options) => migrate_race::run(&options),
        Command::Chaos(options) => chaos::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Model(options) => model::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Oracle(args) => return oracle::run(&args),
        Command::Tools => tools::run(),
    };
    match done {
        Ok(shell::Verdict::Good) => ExitCode::SUCCESS,
        Ok(shell::Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
