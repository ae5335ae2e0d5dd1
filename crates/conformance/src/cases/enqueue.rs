//! `enqueue`: work without a trigger.

use punctual_core::execution::{Execution, ExecutionState, JobRef};
use punctual_core::job::{ExecutionSpec, Payload};
use punctual_core::key::Fence;
use punctual_core::store::{Applied, Enqueue, LiveWork};

use crate::bench::{data, delete_job, kind, ms, secs};
use crate::case::cases;

cases! {
    A "enqueue";

    /// An enqueued row is ready, at its first attempt, and wakes at its scheduled instant.
    async fn makes_a_ready_row(bench) {
        let job = bench.job("j").await;
        let work = bench.new_work(&job);
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        let row = bench.row(work.id).await;
        let expected = Execution {
            id: work.id,
            occurrence: None,
            job: Some(JobRef { id: job.id, key: job.key.clone() }),
            kind: job.kind.clone(),
            scheduled: bench.t0,
            priority: 0,
            state: ExecutionState::Ready,
            owner: None,
            fence: Fence::NONE,
            attempt: 1,
            losses: 0,
            wake: bench.t0,
            slot: None,
            catch_up: None,
            spec: None,
            payload: None,
            attempts: Vec::new(),
            cancel: None,
            error: None,
            created: row.created,
        };
        assert_eq!(row, expected);
    }

    /// A delay is added to the store's now, and becomes the scheduled instant.
    [Clock]
    async fn adds_a_delay_to_the_stores_time(bench) {
        let job = bench.job("j").await;
        bench.advance(secs(3));
        let execution = bench.new_work(&job);
        let work = Enqueue { execution: execution.clone(), delay: Some(ms(1500)) };
        assert_eq!(bench.store.enqueue(vec![work]).await.expect("a write"), Applied::All);
        let row = bench.row(execution.id).await;
        let at = bench.now().await.plus(ms(1500));
        assert_eq!((row.scheduled, row.wake, row.created), (at, at, bench.now().await));
    }

    /// A row is not claimed before its time.
    [Clock]
    async fn waits_for_its_time(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let later = bench.t0.plus(secs(10));
        let id = bench.enqueue_with(&job, |work| work.scheduled = later).await;
        bench.advance(ms(9_999));
        assert!(bench.take(node, 10).await.is_empty());
        bench.advance(ms(1));
        assert_eq!(bench.take_one(node).await.id, id);
    }

    /// An id that is there already is left as it is.
    async fn leaves_a_known_id_alone(bench) {
        let job = bench.job("j").await;
        let mut work = bench.new_work(&job);
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        let before = bench.row(work.id).await;
        (work.priority, work.payload) = (9, Some(data("other")));
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        assert_eq!(bench.rows().await, [before]);
    }

    /// An id that has moved to the history does not come back.
    async fn leaves_an_ended_id_alone(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let work = bench.new_work(&job);
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        let row = bench.take_one(node).await;
        bench.finish(&row).await;
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        assert_eq!(bench.live(work.id).await, None);
    }

    /// A claimed row is not made ready by repeating its enqueueing.
    async fn leaves_a_claimed_id_alone(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let work = bench.new_work(&job);
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        let row = bench.take_one(node).await;
        assert_eq!(bench.put([work]).await, Applied::All);
        assert_eq!(bench.row(row.id).await, row);
    }

    /// One id twice in a batch is one row.
    async fn takes_one_id_once(bench) {
        let job = bench.job("j").await;
        let work = bench.new_work(&job);
        assert_eq!(bench.put([work.clone(), work]).await, Applied::All);
        assert_eq!(bench.rows().await.len(), 1);
    }

    /// Work of a job that is not there makes the batch lost with its index, and nothing is stored.
    async fn stores_all_or_nothing(bench) {
        let job = bench.job("j").await;
        let gone = bench.new_job("gone");
        let batch = [bench.new_work(&job), bench.new_work(&gone), bench.new_work(&job)];
        assert_eq!(bench.put(batch).await, Applied::Lost { at: 1 });
        assert!(bench.rows().await.is_empty());
    }

    /// Repeating an enqueueing after its job was deleted is no loss: the work is there.
    async fn repeats_after_the_job_has_gone(bench) {
        let job = bench.job("j").await;
        let work = bench.new_work(&job);
        assert_eq!(bench.put([work.clone()]).await, Applied::All);
        bench.write([delete_job(&job, LiveWork::Detach)]).await;
        assert_eq!(bench.put([work]).await, Applied::All);
        assert_eq!(bench.rows().await.len(), 1);
    }

    /// Work may bring everything along and belong to no job.
    async fn needs_no_job(bench) {
        let node = bench.node("a").await;
        let mut work = bench.new_work(&bench.new_job("never stored"));
        let spec = ExecutionSpec { timeout: Some(secs(1)), ..ExecutionSpec::default() };
        (work.job, work.spec, work.payload) = (None, Some(spec.clone()), Some(data("own")));
        assert_eq!(bench.put([work]).await, Applied::All);
        let taken = bench.take(node, 1).await;
        assert_eq!((taken[0].job.as_ref(), taken[0].spec(), taken[0].payload()), (None, spec, data("own")));
    }

    /// Work without a job, without rules and without data has the default rules and the data `null`.
    async fn has_null_data_by_default(bench) {
        let node = bench.node("a").await;
        let mut work = bench.new_work(&bench.new_job("never stored"));
        (work.job, work.spec) = (None, None);
        assert_eq!(bench.put([work]).await, Applied::All);
        let taken = bench.take(node, 1).await;
        assert_eq!((taken[0].spec(), taken[0].payload()), (ExecutionSpec::default(), Payload::null()));
    }

    /// A row without rules and data of its own takes the job's at its claim, not at its enqueueing.
    async fn inherits_at_the_claim(bench) {
        let node = bench.node("a").await;
        let mut job = bench.job("j").await;
        bench.enqueue(&job).await;
        (job.payload, job.spec.timeout) = (data("new"), Some(secs(7)));
        bench.write([crate::bench::replace_job(job.clone())]).await;
        let taken = bench.take(node, 1).await;
        assert_eq!((taken[0].payload(), taken[0].spec()), (job.payload, job.spec));
    }

    /// A kind of its own is kept.
    async fn keeps_the_kind(bench) {
        let job = bench.job("j").await;
        let id = bench.enqueue_with(&job, |work| work.kind = kind("a.b:c-d_e")).await;
        assert_eq!(bench.row(id).await.kind, kind("a.b:c-d_e"));
    }

    /// A batch of many is stored whole.
    async fn takes_a_large_batch(bench) {
        let job = bench.job("j").await;
        let many = usize::try_from(bench.store.features().max_batch.min(500)).expect("a small number");
        let batch: Vec<_> = (0..many).map(|_| bench.new_work(&job)).collect();
        assert_eq!(bench.put(batch).await, Applied::All);
        assert_eq!(bench.rows().await.len(), many);
    }
}
