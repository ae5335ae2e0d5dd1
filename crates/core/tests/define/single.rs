//! One job, one trigger, one deletion at a time.

use punctual_core::inspect::FoundTrigger;
use punctual_core::job::{JobRecord, Payload};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::define::{self, JobDefinition, TriggerDefinition};
use punctual_core::quartz::{CatchUp, Progress};
use punctual_core::store::{Change, Expect, Leave, LiveWork};
use punctual_core::trigger::{TriggerRecord, TriggerSpec, TriggerState};
use punctual_core::{ErrorKind, JobId, Timestamp};

use crate::common::{NOW, entropy, every, secs};
use crate::{found, job, other_jobs, other_triggers, put, stored_job, stored_trigger, trigger};

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
