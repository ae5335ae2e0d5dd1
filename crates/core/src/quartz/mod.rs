//! Triggers exactly as Quartz means them: first fire time, the times after it, and every misfire instruction.
//!
//! For whoever moves from Quartz and wants to keep his triggers to the second. [`Trigger`] is the definition,
//! [`Position`] the state that Quartz would hold, and the methods are Quartz's, as pure functions of both and of the
//! time. What Quartz documents or means to do is reproduced; where its code is wrong (a wall time in a gap that moves
//! all later ones, fires after the end), the meaning is. `docs/quartz-deviations.md` lists these places.
//!
//! A stored trigger holds the next instant in a column of its own. What else a firing or an instruction may change is
//! a [`Progress`], one small document beside the definition.

mod instruction;
mod misfire;
mod progress;

use std::time::Duration;

use chrono::Datelike;

pub use self::instruction::{Instruction, TriggerType};
pub use self::progress::{CatchUp, Progress};
use crate::calendar::{Calendar, Filter};
use crate::error::{Error, Result};
use crate::schedule::{CalendarInterval, Clocks, Cron, Daily, DailyClocks, Dst, MonthEnd, Once, Schedule};
use crate::time::{Timestamp, micros};
use crate::trigger::TriggerSpec;

/// The definition of a trigger as in Quartz.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    kind: Kind,
    start: Timestamp,
    end: Option<Timestamp>,
    last_year: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Microseconds; `None` repeats for ever.
    Simple {
        interval: i64,
        repeat: Option<u32>,
    },
    Cron(Cron),
    CalendarInterval(CalendarInterval),
    Daily {
        daily: Daily,
        repeat: Option<u32>,
    },
}

/// Where a trigger stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next fire time; `None` if it does not fire again.
    pub next: Option<Timestamp>,
    /// The last fire time.
    pub previous: Option<Timestamp>,
    /// What else changes.
    pub progress: Progress,
}

impl Trigger {
    /// The year after which Quartz gives up looking, if it is not told otherwise: no year that it can reach.
    pub const NO_LAST_YEAR: i32 = i32::MAX;

    /// Fires at `start + k · interval`, `repeat + 1` times, or for ever. The end is exclusive; the start always fires.
    ///
    /// # Errors
    /// `Invalid` if it repeats and the interval is below a millisecond or above what fits, or if the end is before
    /// the start.
    pub fn simple(
        start: Timestamp,
        end: Option<Timestamp>,
        interval: Duration,
        repeat: Option<u32>,
    ) -> Result<Self> {
        let interval = micros(interval);
        if repeat != Some(0) && !(1_000..i64::MAX).contains(&interval) {
            return Err(Error::invalid(
                "quartz trigger",
                "a repeating trigger needs an interval of 1 ms or more",
            ));
        }
        Self::new(Kind::Simple { interval, repeat }, start, end)
    }

    /// Fires by a cron expression from `start`, whose fraction of a second is dropped, to `end`, both inclusive.
    ///
    /// # Errors
    /// `Invalid` if the end is before the start.
    pub fn cron(cron: Cron, start: Timestamp, end: Option<Timestamp>) -> Result<Self> {
        let start = Timestamp::from_secs(start.as_micros().div_euclid(1_000_000));
        Self::new(Kind::Cron(cron.with_dst(Dst::quartz())), start, end)
    }

    /// Fires by steps of the calendar from their start. The end is exclusive; the start always fires.
    ///
    /// The days of short months stick, as in Quartz. Unless the steps have Quartz's flags, both are off.
    ///
    /// # Errors
    /// `Invalid` if the end is before the start.
    pub fn calendar_interval(steps: CalendarInterval, end: Option<Timestamp>) -> Result<Self> {
        let clocks = match steps.clocks() {
            clocks @ Clocks::Quartz { .. } => clocks,
            Clocks::Dst(_) => {
                Clocks::Quartz { preserve_hour_of_day: false, skip_day_if_hour_does_not_exist: false }
            }
        };
        let start = steps.start();
        let steps = steps.with_month_end(MonthEnd::Sticks).with_clocks(clocks);
        Self::new(Kind::CalendarInterval(steps), start, end)
    }

