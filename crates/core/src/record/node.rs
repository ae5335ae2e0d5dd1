//! Rows of nodes.

use serde::{Deserialize, Serialize};

use super::{BadColumn, Coded, Decoded, at, boolean, document, number, parsed};
use crate::error::Result;
use crate::key::NodeId;
use crate::node::{NodeInfo, NodeRecord, NodeState};
use crate::store::Standby;
use crate::time::Timestamp;

/// A row of `node`, with its beat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the columns, explained by NodeInfo and NodeRecord")]
pub struct NodeRow {
    pub id: i64,
    pub name: String,
    pub host: String,
    pub pid: i64,
    pub version: String,
    pub zone_data: String,
    pub profile: String,
    pub capacity: i64,
    pub kinds: String,
    pub state: i64,
    pub standby: i64,
    pub gate: i64,
    pub joined_us: i64,
    pub beat: Option<i64>,
    pub seen_us: Option<i64>,
}

impl NodeRow {
    /// The row of a node that joins at `now`.
    ///
    /// # Errors
    /// Those of [`document`].
    pub fn of(info: &NodeInfo, now: Timestamp) -> Result<Self> {
        Ok(Self {
            id: info.id.get(),
            name: info.name.to_string(),
            host: info.host.to_string(),
            pid: info.pid.into(),
            version: info.version.to_string(),
            zone_data: info.zone_data.to_string(),
            profile: document(&info.profile)?,
            capacity: info.capacity.into(),
            kinds: document(&info.kinds)?,
            state: NodeState::Up.code(),
            standby: Standby::Off.code(),
            gate: 0,
            joined_us: now.as_micros(),
            beat: Some(1),
            seen_us: Some(now.as_micros()),
        })
    }
}

impl TryFrom<NodeRow> for NodeRecord {
    type Error = BadColumn;

    fn try_from(row: NodeRow) -> Decoded<Self> {
        let info = NodeInfo {
            id: NodeId::from_stored(row.id),
            name: row.name.into(),
            host: row.host.into(),
            pid: number("node.pid", row.pid)?,
            version: row.version.into(),
            zone_data: row.zone_data.into(),
            profile: parsed("node.profile", &row.profile)?,
            capacity: number("node.capacity", row.capacity)?,
            kinds: parsed("node.kinds", &row.kinds)?,
        };
        Ok(Self {
            info,
            state: NodeState::decode("node.state", row.state)?,
            standby: boolean("node.standby", row.standby)?,
            gate: row.gate,
            joined: Timestamp::from_micros(row.joined_us),
            beat: row.beat.unwrap_or(0),
            seen: at(row.seen_us),
        })
    }
}
