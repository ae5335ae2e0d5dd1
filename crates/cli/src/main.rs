//! The `punctual` command: a clustered cron from a TOML file, and a look at what it does.
//!
//! | module | what it does |
//! |---|---|
//! | [`run`] | a node that runs a schedule file: signals, live lines, journal |
//! | [`file`] | the schedule file: its shape, its errors, the set of definitions that it makes |
//! | [`job`] | the kinds `command` and `http` as the node runs them |
//! | [`guard`] | the process between a node and a command, which ends the command if the node cannot |
//! | [`demo`] | a cluster of such nodes, hurt and judged |
//! | [`look`] | `next`, `list`, `show`, `history`, `nodes` |
//! | [`pause`] | `pause` and `resume`: holding schedules back |
//! | [`check`] | what should not be in a database, and its repair |
//! | [`epoch`] | the epoch of a store, raised after commits were lost |
//! | [`migrate`] | the schema: `status`, `plan`, `apply`, `validate`, `repair`, `export`, `baseline` |
//! | [`db`] | which database, and how it is opened |
//! | [`trouble`] | errors for people, and exit codes |

#![expect(clippy::print_stderr, reason = "a command prints")]

mod args;
mod check;
mod db;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod demo;
mod epoch;
mod file;
mod guard;
mod job;
mod look;
mod migrate;
mod pause;
mod run;
mod trouble;

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use self::args::{Cli, Command};
use self::trouble::{Exit, Trouble};

fn main() -> ExitCode {
    // A guard stands between a due instant and the start of a command: it must not wait for a parser or an executor.
    if std::env::args_os().nth(1).is_some_and(|first| first == guard::NAME) {
        return guard::main();
    }
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    if let Some(code) = demo::body::intercept() {
        return code;
    }
    let Cli { command } = Cli::parse();
    log();
    match command {
        Command::Run(args) => block(Builder::new_multi_thread(), run::run(args)),
        #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
        Command::Demo(args) => block(Builder::new_current_thread(), demo::run(args)),
        Command::Next(args) => look(look::next(args)),
        Command::List(args) => look(look::list(args)),
        Command::Show(args) => look(look::show(args)),
        Command::History(args) => look(look::history(args)),
        Command::Nodes(args) => look(look::nodes(args)),
        Command::Pause(args) => look(pause::pause(args)),
        Command::Resume(args) => look(pause::resume(args)),
        Command::Check(args) => block(Builder::new_current_thread(), check::run(args)),
        Command::Epoch(args) => block(Builder::new_current_thread(), epoch::run(args)),
        Command::Migrate(args) => block(Builder::new_current_thread(), migrate::run(args)),
    }
}

/// Runs a command that looks into a database.
fn look(command: impl Future<Output = Result<(), Trouble>>) -> ExitCode {
    block(Builder::new_current_thread(), async { done(command.await) })
}

fn done(result: Result<(), Trouble>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => trouble.report(),
    }
}

fn block(mut builder: Builder, command: impl Future<Output = ExitCode>) -> ExitCode {
    let runtime: Runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return Trouble::new(Exit::Error, format!("the executor cannot be started: {error}")).report();
        }
    };
    let code = runtime.block_on(command);
    // A request that nobody waits for any more may still be on its way.
    runtime.shutdown_timeout(Duration::from_millis(200));
    code
}

/// What the crates log goes to the standard error, if `PUNCTUAL_LOG` asks for it: `warn`, `punctual_runtime=debug`, …
fn log() {
    let Ok(directives) = std::env::var("PUNCTUAL_LOG") else { return };
    match directives.parse::<tracing_subscriber::EnvFilter>() {
        Ok(filter) => {
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .init();
        }
        Err(error) => eprintln!("warning: PUNCTUAL_LOG is not understood and left out: {error}"),
    }
}
