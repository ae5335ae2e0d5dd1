//! What should not be there: it is found by its rule, mended if it is still so, and recorded; and nothing else is found.

use std::sync::Arc;

use punctual_core::calendar::Calendar;
use punctual_core::check::{Check, Finding, Mended, Place, Rule, look, unreadable};
use punctual_core::execution::Execution;
use punctual_core::pause::{Pause, PausedGroup};
use punctual_core::protocol::fire;
use punctual_core::schedule::Weekdays;
use punctual_core::store::{CalendarRecord, Change, Expect, PARK, Readable};
use punctual_core::{ExecutionId, NodeId, Zone};

use crate::bench::{Bench, Node, TheSlot, kind, replace_job, secs};
use crate::case::cases;
use crate::contradiction::Contradiction;
use crate::harness::Spoil;

const LIMIT: u32 = 100;

fn check(bench: &Bench) -> &dyn Check {
    bench.store.checks().expect("the case needs a check")
}

async fn found(bench: &Bench) -> Vec<Finding> {
    look(check(bench), LIMIT).await.expect("a read")
}

/// The one finding of a rule, where nothing else is wrong.
async fn the_one(bench: &Bench, rule: Rule) -> Finding {
    let mut found = found(bench).await;
    assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [rule], "{found:?}");
    found.remove(0)
}

async fn mend(bench: &Bench, finding: &Finding) -> Mended {
    check(bench).repair(finding, "the kit").await.expect("a write")
}

/// Finds one thing by its rule and mends it; then nothing is wrong, the repair is listed, and a second one does nothing.
async fn assert_mended(bench: &Bench, rule: Rule) {
    let finding = the_one(bench, rule).await;
    assert_eq!(mend(bench, &finding).await, Mended::Done);
    assert_eq!(found(bench).await, []);
    assert_eq!(mend(bench, &finding).await, Mended::Changed, "it is not so any more");
    let repairs = check(bench).repairs(None, LIMIT).await.expect("a read");
    assert_eq!(repairs.len(), 1, "{repairs:?}");
    let record = &repairs[0];
    assert_eq!((&*record.rule, &*record.by, record.at), (rule.as_str(), "the kit", bench.now().await));
    assert_eq!((&*record.place, &record.detail), (&*finding.place.to_string(), &finding.detail));
}

/// Finds one thing by its rule, which no repair touches.
async fn assert_left_alone(bench: &Bench, rule: Rule) -> Finding {
    let finding = the_one(bench, rule).await;
    assert_eq!(mend(bench, &finding).await, Mended::Changed);
    assert_eq!(the_one(bench, rule).await, finding);
    assert_eq!(check(bench).repairs(None, LIMIT).await.expect("a read"), []);
    finding
}

/// A node, the row that holds the only slot of a key, and one that waits for it.
async fn one_of_two(bench: &Bench) -> (Node, Execution, ExecutionId) {
    let node = bench.node("a").await;
    let job = bench.limited("j", "key", 1).await;
    bench.enqueue(&job).await;
    let row = bench.take_one(node).await;
    let waiting = bench.enqueue(&job).await;
    assert_eq!(bench.row(waiting).await.wake, bench.t0.plus(PARK));
    (node, row, waiting)
}

fn nobody() -> ExecutionId {
    ExecutionId::from_bytes([7; 16])
}

