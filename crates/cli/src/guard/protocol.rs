//! What a node and the guard of one of its commands say to each other: a line each, over a socket pair.

use serde::{Deserialize, Serialize};

/// The first line from the node: what to run, and until when it may run unrenewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// The program and its arguments; at least the program.
    pub(crate) argv: Vec<String>,
    /// The working directory; the node's own by default.
    #[serde(default)]
    pub(crate) cwd: Option<String>,
    /// Variables to add to the node's own.
    #[serde(default)]
    pub(crate) env: Vec<(String, String)>,
    /// What to write to the standard input; nothing by default.
    #[serde(default)]
    pub(crate) stdin: Option<String>,
    /// The boot-time instant, in microseconds, at which the command must begin to stop unless the lease is renewed.
    /// `None` for commands that may outlive the lease.
    #[serde(default)]
    pub(crate) lease_until_us: Option<u64>,
    /// How long after SIGTERM SIGKILL comes, in microseconds.
    pub(crate) kill_after_us: u64,
}

/// Every further line from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// `lease <boot-time µs>`: the lease now lasts until then.
    Lease(u64),
    /// `stop`: end the command.
    Stop,
}

impl Order {
    /// Reads a line. One that makes no sense is `None`: the guard goes on as before.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        match line.trim().split_once(' ') {
            None if line.trim() == "stop" => Some(Self::Stop),
            Some(("lease", until)) => until.trim().parse().ok().map(Self::Lease),
            _ => None,
        }
    }

    pub(crate) fn line(self) -> String {
        match self {
            Self::Lease(until) => format!("lease {until}\n"),
            Self::Stop => "stop\n".to_owned(),
        }
    }
}

/// A line from the guard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The command runs.
    Started {
        /// Its process; its process group is the guard's.
        pid: u32,
        /// When, on the boot-time clock.
        boot_us: u64,
    },
    /// The command could not be started.
    Refused {
        /// Why.
        why: String,
    },
    /// The command has ended. What it left in its process group is killed right after, together with the guard.
    Ended {
        /// Its exit status, if it exited.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<i32>,
        /// Why the guard stopped it, if it did.
        stopped: Option<Cause>,
    },
}

/// Why a guard stopped its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// The node said so.
    Asked,
    /// The lease ended without being renewed.
    LeaseOver,
    /// The node is gone.
    NodeGone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_their_line_and_nonsense_is_none() {
        for order in [Order::Stop, Order::Lease(17)] {
            assert_eq!(Order::parse(&order.line()), Some(order));
        }
        for line in ["", "stop it", "lease", "lease x", "lease -1", "\u{0}"] {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
    }
}
