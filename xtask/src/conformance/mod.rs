//! `cargo xtask conformance`: the kit on each store, and on stores that are broken on purpose.
//!
//! The kit's programs write reports; this command reads them and knows no case by name. Servers that a store needs are
//! started for it.

mod mutants;
mod reasons;
mod stores;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use self::stores::{Choice, Target};
use crate::db;
use crate::shell::{self, Result, Stopwatch, Verdict};
use crate::tally::{Show, Tally};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which store.
    #[arg(long, value_enum, default_value_t = Choice::All, conflicts_with = "crate")]
    store: Choice,
    /// Run the conformance tests of the package in this folder instead, of whichever workspace it is a part.
    #[arg(long = "crate", id = "crate", value_name = "PATH")]
    package: Option<PathBuf>,
    /// Use the server at this URL instead of a throw-away one; the package of `--crate` finds it in
    /// PUNCTUAL_CONFORMANCE_URL.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    /// Write the reports of all stores to this file, as one JSON object.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    #[command(flatten)]
    programs: db::Programs,
    #[command(flatten)]
    mutants: mutants::Testing,
    /// Only cases whose name contains this; the broken stores are then left out.
    filter: Option<String>,
}

/// The test programs that have the kit reject stores which are broken on purpose. Each says how many in a line of its
/// own.
const BROKEN: &[(&str, &str)] = &[("punctual-conformance", "faulty"), ("punctual-sqlite", "faulty")];
const REJECTED: &str = "broken stores rejected: ";

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let watch = Stopwatch::start();
    let folder = shell::target_directory()?.join("conformance");
    fs::create_dir_all(&folder)?;
    let (targets, servers) = match &options.package {
        Some(path) => stores::of_package(path, options.url.as_deref(), &options.programs)?,
        None => stores::of_choice(options.store, options.url.as_deref(), &options.programs)?,
    };
    if options.mutants.mutants {
        let filter = options.filter.as_deref();
        return mutants::run(&targets, &servers, &folder, filter, &options.mutants, options.json);
    }
    let mut reports = Vec::new();
    for target in &targets {
        let path = folder.join(format!("{}.json", target.name));
        reports.push(on_store(target, &servers, &path, options.filter.as_deref())?);
    }
    drop(servers);
    // A store from elsewhere is judged by the kit as it is published, which was tested then.
    let ours = options.package.is_none() && options.filter.is_none();
    let broken = if ours { Some(broken_stores()?) } else { None };

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
        let levels: Vec<&Value> = reports.iter().map(|report| &report["level"]).collect();
        let line = json!({
            "stores": names,
            "levels": levels,
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
fn on_store(target: &Target, servers: &stores::Servers, path: &Path, filter: Option<&str>) -> Result<Value> {
    // An old report must not pass for a new one.
    let _ = fs::remove_file(path);
    let mut cargo = target.command(filter);
    cargo.env("CARGO_TERM_COLOR", "never").env("PUNCTUAL_CONFORMANCE_REPORT", path);
    cargo.envs(target.variables(servers)?);
    let mut tally = Tally::new(Show::Troubled);
    let status = shell::stream(&mut cargo, |line| tally.line(line))?;
    tally.close();
    let text = fs::read_to_string(path);
    let mut report = match &text {
        Ok(text) => serde_json::from_str(text)?,
        Err(_) => {
            println!("the kit wrote no report on {}", target.name);
            json!({"level": "none"})
        }
    };
    if target.is_ours() || report["store"].is_null() {
        // One harness may be run in more than one way.
        report["store"] = json!(target.name);
    }
    report["well"] = json!(status.success() && text.is_ok());
    Ok(report)
}

/// Whether the kit rejects all broken stores, and how many there are; `None` if a program did not say.
fn broken_stores() -> Result<(Verdict, Option<u64>)> {
    let mut all = Some(0);
    let mut good = true;
    for (package, test) in BROKEN {
        let mut cargo = shell::cargo(&["test", "--package", package, "--test", test, "--", "--nocapture"]);
        cargo.env("CARGO_TERM_COLOR", "never");
        let mut rejected: Option<u64> = None;
        let mut tally = Tally::new(Show::Troubled);
        let status = shell::stream(&mut cargo, |line| {
            if let Some((_, number)) = line.split_once(REJECTED) {
                rejected = number.trim().parse().ok();
            }
            tally.line(line);
        })?;
        tally.close();
        good &= status.success() && tally.all.passed > 0 && rejected != Some(0);
        all = all.zip(rejected).map(|(all, rejected)| all + rejected);
    }
    Ok((Verdict::of(good), all))
}

fn count(report: &Value, what: &str) -> u64 {
    report[what].as_u64().unwrap_or(0)
}

fn table(reports: &[Value]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    println!(
        "\n{:<12} {:<10} {:>6} {:>7} {:>7} {:>15}",
        "store", "level", "cases", "passed", "failed", "not applicable"
    );
    for report in reports {
        let line = |name: &str, level: &str, counts: &Value| {
            let [cases, passed, failed, not] =
                ["cases", "passed", "failed", "not_applicable"].map(|what| count(counts, what));
            println!("{name:<12} {level:<10} {cases:>6} {passed:>7} {failed:>7} {not:>15}");
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
