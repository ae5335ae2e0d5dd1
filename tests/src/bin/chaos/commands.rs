//! Commands on definitions in the middle of a run, and what is certain of them.

use std::time::Duration;

use punctual::RetryPolicy;
use punctual::core::schedule::Every;
use punctual::core::trigger::TriggerSpec;
use punctual::core::{BootInstant, Clock, ErrorKind, TriggerKey};
use punctual::runtime::SystemClock;
use punctual_checker::{FaultEvent, Pausable};
use punctual_tests::chaos::work::{self, Plain};

use crate::run::{Run, due};
use crate::schedule::Fault;

/// Something that is paused, or may be, and when it is to be resumed.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    what: Pausable,
    /// The trigger; none for the group.
    key: Option<TriggerKey>,
    pub(crate) until: BootInstant,
}

impl Run<'_> {
    /// Changes definitions. What fails in an outage may have been done or not; then nothing is said of it.
    pub(crate) async fn command(&mut self, fault: Fault) -> Option<()> {
        if !self.outages.is_empty() || self.disk.is_some() {
            return None;
        }
        let done = match fault {
            Fault::Pause { trigger, span } => self.pause(trigger, span).await,
            Fault::Reschedule { trigger, turn } => self.reschedule(trigger, turn).await,
            Fault::Replace { trigger, turn } => self.replace(trigger, turn).await,
            _ => return None,
        };
        match done {
            Ok(done) => done.then_some(()),
            Err(error) => {
                self.view.say(&format!("a command was not answered: {error}"));
                None
            }
        }
    }

    /// Pauses a trigger or the group of all plain ones. It is resumed later also if nobody knows what became of it.
    async fn pause(&mut self, trigger: Option<u64>, span: Duration) -> punctual::core::Result<bool> {
        let what = match trigger {
            None => Pausable::Group(work::PLAIN_GROUP.into()),
            Some(n) => match self.scheduler.trigger(&work::plain_key(n).parse()?).await? {
                Some(trigger) => Pausable::Trigger(trigger.id),
                None => return Ok(false),
            },
        };
        if self.pauses.iter().any(|pause| pause.what == what) {
            return Ok(false);
        }
        let key = trigger.map(|n| work::plain_key(n).parse()).transpose()?;
        self.pauses.push(Pause {
            what: what.clone(),
            key: key.clone(),
            until: SystemClock.boot().plus(span),
        });
        let done = match &key {
            Some(key) => self.scheduler.pause_trigger(key, "chaos", None).await?,
            None => self.scheduler.pause_group(work::PLAIN_GROUP, "chaos", None).await.map(|()| true)?,
        };
        let at = self.store.now().await?;
        self.faults.push(FaultEvent::Paused { what, at, boot_us: SystemClock.boot() });
        Ok(done)
    }

    /// Resumes what has been paused for long enough; what cannot be reached is tried again in the next turn.
    pub(crate) async fn resume_paused(&mut self, now: BootInstant) {
        for pause in due(&mut self.pauses, |pause| pause.until <= now) {
            if let Err(error) = self.resume(&pause).await {
                self.view.say(&format!("a command was not answered: {error}"));
                self.pauses.push(pause);
            }
        }
    }

    /// Takes on what a backup has brought back: whatever is paused in it is resumed in the next turn.
    pub(crate) async fn adopt_pauses(&mut self) -> punctual::core::Result<()> {
        let until = SystemClock.boot();
        self.pauses.clear();
        if !self.scheduler.paused_groups().await?.is_empty() {
            let what = Pausable::Group(work::PLAIN_GROUP.into());
            self.pauses.push(Pause { what, key: None, until });
        }
        for n in 0..work::PLAIN {
            let key: TriggerKey = work::plain_key(n).parse()?;
            if let Some(trigger) =
                self.scheduler.trigger(&key).await?.filter(|trigger| trigger.paused.is_some())
            {
                self.pauses.push(Pause { what: Pausable::Trigger(trigger.id), key: Some(key), until });
            }
        }
        Ok(())
    }

    async fn resume(&mut self, pause: &Pause) -> punctual::core::Result<()> {
        let at = self.store.now().await?;
        let what = pause.what.clone();
        self.faults.push(FaultEvent::Resuming { what, at, boot_us: SystemClock.boot() });
        match &pause.key {
            None => self.scheduler.resume_group(work::PLAIN_GROUP).await.map(drop),
            Some(key) => match self.scheduler.resume_trigger(key).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                other => other.map(drop),
            },
        }
    }

    async fn reschedule(&mut self, trigger: u64, turn: u64) -> punctual::core::Result<bool> {
        let key: TriggerKey = work::plain_key(trigger).parse()?;
        let spec = TriggerSpec::new(Every::new(work::interval(turn))?.into());
        let Some(before) = self.scheduler.trigger(&key).await? else { return Ok(false) };
        let after = self.scheduler.reschedule(&key, spec).await?;
        let at = self.store.now().await?;
        if after.generation > before.generation {
            let (trigger_id, generation, boot_us) = (after.id, after.generation, SystemClock.boot());
            self.faults.push(FaultEvent::Rescheduled { trigger: key, trigger_id, generation, at, boot_us });
        }
        Ok(after.generation > before.generation)
    }

    async fn replace(&mut self, trigger: u64, turn: u64) -> punctual::core::Result<bool> {
        let key: TriggerKey = work::plain_key(trigger).parse()?;
        let Some(before) = self.scheduler.trigger(&key).await? else { return Ok(false) };
        self.scheduler.unschedule(&key).await?;
        let at = self.store.now().await?;
        let boot_us = SystemClock.boot();
        self.faults.push(FaultEvent::Unscheduled { trigger_id: before.id, at, boot_us });
        let job = Plain { takes_ms: 50 + turn % 400, fails_one_in: 0 };
        let request = self.scheduler.schedule(job).every(work::interval(turn));
        request
            .retry(RetryPolicy::fixed(4, Duration::from_millis(400)))
            .key(&work::plain_key(trigger))
            .await?;
        Ok(true)
    }
}
