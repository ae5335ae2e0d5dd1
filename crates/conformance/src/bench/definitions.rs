//! Jobs and triggers, and the changes that write them.

use punctual_core::Timestamp;
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, WhenBusy};
use punctual_core::key::{JobId, TriggerId, TriggerKey};
use punctual_core::protocol::define;
use punctual_core::quartz::Progress;
use punctual_core::schedule::{Every, Schedule};
use punctual_core::store::{Applied, Change, Expect, LiveWork};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};

use super::{Bench, MINUTE, WORK, data, job_key, kind, trigger_key};

impl Bench {
    /// A job that is not stored yet.
    pub(crate) fn new_job(&self, name: &str) -> JobRecord {
        JobRecord {
            id: JobId::draw(&self.entropy),
            key: job_key(name),
            kind: kind(WORK),
            description: None,
            spec: ExecutionSpec::default(),
            payload: data("job's"),
            priority: 0,
            durable: false,
            set: None,
            rev: 0,
            created: self.t0,
        }
    }

    /// Stores a job.
    pub(crate) async fn job(&self, name: &str) -> JobRecord {
        self.job_with(name, |_| {}).await
    }

    /// Stores a job that differs from the plain one.
    pub(crate) async fn job_with(&self, name: &str, change: impl FnOnce(&mut JobRecord) + Send) -> JobRecord {
        let mut job = self.new_job(name);
        change(&mut job);
        let key = job.key.clone();
        self.write([create_job(job)]).await;
        self.store.inspect().job(&key).await.expect("a read").expect("the job is there")
    }

    /// Stores a job of which at most `limit` executions run at once, under the slot key `key`.
    pub(crate) async fn limited(&self, name: &str, key: &str, limit: u32) -> JobRecord {
        let concurrency = Concurrency { key: key.into(), limit, when_busy: WhenBusy::Queue };
        self.job_with(name, |job| job.spec.concurrency = Some(concurrency)).await
    }

    /// A trigger that is due at once and then every minute, and is not stored yet.
    pub(crate) fn new_trigger(&self, name: &str, job: &JobRecord) -> TriggerRecord {
        let id = TriggerId::draw(&self.entropy);
        let every = Every::new(MINUTE).expect("a minute is an interval").anchored_at(self.t0);
        TriggerRecord {
            id,
            key: trigger_key(name),
            job_id: job.id,
            description: None,
            spec: TriggerSpec::new(Schedule::Every(every)),
            payload: None,
            priority: 0,
            state: TriggerState::Active,
            next_fire: Some(self.t0),
            wake: Some(self.t0),
            last: None,
            progress: Progress::default(),
            fires: 0,
            fire_seq: 0,
            generation: 1,
            rev: 0,
            slice: slice_of(id),
            error: None,
            set: None,
            hash: 0,
            created: self.t0,
            paused: None,
        }
    }

    /// Stores a trigger that is due.
    pub(crate) async fn trigger(&self, name: &str, job: &JobRecord) -> TriggerRecord {
        self.trigger_with(name, job, |_| {}).await
    }

    /// Stores a trigger that differs from the plain one.
    pub(crate) async fn trigger_with(
        &self,
        name: &str,
        job: &JobRecord,
        change: impl FnOnce(&mut TriggerRecord) + Send,
    ) -> TriggerRecord {
        let mut trigger = self.new_trigger(name, job);
        change(&mut trigger);
        let key = trigger.key.clone();
        self.write([create_trigger(trigger)]).await;
        self.found(&key).await
    }

    /// Stores a trigger that is due at `at`.
    pub(crate) async fn trigger_at(&self, name: &str, job: &JobRecord, at: Timestamp) -> TriggerRecord {
        self.trigger_with(name, job, |trigger| (trigger.next_fire, trigger.wake) = (Some(at), Some(at))).await
    }

    /// Applies changes.
    pub(crate) async fn apply(&self, changes: impl IntoIterator<Item = Change> + Send) -> Applied {
        let changes = changes.into_iter().collect();
        self.store.apply(changes).await.expect("a write")
    }

    /// Applies changes that must fit.
    pub(crate) async fn write(&self, changes: impl IntoIterator<Item = Change> + Send) {
        assert_eq!(self.apply(changes).await, Applied::All);
    }

    /// The trigger as it is stored now.
    pub(crate) async fn reread(&self, trigger: &TriggerRecord) -> TriggerRecord {
        self.found(&trigger.key).await
    }

    async fn found(&self, key: &TriggerKey) -> TriggerRecord {
        self.store.inspect().trigger(key).await.expect("a read").trigger.expect("the trigger is there")
    }
}

/// Creates a job under a free key.
pub(crate) fn create_job(job: JobRecord) -> Change {
    Change::PutJob { expect: Expect::Absent { mark: None }, job }
}

/// Replaces a job.
pub(crate) fn replace_job(job: JobRecord) -> Change {
    Change::PutJob { expect: Expect::Rev(job.rev), job }
}

/// Creates a trigger under a key that was never used.
pub(crate) fn create_trigger(trigger: TriggerRecord) -> Change {
    Change::PutTrigger { expect: Expect::Absent { mark: None }, trigger }
}

/// Replaces a trigger.
pub(crate) fn replace_trigger(trigger: TriggerRecord) -> Change {
    Change::PutTrigger { expect: Expect::Rev(trigger.rev), trigger }
}

/// Deletes a trigger.
pub(crate) fn delete_trigger(trigger: &TriggerRecord, job: &JobRecord) -> Change {
    define::delete_trigger(trigger, Some(job))
}

/// Deletes a job.
pub(crate) fn delete_job(job: &JobRecord, live: LiveWork) -> Change {
    define::delete_job(job, live)
}
