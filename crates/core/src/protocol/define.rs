//! From wanted definitions to changes: nothing is written where nothing differs, and older sets never overwrite newer.

mod calendars;
mod pauses;
mod set;

use std::sync::Arc;

use self::calendars::touched;
pub use self::calendars::{delete_calendar, put_calendar};
pub use self::pauses::{pause_trigger, resume_trigger};
pub use self::set::{Counts, Elsewhere, FoundCalendar, SetDefinition, SetPlan, Unlisted, apply_set};
use crate::calendar::Calendar;
use crate::entropy::Entropy;
use crate::error::{Error, ErrorKind, Result};
use crate::execution::merged;
use crate::inspect::FoundTrigger;
use crate::instants::Instants;
use crate::job::{ExecutionSpec, JobRecord, Payload};
use crate::key::{JobId, JobKey, Kind, TriggerId, TriggerKey};
use crate::quartz::Progress;
use crate::store::{CalendarRecord, Change, Expect, Leave, LiveWork};
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
                paused: None,
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
