//! The loop that looks for work: ready rows first, then due triggers, up to the free capacity and as far ahead as the node
//! has lately been fast ([`super::turn`]); then it waits for the
//! next instant, less the time that a claim takes to arrive ([`super::aim`]), for a hint, room, or the poll interval,
//! whichever comes first.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::event::Event;
use punctual_core::execution::{Execution, ExecutionState, merged};
use punctual_core::protocol::{finish, fire};
use punctual_core::store::{
    Claim, ClaimOutcome, ClaimReady, ClaimRef, ClaimedReady, Due, DueTrigger, FirePlan, PARK, Poison,
    PoisonRow, ReadDue, Readable, SLICE_GRACE, Slice, Within,
};
use punctual_core::{ErrorKind, Result, Timestamp};
use tokio::sync::mpsc;

use super::aim::Aim;
use super::beyond::{Beyond, Look, MoreReady, Room};
use super::settle::Results;
use super::turn::Pace;
use super::{Node, Phase, body};

/// How long a node waits at least before it tries again for a lock that another one holds.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// A node that is never through with its own slice looks once in so many rounds at what others have left lying.
const LEFTOVERS_EVERY: u32 = 8;

/// How early a node looks for what it expects. So when the instant comes the claim is all that is left to do.
const LOOK_AHEAD: Duration = Duration::from_millis(10);

/// What a round of looking found out about when to look again.
enum Next {
    /// At once: there may be more than one round could take.
    Now,
    /// At this instant of the store's clock, or when something wakes the node.
    At(Option<Timestamp>),
    /// Not before it is time to claim the first of these triggers, which are all that will be next; unless something wakes
    /// the node.
    With(Due),
}

/// What came of the due triggers of a round.
struct Fired {
    next_wake: Option<Timestamp>,
    /// How far behind the node is with its slice: how late the first trigger of that was which fired, if so late that it
    /// belonged to everybody.
    lag: Duration,
    /// Whether most of them found their slot taken.
    blocked: bool,
    /// The store's clock as the claim read it; none if nothing was claimed.
    read: Option<Timestamp>,
    /// Whether a plan was lost.
    lost: bool,
}

