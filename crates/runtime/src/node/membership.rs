//! The loop of check-ins: it keeps the lease, watches the others, has the dead taken over from ([`super::recovery`]), and
//! hands back rows that name this node though it does not run them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use punctual_core::event::Event;
use punctual_core::node::NodeInfo;
use punctual_core::protocol::finish;
use punctual_core::protocol::membership::{Lease, Observer, OwnRow};
use punctual_core::store::{CheckedIn, ClaimRef, SLICE_GRACE, SettleOutcome, Slice, Standby, Standing};
use punctual_core::trigger::SLICES;
use punctual_core::{BootInstant, NodeId, Result};
use tokio::sync::oneshot;

use super::recovery::Recoveries;
use super::{Node, Phase, Strangers};
use crate::context::StopReason;

/// Adds the node to the cluster under an id, and begins to watch the others from what the answer shows of them.
pub(crate) async fn join(node: &Node, id: NodeId) -> Result<Observer> {
    let sent = node.clock.boot();
    let info = NodeInfo { id, ..node.member().info.clone() };
    let reply = node.store.join(info.clone()).await?;
    let mut observer = Observer::new(info.id, info.profile);
    observer.observe(node.clock.boot(), &reply.nodes);
    node.sync(reply.now, sent);
    let lease = Lease::begin(info.profile, sent, reply.beat, reply.epoch);
    let rolled_back = {
        let mut member = node.member();
        let sound = member.lease.map_or(Ok(()), |known| known.check_epoch(reply.epoch));
        // Not before the answer: if it is lost, the node is still the one whose lease it has. The row that may be there
        // all the same never beats, and others find that out.
        member.info.id = id;
        member.lease = Some(lease);
        // A node that is about to stop starts nothing.
        member.fenced = sound.is_err();
        member.slice = slice(node, &reply, info.id);
        member.nodes_up = nodes_up(&reply);
        member.standby = standby(node, &reply);
        sound.err()
    };
    if let Some(error) = rolled_back {
        node.halt(error);
    }
    node.lease_until.set(lease.fence_at());
    if standby(node, &reply) != reply.standby
        && let Err(error) = tell_standby(node, id).await
    {
        // It stands by, and tells at its next check-in.
        node.trouble(&error);
    }
    node.tell(Event::Joined { name: info.name.into(), pid: info.pid });
    Ok(observer)
}

/// Checks in until `end`.
pub(crate) async fn run(node: Arc<Node>, mut observer: Observer, mut end: oneshot::Receiver<()>) {
    let mut strangers = Strangers::new();
    let mut recoveries = Recoveries::default();
    let mut late = false;
    loop {
        let interval = node.settings.profile.interval;
        // A failed check-in is repeated soon: the lease allows for at least one lost beat.
        let wait = if late { interval / 4 } else { node.jittered(interval) };
        tokio::select! {
            biased;
            _ = &mut end => break,
            () = node.clock.nap(wait) => {}
        }
        late = match check_in(&node, &mut observer, &mut strangers, &mut recoveries).await {
            Ok(()) => false,
            Err(error) => {
                node.trouble(&error);
                true
            }
        };
    }
}

/// Leaves the cluster.
pub(crate) async fn leave(node: &Node) {
    if let Err(error) = node.store.leave(node.id()).await {
        // The others will find out by themselves.
        node.trouble(&error);
    }
    node.tell(Event::Left);
}

async fn check_in(
    node: &Arc<Node>,
    observer: &mut Observer,
    strangers: &mut Strangers,
    recoveries: &mut Recoveries,
) -> Result<()> {
    if node.is_halted() {
        // Another beat would say that it lives, and might make up for those that the store has lost.
        return Ok(());
    }
    let id = node.id();
    let sent = node.clock.boot();
    let reply = node.store.check_in(id).await?;
    let read = node.clock.boot();
    if reply.standing == Standing::Gone {
        return rejoin(node, observer, strangers).await;
    }
    if let Err(error) = renew(node, sent, &reply) {
        node.halt(error);
        return Ok(());
    }
    if standby(node, &reply) != reply.standby {
        tell_standby(node, id).await?;
    }
    for owned in &reply.owned {
        if let (Some(why), Some(running)) = (&owned.cancel, node.running().get(&owned.id)) {
            super::ask_to_stop(&running.stop, &StopReason::Cancelled(why.clone()));
        }
    }
    reconcile(node, &reply, strangers).await?;
    for suspect in observer.observe(read, &reply.nodes) {
        let name = reply.nodes.iter().find(|other| other.info.id == suspect.node);
        let name = name.map(|other| other.info.name.to_string()).unwrap_or_default();
        recoveries.take_over(node, suspect, name);
    }
    for owner in &reply.gone_owners {
        recoveries.recover(node, *owner);
    }
    Ok(())
}

