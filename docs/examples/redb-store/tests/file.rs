//! What is this store's own: that the file keeps what it was told, and that a value which nobody can read stops nothing
//! but itself.

mod common;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::execution::{JobRef, NewExecution};
use punctual_core::inspect::ExecutionFilter;
use punctual_core::job::{ExecutionSpec, JobRecord, Payload};
use punctual_core::memory::ManualClock;
use punctual_core::node::{NodeInfo, Profile};
use punctual_core::protocol::define::{JobDefinition, TriggerDefinition, put_job, put_trigger};
use punctual_core::protocol::{finish, fire};
use punctual_core::schedule::{Every, Schedule};
use punctual_core::store::{
    Applied, Change, Claim, ClaimOutcome, ClaimReady, ClaimRef, Due, Enqueue, Expect, PARK, PoisonRow,
    ReadDue, Readable, SettleOutcome,
};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState};
use punctual_core::{ErrorKind, ExecutionId, Inspect, JobStore, Kind, NodeId, Timestamp};
use redb::TableDefinition;
use redb_store::RedbStore;

const NOW: Timestamp = Timestamp::from_secs(1_893_456_000);
const NODE: NodeId = NodeId::from_stored(7);

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(test);
}

/// Opens the file at an instant at which what the tests define is due.
fn open(path: &Path) -> RedbStore {
    RedbStore::open(path, Arc::new(ManualClock::at(NOW))).expect("the file opens")
}

fn kind() -> Kind {
    Kind::new("work").expect("a kind")
}

async fn join(store: &RedbStore) {
    let info = NodeInfo {
        id: NODE,
        name: "n".into(),
        host: "h".into(),
        pid: 1,
        version: "0".into(),
        zone_data: "z".into(),
        profile: Profile::DEFAULT,
        capacity: 1,
        kinds: vec![kind()],
    };
    store.join(info).await.expect("a write");
}

/// Defines a job, and triggers of it that are due.
async fn define(store: &RedbStore, names: &[&str]) -> (JobRecord, Vec<TriggerRecord>) {
    let entropy = SeededEntropy::new(1);
    let definition = JobDefinition {
        key: "job".parse().expect("a key"),
        kind: kind(),
        description: None,
        spec: ExecutionSpec::default(),
        payload: Payload::null(),
        priority: 0,
        durable: false,
    };
    let change = put_job(None, &definition, None, NOW, &entropy).expect("it is sound");
    let (expect, job) = change.expect("it is new");
    let mut changes = vec![Change::PutJob { expect, job: job.clone() }];
    for name in names {
        let every = Every::new(Duration::from_secs(60)).expect("an interval");
        let definition = TriggerDefinition {
            key: name.parse().expect("a key"),
            job: job.key.clone(),
            description: None,
            spec: TriggerSpec { start: Some(NOW), ..TriggerSpec::new(Schedule::Every(every)) },
            payload: None,
            priority: 0,
        };
        let found = Default::default();
        let put = put_trigger(&found, &definition, None, job.id, None, NOW, &entropy);
        changes.extend(put.expect("it is sound"));
    }
    assert_eq!(store.apply(changes).await.expect("a write"), Applied::All);
    let mut triggers = Vec::new();
    for name in names {
        let found = store.trigger(&name.parse().expect("a key")).await.expect("a read");
        triggers.extend(found.trigger);
    }
    (store.job_by_id(job.id).await.expect("a read").expect("it is there"), triggers)
}

async fn enqueue(store: &RedbStore, job: &JobRecord, seed: u64) -> ExecutionId {
    let execution = NewExecution {
        id: ExecutionId::draw(NOW, &SeededEntropy::new(seed)),
        occurrence: None,
        job: Some(JobRef { id: job.id, key: job.key.clone() }),
        kind: kind(),
        scheduled: NOW,
        priority: 0,
        spec: None,
        payload: None,
        slot: None,
        catch_up: None,
    };
    let id = execution.id;
    let work = vec![Enqueue { execution, delay: None }];
    assert_eq!(store.enqueue(work).await.expect("a write"), Applied::All);
    id
}

