//! That the statements are what the driver and both servers need, and that the codes in the text are those of core.

use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::node::NodeState;
use punctual_core::record::Coded;
use punctual_core::trigger::TriggerState;

use super::*;

#[test]
fn a_part_is_repeated_with_its_separator() {
    assert_eq!(each("VALUES [[(?, ?)||, ]] x", 1), "VALUES (?, ?) x");
    assert_eq!(each("VALUES [[(?, ?)||, ]]", 3), "VALUES (?, ?), (?, ?), (?, ?)");
    assert_eq!(each("SELECT 1", 3), "SELECT 1");
    for text in [GLANCE, READ_DUE, READY, LEVELS, NEXT_WAKE_OF_READY, NEXT_WAKE_OF_TRIGGERS] {
        let twice = each(text, 2);
        assert!(!twice.contains("[[") && !twice.contains("||") && !twice.contains("]]"), "{twice}");
        assert!(twice.matches('?').count() > each(text, 1).matches('?').count());
    }
}

/// The texts of all files, without their comments.
fn texts() -> impl Iterator<Item = &'static str> {
    let files = [
        include_str!("../sql.rs"),
        include_str!("check.rs"),
        include_str!("listings.rs"),
        include_str!("migrations.rs"),
        include_str!("migrations/own.rs"),
        include_str!("own.rs"),
        include_str!("own/claim.rs"),
        include_str!("pauses.rs"),
    ];
    files.into_iter().flat_map(str::lines).filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn a_question_mark_is_a_placeholder_and_nothing_else() {
    for line in texts() {
        for quoted in line.split('\'').skip(1).step_by(2) {
            assert!(!quoted.contains('?'), "{line}");
        }
    }
}

/// What does not fit a column of `JSON_TABLE` becomes null, so what is stored must not pass through a short one.
#[test]
fn stored_texts_pass_through_long_columns() {
    for text in [INSERT_EXECUTION, INSERT_HISTORY, MAKE_SLOT, PATCH_TRIGGER, SETTLE_BACK] {
        let short = text.split(',').filter(|column| column.contains("VARCHAR"));
        let ids = |column: &&str| column.contains(" id VARCHAR") || column.contains("(id VARCHAR");
        assert_eq!(short.filter(|column| !ids(column)).collect::<Vec<_>>(), [""; 0], "{text}");
    }
}

#[test]
fn nothing_is_used_that_only_one_of_the_servers_has() {
    for word in
        ["RETURNING", "FOR SHARE", "FOR UPDATE OF", "LATERAL", "ON CONFLICT", "VALUES(", " AS new", "NULLS "]
    {
        for line in texts() {
            assert!(!line.contains(word), "{word}: {line}");
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
