//! Commands on definitions: each reads, plans with core, applies, and begins again if it lost its race. Its point of
//! linearization is the commit of the batch that applied.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::calendar::Calendar;
use punctual_core::execution::{JobRef, NewExecution, Slot, merged};
use punctual_core::job::{JobRecord, Payload};
use punctual_core::protocol::define::{
    self, CalendarDefinition, Elsewhere, FoundCalendar, JobDefinition, SetDefinition, SetPlan,
    TriggerDefinition, Unlisted,
};
use punctual_core::store::{Applied, CalendarRecord, Change, Enqueue, LiveWork};
use punctual_core::trigger::{TriggerRecord, TriggerSpec};
use punctual_core::{Error, ExecutionId, JobKey, Result, Timestamp, TriggerKey};

use crate::scheduler::Scheduler;

/// What becomes of live executions of a job that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteJob {
    /// Its triggers go at once, the job when its last execution has ended.
    Wait,
    /// Waiting executions end as cancelled, running ones are asked to stop.
    Cancel,
    /// They go on without their job.
    Detach,
}

/// What [`Scheduler::apply_set`] did.
pub type SetOutcome = SetPlan;

impl Scheduler {
    /// Writes a job and its trigger, or nothing if both are there as wanted. Answers whether it wrote.
    ///
    /// # Errors
    /// `Invalid` for a definition out of bounds or a trigger that would never fire; `NotFound` if it names a calendar
    /// that is not stored; `Unsupported` if its custom schedule is not known here; `AlreadyExists` if either belongs to
    /// a set.
    pub async fn put(&self, job: &JobDefinition, trigger: &TriggerDefinition) -> Result<bool> {
        let trigger = &self.resolved(trigger)?;
        self.until_applied("schedule", || async {
            let now = self.node.store.now().await?;
            let inspect = self.inspect();
            let found_job = inspect.job(&job.key).await?;
            let found_trigger = inspect.trigger(&trigger.key).await?;
            let entropy = &*self.node.entropy;
            let set = found_job.as_ref().and_then(|job| job.set.clone());
            let mut changes = Vec::new();
            let job_id = match define::put_job(found_job.as_ref(), job, set.as_deref(), now, entropy)? {
                Some((expect, record)) => {
                    let id = record.id;
                    changes.push(Change::PutJob { expect, job: record });
                    Some(id)
                }
                None => found_job.as_ref().map(|job| job.id),
            };
            let Some(job_id) = job_id else { return Ok(None) };
            let set = found_trigger.trigger.as_ref().and_then(|trigger| trigger.set.clone());
            let calendar = self.calendar_of(&trigger.spec).await?;
            changes.extend(define::put_trigger(
                &found_trigger,
                trigger,
                calendar.as_ref(),
                job_id,
                set.as_deref(),
                now,
                entropy,
            )?);
            if changes.is_empty() {
                return Ok(Some(false));
            }
            Ok(self.apply(changes).await?.then_some(true))
        })
        .await
    }

    /// Gives a trigger another definition of its instants. The first of them is after the last one that was decided
    /// about; firings that were claimed before the commit run.
    ///
    /// # Errors
    /// `NotFound` if there is no such trigger, or it names a calendar that is not stored; `Invalid` if it would never
    /// fire; `Unsupported` if its custom schedule is not known here.
    pub async fn reschedule(&self, key: &TriggerKey, spec: TriggerSpec) -> Result<TriggerRecord> {
        self.until_applied("reschedule", || async {
            let (found, job) = self.trigger_and_job("reschedule", key).await?;
            let wanted = TriggerDefinition {
                key: key.clone(),
                job: job.key.clone(),
                description: found.description.clone(),
                spec: spec.clone(),
                payload: found.payload.clone(),
                priority: found.priority,
            };
            let wanted = self.resolved(&wanted)?;
            let calendar = self.calendar_of(&wanted.spec).await?;
            let set = found.set.clone();
            let found = punctual_core::inspect::FoundTrigger { trigger: Some(found), mark: None };
            let now = self.node.store.now().await?;
            let (calendar, set, entropy) = (calendar.as_ref(), set.as_deref(), &*self.node.entropy);
            let changes = define::put_trigger(&found, &wanted, calendar, job.id, set, now, entropy)?;
            if changes.is_empty() {
                return Ok(found.trigger);
            }
            let applied = self.apply(changes).await?;
            Ok(if applied { self.trigger(key).await? } else { None })
        })
        .await
    }

