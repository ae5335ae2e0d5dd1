//! Histories of migrations that somebody has spoilt, and their repair.

use punctual_core::ErrorKind;
use punctual_core::migrate::{
    Damage, Migration, MigrationConn, MigrationOutcome, baseline, repair, repairs, validate,
};
use punctual_postgres::PostgresMigrations;

use crate::database::Database;
use crate::migrating::{builder, conn, newest, outcome, run, runner};
use crate::support::{ask, say, users};

async fn migrated(database: &Database) -> (PostgresMigrations, Vec<Migration>) {
    let known = PostgresMigrations::known().unwrap();
    let mut conn = conn(database).await;
    run(&mut conn, &known).await.unwrap();
    (conn, known)
}

async fn damage(conn: &mut PostgresMigrations, known: &[Migration]) -> Vec<Damage> {
    match outcome(conn, known).await.unwrap() {
        MigrationOutcome::Damaged(damage) => damage,
        other => panic!("{other:?}"),
    }
}

/// Repairs what is damaged, and answers how many things that took.
async fn mend(conn: &mut PostgresMigrations, known: &[Migration]) -> usize {
    let shapes = PostgresMigrations::shapes();
    let runner = runner(known, &shapes);
    let (_, _, drift) = validate(conn, &runner, true).await.unwrap();
    let sound = drift.is_some_and(|drift| drift.is_harmless());
    let (plan, left) = repairs(&runner, &conn.history().await.unwrap(), false, sound);
    assert_eq!(left, []);
    repair(conn, &runner, &plan).await.unwrap().ready().unwrap();
    let migrated = outcome(conn, known).await.unwrap().ready().unwrap();
    assert_eq!((migrated.version, migrated.applied), (newest(known), vec![]));
    plan.len()
}

#[tokio::test]
async fn duplicates_are_found_and_removed_and_cannot_come_again() {
    let database = Database::fresh();
    let (mut conn, known) = migrated(&database).await;
    let mut admin = users(&database).await;
    say(
        &mut admin,
        "ALTER TABLE punctual.migration DROP CONSTRAINT migration_pkey;
         INSERT INTO punctual.migration SELECT * FROM punctual.migration WHERE version = 1;
         UPDATE punctual.migration SET checksum = checksum + 1 WHERE version = 2",
    )
    .await;
    let found = damage(&mut conn, &known).await;
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], Damage::Duplicate { version: 1, rows: 2 });
    let refused = builder(&database).open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.message().contains("punctual migrate repair"), "{refused}");
    assert_eq!(mend(&mut conn, &known).await, 2);
    let keys: i64 = ask(
        &mut admin,
        "SELECT count(*) FROM pg_index WHERE indrelid = 'punctual.migration'::regclass AND indisprimary",
    )
    .await;
    assert_eq!(keys, 1);
    let notes: i64 =
        ask(&mut admin, "SELECT count(*) FROM punctual.migration_run WHERE note LIKE '%; %'").await;
    assert_eq!(notes, 1, "both repairs are noted");
    builder(&database).open().await.unwrap();
}

#[tokio::test]
async fn gaps_wrong_texts_and_rows_that_are_no_version_are_mended() {
    for (spoil, expected) in [
        ("DELETE FROM punctual.migration WHERE version = 1", "migration 1 is missing"),
        ("UPDATE punctual.migration SET checksum = 7 WHERE version = 2", "another text"),
        ("UPDATE punctual.migration SET state = 1, finished_us = NULL", "did not end"),
        (
            "INSERT INTO punctual.migration SELECT -1, name, checksum, state, 0, 0, \"binary\", 1, 1
             FROM punctual.migration WHERE version = 1",
            "no version",
        ),
    ] {
        let database = Database::fresh();
        let (mut conn, known) = migrated(&database).await;
        say(&mut users(&database).await, spoil).await;
        let found = damage(&mut conn, &known).await;
        assert!(found.iter().all(|one| one.to_string().contains(expected)), "{found:?}");
        assert_eq!(mend(&mut conn, &known).await, found.len());
    }
}

#[tokio::test]
async fn what_the_schema_does_not_prove_is_not_mended() {
    let database = Database::fresh();
    let (mut conn, known) = migrated(&database).await;
    say(
        &mut users(&database).await,
        "DELETE FROM punctual.migration WHERE version = 1; DROP INDEX punctual.job_key",
    )
    .await;
    let shapes = PostgresMigrations::shapes();
    let runner = runner(&known, &shapes);
    let (_, _, drift) = validate(&mut conn, &runner, true).await.unwrap();
    let drift = drift.unwrap();
    assert_eq!(drift.missing.len(), 1, "{drift}");
    let (plan, left) = repairs(&runner, &conn.history().await.unwrap(), false, drift.is_harmless());
    assert_eq!((plan.len(), left.len()), (0, 1));
}

#[tokio::test]
async fn newer_schemas_are_used_or_refused_as_they_say() {
    let database = Database::fresh();
    let (mut conn, known) = migrated(&database).await;
    let newest = newest(&known);
    let mut admin = users(&database).await;
    let add = |version: i64, writer: i64| {
        format!(
            "INSERT INTO punctual.migration SELECT {version}, 'later', 1, 2, 0, 0, '9.0.0', 1, {writer}
             FROM punctual.migration WHERE version = 1"
        )
    };
    say(&mut admin, &add(newest + 1, 1)).await;
    assert_eq!(run(&mut conn, &known).await.unwrap().version, newest + 1);
    builder(&database).open().await.unwrap();
    say(&mut admin, &add(newest + 2, newest + 2)).await;
    let MigrationOutcome::NewerBreaking { version, binary } = outcome(&mut conn, &known).await.unwrap()
    else {
        panic!("it must not be written")
    };
    assert_eq!((version, &*binary), (newest + 2, "9.0.0"));
    let refused = builder(&database).open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains("9.0.0"), "{refused}");
}

#[tokio::test]
async fn tables_without_a_history_are_not_taken_for_ours_until_that_is_said() {
    let database = Database::fresh();
    let (mut conn, known) = migrated(&database).await;
    say(&mut users(&database).await, "DROP TABLE punctual.migration").await;
    let refused = run(&mut conn, &known).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists, "{refused}");
    let shapes = PostgresMigrations::shapes();
    baseline(&mut conn, &runner(&known, &shapes), newest(&known)).await.unwrap().ready().unwrap();
    assert_eq!(run(&mut conn, &known).await.unwrap().applied, [0_i64; 0]);
}
