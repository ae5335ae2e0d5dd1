//! That the codes in the text are those of core, and that the list of statements is complete.

use std::collections::BTreeSet;

use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::node::NodeState;
use punctual_core::record::Coded;
use punctual_core::trigger::TriggerState;

use super::*;

#[test]
fn every_statement_is_in_the_list() {
    let text = concat!(
        include_str!("../sql.rs"),
        include_str!("check.rs"),
        include_str!("definitions.rs"),
        include_str!("firing.rs"),
        include_str!("listings.rs"),
        include_str!("migrations.rs"),
        include_str!("migrations/own.rs"),
        include_str!("own.rs"),
        include_str!("own/claim.rs"),
        include_str!("pauses.rs"),
        include_str!("upkeep.rs"),
        include_str!("waking.rs")
    );
    let names = text.lines().filter_map(|line| line.strip_prefix("pub(crate) const ")?.split_once(": &str"));
    let names: BTreeSet<&str> = names.map(|(name, _)| name).collect();
    let listed: BTreeSet<&str> = ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, listed);
}

#[test]
fn every_statement_names_the_schema_of_its_tables() {
    for (name, sql) in ALL {
        for table in [
            "meta",
            "node",
            "beat",
            "calendar",
            "job",
            "trigger",
            "mark",
            "execution",
            "slot",
            "history",
            "lock",
            "repair",
            "pause",
        ] {
            for before in ["FROM ", "JOIN ", "INTO ", "UPDATE ", "USING "] {
                let bare = format!("{before}{table} ");
                let of_part = sql.contains(&format!(" {table} AS MATERIALIZED"))
                    || sql.contains(&format!("WITH {table} AS"));
                assert!(of_part || !sql.contains(&bare), "{name}: {bare}");
            }
        }
    }
}

#[test]
fn the_codes_in_the_text_are_those_of_core() {
    assert_eq!(
        (TriggerState::Active.code(), TriggerState::Complete.code(), TriggerState::Error.code()),
        (1, 2, 3)
    );
    assert_eq!(TriggerState::Paused.code(), 4);
    assert_eq!((NodeState::Up.code(), NodeState::Left.code(), NodeState::Dead.code()), (1, 2, 3));
    let states =
        [ExecutionState::Ready, ExecutionState::Claimed, ExecutionState::Running, ExecutionState::Held];
    assert_eq!(states.map(Coded::code), [1, 2, 3, 4]);
    assert_eq!((Outcome::Cancelled.code(), Outcome::Skipped.code()), (3, 5));
}