async fn due(store: &RedbStore) -> Due {
    let (kinds, ahead) = ([kind()].into(), Duration::ZERO);
    let request = ReadDue { node: NODE, kinds, limit: 10, slice: None, ahead, after: None };
    store.read_due(request).await.expect("a read")
}

/// Plans as a node does: what cannot be understood is set aside, the rest fires.
async fn fire(store: &RedbStore) -> Vec<ClaimOutcome> {
    let due = due(store).await;
    let entropy = SeededEntropy::new(2);
    let plan = |row: &Readable<_>| match row {
        Readable::Row(row) => Some(fire::plan(row, due.now, &entropy)),
        Readable::Poison(poison) => fire::set_aside(poison),
    };
    let plans = due.triggers.iter().filter_map(plan).collect();
    store.claim(Claim { node: NODE, gate: due.gate, within: None, plans }).await.expect("a write").outcomes
}

/// Claims all ready rows: poisons with their claims, and the ids of the others.
async fn take(store: &RedbStore) -> (Vec<(ClaimRef, String)>, Vec<ExecutionId>) {
    let kinds = [kind()].into();
    let request = ClaimReady { node: NODE, gate: 0, within: None, kinds, limit: 10, park: PARK, after: None };
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for row in store.claim_ready(request).await.expect("a write").work {
        match row {
            Readable::Row(row) => good.push(row.execution.id),
            Readable::Poison(poison) => {
                let PoisonRow::Execution(claim) = poison.row else { panic!("{poison:?}") };
                bad.push((claim, poison.reason));
            }
        }
    }
    (bad, good)
}

/// Leaves nothing of a row.
fn ruin<K: redb::Key + 'static>(store: &RedbStore, table: &str, key: K::SelfType<'_>) {
    common::rewrite::<K>(store, table, key, |_| Some(b"no row".to_vec()));
}

#[test]
fn data_survive_closing_and_opening_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.redb");
    run(async {
        let (job, triggers, claimed, waiting);
        {
            let store = open(&path);
            join(&store).await;
            (job, triggers) = define(&store, &["t"]).await;
            claimed = enqueue(&store, &job, 1).await;
            assert_eq!(take(&store).await.1, [claimed]);
            waiting = enqueue(&store, &job, 2).await;
        }
        let store = open(&path);
        assert_eq!(store.job(&job.key).await.expect("a read"), Some(job));
        assert_eq!(store.trigger(&triggers[0].key).await.expect("a read").trigger, Some(triggers[0].clone()));
        let told = store.check_in(NODE).await.expect("a write");
        assert_eq!((told.beat, told.owned.len(), told.owned[0].id), (2, 1, claimed));
        assert!(due(&store).await.ready);
        assert_eq!(take(&store).await.1, [waiting]);
        let fired = fire(&store).await;
        assert!(matches!(fired[..], [ClaimOutcome::Fired(_)]), "{fired:?}");
    });
}

