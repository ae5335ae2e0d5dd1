//! Pauses of triggers and of groups: what they hold back, what they leave alone, and what comes in between.

use std::sync::Arc;

use punctual_core::key::TriggerKey;
use punctual_core::pause::{Pause, PausedGroup};
use punctual_core::protocol::define;
use punctual_core::store::{Applied, Change, ClaimOutcome, Expect};
use punctual_core::trigger::{TriggerRecord, TriggerState};

use crate::bench::{
    Bench, MINUTE, TheSlot, create_trigger, delete_trigger, replace_trigger, secs, trigger_key,
};
use crate::case::cases;
use crate::meeting::{Pair, claim, clear, fired, job, plan, points};

/// The group of all triggers of these cases that are in no other.
const GROUP: &str = "default";

fn pause(bench: &Bench) -> Pause {
    Pause { since: bench.t0, by: "Ada".into(), reason: Some("the disk is full".into()) }
}

fn pause_group(bench: &Bench, group: &str) -> Change {
    Change::PauseGroup(PausedGroup { group: group.into(), pause: pause(bench) })
}

fn resume_group(group: &str) -> Change {
    Change::ResumeGroup { group: group.into() }
}

fn pause_trigger(bench: &Bench, trigger: &TriggerRecord) -> Change {
    define::pause_trigger(trigger, pause(bench)).expect("it is not paused yet")
}

/// A trigger that is due, under a pause of its own.
async fn paused(bench: &Bench, name: &str) -> TriggerRecord {
    let job = bench.job(name).await;
    let trigger = bench.trigger(name, &job).await;
    bench.write([pause_trigger(bench, &trigger)]).await;
    bench.reread(&trigger).await
}

async fn states(bench: &Bench, triggers: &[&TriggerRecord]) -> Vec<TriggerState> {
    let mut states = Vec::new();
    for trigger in triggers {
        states.push(bench.reread(trigger).await.state);
    }
    states
}

use TriggerState::{Active, Complete, Error, Paused};

