//! What the database makes of the hot statements when the tables are full: no step reads a table from end to end that
//! grows with the number of schedules, of work or of days.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use punctual_core::JobStore;
use punctual_core::execution::NewExecution;
use punctual_core::job::{Concurrency, JobRecord, WhenBusy};
use punctual_core::key::ExecutionId;
use punctual_core::store::{
    Applied, Change, Claim, ClaimReady, Enqueue, ReadDue, SLICE_GRACE, SettlePlan, Slice,
};

use crate::bench::{
    Bench, MINUTE, Node, TheSlot, WORK, back, claim_of, create_job, create_trigger, kind, success,
};
use crate::case::cases;
use crate::probe::Probe;

/// Jobs, each with a slot key of its own.
const JOBS: u32 = 200;
/// Triggers and ready rows of later, and history rows.
const ROWS: u32 = 3_000;
/// Elements of a batch.
const BATCH: usize = 500;

/// Tables that stay small however much is scheduled.
const SMALL: &[&str] = &[
    "beat",
    "calendar",
    "definition_set",
    "epoch",
    "lock",
    "lock_guard",
    "meta",
    "migration",
    "node",
    "set",
];

/// Stores may put their own name before those of their tables.
fn is_small(table: &str) -> bool {
    let ends =
        |small: &&str| table.strip_suffix(*small).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
    SMALL.iter().any(ends)
}

/// A full store, and a handle whose statements are noted.
struct Full {
    bench: Bench,
    node: Node,
    store: Arc<dyn JobStore>,
    probe: Arc<Probe>,
}

impl Full {
    async fn load(bench: Bench) -> Self {
        let node = bench.node("a").await;
        let later = bench.t0.plus(MINUTE * 600);
        let limited = |n: u32| {
            let mut job = bench.new_job(&format!("j{n}"));
            let key = format!("key{n}").into();
            job.spec.concurrency = Some(Concurrency { key, limit: 1, when_busy: WhenBusy::Queue });
            job
        };
        let jobs: Vec<JobRecord> = (0..JOBS).map(limited).collect();
        let mut changes: Vec<Change> = jobs.iter().cloned().map(create_job).collect();
        for (n, job) in (0..ROWS).zip(jobs.iter().cycle()) {
            let mut trigger = bench.new_trigger(&format!("t{n}"), job);
            let at = later.plus(MINUTE * (n % 97));
            (trigger.next_fire, trigger.wake) = (Some(at), Some(at));
            changes.push(create_trigger(trigger));
        }
        for batch in changes.chunks(BATCH) {
            bench.write(batch.iter().cloned()).await;
        }
        let full = Self { node, store: Arc::clone(&bench.store), probe: Arc::new(Probe::default()), bench };
        full.put(&jobs, |n, work| work.scheduled = later.plus(MINUTE * (n % 89)), ROWS).await;
        // One for each job, so that each has its slot; the rest of the history without.
        full.put(&jobs, |_, _| {}, JOBS).await;
        full.put(&jobs, |_, work| work.slot = None, ROWS - JOBS).await;
        loop {
            let taken = full.bench.take(node, 500).await;
            if taken.is_empty() {
                break;
            }
            let ends = taken.iter().map(|row| success(&row.execution)).collect();
            full.bench.store.settle(ends).await.expect("a write");
        }
        let store = full.bench.hooked(&full.probe).await;
        Self { store, ..full }
    }

    async fn put(&self, jobs: &[JobRecord], change: impl Fn(u32, &mut NewExecution), count: u32) {
        let work = |(n, job): (u32, &JobRecord)| {
            let mut execution = self.bench.new_work(job);
            change(n, &mut execution);
            Enqueue { execution, delay: None }
        };
        let work: Vec<Enqueue> = (0..count).zip(jobs.iter().cycle()).map(work).collect();
        for batch in work.chunks(BATCH) {
            assert_eq!(self.bench.store.enqueue(batch.to_vec()).await.expect("a write"), Applied::All);
        }
    }

    /// Asserts of every statement of these steps, as they were run since the last time, that it scans no table that grows.
    async fn assert_no_scans(&self, steps: &[&str]) {
        let mut texts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (step, text) in self.probe.texts() {
            texts.entry(step).or_default().insert(text);
        }
        self.probe.watch();
        for step in steps {
            let asked: Vec<String> =
                texts.remove(step).unwrap_or_default().into_iter().filter(|text| is_asked(text)).collect();
            assert!(!asked.is_empty(), "{step} has statements");
            let plans = self.bench.ask_for_plans(&asked).await;
            assert_eq!(plans.len(), asked.len());
            for (text, plan) in asked.iter().zip(&plans) {
                let grown: Vec<_> = plan.scans.iter().filter(|table| !is_small(table)).collect();
                assert!(grown.is_empty(), "{step} scans {grown:?}:\n{text}\n{}", plan.text);
            }
            assert!(plans.iter().any(|plan| !plan.indexes.is_empty()), "{step} uses no index: {plans:#?}");
        }
    }

