//! Migrations: races, crashes at every statement, holders that were overtaken, rights that are missing, histories that
//! contradict themselves.

mod crashes;
mod damage;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use punctual_core::migrate::{
    Fingerprint, Holder, LIMIT, LockOutcome, MigrateMode, Migrated, Migration, MigrationConn,
    MigrationOutcome, MigrationRow, MigrationState, PATIENCE, Runner, StepRow, export, migrate, rehearse,
};
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{BootInstant, BoxFuture, Clock, ErrorKind, JobStore, Result, Timestamp};
use punctual_mysql::{MysqlMigrations, MysqlStore};

use crate::support::*;

pub(super) fn runner<'k>(known: &'k [Migration], shapes: &'k [Fingerprint]) -> Runner<'k> {
    let who = Holder { who: "process 1".into(), since: None, step: None };
    Runner { known, shapes, binary: "0.1.0", who, patience: PATIENCE, limit: LIMIT }
}

pub(super) async fn conn(database: &Database) -> MysqlMigrations {
    MysqlStore::builder(database.url.clone()).migrations().await.unwrap()
}

pub(super) async fn hooked(database: &Database, hook: Arc<dyn StatementHook>) -> MysqlMigrations {
    MysqlStore::builder(database.url.clone()).statement_hook(hook).migrations().await.unwrap()
}

/// A run of what this binary knows.
pub(super) async fn go(conn: &mut MysqlMigrations, patience: Duration) -> Result<MigrationOutcome> {
    let (known, shapes) = (MysqlMigrations::known()?, MysqlMigrations::shapes());
    migrate(conn, &Runner { patience, ..runner(&known, &shapes) }, &mut |_| {}).await
}

/// The numbers of this binary's migrations.
pub(super) fn numbers() -> Vec<i64> {
    MysqlMigrations::known().unwrap().iter().map(|migration| migration.version).collect()
}

/// The newest of them.
pub(super) fn newest() -> i64 {
    numbers().into_iter().max().unwrap()
}

/// What a run says that finds nothing to do.
pub(super) fn nothing_to_do() -> Migrated {
    Migrated { version: newest(), applied: vec![], held_back: None }
}

pub(super) async fn ready(database: &Database) -> Migrated {
    go(&mut conn(database).await, PATIENCE).await.unwrap().ready().unwrap()
}

/// How often each statement was run to its end.
#[derive(Debug, Default)]
struct Count(Mutex<Vec<String>>);

impl StatementHook for Count {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.side == Side::After {
            self.0.lock().unwrap().push(point.statement.to_owned());
        }
        HookAnswer::Continue
    }
}

impl Count {
    fn of(&self, statement: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|run| *run == statement).count()
    }
}

/// The shapes beside the migrations are those that they make. With UPDATE_SHAPES=1 in the environment, the test writes
/// what it finds.
#[tokio::test]
async fn the_shapes_beside_the_migrations_are_true() {
    let database = Database::new("shapes").await;
    let known = MysqlMigrations::known().unwrap();
    for count in 1..=known.len() {
        let mut conn = conn(&database).await;
        let migrated = migrate(&mut conn, &runner(&known[..count], &[]), &mut |_| {}).await.unwrap();
        assert_eq!(usize::try_from(migrated.ready().unwrap().version).unwrap(), count);
        let found = conn.fingerprint().await.unwrap();
        let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/mysql");
        let beside = beside.join(format!("{count:04}_{}.schema", known[count - 1].name));
        if std::env::var_os("UPDATE_SHAPES").is_some() {
            let text: String = found.lines().map(|line| format!("{line}\n")).collect();
            std::fs::write(&beside, text).unwrap();
        } else {
            assert_eq!(MysqlMigrations::shapes()[count - 1], found, "{}", beside.display());
        }
    }
    database.drop().await;
}

/// A row whose limit of slots is yet to be copied, so that the step that does so has something to do.
const JOB: &str = "INSERT INTO punctual_job (id, group_name, name, kind, spec, payload_codec, payload_version, \
    payload_data, priority, durable, rev, created_us, slot_key) \
    VALUES (1, 'g', 'n', 'k', '{\"concurrency\":{\"limit\":3}}', 'json', 1, '1', 0, 0, 1, 0, 's')";

