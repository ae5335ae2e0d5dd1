//! `cargo xtask bench peers`: ours and what others offer, one after the other on the same servers, and the ratios.
//!
//! The others are measured by a harness that lies elsewhere and fetches them from where they are published; nothing of
//! theirs is in this workspace. Both sides take turns, so that what disturbs the machine disturbs both.

mod harness;
mod report;
mod results;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::harness::{Harness, MARIADB, POSTGRES, Trouble};
use self::report::Book;
use crate::db::Server;
use crate::shell::{self, Result, Verdict};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The folder of the harness of the peers.
    #[arg(long, value_name = "DIR")]
    harness: PathBuf,
    /// Where its servers' data and its programs go; they stay there for the next time. Below the build folder unless
    /// given; the user of each server must be allowed into it.
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// What is compared.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::value_variants().to_vec())]
    only: Vec<Part>,
    /// How often each is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: u32,
    /// The length of a window of recurring firings, in seconds.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// How long nodes run before a window begins, in seconds.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(0..=3_600))]
    warm_up: u64,
    /// How many jobs are drained.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    jobs: u32,
    /// How long each statement made by hand is repeated, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    by_hand_seconds: u64,
    /// Print the figures as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    /// Build ours without optimisation: to see that all of it works, not to measure.
    #[arg(long)]
    debug: bool,
}

/// Something that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Recurring firings on Postgres, beside Quartz.
    Fire,
    /// A backlog on Postgres, beside queues.
    Drain,
    /// Recurring firings on MariaDB, beside Quartz.
    Mariadb,
    /// The same writes on all three databases, in statements made by hand; and ours on SQLite.
    ByHand,
}

/// A database that both sides use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Database {
    Postgres,
    Mariadb,
    Sqlite,
}

impl Database {
    /// Its names: for a benchmark of ours, and for the harness.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Postgres => ("postgres", "pg"),
            Self::Mariadb => ("mysql", "maria"),
            Self::Sqlite => ("sqlite", "sqlite"),
        }
    }

    /// Where ours finds the server that the harness has started; a file needs none.
    const fn variable(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Postgres => Some((Server::Postgres.variable(), POSTGRES)),
            Self::Mariadb => Some((Server::Mysql.variable(), MARIADB)),
            Self::Sqlite => None,
        }
    }

    /// What the harness calls it where it commits as durably as ours.
    const fn durable(self) -> &'static str {
        match self {
            Self::Postgres => "pg",
            Self::Mariadb => "maria",
            Self::Sqlite => "sqlite FULL",
        }
    }
}

