//! The node processes: started, killed, frozen, thawed and buried here, each of it noted in the log of faults.
//!
//! Whatever ends the demo, an error or a panic included, no process outlives it: see the `Drop` of [`Cluster`].

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use punctual::runtime::SystemClock;
use punctual_checker::FaultEvent;
use punctual_core::{BootInstant, Clock, Timestamp};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::body;
use super::failed::Failed;
use super::faults::FaultLog;
use super::outage::Outage;
use crate::db;

/// How long bodies may go on after the last node is gone: longer than the longest of them works.
#[cfg(target_os = "linux")]
const LAST_BODIES: Duration = Duration::from_secs(5);

/// What is known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It runs.
    Running,
    /// It is stopped by SIGSTOP.
    Frozen,
    /// It was killed.
    Killed,
    /// It ended by itself.
    Ended,
}

/// One process of a seat: the node that was started first, or one in the place of a dead one.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
    pub(crate) status: Status,
    pub(crate) journal: PathBuf,
    pub(crate) output: PathBuf,
}

/// A process that was stopped on trial.
#[derive(Debug)]
#[must_use = "it stands still until it is let go"]
pub(crate) struct Halted {
    seat: usize,
    pid: u32,
    boot_us: BootInstant,
    /// Whether it stands still; else it has ended.
    pub(crate) stands: bool,
}

/// What all processes are started with.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// The program: this one.
    pub(crate) exe: PathBuf,
    /// The directory of the run.
    pub(crate) dir: PathBuf,
    /// The schedule.
    pub(crate) file: PathBuf,
    /// The database, as nodes are told.
    pub(crate) db: String,
    /// The log of bodies.
    pub(crate) bodies: PathBuf,
    /// How many executions a node runs at once.
    pub(crate) capacity: u32,
}

/// The processes of a run, by seat; the last of a seat is the one that may live.
#[derive(Debug)]
pub(crate) struct Cluster {
    launch: Launch,
    seats: Vec<Vec<Process>>,
    faults: FaultLog,
}

impl Cluster {
    /// A cluster with so many empty seats.
    pub(crate) fn new(launch: Launch, seats: u32, faults: FaultLog) -> Self {
        // Bodies whose node is killed become children of this process, which can then wait for them.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        Self { launch, seats: (0..seats).map(|_| Vec::new()).collect(), faults }
    }

    /// The log of faults.
    pub(crate) fn faults(&self) -> &Path {
        self.faults.path()
    }

    /// The number of seats.
    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// The process that a seat saw last.
    pub(crate) fn last(&self, seat: usize) -> Option<&Process> {
        self.seats.get(seat).and_then(|lives| lives.last())
    }

    /// The seats whose process has this status.
    pub(crate) fn with(&self, status: Status) -> Vec<usize> {
        (0..self.len())
            .filter(|seat| self.last(*seat).is_some_and(|process| process.status == status))
            .collect()
    }