    /// Deletes a trigger, and its job if that is not durable and has no other. Running work goes on. Answers whether
    /// there was one.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn unschedule(&self, key: &TriggerKey) -> Result<bool> {
        self.until_applied("unschedule", || async {
            let Some(trigger) = self.trigger(key).await? else { return Ok(Some(false)) };
            let siblings = self.inspect().triggers_of(trigger.job_id).await?;
            let others = siblings.iter().filter(|other| other.id != trigger.id).count();
            let job = self.job_of(&trigger).await?;
            let applied = self.apply(define::unschedule(&trigger, job.as_ref(), others)).await?;
            Ok(applied.then_some(true))
        })
        .await
    }

    /// Deletes a job with its triggers. Answers whether there was one.
    ///
    /// No firing of it commits after the triggers are gone, which is the first thing that happens. With
    /// [`DeleteJob::Wait`] this returns when its last execution has ended.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    ///
    /// # Cancel safety
    /// A dropped wait leaves the job without triggers, to be deleted later.
    pub async fn delete_job(&self, key: &JobKey, live: DeleteJob) -> Result<bool> {
        let mut existed = false;
        loop {
            let Some(job) = self.job(key).await? else { return Ok(existed) };
            existed = true;
            let triggers = self.inspect().triggers_of(job.id).await?;
            let mut changes: Vec<Change> =
                triggers.iter().map(|trigger| define::delete_trigger(trigger, Some(&job))).collect();
            let live = match live {
                DeleteJob::Wait => LiveWork::MustBeNone,
                DeleteJob::Cancel => LiveWork::Cancel,
                DeleteJob::Detach => LiveWork::Detach,
            };
            let whole = [changes.clone(), vec![define::delete_job(&job, live)]].concat();
            if self.apply(whole).await? {
                return Ok(true);
            }
            // Its work is still there, or somebody wrote meanwhile: let nothing new begin, then look again.
            if live == LiveWork::MustBeNone && !changes.is_empty() {
                let _ = self.apply(std::mem::take(&mut changes)).await?;
            }
            self.node.clock.sleep(Duration::from_millis(50)).await;
        }
    }

    /// Runs a job once, now, with its own data or with `data` laid over it; any node that knows its kind may run it.
    /// It is under the same limits as the job's firings.
    ///
    /// # Errors
    /// `NotFound` if there is no such job.
    pub async fn trigger_now(&self, key: &JobKey, data: Option<Payload>) -> Result<ExecutionId> {
        self.until_applied("trigger", || async {
            let missing = || Error::not_found("trigger", format!("there is no job {key}"));
            let job = self.job(key).await?.ok_or_else(missing)?;
            let id = ExecutionId::draw(self.node.store_time(), &*self.node.entropy);
            let execution = NewExecution {
                id,
                occurrence: None,
                job: Some(JobRef { id: job.id, key: job.key.clone() }),
                kind: job.kind.clone(),
                scheduled: Timestamp::EPOCH,
                priority: job.priority,
                spec: None,
                payload: data.as_ref().map(|data| merged(Some(&job), Some(data))),
                slot: Slot::of(&job.spec),
                catch_up: None,
            };
            match self.node.store.enqueue(vec![Enqueue { execution, delay: Some(Duration::ZERO) }]).await? {
                Applied::All => {
                    self.node.hint.notify_one();
                    Ok(Some(id))
                }
                Applied::Lost { .. } => Ok(None),
            }
        })
        .await
    }

    /// Applies a set of definitions: what differs is written in one batch, what does not is left alone, and a set of
    /// lower revision than the one in force changes nothing.
    ///
    /// # Errors
    /// `Invalid` if the set does not fit together, or its revision is in force with other content; `AlreadyExists` if
    /// something in it belongs to another set.
    pub async fn apply_set(&self, wanted: &SetDefinition, unlisted: Unlisted) -> Result<SetOutcome> {
        wanted.check()?;
        let triggers: Result<Vec<_>> = wanted.triggers.iter().map(|trigger| self.resolved(trigger)).collect();
        let wanted = &SetDefinition { triggers: triggers?, ..wanted.clone() };
        self.until_applied("set", || async {
            let inspect = self.inspect();
            let found = inspect.set(&wanted.name).await?;
            let mut elsewhere = Elsewhere::default();
            for job in wanted.jobs.iter().filter(|job| !found.jobs.iter().any(|stored| stored.key == job.key))
            {
                elsewhere.jobs.extend(inspect.job(&job.key).await?.map(|stored| (job.key.clone(), stored)));
            }
            let listed = |key: &TriggerKey| found.triggers.iter().any(|stored| stored.key == *key);
            for trigger in wanted.triggers.iter().filter(|trigger| !listed(&trigger.key)) {
                elsewhere.triggers.insert(trigger.key.clone(), inspect.trigger(&trigger.key).await?);
            }
            let defined: BTreeSet<&str> = wanted.calendars.iter().map(|defined| &*defined.name).collect();
            let named = wanted.triggers.iter().filter_map(|trigger| trigger.spec.calendar.as_deref());
            for name in defined.iter().copied().chain(named).collect::<BTreeSet<_>>() {
                // Before its users: who begins to name it after this reading also writes the calendar.
                let calendar = inspect.calendar(name).await?;
                let users = if defined.contains(name) { self.users_of(name).await? } else { Vec::new() };
                elsewhere.calendars.insert(name.into(), FoundCalendar { calendar, users });
            }
            let now = self.node.store.now().await?;
            let plan = define::apply_set(&found, &elsewhere, wanted, unlisted, now, &*self.node.entropy)?;
            let applied = match &plan {
                SetPlan::Write { changes, .. } => self.apply(changes.clone()).await?,
                SetPlan::Unchanged | SetPlan::Outdated { .. } => true,
            };
            Ok(applied.then_some(plan))
        })
        .await
    }

    // ---- calendars ----

    /// Stores a calendar, or nothing if it is there as wanted. Triggers that name it go on with their first instant
    /// under it that was not decided about yet. Answers whether it wrote.
    ///
    /// # Errors
    /// `Invalid` if the name is no name, or a trigger wants its instants moved and the calendar cannot do that;
    /// `Unsupported` if the custom schedule of a trigger that names it is not known here.
    pub async fn put_calendar(&self, name: &str, calendar: Calendar) -> Result<bool> {
        let wanted = CalendarDefinition { name: name.into(), calendar: Arc::new(calendar) };
        self.until_applied("calendar", || async {
            // Before its users: who begins to name it after this reading also writes the calendar.
            let found = self.calendar(name).await?;
            let users = self.users_of(name).await?;
            let now = self.node.store.now().await?;
            let changes = define::put_calendar(found.as_ref(), &wanted, &users, now)?;
            if changes.is_empty() {
                return Ok(Some(false));
            }
            Ok(self.apply(changes).await?.then_some(true))
        })
        .await
    }

    /// Deletes a calendar. Answers whether there was one.
    ///
    /// # Errors
    /// `Invalid` if triggers name it.
    pub async fn delete_calendar(&self, name: &str) -> Result<bool> {
        self.until_applied("calendar", || async {
            let Some(found) = self.calendar(name).await? else { return Ok(Some(false)) };
            let users = self.inspect().triggers_using(name).await?;
            let change = define::delete_calendar(&found, &users)?;
            Ok(self.apply(vec![change]).await?.then_some(true))
        })
        .await
    }

    /// The calendar of a name.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer; `Corrupt` if the row cannot be understood.
    pub async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
        self.inspect().calendar(name).await
    }

    /// All calendars, by name.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn calendars(&self) -> Result<Vec<CalendarRecord>> {
        self.inspect().calendars().await
    }

    async fn calendar_of(&self, spec: &TriggerSpec) -> Result<Option<CalendarRecord>> {
        match &spec.calendar {
            Some(name) => self.calendar(name).await,
            None => Ok(None),
        }
    }

    /// The triggers that name a calendar, with the code of their schedules, as far as it is known here.
    async fn users_of(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
        let mut users = self.inspect().triggers_using(calendar).await?;
        for user in &mut users {
            // What is not found is an error of the plan that needs it, which names the trigger.
            let _ = user.spec.schedule.resolve(&self.node.registry.custom);
        }
        Ok(users)
    }

    /// The definition with the code of its schedule.
    fn resolved(&self, wanted: &TriggerDefinition) -> Result<TriggerDefinition> {
        let mut wanted = wanted.clone();
        wanted.spec.schedule.resolve(&self.node.registry.custom)?;
        Ok(wanted)
    }

    pub(crate) async fn apply(&self, changes: Vec<Change>) -> Result<bool> {
        let applied = self.node.store.apply(changes).await?;
        self.node.hint.notify_one();
        Ok(applied == Applied::All)
    }

    async fn trigger_and_job(
        &self,
        operation: &'static str,
        key: &TriggerKey,
    ) -> Result<(TriggerRecord, JobRecord)> {
        let missing = || Error::not_found(operation, format!("there is no trigger {key}"));
        let trigger = self.trigger(key).await?.ok_or_else(missing)?;
        let job = self.job_of(&trigger).await?.ok_or_else(missing)?;
        Ok((trigger, job))
    }

    async fn job_of(&self, trigger: &TriggerRecord) -> Result<Option<JobRecord>> {
        self.inspect().job_by_id(trigger.job_id).await
    }
}
