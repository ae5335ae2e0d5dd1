//! `cargo xtask model`: the models of the protocol, which are a program of their own, so that this one builds quickly.

use clap::Args;

use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// Passed on: `--config quick|pr|nightly`, `--mutant NAME`, `--mutants`, `--json`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let mut command = shell::cargo(&["run", "--quiet", "--package", "punctual-sim", "--", "model"]);
    shell::run(command.args(&options.arguments))
}
