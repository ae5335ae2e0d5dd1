//! `cargo xtask test`: every test of the workspace, by plain `cargo test`.
//!
//! It needs the Rust toolchain and a C compiler. Servers that tests talk to are started for them, and only for those
//! packages that need one. That nothing ran is a failure: a green light over no tests says nothing.

use clap::Args;
use serde_json::json;

use crate::db;
use crate::shell::{self, Result, Stopwatch, Verdict};
use crate::tally::{Counts, Show, Tally};

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Only tests of these packages.
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
    /// Show the output of test programs that are well, too.
    #[arg(short, long)]
    verbose: bool,
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    programs: db::Programs,
    /// Only tests whose name contains this.
    filter: Option<String>,
}

/// What came of the tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) counts: Counts,
    pub(crate) verdict: Verdict,
    pub(crate) seconds: f64,
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let outcome = tests(options)?;
    let Outcome { counts, verdict, seconds } = outcome;
    if options.json {
        let Counts { passed, failed, ignored } = counts;
        println!("{}", json!({"passed": passed, "failed": failed, "ignored": ignored, "seconds": seconds}));
    }
    Ok(verdict)
}

/// Runs the tests and prints what came of them.
pub(crate) fn tests(options: &Options) -> Result<Outcome> {
    let mut arguments = vec!["test", "--no-fail-fast", "--message-format", "json-render-diagnostics"];
    if options.package.is_empty() {
        arguments.push("--workspace");
    }
    for package in &options.package {
        arguments.extend(["--package", package]);
    }
    arguments.extend(options.filter.iter().flat_map(|filter| ["--", filter.as_str()]));
    let watch = Stopwatch::start();
    let servers = db::running(&db::needs_of(&options.package)?, &options.programs, db::Outlives::Server)?;
    let mut tally = Tally::new(if options.verbose { Show::All } else { Show::Troubled });
    let mut cargo = shell::cargo(&arguments);
    cargo.env("CARGO_TERM_COLOR", "never").envs(servers.variables());
    let status = shell::stream(&mut cargo, |line| tally.line(line))?;
    tally.close();

    let seconds = watch.seconds();
    println!();
    for name in &tally.troubled {
        println!("failed: {name}");
    }
    let Counts { passed, failed, ignored } = tally.all;
    if passed + failed == 0 {
        println!("no test ran, which proves nothing: the build failed, or no name fits the filter");
    } else if !status.success() && failed == 0 {
        println!("cargo test failed although no test did; its own words are above");
    }
    println!("{} test programs, {ignored} tests ignored, {seconds:.1} s", tally.programs);
    println!("{passed} passed, {failed} failed");
    let good = status.success() && failed == 0 && passed > 0;
    Ok(Outcome { counts: tally.all, verdict: Verdict::of(good), seconds })
}
