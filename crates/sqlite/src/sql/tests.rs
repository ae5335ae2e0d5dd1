//! What SQLite makes of the hot statements, and that the codes in the text are those of core.

use std::collections::BTreeSet;

use punctual_core::execution::{ExecutionState, Outcome};
use punctual_core::node::NodeState;
use punctual_core::record::Coded;
use punctual_core::trigger::TriggerState;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::*;

fn tables() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).unwrap();
    for create in [CREATE_MIGRATION, CREATE_MIGRATION_STEP, CREATE_MIGRATION_RUN] {
        connection.execute_batch(create).unwrap();
    }
    for migration in punctual_core::migrate::parse(punctual_migrations::SQLITE).unwrap() {
        for step in migration.steps {
            connection.execute_batch(&step.sql).unwrap_or_else(|error| panic!("{}: {error}", step.name));
        }
    }
    connection
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let nothing = vec![rusqlite::types::Null; statement.parameter_count()];
    let rows =
        statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get::<_, String>(3)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// All statements, by the names of their constants.
fn statements() -> Vec<(&'static str, &'static str)> {
    let text = concat!(
        include_str!("../sql.rs"),
        include_str!("check.rs"),
        include_str!("listings.rs"),
        include_str!("migrations.rs"),
        include_str!("migrations/own.rs"),
        include_str!("own.rs"),
        include_str!("pauses.rs")
    );
    let names = text.lines().filter_map(|line| {
        line.strip_prefix("pub(crate) const ")?
            .strip_suffix(": &str =")
            .or_else(|| line.strip_prefix("pub(crate) const ")?.split_once(": &str = ").map(|(name, _)| name))
    });
    let names: BTreeSet<&str> = names.collect();
    assert_eq!(names.len(), ALL.len(), "the list of the test is not complete");
    ALL.to_vec()
}

macro_rules! list {
    ($($name:ident)+) => { &[$((stringify!($name), $name)),+] };
}

const ALL: &[(&str, &str)] = list![
    BEGIN_WRITE BEGIN_READ COMMIT ROLLBACK SAVEPOINT SAVEPOINT_KEEP SAVEPOINT_UNDO SAVEPOINT_STEP SAVEPOINT_STEP_KEEP SAVEPOINT_STEP_UNDO NOW FIND_JOB PUT_JOB SPREAD_JOB
    FIND_TRIGGER FIND_MARK PUT_TRIGGER DELETE_TRIGGER PUT_MARK DELETE_MARK LEAVE_TRIGGER LEAVE_JOB LIVE_OF_JOB
    DELETE_JOB UNOWNED_OF_JOB CANCEL_OWNED_OF_JOB SET PUT_SET FIND_CALENDAR PUT_CALENDAR DELETE_CALENDAR KNOWS_EXECUTION KNOWS_OCCURRENCE KNOWS_FIRING KNOWS_JOB
    INSERT_EXECUTION RECORD_CANCELLED DELETE_UNOWNED CANCEL_OWNED INSERT_NODE INSERT_BEAT CHECK_IN CHECKED_IN
    TAKE_OVER IS_UP LEAVE DELETE_BEAT RAISE_EPOCH DELETE_BEATS END_NODES_UP SET_STANDBY ORPHANS GLANCE READ_DUE NEXT_WAKE_OF_TRIGGERS
    NEXT_WAKE_OF_READY GATE_OPEN IS_AS_READ PATCH_TRIGGER GENERATION RECORD_SKIP SET_ASIDE HELD_SLOT FREE_SLOT TAKE_SLOT
    READY CLAIM_READY PARK_READY WORK BEGIN SLOT_IS_HELD SETTLE_END INSERT_HISTORY SETTLE_BACK KNOWS_END FREE_HELD_SLOT WAKE_READY
    WAKE_TRIGGER PRUNE_HISTORY PRUNE_NODES COMPLETED PRUNE_JOB PRUNE_MARKS PRUNE_SLOTS RAISE_FLOOR RAISE_WAKE WAKE_SEQ
    SLOTS_HELD RAISE_LOCK_GUARD WAITING_KEYS DATA_VERSION LOG_LENGTH WRITE_BACK BEGIN_ANEW ACQUIRE_LOCK RENEW_LOCK JOB JOB_BY_ID JOBS TRIGGER TRIGGERS TRIGGERS_OF CALENDAR CALENDARS TRIGGERS_USING EXECUTION EXECUTIONS RECORD
    HISTORY HISTORY_OF_TRIGGER HISTORY_OF_JOB NODES JOBS_OF_SET TRIGGERS_OF_SET CREATE_MIGRATION HAS_MIGRATION
    MIGRATIONS PUT_MIGRATION CLOCK CREATE_MIGRATION_STEP CREATE_MIGRATION_RUN DELETE_MIGRATION MIGRATION_STEPS PUT_MIGRATION_STEP
    DELETE_MIGRATION_STEP BEGIN_MIGRATION_RUN NOTE_MIGRATION_RUN END_MIGRATION_RUN SHAPE SHAPE_TEXTS LIVE_BINARIES HAS_NODES
    CHANGE_MIGRATION HAS_MIGRATION_KEY DROP_MIGRATION CHECK_SLOTS CHECK_UNSLOTTED CHECK_ENDED CHECK_OWNERS CHECK_HELD
    CHECK_BEATS CHECK_BEATLESS CHECK_DEFINITIONS CHECK_DEFINITION CHECK_DEFINITIONS_OF FREE_SLOT_OF_NOBODY DELETE_ENDED
    DELETE_STRAY_BEAT MEND_TRIGGER MEND_JOB PUT_REPAIR REPAIRS PUT_PAUSE DELETE_PAUSE GROUP_IS_PAUSED PAUSE_TRIGGERS RESUME_TRIGGERS PAUSES
];

