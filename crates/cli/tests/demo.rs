//! The demo itself, with real processes, signals and an SQLite file: it keeps its promises when a node is killed, and
//! it does not say so when they were broken.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use self::support::server::Server;

/// Runs the demo, calls `watch` with each line of its progress, and returns how it ended and its last line.
fn demo(arguments: &[&str], mut watch: impl FnMut(&str)) -> (ExitStatus, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_punctual"));
    command.arg("demo").args(arguments).arg("--json");
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        watch(&line);
        progress.push_str(&line);
        progress.push('\n');
    }
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let verdict = out.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    (child.wait().unwrap(), verdict, progress)
}

fn number(verdict: &Value, name: &str) -> f64 {
    verdict.get(name).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {name} in {verdict}"))
}

#[test]
fn a_killed_node_costs_nothing() {
    let verdict = killed(&[]);
    assert_eq!(verdict.get("store"), Some(&"sqlite".into()));
}

#[test]
fn a_killed_node_costs_nothing_on_postgres() {
    killed_on(Server::Postgres, "postgres");
}

#[test]
fn a_killed_node_costs_nothing_on_mysql() {
    killed_on(Server::Mysql, "mysql");
}

/// One of them at a time: each keeps both a server and a small machine busy.
static SERVERS: Mutex<()> = Mutex::new(());

fn killed_on(server: Server, store: &str) {
    let _turn = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
    let verdict = killed(&["--db", &server.url()]);
    assert_eq!(verdict.get("store"), Some(&store.into()));
    let pid = number(&verdict, "pid");
    let left = server.names(&format!("punctual_demo_{pid}_"));
    assert!(left.is_empty(), "what was made for the run stays behind: {left:?}");
}

/// A run in which a node is killed.
fn killed(ground: &[&str]) -> Value {
    let arguments = [&["--nodes", "2", "--kill-after", "4s", "--for", "16s"], ground].concat();
    let (status, verdict, progress) = demo(&arguments, |_| {});
    assert!(status.success(), "{verdict:#}\n{progress}");
    for (name, expected) in [
        ("duplicates", 0.0),
        ("lost", 0.0),
        ("overlaps", 0.0),
        ("takeovers", 1.0),
        ("kills", 1.0),
        ("restarts", 0.0),
    ] {
        assert_eq!(number(&verdict, name), expected, "{name}\n{verdict:#}\n{progress}");
    }
    assert!(
        number(&verdict, "takeover_seconds_max") <= number(&verdict, "takeover_bound_seconds"),
        "{verdict:#}"
    );
    assert!(number(&verdict, "exclusive_running_at_kill") >= 3.0, "{verdict:#}");
    assert!(number(&verdict, "firings_per_second") >= 20.0, "{verdict:#}");
    assert!(number(&verdict, "retried") >= 1.0, "some attempts fail, and are tried again\n{verdict:#}");
    verdict
}

#[test]
fn a_body_that_began_twice_spoils_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("run");
    let mut forged = false;
    let (status, verdict, progress) =
        demo(&["--nodes", "1", "--for", "4s", "--dir", dir.to_str().unwrap()], |_| {
            forged = forged || forge(&dir.join("bodies.jsonl"));
        });
    assert!(forged, "{progress}");
    assert_eq!(status.code(), Some(1), "{verdict:#}\n{progress}");
    assert_eq!(verdict.get("kept"), Some(&Value::Bool(false)), "{verdict:#}");
    assert_eq!(number(&verdict, "duplicates"), 1.0, "{verdict:#}");
    assert!(progress.contains("began twice"), "{progress}");
    assert!(dir.join("demo.db").exists(), "what was found is kept");
}

/// Adds a second beginning of the body whose beginning comes first, if there is one.
fn forge(bodies: &Path) -> bool {
    let text = fs::read_to_string(bodies).unwrap_or_default();
    let Some(begin) = text.lines().find(|line| line.contains("\"begin\"")) else { return false };
    let mut log = OpenOptions::new().append(true).open(bodies).unwrap();
    log.write_all(format!("{begin}\n").as_bytes()).unwrap();
    true
}