pub(crate) async fn run(node: Arc<Node>, results: mpsc::Sender<Results>) {
    let mut failures = 0_u32;
    let mut expected = None;
    let mut soon = None;
    let mut beyond = Beyond::default();
    let mut aim = Aim::default();
    let mut pace = Pace::new(node.settings.prefetch, node.clock.boot());
    while node.phase() == Phase::Running {
        let running = node.running().len() + beyond.held();
        let ahead = pace.ahead(node.clock.boot(), node.ended());
        let most = node.settings.capacity.saturating_add(ahead);
        let free = most.saturating_sub(u32::try_from(running).unwrap_or(u32::MAX));
        // As long as half of what was claimed ahead still waits, the next claim can wait too, and become larger.
        let waiting = node.turns.waiting().saturating_add(u32::try_from(beyond.held()).unwrap_or(u32::MAX));
        let has_enough = waiting > ahead / 2;
        let wait = if free == 0 || has_enough || !node.may_start() {
            // A settled result, a good check-in or the end of standby gives the hint.
            soon = None;
            node.settings.poll
        } else {
            let now = node.store_time();
            beyond.leftovers = beyond.leftovers.filter(|at| *at > now);
            node.begin_claim();
            let round = match soon.take() {
                Some(due) => fire_soon(&node, due, free, &mut aim, &results).await,
                None => round(&node, free, expected, &mut beyond, &results).await,
            };
            if beyond.held.is_none() {
                node.end_claim();
            }
            match round {
                Ok(Next::Now) => {
                    (failures, expected) = (0, None);
                    tokio::task::yield_now().await;
                    continue;
                }
                Ok(Next::At(instant)) => {
                    (failures, expected) = (0, instant);
                    let now = node.store_time();
                    let early = instant.map(|instant| instant.minus(LOOK_AHEAD)).filter(|early| *early > now);
                    let until = early.or(instant).into_iter().chain(beyond.leftovers).min();
                    let until = until.map(|instant| instant.since(now));
                    until.unwrap_or(Duration::MAX).min(node.jittered(node.settings.poll))
                }
                Ok(Next::With(due)) => {
                    (failures, expected) = (0, due.next_wake);
                    let first = due.triggers.iter().filter_map(wake).chain(due.next_wake).min();
                    soon = Some(due);
                    first.map_or(Duration::ZERO, |first| first.minus(aim.lead()).since(node.store_time()))
                }
                Err(error) => {
                    node.trouble(&error);
                    failures = failures.saturating_add(1);
                    node.jittered(Duration::from_millis(50) * 2_u32.pow(failures.min(5)))
                }
            }
        };
        begin_held(&node, beyond.held.take(), &results).await;
        let woken = async {
            match node.store.wake() {
                Some(wake) => wake.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = node.reached(Phase::Draining) => {}
            () = node.hint.notified() => soon = None,
            () = woken => soon = None,
            () = node.clock.sleep(wait) => {}
        }
    }
    begin_held(&node, beyond.held.take(), &results).await;
}

/// When a trigger is due; none if its row says nothing that can be understood.
fn wake(readable: &Readable<DueTrigger>) -> Option<Timestamp> {
    match readable {
        Readable::Row(due) => due.trigger.wake,
        Readable::Poison(_) => None,
    }
}

/// Takes those out of what was read that are not due yet.
fn not_yet(due: &mut Due) -> Vec<Readable<DueTrigger>> {
    let now = due.now;
    due.triggers.extract_if(.., |readable| wake(readable).is_some_and(|wake| wake > now)).collect()
}

/// Claims what was read ahead of its time, now that this has come, or will have when the claim arrives. Whatever was
/// changed since is lost, as ever; so is what is early by the store's own clock, and is then read again.
async fn fire_soon(
    node: &Arc<Node>,
    mut due: Due,
    free: u32,
    aim: &mut Aim,
    results: &mpsc::Sender<Results>,
) -> Result<Next> {
    let now = node.store_time();
    let first = due.triggers.iter().filter_map(wake).min().unwrap_or(now);
    // A plan is made for the instant itself: nothing may be in it that only a later time makes due.
    due.now = if first <= now.plus(aim.lead()) { now.max(first) } else { now };
    let left = not_yet(&mut due);
    let mut again = !left.is_empty();
    let room = Room::of(usize::try_from(free).unwrap_or(usize::MAX));
    let fired = fire_due(node, due, room, (None, None), &mut again, results).await?;
    if let Some(read) = fired.read {
        aim.learn(first, read, fired.lost);
    }
    Ok(if again { Next::Now } else { Next::At(fired.next_wake) })
}

/// One look. Where claims are made within a lock, it looks without it first: an idle node takes no lock.
async fn round(
    node: &Arc<Node>,
    free: u32,
    expected: Option<Timestamp>,
    beyond: &mut Beyond,
    results: &mpsc::Sender<Results>,
) -> Result<Next> {
    let Some(lock) = &node.claim_lock else {
        return claim_round(node, free, expected, beyond, results, None).await;
    };
    if let Some(next) = nothing_to_claim(node).await? {
        return Ok(Next::At(next));
    }
    let Some(lease) = lock.try_acquire(node.id(), node.settings.profile.hold).await? else {
        // Whoever holds it needs it for a moment only.
        let soon = LOCK_RETRY + node.entropy.below(LOCK_RETRY);
        return Ok(Next::At(Some(node.store_time().plus(soon))));
    };
    let within = Within { lock: lease.name.clone(), fence: lease.fence };
    let next = claim_round(node, free, expected, beyond, results, Some(within)).await;
    lock.release(&lease).await?;
    next
}

/// What to wait for, if there is nothing to claim.
async fn nothing_to_claim(node: &Arc<Node>) -> Result<Option<Option<Timestamp>>> {
    let slice = node.member().slice;
    let request = ReadDue { slice, ..ReadDue::of(node.id(), node.registry.kinds(), 1) };
    let sent = node.clock.boot();
    let due = node.store.read_due(request).await?;
    node.sync(due.now, sent);
    Ok((due.triggers.is_empty() && !due.ready).then_some(due.next_wake))
}

async fn claim_round(
    node: &Arc<Node>,
    free: u32,
    expected: Option<Timestamp>,
    beyond: &mut Beyond,
    results: &mpsc::Sender<Results>,
    within: Option<Within>,
) -> Result<Next> {
    let (id, slice) = {
        let member = node.member();
        (member.info.id, member.slice)
    };
    // Who has enough of its own leaves what others could not do to those who have not, or they would all be in each
    // other's way; but not for ever.
    let alone = !beyond.crowded.is_multiple_of(LEFTOVERS_EVERY);
    let lag = mem::take(&mut beyond.lag);
    let grace = |slice: Slice| if alone { Duration::MAX } else { slice.grace.saturating_add(lag) };
    let slice = slice.map(|slice| Slice { grace: grace(slice), ..slice });
    let kinds = node.registry.kinds();
    let most = node.store.features().max_batch;
    let limit = free.min(most);
    let reach = limit.saturating_add(beyond.strange).saturating_add(beyond.blocked).min(most);
    // Who comes early on purpose looks ahead; who is late has enough to do. A lock is not kept meanwhile.
    let is_early = within.is_none() && expected.is_some_and(|at| at > node.store_time());
    let ahead = if is_early { LOOK_AHEAD } else { Duration::ZERO };
    let is_locked = within.is_some();
    let more = beyond.more_ready.take().filter(|_| !is_locked);
    let begun = node.clock.boot();
    let (after, last_look) = more.and_then(|more| more.after(begun)).unzip();
    let request = ReadDue { node: id, kinds: Arc::clone(&kinds), limit: reach, slice, ahead, after };
    let horizon = |due: &Due| due.now.plus(ahead);
    let claim_ready = async |gate| -> Result<ClaimedReady> {
        let (kinds, within) = (Arc::clone(&kinds), within.clone());
        let request = ClaimReady { node: id, gate, within, kinds, limit, park: PARK, after };
        let sent = node.clock.boot();
        let ready = node.store.claim_ready(request).await?;
        node.sync(ready.now, sent);
        Ok(ready)
    };
    let read_due = async {
        let sent = node.clock.boot();
        let due = node.store.read_due(request).await?;
        node.sync(due.now, sent);
        Ok(due)
    };
    // A gate that is another one by now claims nothing.
    let claim_early = async {
        match more {
            Some(more) => Ok(Some(claim_ready(more.gate).await?).filter(|ready| ready.gate_open)),
            None => Ok(None),
        }
    };
    let beginning = begin_held(node, beyond.held.take(), results);
    let (due, early, ()): (Result<Due>, Result<_>, ()) = tokio::join!(read_due, claim_early, beginning);
    let look = last_look.unwrap_or_else(|| Look { at: begun, took: node.clock.boot().since(begun) });
    // Whatever became of the reading, what was claimed will begin.
    beyond.held = early?;
    let mut due = due?;
    let read = due.triggers.len();
    due.triggers.retain_mut(|trigger| is_known(node, trigger));
    let unknown = u32::try_from(read - due.triggers.len()).unwrap_or(u32::MAX);
    let full = read >= usize::try_from(reach).unwrap_or(usize::MAX);
    beyond.crowded = if full { beyond.crowded.wrapping_add(1) } else { 0 };
    // Behind unknown ones there may be more: look further, unless that has been done as far as it goes.
    let mut again = full && (unknown == 0 || (unknown > beyond.strange && reach < most));
    beyond.strange = unknown;

    // What was passed over may be due, or be next.
    again |= after.is_some();

    // Ready rows go before new occurrences: retries and recovered work of a key come before its next firing.
    let mut room = usize::try_from(free).unwrap_or(usize::MAX);
    if beyond.held.is_none() && due.ready {
        let ready = claim_ready(due.gate).await?;
        if !ready.gate_open {
            return Ok(Next::At(None));
        }
        beyond.held = Some(ready);
    }
    if let Some(ready) = beyond.held.take() {
        let is_full = ready.work.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        beyond.more_ready = is_full.then(|| MoreReady::behind(&ready, due.gate, look));
        again |= is_full;
        room = room.saturating_sub(ready.work.len());
        if is_full && !is_locked && due.triggers.is_empty() {
            beyond.held = Some(ready);
        } else {
            begin_ready(node, ready, results).await?;
        }
    }

    let reached = horizon(&due);
    let (now, gate, triggers) = (due.now, due.gate, not_yet(&mut due));
    let fired = fire_due(node, due, Room::of(room), (within, slice), &mut again, results).await?;
    beyond.lag = fired.lag;
    // Some of what was expected now may be in the slice of another node; if that leaves it lying, it belongs to everybody
    // after a grace. Who was behind waited for longer than that.
    if slice.is_some() && (lag > Duration::ZERO || expected.is_some_and(|at| at <= reached)) {
        let grace = SLICE_GRACE.saturating_add(fired.lag);
        beyond.leftovers.get_or_insert_with(|| reached.plus(grace).plus(Duration::from_millis(1)));
    }
    beyond.blocked = if full && fired.blocked { beyond.blocked.max(limit).saturating_mul(2) } else { 0 };
    let next_wake = fired.next_wake;
    if again {
        return Ok(Next::Now);
    }
    if triggers.is_empty() {
        return Ok(Next::At(next_wake));
    }
    Ok(Next::With(Due { now, gate, triggers, next_wake, ready: false }))
}

/// Begins what the round before has claimed, and ends its claim with that.
async fn begin_held(node: &Arc<Node>, held: Option<ClaimedReady>, results: &mpsc::Sender<Results>) {
    let Some(ready) = held else { return };
    if let Err(error) = begin_ready(node, ready, results).await {
        node.trouble(&error);
    }
    node.end_claim();
}

/// How many rows are begun in one go. What is under way beside it has its turn in between.
const GO: usize = 64;

/// Begins what was claimed, and sets aside what cannot be understood.
async fn begin_ready(node: &Arc<Node>, ready: ClaimedReady, results: &mpsc::Sender<Results>) -> Result<()> {
    let mut strange = Vec::new();
    for (n, work) in ready.work.into_iter().enumerate() {
        if n % GO == GO - 1 {
            tokio::task::yield_now().await;
        }
        match work {
            Readable::Row(row) => {
                let (spec, payload) = (row.spec(), row.payload());
                body::start(node, row.execution, spec, payload, ready.now, results);
            }
            Readable::Poison(poison) => {
                node.tell(Event::SetAside { reason: poison.reason.clone() });
                if let PoisonRow::Execution(claim) = poison.row {
                    strange.push(finish::hold(claim, &poison.reason));
                }
            }
        }
    }
    if !strange.is_empty() {
        node.store.settle(strange).await?;
    }
    Ok(())
}

/// Finds the code of a custom schedule. Where it is not known here, the trigger is left to nodes that know it; what the
/// code says against its data sets the trigger aside.
fn is_known(node: &Node, readable: &mut Readable<DueTrigger>) -> bool {
    let Readable::Row(DueTrigger { trigger, .. }) = readable else { return true };
    match trigger.spec.schedule.resolve(&node.registry.custom) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::Unsupported => false,
        Err(error) => {
            let row = PoisonRow::Trigger { id: trigger.id, rev: trigger.rev, fire_seq: trigger.fire_seq };
            *readable = Readable::Poison(Poison { row, reason: error.to_string() });
            true
        }
    }
}

