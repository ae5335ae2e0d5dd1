//! Code under named locks: who holds, how long, and what becomes of it when the lease is lost.

#![allow(clippy::unwrap_used, reason = "only tests use this; a broken expectation is to be seen")]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use common::{START, pump, secs};
use punctual_core::entropy::SeededEntropy;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::memory::{ManualClock, MemoryStore};
use punctual_core::{Clock, Error, ErrorKind, Fence, LockProvider, Result};
use punctual_runtime::{Exclusive, Held, Terms};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const SPAN: Duration = Duration::from_secs(30);

/// What renewals of a lease do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Up,
    /// They fail, and nothing is done.
    Down,
    /// They are done, but their answers do not come.
    Slow,
}

/// The locks of a memory store behind a line that can be broken.
#[derive(Debug)]
struct Locks {
    store: MemoryStore,
    line: Mutex<Line>,
    /// What lets slow answers through.
    answer: Notify,
    renewals: AtomicU32,
}

#[async_trait]
impl LockProvider for Locks {
    async fn try_acquire(&self, request: LockRequest) -> Result<Option<Lease>> {
        self.store.try_acquire(request).await
    }

    async fn renew(&self, lease: &Lease, span: Duration) -> Result<Option<Lease>> {
        self.renewals.fetch_add(1, SeqCst);
        let line = *self.line.lock().unwrap();
        match line {
            Line::Up => self.store.renew(lease, span).await,
            Line::Down => Err(Error::unavailable("renew", "the line is down")),
            Line::Slow => {
                let answer = self.store.renew(lease, span).await;
                self.answer.notified().await;
                answer
            }
        }
    }

    async fn release(&self, lease: &Lease) -> Result<bool> {
        match *self.line.lock().unwrap() {
            Line::Up => {}
            _ => return Err(Error::unavailable("release", "the line is down")),
        }
        self.store.release(lease).await
    }
}

/// Two processes on one store.
struct Two {
    clock: ManualClock,
    locks: Arc<Locks>,
    one: Exclusive,
    other: Exclusive,
}

impl Two {
    fn new() -> Self {
        let clock = ManualClock::at(START);
        let store = MemoryStore::new(Arc::new(clock.clone()));
        let line = Mutex::new(Line::Up);
        let locks = Arc::new(Locks {
            store: store.clone(),
            line,
            answer: Notify::new(),
            renewals: AtomicU32::new(0),
        });
        let by_hand: Arc<dyn Clock> = Arc::new(clock.clone());
        let one = Exclusive::with(
            Arc::clone(&locks) as Arc<dyn LockProvider>,
            Arc::clone(&by_hand),
            &SeededEntropy::new(1),
        );
        let other = Exclusive::with(Arc::new(store), by_hand, &SeededEntropy::new(2));
        Self { clock, locks, one, other }
    }

    fn break_line(&self, line: Line) {
        *self.locks.line.lock().unwrap() = line;
    }

    /// Lets time pass, in steps that nobody oversleeps.
    async fn pass(&self, span: Duration) {
        let end = self.clock.boot().plus(span);
        pump().await;
        while self.clock.boot() < end {
            let left = end.since(self.clock.boot());
            self.clock.advance(self.clock.until_next_sleeper().map_or(left, |next| next.min(left)));
            pump().await;
        }
    }

    /// Whether the other process gets the lock now; the fence, if it does.
    async fn other_gets(&self) -> Option<Fence> {
        self.other.run_exclusive("l", SPAN, async |held| held.fence()).await.unwrap()
    }

    /// A body that goes on until it is told to end or dropped.
    async fn hold(&self, terms: impl Into<Terms>) -> Holding {
        let (started, end) = (Arc::new(Mutex::new(None)), Arc::new(Notify::new()));
        let (locks, terms) = (self.one.clone(), terms.into());
        let (shown, told) = (Arc::clone(&started), Arc::clone(&end));
        let alive = Arc::new(());
        let token = Arc::clone(&alive);
        let task = tokio::spawn(async move {
            locks
                .run_exclusive("l", terms, async |held| {
                    let _token = token;
                    *shown.lock().unwrap() = Some(held);
                    told.notified().await;
                    "done"
                })
                .await
        });
        pump().await;
        let held = started.lock().unwrap().take().expect("it has begun");
        Holding { task, held, end, alive }
    }
}

struct Holding {
    task: JoinHandle<Result<Option<&'static str>>>,
    held: Held,
    end: Arc<Notify>,
    alive: Arc<()>,
}

