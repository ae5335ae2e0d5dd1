//! `cargo xtask oracle`: our Quartz-compatible mode against the answers that Quartz itself gave.
//!
//! The files are JSON Lines. A case asks one or more questions; an answer may be marked as a defect of Quartz and is
//! then counted apart. Of the unmarked ones every case must be equal, or differ for a reason that a rule here proves:
//! the command fails otherwise. Figures are given in cases, which differ if anything in them does, and in single
//! answers; the table says of each file whether at most one case of a hundred differs.
//!
//! Rules of triggers and rules of zones are two things. The oracle is a few releases of zone data old, and governments
//! have changed their minds since; so our rules are first compared on the oracle's own zone data, and then once more on
//! the data that this build has, where each difference must be one that the older data explain.

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
    let mut good = true;
    let mut texts = Vec::new();
    for path in &args.paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name == "anomalies.jsonl" {
            println!("{name}: skipped; it holds what Quartz loops or throws on, for reading");
            continue;
        }
        match std::fs::read_to_string(path) {
            Ok(text) => texts.push((name, text)),
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                good = false;
            }
        }
    }
    let alike = table(&texts, Zones::Oracle);
    good &= alike.1.values().all(|file| file["within_a_percent"] == true);
    let bundled = table(&texts, Zones::Bundled);
    good &= alike.0.is_good() && bundled.0.is_good();
    for unexplained in alike.0.shown().chain(bundled.0.shown()) {
        println!("{unexplained}");
    }
    if args.json {
        let figures = |(total, files): (Report, serde_json::Map<String, Value>), zones: Zones| {
            let mut object = total.json();
            object["zone_data"] = zones.version().into();
            object["files"] = Value::Object(files);
            object
        };
        let mut object = figures(alike, Zones::Oracle);
        object["with_bundled_zone_data"] = figures(bundled, Zones::Bundled);
        println!("{object}");
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compares all files on one release of zone data, prints the figures, and answers them for all and for each file.
fn table(texts: &[(String, String)], zones: Zones) -> (Report, serde_json::Map<String, Value>) {
    let whose = match zones {
        Zones::Oracle => "of the oracle",
        Zones::Bundled => "of this build",
    };
    println!("\nWith the zone data {whose}, {}", zones.version());
    println!("{}", Report::head());
    let mut total = Report::default();
    let mut files = serde_json::Map::new();
    for (name, text) in texts {
        let report = compare(text, zones);
        println!("{}", report.row(name));
        files.insert(name.clone(), report.json());
        total.add(report);
    }
    println!("{}", total.row("all"));
    for reason in total.reasons() {
        println!("{reason}");
    }
    (total, files)
}

fn compare(text: &str, zones: Zones) -> Report {
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
        let verdict = judge(&case, &answers);
        report.count(&case, &answers, verdict);
    }
    report
}

