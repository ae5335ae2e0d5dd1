//! Every record survives its row, and no row content panics.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::execution::{
    Attempt, AttemptOutcome, Execution, ExecutionWithJob, HistoryRecord, JobRef, Occurrence, Skip, Slot,
};
use crate::job::{Concurrency, ExecutionSpec, JobRecord, RetryPolicy, WhenBusy};
use crate::key::{ExecutionId, Fence, JobId, JobKey, NodeId, TriggerId, TriggerKey};
use crate::node::{NodeInfo, NodeRecord, Profile};
use crate::pause::Pause;
use crate::quartz::{CatchUp, Progress};
use crate::schedule::{Every, Schedule};
use crate::store::{Back, TriggerPatch};
use crate::trigger::{TriggerRecord, TriggerSpec};

fn payload() -> Payload {
    Payload { codec: "raw".into(), version: 3, data: vec![0, 255, 7] }
}

fn job() -> JobRecord {
    JobRecord {
        id: JobId::from_stored(5),
        key: JobKey::new("g", "a/b").unwrap(),
        kind: Kind::new("mail.send").unwrap(),
        description: Some("ünï".into()),
        spec: ExecutionSpec {
            retry: RetryPolicy::exponential(4, Duration::from_micros(1_500)),
            timeout: Some(Duration::from_secs(9)),
            concurrency: Some(Concurrency { key: "k".into(), limit: 3, when_busy: WhenBusy::Skip }),
            ..ExecutionSpec::default()
        },
        payload: payload(),
        priority: i32::MIN,
        durable: true,
        set: Some("file".into()),
        rev: i64::MAX,
        created: Timestamp::MIN,
    }
}

fn trigger() -> TriggerRecord {
    TriggerRecord {
        id: TriggerId::from_stored(6),
        key: TriggerKey::new("g", "t").unwrap(),
        job_id: JobId::from_stored(5),
        description: None,
        spec: TriggerSpec::new(Schedule::Every(Every::new(Duration::from_secs(1)).unwrap())),
        payload: Some(payload()),
        priority: 7,
        state: TriggerState::Error,
        next_fire: Some(Timestamp::MAX),
        wake: None,
        last: Some(Timestamp::EPOCH),
        progress: Progress { triggered: 3, catch_up: Some(CatchUp { k: 2, n: 5 }), ..Progress::default() },
        fires: 1,
        fire_seq: 2,
        generation: 3,
        rev: 4,
        slice: 5,
        error: Some("why".into()),
        set: None,
        hash: -1,
        created: Timestamp::from_secs(1),
        paused: Some(Pause { since: Timestamp::EPOCH, by: "Ada".into(), reason: Some("why".into()) }),
    }
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        node: NodeId::from_stored(8),
        fence: Fence::from_stored(9),
        started: None,
        ended: Timestamp::from_secs(2),
        outcome: AttemptOutcome::TimedOut,
        error: Some("slow".into()),
    }
}

fn execution() -> Execution {
    Execution {
        id: ExecutionId::from_bytes([7; 16]),
        occurrence: Some(Occurrence { trigger_id: trigger().id, generation: 3, key: trigger().key }),
        job: Some(JobRef { id: job().id, key: job().key }),
        kind: job().kind,
        scheduled: Timestamp::from_secs(3),
        priority: i32::MAX,
        state: ExecutionState::Running,
        owner: Some(NodeId::from_stored(8)),
        fence: Fence::from_stored(10),
        attempt: u32::MAX,
        losses: 2,
        wake: Timestamp::from_secs(4),
        slot: Some(Slot { key: "k".into(), limit: 3 }),
        catch_up: Some(CatchUp { k: 2, n: 5 }),
        spec: Some(job().spec),
        payload: Some(payload()),
        attempts: vec![attempt()],
        cancel: Some("stop".into()),
        error: None,
        created: Timestamp::from_secs(5),
    }
}

fn history() -> HistoryRecord {
    HistoryRecord {
        id: ExecutionId::from_bytes([9; 16]),
        occurrence: execution().occurrence,
        job: None,
        kind: job().kind,
        scheduled: Timestamp::from_secs(3),
        until: Some(Timestamp::from_secs(6)),
        count: None,
        outcome: Outcome::Skipped,
        reason: Some(SkipReason::Overlap),
        attempt: 0,
        node: None,
        fence: Fence::NONE,
        started: None,
        ended: Timestamp::from_secs(7),
        error: None,
        output: Some("out".into()),
        attempts: vec![attempt()],
    }
}

