//! What jobs of a schedule file are made of: the payloads of the kinds `command` and `http`, and the handlers that run
//! them.

mod command;
mod http;
mod output;

use std::path::PathBuf;
use std::time::Duration;

use punctual::{Builder, Context, Profile};

pub(crate) use self::command::{CommandJob, Program};
pub(crate) use self::http::{Expect, HttpJob, MAX_BODY_BYTES};

/// The prefix of the variables that commands find in their environment. A file may not set such.
pub(crate) const PREFIX: &str = "PUNCTUAL_";

/// What every handler needs to know of the process that it runs in.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The name of the node, for commands to see.
    pub(crate) node: String,
    /// This binary, which is also the guard.
    program: PathBuf,
    /// How long after SIGTERM a command gets SIGKILL: well before the node's wind-down is over.
    kill_after: Duration,
}

impl Host {
    pub(crate) fn new(node: String, profile: Profile) -> Self {
        Self { node, program: own_program(), kill_after: profile.wind_down * 3 / 5 }
    }
}

/// The path of this binary. On Linux the link that still leads to it after the file was replaced by a newer one, so
/// that a node and its guards are always of one version.
fn own_program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() { link } else { std::env::current_exe().unwrap_or_else(|_| PathBuf::from("punctual")) }
}

/// Registers both kinds.
pub(crate) fn register(builder: Builder, host: Host) -> Builder {
    builder.state(host).state(http::Agents::default()).job(command::run).job(http::run)
}

/// What a command or a request learns of the attempt that it is, as names and values.
fn attempt(ctx: &Context) -> Vec<(&'static str, String)> {
    let scheduled = ctx.scheduled_at();
    let mut known = vec![
        ("EXECUTION_ID", ctx.execution_id().to_string()),
        ("ATTEMPT", ctx.attempt().to_string()),
        ("FENCE", ctx.fence().to_string()),
        ("FENCING_TOKEN", ctx.fencing_token().to_string()),
        ("SCHEDULED", scheduled.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
        ("SCHEDULED_US", scheduled.timestamp_micros().to_string()),
    ];
    known.extend(ctx.job().map(|job| ("JOB", job.to_string())));
    known.extend(ctx.trigger().map(|trigger| ("TRIGGER", trigger.to_string())));
    known.extend(ctx.generation().map(|generation| ("GENERATION", generation.to_string())));
    known.extend(ctx.concurrency_key().map(|key| ("CONCURRENCY_KEY", key.to_owned())));
    known
}
