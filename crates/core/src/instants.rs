//! The instants of a trigger as they will really be decided about: its schedule within its window, seen through its
//! calendar, from where the trigger stands.

use crate::calendar::{Calendar, Filter, WhenExcluded};
use crate::error::Result;
use crate::misfire::MisfirePolicy;
use crate::quartz::{Instruction, Position, Progress, Trigger};
use crate::schedule::Schedule;
use crate::time::Timestamp;
use crate::trigger::TriggerSpec;
use crate::zone::Zone;

/// A definition with what it refers to. Cheap to make for each decision.
#[derive(Clone, Debug)]
pub struct Instants<'a> {
    spec: &'a TriggerSpec,
    calendar: Option<(&'a Calendar, Filter<'a>)>,
    progress: Progress,
    quartz: Option<(Instruction, Box<Trigger>)>,
}

impl<'a> Instants<'a> {
    /// The instants of a definition without a calendar, from its beginning.
    ///
    /// # Errors
    /// `Unsupported` if its custom schedule is not known here: nothing can be decided about it then. `Invalid` if it
    /// wants rules of Quartz for what Quartz does not have.
    pub fn of(spec: &'a TriggerSpec) -> Result<Self> {
        spec.schedule.resolved()?;
        let quartz = match spec.misfire {
            MisfirePolicy::Quartz { instruction } => Some((instruction, Box::new(Trigger::of(spec)?))),
            _ => None,
        };
        Ok(Self { spec, calendar: None, progress: Progress::default(), quartz })
    }

    /// The instants of a definition seen through the calendar that it names, if it names one.
    ///
    /// # Errors
    /// `NotFound` if the calendar is not given; those of [`Instants::of`] and [`Instants::through`].
    pub fn seen(spec: &'a TriggerSpec, calendar: Option<&'a Calendar>) -> Result<Self> {
        let instants = Self::of(spec)?;
        match (&spec.calendar, calendar) {
            (None, _) => Ok(instants),
            (Some(_), Some(calendar)) => instants.through(calendar, spec.when_excluded),
            (Some(name), None) => {
                Err(crate::error::Error::not_found("calendar", format!("there is no calendar `{name}`")))
            }
        }
    }

    /// Seen through a calendar. The window bounds the instants before they are moved.
    ///
    /// # Errors
    /// `Invalid` if instants are to be moved and the calendar is not about whole days, or if the rules of Quartz are
    /// asked for, which move nothing.
    pub fn through(self, calendar: &'a Calendar, when_excluded: WhenExcluded) -> Result<Self> {
        if self.quartz.is_some() && when_excluded != WhenExcluded::Skip {
            let message = "the rules of Quartz leave excluded instants out; they cannot be moved";
            return Err(crate::error::Error::invalid("calendar", message));
        }
        let zone = self.spec.schedule.zone().cloned().unwrap_or_else(Zone::utc);
        let filter = Filter::new(calendar, zone).when_excluded(when_excluded)?;
        Ok(Self { calendar: Some((calendar, filter)), ..self })
    }

    /// From where the trigger has come to.
    #[must_use]
    pub fn with_progress(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// The definition.
    pub fn spec(&self) -> &TriggerSpec {
        self.spec
    }

    /// How far the trigger has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The first instant strictly after `t`.
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let next = |t| match &self.quartz {
            Some((_, trigger)) => trigger.fire_time_after(&self.progress, t),
            None => self.spec.next_after(t),
        };
        match &self.calendar {
            Some((_, filter)) => filter.next_after(next, t),
            None => next(t),
        }
    }

    /// The last instant in (`after`, `until`].
    pub fn last_within(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if self.is_plain() {
            return self.spec.last_within(after, until);
        }
        crate::schedule::walk::last_within(|t| self.next_after(t), after, until)
    }

    /// How many instants lie in (`after`, `until`], or `None` if more than `cap`.
    pub fn count_within(&self, after: Timestamp, until: Timestamp, cap: u64) -> Option<u64> {
        if self.is_plain() {
            return self.spec.count_within(after, until, cap);
        }
        crate::schedule::walk::count_within(|t| self.next_after(t), after, until, cap)
    }

    /// The first instant of a trigger created at `now`, strictly after `last`, the last instant that an earlier
    /// trigger of the same key consumed.
    ///
    /// By the rules of Quartz too a trigger that names no beginning begins after `now`.
    pub fn first(&self, now: Timestamp, last: Option<Timestamp>) -> Option<Timestamp> {
        let names_its_beginning = self.spec.start.is_some()
            || match &self.spec.schedule {
                Schedule::Cron(_) => false,
                Schedule::Daily(daily) => daily.repeat().is_some(),
                _ => true,
            };
        match (&self.quartz, last) {
            (Some((_, trigger)), None) if names_its_beginning => trigger.first(self.calendar()).next,
            (Some(_), None) => self.next_after(now),
            _ => match (self.spec.first(now, last), &self.calendar) {
                (Some(first), Some(_)) => self.next_after(first.minus(std::time::Duration::from_micros(1))),
                (first, _) => first,
            },
        }
    }

    /// The rules of Quartz, if the trigger goes by them.
    pub(crate) fn quartz(&self) -> Option<(Instruction, &Trigger)> {
        self.quartz.as_ref().map(|(instruction, trigger)| (*instruction, &**trigger))
    }

    /// Where the trigger stands in the terms of Quartz.
    pub(crate) fn position(&self, next: Timestamp, previous: Option<Timestamp>) -> Position {
        Position { next: Some(next), previous, progress: self.progress }
    }

    pub(crate) fn calendar(&self) -> Option<&'a Calendar> {
        self.calendar.as_ref().map(|(calendar, _)| *calendar)
    }

    fn is_plain(&self) -> bool {
        self.calendar.is_none() && self.quartz.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Cron, Daily, Once};

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_030);

    fn first(schedule: impl Into<Schedule>, start: Option<Timestamp>) -> Option<Timestamp> {
        let misfire = MisfirePolicy::Quartz { instruction: Instruction::Smart };
        let spec = TriggerSpec { misfire, start, ..TriggerSpec::new(schedule.into()) };
        Instants::of(&spec).unwrap().first(NOW, None)
    }

    #[test]
    fn a_trigger_of_quartz_without_a_beginning_begins_now() {
        let minutes = || Cron::quartz("0 * * * * ?", Zone::utc()).unwrap();
        let hours = || Daily::new(3_600, Zone::utc()).unwrap();
        assert_eq!(first(minutes(), None), Some(Timestamp::from_secs(1_800_000_060)));
        assert_eq!(first(hours(), None), Some(Timestamp::from_secs(1_800_003_600)));
        // What names its beginning begins there, even in the past.
        let past = Timestamp::from_secs(1_700_000_040);
        assert_eq!(first(minutes(), Some(past)), Some(past));
        assert_eq!(first(hours().repeating(3, past), None), Some(Timestamp::from_secs(1_700_002_800)));
        assert_eq!(first(Once::new(past), None), Some(past));
    }
}
