//! Between the small rows of the model and the pure functions of `core`, which make every decision.

use std::sync::LazyLock;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{Execution, ExecutionState, JobRef, Occurrence, Outcome, Slot};
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, OnNodeLoss, Payload, RetryPolicy, WhenBusy};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::finish::{self, BodyEnd, Ended};
use punctual_core::protocol::{fire, recover};
use punctual_core::schedule::{Every, Schedule};
use punctual_core::store::{ClaimRef, DueTrigger, FirePlan, SettlePlan, Settlement, TriggerPatch};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState as CoreState};
use punctual_core::{ExecutionId, Fence, JobId, JobKey, Kind, NodeId, Timestamp, TriggerId, TriggerKey};

use crate::model::engine::rows::{self, Live, Trigger, TriggerState, WorkState};
use crate::model::steps::{Claim, Patch, Plan, Then};

/// What the jobs of a model are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Whether they share one exclusive key.
    pub(crate) is_exclusive: bool,
    /// Whether they run at most once.
    pub(crate) at_most_once: bool,
    /// Whether what is late is left out, but for the last of it.
    pub(crate) leaves_out: bool,
    /// The last instant of their triggers; all instants are due.
    pub(crate) instants: u8,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum End {
    Succeeded,
    Failed,
    HandedBack,
}

pub(super) fn at(tick: u8) -> Timestamp {
    Timestamp::from_secs(tick.into())
}

pub(super) fn tick(at: Timestamp) -> u8 {
    u8::try_from(at.as_micros() / 1_000_000).unwrap_or(u8::MAX)
}

pub(super) fn small(number: impl TryInto<u8>) -> u8 {
    number.try_into().unwrap_or(u8::MAX)
}

pub(super) fn node(id: u8) -> NodeId {
    NodeId::from_stored(i64::from(id) + 1)
}

pub(super) fn exec_id(id: u8) -> ExecutionId {
    ExecutionId::from_bytes(u128::from(id).to_be_bytes())
}

/// The time of the store: everything is due.
pub(super) fn now(instants: u8) -> Timestamp {
    at(instants.saturating_add(1))
}

static ENTROPY: SeededEntropy = SeededEntropy::new(1);

static NAMES: LazyLock<Option<(JobKey, TriggerKey, Kind)>> = LazyLock::new(|| {
    Some((JobKey::new("g", "j").ok()?, TriggerKey::new("g", "t").ok()?, Kind::new("k").ok()?))
});

fn names() -> &'static (JobKey, TriggerKey, Kind) {
    NAMES.as_ref().expect("short names are names")
}

fn schedule(instants: u8) -> TriggerSpec {
    let every = Every::new(Duration::from_secs(1)).expect("a second is an interval").anchored_at(at(1));
    TriggerSpec {
        start: Some(at(1)),
        end: Some(at(instants)),
        tolerance: Duration::from_secs(3_600),
        ..TriggerSpec::new(Schedule::Every(every))
    }
}

/// The first instant of a new generation.
pub(crate) fn first_after(last: Option<u8>, instants: u8) -> Option<u8> {
    schedule(instants).first(now(instants), last.map(at)).map(tick)
}

impl Work {
    pub(crate) fn spec(self) -> ExecutionSpec {
        let (job, ..) = names();
        ExecutionSpec {
            retry: RetryPolicy::fixed(2, Duration::ZERO),
            on_node_loss: if self.at_most_once { OnNodeLoss::Lose } else { OnNodeLoss::Rerun },
            concurrency: self.is_exclusive.then(|| Concurrency::exclusive(job, WhenBusy::Queue)),
            ..ExecutionSpec::default()
        }
    }

    pub(super) fn job(self) -> JobRecord {
        let (key, _, kind) = names();
        JobRecord {
            id: JobId::from_stored(1),
            key: key.clone(),
            kind: kind.clone(),
            description: None,
            spec: self.spec(),
            payload: Payload::null(),
            priority: 0,
            durable: true,
            set: None,
            rev: 1,
            created: Timestamp::EPOCH,
        }
    }