fn judge(case: &Value, answers: &[Answer]) -> Verdict {
    let mut unmarked = answers.iter().filter(|answer| !answer.marked).peekable();
    if unmarked.peek().is_none() {
        return Verdict::Marked;
    }
    let different: Vec<Answer> = unmarked.filter(|answer| !answer.is_same()).cloned().collect();
    if different.is_empty() {
        return Verdict::Equal;
    }
    let with_old_data = answer::all(case, &Zones::Oracle).unwrap_or_default();
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
    if answer.question != "before" || case["trigger"]["type"] != "daily_time_interval" {
        return false;
    }
    let mut without = answer.expected.clone();
    let Some(state) = without.as_object_mut() else { return false };
    let next = state.insert("next_fire_time".to_owned(), Value::Null);
    state.insert("may_fire_again".to_owned(), false.into());
    let next = next.and_then(|next| define::instant(&next).ok());
    let end = define::instant(&case["trigger"]["end"]).ok();
    next.zip(end).is_some_and(|(next, end)| next > end) && answer.got == without
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Nine o'clock in Casablanca, which is 08:00 UTC by the older rules and 09:00 by the newer ones.
    const MOROCCO: &str = r#"{"kind":"next","expr":"0 0 9 1 6 ? 2030","tz":"Africa/Casablanca","valid":true,
        "after":"2029-01-01T00:00:00.000Z","next":["2030-06-01T08:00:00.000Z"],"ended":true}"#;
    const SIMPLE: &str = r#"{"kind":"trigger","calendar":null,
        "trigger":{"type":"simple","start":"2026-01-01T00:00:00.000Z","end":null,"repeat_count":1,"repeat_interval_ms":1000},
        "first":"2026-01-01T00:00:00.000Z","fires":["2026-01-01T00:00:00.000Z","2026-01-01T00:00:01.000Z"],
        "ended":true,"next_fire_time":null,"may_fire_again":false,"times_triggered":2,
        "final_fire_time":"2026-01-01T00:00:01.000Z",
        "fire_time_after":[{"after":"2026-01-01T00:00:00.500Z","next":"2026-01-01T00:00:01.000Z"}]}"#;

    fn figures(cases: &[&str]) -> Value {
        let lines: Vec<String> = cases.iter().map(|case| case.replace('\n', " ")).collect();
        compare(&lines.join("\n"), Zones::Bundled).json()
    }

    #[test]
    fn what_is_equal_is_counted_as_equal() {
        let figures = figures(&[SIMPLE]);
        assert_eq!(figures["cases"], 1);
        assert_eq!(figures["equal"], 1);
        // One each, but two in the list of fires.
        assert_eq!(figures["answers"], 9);
        assert_eq!(figures["deviating_answers"], 0);
        assert_eq!(figures["within_a_percent"], true);
    }

    #[test]
    fn a_forged_answer_is_not_explained() {
        for (right, wrong) in [
            (r#""times_triggered":2"#, r#""times_triggered":3"#),
            (r#""ended":true"#, r#""ended":false"#),
            (r#"500Z","next":"2026-01-01T00:00:01"#, r#"500Z","next":"2026-01-01T00:00:02"#),
            (r#""type":"simple""#, r#""type":"complex""#),
        ] {
            assert_eq!(figures(&[&SIMPLE.replace(right, wrong)])["unexplained"], 1, "{wrong}");
        }
        assert_eq!(figures(&["not JSON"])["unexplained"], 1);
        assert!(!compare("not JSON", Zones::Bundled).is_good());
    }

    #[test]
    fn lists_count_place_by_place() {
        let places = |expected: Value, got: Value| {
            let places = Answer { question: "fires".to_owned(), expected, got, marked: false }.places();
            (places.all, places.different)
        };
        assert_eq!(places(json!([]), json!([])), (1, 0));
        assert_eq!(places(json!([1, 2, 3]), json!([1, 2, 3])), (3, 0));
        assert_eq!(places(json!([1, 2, 3]), json!([1, 5, 3])), (3, 1));
        // One that is missing moves all after it.
        assert_eq!(places(json!([1, 2, 3]), json!([2, 3])), (3, 3));
        assert_eq!(places(json!([]), json!([1, 2])), (2, 2));
        assert_eq!(places(json!([1, 2]), json!("refused")), (2, 2));
        assert_eq!(places(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3})), (1, 1));
    }

    #[test]
    fn a_marked_answer_decides_nothing() {
        let marked = |mark: &str| {
            let wrong = SIMPLE.replace(r#""times_triggered":2"#, r#""times_triggered":3"#);
            figures(&[&wrong.replacen('{', &format!(r#"{{"{mark}":"code: reason","#), 1)])
        };
        assert_eq!(marked("quartz_bug")["unexplained"], 0);
        assert_eq!(marked("quartz_bug")["marked_different"], 1);
        assert_eq!(marked("quartz_bug_times_triggered")["equal"], 1);
        assert_eq!(marked("quartz_bug_ended")["unexplained"], 1);
    }

    #[test]
    fn older_zone_data_explain_only_what_they_answer_alike() {
        let new = figures(&[MOROCCO]);
        assert_eq!(new["deviations"]["zone-data"], 1);
        assert_eq!((&new["answers"], &new["deviating_answers"]), (&2.into(), &1.into()));
        assert_eq!(new["deviating_answers_by_reason"]["zone-data"], 1);
        assert_eq!(new["within_a_percent"], false);
        let wrong = MOROCCO.replace("T08:00", "T07:00");
        assert_eq!(figures(&[&wrong])["unexplained"], 1);
        let old = compare(&MOROCCO.replace('\n', " "), Zones::Oracle).json();
        assert_eq!(old["equal"], 1);
    }
}
