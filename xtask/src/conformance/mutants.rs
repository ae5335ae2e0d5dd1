//! `cargo xtask conformance --mutants`: the kit on stores with one mistake in their SQL.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::stores::{Servers, Target};
use crate::shell::{self, Result, Stopwatch, Verdict};

/// Tells a program of the kit to test its cases, and where to write what came of it.
const MUTANTS: &str = "PUNCTUAL_CONFORMANCE_MUTANTS";

pub(super) fn run(
    targets: &[Target],
    servers: &Servers,
    folder: &Path,
    filter: Option<&str>,
    json: bool,
) -> Result<Verdict> {
    let watch = Stopwatch::start();
    let mut reports = Vec::new();
    for target in targets {
        let path = folder.join(format!("{}-mutants.json", target.name));
        // An old report must not pass for a new one.
        let _ = fs::remove_file(&path);
        let mut cargo = target.command(filter);
        cargo.env("RUST_BACKTRACE", "0").env(MUTANTS, &path).envs(target.variables(servers)?);
        let _ = shell::run(&mut cargo)?;
        let text = fs::read_to_string(&path)
            .map_err(|_| format!("the kit wrote no report on the mistakes in {}", target.name))?;
        let mut report: Value = serde_json::from_str(&text)?;
        report["store"] = json!(target.name);
        reports.push(report);
    }
    let mut survivors = 0;
    println!("{:<14} {:>10} {:>8} {:>8} {:>12}", "store", "statements", "mistakes", "noticed", "not noticed");
    for report in &reports {
        let list = report["survivors"].as_array().map_or(&[][..], Vec::as_slice);
        survivors += list.len();
        println!(
            "{:<14} {:>10} {:>8} {:>8} {:>12}",
            report["store"].as_str().unwrap_or_default(),
            report["statements"],
            report["mutants"],
            report["noticed"],
            list.len()
        );
    }
    for report in &reports {
        for one in report["survivors"].as_array().into_iter().flatten() {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            let statement: Vec<&str> = text("statement").split_whitespace().collect();
            println!("\n{} did not notice, in {} cases: {}", report["store"], one["cases"], text("mistake"));
            println!("  {}", statement.join(" "));
        }
    }
    println!("\n{:.1} s", watch.seconds());
    if json {
        let stores: Vec<Value> = reports
            .iter()
            .map(|report| {
                let mut report = report.clone();
                if let Some(object) = report.as_object_mut() {
                    object.remove("noticed_by");
                }
                report
            })
            .collect();
        println!("{}", json!({"stores": stores, "survivors": survivors, "seconds": watch.seconds()}));
    }
    Ok(Verdict::of(survivors == 0))
}
