//! `cargo xtask evidence`: what was run, how long, and what it found, as a chapter of the book.
//!
//! `evidence run` runs another command of this program with `--json` and keeps its figures under `docs/evidence/`;
//! `evidence page` writes the chapter from what is kept. Nobody types a figure. `evidence status` says of which of it the
//! code is still that of the run.

mod benchmarks;
mod simulations;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::shell::{self, Result, Verdict};

/// Where the chapter is.
pub(crate) const CHAPTER: &str = "docs/evidence.md";
/// Where the figures are, one file a command.
pub(crate) const RECORDS: &str = "docs/evidence/";
/// What the runs have found, written by hand.
pub(crate) const FOUND: &str = "found.json";

/// The commands whose figures are kept, in the order of the chapter, and what each shows.
const COMMANDS: &[(&str, &str, &str)] = &[
    (
        "model",
        "The model",
        "every state of a small cluster, and the mistakes that it must find; [more](model.md)",
    ),
    ("sim", "Simulation", "real nodes, virtual time and faults, all from a seed; [more](simulation.md)"),
    ("chaos", "Chaos", "real processes on real databases, killed, frozen and cut off; [more](chaos.md)"),
    (
        "migrate-race",
        "Migration races",
        "many processes open one empty database at once; [more](migrations.md)",
    ),
    (
        "conformance",
        "Conformance",
        "the contract on every store, and mistakes in their SQL; [more](stores.md)",
    ),
    (
        "oracle",
        "Quartz as the oracle",
        "schedules compared with what Quartz answered; [more](quartz-deviations.md)",
    ),
    (BENCH, "Benchmarks", "what things cost"),
];

/// The code that a command's figures are about, and what it is judged by.
const CODE: &[(&str, &[&str])] = &[
    ("model", &["core", "sim"]),
    ("sim", &["core", "runtime", "sqlite", "checker", "sim", "../migrations"]),
    (
        "chaos",
        &[
            "core",
            "runtime",
            "sqlite",
            "postgres",
            "mysql",
            "checker",
            "punctual",
            "cli",
            "conformance/src/faulty",
            "../migrations",
            "../tests/src",
        ],
    ),
    ("migrate-race", &["core", "sqlite", "postgres", "mysql", "../migrations", "../tests/src"]),
    ("conformance", &["core", "sqlite", "postgres", "mysql", "conformance", "../migrations"]),
    ("oracle", &["core", "../xtask/src/oracle"]),
    (BENCH, &["core", "runtime", "sqlite", "postgres", "mysql", "bench", "../migrations"]),
];

/// The command whose records are many, and are shown together.
const SIM: &str = "sim";

/// The command whose figures have a chapter of their own.
const BENCH: &str = "bench";

const INTRODUCTION: &str = "# Evidence

<!-- Written by `cargo xtask evidence` from the figures in docs/evidence; run the commands again instead of editing. -->

What was run, on which commit, and what came of it.
Each line can be repeated by its command; those that draw anything at random take their seed from it.
";

#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run a command of `cargo xtask` with --json, keep its figures and write the chapter.
    Run {
        /// The command: `sim --seeds 2000 --hours 2`.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Write the chapter from the figures that are kept.
    Page,
    /// Say of each kept run whether the code that it is about has changed since.
    Status {
        /// Print one object for programs as the last line.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn run(options: &Options) -> Result<Verdict> {
    let verdict = match &options.what {
        What::Page => Verdict::Good,
        What::Run { command } => keep(command)?,
        What::Status { json } => return status(*json),
    };
    let root = shell::root();
    let files = kept()?;
    for (path, text) in pages(files.iter().map(|(path, text)| (path.as_str(), text.as_str())))? {
        fs::write(root.join(&path), text)?;
        println!("{path} is written");
    }
    Ok(verdict)
}

/// The files under the records' folder: their paths from the root, and what is in them.
fn kept() -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(shell::root().join(RECORDS))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((format!("{RECORDS}{name}"), fs::read_to_string(path)?));
    }
    files.sort();
    Ok(files)
}

/// What has become of the code of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    Same,
    Changed,
    /// The run was not of a commit, or of one that is not here.
    Unknown,
}

