//! A due trigger to plan with, and a store's part in it.

#![allow(dead_code, reason = "each test file uses what it needs")]
#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{Execution, ExecutionState};
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, Payload, WhenBusy};
use punctual_core::protocol::fire;
use punctual_core::quartz::Progress;
use punctual_core::schedule::Every;
use punctual_core::store::{DueTrigger, TriggerPatch};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};
use punctual_core::{Fence, JobId, Kind, NodeId, Schedule, Timestamp, TriggerId};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) fn every(n: u64) -> TriggerSpec {
    TriggerSpec::new(Schedule::Every(Every::new(secs(n)).unwrap()))
}

pub(crate) fn entropy() -> SeededEntropy {
    SeededEntropy::new(1)
}

pub(crate) fn due(spec: TriggerSpec, next: Timestamp) -> DueTrigger {
    let job = JobRecord {
        id: JobId::from_stored(1),
        key: "job".parse().unwrap(),
        kind: Kind::new("k").unwrap(),
        description: None,
        spec: ExecutionSpec::default(),
        payload: Payload::null(),
        priority: 1,
        durable: false,
        set: None,
        rev: 1,
        created: Timestamp::EPOCH,
    };
    let id = TriggerId::from_stored(2);
    let trigger = TriggerRecord {
        id,
        key: "trigger".parse().unwrap(),
        job_id: job.id,
        description: None,
        spec,
        payload: None,
        priority: 2,
        state: TriggerState::Active,
        next_fire: Some(next),
        wake: Some(next),
        last: None,
        progress: Progress::default(),
        fires: 0,
        fire_seq: 5,
        generation: 3,
        rev: 7,
        slice: slice_of(id),
        error: None,
        set: None,
        hash: 0,
        created: Timestamp::EPOCH,
        paused: None,
    };
    DueTrigger { trigger, job, calendar: None }
}

/// What fired under `spec` and runs on node 9.
pub(crate) fn row(spec: &ExecutionSpec) -> Execution {
    let new = fire::plan(&due(every(1), NOW), NOW, &entropy()).executions.remove(0);
    Execution {
        id: new.id,
        occurrence: new.occurrence,
        job: new.job,
        kind: new.kind,
        scheduled: new.scheduled,
        priority: new.priority,
        state: ExecutionState::Claimed,
        owner: Some(NodeId::from_stored(9)),
        fence: Fence::from_stored(4),
        attempt: 1,
        losses: 0,
        wake: NOW,
        slot: None,
        catch_up: None,
        spec: Some(spec.clone()),
        payload: None,
        attempts: Vec::new(),
        cancel: None,
        error: None,
        created: NOW,
    }
}

pub(crate) fn exclusive(mut due: DueTrigger, when_busy: WhenBusy) -> DueTrigger {
    due.job.spec.concurrency = Some(Concurrency::exclusive(&due.job.key, when_busy));
    due
}

/// Writes a patch into the trigger, as a store does.
pub(crate) fn patch(state: &mut DueTrigger, patch: &TriggerPatch) {
    let trigger = &mut state.trigger;
    (trigger.next_fire, trigger.wake, trigger.state) = (patch.next_fire, patch.wake, patch.state);
    (trigger.progress, trigger.last) = (patch.progress, patch.last.or(trigger.last));
}
