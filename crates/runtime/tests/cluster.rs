//! Nodes that die, freeze, lose their store or their answers: nothing is lost, nothing runs twice, nothing at once.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::*;
use punctual_core::event::Event;
use punctual_core::execution::Outcome;
use punctual_core::job::{OnNodeLoss, RetryPolicy, WhenBusy};
use punctual_core::memory::{ManualClock, MemoryStore};
use punctual_core::node::NodeState;
use punctual_core::{Clock, ErrorKind, Inspect, JobStore, Profile};

#[tokio::test]
async fn every_instant_fires_once_with_two_nodes() {
    let world = World::new();
    let (one, _two) = (world.member(1).await, world.member(2).await);
    one.scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(60)).await;

    let mut instants: Vec<_> = world.runs("tick").iter().map(|run| run.scheduled).collect();
    instants.sort();
    let owed: Vec<_> = (1..=60).map(|second| START.plus(secs(second))).collect();
    assert_eq!(instants, owed);
    for run in world.runs("tick") {
        assert!(run.begun >= run.scheduled, "early: {run:?}");
        assert!(run.begun.since(run.scheduled) <= millis(510), "late: {run:?}");
    }
}

#[tokio::test]
async fn a_killed_nodes_work_runs_again_within_the_bound_and_counts_an_attempt() {
    let world = World::new();
    let doomed = world.member(1).await;
    doomed.scheduler.enqueue(long("work", secs(30))).await.unwrap();
    world.pass(secs(2)).await;
    let _heir = world.member(2).await;
    world.pass(secs(2)).await;
    doomed.kill();
    let killed = world.clock.wall();
    world.pass(secs(60)).await;

    let runs = world.runs("work");
    assert_eq!(runs.len(), 2, "{runs:#?}");
    assert!(runs[1].begun.since(killed) <= Profile::FAST.takeover_bound(secs(1)));
    assert_eq!((runs[1].attempt, runs[1].recovering), (2, true));
    assert_eq!(world.count(|event| matches!(event, Event::TookOver { .. })), 1);
    let history = world.history().await;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn triggers_of_a_killed_node_go_on_firing_elsewhere() {
    let world = World::new();
    let (doomed, _heir) = (world.member(1).await, world.member(2).await);
    for n in 0..10 {
        let key = format!("t{n}");
        doomed.scheduler.schedule(task(&key)).every(secs(1)).key(&key).await.unwrap();
    }
    world.pass(secs(10)).await;
    doomed.kill();
    world.pass(secs(30)).await;
    for n in 0..10 {
        let mut instants: Vec<_> = world.runs(&format!("t{n}")).iter().map(|run| run.scheduled).collect();
        instants.sort();
        let owed: Vec<_> = (1..=40).map(|second| START.plus(secs(second))).collect();
        assert_eq!(instants, owed, "t{n}");
    }
}

#[tokio::test]
async fn a_node_cut_off_from_the_store_stops_exclusive_work_before_another_begins_it() {
    let world = World::new();
    let (cut, _other) = (world.member(1).await, world.member(2).await);
    cut.scheduler
        .schedule(long("only", secs(600)))
        .every(secs(1))
        .exclusive(WhenBusy::Queue)
        .key("only")
        .await
        .unwrap();
    world.pass(secs(3)).await;
    let first = world.runs("only")[0].clone();
    let holder = if first.node == cut.scheduler.node_id() { &cut } else { &_other };
    holder.line.set(Mode::Down);
    world.pass(secs(30)).await;

    world.assert_never_at_once("only");
    let runs = world.runs("only");
    assert!(runs.len() >= 2 && runs[1].node != first.node, "{runs:#?}");
    let stopped = runs[0].ended.unwrap().since(first.begun);
    assert!(stopped <= secs(3) + Profile::FAST.hold + Profile::FAST.wind_down, "{stopped:?}");
}

#[tokio::test]
async fn a_node_that_was_taken_for_dead_is_fenced_and_comes_back_as_another() {
    let world = World::new();
    let (cut, _other) = (world.member(1).await, world.member(2).await);
    // Not exclusive: it may go on while its node is cut off, and its late result must be refused.
    cut.scheduler.enqueue(long("work", secs(20))).await.unwrap();
    world.pass(secs(1)).await;
    let holder = if world.runs("work")[0].node == cut.scheduler.node_id() { &cut } else { &_other };
    let old = holder.scheduler.node_id();
    holder.line.set(Mode::Down);
    world.pass(secs(22)).await;
    holder.line.set(Mode::Up);
    world.pass(secs(30)).await;

    assert_eq!(world.count(|event| matches!(event, Event::Fenced { .. })), 1);
    assert_eq!(world.count(|event| matches!(event, Event::Rejoined { .. })), 1);
    assert_ne!(holder.scheduler.node_id(), old);
    let history = world.history().await;
    assert_eq!(history.len(), 1, "one completion, whoever else thought to have one");
    assert_ne!(history[0].node, Some(old));
    holder.scheduler.enqueue(task("later")).await.unwrap();
    world.pass(secs(2)).await;
    assert_eq!(world.runs("later").len(), 1);
}

/// The claim's answer is on its way for so long that the node is taken for dead and lives on under another id. What it
/// claimed is another's by then.
#[tokio::test]
async fn a_claim_that_is_answered_to_the_nodes_next_life_begins_nothing() {
    let world = World::new();
    let late = world.member(1).await;
    late.line.set_for("claim_ready", Mode::Late);
    late.scheduler.enqueue(long("work", secs(60))).await.unwrap();
    world.pass(secs(1)).await;
    let old = late.scheduler.node_id();
    let beat = world.store.nodes().await.unwrap().into_iter().find(|node| node.info.id == old).unwrap().beat;
    assert!(world.store.take_over(old, beat).await.unwrap());
    let _heir = world.member(2).await;
    world.pass(secs(10)).await;
    assert_ne!(late.scheduler.node_id(), old);
    assert_eq!(world.runs("work").len(), 1, "the heir has it");
    late.line.set(Mode::Up);
    world.pass(secs(90)).await;

    assert_eq!(world.runs("work").len(), 1, "{:#?}", world.runs("work"));
    let history = world.history().await;
    assert_eq!((history.len(), history[0].outcome), (1, Outcome::Succeeded));
}

#[tokio::test]
async fn a_late_answer_about_an_attempt_does_not_make_the_node_forget_the_next_one() {
    let world = World::new();
    let node = world.member(1).await;
    node.line.set_for("settle", Mode::Late);
    let twice = Task { fails: 1, ..long("work", secs(20)) };
    node.scheduler.enqueue(twice).retry(RetryPolicy::fixed(3, secs(0))).await.unwrap();
    world.pass(secs(2)).await;
    assert_eq!(world.runs("work").len(), 2, "the failed attempt is settled, and the next one runs");
    node.line.set(Mode::Up);
    world.pass(secs(60)).await;

    world.assert_never_at_once("work");
    assert_eq!(world.runs("work").len(), 2, "{:#?}", world.runs("work"));
    let history = world.history().await;
    assert_eq!((history.len(), history[0].outcome, history[0].attempt), (1, Outcome::Succeeded, 2));
}

#[tokio::test]
async fn a_node_that_joins_again_and_loses_the_answer_goes_on() {
    let world = World::new();
    let node = world.member(1).await;
    world.pass(secs(5)).await;
    let old = node.scheduler.node_id();
    let beat = world.store.nodes().await.unwrap()[0].beat;
    node.line.set_for("join", Mode::Deaf);
    assert!(world.store.take_over(old, beat).await.unwrap());
    world.pass(secs(2)).await;
    node.line.set(Mode::Up);
    world.pass(secs(2)).await;

    assert!(!node.has_ended(), "it was told no lie: the store has lost nothing");
    assert_ne!(node.scheduler.node_id(), old);
    node.scheduler.enqueue(task("work")).await.unwrap();
    world.pass(secs(1)).await;
    assert_eq!(world.runs("work").len(), 1);
}

#[tokio::test]
async fn a_node_that_cannot_tell_of_its_standby_stands_by_and_tells_later() {
    let world = World::new();
    let node = world.member(1).await;
    node.line.set_for("set_standby", Mode::Down);
    node.scheduler.standby().await.unwrap_err();
    world.pass(secs(5)).await;
    node.scheduler.enqueue(task("work")).await.unwrap();
    world.pass(secs(5)).await;
    assert!(world.runs("work").is_empty(), "{:#?}", world.runs("work"));
    node.line.set(Mode::Up);
    world.pass(secs(2)).await;
    assert!(world.store.nodes().await.unwrap()[0].standby);
    node.scheduler.resume().await.unwrap();
    world.pass(secs(2)).await;
    assert_eq!(world.runs("work").len(), 1);
}

#[tokio::test]
async fn when_the_store_is_away_for_everybody_nobody_is_declared_dead() {
    let world = World::new();
    let members = [world.member(1).await, world.member(2).await, world.member(3).await];
    members[0].scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(5)).await;
    for member in &members {
        member.line.set(Mode::Down);
    }
    world.pass(secs(40)).await;
    for member in &members {
        member.line.set(Mode::Up);
    }
    world.pass(secs(30)).await;

    assert_eq!(world.count(|event| matches!(event, Event::TookOver { .. })), 0);
    let mut instants: Vec<_> = world.runs("tick").iter().map(|run| run.scheduled).collect();
    instants.sort();
    assert_eq!(instants, (1..=75).map(|second| START.plus(secs(second))).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_handed_back_and_runs_once() {
    let world = World::new();
    let only = world.member(1).await;
    only.line.set_for("claim", Mode::Deaf);
    only.scheduler
        .schedule(task("tick"))
        .every(secs(3600))
        .start(START.plus(secs(1)).into())
        .key("tick")
        .await
        .unwrap();
    world.pass(secs(2)).await;
    assert_eq!(world.runs("tick"), []);
    only.line.set(Mode::Up);
    world.pass(secs(5)).await;

    let runs = world.runs("tick");
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].attempt, 1, "a hand-back uses no attempt");
}

