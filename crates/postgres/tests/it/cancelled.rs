//! Futures that are dropped: the step is done or not done, and no connection keeps a transaction.

use std::future::Future;
use std::pin::pin;

use punctual_core::store::Applied;
use punctual_core::{JobStore, Timestamp};
use punctual_postgres::PostgresStore;

use crate::database::Database;
use crate::support::{ask, claim_ready, job, node, put, read_due, users, work};

/// Lets a future run until the executor has had `turns` turns, and drops it then; its answer if it was faster.
async fn for_turns<T>(turns: u32, future: impl Future<Output = T>) -> Option<T> {
    let turned = async {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = pin!(future) => Some(answer),
        () = turned => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_step_is_done_or_not_done() {
    let database = Database::fresh();
    let builder = PostgresStore::builder(database.url()).unwrap();
    let store = builder.max_connections(2).open().await.unwrap();
    let job = job(1, true);
    put(&store, &job, &[]).await;
    store.join(node(1)).await.unwrap();
    let mut answered = 0;
    for n in 1..=300_u32 {
        let batch = vec![
            work(2 * u128::from(n), Some(&job), Timestamp::EPOCH),
            work(2 * u128::from(n) + 1, Some(&job), Timestamp::EPOCH),
        ];
        let turns = n * 7 % 401;
        if let Some(applied) = for_turns(turns, store.enqueue(batch)).await {
            assert_eq!(applied.unwrap(), Applied::All);
            answered += 1;
        }
        for_turns(turns, store.join(node(i64::from(n)))).await;
        for_turns(turns, claim_ready(&store, 1, 1)).await;
    }
    assert!(answered < 300, "some were dropped");

    // Steps that were dropped are completed by themselves. Two more on each connection come behind them.
    let mut connection = users(&database).await;
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'punctual'
        AND state <> 'idle'";
    for tries in 0.. {
        read_due(&store, 1, 1).await;
        if ask::<i64>(&mut connection, busy).await == 0 {
            break;
        }
        assert!(tries < 1_000, "a session does not come to rest");
    }
    let halves = "SELECT count(*) FROM (SELECT get_byte(id, 14) * 256 + get_byte(id, 15) AS n FROM punctual.execution) e
        WHERE n NOT IN (SELECT m # 1 FROM (SELECT get_byte(id, 14) * 256 + get_byte(id, 15) AS m FROM punctual.execution) o)";
    assert_eq!(ask::<i64>(&mut connection, halves).await, 0, "a batch is whole");
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'punctual'";
    assert!(ask::<i64>(&mut connection, sessions).await <= 2);
}
