//! Pauses of triggers and of groups. Each is in force when the call returns: no claim of what it holds back commits after.

use punctual_core::key::checked_group;
use punctual_core::pause::{Pause, PausedGroup};
use punctual_core::protocol::define;
use punctual_core::store::Change;
use punctual_core::trigger::{TriggerRecord, TriggerState};
use punctual_core::{Error, Result, TriggerKey};

use crate::scheduler::Scheduler;

/// What became of a trigger that was resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It had a pause, and goes on.
    GoesOn,
    /// It had no pause of its own, and nothing was changed.
    WasNotPaused,
    /// Its own pause is lifted, if it had one; that of its group holds it back.
    GroupIsPaused,
}

impl Scheduler {
    /// Pauses a trigger: it fires no more until it is [resumed](Scheduler::resume_trigger). What it has fired goes on, its retries
    /// included. Answers whether it had no pause of its own yet; an earlier one stays as it is.
    ///
    /// The pause is kept through edits and restarts. `by` and `reason` are for the people who find it.
    ///
    /// # Errors
    /// `NotFound` if there is no such trigger; `Invalid` as [`Pause::new`].
    pub async fn pause_trigger(&self, key: &TriggerKey, by: &str, reason: Option<&str>) -> Result<bool> {
        self.until_applied("pause", || async {
            let pause = Pause::new(by, reason, self.store().now().await?)?;
            let trigger = self.existing("pause", key).await?;
            let Some(change) = define::pause_trigger(&trigger, pause) else { return Ok(Some(false)) };
            Ok(self.apply(vec![change]).await?.then_some(true))
        })
        .await
    }

    /// Lifts a trigger's own pause. What came due meanwhile is dealt with as its misfire policy says.
    ///
    /// # Errors
    /// `NotFound` if there is no such trigger.
    pub async fn resume_trigger(&self, key: &TriggerKey) -> Result<Resumed> {
        self.until_applied("resume", || async {
            let trigger = self.existing("resume", key).await?;
            let group_is_paused =
                self.paused_groups().await?.iter().any(|paused| *paused.group == *key.group());
            if let Some(change) = define::resume_trigger(&trigger, group_is_paused)
                && !self.apply(vec![change]).await?
            {
                return Ok(None);
            }
            Ok(Some(
                match (group_is_paused, trigger.paused.is_some() || trigger.state == TriggerState::Paused) {
                    (true, _) => Resumed::GroupIsPaused,
                    (false, true) => Resumed::GoesOn,
                    (false, false) => Resumed::WasNotPaused,
                },
            ))
        })
        .await
    }

    /// Pauses a group of triggers, also those that are put into it later; a later pause takes the place of an earlier one.
    /// The group need not exist. Work that was claimed before goes on.
    ///
    /// # Errors
    /// `Invalid` if the group is no name, or as [`Pause::new`].
    pub async fn pause_group(&self, group: &str, by: &str, reason: Option<&str>) -> Result<()> {
        let group = checked_group(group)?;
        self.until_applied("pause", || async {
            let pause = Pause::new(by, reason, self.store().now().await?)?;
            let change = Change::PauseGroup(PausedGroup { group: group.clone(), pause });
            Ok(self.apply(vec![change]).await?.then_some(()))
        })
        .await
    }

    /// Lifts the pause of a group. Its triggers go on, but for those that have a pause of their own; what came due meanwhile
    /// is dealt with as their misfire policies say. Answers whether there was one.
    ///
    /// # Errors
    /// `Invalid` if the group is no name.
    pub async fn resume_group(&self, group: &str) -> Result<bool> {
        let group = checked_group(group)?;
        self.until_applied("resume", || async {
            let was_paused = self.paused_groups().await?.iter().any(|paused| paused.group == group);
            let applied = self.apply(vec![Change::ResumeGroup { group: group.clone() }]).await?;
            Ok(applied.then_some(was_paused))
        })
        .await
    }

    /// All paused groups, by name.
    ///
    /// # Errors
    /// `Unavailable` if the store does not answer.
    pub async fn paused_groups(&self) -> Result<Vec<PausedGroup>> {
        self.inspect().paused_groups().await
    }

    async fn existing(&self, operation: &'static str, key: &TriggerKey) -> Result<TriggerRecord> {
        let missing = || Error::not_found(operation, format!("there is no trigger {key}"));
        self.trigger(key).await?.ok_or_else(missing)
    }
}
