//! From wanted definitions to changes: nothing is written where nothing differs, and older sets never overwrite newer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::calendar::Calendar;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::execution::merged;
use crate::inspect::{FoundSet, FoundTrigger};
use crate::instants::Instants;
use crate::job::{ExecutionSpec, JobRecord, Payload};
use crate::key::{JobId, JobKey, Kind, TriggerId, TriggerKey};
use crate::quartz::Progress;
use crate::store::{CalendarRecord, Change, Expect, Leave, LiveWork, SetRecord};
use crate::time::Timestamp;
use crate::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};

/// A job as its author wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDefinition {
    /// Its name.
    pub key: JobKey,
    /// Which handler runs it.
    pub kind: Kind,
    /// For people.
    pub description: Option<Box<str>>,
    /// Rules of its executions.
    pub spec: ExecutionSpec,
    /// Its data.
    pub payload: Payload,
    /// Higher starts first.
    pub priority: i32,
    /// Kept when its last trigger goes.
    pub durable: bool,
}

/// A trigger as its author wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerDefinition {
    /// Its name.
    pub key: TriggerKey,
    /// The job that it runs.
    pub job: JobKey,
    /// For people.
    pub description: Option<Box<str>>,
    /// When.
    pub spec: TriggerSpec,
    /// Data laid over the job's.
    pub payload: Option<Payload>,
    /// Added to the job's priority.
    pub priority: i32,
}

/// A calendar as its author wants it. It belongs to no set: triggers of all sets may name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarDefinition {
    /// Its name.
    pub name: Box<str>,
    /// What it leaves out.
    pub calendar: Arc<Calendar>,
}

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

/// The FNV-1a hash of `bytes` (Fowler, Noll and Vo), as a signed number: stable over versions and machines.
pub fn stable_hash(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::from_be_bytes(hash.to_be_bytes())
}

fn payload_text(payload: &Payload) -> serde_json::Value {
    serde_json::json!([payload.codec, payload.version, payload.data])
}

impl JobDefinition {
    fn text(&self) -> serde_json::Value {
        serde_json::json!([
            self.key,
            self.kind,
            self.description,
            self.spec,
            payload_text(&self.payload),
            self.priority,
            self.durable
        ])
    }

    fn same_as(&self, record: &JobRecord) -> bool {
        self.kind == record.kind
            && self.description == record.description
            && self.spec == record.spec
            && self.payload == record.payload
            && self.priority == record.priority
            && self.durable == record.durable
    }
}

impl TriggerDefinition {
    fn text(&self) -> serde_json::Value {
        let payload = self.payload.as_ref().map(payload_text);
        serde_json::json!([self.key, self.job, self.description, self.spec, payload, self.priority])
    }

    /// The hash of this definition, as [`TriggerRecord::hash`] keeps it.
    pub fn hash(&self) -> i64 {
        stable_hash(self.text().to_string().as_bytes())
    }
}

