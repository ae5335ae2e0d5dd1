//! Checks the models of the protocol, and simulates clusters: `cargo xtask model` and `cargo xtask sim`.
//!
//! Exit status: 0 if all is well, 1 if a promise is broken, something that must happen does not, or a mistake escapes; 2
//! for wrong arguments.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "printing is what this program is for")]

mod command;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::{model, simulation};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check the models of the protocol: every state within their bounds.
    Model(model::Options),
    /// Run simulated clusters through faults, seed after seed, and judge what came of it.
    Sim(simulation::Options),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Model(options) => model::run(&options),
        Command::Sim(options) => simulation::run(&options),
    }
}