    /// A due trigger, and how many ready rows of the same job.
    async fn something_due(&self, name: &str, rows: u32) -> Vec<ExecutionId> {
        let job = self.bench.limited(name, name, 1).await;
        self.bench.trigger(name, &job).await;
        let mut ids = Vec::new();
        for _ in 0..rows {
            ids.push(self.bench.enqueue(&job).await);
        }
        ids
    }
}

/// Whether a statement is one that a database has plans for.
fn is_asked(text: &str) -> bool {
    let verb = text.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).split_whitespace().next();
    let verb = verb.unwrap_or_default().to_ascii_uppercase();
    ["SELECT", "WITH", "INSERT", "UPDATE", "DELETE"].contains(&verb.as_str())
}

cases! {
    G "plans";

    /// Reading what is due and claiming it uses indexes, however many schedules, rows and records there are.
    [Statements, Plans]
    async fn reading_and_claiming(bench) {
        let full = Full::load(bench).await;
        full.something_due("due", 0).await;
        let Node { id: node, gate } = full.node;
        let kinds: Arc<[_]> = [kind(WORK)].into();
        full.probe.watch();
        let slice = Some(Slice { from: 0, to: 16_384, grace: SLICE_GRACE });
        let look = ReadDue::of(node, kinds, 50);
        full.store.read_due(ReadDue { slice, ..look.clone() }).await.expect("a read");
        let due = full.store.read_due(look).await.expect("a read");
        let plans = full.bench.plans(&due);
        assert_eq!(plans.len(), 1);
        full.store.claim(Claim { node, gate, within: None, plans }).await.expect("a write");
        full.assert_no_scans(&["read_due", "claim"]).await;
    }

    /// Claiming ready rows uses indexes, whether their slots are free or taken.
    [Statements, Plans]
    async fn claiming_ready_work(bench) {
        let full = Full::load(bench).await;
        full.something_due("due", 2).await;
        let Node { id: node, gate } = full.node;
        full.probe.watch();
        for _ in 0..2 {
            let request = ClaimReady::of(node, gate, [kind(WORK)].into(), 50);
            full.store.claim_ready(request).await.expect("a write");
        }
        full.assert_no_scans(&["claim_ready"]).await;
    }

    /// Beginning, ending and putting back use indexes, and so does finding whom a freed slot wakes.
    [Statements, Plans]
    async fn settling(bench) {
        let full = Full::load(bench).await;
        full.something_due("one", 3).await;
        full.something_due("two", 3).await;
        let rows = full.bench.take(full.node, 10).await;
        assert_eq!(rows.len(), 2);
        full.bench.fire(full.node).await;
        full.probe.watch();
        let claims = rows.iter().map(|row| claim_of(&row.execution)).collect();
        full.store.begin(claims).await.expect("a write");
        let end = success(&rows[0].execution);
        let retry = back(&rows[1].execution, MINUTE, TheSlot::Freed);
        let plans: Vec<SettlePlan> = vec![end.clone(), retry, end];
        full.store.settle(plans).await.expect("a write");
        full.assert_no_scans(&["begin", "settle"]).await;
    }

    /// A check-in, and the search for waiters, use indexes.
    [Statements, Plans]
    async fn looking_round(bench) {
        let full = Full::load(bench).await;
        full.something_due("due", 2).await;
        full.bench.take(full.node, 1).await;
        full.bench.fire(full.node).await;
        full.probe.watch();
        full.store.check_in(full.node.id).await.expect("a write");
        full.store.wake_waiting(50).await.expect("a write");
        full.assert_no_scans(&["check_in", "wake_waiting"]).await;
    }

    /// Putting work in and cancelling it use indexes.
    [Statements, Plans]
    async fn putting_work_in(bench) {
        let full = Full::load(bench).await;
        let ids = full.something_due("due", 2).await;
        let job = full.bench.store.inspect().job(&crate::bench::job_key("due")).await.expect("a read");
        let execution = full.bench.new_work(&job.expect("it is there"));
        full.probe.watch();
        let work = vec![Enqueue { execution, delay: None }];
        assert_eq!(full.store.enqueue(work).await.expect("a write"), Applied::All);
        full.store.cancel(ids, "a case".to_owned()).await.expect("a write");
        full.assert_no_scans(&["enqueue", "cancel"]).await;
    }
}
