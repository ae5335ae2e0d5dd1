//! Real processes for tests: each is waited for by what it says, and killed if it says nothing for too long.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub(crate) mod server;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Lines, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// After so long a process that a test waits for is killed, so that the test fails and does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A folder with a schedule file and a database in it.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(schedules: &str) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("jobs.toml", schedules);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Makes a named pipe. Its reader sees the end of it when the last process that has it open for writing is gone.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    /// The command, in this folder and without the environment's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_punctual"));
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        for variable in ["PUNCTUAL_DB", "PUNCTUAL_DB_LISTEN", "PUNCTUAL_LOG", "PUNCTUAL_MIGRATE"] {
            command.env_remove(variable);
        }
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command with `--json` says.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Starts a node on `jobs.toml`.
    pub(crate) fn node(&self, arguments: &[&str]) -> Node {
        self.node_in(&[], arguments)
    }

    /// The same with variables of the environment.
    pub(crate) fn node_in(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Node {
        let log = self.path("stderr.log");
        let mut command = self.command(&["run", "jobs.toml", "--json"]);
        let errors = File::options().append(true).create(true).open(&log).unwrap();
        command.envs(variables.iter().copied());
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let fuse = fuse(child.id());
        Node { child, lines, log, _fuse: fuse }
    }
}

/// A running node.
pub(crate) struct Node {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
    _fuse: Sender<()>,
}

impl Node {
    /// Waits for an event that fits.
    pub(crate) fn until(&mut self, mut fits: impl FnMut(&Value) -> bool) -> Value {
        for line in self.lines.by_ref() {
            let event = serde_json::from_str(&line.unwrap()).unwrap();
            if fits(&event) {
                return event;
            }
        }
        panic!("the node ended before the event came: {}", fs::read_to_string(&self.log).unwrap_or_default());
    }

    /// Waits for an event of this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.until(|event| event["event"] == name)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.child.id(), signal);
    }

    /// Waits until the node is gone, and lets it write meanwhile.
    pub(crate) fn wait(mut self) -> ExitStatus {
        for line in self.lines.by_ref() {
            line.unwrap();
        }
        self.child.wait().unwrap()
    }

    /// Shuts it down as a supervisor would.
    pub(crate) fn shut_down(self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Kills a process after [`PATIENCE`], unless the answer is dropped before.
pub(crate) fn fuse(pid: u32) -> Sender<()> {
    let (keep, burn) = mpsc::channel();
    std::thread::spawn(move || {
        if burn.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            kill(pid, Signal::KILL);
        }
    });
    keep
}

/// Opens a pipe for reading on a thread, and hands on its first line, then the rest of it when its last writer is gone.
pub(crate) fn read_pipe(path: &Path) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(File::open(path).unwrap());
        let (mut first, mut rest) = (String::new(), String::new());
        pipe.read_line(&mut first).unwrap();
        let _ = sender.send(first.trim().to_owned());
        pipe.read_to_string(&mut rest).unwrap();
        let _ = sender.send(rest);
    });
    receiver
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
