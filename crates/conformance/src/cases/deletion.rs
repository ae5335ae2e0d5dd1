//! Deleting jobs and triggers: what becomes of their live work.

use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::job::ExecutionSpec;
use punctual_core::store::{Applied, LiveWork};

use crate::bench::{data, delete_job, delete_trigger, replace_job, replace_trigger, secs};
use crate::case::cases;

cases! {
    A "deletion";

    /// Deleting a trigger compares its revision.
    async fn refuses_a_stale_trigger(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([replace_trigger(trigger.clone())]).await;
        assert_eq!(bench.apply([delete_trigger(&trigger, &job)]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.reread(&trigger).await.rev, 2);
    }

    /// Deleting a job compares its revision.
    async fn refuses_a_stale_job(bench) {
        let job = bench.job("j").await;
        bench.write([replace_job(job.clone())]).await;
        assert_eq!(bench.apply([delete_job(&job, LiveWork::Detach)]).await, Applied::Lost { at: 0 });
    }

    /// Deleting twice is lost.
    async fn refuses_what_is_gone(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([delete_trigger(&trigger, &job), delete_job(&job, LiveWork::Detach)]).await;
        assert_eq!(bench.apply([delete_trigger(&trigger, &job)]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.apply([delete_job(&job, LiveWork::Detach)]).await, Applied::Lost { at: 0 });
    }

    /// A job that triggers refer to cannot be deleted.
    async fn refuses_a_job_with_triggers(bench) {
        let job = bench.job("j").await;
        bench.trigger("t", &job).await;
        for live in [LiveWork::MustBeNone, LiveWork::Cancel, LiveWork::Detach] {
            assert_eq!(bench.apply([delete_job(&job, live)]).await, Applied::Lost { at: 0 });
        }
    }

    /// A deleted trigger is never due again.
    async fn a_deleted_trigger_is_not_due(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        assert!(bench.due(node).await.triggers.is_empty());
    }

    /// Live rows of a deleted trigger keep the rules and the data that they inherited.
    async fn rows_keep_what_their_trigger_gave(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.spec.timeout = Some(secs(5))).await;
        let trigger =
            bench.trigger_with("t", &job, |trigger| trigger.payload = Some(data("trigger's"))).await;
        let row = bench.fire_one(node).await;
        bench.write([delete_trigger(&bench.reread(&trigger).await, &job)]).await;
        let row = bench.row(row.id).await;
        assert_eq!((row.spec, row.payload), (Some(job.spec), Some(data("trigger's"))));
    }

    /// A row's own rules and data stay when its job goes.
    async fn rows_keep_what_is_their_own(bench) {
        let job = bench.job("j").await;
        let own = ExecutionSpec { timeout: Some(secs(9)), ..ExecutionSpec::default() };
        let id = bench
            .enqueue_with(&job, |work| (work.spec, work.payload) = (Some(own.clone()), Some(data("own"))))
            .await;
        bench.write([delete_job(&job, LiveWork::Detach)]).await;
        let row = bench.row(id).await;
        assert_eq!((row.spec, row.payload), (Some(own), Some(data("own"))));
    }

    /// A row that has rules or data of its own inherits the other when its job goes.
    async fn rows_inherit_what_they_lack(bench) {
        let job = bench.job_with("j", |job| job.spec.timeout = Some(secs(5))).await;
        let own = ExecutionSpec { timeout: Some(secs(9)), ..ExecutionSpec::default() };
        let with_rules = bench.enqueue_with(&job, |work| work.spec = Some(own.clone())).await;
        let with_data = bench.enqueue_with(&job, |work| work.payload = Some(data("own"))).await;
        bench.write([delete_job(&job, LiveWork::Detach)]).await;
        let row = bench.row(with_rules).await;
        assert_eq!((row.spec, row.payload), (Some(own), Some(job.payload.clone())));
        let row = bench.row(with_data).await;
        assert_eq!((row.spec, row.payload), (Some(job.spec), Some(data("own"))));
    }

    /// Rows of other triggers of the same job are not touched when a trigger goes.
    async fn rows_of_other_triggers_are_left_alone(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.trigger("stays", &job).await;
        let before = bench.fire_one(node).await;
        let gone = bench.trigger("gone", &job).await;
        bench.fire_one(node).await;
        bench.write([delete_trigger(&bench.reread(&gone).await, &job)]).await;
        assert_eq!(bench.row(before.id).await, before);
    }

    /// Work of other triggers and jobs is not touched.
    async fn other_rows_are_left_alone(bench) {
        let (gone, stays) = (bench.job("gone").await, bench.job("stays").await);
        let node = bench.node("a").await;
        bench.enqueue(&stays).await;
        let owned = bench.take_one(node).await;
        let id = bench.enqueue(&stays).await;
        let before = bench.row(id).await;
        bench.write([delete_job(&gone, LiveWork::Cancel)]).await;
        assert_eq!((bench.row(id).await, bench.row(owned.id).await), (before, owned));
        bench.write([delete_job(&bench.job("idle").await, LiveWork::MustBeNone)]).await;
    }

    /// A job that must have no live work is not deleted while it has some.
    async fn waits_for_live_work_where_told_to(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        assert_eq!(bench.apply([delete_job(&job, LiveWork::MustBeNone)]).await, Applied::Lost { at: 0 });
        let row = bench.take_one(node).await;
        assert_eq!(bench.apply([delete_job(&job, LiveWork::MustBeNone)]).await, Applied::Lost { at: 0 });
        bench.finish(&row).await;
        bench.write([delete_job(&job, LiveWork::MustBeNone)]).await;
    }

    /// Cancelling with the job ends rows that nobody owns.
    async fn cancels_rows_that_nobody_owns(bench) {
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        bench.write([delete_job(&job, LiveWork::Cancel)]).await;
        assert_eq!(bench.live(id).await, None);
        assert_eq!(bench.record(id).await.expect("a record").outcome, Outcome::Cancelled);
    }

    /// Cancelling with the job marks owned rows, which their owner still settles.
    async fn marks_rows_that_somebody_owns(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.write([delete_job(&job, LiveWork::Cancel)]).await;
        let marked = bench.row(row.id).await;
        assert!(marked.cancel.is_some() && marked.state == ExecutionState::Claimed);
        assert_eq!((marked.spec, marked.payload), (Some(job.spec), Some(job.payload)));
        bench.finish(&row).await;
    }

    /// Detached rows go on without their job, with what they inherited.
    async fn detached_rows_go_on(bench) {
        let node = bench.node("a").await;
        let job = bench.job_with("j", |job| job.spec.timeout = Some(secs(5))).await;
        let id = bench.enqueue(&job).await;
        bench.write([delete_job(&job, LiveWork::Detach)]).await;
        let work = bench.take(node, 1).await;
        assert_eq!(work.len(), 1);
        assert_eq!((work[0].execution.id, work[0].job.as_ref()), (id, None));
        assert_eq!((work[0].spec(), work[0].payload()), (job.spec, job.payload));
        bench.finish(&work[0].execution).await;
    }

    /// A batch that deletes a trigger and its job leaves the trigger's data in its rows.
    async fn the_triggers_data_wins_in_one_batch(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger =
            bench.trigger_with("t", &job, |trigger| trigger.payload = Some(data("trigger's"))).await;
        let row = bench.fire_one(node).await;
        let trigger = bench.reread(&trigger).await;
        bench.write([delete_trigger(&trigger, &job), delete_job(&job, LiveWork::Detach)]).await;
        assert_eq!(bench.row(row.id).await.payload, Some(data("trigger's")));
    }
}
