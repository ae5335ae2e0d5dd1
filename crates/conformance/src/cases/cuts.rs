//! Connections that are cut between any two statements of any step that writes, and processes that die there.
//!
//! What is there afterwards is wholly what was there before the step or wholly what it leaves; repeating it ends where an
//! undisturbed run ends; and when all work is done, nothing is lost and nothing doubled.

use std::sync::Arc;

use crate::bench::Bench;
use crate::case::cases;
use crate::child::{self, End};
use crate::probe::{Point, Probe};
use crate::scene::{self, Repeated, Scene};
use crate::state::State;
use crate::step::Step;

/// What an undisturbed run of a scene looks like.
struct Undisturbed {
    before: State,
    after: State,
    drained: State,
    statements: u32,
}

async fn filled(bench: &Bench, scene: &Scene, name: &str) -> (Bench, Step) {
    let space = bench.beside(name, "fill").await;
    (scene.fill)(&space).await;
    let drawn = space.again(scene.name).await;
    let step = (scene.step)(&drawn).await;
    (drawn, step)
}

async fn undisturbed(bench: &Bench, scene: &Scene) -> Undisturbed {
    let (bench, step) = filled(bench, scene, "u").await;
    let before = State::of(&*bench.store).await;
    let probe = Arc::new(Probe::default());
    let store = bench.hooked(&probe).await;
    step.run(&*store).await.expect("an undisturbed step");
    let statements = probe.statements();
    let after = State::of(&*bench.store).await;
    let changed = scene.name == "begin" || before != after;
    assert!(changed, "the scene has nothing to do");
    let drained = State::drained(&bench.again("drain").await).await;
    Undisturbed { before, after, drained, statements }
}

/// Asserts that a disturbed step was done or not done, and answers whether it was done.
fn assert_whole(undisturbed: &Undisturbed, now: &State, point: Point) -> bool {
    let Undisturbed { before, after, .. } = undisturbed;
    assert!(
        now == before || now == after,
        "{point:?} of {}: half of the step is there{}",
        undisturbed.statements,
        after.difference(now)
    );
    now == after && before != after
}

/// How a step is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Its connection is cut.
    Cut,
    /// Its process dies.
    Die,
}

impl How {
    async fn disturb(self, space: &Bench, scene: &Scene, step: &Step, point: Point) {
        match self {
            Self::Cut => {
                let probe = Arc::new(Probe::default());
                let store = space.hooked(&probe).await;
                probe.cut_at(point);
                if let Err(error) = step.run(&*store).await {
                    assert!(error.kind().is_retryable(), "{point:?}: {}", error.chain());
                }
                // The store has survived its connection.
                store.now().await.expect("the next step has another connection");
            }
            Self::Die => {
                let (place, scene, t0) = (space.space().clone(), scene.name, space.t0);
                let environment = space.for_a_second_process();
                let die = move || child::run(&place, scene, t0, point, environment);
                let end = tokio::task::spawn_blocking(die);
                let end = end.await.expect("the task ends").expect("a second process");
                assert_eq!(end, End::Died, "{point:?}");
            }
        }
    }

    /// Where there is something to disturb: a process that dies after a statement has done what one has that dies before
    /// the next.
    fn points(self, statements: u32) -> Vec<Point> {
        match self {
            Self::Cut => Point::all(statements).collect(),
            Self::Die => Point::apart(statements).collect(),
        }
    }
}

/// Disturbs a scene at all points, in as few spaces as possible: a step that was not done can be disturbed again.
async fn disturb(bench: &Bench, name: &str, how: How) {
    let scene = scene::named(name).expect("a scene");
    let whole = undisturbed(bench, &scene).await;
    assert!(whole.statements > 0, "the hook is told of statements");
    let mut place: Option<(Bench, Step)> = None;
    let mut last = None;
    for (n, point) in how.points(whole.statements).into_iter().enumerate() {
        let (space, step) = match place.take() {
            Some(place) => place,
            None => filled(bench, &scene, &format!("d{n}")).await,
        };
        how.disturb(&space, &scene, &step, point).await;
        if assert_whole(&whole, &State::of(&*space.other().await).await, point) {
            finish(&space, &scene, &step, &whole, point).await;
        } else {
            place = Some((space, step));
            last = Some(point);
        }
    }
    if let Some(((space, step), point)) = place.zip(last) {
        finish(&space, &scene, &step, &whole, point).await;
    }
}

/// Repeats the step, and works off whatever there is.
async fn finish(space: &Bench, scene: &Scene, step: &Step, whole: &Undisturbed, point: Point) {
    step.run(&*space.store).await.expect("a step may be repeated");
    if scene.repeated == Repeated::ChangesNothing {
        let now = State::of(&*space.store).await;
        assert!(now == whole.after, "{point:?}: repeated{}", whole.after.difference(&now));
    }
    let drained = State::drained(&space.again("drain").await).await;
    assert!(drained == whole.drained, "{point:?}: in the end{}", whole.drained.difference(&drained));
}

