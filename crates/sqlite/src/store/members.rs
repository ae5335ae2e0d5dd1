//! Membership: rows, beats and gates of nodes, and the work of those that are gone.

use punctual_core::NodeId;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::record::{Coded, NodeRow, OwnedRow, WorkRow};
use punctual_core::store::{CheckedIn, Owned, Readable, Standby, Standing};
use rusqlite::params;

use super::Outcome;
use super::firing::readable_work;
use crate::rows::ToParams;
use crate::sql;
use crate::step::{News, Step};

pub(super) fn join(step: &Step<'_>, info: &NodeInfo) -> Outcome<CheckedIn> {
    let row = NodeRow::of(info, step.now())?;
    if step.run(sql::INSERT_NODE, &*row.params())? > 0 {
        step.run(sql::INSERT_BEAT, params![row.id, row.beat, row.seen_us])?;
    }
    checked_in(step, info.id)
}

pub(super) fn check_in(step: &Step<'_>, node: NodeId) -> Outcome<CheckedIn> {
    step.run(sql::CHECK_IN, params![node.get(), step.now().as_micros()])?;
    checked_in(step, node)
}

fn checked_in(step: &Step<'_>, node: NodeId) -> Outcome<CheckedIn> {
    let id = node.get();
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let found: Option<(bool, i64, i64, bool)> = step.first(sql::STANDING, [id], read)?;
    let (is_up, beat, gate, standby) = found.unwrap_or_default();
    let nodes = step.rows::<NodeRow>(sql::NODES_UP, [])?;
    let owned = step.rows::<OwnedRow>(sql::OWNED, [id])?;
    Ok(CheckedIn {
        now: step.now(),
        standing: if is_up { Standing::Up } else { Standing::Gone },
        beat,
        gate,
        standby: if standby { Standby::On } else { Standby::Off },
        epoch: step.epoch(),
        nodes: nodes.into_iter().filter_map(|row| row.decode().ok()).collect(),
        owned: owned.into_iter().map(|read| Owned::from(read.row)).collect(),
        gone_owners: step.all(sql::GONE_OWNERS, [], |row| row.get(0).map(NodeId::from_stored))?,
    })
}

pub(super) fn take_over(step: &Step<'_>, dead: NodeId, beat: i64) -> Outcome<bool> {
    let dead = dead.get();
    if step.run(sql::TAKE_OVER, params![dead, beat, step.now().as_micros()])? == 0 {
        // It is dead already, or has left: its rows are orphans either way. Or it has beaten since.
        return Ok(!step.holds(sql::IS_UP, [dead])?);
    }
    step.run(sql::DELETE_BEAT, [dead])?;
    Ok(true)
}

pub(super) fn leave(step: &Step<'_>, node: NodeId) -> Outcome<()> {
    if step.run(sql::LEAVE, params![node.get(), step.now().as_micros()])? > 0 {
        step.run(sql::DELETE_BEAT, [node.get()])?;
    }
    Ok(())
}

pub(super) fn set_standby(step: &Step<'_>, node: NodeId, standby: Standby) -> Outcome<Option<i64>> {
    let gate = step.number(sql::SET_STANDBY, params![node.get(), standby.code()])?;
    // Its own process is to look at once for what it left to others.
    step.tell(News::Here);
    Ok(gate)
}

pub(super) fn raise_epoch(step: &Step<'_>, to: u32) -> Outcome<u32> {
    if step.run(sql::RAISE_EPOCH, [to])? == 0 {
        return Ok(step.epoch());
    }
    step.run(sql::DELETE_BEATS, [])?;
    step.run(sql::END_NODES_UP, [step.now().as_micros()])?;
    Ok(to)
}

pub(super) fn orphans(
    step: &Step<'_>,
    owner: NodeId,
    limit: u32,
) -> Outcome<Vec<Readable<ExecutionWithJob>>> {
    if step.holds(sql::IS_UP, [owner.get()])? {
        return Ok(Vec::new());
    }
    let rows = step.rows::<WorkRow>(sql::ORPHANS, params![owner.get(), limit])?;
    Ok(rows.into_iter().map(readable_work).collect())
}