    /// Fires in a window of each day from `start` to `end`, both inclusive, `repeat + 1` times, or for ever.
    ///
    /// # Errors
    /// `Invalid` if the end is before the start, or if `daily` counts for itself.
    pub fn daily(
        daily: Daily,
        start: Timestamp,
        end: Option<Timestamp>,
        repeat: Option<u32>,
    ) -> Result<Self> {
        if daily.repeat().is_some() {
            let message = "a trigger of Quartz counts its fires, not the instants of its schedule";
            return Err(Error::invalid("quartz trigger", message));
        }
        let daily = daily.with_clocks(DailyClocks::Quartz);
        Self::new(Kind::Daily { daily, repeat }, start, end)
    }

    fn new(kind: Kind, start: Timestamp, end: Option<Timestamp>) -> Result<Self> {
        if let Some(end) = end.filter(|&end| end < start) {
            let message = format!("the end {end} is before the start {start}");
            return Err(Error::invalid("quartz trigger", message));
        }
        Ok(Self { kind, start, end, last_year: Self::NO_LAST_YEAR })
    }

    /// The definition that a stored trigger stands for, if its misfire policy is one of Quartz's.
    ///
    /// # Errors
    /// `Invalid` if Quartz has no such trigger: a custom schedule, or a schedule that counts from another instant than
    /// the trigger's start.
    pub fn of(spec: &TriggerSpec) -> Result<Self> {
        let own_start = match &spec.schedule {
            Schedule::Once(once) => Some(once.at()),
            Schedule::Every(every) => Some(every.anchor()),
            Schedule::CalendarInterval(steps) => Some(steps.start()),
            Schedule::Cron(_) | Schedule::Daily(_) | Schedule::Custom(_) => None,
        };
        // Without an anchor an interval counts from 1970, which nobody means by a start.
        let given = spec.start.or_else(|| own_start.filter(|&own| own != Timestamp::EPOCH));
        if own_start.is_some() && given != own_start {
            let message = "by rules of Quartz the schedule must count from the trigger's start";
            return Err(Error::invalid("quartz trigger", message));
        }
        match &spec.schedule {
            Schedule::Once(once) => Self::simple(once.at(), spec.end, Duration::ZERO, Some(0)),
            Schedule::Every(every) => {
                Self::simple(every.anchor(), spec.end, every.interval(), every.repeat())
            }
            Schedule::Cron(cron) => {
                Self::cron(cron.clone(), spec.start.unwrap_or(Timestamp::EPOCH), spec.end)
            }
            Schedule::CalendarInterval(steps) => Self::calendar_interval(steps.clone(), spec.end),
            Schedule::Daily(daily) => {
                let repeat = daily.repeat();
                let start = spec.start.or_else(|| repeat.map(|(_, from)| from)).unwrap_or(Timestamp::EPOCH);
                let daily = daily.clone().forever();
                Self::daily(daily, start, spec.end, repeat.map(|(count, _)| count))
            }
            Schedule::Custom(_) => {
                Err(Error::invalid("quartz trigger", "a custom schedule has no rules of Quartz"))
            }
        }
    }