#[tokio::test]
async fn each_probe_is_false_before_its_step_and_true_after_it() {
    let database = Database::new("probes").await;
    let mut conn = conn(&database).await;
    for migration in MysqlMigrations::known().unwrap() {
        if migration.version == 2 {
            database.connection().await.batch_execute(JOB).await.unwrap();
        }
        for step in &migration.steps {
            let place = format!("migration {}, step {}", migration.version, step.name);
            let probe = step.probe.as_deref().unwrap_or_else(|| panic!("{place} has no probe"));
            assert!(!conn.probe(probe).await.unwrap(), "{place}");
            conn.run(&step.sql).await.unwrap();
            assert!(conn.probe(probe).await.unwrap(), "{place}");
            // What writes rows may be run again, and what puts one index in the place of another; what defines is refused.
            let again = conn.run(&step.sql).await;
            if ["INSERT", "UPDATE punctual", "DROP INDEX"].iter().any(|word| step.sql.contains(word)) {
                again.unwrap_or_else(|error| panic!("{place}: {error}"));
            } else {
                assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists, "{place}");
            }
            assert!(conn.probe(probe).await.unwrap(), "{place}");
        }
    }
    assert_eq!(database.number("SELECT slot_limit AS n FROM punctual_job").await, 3);
    database.drop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_start_at_once_apply_each_migration_once() {
    for round in 0..2 {
        let database = Database::new(&format!("race{round}")).await;
        let count = Arc::new(Count::default());
        let tasks: Vec<_> = (0..32)
            .map(|task| {
                let (url, count) = (database.url.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    if task % 2 == 0 {
                        MysqlStore::builder(url).connections(1).open().await.unwrap();
                        return Vec::new();
                    }
                    let conn = MysqlStore::builder(url).statement_hook(count).migrations().await;
                    go(&mut conn.unwrap(), PATIENCE).await.unwrap().ready().unwrap().applied
                })
            })
            .collect();
        let mut applied = Vec::new();
        for task in tasks {
            applied.extend(task.await.unwrap());
        }
        assert!(applied.is_empty() || applied == numbers(), "{applied:?}");
        let known = MysqlMigrations::known().unwrap();
        for step in known.iter().flat_map(|migration| &migration.steps) {
            assert!(count.of(&step.sql) <= 1, "step {}", step.name);
        }
        let rows = conn(&database).await.history().await.unwrap();
        assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), numbers());
        assert!(rows.iter().all(|row| row.state == MigrationState::Done));
        database.drop().await;
    }
}

#[tokio::test]
async fn a_late_comer_finds_under_the_lock_that_all_is_done() {
    let database = Database::new("late").await;
    let (stop, mut stopped) = Stop::at("migrate", "GET_LOCK", Side::Before);
    let mut late = hooked(&database, Arc::new(stop)).await;
    let run = tokio::spawn(async move { go(&mut late, PATIENCE).await });
    stopped.reached().await;
    assert_eq!(ready(&database).await.applied, numbers());
    drop(stopped);
    let migrated = run.await.unwrap().unwrap().ready().unwrap();
    assert_eq!(migrated, nothing_to_do());
    database.drop().await;
}

/// The connection that has the lock of migrations of a database that nobody else uses but through it.
const HOLDER: &str = "SELECT id AS n FROM information_schema.processlist WHERE id <> CONNECTION_ID() \
    AND db = DATABASE() LIMIT 1";

