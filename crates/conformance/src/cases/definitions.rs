//! `apply`: creating and replacing, what each change compares, and all or nothing.

use punctual_core::TriggerKey;
use punctual_core::inspect::Page;
use punctual_core::job::{Backoff, OnLeaseLoss, OnNodeLoss, RetryPolicy};
use punctual_core::store::{Applied, Change, Expect, SetRecord};
use punctual_core::trigger::TriggerRecord;

use crate::bench::{
    Bench, create_job, create_trigger, data, delete_trigger, kind, replace_job, replace_trigger, secs,
    trigger_key,
};
use crate::case::cases;

fn set(bench: &Bench, revision: i64) -> SetRecord {
    SetRecord { name: "jobs.toml".into(), revision, hash: -7, by: "node a".into(), rev: 0, written: bench.t0 }
}

fn put_set(expect: Expect, set: SetRecord) -> Change {
    Change::PutSet { expect, set }
}

cases! {
    A "definitions";

    /// A job is stored as it was given, with `rev` 1.
    async fn keeps_a_job_as_given(bench) {
        let mut job = bench.new_job("j");
        job.description = Some("Ein Auftrag".into());
        job.priority = -5;
        job.durable = true;
        job.set = Some("set".into());
        job.spec.timeout = Some(secs(90));
        job.spec.on_node_loss = OnNodeLoss::Lose;
        job.spec.on_lease_loss = OnLeaseLoss::Continue;
        job.spec.retry = RetryPolicy::exponential(4, secs(2));
        assert!(matches!(job.spec.retry.backoff, Backoff::Exponential { .. }));
        bench.write([create_job(job.clone())]).await;
        job.rev = 1;
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// A trigger is stored as it was given, with `rev` 1.
    async fn keeps_a_trigger_as_given(bench) {
        let job = bench.job("j").await;
        let mut trigger = bench.new_trigger("t", &job);
        trigger.description = Some("jede Minute".into());
        trigger.payload = Some(data("trigger's"));
        trigger.priority = 9;
        trigger.spec.end = Some(bench.t0.plus(secs(3600)));
        trigger.last = Some(bench.t0.minus(secs(60)));
        (trigger.fires, trigger.fire_seq, trigger.generation, trigger.hash) = (3, 4, 5, i64::MIN);
        trigger.set = Some("set".into());
        bench.write([create_trigger(trigger.clone())]).await;
        trigger.rev = 1;
        assert_eq!(bench.reread(&trigger).await, trigger);
    }

    /// Each write of a record sets `rev` to one more than the stored one, whatever the given record says.
    async fn counts_the_writes_of_a_record(bench) {
        let mut job = bench.job("j").await;
        for rev in 2..=4 {
            job.rev = rev - 1;
            let expect = Expect::Rev(job.rev);
            let given = punctual_core::job::JobRecord { rev: 77, ..job.clone() };
            bench.write([Change::PutJob { expect, job: given }]).await;
            let stored = bench.store.inspect().job(&job.key).await.expect("a read").expect("it is there");
            assert_eq!(stored.rev, rev);
        }
    }

    /// A replaced record has all of its new content.
    async fn replaces_the_whole_record(bench) {
        let mut job = bench.job("j").await;
        job.kind = kind("other");
        job.payload = data("new");
        job.priority = 3;
        bench.write([replace_job(job.clone())]).await;
        job.rev = 2;
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// Creating a job under a key that is taken is lost.
    async fn refuses_a_second_job_under_a_key(bench) {
        let first = bench.job("j").await;
        assert_eq!(bench.apply([create_job(bench.new_job("j"))]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.store.inspect().job(&first.key).await.expect("a read"), Some(first));
    }

    /// Creating a trigger under a key that is taken is lost.
    async fn refuses_a_second_trigger_under_a_key(bench) {
        let job = bench.job("j").await;
        let first = bench.trigger("t", &job).await;
        let second = bench.new_trigger("t", &job);
        assert_eq!(bench.apply([create_trigger(second)]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.reread(&first).await, first);
    }

    /// A change of a job compares its revision.
    async fn refuses_a_stale_job_revision(bench) {
        let job = bench.job("j").await;
        bench.write([replace_job(job.clone())]).await;
        assert_eq!(bench.apply([replace_job(job)]).await, Applied::Lost { at: 0 });
    }

    /// A change of a trigger compares its revision.
    async fn refuses_a_stale_trigger_revision(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([replace_trigger(trigger.clone())]).await;
        let stale = TriggerRecord { priority: 99, ..trigger };
        assert_eq!(bench.apply([replace_trigger(stale.clone())]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.reread(&stale).await.priority, 0);
    }

    /// A firing is a write: an edit that was planned before it is lost.
    async fn refuses_an_edit_from_before_a_firing(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.fire_one(node).await;
        assert_eq!(bench.apply([replace_trigger(trigger)]).await, Applied::Lost { at: 0 });
    }

    /// A change by revision must name the id that has the key now.
    async fn refuses_another_id_under_the_same_key(bench) {
        let job = bench.job("j").await;
        let stranger = punctual_core::job::JobRecord { rev: job.rev, ..bench.new_job("j") };
        assert_eq!(bench.apply([replace_job(stranger)]).await, Applied::Lost { at: 0 });
    }

    /// Creating a record under an id that another key has is lost.
    async fn refuses_an_id_that_another_key_has(bench) {
        let job = bench.job("j").await;
        let same = punctual_core::job::JobRecord { id: job.id, ..bench.new_job("k") };
        assert_eq!(bench.apply([create_job(same)]).await, Applied::Lost { at: 0 });
        let trigger = bench.trigger("t", &job).await;
        let same = TriggerRecord { id: trigger.id, ..bench.new_trigger("u", &job) };
        assert_eq!(bench.apply([create_trigger(same)]).await, Applied::Lost { at: 0 });
        assert_eq!(bench.reread(&trigger).await, trigger);
        assert_eq!(bench.store.inspect().job(&job.key).await.expect("a read"), Some(job));
    }

    /// Replacing what is not there is lost.
    async fn refuses_to_replace_what_is_not_there(bench) {
        let job = punctual_core::job::JobRecord { rev: 1, ..bench.new_job("j") };
        assert_eq!(bench.apply([replace_job(job)]).await, Applied::Lost { at: 0 });
        assert!(bench.store.inspect().jobs(Page::first(10)).await.expect("a read").is_empty());
    }

    /// The first change that does not fit makes the batch lost with its index, and nothing is written.
    async fn applies_all_changes_or_none(bench) {
        let taken = bench.job("taken").await;
        let batch = [
            create_job(bench.new_job("a")),
            create_job(bench.new_job("taken")),
            create_job(bench.new_job("b")),
        ];
        assert_eq!(bench.apply(batch).await, Applied::Lost { at: 1 });
        assert_eq!(bench.store.inspect().jobs(Page::first(10)).await.expect("a read"), [taken]);
    }

    /// A batch that is lost leaves what it had deleted, and no mark.
    async fn a_lost_batch_deletes_nothing(bench) {
        let job = bench.job("j").await;
        let last = Some(bench.t0.minus(secs(60)));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.last = last).await;
        let batch = [delete_trigger(&trigger, &job), create_job(bench.new_job("j"))];
        assert_eq!(bench.apply(batch).await, Applied::Lost { at: 1 });
        let found = bench.store.inspect().trigger(&trigger.key).await.expect("a read");
        assert_eq!((found.trigger, found.mark), (Some(trigger), None));
    }

    /// The changes of a batch see those before them.
    async fn applies_changes_in_order(bench) {
        let job = bench.new_job("j");
        let trigger = bench.new_trigger("t", &job);
        bench.write([create_job(job.clone()), create_trigger(trigger.clone())]).await;
        let (stored, job) = (bench.reread(&trigger).await, punctual_core::job::JobRecord { rev: 1, ..job });
        let gone = crate::bench::delete_job(&job, punctual_core::store::LiveWork::MustBeNone);
        bench.write([delete_trigger(&stored, &job), gone]).await;
        assert!(bench.store.inspect().jobs(Page::first(10)).await.expect("a read").is_empty());
    }

    /// A trigger without its job is lost.
    async fn refuses_a_trigger_without_its_job(bench) {
        let never_stored = bench.new_job("j");
        let trigger = bench.new_trigger("t", &never_stored);
        assert_eq!(bench.apply([create_trigger(trigger)]).await, Applied::Lost { at: 0 });
    }

    /// Deleting a trigger remembers its last instant as the mark of its key.
    async fn a_deleted_trigger_leaves_a_mark(bench) {
        let job = bench.job("j").await;
        let last = Some(bench.t0.minus(secs(60)));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.last = last).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        let found = bench.store.inspect().trigger(&trigger.key).await.expect("a read");
        assert_eq!((found.trigger, found.mark), (None, last));
    }

    /// Creating a trigger must name the mark of its key: what an earlier one consumed stays consumed.
    async fn a_creation_must_name_the_mark(bench) {
        let job = bench.job("j").await;
        let last = Some(bench.t0.minus(secs(60)));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.last = last).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        let again = bench.new_trigger("t", &job);
        for mark in [None, Some(bench.t0)] {
            let change = Change::PutTrigger { expect: Expect::Absent { mark }, trigger: again.clone() };
            assert_eq!(bench.apply([change]).await, Applied::Lost { at: 0 });
        }
        let change = Change::PutTrigger { expect: Expect::Absent { mark: last }, trigger: again };
        assert_eq!(bench.apply([change]).await, Applied::All);
    }

    /// A key that has a trigger has no mark.
    async fn a_new_trigger_takes_the_mark_away(bench) {
        let job = bench.job("j").await;
        let last = Some(bench.t0.minus(secs(60)));
        let trigger = bench.trigger_with("t", &job, |trigger| trigger.last = last).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        let expect = Expect::Absent { mark: last };
        bench.write([Change::PutTrigger { expect, trigger: bench.new_trigger("t", &job) }]).await;
        let found = bench.store.inspect().trigger(&trigger_key("t")).await.expect("a read");
        assert!(found.trigger.is_some() && found.mark.is_none());
    }

    /// A new trigger names and takes away the mark of its own key, and that of no other name or group.
    async fn marks_of_other_keys_stay(bench) {
        let job = bench.job("j").await;
        let marks = [("a", "t", 60), ("b", "u", 60), ("a", "u", 61)].map(|(group, name, ago)| {
            (TriggerKey::new(group, name).expect("a key"), bench.t0.minus(secs(ago)))
        });
        for (key, last) in &marks {
            let old = TriggerRecord { key: key.clone(), last: Some(*last), ..bench.new_trigger("t", &job) };
            bench.write([create_trigger(old.clone())]).await;
            bench.write([delete_trigger(&TriggerRecord { rev: 1, ..old }, &job)]).await;
        }
        let [others @ .., (key, last)] = &marks;
        let trigger = TriggerRecord { key: key.clone(), ..bench.new_trigger("t", &job) };
        bench.write([Change::PutTrigger { expect: Expect::Absent { mark: Some(*last) }, trigger }]).await;
        for (key, last) in others {
            assert_eq!(bench.store.inspect().trigger(key).await.expect("a read").mark, Some(*last));
        }
    }

    /// A trigger that never had an instant leaves no mark.
    async fn a_trigger_without_instants_leaves_no_mark(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        assert_eq!(bench.store.inspect().trigger(&trigger.key).await.expect("a read").mark, None);
        bench.write([create_trigger(bench.new_trigger("t", &job))]).await;
    }

    /// A set's row is stored as it was given, with `rev` 1.
    async fn keeps_a_set_as_given(bench) {
        bench.write([put_set(Expect::Absent { mark: None }, set(&bench, 3))]).await;
        let found = bench.store.inspect().set("jobs.toml").await.expect("a read").set.expect("it is there");
        let given = set(&bench, 3);
        assert_eq!(
            (found.revision, found.hash, found.by, found.rev),
            (given.revision, given.hash, given.by, 1)
        );
    }

    /// A set's row says when it was written, on the store's clock.
    [Clock]
    async fn stamps_a_set_with_the_stores_time(bench) {
        bench.advance(secs(5));
        bench.write([put_set(Expect::Absent { mark: None }, set(&bench, 3))]).await;
        let found = bench.store.inspect().set("jobs.toml").await.expect("a read").set.expect("it is there");
        assert_eq!(found.written, bench.now().await);
    }

    /// A change of a set compares its revision counter.
    async fn refuses_a_stale_set(bench) {
        let absent = Expect::Absent { mark: None };
        bench.write([put_set(absent, set(&bench, 3))]).await;
        assert_eq!(bench.apply([put_set(absent, set(&bench, 4))]).await, Applied::Lost { at: 0 });
        bench.write([put_set(Expect::Rev(1), set(&bench, 4))]).await;
        assert_eq!(bench.apply([put_set(Expect::Rev(1), set(&bench, 5))]).await, Applied::Lost { at: 0 });
    }

    /// An empty batch applies.
    async fn applies_an_empty_batch(bench) {
        assert_eq!(bench.apply([]).await, Applied::All);
    }
}