#[test]
fn a_second_store_on_an_open_file_is_told_to_come_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.redb");
    let _first = open(&path);
    let second = RedbStore::open(&path, Arc::new(ManualClock::at(NOW))).expect_err("it is open");
    assert_eq!(second.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_file_of_a_later_layout_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jobs.redb");
    {
        let store = open(&path);
        let transaction = store.database().begin_write().expect("a transaction");
        let meta: TableDefinition<'_, &str, i64> = TableDefinition::new("meta");
        transaction.open_table(meta).expect("a table").insert("layout", 2).expect("a write");
        transaction.commit().expect("a commit");
    }
    let later = RedbStore::open(&path, Arc::new(ManualClock::at(NOW))).expect_err("it is a later one");
    assert_eq!(later.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_trigger_with_a_bad_column_comes_back_as_poison_and_is_set_aside_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(&folder.path().join("jobs.redb"));
        join(&store).await;
        let (_, triggers) = define(&store, &["bad", "good"]).await;
        let bad = &triggers[0];
        common::spoil::<i64>(&store, "trigger", bad.id.get(), "/row/spec");
        let rows = due(&store).await.triggers;
        let poison = rows.iter().find_map(|row| match row {
            Readable::Poison(poison) => Some(poison),
            Readable::Row(_) => None,
        });
        let poison = poison.expect("one is poison");
        assert_eq!(rows.len(), 2);
        assert_eq!(poison.row, PoisonRow::Trigger { id: bad.id, rev: bad.rev, fire_seq: bad.fire_seq });
        assert!(poison.reason.contains("trigger.spec"), "{}", poison.reason);

        assert!(fire(&store).await.iter().all(|outcome| matches!(outcome, ClaimOutcome::Fired(_))));
        assert!(due(&store).await.triggers.is_empty(), "it is asked about once");
        let error = store.trigger(&bad.key).await.expect_err("it cannot be read");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        // Its guard is known, so a correct definition mends it.
        let mended = TriggerRecord { rev: 0, ..bad.clone() };
        let expect = Expect::Rev(bad.rev + 1);
        let mend = vec![Change::PutTrigger { expect, trigger: mended }];
        assert_eq!(store.apply(mend).await.expect("a write"), Applied::All);
        let stored = store.trigger(&bad.key).await.expect("a read").trigger.expect("it is there");
        assert_eq!((stored.state, stored.rev), (TriggerState::Active, bad.rev + 2));
    });
}

#[test]
fn a_trigger_that_is_no_row_at_all_is_set_aside_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(&folder.path().join("jobs.redb"));
        join(&store).await;
        let (_, triggers) = define(&store, &["bad", "good"]).await;
        ruin::<i64>(&store, "trigger", triggers[0].id.get());
        assert!(fire(&store).await.iter().all(|outcome| matches!(outcome, ClaimOutcome::Fired(_))));
        assert!(due(&store).await.triggers.is_empty(), "it is asked about once");
        let good = store.trigger(&triggers[1].key).await.expect("a read").trigger.expect("it is there");
        assert_eq!(good.fires, 1);
    });
}

#[test]
fn work_that_cannot_be_read_is_claimed_as_poison_and_held() {
    let folder = tempfile::tempdir().expect("a folder");
    run(async {
        let store = open(&folder.path().join("jobs.redb"));
        join(&store).await;
        let (job, _) = define(&store, &[]).await;
        let (spoiled, ruined, well) =
            (enqueue(&store, &job, 1).await, enqueue(&store, &job, 2).await, enqueue(&store, &job, 3).await);
        common::spoil::<u128>(&store, "execution", u128::from_be_bytes(spoiled.to_bytes()), "/row/spec");
        ruin::<u128>(&store, "execution", u128::from_be_bytes(ruined.to_bytes()));
        let (bad, good) = take(&store).await;
        assert_eq!(good, [well]);
        let ids = |bad: &[(ClaimRef, String)]| bad.iter().map(|(claim, _)| claim.id).collect::<Vec<_>>();
        let mut expected = vec![spoiled, ruined];
        expected.sort_unstable();
        assert_eq!(ids(&bad), expected);
        for (claim, reason) in &bad {
            let outcome = store.settle(vec![finish::hold(*claim, reason)]).await.expect("a write");
            // What is no row has no place for a state; it has left the lists, and is shown by the listing.
            let held = if claim.id == spoiled { SettleOutcome::Done } else { SettleOutcome::Fenced };
            assert_eq!(outcome, [held]);
        }
        assert_eq!(take(&store).await, (Vec::new(), Vec::new()));
        let listed = store.executions(ExecutionFilter::default()).await.expect("a read");
        let poisons = listed.iter().filter(|row| matches!(row, Readable::Poison(_))).count();
        assert_eq!((listed.len(), poisons), (3, 2));
    });
}
