//! The pure decisions of core on top of the store: whole lives of firings, and definitions that settle down.

use std::collections::BTreeMap;

use punctual_core::Timestamp;
use punctual_core::execution::{AttemptOutcome, HistoryRecord, Outcome, SkipReason};
use punctual_core::inspect::HistoryFilter;
use punctual_core::job::{Concurrency, ExecutionSpec, RetryPolicy, WhenBusy};
use punctual_core::misfire::MisfirePolicy;
use punctual_core::protocol::define::{
    self, Elsewhere, JobDefinition, SetDefinition, SetPlan, TriggerDefinition, Unlisted,
};
use punctual_core::protocol::finish::{self, BodyEnd, Ended};
use punctual_core::protocol::recover;
use punctual_core::schedule::{Every, Once, Schedule};
use punctual_core::store::{ClaimOutcome, SettleOutcome};
use punctual_core::trigger::{TriggerSpec, TriggerState};

use crate::bench::{Bench, MINUTE, data, job_key, kind, ms, readable, secs, trigger_key};
use crate::case::cases;

/// The catch-up of a trigger that missed `missed` instants, one a second, the last of them at `t0`.
fn every_second(bench: &Bench, missed: u64, misfire: MisfirePolicy) -> TriggerSpec {
    let start = bench.t0.minus(secs(missed - 1));
    let every = Every::new(secs(1)).expect("a second is an interval").anchored_at(start);
    let mut spec = TriggerSpec::new(Schedule::Every(every));
    (spec.misfire, spec.tolerance, spec.end) = (misfire, ms(0), Some(bench.t0));
    spec
}

async fn records(bench: &Bench) -> Vec<HistoryRecord> {
    bench.store.inspect().history(HistoryFilter::default()).await.expect("a read")
}

fn body(end: BodyEnd, at: Timestamp) -> Ended {
    Ended { end, started: Some(at), ended: at, output: None }
}

fn set(name: &str, revision: i64, by: &str, jobs: &[&str]) -> SetDefinition {
    let every = Every::new(MINUTE).expect("a minute is an interval");
    let job = |job: &&str| JobDefinition {
        key: job_key(job),
        kind: kind("work"),
        description: None,
        spec: ExecutionSpec::default(),
        payload: data(&format!("revision {revision}")),
        priority: 0,
        durable: false,
    };
    let trigger = |job: &&str| TriggerDefinition {
        key: trigger_key(job),
        job: job_key(job),
        description: None,
        spec: TriggerSpec::new(Schedule::Every(every)),
        payload: None,
        priority: 0,
    };
    SetDefinition {
        name: name.into(),
        revision,
        by: by.into(),
        jobs: jobs.iter().map(job).collect(),
        triggers: jobs.iter().map(trigger).collect(),
        calendars: Vec::new(),
    }
}

/// Applies a set, and says whether anything was written.
async fn apply_set(bench: &Bench, wanted: &SetDefinition, unlisted: Unlisted) -> bool {
    let found = bench.store.inspect().set(&wanted.name).await.expect("a read");
    let mut elsewhere = Elsewhere::default();
    for trigger in &wanted.triggers {
        let mark = bench.store.inspect().trigger(&trigger.key).await.expect("a read");
        elsewhere.triggers.insert(trigger.key.clone(), mark);
    }
    let now = bench.now().await;
    match define::apply_set(&found, &elsewhere, wanted, unlisted, now, &bench.entropy).expect("it fits") {
        SetPlan::Write { changes, .. } => {
            bench.write(changes).await;
            true
        }
        SetPlan::Unchanged | SetPlan::Outdated { .. } => false,
    }
}