impl Holding {
    fn body_lives(&self) -> bool {
        Arc::strong_count(&self.alive) > 1
    }
}

#[tokio::test]
async fn a_free_lock_is_held_for_the_body_and_given_back() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    assert_eq!((holding.held.name(), holding.held.is_in_force()), ("l", true));
    assert_eq!(two.other_gets().await, None);
    // Not even the same process gets it twice.
    assert_eq!(two.one.run_exclusive("l", SPAN, async |_| ()).await.unwrap(), None);
    assert_eq!(two.one.run_exclusive("another", SPAN, async |_| ()).await.unwrap(), Some(()));
    holding.end.notify_one();
    assert_eq!(holding.task.await.unwrap().unwrap(), Some("done"));
    assert!(!holding.held.is_in_force(), "it is given back");
    let next = two.other_gets().await.expect("it is free at once");
    assert!(next > holding.held.fence());
}

#[tokio::test]
async fn a_lease_is_renewed_at_each_third_of_its_span() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    for _ in 0..20 {
        two.pass(SPAN / 2).await;
        assert!(holding.held.is_in_force() && holding.body_lives());
        assert_eq!(two.other_gets().await, None);
    }
    assert_eq!(two.locks.renewals.load(SeqCst), 30);
    holding.end.notify_one();
    assert_eq!(holding.task.await.unwrap().unwrap(), Some("done"));
}

#[tokio::test]
async fn a_body_is_dropped_before_anybody_else_gets_the_lock() {
    for line in [Line::Down, Line::Slow] {
        let two = Two::new();
        let holding = two.hold(SPAN).await;
        two.pass(secs(11)).await;
        two.break_line(line);
        // Renewed at second 10, so it ends at second 40, and for the body 0.6 s before.
        two.pass(secs(28)).await;
        assert!(holding.body_lives() && holding.held.is_in_force(), "{line:?}");
        assert_eq!(two.other_gets().await, None);
        two.pass(Duration::from_millis(401)).await;
        assert!(!holding.body_lives() && !holding.held.is_in_force(), "{line:?}");
        assert_eq!(two.other_gets().await, None, "it is still taken");
        let lost = holding.task.await.unwrap().unwrap_err();
        assert!(lost.kind() == ErrorKind::Fenced && lost.message().contains("\"l\""), "{lost}");
        two.pass(SPAN).await;
        assert!(two.other_gets().await.unwrap() > holding.held.fence());
    }
}

#[tokio::test]
async fn a_renewal_counts_from_when_it_was_sent() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    two.break_line(Line::Slow);
    // Sent at second 10, answered at second 29.
    two.pass(secs(29)).await;
    two.locks.answer.notify_waiters();
    two.pass(secs(10)).await;
    assert!(holding.body_lives(), "the answer came in time");
    // The next one was sent at once and is not answered: 10 + 30 - 0.6 seconds.
    two.pass(Duration::from_millis(401)).await;
    assert!(!holding.body_lives());
}

#[tokio::test]
async fn a_line_that_is_mended_in_time_costs_nothing() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    two.break_line(Line::Down);
    two.pass(secs(25)).await;
    two.break_line(Line::Up);
    two.pass(secs(100)).await;
    assert!(holding.body_lives());
    holding.end.notify_one();
    assert_eq!(holding.task.await.unwrap().unwrap(), Some("done"));
}