/// The row of a live record, as a store would have it after a claim.
fn execution_row() -> ExecutionRow {
    let row = execution();
    ExecutionRow {
        id: row.id.to_bytes(),
        trigger_id: Some(6),
        generation: Some(3),
        trigger_key: Some("g/t".into()),
        job_id: Some(5),
        job_key: Some("g/a/b".into()),
        kind: "mail.send".into(),
        scheduled_us: row.scheduled.as_micros(),
        priority: row.priority.into(),
        state: row.state.code(),
        owner: Some(8),
        fence: 10,
        attempt: row.attempt.into(),
        losses: 2,
        wake_us: row.wake.as_micros(),
        slot_key: Some("k".into()),
        slot_limit: Some(3),
        spec: Some(document(&row.spec).unwrap()),
        payload: PayloadRow::of(row.payload.as_ref()),
        attempts: document(&row.attempts).unwrap(),
        cancel: Some("stop".into()),
        error: None,
        created_us: row.created.as_micros(),
        catch_up: Some(document(&row.catch_up).unwrap()),
    }
}

#[test]
fn records_survive_their_rows() {
    assert_eq!(JobRecord::try_from(JobRow::of(&job()).unwrap()).unwrap(), job());
    assert_eq!(TriggerRecord::try_from(TriggerRow::of(&trigger()).unwrap()).unwrap(), trigger());
    assert_eq!(Execution::try_from(execution_row()).unwrap(), execution());
    assert_eq!(HistoryRecord::try_from(HistoryRow::of(&history()).unwrap()).unwrap(), history());
    let only = Attempt { outcome: AttemptOutcome::Succeeded, error: None, ..attempt() };
    let short = HistoryRecord {
        outcome: Outcome::Succeeded,
        attempt: only.number,
        node: Some(only.node),
        fence: only.fence,
        started: only.started,
        ended: only.ended,
        attempts: vec![only],
        ..history()
    };
    let row = HistoryRow::of(&short).unwrap();
    assert_eq!(row.attempts, "null", "the row says it all");
    assert_eq!(HistoryRecord::try_from(row.clone()).unwrap(), short);
    for row in
        [HistoryRow { node_id: None, ..row.clone() }, HistoryRow { outcome: Outcome::Lost.code(), ..row }]
    {
        let error = HistoryRecord::try_from(row).unwrap_err();
        assert!(error.to_string().contains("history.attempts"), "{error}");
    }
    let other = HistoryRecord { fence: short.fence.next(), ..short };
    assert_ne!(HistoryRow::of(&other).unwrap().attempts, "null", "the row says something else");
    assert_eq!(HistoryRecord::try_from(HistoryRow::of(&other).unwrap()).unwrap(), other);
    let info = NodeInfo {
        id: NodeId::from_stored(8),
        name: "n".into(),
        host: "h".into(),
        pid: u32::MAX,
        version: "1".into(),
        zone_data: "2026a".into(),
        profile: Profile::CALM,
        capacity: 4,
        kinds: vec![job().kind],
    };
    let node = NodeRecord::try_from(NodeRow::of(&info, Timestamp::from_secs(1)).unwrap()).unwrap();
    assert_eq!((node.info, node.beat, node.gate, node.state), (info, 1, 0, NodeState::Up));
}

#[test]
fn new_work_begins_ready_or_claimed() {
    let Execution { id, occurrence, job, kind, scheduled, priority, spec, payload, slot, catch_up, .. } =
        execution();
    let new = crate::execution::NewExecution {
        id,
        occurrence,
        job,
        kind,
        scheduled,
        priority,
        spec,
        payload,
        slot,
        catch_up,
    };
    let ready = Execution::try_from(ExecutionRow::ready(&new, Timestamp::from_secs(9)).unwrap()).unwrap();
    assert_eq!(
        (ready.state, ready.owner, ready.attempt, ready.wake),
        (ExecutionState::Ready, None, 1, scheduled)
    );
    let (owner, fence) = (NodeId::from_stored(3), Fence::from_stored(4));
    let row = ExecutionRow::claimed(&new, Timestamp::from_secs(9), owner, fence).unwrap();
    let claimed = Execution::try_from(row).unwrap();
    assert_eq!(claimed, Execution { state: ExecutionState::Claimed, owner: Some(owner), fence, ..ready });
}

