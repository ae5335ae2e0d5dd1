//! What happens to instants that are late. Pure: a decision needs the definition, the instant and the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::job::duration_us;
use crate::time::Timestamp;
use crate::trigger::TriggerSpec;

/// The most instants that one skip counts one by one; a longer range is recorded without its count.
pub const COUNT_CAP: u64 = 100_000;

/// What a trigger does about instants later than its tolerance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum MisfirePolicy {
    /// Fire once for the latest missed instant, skip those before it. The default.
    #[default]
    FireOnceNow,
    /// Skip all missed instants and go on with the next one.
    Skip,
    /// Fire every missed instant, one after the other (Quartz: ignore misfires).
    FireAll,
    /// Fire the last `limit` missed instants that are not older than `max_age`, skip the others.
    CatchUp {
        /// How many at most, 1 to 100.
        limit: u32,
        /// How old at most; `None` is any age.
        #[serde(default, with = "duration_us::option", skip_serializing_if = "Option::is_none")]
        max_age: Option<Duration>,
    },
}

impl MisfirePolicy {
    /// Checks the bounds that the types do not.
    ///
    /// # Errors
    /// `Invalid` if a catch-up limit is not between 1 and 100.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::CatchUp { limit, .. } if !(1..=100).contains(limit) => Err(Error::invalid(
                "misfire",
                format!(
                    "a catch-up of {limit} instants is not between 1 and 100; use `fire_all` for all of them"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// A range of instants that will not fire. Both ends are instants of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The first instant that is left out.
    pub first: Timestamp,
    /// The last instant that is left out; equal to `first` for one instant.
    pub last: Timestamp,
    /// How many there are, if not more than [`COUNT_CAP`].
    pub count: Option<u64>,
}

/// What to do about a due instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Instants to record as skipped, before the one that fires.
    pub missed: Option<Missed>,
    /// The instant to fire, if any.
    pub fire: Option<Timestamp>,
}

/// Decides about `due`, the oldest undecided instant of a trigger, at the time `now` (with `due <= now`).
///
/// An instant that is not later than the tolerance fires. Otherwise the policy decides about all instants from `due`
/// up to `now`.
pub fn decide(spec: &TriggerSpec, due: Timestamp, now: Timestamp) -> Decision {
    let fire = |at: Timestamp| Decision { missed: missed_before(spec, due, at), fire: Some(at) };
    if now.since(due) <= spec.tolerance {
        return fire(due);
    }
    match spec.misfire {
        MisfirePolicy::FireAll => fire(due),
        MisfirePolicy::FireOnceNow => fire(latest(spec, due, now)),
        MisfirePolicy::Skip => {
            Decision { missed: missed_through(spec, due, latest(spec, due, now)), fire: None }
        }
        MisfirePolicy::CatchUp { limit, max_age } => match oldest_to_catch_up(spec, due, now, limit, max_age)
        {
            Some(oldest) => fire(oldest),
            None => Decision { missed: missed_through(spec, due, latest(spec, due, now)), fire: None },
        },
    }
}

fn latest(spec: &TriggerSpec, due: Timestamp, now: Timestamp) -> Timestamp {
    spec.last_within(due, now).unwrap_or(due)
}

fn missed_through(spec: &TriggerSpec, first: Timestamp, last: Timestamp) -> Option<Missed> {
    let count = spec.count_within(first, last, COUNT_CAP - 1).map(|more| more + 1);
    Some(Missed { first, last, count })
}

fn missed_before(spec: &TriggerSpec, due: Timestamp, fire: Timestamp) -> Option<Missed> {
    let last = spec.last_within(due, fire.minus(Duration::from_micros(1))).unwrap_or(due);
    if due < fire { missed_through(spec, due, last) } else { None }
}

fn oldest_to_catch_up(
    spec: &TriggerSpec,
    due: Timestamp,
    now: Timestamp,
    limit: u32,
    max_age: Option<Duration>,
) -> Option<Timestamp> {
    let youngest_allowed = max_age.map_or(Timestamp::MIN, |age| now.minus(age));
    let mut oldest = None;
    let mut until = now;
    for _ in 0..limit {
        let candidate = if until < due { None } else { spec.last_within(due, until).or(Some(due)) };
        let Some(at) = candidate.filter(|at| *at >= youngest_allowed) else { break };
        oldest = Some(at);
        until = at.minus(Duration::from_micros(1));
    }
    oldest
}
