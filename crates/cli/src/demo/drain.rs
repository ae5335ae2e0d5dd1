//! The end of the run: everything that was due before it is decided and done, and only then the nodes are stopped.

use std::time::Duration;

use punctual::runtime::SystemClock;
use punctual_core::inspect::{ExecutionFilter, MAX_PAGE, Page};
use punctual_core::store::Readable;
use punctual_core::trigger::TriggerState;
use punctual_core::{Clock, JobStore, Timestamp};

use super::cluster::{Status, name};
use super::failed::Failed;
use super::session::Session;

/// How long the nodes have for what was due.
const DRAIN_WITHIN: Duration = Duration::from_secs(45);
/// How long they have to stop.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// The time between two looks at the tables.
const LOOK: Duration = Duration::from_millis(300);

/// Waits until nothing is left that was due up to `end`; says so if the time was too short, and leaves the finding to
/// the checker.
pub(crate) async fn drain(session: &mut Session<'_>, end: Timestamp) -> Result<(), Failed> {
    session.phase = "drains";
    session.wind_up()?;
    let until = SystemClock.boot().plus(DRAIN_WITHIN);
    loop {
        let left = left(&*session.store, end).await.map_err(Failed::at("looking for what is left"))?;
        if left == (Left { triggers: 0, executions: 0 }) {
            return Ok(());
        }
        let now = SystemClock.boot();
        if now > until {
            let Left { triggers, executions } = left;
            session.view.say(&format!(
                "after {DRAIN_WITHIN:?} there are still {triggers} triggers and {executions} executions from before the end"
            ));
            return Ok(());
        }
        while SystemClock.boot().since(now) < LOOK {
            session.turn().await?;
        }
    }
}

/// Stops all nodes.
pub(crate) async fn stop(session: &mut Session<'_>, end: Timestamp) -> Result<(), Failed> {
    session.phase = "stops";
    session.cluster.ask_to_stop(end)?;
    let until = SystemClock.boot().plus(STOP_WITHIN);
    while !session.cluster.with(Status::Running).is_empty() && SystemClock.boot() < until {
        session.turn().await?;
    }
    for seat in session.cluster.with(Status::Running) {
        session.view.say(&format!("{} did not stop within {STOP_WITHIN:?} and is killed", name(seat)));
        session.cluster.kill(seat)?;
    }
    session.cluster.clear();
    Ok(())
}

/// What was due and is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    triggers: usize,
    executions: usize,
}

async fn left(store: &dyn JobStore, end: Timestamp) -> punctual_core::Result<Left> {
    // The demo's schedule is shorter than a page, and so is what can be live at once.
    let triggers = store.inspect().triggers(Page::first(MAX_PAGE)).await?;
    let undecided = triggers.iter().filter(|trigger| trigger.state == TriggerState::Active);
    let live = store.inspect().executions(ExecutionFilter::default()).await?;
    let before = |row: &&Readable<punctual_core::execution::Execution>| match row {
        Readable::Row(row) => row.scheduled <= end,
        Readable::Poison(_) => false,
    };
    Ok(Left {
        triggers: undecided.filter(|trigger| trigger.next_fire.is_some_and(|next| next <= end)).count(),
        executions: live.iter().filter(before).count(),
    })
}
