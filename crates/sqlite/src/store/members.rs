//! Membership: rows, beats and gates of nodes, and the work of those that are gone.

use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::record::{self, CheckInHead, Coded, NodeRow, OwnBeat, WorkRow};
use punctual_core::store::{CheckedIn, Readable, Standby};
use punctual_core::{NodeId, Timestamp};
use rusqlite::params;

use super::Outcome;
use super::firing::readable_work;
use crate::rows::{ToParams, Told};
use crate::sql;
use crate::step::{News, Step};

pub(super) fn join(step: &Step<'_>, info: &NodeInfo) -> Outcome<CheckedIn> {
    let row = NodeRow::of(info, step.now())?;
    if step.run(sql::INSERT_NODE, &*row.params())? > 0 {
        step.run(sql::INSERT_BEAT, params![row.id, row.beat, row.seen_us])?;
    }
    checked_in(step, info.id, OwnBeat::Stored)
}

/// Two statements, each a transaction of its own: what is answered was read after the beat was there for all to see.
pub(super) fn check_in(step: &Step<'_>, node: NodeId) -> Outcome<CheckedIn> {
    let given = step.given_now().map(Timestamp::as_micros);
    let beat = step.number(sql::CHECK_IN, params![node.get(), given])?;
    checked_in(step, node, OwnBeat::Raised(beat))
}

/// What a node needs to know.
fn checked_in(step: &Step<'_>, node: NodeId, beat: OwnBeat) -> Outcome<CheckedIn> {
    let (mut head, mut rows) = (None, Vec::new());
    for told in step.all(sql::CHECKED_IN, [node.get()], Told::from_row)? {
        match told {
            Told::Head(now, epoch) => head = Some((now, epoch)),
            Told::Row(row) => rows.push(row),
        }
    }
    let (now, epoch) = head.unwrap_or_default();
    Ok(record::checked_in(node, CheckInHead { now: step.time(now), epoch, beat }, rows)?)
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
