//! A schedule seen through a calendar: instants on excluded times are left out, or moved to a business day.

use std::time::Duration;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};
use serde::{Deserialize, Serialize};

use super::{Calendar, midnight};
use crate::error::{Error, Result};
use crate::schedule::walk;
use crate::time::Timestamp;
use crate::zone::{Reading, Zone};

/// What becomes of an instant at an excluded time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhenExcluded {
    /// It is left out. The default, as in Quartz.
    #[default]
    Skip,
    /// It is moved to the same time of the last included day before, at most 31 days.
    Before,
    /// It is moved to the same time of the first included day after, at most 31 days.
    After,
}

/// Instants seen through a calendar. Instants that meet after a move are one.
///
/// All answers are bounded: [`Filter::MOST_LEFT_OUT`] instants left out in a row are taken for "never".
#[derive(Clone, Debug)]
pub struct Filter<'a> {
    calendar: &'a Calendar,
    when_excluded: WhenExcluded,
    /// The zone in which moved instants keep their time of day.
    zone: Zone,
}

/// How far an instant may be moved.
const LONGEST_MOVE: u64 = 31;

impl<'a> Filter<'a> {
    /// How many instants in a row may be left out before the answer is "never": more than a year of minutes.
    pub const MOST_LEFT_OUT: u32 = 600_000;

    /// Leaves out what `calendar` does not include.
    pub fn new(calendar: &'a Calendar, zone: Zone) -> Self {
        Self { calendar, when_excluded: WhenExcluded::Skip, zone }
    }

    /// Sets what becomes of excluded instants.
    ///
    /// # Errors
    /// `Invalid` if instants are to be moved and the chain is not about whole days: a part of a day has no business
    /// day before or after it.
    pub fn when_excluded(self, when_excluded: WhenExcluded) -> Result<Self> {
        if when_excluded != WhenExcluded::Skip && !self.calendar.is_daywise() {
            let message =
                "instants can be moved only by calendars of whole days, not by daily or cron calendars";
            return Err(Error::invalid("calendar", message));
        }
        Ok(Self { when_excluded, ..self })
    }

    /// The first instant strictly after `t`, given the same of the schedule.
    pub fn next_after(
        &self,
        schedule: impl Fn(Timestamp) -> Option<Timestamp>,
        t: Timestamp,
    ) -> Option<Timestamp> {
        match self.when_excluded {
            WhenExcluded::Skip => self.next_kept(schedule, t),
            WhenExcluded::Before | WhenExcluded::After => self.next_moved(schedule, t),
        }
    }

    /// The latest instant in `(after, until]`.
    pub fn last_within(
        &self,
        schedule: impl Fn(Timestamp) -> Option<Timestamp>,
        after: Timestamp,
        until: Timestamp,
    ) -> Option<Timestamp> {
        walk::last_within(|t| self.next_after(&schedule, t), after, until)
    }

    /// The number of instants in `(after, until]`, or `None` if there are more than `cap`.
    pub fn count_within(
        &self,
        schedule: impl Fn(Timestamp) -> Option<Timestamp>,
        after: Timestamp,
        until: Timestamp,
        cap: u64,
    ) -> Option<u64> {
        walk::count_within(|t| self.next_after(&schedule, t), after, until, cap)
    }

    fn next_kept(
        &self,
        schedule: impl Fn(Timestamp) -> Option<Timestamp>,
        t: Timestamp,
    ) -> Option<Timestamp> {
        let mut after = t;
        let mut moves = Self::MOST_LEFT_OUT;
        loop {
            let next = schedule(after)?;
            let included = self.calendar.next_included_in(next, &mut moves)?;
            if included == next {
                return Some(next);
            }
            after = just_before(included);
        }
    }

    /// Day by day of the schedule: each day's instants go to one day, and no further than [`LONGEST_MOVE`].
    fn next_moved(
        &self,
        schedule: impl Fn(Timestamp) -> Option<Timestamp>,
        t: Timestamp,
    ) -> Option<Timestamp> {
        let now = self.zone.to_local(t);
        let mut best: Option<Timestamp> = None;
        let mut day = back(now.date(), LONGEST_MOVE + 1);
        for _ in 0..Self::MOST_LEFT_OUT {
            let Some(first) = schedule(just_before(self.start(day))) else { break };
            day = day.max(self.zone.to_local(first).date());
            if best.is_some_and(|best| self.zone.to_local(best).date() < back(day, LONGEST_MOVE + 1)) {
                break;
            }
            if let Some(target) = self.target(day) {
                let moved = self.first_moved(&schedule, day, target, t);
                best = best.into_iter().chain(moved).min();
            }
            day = day.succ_opt()?;
        }
        best
    }

    /// The day that an instant of `day` goes to.
    fn target(&self, day: NaiveDate) -> Option<NaiveDate> {
        let included = |date: &NaiveDate| !self.calendar.excludes_date(*date);
        let reach = 0..=LONGEST_MOVE;
        match self.when_excluded {
            WhenExcluded::Skip => Some(day).filter(included),
            WhenExcluded::Before => {
                reach.filter_map(|days| day.checked_sub_days(Days::new(days))).find(included)
            }
            WhenExcluded::After => {
                reach.filter_map(|days| day.checked_add_days(Days::new(days))).find(included)
            }
        }
    }

    /// The first instant of `day` that comes after `t` once it was moved to `target`.
    fn first_moved(
        &self,
        schedule: impl Fn(Timestamp) -> Option<Timestamp>,
        day: NaiveDate,
        target: NaiveDate,
        t: Timestamp,
    ) -> Option<Timestamp> {
        let wall = self.zone.to_local(t);
        // What is too early on the target day is too early on its own: begin where the clock shows the same.
        let mut after = match target.cmp(&wall.date()) {
            std::cmp::Ordering::Less if day != target => return None,
            std::cmp::Ordering::Equal if day != target => {
                just_before(self.resolve(day.and_time(wall.time()))).max(just_before(self.start(day)))
            }
            _ => just_before(self.start(day)),
        };
        if day == target {
            after = after.max(t);
        }
        // One more for each microsecond that two walls share where the clocks change; never many.
        for _ in 0..100 {
            let next = schedule(after).filter(|&next| self.zone.to_local(next).date() == day)?;
            let moved = if day == target { next } else { self.at(target, self.zone.to_local(next).time()) };
            if moved > t {
                return Some(moved);
            }
            after = next;
        }
        None
    }

    fn at(&self, date: NaiveDate, time: NaiveTime) -> Timestamp {
        self.resolve(date.and_time(time))
    }

    fn start(&self, date: NaiveDate) -> Timestamp {
        self.resolve(midnight(date))
    }

    fn resolve(&self, wall: NaiveDateTime) -> Timestamp {
        match self.zone.resolve(wall) {
            Reading::Once(at) | Reading::Twice { first: at, .. } | Reading::Skipped { gap_end: at, .. } => at,
        }
    }
}

fn back(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_sub_days(Days::new(days)).unwrap_or(NaiveDate::MIN)
}

fn just_before(t: Timestamp) -> Timestamp {
    t.minus(Duration::from_micros(1))
}
