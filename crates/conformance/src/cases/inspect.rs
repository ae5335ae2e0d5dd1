//! Listings: look-ups by key, pages, groups and filters.

use punctual_core::execution::{ExecutionState, HistoryRecord};
use punctual_core::inspect::{ExecutionFilter, FoundSet, FoundTrigger, HistoryFilter, Page};
use punctual_core::key::{ExecutionId, JobKey, TriggerKey};
use punctual_core::store::{Change, Expect, SetRecord};

use crate::bench::{Bench, create_job, create_trigger, job_key, readable, secs, trigger_key};
use crate::case::cases;

fn names(keys: &[JobKey]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

async fn jobs(bench: &Bench, page: Page<JobKey>) -> Vec<JobKey> {
    let jobs = bench.store.inspect().jobs(page).await.expect("a read");
    jobs.into_iter().map(|job| job.key).collect()
}

async fn store_jobs(bench: &Bench, keys: &[(&str, &str)]) {
    for (group, name) in keys {
        let mut job = bench.new_job("j");
        job.key = JobKey::new(group, name).expect("a key");
        bench.write([create_job(job)]).await;
    }
}

async fn history(bench: &Bench, filter: HistoryFilter) -> Vec<ExecutionId> {
    let records: Vec<HistoryRecord> = bench.store.inspect().history(filter).await.expect("a read");
    records.into_iter().map(|record| record.id).collect()
}

async fn executions(bench: &Bench, filter: ExecutionFilter) -> Vec<ExecutionId> {
    let rows = bench.store.inspect().executions(filter).await.expect("a read");
    rows.into_iter().map(|row| readable(row).id).collect()
}

/// Four ended executions, oldest id first.
async fn four_ended(bench: &Bench) -> Vec<ExecutionId> {
    let node = bench.node("a").await;
    let job = bench.job("j").await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.finish(&row).await;
        ids.push(row.id);
    }
    ids.sort_unstable();
    ids
}

