//! The tester of a store's SQL: puts one mistake after the other into the statements, and expects a case to notice each.
//!
//! First every case is run as it is, to learn which statements it runs and how long it takes. Then each mistake is tried
//! in a process of its own against the cases that run its statement, those first that are about little else, until one of
//! them fails. A mistake that no case notices survives: either a sentence is missing in the contract, or the mistake
//! changes nothing, because another line of defence holds or because the text says a thing twice.

mod cut;
mod eye;
mod progress;
mod worker;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual_core::{Error, Result};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::cut::Mutant;
use self::eye::Eye;
use self::progress::{Progress, Stopwatch};
use self::worker::{Timed, attempt, first_that_notices};
pub(crate) use self::worker::{play, told};
use crate::case::{Case, Need};
use crate::harness::Harness;

/// Names the file of the report, and makes the program test its cases instead of the store.
const REPORT: &str = "PUNCTUAL_CONFORMANCE_MUTANTS";
/// How many mistakes are tried at once; 2 if it is not set.
const AT_ONCE: &str = "PUNCTUAL_CONFORMANCE_MUTANTS_JOBS";
/// After how many minutes no further mistake is begun.
const MINUTES: &str = "PUNCTUAL_CONFORMANCE_MUTANTS_MINUTES";
/// If it is set, mistakes are not tried again that the last run tried, unless no case noticed and there are others now.
const RESUME: &str = "PUNCTUAL_CONFORMANCE_MUTANTS_RESUME";

/// How long a case may take that has no mistake in it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is to be done, by the environment.
pub(crate) struct Wanted {
    report: PathBuf,
    at_once: usize,
    time: Option<Duration>,
    resumes: bool,
}

impl Wanted {
    /// `None` if the cases are to test the store, as usual.
    ///
    /// # Errors
    /// `Invalid` if a number is none.
    pub(crate) fn by_environment() -> Result<Option<Self>> {
        let Some(report) = std::env::var_os(REPORT) else { return Ok(None) };
        let at_once = number(AT_ONCE)?.unwrap_or(2).clamp(1, 64);
        Ok(Some(Self {
            report: report.into(),
            at_once: usize::try_from(at_once).unwrap_or(1),
            time: number(MINUTES)?.map(|minutes| Duration::from_secs(minutes.saturating_mul(60))),
            resumes: std::env::var_os(RESUME).is_some(),
        }))
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = std::env::var(variable) else { return Ok(None) };
    let wrong = |_| Error::invalid("mutants", format!("{variable} is to be a number, not {text:?}"));
    text.parse().map(Some).map_err(wrong)
}

/// What is tried, and with what.
pub(crate) struct Ground {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) harness: Arc<dyn Harness>,
    /// The cases that apply to the store.
    pub(crate) cases: Vec<Case>,
    /// Only statements that contain this.
    pub(crate) filter: Option<String>,
}

/// A statement, and the cases that run it.
struct Statement {
    text: String,
    cases: Vec<Timed>,
}

/// A mistake, and what came of it.
#[derive(Clone)]
struct Tried<'a> {
    statement: &'a Statement,
    mutant: &'a Mutant,
    noticed_by: Option<String>,
}

impl<'a> Tried<'a> {
    /// What the last run has found out; `None` if it noticed nothing, and other cases run the statement now.
    fn of_last_run(line: &Value, statement: &'a Statement, mutant: &'a Mutant) -> Option<Self> {
        let noticed_by = line["noticed_by"].as_str().map(str::to_owned);
        let same_cases = line["cases"].as_u64() == u64::try_from(statement.cases.len()).ok();
        (noticed_by.is_some() || same_cases).then_some(Self { statement, mutant, noticed_by })
    }

    fn to_json(&self) -> Value {
        json!({
            "statement": self.statement.text,
            "mistake": self.mutant.change,
            "cases": self.statement.cases.len(),
            "noticed_by": self.noticed_by,
        })
    }
}

