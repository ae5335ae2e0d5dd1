//! When a job runs: its own schedule or a list of them, each a trigger with a name.

use std::collections::BTreeSet;
use std::ops::Range;

use punctual::{JobKey, TriggerKey};
use punctual_core::Timestamp;
use punctual_core::calendar::{Calendar, WhenExcluded};
use punctual_core::instants::Instants;
use punctual_core::protocol::define::TriggerDefinition;
use punctual_core::trigger::TriggerSpec;
use toml::Spanned;

use super::plan::{Plan, Planned};
use super::raw::Trigger;
use super::when::{When, instant};
use crate::trouble::nearest;

impl Plan<'_> {
    pub(super) fn triggers(&self, job: &JobKey) -> Planned<Vec<TriggerDefinition>> {
        let table = self.job;
        let single = Trigger {
            name: None,
            description: table.description.clone(),
            cron: table.cron.clone(),
            unix_cron: table.unix_cron.clone(),
            every: table.every.clone(),
            at: table.at.clone(),
            calendar_interval: table.calendar_interval.clone(),
            daily: table.daily.clone(),
            zone: table.zone.clone(),
            dst: table.dst.clone(),
            start: table.start.clone(),
            end: table.end.clone(),
            calendar: table.calendar.clone(),
            when_excluded: table.when_excluded.clone(),
            misfire: table.misfire.clone(),
            tolerance: table.tolerance,
            priority: None,
        };
        let Some(list) = &table.triggers else {
            let key = TriggerKey::new(job.group(), job.name());
            let key = key.map_err(|error| self.source.trouble(self.name.span(), error.message()))?;
            return Ok(vec![self.trigger(job, key, &single, self.name.span())?]);
        };
        if let Some(at) = When::keys(&single).into_iter().flatten().next() {
            return self.wrong(at, "there is a list `triggers` too; move this into the list");
        }
        if list.get_ref().is_empty() {
            return self.wrong(
                list.span(),
                "`triggers` is empty; add at least one, such as { cron = \"0 0 9 * * ?\" }",
            );
        }
        let mut keys = BTreeSet::new();
        let mut definitions = Vec::new();
        for (index, trigger) in list.get_ref().iter().enumerate() {
            let place = trigger.get_ref().name.as_ref().map_or_else(|| trigger.span(), Spanned::span);
            let suffix = match &trigger.get_ref().name {
                Some(name) => format!(":{}", name.get_ref()),
                None => format!("#{}", index + 1),
            };
            let key = TriggerKey::new(job.group(), &format!("{}{suffix}", job.name()));
            let key = key.map_err(|error| self.source.trouble(place.clone(), error.message()))?;
            if !keys.insert(key.clone()) {
                return self.wrong(place, &format!("trigger {key} is defined twice; rename one of the two"));
            }
            definitions.push(self.trigger(job, key, trigger.get_ref(), trigger.span())?);
        }
        Ok(definitions)
    }

    fn trigger(
        &self,
        job: &JobKey,
        key: TriggerKey,
        trigger: &Trigger,
        place: Range<usize>,
    ) -> Planned<TriggerDefinition> {
        let zone = trigger.zone.as_ref().or(self.job.zone.as_ref()).or(self.defaults.zone.as_ref());
        let zone = zone.map(|zone| zone.0.clone());
        let moment = |name: &str, own: &Option<Spanned<toml::value::Datetime>>, jobs: &Option<Spanned<_>>| {
            let value = own.as_ref().or(jobs.as_ref());
            value.map(|value| instant(self.source, name, value, zone.as_ref())).transpose()
        };
        let start = moment("start", &trigger.start, &self.job.start)?;
        let end = moment("end", &trigger.end, &self.job.end)?;
        let dst = trigger.dst.as_ref().or(self.job.dst.as_ref());
        let when = When { source: self.source, trigger, dst, default_dst: self.defaults.dst, zone, start };
        let mut spec = TriggerSpec::new(when.schedule(place.clone())?);
        spec.start = start;
        spec.end = end;
        let own = trigger.misfire.as_ref().or(self.job.misfire.as_ref());
        let misfire = own.or(self.defaults.misfire.as_ref());
        spec.misfire = misfire.map(|misfire| misfire.get_ref().0).unwrap_or_default();
        let tolerance = trigger.tolerance.or(self.job.tolerance).or(self.defaults.tolerance);
        if let Some(tolerance) = tolerance {
            spec.tolerance = tolerance.0;
        }
        if let Err(error) = spec.check() {
            let at_end = trigger.end.as_ref().or(self.job.end.as_ref()).map(Spanned::span);
            let backwards = matches!((start, end), (Some(start), Some(end)) if end < start);
            let (at, hint) = match (misfire, backwards) {
                (Some(misfire), false) => (misfire.span(), "choose another policy, or change the schedule"),
                _ => (at_end.unwrap_or(place), "correct `start` or `end`"),
            };
            return Err(self.source.trouble(at, error.message()).hint(hint));
        }
        let seen = self.seen_through(&spec, trigger)?;
        let first = self.instants(&spec, seen.as_ref())?.next_after(Timestamp::MIN);
        if first.is_none() {
            let message = format!(
                "trigger {key} would never fire: {} has no instant in its window{}; correct it",
                spec.schedule,
                if seen.is_some() { " that its calendar includes" } else { "" },
            );
            return self.wrong(place, &message);
        }
        let seen = seen.map(|seen| (Box::from(seen.name), seen.when));
        if let Some((name, when_excluded)) = seen {
            spec.calendar = Some(name);
            spec.when_excluded = when_excluded;
        }
        Ok(TriggerDefinition {
            key,
            job: job.clone(),
            description: trigger.description.as_deref().map(Into::into),
            spec,
            payload: None,
            priority: trigger.priority.unwrap_or(0),
        })
    }

    /// What the trigger is seen through.
    fn seen_through(&self, spec: &TriggerSpec, trigger: &Trigger) -> Planned<Option<Seen<'_>>> {
        let named = trigger.calendar.as_ref().or(self.job.calendar.as_ref());
        let when_excluded = trigger.when_excluded.as_ref().or(self.job.when_excluded.as_ref());
        let Some(named) = named else {
            return match when_excluded {
                Some(when) => {
                    let message = "`when_excluded` is of no use without a calendar; add `calendar`";
                    self.wrong(when.span(), message)
                }
                None => Ok(None),
            };
        };
        let Some((name, calendar)) = self.calendars.get_key_value(named.get_ref().as_str()) else {
            let message = format!("`calendar`: there is no calendar {:?} in this file", named.get_ref());
            let hint = match nearest(named.get_ref(), self.calendars.keys().map(|name| &**name)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("add a table [calendar.{}]", named.get_ref()),
            };
            return Err(self.source.trouble(named.span(), &message).hint(hint));
        };
        let when = when_excluded.map(|when| *when.get_ref()).unwrap_or_default();
        let seen =
            Seen { at: when_excluded.map_or_else(|| named.span(), Spanned::span), name, calendar, when };
        self.instants(spec, Some(&seen)).map(|_| Some(seen))
    }

    /// The instants that it will have.
    fn instants<'s>(&self, spec: &'s TriggerSpec, seen: Option<&Seen<'s>>) -> Planned<Instants<'s>> {
        let instants = Instants::of(spec);
        let Some(seen) = seen else {
            return instants.map_err(|error| self.source.trouble(self.name.span(), error.message()));
        };
        instants.and_then(|instants| instants.through(seen.calendar, seen.when)).map_err(|error| {
            let hint = "use `when_excluded = \"skip\"`, or another calendar";
            self.source.trouble(seen.at.clone(), error.message()).hint(hint)
        })
    }
}

/// The calendar of a trigger.
struct Seen<'a> {
    /// The place of what may be wrong about it.
    at: Range<usize>,
    name: &'a str,
    calendar: &'a Calendar,
    when: WhenExcluded,
}
