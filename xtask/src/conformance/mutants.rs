//! `cargo xtask conformance --mutants`: the kit on stores with one mistake in their SQL.

use std::fs;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::reasons::{Judged, Reasons};
use super::stores::{Servers, Target};
use crate::shell::{self, Result, Stopwatch, Verdict};

/// Tells a program of the kit to test its cases, and where to write what came of it.
const REPORT: &str = "PUNCTUAL_CONFORMANCE_MUTANTS";
const JOBS: &str = "PUNCTUAL_CONFORMANCE_MUTANTS_JOBS";
const MINUTES: &str = "PUNCTUAL_CONFORMANCE_MUTANTS_MINUTES";
const RESUME: &str = "PUNCTUAL_CONFORMANCE_MUTANTS_RESUME";

#[derive(Debug, Args)]
pub(crate) struct Testing {
    /// Put mistakes into the SQL of the store, one at a time, and expect the kit to notice each, or a line of
    /// `tests/conformance.mutants` to say why it cannot. Then the filter chooses statements by a part of their text.
    #[arg(long)]
    pub(super) mutants: bool,
    /// How many mistakes are tried at once.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "mutants")]
    jobs: u32,
    /// Begin no further mistake after so many minutes.
    #[arg(long, value_name = "N", default_value_t = 60, requires = "mutants")]
    minutes: u32,
    /// Go on where the last run ended: try again only what no case noticed, and only if other cases run the statement now.
    #[arg(long, requires = "mutants")]
    resume: bool,
}

pub(super) fn run(
    targets: &[Target],
    servers: &Servers,
    folder: &Path,
    filter: Option<&str>,
    options: &Testing,
    json: bool,
) -> Result<Verdict> {
    let watch = Stopwatch::start();
    let mut reports = Vec::new();
    for target in targets {
        let path = folder.join(format!("{}-mutants.json", target.name));
        // An old report must not pass for a new one.
        let _ = fs::remove_file(&path);
        let mut cargo = target.command(filter);
        cargo.env("RUST_BACKTRACE", "0").env(REPORT, &path).envs(target.variables(servers)?);
        cargo.env(JOBS, options.jobs.to_string()).env(MINUTES, options.minutes.to_string());
        if options.resume {
            cargo.env(RESUME, "1");
        }
        let _ = shell::run(&mut cargo)?;
        let text = fs::read_to_string(&path)
            .map_err(|_| format!("the kit wrote no report on the mistakes in {}", target.name))?;
        let mut report: Value = serde_json::from_str(&text)?;
        report["store"] = json!(target.name);
        let judged = Reasons::of(&target.reasons())?.judge(&report, filter.is_none());
        reports.push((report, judged));
    }
    table(&reports);
    for (report, judged) in &reports {
        details(report, judged);
    }
    println!("\n{:.1} s", watch.seconds());
    let stores: Vec<Value> = reports.iter().map(|(report, judged)| summary(report, judged)).collect();
    if json {
        println!("{}", json!({"stores": stores, "seconds": watch.seconds()}));
    }
    let is_good = |(report, judged): &(Value, Judged)| {
        judged.unexplained.is_empty() && judged.idle.is_empty() && report["not_tried"] == 0
    };
    Ok(Verdict::of(reports.iter().all(is_good)))
}

fn table(reports: &[(Value, Judged)]) {
    println!(
        "\n{:<14} {:>10} {:>8} {:>8} {:>14} {:>14} {:>9}",
        "store", "statements", "mistakes", "noticed", "with a reason", "without one", "not tried"
    );
    for (report, judged) in reports {
        println!(
            "{:<14} {:>10} {:>8} {:>8} {:>14} {:>14} {:>9}",
            report["store"].as_str().unwrap_or_default(),
            report["statements"].as_array().map_or(0, Vec::len),
            report["mutants"],
            report["noticed"],
            judged.explained,
            judged.unexplained.len(),
            report["not_tried"],
        );
    }
}

fn details(report: &Value, judged: &Judged) {
    let store = report["store"].as_str().unwrap_or_default();
    for one in judged.unexplained.iter().map(|n| &report["survivors"][n]) {
        let text = |name: &str| one[name].as_str().unwrap_or_default();
        let statement: Vec<&str> = text("statement").split_whitespace().collect();
        println!("\n{store} did not notice, in {} cases: {}", one["cases"], text("mistake"));
        println!("  {}", statement.join(" "));
    }
    for line in &judged.idle {
        println!("\n{store} has a reason for a mistake that is noticed or is not made, {line}");
    }
}

fn summary(report: &Value, judged: &Judged) -> Value {
    let unexplained: Vec<&Value> = judged.unexplained.iter().map(|n| &report["survivors"][n]).collect();
    json!({
        "store": report["store"],
        "statements": report["statements"].as_array().map_or(0, Vec::len),
        "mutants": report["mutants"],
        "noticed": report["noticed"],
        "explained": judged.explained,
        "unexplained": unexplained,
        "idle_reasons": judged.idle,
        "not_tried": report["not_tried"],
    })
}