async fn fire_due(
    node: &Arc<Node>,
    due: Due,
    mut room: Room,
    (within, slice): (Option<Within>, Option<Slice>),
    again: &mut bool,
    results: &mpsc::Sender<Results>,
) -> Result<Fired> {
    let mut next_wake = due.next_wake;
    let mut sooner = |wake: Option<Timestamp>| {
        next_wake = match (next_wake, wake) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    };
    let mut planned: Vec<(FirePlan, Option<DueTrigger>)> = Vec::new();
    for readable in due.triggers {
        match readable {
            Readable::Row(trigger) => {
                let plan = fire::plan(&trigger, due.now, &*node.entropy);
                if room.admits(&plan) {
                    planned.push((plan, Some(trigger)));
                }
            }
            Readable::Poison(poison) => {
                node.tell(Event::SetAside { reason: poison.reason.clone() });
                planned.extend(fire::set_aside(&poison).map(|plan| (plan, None)));
            }
        }
    }
    let nothing =
        |next_wake| Ok(Fired { next_wake, lag: Duration::ZERO, blocked: false, read: None, lost: false });
    if planned.is_empty() {
        return nothing(next_wake);
    }

    let id = node.id();
    let plans: Vec<FirePlan> = planned.iter().map(|(plan, _)| plan.clone()).collect();
    let sent = node.clock.boot();
    let claimed = node.store.claim(Claim { node: id, gate: due.gate, within, plans }).await?;
    node.sync(claimed.now, sent);
    if !claimed.gate_open {
        return nothing(next_wake);
    }
    let busy = claimed.outcomes.iter().filter(|outcome| **outcome == ClaimOutcome::Busy).count();
    let blocked = busy * 2 > claimed.outcomes.len();
    let lost = claimed.outcomes.contains(&ClaimOutcome::Lost);
    let mut first = None;
    for ((plan, trigger), outcome) in planned.into_iter().zip(claimed.outcomes) {
        let patch = match &outcome {
            ClaimOutcome::Fired(_) => &plan.then,
            ClaimOutcome::Busy => &plan.busy,
            ClaimOutcome::Lost => {
                // Somebody else fired or edited it: what it is due for now is to be read again.
                *again = true;
                continue;
            }
        };
        *again |= patch.wake.is_some_and(|wake| wake <= claimed.now);
        sooner(patch.wake);
        let Some(DueTrigger { trigger, job, .. }) = trigger else { continue };
        for skip in &patch.skips {
            node.tell(Event::Skipped {
                trigger: trigger.key.clone(),
                first: skip.first,
                last: skip.last,
                count: skip.count,
                reason: skip.reason,
            });
        }
        let ClaimOutcome::Fired(fences) = outcome else { continue };
        if slice.is_some_and(|slice| (slice.from..slice.to).contains(&trigger.slice)) {
            first = first.or(trigger.wake);
        }
        for (new, fence) in plan.executions.into_iter().zip(fences) {
            let payload = merged(Some(&job), trigger.payload.as_ref());
            let row = Execution {
                id: new.id,
                occurrence: new.occurrence,
                job: new.job,
                kind: new.kind,
                scheduled: new.scheduled,
                priority: new.priority,
                state: ExecutionState::Claimed,
                owner: Some(id),
                fence,
                attempt: 1,
                losses: 0,
                wake: claimed.now,
                slot: new.slot,
                catch_up: new.catch_up,
                spec: None,
                payload: None,
                attempts: Vec::new(),
                cancel: None,
                error: None,
                created: claimed.now,
            };
            body::start(node, row, job.spec.clone(), payload, claimed.now, results);
        }
    }
    let late = first.map_or(Duration::ZERO, |first| due.now.since(first));
    let lag = if late < SLICE_GRACE { Duration::ZERO } else { late };
    Ok(Fired { next_wake, lag, blocked, read: Some(claimed.now), lost })
}

/// The claim of a row that this node owns.
pub(crate) fn claim_of(row: &Execution, node: &Node) -> ClaimRef {
    ClaimRef { id: row.id, owner: row.owner.unwrap_or_else(|| node.id()), fence: row.fence }
}
