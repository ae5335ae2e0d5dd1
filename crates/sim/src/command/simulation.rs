//! `cargo xtask sim`: runs simulated clusters, seed after seed.

use std::io::{IsTerminal, stderr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, ValueEnum};
use punctual_core::Error;
use punctual_sim::simulation::{Fault, Hunt, Mutant, Order, Report, Store, Sum, hunt, sweep};
use serde_json::json;

use super::table;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many seeds to run, one after the other, 20 unless given; with `--mutant` and `--mutants`, at most so many for each
    /// mistake, 200 unless given.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// How long the faults of each seed go on, in virtual hours.
    #[arg(long, default_value_t = 1.0, value_parser = hours)]
    hours: f64,
    /// The store under the nodes.
    #[arg(long, value_enum, default_value_t = Ground::Memory)]
    store: Ground,
    /// Put this mistake in, and look for the first seed that finds it.
    #[arg(long, value_name = "NAME", conflicts_with = "mutants")]
    mutant: Option<String>,
    /// The same for every mistake.
    #[arg(long)]
    mutants: bool,
    /// Write the events of the last seed to this file, a JSON object a line, in the order of time.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ground {
    /// The memory store, as the store of a server.
    Memory,
    /// The SQLite store.
    Sqlite,
}

/// The longest run of a seed: a month.
const MOST_HOURS: f64 = 744.0;

fn hours(text: &str) -> Result<f64, String> {
    let hours: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.05..=MOST_HOURS).contains(&hours) {
        Ok(hours)
    } else {
        Err(format!("not between 0.05 and {MOST_HOURS}"))
    }
}

impl Options {
    /// A hunt ends with the first seed that finds the mistake, so only what escapes costs all of them.
    fn seeds(&self) -> u64 {
        let hunts = self.mutants || self.mutant.is_some();
        self.seeds.unwrap_or(if hunts { 200 } else { 20 })
    }

