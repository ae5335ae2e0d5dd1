//! The store: its handle, and each step of the trait in a task of its own, so that nobody can cancel it half-way.

mod check;
mod definitions;
pub(crate) mod firing;
pub(crate) mod members;
mod pauses;
mod settling;
pub(crate) mod slots;
mod upkeep;
mod within;
mod work;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::check::Check;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, Claimed, ClaimedReady, Due, Enqueue,
    Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby, StoreFeatures, Wake,
};
use punctual_core::{BoxFuture, Error, ExecutionId, Fence, Inspect, JobStore, NodeId, Result, Timestamp};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::builder::PostgresBuilder;
use crate::error::classify;
use crate::migrate;
use crate::open::{Options, check_schema, check_session, place_of};
use crate::pool::{Pool, Source};
use crate::step::{After, Engine, News, Outcome, Shape, Step};
use crate::wake::{Herald, Listener, Signal};

/// A store in one schema of a PostgreSQL database. A clone is another handle on it; give each node of a process its own.
///
/// Connections are opened when they are needed, and closed when the last handle is dropped; a step in progress is
/// completed first. All methods must be called within a tokio runtime.
pub struct PostgresStore {
    shared: Arc<Shared>,
    /// The last change that an answer through this handle could speak of.
    seen: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    place: Arc<str>,
    features: StoreFeatures,
    signal: Arc<Signal>,
    herald: Herald,
    listener: Listener,
}

impl PostgresStore {
    /// Opens a database by its URL (`postgres://user:password@host/database`) with all defaults, and brings the tables
    /// in schema `punctual` up to date.
    ///
    /// # Errors
    /// Those of [`PostgresBuilder::open`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder(url)?.open().await
    }

    /// Settings for opening a database by its URL.
    ///
    /// # Errors
    /// `Invalid` if the URL cannot be understood. The message does not repeat it, because it may hold a password.
    pub fn builder(url: &str) -> Result<PostgresBuilder> {
        PostgresBuilder::of_url(url)
    }

    /// Settings for a store on connections of the given pool, which stays the caller's.
    ///
    /// Every step is an explicit transaction there, and its settings (isolation, timeouts, plans) end with it; no
    /// setting of a session is changed, and no statement stays prepared. That costs three round trips a step more than a
    /// URL does. Beside the pool one session is opened to listen on, once a node waits for news; see
    /// [`PostgresBuilder::without_listening`].
    pub fn from_pool(pool: PgPool) -> PostgresBuilder {
        PostgresBuilder::of_pool(pool)
    }

    pub(crate) async fn start(source: Source, address: PgConnectOptions, options: Options) -> Result<Self> {
        check_schema(&options.schema_name)?;
        let place: Arc<str> = place_of(&address, &options.schema_name).into();
        let pool = Pool::new(source, &options, Arc::clone(&place));
        let engine = Engine::new(Arc::clone(&pool), &options);
        let sessions = options.sessions;
        let failed = |failure| classify("open", &place, failure);
        let mut held = pool.take().await.map_err(failed)?;
        check_session(held.connection().map_err(failed)?, sessions, &place).await.map_err(failed)?;
        held.is_clean();
        drop(held);
        migrate::prepare(&pool, &options, &place).await?;
        let clock_step = Duration::from_micros(1);
        let features = StoreFeatures {
            name: "postgres",
            shared: true,
            max_batch: 1_000,
            clock_step,
            claims: options.claims,
            lock_fences: true,
        };
        let signal = Arc::new(Signal::new());
        let channel: Arc<str> = options.schema_name.as_str().into();
        let herald = Herald::new(Arc::clone(&channel));
        let listener = Listener::new(options.listen.clone(), options.address(address), channel);
        let shared = Arc::new(Shared { engine, place, features, signal, herald, listener });
        shared.herald.start(&shared);
        Ok(Self { shared, seen: AtomicU64::new(0) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) const fn seen(&self) -> &AtomicU64 {
        &self.seen
    }

    /// Runs work on the store in a task of its own, and waits for its answer.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the work to itself: it is completed.
    pub(crate) async fn detached<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<Shared>) -> F,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.shared))).await {
            Ok(answer) => answer,
            Err(error) if error.is_panic() => Err(Error::internal(
                operation,
                "a step panicked and was rolled back; please report it with the panic's message",
            )),
            Err(_) => Err(Error::unavailable(operation, "the runtime of the store was shut down")),
        }
    }

    /// Runs one step in a task of its own.
    pub(crate) async fn step<R, T, F>(
        &self,
        operation: &'static str,
        shape: Shape,
        request: R,
        body: F,
    ) -> Result<T>
    where
        R: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Send + Sync + 'static,
    {
        self.detached(operation, |shared| async move { shared.step(operation, shape, &request, body).await })
            .await
    }
}