#[tokio::test]
async fn a_lock_that_has_passed_on_ends_its_body_at_the_next_renewal() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    // The store's clock jumps, as nothing forbids it to, and somebody else is given the lock.
    two.clock.set_wall(START.plus(secs(3_600)));
    let next = two.other.run_exclusive("l", SPAN, async |held| {
        two.pass(secs(9)).await;
        assert!(holding.body_lives(), "it cannot know yet; the fence protects");
        two.pass(secs(2)).await;
        assert!(!holding.body_lives());
        held.fence()
    });
    assert!(next.await.unwrap().unwrap() > holding.held.fence());
    assert_eq!(holding.task.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn short_work_holds_the_lock_for_the_least_time() {
    let two = Two::new();
    let terms = Terms::lasting(SPAN).at_least_for(secs(20));
    let done = two.one.run_exclusive("l", terms, async |_| two.clock.advance(secs(5))).await.unwrap();
    assert_eq!(done, Some(()));
    two.pass(secs(14)).await;
    assert_eq!(two.other_gets().await, None);
    two.pass(secs(1)).await;
    assert!(two.other_gets().await.is_some());
    // What takes longer anyway gives it back at once.
    let holding = two.hold(terms).await;
    two.pass(secs(70)).await;
    holding.end.notify_one();
    holding.task.await.unwrap().unwrap();
    assert!(two.other_gets().await.is_some());
}

#[tokio::test]
async fn long_work_is_dropped_after_the_longest_time() {
    let two = Two::new();
    let holding = two.hold(Terms::lasting(SPAN).at_most_for(secs(75))).await;
    two.pass(secs(73)).await;
    assert!(holding.body_lives());
    two.pass(secs(2)).await;
    assert!(!holding.body_lives());
    assert_eq!(holding.task.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
    assert!(two.other_gets().await.is_some());
}

#[tokio::test]
async fn dropping_it_drops_the_body_and_gives_the_lock_back() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    holding.task.abort();
    pump().await;
    assert!(!holding.body_lives());
    assert!(two.other_gets().await.is_some());
    // So does a panic.
    let locks = two.one.clone();
    let panics = tokio::spawn(async move {
        locks.run_exclusive("l", SPAN, async |_| assert!(locks_are_bad(), "as it must")).await
    });
    assert!(panics.await.unwrap_err().is_panic());
    pump().await;
    assert!(two.other_gets().await.is_some());
}

fn locks_are_bad() -> bool {
    false
}

#[tokio::test]
async fn what_the_body_has_started_elsewhere_hears_of_the_end() {
    for lost in [false, true] {
        let two = Two::new();
        let holding = two.hold(SPAN).await;
        let held = holding.held.clone();
        let elsewhere = tokio::spawn(async move { held.lost().await });
        two.pass(secs(100)).await;
        assert!(!elsewhere.is_finished());
        if lost {
            two.break_line(Line::Down);
            two.pass(SPAN).await;
        } else {
            holding.end.notify_one();
        }
        pump().await;
        assert!(elsewhere.is_finished(), "lost: {lost}");
    }
}

#[tokio::test]
async fn a_body_that_wakes_after_the_end_is_not_polled_again() {
    let two = Two::new();
    let holding = two.hold(SPAN).await;
    // As in a suspend: all time passes before anybody runs, and the body is woken first.
    holding.end.notify_one();
    two.clock.advance(SPAN);
    pump().await;
    assert_eq!(holding.task.await.unwrap().unwrap_err().kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn of_many_only_one_runs_at_once_and_fences_grow() {
    let two = Two::new();
    let (inside, fences) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(BTreeMap::new())));
    let mut tasks = Vec::new();
    for n in 0_u32..20 {
        let locks = if n % 2 == 0 { two.one.clone() } else { two.other.clone() };
        let (inside, fences, clock) = (Arc::clone(&inside), Arc::clone(&fences), two.clock.clone());
        tasks.push(tokio::spawn(async move {
            loop {
                let ran = locks
                    .run_exclusive("l", SPAN, async |held| {
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        clock.sleep(secs(u64::from(n) * 3)).await;
                        let mut fences = fences.lock().unwrap();
                        assert!(fences.last_key_value().is_none_or(|(last, _)| *last < held.fence()));
                        fences.insert(held.fence(), n);
                        inside.fetch_sub(1, SeqCst);
                    })
                    .await
                    .unwrap();
                if ran.is_some() {
                    return;
                }
                clock.sleep(secs(1)).await;
            }
        }));
    }
    two.pass(secs(1_000)).await;
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fences.lock().unwrap().len(), 20);
}

#[tokio::test]
async fn terms_that_cannot_be_kept_are_refused() {
    let two = Two::new();
    for terms in [
        Terms::lasting(Duration::ZERO),
        Terms::lasting(SPAN).at_least_for(SPAN * 2),
        Terms::lasting(SPAN).at_most_for(Duration::ZERO),
        Terms::lasting(SPAN).at_most_for(secs(10)).at_least_for(secs(20)),
    ] {
        let refused = two.one.run_exclusive("l", terms, async |_| unreachable!()).await;
        assert_eq!(refused.map(|_: Option<()>| ()).unwrap_err().kind(), ErrorKind::Invalid, "{terms:?}");
    }
    let nameless = two.one.run_exclusive("", SPAN, async |_| ()).await;
    assert_eq!(nameless.unwrap_err().kind(), ErrorKind::Invalid);
}
