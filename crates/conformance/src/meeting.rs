//! Two steps that meet: one is held between two of its statements while another store does something else.
//!
//! Where the first has not begun, nothing can stop the second, and it is waited for. Where the first may hold locks, the
//! second is given time by round trips to the store, and if it waits for the first, it goes on when that is released. Each round has a job of its own, so that one round leaves nothing to the next.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use punctual_core::JobStore;
use punctual_core::job::JobRecord;
use punctual_core::store::hook::Side;
use punctual_core::store::{Claim, ClaimOutcome, ClaimReady, FirePlan, SettleOutcome, SettlePlan};

use crate::bench::{Bench, Node, kind};
use crate::probe::{Grip, Point, Probe};

/// Round trips that a step gets which may have to wait.
const PATIENCE: u32 = 30;
/// How long it gets at most. A store gives up waiting for a lock after a while, which is not what is asked here: on a busy
/// machine a few round trips may take as long.
const LONGEST: Duration = Duration::from_millis(500);
/// More statements than any step has.
const MOST: u32 = 200;

#[expect(clippy::disallowed_methods, reason = "how long this process has waited is no store's business")]
fn now() -> Instant {
    Instant::now()
}

/// A store whose steps can be held, and one whose steps come in between.
pub(crate) struct Pair {
    probe: Arc<Probe>,
    pub(crate) held: Arc<dyn JobStore>,
    pub(crate) other: Arc<dyn JobStore>,
}

impl Pair {
    pub(crate) async fn open(bench: &Bench) -> Self {
        let probe = Arc::new(Probe::default());
        Self { held: bench.hooked(&probe).await, other: bench.other().await, probe }
    }

    /// Runs two steps, the first of them held at `point`; `None` for the point's answer if it never comes there.
    pub(crate) async fn meet<A, B>(
        &self,
        bench: &Bench,
        point: Point,
        held: impl Future<Output = A> + Send + 'static,
        other: impl Future<Output = B> + Send + 'static,
    ) -> (A, B, bool)
    where
        A: Send + 'static,
        B: Send + 'static,
    {
        let hold = self.probe.hold_at(point);
        let mut first = tokio::spawn(held);
        let grip = tokio::select! {
            came = hold.reached => came.expect("the probe is there as long as the step"),
            done = &mut first => {
                return (done.expect("the task ends"), other.await, false);
            }
        };
        let mut second = tokio::spawn(other);
        let mut second_done = None;
        match grip {
            Grip::Nothing => second_done = Some((&mut second).await.expect("the task ends")),
            Grip::Locks => {
                let (mut patience, begun) = (PATIENCE, now());
                while !second.is_finished() && patience > 0 && begun.elapsed() < LONGEST {
                    bench.now().await;
                    patience -= 1;
                }
            }
        }
        let _ended_already = hold.release.send(());
        let first = first.await.expect("the task ends");
        let second = match second_done {
            Some(done) => done,
            None => second.await.expect("the task ends"),
        };
        (first, second, true)
    }
}

/// Points from the first on; a case stops at the first that its step does not come to.
pub(crate) fn points() -> impl Iterator<Item = (u32, Point)> {
    let before = (0..MOST).map(|statement| Point { statement, side: Side::Before });
    (0..).zip(before)
}

/// A job of a kind that only this round has.
pub(crate) async fn job(bench: &Bench, round: u32, limit: Option<u32>) -> JobRecord {
    let name = format!("j{round}");
    match limit {
        None => bench.job_with(&name, |job| job.kind = kind(&name)).await,
        Some(limit) => {
            let job = bench.limited(&name, &name, limit).await;
            let of_its_kind = JobRecord { kind: kind(&name), ..job };
            bench.write([crate::bench::replace_job(of_its_kind)]).await;
            bench
                .store
                .inspect()
                .job(&crate::bench::job_key(&name))
                .await
                .expect("a read")
                .expect("it is there")
        }
    }
}

/// The plan of the one due trigger of a job.
pub(crate) async fn plan(bench: &Bench, node: Node, job: &JobRecord) -> FirePlan {
    let due = bench.due_of(node, &[job.kind.as_str()], 10).await;
    let mut plans = bench.plans(&due);
    assert_eq!(plans.len(), 1, "one trigger is due");
    plans.remove(0)
}

pub(crate) fn claim(
    store: &Arc<dyn JobStore>,
    node: Node,
    plan: FirePlan,
) -> impl Future<Output = ClaimOutcome> + Send + 'static {
    let store = Arc::clone(store);
    let request = Claim { node: node.id, gate: node.gate, within: None, plans: vec![plan] };
    async move { store.claim(request).await.expect("a write").outcomes.remove(0) }
}

/// Claims the ready rows of a job, and answers how many.
pub(crate) fn take(
    store: &Arc<dyn JobStore>,
    node: Node,
    job: &JobRecord,
) -> impl Future<Output = usize> + Send + 'static {
    let store = Arc::clone(store);
    let request = ClaimReady::of(node.id, node.gate, [job.kind.clone()].into(), 10);
    async move { store.claim_ready(request).await.expect("a write").work.len() }
}

pub(crate) fn settle(
    store: &Arc<dyn JobStore>,
    plan: SettlePlan,
) -> impl Future<Output = SettleOutcome> + Send + 'static {
    let store = Arc::clone(store);
    async move { store.settle(vec![plan]).await.expect("a write").remove(0) }
}

pub(crate) fn fired(outcome: &ClaimOutcome) -> bool {
    matches!(outcome, ClaimOutcome::Fired(_))
}

/// Ends all live rows of a job.
pub(crate) async fn clear(bench: &Bench, job: &JobRecord) -> usize {
    let rows: Vec<_> = bench.rows().await.into_iter().filter(|row| row.kind == job.kind).collect();
    for row in &rows {
        match row.owner {
            Some(_) => bench.finish(row).await,
            None => assert_eq!(bench.cancel(row.id).await.ended, 1),
        }
    }
    rows.len()
}

/// A running row of a job with a limit of one.
pub(crate) async fn busy(bench: &Bench, node: Node, job: &JobRecord) -> punctual_core::execution::Execution {
    let id = bench.enqueue(job).await;
    assert_eq!(take(&bench.store, node, job).await, 1);
    bench.row(id).await
}
