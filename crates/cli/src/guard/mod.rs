//! The guard of a command: a small process between a node and the command that it runs, so that a `kill -9` or a
//! freeze of the node leaves no command running beyond the node's lease.
//!
//! It starts the command in a process group of its own and ends the whole group, with SIGTERM and then SIGKILL, when
//! the node says so, when the node is gone (its end of the socket closes with it), or when the lease passes on the
//! boot-time clock without being renewed. When the command ends by itself, what it left in its group is killed too.
//!
//! The node's end of the talk is in [`crate::job`]. The guard knows no store, no scheduler and no executor, and reads
//! nothing but its socket: from a due instant to the start of a command it is in the way.

pub(crate) mod protocol;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use punctual_core::{BootInstant, Clock};
use punctual_runtime::SystemClock;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use self::protocol::{Cause, Order, Report, Start};

/// The first argument that makes this binary a guard.
pub(crate) const NAME: &str = "guard";

/// The exit status if the command could not be started, as shells have it.
const REFUSED: u8 = 127;

/// The longest wait between two looks at the boot-time clock, because timers stand still in suspend.
const LOOK: Duration = Duration::from_millis(250);

/// Something that the guard's main thread waits for.
enum Happening {
    Order(Order),
    NodeGone,
    Exited,
}

/// Runs the guard; its exit status is the command's, 128 + n if signal n ended it.
pub(crate) fn main() -> ExitCode {
    // `pkill punctual` is meant for nodes: a guard that dies with its node can stop nothing.
    let _ = std::fs::write("/proc/self/comm", "job-guard");
    let Some((start, reader, mut node)) = hear() else {
        let _ = writeln!(
            std::io::stderr(),
            "error: `punctual guard` is started by nodes only; see `punctual run`"
        );
        return ExitCode::from(2);
    };
    let over = start.lease_until_us.is_some_and(|until| until <= SystemClock.boot().as_micros());
    let spawned =
        if over { Err("the node's lease had run out before it began".to_owned()) } else { spawn(&start) };
    let child = match spawned {
        Ok(child) => child,
        Err(why) => {
            tell(&mut node, &Report::Refused { why });
            return ExitCode::from(REFUSED);
        }
    };
    let boot_us = SystemClock.boot().as_micros();
    tell(&mut node, &Report::Started { pid: child.id(), boot_us });
    let (status, stopped) = watch(child, &start, reader);
    let (code, signal) = (status.code(), status.signal());
    tell(&mut node, &Report::Ended { code, signal, stopped });
    let exit = code.or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(exit & 0xff).unwrap_or(1))
}

/// Takes the socket that the node left as standard input, and the first line from it.
fn hear() -> Option<(Start, BufReader<UnixStream>, UnixStream)> {
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
    let mut reader = BufReader::new(socket.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let start: Start = serde_json::from_str(&line).ok()?;
    (!start.argv.is_empty()).then_some((start, reader, socket))
}

fn tell(node: &mut UnixStream, report: &Report) {
    let Ok(mut line) = serde_json::to_vec(report) else { return };
    line.push(b'\n');
    // A node that is gone needs no report; a frozen one finds it in the socket's buffer.
    let _ = node.write_all(&line);
}

fn spawn(start: &Start) -> Result<Child, String> {
    let Start { argv, cwd, env, stdin, .. } = start;
    let (program, arguments) = argv.split_first().ok_or("no program is given")?;
    let mut command = Command::new(program);
    command.args(arguments).envs(env.iter().map(|(name, value)| (name, value)));
    command.process_group(0).stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    if let Some(cwd) = cwd {
        if !std::path::Path::new(cwd).is_dir() {
            return Err(format!("the working directory {cwd:?} does not exist on this node"));
        }
        command.current_dir(cwd);
    }
    let mut child = command.spawn().map_err(|error| describe(&error, program, env))?;
    if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin.clone()) {
        // On a thread, for a command need not read what it is given; it ends with the pipe or with the guard.
        std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    }
    Ok(child)
}

