//! `cargo xtask oracle`: our Quartz-compatible mode against the answers that Quartz itself gave.
//!
//! The files are JSON Lines. A case asks one or more questions; an answer may be marked as a defect of Quartz and is
//! then counted apart. Of the unmarked ones every case must be equal, or differ for a reason that a rule here proves.

mod answer;
mod define;
mod report;
mod zones;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use self::answer::Answer;
use self::report::{Report, Unexplained};
use self::zones::Zones;

/// Compare with the answers of Quartz.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files in JSON Lines. `anomalies.jsonl` is for reading, and is passed over.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Print the figures as one JSON object at the end.
    #[arg(long)]
    json: bool,
    /// Use the zone data that the oracle used (2025a) from the start, so that only our rules are compared.
    #[arg(long)]
    old_zones: bool,
}

/// Why a case differs although no answer of it is marked. Each has its chapter in `docs/quartz-deviations.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// The state before a misfire holds a fire time of a daily trigger after its end. We have none there.
    EndIgnored,
    /// The zone's rules have changed since the oracle was asked: with its data we answer the same.
    ZoneData,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::EndIgnored => "end-ignored",
            Self::ZoneData => "zone-data",
        }
    }
}

/// What became of the unmarked answers of a case.
enum Verdict {
    /// All are marked.
    Marked,
    Equal,
    Deviates(Reason),
    Unexplained(Vec<Answer>),
}

/// Runs the comparison and prints it.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut total = Report::default();
    let mut good = true;
    let mut files = serde_json::Map::new();
    for path in &args.paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name == "anomalies.jsonl" {
            println!("{name}: skipped; it holds what Quartz loops or throws on, for reading");
            continue;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let report = compare(&text, args.old_zones);
                println!("{name}: {report}");
                files.insert(name, report.json());
                total.add(report);
            }
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                good = false;
            }
        }
    }
    for unexplained in total.shown() {
        println!("{unexplained}");
    }
    if args.json {
        let mut object = total.json();
        object["files"] = Value::Object(files);
        object["zone_data"] = Zones::bundled(args.old_zones).version().into();
        object["oracle_zone_data"] = Zones::of_the_oracle().version().into();
        println!("{object}");
    } else {
        println!("all: {total}");
    }
    if good && total.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(text: &str, old_zones: bool) -> Report {
    let zones = Zones::bundled(old_zones);
    let mut report = Report::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let case = match serde_json::from_str::<Value>(line) {
            Ok(case) => case,
            Err(error) => {
                report.unexplained(Unexplained::unreadable(line, &error.to_string()));
                continue;
            }
        };
        let answers = match answer::all(&case, &zones) {
            Ok(answers) => answers,
            Err(error) => {
                report.unexplained(Unexplained::unreadable(line, &error));
                continue;
            }
        };
        for answer in &answers {
            report.count(answer);
        }
        match judge(&case, answers) {
            Verdict::Marked => report.all_marked += 1,
            Verdict::Equal => report.equal += 1,
            Verdict::Deviates(reason) => *report.deviations.entry(reason.as_str()).or_default() += 1,
            Verdict::Unexplained(answers) => report.unexplained(Unexplained::new(&case, &answers)),
        }
    }
    report
}

fn judge(case: &Value, answers: Vec<Answer>) -> Verdict {
    let mut unmarked = answers.into_iter().filter(|answer| !answer.marked).peekable();
    if unmarked.peek().is_none() {
        return Verdict::Marked;
    }
    let different: Vec<Answer> = unmarked.filter(|answer| !answer.is_same()).collect();
    if different.is_empty() {
        return Verdict::Equal;
    }
    let with_old_data = answer::all(case, &Zones::of_the_oracle()).unwrap_or_default();
    let same_then = |answer: &Answer| {
        with_old_data.iter().any(|old| old.question == answer.question && !old.marked && old.is_same())
    };
    if different.iter().all(same_then) {
        Verdict::Deviates(Reason::ZoneData)
    } else if different.iter().all(|answer| is_after_the_end(case, answer)) {
        Verdict::Deviates(Reason::EndIgnored)
    } else {
        Verdict::Unexplained(different)
    }
}

/// Whether Quartz names a fire time after the inclusive end of a daily trigger, and we name none.
fn is_after_the_end(case: &Value, answer: &Answer) -> bool {
    let (trigger, next) = (&case["trigger"], &answer.expected["next_fire_time"]);
    let mut without = answer.expected.clone();
    without["next_fire_time"] = Value::Null;
    without["may_fire_again"] = false.into();
    let after_end = define::instant(next).ok().zip(define::instant(&trigger["end"]).ok());
    answer.question == "before"
        && trigger["type"] == "daily_time_interval"
        && after_end.is_some_and(|(next, end)| next > end)
        && answer.got == without
}