/// Statements that go through a whole table, and may: they are rare, or their table is small.
const MAY_SCAN: &[&str] = &[
    "LEAVE_JOB",
    "LIVE_OF_JOB",
    "UNOWNED_OF_JOB",
    "CANCEL_OWNED_OF_JOB",
    "PRUNE_NODES",
    "PRUNE_JOB",
    "PRUNE_MARKS",
    "PRUNE_SLOTS",
    "NODES",
    "CALENDARS",
    "PAUSES",
    "HISTORY",
    "MIGRATIONS",
    "HAS_MIGRATION_KEY",
    "BEGIN_MIGRATION_RUN",
    "SHAPE",
    "SHAPE_TEXTS",
    "CHECK_SLOTS",
    "CHECK_ENDED",
    "CHECK_HELD",
    "CHECK_BEATS",
    "DELETE_BEATS",
];

#[test]
fn every_statement_is_understood_and_scans_no_table() {
    let connection = tables();
    for (name, sql) in statements() {
        for line in plan(&connection, sql) {
            let scans = line.starts_with("SCAN ")
                && ![
                    "json_each",
                    "due",
                    "level",
                    "l",
                    "k",
                    "c",
                    "CONSTANT ROW",
                    "(subquery-",
                    "g",
                    "lock",
                    "p",
                    "waiting",
                    "sqlite_schema",
                ]
                .iter()
                .any(|small| line["SCAN ".len()..].starts_with(small));
            assert!(!scans || MAY_SCAN.contains(&name), "{name}: {line}\n{:#?}", plan(&connection, sql));
        }
    }
}

#[test]
fn the_hot_statements_use_the_index_made_for_them() {
    let connection = tables();
    for (name, uses) in [
        ("GLANCE", "COVERING INDEX trigger_due (kind=?"),
        ("GLANCE", "COVERING INDEX execution_ready (kind=?)"),
        ("CHECKED_IN", "INDEX execution_owner (owner=?)"),
        ("READ_DUE", "COVERING INDEX trigger_due (kind=? AND wake_us<?)"),
        ("NEXT_WAKE_OF_TRIGGERS", "COVERING INDEX trigger_due (kind=? AND wake_us>?)"),
        ("NEXT_WAKE_OF_READY", "COVERING INDEX execution_ready (kind=? AND priority=? AND wake_us>?)"),
        ("NEXT_WAKE_OF_READY", "COVERING INDEX execution_ready (kind=? AND priority=? AND wake_us<?)"),
        ("READY", "COVERING INDEX execution_ready (kind=? AND priority=? AND wake_us<?)"),
        ("READY", "COVERING INDEX execution_ready (kind=? AND priority<?)"),
        ("IS_AS_READ", "trigger USING INTEGER PRIMARY KEY"),
        ("PATCH_TRIGGER", "trigger USING INTEGER PRIMARY KEY"),
        ("KNOWS_OCCURRENCE", "COVERING INDEX execution_occurrence"),
        ("KNOWS_OCCURRENCE", "COVERING INDEX history_occurrence"),
        ("SETTLE_END", "execution USING PRIMARY KEY (id=?)"),
        ("SETTLE_BACK", "execution USING PRIMARY KEY (id=?)"),
        ("ORPHANS", "INDEX execution_owner (owner=?)"),
        ("CHECKED_IN", "COVERING INDEX execution_owner"),
        ("FREE_HELD_SLOT", "INDEX slot_holder (exec_id=?)"),
        ("FREE_SLOT", "slot USING PRIMARY KEY (slot_key=?"),
        ("WAKE_READY", "INDEX execution_parked (slot_key=?)"),
        ("WAKE_TRIGGER", "INDEX trigger_parked (job_id=?)"),
        ("WAITING_KEYS", "INDEX execution_parked (slot_key>?)"),
        ("WAITING_KEYS", "INDEX trigger_parked (job_id>?)"),
        ("SLOTS_HELD", "INDEX execution_parked (slot_key=?)"),
        ("PRUNE_HISTORY", "INDEX history_ended (ended_us<?)"),
    ] {
        let (_, sql) = ALL.iter().find(|(known, _)| *known == name).unwrap();
        let plan = plan(&connection, sql);
        assert!(plan.iter().any(|line| line.contains(uses)), "{name} does not use {uses}:\n{plan:#?}");
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
