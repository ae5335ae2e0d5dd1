//! Runs whose connection ends at each of their statements, before it and after it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A migration of a few steps of each sort, so that every one of its statements can be crashed at.
const FIRST: (&str, &str) = (
    "0001_init.sql",
    "-- step: table\nCREATE TABLE punctual_a (id BIGINT NOT NULL PRIMARY KEY, n BIGINT NOT NULL) ENGINE = InnoDB\n\
     -- probe:\nSELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = \
     'punctual_a'\n\
     -- step: rows\nINSERT INTO punctual_a (id, n) VALUES (1, 1), (2, 1) ON DUPLICATE KEY UPDATE n = n + 1\n\
     -- probe:\nSELECT COUNT(*) FROM punctual_a WHERE id = 2\n",
);
const SECOND: (&str, &str) = (
    "0002_more.sql",
    "-- step: column\nALTER TABLE punctual_a ADD COLUMN m BIGINT\n\
     -- probe:\nSELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = \
     'punctual_a' AND column_name = 'm'\n\
     -- step: index\nCREATE UNIQUE INDEX a_m ON punctual_a (m)\n\
     -- probe:\nSELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = \
     'punctual_a' AND index_name = 'a_m'\n",
);

/// Ends the connection at one statement, and counts what was run to its end by all runs.
#[derive(Debug, Default)]
struct Crash {
    at: Option<(u32, Side)>,
    seen: AtomicU32,
    whole: Arc<Count>,
}

impl StatementHook for Crash {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        self.whole.at(point);
        let seen = self.seen.load(Ordering::SeqCst);
        if point.side == Side::After {
            self.seen.fetch_add(1, Ordering::SeqCst);
        }
        if self.at == Some((seen, point.side)) { HookAnswer::Cut } else { HookAnswer::Continue }
    }
}

fn known() -> Vec<Migration> {
    punctual_core::migrate::parse(&[FIRST, SECOND]).unwrap()
}

/// A whole run of `known` crashes at each of its statements in `places`; the next one ends where one that never crashed
/// ends, and no step was done twice.
async fn crash_everywhere(test: &str, known: &[Migration], wanted: impl Fn(&str) -> bool) -> usize {
    let database = Database::new(&format!("{test}_golden")).await;
    let whole = Arc::new(Count::default());
    let hook = Crash { whole: Arc::clone(&whole), ..Crash::default() };
    let mut golden = hooked(&database, Arc::new(hook)).await;
    let outcome = migrate(&mut golden, &runner(known, &[]), &mut |_| {}).await.unwrap();
    assert_eq!(usize::try_from(outcome.ready().unwrap().version).unwrap(), known.len());
    let shape = golden.fingerprint().await.unwrap();
    database.drop().await;
    let statements = whole.0.lock().unwrap().clone();
    let places: Vec<(u32, Side)> = (0..)
        .zip(&statements)
        .filter(|(_, statement)| wanted(statement))
        .flat_map(|(at, _)| [(at, Side::Before), (at, Side::After)])
        .collect();
    let mut crashed = 0;
    for at in &places {
        let database = Database::new(&format!("{test}_{}_{:?}", at.0, at.1).to_lowercase()).await;
        let whole = Arc::new(Count::default());
        let hook = Crash { at: Some(*at), whole: Arc::clone(&whole), ..Crash::default() };
        let mut doomed = hooked(&database, Arc::new(hook)).await;
        let outcome = migrate(&mut doomed, &runner(known, &[]), &mut |_| {}).await;
        match outcome {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{at:?}: {error}");
                crashed += 1;
            }
            // The statements of the fingerprint come after the run.
            Ok(outcome) => drop(outcome.ready().unwrap()),
        }
        let hook = Crash { whole: Arc::clone(&whole), ..Crash::default() };
        let mut next = hooked(&database, Arc::new(hook)).await;
        let outcome = migrate(&mut next, &runner(known, &[]), &mut |_| {}).await;
        let migrated = outcome.unwrap_or_else(|error| panic!("{at:?}: {error}")).ready().unwrap();
        assert_eq!(usize::try_from(migrated.version).unwrap(), known.len(), "{at:?}");
        assert_eq!(next.fingerprint().await.unwrap(), shape, "{at:?}");
        let rows = next.history().await.unwrap();
        assert!(rows.iter().map(|row| row.version).eq(known.iter().map(|one| one.version)), "{at:?}");
        assert!(rows.iter().all(|row| row.state == MigrationState::Done), "{at:?}");
        for step in known.iter().flat_map(|migration| &migration.steps) {
            // A change of rows that are not there has nothing to do, so its probe may find it done before.
            let least = usize::from(!step.sql.contains("UPDATE punctual_job"));
            assert!((least..=1).contains(&whole.of(&step.sql)), "{at:?}: step {}", step.name);
        }
        database.drop().await;
    }
    crashed
}

