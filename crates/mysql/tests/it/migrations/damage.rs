//! Histories that contradict themselves, and their repair.

use punctual_core::migrate::{Damage, Repair, Standing, baseline, repair, repairs, validate};

use super::*;

/// A database at the newest version, after a statement of somebody's.
async fn damaged(test: &str, sql: &str) -> Database {
    let database = Database::new(test).await;
    assert_eq!(ready(&database).await.version, newest());
    database.connection().await.batch_execute(sql).await.unwrap();
    database
}

/// Sees the damage, and repairs it by the plan.
async fn mend(database: &Database) -> (Vec<Damage>, Vec<Repair>) {
    let (known, shapes) = (MysqlMigrations::known().unwrap(), MysqlMigrations::shapes());
    let runner = runner(&known, &shapes);
    let mut conn = conn(database).await;
    let (_, standing, drift) = validate(&mut conn, &runner, true).await.unwrap();
    let Standing::Damaged(damage) = standing else { panic!("{standing:?}") };
    let error = MysqlStore::connect(database.url.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains("punctual migrate repair"), "{error}");
    let history = conn.history().await.unwrap();
    let (plan, left) = repairs(&runner, &history, true, drift.unwrap().is_harmless());
    assert_eq!(left, []);
    repair(&mut conn, &runner, &plan).await.unwrap().ready().unwrap();
    assert_eq!(ready(database).await, nothing_to_do());
    let versions: Vec<i64> = conn.history().await.unwrap().iter().map(|row| row.version).collect();
    assert_eq!(versions, numbers());
    let noted = "SELECT COUNT(*) AS n FROM punctual_migration_run WHERE note IS NOT NULL";
    assert_eq!(database.number(noted).await, 1);
    (damage, plan)
}

#[tokio::test]
async fn a_version_with_two_rows_keeps_the_better_one() {
    let copy = "ALTER TABLE punctual_migration DROP PRIMARY KEY; \
        INSERT INTO punctual_migration SELECT version, name, checksum, 1, started_us + 1, NULL, 'other', min_reader, \
        min_writer FROM punctual_migration";
    let database = damaged("twice", copy).await;
    let (damage, plan) = mend(&database).await;
    let doubled: Vec<_> =
        numbers().into_iter().map(|version| Damage::Duplicate { version, rows: 2 }).collect();
    assert_eq!(damage, doubled);
    assert_eq!(plan.len(), doubled.len());
    let done = database.number("SELECT COUNT(*) AS n FROM punctual_migration WHERE state = 2").await;
    assert_eq!(done, newest());
    database.drop().await;
}

#[tokio::test]
async fn another_text_is_accepted_if_the_schema_is_right() {
    let other = "UPDATE punctual_migration SET checksum = checksum + 1 WHERE version = 1";
    let database = damaged("checksum", other).await;
    let (damage, plan) = mend(&database).await;
    assert!(matches!(damage[..], [Damage::Checksum { version: 1, .. }]), "{damage:?}");
    assert_eq!(plan, [Repair::AcceptChecksum { version: 1 }]);
    database.drop().await;
}

#[tokio::test]
async fn a_row_that_is_missing_is_added_if_the_schema_is_right() {
    let database = damaged("gap", "DELETE FROM punctual_migration WHERE version = 1").await;
    let (damage, plan) = mend(&database).await;
    assert_eq!((damage, plan), (vec![Damage::Gap { version: 1 }], vec![Repair::AddRow { version: 1 }]));
    database.drop().await;
}

#[tokio::test]
async fn a_repair_that_would_leave_something_changes_nothing() {
    let database = damaged(
        "left",
        "DELETE FROM punctual_migration WHERE version = 1; \
         INSERT INTO punctual_migration SELECT -1, name, checksum, state, started_us, finished_us, `binary`, \
         min_reader, min_writer FROM punctual_migration WHERE version = 2; ALTER TABLE punctual_job DROP COLUMN slot_limit",
    )
    .await;
    let (known, shapes) = (MysqlMigrations::known().unwrap(), MysqlMigrations::shapes());
    let runner = runner(&known, &shapes);
    let mut conn = conn(&database).await;
    let before = conn.history().await.unwrap();
    let (plan, left) = repairs(&runner, &before, true, false);
    assert_eq!((plan.as_slice(), left.len()), (&[Repair::DropStray { version: -1 }][..], 1));
    assert_eq!(repair(&mut conn, &runner, &plan).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(conn.history().await.unwrap(), before);
    database.drop().await;
}

#[tokio::test]
async fn a_newer_schema_is_judged_by_its_least_writer() {
    let newer = newest() + 1;
    let insert = format!("INSERT INTO punctual_migration VALUES ({newer}, 'new', 1, 2, 1, 1, '9.0.0', 1, 1)");
    let database = damaged("newer", &insert).await;
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate] {
        MysqlStore::builder(database.url.clone()).migrate(mode).open().await.unwrap();
    }
    let breaking = format!("UPDATE punctual_migration SET min_writer = {newer} WHERE version = {newer}");
    database.connection().await.batch_execute(&breaking).await.unwrap();
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate] {
        let opened = MysqlStore::builder(database.url.clone()).migrate(mode).open().await;
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("9.0.0"), "{error}");
    }
    database.drop().await;
}

#[tokio::test]
async fn somebody_elses_table_stops_the_run_and_stays() {
    let database = Database::new("taken").await;
    let theirs = "CREATE TABLE punctual_job (mine INT); INSERT INTO punctual_job VALUES (7)";
    database.connection().await.batch_execute(theirs).await.unwrap();
    for _ in 0..2 {
        let error = MysqlStore::connect(database.url.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
        assert!(error.message().contains("migration 1 (init), step job"), "{error}");
    }
    assert_eq!(database.number("SELECT mine AS n FROM punctual_job").await, 7);
    database.connection().await.batch_execute("RENAME TABLE punctual_job TO mine").await.unwrap();
    assert_eq!(ready(&database).await.applied, numbers());
    database.drop().await;
}

#[tokio::test]
async fn a_schema_made_by_hand_is_taken_over_if_it_has_the_shape() {
    let database = damaged("baseline", "DROP TABLE punctual_migration").await;
    let (known, shapes) = (MysqlMigrations::known().unwrap(), MysqlMigrations::shapes());
    let runner = runner(&known, &shapes);
    let mut conn = conn(&database).await;
    let mut admin = database.connection().await;
    admin.batch_execute("DROP INDEX job_set ON punctual_job").await.unwrap();
    let error = baseline(&mut conn, &runner, newest()).await.unwrap_err();
    assert!(error.message().contains("- index job_set on punctual_job (set_name)"), "{error}");
    admin.batch_execute("CREATE INDEX job_set ON punctual_job (set_name)").await.unwrap();
    baseline(&mut conn, &runner, newest()).await.unwrap().ready().unwrap();
    assert_eq!(ready(&database).await, nothing_to_do());
    database.drop().await;
}
