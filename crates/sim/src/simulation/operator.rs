//! A person, or a deployment, that changes things while the cluster runs: from a process of its own that is no node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use punctual_checker::{FaultEvent, Pausable};
use punctual_core::execution::ExecutionState;
use punctual_core::inspect::{ExecutionFilter, MAX_PAGE, Page};
use punctual_core::pause::PausedGroup;
use punctual_core::schedule::Every;
use punctual_core::store::Readable;
use punctual_core::trigger::TriggerSpec;
use punctual_core::{BootInstant, Clock, ExecutionId, Result, Schedule, TriggerKey};
use punctual_runtime::Scheduler;

use super::clock::ProcessClock;
use super::fault::{between, one_in, pick};
use super::work::{self, Plan, When};
use super::world::World;

/// Writes all definitions.
pub(crate) async fn define(scheduler: Scheduler, plans: Arc<Vec<Plan>>) -> Result<()> {
    for plan in plans.iter() {
        work::schedule(&scheduler, plan, None).await?;
    }
    Ok(())
}

/// Changes a trigger, or deletes it and makes it again. Whatever fails is left as it is: the next edit comes soon.
///
/// Half of the edits come at the moment at which the trigger fires, as near as one can aim.
pub(crate) async fn edit(
    world: Arc<World>,
    clock: Arc<ProcessClock>,
    scheduler: Scheduler,
    plans: Arc<Vec<Plan>>,
) -> Result<()> {
    let dice = &world.dice;
    let Some(plan) = pick(dice, &plans) else { return Ok(()) };
    let key = plan.key.parse()?;
    let next = scheduler.trigger(&key).await?.and_then(|trigger| trigger.next_fire);
    if let (Some(next), true) = (next, one_in(dice, 2)) {
        let left = next.since(scheduler.store().now().await?);
        clock.sleep(left.saturating_sub(Duration::from_micros(between(dice, 0, 12_000)))).await;
    }
    if one_in(dice, 4) {
        scheduler.unschedule(&key).await?;
        // An answer that was lost leaves the trigger deleted, until an edit finds that it is missing.
        return work::schedule(&scheduler, plan, None).await;
    }
    let When::Every(usual) = plan.when else {
        return work::schedule(&scheduler, plan, None).await;
    };
    let Some(found) = scheduler.trigger(&key).await? else {
        return work::schedule(&scheduler, plan, None).await;
    };
    // Never much slower than usual, so that every run has enough to do.
    let seconds = between(dice, usual.max(2) - 1, usual + 1);
    let schedule = Schedule::Every(Every::new(Duration::from_secs(seconds))?);
    let spec = TriggerSpec { schedule, ..found.spec.clone() };
    scheduler.reschedule(&key, spec).await.map(drop)
}

/// Pauses a trigger, or its whole group, and resumes it later. One pause at a time, so that it is certain who lifts it.
pub(crate) async fn pause(
    world: Arc<World>,
    clock: Arc<ProcessClock>,
    scheduler: Scheduler,
    plans: Arc<Vec<Plan>>,
) -> Result<()> {
    let dice = &world.dice;
    let Some(plan) = pick(dice, &plans) else { return Ok(()) };
    if world.pausing.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    let key: TriggerKey = plan.key.parse()?;
    let what = match (one_in(dice, 4), scheduler.trigger(&key).await) {
        (true, _) => Pausable::Group(key.group().into()),
        (false, Ok(Some(trigger))) => Pausable::Trigger(trigger.id),
        (false, _) => {
            world.pausing.store(false, Ordering::SeqCst);
            return Ok(());
        }
    };
    let done = match &what {
        Pausable::Group(group) => scheduler.pause_group(group, "the operator", None).await,
        Pausable::Trigger(_) => scheduler.pause_trigger(&key, "the operator", None).await.map(drop),
    };
    if let (Ok(()), Ok(at)) = (done, scheduler.store().now().await) {
        let boot_us = clock.boot();
        world.write(|log| log.fault(&FaultEvent::Paused { what: what.clone(), at, boot_us }));
    }
    clock.sleep(Duration::from_micros(between(dice, 1_000, 20_000_000))).await;
    // What cannot be told to the store stays paused until everything is set right.
    if let Ok(at) = scheduler.store().now().await {
        let boot_us = clock.boot();
        world.write(|log| log.fault(&FaultEvent::Resuming { what: what.clone(), at, boot_us }));
        let _ = match &what {
            Pausable::Group(group) => scheduler.resume_group(group).await.map(drop),
            Pausable::Trigger(_) => scheduler.resume_trigger(&key).await.map(drop),
        };
    }
    world.pausing.store(false, Ordering::SeqCst);
    Ok(())
}

/// Resumes whatever is paused, when nothing stands in the way any more.
pub(crate) async fn let_go(world: Arc<World>, scheduler: Scheduler) -> Result<()> {
    let at = scheduler.store().now().await?;
    let boot_us = BootInstant::from_micros(world.now());
    for PausedGroup { group, .. } in scheduler.paused_groups().await? {
        let what = Pausable::Group(group.clone());
        world.write(|log| log.fault(&FaultEvent::Resuming { what, at, boot_us }));
        scheduler.resume_group(&group).await?;
    }
    for trigger in scheduler.inspect().triggers(Page::first(MAX_PAGE)).await? {
        if trigger.paused.is_some() {
            let what = Pausable::Trigger(trigger.id);
            world.write(|log| log.fault(&FaultEvent::Resuming { what, at, boot_us }));
            scheduler.resume_trigger(&trigger.key).await?;
        }
    }
    Ok(())
}

/// Cancels one of the executions that run.
pub(crate) async fn cancel(world: Arc<World>, scheduler: Scheduler) -> Result<()> {
    let filter = ExecutionFilter { state: Some(ExecutionState::Claimed), ..ExecutionFilter::default() };
    let rows = scheduler.inspect().executions(filter).await?;
    let ids: Vec<ExecutionId> = rows
        .iter()
        .filter_map(|row| match row {
            Readable::Row(row) => Some(row.id),
            Readable::Poison(_) => None,
        })
        .collect();
    let Some(id) = pick(&world.dice, &ids) else { return Ok(()) };
    scheduler.cancel(vec![*id], "somebody said so").await.map(drop)
}

/// Enqueues a piece of work.
pub(crate) async fn enqueue(world: &World, scheduler: &Scheduler) -> Result<()> {
    work::enqueue(scheduler, &world.dice).await
}
