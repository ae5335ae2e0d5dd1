//! Work: putting it in, looking at it, and the plans that end it or put it back.

use std::time::Duration;

use punctual_core::execution::{
    Attempt, AttemptOutcome, Execution, ExecutionState, HistoryRecord, JobRef, NewExecution, Outcome, Slot,
};
use punctual_core::inspect::ExecutionFilter;
use punctual_core::job::JobRecord;
use punctual_core::key::{ExecutionId, NodeId};
use punctual_core::store::{Applied, Back, Cancelled, ClaimRef, Enqueue, SettlePlan, Settlement};

use super::{Bench, ms, readable};

impl Bench {
    /// Work of a job that is due at once.
    pub(crate) fn new_work(&self, job: &JobRecord) -> NewExecution {
        NewExecution {
            id: ExecutionId::draw(self.t0, &self.entropy),
            occurrence: None,
            job: Some(JobRef { id: job.id, key: job.key.clone() }),
            kind: job.kind.clone(),
            scheduled: self.t0,
            priority: job.priority,
            spec: None,
            payload: None,
            slot: Slot::of(&job.spec),
            catch_up: None,
        }
    }

    /// Enqueues work of a job.
    pub(crate) async fn enqueue(&self, job: &JobRecord) -> ExecutionId {
        self.enqueue_with(job, |_| {}).await
    }

    /// Enqueues work that differs from the plain one.
    pub(crate) async fn enqueue_with(
        &self,
        job: &JobRecord,
        change: impl FnOnce(&mut NewExecution) + Send,
    ) -> ExecutionId {
        let mut work = self.new_work(job);
        change(&mut work);
        let id = work.id;
        assert_eq!(self.put([work]).await, Applied::All);
        id
    }

    /// Enqueues work without delays.
    pub(crate) async fn put(&self, work: impl IntoIterator<Item = NewExecution> + Send) -> Applied {
        let work = work.into_iter().map(|execution| Enqueue { execution, delay: None }).collect();
        self.store.enqueue(work).await.expect("a write")
    }

    /// Cancels one execution.
    pub(crate) async fn cancel(&self, id: ExecutionId) -> Cancelled {
        self.store.cancel(vec![id], "the case said so".to_owned()).await.expect("a write")
    }

    /// A live row, if it is there.
    pub(crate) async fn live(&self, id: ExecutionId) -> Option<Execution> {
        self.store.inspect().execution(id).await.expect("a read")
    }

    /// A live row that must be there.
    pub(crate) async fn row(&self, id: ExecutionId) -> Execution {
        self.live(id).await.expect("the row is live")
    }

    /// All live rows.
    pub(crate) async fn rows(&self) -> Vec<Execution> {
        let rows = self.store.inspect().executions(ExecutionFilter::default()).await.expect("a read");
        rows.into_iter().map(readable).collect()
    }

    /// A history record, if it is there.
    pub(crate) async fn record(&self, id: ExecutionId) -> Option<HistoryRecord> {
        self.store.inspect().record(id).await.expect("a read")
    }
}

/// The claim that a row speaks of.
pub(crate) fn claim_of(row: &Execution) -> ClaimRef {
    ClaimRef { id: row.id, owner: row.owner.expect("an owner"), fence: row.fence }
}

/// Whether a row that goes back keeps its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TheSlot {
    /// It does.
    Kept,
    /// It does not.
    Freed,
}

/// The plan that ends a claimed row with success.
pub(crate) fn success(row: &Execution) -> SettlePlan {
    let claim = claim_of(row);
    let attempt = ended_attempt(row, AttemptOutcome::Succeeded);
    let record = HistoryRecord {
        id: row.id,
        occurrence: row.occurrence.clone(),
        job: row.job.clone(),
        kind: row.kind.clone(),
        scheduled: row.scheduled,
        until: None,
        count: Some(1),
        outcome: Outcome::Succeeded,
        reason: None,
        attempt: row.attempt,
        node: row.owner,
        fence: row.fence,
        started: attempt.started,
        ended: attempt.ended,
        error: None,
        output: Some("output".into()),
        attempts: vec![attempt],
    };
    SettlePlan { claim, then: Settlement::End(Box::new(record)) }
}

/// The plan that puts a claimed row back for its next attempt.
pub(crate) fn back(row: &Execution, delay: Duration, slot: TheSlot) -> SettlePlan {
    let then = Settlement::Back(Back {
        state: ExecutionState::Ready,
        delay,
        attempt: row.attempt + 1,
        losses: row.losses,
        attempts: vec![ended_attempt(row, AttemptOutcome::Failed)],
        keep_slot: slot == TheSlot::Kept,
        error: None,
    });
    SettlePlan { claim: claim_of(row), then }
}

/// An attempt that began when its row was made, and took a millisecond.
pub(crate) fn ended_attempt(row: &Execution, outcome: AttemptOutcome) -> Attempt {
    let error = (outcome != AttemptOutcome::Succeeded).then(|| "it failed".into());
    Attempt {
        number: row.attempt,
        node: row.owner.unwrap_or(NodeId::from_stored(0)),
        fence: row.fence,
        started: Some(row.created),
        ended: row.created.plus(ms(1)),
        outcome,
        error,
    }
}