#[tokio::test]
async fn a_result_whose_answer_was_lost_is_recorded_once() {
    let world = World::new();
    let only = world.member(1).await;
    only.line.set_for("settle", Mode::Deaf);
    only.scheduler.enqueue(task("work")).await.unwrap();
    world.pass(secs(3)).await;
    only.line.set(Mode::Up);
    world.pass(secs(5)).await;

    assert_eq!(world.runs("work").len(), 1);
    assert_eq!(world.history().await.len(), 1);
    assert_eq!(world.count(|event| matches!(event, Event::Fenced { .. })), 0);
    assert_eq!(world.count(|event| matches!(event, Event::Settled { .. })), 1);
}

#[tokio::test]
async fn work_that_runs_at_most_once_is_recorded_as_lost_and_not_run_again() {
    let world = World::new();
    let doomed = world.member(1).await;
    doomed.scheduler.enqueue(long("once", secs(30))).on_node_loss(OnNodeLoss::Lose).await.unwrap();
    world.pass(secs(2)).await;
    let _heir = world.member(2).await;
    world.pass(secs(1)).await;
    doomed.kill();
    world.pass(secs(60)).await;

    assert_eq!(world.runs("once").len(), 1);
    assert_eq!(world.history().await[0].outcome, Outcome::Lost);
}