impl CalendarDefinition {
    fn text(&self) -> serde_json::Value {
        serde_json::json!([self.name, *self.calendar])
    }
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

/// Plans a job: `None` if it is there as wanted, else its record with what to expect. `found` has its key.
///
/// # Errors
/// `AlreadyExists` if the job belongs to another set.
pub fn put_job(
    found: Option<&JobRecord>,
    wanted: &JobDefinition,
    set: Option<&str>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Option<(Expect, JobRecord)>> {
    wanted.spec.check()?;
    if let Some(found) = found {
        own(set, found.set.as_deref(), format_args!("job {}", found.key))?;
        if wanted.same_as(found) && found.set.as_deref() == set {
            return Ok(None);
        }
    }
    let record = JobRecord {
        id: found.map_or_else(|| JobId::draw(entropy), |found| found.id),
        key: wanted.key.clone(),
        kind: wanted.kind.clone(),
        description: wanted.description.clone(),
        spec: wanted.spec.clone(),
        payload: wanted.payload.clone(),
        priority: wanted.priority,
        durable: wanted.durable,
        set: set.map(Into::into),
        rev: 0,
        created: found.map_or(now, |found| found.created),
    };
    let expect = found.map_or(Expect::Absent { mark: None }, |found| Expect::Rev(found.rev));
    Ok(Some((expect, record)))
}

/// Plans a trigger of the job `job_id`, whose calendar is `calendar`: no change if it is there as wanted.
///
/// Where the instants stay the same, the trigger keeps its place; where they change, a new generation begins with the
/// first instant after the last one that was decided about. A trigger that names a calendar comes with a write of that
/// calendar as it is: so neither is planned on a reading of the other that is too old.
///
/// # Errors
/// `Invalid` if the trigger would never fire; `NotFound` if it names a calendar that is not given; `Unsupported` if its
/// custom schedule is not resolved; `AlreadyExists` if it belongs to another set.
pub fn put_trigger(
    found: &FoundTrigger,
    wanted: &TriggerDefinition,
    calendar: Option<&CalendarRecord>,
    job_id: JobId,
    set: Option<&str>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Vec<Change>> {
    let document = calendar.map(|stored| &*stored.calendar);
    let change = plan_trigger(found, wanted, document, job_id, set, now, entropy)?;
    let named = calendar.filter(|_| change.is_some() && wanted.spec.calendar.is_some());
    Ok(named.map(touched).into_iter().chain(change).collect())
}

fn plan_trigger(
    found: &FoundTrigger,
    wanted: &TriggerDefinition,
    calendar: Option<&Calendar>,
    job_id: JobId,
    set: Option<&str>,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> Result<Option<Change>> {
    wanted.spec.check()?;
    let hash = wanted.hash();
    if let Some(old) = &found.trigger {
        own(set, old.set.as_deref(), format_args!("trigger {}", old.key))?;
        let healthy = old.state != TriggerState::Error;
        if healthy && old.hash == hash && old.job_id == job_id && old.set.as_deref() == set {
            return Ok(None);
        }
    }
    let never = || {
        Error::invalid(
            "trigger",
            format!("trigger {} would never fire: {} has no instant left", wanted.key, wanted.spec.schedule),
        )
    };
    let instants = instants_of(&wanted.key, &wanted.spec, calendar)?;
    let trigger = match &found.trigger {
        Some(old) => {
            let same_instants = old.state != TriggerState::Error && old.spec.same_instants(&wanted.spec);
            let (next, progress) = if !same_instants {
                (Some(instants.first(now, old.last).ok_or_else(never)?), Progress::default())
            } else if old.spec.misfire == wanted.spec.misfire {
                (old.next_fire, old.progress)
            } else {
                (old.next_fire, caught_up(old.progress))
            };
            TriggerRecord {
                job_id,
                description: wanted.description.clone(),
                spec: wanted.spec.clone(),
                payload: wanted.payload.clone(),
                priority: wanted.priority,
                state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
                next_fire: next,
                wake: next,
                progress,
                generation: if same_instants { old.generation } else { old.generation.saturating_add(1) },
                error: None,
                set: set.map(Into::into),
                hash,
                ..old.clone()
            }
        }
        None => {
            let id = TriggerId::draw(entropy);
            let next = Some(instants.first(now, found.mark).ok_or_else(never)?);
            TriggerRecord {
                id,
                key: wanted.key.clone(),
                job_id,
                description: wanted.description.clone(),
                spec: wanted.spec.clone(),
                payload: wanted.payload.clone(),
                priority: wanted.priority,
                state: TriggerState::Active,
                next_fire: next,
                wake: next,
                last: found.mark,
                progress: Progress::default(),
                fires: 0,
                fire_seq: 0,
                generation: 1,
                rev: 0,
                slice: slice_of(id),
                error: None,
                set: set.map(Into::into),
                hash,
                created: now,
            }
        }
    };
    let expect =
        found.trigger.as_ref().map_or(Expect::Absent { mark: found.mark }, |old| Expect::Rev(old.rev));
    Ok(Some(Change::PutTrigger { expect, trigger }))
}

/// The instants of a trigger; an error names it.
fn instants_of<'a>(
    key: &TriggerKey,
    spec: &'a TriggerSpec,
    calendar: Option<&'a Calendar>,
) -> Result<Instants<'a>> {
    Instants::seen(spec, calendar)
        .map_err(|error| Error::new(error.kind(), "trigger", format!("trigger {key}: {}", error.message())))
}

/// A progress without what only the run of late instants is about that is being caught up with.
fn caught_up(progress: Progress) -> Progress {
    Progress { catch_up: None, wait: None, ..progress }
}

/// The change that writes a calendar as it is, so that a change of it that is under way meanwhile loses, or is noticed.
fn touched(stored: &CalendarRecord) -> Change {
    Change::PutCalendar { expect: Expect::Rev(stored.rev), calendar: stored.clone() }
}

/// Plans a calendar with the triggers that name it: no change if it is there as wanted.
///
/// Each of them goes on, in a new generation, with its first instant under the new calendar that was not decided about
/// yet; a claim that was planned under the old one loses. What the old calendar left out before now stays left out.
/// Triggers that are set aside stay so.
///
/// # Errors
/// `Invalid` if the name is no name, or the calendar cannot move the instants of a trigger that wants that;
/// `Unsupported` if the custom schedule of a trigger is not resolved.
pub fn put_calendar(
    found: Option<&CalendarRecord>,
    wanted: &CalendarDefinition,
    triggers: &[TriggerRecord],
    now: Timestamp,
) -> Result<Vec<Change>> {
    let Some((expect, calendar)) = plan_calendar(found, wanted, now)? else { return Ok(Vec::new()) };
    let mut changes = vec![Change::PutCalendar { expect, calendar }];
    for trigger in triggers {
        changes.extend(recomputed(trigger, &wanted.calendar, now)?.map(rewritten));
    }
    Ok(changes)
}

fn plan_calendar(
    found: Option<&CalendarRecord>,
    wanted: &CalendarDefinition,
    now: Timestamp,
) -> Result<Option<(Expect, CalendarRecord)>> {
    CalendarRecord::check_name(&wanted.name)?;
    if found.is_some_and(|stored| stored.calendar == wanted.calendar) {
        return Ok(None);
    }
    let expect = found.map_or(Expect::Absent { mark: None }, |stored| Expect::Rev(stored.rev));
    let (name, calendar) = (wanted.name.clone(), Arc::clone(&wanted.calendar));
    Ok(Some((expect, CalendarRecord { name, calendar, rev: 0, updated: now })))
}

/// A trigger as it goes on under another calendar; `None` if it stays as it is.
fn recomputed(trigger: &TriggerRecord, calendar: &Calendar, now: Timestamp) -> Result<Option<TriggerRecord>> {
    if trigger.state == TriggerState::Error {
        return Ok(None);
    }
    let progress = caught_up(trigger.progress);
    let instants = instants_of(&trigger.key, &trigger.spec, Some(calendar))?.with_progress(progress);
    // What is before the next instant has been decided about, but nothing of what is still to come.
    let before_next = trigger.next_fire.map(|next| next.minus(Duration::from_micros(1)));
    let decided = before_next.map_or(now, |at| at.min(now));
    let next = instants.next_after(trigger.last.map_or(decided, |last| last.max(decided)));
    if next.is_none() && trigger.state == TriggerState::Complete {
        return Ok(None);
    }
    Ok(Some(TriggerRecord {
        state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
        next_fire: next,
        wake: next,
        progress,
        generation: trigger.generation.saturating_add(1),
        ..trigger.clone()
    }))
}

fn rewritten(trigger: TriggerRecord) -> Change {
    Change::PutTrigger { expect: Expect::Rev(trigger.rev), trigger }
}

/// The change that deletes a calendar.
///
/// # Errors
/// `Invalid` if triggers name it.
pub fn delete_calendar(found: &CalendarRecord, users: &[TriggerRecord]) -> Result<Change> {
    if let Some(user) = users.first() {
        let others = users.len() - 1;
        let why = format!("calendar `{}` is used by trigger {} and {others} others", found.name, user.key);
        return Err(Error::invalid("calendar", why));
    }
    Ok(Change::DeleteCalendar { name: found.name.clone(), rev: found.rev })
}

fn own(set: Option<&str>, owner: Option<&str>, what: std::fmt::Arguments<'_>) -> Result<()> {
    match (set, owner) {
        (Some(set), Some(owner)) if set != owner => Err(Error::new(
            ErrorKind::AlreadyExists,
            "set",
            format!("{what} belongs to the set {owner:?}, not to {set:?}; rename it or remove it there"),
        )),
        _ => Ok(()),
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

/// The change that deletes a trigger; its live work keeps what it would have inherited from it and from `job`.
pub fn delete_trigger(trigger: &TriggerRecord, job: Option<&JobRecord>) -> Change {
    let leave = Leave {
        spec: job.map(|job| job.spec.clone()).unwrap_or_default(),
        payload: merged(job, trigger.payload.as_ref()),
    };
    Change::DeleteTrigger { id: trigger.id, rev: trigger.rev, leave }
}

/// The change that deletes a job without triggers; its live work keeps what it would have inherited from it.
pub fn delete_job(job: &JobRecord, live: LiveWork) -> Change {
    let leave = Leave { spec: job.spec.clone(), payload: job.payload.clone() };
    Change::DeleteJob { id: job.id, rev: job.rev, live, leave }
}

/// The changes that unschedule one trigger: it goes, and with it its job, if that is not durable and has no other.
pub fn unschedule(trigger: &TriggerRecord, job: Option<&JobRecord>, siblings: usize) -> Vec<Change> {
    let mut changes = vec![delete_trigger(trigger, job)];
    if let Some(job) = job.filter(|job| !job.durable && siblings == 0) {
        changes.push(delete_job(job, LiveWork::Detach));
    }
    changes
}