#[test]
fn what_is_wrong_is_named() {
    let named = |column: &str, bad: BadColumn| assert!(bad.to_string().contains(column), "{column}: {bad}");
    let row = || JobRow::of(&job()).unwrap();
    named("job.spec", JobRecord::try_from(JobRow { spec: "{}x".into(), ..row() }).unwrap_err());
    named("job.kind", JobRecord::try_from(JobRow { kind: String::new(), ..row() }).unwrap_err());
    named("job.name", JobRecord::try_from(JobRow { group_name: "a/b".into(), ..row() }).unwrap_err());
    named("job.durable", JobRecord::try_from(JobRow { durable: 2, ..row() }).unwrap_err());
    named("job.priority", JobRecord::try_from(JobRow { priority: i64::MAX, ..row() }).unwrap_err());
    named(
        "job.payload",
        JobRecord::try_from(JobRow { payload: PayloadRow::default(), ..row() }).unwrap_err(),
    );
    let row = execution_row;
    named("execution.state", Execution::try_from(ExecutionRow { state: 0, ..row() }).unwrap_err());
    named("execution.slot_key", Execution::try_from(ExecutionRow { slot_limit: None, ..row() }).unwrap_err());
    named(
        "execution.trigger_key",
        Execution::try_from(ExecutionRow { generation: None, ..row() }).unwrap_err(),
    );
    named("execution.attempt", Execution::try_from(ExecutionRow { attempt: -1, ..row() }).unwrap_err());
    named(
        "execution.attempts",
        Execution::try_from(ExecutionRow { attempts: "[1]".into(), ..row() }).unwrap_err(),
    );
    let work = WorkRow {
        execution: row(),
        job: None,
        trigger_payload: PayloadRow { codec: Some("x".into()), ..PayloadRow::default() },
    };
    named("trigger.payload", ExecutionWithJob::try_from(work).unwrap_err());
}

#[test]
fn codes_are_those_that_databases_hold() {
    // Never to be changed: stored rows have them.
    for (state, code) in [(ExecutionState::Ready, 1), (ExecutionState::Claimed, 2), (ExecutionState::Held, 4)]
    {
        assert_eq!((state.code(), ExecutionState::decode("c", code)), (code, Ok(state)));
    }
    assert!(Outcome::decode("history.outcome", 9).unwrap_err().to_string().contains("history.outcome"));
}

#[test]
fn a_change_fits_only_what_it_expects() {
    let mark = Some(Timestamp::from_secs(1));
    let absent = Expect::Absent { mark };
    assert_eq!(Stored::Absent { mark }.next_rev(absent), Some(1));
    assert_eq!(Stored::Absent { mark: None }.next_rev(absent), None);
    assert_eq!(Stored::Absent { mark }.next_rev(Expect::Rev(1)), None);
    assert_eq!(Stored::Present { same_id: true, rev: 4 }.next_rev(Expect::Rev(4)), Some(5));
    assert_eq!(Stored::Present { same_id: false, rev: 4 }.next_rev(Expect::Rev(4)), None);
    assert_eq!(Stored::Present { same_id: true, rev: 4 }.next_rev(Expect::Rev(3)), None);
    assert_eq!(Stored::Present { same_id: true, rev: 4 }.next_rev(absent), None);
}

