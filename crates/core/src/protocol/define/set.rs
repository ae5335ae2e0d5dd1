//! Sets: everything that one file or library defines, under a revision.

use std::collections::{BTreeMap, BTreeSet};

use super::calendars::{plan_calendar, recomputed, rewritten, touched};
use super::{
    CalendarDefinition, JobDefinition, TriggerDefinition, delete_job, delete_trigger, instants_of,
    plan_trigger, put_job, stable_hash,
};
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::{FoundSet, FoundTrigger};
use crate::job::JobRecord;
use crate::key::{JobKey, TriggerId, TriggerKey};
use crate::store::{CalendarRecord, Change, Expect, LiveWork, SetRecord};
use crate::time::Timestamp;
use crate::trigger::TriggerRecord;

/// Everything that one file or library defines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetDefinition {
    /// Its name.
    pub name: Box<str>,
    /// Its revision; a lower one never overwrites a higher one.
    pub revision: i64,
    /// Who writes it, for people.
    pub by: Box<str>,
    /// Its jobs.
    pub jobs: Vec<JobDefinition>,
    /// Its triggers.
    pub triggers: Vec<TriggerDefinition>,
    /// Calendars that it brings along. One that is no longer listed stays.
    pub calendars: Vec<CalendarDefinition>,
}

/// What a set's application needs to know of keys that the set does not own yet.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Jobs of wanted keys outside of the set.
    pub jobs: BTreeMap<JobKey, JobRecord>,
    /// Triggers, or marks, of wanted keys outside of the set.
    pub triggers: BTreeMap<TriggerKey, FoundTrigger>,
    /// Calendars that the set defines or its triggers name.
    pub calendars: BTreeMap<Box<str>, FoundCalendar>,
}

/// What a name of a calendar stands for.
#[derive(Clone, Debug, Default)]
pub struct FoundCalendar {
    /// The calendar, if there is one.
    pub calendar: Option<CalendarRecord>,
    /// The triggers that name it; needed where it may be changed.
    pub users: Vec<TriggerRecord>,
}

/// Whether what is no longer defined is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// It stays and goes on firing.
    Keep,
    /// It is deleted; running work goes on without it.
    Prune,
}

/// What to do about a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetPlan {
    /// Everything is there already; nothing is to be written.
    Unchanged,
    /// A higher revision is in force; nothing is to be written.
    Outdated {
        /// That revision.
        in_force: i64,
        /// Who wrote it.
        by: Box<str>,
    },
    /// Changes to apply in one batch.
    Write {
        /// The changes.
        changes: Vec<Change>,
        /// How many of them create, replace and delete.
        counts: Counts,
    },
}

/// What a set's changes amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs, triggers and calendars that are new.
    pub created: usize,
    /// Jobs, triggers and calendars that differ.
    pub changed: usize,
    /// Jobs and triggers that are deleted.
    pub deleted: usize,
    /// Jobs and triggers that are no longer defined, but kept.
    pub unlisted: usize,
}

impl SetDefinition {
    /// The hash of all definitions, in the order of their keys.
    pub fn hash(&self) -> i64 {
        let jobs: BTreeMap<&JobKey, serde_json::Value> =
            self.jobs.iter().map(|job| (&job.key, job.text())).collect();
        let triggers: BTreeMap<&TriggerKey, serde_json::Value> =
            self.triggers.iter().map(|trigger| (&trigger.key, trigger.text())).collect();
        let calendars: BTreeMap<&str, serde_json::Value> =
            self.calendars.iter().map(|calendar| (&*calendar.name, calendar.text())).collect();
        let all = jobs.into_values().chain(triggers.into_values()).chain(calendars.into_values());
        let all: Vec<_> = all.collect();
        stable_hash(serde_json::Value::Array(all).to_string().as_bytes())
    }

    /// Checks that the set fits together.
    ///
    /// # Errors
    /// `Invalid`, naming the job, trigger or calendar.
    pub fn check(&self) -> Result<()> {
        let wrong = |why: String| Err(Error::invalid("set", why));
        let mut jobs = BTreeSet::new();
        for job in &self.jobs {
            job.spec.check()?;
            if !jobs.insert(&job.key) {
                return wrong(format!("job {} is defined twice", job.key));
            }
        }
        let mut triggers = BTreeSet::new();
        for trigger in &self.triggers {
            trigger.spec.check()?;
            if !triggers.insert(&trigger.key) {
                return wrong(format!("trigger {} is defined twice", trigger.key));
            }
            if !jobs.contains(&trigger.job) {
                return wrong(format!(
                    "trigger {} names job {}, which the set does not define",
                    trigger.key, trigger.job
                ));
            }
        }
        let mut calendars = BTreeSet::new();
        for calendar in &self.calendars {
            CalendarRecord::check_name(&calendar.name)?;
            if !calendars.insert(&calendar.name) {
                return wrong(format!("calendar `{}` is defined twice", calendar.name));
            }
        }
        Ok(())
    }
}

