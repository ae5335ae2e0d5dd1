//! From wanted definitions to changes: what differs is written, what is the same is left alone, and nothing is taken from
//! another set.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use std::sync::Arc;

use common::{NOW, entropy, every, secs};
use punctual_core::calendar::Calendar;
use punctual_core::inspect::FoundTrigger;
use punctual_core::job::{ExecutionSpec, JobRecord, Payload};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::define::{
    self, CalendarDefinition, JobDefinition, SetDefinition, TriggerDefinition,
};
use punctual_core::quartz::CatchUp;
use punctual_core::quartz::Progress;
use punctual_core::schedule::Weekdays;
use punctual_core::store::{CalendarRecord, Change, Expect, Leave, LiveWork};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState};
use punctual_core::{ErrorKind, JobId, JobKey, Kind, Timestamp, TriggerKey, Zone};

fn job() -> JobDefinition {
    JobDefinition {
        key: JobKey::new("g", "j").unwrap(),
        kind: Kind::new("k").unwrap(),
        description: None,
        spec: ExecutionSpec::default(),
        payload: Payload::json(&1).unwrap(),
        priority: 0,
        durable: false,
    }
}

/// The same job with each of its parts changed, one at a time.
fn other_jobs() -> Vec<JobDefinition> {
    vec![
        JobDefinition { kind: Kind::new("other").unwrap(), ..job() },
        JobDefinition { description: Some("other".into()), ..job() },
        JobDefinition { spec: ExecutionSpec { timeout: Some(secs(1)), ..ExecutionSpec::default() }, ..job() },
        JobDefinition { payload: Payload::json(&2).unwrap(), ..job() },
        JobDefinition { priority: 1, ..job() },
        JobDefinition { durable: true, ..job() },
    ]
}

fn trigger() -> TriggerDefinition {
    TriggerDefinition {
        key: TriggerKey::new("g", "t").unwrap(),
        job: job().key,
        description: None,
        spec: every(60),
        payload: None,
        priority: 0,
    }
}

fn other_triggers() -> Vec<TriggerDefinition> {
    vec![
        TriggerDefinition { job: JobKey::new("g", "other").unwrap(), ..trigger() },
        TriggerDefinition { description: Some("other".into()), ..trigger() },
        TriggerDefinition { spec: every(61), ..trigger() },
        TriggerDefinition { payload: Some(Payload::json(&2).unwrap()), ..trigger() },
        TriggerDefinition { priority: 1, ..trigger() },
    ]
}

fn stored_job(set: Option<&str>) -> JobRecord {
    let (expect, record) = define::put_job(None, &job(), set, NOW, &entropy()).unwrap().unwrap();
    assert_eq!(expect, Expect::Absent { mark: None });
    JobRecord { rev: 7, ..record }
}

fn put(found: &FoundTrigger, wanted: &TriggerDefinition, set: Option<&str>) -> Option<TriggerRecord> {
    let id = stored_job(None).id;
    let changes = define::put_trigger(found, wanted, None, id, set, NOW, &entropy()).unwrap();
    match changes.as_slice() {
        [] => None,
        [Change::PutTrigger { expect, trigger }] => {
            let wanted = found
                .trigger
                .as_ref()
                .map_or(Expect::Absent { mark: found.mark }, |old| Expect::Rev(old.rev));
            assert_eq!(*expect, wanted);
            Some(trigger.clone())
        }
        other => panic!("{other:?}"),
    }
}

fn found(trigger: TriggerRecord) -> FoundTrigger {
    FoundTrigger { trigger: Some(trigger), ..FoundTrigger::default() }
}

fn stored_trigger(set: Option<&str>) -> TriggerRecord {
    let record = put(&FoundTrigger::default(), &trigger(), set).unwrap();
    TriggerRecord { rev: 7, last: Some(NOW), fires: 3, fire_seq: 3, ..record }
}

#[test]
fn a_job_is_written_where_anything_differs() {
    let stored = stored_job(None);
    let plan = |wanted: &JobDefinition, set| {
        define::put_job(Some(&stored), wanted, set, NOW.plus(secs(9)), &entropy()).unwrap()
    };
    assert_eq!(plan(&job(), None), None);
    for other in other_jobs() {
        let (expect, record) = plan(&other, None).unwrap();
        assert_eq!((expect, record.id, record.created), (Expect::Rev(7), stored.id, NOW));
        let written = JobDefinition {
            key: record.key,
            kind: record.kind,
            description: record.description,
            spec: record.spec,
            payload: record.payload,
            priority: record.priority,
            durable: record.durable,
        };
        assert_eq!(written, other);
    }
    assert_eq!(plan(&job(), Some("a")).unwrap().1.set.as_deref(), Some("a"), "the set takes it");
}