fn describe(error: &std::io::Error, program: &str, env: &[(String, String)]) -> String {
    let is_path = program.contains('/');
    match error.kind() {
        std::io::ErrorKind::NotFound if is_path && std::path::Path::new(program).exists() => {
            format!(
                "the program {program:?} is there, but its interpreter (the `#!` line, or the loader) is not"
            )
        }
        std::io::ErrorKind::NotFound if is_path => format!("there is no program {program:?} on this node"),
        std::io::ErrorKind::NotFound => {
            let given = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
            let path = given.or_else(|| std::env::var("PATH").ok()).unwrap_or_default();
            format!("there is no program {program:?} in PATH ({path}) on this node")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("the program {program:?} may not be executed: {error}")
        }
        _ => format!("the program {program:?} cannot be started: {error}"),
    }
}

/// Waits for the end of the command and brings it about when it must.
fn watch(mut child: Child, start: &Start, reader: BufReader<UnixStream>) -> (ExitStatus, Option<Cause>) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (sender, happenings) = mpsc::channel();
    if let Some(pid) = group {
        listen(reader, sender.clone());
        await_exit(pid, sender);
        let stopped = supervise(pid, start, &happenings);
        // The leader is not reaped yet, so its number still names this group and no other.
        signal(pid, Signal::KILL);
        return (child.wait().unwrap_or_default(), stopped);
    }
    (child.wait().unwrap_or_default(), None)
}

fn listen(mut reader: BufReader<UnixStream>, sender: Sender<Happening>) {
    std::thread::spawn(move || {
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(1..) => {
                    if let Some(order) = Order::parse(&line) {
                        let _ = sender.send(Happening::Order(order));
                    }
                }
                _ => {
                    let _ = sender.send(Happening::NodeGone);
                    return;
                }
            }
        }
    });
}

fn await_exit(pid: Pid, sender: Sender<Happening>) {
    std::thread::spawn(move || {
        // Leaves the zombie for later, so that the group's number is not given away meanwhile.
        while rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .is_err_and(|error| error == rustix::io::Errno::INTR)
        {}
        let _ = sender.send(Happening::Exited);
    });
}

/// Returns when the command has exited, and says why it was stopped, if it was.
fn supervise(group: Pid, start: &Start, happenings: &Receiver<Happening>) -> Option<Cause> {
    let clock = SystemClock;
    let mut lease = start.lease_until_us.map(BootInstant::from_micros);
    let mut stopping: Option<(Cause, BootInstant)> = None;
    let mut killed = false;
    let stop = |cause: Cause, stopping: &mut Option<(Cause, BootInstant)>| {
        if stopping.is_none() {
            signal(group, Signal::TERM);
            *stopping = Some((cause, clock.boot().plus(Duration::from_micros(start.kill_after_us))));
        }
    };
    loop {
        let now = clock.boot();
        if lease.is_some_and(|until| until <= now) {
            stop(Cause::LeaseOver, &mut stopping);
        }
        if let Some((_, at)) = stopping
            && at <= now
            && !killed
        {
            signal(group, Signal::KILL);
            killed = true;
        }
        let next = match stopping {
            Some((_, kill_at)) => (!killed).then_some(kill_at),
            None => lease,
        };
        let happening = match next {
            Some(at) => happenings.recv_timeout(at.since(now).clamp(Duration::from_millis(1), LOOK)),
            None => happenings.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match happening {
            Ok(Happening::Exited) | Err(RecvTimeoutError::Disconnected) => {
                return stopping.map(|(cause, _)| cause);
            }
            Ok(Happening::Order(Order::Stop)) => stop(Cause::Asked, &mut stopping),
            // A lease of work that is not bound to it is of no interest; a late renewal does not undo a stop.
            Ok(Happening::Order(Order::Lease(until))) => {
                lease = lease.map(|old| old.max(BootInstant::from_micros(until)));
            }
            Ok(Happening::NodeGone) => stop(Cause::NodeGone, &mut stopping),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn signal(group: Pid, signal: Signal) {
    // ESRCH: it is empty already.
    let _ = rustix::process::kill_process_group(group, signal);
}
