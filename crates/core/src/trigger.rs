//! When it runs: the stored trigger and the window that bounds its schedule.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calendar::WhenExcluded;
use crate::error::{Error, Result};
use crate::job::{Payload, duration_us};
use crate::key::{JobId, TriggerId, TriggerKey};
use crate::misfire::MisfirePolicy;
use crate::pause::Pause;
use crate::quartz::Progress;
use crate::schedule::Schedule;
use crate::time::Timestamp;

/// How late an instant may be before its misfire policy decides about it, unless the trigger says otherwise.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(60);

/// The definition of a trigger, stored as one JSON document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TriggerSpec {
    /// The instants.
    pub schedule: Schedule,
    /// No instant before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// No instant after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// What happens to an instant that is later than `tolerance`.
    #[serde(default)]
    pub misfire: MisfirePolicy,
    /// How late an instant may be before `misfire` decides about it; 60 s by default.
    #[serde(default = "default_tolerance", with = "duration_us")]
    pub tolerance: Duration,
    /// The stored calendar that the instants are seen through, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Box<str>>,
    /// What becomes of an instant that the calendar excludes; left out by default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub when_excluded: WhenExcluded,
}

fn default_tolerance() -> Duration {
    DEFAULT_TOLERANCE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default(when_excluded: &WhenExcluded) -> bool {
    *when_excluded == WhenExcluded::default()
}

impl TriggerSpec {
    /// The definition with all defaults.
    pub fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            start: None,
            end: None,
            misfire: MisfirePolicy::default(),
            tolerance: DEFAULT_TOLERANCE,
            calendar: None,
            when_excluded: WhenExcluded::default(),
        }
    }

    /// Whether the instants of both are the same, given the same calendar.
    pub fn same_instants(&self, other: &Self) -> bool {
        let quartz = |spec: &Self| matches!(spec.misfire, MisfirePolicy::Quartz { .. });
        self.schedule == other.schedule
            && (self.start, self.end) == (other.start, other.end)
            && (&self.calendar, self.when_excluded) == (&other.calendar, other.when_excluded)
            && quartz(self) == quartz(other)
    }

    /// The first instant strictly after `after` within the window.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let just_before = |at: Timestamp| at.minus(Duration::from_micros(1));
        let after = self.start.map_or(after, |start| after.max(just_before(start)));
        self.schedule.next_after(after).filter(|next| self.end.is_none_or(|end| *next <= end))
    }

    /// The last instant in (`after`, `until`] within the window.
    pub fn last_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let until = self.end.map_or(until, |end| until.min(end));
        let after = self.start.map_or(after, |start| after.max(start.minus(Duration::from_micros(1))));
        if after >= until { None } else { self.schedule.last_within(after, until) }
    }

    /// How many instants lie in (`after`, `until`] within the window, or `None` if more than `cap`.
    pub fn count_within(&self, after: Timestamp, until: Timestamp, cap: u64) -> Option<u64> {
        let until = self.end.map_or(until, |end| until.min(end));
        let after = self.start.map_or(after, |start| after.max(start.minus(Duration::from_micros(1))));
        if after >= until { Some(0) } else { self.schedule.count_within(after, until, cap) }
    }

    /// The first instant of a trigger created at `now`, strictly after `last`, the last instant that an earlier
    /// trigger of the same key consumed.
    ///
    /// A schedule that names its own beginning (a start, or the instant of a one-shot) begins there, even in the
    /// past: the misfire policy decides about what is late. All others begin after `now`.
    pub fn first(&self, now: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
        let begin = match (&self.schedule, self.start) {
            (Schedule::Once(_), _) => Timestamp::MIN,
            (_, Some(start)) => start.minus(Duration::from_micros(1)),
            (_, None) => now,
        };
        self.next_after(last.map_or(begin, |last| last.max(begin)))
    }

    /// Checks the bounds that the types do not.
    ///
    /// # Errors
    /// `Invalid`, naming the setting.
    pub fn check(&self) -> Result<()> {
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end < start
        {
            return Err(Error::invalid("trigger", format!("the end {end} is before the start {start}")));
        }
        if let MisfirePolicy::Quartz { .. } = self.misfire {
            crate::quartz::Trigger::of(self)?;
        }
        match &self.calendar {
            Some(name) => crate::store::CalendarRecord::check_name(name)?,
            None if self.when_excluded != WhenExcluded::Skip => {
                let message = "instants can be moved only by a calendar, and none is named";
                return Err(Error::invalid("trigger", message));
            }
            None => {}
        }
        self.misfire.check()
    }
}

/// Whether a trigger can fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerState {
    /// It has a next instant.
    Active,
    /// It has a next instant and is under a pause, of its own or of its group: it goes on with that instant when the
    /// last pause is lifted, as its misfire policy says.
    Paused,
    /// Its schedule has no further instant.
    Complete,
    /// Its row could not be understood; `error` says why. Writing a correct definition makes it active again.
    Error,
}

impl TriggerState {
    /// The state of a trigger that is or is not under a pause, by which only those are changed that have a next instant.
    pub const fn under(self, pause: bool) -> Self {
        match (self, pause) {
            (Self::Active | Self::Paused, true) => Self::Paused,
            (Self::Active | Self::Paused, false) => Self::Active,
            (Self::Complete | Self::Error, _) => self,
        }
    }
}

/// A stored trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerRecord {
    /// Fresh at each creation.
    pub id: TriggerId,
    /// Its name.
    pub key: TriggerKey,
    /// The job that it runs.
    pub job_id: JobId,
    /// For people.
    pub description: Option<Box<str>>,
    /// Its definition.
    pub spec: TriggerSpec,
    /// Data laid over the job's.
    pub payload: Option<Payload>,
    /// Added to the job's priority.
    pub priority: i32,
    /// Whether it can fire.
    pub state: TriggerState,
    /// The next instant that has not been decided about.
    pub next_fire: Option<Timestamp>,
    /// When to look at it again: `next_fire`, or later while it is parked.
    pub wake: Option<Timestamp>,
    /// The last instant that fired or was skipped.
    pub last: Option<Timestamp>,
    /// What else it has come to.
    pub progress: Progress,
    /// How often it has fired.
    pub fires: i64,
    /// Grows with every decision about an instant.
    pub fire_seq: i64,
    /// Grows with every change of the definition.
    pub generation: i64,
    /// Grows with every write, of whatever kind.
    pub rev: i64,
    /// A hash that spreads triggers over nodes, 0 to 32,767.
    pub slice: i64,
    /// Why `state` is `Error`.
    pub error: Option<Box<str>>,
    /// The set that defines it, if any.
    pub set: Option<Box<str>>,
    /// The hash of the definition that was last written.
    pub hash: i64,
    /// When it was created, on the store's clock.
    pub created: Timestamp,
    /// Its own pause, beside which its group may have one.
    pub paused: Option<Pause>,
}

impl TriggerRecord {
    /// Gives it the state that its own pause and that of its group leave it. What is paused is not parked.
    pub fn follow_pauses(&mut self, group_is_paused: bool) {
        self.state = self.state.under(self.paused.is_some() || group_is_paused);
        if self.state == TriggerState::Paused {
            self.wake = self.next_fire;
        }
    }
}

/// How many slices there are; a node's share is a range of them.
pub const SLICES: i64 = 32_768;

/// The slice of a trigger: a mix of its id's bits, so that ids made together are spread.
pub fn slice_of(id: TriggerId) -> i64 {
    let mixed = id.get().unsigned_abs().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 49;
    i64::try_from(mixed).unwrap_or(0)
}
