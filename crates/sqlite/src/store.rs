//! The store: its handle, and each step of the trait as one closure on the thread that owns the connection.

mod check;
mod definitions;
pub(crate) mod firing;
mod members;
mod pauses;
mod settling;
mod slots;
mod upkeep;
mod within;
mod work;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use punctual_core::check::Check;
use punctual_core::execution::ExecutionWithJob;
use punctual_core::node::NodeInfo;
use punctual_core::store::{
    Applied, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, ClaimShape, Claimed, ClaimedReady,
    Due, Enqueue, Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby, StoreFeatures, Wake,
};
use punctual_core::{ExecutionId, Fence, Inspect, JobStore, NodeId, Result, Timestamp};

use crate::builder::SqliteBuilder;
use crate::error::Failure;
use crate::group::{Ground, Writing};
use crate::log::Log;
use crate::open::{self, FileIdentity, Options};
use crate::step::{Mode, Setting, Step, StoreClock, transact};
use crate::wake::{Signal, Watcher};
use crate::worker::Worker;

/// What the body of a step answers.
pub(crate) type Outcome<T> = std::result::Result<T, Failure>;

/// A store on an SQLite file. A clone is another handle on it; give each node of a process its own.
///
/// The file is closed when the last handle is dropped; a step in progress is completed first.
pub struct SqliteStore {
    shared: Arc<Shared>,
    /// The last change that an answer through this handle could speak of.
    seen: AtomicU64,
}

struct Shared {
    ground: Arc<Ground>,
    file: FileIdentity,
    features: StoreFeatures,
    writer: Worker,
    reader: Worker,
}

impl SqliteStore {
    /// Opens the file with all defaults; makes it if it is missing, and brings its tables up to date.
    ///
    /// # Errors
    /// Those of [`SqliteBuilder::open`].
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).open().await
    }

    /// Settings for opening the file.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteBuilder {
        SqliteBuilder::new(path.into())
    }

    pub(crate) async fn start(path: PathBuf, options: Options) -> Result<Self> {
        let signal = Arc::new(Signal::new());
        let mut watcher = Watcher::new(Arc::clone(&signal));
        let (clock, clock_step) = match &options.clock {
            None => (StoreClock::Machine, Duration::from_millis(1)),
            Some(clock) => (StoreClock::Given(Arc::clone(clock)), Duration::from_micros(1)),
        };
        let setting = Arc::new(Setting { clock, hook: options.hook.clone() });
        let place = options.place;
        let (of_writer, of_reader) = ((path.clone(), options.clone()), (path.clone(), options));
        let mut log = Log::default();
        let between = Box::new(move |connection: &_| {
            watcher.look(connection);
            log.tend(connection);
        });
        let writer = Worker::start(
            place,
            "punctual-write",
            move || open::writer(&of_writer.0, &of_writer.1),
            Some(between),
        )
        .await?;
        let reader =
            Worker::start(place, "punctual-read", move || open::reader(&of_reader.0, &of_reader.1), None)
                .await?;
        let features = StoreFeatures {
            name: "sqlite",
            shared: true,
            max_batch: 1_000,
            clock_step,
            claims: ClaimShape::Cas,
            lock_fences: true,
        };
        let shared = Arc::new(Shared {
            file: FileIdentity::of(&path),
            ground: Arc::new(Ground { path, setting, signal }),
            features,
            writer,
            reader,
        });
        Ok(Self { shared, seen: AtomicU64::new(0) })
    }

    pub(crate) fn signal(&self) -> &Signal {
        &self.shared.ground.signal
    }

    pub(crate) const fn seen(&self) -> &AtomicU64 {
        &self.seen
    }

    /// A step that writes.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Step<'_>) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let ground = Arc::clone(&self.shared.ground);
        self.shared.writer.write(operation, Writing::asked(ground, operation, body)).await
    }

    /// A step that reads one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Step<'_>) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        self.on(&self.shared.reader, (operation, Mode::Read), body).await
    }

    /// A step that makes nothing available, in one of the ways that statements can belong together.
    async fn on<T: Send + 'static>(
        &self,
        worker: &Worker,
        (operation, mode): (&'static str, Mode),
        body: impl FnOnce(&Step<'_>) -> Outcome<T> + Send + 'static,
    ) -> Result<T> {
        let ground = Arc::clone(&self.shared.ground);
        let task = move |connection: &mut rusqlite::Connection| {
            let Ground { path, setting, .. } = &*ground;
            transact(connection, path, setting, (operation, mode), body)
        };
        worker.run(operation, task).await
    }
}

