//! What the demo's jobs run: a process that works for a while, and keeps a log of its own.
//!
//! The log is the only witness of what really ran: a node says what it started, a body says that it was there. Each
//! line is one write to a file that all bodies of a run append to. There are thousands of these processes in a run, so
//! this neither parses the command line with clap nor starts an executor.

use std::env;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use punctual::runtime::SystemClock;
use punctual_checker::{BodyEvent, BodyStart};
use punctual_core::{Clock, ExecutionId, Fence, Timestamp};
use signal_hook::consts::SIGTERM;

/// Where bodies log: set by the demo for its nodes, and handed on by them.
pub(crate) const LOG: &str = "PUNCTUAL_DEMO_BODIES";

/// The name of the hidden command.
const NAME: &str = "demo-body";

/// Runs as a body, if that is what this process was started for.
pub(crate) fn intercept() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != NAME {
        return None;
    }
    Some(work(arguments).unwrap_or_else(|why| {
        eprintln!("{NAME}: {why}");
        ExitCode::from(2)
    }))
}

/// How a body is told to behave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Orders {
    /// How long it works.
    span: Duration,
    /// One in so many executions fails at its first attempt; 0 is none.
    fail_one_in: u128,
}

fn orders(mut arguments: impl Iterator<Item = OsString>) -> Result<Orders, String> {
    let mut orders = Orders::default();
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.into_string().ok()).unwrap_or_default();
        let wrong = |why: &dyn std::fmt::Display| format!("{name:?} {value:?}: {why}");
        match name.to_str() {
            Some("--for") => orders.span = humantime::parse_duration(&value).map_err(|why| wrong(&why))?,
            Some("--fail-one-in") => orders.fail_one_in = value.parse().map_err(|why| wrong(&why))?,
            _ => return Err(wrong(&"expected --for or --fail-one-in")),
        }
    }
    Ok(orders)
}

fn work(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode, String> {
    let orders = orders(arguments)?;
    let (mut told, tell) = UnixStream::pair().map_err(|why| why.to_string())?;
    // Before the first line: a body that was there must be able to say how it ended.
    signal_hook::low_level::pipe::register(SIGTERM, tell).map_err(|why| format!("SIGTERM: {why}"))?;
    let path =
        env::var_os(LOG).ok_or_else(|| format!("{LOG} is not set; only `punctual demo` starts this"))?;
    let mut log =
        OpenOptions::new().append(true).create(true).open(&path).map_err(|why| format!("{path:?}: {why}"))?;
    let start = start()?;

    write(&mut log, &BodyEvent::Begin(start.clone()))?;
    let stopped = wait(&mut told, orders.span).map_err(|why| why.to_string())?;
    let last = BodyStart { boot_us: SystemClock.boot(), ..start };
    if stopped {
        write(&mut log, &BodyEvent::Cancelled(last))?;
        return Ok(ExitCode::from(143));
    }
    let fails = fails(&orders, last.execution, last.attempt);
    write(&mut log, &BodyEvent::End(last))?;
    if fails {
        eprintln!("this execution was chosen to fail at its first attempt");
    }
    Ok(ExitCode::from(u8::from(fails)))
}

/// Whether this attempt fails: the same executions fail in every run of the same history.
fn fails(orders: &Orders, execution: ExecutionId, attempt: u32) -> bool {
    let id = u128::from_be_bytes(execution.to_bytes());
    attempt == 1 && id.checked_rem(orders.fail_one_in) == Some(0)
}

/// One write for each line, so that lines of bodies that write at once never mix.
fn write(log: &mut File, event: &BodyEvent) -> Result<(), String> {
    let mut line = serde_json::to_vec(event).map_err(|why| why.to_string())?;
    line.push(b'\n');
    match log.write(&line) {
        Ok(written) if written == line.len() => Ok(()),
        Ok(written) => Err(format!("only {written} of {} bytes of a line were logged", line.len())),
        Err(why) => Err(format!("the log of bodies: {why}")),
    }
}

/// Waits until it is told to stop, or until `span` is over; answers whether it was told.
fn wait(told: &mut UnixStream, span: Duration) -> std::io::Result<bool> {
    let until = SystemClock.boot().plus(span);
    loop {
        let left = until.since(SystemClock.boot());
        if left.is_zero() {
            return Ok(false);
        }
        told.set_read_timeout(Some(left))?;
        match told.read(&mut [0]) {
            Ok(_) => return Ok(true),
            Err(why)
                if matches!(
                    why.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(why) => return Err(why),
        }
    }
}

/// Which start of which execution this is, by the variables that `punctual run` gives to each command.
fn start() -> Result<BodyStart, String> {
    Ok(BodyStart {
        token: given("PUNCTUAL_FENCING_TOKEN")?,
        execution: needed("PUNCTUAL_EXECUTION_ID")?,
        attempt: needed("PUNCTUAL_ATTEMPT")?,
        fence: Fence::from_stored(needed("PUNCTUAL_FENCE")?),
        trigger: given("PUNCTUAL_TRIGGER")?,
        generation: given("PUNCTUAL_GENERATION")?,
        scheduled: Timestamp::from_micros(needed("PUNCTUAL_SCHEDULED_US")?),
        slot: env::var("PUNCTUAL_CONCURRENCY_KEY")
            .ok()
            .filter(|key| !key.is_empty())
            .map(String::into_boxed_str),
        pid: std::process::id(),
        boot_us: SystemClock.boot(),
    })
}

fn given<T: FromStr<Err: std::fmt::Display>>(name: &str) -> Result<Option<T>, String> {
    let text = env::var(name).ok().filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|why| format!("{name}={text:?}: {why}"))).transpose()
}

fn needed<T: FromStr<Err: std::fmt::Display>>(name: &str) -> Result<T, String> {
    given(name)?.ok_or_else(|| format!("{name} is not set; only `punctual run` starts this"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = OsString> + '_ {
        line.split_whitespace().map(OsString::from)
    }

    #[test]
    fn orders_are_read_from_the_command_line() {
        let read = orders(words("--for 2500ms --fail-one-in 5")).unwrap();
        assert_eq!(read, Orders { span: Duration::from_millis(2500), fail_one_in: 5 });
        for wrong in ["--for", "--for soon", "--fail-one-in -1", "--jump 3s"] {
            assert!(orders(words(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_attempt_of_some_executions_fails() {
        let id = |low: u8| ExecutionId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, low]);
        let orders = Orders { span: Duration::ZERO, fail_one_in: 5 };
        assert!(fails(&orders, id(10), 1) && !fails(&orders, id(10), 2) && !fails(&orders, id(11), 1));
        assert!(!fails(&Orders::default(), id(10), 1));
    }

    #[test]
    fn a_wait_ends_with_its_time_or_with_a_word() {
        let (mut told, mut tell) = UnixStream::pair().unwrap();
        assert!(!wait(&mut told, Duration::from_millis(5)).unwrap());
        tell.write_all(b"x").unwrap();
        assert!(wait(&mut told, Duration::from_secs(60)).unwrap());
    }
}
