//! Histories that somebody has spoilt, or that a later binary has written.

use punctual_core::ErrorKind;
use punctual_core::migrate::{
    Damage, LockedEnd, MigrateMode, MigrationOutcome, MigrationRow, MigrationState, Repair, Standing, repair,
    repairs, validate,
};

use crate::case::cases;
use crate::schema::{Conn, Schema};
use crate::target::Tamper;

/// The damage of a schema, which every way to work with it must refuse.
async fn refused(schema: &Schema, conn: &mut Conn) -> Vec<Damage> {
    let before = conn.history().await.expect("a read");
    let outcome = schema.run(conn, &schema.known).await.expect("a run");
    let MigrationOutcome::Damaged(damage) = outcome else { panic!("{outcome:?}") };
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate] {
        let error = schema.target.open(mode).await.expect_err("it is damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "mode {mode}: {error}");
    }
    assert_eq!(conn.history().await.expect("a read"), before, "nothing is mended unasked");
    damage
}

/// Repairs a schema by its plan, after which it must be current.
async fn mended(schema: &Schema, conn: &mut Conn) -> Vec<Repair> {
    let runner = schema.runner(&schema.known);
    let (_, standing, drift) = validate(&mut **conn, &runner, true).await.expect("a read");
    assert!(matches!(standing, Standing::Damaged(_)), "{standing:?}");
    let (resumes, sound) = (!conn.dialect().transactional, drift.is_some_and(|drift| drift.is_harmless()));
    let (plan, left) = repairs(&runner, &conn.history().await.expect("a read"), resumes, sound);
    assert_eq!(left, []);
    repair(&mut **conn, &runner, &plan).await.and_then(MigrationOutcome::ready).expect("a repair");
    assert_eq!(schema.ready(conn, &schema.known).await.applied, [0_i64; 0]);
    schema.target.open(MigrateMode::Validate).await.expect("it can be worked with");
    let error = repair(&mut **conn, &runner, &plan).await.expect_err("there is nothing to repair");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    plan
}

cases! {
    E "migration_histories";

    /// A version that was run from another text is refused, and its checksum is accepted if the schema has the right shape.
    [Migrations]
    async fn another_text_is_refused(bench) {
        let (schema, mut conn) = Schema::current(&bench, "m").await;
        let first = conn.history().await.expect("a read").remove(0);
        schema.write(&[MigrationRow { checksum: first.checksum ^ 1, ..first }]).await;
        let damage = refused(&schema, &mut conn).await;
        assert!(matches!(damage[..], [Damage::Checksum { version: 1, .. }]), "{damage:?}");
        assert_eq!(mended(&schema, &mut conn).await, [Repair::AcceptChecksum { version: 1 }]);
    }

    /// A history with a gap is refused; it is closed only for a version that is known and whose shape the schema has.
    [Migrations]
    async fn a_gap_is_refused(bench) {
        let (schema, mut conn) = Schema::current(&bench, "m").await;
        if schema.newest() > 1 {
            schema.delete(&[1]).await;
            assert_eq!(refused(&schema, &mut conn).await, [Damage::Gap { version: 1 }]);
            assert_eq!(mended(&schema, &mut conn).await, [Repair::AddRow { version: 1 }]);
        }
        schema.write(&[schema.later(schema.newest() + 2, 1)]).await;
        let gap = [Damage::Gap { version: schema.newest() + 1 }];
        assert_eq!(refused(&schema, &mut conn).await, gap);
        let history = conn.history().await.expect("a read");
        let (plan, left) = repairs(&schema.runner(&schema.known), &history, false, true);
        assert_eq!((plan.as_slice(), left.as_slice()), (&[][..], &gap[..]), "nobody knows what it was");
    }

    /// A schema that a later binary has changed is worked with if that binary allows it, and refused if it does not.
    [Migrations]
    async fn a_newer_schema_says_who_may_write_it(bench) {
        let (schema, mut conn) = Schema::current(&bench, "m").await;
        let newest = schema.newest();
        schema.write(&[schema.later(newest + 1, 1)]).await;
        assert_eq!(schema.ready(&mut conn, &schema.known).await.version, newest + 1);
        let modes = [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate];
        for mode in modes {
            schema.target.open(mode).await.unwrap_or_else(|error| panic!("mode {mode}: {error}"));
        }
        schema.write(&[schema.later(newest + 2, newest + 2)]).await;
        let outcome = schema.run(&mut conn, &schema.known).await.expect("a run");
        let MigrationOutcome::NewerBreaking { version, binary } = outcome else { panic!("{outcome:?}") };
        assert_eq!((version, &*binary), (newest + 2, "99.0.0"));
        for mode in modes {
            let error = schema.target.open(mode).await.expect_err("it must not be written");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "mode {mode}: {error}");
            assert!(error.message().contains("99.0.0"), "{error}");
        }
    }

    /// A version with two rows is refused; the repair keeps one of them, and they cannot come again.
    [Migrations]
    async fn duplicates_are_found_and_repaired(bench) {
        let (schema, mut conn) = Schema::current(&bench, "m").await;
        let before = conn.history().await.expect("a read");
        assert!(schema.target.tamper(Tamper::Duplicate(1)).await.expect("it is done"));
        assert_eq!(refused(&schema, &mut conn).await, [Damage::Duplicate { version: 1, rows: 2 }]);
        let plan = mended(&schema, &mut conn).await;
        assert!(matches!(plan[..], [Repair::DropDuplicates { version: 1, dropped: 1, .. }]), "{plan:?}");
        assert_eq!(conn.history().await.expect("a read"), before);
        let mut again = schema.locked("the kit").await;
        for row in before.iter().chain(&before) {
            again.record(row).await.expect("a write");
        }
        again.unlock(LockedEnd::Commit).await.expect("the lock is given up");
        assert_eq!(conn.history().await.expect("a read"), before);
        let tampered = schema.target.run_script(&again.export_row(&before[0])).await;
        tampered.expect_err("the key is back");
    }

    /// A version that was begun and is not complete is gone on with where definitions stay, and refused where that cannot
    /// come from a crash.
    [Migrations]
    async fn an_unfinished_version_is_no_riddle(bench) {
        let (schema, mut conn) = Schema::current(&bench, "m").await;
        let last = conn.history().await.expect("a read").pop().expect("a row");
        let version = last.version;
        schema.write(&[MigrationRow { state: MigrationState::Started, finished: None, ..last }]).await;
        if conn.dialect().transactional {
            assert_eq!(refused(&schema, &mut conn).await, [Damage::Unfinished { version }]);
            assert_eq!(mended(&schema, &mut conn).await, [Repair::Finish { version }]);
        } else {
            assert_eq!(schema.ready(&mut conn, &schema.known).await.applied, [version]);
        }
    }
}
