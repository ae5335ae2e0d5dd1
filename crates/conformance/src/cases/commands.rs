//! What people ask for: cancelling, running now, rescheduling, unscheduling, standing by, seeing what runs.

use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::inspect::{ExecutionFilter, FoundTrigger};
use punctual_core::key::{ExecutionId, Fence};
use punctual_core::protocol::define::{self, TriggerDefinition};
use punctual_core::protocol::finish::hold;
use punctual_core::schedule::{Every, Schedule};
use punctual_core::store::{Cancelled, Change, Expect, SettleOutcome, Standby};
use punctual_core::trigger::TriggerSpec;

use crate::bench::{Node, TheSlot, claim_of, data, job_key, readable, secs, trigger_key};
use crate::case::cases;

fn every(seconds: u64) -> TriggerDefinition {
    let every = Every::new(secs(seconds)).expect("an interval");
    TriggerDefinition {
        key: trigger_key("t"),
        job: job_key("j"),
        description: None,
        spec: TriggerSpec::new(Schedule::Every(every)),
        payload: None,
        priority: 0,
    }
}

cases! {
    A "commands";

    /// Cancelling a ready row ends it as cancelled, with the reason.
    async fn cancelling_ends_a_ready_row(bench) {
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        let done = bench.store.cancel(vec![id], "not needed".to_owned()).await.expect("a write");
        assert_eq!(done, Cancelled { ended: 1, asked: 0 });
        assert_eq!(bench.live(id).await, None);
        let record = bench.record(id).await.expect("a record");
        assert_eq!((record.outcome, record.error.as_deref()), (Outcome::Cancelled, Some("not needed")));
        assert_eq!((record.attempt, record.node, record.fence), (1, None, Fence::NONE));
        assert_eq!((record.started, record.count, record.job.expect("a job").id), (None, Some(1), job.id));
        assert!(record.ended >= bench.t0);
    }

    /// Asking one owner to stop asks nobody else.
    async fn cancelling_asks_no_other_owner(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.enqueue(&job).await;
        let rows = bench.take(node, 2).await;
        assert_eq!(bench.cancel(rows[0].execution.id).await, Cancelled { ended: 0, asked: 1 });
        assert_eq!(bench.row(rows[1].execution.id).await, rows[1].execution);
    }

    /// A row that is cancelled between two attempts keeps the attempts it had.
    async fn cancelling_keeps_the_attempts(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.give_back(&row, secs(60), TheSlot::Freed).await;
        bench.cancel(row.id).await;
        let record = bench.record(row.id).await.expect("a record");
        assert_eq!((record.attempt, record.attempts.len(), record.fence), (2, 1, row.fence));
    }

    /// Cancelling a held row ends it.
    async fn cancelling_ends_a_held_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        assert_eq!(bench.settle(hold(claim_of(&row), "not JSON")).await, SettleOutcome::Done);
        assert_eq!(bench.cancel(row.id).await, Cancelled { ended: 1, asked: 0 });
        assert_eq!(bench.record(row.id).await.expect("a record").outcome, Outcome::Cancelled);
    }

    /// Cancelling an owned row marks it, and leaves it to its owner.
    async fn cancelling_marks_an_owned_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for begun in [false, true] {
            bench.enqueue(&job).await;
            let row = bench.take_one(node).await;
            if begun {
                assert_eq!(
                    bench.store.begin(vec![claim_of(&row)]).await.expect("a write"),
                    [SettleOutcome::Done]
                );
            }
            assert_eq!(bench.cancel(row.id).await, Cancelled { ended: 0, asked: 1 });
            let marked = bench.row(row.id).await;
            assert_eq!((marked.owner, marked.cancel.as_deref()), (Some(node.id), Some("the case said so")));
            bench.finish(&row).await;
        }
    }

    /// Cancelling what is not there, or has ended, does nothing.
    async fn cancelling_nothing_does_nothing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.finish(&row).await;
        let before = bench.record(row.id).await;
        let ids = vec![row.id, ExecutionId::draw(bench.t0, &bench.entropy)];
        assert_eq!(bench.store.cancel(ids, "late".to_owned()).await.expect("a write"), Cancelled::default());
        assert_eq!(bench.record(row.id).await, before);
        assert_eq!(
            bench.store.cancel(Vec::new(), String::new()).await.expect("a write"),
            Cancelled::default()
        );
    }

    /// Several executions are cancelled in one step, each as it stands.
    async fn cancelling_counts_each(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let running = bench.enqueue(&job).await;
        bench.take_one(node).await;
        let ids = vec![bench.enqueue(&job).await, running, bench.enqueue(&job).await];
        let done = bench.store.cancel(ids, "all".to_owned()).await.expect("a write");
        assert_eq!(done, Cancelled { ended: 2, asked: 1 });
    }

    /// A cancelled row is not claimed any more.
    async fn a_cancelled_row_does_not_run(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        bench.cancel(id).await;
        assert!(bench.take(node, 10).await.is_empty());
    }

    /// Running a job now, with data of its own, leaves its triggers where they are.
    async fn running_now_moves_no_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let later = bench.t0.plus(secs(3600));
        let trigger = bench.trigger_at("t", &job, later).await;
        bench.enqueue_with(&job, |work| work.payload = Some(data("now"))).await;
        let work = bench.take(node, 1).await.remove(0);
        assert_eq!(work.payload(), data("now"));
        bench.finish(&work.execution).await;
        assert_eq!(bench.reread(&trigger).await, trigger);
    }

    /// A rescheduled trigger begins a new generation, after the last instant that it had decided about.
    async fn rescheduling_begins_a_new_generation(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.fire_one(node).await;
        let found = FoundTrigger { trigger: Some(bench.reread(&trigger).await), mark: None };
        let now = bench.now().await;
        let change = define::put_trigger(&found, &every(10), None, job.id, None, now, &bench.entropy);
        bench.write(change.expect("it fits")).await;
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.id, stored.generation, stored.fires), (trigger.id, 2, 1));
        assert!(stored.next_fire > stored.last);
    }

    /// A trigger that is created again under its old key begins after what the old one consumed.
    async fn recreating_repeats_no_instant(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.fire_one(node).await;
        bench.write([crate::bench::delete_trigger(&bench.reread(&trigger).await, &job)]).await;
        let found = bench.store.inspect().trigger(&trigger.key).await.expect("a read");
        assert_eq!(found.mark, Some(bench.t0));
        let mut again = every(60);
        again.spec.start = Some(bench.t0);
        let now = bench.now().await;
        let change = define::put_trigger(&found, &again, None, job.id, None, now, &bench.entropy);
        bench.write(change.expect("it fits")).await;
        let stored = bench.reread(&trigger).await;
        assert!(stored.id != trigger.id && stored.next_fire > Some(bench.t0));
    }

    /// Unscheduling the last trigger of a job that is not durable deletes the job.
    async fn unscheduling_takes_the_job_along(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write(define::unschedule(&trigger, Some(&job), 0)).await;
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), None);
        assert_eq!(
            bench.store.inspect().trigger(&trigger.key).await.expect("a read"),
            FoundTrigger::default()
        );
    }

    /// Unscheduling a trigger while its execution runs lets the execution end.
    async fn unscheduling_lets_running_work_end(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let row = bench.fire_one(node).await;
        let trigger = bench.reread(&trigger).await;
        bench.write(define::unschedule(&trigger, Some(&job), 0)).await;
        bench.finish(&row).await;
        let record = bench.record(row.id).await.expect("a record");
        assert_eq!(record.occurrence.expect("an occurrence").key, trigger.key);
    }

    /// A node in standby stops claiming, and goes on where it was afterwards.
    async fn standby_stops_and_resumes(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        bench.enqueue(&job).await;
        let gate = bench.store.set_standby(node.id, Standby::On).await.expect("a write").expect("it is up");
        let plans = bench.plans(&bench.due(node).await);
        assert!(!bench.claim(Node { gate, ..node }, plans).await.gate_open);
        let gate = bench.store.set_standby(node.id, Standby::Off).await.expect("a write").expect("it is up");
        let node = Node { gate, ..node };
        assert_eq!((bench.fire(node).await.len(), bench.take(node, 10).await.len()), (1, 1));
    }

    /// What runs in the cluster, and where, can be listed.
    async fn what_runs_can_be_listed(bench) {
        let (one, other) = (bench.node("a").await, bench.node("b").await);
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        let fired = bench.fire_one(one).await;
        bench.enqueue(&job).await;
        let taken = bench.take_one(other).await;
        bench.enqueue(&job).await;
        let filter = ExecutionFilter { state: Some(ExecutionState::Claimed), ..ExecutionFilter::default() };
        let mut rows: Vec<_> = bench
            .store
            .inspect()
            .executions(filter)
            .await
            .expect("a read")
            .into_iter()
            .map(readable)
            .collect();
        rows.sort_by_key(|row| row.occurrence.is_none());
        assert_eq!(rows, [fired, taken]);
    }

    /// A set-aside definition that was deleted can be created anew.
    async fn what_is_in_error_can_be_deleted(bench) {
        let job = bench.job("j").await;
        let broken = |trigger: &mut punctual_core::trigger::TriggerRecord| {
            trigger.state = punctual_core::trigger::TriggerState::Error;
        };
        let trigger = bench.trigger_with("t", &job, broken).await;
        bench.write([crate::bench::delete_trigger(&trigger, &job)]).await;
        let expect = Expect::Absent { mark: None };
        bench.write([Change::PutTrigger { expect, trigger: bench.new_trigger("t", &job) }]).await;
    }
}
