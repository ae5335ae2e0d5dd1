//! From the end of a body to what becomes of its execution: recorded, tried again, or handed back.

use std::time::Duration;

use crate::entropy::Entropy;
use crate::execution::{
    Attempt, AttemptOutcome, Execution, ExecutionState, HistoryRecord, MAX_ATTEMPTS_KEPT, MAX_ERROR_BYTES,
    MAX_OUTPUT_BYTES, Outcome, clip,
};
use crate::job::{ExecutionSpec, OnNodeLoss};
use crate::key::NodeId;
use crate::store::{Back, ClaimRef, SettlePlan, Settlement};
use crate::time::Timestamp;

/// The losses that an execution survives before it is taken for the cause of them.
pub const MAX_LOSSES: u32 = 5;

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// With success.
    Succeeded,
    /// With an error; the retry policy decides.
    Failed(String),
    /// With an error, and the handler wants the next attempt after this delay; attempts are still counted.
    RetryAfter(String, Duration),
    /// With an error that no attempt can mend.
    Dead(String),
    /// With a panic.
    Panicked(String),
    /// It was stopped because it took longer than its timeout.
    TimedOut(Duration),
    /// It was stopped because somebody cancelled it.
    Cancelled(String),
    /// It was not begun, or stopped because its node did: not its fault.
    HandedBack(String),
}

/// An ended body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: BodyEnd,
    /// When it began, on the store's clock; `None` if it never did.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Timestamp,
    /// What it gave out.
    pub output: Option<String>,
}

/// Decides what becomes of an execution that `node` ran under the row's fence.
pub fn settle(
    row: &Execution,
    spec: &ExecutionSpec,
    node: NodeId,
    body: Ended,
    entropy: &dyn Entropy,
) -> SettlePlan {
    let (outcome, error, wish) = match body.end {
        BodyEnd::Succeeded => (AttemptOutcome::Succeeded, None, Wish::End(Outcome::Succeeded)),
        BodyEnd::Failed(why) => (AttemptOutcome::Failed, Some(why), Wish::Retry(None)),
        BodyEnd::RetryAfter(why, delay) => (AttemptOutcome::Failed, Some(why), Wish::Retry(Some(delay))),
        BodyEnd::Dead(why) => (AttemptOutcome::Failed, Some(why), Wish::End(Outcome::Failed)),
        BodyEnd::Panicked(why) => {
            (AttemptOutcome::Panicked, Some(format!("panicked: {why}")), Wish::Retry(None))
        }
        BodyEnd::TimedOut(limit) => {
            (AttemptOutcome::TimedOut, Some(format!("timed out after {limit:?}")), Wish::Retry(None))
        }
        BodyEnd::Cancelled(why) => (AttemptOutcome::Cancelled, Some(why), Wish::End(Outcome::Cancelled)),
        BodyEnd::HandedBack(why) => (AttemptOutcome::Released, Some(why), Wish::HandBack),
    };
    let attempt = Attempt {
        number: row.attempt,
        node,
        fence: row.fence,
        started: body.started,
        ended: body.ended,
        outcome,
        error: error.map(|why| clip(&why, MAX_ERROR_BYTES)),
    };
    let begun = body.started.is_some();
    let then = match wish {
        Wish::End(outcome) => end(row, outcome, attempt, body.output),
        // At most once: what has begun may not begin again, whoever's fault it was.
        Wish::HandBack if begun && spec.on_node_loss == OnNodeLoss::Lose => {
            end(row, Outcome::Lost, attempt, None)
        }
        Wish::HandBack => {
            let attempts = if begun { with_attempt(row, attempt) } else { row.attempts.clone() };
            back(Duration::ZERO, row.attempt, row.losses, attempts, true)
        }
        Wish::Retry(delay) => {
            let failures = row.attempt.saturating_sub(row.losses);
            if failures >= spec.retry.max_attempts {
                end(row, Outcome::Failed, attempt, body.output)
            } else {
                let delay = delay.unwrap_or_else(|| jittered(spec, failures, entropy));
                let next = row.attempt.saturating_add(1);
                back(delay, next, row.losses, with_attempt(row, attempt), spec.hold_slot_while_waiting)
            }
        }
    };
    SettlePlan { claim: ClaimRef { id: row.id, owner: node, fence: row.fence }, then }
}

