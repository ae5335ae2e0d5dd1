//! Guards of commands, with real processes: whatever happens to the node, its command ends in time.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::Duration;

use punctual_core::Clock;
use punctual_runtime::SystemClock;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use self::support::{PATIENCE, Place, fuse, kill, read_pipe};

/// A guard that the test is the node of.
struct Guard {
    child: Child,
    socket: UnixStream,
    reports: BufReader<UnixStream>,
    _fuse: Sender<()>,
}

impl Guard {
    fn start(command: &[&str], more: Value) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut guard = Command::new(env!("CARGO_BIN_EXE_punctual"));
        guard.arg("guard").stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = guard.spawn().unwrap();
        drop(guard);
        let fuse = fuse(child.id());
        let mut guard =
            Self { child, reports: BufReader::new(ours.try_clone().unwrap()), socket: ours, _fuse: fuse };
        let mut start = json!({ "argv": command, "kill_after_us": 300_000 });
        start.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        guard.say(&start.to_string());
        guard
    }

    fn say(&mut self, line: &str) {
        self.socket.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn report(&mut self) -> Value {
        let mut line = String::new();
        self.reports.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no report: {line:?}"))
    }

    /// Waits until the command has said `up`.
    fn read_up(&mut self) {
        let mut up = [0; 3];
        self.child.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        assert_eq!(&up, b"up\n");
    }

    /// Everything that came out of the command and whatever it left, and how the guard ended.
    fn end(mut self) -> (String, ExitStatus) {
        let mut out = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (out, self.child.wait().unwrap())
    }
}

fn sh(line: &str) -> [&str; 3] {
    ["/bin/sh", "-c", line]
}

#[test]
fn the_guard_tells_how_its_command_ended_and_goes_with_its_group() {
    for (line, code, signal) in
        [("exit 0", Some(0), None), ("exit 7", Some(7), None), ("kill -9 $$", None, Some(9))]
    {
        let mut guard = Guard::start(&sh(line), json!({}));
        assert_eq!(guard.report()["report"], "started");
        let ended = guard.report();
        assert_eq!(ended, json!({ "report": "ended", "code": code, "signal": signal, "stopped": null }));
        assert_eq!(guard.end().1.signal(), Some(9), "{line}");
    }
}

#[test]
fn a_command_is_in_the_group_of_its_guard() {
    let guard =
        Guard::start(&sh("read pid name state parent group rest < /proc/self/stat; echo $group"), json!({}));
    let id = guard.child.id();
    assert_eq!(guard.end().0, format!("{id}\n"));
}

#[test]
fn signals_to_the_group_do_not_end_the_guard() {
    let line = "trap '' TERM INT HUP USR1; for name in TERM INT HUP USR1; do kill -$name 0; done; exit 4";
    let mut guard = Guard::start(&sh(line), json!({}));
    assert_eq!(guard.report()["report"], "started");
    assert_eq!(guard.report()["code"], 4);
    // What the guard survives, commands do not.
    for name in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "VTALRM"] {
        let mut guard = Guard::start(&sh(&format!("kill -{name} 0; exit 4")), json!({}));
        assert_eq!(guard.report()["report"], "started");
        let ended = guard.report();
        assert!(ended["signal"].is_i64() && ended["stopped"].is_null(), "{name}: {ended}");
    }
}

#[test]
fn a_command_that_left_the_group_is_stopped_all_the_same() {
    for (line, signal) in [("echo up; sleep 1000", 15), ("trap '' TERM; echo up; sleep 1000; sleep 1000", 9)]
    {
        let mut guard = Guard::start(&["setsid", "/bin/sh", "-c", line], json!({}));
        assert_eq!(guard.report()["report"], "started");
        guard.read_up();
        guard.say("stop");
        let ended = guard.report();
        assert_eq!((&ended["stopped"], &ended["signal"]), (&json!("asked"), &json!(signal)));
    }
}

