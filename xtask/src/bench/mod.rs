//! `cargo xtask bench`: what things cost, built in release and measured beside what others offer.
//!
//! The benchmarks are a crate of their own, `crates/bench`, so that nothing else of the workspace depends on what they
//! compare with.

mod peers;

use clap::{Args, Subcommand};

use crate::db::{self, Server};
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
    /// Firings a second of recurring triggers that are always behind, with 1, 2, 4 and 8 nodes.
    Fire(Cluster),
    /// How late triggers are that come due every second, with 1 and 4 nodes.
    Keepup(Cluster),
    /// Enqueueing one by one, in batches and in a user's transaction, and how fast a backlog is worked off.
    Drain(Cluster),
    /// How long after its instant one trigger begins on an idle cluster, or with `-- --half-load` on a half busy one.
    Latency(Cluster),
    /// What idle nodes cost the database and their machine.
    Idle(Cluster),
    /// How long after `kill -9` a node's work is run again, with the profiles `fast` and `default`; fails above the bound.
    Takeover(Cluster),
    /// What a firing costs beside a thousand, and up to a million, stored triggers.
    Scale(Cluster),
    /// How fast triggers fire without old history, with ten million rows of it, and while it is deleted.
    History(Cluster),
    /// How fast triggers fire where each commit takes 2 ms more, as on a slow disk; on Postgres.
    Commits(Cluster),
    /// What nodes have the database do while they fire, and how long they wait for it, with 1 and 4 nodes.
    Profile(Cluster),
    /// Ours and others, one after the other on the same servers, and the ratios; others come with a harness of their own.
    Peers(peers::Options),
}

/// A benchmark of nodes that are processes of their own, on a real database.
#[derive(Debug, Args)]
struct Cluster {
    /// On which database: sqlite, postgres or mysql. A server is started if it needs one and none is named.
    #[arg(long, default_value = "sqlite")]
    store: String,
    /// The server to use, where it may make and drop databases; for sqlite the folder to make files in.
    #[arg(long)]
    url: Option<String>,
    /// How many nodes, in the place of the numbers that the benchmark has by itself.
    #[arg(long)]
    nodes: Option<u32>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// The length of a window, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Print the figures as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    /// Build without optimisation: to see that the benchmark works, not to measure.
    #[arg(long)]
    debug: bool,
    /// More for the benchmark itself, as `-- --capacity 500 --warm-up 2`; `-- --help` shows what there is.
    #[arg(last = true)]
    more: Vec<String>,
    #[command(flatten)]
    programs: db::Programs,
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let (runs, json) = match &options.what {
        What::Fire(options) => return cluster("fire", options),
        What::Keepup(options) => return cluster("keepup", options),
        What::Drain(options) => return cluster("drain", options),
        What::Latency(options) => return cluster("latency", options),
        What::Idle(options) => return cluster("idle", options),
        What::Takeover(options) => return cluster("takeover", options),
        What::Scale(options) => return cluster("scale", options),
        What::History(options) => return cluster("history", options),
        What::Commits(options) => return cluster("commits", options),
        What::Profile(options) => return cluster("profile", options),
        What::Peers(options) => return peers::run(options),
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
    let servers = db::running(
        &server_of(store)?.into_iter().collect(),
        &db::Programs::default(),
        db::Outlives::Machine,
    )?;
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

/// The server that a store needs: only the database that is measured has to be there.
fn server_of(store: &str) -> Result<Option<Server>> {
    match store {
        "sqlite" => Ok(None),
        "postgres" => Ok(Some(Server::Postgres)),
        "mysql" => Ok(Some(Server::Mysql)),
        other => Err(format!("{other:?} is none of sqlite, postgres and mysql").into()),
    }
}

fn cluster(name: &str, options: &Cluster) -> Result<Verdict> {
    let Cluster { store, url, nodes, runs, seconds, json, debug, more, programs } = options;
    let server = server_of(store)?;
    let servers = match (server, url) {
        // A server of our own: counters of one that others use would be theirs as well.
        (Some(server), None) if std::env::var_os(server.variable()).is_none() => {
            Some(db::of_our_own(server, programs)?)
        }
        _ => None,
    };
    let release = if *debug { None } else { Some("--release") };
    let mut arguments: Vec<String> = ["run"]
        .into_iter()
        .chain(release)
        .chain(["--quiet", "-p", "punctual-bench", "--", name])
        .map(str::to_owned)
        .collect();
    arguments.extend(["--store".to_owned(), store.clone()]);
    arguments.extend(["--runs".to_owned(), runs.to_string(), "--seconds".to_owned(), seconds.to_string()]);
    arguments.extend(nodes.iter().flat_map(|nodes| ["--nodes".to_owned(), nodes.to_string()]));
    arguments.extend(json.then(|| "--json".to_owned()));
    if let (None, Some(folder)) = (server, url) {
        arguments.extend(["--folder".to_owned(), folder.clone()]);
    }
    arguments.extend(more.iter().cloned());
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut cargo = shell::cargo(&words);
    if let (Some(server), Some(url)) = (server, url) {
        cargo.env(server.variable(), url);
    }
    cargo.envs(servers.iter().flat_map(db::Running::variables));
    shell::run(&mut cargo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_needs_its_own_server_and_no_other() {
        assert_eq!(server_of("sqlite").unwrap(), None);
        assert_eq!(server_of("postgres").unwrap(), Some(Server::Postgres));
        assert_eq!(server_of("mysql").unwrap(), Some(Server::Mysql));
        assert!(server_of("oracle").is_err());
    }
}