#[tokio::test]
async fn work_that_keeps_killing_its_node_is_given_up() {
    let world = World::new();
    let client = world.client().await;
    client.enqueue(long("poison", secs(3600))).await.unwrap();
    for seed in 1..=7 {
        let victim = world.member(seed).await;
        world.pass(secs(15)).await;
        victim.kill();
    }
    let _last = world.member(8).await;
    world.pass(secs(30)).await;
    let history = world.history().await;
    assert_eq!(history.len(), 1, "{history:#?}");
    assert_eq!(history[0].outcome, Outcome::Failed);
    assert_eq!(world.runs("poison").len(), 6);
}

#[tokio::test]
async fn the_store_clock_may_jump_without_anybody_dying() {
    let world = World::new();
    let (one, _two) = (world.member(1).await, world.member(2).await);
    one.scheduler.enqueue(long("work", secs(40))).await.unwrap();
    world.pass(secs(3)).await;
    let jump = |clock: &ManualClock, by: i64| {
        clock.set_wall(punctual_core::Timestamp::from_micros(clock.wall().as_micros() + by * 1_000_000));
    };
    jump(&world.clock, 3600);
    world.pass(secs(15)).await;
    jump(&world.clock, -7200);
    world.pass(secs(40)).await;

    assert_eq!(world.count(|event| matches!(event, Event::TookOver { .. } | Event::LeaseLost)), 0);
    assert_eq!(world.runs("work").len(), 1);
}