#[test]
fn what_belongs_to_another_set_stays_there() {
    let stored = stored_job(Some("a"));
    let plan = |set| define::put_job(Some(&stored), &job(), set, NOW, &entropy());
    assert_eq!(plan(Some("b")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(plan(Some("a")).unwrap(), None);
    assert!(plan(None).unwrap().is_some(), "whoever writes without a set may");
    let found = found(stored_trigger(Some("a")));
    let plan = |set| define::put_trigger(&found, &trigger(), None, stored.id, set, NOW, &entropy());
    assert_eq!(plan(Some("b")).unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_trigger_is_written_where_anything_differs() {
    let stored = stored_trigger(None);
    assert_eq!(put(&found(stored.clone()), &trigger(), None), None);
    for other in other_triggers() {
        assert_ne!(other.hash(), trigger().hash(), "{other:?}");
        let record = put(&found(stored.clone()), &other, None).unwrap();
        let kept = (record.id, record.fires, record.fire_seq, record.last);
        assert_eq!(kept, (stored.id, 3, 3, Some(NOW)));
        assert_eq!((record.description, record.hash), (other.description.clone(), other.hash()));
        assert_eq!(
            (record.spec, record.payload, record.priority),
            (other.spec, other.payload, other.priority)
        );
    }
    let elsewhere = TriggerRecord { job_id: JobId::from_stored(1), ..stored.clone() };
    let moved = put(&found(elsewhere), &trigger(), None).unwrap();
    assert_eq!(moved.job_id, stored.job_id, "its job has another id");
    let taken = put(&found(stored), &trigger(), Some("a")).unwrap();
    assert_eq!(taken.set.as_deref(), Some("a"), "the set takes it");
    assert_eq!(put(&found(taken), &trigger(), None).unwrap().set, None, "and it is taken out again");
}

#[test]
fn a_trigger_keeps_its_place_while_its_instants_stay_the_same() {
    let place = NOW.plus(secs(7));
    let catch_up = Some(CatchUp { k: 1, n: 2 });
    let progress = Progress { triggered: 2, catch_up, wait: Some(NOW.plus(secs(9))), ..Progress::default() };
    let stored = TriggerRecord { next_fire: Some(place), progress, ..stored_trigger(None) };
    let renamed = TriggerDefinition { description: Some("other".into()), ..trigger() };
    let record = put(&found(stored.clone()), &renamed, None).unwrap();
    assert_eq!((record.next_fire, record.generation, record.progress), (Some(place), 1, progress));

    let skips = TriggerSpec { misfire: MisfirePolicy::Skip, ..trigger().spec };
    let record = put(&found(stored.clone()), &TriggerDefinition { spec: skips, ..trigger() }, None).unwrap();
    let no_run = Progress { catch_up: None, wait: None, ..progress };
    assert_eq!((record.next_fire, record.generation, record.progress), (Some(place), 1, no_run));

    let faster = TriggerDefinition { spec: every(10), ..trigger() };
    let record = put(&found(stored.clone()), &faster, None).unwrap();
    assert_ne!(record.next_fire, Some(place));
    assert_eq!(
        (record.generation, record.progress, record.state),
        (2, Progress::default(), TriggerState::Active)
    );

    let over = TriggerRecord { next_fire: None, state: TriggerState::Complete, ..stored.clone() };
    let record = put(&found(over), &renamed, None).unwrap();
    assert_eq!((record.state, record.wake), (TriggerState::Complete, None));

    let broken = TriggerRecord { state: TriggerState::Error, error: Some("it broke".into()), ..stored };
    let record = put(&found(broken), &trigger(), None).unwrap();
    assert_eq!(
        (record.state, record.error, record.generation),
        (TriggerState::Active, None, 2),
        "it begins anew"
    );
}

#[test]
fn a_trigger_that_never_fires_is_refused() {
    let over = TriggerSpec { end: Some(Timestamp::from_secs(1)), ..trigger().spec };
    let wanted = TriggerDefinition { spec: over, ..trigger() };
    for found in [FoundTrigger::default(), found(stored_trigger(None))] {
        let plan = define::put_trigger(&found, &wanted, None, stored_job(None).id, None, NOW, &entropy());
        assert_eq!(plan.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_set_is_another_if_any_part_of_it_is() {
    let calendar = |name: &str, days| CalendarDefinition {
        name: name.into(),
        calendar: Arc::new(Calendar::weekly(days, Zone::utc())),
    };
    let set = |job: JobDefinition, trigger: TriggerDefinition, calendar: CalendarDefinition| SetDefinition {
        jobs: vec![job],
        triggers: vec![trigger],
        calendars: vec![calendar],
        ..SetDefinition::default()
    };
    let same = || calendar("c", Weekdays::NONE);
    let mut hashes = vec![
        set(job(), trigger(), same()).hash(),
        set(job(), trigger(), calendar("d", Weekdays::NONE)).hash(),
        set(job(), trigger(), calendar("c", Weekdays::ALL)).hash(),
    ];
    hashes.extend(other_jobs().into_iter().map(|job| set(job, trigger(), same()).hash()));
    hashes.extend(other_triggers().into_iter().map(|trigger| set(job(), trigger, same()).hash()));
    let count = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), count);
}

#[test]
fn deletions_leave_what_live_work_inherits() {
    let (job, plain) = (stored_job(None), stored_trigger(None));
    let leave = Leave { spec: job.spec.clone(), payload: job.payload.clone() };
    let gone = Change::DeleteJob { id: job.id, rev: 7, live: LiveWork::Cancel, leave: leave.clone() };
    assert_eq!(define::delete_job(&job, LiveWork::Cancel), gone);
    assert_eq!(
        define::delete_trigger(&plain, Some(&job)),
        Change::DeleteTrigger { id: plain.id, rev: 7, leave: leave.clone() }
    );
    let own = Payload::json(&"own").unwrap();
    let trigger = TriggerRecord { payload: Some(own.clone()), ..plain };
    let leave = Leave { payload: own, ..leave };
    assert_eq!(
        define::delete_trigger(&trigger, Some(&job)),
        Change::DeleteTrigger { id: trigger.id, rev: 7, leave }
    );
}

#[test]
fn a_job_goes_with_its_last_trigger_unless_it_is_to_be_kept() {
    let (job, trigger) = (stored_job(None), stored_trigger(None));
    let alone = vec![define::delete_trigger(&trigger, Some(&job))];
    let both = [alone.clone(), vec![define::delete_job(&job, LiveWork::Detach)]].concat();
    assert_eq!(define::unschedule(&trigger, Some(&job), 0), both);
    assert_eq!(define::unschedule(&trigger, Some(&job), 1), alone);
    let durable = JobRecord { durable: true, ..job };
    assert_eq!(define::unschedule(&trigger, Some(&durable), 0), alone);
}

#[test]
fn the_stable_hash_is_fnv_1a() {
    let known: [(&[u8], u64); 3] =
        [(b"", 0xcbf2_9ce4_8422_2325), (b"a", 0xaf63_dc4c_8601_ec8c), (b"foobar", 0x8594_4171_f739_67e8)];
    for (bytes, hash) in known {
        assert_eq!(define::stable_hash(bytes).to_be_bytes(), hash.to_be_bytes());
    }
}

#[test]
fn a_trigger_comes_with_the_calendar_that_it_names() {
    let document = Arc::new(Calendar::weekly(Weekdays::NONE, Zone::utc()));
    let calendar = CalendarRecord { name: "c".into(), calendar: document, rev: 3, updated: NOW };
    let spec = TriggerSpec { calendar: Some("c".into()), ..trigger().spec };
    let named = TriggerDefinition { spec, ..trigger() };
    let plan = |found: &FoundTrigger, wanted: &TriggerDefinition| {
        let id = stored_job(None).id;
        define::put_trigger(found, wanted, Some(&calendar), id, None, NOW, &entropy()).unwrap()
    };
    let both = plan(&FoundTrigger::default(), &named);
    let [Change::PutCalendar { expect: Expect::Rev(3), .. }, Change::PutTrigger { trigger: stored, .. }] =
        both.as_slice()
    else {
        panic!("{both:?}")
    };
    assert_eq!(plan(&found(stored.clone()), &named), [], "it is there as wanted");
    assert_eq!(plan(&FoundTrigger::default(), &trigger()).len(), 1, "it names none");
}
