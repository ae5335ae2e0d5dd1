//! Unusual but lawful input: alphabets, quoting, sizes and the ends of numbers.

use std::time::Duration;

use punctual_core::execution::{MAX_ERROR_BYTES, MAX_OUTPUT_BYTES};
use punctual_core::inspect::Page;
use punctual_core::job::{MAX_PAYLOAD_BYTES, Payload};
use punctual_core::store::{Applied, Cancelled, ClaimRef, Enqueue, Settlement};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{JobKey, Timestamp, TriggerKey};

use crate::bench::{create_job, create_trigger, delete_job, kind, replace_job, success};
use crate::case::cases;

/// Names that a careless collation, escape or length takes for one another or breaks.
const NAMES: &[&str] = &[
    "report",
    "Report",
    "REPORT",
    "straße",
    "strasse",
    "STRASSE",
    "é",
    "e\u{301}",
    "ﬁ",
    "fi",
    "日本語",
    "𝛼𝛽",
    "👩‍👩‍👧",
    "ı",
    "i",
    "İ",
    "100%",
    "100_",
    "100x",
    "it's",
    "it''s",
    "\"quoted\"",
    "back\\slash",
    "semi;colon",
    "--",
    "/*",
    "$1",
    "?1",
    ":name",
    "{}",
    "%s",
    "NULL",
    "null",
    "a b",
    "a  b",
    "0",
    "00",
    "-1",
    "1e3",
];

