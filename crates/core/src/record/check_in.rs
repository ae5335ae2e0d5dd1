//! What a check-in reads, for stores that read all of it as one list of rows.

use super::{Coded, NodeRow, OwnedRow};
use crate::error::{Error, Result};
use crate::key::NodeId;
use crate::node::NodeState;
use crate::store::{CheckedIn, Owned, Standby, Standing};
use crate::time::Timestamp;

/// A row of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckInRow {
    /// A node that is up, or the one that asks.
    Node {
        /// Its row, with stand-ins for what could not be read.
        row: Box<NodeRow>,
        /// Whether all of it could be read.
        whole: bool,
    },
    /// A live row of the node that asks.
    Owned(OwnedRow),
    /// The owner of a live row that is not up.
    Gone(i64),
}

/// The beat of the node that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnBeat {
    /// What it was raised to; none if there was none to raise, because the node is not up.
    Raised(Option<i64>),
    /// As its row says.
    Stored,
}

/// What is said once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckInHead {
    /// The time by the store's clock.
    pub now: Timestamp,
    /// The epoch; none if its row is missing.
    pub epoch: Option<i64>,
    /// The beat of the node that asks.
    pub beat: OwnBeat,
}

/// Puts together what is answered to `node`. The rows may come in any order; nodes whose row cannot be understood are left
/// out, and other nodes are not affected.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] if the store has no epoch.
pub fn checked_in(
    node: NodeId,
    head: CheckInHead,
    rows: impl IntoIterator<Item = CheckInRow>,
) -> Result<CheckedIn> {
    let (mut nodes, mut owned, mut gone) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row {
            CheckInRow::Node { row, whole } => nodes.push((row, whole)),
            CheckInRow::Owned(row) => owned.push(row),
            CheckInRow::Gone(owner) => gone.push(owner),
        }
    }
    nodes.sort_by_key(|(row, _)| (row.joined_us, row.id));
    owned.sort_by_key(|row| row.id);
    gone.sort_unstable();
    let up = NodeState::Up.code();
    let own = nodes.iter().map(|(row, _)| row).find(|row| row.id == node.get());
    let (gate, standby) = own.map_or((0, 0), |row| (row.gate, row.standby));
    let beat = match head.beat {
        OwnBeat::Raised(beat) => beat,
        OwnBeat::Stored => own.filter(|row| row.state == up).and_then(|row| row.beat),
    };
    let whole = nodes.into_iter().filter(|(row, whole)| *whole && row.state == up);
    let epoch = head.epoch.ok_or_else(|| Error::corrupt("check_in", "the store has no epoch"))?;
    Ok(CheckedIn {
        now: head.now,
        standing: if beat.is_some() { Standing::Up } else { Standing::Gone },
        beat: beat.unwrap_or(0),
        gate,
        standby: if standby == Standby::Off.code() { Standby::Off } else { Standby::On },
        epoch: u32::try_from(epoch).unwrap_or(u32::MAX),
        nodes: whole.filter_map(|(row, _)| (*row).try_into().ok()).collect(),
        owned: owned.into_iter().map(Owned::from).collect(),
        gone_owners: gone.into_iter().map(NodeId::from_stored).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn row(id: i64, state: NodeState, beat: Option<i64>) -> CheckInRow {
        let (profile, kinds) = (r#"{"interval_ms":1}"#.into(), "[]".into());
        let (state, joined_us) = (state.code(), 10 - id);
        let row =
            NodeRow { id, state, beat, gate: 7, standby: 1, joined_us, profile, kinds, ..NodeRow::default() };
        CheckInRow::Node { row: Box::new(row), whole: true }
    }

    fn answer(beat: OwnBeat, rows: Vec<CheckInRow>) -> CheckedIn {
        let head = CheckInHead { now: Timestamp::EPOCH, epoch: Some(3), beat };
        checked_in(NodeId::from_stored(1), head, rows).unwrap()
    }

    #[test]
    fn a_raised_beat_says_that_the_node_is_up() {
        let reply = answer(OwnBeat::Raised(Some(5)), vec![row(1, NodeState::Up, Some(6))]);
        assert_eq!((reply.standing, reply.beat, reply.gate, reply.epoch), (Standing::Up, 5, 7, 3));
        assert_eq!(reply.standby, Standby::On);
        let reply = answer(OwnBeat::Raised(None), vec![row(1, NodeState::Dead, None)]);
        assert_eq!((reply.standing, reply.beat, reply.gate), (Standing::Gone, 0, 7));
        assert_eq!(reply.nodes, [], "only those that are up are shown");
    }

    #[test]
    fn without_a_raised_beat_the_row_of_a_node_that_is_up_counts() {
        for (state, beat, standing) in [
            (NodeState::Up, Some(4), Standing::Up),
            (NodeState::Up, None, Standing::Gone),
            (NodeState::Left, Some(4), Standing::Gone),
        ] {
            let reply = answer(OwnBeat::Stored, vec![row(1, state, beat)]);
            assert_eq!(reply.standing, standing, "{state:?} {beat:?}");
        }
        assert_eq!(answer(OwnBeat::Stored, Vec::new()).standing, Standing::Gone);
    }

    #[test]
    fn rows_come_in_any_order_and_bad_ones_are_left_out() {
        let owned = |n: u8| CheckInRow::Owned(OwnedRow { id: [n; 16], ..OwnedRow::default() });
        let bad = CheckInRow::Node { row: Box::default(), whole: false };
        let reply = answer(
            OwnBeat::Raised(Some(1)),
            vec![CheckInRow::Gone(9), owned(2), bad, owned(1), CheckInRow::Gone(8)],
        );
        let ids: Vec<u8> = reply.owned.iter().map(|owned| owned.id.to_bytes()[0]).collect();
        assert_eq!(ids, [1, 2]);
        assert_eq!(reply.gone_owners, [8, 9].map(NodeId::from_stored));
        assert_eq!(reply.nodes, []);
    }

    #[test]
    fn a_store_without_an_epoch_is_damaged() {
        let head = CheckInHead { now: Timestamp::EPOCH, epoch: None, beat: OwnBeat::Stored };
        let error = checked_in(NodeId::from_stored(1), head, []).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