    pub(super) fn trigger(self, id: u8, row: Trigger) -> TriggerRecord {
        let (_, key, _) = names();
        let mut spec = schedule(self.instants);
        if self.leaves_out {
            (spec.tolerance, spec.misfire) = (Duration::ZERO, MisfirePolicy::FireOnceNow);
        }
        TriggerRecord {
            id: TriggerId::from_stored(i64::from(id) + 1),
            key: key.clone(),
            job_id: JobId::from_stored(1),
            description: None,
            spec,
            payload: None,
            priority: 0,
            state: match row.state {
                TriggerState::Active => CoreState::Active,
                TriggerState::Complete => CoreState::Complete,
                TriggerState::Error => CoreState::Error,
            },
            next_fire: row.next.map(at),
            wake: row.next.map(at),
            last: row.last.map(at),
            progress: punctual_core::quartz::Progress::default(),
            fires: 0,
            fire_seq: row.fire_seq.into(),
            generation: row.generation.into(),
            rev: row.rev.into(),
            slice: 0,
            error: None,
            set: None,
            hash: 0,
            created: Timestamp::EPOCH,
            paused: None,
        }
    }

    fn execution(self, id: u8, row: Live) -> Execution {
        let (job, trigger, kind) = names();
        Execution {
            id: exec_id(id),
            occurrence: Some(Occurrence {
                trigger_id: TriggerId::from_stored(i64::from(row.of.trigger) + 1),
                generation: row.of.generation.into(),
                key: trigger.clone(),
            }),
            job: Some(JobRef { id: JobId::from_stored(1), key: job.clone() }),
            kind: kind.clone(),
            scheduled: at(row.of.scheduled),
            priority: 0,
            state: match row.state {
                WorkState::Ready => ExecutionState::Ready,
                WorkState::Claimed => ExecutionState::Claimed,
                WorkState::Running => ExecutionState::Running,
            },
            owner: row.owner.map(node),
            fence: Fence::from_stored(row.fence.into()),
            attempt: row.attempt.into(),
            losses: row.losses.into(),
            wake: at(row.of.scheduled),
            slot: Slot::of(&self.spec()),
            catch_up: None,
            spec: None,
            payload: None,
            attempts: Vec::new(),
            cancel: None,
            error: None,
            created: Timestamp::EPOCH,
        }
    }

    /// The plan for a due trigger, in the words of `core`.
    pub(super) fn fire_plan(self, id: u8, row: Trigger) -> FirePlan {
        let due = DueTrigger { trigger: self.trigger(id, row), job: self.job(), calendar: None };
        fire::plan(&due, now(self.instants), &ENTROPY)
    }

    /// The plan for a due trigger.
    pub(crate) fn plan(self, id: u8, row: Trigger, orders: u8) -> Plan {
        let plan = self.fire_plan(id, row);
        Plan {
            trigger: id,
            rev: small(plan.rev),
            fire_seq: small(plan.fire_seq),
            generation: row.generation,
            fires: plan.executions.first().map(|execution| tick(execution.scheduled)),
            then: patch(&plan.then),
            busy: patch(&plan.busy),
            edition: row.edition,
            orders,
        }
    }

    /// What becomes of a row whose body has ended under a claim.
    pub(crate) fn finish(self, claim: Claim, row: Live, end: End) -> Then {
        then(&self.settle_plan(claim, row, end))
    }

    /// The same, in the words of `core`.
    pub(super) fn settle_plan(self, claim: Claim, row: Live, end: End) -> SettlePlan {
        let end = match end {
            End::Succeeded => BodyEnd::Succeeded,
            End::Failed => BodyEnd::Failed("it failed".to_owned()),
            End::HandedBack => BodyEnd::HandedBack("its node stops".to_owned()),
        };
        let now = now(self.instants);
        let body = Ended { end, started: Some(now), ended: now, output: None };
        let row = Live { owner: Some(claim.owner), fence: claim.fence, ..row };
        let execution = self.execution(claim.exec, row);
        finish::settle(&execution, &self.spec(), node(claim.owner), body, &ENTROPY)
    }