    /// The same trigger as a schedule of this project with its window, by its instants. What a misfire does is not
    /// in it; see [`Instruction::policy`].
    ///
    /// # Errors
    /// `Invalid` if an interval is longer than [`Every`](crate::schedule::Every) can be.
    pub fn spec(&self) -> Result<TriggerSpec> {
        // Where Quartz's end is exclusive the last instant is before it, but the start always fires.
        let before_end = self.end.map(|end| just_before(end).max(self.start));
        let (schedule, end) = match &self.kind {
            Kind::Simple { repeat: Some(0), .. } => (Once::new(self.start).into(), before_end),
            Kind::Simple { interval, repeat } => {
                let interval = Duration::from_micros(interval.unsigned_abs());
                let every = crate::schedule::Every::new(interval)?.anchored_at(self.start);
                (repeat.map_or(every, |repeat| every.repeating(repeat)).into(), before_end)
            }
            Kind::Cron(cron) => (cron.clone().into(), self.end),
            Kind::CalendarInterval(steps) => (steps.clone().into(), before_end),
            Kind::Daily { daily, repeat } => {
                let daily = daily.clone();
                let daily = repeat.map_or(daily.clone(), |repeat| daily.repeating(repeat, self.start));
                (daily.into(), self.end)
            }
        };
        Ok(TriggerSpec { start: Some(self.start), end, ..TriggerSpec::new(schedule) })
    }

    /// Gives up looking after a year, as Quartz does a hundred years after the start of its process.
    #[must_use]
    pub fn giving_up_after(self, last_year: i32) -> Self {
        Self { last_year, ..self }
    }

    /// Which of Quartz's types it is.
    pub fn trigger_type(&self) -> TriggerType {
        match self.kind {
            Kind::Simple { .. } => TriggerType::Simple,
            Kind::Cron(_) => TriggerType::Cron,
            Kind::CalendarInterval(_) => TriggerType::CalendarInterval,
            Kind::Daily { .. } => TriggerType::DailyTimeInterval,
        }
    }

    /// Where the trigger begins (`computeFirstFireTime`).
    pub fn first(&self, calendar: Option<&Calendar>) -> Position {
        let progress = Progress::default();
        let first = match self.kind {
            Kind::Simple { .. } | Kind::CalendarInterval(_) => Some(self.start),
            Kind::Cron(_) | Kind::Daily { .. } => self.fire_time_after(&progress, just_before(self.start)),
        };
        Position { next: self.included(&progress, first, calendar), previous: None, progress }
    }

    /// Where it stands after it fired (`triggered`).
    #[must_use]
    pub fn triggered(&self, position: &Position, calendar: Option<&Calendar>) -> Position {
        let mut progress = position.progress;
        progress.triggered = progress.triggered.saturating_add(1);
        let next = position.next.and_then(|fired| self.fire_time_after(&progress, fired));
        Position { next: self.included(&progress, next, calendar), previous: position.next, progress }
    }

    /// The first fire time after `after`, whatever the calendar (`getFireTimeAfter`).
    pub fn fire_time_after(&self, progress: &Progress, after: Timestamp) -> Option<Timestamp> {
        let start = progress.start.unwrap_or(self.start);
        let repeat = self.repeat(progress);
        if repeat.is_some_and(|repeat| progress.triggered > u64::from(repeat)) {
            return None;
        }
        match &self.kind {
            Kind::Simple { .. } | Kind::CalendarInterval(_) if self.end.is_some_and(|end| end <= after) => {
                None
            }
            Kind::Simple { .. } | Kind::CalendarInterval(_) if after < start => Some(start),
            Kind::Simple { interval, .. } => {
                let next = simple_after(start, *interval, repeat, after)?;
                Some(next).filter(|&next| self.end.is_none_or(|end| next < end))
            }
            Kind::CalendarInterval(steps) => {
                let next = steps.following(after)?;
                Some(next).filter(|&next| self.end.is_none_or(|end| next < end))
            }
            Kind::Cron(cron) => {
                let next = cron.following(after.max(just_before(start)))?;
                let year = cron.zone().to_local(next).year();
                let open = cron.last_fixed_year().is_none_or(|last| year > last);
                let given_up = open && year > self.last_year;
                Some(next).filter(|&next| !given_up && self.end.is_none_or(|end| next <= end))
            }
            Kind::Daily { daily, .. } => {
                let next = daily.following(after.max(just_before(start)))?;
                Some(next).filter(|&next| self.end.is_none_or(|end| next <= end))
            }
        }
    }

