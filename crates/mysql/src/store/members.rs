//! Membership: rows, beats and gates of nodes, and the work of those that are gone.

use punctual_core::NodeId;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::record::{self, CheckInHead, Coded, NodeRow, OwnBeat, WorkRow};
use punctual_core::store::{CheckedIn, Readable, Standby};
use punctual_core::{Error, Timestamp};

use super::Outcome;
use super::firing::readable_work;
use crate::query::values;
use crate::rows::{IntoValues, Told};
use crate::sql;
use crate::step::{News, Step};

pub(super) async fn join(step: &mut Step<'_>, info: &NodeInfo) -> Outcome<CheckedIn> {
    // Whoever raises the epoch either sees this node, or is seen by it.
    epoch(step, sql::HOLD_EPOCH).await?;
    let is_known = step.number(sql::IS_UP, values![info.id.get()]).await?.is_some();
    if !is_known {
        let row = NodeRow::of(info, step.now().await?)?;
        let (id, beat, seen) = (row.id, row.beat, row.seen_us);
        step.run(sql::INSERT_NODE, row.into_values()).await?;
        step.run(sql::INSERT_BEAT, values![id, beat, seen]).await?;
    }
    checked_in(step, info.id, None).await
}

/// Two statements, each a transaction of its own: what is answered was read after the beat was there for all to see.
pub(super) async fn check_in(step: &mut Step<'_>, node: NodeId) -> Outcome<CheckedIn> {
    let given = step.given_now().map(Timestamp::as_micros);
    let is_up = step.run(sql::CHECK_IN, values![given, node.get()]).await? > 0;
    checked_in(step, node, Some(is_up)).await
}

/// What a node needs to know; `is_up` says whether it could raise its beat just now, if it was to.
async fn checked_in(step: &mut Step<'_>, node: NodeId, is_up: Option<bool>) -> Outcome<CheckedIn> {
    let (mut head, mut rows) = (None, Vec::new());
    for told in step.told(sql::CHECKED_IN, values![node.get(), node.get()]).await? {
        match told {
            Told::Head(now, epoch, raised) => head = Some((now, epoch, raised)),
            Told::Row(row) => rows.push(row),
        }
    }
    let (now, epoch, raised) = head.unwrap_or_default();
    let beat = is_up.map_or(OwnBeat::Stored, |is_up| OwnBeat::Raised(is_up.then_some(raised)));
    let now = step.given_now().unwrap_or_else(|| Timestamp::from_micros(now));
    Ok(record::checked_in(node, CheckInHead { now, epoch, beat }, rows)?)
}

/// The epoch as one of its statements reads it.
pub(crate) async fn epoch(step: &mut Step<'_>, statement: &'static str) -> Outcome<u32> {
    known_epoch(step.number(statement, values![]).await?)
}

fn known_epoch(read: Option<i64>) -> Outcome<u32> {
    let epoch = read.ok_or_else(|| Error::corrupt("epoch", "table punctual_meta has no row `epoch`"))?;
    Ok(u32::try_from(epoch).unwrap_or(u32::MAX))
}

pub(super) async fn raise_epoch(step: &mut Step<'_>, to: u32) -> Outcome<u32> {
    if step.run(sql::RAISE_EPOCH, values![i64::from(to), i64::from(to)]).await? == 0 {
        return epoch(step, sql::EPOCH).await;
    }
    // One by one and by primary key, as whoever declares one of them dead locks them.
    for node in step.all(sql::IDS_UP, values![], |c| c.int()).await? {
        if step.holds(sql::LOCK_NODE, values![node]).await? {
            let now = step.now().await?.as_micros();
            step.run(sql::TAKE_OVER, values![now, node]).await?;
            step.run(sql::DELETE_BEAT, values![node]).await?;
        }
    }
    Ok(to)
}

pub(super) async fn take_over(step: &mut Step<'_>, dead: NodeId, beat: i64) -> Outcome<bool> {
    let dead = dead.get();
    // Waits for a claim of it that is under way.
    if !step.holds(sql::LOCK_NODE, values![dead]).await? {
        // It is dead already, or has left: its rows are orphans either way.
        return Ok(true);
    }
    // A missing beat counts as 0, as observers see it.
    if step.number(sql::LOCK_BEAT, values![dead]).await?.unwrap_or(0) != beat {
        return Ok(false);
    }
    let now = step.now().await?.as_micros();
    step.run(sql::TAKE_OVER, values![now, dead]).await?;
    step.run(sql::DELETE_BEAT, values![dead]).await?;
    Ok(true)
}

pub(super) async fn leave(step: &mut Step<'_>, node: NodeId) -> Outcome<()> {
    let node = node.get();
    if step.holds(sql::LOCK_NODE, values![node]).await? {
        let now = step.now().await?.as_micros();
        step.run(sql::LEAVE, values![now, node]).await?;
        step.run(sql::DELETE_BEAT, values![node]).await?;
    }
    Ok(())
}

pub(super) async fn set_standby(step: &mut Step<'_>, node: NodeId, standby: Standby) -> Outcome<Option<i64>> {
    let node = node.get();
    if step.run(sql::SET_STANDBY, values![standby.code(), node]).await? == 0 {
        return Ok(None);
    }
    // Its own process is to look at once for what it left to others.
    step.tell(News::Here);
    step.number(sql::GATE, values![node]).await
}

pub(super) async fn orphans(
    step: &mut Step<'_>,
    owner: NodeId,
    limit: u32,
) -> Outcome<Vec<Readable<ExecutionWithJob>>> {
    if step.holds(sql::IS_UP, values![owner.get()]).await? {
        return Ok(Vec::new());
    }
    let rows = step.rows::<WorkRow>(sql::ORPHANS, values![owner.get(), limit]).await?;
    Ok(rows.into_iter().map(readable_work).collect())
}
