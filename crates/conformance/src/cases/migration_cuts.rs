//! Runs of migrations whose connection is lost, and the next run.

use punctual_core::ErrorKind;
use punctual_core::migrate::{MigrationState, version_of};

use crate::case::cases;
use crate::schema::{Conn, Schema, Side, versions};

/// More writes than a short run has.
const MOST: u32 = 100;

/// By how many statements each run of a row of them comes further.
const FURTHER: u32 = 7;

async fn complete(conn: &mut Conn) -> Vec<i64> {
    let history = conn.history().await.expect("a read");
    assert!(history.iter().all(|row| row.state == MigrationState::Done), "{history:?}");
    history.iter().map(|row| row.version).collect()
}

cases! {
    E "migration_cuts";

    /// A run whose connection is lost between any two of its writes is completed by the next run, which nobody has to
    /// prepare, and the end is the same.
    [Migrations]
    async fn a_run_that_is_cut_is_completed_by_the_next(bench) {
        let (golden, mut conn) = Schema::brief(&bench, "golden").await;
        let known = golden.known;
        let golden = conn.fingerprint().await.expect("a read");
        for write in 0..MOST {
            let schema = Schema::brief_and_empty(&bench, &format!("c{write}")).await;
            let (mut doomed, watch) = schema.watched().await;
            watch.cut_before(write);
            let outcome = schema.run(&mut doomed, &known).await;
            drop(doomed);
            let mut next = schema.conn().await;
            let place = format!("cut before write {write}: {outcome:?}");
            assert_eq!(schema.ready(&mut next, &known).await.version, 2, "{place}");
            assert_eq!(golden.drift(&next.fingerprint().await.expect("a read")).to_string(), "", "{place}");
            assert_eq!(complete(&mut next).await, versions(&known), "{place}");
            match outcome {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}"),
                Ok(_) => {
                    assert!(write > 4, "a run of so few writes cannot be");
                    return;
                }
            }
        }
        panic!("a short run has {MOST} writes");
    }

    /// Runs that are cut off on either side of a statement, each further than the one before, end in the whole schema; a
    /// statement that cannot be taken back is run once.
    [Migrations]
    async fn a_row_of_cuts_ends_in_the_whole_schema(bench) {
        let schema = Schema::empty(&bench, "m").await;
        let (mut at, mut side) = (0, Side::Before);
        let mut statements = Vec::new();
        let mut conn = loop {
            let (mut conn, watch) = schema.watched().await;
            watch.cut_statement(at, side);
            let outcome = schema.run(&mut conn, &schema.known).await;
            statements.extend(watch.statements());
            match outcome {
                Ok(outcome) => break (outcome.ready().expect("a good end"), conn).1,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
            at += FURTHER;
            side = if side == Side::Before { Side::After } else { Side::Before };
        };
        let drift = schema.shapes[schema.shapes.len() - 1].drift(&conn.fingerprint().await.expect("a read"));
        assert_eq!(drift.to_string(), "");
        assert_eq!(complete(&mut conn).await, versions(&schema.known));
        assert_eq!(version_of(&conn.history().await.expect("a read")), schema.newest());
        if !conn.dialect().transactional {
            let times = statements.len();
            statements.sort_unstable();
            statements.dedup();
            assert_eq!(statements.len(), times, "none was run twice");
        }
    }
}
