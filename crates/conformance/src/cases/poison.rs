//! Rows that cannot be understood: each is shown as what it is, can be set aside, and stops nothing but itself.

use std::sync::Arc;

use punctual_core::calendar::Calendar;
use punctual_core::execution::ExecutionState;
use punctual_core::inspect::{ExecutionFilter, Page};
use punctual_core::protocol::{finish, fire};
use punctual_core::schedule::Weekdays;
use punctual_core::store::{
    CalendarRecord, Change, ClaimOutcome, ClaimReady, ClaimRef, DueTrigger, Expect, Poison, PoisonRow,
    Readable, SettleOutcome,
};
use punctual_core::trigger::{TriggerRecord, TriggerState};
use punctual_core::{ErrorKind, ExecutionId, Zone};

use crate::bench::{Bench, Node, WORK, delete_trigger, kind, replace_trigger, secs};
use crate::case::cases;
use crate::harness::Spoil;

/// Two due triggers of two jobs, the first of them older.
async fn two_triggers(bench: &Bench) -> [TriggerRecord; 2] {
    let (first, second) = (bench.job("first").await, bench.job("second").await);
    let old = bench.trigger_at("old", &first, bench.t0.minus(secs(1))).await;
    [old, bench.trigger("young", &second).await]
}

async fn due(bench: &Bench, node: Node) -> Vec<Readable<DueTrigger>> {
    bench.due(node).await.triggers
}

fn poison<T: std::fmt::Debug>(row: &Readable<T>) -> &Poison {
    match row {
        Readable::Poison(poison) => poison,
        Readable::Row(row) => panic!("it can be read: {row:?}"),
    }
}

/// Asserts that the first of two due triggers is a poison that names `trigger`, and the second is well.
async fn assert_first_is_poison(bench: &Bench, node: Node, trigger: &TriggerRecord) {
    let rows = due(bench, node).await;
    assert_eq!(rows.len(), 2);
    let PoisonRow::Trigger { id, rev, fire_seq } = poison(&rows[0]).row else { panic!("{rows:?}") };
    assert_eq!((id, rev, fire_seq), (trigger.id, trigger.rev, trigger.fire_seq));
    assert!(!poison(&rows[0]).reason.is_empty());
    assert!(matches!(rows[1], Readable::Row(_)), "{rows:?}");
}

/// Plans as a node makes them: what cannot be understood is set aside, the rest fires.
async fn fire_or_set_aside(bench: &Bench, node: Node) -> Vec<ClaimOutcome> {
    let read = bench.due(node).await;
    let plan = |row: &Readable<DueTrigger>| match row {
        Readable::Row(row) => Some(fire::plan(row, read.now, &bench.entropy)),
        Readable::Poison(poison) => fire::set_aside(poison),
    };
    let plans: Vec<_> = read.triggers.iter().filter_map(plan).collect();
    bench.claim(node, plans).await.outcomes
}

/// Claims ready rows, and answers the poisons and the ids of the others.
async fn take(bench: &Bench, node: Node) -> (Vec<(ClaimRef, String)>, Vec<ExecutionId>) {
    let request = ClaimReady::of(node.id, node.gate, [kind(WORK)].into(), 10);
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for row in bench.store.claim_ready(request).await.expect("a write").work {
        match row {
            Readable::Row(row) => good.push(row.execution.id),
            Readable::Poison(Poison { row: PoisonRow::Execution(claim), reason }) => {
                bad.push((claim, reason))
            }
            Readable::Poison(other) => panic!("{other:?}"),
        }
    }
    (bad, good)
}

async fn hold(bench: &Bench, (claim, reason): &(ClaimRef, String)) {
    assert_eq!(bench.settle(finish::hold(*claim, reason)).await, SettleOutcome::Done);
}

async fn calendar(bench: &Bench, name: &str) {
    let weekly = Calendar::weekly(Weekdays::NONE, Zone::utc());
    let calendar =
        CalendarRecord { name: name.into(), calendar: Arc::new(weekly), rev: 0, updated: bench.t0 };
    bench.write([Change::PutCalendar { expect: Expect::Absent { mark: None }, calendar }]).await;
}

/// Two due triggers, each with a calendar of its own, `one` and `other`.
async fn two_with_calendars(bench: &Bench) -> [TriggerRecord; 2] {
    let job = bench.job("j").await;
    let mut triggers = Vec::new();
    for (name, age) in [("one", 1), ("other", 0)] {
        calendar(bench, name).await;
        let at = bench.t0.minus(secs(age));
        let change = |trigger: &mut TriggerRecord| {
            trigger.spec.calendar = Some(name.into());
            (trigger.next_fire, trigger.wake) = (Some(at), Some(at));
        };
        triggers.push(bench.trigger_with(name, &job, change).await);
    }
    triggers.try_into().expect("two")
}