#[test]
fn rows_survive_serde_and_bad_columns_survive_with_them() {
    fn again<R: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(row: &R) {
        assert_eq!(serde_json::from_str::<R>(&document(row).unwrap()).unwrap(), *row);
    }
    again(&JobRow { spec: "no document".into(), ..JobRow::of(&job()).unwrap() });
    again(&TriggerRow { spec: "no document".into(), ..TriggerRow::of(&trigger()).unwrap() });
    again(&ExecutionRow { attempts: "no document".into(), ..execution_row() });
    again(&HistoryRow::of(&history()).unwrap());
    // Rows of neighbouring versions have a column less or one more.
    let row: SetRow = serde_json::from_str(r#"{"name": "s", "rev": 3, "colour": "red"}"#).unwrap();
    assert_eq!(row, SetRow { name: "s".into(), rev: 3, ..SetRow::default() });
    assert_eq!(SetRow::of(&row.clone().into()), row);
}

#[test]
fn a_patch_moves_a_trigger_and_forgets_no_instant() {
    let mut row = TriggerRow { spec: "no document".into(), ..TriggerRow::of(&trigger()).unwrap() };
    let patch = TriggerPatch {
        state: TriggerState::Complete,
        next_fire: None,
        wake: None,
        last: None,
        progress: Progress::default(),
        fires: 2,
        error: Some("why".into()),
        skips: Vec::new(),
    };
    row.patch(&patch).unwrap();
    assert_eq!((row.state, row.next_fire_us, row.wake_us), (TriggerState::Complete.code(), None, None));
    assert_eq!((row.last_us, row.progress.as_deref(), row.error.as_deref()), (Some(0), None, Some("why")));
    assert_eq!((row.fires, row.fire_seq, row.rev), (3, 3, 5));
    row.patch(&TriggerPatch { last: Some(Timestamp::from_micros(8)), ..patch }).unwrap();
    assert_eq!((row.last_us, row.rev), (Some(8), 6));
}

#[test]
fn what_goes_back_is_nobodys_and_waits() {
    let mut row = execution_row();
    let claim = ClaimRef { id: execution().id, owner: NodeId::from_stored(8), fence: Fence::from_stored(10) };
    let back = Back {
        state: ExecutionState::Ready,
        delay: Duration::from_secs(2),
        attempt: 3,
        losses: 1,
        attempts: Vec::new(),
        keep_slot: true,
        error: None,
    };
    assert!(row.is_owned());
    row.put_back(claim, &back, Timestamp::from_secs(1)).unwrap();
    let expected = Execution {
        state: ExecutionState::Ready,
        owner: None,
        attempt: 3,
        losses: 1,
        attempts: Vec::new(),
        wake: Timestamp::from_secs(3),
        ..execution()
    };
    assert!(!row.is_owned());
    assert_eq!(Execution::try_from(row.clone()).unwrap(), expected);
    let owned = Back { state: ExecutionState::Claimed, ..back };
    assert!(row.put_back(claim, &owned, Timestamp::EPOCH).is_err());
    assert_eq!(row.state, ExecutionState::Ready.code(), "nothing of it was written");
}

#[test]
fn records_are_made_of_rows_that_end_without_an_owner() {
    let now = Timestamp::from_secs(70);
    let row = execution_row();
    let cancelled = HistoryRecord::try_from(HistoryRow::cancelled(&row, "why", now)).unwrap();
    assert_eq!((cancelled.outcome, cancelled.ended, cancelled.count), (Outcome::Cancelled, now, Some(1)));
    assert_eq!(
        (cancelled.error.as_deref(), cancelled.node, cancelled.fence),
        (Some("why"), None, execution().fence)
    );
    assert_eq!((cancelled.occurrence, cancelled.attempts), (execution().occurrence, execution().attempts));

    let (first, last) = (Timestamp::from_secs(1), Timestamp::from_secs(2));
    let id = ExecutionId::from_bytes([4; 16]);
    let skip = Skip { id, first, last, count: Some(2), reason: SkipReason::Misfire };
    let (trigger, job) = (TriggerRow::of(&trigger()).unwrap(), JobRow::of(&job()).unwrap());
    let skipped = HistoryRecord::try_from(HistoryRow::skipped(&trigger, &job, &skip, now)).unwrap();
    assert_eq!((skipped.outcome, skipped.reason), (Outcome::Skipped, Some(SkipReason::Misfire)));
    assert_eq!((skipped.scheduled, skipped.until, skipped.count), (first, Some(last), Some(2)));
    assert_eq!(skipped.job.unwrap().key.to_string(), "g/a/b");
    assert_eq!(skipped.occurrence.unwrap().key.to_string(), "g/t");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        Just("{}".to_owned()),
        Just("[]".to_owned()),
        Just("null".to_owned()),
        Just("a/b".to_owned())
    ]
}

proptest! {
    #[test]
    fn no_content_of_a_row_panics(
        texts in proptest::collection::vec(any_text(), 6),
        numbers in proptest::collection::vec(any::<i64>(), 6),
        some in any::<[bool; 6]>(),
    ) {
        let text = |n: usize| texts[n].clone();
        let maybe = |n: usize| some[n].then(|| texts[n].clone());
        let number = |n: usize| some[n].then_some(numbers[n]);
        let payload = PayloadRow { codec: maybe(0), version: number(1), data: maybe(2).map(String::into_bytes) };
        let _ = JobRecord::try_from(JobRow {
            kind: text(0), group_name: text(1), name: text(2), spec: text(3), priority: numbers[0], durable: numbers[1],
            payload: payload.clone(), ..JobRow::default()
        });
        let _ = TriggerRecord::try_from(TriggerRow {
            group_name: text(0), name: text(1), spec: text(2), state: numbers[0], priority: numbers[1],
            next_fire_us: number(2), payload: payload.clone(), ..TriggerRow::default()
        });
        let _ = Execution::try_from(ExecutionRow {
            kind: "k".into(), trigger_id: number(0), generation: number(1), trigger_key: maybe(2), job_id: number(3),
            job_key: maybe(4), state: 1, priority: numbers[5], slot_key: maybe(0), slot_limit: number(1),
            spec: maybe(3), attempts: text(5), payload, ..ExecutionRow::default()
        });
        let _ = HistoryRecord::try_from(HistoryRow {
            kind: "k".into(), trigger_key: maybe(0), job_key: maybe(1), instants: number(2), outcome: numbers[3],
            reason: number(4), attempts: text(5), ..HistoryRow::default()
        });
        let _ = NodeRecord::try_from(NodeRow {
            pid: numbers[0], capacity: numbers[1], profile: text(2), kinds: text(3), state: 1, ..NodeRow::default()
        });
    }
}