#[tokio::test]
async fn a_run_that_ends_at_any_statement_is_completed_by_the_next_one() {
    let crashed = crash_everywhere("crash", &known(), |_| true).await;
    assert!(crashed > 100, "{crashed}");
}

#[tokio::test]
async fn the_migrations_are_completed_wherever_a_step_of_theirs_was_cut_off() {
    let known = MysqlMigrations::known().unwrap();
    let steps: Vec<&str> = known.iter().flat_map(|one| &one.steps).map(|step| &*step.sql).collect();
    let crashed = crash_everywhere("steps", &known, |statement| steps.contains(&statement)).await;
    assert_eq!(crashed, 2 * steps.len());
}

/// One database on which each run gets a little further than the one before, until all is done.
#[tokio::test]
async fn a_run_of_crashes_ends_in_a_whole_schema() {
    let database = Database::new("storm").await;
    let (known, shapes) = (MysqlMigrations::known().unwrap(), MysqlMigrations::shapes());
    let whole = Arc::new(Count::default());
    let mut crashes = 0;
    loop {
        // The first statements of each run are the same; how far it comes behind them differs.
        let at = Some((30 + crashes % 17, if crashes % 2 == 0 { Side::Before } else { Side::After }));
        let hook = Crash { at, whole: Arc::clone(&whole), ..Crash::default() };
        let mut conn = hooked(&database, Arc::new(hook)).await;
        match migrate(&mut conn, &runner(&known, &shapes), &mut |_| {}).await {
            Ok(outcome) => break assert_eq!(outcome.ready().unwrap().version, newest()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
        crashes += 1;
    }
    assert!(crashes > 10, "{crashes}");
    assert_eq!(conn(&database).await.fingerprint().await.unwrap(), *shapes.last().unwrap());
    for step in known.iter().flat_map(|migration| &migration.steps) {
        assert_eq!(whole.of(&step.sql), 1, "step {}", step.name);
    }
    database.drop().await;
}

/// Any journal that a run can leave: some steps of the migration done, one begun, and done or not.
#[tokio::test]
async fn any_journal_is_gone_on_from() {
    let known = known();
    let steps = &known[0].steps;
    for (at, step) in steps.iter().enumerate() {
        for state in [MigrationState::Started, MigrationState::Done] {
            let database = Database::new(&format!("journal_{at}_{}", state.as_str())).await;
            let mut conn = conn(&database).await;
            let outcome = migrate(&mut conn, &runner(&known, &[]), &mut |_| {}).await.unwrap();
            assert_eq!(outcome.ready().unwrap().version, 2);
            let shape = conn.fingerprint().await.unwrap();
            // The journal goes back to where this step was begun, or is as it was; the objects are all there.
            let back = format!(
                "UPDATE punctual_migration_step SET state = {} WHERE version = 1 AND step = '{}'; \
                 UPDATE punctual_migration SET state = 1, finished_us = NULL WHERE version = 1; \
                 DELETE FROM punctual_migration WHERE version = 2; \
                 UPDATE punctual_migration_step SET state = 1 WHERE version = 2",
                state.code(),
                step.name
            );
            database.connection().await.batch_execute(&back).await.unwrap();
            let outcome = migrate(&mut conn, &runner(&known, &[]), &mut |_| {}).await.unwrap();
            assert_eq!(outcome.ready().unwrap().applied, [1, 2]);
            assert_eq!(conn.fingerprint().await.unwrap(), shape);
            assert_eq!(database.number("SELECT CAST(SUM(n) AS SIGNED) AS n FROM punctual_a").await, 2);
            database.drop().await;
        }
    }
}
