//! Drives real node processes: starts them, listens to what they say, kills and freezes them, and judges what is left.
//!
//! Nothing here waits for a time to pass: every wait is for a line that some process prints.
#![allow(clippy::future_not_send, reason = "each test drives its cluster from one thread")]

pub mod chaos;
pub mod crowd;
pub mod place;
pub mod proxy;
pub mod schema;
pub mod tables;
pub mod wire;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use punctual::core::event::{Event, Stamped};
use punctual::core::inspect::{ExecutionFilter, Page};
use punctual::core::store::Readable;
use punctual::core::{BootInstant, Clock, Timestamp};
use punctual::runtime::SystemClock;
use punctual::{JobStore, Profile};
use punctual_checker::{Checker, FaultEvent, Options, Verdict, Window};
use rustix::process::{Pid, Signal, kill_process};

use self::place::{Kind, Place};

/// The longest that any wait may take before the test has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster of processes on one database.
#[derive(Debug)]
pub struct Cluster {
    place: Place,
    folder: tempfile::TempDir,
    program: PathBuf,
    nodes: BTreeMap<u32, Node>,
    faults: Vec<FaultEvent>,
    journals: BTreeMap<u32, Vec<String>>,
    heard: Receiver<(u32, String)>,
    mouth: Sender<(u32, String)>,
    from: Timestamp,
    started: u32,
}

#[derive(Debug)]
struct Node {
    child: Child,
    /// Closing it tells the node to shut down gracefully; it closes by itself when the test dies.
    stdin: Option<ChildStdin>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            let _ = node.child.kill();
            let _ = node.child.wait();
        }
    }
}

impl Cluster {
    /// An empty cluster on a database of its own. `program` is the node binary.
    pub fn new(program: &str, kind: Kind) -> Self {
        let (mouth, heard) = channel();
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self {
            place: Place::new(kind, folder.path()),
            folder,
            program: program.into(),
            nodes: BTreeMap::new(),
            faults: Vec::new(),
            journals: BTreeMap::new(),
            heard,
            mouth,
            from: SystemClock.wall(),
            started: 0,
        }
    }

    /// The store of the cluster.
    pub async fn store(&self) -> Arc<dyn JobStore> {
        self.place.open().await.expect("the store opens").0
    }

    fn bodies(&self) -> PathBuf {
        self.folder.path().join("bodies.jsonl")
    }

    /// Starts a node process and answers its pid.
    pub fn start(&mut self) -> u32 {
        self.started += 1;
        let mut child = Command::new(&self.program)
            .arg(self.place.location())
            .arg(self.bodies())
            .arg(format!("node-{}", self.started))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the node program starts");
        let pid = child.id();
        let stdout = child.stdout.take().expect("its output is piped");
        let mouth = self.mouth.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if mouth.send((pid, line)).is_err() {
                    break;
                }
            }
        });
        let boot_us = SystemClock.boot();
        self.faults.push(FaultEvent::Start { pid, boot_us });
        let stdin = child.stdin.take();
        self.nodes.insert(pid, Node { child, stdin });
        pid
    }

    /// Listens until `enough` says so, and answers the event that made it so.
    ///
    /// # Panics
    /// If no process says anything for [`PATIENCE`].
    pub fn listen(&mut self, mut enough: impl FnMut(u32, &Stamped) -> bool) -> (u32, Stamped) {
        loop {
            let (pid, line) = self.heard.recv_timeout(PATIENCE).expect("a node says something in time");
            self.journals.entry(pid).or_default().push(line.clone());
            let stamped: Stamped = serde_json::from_str(&line).expect("a node prints events");
            if enough(pid, &stamped) {
                return (pid, stamped);
            }
        }
    }

    /// Listens until bodies have begun `count` times.
    pub fn listen_for_firings(&mut self, count: usize) {
        let mut seen = 0;
        self.listen(|_, stamped| {
            seen += usize::from(matches!(stamped.event, Event::Began { .. }));
            seen >= count
        });
    }

    fn signal(&self, pid: u32, signal: Signal) {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid is a positive number");
        kill_process(raw, signal).expect("the process is there");
    }

    /// Ends a node as `kill -9` does.
    pub fn kill(&mut self, pid: u32) {
        let boot_us = SystemClock.boot();
        self.faults.push(FaultEvent::Kill { pid, node: None, boot_us });
        self.signal(pid, Signal::KILL);
        if let Some(mut node) = self.nodes.remove(&pid) {
            let _ = node.child.wait();
        }
    }

    /// Stops a node as a debugger or a paused container does.
    pub fn freeze(&mut self, pid: u32) {
        self.faults.push(FaultEvent::Freeze { pid, node: None, boot_us: SystemClock.boot() });
        self.signal(pid, Signal::STOP);
    }

    /// Lets a frozen node go on.
    pub fn thaw(&mut self, pid: u32) {
        self.signal(pid, Signal::CONT);
        self.faults.push(FaultEvent::Thaw { pid, boot_us: SystemClock.boot() });
    }

    /// Shuts all nodes down gracefully and judges what they have left behind.
    pub async fn finish(&mut self) -> Verdict {
        let until = self.settled_until().await;
        for node in self.nodes.values_mut() {
            node.stdin.take();
        }
        for node in std::mem::take(&mut self.nodes).into_values() {
            let Node { mut child, .. } = node;
            let pid = child.id();
            assert!(child.wait().expect("it can be waited for").success(), "node {pid} ends well");
            self.faults.push(FaultEvent::Exit { pid, boot_us: SystemClock.boot() });
        }
        while let Ok((pid, line)) = self.heard.recv_timeout(Duration::from_millis(200)) {
            self.journals.entry(pid).or_default().push(line);
        }
        self.judge(until).await
    }

    /// The window that is judged ends now; what was due by now has been decided about before this returns.
    async fn settled_until(&mut self) -> Timestamp {
        let store = self.store().await;
        let until = store.now().await.expect("it has a clock");
        loop {
            let triggers = store.inspect().triggers(Page::first(10_000)).await.expect("it lists triggers");
            let behind = triggers.iter().any(|trigger| trigger.next_fire.is_some_and(|next| next <= until));
            let live = store.inspect().executions(ExecutionFilter::default()).await.expect("it lists work");
            let running = live.iter().any(|row| matches!(row, Readable::Row(row) if row.scheduled <= until));
            if !behind && !running {
                return until;
            }
            // Anything that moves prints a line.
            self.listen(|_, _| true);
        }
    }

    async fn judge(&self, until: Timestamp) -> Verdict {
        let store = self.store().await;
        let tables = tables::tables(&*store).await.expect("the tables can be read");
        let profile = Profile::FAST;
        let options = Options {
            wind_down: profile.wind_down,
            takeover_bound: Some(profile.takeover_bound(Duration::from_secs(1))),
            ..Options::default()
        };
        let mut checker = Checker::new(Window { from: self.from, until }).with_options(options);
        for (pid, lines) in &self.journals {
            checker
                .journal(lines.join("\n").as_bytes(), &format!("journal of {pid}"))
                .expect("it can be read");
        }
        let bodies = read(&self.bodies());
        checker.bodies(bodies.as_bytes(), "bodies").expect("they can be read");
        let faults: Vec<String> =
            self.faults.iter().map(|fault| serde_json::to_string(fault).expect("a fault is JSON")).collect();
        checker.faults(faults.join("\n").as_bytes(), "faults").expect("they can be read");
        checker.tables(tables);
        checker.verdict()
    }

    /// The boot-time clock, for tests that measure.
    pub fn boot(&self) -> BootInstant {
        SystemClock.boot()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
