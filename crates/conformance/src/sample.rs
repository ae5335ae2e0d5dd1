//! Records and short ways to fill a store with them and to use it, for the tests of a store that are no cases of the kit.
//! Everything panics where a case would fail.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{ExecutionWithJob, JobRef, NewExecution, Slot};
use punctual_core::job::{Concurrency, ExecutionSpec, JobRecord, Payload, WhenBusy};
use punctual_core::node::{NodeInfo, Profile};
use punctual_core::protocol::finish::{BodyEnd, Ended, settle};
use punctual_core::protocol::fire;
use punctual_core::schedule::Every;
use punctual_core::store::{
    Applied, Change, Claim, ClaimReady, Claimed, ClaimedReady, Due, Enqueue, Expect, ReadDue, Readable,
    SettlePlan,
};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState, slice_of};
use punctual_core::{
    ExecutionId, JobId, JobKey, JobStore, Kind, NodeId, Schedule, Timestamp, TriggerId, TriggerKey,
};

/// The kind of all of these.
pub fn kind() -> Kind {
    Kind::new("test").expect("a kind")
}

/// It alone, as requests name kinds.
pub fn kinds() -> Arc<[Kind]> {
    [kind()].into()
}

/// The id of a node.
pub fn node_id(id: i64) -> NodeId {
    NodeId::from_stored(id)
}

/// A node that joins.
pub fn node(id: i64) -> NodeInfo {
    NodeInfo {
        id: node_id(id),
        name: format!("node-{id}").into(),
        host: "host".into(),
        pid: 7,
        version: "0".into(),
        zone_data: "0".into(),
        profile: Profile::FAST,
        capacity: 10,
        kinds: vec![kind()],
    }
}

/// A job; an exclusive one shares its slot with nobody.
pub fn job(id: i64, exclusive: bool) -> JobRecord {
    let key = JobKey::new("group", &format!("job-{id}")).expect("a key");
    let concurrency = exclusive.then(|| Concurrency::exclusive(&key, WhenBusy::Queue));
    JobRecord {
        id: JobId::from_stored(id),
        key,
        kind: kind(),
        description: Some("a job".into()),
        spec: ExecutionSpec { concurrency, ..ExecutionSpec::default() },
        payload: Payload::json(&id).expect("a payload"),
        priority: 0,
        durable: false,
        set: None,
        rev: 0,
        created: Timestamp::EPOCH,
    }
}

/// A trigger that fires every ten milliseconds from `next` on.
pub fn trigger(id: i64, job: &JobRecord, next: Timestamp) -> TriggerRecord {
    let id = TriggerId::from_stored(id);
    let every = Every::new(Duration::from_millis(10)).expect("an interval");
    TriggerRecord {
        id,
        key: TriggerKey::new("group", &format!("trigger-{}", id.get())).expect("a key"),
        job_id: job.id,
        description: None,
        spec: TriggerSpec::new(Schedule::Every(every)),
        payload: None,
        priority: 0,
        state: TriggerState::Active,
        next_fire: Some(next),
        wake: Some(next),
        last: None,
        progress: punctual_core::quartz::Progress::default(),
        fires: 0,
        fire_seq: 0,
        generation: 1,
        rev: 0,
        slice: slice_of(id),
        error: None,
        set: None,
        hash: 1,
        created: Timestamp::EPOCH,
        paused: None,
    }
}

/// Puts a job and triggers of it, none of which may be there.
pub async fn put(store: &dyn JobStore, job: &JobRecord, triggers: &[TriggerRecord]) {
    let expect = Expect::Absent { mark: None };
    let mut changes = vec![Change::PutJob { expect, job: job.clone() }];
    changes.extend(triggers.iter().map(|trigger| Change::PutTrigger { expect, trigger: trigger.clone() }));
    assert_eq!(store.apply(changes).await.expect("a write"), Applied::All);
}

/// Work that is to be enqueued.
pub fn work(id: u128, job: Option<&JobRecord>, at: Timestamp) -> Enqueue {
    let execution = NewExecution {
        id: ExecutionId::from_bytes(id.to_be_bytes()),
        occurrence: None,
        job: job.map(|job| JobRef { id: job.id, key: job.key.clone() }),
        kind: kind(),
        scheduled: at,
        priority: 0,
        spec: None,
        payload: None,
        slot: job.and_then(|job| Slot::of(&job.spec)),
        catch_up: None,
    };
    Enqueue { execution, delay: None }
}

/// Claims ready rows.
pub async fn claim_ready(store: &dyn JobStore, node: i64, limit: u32) -> ClaimedReady {
    let request =
        ClaimReady { park: Duration::from_secs(5), ..ClaimReady::of(node_id(node), 0, kinds(), limit) };
    store.claim_ready(request).await.expect("a write")
}

/// Rows, all of which can be understood.
pub fn good(work: &[Readable<ExecutionWithJob>]) -> Vec<&ExecutionWithJob> {
    fn row(row: &Readable<ExecutionWithJob>) -> &ExecutionWithJob {
        match row {
            Readable::Row(row) => row,
            Readable::Poison(poison) => panic!("{poison:?}"),
        }
    }
    work.iter().map(row).collect()
}

/// The plan that ends an execution with success.
pub fn success(work: &ExecutionWithJob, at: Timestamp) -> SettlePlan {
    let ended = Ended { end: BodyEnd::Succeeded, started: Some(at), ended: at, output: None };
    let row = &work.execution;
    settle(row, &work.spec(), row.owner.expect("an owner"), ended, &SeededEntropy::new(1))
}

/// Reads what is due.
pub async fn read_due(store: &dyn JobStore, node: i64, limit: u32) -> Due {
    store.read_due(ReadDue::of(node_id(node), kinds(), limit)).await.expect("a read")
}

/// Reads what is due and claims it.
pub async fn fire(store: &dyn JobStore, node: i64, limit: u32, seed: u64) -> Claimed {
    let due = read_due(store, node, limit).await;
    let entropy = SeededEntropy::new(seed);
    let plan = |row: &Readable<_>| match row {
        Readable::Row(row) => Some(fire::plan(row, due.now, &entropy)),
        Readable::Poison(poison) => fire::set_aside(poison),
    };
    let plans = due.triggers.iter().filter_map(plan).collect();
    store.claim(Claim { node: node_id(node), gate: due.gate, within: None, plans }).await.expect("a write")
}