impl Shared {
    pub(crate) fn signal(&self) -> &Arc<Signal> {
        &self.signal
    }

    pub(crate) const fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Runs one step, and does what is left to do after its commit.
    pub(crate) async fn step<R, T, F>(
        &self,
        operation: &'static str,
        shape: Shape,
        request: &R,
        body: F,
    ) -> Result<T>
    where
        R: Sync,
        F: for<'s, 'c> Fn(&'s mut Step<'c>, &'s R) -> BoxFuture<'s, Outcome<T>> + Sync,
    {
        let (answer, after) =
            self.engine.run(operation, shape, request, body).await.map_err(|f| self.failed(operation, f))?;
        self.finish(after).await;
        Ok(answer)
    }

    /// The error of a step that failed.
    pub(crate) fn failed(&self, operation: &'static str, failure: crate::error::Failure) -> Error {
        classify(operation, &self.place, failure)
    }

    /// Looks again for whoever waits for slots that were freed without anybody being woken, and tells who should know.
    ///
    /// A step that frees does not see who is parked while it runs; this one has a younger snapshot. Nothing of it is an
    /// error of that step, which has committed: a waiter that is not found here, or because the process dies before, is
    /// found by `wake_waiting`.
    pub(crate) async fn finish(&self, after: After) {
        let After { mut news, freed } = after;
        if !freed.is_empty() {
            match slots::wake_again(&self.engine, &freed).await {
                Ok(woken) => news = news.max(woken),
                Err(failure) => {
                    let error = self.failed("wake", failure);
                    tracing::warn!(%error, "work that waits for a slot was not woken; it will be later");
                }
            }
        }
        self.announce(news);
    }

    /// Tells who should know.
    pub(crate) fn announce(&self, news: News) {
        if news > News::Nothing {
            self.signal.raise();
        }
        if news == News::Everywhere {
            self.herald.tell();
        }
    }
}

impl Clone for PostgresStore {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: AtomicU64::new(self.shared.signal.raised()) }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("place", &self.shared.place).finish_non_exhaustive()
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    fn features(&self) -> StoreFeatures {
        self.shared.features
    }

    fn inspect(&self) -> &dyn Inspect {
        self
    }

    fn wake(&self) -> Option<&dyn Wake> {
        Some(self)
    }

    fn checks(&self) -> Option<&dyn Check> {
        Some(self)
    }

    async fn now(&self) -> Result<Timestamp> {
        self.step("now", Shape::One, (), |step, ()| Box::pin(step.now())).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        self.step("apply", Shape::Many, changes, |step, changes| Box::pin(definitions::apply(step, changes)))
            .await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.step("enqueue", Shape::One, work, |step, work| Box::pin(work::enqueue(step, work))).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        let request = (ids, why);
        self.step("cancel", Shape::Many, request, |step, (ids, why)| Box::pin(work::cancel(step, ids, why)))
            .await
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        self.step("join", Shape::Many, info, |step, info| Box::pin(members::join(step, info))).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        self.step("check_in", Shape::One, node, |step, node| Box::pin(members::check_in(step, *node))).await
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        let request = (dead, beat);
        self.step("take_over", Shape::One, request, |step, (dead, beat)| {
            Box::pin(members::take_over(step, *dead, *beat))
        })
        .await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.step("leave", Shape::One, node, |step, node| Box::pin(members::leave(step, *node))).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        let request = (node, standby);
        self.step("set_standby", Shape::One, request, |step, (node, standby)| {
            Box::pin(members::set_standby(step, *node, *standby))
        })
        .await
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        Fence::check_epoch("raise_epoch", to)?;
        self.step("raise_epoch", Shape::Many, to, |step, to| Box::pin(members::raise_epoch(step, *to))).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        let request = (owner, limit);
        self.step("orphans", Shape::One, request, |step, (owner, limit)| {
            Box::pin(members::orphans(step, *owner, *limit))
        })
        .await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        let raised = self.shared.signal.raised();
        let due = self
            .step("read_due", Shape::One, request, |step, request| Box::pin(firing::read_due(step, request)))
            .await?;
        self.seen.fetch_max(raised, Ordering::AcqRel);
        Ok(due)
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        self.detached("claim", |shared| async move { firing::claim(&shared, request).await }).await
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        self.detached("claim_ready", |shared| async move { firing::claim_ready(&shared, &request).await })
            .await
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        self.step("begin", Shape::One, claims, |step, claims| Box::pin(settling::begin(step, claims))).await
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        self.detached("settle", |shared| async move { settling::settle(&shared, plans).await }).await
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        self.step("wake_waiting", Shape::One, limit, |step, limit| {
            Box::pin(slots::wake_waiting(step, *limit))
        })
        .await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.step("prune", Shape::Many, request, |step, request| Box::pin(upkeep::prune(step, *request)))
            .await
    }
}
