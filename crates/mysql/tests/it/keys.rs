//! Keys compare byte for byte: blanks at their ends, case, accents and normal forms count.

use std::time::Duration;

use punctual_core::inspect::Page;
use punctual_core::lock::LockRequest;
use punctual_core::store::Applied;
use punctual_core::{Inspect, JobKey, JobStore, LockProvider};

use crate::support::*;

/// Names of jobs; core refuses blanks at their ends.
const ALIKE: [&str; 8] = ["a", "a a", "a  a", "A", "á", "a\u{301}", "ａ", "ß"];

/// Names of slots and locks, which may end as they like.
const BLANKS: [&str; 6] = ["a", "a ", "a  ", "a\t", " a", "A "];

#[tokio::test]
async fn keys_that_a_collation_takes_for_one_are_many() {
    let database = Database::new("keys").await;
    let store = database.open().await;
    for (id, name) in (1..).zip(ALIKE) {
        let mut job = job(id, false);
        job.key = JobKey::new("group", name).unwrap();
        put(&store, &job, &[]).await;
    }
    for (id, name) in (1..).zip(ALIKE) {
        let found = store.job(&JobKey::new("group", name).unwrap()).await.unwrap().unwrap();
        assert_eq!((found.id.get(), found.key.name()), (id, name));
    }
    let mut expected = ALIKE.to_vec();
    expected.sort_unstable();
    let listed = store.jobs(Page::first(100)).await.unwrap();
    assert_eq!(listed.iter().map(|job| job.key.name()).collect::<Vec<_>>(), expected);
    database.drop().await;
}

#[tokio::test]
async fn blanks_at_the_ends_of_slot_keys_and_lock_names_count() {
    let database = Database::new("slots").await;
    let store = database.open().await;
    store.join(node(1)).await.unwrap();
    let now = store.now().await.unwrap();
    for (id, name) in (1..).zip(BLANKS) {
        let mut exclusive = job(id, false);
        let when_busy = punctual_core::job::WhenBusy::Queue;
        let concurrency = punctual_core::job::Concurrency { key: name.into(), limit: 1, when_busy };
        exclusive.spec.concurrency = Some(concurrency);
        put(&store, &exclusive, &[]).await;
        let id = u128::try_from(id).unwrap();
        assert_eq!(store.enqueue(vec![work(id, Some(&exclusive), now)]).await.unwrap(), Applied::All);
        let request = LockRequest { name: name.into(), owner: node_id(1), span: Duration::from_secs(60) };
        assert!(store.try_acquire(request).await.unwrap().is_some(), "{name:?}");
    }
    assert_eq!(claim_ready(&store, 1, 100).await.work.len(), BLANKS.len());
    database.drop().await;
}