cases! {
    A "protocol";

    /// Two nodes that drain what is due fire each instant once.
    async fn two_nodes_fire_each_instant_once(bench) {
        let nodes = [bench.node("a").await, bench.node("b").await];
        let job = bench.job("j").await;
        for name in ["t", "u", "v"] {
            bench
                .trigger_with(name, &job, |trigger| {
                    trigger.spec = every_second(&bench, 10, MisfirePolicy::FireAll);
                    let first = bench.t0.minus(secs(9));
                    (trigger.next_fire, trigger.wake) = (Some(first), Some(first));
                })
                .await;
        }
        let mut fired: BTreeMap<_, u32> = BTreeMap::new();
        loop {
            // Both read before either claims, so each plan of the second is stale.
            let plans = [bench.plans(&bench.due(nodes[0]).await), bench.plans(&bench.due(nodes[1]).await)];
            if plans.iter().all(Vec::is_empty) {
                break;
            }
            for (node, plans) in nodes.into_iter().zip(plans) {
                let instants: Vec<_> =
                    plans.iter().map(|plan| (plan.trigger, plan.executions[0].scheduled)).collect();
                let outcomes = bench.claim(node, plans).await.outcomes;
                for (instant, outcome) in instants.into_iter().zip(outcomes) {
                    if outcome != ClaimOutcome::Lost {
                        *fired.entry(instant).or_default() += 1;
                    }
                }
            }
        }
        assert_eq!((fired.len(), bench.rows().await.len()), (30, 30));
        assert!(fired.values().all(|count| *count == 1));
    }

    /// Every missed instant is accounted for: fired or recorded as skipped.
    async fn every_instant_is_accounted_for(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench
            .trigger_with("t", &job, |trigger| {
                trigger.spec = every_second(&bench, 10, MisfirePolicy::FireOnceNow);
                let first = bench.t0.minus(secs(9));
                (trigger.next_fire, trigger.wake) = (Some(first), Some(first));
            })
            .await;
        let row = bench.fire_one(node).await;
        let skips: Vec<_> = records(&bench).await;
        assert_eq!((row.scheduled, skips.len()), (bench.t0, 1));
        assert_eq!((skips[0].count, skips[0].reason), (Some(9), Some(SkipReason::Misfire)));
        assert_eq!(
            (skips[0].scheduled, skips[0].until),
            (bench.t0.minus(secs(9)), Some(bench.t0.minus(secs(1))))
        );
        assert_eq!(bench.reread(&trigger).await.state, TriggerState::Complete);
    }

    /// A one-shot fires once and is complete.
    async fn a_one_shot_completes(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let once = Schedule::Once(Once::new(bench.t0));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.spec = TriggerSpec::new(once)).await;
        bench.fire_one(node).await;
        assert!(bench.fire(node).await.is_empty());
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.state, stored.next_fire, stored.wake), (TriggerState::Complete, None, None));
        assert_eq!((stored.last, stored.fires), (Some(bench.t0), 1));
    }

    /// An exclusive job whose instant comes while it runs fires that instant once it has ended.
    async fn a_busy_instant_waits(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let running = bench.take_one(node).await;
        bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        bench.finish(&running).await;
        assert_eq!(bench.fire_one(node).await.scheduled, bench.t0);
    }

    /// An exclusive job that skips records the instant that came while it ran.
    async fn a_busy_instant_is_skipped_where_told_to(bench) {
        let node = bench.node("a").await;
        let concurrency = Concurrency { key: "key".into(), limit: 1, when_busy: WhenBusy::Skip };
        let job = bench.job_with("j", |job| job.spec.concurrency = Some(concurrency)).await;
        bench.enqueue(&job).await;
        bench.take_one(node).await;
        let trigger = bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        let records = records(&bench).await;
        assert_eq!((records.len(), records[0].reason), (1, Some(SkipReason::Overlap)));
        assert_eq!(records[0].scheduled, bench.t0);
        assert_eq!(bench.reread(&trigger).await.next_fire, Some(bench.t0.plus(MINUTE)));
    }

    /// Work that fails is tried as often as its policy says, and then recorded with all its attempts.
    async fn failures_are_tried_again(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.spec.retry = RetryPolicy::fixed(3, secs(0))).await;
        let id = bench.enqueue(&job).await;
        for number in 1..=3 {
            let row = bench.take_one(node).await;
            assert_eq!(row.attempt, number);
            let ended = body(BodyEnd::Failed(format!("no {number}")), bench.t0);
            let plan = finish::settle(&row, &job.spec, node.id, ended, &bench.entropy);
            assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        }
        let record = bench.record(id).await.expect("a record");
        assert_eq!(
            (record.outcome, record.attempt, record.error.as_deref()),
            (Outcome::Failed, 3, Some("no 3"))
        );
        let outcomes: Vec<_> =
            record.attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
        assert_eq!(outcomes, [1, 2, 3].map(|number| (number, AttemptOutcome::Failed)));
    }

    /// The delay between two attempts is the policy's.
    [Clock]
    async fn a_failure_waits_for_its_delay(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.spec.retry = RetryPolicy::fixed(2, secs(30))).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let ended = body(BodyEnd::Failed("no".to_owned()), bench.t0);
        let plan = finish::settle(&row, &job.spec, node.id, ended, &bench.entropy);
        assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        assert_eq!(bench.due(node).await.next_wake, Some(bench.t0.plus(secs(30))));
        bench.advance(secs(30));
        assert_eq!(bench.take_one(node).await.attempt, 2);
    }

    /// Work of a node that died is ended by another, and recorded once.
    async fn work_outlives_its_node(bench) {
        let (dead, node) = (bench.node("dead").await, bench.node("a").await);
        let job = bench.limited("j", "key", 1).await;
        bench.trigger("t", &job).await;
        bench.fire_one(dead).await;
        bench.bury(dead).await;
        let now = bench.now().await;
        for owner in bench.check_in(node).await.gone_owners {
            for orphan in bench.store.orphans(owner, 10).await.expect("a read") {
                let orphan = readable(orphan);
                let plan = recover::settle(&orphan.execution, &orphan.spec(), owner, now);
                assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
            }
        }
        let row = bench.take_one(node).await;
        let plan = finish::settle(&row, &job.spec, node.id, body(BodyEnd::Succeeded, now), &bench.entropy);
        assert_eq!(bench.settle(plan).await, SettleOutcome::Done);
        let records = records(&bench).await;
        assert_eq!(
            (records.len(), records[0].outcome, records[0].attempts.len()),
            (1, Outcome::Succeeded, 2)
        );
    }

    /// A set that two versions apply in turn twenty times is written once a version.
    async fn rolling_deploys_do_not_flap(bench) {
        let (old, new) = (set("s", 1, "old", &["a", "b"]), set("s", 2, "new", &["a", "b"]));
        let mut writes = 0;
        for _ in 0..20 {
            for wanted in [&old, &new] {
                writes += u32::from(apply_set(&bench, wanted, Unlisted::Keep).await);
            }
        }
        assert_eq!(writes, 2);
        let found = bench.store.inspect().set("s").await.expect("a read");
        assert_eq!(found.set.expect("it is there").revision, 2);
        assert!(found.jobs.iter().all(|job| job.payload == data("revision 2")));
    }

    /// A set that is there already is not written.
    async fn an_unchanged_set_is_not_written(bench) {
        let wanted = set("s", 1, "x", &["a", "b", "c"]);
        assert!(apply_set(&bench, &wanted, Unlisted::Prune).await);
        let before = bench.store.inspect().set("s").await.expect("a read");
        for _ in 0..5 {
            assert!(!apply_set(&bench, &wanted, Unlisted::Prune).await);
        }
        assert_eq!(bench.store.inspect().set("s").await.expect("a read"), before);
    }

    /// What a set no longer defines goes only where told to, and takes nothing of another set along.
    async fn a_set_prunes_what_is_its_own(bench) {
        apply_set(&bench, &set("s", 1, "x", &["a", "b"]), Unlisted::Keep).await;
        apply_set(&bench, &set("other", 1, "x", &["c"]), Unlisted::Keep).await;
        apply_set(&bench, &set("s", 2, "x", &["a"]), Unlisted::Keep).await;
        assert_eq!(bench.store.inspect().set("s").await.expect("a read").triggers.len(), 2);
        apply_set(&bench, &set("s", 3, "x", &["a"]), Unlisted::Prune).await;
        let found = bench.store.inspect().set("s").await.expect("a read");
        assert_eq!((found.jobs.len(), found.triggers.len()), (1, 1));
        assert_eq!(bench.store.inspect().set("other").await.expect("a read").jobs.len(), 1);
    }

    /// A changed definition keeps the place of a trigger whose instants stay the same.
    async fn a_set_keeps_the_place_of_its_triggers(bench) {
        apply_set(&bench, &set("s", 1, "x", &["a"]), Unlisted::Keep).await;
        let before = bench
            .store
            .inspect()
            .trigger(&trigger_key("a"))
            .await
            .expect("a read")
            .trigger
            .expect("it is there");
        let mut changed = set("s", 2, "x", &["a"]);
        changed.triggers[0].priority = 5;
        assert!(apply_set(&bench, &changed, Unlisted::Keep).await);
        let after = bench.reread(&before).await;
        assert_eq!(
            (after.priority, after.generation, after.next_fire),
            (5, before.generation, before.next_fire)
        );
        assert_eq!((after.id, after.rev), (before.id, before.rev + 1));
    }
}
