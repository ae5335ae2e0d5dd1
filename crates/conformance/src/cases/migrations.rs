//! Migrations one after the other: what a run makes, what it writes of itself, and what it leaves alone.

use std::time::Duration;

use punctual_core::ErrorKind;
use punctual_core::JobStore;
use punctual_core::migrate::{
    LockedEnd, MigrateMode, Migration, MigrationOutcome, MigrationRow, MigrationState, MigrationStep,
    baseline, export, rehearse,
};
use punctual_core::node::NodeInfo;

use crate::case::cases;
use crate::schema::{BINARY, Schema, versions};
use crate::target::Tamper;

/// A step that no database understands.
fn nonsense() -> MigrationStep {
    MigrationStep {
        name: "nonsense".into(),
        sql: "THIS IS NO STATEMENT".into(),
        probe: Some("SELECT 0".into()),
        cleanup: None,
    }
}

cases! {
    E "migrations";

    /// An empty place gets every version in order, and then has the shape that the newest one says.
    [Migrations]
    async fn an_empty_place_gets_every_version(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        assert_eq!(conn.history().await.expect("a read"), []);
        let migrated = schema.ready(&mut conn, &schema.known).await;
        assert_eq!((migrated.version, migrated.applied), (schema.newest(), versions(&schema.known)));
        let drift = schema.shapes[schema.shapes.len() - 1].drift(&conn.fingerprint().await.expect("a read"));
        assert_eq!(drift.to_string(), "");
    }

    /// The schema has, after each version, the shape that is kept for that version.
    [Migrations]
    async fn each_version_has_its_shape(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        for count in 1..=schema.known.len() {
            schema.ready(&mut conn, &schema.known[..count]).await;
            let drift = schema.shapes[count - 1].drift(&conn.fingerprint().await.expect("a read"));
            assert_eq!(drift.to_string(), "", "after version {count}");
        }
    }

    /// A schema that is current is only read: no lock is asked for, and nothing is written.
    [Migrations]
    async fn what_is_current_is_only_read(bench) {
        let (schema, mut conn) = Schema::brief(&bench, "m").await;
        let before = conn.history().await.expect("a read");
        let (mut second, watch) = schema.watched().await;
        let migrated = schema.ready(&mut second, &schema.known).await;
        assert_eq!((migrated.version, migrated.applied), (schema.newest(), vec![]));
        assert_eq!(watch.calls(), ["history"]);
        assert_eq!(conn.history().await.expect("a read"), before);
    }

    /// The history says of each version which text was run, by which binary, from when to when on the database's clock,
    /// and which versions may read and write what came of it.
    [Migrations]
    async fn a_row_of_the_history_says_what_was_run(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        let before = conn.now().await.expect("a clock");
        schema.ready(&mut conn, &schema.known).await;
        let after = conn.now().await.expect("a clock");
        let history = conn.history().await.expect("a read");
        assert_eq!(history.len(), schema.known.len());
        for (row, migration) in history.iter().zip(&schema.known) {
            let finished = row.finished.expect("it is complete");
            assert!(before <= row.started && row.started <= finished && finished <= after, "{row:?}");
            let expected = MigrationRow {
                finished: row.finished,
                ..MigrationRow::of(migration, MigrationState::Done, BINARY, row.started)
            };
            assert_eq!(*row, expected);
        }
    }

    /// A version has one row, however often it is written.
    [Migrations]
    async fn a_version_has_one_row(bench) {
        let (schema, _) = Schema::brief(&bench, "m").await;
        let mut conn = schema.locked("the kit").await;
        let one = schema.and_one_more().pop().expect("one more");
        let now = conn.now().await.expect("a clock");
        let begun = MigrationRow::of(&one, MigrationState::Started, BINARY, now);
        let done = MigrationRow { state: MigrationState::Done, finished: Some(now), ..begun.clone() };
        for row in [&begun, &begun, &done, &done] {
            conn.record(row).await.expect("a write");
        }
        conn.unlock(LockedEnd::Commit).await.expect("the lock is given up");
        let rows = conn.history().await.expect("a read");
        assert_eq!(rows.iter().filter(|row| row.version == one.version).collect::<Vec<_>>(), [&done]);
    }

    /// A rehearsal says what a run would do, and changes nothing.
    [Migrations]
    async fn a_rehearsal_changes_nothing(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        let before = conn.fingerprint().await.expect("a read");
        let outcome = rehearse(&mut *conn, &schema.runner(&schema.known), &mut |_| {}).await;
        let migrated = outcome.expect("a rehearsal").ready().expect("it would go well");
        assert_eq!(migrated.applied, versions(&schema.known));
        assert_eq!(conn.history().await.expect("a read"), []);
        assert_eq!(conn.fingerprint().await.expect("a read"), before);
    }

    /// A statement that the database refuses ends the run with the name of its step, and does not stand in the way of the
    /// next run.
    [Migrations]
    async fn a_refused_statement_ends_the_run(bench) {
        let (schema, mut conn) = Schema::brief(&bench, "m").await;
        let good = schema.and_one_more();
        let mut bad = good.clone();
        bad.last_mut().expect("one more").steps.push(nonsense());
        let error = schema.run(&mut conn, &bad).await.expect_err("it is no statement");
        assert!(error.message().contains("step nonsense"), "{error}");
        assert_ne!(error.kind(), ErrorKind::Unavailable);
        let begun = conn.history().await.expect("a read");
        let complete = begun.iter().filter(|row| row.state != MigrationState::Started);
        assert_eq!(complete.count(), schema.known.len());
        assert_eq!(schema.ready(&mut conn, &good).await.version, schema.newest() + 1);
    }

    /// A table of somebody else's with the name of one of ours stops each run, and stays as it is.
    [Migrations]
    async fn tables_of_others_stop_the_run_and_stay(bench) {
        let schema = Schema::empty(&bench, "m").await;
        assert!(schema.target.tamper(Tamper::Occupy).await.expect("it is done"));
        let mut conn = schema.conn().await;
        let theirs = conn.fingerprint().await.expect("a read");
        assert_ne!(theirs.lines().count(), 0, "their table shows");
        for _ in 0..2 {
            let error = schema.run(&mut conn, &schema.known).await.expect_err("it stands in the way");
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
            let found = conn.fingerprint().await.expect("a read");
            assert!(theirs.drift(&found).is_harmless(), "{}", theirs.drift(&found));
        }
        let error = schema.target.open(MigrateMode::Auto).await.expect_err("it stands in the way");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }

    /// A database on which the exported script was run is the same as one that was migrated.
    [Migrations]
    async fn an_export_makes_what_a_run_makes(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        let script = export(&*conn, &schema.known, 0, schema.newest(), BINARY).expect("a script");
        schema.target.run_script(&script).await.expect("the script runs");
        let golden = &schema.shapes[schema.shapes.len() - 1];
        assert_eq!(golden.drift(&conn.fingerprint().await.expect("a read")).to_string(), "");
        assert_eq!(schema.ready(&mut conn, &schema.known).await.applied, [0_i64; 0]);
        let history = conn.history().await.expect("a read");
        assert!(history.iter().all(|row| row.state == MigrationState::Adopted), "{history:?}");
        schema.target.open(MigrateMode::Validate).await.expect("it can be worked with");
    }

    /// A schema without a history is taken over as a version if it has that version's shape, and only then.
    [Migrations]
    async fn a_schema_made_by_hand_is_taken_over(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let mut conn = schema.conn().await;
        // The last version that does not look like the newest one: not every migration changes the shape.
        let newest = schema.shapes.last();
        let before = schema.shapes.iter().rposition(|shape| Some(shape) != newest).map_or(0, |at| at + 1);
        if before > 0 {
            schema.ready(&mut conn, &schema.known[..before]).await;
            schema.delete(&versions(&schema.known[..before])).await;
        }
        let runner = schema.runner(&schema.known);
        let error = baseline(&mut *conn, &runner, schema.newest()).await.expect_err("it has another shape");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(conn.history().await.expect("a read"), []);
        if before > 0 {
            let version = schema.known[before - 1].version;
            baseline(&mut *conn, &runner, version).await.and_then(MigrationOutcome::ready).expect("it has this shape");
        }
        assert_eq!(schema.ready(&mut conn, &schema.known).await.applied, versions(&schema.known[before..]));
        let error = baseline(&mut *conn, &runner, schema.newest()).await.expect_err("there is a history");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    }

    /// A migration that takes away what older binaries need waits until no node of such a binary is up.
    [Migrations]
    async fn a_contraction_waits_for_older_nodes(bench) {
        let (schema, mut conn) = Schema::current(&bench, "m").await;
        let store = schema.target.open(MigrateMode::Auto).await.expect("the store opens");
        let mut known = schema.and_one_more();
        let contraction = Migration { contracts: Some("0.3.0".into()), ..known.remove(known.len() - 1) };
        known.push(contraction);
        let join = async |store: &dyn JobStore, name: &str, version: &str| {
            let info = NodeInfo { version: version.into(), ..bench.info(name) };
            let id = info.id;
            store.join(info).await.expect("a write");
            id
        };
        let old = join(&*store, "old", "0.2.9").await;
        join(&*store, "new", "0.3.1").await;
        for _ in 0..2 {
            let migrated = schema.ready(&mut conn, &known).await;
            assert_eq!((migrated.version, migrated.held_back), (schema.newest(), Some(schema.newest() + 1)));
        }
        store.leave(old).await.expect("a write");
        let migrated = schema.ready(&mut conn, &known).await;
        assert_eq!((migrated.applied, migrated.held_back), (vec![schema.newest() + 1], None));
    }

    /// The lock of migrations is given back with the end of a run: the next one need not wait for it.
    [Migrations]
    async fn the_lock_is_given_back(bench) {
        let (schema, mut conn) = Schema::brief(&bench, "m").await;
        let mut known = schema.and_one_more();
        schema.ready(&mut conn, &known).await;
        let last = known.last().cloned().expect("one more");
        known.push(Migration { version: last.version + 1, checksum: 12, ..last });
        // The first connection is still there.
        let second = schema.conn().await;
        let outcome = schema.start(second, &known, Duration::ZERO).await.expect("it ends").expect("a run");
        assert_eq!(outcome.ready().expect("nobody has the lock").version, schema.newest() + 2);
    }
}
