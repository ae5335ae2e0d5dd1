//! Runs: alone, against others, broken off at any call, and out of time.

use super::*;

#[test]
fn what_is_missing_is_applied_once_under_the_lock() {
    let known = known(&[FIRST, SECOND]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        assert_eq!(ready(&mut conn, &known), Migrated { version: 2, applied: vec![1, 2], held_back: None });
        conn.log.clear();
        assert_eq!(ready(&mut conn, &known).applied, [0_i64; 0]);
        assert_eq!(conn.log, ["history"], "a current database is not locked");
        assert!(conn.database().rows.iter().all(|row| row.state == MigrationState::Done));
    }
}

#[test]
fn what_a_late_comer_finds_under_the_lock_counts() {
    let known = known(&[FIRST, SECOND]);
    for transactional in [true, false] {
        let mut winner = Fake::new(transactional);
        ready(&mut winner, &known);
        let mut late = Fake::new(transactional);
        late.meanwhile = Some(winner.database());
        assert_eq!(ready(&mut late, &known), Migrated { version: 2, applied: vec![], held_back: None });
        assert!(late.database().made.values().all(|times| *times == 1));
    }
}

#[test]
fn a_run_that_breaks_at_any_call_is_completed_by_the_next_one() {
    for texts in [&[FIRST, SECOND][..], &[FIRST, SECOND, ONLINE]] {
        let known = known(texts);
        for transactional in [true, false] {
            let mut whole = Fake::new(transactional);
            ready(&mut whole, &known);
            let (calls, golden) = (whole.calls, whole.database());
            for at in 0..calls {
                for after in [false, true] {
                    let mut doomed = Fake::new(transactional);
                    doomed.breaks = Some((at, after));
                    let broke = go(&mut doomed, &known);
                    assert!(broke.is_err() || at + 1 >= calls, "call {at}");
                    let mut next = Fake::on(Arc::clone(&doomed.shared), transactional);
                    let migrated = ready(&mut next, &known);
                    let place =
                        format!("transactional {transactional}, broken at call {at}, after it {after}");
                    assert_eq!(migrated.version, i64::try_from(golden.rows.len()).unwrap(), "{place}");
                    let found = next.database();
                    assert_eq!(found.objects, golden.objects, "{place}");
                    assert_eq!(found.rows, golden.rows, "{place}");
                    // What cannot be taken back was made once; of a transaction only the last one counts.
                    assert_eq!(
                        found.made.keys().collect::<Vec<_>>(),
                        golden.made.keys().collect::<Vec<_>>(),
                        "{place}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_holder_that_was_overtaken_writes_nothing_more() {
    let known = known(&[FIRST, SECOND]);
    let mut frozen = Fake::new(false);
    let who = Holder::default();
    assert_eq!(run(frozen.lock(&who, Duration::ZERO, false)).unwrap(), LockOutcome::Taken);
    // Its session ended while it was frozen; somebody else goes through.
    frozen.shared.lock().unwrap().locked = false;
    ready(&mut Fake::on(Arc::clone(&frozen.shared), false), &known);
    assert!(!run(frozen.owns_lock()).unwrap());
    let row = MigrationRow::of(&known[0], MigrationState::Started, "0.2.0", Timestamp::EPOCH);
    assert_eq!(run(frozen.record(&row)).unwrap_err().kind(), ErrorKind::Fenced);
}

#[test]
fn a_lock_that_is_kept_names_its_holder() {
    let known = known(&[FIRST]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().locked = true;
    let mut heard = Vec::new();
    let outcome = with_runner(&known, |runner| {
        let runner = Runner { patience: Duration::from_secs(9), ..runner.clone() };
        run(migrate(&mut conn, &runner, &mut |progress| heard.push(format!("{progress:?}"))))
    });
    assert!(heard.len() == 1 && heard[0].contains("host/7"), "who waits is told for whom: {heard:?}");
    let error = outcome.unwrap().ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("host/7") && error.message().contains("step b"), "{error}");
}

#[test]
fn a_table_of_somebody_elses_stops_the_run_and_stays() {
    let known = known(&[FIRST]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        conn.shared.lock().unwrap().objects.insert("b".into());
        for _ in 0..2 {
            let error = go(&mut conn, &known).unwrap_err();
            assert!(error.message().contains("migration 1 (m1), step b"), "{error}");
        }
        assert!(conn.database().rows.iter().all(|row| row.state == MigrationState::Started));
        // It is moved out of the way, and the run goes through.
        conn.shared.lock().unwrap().objects.remove("b");
        assert_eq!(ready(&mut conn, &known).version, 1);
    }
}

#[test]
fn a_step_that_an_earlier_run_began_stays_begun_when_it_is_refused() {
    let known = known(&["-- step: a\nCREATE a\n-- probe:\nHAS end\n"]);
    let mut conn = Fake::new(false);
    let row = MigrationRow::of(&known[0], MigrationState::Started, "0.1.0", Timestamp::EPOCH);
    conn.shared.lock().unwrap().rows.push(row);
    conn.shared.lock().unwrap().steps.insert((1, "a".into()), MigrationState::Started);
    // The statement of a run that is gone stands in the way, and has not come to its end.
    conn.shared.lock().unwrap().objects.insert("a".into());
    assert_eq!(go(&mut conn, &known).unwrap_err().kind(), ErrorKind::AlreadyExists);
    conn.shared.lock().unwrap().objects.insert("end".into());
    let outcome = with_runner(&known, |runner| {
        run(migrate(&mut conn, &Runner { shapes: &[], ..runner.clone() }, &mut |_| {}))
    });
    assert_eq!(outcome.unwrap().ready().unwrap().applied, [1]);
}

#[test]
fn an_index_that_was_built_beforehand_is_taken() {
    let known = known(&[FIRST, SECOND, ONLINE]);
    let mut conn = Fake::new(true);
    conn.shared.lock().unwrap().objects.insert("i".into());
    assert_eq!(ready(&mut conn, &known).version, 3);
    assert_eq!(conn.database().made.get("i"), None);
}

#[test]
fn what_older_nodes_need_is_not_taken_from_them() {
    let known = known(&[FIRST, SECOND, ONLINE, CONTRACT]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        conn.shared.lock().unwrap().binaries = vec!["0.3.1".into(), "0.2.9".into()];
        let migrated = ready(&mut conn, &known);
        assert_eq!((migrated.version, migrated.held_back), (3, Some(4)));
        assert!(conn.database().objects.contains("b"));
        assert_eq!(ready(&mut conn, &known).held_back, Some(4), "it is asked again at each start");
        conn.shared.lock().unwrap().binaries = vec!["0.3.0".into(), "1.0.0-rc.1".into()];
        assert_eq!(ready(&mut conn, &known), Migrated { version: 4, applied: vec![4], held_back: None });
        assert!(!conn.database().objects.contains("b"));
    }
}

#[test]
fn a_schema_that_came_out_wrong_is_not_kept() {
    let known = known(&[FIRST]);
    let wrong = [Fingerprint::of(["a", "b", "view v"])];
    let mut conn = Fake::new(true);
    with_runner(&known, |runner| {
        let runner = Runner { shapes: &wrong, ..runner.clone() };
        let error = run(migrate(&mut conn, &runner, &mut |_| {})).unwrap_err();
        assert!(error.message().contains("- view v"), "{error}");
    });
    assert_eq!(conn.database().rows, []);
}

#[test]
fn a_rehearsal_keeps_nothing() {
    let known = known(&[FIRST, SECOND, ONLINE]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        let mut steps = 0;
        let outcome = with_runner(&known, |runner| {
            let mut hear =
                |progress: Progress<'_>| steps += usize::from(matches!(progress, Progress::Step { .. }));
            run(rehearse(&mut conn, runner, &mut hear)).unwrap().ready().unwrap()
        });
        assert!(steps >= 3 && outcome.applied.starts_with(&[1, 2]));
        let found = conn.database();
        assert!(found.rows.is_empty() && found.objects.is_empty() && !found.locked);
    }
}

#[test]
fn a_run_that_takes_too_long_gives_the_lock_back() {
    let known = known(&[FIRST, SECOND]);
    for transactional in [true, false] {
        let mut conn = Fake::new(transactional);
        // Each reading of the clock is a second later; the second step is out of time.
        conn.slow = Some(Duration::from_secs(1));
        let go = |conn: &mut Fake, limit| {
            with_runner(&known, |runner| run(migrate(conn, &Runner { limit, ..runner.clone() }, &mut |_| {})))
        };
        let error = go(&mut conn, Duration::from_secs(3)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("step b of migration 1"), "{error}");
        let found = conn.database();
        assert!(!found.locked);
        assert_eq!(found.objects.contains("a"), !transactional, "what cannot be taken back stays");
        // The next run goes on from there.
        assert_eq!(go(&mut conn, LIMIT).unwrap().ready().unwrap().version, 2);
        assert!(conn.database().made.values().all(|times| *times == 1));
    }
}
