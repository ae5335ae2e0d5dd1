//! The kind `command`: a program with arguments, or a line for `/bin/sh`, run under a [guard](crate::guard).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual::{Context, Failure, Job, Output, State};
use punctual_core::Clock;
use punctual_runtime::SystemClock;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::output::{Bounded, both};
use super::{Host, PREFIX, attempt};
use crate::guard::NAME;
use crate::guard::protocol::{Cause, Order, Report, Start};

/// How long output is waited for after the command has ended: what holds the pipes open then is a process that left
/// the command's process group.
const OUTPUT_GRACE: Duration = Duration::from_millis(250);

/// The payload of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandJob {
    /// What to run.
    pub(crate) run: Program,
    /// The working directory; the node's own by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// Variables to add to the node's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env: BTreeMap<String, String>,
    /// What to write to the standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stdin: Option<String>,
}

/// What a command runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Program {
    /// A program and its arguments, without a shell.
    Argv(Vec<String>),
    /// A line for `/bin/sh -c`.
    Shell(String),
}

impl Job for CommandJob {
    const KIND: &'static str = "command";
}

impl CommandJob {
    fn start(&self, ctx: &Context, host: &Host) -> Start {
        let argv = match &self.run {
            Program::Argv(argv) => argv.clone(),
            Program::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        };
        let mut env: Vec<(String, String)> = self.env.clone().into_iter().collect();
        env.extend(attempt(ctx).into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value)));
        env.push((format!("{PREFIX}NODE"), host.node.clone()));
        let bound = ctx.stops_on_lease_loss();
        Start {
            argv,
            cwd: self.cwd.clone(),
            env,
            stdin: self.stdin.clone(),
            lease_until_us: bound.then(|| ctx.lease_until().as_micros()),
            kill_after_us: u64::try_from(host.kill_after.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Runs a command to its end.
pub(crate) async fn run(
    job: CommandJob,
    ctx: Context,
    State(host): State<Host>,
) -> (Output, Result<(), Failure>) {
    let mut guarded = match Guarded::launch(&host) {
        Ok(guarded) => guarded,
        Err(error) => {
            let why = format!("the guard of the command could not be started: {error}");
            return (Output::default(), Err(Failure::retry(why)));
        }
    };
    let end = guarded.talk(&job.start(&ctx, &host), &ctx).await;
    let _ = guarded.process.wait().await;
    let [out, err] = [&mut guarded.out, &mut guarded.err];
    let deadline = SystemClock.sleep(OUTPUT_GRACE);
    tokio::select! {
        () = async { out.ended().await; err.ended().await } => {}
        () = deadline => {}
    }
    let (mut out, mut err) = (out.take(), err.take());
    let result = match end {
        End::Exited(0) => Ok(()),
        End::Exited(code) => Err(failure(&format!("exit status {code}"), &mut err)),
        End::Signalled(signal) => Err(failure(&format!("ended by signal {signal}"), &mut err)),
        End::Stopped(why) => Err(failure(why, &mut err)),
        End::Refused(why) => Err(Failure::retry(why)),
        End::GuardLost => Err(failure("its guard was killed, so the command was killed too", &mut err)),
    };
    (Output(both(&mut out, &mut err)), result)
}

fn failure(what: &str, err: &mut Bounded) -> Failure {
    match err.last_lines(5, 1_000) {
        last if last.is_empty() => Failure::retry(what),
        last => Failure::retry(format!("{what}: {last}")),
    }
}

/// How a command ended.
enum End {
    Exited(i32),
    Signalled(i32),
    Stopped(&'static str),
    Refused(String),
    GuardLost,
}

/// A guard, and what its command gives out.
struct Guarded {
    process: Child,
    reports: Lines<BufReader<OwnedReadHalf>>,
    orders: OwnedWriteHalf,
    out: Collector,
    err: Collector,
}

impl Guarded {
    fn launch(host: &Host) -> std::io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&host.program);
        // A group of its own: Ctrl-C at a terminal is for the node, which then stops its commands in order. The command
        // will be in it, so from here on it can be ended, whatever becomes of the guard.
        command.arg0("punctual").arg(NAME).process_group(0);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        // The command keeps our copy of the guard's end of the socket; without it the guard's death would not be seen.
        drop(command);
        let (reports, orders) = UnixStream::from_std(ours)?.into_split();
        let out = Collector::of(process.stdout.take());
        let err = Collector::of(process.stderr.take());
        Ok(Self { process, reports: BufReader::new(reports).lines(), orders, out, err })
    }

    /// Ends whatever is in the guard's process group. The guard was not waited for yet, so its number names no other.
    fn kill_group(&self) {
        let guard = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(guard) = guard {
            // ESRCH: it is empty already.
            let _ = rustix::process::kill_process_group(guard, Signal::KILL);
        }
    }

    /// Tells the guard what to run, keeps it informed about the lease, and waits for the end of the command.
    ///
    /// If this is dropped the socket closes, and the guard ends the command by itself.
    async fn talk(&mut self, start: &Start, ctx: &Context) -> End {
        let Ok(mut line) = serde_json::to_vec(start) else {
            return End::Refused("the command cannot be written as JSON".to_owned());
        };
        line.push(b'\n');
        // A guard that is gone says so below, by the end of its reports.
        let _ = self.orders.write_all(&line).await;
        let bound = start.lease_until_us.is_some();
        let mut asked = false;
        loop {
            tokio::select! {
                report = self.reports.next_line() => {
                    let report = report.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
                    match report {
                        Some(Report::Started { .. }) => {}
                        Some(Report::Refused { why }) => return End::Refused(why),
                        Some(Report::Ended { code, signal, stopped }) => return ended(code, signal, stopped),
                        None => {
                            self.kill_group();
                            return End::GuardLost;
                        }
                    }
                }
                until = ctx.lease_renewed(), if bound && !asked => {
                    let _ = self.orders.write_all(Order::Lease(until.as_micros()).line().as_bytes()).await;
                }
                _ = ctx.stopped(), if !asked => {
                    asked = true;
                    let _ = self.orders.write_all(Order::Stop.line().as_bytes()).await;
                }
            }
        }
    }
}

fn ended(code: Option<i32>, signal: Option<i32>, stopped: Option<Cause>) -> End {
    match (stopped, code, signal) {
        // It got done in spite of being asked to stop.
        (_, Some(0), _) => End::Exited(0),
        (Some(Cause::Asked), ..) => End::Stopped("stopped"),
        (Some(Cause::LeaseOver), ..) => End::Stopped("stopped because the node's lease ran out"),
        (Some(Cause::NodeGone), ..) => End::Stopped("stopped because its node was gone"),
        (None, Some(code), _) => End::Exited(code),
        (None, None, signal) => End::Signalled(signal.unwrap_or_default()),
    }
}

/// Reads a pipe to its end, however much comes, so that the command never waits for us.
struct Collector {
    kept: Arc<Mutex<Bounded>>,
    task: JoinHandle<()>,
}

impl Collector {
    fn of(pipe: Option<impl AsyncRead + Send + Unpin + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Bounded::default()));
        let sink = Arc::clone(&kept);
        let task = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
                let bytes = buffer.get(..read).unwrap_or_default();
                sink.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
            }
        });
        Self { kept, task }
    }

    async fn ended(&mut self) {
        let _ = (&mut self.task).await;
    }

    fn take(&self) -> Bounded {
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // Whoever still holds the pipe gets a broken one.
        self.task.abort();
    }
}
