use super::rows::{Occurrence, Slot, WorkState};
use super::*;

const OF: Occurrence = Occurrence { trigger: 1, generation: 1, scheduled: 1 };

fn live(scheduled: u8) -> Live {
    let of = Occurrence { scheduled, ..OF };
    let state = WorkState::Claimed;
    Live { of, state, owner: Some(0), fence: 1, attempt: 1, losses: 0, is_parked: false }
}

fn slot(fence: u8) -> Row {
    Row::Slot(Slot { holder: None, fence })
}

fn database() -> Database {
    Database::of([(Key::Slot, slot(1))])
}

#[test]
fn what_is_not_committed_is_seen_by_its_own_session_only() {
    let mut database = database();
    database.write(0, Key::Slot, Some(slot(2))).unwrap();
    assert_eq!(database.newest(0, Key::Slot), Some(slot(2)));
    assert_eq!(database.newest(1, Key::Slot), Some(slot(1)));
    let changes = database.commit(0);
    assert_eq!(changes, [Change { key: Key::Slot, before: Some(slot(1)), after: Some(slot(2)) }]);
    assert_eq!(database.newest(1, Key::Slot), Some(slot(2)));
}

#[test]
fn a_rollback_leaves_nothing_behind() {
    let mut database = database();
    let before = database.clone();
    database.write(0, Key::Slot, None).unwrap();
    database.rollback(0);
    assert_eq!(database, before);
}

#[test]
fn a_writer_waits_for_every_lock_and_a_shared_lock_for_writers_only() {
    let mut database = database();
    database.lock(0, Key::Slot, Mode::Shared).unwrap();
    database.lock(1, Key::Slot, Mode::Shared).unwrap();
    assert_eq!(database.write(1, Key::Slot, None), Err(Refusal::Wait));
    database.commit(0);
    database.write(1, Key::Slot, None).unwrap();
    assert_eq!(database.lock(0, Key::Slot, Mode::Shared), Err(Refusal::Wait));
}

#[test]
fn a_snapshot_stands_still_while_the_newest_version_moves() {
    let mut database = database();
    database.snapshot(0);
    database.write(1, Key::Slot, Some(slot(2))).unwrap();
    database.commit(1);
    assert_eq!(database.read(0, Key::Slot), Some(slot(1)));
    assert_eq!(database.newest(0, Key::Slot), Some(slot(2)));
}

#[test]
fn a_unique_key_waits_for_who_may_still_roll_back_and_then_refuses() {
    let mut database = database();
    assert_eq!(database.insert_live(0, live(1)), Ok(1));
    assert_eq!(database.insert_live(1, live(1)), Err(Refusal::Wait));
    assert_eq!(database.insert_live(1, live(2)), Ok(2));
    database.commit(0);
    assert_eq!(database.insert_live(2, live(1)), Err(Refusal::Breach));
    database.rollback(1);
    assert_eq!(database.insert_live(2, live(2)), Ok(2));
}
