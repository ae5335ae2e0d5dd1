//! A restart of the database in the middle of a run: done by a command of the viewer's, and measured by whether the
//! store answers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use punctual::JobStore;
use punctual::runtime::SystemClock;
use punctual_core::{BootInstant, Clock};
use tokio::process::{Child, Command};

use super::failed::Failed;

/// The time between two questions to the store.
const ASK: Duration = Duration::from_millis(25);
/// An answer that takes longer is none.
const ANSWER: Duration = Duration::from_secs(1);
/// How long the command, and then the store, may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time in which the store answered nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// When the last good answer before it was asked for.
    pub(crate) from: BootInstant,
    /// When the first good answer after it came.
    pub(crate) until: BootInstant,
}

/// Runs the command through a shell, and asks the store until the command has ended and the store answers again.
pub(crate) async fn restart(
    store: Arc<dyn JobStore>,
    command: String,
    dir: PathBuf,
) -> Result<Outage, Failed> {
    let log = dir.join("restart.log");
    let mut child = Some(start(&command, &log)?);
    let mut limit = SystemClock.boot().plus(PATIENCE);
    let (mut last_good, mut down, mut up) = (SystemClock.boot(), None, None);
    loop {
        let asked = SystemClock.boot();
        let answered = tokio::select! {
            answer = store.now() => answer.is_ok(),
            () = SystemClock.sleep(ANSWER) => false,
        };
        let now = SystemClock.boot();
        if answered {
            up = up.or(Some(now));
            last_good = asked;
        } else {
            down = down.or(Some(last_good));
            up = None;
        }
        match (&mut child, down, up) {
            (None, Some(from), Some(until)) => return Ok(Outage { from, until }),
            (None, None, _) => {
                return Err(Failed::new(format!(
                    "`{command}` ended well, but the store answered all the while: it restarts something else"
                )));
            }
            _ if now > limit => return Err(late(child.is_some(), &command, &log)),
            (None, ..) => SystemClock.sleep(ASK).await,
            (Some(running), ..) => tokio::select! {
                status = running.wait() => {
                    let status = status.map_err(Failed::at(&command))?;
                    if !status.success() {
                        return Err(Failed::new(format!("`{command}` failed ({status}){}", said(&log))));
                    }
                    child = None;
                    limit = SystemClock.boot().plus(PATIENCE);
                }
                () = SystemClock.sleep(ASK) => {}
            },
        }
    }
}

fn start(command: &str, log: &Path) -> Result<Child, Failed> {
    // A file and no pipe: the server that it starts may inherit it, and would keep a pipe open.
    let file = File::create(log).map_err(Failed::at(log.display()))?;
    let errors = file.try_clone().map_err(Failed::at(log.display()))?;
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(file).stderr(errors).kill_on_drop(true);
    shell.spawn().map_err(Failed::at("/bin/sh"))
}

fn late(command_runs: bool, command: &str, log: &Path) -> Failed {
    let what =
        if command_runs { "has not ended" } else { "ended well, but the store has not answered since" };
    Failed::new(format!("`{command}` {what} for {PATIENCE:?}{}", said(log)))
}

/// The last lines that the command printed, as the end of a sentence.
fn said(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(8)).map(|line| format!("\n    {line}"));
    last.collect()
}

#[cfg(test)]
mod tests {
    use punctual::MemoryStore;

    use super::*;

    async fn tried(command: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryStore::new(Arc::new(SystemClock)));
        restart(store, command.to_owned(), dir.path().to_owned()).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_command_that_restarts_nothing_is_told_so() {
        assert!(tried("true").await.contains("answered all the while"));
        let why = tried("echo no such server >&2; exit 3").await;
        assert!(why.contains("exit status: 3") && why.contains("\n    no such server"), "{why}");
    }
}
