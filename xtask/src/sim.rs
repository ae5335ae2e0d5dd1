//! `cargo xtask sim`: simulated clusters, which are a program of their own, built with optimisation.

use clap::Args;

use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on: `--seeds N`, `--from SEED`, `--hours H`, `--store memory|sqlite`, `--mutant NAME`, `--mutants`,
    /// `--log FILE`, `--json`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let mut command =
        shell::cargo(&["run", "--quiet", "--profile", "sim", "--package", "punctual-sim", "--", "sim"]);
    shell::run(command.args(&options.arguments))
}
