//! `cargo xtask chaos`: a cluster of real processes on a real database, hurt in every way that can be arranged, and judged
//! by what it leaves behind.
//!
//! The cluster and what hurts it are programs of the tests; this command builds them and starts a server of their own,
//! which may be restarted.

use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::db::{self, Server};
use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On which database. A server of its own is started if it needs one.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// For how long there are faults. All is healed, judged and stopped in the minute after that.
    #[arg(long, default_value_t = 1.0, value_parser = minutes)]
    minutes: f64,
    /// What the faults, their times and their victims are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take a backup after a third of the time, put it back after another third, and raise the epoch.
    #[arg(long)]
    restore: bool,
    /// Break a rule in the workers' store: the run must then fail.
    #[arg(long, value_name = "NAME", value_parser = MUTANTS)]
    mutant: Option<String>,
    /// Leave the evidence here, in the place of an earlier run's. Below the build folder unless given.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print the figures as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    programs: db::Programs,
}

/// The rules that can be broken; the worker knows how.
const MUTANTS: [&str; 7] = [
    "settle-ignores-the-fence",
    "recovery-ignores-the-beat",
    "claim-ignores-the-revision",
    "check-in-revives-the-dead",
    "check-in-forgets-owned-rows",
    OF_RESTORES[0],
    OF_RESTORES[1],
];

/// Those that break what only a restore shows.
const OF_RESTORES: [&str; 2] = ["epoch-not-raised", "check-in-hides-a-rollback"];

/// Where a run can be.
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

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().map_err(|_| "it is no number")?;
    if (0.05..=1_440.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("it must be from 0.05 to 1440".to_owned())
    }
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let Options { store, minutes, seed, restore, mutant, folder, json, programs } = options;
    if let Some(name) = mutant.as_deref().filter(|name| OF_RESTORES.contains(name) && !restore) {
        return Err(format!("the mutant {name} needs --restore").into());
    }
    let build = ["build", "--package", "punctual-tests", "--bin", "worker", "--bin", "chaos"];
    if !shell::run(&mut shell::cargo(&build))?.is_good() {
        return Ok(Verdict::Bad);
    }
    // What an operator uses.
    let build = ["build", "--package", "punctual-cli", "--bin", "punctual"];
    if *restore && !shell::run(&mut shell::cargo(&build))?.is_good() {
        return Ok(Verdict::Bad);
    }
    let servers = store.server().map(|server| db::of_our_own(server, programs)).transpose()?;
    let keeper = servers.as_ref().and_then(db::Running::keeper);
    let name = store.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let target = shell::target_directory()?;
    let suffix = if *restore { "-restore" } else { "" };
    let own = || target.join("chaos").join(format!("{name}-{seed}{suffix}"));
    let folder = std::path::absolute(folder.clone().unwrap_or_else(own))?;
    let mounts = may_mount(*store);
    if *store == Store::Sqlite && !mounts {
        println!("without root and unshare no disk can be made that runs full: that fault is left out");
    }
    let punctual = restore.then(|| target.join("debug").join("punctual"));
    let plan = json!({
        "store": name, "minutes": minutes, "seed": seed, "mutant": mutant, "json": json, "folder": folder,
        "keeper": keeper, "may_mount": mounts, "restore": punctual,
    });
    let program = target.join("debug").join("chaos");
    let mut chaos = if mounts {
        // What is mounted there is gone with the last process that sees it.
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--propagation", "private", "--"]).arg(program);
        unshare
    } else {
        Command::new(program)
    };
    chaos.arg(plan.to_string());
    chaos.envs(servers.as_ref().into_iter().flat_map(db::Running::variables));
    shell::run(&mut chaos)
}

/// Whether a disk of its own can be made for a run on a file.
fn may_mount(store: Store) -> bool {
    let works =
        || Command::new("unshare").args(["--mount", "--", "true"]).status().is_ok_and(|s| s.success());
    store == Store::Sqlite && rustix::process::geteuid().is_root() && works()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_a_number_within_bounds() {
        assert_eq!(minutes("0.2"), Ok(0.2));
        for wrong in ["", "x", "0", "-1", "1e9", "NaN", "inf"] {
            assert!(minutes(wrong).is_err(), "{wrong}");
        }
    }
}
