//! Several handles on one file: what one writes the others see, and a future that is dropped does no harm.
#![expect(clippy::disallowed_methods, reason = "these tests wait for other threads, with a limit")]

use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::inspect::{ExecutionFilter, HistoryFilter};
use punctual_core::store::{Applied, Standing};
use punctual_core::{Entropy, ErrorKind, Inspect, JobStore, LockProvider};
use punctual_sqlite::SqliteStore;
use rusqlite::Connection;
use tokio::time::timeout;

use crate::support::*;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_was_written_is_there_after_opening_the_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    let job = job(1, true);
    put(&store, &job, &[trigger(1, &job, store.now().await.unwrap())]).await;
    store.join(node(1)).await.unwrap();
    let stored = store.job(&job.key).await.unwrap();
    drop(store);

    let store = open(&path).await;
    assert_eq!(store.job(&job.key).await.unwrap(), stored);
    assert_eq!(stored.map(|stored| (stored.rev, stored.spec)), Some((1, job.spec)));
    assert_eq!(store.check_in(node_id(1)).await.unwrap().beat, 2);
    assert_eq!(read_due(&store, 1, 10).await.triggers.len(), 1);
}

#[tokio::test]
async fn two_stores_on_one_file_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (one, two) = (open(&path).await, open(&path).await);
    one.join(node(1)).await.unwrap();
    assert_eq!(two.join(node(2)).await.unwrap().nodes.len(), 2);
    let now = one.now().await.unwrap();
    for id in 1..=20 {
        assert_eq!(one.enqueue(vec![work(id, None, now)]).await.unwrap(), Applied::All);
        let claimed = claim_ready(&two, 2, 10).await;
        let plans: Vec<_> = good(&claimed.work).into_iter().map(|work| success(work, now)).collect();
        assert_eq!(plans.len(), 1);
        let _ = two.settle(plans).await.unwrap();
        assert!(one.executions(ExecutionFilter::default()).await.unwrap().is_empty());
    }
    assert_eq!(one.history(HistoryFilter::default()).await.unwrap().len(), 20);
    assert!(two.take_over(node_id(1), 1).await.unwrap());
    assert_eq!(one.check_in(node_id(1)).await.unwrap().standing, Standing::Gone);
}

#[tokio::test]
async fn many_stores_open_a_new_file_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let opening: Vec<_> = (0..12).map(|_| tokio::spawn(SqliteStore::open(path.clone()))).collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    let file = Connection::open(&path).unwrap();
    let applied: i64 = file.query_row("SELECT count(*) FROM migration", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(applied).unwrap(), punctual_migrations::SQLITE.len());
}

#[tokio::test]
async fn work_of_another_handle_wakes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (one, two) = (open(&path).await, open(&path).await);
    let now = one.now().await.unwrap();
    for id in 1..=10 {
        // What has been there before is told at most once.
        while timeout(Duration::from_millis(50), two.wake().unwrap().changed()).await.is_ok() {}
        let waiting = two.clone();
        let woken = tokio::spawn(async move { waiting.wake().unwrap().changed().await });
        tokio::task::yield_now().await;
        let _ = one.enqueue(vec![work(id, None, now)]).await.unwrap();
        timeout(LONG, woken).await.expect("nobody was woken").unwrap();
    }
}

#[tokio::test]
async fn beats_wake_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (one, two) = (open(&path).await, open(&path).await);
    one.join(node(1)).await.unwrap();
    while timeout(Duration::from_millis(50), two.wake().unwrap().changed()).await.is_ok() {}
    let waiting = async { two.wake().unwrap().changed().await };
    let beating = async {
        for _ in 0..20 {
            one.check_in(node_id(1)).await.unwrap();
        }
    };
    let both = async { tokio::join!(beating, timeout(Duration::from_millis(300), waiting)) };
    assert!(both.await.1.is_err(), "a beat is no news");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_future_leaves_its_step_done_or_not_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("jobs.db")).await;
    let now = store.now().await.unwrap();
    let entropy = SeededEntropy::new(7);
    store.join(node(1)).await.unwrap();
    for id in 0..200_u128 {
        let batch = vec![work(2 * id + 1, None, now), work(2 * id + 2, None, now)];
        let patience = entropy.below(Duration::from_millis(3));
        let _dropped_or_done = timeout(patience, store.enqueue(batch)).await;
        let _dropped_or_done =
            timeout(entropy.below(Duration::from_millis(3)), store.check_in(node_id(1))).await;
        let _dropped_or_done =
            timeout(entropy.below(Duration::from_millis(3)), claim_ready(&store, 1, 1)).await;
    }
    let rows = store.executions(ExecutionFilter::default()).await.unwrap();
    assert_eq!(rows.len() % 2, 0, "a batch is in the store as a whole or not at all");
    let file = Connection::open(folder.path().join("jobs.db")).unwrap();
    assert_eq!(
        file.execute("UPDATE meta SET value = value WHERE name = 'epoch'", []).unwrap(),
        1,
        "no lock is left"
    );
    let batch: Vec<_> = (0..200).map(|id| work(2 * id + 1, None, now)).collect();
    assert_eq!(store.enqueue(batch).await.unwrap(), Applied::All);
}

#[tokio::test]
async fn a_lock_that_another_program_keeps_is_unavailable_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = SqliteStore::builder(&path).busy_timeout(Duration::from_millis(100)).open().await.unwrap();
    let file = Connection::open(&path).unwrap();
    file.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.join(node(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("write lock"), "{error}");
    assert!(read_due(&store, 1, 1).await.triggers.is_empty(), "reads go on");
    file.execute_batch("ROLLBACK").unwrap();
    store.join(node(1)).await.unwrap();
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_noticed_by_its_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let store = open(&path).await;
    store.join(node(1)).await.unwrap();
    let away = folder.path().join("away.db");
    std::fs::rename(&path, &away).unwrap();
    let error = store.check_in(node_id(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("put it back"), "{error}");
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(store.check_in(node_id(1)).await.unwrap().beat, 2);
}

#[tokio::test]
async fn locks_are_shared_by_all_handles() {
    use punctual_core::lock::LockRequest;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let (one, two) = (open(&path).await, open(&path).await);
    let request = |owner| LockRequest { name: "nightly".into(), owner: node_id(owner), span: LONG };
    let lease = one.try_acquire(request(1)).await.unwrap().unwrap();
    assert_eq!(two.try_acquire(request(2)).await.unwrap(), None);
    assert!(one.release(&lease).await.unwrap());
    assert!(two.try_acquire(request(2)).await.unwrap().unwrap().fence > lease.fence);
}
