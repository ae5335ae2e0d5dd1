//! Migrations on real files: races, runs that are cut off, others in the way, histories that were damaged.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use punctual_core::migrate::{
    Damage, Fingerprint, Holder, LIMIT, MigrateMode, Migrated, Migration, MigrationConn, MigrationOutcome,
    MigrationState, Repair, Runner, export, migrate, parse, repair, repairs,
};
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::{ErrorKind, JobStore, Result};
use punctual_sqlite::{SqliteMigrations, SqliteStore};
use rusqlite::Connection;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two tables, one after the other.
const TABLES: &str = "-- min-reader: 1\n-- min-writer: 1\n-- step: a\nCREATE TABLE a (id INTEGER PRIMARY KEY) STRICT\n\
                      -- step: rows\nINSERT INTO a VALUES (1), (2), (3)\n-- step: b\nCREATE TABLE b (id INTEGER)\n";
/// A change to one of them.
const COLUMN: &str = "-- min-reader: 1\n-- min-writer: 1\n-- step: column\nALTER TABLE a ADD COLUMN more INTEGER\n\
                      -- step: index\nCREATE INDEX a_more ON a (more)\n";

fn known() -> Vec<Migration> {
    parse(&[("0001_tables.sql", TABLES), ("0002_column.sql", COLUMN)]).unwrap()
}

fn ours() -> Vec<Migration> {
    SqliteMigrations::known().unwrap()
}

/// The numbers of migrations.
fn numbers(known: &[Migration]) -> Vec<i64> {
    known.iter().map(|migration| migration.version).collect()
}