    fn order(&self, keep_lines: bool) -> Order {
        let store = match self.store {
            Ground::Memory => Store::Memory,
            Ground::Sqlite => Store::Sqlite,
        };
        // At most 44,640, and at least 3.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the bounds of the parser"
        )]
        let minutes = (self.hours * 60.0).round() as u64;
        Order { seed: self.from, minutes, store, mutant: None, keep_lines }
    }

    /// The command that runs one seed again.
    fn replay(&self, seed: u64, mutant: Option<Mutant>) -> String {
        let mutant = mutant.map(|mutant| format!(" --mutant {}", mutant.name())).unwrap_or_default();
        let store = self.order(false).store.name();
        format!("cargo xtask sim --seeds 1 --from {seed} --hours {} --store {store}{mutant}", self.hours)
    }
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let wanted: Vec<Mutant> = match &options.mutant {
        Some(name) => Mutant::ALL.iter().copied().filter(|mutant| mutant.name() == name).collect(),
        None => Mutant::ALL.to_vec(),
    };
    if wanted.is_empty() {
        let names: Vec<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        eprintln!("cargo xtask sim: no mistake has this name; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let good =
        if options.mutants || options.mutant.is_some() { look_for(options, &wanted) } else { check(options) };
    match good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask sim: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

/// Says on a terminal how far a long run is, on one line that is written over.
struct Progress {
    begun: Instant,
    is_shown: bool,
}

impl Progress {
    #[expect(clippy::disallowed_methods, reason = "how long a run takes is no matter of the protocol")]
    fn begin() -> Self {
        Self { begun: Instant::now(), is_shown: stderr().is_terminal() }
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn tell(&self, text: &str) {
        if self.is_shown {
            eprint!("\r\x1b[K{text}");
        }
    }

    fn clear(&self) {
        self.tell("");
    }
}

fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

fn show(report: &Report, replay: &str) {
    println!("seed {}: {} promises broken; see it again with\n  {replay}", report.seed, report.violations);
    for breach in &report.breaches {
        println!("  {}: {}", breach.promise, breach.text);
        for event in &breach.events {
            println!("      {event}");
        }
    }
}

fn check(options: &Options) -> punctual_core::Result<bool> {
    let progress = Progress::begin();
    let single = options.seeds() == 1;
    let mut lines = Vec::new();
    let every = (options.seeds() / 20).max(1);
    let sum = sweep(options.order(options.log.is_some()), options.seeds(), |report, sum| {
        lines.clone_from(&report.lines);
        let (seconds, violations) = (progress.seconds(), sum.violations);
        let text =
            format!("{} of {} seeds, {seconds:.0} s, {violations} violations", sum.seeds, options.seeds());
        progress.tell(&text);
        if !progress.is_shown && sum.seeds % every == 0 && !single {
            eprintln!("{text}");
        }
        if report.violations > 0 {
            progress.clear();
            show(report, &options.replay(report.seed, None));
        } else if single {
            println!("seed {}: hash {:016x}", report.seed, report.hash);
        }
    })?;
    progress.clear();
    if let Some(path) = &options.log {
        let written = std::fs::write(path, lines.join("\n") + "\n");
        let why = || format!("{} could not be written", path.display());
        written.map_err(|error| Error::unavailable("log", why()).with_source(error))?;
    }
    let seconds = progress.seconds();
    print_sum(&sum, seconds);
    for seed in &sum.unlike {
        println!("seed {seed} was not the same when it was run again: {}", options.replay(*seed, None));
    }
    let lacks = sum.lacks();
    for what in &lacks {
        println!("not enough: {what}");
    }
    if options.json {
        let faults: serde_json::Map<String, serde_json::Value> =
            sum.faults.iter().map(|(fault, times)| (fault.name().to_owned(), json!(times))).collect();
        println!(
            "{}",
            json!({
                "seeds": sum.seeds, "from": options.from, "store": options.order(false).store.name(),
                "virtual_hours": rounded(sum.hours), "firings": sum.firings, "attempts": sum.attempts,
                "fault_kinds": sum.faults.len(), "faults_total": sum.faults_of_the_cluster(), "faults": faults,
                "takeovers": sum.takeovers, "takeover_seconds_max": rounded(sum.takeover_seconds),
                "violations": sum.violations, "failed_seeds": sum.failed, "lacks": lacks,
                "determinism_checked": sum.determinism_checked, "nondeterministic": sum.unlike.len(),
                "seconds": rounded(seconds), "seeds_per_minute": rounded(per_minute(sum.seeds, seconds)),
            })
        );
    }
    Ok(sum.is_good())
}

fn per_minute(seeds: u64, seconds: f64) -> f64 {
    // Exact up to 2^53.
    seeds as f64 * 60.0 / seconds.max(0.001)
}

fn print_sum(sum: &Sum, seconds: f64) {
    let mut faults = table(&["fault", "times", "what happens"]);
    for fault in Fault::ALL {
        let times = sum.faults.get(fault).copied().unwrap_or(0);
        faults.add_row([fault.name().to_owned(), times.to_string(), fault.what().to_owned()]);
    }
    println!("{faults}\n");
    let mut figures = table(&[]);
    let rows = [
        ("seeds", sum.seeds.to_string()),
        ("virtual hours", format!("{:.1}", sum.hours)),
        ("firings", sum.firings.to_string()),
        ("bodies", sum.attempts.to_string()),
        ("faults", format!("{} of {} kinds", sum.faults_of_the_cluster(), sum.faults.len())),
        ("take-overs", format!("{}, the longest {:.1} s", sum.takeovers, sum.takeover_seconds)),
        ("run twice", format!("{}, {} not the same", sum.determinism_checked, sum.unlike.len())),
        ("violations", format!("{} in {} seeds", sum.violations, sum.failed.len())),
        ("time", format!("{seconds:.1} s, {:.0} seeds a minute", per_minute(sum.seeds, seconds))),
    ];
    for (what, figure) in rows {
        figures.add_row([what.to_owned(), figure]);
    }
    println!("{figures}");
}

fn look_for(options: &Options, wanted: &[Mutant]) -> punctual_core::Result<bool> {
    let progress = Progress::begin();
    let mut all: Vec<Hunt> = Vec::new();
    for mutant in wanted {
        progress.tell(&format!("{} of {} mistakes, {:.0} s", all.len(), wanted.len(), progress.seconds()));
        all.push(hunt(options.order(false), *mutant, options.seeds())?);
    }
    progress.clear();
    let mut rows = table(&["mutant", "what it does", "meant", "first seed", "seeds"]);
    for Hunt { mutant, found, seeds } in &all {
        rows.add_row([
            mutant.name().to_owned(),
            mutant.what().to_owned(),
            mutant.promise().to_owned(),
            found.as_ref().map_or_else(|| "ESCAPED".to_owned(), |found| found.seed.to_string()),
            seeds.to_string(),
        ]);
    }
    println!("{rows}");
    if options.mutant.is_some() {
        for Hunt { mutant, found, .. } in &all {
            if let Some(report) = found {
                show(report, &options.replay(report.seed, Some(*mutant)));
            }
        }
    }
    let missed: Vec<&str> =
        all.iter().filter(|hunt| hunt.found.is_none()).map(|hunt| hunt.mutant.name()).collect();
    let seconds = progress.seconds();
    println!("\n{} of {} mistakes found, in {seconds:.1} s", all.len() - missed.len(), all.len());
    if options.json {
        let first: serde_json::Map<String, serde_json::Value> = all
            .iter()
            .filter_map(|hunt| Some((hunt.mutant.name().to_owned(), json!(hunt.found.as_ref()?.seed))))
            .collect();
        println!(
            "{}",
            json!({
                "mutants_total": all.len(), "mutants_found": all.len() - missed.len(), "missed": missed,
                "first_seeds": first, "seconds": rounded(seconds),
            })
        );
    }
    Ok(missed.is_empty())
}
