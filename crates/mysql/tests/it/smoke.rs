//! A firing from its definition to its history, on connections that count matched rows and on such that count changed
//! ones.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::AsyncMysqlConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig};
use mysql_async::{Conn, Opts, OptsBuilder};
use punctual_core::inspect::{ExecutionFilter, HistoryFilter};
use punctual_core::lock::LockRequest;
use punctual_core::memory::ManualClock;
use punctual_core::store::{ClaimOutcome, ClaimShape, SettleOutcome, Standby, Standing};
use punctual_core::{Inspect, JobStore, LockProvider, Timestamp};
use punctual_mysql::{MysqlBuilder, MysqlStore};

use crate::support::*;

/// A pool of the application's whose connections count changed rows, as plain connections of the driver do.
fn pool_that_counts_changes(url: &str) -> Pool<AsyncMysqlConnection> {
    let opts = Opts::from_url(url).unwrap();
    let mut config = ManagerConfig::default();
    config.custom_setup = Box::new(move |_| {
        let opts: Opts = OptsBuilder::from_opts(opts.clone()).client_found_rows(false).into();
        Box::pin(async move { AsyncMysqlConnection::try_from(Conn::new(opts).await.unwrap()).await })
    });
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Pool::builder(manager).max_size(3).build().unwrap()
}

async fn live_a_life(builder: MysqlBuilder) {
    let clock = ManualClock::at(Timestamp::from_secs(1_800_000_000));
    let store = builder.clock(Arc::new(clock.clone())).open().await.unwrap();
    let now = store.now().await.unwrap();
    let exclusive = job(1, true);
    put(&store, &exclusive, &[trigger(1, &exclusive, now), trigger(2, &exclusive, now)]).await;
    store.join(node(1)).await.unwrap();

    let claimed = fire(&store, 1, 10, 1).await;
    assert!(matches!(claimed.outcomes[0], ClaimOutcome::Fired(_)), "{claimed:?}");
    assert_eq!(claimed.outcomes[1], ClaimOutcome::Busy);
    let live = store.executions(ExecutionFilter::default()).await.unwrap();
    assert_eq!(live.len(), 1);
    // At the same instant, so that nothing but a counter can make a difference.
    for beat in [2, 3] {
        let checked_in = store.check_in(node_id(1)).await.unwrap();
        assert_eq!((checked_in.beat, checked_in.standing), (beat, Standing::Up));
    }
    let claim = checked_claim(&store).await;
    for _ in 0..2 {
        assert_eq!(store.begin(vec![claim]).await.unwrap(), [SettleOutcome::Done]);
        let cancelled = store.cancel(vec![claim.id], "twice".to_owned()).await.unwrap();
        assert_eq!((cancelled.ended, cancelled.asked), (0, 1));
    }
    for gate in [1, 2] {
        assert_eq!(store.set_standby(node_id(1), Standby::On).await.unwrap(), Some(gate));
    }
    for _ in 0..2 {
        store.leave(node_id(1)).await.unwrap();
        assert!(store.take_over(node_id(1), 3).await.unwrap());
    }
    let orphans = store.orphans(node_id(1), 10).await.unwrap();
    let plan = success(good(&orphans)[0], now);
    assert_eq!(store.settle(vec![plan.clone()]).await.unwrap(), [SettleOutcome::Done]);
    assert_eq!(store.settle(vec![plan]).await.unwrap(), [SettleOutcome::AlreadyDone]);
    assert_eq!(store.history(HistoryFilter::default()).await.unwrap().len(), 1);

    store.join(node(2)).await.unwrap();
    let due = read_due(&store, 2, 10).await;
    assert_eq!(due.triggers.len(), 1, "the freed slot woke the one that was parked: {due:?}");

    let request = LockRequest { name: "lock".into(), owner: node_id(2), span: Duration::from_secs(9) };
    let lease = store.try_acquire(request).await.unwrap().unwrap();
    for _ in 0..2 {
        // To the end that it has already.
        assert_eq!(store.renew(&lease, Duration::from_secs(9)).await.unwrap(), Some(lease.clone()));
    }
    assert!(store.release(&lease).await.unwrap());
    assert!(!store.release(&lease).await.unwrap());
}

async fn checked_claim(store: &dyn JobStore) -> punctual_core::store::ClaimRef {
    let owned = store.check_in(node_id(1)).await.unwrap().owned;
    punctual_core::store::ClaimRef { id: owned[0].id, owner: node_id(1), fence: owned[0].fence }
}

#[tokio::test]
async fn a_firing_lives_from_its_trigger_to_the_history() {
    let database = Database::new("life").await;
    live_a_life(MysqlStore::builder(database.url.clone())).await;
    database.drop().await;
}

#[tokio::test]
async fn connections_that_count_changed_rows_say_the_same() {
    let database = Database::new("changed").await;
    live_a_life(MysqlStore::from_pool(pool_that_counts_changes(&database.url))).await;
    database.drop().await;
}

#[tokio::test]
async fn conditional_writes_say_the_same_where_changed_rows_are_counted() {
    let database = Database::new("changed_cas").await;
    live_a_life(MysqlStore::from_pool(pool_that_counts_changes(&database.url)).claims(ClaimShape::Cas)).await;
    database.drop().await;
}

#[tokio::test]
async fn many_stores_open_a_new_database_at_once() {
    let database = Database::new("migrate").await;
    let opening: Vec<_> = (0..8).map(|_| tokio::spawn(MysqlStore::connect(database.url.clone()))).collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    let done = database.number("SELECT COUNT(*) AS n FROM punctual_migration WHERE state = 2").await;
    assert_eq!(usize::try_from(done).unwrap(), punctual_migrations::MYSQL.len());
    database.drop().await;
}
