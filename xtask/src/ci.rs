//! `cargo xtask ci`: everything that a change must pass, in the order of how soon it says no.

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::shell::{self, Result, Stopwatch, Verdict};
use crate::{ends, test, tidy, tools};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave these steps out.
    #[arg(long, value_enum, value_delimiter = ',')]
    skip: Vec<Step>,
    /// Go on after a step that failed.
    #[arg(long)]
    keep_going: bool,
    /// Print the result as one JSON object in the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The layout of the source.
    Fmt,
    /// The rules of the house.
    Tidy,
    /// Lints, warnings refused.
    Clippy,
    /// The documentation of the API, warnings refused.
    Doc,
    /// All tests.
    Test,
    /// What would be published.
    Package,
    /// Licences, bans and sources of dependencies.
    Deny,
    /// The SQLite store at both ends of its range of rusqlite.
    Ends,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Good,
    Bad,
    LeftOut,
}

impl End {
    const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Bad => "FAILED",
            Self::LeftOut => "left out",
        }
    }
}

impl From<Verdict> for End {
    fn from(verdict: Verdict) -> Self {
        if verdict.is_good() { Self::Good } else { Self::Bad }
    }
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let whole = Stopwatch::start();
    let mut ends: Vec<(Step, End, f64)> = Vec::new();
    for step in Step::value_variants() {
        if options.skip.contains(step) {
            ends.push((*step, End::LeftOut, 0.0));
            continue;
        }
        println!("\n== {}", name(*step));
        let watch = Stopwatch::start();
        let end = take(*step)?;
        ends.push((*step, end, watch.seconds()));
        if end == End::Bad && !options.keep_going {
            break;
        }
    }
    println!();
    for (step, end, seconds) in &ends {
        println!("{:<8} {:<8} {seconds:>7.1} s", name(*step), end.word());
    }
    let good = ends.iter().all(|(_, end, _)| *end != End::Bad);
    if options.json {
        let steps: serde_json::Map<_, _> =
            ends.iter().map(|(step, end, _)| (name(*step), json!(end.word().to_lowercase()))).collect();
        println!("{}", json!({"good": good, "steps": steps, "seconds": whole.seconds()}));
    }
    Ok(Verdict::of(good))
}

fn name(step: Step) -> String {
    step.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn take(step: Step) -> Result<End> {
    let cargo = |arguments: &[&str]| shell::run(&mut shell::cargo(arguments)).map(End::from);
    match step {
        Step::Fmt => cargo(&["fmt", "--all", "--check"]),
        Step::Tidy => tidy::run(&tidy::Options::default()).map(End::from),
        Step::Clippy => cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Step::Doc => {
            let mut doc = shell::cargo(&["doc", "--workspace", "--no-deps"]);
            shell::run(doc.env("RUSTDOCFLAGS", "-D warnings")).map(End::from)
        }
        Step::Test => Ok(test::tests(&test::Options::default())?.verdict.into()),
        Step::Package => package(),
        Step::Deny => deny(),
        Step::Ends => ends::both().map(End::from),
    }
}

fn package() -> Result<End> {
    let packed = shell::run(&mut shell::cargo(&["package", "--workspace", "--no-verify", "--allow-dirty"]))?;
    if !packed.is_good() {
        return Ok(End::Bad);
    }
    // The migrations live outside of the crates that run them: without their own package they would be lost.
    let mut list = shell::cargo(&["package", "--list", "--allow-dirty", "--package", "punctual-migrations"]);
    let listed = shell::capture(&mut list)?;
    let (files, _) = tidy::paths(&shell::root());
    let mut end = End::Good;
    for file in
        files.iter().filter_map(|path| path.strip_prefix("migrations/")).filter(|path| path.ends_with(".sql"))
    {
        if !listed.lines().any(|line| line == file) {
            println!("migrations/{file} would not be published");
            end = End::Bad;
        }
    }
    Ok(end)
}

fn deny() -> Result<End> {
    let tool = tools::CARGO_DENY;
    match tool.installed() {
        None => {
            println!("left out: {} is not installed; {}", tool.name, tool.how_to_install());
            return Ok(End::LeftOut);
        }
        Some(version) if version != tool.version => {
            println!(
                "note: {} is {version}, checked with {}; {}",
                tool.name,
                tool.version,
                tool.how_to_install()
            );
        }
        Some(_) => {}
    }
    shell::run(&mut shell::cargo(&["deny", "check", "bans", "licenses", "sources"])).map(End::from)
}