#[tokio::test]
async fn a_frozen_holder_whose_session_ended_does_nothing_more() {
    let database = Database::new("frozen").await;
    let (stop, mut stopped) = Stop::at("migrate", "CREATE INDEX job_set", Side::Before);
    let mut frozen = hooked(&database, Arc::new(stop)).await;
    let run = tokio::spawn(async move {
        let outcome = go(&mut frozen, PATIENCE).await;
        (outcome, frozen)
    });
    stopped.reached().await;
    let holder = database.number(HOLDER).await;
    database.connection().await.batch_execute(&format!("KILL {holder}")).await.unwrap();
    // Somebody else finds the step begun and not done, and goes through.
    assert_eq!(ready(&database).await.applied, numbers());
    let before = conn(&database).await.history().await.unwrap();
    drop(stopped);
    let (outcome, mut frozen) = run.await.unwrap();
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // It does not connect again by itself.
    let entry = StepRow { version: 1, step: "job_set".into(), state: MigrationState::Started };
    assert_eq!(frozen.record_step(&entry).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(frozen.owns_lock().await.is_err());
    assert_eq!(conn(&database).await.history().await.unwrap(), before);
    database.drop().await;
}

#[tokio::test]
async fn a_holder_that_was_overtaken_writes_nothing_more() {
    let database = Database::new("overtaken").await;
    let mut old = conn(&database).await;
    let who = Holder { who: "process 1".into(), since: None, step: None };
    assert_eq!(old.lock(&who, PATIENCE, false).await.unwrap(), LockOutcome::Taken);
    let known = MysqlMigrations::known().unwrap();
    let row = MigrationRow::of(&known[0], MigrationState::Started, "0.1.0", old.now().await.unwrap());
    old.record(&row).await.unwrap();
    // A row that is as it should be counts as no change on some connections, and is no reason to stop.
    old.record(&row).await.unwrap();
    // As behind a proxy that gave the lock's session to somebody else.
    let newer = "INSERT INTO punctual_migration_run (generation, who, began_us) VALUES (2, 'process 2', 0)";
    database.connection().await.batch_execute(newer).await.unwrap();
    let done = MigrationRow::of(&known[0], MigrationState::Done, "0.1.0", old.now().await.unwrap());
    let entry = StepRow { version: 1, step: "meta".into(), state: MigrationState::Done };
    for refused in [
        old.record(&done).await,
        old.record_step(&entry).await,
        old.forget_step(1, "meta").await,
        old.replace(1, &[]).await,
        old.note("x").await,
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Fenced);
    }
    assert_eq!(conn(&database).await.history().await.unwrap(), [row]);
    database.drop().await;
}