/// Something to run, and the names of the figures that it yields, in the order in which it yields them.
#[derive(Clone, Copy, Debug)]
struct Step {
    part: Part,
    how: How,
    figures: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// A benchmark of ours.
    Ours { bench: &'static str, database: Database, nodes: u32 },
    /// Quartz, with so many threads, triggers that it takes at once, and nodes.
    Quartz { database: Database, threads: u32, batch: u32, nodes: u32 },
    /// A queue by its name in the harness, in the variant that has these words.
    Queue { name: &'static str, variant: &'static str },
    /// Statements made by hand. All runs are made at once.
    ByHand { database: Database },
}

use self::Database::{Mariadb, Postgres, Sqlite};

/// Everything, in the order of a round: ours stands next to what it is compared with.
const STEPS: &[Step] = &[
    Step {
        part: Part::Fire,
        how: How::Ours { bench: "fire", database: Postgres, nodes: 1 },
        figures: &["fire_postgres_1"],
    },
    Step {
        part: Part::Fire,
        how: How::Quartz { database: Postgres, threads: 50, batch: 50, nodes: 1 },
        figures: &["quartz_best_postgres_1"],
    },
    Step {
        part: Part::Fire,
        how: How::Ours { bench: "fire", database: Postgres, nodes: 4 },
        figures: &["fire_postgres_4"],
    },
    Step {
        part: Part::Fire,
        how: How::Quartz { database: Postgres, threads: 50, batch: 50, nodes: 4 },
        figures: &["quartz_best_postgres_4"],
    },
    Step {
        part: Part::Fire,
        how: How::Quartz { database: Postgres, threads: 10, batch: 1, nodes: 1 },
        figures: &["quartz_default_postgres_1"],
    },
    Step {
        part: Part::Mariadb,
        how: How::Ours { bench: "fire", database: Mariadb, nodes: 1 },
        figures: &["fire_mariadb_1"],
    },
    Step {
        part: Part::Mariadb,
        how: How::Quartz { database: Mariadb, threads: 50, batch: 50, nodes: 1 },
        figures: &["quartz_best_mariadb_1"],
    },
    Step {
        part: Part::Mariadb,
        how: How::Ours { bench: "fire", database: Mariadb, nodes: 4 },
        figures: &["fire_mariadb_4"],
    },
    Step {
        part: Part::Mariadb,
        how: How::Quartz { database: Mariadb, threads: 50, batch: 50, nodes: 4 },
        figures: &["quartz_best_mariadb_4"],
    },
    Step {
        part: Part::Drain,
        how: How::Queue { name: "gw-js", variant: "localQueue" },
        figures: &["graphile_worker_js"],
    },
    Step { part: Part::Drain, how: How::Queue { name: "pg-boss", variant: "loops" }, figures: &["pg_boss"] },
    Step {
        part: Part::Drain,
        how: How::Ours { bench: "drain", database: Postgres, nodes: 1 },
        figures: &["drain_history", "drain_off"],
    },
    Step {
        part: Part::Drain,
        how: How::Queue { name: "gw-rs", variant: "local queue" },
        figures: &["graphile_worker_rs"],
    },
    Step {
        part: Part::Drain,
        how: How::Queue { name: "river", variant: "2000 workers" },
        figures: &["river"],
    },
    Step {
        part: Part::ByHand,
        how: How::ByHand { database: Postgres },
        figures: &["bump_postgres", "claim_delete_postgres"],
    },
    Step {
        part: Part::ByHand,
        how: How::ByHand { database: Mariadb },
        figures: &["bump_mariadb", "claim_delete_mariadb"],
    },
    Step {
        part: Part::ByHand,
        how: How::Ours { bench: "fire", database: Sqlite, nodes: 1 },
        figures: &["fire_sqlite_1"],
    },
    Step {
        part: Part::ByHand,
        how: How::ByHand { database: Sqlite },
        figures: &["bump_sqlite", "claim_delete_sqlite"],
    },
];

/// The statements made by hand of which the figures are, in the order of the figures.
const BY_HAND: [&str; 2] = ["bump", "claim+delete"];

pub(super) fn run(options: &Options) -> Result<Verdict> {
    let work = match &options.work {
        Some(work) => work.clone(),
        None => shell::target_directory()?.join("bench-peers"),
    };
    let harness = Harness::at(&options.harness, &work)?;
    if !shell::run(&mut shell::cargo(&ours("build", options)))?.is_good() {
        return Err("our own benchmarks cannot be built".into());
    }
    let mut book = Book::default();
    progress("the harness starts its servers and makes its programs; the first time that takes long");
    let (servers, trouble) = harness.start()?;
    book.troubles.extend(trouble);
    measure(&harness, options, &mut book);
    servers.stop()?;

    let settings = settings(options);
    book.show();
    println!("\nboth sides: {}", report::in_words(&settings));
    if options.debug {
        println!("ours is not a release build: its figures say nothing");
    }
    if options.json {
        println!("{}", book.to_json(&settings));
    }
    Ok(Verdict::of(book.is_sound()))
}

/// Runs every step that was asked for, round after round. Who fails is not asked again.
fn measure(harness: &Harness, options: &Options, book: &mut Book) {
    let mut left: Vec<&Step> = STEPS.iter().filter(|step| options.only.contains(&step.part)).collect();
    for round in 1..=options.runs {
        left.retain(|step| {
            let at_once = matches!(step.how, How::ByHand { .. });
            if at_once && round > 1 {
                return false;
            }
            let runs = if at_once { options.runs } else { 1 };
            let troubles = book.troubles.len();
            one(harness, options, step, runs, book);
            let names = step.figures.join(", ");
            let failed = book.troubles.len() > troubles;
            let latest = || step.figures.iter().filter_map(|name| book.latest(name)).map(report::grouped);
            let rates = if failed { "FAILED".to_owned() } else { latest().collect::<Vec<_>>().join(", ") };
            progress(&format!("round {round} of {}: {names}: {rates} /s", options.runs));
            !failed
        });
    }
}

/// Runs one step, and writes down what it found or what went wrong.
fn one(harness: &Harness, options: &Options, step: &Step, runs: u32, book: &mut Book) {
    let found = match step.how {
        How::Ours { bench, database, nodes } => {
            let arguments = arguments_of_ours(options, bench, database, nodes);
            let mut words = ours("run", options);
            words.extend(arguments.iter().map(String::as_str));
            let mut command = shell::cargo(&words);
            command.envs(database.variable());
            let mut last = String::new();
            let ended = harness::watched("punctual", &mut command, |line| {
                if line.starts_with('{') {
                    line.clone_into(&mut last);
                }
            });
            // It prints its figures before it fails for what it found in them.
            let read = serde_json::from_str::<Value>(&last).map_err(|error| error.to_string());
            let found = read.and_then(|report| results::ours(&report));
            let found = found.map(|found| {
                found.twice.into_iter().for_each(|twice| book.add_twice(twice));
                found.found
            });
            let command = words.join(" ");
            match ended {
                Ok(()) => {
                    found.map_err(|why| Trouble { who: "punctual".to_owned(), command, said: vec![why] })
                }
                Err(trouble) => Err(trouble),
            }
        }
        How::Quartz { database, threads, batch, nodes } => {
            let numbers = [threads, batch, nodes].map(|number| number.to_string());
            let [threads, batch, nodes] = &numbers;
            let arguments = ["quartz.py", database.names().1, "recurring", threads, batch, nodes];
            of_theirs(harness, options, "Quartz", &arguments, runs, |lines| Ok(vec![results::quartz(lines)?]))
        }
        How::Queue { name, variant } => {
            let arguments = ["peers.py", name, &options.jobs.to_string(), &runs.to_string(), variant];
            let found =
                of_theirs(harness, options, name, &arguments, runs, |lines| Ok(vec![results::queue(lines)?]));
            found.map_err(|mut trouble| {
                trouble.said.extend(harness.log(&format!("{name}.err")));
                trouble
            })
        }
        How::ByHand { database } => {
            let arguments = ["limits.py", database.names().1];
            of_theirs(harness, options, "by hand", &arguments, runs, |lines| {
                BY_HAND.iter().map(|mode| results::by_hand(lines, database.durable(), mode)).collect()
            })
        }
    };
    match found {
        Ok(found) => step.figures.iter().zip(found).for_each(|(name, found)| book.add(name, found)),
        Err(trouble) => book.troubles.push(trouble),
    }
}

fn of_theirs(
    harness: &Harness,
    options: &Options,
    who: &str,
    arguments: &[&str],
    runs: u32,
    read: impl FnOnce(&[Value]) -> Result<Vec<results::Found>, String>,
) -> Result<Vec<results::Found>, Trouble> {
    let environment = [
        ("WIN", options.seconds.to_string()),
        ("WARM", options.warm_up.to_string()),
        ("RUNS", runs.to_string()),
        ("SECS", options.by_hand_seconds.to_string()),
    ];
    // Ten minutes to make and load databases, and for each run of each statement half a minute more.
    let longest = options.seconds + options.warm_up + 20 * (options.by_hand_seconds + 30);
    let lines = harness.measure(who, arguments, &environment, 600 + u64::from(runs) * longest)?;
    let trouble = |why| Trouble { who: who.to_owned(), command: arguments.join(" "), said: vec![why] };
    read(&lines).map_err(trouble)
}

/// The words of cargo before those of our benchmark.
fn ours(verb: &'static str, options: &Options) -> Vec<&'static str> {
    let mut words = vec![verb];
    words.extend((!options.debug).then_some("--release"));
    words.extend(["--quiet", "-p", "punctual-bench"]);
    words
}

/// The words of our benchmark, for one run.
fn arguments_of_ours(options: &Options, bench: &str, database: Database, nodes: u32) -> Vec<String> {
    let mut words: Vec<String> =
        ["--", bench, "--store", database.names().0, "--runs", "1", "--json", "--nodes"]
            .map(str::to_owned)
            .to_vec();
    words.push(nodes.to_string());
    let more = match bench {
        "drain" => vec![("--jobs", u64::from(options.jobs))],
        _ => vec![("--seconds", options.seconds), ("--warm-up", options.warm_up)],
    };
    words.extend(more.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]));
    words
}

