//! Members of the cluster: their rows, their beats, and the figures that say when one is taken for dead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::job::duration_us;
use crate::key::{Kind, NodeId};
use crate::time::Timestamp;

/// How far two boot-time clocks may drift apart, as a share: 1 %.
pub const DRIFT_PERCENT: u32 = 1;

/// The figures of failure detection. A node publishes its own, and is judged by them alone.
///
/// # Contract
/// `take >= (hold + wind_down) * 1.01 / 0.99`: a node has stopped before anybody may take its work over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// `h`: the time between two check-ins.
    #[serde(with = "duration_us")]
    pub interval: Duration,
    /// `L_hold`: how long after the sending of its last good check-in a node may start work.
    #[serde(with = "duration_us")]
    pub hold: Duration,
    /// `δ`: how long bodies have to stop after that.
    #[serde(with = "duration_us")]
    pub wind_down: Duration,
    /// `L_take`: how long an observer must see the same beat before it may take the node's work over.
    #[serde(with = "duration_us")]
    pub take: Duration,
    /// `T_idle`: how long the database lets a silent client keep its locks.
    #[serde(with = "duration_us")]
    pub idle: Duration,
}

const fn secs(interval: u64, hold: u64, wind_down: u64, take: u64, idle: u64) -> Profile {
    Profile {
        interval: Duration::from_secs(interval),
        hold: Duration::from_secs(hold),
        wind_down: Duration::from_secs(wind_down),
        take: Duration::from_secs(take),
        idle: Duration::from_secs(idle),
    }
}

impl Profile {
    /// 2/6/2/9/2 s: a dead node's work is offered again within 16 s.
    pub const DEFAULT: Self = secs(2, 6, 2, 9, 2);
    /// 1/3/1/5/2 s: within 10 s.
    pub const FAST: Self = secs(1, 3, 1, 5, 2);
    /// 5/15/5/25/5 s: within 41 s, with few statements.
    pub const CALM: Self = secs(5, 15, 5, 25, 5);
    /// 10/120/10/150/10 s: outlives the failover of a managed database without cancelling jobs.
    pub const FAILOVER_TOLERANT: Self = secs(10, 120, 10, 150, 10);

    /// The profile of a name: `default`, `fast`, `calm` or `failover-tolerant`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "default" => Some(Self::DEFAULT),
            "fast" => Some(Self::FAST),
            "calm" => Some(Self::CALM),
            "failover-tolerant" => Some(Self::FAILOVER_TOLERANT),
            _ => None,
        }
    }

    /// The bound on the time from a node's death to the moment its work is offered again:
    /// `L_take + 2h + T_idle`, plus `poll` until somebody looks.
    pub fn takeover_bound(&self, poll: Duration) -> Duration {
        self.take + self.interval * 2 + self.idle + poll
    }

    /// Checks that a node of this profile stops before others take over, however the clocks drift.
    ///
    /// # Errors
    /// `Invalid`, with the smallest `take` that would do.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(Error::invalid("profile", why));
        if self.interval.is_zero() || self.hold < self.interval * 2 {
            return wrong(format!(
                "hold {:?} must be at least twice the interval {:?}, so that one lost check-in stops nothing",
                self.hold, self.interval
            ));
        }
        let needed = (self.hold + self.wind_down) * (100 + DRIFT_PERCENT) / (100 - DRIFT_PERCENT);
        if self.take < needed {
            return wrong(format!(
                "take {:?} is less than (hold + wind_down) * 1.01 / 0.99 = {needed:?}; a node might still run what \
                 another has taken over",
                self.take
            ));
        }
        Ok(())
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the cluster thinks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It joined, and nobody has said otherwise.
    Up,
    /// It stopped by itself.
    Left,
    /// Its beats stopped, and its work was taken over.
    Dead,
}

/// A node as it introduces itself. Written once; what changes often is its beat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Drawn at process start.
    pub id: NodeId,
    /// For people; not unique.
    pub name: Box<str>,
    /// The machine.
    pub host: Box<str>,
    /// The process.
    pub pid: u32,
    /// The version of Punctual.
    pub version: Box<str>,
    /// The version of its time zone data.
    pub zone_data: Box<str>,
    /// Its figures of failure detection.
    pub profile: Profile,
    /// How many executions it runs at once.
    pub capacity: u32,
    /// What it can run.
    pub kinds: Vec<Kind>,
}

/// A node as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What it said of itself.
    pub info: NodeInfo,
    /// What the cluster thinks of it.
    pub state: NodeState,
    /// Whether it fires nothing on request.
    pub standby: bool,
    /// Grows with every command that a claim must not slip past.
    pub gate: i64,
    /// When it joined, on the store's clock.
    pub joined: Timestamp,
    /// Its last beat, 0 before the first and after the end.
    pub beat: i64,
    /// When that was, on the store's clock; for people.
    pub seen: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_profiles_keep_their_promise() {
        for (name, bound) in [("default", 15), ("fast", 9), ("calm", 40), ("failover-tolerant", 180)] {
            let profile = Profile::named(name).unwrap();
            profile.check().unwrap();
            assert_eq!(profile.takeover_bound(Duration::ZERO).as_secs(), bound, "{name}");
        }
    }

    #[test]
    fn a_take_without_the_wind_down_is_refused() {
        let hasty = Profile { take: Profile::FAST.hold, ..Profile::FAST };
        assert!(hasty.check().unwrap_err().message().contains("1.01"));
    }
}
