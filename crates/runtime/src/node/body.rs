//! One attempt: begun only under a good lease, stopped when it must, its panics caught, its end made into a plan.

use std::sync::Arc;
use std::time::Duration;

use punctual_core::event::Event;
use punctual_core::execution::{AttemptOutcome, Execution, clip};
use punctual_core::job::{ExecutionSpec, OnNodeLoss, Payload};
use punctual_core::protocol::finish::{self, BodyEnd, Ended};
use punctual_core::store::SettleOutcome;
use punctual_core::{BoxFuture, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::acquire::claim_of;
use super::settle::Results;
use super::turn::{PATIENCE, Permit, Turn};
use super::{Node, Phase, Running, Stop, ask_to_stop, work_of};
use crate::context::{Context, Inner, StopReason};
use crate::handler::End;

/// Enters a claimed execution among the running ones and starts its task.
pub(crate) fn start(
    node: &Arc<Node>,
    row: Execution,
    spec: ExecutionSpec,
    payload: Payload,
    claimed_at: Timestamp,
    results: &mpsc::Sender<Results>,
) {
    let lateness = claimed_at.as_micros().saturating_sub(row.scheduled.as_micros());
    node.tell(Event::Claimed { work: work_of(&row), lateness_us: lateness });
    let stop = Arc::new(Stop::default());
    let running = Running {
        claim: claim_of(&row, node),
        stop: Arc::clone(&stop),
        stops_on_lease_loss: spec.stops_on_lease_loss(),
    };
    node.running().insert(row.id, running);
    if let Some(why) = &row.cancel {
        ask_to_stop(&stop, &StopReason::Cancelled(why.clone()));
    }
    let turn = node.turns.join();
    let (node, row, results) = (Arc::clone(node), Arc::new(row), results.clone());
    tokio::spawn(async move {
        let ended = match await_turn(&node, turn, &stop).await {
            Ok(_permit) => run(&node, &row, &spec, payload, stop).await,
            Err(end) => Some(Ended { end, started: None, ended: node.store_time(), output: None }),
        };
        if ended.as_ref().is_some_and(|ended| ended.started.is_some()) {
            node.count_ended();
        }
        let owner = claim_of(&row, &node).owner;
        if let Some(ended) = ended {
            let plan = finish::settle(&row, &spec, owner, ended, &*node.entropy);
            let plan = if node.settings.record_successes { plan } else { finish::forgetting(&row, plan) };
            // The receiver ends only after every sender has: nothing is lost here.
            let _ = results.send(Results { plan, work: work_of(&row) }).await;
        } else {
            node.tell(Event::Fenced { work: work_of(&row) });
            node.forget(claim_of(&row, &node));
        }
    });
}

/// Waits for the turn of a claimed execution, unless there is a reason not to begin it here.
async fn await_turn(node: &Node, turn: Turn, asked: &Stop) -> Result<Permit, BodyEnd> {
    let coming = match turn {
        Turn::Now(permit) => return Ok(permit),
        Turn::Later(..) => turn.come(),
    };
    let handed_back = |why: &str| Err(BodyEnd::HandedBack(why.to_owned()));
    tokio::select! {
        biased;
        reason = asked.until(Option::clone) => match reason {
            StopReason::Cancelled(why) => Err(BodyEnd::Cancelled(why.into())),
            _ => handed_back("the node's lease had run out before it began"),
        },
        () = node.reached(Phase::Draining) => handed_back("the node was shut down before it began"),
        permit = coming => Ok(permit),
        () = node.clock.sleep(node.settings.prefetch.saturating_mul(PATIENCE)) => {
            handed_back("the node had no room for it")
        }
    }
}

/// Runs the attempt; `None` if the store says that it belongs to somebody else.
async fn run(
    node: &Arc<Node>,
    row: &Arc<Execution>,
    spec: &ExecutionSpec,
    payload: Payload,
    asked: Arc<Stop>,
) -> Option<Ended> {
    let handed_back = |why: &str| {
        let end = BodyEnd::HandedBack(why.to_owned());
        Some(Ended { end, started: None, ended: node.store_time(), output: None })
    };
    // The answer of the claim may have come so late that the node was taken for dead meanwhile, and is another one now: the
    // row is its predecessor's, whose work others do. Whoever rejoins after this check stops the body, which is in the list.
    let may_start = || node.may_start() && claim_of(row, node).owner == node.id();
    if !may_start() {
        return handed_back("the node's lease had run out before it began");
    }
    if spec.on_node_loss == OnNodeLoss::Lose {
        match node.store.begin(vec![claim_of(row, node)]).await.map(|outcomes| outcomes.first().copied()) {
            Ok(Some(SettleOutcome::Done)) => {}
            Ok(_) => return None,
            Err(error) => {
                // It may have been marked as begun, but its body has not: handing back is the truth.
                node.trouble(&error);
                return handed_back("its start could not be recorded");
            }
        }
        // The mark took its time; the lease may be over now.
        if !may_start() {
            return handed_back("the node's lease had run out before it began");
        }
    }

    let started = node.store_time();
    let owner = claim_of(row, node).owner;
    // The epoch in which the owner joined: a later life's would make the tokens of this claim too large.
    let Some(epoch) = node.epoch_of(owner) else {
        return handed_back("the node's lease had run out before it began");
    };
    let context = Context::new(Inner {
        row: Arc::clone(row),
        owner,
        epoch,
        started,
        stops_on_lease_loss: spec.stops_on_lease_loss(),
        stop: Arc::clone(&asked),
        node: Arc::clone(node),
    });
    node.tell(Event::Began { work: work_of(row), at: started });

    let handler = node.registry.get(&row.kind);
    // The handler is called inside the task, so that a panic before its first await is caught as well.
    let mut task: JoinHandle<End> = tokio::spawn(async move {
        let body: BoxFuture<'static, End> = match handler {
            Some(handler) => handler.run(&payload, &context),
            None => Box::pin(std::future::ready((
                BodyEnd::HandedBack(format!("no handler is registered for `{}`", context.kind())),
                None,
            ))),
        };
        body.await
    });

    let limit = spec.timeout.unwrap_or_default();
    let timeout = async {
        match spec.timeout {
            Some(limit) => node.clock.sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let first = tokio::select! {
        biased;
        result = &mut task => Ok(result),
        reason = asked.until(Option::clone) => Err(reason),
        () = timeout => Err(StopReason::TimedOut),
    };
    let (end, output) = match first {
        Ok(result) => match (finished(result), asked.get()) {
            // It was asked to stop, and its error is how it did.
            ((end, output), Some(reason)) if end != BodyEnd::Succeeded => {
                (stopped_end(reason, limit), output)
            }
            (end, _) => end,
        },
        Err(reason) => {
            ask_to_stop(&asked, &reason);
            let wind_down = time_to_wind_down(node, &reason);
            let result = tokio::select! {
                biased;
                result = &mut task => Some(result),
                () = node.clock.sleep(wind_down) => None,
            };
            if result.is_none() {
                task.abort();
            }
            match result.map(finished) {
                // It got done in spite of being asked to stop.
                Some((BodyEnd::Succeeded, output)) => (BodyEnd::Succeeded, output),
                Some((_, output)) => (stopped_end(reason, limit), output),
                None => (stopped_end(reason, limit), None),
            }
        }
    };
    let (outcome, error) = describe(&end);
    node.tell(Event::Ended { work: work_of(row), outcome, error });
    Some(Ended { end, started: Some(started), ended: node.store_time(), output })
}

fn time_to_wind_down(node: &Node, reason: &StopReason) -> Duration {
    let wind_down = node.settings.profile.wind_down;
    match reason {
        // The others count on it: at the end of the wind-down after the lease nothing may run any more.
        StopReason::LeaseLost => {
            let drop_at = node.member().lease.map(|lease| lease.drop_at());
            drop_at.map_or(Duration::ZERO, |at| at.since(node.clock.boot())).min(wind_down)
        }
        _ => wind_down,
    }
}

fn stopped_end(reason: StopReason, limit: Duration) -> BodyEnd {
    match reason {
        StopReason::TimedOut => BodyEnd::TimedOut(limit),
        StopReason::Cancelled(why) => BodyEnd::Cancelled(why.into()),
        StopReason::LeaseLost => BodyEnd::HandedBack("the node's lease ran out".to_owned()),
        StopReason::ShuttingDown => BodyEnd::HandedBack("the node was shut down".to_owned()),
    }
}

fn finished(result: Result<End, tokio::task::JoinError>) -> End {
    match result {
        Ok(end) => end,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => {
                let text = panic
                    .downcast_ref::<&'static str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "with a value that is no text".to_owned());
                (BodyEnd::Panicked(text), None)
            }
            Err(_) => (BodyEnd::HandedBack("the executor dropped it".to_owned()), None),
        },
    }
}

fn describe(end: &BodyEnd) -> (AttemptOutcome, Option<String>) {
    let short = |text: &str| Some(clip(text, 500).into_string());
    match end {
        BodyEnd::Succeeded => (AttemptOutcome::Succeeded, None),
        BodyEnd::Failed(why) | BodyEnd::RetryAfter(why, _) | BodyEnd::Dead(why) => {
            (AttemptOutcome::Failed, short(why))
        }
        BodyEnd::Panicked(why) => (AttemptOutcome::Panicked, short(why)),
        BodyEnd::TimedOut(limit) => (AttemptOutcome::TimedOut, Some(format!("after {limit:?}"))),
        BodyEnd::Cancelled(why) => (AttemptOutcome::Cancelled, short(why)),
        BodyEnd::HandedBack(why) => (AttemptOutcome::Released, short(why)),
    }
}

/// Waits until no attempt is running or waiting to be settled, or until `deadline`; answers whether none is.
pub(crate) async fn drained(node: &Node, deadline: Duration) -> bool {
    let until = node.clock.boot().plus(deadline);
    loop {
        if node.running().is_empty() {
            return true;
        }
        let left = until.since(node.clock.boot());
        if left.is_zero() {
            return false;
        }
        tokio::select! {
            biased;
            () = node.hint.notified() => {}
            () = node.clock.sleep(left.min(Duration::from_millis(100))) => {}
        }
        debug_assert!(node.phase() >= Phase::Draining, "only a node that claims nothing drains");
    }
}