fn newest(known: &[Migration]) -> i64 {
    numbers(known).into_iter().max().unwrap()
}

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        Self { _folder: folder, path }
    }

    fn conn(&self) -> SqliteMigrations {
        SqliteStore::builder(&self.path).migrations().unwrap()
    }

    fn hooked(
        &self,
        hook: impl Fn(&StatementPoint<'_>) -> HookAnswer + Send + Sync + 'static,
    ) -> SqliteMigrations {
        SqliteStore::builder(&self.path).statement_hook(Arc::new(Hook(Box::new(hook)))).migrations().unwrap()
    }

    /// Somebody else's connection.
    fn admin(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    fn number(&self, sql: &str) -> i64 {
        self.admin().query_row(sql, [], |row| row.get(0)).unwrap()
    }
}

type Told = dyn Fn(&StatementPoint<'_>) -> HookAnswer + Send + Sync;

/// Is told of statements.
struct Hook(Box<Told>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl StatementHook for Hook {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        (self.0)(point)
    }
}

fn runner<'k>(known: &'k [Migration], shapes: &'k [Fingerprint], patience: Duration) -> Runner<'k> {
    let who = Holder { who: "a test".into(), since: None, step: None };
    Runner { known, shapes, binary: "0.1.0", who, patience, limit: LIMIT }
}

/// Runs migrations; nothing here waits for an executor.
fn outcome(conn: &mut SqliteMigrations, known: &[Migration], patience: Duration) -> Result<MigrationOutcome> {
    wait(migrate(conn, &runner(known, &[], patience), &mut |_| {}))
}

fn run(conn: &mut SqliteMigrations, known: &[Migration]) -> Result<Migrated> {
    outcome(conn, known, PATIENCE)?.ready()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// The versions in the history, each of which must be complete.
fn versions(conn: &mut SqliteMigrations) -> Vec<i64> {
    let history = wait(conn.history()).unwrap();
    assert!(history.iter().all(|row| row.state == MigrationState::Done), "{history:?}");
    history.iter().map(|row| row.version).collect()
}

/// A hook that stops once at a statement, says so, and goes on when the sender is dropped.
fn stop(side: Side, text: &'static str) -> (Box<Told>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrival) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let told = move |point: &StatementPoint<'_>| {
        if point.side == side && point.statement.contains(text) {
            let _ = arrived.send(());
            let _ = goes_on.lock().unwrap().recv();
        }
        HookAnswer::Continue
    };
    (Box::new(told), arrival, go_on)
}

#[test]
fn many_that_start_at_once_apply_each_version_once() {
    for _ in 0..4 {
        let file = File::new();
        let open = |path: PathBuf| wait(SqliteStore::builder(path).open()).map(|_| Vec::new());
        let apply = |path: PathBuf| {
            let mut conn = SqliteStore::builder(path).migrations()?;
            run(&mut conn, &ours()).map(|migrated| migrated.applied)
        };
        let start = |n: usize| {
            let path = file.path.clone();
            thread::spawn(move || if n.is_multiple_of(2) { open(path) } else { apply(path) })
        };
        let started: Vec<_> = (0..32).map(start).collect();
        let mut applied = Vec::new();
        for thread in started {
            applied.extend(thread.join().unwrap().unwrap());
        }
        assert!(applied.is_empty() || applied == numbers(&ours()), "{applied:?}");
        let mut conn = file.conn();
        assert_eq!(versions(&mut conn), numbers(&ours()));
        assert_eq!(wait(conn.fingerprint()).unwrap(), *SqliteMigrations::shapes().last().unwrap());
        // Whoever found it current began no run; whoever came late began one and did nothing.
        assert!(file.number("SELECT count(*) FROM migration_run WHERE ended_us IS NOT NULL") >= 1);
    }
}

#[test]
fn a_late_comer_finds_under_the_lock_that_all_is_done() {
    let file = File::new();
    let (told, arrival, go_on) = stop(Side::Before, "BEGIN");
    let mut late = file.hooked(told);
    let late = thread::spawn(move || run(&mut late, &known()));
    arrival.recv().unwrap();
    let mut winner = file.conn();
    assert_eq!(run(&mut winner, &known()).unwrap().applied, [1, 2]);
    drop(go_on);
    let migrated = late.join().unwrap().unwrap();
    assert_eq!((migrated.version, migrated.applied), (2, vec![]));
    assert_eq!((versions(&mut winner), file.number("SELECT count(*) FROM a")), (vec![1, 2], 3));
}

/// Runs `known` on files of their own, cut off at every `stride`th statement in turn, and then again.
fn cut_at_each_statement(known: &[Migration], stride: u32) {
    let whole = File::new();
    let mut conn = whole.conn();
    run(&mut conn, known).unwrap();
    let (golden, expected) = (wait(conn.fingerprint()).unwrap(), versions(&mut conn));
    for side in [Side::Before, Side::After] {
        let mut at = 0;
        loop {
            let file = File::new();
            let count = AtomicU32::new(0);
            let mut doomed = file.hooked(move |point| {
                let here = point.side == side && count.fetch_add(1, Ordering::Relaxed) == at;
                if here { HookAnswer::Cut } else { HookAnswer::Continue }
            });
            let outcome = run(&mut doomed, known);
            let place = format!("cut at statement {at}, {side:?}: {outcome:?}");
            // The doomed connection is still there, as that of a process that hangs.
            let mut next = file.conn();
            assert_eq!(run(&mut next, known).unwrap().version, newest(known), "{place}");
            assert_eq!(wait(next.fingerprint()).unwrap(), golden, "{place}");
            assert_eq!(versions(&mut next), expected, "{place}");
            match outcome {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}"),
                Ok(_) => break,
            }
            at += stride;
        }
        assert!(at > 20, "the hook was told of {at} statements only");
    }
}

#[test]
fn a_run_that_is_cut_at_any_statement_is_completed_by_the_next_one() {
    cut_at_each_statement(&known(), 1);
}

#[test]
fn so_is_one_of_this_binary_s_migrations() {
    cut_at_each_statement(&ours(), 7);
}

#[test]
fn a_frozen_holder_keeps_others_out_and_then_goes_on() {
    let file = File::new();
    let (told, arrival, go_on) = stop(Side::After, "CREATE TABLE b");
    let mut frozen = file.hooked(told);
    let frozen = thread::spawn(move || run(&mut frozen, &known()));
    arrival.recv().unwrap();
    let mut other = file.conn();
    let waited = outcome(&mut other, &known(), Duration::from_millis(50)).unwrap();
    assert!(matches!(waited, MigrationOutcome::LockTimeout(_)), "{waited:?}");
    assert_eq!(waited.ready().unwrap_err().kind(), ErrorKind::Unavailable);
    // Nobody could begin a run meanwhile, so nobody has overtaken it, and it may go on.
    drop(go_on);
    assert_eq!(frozen.join().unwrap().unwrap().applied, [1, 2]);
    assert_eq!(run(&mut other, &known()).unwrap().applied, [0_i64; 0]);
}

#[test]
fn a_writer_in_the_way_is_waited_for_and_named_as_such() {
    let file = File::new();
    let mut conn = file.conn();
    let admin = file.admin();
    admin
        .execute_batch("CREATE TABLE theirs (id INTEGER); BEGIN IMMEDIATE; INSERT INTO theirs VALUES (1)")
        .unwrap();
    let waited = outcome(&mut conn, &known(), Duration::from_millis(50)).unwrap();
    assert!(matches!(waited, MigrationOutcome::LockTimeout(None)), "{waited:?}");
    admin.execute_batch("COMMIT").unwrap();
    assert_eq!(run(&mut conn, &known()).unwrap().applied, [1, 2]);
}

#[test]
fn a_long_reader_is_not_in_the_way_and_sees_what_it_saw() {
    let file = File::new();
    let mut conn = file.conn();
    run(&mut conn, &known()[..1]).unwrap();
    let reader = file.admin();
    let columns = "SELECT count(*) FROM pragma_table_info('a')";
    let read = || reader.query_row(columns, [], |row| row.get::<_, i64>(0)).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM a").unwrap();
    assert_eq!(read(), 1);
    assert_eq!(run(&mut conn, &known()).unwrap().applied, [2]);
    assert_eq!(read(), 1, "its snapshot is older");
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(read(), 2);
}

#[test]
fn a_file_that_cannot_be_written_is_refused_and_named() {
    let file = File::new();
    run(&mut file.conn(), &ours()).unwrap();
    let read_only = |is: bool| {
        let mut rights = std::fs::metadata(&file.path).unwrap().permissions();
        rights.set_readonly(is);
        std::fs::set_permissions(&file.path, rights).unwrap();
    };
    read_only(true);
    for mode in [MigrateMode::Auto, MigrateMode::Wait, MigrateMode::Validate, MigrateMode::Off] {
        let error = wait(SqliteStore::builder(&file.path).migrate(mode).open()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("jobs.db") && error.message().contains("read-only"), "{error}");
    }
    read_only(false);
}

#[test]
fn a_history_without_its_key_is_made_anew() {
    let file = File::new();
    let (known, shapes) = (ours(), SqliteMigrations::shapes());
    let mut conn = file.conn();
    run(&mut conn, &known).unwrap();
    let text =
        "SELECT replace(sql, '\"migration\"', 'migration') FROM sqlite_schema WHERE name = 'migration'";
    let definition = || file.admin().query_row(text, [], |row| row.get::<_, String>(0)).unwrap();
    let before = (definition(), wait(conn.history()).unwrap());
    // As a dump that was read in twice leaves it.
    file.admin()
        .execute_batch(
            "CREATE TABLE copy AS SELECT * FROM migration; INSERT INTO copy SELECT * FROM migration;
             DROP TABLE migration; ALTER TABLE copy RENAME TO migration",
        )
        .unwrap();
    let error = wait(SqliteStore::open(&file.path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("jobs.db") && error.message().contains("migrate repair"), "{error}");
    let runner = runner(&known, &shapes, PATIENCE);
    let (plan, left) = repairs(&runner, &wait(conn.history()).unwrap(), false, true);
    assert_eq!((plan.len(), left), (known.len(), vec![]));
    assert!(matches!(plan[0], Repair::DropDuplicates { version: 1, dropped: 1, .. }), "{plan:?}");
    wait(repair(&mut conn, &runner, &plan)).unwrap().ready().unwrap();
    assert_eq!((definition(), wait(conn.history()).unwrap()), before);
    assert_eq!(file.number("SELECT count(*) FROM migration_run WHERE note LIKE '%; %'"), 1);
    wait(SqliteStore::open(&file.path)).unwrap();
}

#[test]
fn what_the_schema_does_not_prove_is_not_mended() {
    let file = File::new();
    let (known, shapes) = (ours(), SqliteMigrations::shapes());
    let mut conn = file.conn();
    run(&mut conn, &known).unwrap();
    file.admin().execute_batch("DELETE FROM migration WHERE version = 1; DROP INDEX job_key").unwrap();
    let history = wait(conn.history()).unwrap();
    let drift = shapes.last().unwrap().drift(&wait(conn.fingerprint()).unwrap());
    assert_eq!(drift.missing.len(), 1, "{drift}");
    let runner = runner(&known, &shapes, PATIENCE);
    let (plan, left) = repairs(&runner, &history, false, drift.is_harmless());
    assert_eq!((plan, left), (vec![], vec![Damage::Gap { version: 1 }]));
}

#[test]
fn a_table_of_somebody_elses_is_named_and_stays() {
    let file = File::new();
    file.admin().execute_batch("CREATE TABLE job (mine INTEGER); INSERT INTO job VALUES (7)").unwrap();
    let error = wait(SqliteStore::open(&file.path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");
    assert!(error.message().contains("migration 1 (init), step job"), "{error}");
    assert!(error.message().contains("table job is there already"), "{error}");
    assert_eq!(file.number("SELECT mine FROM job"), 7);
    assert_eq!(file.number("SELECT count(*) FROM sqlite_schema"), 1, "nothing of ours is left");
}

#[test]
fn an_exported_script_leaves_what_a_run_leaves() {
    let (by_run, by_hand) = (File::new(), File::new());
    let known = ours();
    run(&mut by_run.conn(), &known).unwrap();
    let mut conn = by_hand.conn();
    let script = export(&conn, &known, 0, newest(&known), "it's 0.1.0").unwrap();
    by_hand.admin().execute_batch(&script).unwrap();
    assert_eq!(wait(conn.fingerprint()).unwrap(), *SqliteMigrations::shapes().last().unwrap());
    for pragma in ["SELECT user_version FROM pragma_user_version", "SELECT count(*) FROM sqlite_schema"] {
        assert_eq!(by_hand.number(pragma), by_run.number(pragma), "{pragma}");
    }
    assert_eq!(run(&mut conn, &known).unwrap().applied, [0_i64; 0]);
    let store = wait(SqliteStore::builder(&by_hand.path).migrate(MigrateMode::Validate).open()).unwrap();
    wait(store.now()).unwrap();
}

#[test]
fn waiting_ends_when_another_has_migrated_and_at_once_where_none_can() {
    let file = File::new();
    let path = file.path.clone();
    let open = |path: &Path| wait(SqliteStore::builder(path).migrate(MigrateMode::Wait).open());
    let waits = thread::spawn(move || open(&path).map(drop));
    assert_eq!(run(&mut file.conn(), &ours()).unwrap().applied, numbers(&ours()));
    waits.join().unwrap().unwrap();
    // A newer schema does not become older: there is nothing to wait for.
    let later = newest(&ours()) + 1;
    let insert = "INSERT INTO migration VALUES (?1, 'later', 1, 2, 0, 0, '9.0.0', ?1, ?1)";
    file.admin().execute(insert, [later]).unwrap();
    let error = open(&file.path).unwrap_err();
    assert!(error.kind() == ErrorKind::Unsupported && error.message().contains("9.0.0"), "{error}");
}
