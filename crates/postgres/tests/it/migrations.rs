//! Migrations that race, break off, freeze and wait, on a real server.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use punctual_core::memory::ManualClock;
use punctual_core::migrate::{
    LockOutcome, LockedEnd, MigrateMode, MigrationConn, MigrationOutcome, MigrationRow, MigrationState,
    Runner, export, migrate,
};
use punctual_core::store::hook::{HookAnswer, Side};
use punctual_core::{Error, ErrorKind, JobStore, Timestamp};
use punctual_postgres::{PostgresMigrations, PostgresStore};
use sqlx::ConnectOptions;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::database::Database;
use crate::migrating::{
    COLUMN, INDEX, TABLES, builder, conn, hooked, is_at, known, newest, outcome, run, runner, versions,
};
use crate::support::{ask, say, users};

/// The shape of the schema after each migration is the one that is kept beside it. With UPDATE_SHAPES=1 in the
/// environment, the test writes what it finds.
#[tokio::test]
async fn the_shapes_beside_the_migrations_are_true() {
    let known = PostgresMigrations::known().unwrap();
    for (count, (file, _)) in (1..).zip(punctual_migrations::POSTGRES) {
        let database = Database::fresh();
        // Neither the schema's name nor what a session looks in may show.
        for (schema, path) in [("punctual", "punctual"), ("a", "public"), ("on_b", "pg_catalog")] {
            let name: String = ask(&mut users(&database).await, "SELECT current_database()::text").await;
            say(&mut users(&database).await, &format!("ALTER DATABASE {name} SET search_path = {path}"))
                .await;
            let mut conn = builder(&database).schema(schema).migrations().await.unwrap();
            assert_eq!(run(&mut conn, &known[..count]).await.unwrap().version, newest(&known[..count]));
            let found = conn.fingerprint().await.unwrap();
            let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/postgres");
            let beside = beside.join(file.replace(".sql", ".schema"));
            if std::env::var_os("UPDATE_SHAPES").is_some() {
                let text: String = found.lines().map(|line| format!("{line}\n")).collect();
                std::fs::write(&beside, text).unwrap();
            } else {
                assert_eq!(
                    PostgresMigrations::shapes()[count - 1],
                    found,
                    "{}, schema {schema}",
                    beside.display()
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_race_on_an_empty_database_apply_each_version_once() {
    let database = Database::fresh();
    let pool = PgPoolOptions::new().max_connections(8).connect(database.url()).await.unwrap();
    let opening: Vec<_> = (0..32)
        .map(|_| tokio::spawn(PostgresStore::from_pool(pool.clone()).without_listening().open()))
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap().now().await.unwrap();
    }
    let mut conn = conn(&database).await;
    assert_eq!(versions(&mut conn).await.len(), punctual_migrations::POSTGRES.len());
    assert_eq!(conn.fingerprint().await.unwrap(), *PostgresMigrations::shapes().last().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_late_comer_finds_under_the_lock_counts() {
    let database = Database::fresh();
    let known = known(&[TABLES, COLUMN, INDEX]);
    let (arrived, arrival) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let mut late = hooked(&database, move |point| {
        if is_at(point, Side::Before, "pg_try_advisory_xact_lock") {
            arrived.send(()).unwrap();
            // The sender is gone when the winner is done.
            let _ = goes_on.lock().unwrap().recv();
        }
        HookAnswer::Continue
    })
    .await;
    let late = tokio::spawn({
        let known = known.clone();
        async move { run(&mut late, &known).await }
    });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    let mut winner = conn(&database).await;
    assert_eq!(run(&mut winner, &known).await.unwrap().applied, [1, 2, 3]);
    drop(go_on);
    let late = late.await.unwrap().unwrap();
    assert_eq!((late.version, late.applied), (3, vec![]));
    assert_eq!(versions(&mut winner).await, [1, 2, 3]);
}

/// Runs `known` on schemas of their own with the connection cut at every `stride`th statement in turn, and then again.
async fn broken_at_each_statement(known: &[punctual_core::migrate::Migration], sides: &[Side], stride: u32) {
    let database = Database::fresh();
    let mut golden = conn(&database).await;
    run(&mut golden, known).await.unwrap();
    let (golden, expected) = (golden.fingerprint().await.unwrap(), versions(&mut golden).await);
    for side in sides.iter().copied() {
        let mut broken = 0;
        loop {
            let schema = format!("at_{broken}_{}", u8::from(side == Side::After));
            let count = AtomicU32::new(0);
            let cut = move |point: &punctual_core::store::hook::StatementPoint<'_>| {
                let reached = point.side == side && count.fetch_add(1, Ordering::Relaxed) == broken;
                if reached { HookAnswer::Cut } else { HookAnswer::Continue }
            };
            let hook = Arc::new(crate::migrating::Hook(Box::new(cut)));
            let mut doomed =
                builder(&database).schema(&schema).statement_hook(hook).migrations().await.unwrap();
            let outcome = run(&mut doomed, known).await;
            drop(doomed);
            let mut next = builder(&database).schema(&schema).migrations().await.unwrap();
            let place = format!("cut at statement {broken}, {side:?}: {outcome:?}");
            assert_eq!(run(&mut next, known).await.unwrap().version, newest(known), "{place}");
            assert_eq!(next.fingerprint().await.unwrap(), golden, "{place}");
            assert_eq!(versions(&mut next).await, expected, "{place}");
            say(&mut users(&database).await, &format!("DROP SCHEMA {schema} CASCADE")).await;
            match outcome {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{place}"),
                Ok(_) => break,
            }
            broken += stride;
        }
        assert!(broken > 20, "the hook was told of {broken} statements only");
    }
}

#[tokio::test]
async fn a_run_that_breaks_at_any_statement_is_completed_by_the_next_one() {
    broken_at_each_statement(&known(&[TABLES, COLUMN, INDEX]), &[Side::Before, Side::After], 1).await;
}

/// Every thirteenth statement, for the steps are alike and each costs a whole run.
#[tokio::test]
async fn so_is_one_of_this_binary_s_migrations() {
    broken_at_each_statement(&PostgresMigrations::known().unwrap(), &[Side::After], 13).await;
}

/// A connection that freezes after a statement with `text`, until the sender is dropped.
async fn freezing(
    database: &Database,
    text: &'static str,
) -> (PostgresMigrations, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (arrived, arrival) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let goes_on = Mutex::new(goes_on);
    let freeze = move |point: &punctual_core::store::hook::StatementPoint<'_>| {
        if is_at(point, Side::After, text) {
            let _ = arrived.send(());
            let _ = goes_on.lock().unwrap().recv();
        }
        HookAnswer::Continue
    };
    let hook = Arc::new(crate::migrating::Hook(Box::new(freeze)));
    let builder = builder(database).idle_in_transaction_timeout(Duration::from_millis(200));
    (builder.statement_hook(hook).migrations().await.unwrap(), arrival, go_on)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_holder_is_ended_by_the_server_and_writes_nothing_more() {
    let database = Database::fresh();
    let known = known(&[TABLES, COLUMN]);
    let (mut frozen, arrival, go_on) = freezing(&database, "ADD COLUMN more").await;
    let frozen = tokio::spawn({
        let known = known.clone();
        async move { run(&mut frozen, &known).await }
    });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    let mut other = conn(&database).await;
    assert_eq!(run(&mut other, &known).await.unwrap().applied, [1, 2]);
    drop(go_on);
    assert_eq!(frozen.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(versions(&mut other).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_online_holder_whose_session_is_gone_writes_nothing_more() {
    let database = Database::fresh();
    let known = known(&[TABLES, COLUMN, INDEX]);
    let (mut frozen, arrival, go_on) = freezing(&database, "CREATE UNIQUE INDEX CONCURRENTLY").await;
    let frozen = tokio::spawn({
        let known = known.clone();
        async move { run(&mut frozen, &known).await }
    });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    // Nobody else gets in while its session lives, and whoever waits learns of it.
    let mut other = conn(&database).await;
    let impatient = Runner { patience: Duration::from_millis(150), ..runner(&known, &[]) };
    let timed_out = migrate(&mut other, &impatient, &mut |_| {}).await.unwrap();
    let MigrationOutcome::LockTimeout(Some(holder)) = timed_out else { panic!("{timed_out:?}") };
    assert!(holder.who.contains("punctual, from ") && holder.since.is_some(), "{holder:?}");
    assert_eq!(holder.step.as_deref(), Some("a_more"));
    let ended: i64 = ask(
        &mut users(&database).await,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .await;
    assert_eq!(ended, 1);
    let migrated = run(&mut other, &known).await.unwrap();
    assert_eq!(migrated.applied, [3], "what the first one began");
    drop(go_on);
    assert_eq!(frozen.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(versions(&mut other).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_run_that_is_not_the_newest_any_more_is_refused_each_write() {
    let database = Database::fresh();
    let known = known(&[TABLES]);
    let mut old = conn(&database).await;
    let runner = runner(&known, &[]);
    assert_eq!(old.lock(&runner.who, runner.patience, true).await.unwrap(), LockOutcome::Taken);
    let row = MigrationRow::of(&known[0], MigrationState::Started, "0.1.0", Timestamp::EPOCH);
    old.record(&row).await.unwrap();
    say(
        &mut users(&database).await,
        "INSERT INTO punctual.migration_run (generation, who, began_us) VALUES (1000, 'another', 0)",
    )
    .await;
    let refused: Vec<Error> = vec![
        old.record(&row).await.unwrap_err(),
        old.replace(1, &[]).await.unwrap_err(),
        old.note("this").await.unwrap_err(),
        old.forget_step(1, "a").await.unwrap_err(),
        old.unlock(LockedEnd::Commit).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
    }
    assert_eq!(old.history().await.unwrap(), [row], "nothing of that was written");
    assert!(!old.owns_lock().await.unwrap());
}

#[tokio::test]
async fn the_clock_of_a_process_plays_no_part() {
    let database = Database::fresh();
    let before = PostgresStore::connect(database.url()).await.unwrap().now().await.unwrap();
    let moved = |seconds: i64| Timestamp::from_micros(before.as_micros() + seconds * 1_000_000);
    for (schema, wall) in [("early", moved(-600)), ("late", moved(600))] {
        let clock = || Arc::new(ManualClock::at(wall));
        let many: Vec<_> =
            (0..4).map(|_| tokio::spawn(builder(&database).schema(schema).clock(clock()).open())).collect();
        for opened in many {
            opened.await.unwrap().unwrap();
        }
        let mut conn = builder(&database).schema(schema).clock(clock()).migrations().await.unwrap();
        let history = conn.history().await.unwrap();
        let after = conn.now().await.unwrap();
        assert_eq!(history.len(), punctual_migrations::POSTGRES.len());
        for row in history {
            assert!((before..=after).contains(&row.started), "{row:?} began between {before} and {after}");
        }
    }
}

/// The URL of a database by way of the pooler.
fn pooled(database: &Database) -> PgConnectOptions {
    let pooler = std::env::var("PUNCTUAL_PGBOUNCER_URL").unwrap_or_else(|_| {
        panic!("PUNCTUAL_PGBOUNCER_URL is not set; run `cargo xtask test`, or set it to the URL of a pooler in transaction \
                mode before the server of PUNCTUAL_POSTGRES_URL")
    });
    let name = database.url().parse::<PgConnectOptions>().unwrap();
    pooler.parse::<PgConnectOptions>().unwrap().database(name.get_database().unwrap())
}

#[tokio::test]
async fn a_transaction_pooler_that_was_not_named_is_suspected() {
    let url = pooled(&Database::fresh()).to_url_lossy().to_string();
    let error = PostgresStore::builder(&url).unwrap().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("pooler=transaction"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_migrate_through_a_transaction_pooler() {
    let database = Database::fresh();
    let pool = |connections| {
        // The pooler gives what is prepared to other sessions.
        let address = pooled(&database).statement_cache_capacity(0);
        PgPoolOptions::new().max_connections(connections).connect_lazy_with(address)
    };
    let through = |pool: PgPool| PostgresStore::from_pool(pool).transaction_pooler(true);
    let pools: Vec<PgPool> = (0..8).map(|_| pool(1)).collect();
    let opening: Vec<_> = pools.iter().map(|pool| tokio::spawn(through(pool.clone()).open())).collect();
    for opened in opening {
        opened.await.unwrap().unwrap().now().await.unwrap();
    }
    let mut direct = conn(&database).await;
    assert_eq!(versions(&mut direct).await.len(), punctual_migrations::POSTGRES.len());

    // What needs a session is refused, unless there is a way around.
    let known = known(&[TABLES, COLUMN, INDEX]);
    let mut refused = through(pool(1)).schema("online").migrations().await.unwrap();
    let error = run(&mut refused, &known).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("listen_url"), "{error}");
    drop(refused);
    let around = through(pool(1)).schema("online").listen_url(database.url()).unwrap();
    let mut around = around.migrations().await.unwrap();
    assert_eq!(run(&mut around, &known).await.unwrap().applied, [3]);
    let left: i64 = ask(
        &mut users(&database).await,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn one_connection_is_enough() {
    let database = Database::fresh();
    builder(&database).schema("own").max_connections(1).open().await.unwrap().now().await.unwrap();
    let pool = PgPoolOptions::new().max_connections(1).connect(database.url()).await.unwrap();
    let store =
        PostgresStore::from_pool(pool.clone()).schema("given").without_listening().open().await.unwrap();
    store.now().await.unwrap();
    let mut conn = PostgresStore::from_pool(pool).schema("given").migrations().await.unwrap();
    assert_eq!(versions(&mut conn).await.len(), punctual_migrations::POSTGRES.len());
}

#[tokio::test]
async fn a_user_who_may_not_define_is_told_so_at_once() {
    let database = Database::fresh();
    let mut admin = users(&database).await;
    let role: String = ask(&mut admin, "SELECT current_database() || '_reader'").await;
    say(&mut admin, &format!("DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'reads'")).await;
    let address = database.url().parse::<PgConnectOptions>().unwrap().username(&role).password("reads");
    let pool = PgPoolOptions::new().max_connections(1).connect_with(address).await.unwrap();
    let open = || PostgresStore::from_pool(pool.clone()).without_listening().open();
    let refused = open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains("may not do that"), "{refused}");
    // Once the tables are there, rights on the rows are enough.
    PostgresStore::connect(database.url()).await.unwrap();
    say(
        &mut admin,
        &format!("GRANT USAGE ON SCHEMA punctual TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA punctual TO {role}"),
    )
    .await;
    open().await.unwrap().now().await.unwrap();
    pool.close().await;
    say(&mut admin, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test]
async fn a_definition_lets_others_pass_and_comes_again() {
    let database = Database::fresh();
    let known = known(&[TABLES, COLUMN]);
    run(&mut conn(&database).await, &known[..1]).await.unwrap();
    let mut reader = users(&database).await;
    say(&mut reader, "BEGIN; SELECT count(*) FROM punctual.a").await;
    let reader = Arc::new(Mutex::new(Some(reader)));
    let tries = Arc::new(AtomicU32::new(0));
    let hook = {
        let (reader, tries) = (Arc::clone(&reader), Arc::clone(&tries));
        move |point: &punctual_core::store::hook::StatementPoint<'_>| {
            if is_at(point, Side::Before, "ADD COLUMN more") && tries.fetch_add(1, Ordering::Relaxed) == 2 {
                // The long query ends before the third try.
                drop(reader.lock().unwrap().take());
            }
            HookAnswer::Continue
        }
    };
    let short = |hook: Option<_>| {
        let builder = builder(&database).lock_timeout(Duration::from_millis(20));
        match hook {
            Some(hook) => builder.statement_hook(Arc::new(crate::migrating::Hook(Box::new(hook)))),
            None => builder,
        }
    };
    let mut patient = short(Some(hook)).migrations().await.unwrap();
    assert_eq!(run(&mut patient, &known).await.unwrap().applied, [2]);
    assert!(tries.load(Ordering::Relaxed) >= 3);

    // One that never ends is named, and nothing is left behind.
    let more = crate::migrating::known(&[
        TABLES,
        COLUMN,
        "-- step: b\nDROP TABLE {s}.b\n-- step: a\nDROP TABLE {s}.a\n",
    ]);
    let mut reader = users(&database).await;
    say(&mut reader, "SET application_name = 'report'; BEGIN; SELECT count(*) FROM punctual.a").await;
    let mut blocked = builder(&database).lock_timeout(Duration::from_millis(20)).migrations().await.unwrap();
    let error = run(&mut blocked, &more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    for word in ["migration 3 (m3), step a", "lock_timeout", "report"] {
        assert!(error.message().contains(word), "{word}: {error}");
    }
    assert!(ask::<bool>(&mut reader, "SELECT to_regclass('punctual.b') IS NOT NULL").await);
    assert_eq!(versions(&mut blocked).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_is_built_while_many_wait_for_the_lock() {
    let database = Database::fresh();
    let known = known(&[TABLES, COLUMN, INDEX]);
    run(&mut conn(&database).await, &known[..2]).await.unwrap();
    // The build waits for this transaction.
    let mut old = users(&database).await;
    say(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO punctual.a (id) VALUES (1000)").await;
    let spawn = |mut conn: PostgresMigrations| {
        let known = known.clone();
        tokio::spawn(async move { run(&mut conn, &known).await })
    };
    let (begun, begins) = mpsc::channel();
    let builds = spawn(
        hooked(&database, move |point| {
            if is_at(point, Side::Before, "CREATE UNIQUE INDEX CONCURRENTLY") {
                begun.send(()).unwrap();
            }
            HookAnswer::Continue
        })
        .await,
    );
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    let (tried, tries) = mpsc::channel();
    let mut waiting = Vec::new();
    for waiter in 0..10 {
        let tried = tried.clone();
        waiting.push(spawn(
            hooked(&database, move |point| {
                if is_at(point, Side::After, "pg_try_advisory_lock") {
                    let _ = tried.send(waiter);
                }
                HookAnswer::Continue
            })
            .await,
        ));
    }
    drop(tried);
    let each_twice = move || {
        let mut counts = [0_u32; 10];
        while counts.iter().any(|count| *count < 2) {
            counts[tries.recv().unwrap()] += 1;
        }
    };
    tokio::task::spawn_blocking(each_twice).await.unwrap();
    say(&mut old, "COMMIT").await;
    assert_eq!(builds.await.unwrap().unwrap().applied, [3]);
    for waiter in waiting {
        assert_eq!(waiter.await.unwrap().unwrap().applied, [0_i64; 0]);
    }
    assert_eq!(versions(&mut conn(&database).await).await, [1, 2, 3]);
}

#[tokio::test]
async fn what_is_left_of_a_failed_index_is_removed_before_the_next_try() {
    let database = Database::fresh();
    let known = known(&[TABLES, COLUMN, INDEX]);
    run(&mut conn(&database).await, &known[..2]).await.unwrap();
    let mut admin = users(&database).await;
    say(&mut admin, "UPDATE punctual.a SET more = 1").await;
    let mut conn = conn(&database).await;
    let error = run(&mut conn, &known).await.unwrap_err();
    assert!(error.message().contains("step a_more"), "{error}");
    let invalid = "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = 'punctual.a_more'::regclass";
    assert!(ask::<bool>(&mut admin, invalid).await);
    say(&mut admin, "UPDATE punctual.a SET more = id").await;
    assert_eq!(run(&mut conn, &known).await.unwrap().applied, [3]);
    assert!(!ask::<bool>(&mut admin, invalid).await);
}

#[tokio::test]
async fn modes_say_what_is_done_about_the_tables() {
    let database = Database::fresh();
    let open = |mode| builder(&database).migrate(mode).open();
    assert_eq!(open(MigrateMode::Validate).await.unwrap_err().kind(), ErrorKind::Unsupported);
    open(MigrateMode::Off).await.unwrap();
    let waits = tokio::spawn(builder(&database).migrate(MigrateMode::Wait).open());
    open(MigrateMode::Auto).await.unwrap();
    waits.await.unwrap().unwrap();
    open(MigrateMode::Validate).await.unwrap();
}

#[tokio::test]
async fn an_exported_script_makes_what_a_run_makes() {
    let database = Database::fresh();
    let known = PostgresMigrations::known().unwrap();
    let mut conn = builder(&database).schema("by_hand").migrations().await.unwrap();
    let script = export(&conn, &known, 0, newest(&known), "0.1.0").unwrap();
    assert!(!script.contains("{s}"), "{script}");
    say(&mut users(&database).await, &script).await;
    assert_eq!(conn.fingerprint().await.unwrap(), *PostgresMigrations::shapes().last().unwrap());
    let MigrationOutcome::Ready(migrated) = outcome(&mut conn, &known).await.unwrap() else {
        panic!("not ready")
    };
    assert_eq!(migrated.applied, [0_i64; 0]);
    builder(&database).schema("by_hand").migrate(MigrateMode::Validate).open().await.unwrap();
}
