//! The process that tries one mistake: it may hang or grow without bounds, and it takes all of that with it when it ends.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use punctual_core::{Error, Result};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::eye::{Eye, Watched};
use crate::case::{Case, all_cases};
use crate::harness::Harness;
use crate::runner::judge;

/// The variable with the path of what a worker is told to try.
const VARIABLE: &str = "PUNCTUAL_CONFORMANCE_MUTANT";

/// What a worker says of a case before it runs it, and once it has noticed the mistake.
const BEGINS: &str = "begins ";
const NOTICES: &str = "notices ";

/// A case, and how long it may take: one that waits for ever has noticed the mistake as well.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timed {
    pub(super) case: Case,
    pub(super) took: Duration,
}

impl Timed {
    /// A machine that is busy with other things shall not look like a mistake that was noticed.
    fn patience(self) -> Duration {
        Duration::from_secs(15) + self.took * 10
    }
}

/// The folder of one worker, which goes with whatever it left there.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Has a process of its own run the cases, in this order, on a store whose statement is replaced. Answers the first case
/// that fails, does not end, or ends the process.
///
/// # Errors
/// `Internal` if the process cannot be started or told what to do.
pub(super) fn first_that_notices(
    statement: &str,
    instead: &str,
    cases: &[Timed],
) -> Result<Option<&'static str>> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let wrong =
        |what: &'static str| move |error: std::io::Error| Error::internal("mutants", what).with_source(error);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = Folder(env::temp_dir().join(format!("punctual-mutant-{}-{n}", std::process::id())));
    std::fs::create_dir_all(&folder.0).map_err(wrong("a worker's folder cannot be made"))?;
    let list: Vec<Value> =
        cases.iter().map(|timed| json!([timed.case.name, millis(timed.patience())])).collect();
    let told = folder.0.join("told.json");
    let task = json!({"statement": statement, "instead": instead, "cases": list});
    std::fs::write(&told, task.to_string()).map_err(wrong("a worker cannot be told what to do"))?;
    let program = env::current_exe().map_err(wrong("this program has no path"))?;
    let output = Command::new(program)
        .env(VARIABLE, &told)
        .env("TMPDIR", &folder.0)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(wrong("this program cannot be started again"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let named = |name: &str| cases.iter().map(|timed| timed.case.name).find(|known| *known == name);
    let noticed = said.lines().find_map(|line| line.strip_prefix(NOTICES)).and_then(named);
    if noticed.is_some() || output.status.success() {
        return Ok(noticed);
    }
    let last = said.lines().rev().find_map(|line| line.strip_prefix(BEGINS)).and_then(named);
    last.map_or_else(
        || {
            Err(Error::internal(
                "mutants",
                format!("a worker ended before its first case: {}", output.status),
            ))
        },
        |case| Ok(Some(case)),
    )
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The path of what this process is told to try, if it is a worker.
pub(crate) fn told() -> Option<PathBuf> {
    env::var_os(VARIABLE).map(PathBuf::from)
}

/// Does what a worker is told to. It says on its standard output which case it begins, and which one has noticed.
///
/// # Errors
/// `Internal` if what it is told cannot be understood, or nobody listens.
pub(crate) fn play(runtime: &Arc<Runtime>, harness: &Arc<dyn Harness>, told: &Path) -> Result<ExitCode> {
    let defect = || Error::internal("mutants", "what a worker is told cannot be understood");
    let text = std::fs::read_to_string(told).map_err(|error| defect().with_source(error))?;
    let task: Value = serde_json::from_str(&text).map_err(|error| defect().with_source(error))?;
    let (Some(statement), Some(instead), Some(cases)) =
        (task["statement"].as_str(), task["instead"].as_str(), task["cases"].as_array())
    else {
        return Err(defect());
    };
    // Cases fail here because they shall; what they say about it is of no use.
    std::panic::set_hook(Box::new(|_| {}));
    let known: BTreeMap<&str, Case> = all_cases().map(|case| (case.name, case)).collect();
    for entry in cases {
        let case = entry[0].as_str().and_then(|name| known.get(name)).ok_or_else(defect)?;
        let patience = entry[1].as_u64().map(Duration::from_millis).ok_or_else(defect)?;
        say(BEGINS, case.name)?;
        let eye = Arc::new(Eye::with_a_mistake(statement, instead));
        match attempt(runtime, harness, *case, eye, patience) {
            Some(Ok(())) => {}
            Some(Err(_)) => {
                say(NOTICES, case.name)?;
                return Ok(ExitCode::SUCCESS);
            }
            None => {
                say(NOTICES, case.name)?;
                // It would be waited for otherwise.
                std::process::exit(0);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn say(what: &str, case: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{what}{case}")
        .and_then(|()| out.flush())
        .map_err(|error| Error::internal("mutants", "nobody listens to a worker").with_source(error))
}

/// Runs a case on a thread of its own. `None` if it has not ended in time; it is left to itself then.
pub(super) fn attempt(
    runtime: &Arc<Runtime>,
    harness: &Arc<dyn Harness>,
    case: Case,
    eye: Arc<Eye>,
    patience: Duration,
) -> Option<Result<(), String>> {
    let harness: Arc<dyn Harness> = Arc::new(Watched { inner: Arc::clone(harness), eye });
    let runtime = Arc::clone(runtime);
    let (tell, verdict) = mpsc::channel();
    std::thread::spawn(move || {
        // Nobody listens any more after the patience.
        let _ = tell.send(judge(&runtime, harness, case));
    });
    match verdict.recv_timeout(patience) {
        Ok(verdict) => Some(verdict),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Err("it ended without a word".to_owned())),
    }
}
