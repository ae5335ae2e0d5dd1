//! Futures that are dropped: the step is done or not done, and the pool is clean.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use diesel_async::AsyncMysqlConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::pooled_connection::deadpool::Pool;
use punctual_core::entropy::SeededEntropy;
use punctual_core::inspect::ExecutionFilter;
use punctual_core::store::{Applied, SettleOutcome};
use punctual_core::{Entropy, Inspect, JobStore};
use punctual_mysql::MysqlStore;

use crate::support::*;

fn pool(url: &str) -> Pool<AsyncMysqlConnection> {
    Pool::builder(AsyncDieselConnectionManager::new(url)).max_size(2).build().unwrap()
}

/// Polls a future so often at most, and drops it then.
async fn dropped_after<T>(polls: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
        if let Poll::Ready(answer) = polled {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_steps_leave_no_transaction_and_no_broken_connection() {
    let database = Database::new("dropped").await;
    let pool = pool(&database.url);
    let store = MysqlStore::from_pool(pool.clone()).open().await.unwrap();
    store.join(node(1)).await.unwrap();
    let exclusive = job(1, true);
    put(&store, &exclusive, &[trigger(1, &exclusive, store.now().await.unwrap())]).await;
    let entropy = SeededEntropy::new(7);
    let now = store.now().await.unwrap();
    let mut dropped = 0;
    for id in 1..=150_u128 {
        let polls = entropy.draw() % 40;
        let enqueued = dropped_after(polls, store.enqueue(vec![work(id, Some(&exclusive), now)])).await;
        dropped += u32::from(enqueued.is_none());
        drop(dropped_after(entropy.draw() % 40, store.check_in(node_id(1))).await);
        drop(dropped_after(entropy.draw() % 40, fire(&store, 1, 10, entropy.draw())).await);
        if let Some(claimed) = dropped_after(entropy.draw() % 40, claim_ready(&store, 1, 3)).await {
            let plans: Vec<_> = good(&claimed.work).into_iter().map(|row| success(row, now)).collect();
            drop(dropped_after(entropy.draw() % 40, store.settle(plans)).await);
        }
    }
    assert!(dropped > 20, "{dropped}");
    // Whoever has both connections has waited for all steps that are still under way.
    let (mut one, mut two) = (pool.get().await.unwrap(), pool.get().await.unwrap());
    let open =
        "SELECT COUNT(*) AS n FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = CONNECTION_ID()";
    assert_eq!((number(&mut one, open).await, number(&mut two, open).await), (0, 0));
    drop((one, two));
    // What was claimed and not answered is found by the next check-in, and handed back; then everything can be worked off.
    let live = store.executions(ExecutionFilter::default()).await.unwrap().len();
    assert!(live > 0);
    store.leave(node_id(1)).await.unwrap();
    store.join(node(2)).await.unwrap();
    let orphans = store.orphans(node_id(1), 1_000).await.unwrap();
    let plans: Vec<_> = good(&orphans).into_iter().map(|row| success(row, now)).collect();
    assert_eq!(store.settle(plans.clone()).await.unwrap(), vec![SettleOutcome::Done; plans.len()]);
    assert_eq!(store.enqueue(vec![work(1_000, None, now)]).await.unwrap(), Applied::All);
    assert_eq!(database.number("SELECT COUNT(*) AS n FROM punctual_slot WHERE exec_id IS NOT NULL").await, 0);
    database.drop().await;
}
