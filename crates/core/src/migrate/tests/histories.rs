//! Histories that contradict themselves, and how they are mended.

use super::*;

fn damaged(conn: &mut Fake, known: &[Migration]) -> Vec<Damage> {
    match go(conn, known).unwrap() {
        MigrationOutcome::Damaged(damage) => damage,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_schema_is_refused_unless_it_allows_this_writer() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    let mut newer = rows(&known);
    conn.shared.lock().unwrap().rows = newer.clone();
    // The second one allows writers of version 1.
    assert_eq!(ready(&mut conn, &known[..1]).version, 2);
    newer[1].min_writer = 2;
    conn.shared.lock().unwrap().rows = newer;
    let error = go(&mut conn, &known[..1]).unwrap().ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("newer version of Punctual"), "{error}");
}

#[test]
fn contradictions_are_named() {
    let known = known(&[FIRST, SECOND]);
    let whole = rows(&known);
    let with = |rows: Vec<MigrationRow>| {
        let mut conn = Fake::new(true);
        conn.shared.lock().unwrap().rows = rows;
        damaged(&mut conn, &known)
    };
    let mut changed = whole.clone();
    changed[0].checksum += 1;
    assert!(matches!(with(changed)[..], [Damage::Checksum { version: 1, .. }]));
    assert_eq!(with(whole[1..].to_vec()), [Damage::Gap { version: 1 }]);
    let mut half = whole.clone();
    half[1].state = MigrationState::Started;
    assert_eq!(with(half), [Damage::Unfinished { version: 2 }]);
    let twice = [&whole[..], &whole[1..]].concat();
    assert_eq!(with(twice), [Damage::Duplicate { version: 2, rows: 2 }]);
    let stray = MigrationRow { version: 0, ..whole[0].clone() };
    assert_eq!(with([&[stray], &whole[..]].concat()), [Damage::Stray { version: 0 }]);
    let far = MigrationRow { version: i64::MAX, min_writer: 1, ..whole[0].clone() };
    assert_eq!(with([&whole[..1], &[far]].concat()).len(), known.len(), "a bounded list of gaps");
}

fn planned(conn: &mut Fake, known: &[Migration], sound: bool) -> (Vec<Repair>, Vec<Damage>) {
    let history = run(conn.history()).unwrap();
    with_runner(known, |runner| repairs(runner, &history, !conn.transactional, sound))
}

#[test]
fn a_history_is_repaired_as_the_plan_said() {
    let known = known(&[FIRST, SECOND]);
    let whole = rows(&known);
    let newer = MigrationRow { started: Timestamp::from_secs(9), binary: "0.1.1".into(), ..whole[0].clone() };
    let stray = MigrationRow { version: -1, ..whole[0].clone() };
    let mut wrong = whole[1].clone();
    wrong.checksum += 1;
    let mut conn = Fake::new(true);
    {
        let mut database = conn.shared.lock().unwrap();
        database.rows = vec![stray, newer, whole[0].clone(), wrong];
        database.objects = ["a", "b", "c"].map(Into::into).into();
    }
    let (plan, left) = planned(&mut conn, &known, true);
    assert_eq!((plan.len(), left.len()), (3, 0), "{plan:?}");
    with_runner(&known, |runner| run(repair(&mut conn, runner, &plan)).unwrap().ready().unwrap());
    let found = conn.database();
    assert_eq!(found.rows.iter().map(|row| row.version).collect::<Vec<_>>(), [1, 2]);
    assert_eq!((&*found.rows[0].binary, found.rows[1].state), ("0.1.0", MigrationState::Adopted));
    assert_eq!(found.notes.len(), 3, "{:?}", found.notes);
    assert_eq!(ready(&mut conn, &known).version, 2);
    // The plan is not that of what is there any more.
    let error = with_runner(&known, |runner| run(repair(&mut conn, runner, &plan)).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn what_the_schema_does_not_prove_is_not_repaired() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().rows = rows(&known)[1..].to_vec();
    let (plan, left) = planned(&mut conn, &known, false);
    assert_eq!((plan.len(), left), (0, vec![Damage::Gap { version: 1 }]));
    assert!(with_runner(&known, |runner| run(repair(&mut conn, runner, &plan))).is_err());
}

#[test]
fn a_schema_made_by_hand_is_taken_over_if_it_has_the_shape() {
    let known = known(&[FIRST, SECOND]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().objects = ["a", "b"].map(Into::into).into();
    let adopt = |conn: &mut Fake, version| with_runner(&known, |runner| run(baseline(conn, runner, version)));
    assert!(adopt(&mut conn, 2).unwrap_err().message().contains("- c"));
    assert_eq!(adopt(&mut conn, 3).unwrap_err().kind(), ErrorKind::Invalid);
    adopt(&mut conn, 1).unwrap().ready().unwrap();
    assert_eq!(adopt(&mut conn, 1).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(ready(&mut conn, &known), Migrated { version: 2, applied: vec![2], held_back: None });
}

#[test]
fn a_repair_that_does_not_get_the_lock_says_so() {
    let known = known(&[FIRST]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().locked = true;
    let outcomes = with_runner(&known, |runner| {
        [run(repair(&mut conn, runner, &[])), run(baseline(&mut conn, runner, 1))]
    });
    for outcome in outcomes {
        assert!(matches!(outcome.unwrap(), MigrationOutcome::LockTimeout(Some(_))));
    }
}
