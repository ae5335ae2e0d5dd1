//! Commands on definitions in the middle of a run, and what is certain of them.

use std::time::Duration;

use punctual::RetryPolicy;
use punctual::core::schedule::Every;
use punctual::core::trigger::TriggerSpec;
use punctual::core::{Clock, TriggerKey};
use punctual::runtime::SystemClock;
use punctual_checker::FaultEvent;
use punctual_tests::chaos::work::{self, Plain};

use crate::run::Run;
use crate::schedule::Fault;

impl Run<'_> {
    /// Changes definitions. What fails in an outage may have been done or not; then nothing is said of it.
    pub(crate) async fn command(&mut self, fault: Fault) -> Option<()> {
        if !self.outages.is_empty() || self.disk.is_some() {
            return None;
        }
        let done = match fault {
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

    async fn reschedule(&mut self, trigger: u64, turn: u64) -> punctual::core::Result<bool> {
        let key: TriggerKey = work::plain_key(trigger).parse()?;
        let spec = TriggerSpec::new(Every::new(work::interval(turn))?.into());
        let Some(before) = self.scheduler.trigger(&key).await? else { return Ok(false) };
        let after = self.scheduler.reschedule(&key, spec).await?;
        let at = self.store.now().await?;
        if after.generation > before.generation {
            let (generation, boot_us) = (after.generation, SystemClock.boot());
            self.faults.push(FaultEvent::Rescheduled { trigger: key, generation, at, boot_us });
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