impl Since {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same code",
            Self::Changed => "changed since",
            Self::Unknown => "not known",
        }
    }
}

fn status(is_json: bool) -> Result<Verdict> {
    let (mut of_record, mut lines) = (serde_json::Map::new(), Vec::new());
    for (path, text) in kept()?.iter().filter(|(path, _)| !path.ends_with(FOUND)) {
        let record: Value = serde_json::from_str(text).map_err(|error| format!("{path}: {error}"))?;
        let commit = record["commit"].as_str().unwrap_or_default();
        let since = since(record["command"][0].as_str().unwrap_or_default(), commit);
        let name = path.trim_start_matches(RECORDS).trim_end_matches(".json").to_owned();
        let end = if record["passed"] == true { "passed" } else { "failed" };
        lines.push((name.clone(), commit.to_owned(), end, since));
        of_record.insert(name, json!({"commit": commit, "passed": record["passed"], "code": since.as_str()}));
    }
    let width =
        |of: fn(&(String, String, &str, Since)) -> usize| lines.iter().map(of).max().unwrap_or_default();
    let (name, commit) = (width(|line| line.0.len()), width(|line| line.1.len()));
    for (record, of, end, since) in &lines {
        println!("{record:<name$}  {of:<commit$}  {end}  {}", since.as_str());
    }
    if is_json {
        println!("{}", Value::from(of_record));
    }
    Ok(Verdict::Good)
}

/// Whether the code of a command is what it was at a commit, as the working tree has it.
fn since(command: &str, commit: &str) -> Since {
    let Some((_, crates)) = CODE.iter().find(|(name, _)| *name == command) else { return Since::Unknown };
    if commit.is_empty() || commit.ends_with("-dirty") {
        return Since::Unknown;
    }
    let mut git = Command::new("git");
    git.args(["diff", "--quiet", commit, "--", "Cargo.lock"]).current_dir(shell::root());
    git.args(crates.iter().map(|name| format!("crates/{name}")));
    // Only of the kit the tests themselves are run.
    if command != "conformance" {
        git.arg(":(exclude,glob)crates/*/tests/**");
    }
    match git.stderr(Stdio::null()).status().ok().and_then(|status| status.code()) {
        Some(0) => Since::Same,
        Some(1) => Since::Changed,
        _ => Since::Unknown,
    }
}

/// Runs a command, and keeps its figures whether or not it was content with them.
#[expect(clippy::disallowed_methods, reason = "the day of a run is for people")]
fn keep(command: &[String]) -> Result<Verdict> {
    let words: Vec<&str> = command.iter().map(String::as_str).filter(|word| *word != "--json").collect();
    let first = words.first().copied().unwrap_or_default();
    if !COMMANDS.iter().any(|(name, ..)| *name == first) {
        let known: Vec<&str> = COMMANDS.iter().map(|(name, ..)| *name).collect();
        return Err(format!("no figures are kept of {first:?}; only of {}", known.join(", ")).into());
    }
    let commit = commit()?;
    let begun = DateTime::<Utc>::from(SystemTime::now());
    let mut this = shell::this()?;
    this.args(&words).arg("--json").current_dir(shell::root());
    let mut last = String::new();
    let status = shell::stream(&mut this, |line| {
        println!("{line}");
        if line.starts_with('{') {
            line.clone_into(&mut last);
        }
    })?;
    let figures: Value = serde_json::from_str(&last).map_err(|_| format!("{first} printed no figures"))?;
    let record = json!({
        "command": told(&words),
        "begun": begun.to_rfc3339_opts(SecondsFormat::Secs, true),
        "commit": commit,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "passed": status.success(),
        "figures": figures,
    });
    let folder = shell::root().join(RECORDS);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(file_name(&words)), format!("{record:#}\n"))?;
    Ok(Verdict::of(status.success()))
}

