//! `cargo xtask migrate-race`: many processes open one empty database at once, round after round, as the instances of a
//! service do that was never there before.
//!
//! The processes and the looks into databases are programs of the tests; this command builds them and starts the servers
//! that they need.

use std::collections::BTreeSet;
use std::process::Command;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::db::{self, Server};
use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On which database. A server is started if it needs one.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// How many processes open the store at once.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=64))]
    processes: u16,
    /// How often, each time on an empty database.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How many of them are let go only when the history has its first row, or the first process has ended.
    #[arg(long, default_value_t = 0, value_name = "N")]
    late: u16,
    /// How many of them are killed at random moments; the others must complete what those began.
    #[arg(long, default_value_t = 0, value_name = "N")]
    kill: u16,
    /// What the order of the processes and the moments are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the figures as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    programs: db::Programs,
}

/// A store that has migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Store {
    Postgres,
    Mysql,
    Sqlite,
}

impl Store {
    const fn server(self) -> Option<Server> {
        match self {
            Self::Postgres => Some(Server::Postgres),
            Self::Mysql => Some(Server::Mysql),
            Self::Sqlite => None,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let Options { store, processes, rounds, late, kill, seed, json, programs } = options;
    for (many, what) in [(late, "late"), (kill, "kill")] {
        if many >= processes {
            return Err(format!("--{what} must leave a process of the {processes}").into());
        }
    }
    let build = ["build", "--package", "punctual-tests", "--bin", "opener", "--bin", "race"];
    if !shell::run(&mut shell::cargo(&build))?.is_good() {
        return Ok(Verdict::Bad);
    }
    let wanted: BTreeSet<Server> = store.server().into_iter().collect();
    let servers = db::running(&wanted, programs, db::Outlives::Machine)?;
    let name = store.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let plan = json!({
        "store": name, "rounds": rounds, "processes": processes, "late": late, "kill": kill, "seed": seed,
        "json": json,
    });
    let mut race = Command::new(shell::target_directory()?.join("debug").join("race"));
    race.arg(plan.to_string()).envs(servers.variables());
    shell::run(&mut race)
}