#[tokio::test]
async fn a_store_that_lost_commits_stops_the_node() {
    let world = World::new();
    let node = world.member(1).await;
    node.scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(5)).await;
    node.line.lost_beats.store(3, Ordering::SeqCst);
    world.pass(secs(10)).await;
    let ran = world.runs("tick").len();
    assert!(ran <= 7, "it claims nothing on the word of a store that forgets: {ran}");
    let error = node.ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("punctual epoch raise --above 0"), "{error}");
    // It knows nothing of the rows that the store may name it in, so it cannot say that all of them are handed back.
    let nodes = world.store.inspect().nodes().await.unwrap();
    assert_eq!(nodes.iter().map(|node| node.state).collect::<Vec<_>>(), [NodeState::Up]);
}

#[tokio::test]
async fn a_store_that_does_not_know_a_node_which_has_joined_stops_it() {
    let world = World::new();
    let node = world.member(1).await;
    node.scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(5)).await;
    // What a backup from before the joining makes of it: no row.
    let backup = MemoryStore::new(Arc::new(world.clock.clone()));
    assert!(node.line.restored.set(backup).is_ok());
    world.pass(secs(10)).await;
    let error = node.ended().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("does not know this node"), "{error}");
}

#[tokio::test]
async fn a_raised_epoch_makes_nodes_join_again_and_their_tokens_larger() {
    let world = World::new();
    let node = world.member(1).await;
    node.scheduler.schedule(task("tick")).every(secs(1)).key("tick").await.unwrap();
    world.pass(secs(5)).await;
    let tokens = || world.runs("tick").iter().map(|run| run.token).collect::<Vec<_>>();
    let before = tokens();
    assert_eq!(world.store.raise_epoch(4).await.unwrap(), 4);
    world.pass(secs(20)).await;

    assert_eq!(world.count(|event| matches!(event, Event::Rejoined { .. })), 1);
    let after = tokens().split_off(before.len());
    assert!(after.len() > 5, "it goes on: {after:?}");
    assert!(after.iter().all(|token| before.iter().all(|old| token > old)), "{before:?} {after:?}");
}

/// A frozen node may hold locks of a transaction of its user's, which no limit of ours ends. Whoever waits for them to take
/// its work over goes on checking in, and takes over from others.
#[tokio::test]
async fn who_waits_for_the_locks_of_the_dead_keeps_its_lease() {
    for step in ["take_over", "settle"] {
        let world = World::new();
        let doomed = world.member(1).await;
        doomed.scheduler.enqueue(long("work", secs(30))).await.unwrap();
        world.pass(secs(2)).await;
        let heir = world.member(2).await;
        world.pass(secs(2)).await;
        heir.line.set_for(step, Mode::Cut);
        doomed.kill();
        world.pass(secs(30)).await;
        assert_eq!(world.count(|event| matches!(event, Event::LeaseLost)), 0, "{step}");
        let nodes = world.store.inspect().nodes().await.unwrap();
        let beat = nodes.iter().find(|node| &*node.info.name == "n2").unwrap().beat;
        assert!(beat > 30, "{step}: {beat}");
        heir.line.set(Mode::Up);
    }
}

/// What somebody keeps locked of a dead node's work holds up nothing else of it, and is taken over when it is free.
#[tokio::test]
async fn a_locked_row_of_the_dead_holds_up_no_other() {
    let world = World::new();
    let doomed = world.member(1).await;
    for name in ["one", "locked", "other"] {
        doomed.scheduler.enqueue(long(name, secs(5))).await.unwrap();
    }
    world.pass(secs(2)).await;
    let heir = world.member(2).await;
    let rows = world.live().await;
    let row = rows.iter().find(|row| world.runs("locked")[0].id == row.id).unwrap();
    heir.line.locked.lock().unwrap().insert(row.id);
    doomed.kill();
    world.pass(secs(20)).await;
    assert_eq!([world.runs("one").len(), world.runs("other").len(), world.runs("locked").len()], [2, 2, 1]);
    heir.line.locked.lock().unwrap().clear();
    world.pass(secs(4)).await;
    assert_eq!(world.runs("locked").len(), 2);
    assert_eq!(world.count(|event| matches!(event, Event::LeaseLost)), 0);
}