impl Clone for SqliteStore {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: AtomicU64::new(self.shared.ground.signal.raised()) }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.shared.ground.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl JobStore for SqliteStore {
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
        self.read("now", |step| Ok(step.now())).await
    }

    async fn apply(&self, changes: Vec<Change>) -> Result<Applied> {
        self.write("apply", move |step| definitions::apply(step, changes)).await
    }

    async fn enqueue(&self, work: Vec<Enqueue>) -> Result<Applied> {
        self.write("enqueue", move |step| work::enqueue(step, work)).await
    }

    async fn cancel(&self, ids: Vec<ExecutionId>, why: String) -> Result<Cancelled> {
        self.write("cancel", move |step| work::cancel(step, &ids, &why)).await
    }

    async fn join(&self, info: NodeInfo) -> Result<CheckedIn> {
        self.shared.file.check("join", &self.shared.ground.path)?;
        self.write("join", move |step| members::join(step, &info)).await
    }

    async fn check_in(&self, node: NodeId) -> Result<CheckedIn> {
        self.shared.file.check("check_in", &self.shared.ground.path)?;
        let body = move |step: &Step<'_>| members::check_in(step, node);
        self.on(&self.shared.writer, ("check_in", Mode::Apart), body).await
    }

    async fn take_over(&self, dead: NodeId, beat: i64) -> Result<bool> {
        self.write("take_over", move |step| members::take_over(step, dead, beat)).await
    }

    async fn leave(&self, node: NodeId) -> Result<()> {
        self.write("leave", move |step| members::leave(step, node)).await
    }

    async fn set_standby(&self, node: NodeId, standby: Standby) -> Result<Option<i64>> {
        self.write("set_standby", move |step| members::set_standby(step, node, standby)).await
    }

    async fn raise_epoch(&self, to: u32) -> Result<u32> {
        Fence::check_epoch("raise_epoch", to)?;
        self.write("raise_epoch", move |step| members::raise_epoch(step, to)).await
    }

    async fn orphans(&self, owner: NodeId, limit: u32) -> Result<Vec<Readable<ExecutionWithJob>>> {
        self.read("orphans", move |step| members::orphans(step, owner, limit)).await
    }

    async fn read_due(&self, request: ReadDue) -> Result<Due> {
        let raised = self.signal().raised();
        let body = move |step: &Step<'_>| firing::read_due(step, &request);
        let due = self.on(&self.shared.reader, ("read_due", Mode::Apart), body).await?;
        self.seen.fetch_max(raised, Ordering::AcqRel);
        Ok(due)
    }

    async fn claim(&self, request: Claim) -> Result<Claimed> {
        self.write("claim", move |step| firing::claim(step, request)).await
    }

    async fn claim_ready(&self, request: ClaimReady) -> Result<ClaimedReady> {
        self.write("claim_ready", move |step| firing::claim_ready(step, &request)).await
    }

    async fn begin(&self, claims: Vec<ClaimRef>) -> Result<Vec<SettleOutcome>> {
        self.write("begin", move |step| settling::begin(step, &claims)).await
    }

    async fn settle(&self, plans: Vec<SettlePlan>) -> Result<Vec<SettleOutcome>> {
        self.write("settle", move |step| settling::settle(step, plans)).await
    }

    async fn wake_waiting(&self, limit: u32) -> Result<u32> {
        // Nearly always nobody waits; then nobody's write lock is needed to find that out.
        let somebody = |step: &Step<'_>| Ok(!slots::waiting_keys(step, 1)?.is_empty());
        if !self.on(&self.shared.reader, ("wake_waiting", Mode::Apart), somebody).await? {
            return Ok(0);
        }
        self.write("wake_waiting", move |step| slots::wake_waiting(step, limit)).await
    }

    async fn prune(&self, request: Prune) -> Result<Pruned> {
        self.write("prune", move |step| upkeep::prune(step, request)).await
    }
}