cases! {
    A "check";

    /// A store that fired, parked, lost a node, recovered its work and ended it has nothing that should not be there.
    [Check]
    async fn a_sound_store_has_no_findings(bench) {
        let (lost, node) = (bench.node("lost").await, bench.node("a").await);
        let job = bench.limited("j", "key", 2).await;
        bench.trigger("t", &job).await;
        bench.trigger("u", &bench.job("free").await).await;
        let fired = bench.fire(lost).await;
        assert_eq!(fired.len(), 2);
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        bench.enqueue(&job).await;
        assert!(bench.take(node, 10).await.is_empty(), "it is parked");
        assert_eq!(found(&bench).await, []);
        bench.bury(lost).await;
        let orphans = bench.store.orphans(lost.id, 10).await.expect("a read");
        assert_eq!(orphans.len(), 2);
        let passing: Vec<_> = found(&bench).await.into_iter().map(|finding| finding.rule).collect();
        assert_eq!(passing, [Rule::OwnerGone, Rule::OwnerGone], "until somebody recovers them");
        for orphan in orphans {
            let Readable::Row(orphan) = orphan else { panic!("{orphan:?}") };
            bench.give_back(&orphan.execution, secs(0), TheSlot::Kept).await;
        }
        assert_eq!(found(&bench).await, []);
        bench.finish(&row).await;
        for row in bench.take(node, 10).await {
            bench.finish(&row.execution).await;
        }
        let renamed = bench.store.inspect().job_by_id(job.id).await.expect("a read").expect("it is there");
        let more = punctual_core::job::JobRecord { priority: 9, ..renamed };
        bench.write([replace_job(more)]).await;
        bench.store.leave(node.id).await.expect("a write");
        assert_eq!(found(&bench).await, []);
        assert_eq!(unreadable(bench.store.inspect(), LIMIT).await.expect("a read"), []);
    }

    /// A slot that is held by an execution that is not live is freed, and wakes who waits for it.
    [Check, Contradict]
    async fn a_slot_of_nobody_is_freed(bench) {
        let (node, row, waiting) = one_of_two(&bench).await;
        bench.finish(&row).await;
        let again = bench.take_one(node).await;
        assert_eq!(again.id, waiting);
        let job = bench.store.inspect().job_by_id(again.job.as_ref().expect("a job").id).await;
        let parked = bench.enqueue(&job.expect("a read").expect("it is there")).await;
        bench.contradict(Contradiction::Holder("key".into(), nobody())).await;
        let rules: Vec<_> = found(&bench).await.into_iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, [Rule::SlotOfNobody, Rule::OwnedWithoutSlot]);
        bench.finish(&again).await;
        assert_eq!(bench.row(parked).await.wake, bench.t0.plus(PARK), "an end wakes for its own slot");
        assert_mended(&bench, Rule::SlotOfNobody).await;
        assert_eq!(bench.take_one(node).await.id, parked);
    }

    /// A slot that is held by an execution of another key is freed.
    [Check, Contradict]
    async fn a_slot_of_another_key_is_freed(bench) {
        let node = bench.node("a").await;
        let (one, other) = (bench.limited("one", "key", 1).await, bench.job("other").await);
        bench.enqueue(&other).await;
        let stranger = bench.take_one(node).await;
        bench.enqueue(&one).await;
        let row = bench.take_one(node).await;
        bench.contradict(Contradiction::Holder("key".into(), stranger.id)).await;
        bench.finish(&row).await;
        assert_mended(&bench, Rule::SlotOfNobody).await;
    }

    /// An owned row that holds a slot of another key holds none of its own.
    [Check, Contradict]
    async fn a_slot_of_another_key_is_none_of_its_own(bench) {
        let node = bench.node("a").await;
        for (name, key) in [("one", "key"), ("other", "other key")] {
            bench.enqueue(&bench.limited(name, key, 1).await).await;
        }
        let rows: Vec<_> = bench.take(node, 10).await.into_iter().map(|work| work.execution).collect();
        let of_other = |row: &&Execution| row.slot.as_ref().is_some_and(|slot| &*slot.key == "other key");
        let stranger = rows.iter().find(of_other).expect("its row");
        bench.contradict(Contradiction::NoSlot(stranger.id)).await;
        bench.contradict(Contradiction::Holder("key".into(), stranger.id)).await;
        let rules: Vec<_> = found(&bench).await.into_iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, [Rule::SlotOfNobody, Rule::OwnedWithoutSlot, Rule::OwnedWithoutSlot]);
    }

    /// A slot that was taken since the look is not freed by its repair.
    [Check, Contradict]
    async fn a_slot_that_was_taken_since_is_left_alone(bench) {
        let (node, row, waiting) = one_of_two(&bench).await;
        bench.contradict(Contradiction::Holder("key".into(), nobody())).await;
        bench.finish(&row).await;
        let finding = the_one(&bench, Rule::SlotOfNobody).await;
        assert_eq!(mend(&bench, &finding).await, Mended::Done);
        assert_eq!(bench.take_one(node).await.id, waiting);
        bench.contradict(Contradiction::Holder("key".into(), nobody())).await;
        assert_eq!(mend(&bench, &finding).await, Mended::Changed, "another claim lost it");
    }

    /// An owned row of a key that holds no slot of it is found, and left to itself.
    [Check, Contradict]
    async fn an_owned_row_without_a_slot_is_found(bench) {
        let (_, row, waiting) = one_of_two(&bench).await;
        bench.cancel(waiting).await;
        bench.contradict(Contradiction::NoSlot(row.id)).await;
        let finding = assert_left_alone(&bench, Rule::OwnedWithoutSlot).await;
        assert!(finding.detail.contains("key"), "{finding:?}");
        bench.finish(&row).await;
        assert_eq!(found(&bench).await, []);
    }

    /// A live row that has ended goes, frees its slot and wakes who waits for it.
    [Check, Contradict]
    async fn a_live_row_that_has_ended_goes(bench) {
        let (node, row, waiting) = one_of_two(&bench).await;
        bench.contradict(Contradiction::Ended(row.id)).await;
        assert_mended(&bench, Rule::LiveAndEnded).await;
        assert_eq!(bench.live(row.id).await, None);
        assert!(bench.record(row.id).await.is_some(), "its end stands");
        assert_eq!(bench.take_one(node).await.id, waiting);
    }

    /// Rows of a node that nobody remembers are found, its beat too; the beat goes, and the rows are left to recovery.
    [Check, Contradict]
    async fn a_forgotten_node_is_found(bench) {
        let node = bench.node("a").await;
        bench.enqueue(&bench.job("j").await).await;
        let row = bench.take_one(node).await;
        bench.contradict(Contradiction::NoNode(node.id)).await;
        let all = found(&bench).await;
        assert_eq!(all.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::OwnerGone, Rule::BeatWithoutNode]);
        assert!(all[0].detail.contains("not remembered"), "{all:?}");
        assert_eq!(mend(&bench, &all[0]).await, Mended::Changed);
        assert_eq!(mend(&bench, &all[1]).await, Mended::Done);
        assert_left_owned(&bench, &row).await;
    }

    /// A node that is up and has no beat is found, and left to the other nodes.
    [Check, Contradict]
    async fn a_node_without_a_beat_is_found(bench) {
        let (node, other) = (bench.node("a").await, bench.node("b").await);
        bench.contradict(Contradiction::NoBeat(node.id)).await;
        assert_left_alone(&bench, Rule::NodeWithoutBeat).await;
        assert!(bench.store.take_over(node.id, 0).await.expect("a write"), "a missing beat counts as 0");
        assert_eq!(found(&bench).await, []);
        assert_eq!(bench.check_in(other).await.nodes.len(), 1);
    }

    /// Work that is parked although its slot is free is woken.
    [Check, Contradict]
    async fn work_that_waits_for_nothing_is_woken(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        bench.finish(&bench.take_one(node).await).await;
        let id = bench.enqueue(&job).await;
        bench.contradict(Contradiction::Parked(id)).await;
        assert!(bench.take(node, 10).await.is_empty());
        assert_mended(&bench, Rule::WaitsForNothing).await;
        assert_eq!(bench.take_one(node).await.id, id);
    }

    /// A repair wakes those who wait for its key, and nobody else.
    [Check, Contradict]
    async fn a_repair_wakes_for_its_own_key(bench) {
        let node = bench.node("a").await;
        let mut ids = Vec::new();
        for key in ["one", "two"] {
            let id = bench.enqueue(&bench.limited(key, key, 1).await).await;
            bench.contradict(Contradiction::Parked(id)).await;
            ids.push(id);
        }
        let both = found(&bench).await;
        let of_two = |finding: &&Finding| finding.place == Place::Key { key: "two".into() };
        let finding = both.iter().find(of_two).expect("it waits for nothing");
        assert_eq!(mend(&bench, finding).await, Mended::Done);
        let left: Vec<Finding> = both.iter().filter(|one| !of_two(one)).cloned().collect();
        assert_eq!((left.len(), found(&bench).await), (1, left));
        assert_eq!(bench.take_one(node).await.id, ids[1]);
    }

    /// A repair frees no slot whose holder needs it.
    [Check]
    async fn a_repair_frees_no_slot_that_is_needed(bench) {
        let node = bench.node("a").await;
        bench.enqueue(&bench.limited("j", "key", 1).await).await;
        let row = bench.take_one(node).await;
        let needed = Finding::slot("key", 0, (row.id.to_bytes(), row.fence.get()), None);
        assert_eq!(mend(&bench, &needed).await, Mended::Changed);
        bench.enqueue(&bench.limited("k", "key", 1).await).await;
        assert!(bench.take(node, 10).await.is_empty(), "it is still held");
    }

    /// A repair takes the beat that it names, and none that has moved on or whose node is up.
    [Check, Contradict]
    async fn a_repair_takes_no_other_beat(bench) {
        let (forgotten, left, up) = (bench.node("a").await, bench.node("b").await, bench.node("c").await);
        bench.contradict(Contradiction::NoNode(forgotten.id)).await;
        bench.contradict(Contradiction::Left(left.id)).await;
        let both = found(&bench).await;
        assert_eq!(both.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::BeatWithoutNode; 2]);
        let beat = bench.member(up).await.beat;
        for other in [Finding::beat(forgotten.id.get(), beat + 7), Finding::beat(up.id.get(), beat)] {
            assert_eq!(mend(&bench, &other).await, Mended::Changed);
        }
        assert_eq!(found(&bench).await, both);
        for n in 1..=2 {
            assert_eq!(mend(&bench, &both[n - 1]).await, Mended::Done);
            assert_eq!(found(&bench).await, both[n..]);
        }
    }

    /// A repair ends the row that it names, and none that has not ended or that another claim owns.
    [Check, Contradict]
    async fn a_repair_ends_no_other_row(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        for _ in 0..3 {
            bench.enqueue(&job).await;
        }
        let rows: Vec<_> = bench.take(node, 10).await.into_iter().map(|work| work.execution).collect();
        for row in &rows[..2] {
            bench.contradict(Contradiction::Ended(row.id)).await;
        }
        let both = found(&bench).await;
        assert_eq!(both.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [Rule::LiveAndEnded; 2]);
        let [(id, owner, fence), .., alive] =
            [&rows[0], &rows[2]].map(|row| (row.id.to_bytes(), row.owner.map(NodeId::get), row.fence.get()));
        for other in [(id, None, fence), (id, owner, fence + 1), alive] {
            assert_eq!(mend(&bench, &Finding::ended(other, 1)).await, Mended::Changed);
        }
        assert_eq!(found(&bench).await, both);
        for n in 1..=2 {
            assert_eq!(mend(&bench, &both[n - 1]).await, Mended::Done);
            assert_eq!(found(&bench).await, both[n..]);
        }
    }

    /// Copies of a trigger that are not what its job and rules say are written again under the same revision.
    [Check, Contradict]
    async fn the_copies_of_a_trigger_are_written_again(bench) {
        let node = bench.node("a").await;
        let trigger = bench.trigger("t", &bench.job("j").await).await;
        bench.contradict(Contradiction::TriggerCopies(trigger.id)).await;
        assert!(bench.due(node).await.triggers.is_empty(), "it is of a kind that nobody knows");
        assert_mended(&bench, Rule::TriggerCopies).await;
        assert_eq!(bench.reread(&trigger).await.rev, trigger.rev);
        bench.fire_one(node).await;
    }

    /// Copies of a job that are not what its rules say are written again under the same revision.
    [Check, Contradict]
    async fn the_copies_of_a_job_are_written_again(bench) {
        let job = bench.limited("j", "key", 1).await;
        bench.trigger("t", &job).await;
        bench.trigger("u", &job).await;
        bench.contradict(Contradiction::JobCopies(job.id)).await;
        assert_mended(&bench, Rule::JobCopies).await;
    }

    /// A repair writes the copies of the record that it names, from its own job, and of no other.
    [Check, Contradict]
    async fn a_repair_writes_no_other_copies(bench) {
        let jobs = [bench.limited("one", "key", 1).await, bench.limited("other", "other key", 2).await];
        let other = bench.job_with("kind", |job| job.kind = kind("another")).await;
        let mut ranked = Vec::new();
        for (name, priority) in [("low", 1), ("middle", 2), ("high", 3)] {
            ranked.push(bench.job_with(name, |job| job.priority = priority).await);
        }
        ranked.sort_by_key(|job| job.id);
        let triggers = [bench.trigger("t", &ranked[2]).await, bench.trigger("u", &other).await];
        for (name, job) in [("v", &jobs[0]), ("w", &jobs[1])] {
            bench.trigger(name, job).await;
        }
        for trigger in &triggers {
            bench.contradict(Contradiction::TriggerCopies(trigger.id)).await;
        }
        for job in &jobs {
            bench.contradict(Contradiction::JobCopies(job.id)).await;
        }
        let all = found(&bench).await;
        assert_eq!(all.len(), 4, "{all:?}");
        for n in 1..=all.len() {
            assert_eq!(mend(&bench, &all[n - 1]).await, Mended::Done);
            assert_eq!(found(&bench).await, all[n..]);
        }
    }

    /// Copies of a trigger that was written since the look are left alone.
    [Check, Contradict]
    async fn a_trigger_that_was_written_since_is_left_alone(bench) {
        let trigger = bench.trigger("t", &bench.job("j").await).await;
        bench.contradict(Contradiction::TriggerCopies(trigger.id)).await;
        let finding = the_one(&bench, Rule::TriggerCopies).await;
        bench.write([crate::bench::replace_trigger(trigger)]).await;
        assert_eq!(found(&bench).await, [], "a write makes its copies");
        assert_eq!(mend(&bench, &finding).await, Mended::Changed);
    }

    /// An active trigger without a next instant is found, and left to whoever wrote it.
    [Check, Contradict]
    async fn a_trigger_without_a_next_instant_is_found(bench) {
        let trigger = bench.trigger("t", &bench.job("j").await).await;
        bench.contradict(Contradiction::NoNext(trigger.id)).await;
        assert_left_alone(&bench, Rule::ActiveWithoutNext).await;
    }

    /// An active trigger under a pause, of its own or of its group, is found, and so is a paused one under none.
    [Check, Contradict]
    async fn a_state_that_differs_from_the_pauses_is_found(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let pause = Pause { since: bench.t0, by: "Ada".into(), reason: None };
        let group = |group: &str| PausedGroup { group: group.into(), pause: pause.clone() };
        bench.write([Change::PauseGroup(group("other"))]).await;
        assert_eq!(found(&bench).await, [], "another group's pause is none of it");
        bench.write([Change::PauseGroup(group("default"))]).await;
        assert_eq!(found(&bench).await, []);
        bench.contradict(Contradiction::Active(trigger.id)).await;
        assert_left_alone(&bench, Rule::PauseDiffers).await;
        bench.write([Change::PauseGroup(group("default"))]).await;
        assert_eq!(found(&bench).await, [], "pausing it once more is what is to be done");
    }

    /// A trigger that names a calendar that is not there is found, and another one is not.
    [Check, Spoil]
    async fn a_missing_calendar_is_found(bench) {
        let weekly = Arc::new(Calendar::weekly(Weekdays::NONE, Zone::utc()));
        for name in ["there", "gone"] {
            let calendar =
                CalendarRecord { name: name.into(), calendar: weekly.clone(), rev: 0, updated: bench.t0 };
            bench.write([Change::PutCalendar { expect: Expect::Absent { mark: None }, calendar }]).await;
            let job = bench.job(name).await;
            bench.trigger_with(name, &job, |trigger| trigger.spec.calendar = Some(name.into())).await;
        }
        assert_eq!(found(&bench).await, []);
        bench.spoil(Spoil::MissingCalendar("gone".into())).await;
        let finding = assert_left_alone(&bench, Rule::CalendarMissing).await;
        assert!(finding.place.to_string().ends_with("/gone"), "{finding:?}");
    }

    /// Rows that cannot be understood are found with their column, and again as what was set aside.
    [Check, Spoil]
    async fn what_cannot_be_understood_is_found(bench) {
        let node = bench.node("a").await;
        let trigger = bench.trigger("t", &bench.job("j").await).await;
        bench.spoil(Spoil::Trigger(trigger.id)).await;
        let finding = assert_left_alone(&bench, Rule::Unreadable).await;
        assert!(finding.detail.contains("trigger.spec"), "{finding:?}");
        let read = bench.due(node).await;
        let Some(Readable::Poison(poison)) = read.triggers.first() else { panic!("{read:?}") };
        bench.claim(node, fire::set_aside(poison).into_iter().collect::<Vec<_>>()).await;
        bench.write([crate::bench::replace_trigger(punctual_core::trigger::TriggerRecord { rev: trigger.rev + 1, ..trigger })]).await;
        assert_eq!(found(&bench).await, []);
        let row = bench.enqueue(&bench.job("other").await).await;
        bench.spoil(Spoil::Execution(row)).await;
        let unreadable = unreadable(bench.store.inspect(), LIMIT).await.expect("a read");
        assert_eq!(unreadable.len(), 1);
        assert!(unreadable[0].detail.contains("execution.spec"), "{unreadable:?}");
    }

    /// Findings come in bounded numbers, and all triggers are looked at, however many there are.
    [Check, Contradict]
    async fn a_look_is_bounded(bench) {
        let job = bench.job("j").await;
        for name in ["a", "b", "c"] {
            let trigger = bench.trigger(name, &job).await;
            bench.contradict(Contradiction::NoNext(trigger.id)).await;
        }
        assert_eq!(look(check(&bench), 2).await.expect("a read").len(), 2);
        let first = check(&bench).definitions(None, 2).await.expect("a read");
        let second = check(&bench).definitions(first.last, 2).await.expect("a read");
        let third = check(&bench).definitions(second.last, 2).await.expect("a read");
        assert_eq!([first.findings.len(), second.findings.len(), third.findings.len()], [2, 1, 0]);
        assert_eq!(third.last, None);
    }

    /// Repairs are listed newest first, and from page to page.
    [Check, Contradict, Clock]
    async fn repairs_are_listed(bench) {
        for n in 0..3 {
            bench.advance(secs(1));
            let node = bench.node(&format!("n{n}")).await;
            bench.contradict(Contradiction::NoNode(node.id)).await;
            let finding = the_one(&bench, Rule::BeatWithoutNode).await;
            assert_eq!(mend(&bench, &finding).await, Mended::Done);
        }
        let all = check(&bench).repairs(None, LIMIT).await.expect("a read");
        assert!(all.len() == 3 && all.is_sorted_by(|one, next| one.at > next.at), "{all:?}");
        let older = check(&bench).repairs(Some(all[0].at), 1).await.expect("a read");
        assert_eq!(older, all[1..2]);
    }
}

async fn assert_left_owned(bench: &Bench, row: &Execution) {
    let owner: Option<NodeId> = bench.row(row.id).await.owner;
    assert_eq!(owner, row.owner);
}