/// What all figures depend on.
fn settings(options: &Options) -> Value {
    let Options { runs, seconds, warm_up, jobs, by_hand_seconds, debug, .. } = options;
    json!({
        "runs": runs, "seconds": seconds, "warm_up": warm_up, "jobs": jobs, "by_hand_seconds": by_hand_seconds,
        "optimised": !debug, "cores": std::thread::available_parallelism().map_or(0, usize::from),
    })
}

/// Says how far a long run is.
fn progress(text: &str) {
    eprintln!("  … {text}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(more: &[&str]) -> Options {
        Line::parse_from(["peers", "--harness", "there"].iter().chain(more)).options
    }

    #[test]
    fn both_sides_are_told_the_same() {
        let options =
            options(&["--only", "fire,by-hand", "--seconds", "7", "--warm-up", "3", "--jobs", "500"]);
        assert_eq!(options.only, [Part::Fire, Part::ByHand]);
        let fire = arguments_of_ours(&options, "fire", Mariadb, 4).join(" ");
        assert_eq!(fire, "-- fire --store mysql --runs 1 --json --nodes 4 --seconds 7 --warm-up 3");
        assert_eq!(fire.replace("mysql", "sqlite"), arguments_of_ours(&options, "fire", Sqlite, 4).join(" "));
        let drain = arguments_of_ours(&options, "drain", Postgres, 1).join(" ");
        assert_eq!(drain, "-- drain --store postgres --runs 1 --json --nodes 1 --jobs 500");
    }

    #[test]
    fn all_is_compared_if_nothing_is_chosen() {
        let options = options(&[]);
        assert!(STEPS.iter().all(|step| options.only.contains(&step.part)));
    }

    #[test]
    fn each_figure_is_measured_by_one_step() {
        let mut names: Vec<_> = STEPS.iter().flat_map(|step| step.figures).copied().collect();
        names.sort_unstable();
        let mut known: Vec<_> = report::names().collect();
        known.sort_unstable();
        assert_eq!(names, known);
    }
}