/// As a node does, whatever the guard was doing when it was killed.
#[test]
fn a_guard_that_is_killed_at_any_moment_leaves_no_command_behind() {
    let mut began = 0;
    for round in 0..150_u64 {
        let place = Place::new("");
        let pipe = read_pipe(&place.fifo("pipe"));
        let hold = std::fs::File::options().write(true).open(place.path("pipe")).unwrap();
        let line = format!("exec 3>{}; echo up >&3; sleep 1000; sleep 1000", place.path("pipe").display());
        let guard = Guard::start(&sh(&line), json!({}));
        // Up to about 6 ms: before it reads its orders, while it starts the command, and after.
        let until = SystemClock.boot().plus(Duration::from_micros(round * 40));
        while SystemClock.boot() < until {}
        kill(guard.child.id(), Signal::KILL);
        let Guard { mut child, socket, mut reports, .. } = guard;
        // The end of the reports is all that a node needs to see.
        let mut said = String::new();
        reports.read_to_string(&mut said).unwrap_or_default();
        drop(socket);
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        child.wait().unwrap();
        drop(hold);
        let first = pipe.recv_timeout(PATIENCE).unwrap();
        began += usize::from(first == "up");
        assert_eq!(
            pipe.recv_timeout(PATIENCE).unwrap(),
            "",
            "round {round}: the last writer is gone; it said {said:?}"
        );
    }
    assert!(began > 0, "no command ever began");
}

#[test]
fn input_environment_and_directory_reach_the_command() {
    let more = json!({ "stdin": "in\n", "env": [["NAME", "value"]], "cwd": "/" });
    let guard = Guard::start(&sh("read word; echo $word $NAME; pwd"), more);
    assert_eq!(guard.end().0, "in value\n/\n");
}

#[test]
fn a_command_that_cannot_start_is_refused_with_the_reason() {
    let refused = |command: &[&str], more: Value| {
        let mut guard = Guard::start(command, more);
        let report = guard.report();
        assert_eq!(report["report"], "refused", "{report}");
        assert_eq!(guard.end().1.code(), Some(127));
        report["why"].as_str().unwrap().to_owned()
    };
    let why = refused(&["no-such-program"], json!({ "env": [["PATH", "/nowhere"]] }));
    assert!(why.contains("\"no-such-program\"") && why.contains("PATH (/nowhere)"), "{why}");
    let why = refused(&["/no/such/program"], json!({}));
    assert!(why.contains("/no/such/program"), "{why}");
    let why = refused(&["/etc/passwd"], json!({}));
    assert!(why.contains("may not be executed"), "{why}");
    let why = refused(&["true"], json!({ "cwd": "/no/such/folder" }));
    assert!(why.contains("/no/such/folder"), "{why}");
    let why = refused(&["true"], json!({ "lease_until_us": 1 }));
    assert!(why.contains("lease"), "{why}");
}

#[test]
fn a_stop_ends_the_whole_group_even_if_it_ignores_sigterm() {
    let mut guard = Guard::start(
        &sh("trap '' TERM; (trap '' TERM; sleep 1000) & echo up; sleep 1000; sleep 1000"),
        json!({}),
    );
    assert_eq!(guard.report()["report"], "started");
    guard.read_up();
    guard.say("stop");
    let ended = guard.report();
    assert_eq!((&ended["stopped"], &ended["signal"]), (&json!("asked"), &json!(9)));
    // The end of the output proves that nobody is left who could write to it.
    guard.end();
}

#[test]
fn a_command_that_heeds_sigterm_may_clean_up() {
    let mut guard =
        Guard::start(&sh("trap 'echo cleaned; exit 3' TERM; echo up; sleep 1000 & wait"), json!({}));
    assert_eq!(guard.report()["report"], "started");
    guard.read_up();
    guard.say("stop");
    let ended = guard.report();
    assert_eq!((&ended["stopped"], &ended["code"]), (&json!("asked"), &json!(3)));
    assert_eq!(guard.end().0, "cleaned\n");
}