cases! {
    A "pauses";

    /// A trigger that is given with a pause is paused, keeps who paused it, when and why, and is not read.
    async fn a_paused_trigger_is_not_read(bench) {
        let node = bench.node("a").await;
        let trigger = paused(&bench, "t").await;
        assert_eq!((trigger.state, trigger.rev), (Paused, 2));
        assert_eq!(trigger.paused, Some(pause(&bench)));
        let due = bench.due(node).await;
        assert_eq!((due.triggers.len(), due.next_wake), (0, None), "nobody wakes for it either");
    }

    /// A trigger that is paused between the read and the claim does not fire: the claim is lost, and the pause stays.
    async fn a_pause_between_read_and_claim(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let plan = bench.plan(node).await;
        bench.write([pause_trigger(&bench, &trigger)]).await;
        assert_eq!(bench.claim_one(node, plan).await, ClaimOutcome::Lost);
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.state, stored.next_fire, stored.fires), (Paused, trigger.next_fire, 0));
        assert_eq!(bench.rows().await, []);
    }

    /// A group that is paused between the read and the claim does not fire: the claims of its triggers are lost, those of
    /// others are not, and the pause stays.
    async fn a_group_pause_between_read_and_claim(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let (t, u) = (bench.trigger("t", &job).await, bench.trigger("u", &job).await);
        let other = TriggerKey::new("other", "t").expect("a key");
        let free = bench.trigger_with("v", &job, |trigger| trigger.key = other).await;
        let due = bench.due(node).await;
        let plans = bench.plans(&due);
        let expected: Vec<bool> = plans.iter().map(|plan| plan.trigger == free.id).collect();
        assert_eq!(plans.len(), 3);
        bench.write([pause_group(&bench, GROUP)]).await;
        let claimed = bench.claim(node, plans).await;
        assert!(claimed.gate_open, "the node itself may go on");
        assert_eq!(claimed.outcomes.iter().map(fired).collect::<Vec<_>>(), expected);
        assert_eq!(states(&bench, &[&t, &u, &free]).await, [Paused, Paused, Active]);
        assert_eq!(bench.rows().await.len(), 1);
    }

    /// A trigger that is resumed goes on with the instant that it had, however long ago that was.
    async fn a_resumed_trigger_goes_on_with_its_instant(bench) {
        let node = bench.node("a").await;
        let trigger = paused(&bench, "t").await;
        bench.write([define::resume_trigger(&trigger, false).expect("it is paused")]).await;
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.state, stored.paused, stored.rev), (Active, None, 3));
        assert_eq!((stored.next_fire, stored.wake), (Some(bench.t0), Some(bench.t0)));
        assert_eq!(bench.fire_one(node).await.scheduled, bench.t0);
    }

    /// The triggers of a group that is resumed go on with the instants that they had, under new revisions.
    async fn a_resumed_group_goes_on(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([pause_group(&bench, GROUP)]).await;
        assert!(bench.due(node).await.triggers.is_empty());
        bench.write([resume_group(GROUP)]).await;
        let stored = bench.reread(&trigger).await;
        assert_eq!((stored.state, stored.rev), (Active, 3));
        assert_eq!((stored.next_fire, stored.wake), (trigger.next_fire, trigger.next_fire));
        assert_eq!(bench.fire_one(node).await.scheduled, bench.t0);
    }

    /// A paused trigger is not parked: one that was wakes at its instant when it is resumed, by itself or with its group.
    async fn a_paused_trigger_is_not_parked(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let (t, u) = (bench.trigger("t", &job).await, bench.trigger("u", &job).await);
        assert!(bench.fire(node).await.is_empty());
        let parked = bench.reread(&t).await;
        assert!(parked.wake > parked.next_fire, "it is parked");
        bench.write([pause_trigger(&bench, &parked), pause_group(&bench, GROUP)]).await;
        for trigger in [&t, &u] {
            let paused = bench.reread(trigger).await;
            assert_eq!((paused.state, paused.wake), (Paused, paused.next_fire));
        }
        bench.write([resume_group(GROUP)]).await;
        let own = bench.reread(&t).await;
        bench.write([define::resume_trigger(&own, false).expect("it is paused")]).await;
        for trigger in [t, u] {
            assert_eq!(bench.reread(&trigger).await.wake, trigger.next_fire);
        }
        bench.finish(&row).await;
    }

    /// A slot that is freed wakes no paused trigger.
    async fn a_freed_slot_wakes_no_paused_trigger(bench) {
        let node = bench.node("a").await;
        let job = bench.limited("j", "key", 1).await;
        bench.enqueue(&job).await;
        let row = bench.take_one(node).await;
        let trigger = bench.trigger("t", &job).await;
        assert!(bench.fire(node).await.is_empty());
        bench.write([pause_group(&bench, GROUP)]).await;
        bench.finish(&row).await;
        assert_eq!(bench.store.wake_waiting(100).await.expect("a write"), 0);
        assert_eq!(bench.reread(&trigger).await.state, Paused);
        assert!(bench.due(node).await.triggers.is_empty());
    }

    /// A pause of its own outlasts that of the group, and the other way round.
    async fn each_pause_is_lifted_for_itself(bench) {
        let node = bench.node("a").await;
        let (t, u) = (paused(&bench, "t").await, paused(&bench, "u").await);
        bench.write([pause_group(&bench, GROUP)]).await;
        bench.write([define::resume_trigger(&t, true).expect("it is paused")]).await;
        assert_eq!(states(&bench, &[&t, &u]).await, [Paused, Paused], "the group's pause is left");
        bench.write([resume_group(GROUP)]).await;
        assert_eq!(states(&bench, &[&t, &u]).await, [Active, Paused], "the own pause is left");
        assert_eq!(bench.fire_one(node).await.occurrence.map(|of| of.trigger_id), Some(t.id));
    }

    /// A trigger that is put into a paused group is paused, and one that is put into another group is not.
    async fn a_new_trigger_of_a_paused_group_is_paused(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.write([pause_group(&bench, GROUP)]).await;
        let trigger = bench.trigger("t", &job).await;
        assert_eq!((trigger.state, trigger.paused.clone()), (Paused, None));
        assert!(bench.due(node).await.triggers.is_empty());
        let elsewhere = TriggerKey::new("other", "t").expect("a key");
        let other = bench.trigger_with("t", &job, |trigger| trigger.key = elsewhere).await;
        assert_eq!(states(&bench, &[&trigger, &other]).await, [Paused, Active]);
        bench.write([resume_group(GROUP)]).await;
        assert_eq!(states(&bench, &[&trigger]).await, [Active]);
    }

    /// An edit leaves a paused trigger paused, whatever state it was given with.
    async fn an_edit_leaves_it_paused(bench) {
        let job = bench.job("j").await;
        let other = TriggerKey::new("other", "u").expect("a key");
        let own = paused(&bench, "t").await;
        let of_group = bench.trigger_with("u", &job, |trigger| trigger.key = other).await;
        bench.write([pause_group(&bench, "other")]).await;
        for trigger in [own, bench.reread(&of_group).await] {
            let next = Some(bench.t0.plus(MINUTE));
            let edit = TriggerRecord { state: Active, next_fire: next, wake: next, ..trigger.clone() };
            bench.write([replace_trigger(edit)]).await;
            let stored = bench.reread(&trigger).await;
            assert_eq!((stored.state, stored.next_fire, stored.paused), (Paused, next, trigger.paused));
        }
    }

    /// Whatever has no next instant keeps its state when it is paused and resumed; if it gets one while it is paused, it
    /// is paused.
    async fn what_cannot_fire_is_not_paused(bench) {
        let job = bench.job("j").await;
        let end = |trigger: &mut TriggerRecord| {
            (trigger.state, trigger.next_fire, trigger.wake) = (Complete, None, None);
        };
        let ended = bench.trigger_with("ended", &job, end).await;
        let broken = bench.trigger_with("broken", &job, |trigger| trigger.state = Error).await;
        bench.write([pause_group(&bench, GROUP)]).await;
        assert_eq!(states(&bench, &[&ended, &broken]).await, [Complete, Error]);
        assert_eq!(bench.reread(&ended).await.rev, 1, "it was not touched");
        let next = Some(bench.t0);
        let anew = TriggerRecord { state: Active, next_fire: next, wake: next, ..ended.clone() };
        bench.write([replace_trigger(anew)]).await;
        assert_eq!(states(&bench, &[&ended, &broken]).await, [Paused, Error]);
        bench.write([resume_group(GROUP)]).await;
        assert_eq!(states(&bench, &[&ended, &broken]).await, [Active, Error]);
    }

    /// The pauses of groups are listed by name with who paused them, when and why; a later one takes the place of an
    /// earlier one, and one that is lifted is gone.
    async fn the_pauses_of_groups_are_listed(bench) {
        let listed = || async { bench.store.inspect().paused_groups().await.expect("a read") };
        assert_eq!(listed().await, []);
        bench.write([pause_group(&bench, "b"), pause_group(&bench, "a")]).await;
        let later = Pause { since: bench.t0.plus(secs(9)), by: "Grace".into(), reason: None };
        let again = PausedGroup { group: "b".into(), pause: later.clone() };
        bench.write([Change::PauseGroup(again)]).await;
        let of = |group: &str, pause| PausedGroup { group: group.into(), pause };
        assert_eq!(listed().await, [of("a", pause(&bench)), of("b", later.clone())]);
        bench.write([resume_group("a")]).await;
        assert_eq!(listed().await, [of("b", later)]);
    }

    /// Groups are told apart byte for byte, and a pause is of one group, not of those that begin like it.
    async fn groups_are_told_apart(bench) {
        let job = bench.job("j").await;
        let mut triggers = Vec::new();
        for group in ["night", "Night", "nights", "nigh"] {
            let key = TriggerKey::new(group, "t").expect("a key");
            triggers.push(bench.trigger_with("t", &job, |trigger| trigger.key = key).await);
        }
        bench.write([pause_group(&bench, "night")]).await;
        let triggers: Vec<&TriggerRecord> = triggers.iter().collect();
        assert_eq!(states(&bench, &triggers).await, [Paused, Active, Active, Active]);
    }

    /// Lifting what is not there changes nothing.
    async fn resuming_what_is_not_paused_changes_nothing(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        bench.write([resume_group(GROUP), resume_group("nobody's")]).await;
        assert_eq!(bench.reread(&trigger).await, trigger);
    }

    /// A pause goes with its trigger: one that is made anew under the key is not paused.
    async fn a_pause_goes_with_its_trigger(bench) {
        let trigger = paused(&bench, "t").await;
        let job = bench.job("j").await;
        bench.write([delete_trigger(&trigger, &job)]).await;
        let again = bench.trigger("t", &job).await;
        assert_eq!((again.state, again.paused), (Active, None));
    }

    /// Work that was claimed, put back or enqueued before its trigger was paused goes on.
    async fn work_of_a_paused_trigger_goes_on(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let row = bench.fire_one(node).await;
        bench.write([pause_group(&bench, GROUP)]).await;
        bench.give_back(&row, secs(0), TheSlot::Freed).await;
        let again = bench.take_one(node).await;
        assert_eq!(again.id, row.id);
        bench.finish(&again).await;
        assert_eq!(states(&bench, &[&trigger]).await, [Paused]);
    }

    /// A pause in a batch that loses is not written, and its triggers stay as they were.
    async fn a_pause_of_a_lost_batch_is_undone(bench) {
        let job = bench.job("j").await;
        let trigger = bench.trigger("t", &job).await;
        let expect = Expect::Rev(9);
        let lost = Change::PutTrigger { expect, trigger: trigger.clone() };
        assert_eq!(bench.apply([pause_group(&bench, GROUP), lost]).await, Applied::Lost { at: 1 });
        assert_eq!(bench.reread(&trigger).await, trigger);
        assert_eq!(bench.store.inspect().paused_groups().await.expect("a read"), []);
    }

    /// A group pause that comes between any two statements of a claim survives, and the claim is lost; or the claim was
    /// first, and its firing is the last.
    [Statements]
    async fn a_group_pause_within_a_claim(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let trigger = bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let (other, change) = (Arc::clone(&pair.other), pause_group(&bench, GROUP));
            let pause = async move { other.apply(vec![change]).await.expect("a write") };
            let (claimed, done, held) = pair.meet(&bench, point, claim(&pair.held, node, plan), pause).await;
            assert_eq!(done, Applied::All);
            let stored = bench.reread(&trigger).await;
            assert_eq!((stored.state, stored.fires == 1), (Paused, fired(&claimed)), "{point:?}");
            assert_eq!(clear(&bench, &job).await == 1, fired(&claimed), "{point:?}");
            assert!(bench.due_of(node, &[job.kind.as_str()], 10).await.triggers.is_empty(), "{point:?}");
            bench.write([resume_group(GROUP)]).await;
            if !held {
                return;
            }
        }
    }

    /// A claim that comes between any two statements of a group pause fires before it, or is lost.
    [Statements]
    async fn a_claim_within_a_group_pause(bench) {
        let (pair, node) = (Pair::open(&bench).await, bench.node("a").await);
        for (round, point) in points() {
            let job = job(&bench, round, Some(1)).await;
            let trigger = bench.trigger(&format!("t{round}"), &job).await;
            let plan = plan(&bench, node, &job).await;
            let (first, change) = (Arc::clone(&pair.held), pause_group(&bench, GROUP));
            let pause = async move { first.apply(vec![change]).await.expect("a write") };
            let (done, claimed, held) = pair.meet(&bench, point, pause, claim(&pair.other, node, plan)).await;
            assert_eq!(done, Applied::All);
            let stored = bench.reread(&trigger).await;
            assert_eq!((stored.state, stored.fires == 1), (Paused, fired(&claimed)), "{point:?}");
            assert_eq!(clear(&bench, &job).await == 1, fired(&claimed), "{point:?}");
            bench.write([resume_group(GROUP)]).await;
            if !held {
                return;
            }
        }
    }

    /// A trigger that is put into the group between any two statements of its pause is paused.
    [Statements]
    async fn a_new_trigger_within_a_group_pause(bench) {
        let pair = Pair::open(&bench).await;
        let job = bench.job("j").await;
        for (round, point) in points() {
            let new = create_trigger(bench.new_trigger(&format!("t{round}"), &job));
            let (first, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let change = pause_group(&bench, GROUP);
            let pause = async move { first.apply(vec![change]).await.expect("a write") };
            let put = async move { other.apply(vec![new]).await.expect("a write") };
            let (_, put, held) = pair.meet(&bench, point, pause, put).await;
            assert_eq!(put, Applied::All);
            let found = bench.store.inspect().trigger(&trigger_key(&format!("t{round}"))).await.expect("a read");
            assert_eq!(found.trigger.expect("it was put").state, Paused, "{point:?}");
            bench.write([resume_group(GROUP)]).await;
            if !held {
                return;
            }
        }
    }

    /// A group that is paused between any two statements of an edit that makes a trigger fire again holds it back.
    [Statements]
    async fn a_group_pause_within_an_edit(bench) {
        let pair = Pair::open(&bench).await;
        let job = bench.job("j").await;
        let end = |trigger: &mut TriggerRecord| {
            (trigger.state, trigger.next_fire, trigger.wake) = (Complete, None, None);
        };
        for (round, point) in points() {
            let ended = bench.trigger_with(&format!("t{round}"), &job, end).await;
            let next = Some(bench.t0);
            let again = replace_trigger(TriggerRecord { state: Active, next_fire: next, wake: next, ..ended.clone() });
            let (first, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let change = pause_group(&bench, GROUP);
            let edit = async move { first.apply(vec![again]).await.expect("a write") };
            let pause = async move { other.apply(vec![change]).await.expect("a write") };
            let (edited, _, held) = pair.meet(&bench, point, edit, pause).await;
            assert_eq!(edited, Applied::All);
            assert_eq!(bench.reread(&ended).await.state, Paused, "{point:?}");
            bench.write([resume_group(GROUP)]).await;
            if !held {
                return;
            }
        }
    }

    /// A trigger that is put into the group between any two statements of its resumption goes on.
    [Statements]
    async fn a_new_trigger_within_a_resumption(bench) {
        let pair = Pair::open(&bench).await;
        let job = bench.job("j").await;
        for (round, point) in points() {
            bench.write([pause_group(&bench, GROUP)]).await;
            let new = create_trigger(bench.new_trigger(&format!("t{round}"), &job));
            let (first, other) = (Arc::clone(&pair.held), Arc::clone(&pair.other));
            let resume = async move { first.apply(vec![resume_group(GROUP)]).await.expect("a write") };
            let put = async move { other.apply(vec![new]).await.expect("a write") };
            let (_, put, held) = pair.meet(&bench, point, resume, put).await;
            assert_eq!(put, Applied::All);
            let found = bench.store.inspect().trigger(&trigger_key(&format!("t{round}"))).await.expect("a read");
            assert_eq!(found.trigger.expect("it was put").state, Active, "{point:?}");
            if !held {
                return;
            }
        }
    }
}