/// Tries all mistakes, and writes the report. Answers whether every one was tried and noticed.
///
/// # Errors
/// `Internal` if a report cannot be written or a worker cannot be started; `Invalid` if a case fails without any mistake.
pub(crate) fn run(ground: &Ground, wanted: &Wanted) -> Result<bool> {
    let began = Stopwatch::start();
    let statements = statements(ground)?;
    let mutants: Vec<(&Statement, Mutant)> = statements
        .iter()
        .flat_map(|statement| {
            cut::mutants(&statement.text).into_iter().map(move |mutant| (statement, mutant))
        })
        .collect();
    let log = wanted.report.with_extension("jsonl");
    let known = if wanted.resumes { of_last_run(&log) } else { BTreeMap::new() };
    let mut file = File::create(&log).map_err(|error| cannot_write(&log, error))?;
    for line in known.values() {
        writeln!(file, "{line}").map_err(|error| cannot_write(&log, error))?;
    }
    let (mut tried, mut left) = (Vec::new(), Vec::new());
    for (statement, mutant) in &mutants {
        let before = known.get(&(statement.text.clone(), mutant.change.clone()));
        match before.and_then(|line| Tried::of_last_run(line, statement, mutant)) {
            Some(one) => tried.push(one),
            None => left.push((*statement, mutant, before.is_some())),
        }
    }
    let all = left.len();
    // They are taken from the end: first what was never tried, and what few cases are about.
    left.sort_by_key(|(statement, _, again)| (*again, statement.cases.len()));
    left.reverse();
    let progress = Progress::begin(statements.len(), mutants.len(), tried.len());
    let shared = Mutex::new((left, tried, file, progress));
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> Result<()> {
        while wanted.time.is_none_or(|time| began.elapsed() < time) {
            let mut guard = lock();
            let Some((statement, mutant, _)) = guard.0.pop() else { break };
            let cases = in_order(statement, &guard.1);
            drop(guard);
            let noticed_by = first_that_notices(&statement.text, &mutant.text, &cases)?.map(str::to_owned);
            let one = Tried { statement, mutant, noticed_by };
            let mut guard = lock();
            let (_, tried, file, progress) = &mut *guard;
            writeln!(file, "{}", one.to_json()).map_err(|error| cannot_write(&log, error))?;
            progress.tell(&mutant.change, &statement.text, one.noticed_by.as_deref());
            tried.push(one);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..wanted.at_once.min(all).max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::internal("mutants", "a thread panicked")))
        })
    })?;
    let (left, tried, ..) = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let report = report(ground, &statements, &tried, left.len());
    std::fs::write(&wanted.report, format!("{report}\n"))
        .map_err(|error| cannot_write(&wanted.report, error))?;
    Ok(left.is_empty() && tried.iter().all(|one| one.noticed_by.is_some()))
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    Error::internal("mutants", format!("{} cannot be written", path.display())).with_source(error)
}

/// What the last run wrote of each mistake, by statement and mistake. A line that was cut off is passed over.
fn of_last_run(log: &Path) -> BTreeMap<(String, String), Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let keyed = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        Some(((text("statement")?, text("mistake")?), line))
    };
    text.lines().filter_map(keyed).collect()
}

/// Which cases run which statements, those of few statements first: they are the ones that are about them.
fn statements(ground: &Ground) -> Result<Vec<Statement>> {
    let mut cases: Vec<(usize, Timed, Arc<Eye>)> = Vec::new();
    for case in ground.cases.iter().copied().filter(|case| !case.needs.contains(&Need::Process)) {
        let (eye, began) = (Arc::new(Eye::default()), Stopwatch::start());
        let fails = |why: &str| {
            Err(Error::invalid("mutants", format!("{} fails without any mistake: {why}", case.name)))
        };
        match attempt(&ground.runtime, &ground.harness, case, Arc::clone(&eye), PATIENCE) {
            Some(Ok(())) => cases.push((eye.seen().len(), Timed { case, took: began.elapsed() }, eye)),
            Some(Err(why)) => return fails(&why),
            None => return fails("it does not end"),
        }
    }
    // Races come last: they run the same statements hundreds of times.
    cases.sort_by_key(|(statements, timed, _)| (timed.took.as_secs(), *statements, timed.case.name));
    let mut of_text: BTreeMap<String, Vec<Timed>> = BTreeMap::new();
    for (_, timed, eye) in &cases {
        for text in eye.seen() {
            of_text.entry(text).or_default().push(*timed);
        }
    }
    let wanted = |text: &String| ground.filter.as_ref().is_none_or(|filter| text.contains(&**filter));
    Ok(of_text
        .into_iter()
        .filter(|(text, _)| wanted(text))
        .map(|(text, cases)| Statement { text, cases })
        .collect())
}

/// The cases of a statement, but first those that have noticed other mistakes in it.
fn in_order(statement: &Statement, tried: &[Tried<'_>]) -> Vec<Timed> {
    let of_it = tried.iter().filter(|one| one.statement.text == statement.text);
    let proven: Vec<&str> = of_it.filter_map(|one| one.noticed_by.as_deref()).collect();
    let mut cases = statement.cases.clone();
    cases.sort_by_key(|timed| !proven.contains(&timed.case.name));
    cases
}

fn report(ground: &Ground, statements: &[Statement], tried: &[Tried<'_>], not_tried: usize) -> Value {
    let survivors: Vec<Value> =
        tried.iter().filter(|one| one.noticed_by.is_none()).map(Tried::to_json).collect();
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for case in tried.iter().filter_map(|one| one.noticed_by.as_deref()) {
        *by.entry(case).or_default() += 1;
    }
    json!({
        "store": ground.harness.name(),
        "statements": statements.iter().map(|statement| &statement.text).collect::<Vec<_>>(),
        "mutants": tried.len(),
        "noticed": tried.len() - survivors.len(),
        "not_tried": not_tried,
        "survivors": survivors,
        "noticed_by": by,
    })
}
