//! The guard of a command: a small process between a node and the command that it runs, so that a `kill -9` or a
//! freeze of the node leaves no command running beyond the node's lease.
//!
//! It leads a process group, and its command is in it from the first moment. So whoever knows the guard can end the
//! command: the node kills the group when the guard is gone, however early. The guard ends the command, with SIGTERM and
//! then SIGKILL, when the node says so, when the node is gone (its end of the socket closes with it), or when the lease
//! passes on the boot-time clock without being renewed. At the end it kills the group and itself with it.
//!
//! The node's end of the talk is in [`crate::job`]. The guard knows no store, no scheduler and no executor, and reads
//! nothing but its socket: from a due instant to the start of a command it is in the way.

pub(crate) mod protocol;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use punctual_core::{BootInstant, Clock};
use punctual_runtime::SystemClock;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM};

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

/// How long the guard waits for a command that it has killed, before it kills itself with the group.
const KILLED: Duration = Duration::from_secs(1);

/// Signals that a command may send to its whole group, or the guard to end it, and that would end the guard.
const SURVIVED: [i32; 8] = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM];

/// Runs the guard. If its command began, it ends by SIGKILL, with what is left of its group.
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
    let spawned = match over {
        true => Err("the node's lease had run out before it began".to_owned()),
        false => lead().and_then(|()| spawn(&start)),
    };
    let child = match spawned {
        Ok(child) => child,
        Err(why) => {
            tell(&mut node, &Report::Refused { why });
            return ExitCode::from(REFUSED);
        }
    };
    let boot_us = SystemClock.boot().as_micros();
    tell(&mut node, &Report::Started { pid: child.id(), boot_us });
    if let Some((status, stopped)) = watch(child, &start, reader) {
        tell(&mut node, &Report::Ended { code: status.code(), signal: status.signal(), stopped });
    }
    signal(Signal::KILL);
    // Nobody comes here.
    ExitCode::FAILURE
}

/// Makes this process the leader of a group, which a node has done already, and one that outlives the group's signals.
fn lead() -> Result<(), String> {
    let why = |what: &str, error: &dyn std::fmt::Display| format!("the guard of the command {what}: {error}");
    if rustix::process::getpgrp() != rustix::process::getpid() {
        rustix::process::setpgid(None, None).map_err(|error| why("cannot lead a group", &error))?;
    }
    // Handlers, for what is ignored would be ignored by the command too.
    let seen = Arc::new(AtomicBool::new(false));
    for number in SURVIVED {
        signal_hook::flag::register(number, Arc::clone(&seen))
            .map_err(|error| why("cannot heed signals", &error))?;
    }
    Ok(())
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
    command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
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

/// Waits for the end of the command and brings it about when it must. `None` if it does not end though it was killed.
fn watch(
    mut child: Child,
    start: &Start,
    reader: BufReader<UnixStream>,
) -> Option<(ExitStatus, Option<Cause>)> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
    let (sender, happenings) = mpsc::channel();
    listen(reader, sender.clone());
    await_exit(pid, sender);
    let Exited(stopped) = supervise(pid, start, &happenings)?;
    Some((child.wait().unwrap_or_default(), stopped))
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

/// That the command has exited, and why it was stopped, if it was.
struct Exited(Option<Cause>);

/// Returns when the command has exited, or `None` when it was killed and does not end.
fn supervise(command: Pid, start: &Start, happenings: &Receiver<Happening>) -> Option<Exited> {
    let clock = SystemClock;
    let mut lease = start.lease_until_us.map(BootInstant::from_micros);
    let mut stopping: Option<(Cause, BootInstant)> = None;
    let mut killed: Option<BootInstant> = None;
    let stop = |cause: Cause, stopping: &mut Option<(Cause, BootInstant)>| {
        if stopping.is_none() {
            signal(Signal::TERM);
            // If it left the group, it is still the guard's child.
            signal_outsider(command, Signal::TERM);
            *stopping = Some((cause, clock.boot().plus(Duration::from_micros(start.kill_after_us))));
        }
    };
    loop {
        let now = clock.boot();
        if lease.is_some_and(|until| until <= now) {
            stop(Cause::LeaseOver, &mut stopping);
        }
        match (killed, stopping) {
            (Some(at), _) if at.plus(KILLED) <= now => return None,
            // The others of the group follow with the guard, when it has told how its command ended.
            (None, Some((_, at))) if at <= now => {
                let _ = rustix::process::kill_process(command, Signal::KILL);
                killed = Some(now);
            }
            _ => {}
        }
        let next = match (killed, stopping) {
            (Some(at), _) => Some(at.plus(KILLED)),
            (None, Some((_, kill_at))) => Some(kill_at),
            (None, None) => lease,
        };
        let happening = match next {
            Some(at) => happenings.recv_timeout(at.since(now).clamp(Duration::from_millis(1), LOOK)),
            None => happenings.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match happening {
            Ok(Happening::Exited) | Err(RecvTimeoutError::Disconnected) => {
                return Some(Exited(stopping.map(|(cause, _)| cause)));
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

/// Sends a signal to the guard's group, which is the command's.
fn signal(signal: Signal) {
    let _ = rustix::process::kill_process_group(rustix::process::getpgrp(), signal);
}

/// Sends a signal to a command that has left the guard's group.
fn signal_outsider(command: Pid, signal: Signal) {
    if rustix::process::getpgid(Some(command)).is_ok_and(|group| group != rustix::process::getpgrp()) {
        let _ = rustix::process::kill_process(command, signal);
    }
}