#[test]
fn the_end_of_the_node_is_the_end_of_the_command() {
    let mut guard = Guard::start(&sh("sleep 1000"), json!({}));
    assert_eq!(guard.report()["report"], "started");
    guard.socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(guard.report()["stopped"], "node_gone");
    guard.end();
}

#[test]
fn a_command_runs_as_long_as_its_lease_is_renewed() {
    let second = Duration::from_secs(1);
    let now = SystemClock.boot();
    let mut guard =
        Guard::start(&sh("sleep 1000"), json!({ "lease_until_us": now.plus(second).as_micros() }));
    assert_eq!(guard.report()["report"], "started");
    let renewed = now.plus(second * 2);
    guard.say(&format!("lease {}", renewed.as_micros()));
    guard.say("lease 17");
    guard.say("nonsense");
    assert_eq!(guard.report()["stopped"], "lease_over");
    let ended = SystemClock.boot();
    assert!(ended >= renewed, "not before the lease ended");
    assert!(ended.since(renewed) < second, "soon after the lease ended: {:?}", ended.since(renewed));
    guard.end();
}

#[test]
fn what_a_command_leaves_in_its_group_ends_with_it() {
    let mut guard = Guard::start(&sh("sleep 1000 & echo bye"), json!({}));
    assert_eq!(guard.report()["report"], "started");
    assert_eq!(guard.report()["code"], 0);
    assert_eq!(guard.end().0, "bye\n");
}

#[test]
fn the_guard_is_not_a_command_for_people() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_punctual")).arg("guard").stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("started by nodes only"));
}

const LONG: &str = "revision = 1\n[job.long]\nshell = \"exec 3>pipe; echo up >&3; sleep 1000; sleep 1000\"\nevery = \"1s\"\n\
                    overlap = \"skip\"\n";

#[test]
fn a_killed_node_leaves_no_command_behind() {
    let place = Place::new(LONG);
    let pipe = read_pipe(&place.fifo("pipe"));
    let node = place.node(&["--profile", "fast"]);
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "up");
    let killed = SystemClock.boot();
    node.signal(Signal::KILL);
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "", "the last writer is gone");
    let took = SystemClock.boot().since(killed);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_frozen_node_leaves_no_exclusive_command_beyond_its_lease() {
    let place = Place::new(LONG);
    let pipe = read_pipe(&place.fifo("pipe"));
    let node = place.node(&["--profile", "fast"]);
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "up");
    let frozen = SystemClock.boot();
    node.signal(Signal::STOP);
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "", "the last writer is gone");
    let took = SystemClock.boot().since(frozen);
    // Three seconds of lease and one to wind down; others may take over after five.
    assert!(took < Duration::from_secs(4), "{took:?}");
    node.signal(Signal::CONT);
}

#[test]
fn a_node_ends_a_command_whose_guard_was_killed() {
    let place = Place::new(
        "revision = 1\n[job.once]\nshell = \"exec 3>pipe; echo $PPID >&3; sleep 1000; sleep 1000\"\n\
         at = 2020-01-01T00:00:00Z\n",
    );
    let pipe = read_pipe(&place.fifo("pipe"));
    let mut node = place.node(&[]);
    let guard = pipe.recv_timeout(PATIENCE).unwrap();
    kill(guard.parse().unwrap(), Signal::KILL);
    let ended = node.event("ended");
    assert!(ended["error"].as_str().unwrap().contains("its guard was killed"), "{ended}");
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "", "the last writer is gone");
    assert!(node.shut_down().success());
}

#[test]
fn a_cancelled_shutdown_kills_commands_at_once() {
    let place = Place::new(LONG);
    let pipe = read_pipe(&place.fifo("pipe"));
    let node = place.node(&["--profile", "fast"]);
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "up");
    node.signal(Signal::INT);
    // The second is sent when the first was heard: the node says so on its standard error.
    while !place.read("stderr.log").contains("shutting down") {
        std::thread::yield_now();
    }
    node.signal(Signal::INT);
    assert_eq!(node.wait().code(), Some(130));
    assert_eq!(pipe.recv_timeout(PATIENCE).unwrap(), "", "the last writer is gone");
}