cases! {
    A "poison";

    /// A trigger that cannot be understood comes in its place in the list, with its identity and the reason.
    [Spoil]
    async fn a_trigger_comes_in_its_place(bench) {
        let node = bench.node("a").await;
        let [old, _] = two_triggers(&bench).await;
        bench.spoil(Spoil::Trigger(old.id)).await;
        assert_first_is_poison(&bench, node, &old).await;
    }

    /// A trigger that cannot be understood is set aside with the reason, and the others of the batch fire.
    [Spoil]
    async fn a_trigger_is_set_aside_alone(bench) {
        let node = bench.node("a").await;
        let [old, young] = two_triggers(&bench).await;
        bench.spoil(Spoil::Trigger(old.id)).await;
        let outcomes = fire_or_set_aside(&bench, node).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, ClaimOutcome::Fired(_))), "{outcomes:?}");
        assert_eq!((bench.rows().await.len(), bench.reread(&young).await.fires), (1, 1));
        assert!(due(&bench, node).await.is_empty(), "it is asked about once");
    }

    /// A correct definition makes a trigger active that was set aside.
    [Spoil]
    async fn a_trigger_can_be_mended(bench) {
        let node = bench.node("a").await;
        let [old, _] = two_triggers(&bench).await;
        bench.spoil(Spoil::Trigger(old.id)).await;
        let _ = fire_or_set_aside(&bench, node).await;
        bench.write([replace_trigger(TriggerRecord { rev: old.rev + 1, ..old.clone() })]).await;
        let stored = bench.reread(&old).await;
        assert_eq!((stored.state, stored.error), (TriggerState::Active, None));
        assert_eq!(due(&bench, node).await.len(), 1);
    }

    /// A trigger that cannot be understood can be deleted.
    [Spoil]
    async fn a_trigger_can_be_deleted(bench) {
        let [old, _] = two_triggers(&bench).await;
        let job = bench.store.inspect().job_by_id(old.job_id).await.expect("a read").expect("it is there");
        bench.spoil(Spoil::Trigger(old.id)).await;
        bench.write([delete_trigger(&old, &job)]).await;
        let found = bench.store.inspect().trigger(&old.key).await.expect("a read");
        assert_eq!(found.trigger, None);
    }

    /// A job that cannot be understood makes its triggers poison, and no others.
    [Spoil]
    async fn a_job_spoils_its_triggers_alone(bench) {
        let node = bench.node("a").await;
        let [old, _] = two_triggers(&bench).await;
        bench.spoil(Spoil::Job(old.job_id)).await;
        assert_first_is_poison(&bench, node, &old).await;
    }

    /// Work of a job that cannot be understood is claimed as poison, and other work of the batch is not affected.
    [Spoil]
    async fn a_job_spoils_its_work_alone(bench) {
        let node = bench.node("a").await;
        let (bad, good) = (bench.job("bad").await, bench.job("good").await);
        let (spoiled, well) = (bench.enqueue(&bad).await, bench.enqueue(&good).await);
        bench.spoil(Spoil::Job(bad.id)).await;
        let (poisons, rows) = take(&bench, node).await;
        assert_eq!((poisons.len(), rows), (1, vec![well]));
        assert_eq!((poisons[0].0.id, poisons[0].0.owner), (spoiled, node.id));
        hold(&bench, &poisons[0]).await;
        let stored = bench.row(spoiled).await;
        assert_eq!((stored.state, stored.owner), (ExecutionState::Held, None));
        assert_eq!(stored.error.as_deref(), Some(&*poisons[0].1));
    }

    /// A row that cannot be understood is claimed as poison, with the claim by which it can be held.
    [Spoil]
    async fn a_row_is_claimed_as_poison(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let (spoiled, well) = (bench.enqueue(&job).await, bench.enqueue(&job).await);
        bench.spoil(Spoil::Execution(spoiled)).await;
        let (poisons, rows) = take(&bench, node).await;
        assert_eq!((poisons.len(), rows), (1, vec![well]));
        assert_eq!(poisons[0].0.id, spoiled);
        hold(&bench, &poisons[0]).await;
        assert_eq!(take(&bench, node).await, (Vec::new(), Vec::new()), "it is held");
    }

    /// Holding a row that cannot be understood frees its slot for the next.
    [Spoil]
    async fn a_held_row_frees_its_slot(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        let spoiled = bench.enqueue(&job).await;
        bench.spoil(Spoil::Execution(spoiled)).await;
        let (poisons, _) = take(&bench, node).await;
        assert_eq!(poisons.len(), 1);
        let next = bench.enqueue(&job).await;
        assert_eq!(take(&bench, node).await, (Vec::new(), Vec::new()), "the slot is taken");
        hold(&bench, &poisons[0]).await;
        assert_eq!(take(&bench, node).await, (Vec::new(), vec![next]));
    }

    /// A row that cannot be understood is listed at its owner's check-in.
    [Spoil]
    async fn an_owner_knows_of_its_poison(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.spoil(Spoil::Execution(row.id)).await;
        let owned = bench.check_in(node).await.owned;
        assert_eq!(owned.iter().map(|owned| (owned.id, owned.fence)).collect::<Vec<_>>(), [(row.id, row.fence)]);
    }

    /// An orphan that cannot be understood comes as poison, can be held, and the other orphans come as they are.
    [Spoil]
    async fn an_orphan_comes_as_poison(bench) {
        let dead = bench.node("dead").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        bench.enqueue(&job).await;
        let rows = bench.take(dead, 2).await;
        bench.bury(dead).await;
        bench.spoil(Spoil::Execution(rows[0].execution.id)).await;
        let orphans = bench.store.orphans(dead.id, 10).await.expect("a read");
        let bad: Vec<&Poison> = orphans.iter().filter(|row| matches!(row, Readable::Poison(_))).map(poison).collect();
        assert_eq!((orphans.len(), bad.len()), (2, 1));
        let PoisonRow::Execution(claim) = bad[0].row else { panic!("{bad:?}") };
        let expected = ClaimRef { id: rows[0].execution.id, owner: dead.id, fence: rows[0].execution.fence };
        assert_eq!(claim, expected);
        hold(&bench, &(claim, bad[0].reason.clone())).await;
        assert_eq!(bench.store.orphans(dead.id, 10).await.expect("a read").len(), 1);
    }

    /// A row that cannot be understood can be cancelled.
    [Spoil]
    async fn a_row_can_be_cancelled(bench) {
        let job = bench.job("j").await;
        let id = bench.enqueue(&job).await;
        bench.spoil(Spoil::Execution(id)).await;
        assert_eq!(bench.cancel(id).await.ended, 1);
        let left = bench.store.inspect().executions(ExecutionFilter::default()).await.expect("a read");
        assert!(left.is_empty());
    }

    /// Listings show a row that cannot be understood by its identity, and leave out a job that cannot be.
    [Spoil]
    async fn listings_go_on(bench) {
        let (bad, good) = (bench.job("bad").await, bench.job("good").await);
        let (spoiled, well) = (bench.enqueue(&good).await, bench.enqueue(&good).await);
        bench.spoil(Spoil::Job(bad.id)).await;
        bench.spoil(Spoil::Execution(spoiled)).await;
        assert_eq!(bench.store.inspect().jobs(Page::first(10)).await.expect("a read"), [good]);
        let rows = bench.store.inspect().executions(ExecutionFilter::default()).await.expect("a read");
        let shown: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Readable::Row(row) => (row.id, true),
                Readable::Poison(Poison { row: PoisonRow::Execution(claim), .. }) => (claim.id, false),
                Readable::Poison(other) => panic!("{other:?}"),
            })
            .collect();
        let mut expected = vec![(spoiled, false), (well, true)];
        expected.sort_unstable();
        assert_eq!(shown, expected);
    }

    /// A look-up of a row that cannot be understood says that it is corrupt.
    [Spoil]
    async fn a_look_up_says_so(bench) {
        let [old, _] = two_triggers(&bench).await;
        bench.spoil(Spoil::Trigger(old.id)).await;
        let error = bench.store.inspect().trigger(&old.key).await.expect_err("it cannot be read");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }

    /// A calendar that cannot be understood makes the triggers that name it poison, and no others.
    [Spoil]
    async fn a_calendar_spoils_its_triggers_alone(bench) {
        let node = bench.node("a").await;
        let [one, _] = two_with_calendars(&bench).await;
        bench.spoil(Spoil::Calendar("one".into())).await;
        assert_first_is_poison(&bench, node, &one).await;
    }

    /// A calendar that is missing makes the triggers that name it poison, and no others.
    [Spoil]
    async fn a_missing_calendar_spoils_its_triggers_alone(bench) {
        let node = bench.node("a").await;
        let [one, _] = two_with_calendars(&bench).await;
        bench.spoil(Spoil::MissingCalendar("one".into())).await;
        assert_first_is_poison(&bench, node, &one).await;
    }
}
