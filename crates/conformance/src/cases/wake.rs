//! `Wake`: a hint that there may be work. One may be missed and one may come for nothing, so these cases write until
//! one comes, and fail if none of very many writes brings one.

use std::future::Future;

use punctual_core::store::Wake;

use crate::bench::{TheSlot, secs};
use crate::case::cases;

/// The writes after which a wake-up is taken for broken.
const WRITES: u32 = 1_000;

async fn until_woken<F: Future<Output = ()> + Send>(wake: &dyn Wake, write: impl Fn() -> F + Send + Sync) {
    let writes = async {
        for _ in 0..WRITES {
            write().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = wake.changed() => {}
        () = writes => panic!("none of {WRITES} writes woke the waiter"),
    }
}

cases! {
    A "wake";

    /// Work that another handle puts in wakes a waiter.
    [Wake]
    async fn new_work_wakes(bench) {
        let job = bench.job("j").await;
        let waiter = bench.other().await;
        let write = || async {
            bench.enqueue(&job).await;
        };
        until_woken(waiter.wake().expect("a wake-up"), write).await;
    }

    /// A definition that another handle writes wakes a waiter.
    [Wake]
    async fn new_definitions_wake(bench) {
        let job = bench.job("j").await;
        let waiter = bench.other().await;
        let names = std::sync::atomic::AtomicU32::new(0);
        let write = || async {
            let n = names.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            bench.trigger(&format!("t{n}"), &job).await;
        };
        until_woken(waiter.wake().expect("a wake-up"), write).await;
    }

    /// A row that another handle puts back wakes a waiter.
    [Wake]
    async fn a_row_that_goes_back_wakes(bench) {
        let node = bench.node("a").await;
        let job = bench.job("j").await;
        bench.enqueue(&job).await;
        let waiter = bench.other().await;
        let write = || async {
            let row = bench.take_one(node).await;
            bench.give_back(&row, secs(0), TheSlot::Freed).await;
        };
        until_woken(waiter.wake().expect("a wake-up"), write).await;
    }

    /// A waiter may be dropped, and the next one is woken.
    [Wake]
    async fn waiting_is_cancel_safe(bench) {
        let job = bench.job("j").await;
        let waiter = bench.other().await;
        let wake = waiter.wake().expect("a wake-up");
        drop(wake.changed());
        let write = || async {
            bench.enqueue(&job).await;
        };
        until_woken(wake, write).await;
    }
}
