//! What steps do to a row, for stores that read a row, change it and write it back. SQL stores do the same in SQL.
//!
//! Guards are compared by the store before, and indexes are moved by it after; nothing here knows of either.

use super::{
    Coded, ExecutionRow, HistoryRow, JobRow, SkipRow, TriggerRow, after, back_code, document, micros_of,
    progress_document, text_of,
};
use crate::error::Result;
use crate::execution::{ExecutionState, Outcome, Skip};
use crate::store::{Back, ClaimRef, TriggerPatch};
use crate::time::Timestamp;

impl TriggerRow {
    /// Writes a patch of a claim, as [`crate::JobStore::claim`] says; its skips are not part of the row.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn patch(&mut self, patch: &TriggerPatch) -> Result<()> {
        self.progress = progress_document(&patch.progress)?;
        self.state = patch.state.code();
        self.next_fire_us = micros_of(patch.next_fire);
        self.wake_us = micros_of(patch.wake);
        self.last_us = micros_of(patch.last).or(self.last_us);
        self.error = text_of(patch.error.as_deref());
        self.fires = self.fires.saturating_add(patch.fires);
        self.fire_seq = self.fire_seq.saturating_add(1);
        self.rev = self.rev.saturating_add(1);
        Ok(())
    }
}

impl ExecutionRow {
    /// Puts the row back, as [`crate::store::Settlement::Back`] says: nobody's, and not before `delay` after `now`.
    ///
    /// # Errors
    /// `Invalid` if rows of the state have an owner, and those of [`document`].
    pub fn put_back(&mut self, claim: ClaimRef, back: &Back, now: Timestamp) -> Result<()> {
        let (state, attempts) = (back_code(claim, back.state)?, document(&back.attempts)?);
        (self.state, self.attempts, self.owner) = (state, attempts, None);
        (self.attempt, self.losses) = (back.attempt.into(), back.losses.into());
        (self.wake_us, self.error) = (after(now, back.delay), text_of(back.error.as_deref()));
        Ok(())
    }

    /// Whether somebody owns a row of this state. A state that nobody knows is taken for one that nobody owns.
    pub fn is_owned(&self) -> bool {
        [ExecutionState::Claimed, ExecutionState::Running].map(Coded::code).contains(&self.state)
    }
}

impl HistoryRow {
    /// The record of a row that nobody owned when it was cancelled at `now`.
    pub fn cancelled(row: &ExecutionRow, why: &str, now: Timestamp) -> Self {
        Self {
            id: row.id,
            trigger_id: row.trigger_id,
            generation: row.generation,
            trigger_key: row.trigger_key.clone(),
            job_id: row.job_id,
            job_key: row.job_key.clone(),
            kind: row.kind.clone(),
            scheduled_us: row.scheduled_us,
            instants: Some(1),
            outcome: Outcome::Cancelled.code(),
            attempt: row.attempt,
            fence: row.fence,
            ended_us: now.as_micros(),
            error: Some(why.to_owned()),
            attempts: row.attempts.clone(),
            ..Self::default()
        }
    }

    /// The record of instants of a trigger, and so of its job, that were left out at `now`.
    pub fn skipped(trigger: &TriggerRow, job: &JobRow, skip: &Skip, now: Timestamp) -> Self {
        let SkipRow { id, scheduled_us, until_us, instants, reason } = skip.into();
        Self {
            id,
            trigger_id: Some(trigger.id),
            generation: Some(trigger.generation),
            trigger_key: Some(key(&trigger.group_name, &trigger.name)),
            job_id: Some(job.id),
            job_key: Some(key(&job.group_name, &job.name)),
            kind: job.kind.clone(),
            scheduled_us,
            until_us: Some(until_us),
            instants,
            outcome: Outcome::Skipped.code(),
            reason: Some(reason),
            ended_us: now.as_micros(),
            attempts: "[]".to_owned(),
            ..Self::default()
        }
    }
}

/// The text of a key, as [`crate::key::Key`] shows it.
fn key(group: &str, name: &str) -> String {
    format!("{group}/{name}")
}
