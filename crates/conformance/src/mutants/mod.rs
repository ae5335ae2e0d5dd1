//! The tester of a store's SQL: puts one mistake after the other into the statements, and expects a case to notice each.
//!
//! First every case is run as it is, to learn which statements it runs and how long it takes. Then each mistake is tried
//! against the cases that run its statement, the shortest first, until one of them fails. A mistake that no case notices
//! survives: either a sentence is missing in the contract, or the mistake changes nothing, because another line of
//! defence holds or because the text says a thing twice.

mod cut;
mod eye;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual_core::{Error, Result};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::cut::Mutant;
use self::eye::{Eye, Watched};
use crate::case::{Case, Need};
use crate::harness::Harness;
use crate::runner::judge;

/// How long a case may take before a mistake counts as noticed: one that waits for ever is noticed as well.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many mistakes are tried at once.
const AT_ONCE: usize = 2;

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
    cases: Vec<Case>,
}

/// A mistake, and what came of it.
struct Tried<'a> {
    statement: &'a Statement,
    mutant: Mutant,
    noticed_by: Option<&'static str>,
}

/// Tries all mistakes, and writes the report to `path`. Answers whether every one was noticed.
///
/// # Errors
/// `Internal` if the report cannot be written; `Invalid` if a case fails without any mistake.
#[expect(clippy::print_stderr, reason = "a test runner talks to people")]
pub(crate) fn run(ground: &Ground, path: &Path) -> Result<bool> {
    let statements = statements(ground)?;
    let work: Vec<(usize, Mutant)> = (0..)
        .zip(&statements)
        .flat_map(|(n, statement)| cut::mutants(&statement.text).into_iter().map(move |mutant| (n, mutant)))
        .collect();
    eprintln!("{} statements, {} mistakes", statements.len(), work.len());
    // From here on cases fail because they shall; what they say about it is of no use.
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let tried = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((n, mutant)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(statement) = statements.get(*n) else { return };
                    let noticed_by = notices(ground, statement, mutant);
                    let mut tried = tried.lock().unwrap_or_else(PoisonError::into_inner);
                    tried.push(Tried { statement, mutant: mutant.clone(), noticed_by });
                    let survived = tried.iter().filter(|one| one.noticed_by.is_none()).count();
                    if noticed_by.is_none() {
                        eprintln!("not noticed in {} cases: {}", statement.cases.len(), mutant.change);
                    }
                    if tried.len().is_multiple_of(25) {
                        eprintln!("{:>5} of {}, {survived} not noticed", tried.len(), work.len());
                    }
                }
            });
        }
    });
    let tried = tried.into_inner().unwrap_or_else(PoisonError::into_inner);
    let report = report(ground, &statements, &tried);
    std::fs::write(path, format!("{report}\n")).map_err(|error| {
        Error::internal("mutants", format!("the report cannot be written to {}", path.display()))
            .with_source(error)
    })?;
    Ok(tried.iter().all(|one| one.noticed_by.is_some()))
}

/// Which cases run which statements, those of few statements first: they are the ones that are about them.
fn statements(ground: &Ground) -> Result<Vec<Statement>> {
    let mut cases: Vec<(usize, Case, Arc<Eye>)> = Vec::new();
    for case in ground.cases.iter().filter(|case| !case.needs.contains(&Need::Process)) {
        let eye = Arc::new(Eye::default());
        attempt(ground, *case, Arc::clone(&eye)).map_err(|why| {
            Error::invalid("mutants", format!("{} fails without any mistake: {why}", case.name))
        })?;
        cases.push((eye.seen().len(), *case, eye));
    }
    cases.sort_by_key(|(statements, case, _)| (*statements, case.name));
    let mut of_text: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for (_, case, eye) in &cases {
        for text in eye.seen() {
            of_text.entry(text).or_default().push(*case);
        }
    }
    let wanted = |text: &String| ground.filter.as_ref().is_none_or(|filter| text.contains(&**filter));
    Ok(of_text
        .into_iter()
        .filter(|(text, _)| wanted(text))
        .map(|(text, cases)| Statement { text, cases })
        .collect())
}

/// The first case that notices a mistake.
fn notices(ground: &Ground, statement: &Statement, mutant: &Mutant) -> Option<&'static str> {
    statement.cases.iter().find_map(|case| {
        let eye = Arc::new(Eye::with_a_mistake(&statement.text, &mutant.text));
        attempt(ground, *case, eye).err().map(|_| case.name)
    })
}

/// Runs a case on a thread of its own, which is left to itself if the case does not end.
fn attempt(ground: &Ground, case: Case, eye: Arc<Eye>) -> Result<(), String> {
    let harness: Arc<dyn Harness> = Arc::new(Watched { inner: Arc::clone(&ground.harness), eye });
    let runtime = Arc::clone(&ground.runtime);
    let (tell, verdict) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more after the patience.
        let _ = tell.send(judge(&runtime, harness, case));
    });
    match verdict.recv_timeout(PATIENCE) {
        Ok(verdict) => verdict,
        Err(RecvTimeoutError::Timeout) => Err(format!("it has not ended after {} s", PATIENCE.as_secs())),
        Err(RecvTimeoutError::Disconnected) => Err("it ended without a word".to_owned()),
    }
}

fn report(ground: &Ground, statements: &[Statement], tried: &[Tried<'_>]) -> Value {
    let survivors = tried.iter().filter(|one| one.noticed_by.is_none());
    let list: Vec<Value> = survivors
        .map(|one| {
            json!({"statement": one.statement.text, "mistake": one.mutant.change, "cases": one.statement.cases.len()})
        })
        .collect();
    let mut by: BTreeMap<&str, usize> = BTreeMap::new();
    for case in tried.iter().filter_map(|one| one.noticed_by) {
        *by.entry(case).or_default() += 1;
    }
    json!({
        "store": ground.harness.name(),
        "statements": statements.len(),
        "mutants": tried.len(),
        "noticed": tried.len() - list.len(),
        "survivors": list,
        "noticed_by": by,
    })
}