/// The commit that is checked out, marked if anything was changed since. What other runs have left beside it, and the
/// chapters that were made of that, are no such change.
fn commit() -> Result<String> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        shell::capture(git.args(arguments).current_dir(shell::root()))
    };
    let head = git(&["rev-parse", "--short=10", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--", ".", ":!docs"])?;
    let mark = if changed.trim().is_empty() { "" } else { "-dirty" };
    Ok(format!("{}{mark}", head.trim()))
}

/// The options that say where something is on the machine of a run, which is nobody else's business.
const PLACES: [(&str, &str); 4] =
    [("--harness", "DIR"), ("--work", "DIR"), ("--folder", "DIR"), ("--url", "URL")];

/// A command as others would give it.
fn told(words: &[&str]) -> Vec<String> {
    let place = |word: &str| PLACES.iter().find(|(name, _)| *name == word).map(|(_, value)| *value);
    let before = std::iter::once(None).chain(words.iter().map(|word| place(word)));
    words.iter().zip(before).map(|(word, place)| place.unwrap_or(word).to_owned()).collect()
}

/// One file for each thing that is run: another length or seed of the same, and another place for it, takes its place;
/// another range of seeds is kept beside it.
fn file_name(words: &[&str]) -> String {
    let mut parts = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.strip_prefix("--") {
            Some(
                "seeds" | "seed" | "hours" | "minutes" | "rounds" | "processes" | "runs" | "seconds"
                | "warm-up" | "harness" | "work" | "folder" | "url",
            ) => {
                words.next();
            }
            Some(name) => parts.push(name),
            None => parts.push(word),
        }
    }
    let text: String =
        parts.join("-").chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}.json", text.trim_matches('-'))
}

/// The files that the contents of the records make, by path: the chapter, that of the benchmarks, and plots.
///
/// # Errors
/// If a record is no JSON.
pub(crate) fn pages<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Result<BTreeMap<String, String>> {
    let mut of_command: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut found = Vec::new();
    for (path, text) in files {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("{path}: {error}"))?;
        if Path::new(path).ends_with(FOUND) {
            found = value.as_array().cloned().unwrap_or_default();
        } else {
            let command = value["command"][0].as_str().unwrap_or_default().to_owned();
            of_command.entry(command).or_default().push(value);
        }
    }
    let mut pages = benchmarks::files(of_command.get(BENCH).map_or(&[], Vec::as_slice));
    let mut text = INTRODUCTION.to_owned();
    for (command, title, about) in COMMANDS {
        if *command == BENCH {
            let _ = write!(
                text,
                "\n## {title}\n\n`cargo xtask {command}`: {about}; [their figures](performance.md).\n"
            );
            continue;
        }
        let Some(records) = of_command.get(*command) else { continue };
        let _ = write!(text, "\n## {title}\n\n`cargo xtask {command}`: {about}.\n");
        if *command == SIM {
            simulations::section(&mut text, records);
            continue;
        }
        for record in records {
            section(&mut text, record);
        }
    }
    if !found.is_empty() {
        text.push_str("\n## What was found\n\nEach of these was mended at its cause, and has the test that is named.\n\n");
        text.push_str("| found by | what | test |\n|---|---|---|\n");
        for one in &found {
            let word = |name: &str| one[name].as_str().unwrap_or_default();
            let _ = writeln!(text, "| {} | {} | `{}` |", word("by"), word("what"), word("test"));
        }
    }
    pages.insert(CHAPTER.to_owned(), text);
    Ok(pages)
}

/// The tests that the list of findings names, and that are nowhere in these sources.
pub(crate) fn missing_tests<'a>(found: &str, sources: impl Iterator<Item = &'a str> + Clone) -> Vec<String> {
    let list: Value = serde_json::from_str(found).unwrap_or_default();
    let named = list.as_array().into_iter().flatten().map(|one| one["test"].as_str().unwrap_or_default());
    named
        .filter(|test| {
            let definition = format!("fn {test}(");
            test.is_empty() || !sources.clone().any(|source| source.contains(&definition))
        })
        .map(str::to_owned)
        .collect()
}

fn section(text: &mut String, record: &Value) {
    heading(text, record, "");
    text.push_str("\n| | |\n|---|---:|\n");
    for (name, value) in record["figures"].as_object().into_iter().flatten() {
        if let Some(value) = figure(value) {
            let _ = writeln!(text, "| {} | {value} |", name.replace('_', " "));
        }
    }
}