/// Ends an execution with success, as [`settle`] does for a body that succeeded.
pub fn succeed(
    row: &Execution,
    node: NodeId,
    started: Timestamp,
    ended: Timestamp,
    output: Option<&str>,
) -> SettlePlan {
    let attempt = Attempt {
        number: row.attempt,
        node,
        fence: row.fence,
        started: Some(started),
        ended,
        outcome: AttemptOutcome::Succeeded,
        error: None,
    };
    let claim = ClaimRef { id: row.id, owner: node, fence: row.fence };
    SettlePlan { claim, then: end(row, Outcome::Succeeded, attempt, output.map(str::to_owned)) }
}

/// The same plan for those who keep no record of what succeeded. What a trigger fired keeps its record.
pub fn forgetting(row: &Execution, plan: SettlePlan) -> SettlePlan {
    let succeeded = matches!(&plan.then, Settlement::End(record) if record.outcome == Outcome::Succeeded);
    let then = if succeeded && row.occurrence.is_none() { Settlement::Forget } else { plan.then };
    SettlePlan { then, ..plan }
}

/// Hands back a row that names this node though the node does not run it: a claim whose answer was lost.
pub fn hand_back(claim: ClaimRef, row: &Execution) -> SettlePlan {
    let then = back(Duration::ZERO, row.attempt, row.losses, row.attempts.clone(), true);
    SettlePlan { claim, then }
}

/// Sets aside a claimed row that cannot be understood. Nothing is known of it but its identity.
pub fn hold(claim: ClaimRef, reason: &str) -> SettlePlan {
    let then = Settlement::Back(Back {
        state: ExecutionState::Held,
        delay: Duration::ZERO,
        attempt: 1,
        losses: 0,
        attempts: Vec::new(),
        keep_slot: false,
        error: Some(clip(reason, MAX_ERROR_BYTES)),
    });
    SettlePlan { claim, then }
}

enum Wish {
    End(Outcome),
    Retry(Option<Duration>),
    HandBack,
}

fn jittered(spec: &ExecutionSpec, failures: u32, entropy: &dyn Entropy) -> Duration {
    let delay = spec.retry.delay(failures);
    let share = delay.saturating_mul(u32::from(spec.retry.jitter_percent)) / 100;
    delay.saturating_sub(entropy.below(share))
}

pub(super) fn with_attempt(row: &Execution, attempt: Attempt) -> Vec<Attempt> {
    let mut attempts = row.attempts.clone();
    attempts.push(attempt);
    let surplus = attempts.len().saturating_sub(MAX_ATTEMPTS_KEPT);
    attempts.drain(..surplus);
    attempts
}

pub(super) fn back(
    delay: Duration,
    attempt: u32,
    losses: u32,
    attempts: Vec<Attempt>,
    keep_slot: bool,
) -> Settlement {
    let state = ExecutionState::Ready;
    Settlement::Back(Back { state, delay, attempt, losses, attempts, keep_slot, error: None })
}

pub(super) fn end(row: &Execution, outcome: Outcome, attempt: Attempt, output: Option<String>) -> Settlement {
    Settlement::End(Box::new(HistoryRecord {
        id: row.id,
        occurrence: row.occurrence.clone(),
        job: row.job.clone(),
        kind: row.kind.clone(),
        scheduled: row.scheduled,
        until: None,
        count: Some(1),
        outcome,
        reason: None,
        attempt: attempt.number,
        node: Some(attempt.node),
        fence: attempt.fence,
        started: attempt.started,
        ended: attempt.ended,
        error: attempt.error.clone(),
        output: output.map(|text| clip(&text, MAX_OUTPUT_BYTES)),
        attempts: with_attempt(row, attempt),
    }))
}