    /// What becomes of a row that names a node which does not run it.
    pub(crate) fn hand_back(self, claim: Claim, row: Live) -> Then {
        let fence = Fence::from_stored(claim.fence.into());
        let of = ClaimRef { id: exec_id(claim.exec), owner: node(claim.owner), fence };
        then(&finish::hand_back(of, &self.execution(claim.exec, row)))
    }

    /// What becomes of a row whose owner is gone.
    pub(crate) fn recover(self, exec: u8, row: Live, owner: u8) -> Then {
        then(&self.recover_plan(exec, row, owner))
    }

    /// The same, in the words of `core`.
    pub(super) fn recover_plan(self, exec: u8, row: Live, owner: u8) -> SettlePlan {
        let execution = self.execution(exec, row);
        recover::settle(&execution, &self.spec(), node(owner), now(self.instants))
    }
}

fn patch(patch: &TriggerPatch) -> Patch {
    Patch {
        state: match patch.state {
            // No plan pauses anything.
            CoreState::Active | CoreState::Paused => TriggerState::Active,
            CoreState::Complete => TriggerState::Complete,
            CoreState::Error => TriggerState::Error,
        },
        next: patch.next_fire.map(tick),
        last: patch.last.map(tick),
        is_parked: patch.state == CoreState::Active && patch.wake > patch.next_fire,
        skip: patch.skips.first().map(|skip| (tick(skip.first), tick(skip.last))),
    }
}

pub(super) fn then(plan: &SettlePlan) -> Then {
    match &plan.then {
        Settlement::End(record) => Then::End {
            outcome: match record.outcome {
                Outcome::Succeeded => rows::Outcome::Succeeded,
                Outcome::Lost => rows::Outcome::Lost,
                _ => rows::Outcome::Failed,
            },
            fence: small(record.fence.get()),
        },
        // The model knows of triggers only, and what they fire is recorded.
        Settlement::Forget => {
            Then::End { outcome: rows::Outcome::Succeeded, fence: small(plan.claim.fence.get()) }
        }
        Settlement::Back(back) => Then::Back {
            attempt: small(back.attempt),
            losses: small(back.losses),
            keeps_slot: back.keep_slot,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work = Work { is_exclusive: true, at_most_once: false, leaves_out: false, instants: 2 };

    fn trigger() -> Trigger {
        Trigger {
            state: TriggerState::Active,
            rev: 1,
            fire_seq: 0,
            generation: 1,
            next: first_after(None, 2),
            last: None,
            is_parked: false,
            edition: 0,
        }
    }

    #[test]
    fn instants_fire_one_after_the_other_and_the_last_one_completes() {
        let first = WORK.plan(0, trigger(), 0);
        assert_eq!((first.fires, first.then.next, first.then.last), (Some(1), Some(2), Some(1)));
        assert!(first.busy.is_parked && first.busy.next == Some(1));
        let second = WORK.plan(0, Trigger { next: Some(2), last: Some(1), ..trigger() }, 0);
        assert_eq!((second.fires, second.then.state), (Some(2), TriggerState::Complete));
    }

    #[test]
    fn what_is_late_is_left_out_but_for_the_last() {
        let plan = Work { leaves_out: true, ..WORK }.plan(0, trigger(), 0);
        assert_eq!((plan.fires, plan.then.skip), (Some(2), Some((1, 1))));
    }

    #[test]
    fn a_new_generation_begins_after_what_was_decided() {
        assert_eq!(first_after(Some(1), 2), Some(2));
        assert_eq!(first_after(Some(2), 2), None);
    }
}