/// What was run, when, on what, and whether it was content; as a heading, if it is given the marks of one.
fn heading(text: &mut String, record: &Value, marks: &str) {
    let words: Vec<&str> =
        record["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let word = |name: &str| record[name].as_str().unwrap_or_default();
    let end = if record["passed"] == true { "passed" } else { "**failed**" };
    let command = words.join(" ");
    let command = if marks.is_empty() {
        format!("`cargo xtask {command}`: {end}; b")
    } else {
        format!("{marks} `cargo xtask {command}`\n\nIt {end}; b")
    };
    let _ = writeln!(
        text,
        "\n{command}egun {}, commit {}, {} cores.",
        word("begun"),
        word("commit"),
        record["cores"]
    );
}

/// A figure for people; none for what is only for programs.
fn figure(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.to_owned()),
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(match number.as_i64() {
            Some(whole) => grouped(whole),
            None => format!("{:.2}", number.as_f64().unwrap_or_default()),
        }),
        Value::Array(list) => {
            let words: Option<Vec<String>> = list
                .iter()
                .map(|one| if one.is_object() || one.is_array() { None } else { figure(one) })
                .collect();
            words.filter(|words| !words.is_empty()).map(|words| words.join(", "))
        }
        Value::Object(map) => {
            let words: Option<Vec<String>> = map
                .iter()
                .map(|(name, one)| {
                    let value = if one.is_object() || one.is_array() { None } else { figure(one) }?;
                    Some(format!("{} {value}", name.replace('_', " ")))
                })
                .collect();
            words.filter(|words| !words.is_empty()).map(|words| words.join(", "))
        }
    }
}

fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_code() {
        let root = shell::root();
        for (command, ..) in COMMANDS {
            let (_, crates) = CODE.iter().find(|(name, _)| name == command).expect("what it is about");
            for name in *crates {
                assert!(root.join("crates").join(name).is_dir(), "{command}: {name}");
            }
        }
    }

    #[test]
    fn runs_of_no_commit_may_be_of_any_code() {
        assert_eq!(since("sim", "757813b92d-dirty"), Since::Unknown);
        assert_eq!(since("sim", "not-a-commit"), Since::Unknown);
        assert_eq!(since("dance", "HEAD"), Since::Unknown);
    }

    #[test]
    fn a_longer_run_takes_the_place_of_a_shorter_one() {
        assert_eq!(file_name(&["sim", "--seeds", "10", "--store", "sqlite"]), "sim-store-sqlite.json");
        assert_eq!(file_name(&["sim", "--store", "sqlite", "--hours", "2"]), "sim-store-sqlite.json");
        let range = ["sim", "--seeds", "500", "--from", "1500", "--store", "memory"];
        assert_eq!(file_name(&range), "sim-from-1500-store-memory.json");
        assert_eq!(file_name(&["model", "--mutants"]), "model-mutants.json");
        let peers = ["bench", "peers", "--harness", "/some/where", "--only", "fire", "--warm-up", "2"];
        assert_eq!(file_name(&peers), "bench-peers-only-fire.json");
        assert_eq!(told(&peers).join(" "), "bench peers --harness DIR --only fire --warm-up 2");
    }

    #[test]
    fn figures_are_for_people() {
        let pages = pages(
            [
                (
                    "docs/evidence/chaos.json",
                    r#"{"command":["chaos","--seed","2"],"begun":"2026-01-01T00:00:00Z","commit":"abc","cores":2,
                        "passed":true,"figures":{"seeds":2000,"faults":{"crash":12345},"rate":1.5,"slices":[{}]}}"#,
                ),
                ("docs/evidence/found.json", r#"[{"by":"sim","what":"a fault","test":"a_test"}]"#),
            ]
            .into_iter(),
        )
        .unwrap();
        let text = &pages[CHAPTER];
        for line in [
            "| seeds | 2,000 |",
            "| faults | crash 12,345 |",
            "| rate | 1.50 |",
            "| sim | a fault | `a_test` |",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.contains(
            "`cargo xtask chaos --seed 2`: passed; begun 2026-01-01T00:00:00Z, commit abc, 2 cores."
        ));
        assert!(!text.contains("slices"));
        assert!(super::pages([("docs/evidence/x.json", "{")].into_iter()).is_err());
    }

    #[test]
    fn only_known_commands_are_kept() {
        assert!(keep(&["tidy".to_owned()]).unwrap_err().to_string().contains("migrate-race"));
    }
}
