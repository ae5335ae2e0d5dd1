//! What a process does about the schema when it starts.

use super::*;

fn opened(conn: &mut Fake, known: &[Migration], mode: MigrateMode) -> Result<()> {
    with_runner(known, |runner| run(prepare(conn, runner, mode, &mut |_| {})))
}

#[test]
fn a_process_that_may_not_migrate_waits_until_others_have() {
    let known = known(&[FIRST, SECOND]);
    for transactional in [true, false] {
        let mut winner = Fake::new(transactional);
        ready(&mut winner, &known);
        let mut conn = Fake::new(transactional);
        conn.meanwhile = Some(winner.database());
        opened(&mut conn, &known, MigrateMode::Wait).unwrap();
        assert_eq!(conn.pauses, 3, "it looks again as soon as it has waited");
        assert!(conn.log.iter().all(|call| call == "history"), "{:?}", conn.log);
    }
}

#[test]
fn waiting_for_others_has_an_end() {
    let mut conn = Fake::new(true);
    let error = opened(&mut conn, &known(&[FIRST]), MigrateMode::Wait).unwrap_err();
    assert_eq!((error.kind(), conn.pauses), (ErrorKind::Unsupported, 5), "a patience of one second");
    assert!(error.message().contains("punctual migrate apply"), "{error}");
}

#[test]
fn what_cannot_come_is_not_waited_for() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().rows = rows(&known)[1..].to_vec();
    let error = opened(&mut conn, &known, MigrateMode::Wait).unwrap_err();
    assert_eq!((error.kind(), conn.pauses), (ErrorKind::Corrupt, 0));
}

#[test]
fn a_mode_that_only_looks_changes_nothing() {
    let known = known(&[FIRST]);
    let mut conn = Fake::new(true);
    let error = opened(&mut conn, &known, MigrateMode::Validate).unwrap_err();
    assert_eq!((error.kind(), conn.pauses), (ErrorKind::Unsupported, 0));
    opened(&mut conn, &known, MigrateMode::Off).unwrap();
    assert_eq!(conn.database(), Database::default());
    opened(&mut conn, &known, MigrateMode::Auto).unwrap();
    opened(&mut conn, &known, MigrateMode::Validate).unwrap();
}

#[test]
fn modes_have_words() {
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate, MigrateMode::Off] {
        assert_eq!(mode.as_str().parse::<MigrateMode>().unwrap(), mode);
    }
    assert!("never".parse::<MigrateMode>().unwrap_err().message().contains("auto, wait"));
}
