//! What sessions are like: settings that are read back, and servers that are refused.

use punctual_core::inspect::Page;
use punctual_core::migrate::MigrateMode;
use punctual_core::{ErrorKind, Inspect, JobStore};
use punctual_postgres::PostgresStore;
use sqlx::postgres::PgPoolOptions;

use crate::database::Database;
use crate::support::{ask, job, node, open, put, say, trigger, users};

/// Gives all new sessions of a database settings that a store must not inherit.
async fn spoil(database: &Database) {
    let mut connection = users(database).await;
    let name = database.name();
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = 'on'",
        "synchronous_commit = 'off'",
        "search_path = 'nowhere'",
        "lock_timeout = '1h'",
        "jit = 'on'",
        "timezone = 'Asia/Kolkata'",
    ] {
        say(&mut connection, &format!("ALTER DATABASE {name} SET {setting}")).await;
    }
}

fn expected(isolation: &str) -> Vec<(&str, &str)> {
    vec![
        ("transaction_isolation", isolation),
        ("transaction_read_only", "off"),
        ("synchronous_commit", "on"),
        ("lock_timeout", "2s"),
        ("statement_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
        ("enable_seqscan", "off"),
        ("TimeZone", "UTC"),
    ]
}

async fn settings(store: &PostgresStore) -> Vec<(String, String)> {
    store.settings().await.unwrap()
}

fn same(settings: &[(String, String)], expected: &[(&str, &str)]) {
    let settings: Vec<_> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(settings, expected);
}

#[tokio::test]
async fn defaults_of_role_and_database_do_not_reach_the_steps() {
    let database = Database::fresh();
    spoil(&database).await;
    let store = open(&database).await;
    same(&settings(&store).await, &expected("read committed"));
    let now = store.now().await.unwrap();
    let job = job(1, false);
    put(&store, &job, &[trigger(1, &job, now)]).await;
    store.join(node(1)).await.unwrap();
    assert!(crate::support::fire(&store, 1, 10, 1).await.gate_open);
}

#[tokio::test]
async fn a_given_pool_keeps_its_settings() {
    let database = Database::fresh();
    spoil(&database).await;
    let pool = PgPoolOptions::new().max_connections(1).connect(database.url()).await.unwrap();
    let store = PostgresStore::from_pool(pool.clone()).open().await.unwrap();
    // The driver sets the time zone of every session, its pool's too.
    same(&settings(&store).await, &expected("read committed"));
    put(&store, &job(1, false), &[]).await;
    let mut connection = pool.acquire().await.unwrap();
    for (setting, value) in [
        ("lock_timeout", "1h"),
        ("synchronous_commit", "off"),
        ("default_transaction_isolation", "serializable"),
    ] {
        assert_eq!(ask::<String>(&mut connection, &format!("SHOW {setting}")).await, value);
    }
    assert_eq!(
        ask::<i64>(
            &mut connection,
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%punct' || 'ual.%'"
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused() {
    let database = Database::with("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    let refused = PostgresStore::connect(database.url()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains("ENCODING 'UTF8'"), "{refused}");
}

#[tokio::test]
async fn a_schema_that_would_need_quotes_is_refused() {
    let database = Database::fresh();
    let long = "a".repeat(64);
    for name in ["", "A", "1a", "a-b", "a b", "a\"b", "a.b", "ü", "pg_x", &long] {
        let builder = PostgresStore::builder(database.url()).unwrap();
        let refused = builder.schema(name).open().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{name}");
    }
    let longest = "a".repeat(63);
    let store = PostgresStore::builder(database.url()).unwrap().schema(&longest).open().await.unwrap();
    put(&store, &job(1, false), &[]).await;
}

#[tokio::test]
async fn schemas_of_one_database_are_stores_of_their_own() {
    let database = Database::fresh();
    let builder = |schema| PostgresStore::builder(database.url()).unwrap().schema(schema);
    let (one, other) = (builder("one").open().await.unwrap(), builder("other").open().await.unwrap());
    put(&one, &job(1, false), &[]).await;
    assert_eq!(one.jobs(Page::first(10)).await.unwrap().len(), 1);
    assert!(other.jobs(Page::first(10)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_schema_without_tables_is_refused_where_migrations_are_off() {
    let database = Database::fresh();
    let builder = PostgresStore::builder(database.url()).unwrap();
    let refused = builder.migrate(MigrateMode::Validate).open().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.message().contains("run the migrations"), "{refused}");
}

#[tokio::test]
async fn many_that_open_at_once_migrate_once() {
    let database = Database::fresh();
    let opening = (0..8).map(|_| {
        let url = database.url().to_owned();
        tokio::spawn(async move { PostgresStore::connect(&url).await })
    });
    for opened in opening.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
    let mut connection = users(&database).await;
    let rows: i64 = ask(&mut connection, "SELECT count(*) FROM punctual.migration WHERE state = 2").await;
    assert_eq!(rows, i64::try_from(punctual_migrations::POSTGRES.len()).unwrap());
}

#[tokio::test]
async fn a_password_is_in_no_message() {
    let url = "postgres://user:s3cret@127.0.0.1:1/none";
    let refused = PostgresStore::connect(url).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.message().starts_with("127.0.0.1:1/none"), "{refused}");
    let builder = PostgresStore::builder(url).unwrap();
    assert!(!format!("{builder:?} {} {refused:?}", refused.chain()).contains("s3cret"));
    let wrong = PostgresStore::builder("postgres://user:s3cret@[/x").unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Invalid);
    assert!(!format!("{wrong:?}").contains("s3cret"));
}

#[tokio::test]
async fn an_unknown_database_is_named() {
    let database = Database::fresh();
    let refused = PostgresStore::connect(&format!("{}_gone", database.url())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.message().contains("does not exist"), "{refused}");
}

#[tokio::test]
async fn names_that_differ_in_case_are_two_whatever_the_database_sorts_by() {
    let database = Database::with("ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'");
    let store = open(&database).await;
    for (id, name) in [(1, "Job"), (2, "job"), (3, "JOB")] {
        let mut job = job(id, false);
        job.key = punctual_core::JobKey::new("group", name).unwrap();
        put(&store, &job, &[]).await;
    }
    let names: Vec<_> = store.jobs(Page::first(10)).await.unwrap();
    assert_eq!(names.iter().map(|job| job.key.name()).collect::<Vec<_>>(), ["JOB", "Job", "job"]);
}