    /// The last fire time of all, without a calendar and if nothing misfires; `None` if there is no last one.
    pub fn final_fire_time(&self) -> Option<Timestamp> {
        let last_of = |schedule: Schedule, end| {
            schedule.last_within(just_before(self.start), end).filter(|&last| !self.gives_up(last))
        };
        match &self.kind {
            Kind::Simple { interval, repeat } => {
                let by_end = self.end.map(|end| steps_before(self.start, *interval, end));
                let steps = repeat.map(u64::from).into_iter().chain(by_end).min()?;
                let after = u64::try_from(*interval).ok()?.checked_mul(steps)?;
                Some(self.start.plus(Duration::from_micros(after)))
            }
            Kind::CalendarInterval(steps) => {
                let end = just_before(self.end?);
                Some(last_of(steps.clone().into(), end).unwrap_or(self.start))
            }
            // Without an end there is none, even if the expression names its last year.
            Kind::Cron(cron) => last_of(cron.clone().into(), self.end?),
            Kind::Daily { daily, repeat: Some(repeat) } => {
                let counted = daily.clone().repeating(*repeat, self.start);
                last_of(counted.into(), self.end.unwrap_or(Timestamp::MAX))
            }
            Kind::Daily { daily, repeat: None } => last_of(daily.clone().into(), self.end?),
        }
    }

    /// `next`, or the first fire time after it that the calendar includes.
    fn included(
        &self,
        progress: &Progress,
        next: Option<Timestamp>,
        calendar: Option<&Calendar>,
    ) -> Option<Timestamp> {
        let Some(calendar) = calendar else { return next };
        let mut next = next?;
        let mut moves = Filter::MOST_LEFT_OUT;
        loop {
            let included = calendar.next_included_in(next, &mut moves)?;
            if included == next {
                return Some(next);
            }
            // Fire times before that are left out one after the other; only the first of the others counts.
            next = self.fire_time_after(progress, just_before(included))?;
            if self.gives_up(next) {
                return None;
            }
        }
    }

    fn repeat(&self, progress: &Progress) -> Option<u32> {
        match self.kind {
            Kind::Simple { repeat, .. } | Kind::Daily { repeat, .. } => {
                repeat.map(|repeat| progress.repeat.unwrap_or(repeat))
            }
            Kind::Cron(_) | Kind::CalendarInterval(_) => None,
        }
    }

    fn gives_up(&self, at: Timestamp) -> bool {
        at.to_chrono().year() > self.last_year
    }
}

impl Position {
    /// Whether it fires again.
    pub fn may_fire_again(&self) -> bool {
        self.next.is_some()
    }
}

/// The first included instant as Quartz answers it (`getNextIncludedTime`): at or after `t`, but a millisecond later
/// if a cron or daily calendar is in the chain.
pub fn next_included(calendar: &Calendar, t: Timestamp) -> Option<Timestamp> {
    if calendar.is_daywise() {
        calendar.next_included(t)
    } else {
        calendar.next_included(t.plus(Duration::from_millis(1)))
    }
}

fn simple_after(start: Timestamp, interval: i64, repeat: Option<u32>, after: Timestamp) -> Option<Timestamp> {
    let elapsed = i128::from(after.as_micros()) - i128::from(start.as_micros());
    let number = elapsed.checked_div_euclid(interval.into())? + 1;
    if repeat.is_some_and(|repeat| number > i128::from(repeat)) {
        return None;
    }
    let next = i128::from(start.as_micros()) + number * i128::from(interval);
    i64::try_from(next).ok().map(Timestamp::from_micros)
}

/// How many whole intervals after the start lie before an exclusive end.
fn steps_before(start: Timestamp, interval: i64, end: Timestamp) -> u64 {
    let elapsed = end.as_micros().saturating_sub(1).saturating_sub(start.as_micros());
    elapsed.checked_div(interval).and_then(|steps| u64::try_from(steps).ok()).unwrap_or(0)
}

fn just_before(t: Timestamp) -> Timestamp {
    t.minus(Duration::from_micros(1))
}

#[cfg(test)]
mod tests;