cases! {
    C "cuts";

    /// A batch of changes whose connection is cut anywhere is applied wholly or not at all.
    [Statements, Clock]
    async fn apply(bench) {
        disturb(&bench, "apply", How::Cut).await;
    }

    /// A pause of a group whose connection is cut anywhere holds for all of its triggers or for none.
    [Statements, Clock]
    async fn pause(bench) {
        disturb(&bench, "pause", How::Cut).await;
    }

    /// A deletion whose connection is cut anywhere takes all that goes with it, or nothing.
    [Statements, Clock]
    async fn delete(bench) {
        disturb(&bench, "delete", How::Cut).await;
    }

    /// An enqueueing whose connection is cut anywhere puts in everything or nothing, and repeating it doubles nothing.
    [Statements, Clock]
    async fn enqueue(bench) {
        disturb(&bench, "enqueue", How::Cut).await;
    }

    /// A cancellation whose connection is cut anywhere ends and marks all or none.
    [Statements, Clock]
    async fn cancel(bench) {
        disturb(&bench, "cancel", How::Cut).await;
    }

    /// A node whose connection is cut while it joins is a member or is not, and may join again.
    [Statements, Clock]
    async fn join(bench) {
        disturb(&bench, "join", How::Cut).await;
    }

    /// A check-in whose connection is cut has raised the beat or has not.
    [Statements, Clock]
    async fn check_in(bench) {
        disturb(&bench, "check_in", How::Cut).await;
    }

    /// A take-over whose connection is cut has buried the node with its beat, or left it alone.
    [Statements, Clock]
    async fn take_over(bench) {
        disturb(&bench, "take_over", How::Cut).await;
    }

    /// A node whose connection is cut while it leaves has left or has not.
    [Statements, Clock]
    async fn leave(bench) {
        disturb(&bench, "leave", How::Cut).await;
    }

    /// A standby whose connection is cut has been noted with its gate, or not at all.
    [Statements, Clock]
    async fn set_standby(bench) {
        disturb(&bench, "set_standby", How::Cut).await;
    }

    /// A raise of the epoch whose connection is cut has ended all nodes with it, or has changed nothing.
    [Statements, Clock]
    async fn raise_epoch(bench) {
        disturb(&bench, "raise_epoch", How::Cut).await;
    }

    /// A claim whose connection is cut anywhere has moved each trigger with its rows and slots, or none.
    [Statements, Clock]
    async fn claim(bench) {
        disturb(&bench, "claim", How::Cut).await;
    }

    /// A claim within a lock whose connection is cut anywhere has been made under its fence, or not at all.
    [Statements, Clock, LockFences]
    async fn claim_within(bench) {
        disturb(&bench, "claim_within", How::Cut).await;
    }

    /// A claim of ready work whose connection is cut anywhere has all its rows and slots, or none.
    [Statements, Clock]
    async fn claim_ready(bench) {
        disturb(&bench, "claim_ready", How::Cut).await;
    }

    /// A beginning whose connection is cut is noted or is not.
    [Statements, Clock]
    async fn begin(bench) {
        disturb(&bench, "begin", How::Cut).await;
    }

    /// An end whose connection is cut anywhere has its record, a free slot and a woken waiter, or still its live row.
    [Statements, Clock]
    async fn settle_end(bench) {
        disturb(&bench, "settle_end", How::Cut).await;
    }

    /// A row that goes back while its connection is cut is back, or still its owner's.
    [Statements, Clock]
    async fn settle_back(bench) {
        disturb(&bench, "settle_back", How::Cut).await;
    }

    /// A search for waiters whose connection is cut has woken those that it found, or none.
    [Statements, Clock]
    async fn wake_waiting(bench) {
        disturb(&bench, "wake_waiting", How::Cut).await;
    }

    /// A prune whose connection is cut anywhere has deleted all that goes together, or nothing.
    [Statements, Clock]
    async fn prune(bench) {
        disturb(&bench, "prune", How::Cut).await;
    }

    /// A process that dies in the middle of a batch of changes leaves all of them or none.
    [Process, Statements, Clock]
    async fn death_in_apply(bench) {
        disturb(&bench, "apply", How::Die).await;
    }

    /// A process that dies in the middle of an enqueueing leaves all of the work or none.
    [Process, Statements, Clock]
    async fn death_in_enqueue(bench) {
        disturb(&bench, "enqueue", How::Die).await;
    }

    /// A process that dies in the middle of a claim leaves rows that name its node, or no trace.
    [Process, Statements, Clock]
    async fn death_in_claim(bench) {
        disturb(&bench, "claim", How::Die).await;
    }

    /// A process that dies in the middle of a claim of ready work leaves rows that name its node, or no trace.
    [Process, Statements, Clock]
    async fn death_in_claim_ready(bench) {
        disturb(&bench, "claim_ready", How::Die).await;
    }

    /// A process that dies in the middle of an end leaves a record and a free slot, or its live row.
    [Process, Statements, Clock]
    async fn death_in_settle(bench) {
        disturb(&bench, "settle_end", How::Die).await;
    }

    /// A process that dies in the middle of a take-over leaves a dead node or a living one.
    [Process, Statements, Clock]
    async fn death_in_take_over(bench) {
        disturb(&bench, "take_over", How::Die).await;
    }
}
