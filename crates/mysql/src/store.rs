//! The store: its handle, and each step of the trait as one transaction in a task that nobody cancels.

mod check;
mod definitions;
pub(crate) mod firing;
pub(crate) mod members;
mod pauses;
mod plans;
mod ready;
mod settling;
mod slots;
mod upkeep;
mod within;
mod work;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use diesel_async::AsyncMysqlConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use punctual_core::check::Check;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, Claimed, ClaimedReady, Due, Enqueue,
    Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby, StoreFeatures, Wake,
};
use punctual_core::{BoxFuture, Error, ExecutionId, Fence, Inspect, JobStore, NodeId, Result, Timestamp};

use crate::builder::MysqlBuilder;
use crate::error::{Failure, Remedy, classify};
use crate::migrate;
use crate::open::{Connections, Held, Options};
use crate::query::values;
use crate::sql;
use crate::step::{Manner, News, Setting, Step, StoreClock};
use crate::wake::Signal;

/// What the body of a step answers.
pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

/// What a step does with its request: a function, so that the step can be done again.
pub(crate) type Body<R, T> = for<'a> fn(&'a mut Step<'_>, &'a R) -> BoxFuture<'a, Outcome<T>>;

/// How often a step is tried that the server asks to give way.
const MOST_TRIES: u32 = 12;

/// How often a step is tried that breaches a unique key. After the first breach the others are races that were lost, and
/// the step sees what the winner wrote.
const MOST_CAREFUL_TRIES: u32 = 5;

/// How often a step takes another connection when the one that it got is dead.
const MOST_STALE: u32 = 10;

/// About how long a step waits before its second try, in microseconds; longer before each further one.
const PAUSE: u32 = 2_000;

/// A store on a MySQL or MariaDB database. A clone is another handle on it; give each node of a process its own.
pub struct MysqlStore {
    shared: Arc<Shared>,
    /// The last change that an answer through this handle could speak of.
    seen: AtomicU64,
}

struct Shared {
    connections: Connections,
    setting: Setting,
    features: StoreFeatures,
    signal: Arc<Signal>,
}

/// How the statements of a step belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are one transaction.
    Together,
    /// Each of them is a transaction of its own, and may as well be done twice.
    Apart,
}

impl MysqlStore {
    /// Connects to `mysql://user:password@host:3306/database` with all defaults, and brings the tables up to date.
    ///
    /// # Errors
    /// Those of [`MysqlBuilder::open`].
    pub async fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).open().await
    }

    /// Settings for a store with a pool of its own. `require_ssl=true` in the URL demands TLS, by rustls; its provider is
    /// ring, unless the process has named another one.
    pub fn builder(url: impl Into<String>) -> MysqlBuilder {
        MysqlBuilder::of_url(url.into())
    }

    /// Settings for a store on a pool of the application's. All its connections must use the store's database.
    ///
    /// The store sets the session of a connection anew for each step, which is two round trips more than with a pool of its
    /// own, and what it sets stays: READ COMMITTED, a strict `sql_mode`, `+00:00`, short waits for locks. So let other
    /// parts of the application use other pools, or set what they need.
    pub fn from_pool(pool: Pool<AsyncMysqlConnection>) -> MysqlBuilder {
        MysqlBuilder::of_pool(pool)
    }

    pub(crate) async fn start(options: Options) -> Result<Self> {
        let connections = detached("open", async move {
            let connections = Connections::open(&options).await?;
            migrate::prepare(&connections, options.migrate).await?;
            Ok((connections, options))
        });
        let (connections, options) = connections.await?;
        let clock = options.clock.map_or(StoreClock::Server, StoreClock::Given);
        let features = StoreFeatures {
            name: "mysql",
            shared: true,
            max_batch: 1_000,
            clock_step: Duration::from_micros(1),
            claims: options.claims,
            lock_fences: true,
        };
        let signal = Signal::of(&connections.server.place);
        let setting = Setting { clock, claims: options.claims, hook: options.hook };
        let seen = AtomicU64::new(signal.raised());
        Ok(Self { shared: Arc::new(Shared { connections, setting, features, signal }), seen })
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.shared.signal
    }

    pub(crate) const fn seen(&self) -> &AtomicU64 {
        &self.seen
    }

    /// A step that writes.
    pub(crate) async fn write<R, T>(&self, operation: &'static str, request: R, body: Body<R, T>) -> Result<T>
    where
        R: Send + Sync + 'static,
        T: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        detached(operation, async move { shared.step(operation, Mode::Together, &request, body).await }).await
    }

    /// A step of reads, or of whatever else needs no transaction around it.
    pub(crate) async fn read<R, T>(&self, operation: &'static str, request: R, body: Body<R, T>) -> Result<T>
    where
        R: Send + Sync + 'static,
        T: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        detached(operation, async move { shared.step(operation, Mode::Apart, &request, body).await }).await
    }
}

/// Runs something in a task of its own, so that dropping the answer never leaves a statement half sent.
async fn detached<T: Send + 'static>(
    operation: &'static str,
    task: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(task).await {
        Ok(outcome) => outcome,
        Err(error) => {
            Err(Error::internal(operation, "the step panicked or its executor ended").with_source(error))
        }
    }
}

impl Shared {
    fn error(&self, operation: &'static str, failure: Failure) -> Error {
        classify(operation, &self.connections.server.database, failure)
    }

