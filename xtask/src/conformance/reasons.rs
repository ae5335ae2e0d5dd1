//! Why no case notices a mistake: a file beside the test program, with one line for each such mistake.
//!
//! A line is `how the statement begins | the mistake | the reason`, or `how it begins … how it ends | …` for those that
//! begin alike. White space counts as one space, and `#` begins a comment.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::shell::Result;

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Reason {
    line: usize,
    statement: String,
    mistake: String,
    why: String,
}

/// The lines of one file.
#[derive(Debug, Default)]
pub(super) struct Reasons(Vec<Reason>);

/// What a run says of the lines: the reason of each mistake that nobody noticed, and the lines that are of no use.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) explained: usize,
    /// The places of survivors without a reason.
    pub(super) unexplained: Vec<usize>,
    /// Lines about a mistake that is noticed or is not made, as text for people.
    pub(super) idle: Vec<String>,
}

impl Reason {
    fn is_about(&self, statement: &str) -> bool {
        let (begin, end) = self.statement.split_once(" … ").unwrap_or((&self.statement, ""));
        statement.strip_prefix(begin).is_some_and(|rest| rest.ends_with(end))
    }
}

impl Reasons {
    /// The lines of a file; none if there is no file.
    pub(super) fn of(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Self::read(&text).map_err(|why| format!("{}, {why}", path.display()).into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let reasons = lines.map(|(number, line)| {
            let parts: Vec<String> = line.split(" | ").map(one_line).collect();
            match parts.as_slice() {
                [statement, mistake, why] if parts.iter().all(|part| !part.is_empty()) => Ok(Reason {
                    line: number,
                    statement: statement.clone(),
                    mistake: mistake.clone(),
                    why: why.clone(),
                }),
                _ => Err(format!("line {number} is not `statement | mistake | reason`")),
            }
        });
        reasons.collect::<Result<_, _>>().map(Self)
    }

    /// Compares the lines with a report. Lines about statements that were not looked at are left alone.
    pub(super) fn judge(&self, report: &Value, is_whole: bool) -> Judged {
        let list = |name: &str| report[name].as_array().map_or(&[][..], Vec::as_slice);
        let text = |value: &Value| one_line(value.as_str().unwrap_or_default());
        let mut judged = Judged::default();
        let mut used = vec![false; self.0.len()];
        for (n, survivor) in list("survivors").iter().enumerate() {
            let (statement, mistake) = (text(&survivor["statement"]), text(&survivor["mistake"]));
            let mut found = false;
            for (reason, used) in self.0.iter().zip(&mut used) {
                if reason.is_about(&statement) && mistake == reason.mistake {
                    (found, *used) = (true, true);
                }
            }
            if found { judged.explained += 1 } else { judged.unexplained.push(n) }
        }
        let statements: Vec<String> = list("statements").iter().map(text).collect();
        let was_run = |reason: &Reason| statements.iter().any(|known| reason.is_about(known));
        let idle = self.0.iter().zip(&used).filter(|(reason, used)| !**used && (is_whole || was_run(reason)));
        judged.idle = idle
            .map(|(reason, _)| format!("line {}: {}: {}", reason.line, reason.statement, reason.mistake))
            .collect();
        judged
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(survivors: &[(&str, &str)]) -> Value {
        let list: Vec<Value> = survivors
            .iter()
            .map(|(statement, mistake)| json!({"statement": statement, "mistake": mistake}))
            .collect();
        json!({"statements": ["UPDATE t\n  SET a = 1 WHERE b", "DELETE FROM t"], "survivors": list})
    }

    const LINES: &str = "# why\n\nUPDATE t SET a | always true: b | c says it too\n";

    #[test]
    fn a_survivor_needs_a_reason() {
        let found =
            report(&[("UPDATE t\n  SET a = 1 WHERE b", "always true: b"), ("DELETE FROM t", "never")]);
        let judged = Reasons::read(LINES).unwrap().judge(&found, true);
        assert_eq!((judged.explained, judged.unexplained, judged.idle.len()), (1, vec![1], 0));
    }

    #[test]
    fn a_reason_needs_a_survivor() {
        let judged = Reasons::read(LINES).unwrap().judge(&report(&[]), true);
        assert_eq!(judged.idle, ["line 3: UPDATE t SET a: always true: b"]);
        let lines = "INSERT | without it | why\n";
        let elsewhere = Reasons::read(lines).unwrap();
        assert_eq!(elsewhere.judge(&report(&[]), false).idle, [""; 0], "it was not looked at");
        assert_eq!(elsewhere.judge(&report(&[]), true).idle.len(), 1, "there is no such statement");
    }

    #[test]
    fn statements_that_begin_alike_are_told_apart_by_their_ends() {
        let found = report(&[("UPDATE t\n  SET a = 1 WHERE b", "always true: b")]);
        let judge = |line: &str| Reasons::read(line).unwrap().judge(&found, false).explained;
        assert_eq!(judge("UPDATE t … WHERE b | always true: b | why"), 1);
        assert_eq!(judge("UPDATE t … WHERE c | always true: b | why"), 0);
    }

    #[test]
    fn a_line_that_says_less_is_refused() {
        for line in ["UPDATE t | always true: b", "UPDATE t | always true: b | ", "a | b | c | d"] {
            assert!(Reasons::read(line).unwrap_err().contains("line 1"), "{line}");
        }
    }
}
