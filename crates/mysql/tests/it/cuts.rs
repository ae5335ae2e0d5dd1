//! Connections that end in the middle of a step.

use std::sync::atomic::{AtomicU32, Ordering};

use diesel_async::SimpleAsyncConnection;
use punctual_core::inspect::{ExecutionFilter, HistoryFilter};
use punctual_core::store::hook::{HookAnswer, Side, StatementHook, StatementPoint};
use punctual_core::store::{Applied, SettleOutcome};
use punctual_core::{ErrorKind, Inspect, JobStore};

use crate::support::*;

/// Cuts the statement of a step with a number.
#[derive(Debug)]
struct CutAt {
    step: &'static str,
    index: u32,
    side: Side,
    cuts: AtomicU32,
}

impl StatementHook for CutAt {
    fn at(&self, point: &StatementPoint<'_>) -> HookAnswer {
        if (point.step, point.index, point.side) != (self.step, self.index, self.side) {
            return HookAnswer::Continue;
        }
        match self.cuts.fetch_add(1, Ordering::Relaxed) {
            0 => HookAnswer::Cut,
            _ => HookAnswer::Continue,
        }
    }
}

#[tokio::test]
async fn a_settlement_that_is_cut_anywhere_is_done_or_not_done() {
    let database = Database::new("cut").await;
    let plain = database.open().await;
    plain.join(node(1)).await.unwrap();
    let exclusive = job(1, true);
    put(&plain, &exclusive, &[]).await;
    let now = plain.now().await.unwrap();
    let (mut id, mut was_cut) = (0, true);
    let mut index = 0;
    while was_cut {
        for side in [Side::Before, Side::After] {
            id += 1;
            assert_eq!(plain.enqueue(vec![work(id, Some(&exclusive), now)]).await.unwrap(), Applied::All);
            let claimed = claim_ready(&plain, 1, 1).await;
            let plan = success(good(&claimed.work)[0], now);
            let hook = CutAt { step: "settle", index, side, cuts: AtomicU32::new(0) };
            let store = database.watched(hook).await;
            match store.settle(vec![plan.clone()]).await {
                Ok(outcomes) => {
                    assert_eq!(outcomes, [SettleOutcome::Done]);
                    was_cut = false;
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                    let outcomes = store.settle(vec![plan]).await.unwrap();
                    assert!(outcomes != [SettleOutcome::Fenced], "at {index} {side:?}");
                }
            }
        }
        index += 1;
    }
    assert!(index > 6, "{index}");
    assert!(plain.executions(ExecutionFilter::default()).await.unwrap().is_empty());
    let ended = plain.history(HistoryFilter::default()).await.unwrap().len();
    assert_eq!(u128::try_from(ended).unwrap(), id);
    database.drop().await;
}

#[tokio::test]
async fn a_killed_connection_is_not_used_again() {
    let database = Database::new("killed").await;
    let (stop, mut stopped) = Stop::at("enqueue", "INSERT INTO punctual_execution", Side::Before);
    let store = database.watched(stop).await;
    let now = store.now().await.unwrap();
    let enqueue = tokio::spawn({
        let store = store.clone();
        async move { store.enqueue(vec![work(1, None, now)]).await }
    });
    stopped.reached().await;
    let victims = format!(
        "SELECT id AS n FROM information_schema.processlist WHERE db = '{}' AND id <> CONNECTION_ID()",
        database.name
    );
    let mut admin = database.connection().await;
    loop {
        let victim = number(&mut admin, &victims).await;
        if victim == 0 {
            break;
        }
        // It may be gone already.
        drop(admin.batch_execute(&format!("KILL {victim}")).await);
    }
    drop(stopped);
    let error = enqueue.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().starts_with(&database.name), "{error}");
    assert_eq!(store.enqueue(vec![work(1, None, now)]).await.unwrap(), Applied::All);
    assert_eq!(store.executions(ExecutionFilter::default()).await.unwrap().len(), 1);
    database.drop().await;
}

#[tokio::test]
async fn a_silent_client_loses_its_locks() {
    let database = Database::new("silent").await;
    if database.number("SELECT VERSION() LIKE '%MariaDB%' AS n").await == 0 {
        // MySQL has no such limit; the documentation of the crate says what it means.
        database.drop().await;
        return;
    }
    let (stop, mut stopped) = Stop::at("set_standby", "SELECT gate", Side::Before);
    let (frozen, other) = (database.watched(stop).await, database.open().await);
    other.join(node(1)).await.unwrap();
    let standby = punctual_core::store::Standby::On;
    let step = tokio::spawn({
        let frozen = frozen.clone();
        async move { frozen.set_standby(node_id(1), standby).await }
    });
    stopped.reached().await;
    // It holds the node's row, and waits for nobody; the server ends it, and the other one gets the row.
    assert_eq!(other.set_standby(node_id(1), standby).await.unwrap(), Some(1));
    drop(stopped);
    assert_eq!(step.await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(frozen.set_standby(node_id(1), standby).await.unwrap(), Some(2));
    database.drop().await;
}