    /// Tries a step until it is through, or something says that another try is of no use.
    async fn step<R: Sync, T>(
        &self,
        operation: &'static str,
        mode: Mode,
        request: &R,
        body: Body<R, T>,
    ) -> Result<T> {
        let mut manner = Manner::AtOnce;
        let mut tries = 0;
        loop {
            tries += 1;
            let mut held = self.connections.get().await.map_err(|failure| self.error(operation, failure))?;
            let (outcome, news, has_begun) =
                self.once(&mut held, operation, (mode, manner), request, body).await;
            let failure = match outcome {
                Ok(answer) => {
                    held.clean();
                    if news > News::Nothing {
                        self.signal.raise();
                    }
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let remedy = failure.remedy();
            // A pooled connection may have died since it was used last. Nothing was written, so another one will do.
            let is_stale = remedy == Remedy::Discard && matches!(failure, Failure::Sql(_));
            if is_stale && tries < MOST_STALE && (!has_begun || mode == Mode::Apart) {
                continue;
            }
            if remedy == Remedy::Discard || self.roll_back(&mut held).await.is_err() {
                // Dropping it closes it, and the server rolls back.
                return Err(self.error(operation, failure));
            }
            let most = match remedy {
                Remedy::Again => MOST_TRIES,
                Remedy::OnceMore => 2,
                Remedy::Carefully => MOST_CAREFUL_TRIES,
                Remedy::Discard | Remedy::Answer => 0,
            };
            if tries >= most {
                held.clean();
                return Err(self.error(operation, failure));
            }
            tracing::debug!(operation, tries, ?failure, "a step is tried again");
            if self.pause(&mut held, tries).await.is_ok() {
                held.clean();
            }
            if remedy == Remedy::Carefully {
                manner = Manner::OneByOne;
            }
        }
    }

    async fn pause(&self, held: &mut Held, tries: u32) -> Outcome<()> {
        let span = PAUSE.saturating_mul(1 << tries.min(6));
        self.quiet(held)?.run(sql::PAUSE, values![span]).await.map(drop)
    }

    /// One try.
    async fn once<R: Sync, T>(
        &self,
        held: &mut Held,
        operation: &'static str,
        (mode, manner): (Mode, Manner),
        request: &R,
        body: Body<R, T>,
    ) -> (Outcome<T>, News, bool) {
        let connection = match held.connection() {
            Ok(connection) => connection,
            Err(failure) => return (Err(failure), News::Nothing, false),
        };
        let mut step = Step::on(connection, &self.setting, operation, manner);
        let mut has_begun = false;
        let outcome = async {
            if mode == Mode::Together {
                step.control(sql::BEGIN_WRITE).await?;
            }
            has_begun = true;
            let answer = body(&mut step, request).await?;
            match (mode, step.keeps()) {
                (Mode::Together, true) => step.control(sql::COMMIT).await?,
                (Mode::Together, false) => step.control(sql::ROLLBACK).await?,
                (Mode::Apart, _) => {}
            }
            Ok(answer)
        };
        let outcome = outcome.await;
        (outcome, step.news(), has_begun)
    }

    /// A step that no hook hears of.
    fn quiet<'c>(&'c self, held: &'c mut Held) -> Outcome<Step<'c>> {
        Ok(Step::unwatched(held.connection()?, &self.setting))
    }

    async fn roll_back(&self, held: &mut Held) -> Outcome<()> {
        self.quiet(held)?.control(sql::ROLLBACK).await
    }
}

impl Clone for MysqlStore {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: AtomicU64::new(self.shared.signal.raised()) }
    }
}

impl fmt::Debug for MysqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlStore")
            .field("database", &self.shared.connections.server.database)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl JobStore for MysqlStore {
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
        self.read("now", (), |step, ()| Box::pin(step.now())).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        self.write("apply", changes, |step, changes| Box::pin(definitions::apply(step, changes))).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.write("enqueue", work, |step, work| Box::pin(work::enqueue(step, work))).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        self.write("cancel", (ids, why), |step, (ids, why)| Box::pin(work::cancel(step, ids, why))).await
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        self.write("join", info, |step, info| Box::pin(members::join(step, info))).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        self.read("check_in", node, |step, node| Box::pin(members::check_in(step, *node))).await
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        self.write("take_over", (dead, beat), |step, (dead, beat)| {
            Box::pin(members::take_over(step, *dead, *beat))
        })
        .await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.write("leave", node, |step, node| Box::pin(members::leave(step, *node))).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        self.write("set_standby", (node, standby), |step, (node, standby)| {
            Box::pin(members::set_standby(step, *node, *standby))
        })
        .await
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        Fence::check_epoch("raise_epoch", to)?;
        self.write("raise_epoch", to, |step, to| Box::pin(members::raise_epoch(step, *to))).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        self.read("orphans", (owner, limit), |step, (owner, limit)| {
            Box::pin(members::orphans(step, *owner, *limit))
        })
        .await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        let raised = self.signal().raised();
        let due =
            self.read("read_due", request, |step, request| Box::pin(firing::read_due(step, request))).await?;
        self.seen.fetch_max(raised, Ordering::AcqRel);
        Ok(due)
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        self.write("claim", request, |step, request| Box::pin(firing::claim(step, request))).await
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        self.write("claim_ready", request, |step, request| Box::pin(ready::claim_ready(step, request))).await
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        self.write("begin", claims, |step, claims| Box::pin(settling::begin(step, claims))).await
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        self.write("settle", plans, |step, plans| Box::pin(settling::settle(step, plans))).await
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        // Nearly always nobody waits; then no transaction is needed to find that out.
        if self
            .read("wake_waiting", 1, |step, most| Box::pin(slots::waiting_keys(step, *most)))
            .await?
            .is_empty()
        {
            return Ok(0);
        }
        self.write("wake_waiting", limit, |step, limit| Box::pin(slots::wake_waiting(step, *limit))).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.write("prune", request, |step, request| Box::pin(upkeep::prune(step, *request))).await
    }
}
