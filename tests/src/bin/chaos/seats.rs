//! The workers of a run: a seat is taken by one process after the other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use punctual::core::{BootInstant, Clock};
use punctual::runtime::SystemClock;
use punctual_checker::FaultEvent;
use punctual_tests::chaos::orders::{Blow, Duty, Mark, Moment, Order};
use punctual_tests::proxy::Proxy;
use rustix::process::{Pid, Signal, kill_process};

/// How long a worker may take to come to the moment that it is to be struck at.
const COMES_WITHIN: Duration = Duration::from_secs(4);

/// The exit code of a worker that could not reach its store to begin with.
const UNAVAILABLE: i32 = 75;

/// What a process is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs.
    Runs,
    /// It is stopped until then.
    Frozen(BootInstant),
    /// It was asked to stop in good order, then.
    Stopping(BootInstant),
}

/// A process in a seat.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    pub(crate) state: State,
    /// The blow that it is to deal itself, by when somebody else does, and how long it stands if it is stopped.
    pending: Option<(Blow, BootInstant, Duration)>,
    moments: PathBuf,
    output: PathBuf,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it something. One that is gone needs no word.
    pub(crate) fn tell(&mut self, order: &Order) {
        if let (Some(stdin), Ok(line)) = (&mut self.stdin, serde_json::to_string(order)) {
            let _gone_already = stdin.write_all(format!("{line}\n").as_bytes());
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It was not waited for, so the number is still its own.
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _gone_already = kill_process(pid, signal);
        }
    }

    /// Whether somebody has stopped it, itself included.
    fn stands(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
    }

    /// The last mark that it has made.
    fn mark(&self) -> Option<Mark> {
        let text = fs::read_to_string(&self.moments).ok()?;
        serde_json::from_str(text.lines().last()?).ok()
    }
}

/// What was seen of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was killed, perhaps within a commit.
    Killed { in_commit: bool },
    /// It was frozen, perhaps within a transaction.
    Froze { in_transaction: bool },
    /// It has ended in good order, as it was asked to.
    Stopped,
    /// It has ended by itself, because it could not reach its store to begin with.
    Unavailable,
    /// It has ended by itself.
    Ended(ExitStatus),
    /// It did not stop in good order in time.
    Hangs,
}

/// A seat.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) name: String,
    pub(crate) profile: &'static str,
    pub(crate) location: String,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) process: Option<Process>,
    /// The library that lies about the wall clock, if there is one, and the file that says by how much.
    pub(crate) clock: Option<(PathBuf, PathBuf)>,
    /// When the seat is taken again.
    pub(crate) back: Option<BootInstant>,
    started: u32,
}

/// How long a worker may take to stop in good order.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

impl Seat {
    pub(crate) fn new(
        number: usize,
        profile: &'static str,
        location: String,
        proxy: Option<Proxy>,
        folder: &Path,
    ) -> Self {
        let name = format!("w{number}");
        // On a file the wall clock is the store's, which all processes must have in common.
        let library = proxy.as_ref().and_then(|_| liar());
        let clock = library.map(|library| (library, folder.join(format!("{name}.clock"))));
        Self { name, profile, location, proxy, process: None, clock, back: None, started: 0 }
    }