    /// All processes that there ever were.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Process> {
        self.seats.iter().flatten()
    }

    fn last_mut(&mut self, seat: usize) -> Result<&mut Process, Failed> {
        let last = self.seats.get_mut(seat).and_then(|lives| lives.last_mut());
        last.ok_or_else(|| Failed::new(format!("there is no {}", name(seat))))
    }

    /// Starts a node in a seat.
    pub(crate) fn start(&mut self, seat: usize) -> Result<(), Failed> {
        let Launch { exe, dir, file, db, bodies, capacity } = &self.launch;
        let Some(lives) = self.seats.get_mut(seat) else { return Ok(()) };
        let (name, life) = (name(seat), lives.len() + 1);
        let journal = dir.join(format!("{name}-{life}.jsonl"));
        let output = dir.join(format!("{name}.log"));
        let log = || {
            OpenOptions::new().append(true).create(true).open(&output).map_err(Failed::at(output.display()))
        };
        let mut command = Command::new(exe);
        command.arg("run").arg(file).arg("--journal").arg(&journal);
        command.args(["--profile", "fast", "--name", &name, "--capacity", &capacity.to_string()]);
        // Everybody may read the arguments of a process, and a URL may have a password.
        command.env(db::VARIABLE, db).env_remove(db::LISTEN_VARIABLE).env(body::LOG, bodies);
        command.stdin(Stdio::null()).stdout(log()?).stderr(log()?);
        // Ctrl-C at the terminal is for the demo alone, which then ends its nodes itself.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let boot_us = SystemClock.boot();
        let child = command
            .spawn()
            .map_err(Failed::at(format!("{name} could not be started ({})", exe.display())))?;
        let pid = child.id();
        lives.push(Process { child, pid, status: Status::Running, journal, output });
        let first = life == 1;
        self.faults.note(&if first {
            FaultEvent::Start { pid, boot_us }
        } else {
            FaultEvent::Restart { pid, boot_us }
        })
    }

    /// Kills the node of a seat and waits until its process is gone.
    pub(crate) fn kill(&mut self, seat: usize) -> Result<(), Failed> {
        let pid = self.last_mut(seat)?.pid;
        self.faults.note(&FaultEvent::Kill { pid, node: None, boot_us: SystemClock.boot() })?;
        signal(pid, Signal::KILL)?;
        self.bury(seat)
    }

    /// Kills all nodes at once.
    pub(crate) fn kill_all(&mut self) -> Result<(), Failed> {
        let victims: Vec<usize> =
            self.with(Status::Running).into_iter().chain(self.with(Status::Frozen)).collect();
        self.faults.note(&FaultEvent::KillAll { boot_us: SystemClock.boot() })?;
        for seat in &victims {
            signal(self.last_mut(*seat)?.pid, Signal::KILL)?;
        }
        victims.into_iter().try_for_each(|seat| self.bury(seat))
    }

    fn bury(&mut self, seat: usize) -> Result<(), Failed> {
        let process = self.last_mut(seat)?;
        process.child.wait().map_err(Failed::at(name(seat)))?;
        process.status = Status::Killed;
        let pid = process.pid;
        self.faults.note(&FaultEvent::Exit { pid, boot_us: SystemClock.boot() })
    }

    /// Stops the process of a seat on trial, and waits until it stands still.
    pub(crate) fn halt(&mut self, seat: usize) -> Result<Halted, Failed> {
        let pid = self.last_mut(seat)?.pid;
        let boot_us = SystemClock.boot();
        signal(pid, Signal::STOP)?;
        let stands = stopped(pid)?;
        Ok(Halted { seat, pid, boot_us, stands })
    }

    /// Leaves a process that was stopped on trial as it is.
    pub(crate) fn freeze(&mut self, halted: Halted) -> Result<(), Failed> {
        let Halted { seat, pid, boot_us, .. } = halted;
        self.last_mut(seat)?.status = Status::Frozen;
        self.faults.note(&FaultEvent::Freeze { pid, node: None, boot_us })
    }

    /// Lets a process that was stopped on trial go on: that was a mere disturbance.
    pub(crate) fn let_go(&mut self, halted: Halted) -> Result<(), Failed> {
        let Halted { seat, pid, boot_us, .. } = halted;
        signal(pid, Signal::CONT)?;
        let what = format!("{} was stopped on trial", name(seat));
        self.faults.note(&FaultEvent::Disturbance { what, boot_us, until_us: SystemClock.boot() })
    }

    /// Notes that the store answered nobody for a while.
    pub(crate) fn note_outage(&mut self, outage: Outage, what: String) -> Result<(), Failed> {
        self.faults.note(&FaultEvent::Outage { what, boot_us: outage.from, until_us: outage.until })
    }

    /// Lets the frozen process of a seat go on.
    pub(crate) fn thaw(&mut self, seat: usize) -> Result<(), Failed> {
        let process = self.last_mut(seat)?;
        process.status = Status::Running;
        let pid = process.pid;
        self.faults.note(&FaultEvent::Thaw { pid, boot_us: SystemClock.boot() })?;
        signal(pid, Signal::CONT)
    }

    /// Asks all nodes to stop; instants up to `at` have been decided about.
    pub(crate) fn ask_to_stop(&mut self, at: Timestamp) -> Result<(), Failed> {
        self.faults.note(&FaultEvent::StopRequested { boot_us: SystemClock.boot(), at })?;
        for seat in self.with(Status::Running) {
            signal(self.last_mut(seat)?.pid, Signal::TERM)?;
        }
        Ok(())
    }

    /// Finds processes that have ended by themselves.
    pub(crate) fn ended(&mut self) -> Result<Vec<(usize, ExitStatus)>, Failed> {
        let mut ended = Vec::new();
        for seat in self.with(Status::Running) {
            let process = self.last_mut(seat)?;
            let Some(status) = process.child.try_wait().map_err(Failed::at(name(seat)))? else { continue };
            process.status = Status::Ended;
            let pid = process.pid;
            self.faults.note(&FaultEvent::Exit { pid, boot_us: SystemClock.boot() })?;
            ended.push((seat, status));
        }
        Ok(ended)
    }

    /// Kills whatever still lives, and waits for it and for the bodies that it leaves.
    pub(crate) fn clear(&mut self) {
        for process in self.seats.iter_mut().flatten() {
            if matches!(process.status, Status::Running | Status::Frozen) {
                // If it is gone already, that is what was wanted.
                let _ = process.child.kill();
                let _ = process.child.wait();
                process.status = Status::Killed;
            }
        }
        #[cfg(target_os = "linux")]
        bodies_gone(LAST_BODIES);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The name of the node in a seat.
pub(crate) fn name(seat: usize) -> String {
    format!("node-{}", seat + 1)
}

fn process(pid: u32) -> Result<Pid, Failed> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Failed::new("a process id that is none"))
}

fn signal(pid: u32, signal: Signal) -> Result<(), Failed> {
    rustix::process::kill_process(process(pid)?, signal)
        .map_err(Failed::at(format!("{signal:?} for process {pid}")))
}

/// Waits until a child stands still after SIGSTOP; `false` if it has ended instead.
fn stopped(pid: u32) -> Result<bool, Failed> {
    // `NOWAIT` leaves the exit status of a dead child to its owner.
    let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = rustix::process::waitid(WaitId::Pid(process(pid)?), options);
    let status = status.map_err(Failed::at(format!("waiting for process {pid} to stand still")))?;
    Ok(status.is_some_and(|status| status.stopped()))
}

/// Waits for orphaned bodies, which end by themselves, but no longer than `patience`.
#[cfg(target_os = "linux")]
fn bodies_gone(patience: Duration) {
    use rustix::process::{WaitOptions, wait};
    let (done, all_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Ends with ECHILD, when no child is left.
        while wait(WaitOptions::empty()).is_ok() {}
        let _ = done.send(());
    });
    let _ = all_done.recv_timeout(patience);
}