cases! {
    A "inspect";

    /// What is not there is not found.
    async fn finds_nothing_in_an_empty_store(bench) {
        let inspect = bench.store.inspect();
        let id = ExecutionId::draw(bench.t0, &bench.entropy);
        assert_eq!(inspect.job(&job_key("j")).await.expect("a read"), None);
        assert_eq!(inspect.trigger(&trigger_key("t")).await.expect("a read"), FoundTrigger::default());
        assert_eq!(inspect.execution(id).await.expect("a read"), None);
        assert_eq!(inspect.record(id).await.expect("a read"), None);
        assert_eq!(inspect.set("s").await.expect("a read"), FoundSet::default());
        assert!(inspect.nodes().await.expect("a read").is_empty());
        assert!(inspect.history(HistoryFilter::default()).await.expect("a read").is_empty());
    }

    /// Jobs come by key: group before name, byte by byte.
    async fn jobs_come_by_key(bench) {
        store_jobs(&bench, &[("b", "a"), ("a", "z"), ("a", "B"), ("Z", "q"), ("a", "b")]).await;
        let expected = ["Z/q", "a/B", "a/b", "a/z", "b/a"];
        assert_eq!(names(&jobs(&bench, Page::first(10)).await), expected);
    }

    /// The next page begins after the last key of this one.
    async fn pages_join(bench) {
        store_jobs(&bench, &[("a", "1"), ("a", "2"), ("b", "1"), ("b", "2"), ("c", "1")]).await;
        let mut page = Page::first(2);
        let mut seen = Vec::new();
        loop {
            let keys = jobs(&bench, page.clone()).await;
            page.after = keys.last().cloned();
            if keys.is_empty() {
                break;
            }
            assert!(keys.len() <= 2);
            seen.extend(names(&keys));
        }
        assert_eq!(seen, ["a/1", "a/2", "b/1", "b/2", "c/1"]);
    }

    /// A job is found by its group and its name.
    async fn jobs_are_found_by_group_and_name(bench) {
        store_jobs(&bench, &[("a", "1"), ("b", "1"), ("b", "2")]).await;
        for (group, name) in [("a", "1"), ("b", "1"), ("b", "2")] {
            let key = JobKey::new(group, name).expect("a key");
            let job = bench.store.inspect().job(&key).await.expect("a read");
            assert_eq!(job.expect("it is there").key, key);
        }
    }

    /// A group's page has the keys of that group only.
    async fn groups_are_apart(bench) {
        store_jobs(&bench, &[("a", "1"), ("a", "2"), ("ab", "1"), ("A", "1"), ("b", "1")]).await;
        assert_eq!(names(&jobs(&bench, Page::of_group("a", 10)).await), ["a/1", "a/2"]);
        let after = Some(JobKey::new("a", "1").expect("a key"));
        assert_eq!(names(&jobs(&bench, Page { after, ..Page::of_group("a", 10) }).await), ["a/2"]);
        assert!(jobs(&bench, Page::of_group("none", 10)).await.is_empty());
    }

    /// Triggers are paged and grouped as jobs are.
    async fn triggers_come_by_key(bench) {
        let job = bench.job("j").await;
        for (group, name) in [("b", "1"), ("a", "2"), ("a", "1")] {
            let mut trigger = bench.new_trigger("t", &job);
            trigger.key = TriggerKey::new(group, name).expect("a key");
            bench.write([create_trigger(trigger)]).await;
        }
        let list = |page| async {
            let all = bench.store.inspect().triggers(page).await.expect("a read");
            all.into_iter().map(|trigger| trigger.key.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(list(Page::first(10)).await, ["a/1", "a/2", "b/1"]);
        assert_eq!(list(Page::of_group("a", 1)).await, ["a/1"]);
        let after = Some(TriggerKey::new("a", "2").expect("a key"));
        assert_eq!(list(Page { after, ..Page::first(10) }).await, ["b/1"]);
        assert_eq!(list(Page::of_group("a", 10)).await, ["a/1", "a/2"]);
    }

    /// The triggers of a job are listed by key, and no others.
    async fn a_jobs_triggers_are_listed(bench) {
        let (one, other) = (bench.job("one").await, bench.job("other").await);
        for (name, job) in [("c", &one), ("b", &other), ("a", &one)] {
            bench.trigger(name, job).await;
        }
        let found = bench.store.inspect().triggers_of(one.id).await.expect("a read");
        assert_eq!(found.iter().map(|trigger| trigger.key.name()).collect::<Vec<_>>(), ["a", "c"]);
    }

    /// Live executions come by id, page by page.
    async fn executions_come_by_id(bench) {
        let job = bench.job("j").await;
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(bench.enqueue(&job).await);
        }
        ids.sort_unstable();
        assert_eq!(executions(&bench, ExecutionFilter::default()).await, ids);
        let filter = ExecutionFilter { after: Some(ids[1]), limit: 2, ..ExecutionFilter::default() };
        assert_eq!(executions(&bench, filter).await, ids[2..4]);
    }

    /// Live executions can be filtered by job, state and owner.
    async fn executions_can_be_filtered(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.job("one").await, bench.job("other").await);
        let ready = bench.enqueue_with(&one, |work| work.priority = -1).await;
        let claimed = bench.enqueue(&other).await;
        bench.take(node, 1).await;
        let by_job = ExecutionFilter { job: Some(one.id), ..ExecutionFilter::default() };
        assert_eq!(executions(&bench, by_job).await, [ready]);
        let by_state = ExecutionFilter { state: Some(ExecutionState::Claimed), ..ExecutionFilter::default() };
        assert_eq!(executions(&bench, by_state).await, [claimed]);
        let by_owner = ExecutionFilter { owner: Some(node.id), ..ExecutionFilter::default() };
        assert_eq!(executions(&bench, by_owner.clone()).await, [claimed]);
        let by_all = ExecutionFilter { job: Some(one.id), ..by_owner };
        assert!(executions(&bench, by_all).await.is_empty());
    }

    /// The history comes newest first, page by page.
    async fn the_history_comes_newest_first(bench) {
        let mut ids = four_ended(&bench).await;
        ids.reverse();
        assert_eq!(history(&bench, HistoryFilter::default()).await, ids);
        let filter = HistoryFilter { before: Some(ids[0]), limit: 2, ..HistoryFilter::default() };
        assert_eq!(history(&bench, filter).await, ids[1..3]);
    }

    /// The history can be filtered by the keys of triggers and jobs.
    async fn the_history_can_be_filtered(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.job("one").await, bench.job("other").await);
        bench.trigger("t", &one).await;
        let fired = bench.fire_one(node).await;
        bench.finish(&fired).await;
        bench.trigger("T", &one).await;
        bench.finish(&bench.fire_one(node).await).await;
        bench.enqueue(&other).await;
        let taken = bench.take_one(node).await;
        bench.finish(&taken).await;
        let by_trigger = HistoryFilter { trigger: Some(trigger_key("t")), ..HistoryFilter::default() };
        assert_eq!(history(&bench, by_trigger).await, [fired.id]);
        let by_job = HistoryFilter { job: Some(other.key), ..HistoryFilter::default() };
        assert_eq!(history(&bench, by_job).await, [taken.id]);
        let of_both = HistoryFilter { trigger: Some(trigger_key("t")), ..HistoryFilter::default() };
        let wrong_job = HistoryFilter { job: Some(job_key("other")), ..of_both.clone() };
        assert!(history(&bench, wrong_job).await.is_empty());
        for one in [HistoryFilter { job: Some(job_key("one")), ..HistoryFilter::default() }, of_both] {
            let all = history(&bench, one.clone()).await;
            assert!(!all.is_empty());
            let older = HistoryFilter { before: all.first().copied(), ..one };
            assert_eq!(history(&bench, older).await, all[1..]);
        }
        let by_neither = HistoryFilter { job: Some(job_key("none")), ..HistoryFilter::default() };
        assert!(history(&bench, by_neither).await.is_empty());
    }

    /// The history of a key outlives its trigger and its job.
    async fn the_history_outlives_definitions(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let row = bench.fire_one(node).await;
        bench.finish(&row).await;
        let trigger = bench.reread(&trigger).await;
        bench.write(punctual_core::protocol::define::unschedule(&trigger, Some(&job), 0)).await;
        let filter =
            HistoryFilter { trigger: Some(trigger.key), job: Some(job.key), ..HistoryFilter::default() };
        assert_eq!(history(&bench, filter).await, [row.id]);
    }

    /// Nodes come by the time of their joining.
    [Clock]
    async fn nodes_come_by_the_time_of_joining(bench) {
        let mut joined = Vec::new();
        for name in ["c", "a", "b"] {
            joined.push(bench.node(name).await.id);
            bench.advance(secs(1));
        }
        let nodes = bench.store.inspect().nodes().await.expect("a read");
        assert_eq!(nodes.into_iter().map(|node| node.info.id).collect::<Vec<_>>(), joined);
    }

    /// Nodes that are gone are remembered.
    async fn nodes_that_are_gone_are_listed(bench) {
        let (dead, left) = (bench.node("a").await, bench.node("b").await);
        bench.bury(dead).await;
        bench.store.leave(left.id).await.expect("a write");
        assert_eq!(bench.store.inspect().nodes().await.expect("a read").len(), 2);
    }

    /// A set is found with the jobs and triggers that name it, by key.
    async fn a_set_is_found_with_what_it_defines(bench) {
        let of = |name: &str| Some(Box::from(name));
        let mine = bench.job_with("mine", |job| job.set = of("s")).await;
        bench.job_with("other", |job| job.set = of("S")).await;
        let free = bench.job("free").await;
        for name in ["b", "a"] {
            bench.trigger_with(name, &free, |trigger| trigger.set = of("s")).await;
        }
        bench.trigger("c", &free).await;
        let set =
            SetRecord { name: "s".into(), revision: 1, hash: 2, by: "x".into(), rev: 0, written: bench.t0 };
        bench.write([Change::PutSet { expect: Expect::Absent { mark: None }, set }]).await;
        let found = bench.store.inspect().set("s").await.expect("a read");
        assert_eq!((found.set.expect("it is there").revision, found.jobs), (1, vec![mine]));
        assert_eq!(found.triggers.iter().map(|trigger| trigger.key.name()).collect::<Vec<_>>(), ["a", "b"]);
    }

    /// Another handle on the same data sees what this one wrote.
    async fn two_handles_see_the_same(bench) {
        let job = bench.job("j").await;
        let other = bench.other().await;
        assert_eq!(other.inspect().job(&job.key).await.expect("a read"), Some(job));
    }
}
