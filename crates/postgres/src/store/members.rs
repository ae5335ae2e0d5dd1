//! Membership: rows, beats and gates of nodes, and the work of those that are gone.

use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::record::{Coded, NodeRow, OwnedRow, WorkRow};
use punctual_core::store::{CheckedIn, Owned, Readable, Standby, Standing};
use punctual_core::{Error, NodeId, Timestamp};

use super::firing::readable_work;
use crate::rows::{Columns, FromColumns, ToParams, params};
use crate::sql;
use crate::step::{News, Outcome, Step};

pub(super) async fn join(step: &mut Step<'_>, info: &NodeInfo) -> Outcome<CheckedIn> {
    // Whoever raises the epoch either sees this node, or is seen by it.
    epoch(step, sql::HOLD_EPOCH).await?;
    let now = step.now().await?;
    let row = NodeRow::of(info, now)?;
    if step.run(sql::INSERT_NODE, row.params()?).await? > 0 {
        step.run(sql::INSERT_BEAT, params![row.id, row.beat, row.seen_us]).await?;
    }
    checked_in(step, info.id, false).await
}

pub(super) async fn check_in(step: &mut Step<'_>, node: NodeId) -> Outcome<CheckedIn> {
    checked_in(step, node, true).await
}

async fn checked_in(step: &mut Step<'_>, node: NodeId, beats: bool) -> Outcome<CheckedIn> {
    let given = step.given();
    let rows = step.all(sql::CHECK_IN, params![given, node.get(), beats]).await?;
    let damaged = |what: &str| Error::corrupt("check_in", format!("table meta has no {what}; restore it"));
    let first = rows.first().ok_or_else(|| damaged("rows"))?;
    let head = Columns::of(first);
    let now = Timestamp::from_micros(head.int());
    let epoch = head.int_or_null().ok_or_else(|| damaged("row `epoch`"))?;
    let is_up: bool = head.get();
    let (beat, gate, standby) = (head.int(), head.int(), head.int());
    let (ids, fences): (Vec<[u8; 16]>, Vec<i64>) = (head.get(), head.get());
    let (attempts, cancels): (Vec<i64>, Vec<Option<String>>) = (head.get(), head.get());
    let gone: Vec<i64> = head.get();
    let owned = ids.into_iter().zip(fences).zip(attempts).zip(cancels);
    let nodes = rows.iter().filter_map(|row| {
        let columns = Columns::of(row);
        columns.pass(HEAD);
        if columns.is_null() {
            return None;
        }
        let node = NodeRow::read(&columns);
        columns.done(node).decode().ok()
    });
    Ok(CheckedIn {
        now,
        standing: if is_up { Standing::Up } else { Standing::Gone },
        beat,
        gate,
        standby: if standby == Standby::On.code() { Standby::On } else { Standby::Off },
        epoch: u32::try_from(epoch).unwrap_or(u32::MAX),
        nodes: nodes.collect(),
        owned: owned
            .map(|(((id, fence), attempt), cancel)| Owned::from(OwnedRow { id, fence, attempt, cancel }))
            .collect(),
        gone_owners: gone.into_iter().map(NodeId::from_stored).collect(),
    })
}

/// How many columns of CHECK_IN come before those of a node.
const HEAD: usize = 11;

pub(super) async fn take_over(step: &mut Step<'_>, dead: NodeId, beat: i64) -> Outcome<bool> {
    let given = step.given();
    let row = step.first(sql::TAKE_OVER, params![given, dead.get(), beat]).await?;
    let (was_up, is_dead) =
        row.as_ref().map(Columns::of).map_or((false, false), |row| (row.get(), row.get()));
    // It was dead already, or had left: its rows are orphans either way. Or it has beaten since.
    Ok(!was_up || is_dead)
}

pub(super) async fn leave(step: &mut Step<'_>, node: NodeId) -> Outcome<()> {
    let given = step.given();
    step.run(sql::LEAVE, params![given, node.get()]).await?;
    Ok(())
}

pub(super) async fn set_standby(step: &mut Step<'_>, node: NodeId, standby: Standby) -> Outcome<Option<i64>> {
    let gate = step.value(sql::SET_STANDBY, params![node.get(), standby.code()]).await?;
    // Its own process is to look at once for what it left to others.
    step.tell(News::Here);
    Ok(gate)
}

/// The epoch as one of its statements reads it.
pub(crate) async fn epoch(step: &mut Step<'_>, statement: &'static str) -> Outcome<u32> {
    let epoch: Option<i64> = step.value(statement, params![]).await?;
    let epoch = epoch.ok_or_else(|| Error::corrupt("epoch", "table meta has no row `epoch`; restore it"))?;
    Ok(u32::try_from(epoch).unwrap_or(u32::MAX))
}

pub(super) async fn raise_epoch(step: &mut Step<'_>, to: u32) -> Outcome<u32> {
    if step.run(sql::RAISE_EPOCH, params![i64::from(to)]).await? == 0 {
        return epoch(step, sql::EPOCH).await;
    }
    let given = step.given();
    step.run(sql::END_NODES_UP, params![given]).await?;
    Ok(to)
}

pub(super) async fn orphans(
    step: &mut Step<'_>,
    owner: NodeId,
    limit: u32,
) -> Outcome<Vec<Readable<ExecutionWithJob>>> {
    let rows = step.rows::<WorkRow>(sql::ORPHANS, params![owner.get(), i64::from(limit)]).await?;
    Ok(rows.into_iter().map(readable_work).collect())
}
