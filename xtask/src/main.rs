//! Commands of the workspace.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what these commands are for")]

mod oracle;

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
    /// Compare schedules, calendars and misfires with the answers of Quartz.
    Oracle(oracle::Args),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Oracle(args) => oracle::run(&args),
    }
}
