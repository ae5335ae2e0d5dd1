//! What happens to instants that are late. Pure: a decision needs the definition, the instant and the time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::instants::Instants;
use crate::job::duration_us;
use crate::quartz::{CatchUp, Instruction, Progress, Trigger};
use crate::time::{Timestamp, micros};
use crate::trigger::TriggerSpec;

/// The most instants that one skip counts one by one; a longer range is recorded without its count.
pub const COUNT_CAP: u64 = 100_000;

/// Over how long a catch-up may be spread.
const SPREAD: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(86_400);

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
    /// As `CatchUp`, but each of them waits a random time first, all together up to `over`: after an outage not every
    /// trigger fires in the same second.
    Spread {
        /// How many at most, 1 to 100.
        limit: u32,
        /// How old at most; `None` is any age.
        #[serde(default, with = "duration_us::option", skip_serializing_if = "Option::is_none")]
        max_age: Option<Duration>,
        /// The longest time that they wait in all, 1 ms to a day.
        #[serde(with = "duration_us")]
        over: Duration,
    },
    /// Exactly what Quartz does, also to the trigger's start and counters; see [`quartz`](crate::quartz).
    Quartz {
        /// The misfire instruction.
        instruction: Instruction,
    },
}

impl MisfirePolicy {
    /// Checks the bounds that the types do not.
    ///
    /// # Errors
    /// `Invalid` if a catch-up limit is not between 1 and 100, or if it spreads over nothing or over more than a day.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Spread { over, .. } if !SPREAD.contains(over) => Err(Error::invalid(
                "misfire",
                format!("a catch-up spread over {over:?} is not between 1 ms and a day"),
            )),
            Self::CatchUp { limit, .. } | Self::Spread { limit, .. } if !(1..=100).contains(limit) => {
                Err(Error::invalid(
                    "misfire",
                    format!(
                        "a catch-up of {limit} instants is not between 1 and 100; use `fire_all` for all of them"
                    ),
                ))
            }
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

/// The oldest undecided instant of a trigger, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The instant, not later than `now`.
    pub instant: Timestamp,
    /// The last instant that was decided about.
    pub previous: Option<Timestamp>,
    /// The store's time.
    pub now: Timestamp,
    /// Whether the trigger was put off since the instant was due: its wake-up lies after its next instant.
    pub waited: bool,
    /// A random number, for a wait.
    pub random: u64,
}

/// What becomes of a trigger with a due instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet: look again then. The instant stays due.
    Wait(Timestamp),
    /// It moves on.
    Go(Course),
}

/// How a trigger moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// Instants to record as skipped, before the one that fires.
    pub missed: Option<Missed>,
    /// The instant to fire, if any. By rules of Quartz it may be `now`, which is no instant of the schedule.
    pub fire: Option<Timestamp>,
    /// Which of the late instants it is; `None` if it is not late.
    pub catch_up: Option<CatchUp>,
    /// The last instant that is decided about by this.
    pub last: Timestamp,
    /// The next one.
    pub next: Option<Timestamp>,
    /// What the trigger has come to.
    pub progress: Progress,
}

/// Decides about `due`, the oldest undecided instant of a trigger, at the time `now` (with `due <= now`), without a
/// calendar. See [`judge`].
pub fn decide(spec: &TriggerSpec, due: Timestamp, now: Timestamp) -> Decision {
    match Instants::of(spec) {
        Ok(instants) => decide_about(&instants, due, now),
        // What cannot be enumerated here has this one instant at least.
        Err(_) => Decision { missed: None, fire: Some(due) },
    }
}

/// Decides about a due instant with everything that bears on it.
///
/// An instant that is not later than the tolerance fires. Otherwise the policy decides about all instants from it up
/// to `now`. Every instant up to [`Course::last`] either fires or is in [`Course::missed`].
pub fn judge(instants: &Instants<'_>, due: &Due) -> Verdict {
    if let Some((instruction, trigger)) = instants.quartz() {
        return Verdict::Go(quartz_course(instants, instruction, trigger, due));
    }
    let late = is_late(instants, due.instant, due.now);
    if let MisfirePolicy::Spread { limit, over, .. } = instants.spec().misfire
        && late
        && !due.waited
    {
        let share = micros(over).unsigned_abs() / u64::from(limit.max(1));
        return Verdict::Wait(
            due.now.plus(Duration::from_micros(due.random.checked_rem(share).unwrap_or(0))),
        );
    }
    let Decision { missed, fire } = decide_about(instants, due.instant, due.now);
    let last = fire.or_else(|| missed.map(|missed| missed.last)).unwrap_or(due.instant);
    let next = instants.next_after(last);
    let mut progress = instants.progress();
    let catch_up = fire.filter(|_| late).map(|fire| turn(instants, fire, due.now));
    let goes_on = next.is_some_and(|next| next <= due.now && is_late(instants, next, due.now));
    progress.catch_up = catch_up.filter(|_| goes_on);
    Verdict::Go(Course { missed, fire, catch_up, last, next, progress })
}

