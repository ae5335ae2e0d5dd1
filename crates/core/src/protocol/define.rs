//! From wanted definitions to changes: nothing is written where nothing differs, and older sets never overwrite newer.

use std::collections::{BTreeMap, BTreeSet};

use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::execution::merged;
use crate::inspect::{FoundSet, FoundTrigger};
use crate::job::{ExecutionSpec, JobRecord, Payload};
use crate::key::{JobId, JobKey, Kind, TriggerId, TriggerKey};
use crate::store::{Change, Expect, Leave, LiveWork, SetRecord};
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

/// Everything that one file or library defines.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// What a set's application needs to know of keys that the set does not own yet.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Jobs of wanted keys outside of the set.
    pub jobs: BTreeMap<JobKey, JobRecord>,
    /// Triggers, or marks, of wanted keys outside of the set.
    pub triggers: BTreeMap<TriggerKey, FoundTrigger>,
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
    /// Jobs and triggers that are new.
    pub created: usize,
    /// Jobs and triggers that differ.
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

impl SetDefinition {
    /// The hash of all definitions, in the order of their keys.
    pub fn hash(&self) -> i64 {
        let jobs: BTreeMap<&JobKey, serde_json::Value> =
            self.jobs.iter().map(|job| (&job.key, job.text())).collect();
        let triggers: BTreeMap<&TriggerKey, serde_json::Value> =
            self.triggers.iter().map(|trigger| (&trigger.key, trigger.text())).collect();
        let all: Vec<_> = jobs.into_values().chain(triggers.into_values()).collect();
        stable_hash(serde_json::Value::Array(all).to_string().as_bytes())
    }

    /// Checks that the set fits together.
    ///
    /// # Errors
    /// `Invalid`, naming the job or trigger.
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

/// Plans a trigger of the job `job_id`: `None` if it is there as wanted, else the change.
///
/// Where the instants stay the same, the trigger keeps its place; where they change, a new generation begins with the
/// first instant after the last one that was decided about.
///
/// # Errors
/// `Invalid` if the trigger would never fire; `AlreadyExists` if it belongs to another set.
pub fn put_trigger(
    found: &FoundTrigger,
    wanted: &TriggerDefinition,
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
    let trigger = match &found.trigger {
        Some(old) => {
            let same_instants = old.state != TriggerState::Error
                && old.spec.schedule == wanted.spec.schedule
                && (old.spec.start, old.spec.end) == (wanted.spec.start, wanted.spec.end);
            let next = if same_instants {
                old.next_fire
            } else {
                Some(wanted.spec.first(now, old.last).ok_or_else(never)?)
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
                generation: if same_instants { old.generation } else { old.generation.saturating_add(1) },
                error: None,
                set: set.map(Into::into),
                hash,
                ..old.clone()
            }
        }
        None => {
            let id = TriggerId::draw(entropy);
            let next = Some(wanted.spec.first(now, found.mark).ok_or_else(never)?);
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
        let change = match put_trigger(&stored, trigger, *job_id, set, now, entropy) {
            // A one-shot whose instant an earlier trigger of the key has consumed is done, not wrong.
            Err(error) if error.kind() == ErrorKind::Invalid && stored.mark.is_some() => None,
            other => other?,
        };
        if let Some(change) = change {
            if let Change::PutTrigger { expect, .. } = &change {
                count(&mut counts, *expect);
            }
            changes.push(change);
        }
    }

    let gone_triggers: Vec<&TriggerRecord> =
        found.triggers.iter().filter(|stored| !wanted.triggers.iter().any(|t| t.key == stored.key)).collect();
    let gone_jobs: Vec<&JobRecord> =
        found.jobs.iter().filter(|stored| !wanted.jobs.iter().any(|j| j.key == stored.key)).collect();
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
