//! Sessions: what they are set to, whose they are, and which databases they see.

use std::time::Duration;

use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, SimpleAsyncConnection};
use punctual_core::inspect::Page;
use punctual_core::migrate::MigrateMode;
use punctual_core::store::Applied;
use punctual_core::store::hook::Side;
use punctual_core::{ErrorKind, Inspect, JobStore};
use punctual_mysql::MysqlStore;

use crate::support::*;

/// What an application may have set for purposes of its own.
const ODD: &str = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; SET SESSION time_zone = '+05:30', \
    SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT', SESSION innodb_lock_wait_timeout = 50, \
    SESSION collation_connection = utf8mb4_general_ci, SESSION autocommit = 0";

fn odd_pool(url: &str) -> Pool<AsyncMysqlConnection> {
    let mut config = ManagerConfig::default();
    let url = url.to_owned();
    config.custom_setup = Box::new(move |_| {
        let url = url.clone();
        Box::pin(async move {
            let mut connection = AsyncMysqlConnection::establish(&url).await?;
            connection.batch_execute(ODD).await.unwrap();
            Ok(connection)
        })
    });
    Pool::builder(AsyncDieselConnectionManager::new_with_config("", config)).max_size(1).build().unwrap()
}

#[tokio::test]
async fn a_step_runs_at_read_committed_whatever_the_session_had() {
    let database = Database::new("isolation").await;
    let pool = odd_pool(&database.url);
    let store = MysqlStore::from_pool(pool.clone()).open().await.unwrap();
    store.join(node(1)).await.unwrap();
    pool.get().await.unwrap().batch_execute(ODD).await.unwrap();
    store.check_in(node_id(1)).await.unwrap();
    let mut connection = pool.get().await.unwrap();
    let is_mariadb = number(&mut connection, "SELECT VERSION() LIKE '%MariaDB%' AS n").await != 0;
    let name = if is_mariadb { "tx_isolation" } else { "transaction_isolation" };
    let is_set = format!("SELECT @@SESSION.{name} = 'READ-COMMITTED' AND @@SESSION.autocommit = 1 AS n");
    assert_eq!(number(&mut connection, &is_set).await, 1);
    database.drop().await;
}

#[tokio::test]
async fn a_step_sees_what_others_committed_after_it_began() {
    let database = Database::new("snapshot").await;
    let (stop, mut stopped) = Stop::at("enqueue", "LOCK IN SHARE MODE", Side::Before);
    let store = database.watched(stop).await;
    let one = job(1, true);
    put(&store, &one, &[]).await;
    let enqueue = tokio::spawn({
        let (store, now, one) = (store.clone(), store.now().await.unwrap(), one.clone());
        async move { store.enqueue(vec![work(1, Some(&one), now)]).await }
    });
    // It has read already whether its id is known, so a snapshot of its transaction would have been made by now.
    stopped.reached().await;
    database.connection().await.batch_execute("DELETE FROM punctual_job WHERE id = 1").await.unwrap();
    stopped.go();
    assert_eq!(enqueue.await.unwrap().unwrap(), Applied::Lost { at: 0 });
    database.drop().await;
}

#[tokio::test]
async fn the_clock_does_not_know_the_zone_of_its_session() {
    let database = Database::new("zone").await;
    let (plain, odd) =
        (database.open().await, MysqlStore::from_pool(odd_pool(&database.url)).open().await.unwrap());
    for _ in 0..3 {
        let (before, between, after) =
            (plain.now().await.unwrap(), odd.now().await.unwrap(), plain.now().await.unwrap());
        assert!(before <= between && between <= after, "{before} {between} {after}");
        assert!(after.since(before) < Duration::from_secs(60));
    }
    let epoch = "SELECT CAST(TIMESTAMPDIFF(SECOND, '1970-01-01', UTC_TIMESTAMP()) AS SIGNED) AS n";
    let seconds = database.number(epoch).await;
    let now = plain.now().await.unwrap().as_micros() / 1_000_000;
    assert!((seconds..seconds + 60).contains(&now), "{seconds} {now}");
    database.drop().await;
}

#[tokio::test]
async fn two_databases_of_a_server_are_two_clusters() {
    let (left, right) = (Database::new("left").await, Database::new("right").await);
    let (one, two) = (left.open().await, right.open().await);
    one.join(node(1)).await.unwrap();
    assert_eq!(two.join(node(2)).await.unwrap().nodes.len(), 1);
    put(&one, &job(1, false), &[]).await;
    assert!(two.jobs(Page::first(10)).await.unwrap().is_empty());
    put(&two, &job(1, false), &[]).await;
    left.drop().await;
    right.drop().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_with_what_to_do() {
    let database = Database::new("wrong").await;
    let missing = format!("{}_missing", database.url);
    let error = MysqlStore::connect(missing).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported), "{error}");
    let error =
        MysqlStore::builder(database.url.clone()).migrate(MigrateMode::Validate).open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("run the migrations first"), "{error}");
    let nobody = "mysql://nobody:wrong@127.0.0.1:1/x";
    let error = MysqlStore::connect(nobody).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(!error.chain().contains("wrong@"), "{error}");
    database.drop().await;
}
