//! `cargo xtask conformance`: the kit on each store, and on stores that are broken on purpose.
//!
//! The kit's programs write reports; this command reads them and knows no case by name.

use std::fs;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::shell::{self, Result, Stopwatch, Verdict};
use crate::tally::{Show, Tally};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which store.
    #[arg(long, value_enum, default_value_t = Choice::All)]
    store: Choice,
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    /// Write the reports of all stores to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    report: Option<std::path::PathBuf>,
    /// Only cases whose name contains this; the broken stores are then left out.
    filter: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Choice {
    All,
    Memory,
    Sqlite,
}

/// A store, and the test program that runs the kit on it.
struct Store {
    choice: Choice,
    name: &'static str,
    package: &'static str,
    test: &'static str,
}

const STORES: &[Store] = &[
    Store { choice: Choice::Memory, name: "memory", package: "punctual-conformance", test: "memory" },
    Store { choice: Choice::Sqlite, name: "sqlite", package: "punctual-sqlite", test: "conformance" },
];

/// The test program that has the kit reject stores which are broken on purpose. It says how many in a line of its own.
const BROKEN: (&str, &str) = ("punctual-conformance", "faulty");
const REJECTED: &str = "broken stores rejected: ";

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let watch = Stopwatch::start();
    let folder = shell::target_directory()?.join("conformance");
    fs::create_dir_all(&folder)?;
    let mut reports = Vec::new();
    for store in STORES.iter().filter(|store| [Choice::All, store.choice].contains(&options.store)) {
        reports.push(on_store(
            store,
            &folder.join(format!("{}.json", store.name)),
            options.filter.as_deref(),
        )?);
    }
    let broken = if options.filter.is_none() { Some(broken_stores()?) } else { None };

    table(&reports);
    let sum = |what: &str| reports.iter().map(|report| count(report, what)).sum::<u64>();
    let (passed, failed, not_applicable) = (sum("passed"), sum("failed"), sum("not_applicable"));
    let rejected = broken.and_then(|(_, rejected)| rejected);
    match (broken, rejected) {
        (Some(_), Some(rejected)) => println!("\n{REJECTED}{rejected}"),
        (Some(_), None) => println!("\nthe kit did not say how many broken stores it rejected"),
        (None, _) => {}
    }
    println!("\n{:.1} s\n{passed} passed, {failed} failed", watch.seconds());
    if let Some(path) = &options.report {
        fs::write(path, format!("{}\n", json!({"stores": reports})))?;
    }
    if options.json {
        let names: Vec<&Value> = reports.iter().map(|report| &report["store"]).collect();
        let line = json!({
            "stores": names,
            "cases": passed + failed + not_applicable,
            "passed": passed,
            "failed": failed,
            "not_applicable": not_applicable,
            "broken_stores_rejected": rejected,
            "seconds": watch.seconds(),
        });
        println!("{line}");
    }
    // A store whose program failed without a failed case (it crashed, say) is not well either.
    let well = reports.iter().all(|report| report["well"] == true);
    let sound = broken.is_none_or(|(verdict, _)| verdict.is_good());
    Ok(Verdict::of(well && sound && failed == 0 && passed > 0))
}

/// Runs the kit on a store and returns its report, with `well` added: whether the program itself said so.
fn on_store(store: &Store, path: &Path, filter: Option<&str>) -> Result<Value> {
    // An old report must not pass for a new one.
    let _ = fs::remove_file(path);
    let mut arguments = vec!["test", "--package", store.package, "--test", store.test];
    arguments.extend(filter.into_iter().flat_map(|filter| ["--", filter]));
    let mut cargo = shell::cargo(&arguments);
    cargo.env("CARGO_TERM_COLOR", "never").env("PUNCTUAL_CONFORMANCE_REPORT", path);
    let mut tally = Tally::new(Show::Troubled);
    let status = shell::stream(&mut cargo, |line| tally.line(line))?;
    tally.close();
    let text = fs::read_to_string(path);
    let mut report = match &text {
        Ok(text) => serde_json::from_str(text)?,
        Err(_) => {
            println!("the kit wrote no report on {}", store.name);
            json!({"store": store.name, "level": "none"})
        }
    };
    report["well"] = json!(status.success() && text.is_ok());
    Ok(report)
}

/// Whether the kit rejects all broken stores, and how many there are.
fn broken_stores() -> Result<(Verdict, Option<u64>)> {
    let (package, test) = BROKEN;
    let mut cargo = shell::cargo(&["test", "--package", package, "--test", test, "--", "--nocapture"]);
    cargo.env("CARGO_TERM_COLOR", "never");
    let mut rejected = None;
    let mut tally = Tally::new(Show::Troubled);
    let status = shell::stream(&mut cargo, |line| {
        if let Some((_, number)) = line.split_once(REJECTED) {
            rejected = number.trim().parse().ok();
        }
        tally.line(line);
    })?;
    tally.close();
    Ok((Verdict::of(status.success() && tally.all.passed > 0 && rejected != Some(0)), rejected))
}

fn count(report: &Value, what: &str) -> u64 {
    report[what].as_u64().unwrap_or(0)
}

fn table(reports: &[Value]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    println!(
        "\n{:<10} {:<10} {:>6} {:>7} {:>7} {:>15}",
        "store", "level", "cases", "passed", "failed", "not applicable"
    );
    for report in reports {
        let line = |name: &str, level: &str, counts: &Value| {
            let [cases, passed, failed, not] =
                ["cases", "passed", "failed", "not_applicable"].map(|what| count(counts, what));
            println!("{name:<10} {level:<10} {cases:>6} {passed:>7} {failed:>7} {not:>15}");
        };
        line(&text(&report["store"]), &text(&report["level"]), report);
        for (letter, counts) in report["sections"].as_object().into_iter().flatten() {
            line(&format!("  {letter}"), "", counts);
        }
    }
    for report in reports {
        for result in report["results"].as_array().into_iter().flatten() {
            let outcome = text(&result["outcome"]);
            if outcome != "passed" {
                let why = text(&result["why"]);
                let why = why.lines().next().unwrap_or_default();
                println!(
                    "{}: {} {}: {why}",
                    text(&report["store"]),
                    outcome.replace('_', " "),
                    text(&result["name"])
                );
            }
        }
    }
}