    /// Sets the process's wall clock to so many seconds from the true time, if it has one of its own.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn set_clock(&mut self, seconds: i64, faults: &mut Vec<FaultEvent>) -> io::Result<()> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some((_, file)) = &self.clock else {
            process.tell(&Order::SetClock { seconds });
            return Ok(());
        };
        fs::write(file, format!("{seconds:+}\n"))?;
        let (pid, boot_us) = (Some(process.pid()), SystemClock.boot());
        faults.push(FaultEvent::ClockJump { pid, by_us: seconds.saturating_mul(1_000_000), boot_us });
        Ok(())
    }

    /// Starts a process. Its files lie in `folder` and begin with the name of the seat.
    pub(crate) fn start(
        &mut self,
        folder: &Path,
        program: &Path,
        mutant: Option<&String>,
    ) -> io::Result<u32> {
        self.started += 1;
        self.back = None;
        let file = |what: &str| folder.join(format!("{}-{}.{what}", self.name, self.started));
        let duty = Duty {
            database: self.location.clone(),
            name: format!("{}-{}", self.name, self.started),
            profile: self.profile.to_owned(),
            journal: file("journal.jsonl"),
            bodies: folder.join("bodies.jsonl"),
            faults: file("faults.jsonl"),
            moments: file("moments.jsonl"),
            mutant: mutant.cloned(),
        };
        let output = file("log");
        let log = File::create(&output)?;
        let mut command = Command::new(program);
        command.arg(serde_json::to_string(&duty)?).env("RUST_LOG", "warn").env("RUST_BACKTRACE", "1");
        if let Some((library, file)) = &self.clock {
            fs::write(file, "+0\n")?;
            // Only the wall clock: leases and timers go by the others. Each look at any clock would read the file, and take
            // most of the machine; so it is read once a second.
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("FAKETIME_CACHE_DURATION", "1");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn()?;
        let (stdin, pid) = (child.stdin.take(), child.id());
        let moments = duty.moments;
        self.process = Some(Process { child, stdin, state: State::Runs, pending: None, moments, output });
        Ok(pid)
    }

    /// The process, if it runs and is to deal itself no blow.
    pub(crate) fn free(&mut self) -> Option<&mut Process> {
        self.process.as_mut().filter(|process| process.state == State::Runs && process.pending.is_none())
    }

    /// Waits for a blow that the process was told to deal itself.
    pub(crate) fn expect(&mut self, blow: Blow, stands: Duration) {
        if let Some(process) = &mut self.process {
            process.pending = Some((blow, SystemClock.boot().plus(COMES_WITHIN), stands));
        }
    }

    /// Ends the process as `kill -9` does.
    pub(crate) fn kill(&self, faults: &mut Vec<FaultEvent>) {
        if let Some(process) = &self.process {
            faults.push(FaultEvent::Kill { pid: process.pid(), node: None, boot_us: SystemClock.boot() });
            process.signal(Signal::KILL);
        }
    }

    /// Stops the process, as a debugger or a paused container does.
    pub(crate) fn freeze(&mut self, span: Duration, faults: &mut Vec<FaultEvent>) {
        if let Some(process) = &mut self.process {
            let boot_us = SystemClock.boot();
            faults.push(FaultEvent::Freeze { pid: process.pid(), node: None, boot_us });
            process.signal(Signal::STOP);
            process.state = State::Frozen(boot_us.plus(span));
        }
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&mut self, faults: &mut Vec<FaultEvent>) {
        let Some(process) = &mut self.process else { return };
        let State::Frozen(_) = process.state else { return };
        process.signal(Signal::CONT);
        process.state = State::Runs;
        let boot_us = SystemClock.boot();
        faults.push(FaultEvent::Thaw { pid: process.pid(), boot_us });
    }

    /// Asks the process to stop in good order.
    pub(crate) fn stop(&mut self) {
        if let Some(process) = &mut self.process {
            process.stdin.take();
            process.state = State::Stopping(SystemClock.boot().plus(STOPS_WITHIN));
        }
    }

    /// Looks at the process, and does what has come due for it.
    pub(crate) fn look(&mut self, faults: &mut Vec<FaultEvent>) -> io::Result<Option<Seen>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let now = SystemClock.boot();
        if let Some(status) = process.child.try_wait()? {
            let (pid, asked) = (process.pid(), matches!(process.state, State::Stopping(_)));
            let in_commit = process.mark() == Some(Mark::Struck(Moment::InCommit));
            self.process = None;
            if status.signal() == Some(Signal::KILL.as_raw()) {
                return Ok(Some(Seen::Killed { in_commit }));
            }
            faults.push(FaultEvent::Exit { pid, boot_us: now });
            return Ok(Some(match status.code() {
                Some(0) if asked => Seen::Stopped,
                Some(UNAVAILABLE) => Seen::Unavailable,
                _ => Seen::Ended(status),
            }));
        }
        match process.state {
            State::Frozen(until) => {
                if now >= until {
                    self.thaw(faults);
                }
                return Ok(None);
            }
            State::Stopping(until) if now >= until => {
                self.kill(faults);
                return Ok(Some(Seen::Hangs));
            }
            State::Runs | State::Stopping(_) => {}
        }
        // It has struck itself, perhaps later than it was to.
        if process.stands() {
            let span = process.pending.take().map_or(COMES_WITHIN, |(_, _, span)| span);
            let mark = process.mark();
            process.state = State::Frozen(now.plus(span));
            let in_transaction = matches!(mark, Some(Mark::Struck(moment)) if moment != Moment::Before);
            return Ok(Some(Seen::Froze { in_transaction }));
        }
        if let Some((blow, _, span)) = process.pending.take_if(|(_, until, _)| now >= *until) {
            process.tell(&Order::Calm);
            if blow == Blow::Kill {
                self.kill(faults);
            } else if process.state == State::Runs {
                self.freeze(span, faults);
                return Ok(Some(Seen::Froze { in_transaction: false }));
            }
        }
        Ok(None)
    }

    /// The name of the file of what the process prints, or the last one printed.
    pub(crate) fn log_name(&self) -> String {
        format!("{}-{}.log", self.name, self.started)
    }

    /// Waits for a process that was killed.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.child.wait()?;
        }
        Ok(())
    }

    /// The last lines that the process printed.
    pub(crate) fn said(&self) -> String {
        let log = |process: &Process| fs::read_to_string(&process.output).unwrap_or_default();
        let text = self.process.as_ref().map(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Where libfaketime is, if it is installed.
fn liar() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let path = |folder: &&str| Path::new(folder).join("faketime/libfaketime.so.1");
    folders.iter().map(path).find(|path| path.exists())
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _gone_already = process.child.kill();
            let _gone_already = process.child.wait();
        }
    }
}