/// Plans the application of a set.
///
/// # Errors
/// `Invalid` if the set does not fit together, or its revision is in force with other content; `AlreadyExists` if
/// something in it belongs to another set.
pub fn apply_set(
    found: &FoundSet,
    elsewhere: &Elsewhere,
    wanted: &SetDefinition,
    unlisted: Unlisted,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<SetPlan> {
    wanted.check()?;
    let hash = wanted.hash();
    let expect = match &found.set {
        None => Expect::Absent { mark: None },
        Some(stored) if wanted.revision < stored.revision => {
            return Ok(SetPlan::Outdated { in_force: stored.revision, by: stored.by.clone() });
        }
        Some(stored) if wanted.revision == stored.revision && stored.hash != hash => {
            return Err(Error::invalid(
                "set",
                format!(
                    "set {:?} revision {} was written by {} with other content than {} has; raise the revision",
                    wanted.name, wanted.revision, stored.by, wanted.by
                ),
            ));
        }
        Some(stored) => Expect::Rev(stored.rev),
    };

    let mut changes = Vec::new();
    let mut counts = Counts::default();
    let mut ids = BTreeMap::new();
    let set = Some(&*wanted.name);
    // Calendars as they are after this batch, if it writes them, and the triggers that this moves.
    let mut written: BTreeMap<&str, CalendarRecord> = BTreeMap::new();
    let mut moved: BTreeMap<TriggerId, TriggerRecord> = BTreeMap::new();
    for calendar in &wanted.calendars {
        let stored = elsewhere.calendars.get(&calendar.name);
        let of_name = stored.and_then(|stored| stored.calendar.as_ref());
        let Some((expect, record)) = plan_calendar(of_name, calendar, now)? else { continue };
        count(&mut counts, expect);
        for user in stored.into_iter().flat_map(|stored| &stored.users) {
            moved.extend(recomputed(user, &record.calendar, now)?.map(|moved| (user.id, moved)));
        }
        changes.push(Change::PutCalendar { expect, calendar: record.clone() });
        written.insert(&calendar.name, record);
    }
    let mut touched_names = BTreeSet::new();
    for job in &wanted.jobs {
        let in_set = found.jobs.iter().find(|stored| stored.key == job.key);
        let stored = in_set.or_else(|| elsewhere.jobs.get(&job.key));
        match put_job(stored, job, set, now, entropy)? {
            Some((expect, record)) => {
                count(&mut counts, expect);
                ids.insert(&job.key, record.id);
                changes.push(Change::PutJob { expect, job: record });
            }
            None => {
                ids.extend(stored.map(|stored| (&job.key, stored.id)));
            }
        }
    }
    for trigger in &wanted.triggers {
        let in_set = found.triggers.iter().find(|stored| stored.key == trigger.key);
        let stored = match in_set {
            Some(stored) => FoundTrigger { trigger: Some(stored.clone()), mark: None },
            None => elsewhere.triggers.get(&trigger.key).cloned().unwrap_or_default(),
        };
        let Some(job_id) = ids.get(&trigger.job) else { continue };
        let moved = stored.trigger.as_ref().and_then(|stored| moved.remove(&stored.id));
        let stored = FoundTrigger { trigger: moved.clone().or(stored.trigger), mark: stored.mark };
        let name = trigger.spec.calendar.as_deref();
        let in_force = name.and_then(|name| elsewhere.calendars.get(name)?.calendar.as_ref());
        let calendar = name.and_then(|name| written.get(name)).or(in_force);
        let document = calendar.map(|calendar| &*calendar.calendar);
        let change = match plan_trigger(&stored, trigger, document, *job_id, set, now, entropy) {
            // A one-shot whose instant an earlier trigger of the key has consumed is done, not wrong.
            Err(error) if error.kind() == ErrorKind::Invalid && stored.mark.is_some() => {
                instants_of(&trigger.key, &trigger.spec, document)?;
                None
            }
            other => other?,
        };
        if let Some(change) = change {
            if let Change::PutTrigger { expect, .. } = &change {
                count(&mut counts, *expect);
            }
            if let (Some(name), Some(stored)) = (name, in_force)
                && !written.contains_key(name)
                && touched_names.insert(name)
            {
                changes.push(touched(stored));
            }
            changes.push(change);
        } else {
            changes.extend(moved.map(rewritten));
        }
    }

    let gone_triggers: Vec<&TriggerRecord> =
        found.triggers.iter().filter(|stored| !wanted.triggers.iter().any(|t| t.key == stored.key)).collect();
    let gone_jobs: Vec<&JobRecord> =
        found.jobs.iter().filter(|stored| !wanted.jobs.iter().any(|j| j.key == stored.key)).collect();
    if unlisted == Unlisted::Prune {
        gone_triggers.iter().for_each(|gone| drop(moved.remove(&gone.id)));
    }
    changes.extend(moved.into_values().map(rewritten));
    match unlisted {
        Unlisted::Keep => counts.unlisted = gone_triggers.len() + gone_jobs.len(),
        Unlisted::Prune => {
            counts.deleted = gone_triggers.len() + gone_jobs.len();
            for trigger in gone_triggers {
                let job = found.jobs.iter().find(|job| job.id == trigger.job_id);
                changes.push(delete_trigger(trigger, job));
            }
            for job in gone_jobs {
                changes.push(delete_job(job, LiveWork::Detach));
            }
        }
    }

    let current =
        found.set.as_ref().is_some_and(|stored| stored.revision == wanted.revision && stored.hash == hash);
    if current && changes.is_empty() {
        return Ok(SetPlan::Unchanged);
    }
    let record = SetRecord {
        name: wanted.name.clone(),
        revision: wanted.revision,
        hash,
        by: wanted.by.clone(),
        rev: 0,
        written: now,
    };
    changes.push(Change::PutSet { expect, set: record });
    Ok(SetPlan::Write { changes, counts })
}

fn count(counts: &mut Counts, expect: Expect) {
    match expect {
        Expect::Absent { .. } => counts.created += 1,
        Expect::Rev(_) => counts.changed += 1,
    }
}