/// Takes in a good check-in.
fn renew(node: &Node, sent: BootInstant, reply: &CheckedIn) -> Result<()> {
    node.sync(reply.now, sent);
    let mut member = node.member();
    let id = member.info.id;
    let Some(mut lease) = member.lease else { return Ok(()) };
    lease.renew(sent, reply.beat, reply.epoch)?;
    member.lease = Some(lease);
    member.standby = standby(node, reply);
    member.slice = slice(node, reply, id);
    member.nodes_up = nodes_up(reply);
    let regained = member.fenced && lease.may_start(node.clock.boot());
    member.fenced &= !regained;
    drop(member);
    node.lease_until.set(lease.fence_at());
    if regained {
        node.tell(Event::LeaseRegained);
        node.hint.notify_one();
    }
    Ok(())
}

/// The node was declared dead: what it ran belongs to others. It goes on as a new member, and its old bodies are
/// stopped; whatever they still report is refused by their fences.
async fn rejoin(node: &Arc<Node>, observer: &mut Observer, strangers: &mut Strangers) -> Result<()> {
    let old = node.id();
    node.stop_bodies(&StopReason::LeaseLost, |running| running.claim.owner == old);
    if node.phase() > Phase::Running {
        // On its way out it needs no new life; the lease stays lost.
        node.member().fenced = true;
        return Ok(());
    }
    node.member().fenced = true;
    if let Err(error) = check_row(node, old).await? {
        node.halt(error);
        return Ok(());
    }
    *observer = join(node, NodeId::draw(&*node.entropy)).await?;
    strangers.clear();
    node.tell(Event::Rejoined { old });
    node.hint.notify_one();
    Ok(())
}

/// Looks at whether the store remembers this node, which is no member any more; if it does not, it has lost commits.
async fn check_row(node: &Node, id: NodeId) -> Result<Result<()>> {
    let Some(lease) = node.member().lease else { return Ok(Ok(())) };
    let nodes = node.store.inspect().nodes().await?;
    let row = if nodes.iter().any(|other| other.info.id == id) { OwnRow::Ended } else { OwnRow::Missing };
    Ok(lease.check_row(row, node.clock.boot()))
}

/// Hands back rows that name this node though it does not run them: a claim whose answer was lost.
///
/// A row counts as forgotten when two check-ins in a row have shown it, and every claim that had begun before the
/// first of their answers has been answered since: a claim that has committed but not yet returned is not forgotten.
async fn reconcile(node: &Node, reply: &CheckedIn, strangers: &mut Strangers) -> Result<()> {
    let (begun, answered) = node.claims();
    let mut unknown = Strangers::new();
    let mut forgotten = Vec::new();
    {
        let running = node.running();
        for owned in reply.owned.iter().filter(|owned| !running.contains_key(&owned.id)) {
            let claim = (owned.id, owned.fence);
            match strangers.get(&claim) {
                Some(begun) if answered >= *begun => forgotten.push(owned.clone()),
                Some(begun) => drop(unknown.insert(claim, *begun)),
                // Whichever claim made this row had begun before the answer that shows it arrived.
                None => drop(unknown.insert(claim, begun)),
            }
        }
    }
    *strangers = unknown;
    let owner = node.id();
    for owned in forgotten {
        let Some(row) = node.store.inspect().execution(owned.id).await? else { continue };
        let claim = ClaimRef { id: owned.id, owner, fence: owned.fence };
        if row.fence != owned.fence {
            continue;
        }
        if node.store.settle(vec![finish::hand_back(claim, &row)]).await?.first()
            == Some(&SettleOutcome::Done)
        {
            node.tell(Event::Recovered { from: owner, id: owned.id, fence: owned.fence, outcome: None });
            node.hint.notify_one();
        }
    }
    Ok(())
}

/// This node's share of the due set: nodes that are up and fire, in the order of their ids, share it evenly.
fn nodes_up(reply: &CheckedIn) -> u32 {
    u32::try_from(reply.nodes.len()).unwrap_or(u32::MAX).max(1)
}

fn slice(node: &Node, reply: &CheckedIn, me: NodeId) -> Option<Slice> {
    if !node.store.features().shared {
        return None;
    }
    let mut firing: Vec<NodeId> =
        reply.nodes.iter().filter(|other| !other.standby).map(|other| other.info.id).collect();
    firing.sort_unstable();
    let share = i64::try_from(firing.len()).ok().filter(|count| *count > 1)?;
    let index = i64::try_from(firing.iter().position(|id| *id == me)?).ok()?;
    Some(Slice { from: SLICES * index / share, to: SLICES * (index + 1) / share, grace: SLICE_GRACE })
}

/// Whether the node stands by: as the store shows it, or because it was asked to and the store has not heard of it.
fn standby(node: &Node, reply: &CheckedIn) -> Standby {
    if node.standby_wanted.load(Ordering::SeqCst) { Standby::On } else { reply.standby }
}

/// Tells the store of a standby that it has not heard of.
async fn tell_standby(node: &Node, id: NodeId) -> Result<()> {
    node.store.set_standby(id, Standby::On).await?;
    if !node.standby_wanted.load(Ordering::SeqCst) {
        // Somebody has ended it meanwhile, and that command may have come first.
        node.store.set_standby(id, Standby::Off).await?;
    }
    Ok(())
}

/// How long bodies that were asked to stop may take.
pub(crate) fn patience(node: &Node) -> Duration {
    node.settings.profile.wind_down + Duration::from_millis(500)
}
