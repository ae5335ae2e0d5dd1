//! The values that a node is tuned by, apart from the parts that it is made of.

use std::time::Duration;

use punctual_core::{Error, Profile, Result};

use crate::node::turn::PATIENCE;

/// The values of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// For people; the host's name and the process id by default.
    pub name: String,
    /// How many executions run at once; 64 by default.
    pub capacity: u32,
    /// How far a node claims ahead of its bodies: as much as it has ended within this time, beyond what it can begin at
    /// once; 100 ms by default. Zero claims only what can begin at once. Claimed executions that have waited for four
    /// times as long go back, for others to run; so it is a quarter of the profile's `hold` at most.
    pub prefetch: Duration,
    /// The figures of failure detection.
    pub profile: Profile,
    /// The longest time between two looks for work, if nothing wakes the node before; 1 s by default. It adds to the
    /// time within which a dead node's work is run again.
    pub poll: Duration,
    /// How long a graceful shutdown waits for running bodies before it stops them; 30 s by default.
    pub grace: Duration,
    /// How long history is kept; 7 days by default. `None` keeps it for ever.
    pub keep_history: Option<Duration>,
    /// Whether work that was enqueued leaves a record when it succeeds; `true` by default. Without it a queue is faster,
    /// but nothing is known of such work afterwards: it is not listed, and enqueueing its id again runs it again. What
    /// fails is recorded in any case, and so is what a trigger fires and what `complete_in` ends.
    pub record_successes: bool,
    /// The time between two rounds of upkeep; 60 s by default.
    pub upkeep: Duration,
    /// How often the cluster looks for what should not be in the store and mends what it may; 10 minutes by default.
    /// `None` never looks. The nodes share the work.
    pub check: Option<Duration>,
    /// The most rows that one statement of upkeep deletes; 1,000 by default.
    pub upkeep_rows: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            capacity: 64,
            prefetch: Duration::from_millis(100),
            profile: Profile::DEFAULT,
            poll: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            keep_history: Some(Duration::from_secs(7 * 24 * 3600)),
            record_successes: true,
            upkeep: Duration::from_secs(60),
            check: Some(Duration::from_secs(600)),
            upkeep_rows: 1_000,
        }
    }
}

impl Settings {
    /// Checks the bounds that the types do not.
    ///
    /// # Errors
    /// `Invalid`, naming the value.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(Error::invalid("settings", why));
        self.profile.check()?;
        if self.capacity == 0 {
            return wrong("capacity is 0: the node could run nothing; use 1 or more, or standby");
        }
        if self.prefetch.saturating_mul(PATIENCE) > self.profile.hold {
            return wrong(&format!(
                "prefetch {:?} is more than a quarter of the profile's hold {:?}: executions would wait for longer than \
                 the lease is sure to last",
                self.prefetch, self.profile.hold
            ));
        }
        if self.poll.is_zero() {
            return wrong("poll is zero: the node would never rest; use 10 ms or more");
        }
        if self.check.is_some_and(|span| span.is_zero()) {
            return wrong(
                "check is zero: the node would look without a pause; use a minute or more, or None",
            );
        }
        if self.upkeep.is_zero() || self.upkeep_rows == 0 {
            return wrong("upkeep needs a time between rounds and a number of rows, both above zero");
        }
        Ok(())
    }
}