fn is_late(instants: &Instants<'_>, instant: Timestamp, now: Timestamp) -> bool {
    now.since(instant) > instants.spec().tolerance
}

/// The place of an instant among those that will be caught up with.
fn turn(instants: &Instants<'_>, fire: Timestamp, now: Timestamp) -> CatchUp {
    match instants.progress().catch_up {
        Some(CatchUp { k, n }) => CatchUp { k: k.saturating_add(1), n: n.max(k.saturating_add(1)) },
        None => {
            let after = instants.count_within(fire, now, COUNT_CAP).unwrap_or(COUNT_CAP);
            CatchUp { k: 1, n: u32::try_from(after).unwrap_or(u32::MAX).saturating_add(1) }
        }
    }
}

fn decide_about(spec: &Instants<'_>, due: Timestamp, now: Timestamp) -> Decision {
    let fire = |at: Timestamp| Decision { missed: missed_before(spec, due, at), fire: Some(at) };
    if !is_late(spec, due, now) {
        return fire(due);
    }
    let none = || Decision { missed: missed_through(spec, due, latest(spec, due, now)), fire: None };
    match spec.spec().misfire {
        MisfirePolicy::FireAll | MisfirePolicy::Quartz { .. } => fire(due),
        MisfirePolicy::FireOnceNow => fire(latest(spec, due, now)),
        MisfirePolicy::Skip => none(),
        MisfirePolicy::CatchUp { limit, max_age } | MisfirePolicy::Spread { limit, max_age, .. } => {
            oldest_to_catch_up(spec, due, now, limit, max_age).map_or_else(none, fire)
        }
    }
}

fn quartz_course(instants: &Instants<'_>, instruction: Instruction, trigger: &Trigger, due: &Due) -> Course {
    let (calendar, late) = (instants.calendar(), is_late(instants, due.instant, due.now));
    let position = instants.position(due.instant, due.previous);
    if !late || instruction == Instruction::Ignore {
        let then = trigger.triggered(&position, calendar);
        let (fire, next, progress) = (Some(due.instant), then.next, then.progress);
        return Course { missed: None, fire, catch_up: None, last: due.instant, next, progress };
    }
    let after = trigger.after_misfire(instruction, &position, calendar, due.now);
    if after.next == Some(due.now) {
        // The instants that it replaces are skipped; their grid is the one before it was moved.
        let missed = missed_before(instants, due.instant, due.now);
        let then = trigger.triggered(&after, calendar);
        let (catch_up, last) = (Some(CatchUp { k: 1, n: 1 }), due.now);
        return Course { missed, fire: after.next, catch_up, last, next: then.next, progress: then.progress };
    }
    let last = latest(instants, due.instant, due.now);
    let missed = missed_through(instants, due.instant, last);
    Course { missed, fire: None, catch_up: None, last, next: after.next, progress: after.progress }
}

fn latest(spec: &Instants<'_>, due: Timestamp, now: Timestamp) -> Timestamp {
    spec.last_within(due, now).unwrap_or(due)
}

fn missed_through(spec: &Instants<'_>, first: Timestamp, last: Timestamp) -> Option<Missed> {
    let count = spec.count_within(first, last, COUNT_CAP - 1).map(|more| more + 1);
    Some(Missed { first, last, count })
}

fn missed_before(spec: &Instants<'_>, due: Timestamp, fire: Timestamp) -> Option<Missed> {
    let last = spec.last_within(due, fire.minus(Duration::from_micros(1))).unwrap_or(due);
    if due < fire { missed_through(spec, due, last) } else { None }
}

fn oldest_to_catch_up(
    spec: &Instants<'_>,
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

#[cfg(test)]
mod tests;
