//! What a live row takes from its job and its trigger, and how texts in it are kept short.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use common::{NOW, due, every, row, secs};
use proptest::prelude::*;
use punctual_core::execution::{ExecutionWithJob, clip, merged};
use punctual_core::job::{ExecutionSpec, Payload};
use serde_json::json;

fn data(value: serde_json::Value) -> Payload {
    Payload::json(&value).unwrap()
}

#[test]
fn the_rules_are_its_own_else_the_jobs_else_the_defaults() {
    let own = ExecutionSpec { timeout: Some(secs(1)), ..ExecutionSpec::default() };
    let mut job = due(every(1), NOW).job;
    job.spec.timeout = Some(secs(2));
    let mut work = ExecutionWithJob { execution: row(&own), job: Some(job.clone()), trigger_payload: None };
    assert_eq!(work.spec(), own);
    work.execution.spec = None;
    assert_eq!(work.spec(), job.spec);
    work.job = None;
    assert_eq!(work.spec(), ExecutionSpec::default());
}

#[test]
fn the_data_is_its_own_else_the_triggers_over_the_jobs_else_null() {
    let mut job = due(every(1), NOW).job;
    job.payload = data(json!({ "from": "job", "size": 1 }));
    let trigger = data(json!({ "from": "trigger" }));
    let mut work = ExecutionWithJob {
        execution: row(&ExecutionSpec::default()),
        job: Some(job.clone()),
        trigger_payload: Some(trigger.clone()),
    };
    work.execution.payload = Some(data(json!("own")));
    assert_eq!(work.payload(), data(json!("own")));
    work.execution.payload = None;
    assert_eq!(work.payload(), data(json!({ "from": "trigger", "size": 1 })));
    assert_eq!(merged(Some(&job), None), job.payload);
    assert_eq!(merged(None, Some(&trigger)), trigger);
    assert_eq!(merged(None, None), Payload::null());
}

#[test]
fn a_text_that_is_too_long_ends_before_the_character_that_does_not_fit() {
    assert_eq!(&*clip("0123456789abcdef", 16), "0123456789abcdef");
    assert_eq!(&*clip("0123456789abcdefg", 16), "012345 … (cut)");
    // The third of these takes bytes 4 and 5: with room for five, only two of them stay.
    assert_eq!(&*clip("ääääääääää", 15), "ää … (cut)");
    assert_eq!(&*clip("ääääääääää", 16), "äää … (cut)");
}

proptest! {
    #[test]
    fn a_text_is_cut_to_its_limit_and_begins_as_it_did(text in ".{0,80}", limit in 10_usize..100) {
        let cut = clip(&text, limit);
        if text.len() <= limit {
            prop_assert_eq!(&*cut, &*text);
        } else {
            prop_assert!(cut.len() <= limit && cut.len() + 3 >= limit, "{} of {}", cut.len(), limit);
            prop_assert!(text.starts_with(cut.strip_suffix(" … (cut)").unwrap()));
        }
    }
}