cases! {
    F "limits";

    /// Names of all alphabets are kept, and names that differ in any byte are different keys.
    async fn names_compare_byte_for_byte(bench) {
        for name in NAMES {
            bench.write([create_job(bench.new_job(name))]).await;
        }
        let mut expected: Vec<&str> = NAMES.to_vec();
        expected.sort_unstable();
        let jobs = bench.store.inspect().jobs(Page::first(100)).await.expect("a read");
        assert_eq!(jobs.iter().map(|job| job.key.name()).collect::<Vec<_>>(), expected);
    }

    /// The same holds for triggers, and each can be found by its key.
    async fn triggers_compare_byte_for_byte(bench) {
        let job = bench.job("j").await;
        for name in NAMES {
            let trigger = bench.trigger(name, &job).await;
            assert_eq!(trigger.key.name(), *name);
        }
        assert_eq!(
            bench.store.inspect().triggers(Page::first(100)).await.expect("a read").len(),
            NAMES.len()
        );
    }

    /// Groups are compared, not matched: `%` and `_` are letters.
    async fn groups_are_not_patterns(bench) {
        for group in ["a%", "a_", "ab", "A_", "a", "%", "_"] {
            let mut job = bench.new_job("j");
            job.key = JobKey::new(group, "j").expect("a key");
            bench.write([create_job(job)]).await;
        }
        for group in ["a%", "a_", "%", "_"] {
            let jobs = bench.store.inspect().jobs(Page::of_group(group, 100)).await.expect("a read");
            assert_eq!(jobs.iter().map(|job| job.key.group()).collect::<Vec<_>>(), [group]);
        }
    }

    /// Keys of 200 bytes a part are kept whole, and differ in their last byte.
    async fn long_keys_are_kept(bench) {
        let job = bench.job("j").await;
        let group = "ü".repeat(100);
        for last in ["x", "y"] {
            let mut trigger = bench.new_trigger("t", &job);
            trigger.key = TriggerKey::new(&group, &format!("{}{last}", "n".repeat(199))).expect("a key");
            bench.write([create_trigger(trigger)]).await;
        }
        let found = bench.store.inspect().triggers(Page::of_group(&group, 9)).await.expect("a read");
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|trigger| trigger.key.name().len() == 200));
    }

    /// Long slot keys are kept apart by their last byte.
    async fn long_slot_keys_are_kept_apart(bench) {
        let node = bench.node("a").await;
        for (name, last) in [("x", "x"), ("y", "y")] {
            let job = bench.limited(name, &format!("{}{last}", "k".repeat(405)), 1).await;
            bench.enqueue(&job).await;
        }
        assert_eq!(bench.take(node, 10).await.len(), 2);
    }

    /// Every text may have quotes, line breaks and signs of all planes.
    async fn texts_are_kept(bench) {
        let text: Box<str> = format!("{}\r\n\t{}", NAMES.concat(), "\u{10ffff}").into();
        let job = bench.job_with("j", |job| job.description = Some(text.clone())).await;
        assert_eq!(job.description, Some(text.clone()));
        let id = bench.enqueue(&job).await;
        bench.store.cancel(vec![id], text.to_string()).await.expect("a write");
        assert_eq!(bench.record(id).await.expect("a record").error, Some(text));
    }

    /// A payload is bytes: also those that are no text, and none at all.
    async fn payloads_are_bytes(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for bytes in
            [Vec::new(), (0..=255).collect::<Vec<u8>>(), vec![0; 3], b"'; DROP TABLE job; --".to_vec()]
        {
            let payload = Payload { codec: "raw".into(), version: u32::MAX, data: bytes };
            bench.enqueue_with(&job, |work| work.payload = Some(payload.clone())).await;
            let row = bench.take_one(node).await;
            assert_eq!(row.payload, Some(payload));
            bench.finish(&row).await;
        }
    }

    /// A payload of 1 MiB is kept, with a job, a trigger and an execution.
    async fn large_payloads_are_kept(bench) {
        let node = bench.node("a").await;
        let bytes: Vec<u8> = (0..=255).cycle().take(MAX_PAYLOAD_BYTES).collect();
        let payload = Payload { codec: "raw".into(), version: 1, data: bytes };
        let job = bench.job_with("j", |job| job.payload = payload.clone()).await;
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.payload = Some(payload.clone())).await;
        assert!(job.payload == payload && trigger.payload.as_ref() == Some(&payload));
        bench.fire_one(node).await;
        bench.enqueue_with(&job, |work| work.payload = Some(payload.clone())).await;
        assert!(bench.take_one(node).await.payload == Some(payload));
    }

    /// The longest output and the longest error that are kept are kept whole.
    async fn long_outputs_are_kept(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let mut plan = success(&row);
        let (output, error) = ("ö".repeat(MAX_OUTPUT_BYTES / 2), "x".repeat(MAX_ERROR_BYTES));
        if let Settlement::End(record) = &mut plan.then {
            (record.output, record.error) = (Some(output.clone().into()), Some(error.clone().into()));
        }
        assert_eq!(bench.settle(plan).await, punctual_core::store::SettleOutcome::Done);
        let record = bench.record(row.id).await.expect("a record");
        assert_eq!((record.output.as_deref(), record.error.as_deref()), (Some(&*output), Some(&*error)));
    }

    /// Instants at both ends of the number range are kept; the first is due, the last never is.
    async fn instants_reach_both_ends(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let first = bench.enqueue_with(&job, |work| work.scheduled = Timestamp::MIN).await;
        let last = bench.enqueue_with(&job, |work| work.scheduled = Timestamp::MAX).await;
        assert_eq!(bench.row(last).await.wake, Timestamp::MAX);
        let row = bench.take_one(node).await;
        assert_eq!((row.id, row.scheduled), (first, Timestamp::MIN));
        assert_eq!(bench.due(node).await.next_wake, Some(Timestamp::MAX));
    }

    /// A trigger's instants and counters reach both ends of the number range.
    async fn triggers_reach_both_ends(bench) {
        let job = bench.job("j").await;
        let change = |trigger: &mut TriggerRecord| {
            (trigger.next_fire, trigger.wake, trigger.last) =
                (Some(Timestamp::MAX), Some(Timestamp::MAX), Some(Timestamp::MIN));
            (trigger.hash, trigger.fires, trigger.fire_seq) = (i64::MIN, i64::MAX, i64::MAX - 1);
            (trigger.generation, trigger.priority) = (i64::MAX, i32::MIN);
            trigger.created = Timestamp::MIN;
        };
        let mut expected = bench.new_trigger("t", &job);
        change(&mut expected);
        bench.write([create_trigger(expected.clone())]).await;
        expected.rev = 1;
        assert_eq!(bench.reread(&expected).await, expected);
    }

    /// A delay without end is an instant that never comes.
    async fn delays_saturate(bench) {
        let job = bench.job("j").await;
        let execution = bench.new_work(&job);
        let work = vec![Enqueue { execution: execution.clone(), delay: Some(Duration::MAX) }];
        assert_eq!(bench.store.enqueue(work).await.expect("a write"), Applied::All);
        assert_eq!(bench.row(execution.id).await.wake, Timestamp::MAX);
    }

    /// A wait without end is an instant that never comes.
    async fn waits_saturate(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, Duration::MAX, crate::bench::TheSlot::Freed).await;
        assert_eq!(bench.row(row.id).await.wake, Timestamp::MAX);
    }

    /// Priorities at both ends of their range keep their order.
    async fn priorities_reach_both_ends(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for priority in [0, i32::MIN, i32::MAX, -1] {
            bench.enqueue_with(&job, |work| work.priority = priority).await;
        }
        let taken: Vec<_> = bench.take(node, 10).await.iter().map(|work| work.execution.priority).collect();
        assert_eq!(taken, [i32::MAX, 0, -1, i32::MIN]);
    }

    /// Limits may be as large as their type allows.
    async fn limits_may_be_large(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        bench.enqueue(&job).await;
        assert_eq!(bench.due_of(node, &["work"], u32::MAX).await.triggers.len(), 1);
        assert_eq!(bench.take(node, u32::MAX).await.len(), 1);
        assert!(bench.store.orphans(node.id, u32::MAX).await.expect("a read").is_empty());
        assert_eq!(bench.store.inspect().jobs(Page::first(u32::MAX)).await.expect("a read").len(), 1);
    }

    /// Many kinds can be asked for at once.
    async fn many_kinds_can_be_asked_for(bench) {
        let node = bench.node("a").await;
        let last = kind(&"k".repeat(100));
        let job = bench.job_with("j", |job| job.kind = last.clone()).await;
        bench.trigger("t", &job).await;
        let mut kinds: Vec<String> = (0..300).map(|n| format!("kind-{n}")).collect();
        kinds.push(last.to_string());
        let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
        assert_eq!(bench.due_of(node, &kinds, 10).await.triggers.len(), 1);
    }

    /// Claims of no plans, and cancellations of no ids, answer for none.
    async fn empty_batches_are_nothing(bench) {
        let node = bench.node("a").await;
        let claimed = bench.claim(node, []).await;
        assert!(claimed.gate_open && claimed.outcomes.is_empty());
        assert_eq!(bench.put([]).await, Applied::All);
        let nothing = bench.store.cancel(Vec::new(), String::new()).await.expect("a write");
        assert_eq!(nothing, Cancelled::default());
        assert!(bench.store.begin(Vec::<ClaimRef>::new()).await.expect("a write").is_empty());
    }

    /// A record may be written as often as its counter lasts.
    async fn revisions_go_on(bench) {
        let mut job = bench.job("j").await;
        for _ in 0..50 {
            bench.write([replace_job(job.clone())]).await;
            job.rev += 1;
        }
        bench.write([delete_job(&job, punctual_core::store::LiveWork::MustBeNone)]).await;
    }
}