#[tokio::test]
async fn a_lock_that_is_kept_names_its_holder() {
    let database = Database::new("kept").await;
    let (stop, mut stopped) = Stop::at("migrate", "CREATE INDEX job_set", Side::Before);
    let mut holder = hooked(&database, Arc::new(stop)).await;
    let run = tokio::spawn(async move { go(&mut holder, PATIENCE).await });
    stopped.reached().await;
    let outcome = go(&mut conn(&database).await, Duration::from_secs(1)).await.unwrap();
    let error = outcome.ready().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for part in ["process 1", "connection ", "at step job_set"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    drop(stopped);
    assert_eq!(run.await.unwrap().unwrap().ready().unwrap().applied, numbers());
    database.drop().await;
}

/// A clock that is far off.
#[derive(Debug)]
struct Off(Timestamp);

impl Clock for Off {
    fn boot(&self) -> BootInstant {
        BootInstant::default()
    }

    fn wall(&self) -> Timestamp {
        self.0
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn the_database_tells_the_time() {
    let database = Database::new("clocks").await;
    let before = conn(&database).await.now().await.unwrap();
    let off = |minutes: i64| {
        let at = Timestamp::from_micros(before.as_micros() + minutes * 60_000_000);
        MysqlStore::builder(database.url.clone()).clock(Arc::new(Off(at)))
    };
    let (late, early) = tokio::join!(off(-10).open(), off(10).open());
    late.unwrap();
    early.unwrap();
    let mut conn = conn(&database).await;
    let after = conn.now().await.unwrap();
    for row in conn.history().await.unwrap() {
        let finished = row.finished.unwrap();
        assert!(before <= row.started && row.started <= finished && finished <= after, "{row:?}");
    }
    database.drop().await;
}

#[tokio::test]
async fn one_connection_is_enough() {
    let database = Database::new("single").await;
    let store = MysqlStore::builder(database.url.clone()).connections(1).open().await.unwrap();
    store.join(node(1)).await.unwrap();
    assert_eq!(conn(&database).await.live_binaries().await.unwrap(), ["0".into()]);
    database.drop().await;
}

#[tokio::test]
async fn a_user_without_the_rights_is_told_so_at_once() {
    let database = Database::new("rights").await;
    let user = format!("w{:x}", std::process::id());
    let server = &database.server;
    server.execute(&format!("CREATE USER {user} IDENTIFIED BY 'secret'")).await;
    server.execute(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {}.* TO {user}", database.name)).await;
    let host = database.url.rsplit_once('@').unwrap().1;
    let url = format!("mysql://{user}:secret@{host}");
    for _ in 0..2 {
        // The second one would wait for a lock that was left.
        let error = MysqlStore::connect(url.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("CREATE, ALTER, INDEX"), "{error}");
    }
    let mut weak = MysqlStore::builder(url.clone()).migrations().await.unwrap();
    assert_eq!(go(&mut weak, PATIENCE).await.unwrap_err().kind(), ErrorKind::Unsupported);
    // Somebody else migrates: then it needs no more than it has.
    assert_eq!(ready(&database).await.applied, numbers());
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate] {
        MysqlStore::builder(url.clone()).migrate(mode).open().await.unwrap();
    }
    server.execute(&format!("DROP USER {user}")).await;
    database.drop().await;
}

#[tokio::test]
async fn modes_do_what_they_say() {
    let database = Database::new("modes").await;
    let builder = || MysqlStore::builder(database.url.clone());
    let error = builder().migrate(MigrateMode::Validate).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    builder().migrate(MigrateMode::Off).open().await.unwrap();
    let tables = "SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_schema = DATABASE()";
    assert_eq!(database.number(tables).await, 0);
    let waiting = tokio::spawn(builder().migrate(MigrateMode::Wait).open());
    // It looks at the history, and has none to read; then it waits in the server.
    let waits = "SELECT COUNT(*) AS n FROM information_schema.processlist \
        WHERE db = DATABASE() AND info LIKE 'DO SLEEP%'";
    database.until(waits, |n| n == 1).await;
    builder().migrate(MigrateMode::Auto).open().await.unwrap();
    waiting.await.unwrap().unwrap();
    builder().migrate(MigrateMode::Validate).open().await.unwrap();
    database.drop().await;
}

/// A hook that says when a statement is reached, and stops nobody.
#[derive(Debug)]
struct Tries {
    part: &'static str,
    tries: AtomicU32,
}

impl StatementHook for Tries {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if point.side == Side::Before && point.statement.contains(self.part) {
            self.tries.fetch_add(1, Ordering::SeqCst);
        }
        HookAnswer::Continue
    }
}

#[tokio::test]
async fn a_long_reader_is_waited_for_and_named() {
    let database = Database::new("reader").await;
    let known = MysqlMigrations::known().unwrap();
    let mut first = conn(&database).await;
    let outcome = migrate(&mut first, &runner(&known[..1], &[]), &mut |_| {}).await.unwrap();
    assert_eq!(outcome.ready().unwrap().version, 1);
    let mut reader = database.connection().await;
    reader.batch_execute("START TRANSACTION; SELECT * FROM punctual_job").await.unwrap();
    let tries = Arc::new(Tries { part: "ADD COLUMN slot_limit", tries: AtomicU32::new(0) });
    let mut blocked = hooked(&database, Arc::clone(&tries) as Arc<dyn StatementHook>).await;
    let error = go(&mut blocked, Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    for part in ["step job_slot_limit", "metadata lock"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
    assert!(tries.tries.load(Ordering::SeqCst) > 1, "it steps back, so that others pass");
    // The next one waits until the reader is done. It was begun before, and the probe says that it was not done.
    let mut next = hooked(&database, Arc::clone(&tries) as Arc<dyn StatementHook>).await;
    let run = tokio::spawn(async move { go(&mut next, PATIENCE).await });
    let waits = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() AND state LIKE \
        'Waiting for table metadata lock'";
    database.until(waits, |n| n == 1).await;
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(run.await.unwrap().unwrap().ready().unwrap().applied, numbers()[1..]);
    database.drop().await;
}

#[tokio::test]
async fn a_rehearsal_writes_nothing() {
    let database = Database::new("rehearsal").await;
    let (known, shapes) = (MysqlMigrations::known().unwrap(), MysqlMigrations::shapes());
    let mut conn = conn(&database).await;
    let outcome = rehearse(&mut conn, &runner(&known, &shapes), &mut |_| {}).await.unwrap();
    assert_eq!(outcome.ready().unwrap().applied, numbers());
    assert!(conn.fingerprint().await.unwrap().lines().next().is_none());
    database.drop().await;
}

#[tokio::test]
async fn an_exported_script_leaves_what_a_run_leaves() {
    let database = Database::new("export").await;
    let (known, shapes) = (MysqlMigrations::known().unwrap(), MysqlMigrations::shapes());
    let mut conn = conn(&database).await;
    let script = export(&conn, &known, 0, newest(), "it's \\ 0.1").unwrap();
    let mut admin = database.connection().await;
    admin.batch_execute(&script).await.unwrap();
    assert_eq!(conn.fingerprint().await.unwrap(), *shapes.last().unwrap());
    let rows = conn.history().await.unwrap();
    assert!(rows.iter().all(|row| &*row.binary == "it's \\ 0.1" && row.state == MigrationState::Adopted));
    assert_eq!(ready(&database).await, nothing_to_do());
    database.drop().await;
}
