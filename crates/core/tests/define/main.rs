//! From wanted definitions to changes: what differs is written, what is the same is left alone, and nothing is taken from
//! another set.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod calendars;
#[path = "../common/mod.rs"]
mod common;
mod pauses;
mod sets;
mod single;

use std::sync::Arc;

use common::{NOW, entropy, every, secs};
use punctual_core::calendar::Calendar;
use punctual_core::inspect::FoundTrigger;
use punctual_core::job::{ExecutionSpec, JobRecord, Payload};
use punctual_core::protocol::define::{self, CalendarDefinition, JobDefinition, TriggerDefinition};
use punctual_core::schedule::Weekdays;
use punctual_core::store::{CalendarRecord, Change, Expect};
use punctual_core::trigger::{TriggerRecord, TriggerSpec};
use punctual_core::{JobKey, Kind, TriggerKey, Zone};

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

/// A trigger that names the calendar `c`.
fn on_the_calendar() -> TriggerDefinition {
    TriggerDefinition { spec: TriggerSpec { calendar: Some("c".into()), ..every(60) }, ..trigger() }
}

/// A calendar that leaves out a part of each day, to the minute; [`NOW`] is at 08:00.
fn without(from: &str, to: &str) -> Arc<Calendar> {
    let at = |minute: &str, rest: &str| format!("{minute}:{rest}").parse().unwrap();
    Arc::new(Calendar::daily(at(from, "00.000"), at(to, "59.999"), false, Zone::utc()).unwrap())
}

/// A calendar that includes nothing.
fn never() -> Arc<Calendar> {
    Arc::new(Calendar::weekly(Weekdays::ALL, Zone::utc()))
}

fn calendar(name: &str, calendar: Arc<Calendar>) -> CalendarDefinition {
    CalendarDefinition { name: name.into(), calendar }
}

fn stored_calendar(name: &str, calendar: Arc<Calendar>) -> CalendarRecord {
    CalendarRecord { name: name.into(), calendar, rev: 3, updated: NOW }
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
