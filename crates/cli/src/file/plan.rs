//! From the shape of a file to a set of definitions: everything that takes more than one key to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use punctual::{Backoff, Concurrency, ExecutionSpec, JobKey, RetryPolicy, WhenBusy};
use punctual_core::calendar::Calendar;
use punctual_core::protocol::define::{CalendarDefinition, JobDefinition, SetDefinition, TriggerDefinition};
use toml::Spanned;

use super::Schedules;
use super::calendar::calendars;
use super::raw::{Defaults, File, Growth, Job, Overlap, Retry};
use super::source::Source;
use super::work::variables;
use crate::trouble::Trouble;

/// The longest delay between two attempts, if the file says no other.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);

/// A part of a plan, or the mistake that is in its way.
pub(super) type Planned<T> = Result<T, Trouble>;

/// Judges a file. The errors are of different jobs; each job has at most one.
pub(super) fn plan(
    source: &Source,
    file: File,
    stem: &str,
    modified: i64,
) -> Result<Schedules, Vec<Trouble>> {
    let File { revision, set, defaults, node, calendar, job: jobs } = file;
    let mut troubles = Vec::new();
    let name = set.as_ref().map_or(stem, |set| set.get_ref().as_str());
    if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        let at = set.as_ref().map_or(0..0, Spanned::span);
        troubles.push(
            source.trouble(at, "`set`: a name has 1 to 200 bytes and no control characters; choose another"),
        );
    }
    if let Some(retry) = &defaults.retry
        && let Err(trouble) = retries(source, retry)
    {
        troubles.push(trouble);
    }
    troubles.extend(variables(source, &defaults.env).err());
    let (calendars, wrong) = calendars(source, &calendar, defaults.zone.as_ref());
    troubles.extend(wrong);
    let mut definitions = SetDefinition {
        name: name.into(),
        revision: revision.as_ref().map_or(modified, |revision| revision.0),
        by: "".into(),
        jobs: Vec::new(),
        triggers: Vec::new(),
        calendars: calendars
            .iter()
            .map(|(name, calendar)| CalendarDefinition {
                name: name.clone(),
                calendar: Arc::new(calendar.clone()),
            })
            .collect(),
    };
    let mut keys = BTreeSet::new();
    for (name, job) in &jobs {
        let planned = Plan { source, defaults: &defaults, calendars: &calendars, name, job }.plan();
        match planned {
            Ok((definition, triggers)) => {
                if !keys.insert(definition.key.clone()) {
                    let message = format!("job {} is defined twice; rename one of the two", definition.key);
                    troubles.push(source.trouble(name.span(), &message));
                }
                definitions.jobs.push(definition);
                definitions.triggers.extend(triggers);
            }
            Err(trouble) => troubles.push(trouble),
        }
    }
    if troubles.is_empty() {
        Ok(Schedules { set: definitions, revision_given: revision.is_some(), node })
    } else {
        Err(troubles)
    }
}

/// One job on its way to its definition.
pub(super) struct Plan<'a> {
    pub(super) source: &'a Source,
    pub(super) defaults: &'a Defaults,
    pub(super) calendars: &'a BTreeMap<Box<str>, Calendar>,
    pub(super) name: &'a Spanned<String>,
    pub(super) job: &'a Job,
}

impl Plan<'_> {
    pub(super) fn wrong<T>(&self, at: Range<usize>, message: &str) -> Planned<T> {
        Err(self.source.trouble(at, message))
    }

    fn plan(&self) -> Planned<(JobDefinition, Vec<TriggerDefinition>)> {
        let named = |error: punctual::Error| {
            let hint = "write it like [job.backup] or [job.\"reports/daily\"]";
            self.source.trouble(self.name.span(), error.message()).hint(hint)
        };
        let key: JobKey = self.name.get_ref().parse().map_err(named)?;
        let spec = self.rules(&key)?;
        let (kind, payload) = self.work(&spec)?;
        let triggers = self.triggers(&key)?;
        let job = JobDefinition {
            key,
            kind,
            description: self.job.description.as_deref().map(Into::into),
            spec,
            payload,
            priority: self.job.priority.or(self.defaults.priority).unwrap_or(0),
            durable: false,
        };
        Ok((job, triggers))
    }

    // ---- under which rules ----

    fn rules(&self, key: &JobKey) -> Planned<ExecutionSpec> {
        let Job { overlap, limit, timeout, retry, on_node_loss, .. } = self.job;
        let chosen = overlap.as_ref().map(|overlap| *overlap.get_ref());
        let concurrency = match limit {
            Some(limit) => {
                if let (Some(Overlap::Allow), Some(overlap)) = (chosen, overlap) {
                    let message = "`overlap = \"allow\"` contradicts `limit`; use \"queue\" or \"skip\", or leave it out";
                    return self.wrong(overlap.span(), message);
                }
                let when_busy = if chosen == Some(Overlap::Skip) { WhenBusy::Skip } else { WhenBusy::Queue };
                let given = limit.get_ref();
                if given.key.is_empty() || given.key.len() > 400 || !(1..=10_000).contains(&given.max) {
                    let message =
                        "`limit` needs a `key` of 1 to 400 bytes and a `max` of 1 to 10,000; correct it";
                    return self.wrong(limit.span(), message);
                }
                Some(Concurrency { key: given.key.as_str().into(), limit: given.max, when_busy })
            }
            None => match chosen.or(self.defaults.overlap).unwrap_or(Overlap::Allow) {
                Overlap::Allow => None,
                Overlap::Queue => Some(Concurrency::exclusive(key, WhenBusy::Queue)),
                Overlap::Skip => Some(Concurrency::exclusive(key, WhenBusy::Skip)),
            },
        };
        let retry = match retry.as_ref().or(self.defaults.retry.as_ref()) {
            Some(retry) => retries(self.source, retry)?,
            None => RetryPolicy::NEVER,
        };
        let spec = ExecutionSpec {
            retry,
            timeout: timeout.or(self.defaults.timeout).map(|span| span.0),
            on_node_loss: on_node_loss
                .or(self.defaults.on_node_loss)
                .map(|policy| policy.0)
                .unwrap_or_default(),
            concurrency,
            ..ExecutionSpec::default()
        };
        spec.check().map_err(|error| self.source.trouble(self.name.span(), error.message()))?;
        Ok(spec)
    }
}

fn retries(source: &Source, retry: &Spanned<Retry>) -> Planned<RetryPolicy> {
    let Retry { attempts, backoff, delay, max, jitter } = *retry.get_ref();
    let wrong = |message: &str| Err(source.trouble(retry.span(), &format!("`retry`: {message}")));
    if attempts == 0 {
        return wrong("the first attempt counts; `attempts` is 1 or more");
    }
    if jitter.is_some_and(|jitter| jitter > 100) {
        return wrong("`jitter` is a share in percent; use 0 to 100");
    }
    let delay = delay.map_or(Duration::from_secs(10), |delay| delay.0);
    let backoff = match backoff.unwrap_or(Growth::Exponential) {
        Growth::Fixed if max.is_some() => return wrong("`max` is of no use to a fixed delay; remove it"),
        Growth::Fixed => Backoff::Fixed { delay },
        Growth::Exponential => {
            let max = max.map_or_else(|| LONGEST_DELAY.max(delay), |max| max.0);
            if max < delay {
                return wrong("`max` is less than `delay`; raise it");
            }
            Backoff::Exponential { first: delay, factor: 2, max }
        }
    };
    Ok(RetryPolicy { max_attempts: attempts, backoff, jitter_percent: jitter.unwrap_or(20) })
}
