//! `cargo xtask model`: checks the models of the protocol.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use punctual_sim::model::run::{self, Found, Hunt, Reach};
use serde_json::json;

use super::table;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How far the models go.
    #[arg(long, value_enum, default_value_t = Config::Pr)]
    config: Config,
    /// Look for this mistake only.
    #[arg(long, value_name = "NAME", conflicts_with = "mutants")]
    mutant: Option<String>,
    /// Look for every mistake instead.
    #[arg(long)]
    mutants: bool,
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Config {
    /// Seconds.
    Quick,
    /// Minutes.
    Pr,
    /// As far as a night allows.
    Nightly,
}

impl Config {
    const fn reach(self) -> Reach {
        match self {
            Self::Quick => Reach::Quick,
            Self::Pr => Reach::Pr,
            Self::Nightly => Reach::Nightly,
        }
    }
}

pub(crate) fn run(arguments: &Options) -> ExitCode {
    let names = run::mutants();
    if let Some(name) = &arguments.mutant
        && !names.contains(&name.as_str())
    {
        eprintln!("cargo xtask model: no mistake is named `{name}`; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let good = if arguments.mutants || arguments.mutant.is_some() {
        hunt(arguments.mutant.as_deref(), arguments.json)
    } else {
        check(arguments.config, arguments.json)
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seconds(found: &[&Found]) -> f64 {
    (found.iter().map(|found| found.seconds).sum::<f64>() * 10.0).round() / 10.0
}

fn names(found: &Found) -> String {
    let names: Vec<_> = found.broken.iter().map(|(name, _)| *name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The way to a broken promise, for people.
fn show_ways(found: &Found) {
    for (name, way) in &found.broken {
        println!("\n{name} is broken in `{}` by:", found.name);
        for (number, action) in (1..).zip(way) {
            println!("{number:>4}  {action}");
        }
    }
}

fn check(config: Config, as_json: bool) -> bool {
    let all = run::check_all(config.reach(), |found| {
        eprintln!("{}: {} states, {:.1} s", found.name, found.states, found.seconds);
    });
    let mut rows = table(&["model", "states", "depth", "seconds", "broken"]);
    for found in &all {
        let Found { name, states, depth, seconds, .. } = found;
        rows.add_row([
            name.clone(),
            states.to_string(),
            depth.to_string(),
            format!("{seconds:.1}"),
            names(found),
        ]);
    }
    println!("{rows}");
    all.iter().for_each(show_ways);
    let never: Vec<&str> = run::sights()
        .into_iter()
        .filter(|sight| !all.iter().any(|found| found.seen.contains(sight)))
        .chain(all.iter().flat_map(|found| found.unseen.iter().copied()))
        .collect();
    for sight in &never {
        println!("never seen: {sight}");
    }
    let states: usize = all.iter().map(|found| found.states).sum();
    let violations: usize = all.iter().map(|found| found.broken.len()).sum();
    let every: Vec<&Found> = all.iter().collect();
    let time = seconds(&every);
    let promises = run::promises();
    println!("\n{states} states in {time} s: {violations} of {} promises broken", promises.len());
    if as_json {
        let broken = |name: &str| all.iter().any(|found| found.broken.iter().any(|(of, _)| *of == name));
        let properties: Vec<_> = promises
            .iter()
            .map(|(name, what)| json!({"name": name, "says": what, "holds": !broken(name)}))
            .collect();
        let depth = all.iter().map(|found| found.depth).max();
        println!(
            "{}",
            json!({"states": states, "depth": depth, "violations": violations, "properties": properties,
                "never_seen": never, "models": all.len(), "seconds": time})
        );
    }
    violations == 0 && never.is_empty()
}

fn hunt(name: Option<&str>, as_json: bool) -> bool {
    let all = run::hunt(name, |hunt| {
        eprintln!("{}: {}", hunt.mutant, if hunt.is_found() { "found" } else { "ESCAPED" });
    });
    let mut rows = table(&["mutant", "what it does", "meant", "found by", "in", "states", "seconds"]);
    for Hunt { mutant, what, meant, found } in &all {
        rows.add_row([
            (*mutant).to_owned(),
            (*what).to_owned(),
            (*meant).to_owned(),
            names(found),
            found.name.clone(),
            found.states.to_string(),
            format!("{:.1}", found.seconds),
        ]);
    }
    println!("{rows}");
    if name.is_some() {
        all.iter().for_each(|hunt| show_ways(&hunt.found));
    }
    let missed: Vec<&str> = all.iter().filter(|hunt| !hunt.is_found()).map(|hunt| hunt.mutant).collect();
    let found = all.len() - missed.len();
    let every: Vec<&Found> = all.iter().map(|hunt| &hunt.found).collect();
    let time = seconds(&every);
    println!("\n{found} of {} mistakes found by the property meant for them, in {time} s", all.len());
    if as_json {
        let states: usize = every.iter().map(|found| found.states).sum();
        println!(
            "{}",
            json!({"states": states, "mutants_found": found, "mutants_total": all.len(),
                "mutants_missed": missed.len(), "missed": missed, "seconds": time})
        );
    }
    missed.is_empty()
}
