//! What a firing or a misfire instruction changes about a trigger, apart from its next instant.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// How far a trigger has come, where its definition and its next instant do not tell.
///
/// One JSON document beside the definition. A new trigger has an empty one ([`Progress::is_empty`]), which a store may
/// keep as `NULL`; a change of the definition empties it. Most triggers never have anything else: only rules of Quartz
/// and catch-ups write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Progress {
    /// Where the grid of a fixed interval begins since it was rescheduled to "now", in place of its definition's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// The repeat count since then, in place of its definition's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// How often it has fired (Quartz's `timesTriggered`), since it was rescheduled to "now".
    #[serde(skip_serializing_if = "is_zero")]
    pub triggered: u64,
    /// The run of late instants that is being caught up with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// Until when the next instant, which is late, was put off so that a catch-up is spread. Apart from the trigger's
    /// wake-up, because that also moves when a slot is taken or freed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<Timestamp>,
}

/// The place of an instant in a run of late ones that are caught up with: `2 of 5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatchUp {
    /// From 1.
    pub k: u32,
    /// How many the run has.
    pub n: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Progress {
    /// Whether nothing has changed since the trigger was defined.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_what_changed_only() {
        let text = |progress| serde_json::to_string(&progress).unwrap();
        assert_eq!(text(Progress::default()), "{}");
        let moved = Progress { start: Some(Timestamp::from_secs(1)), repeat: Some(3), ..Progress::default() };
        assert_eq!(text(moved), r#"{"start":1000000,"repeat":3}"#);
        let catching_up =
            Progress { triggered: 7, catch_up: Some(CatchUp { k: 2, n: 5 }), ..Progress::default() };
        assert_eq!(text(catching_up), r#"{"triggered":7,"catch_up":{"k":2,"n":5}}"#);
        for progress in [Progress::default(), moved, catching_up] {
            assert_eq!(serde_json::from_str::<Progress>(&text(progress)).unwrap(), progress);
        }
        assert!(serde_json::from_str::<Progress>(r#"{"x":1}"#).is_err());
    }
}
