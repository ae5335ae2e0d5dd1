//! Learning early that there may be work: from this process's own steps at once, from others through LISTEN and NOTIFY.
//!
//! A NOTIFY takes a lock of the whole server when it commits, so there is none in any step of a firing: each store sends
//! at most one every 20 ms, by a statement of its own. What gets lost is found by polling.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use punctual_core::BoxFuture;
use punctual_core::store::Wake;
use punctual_core::store::hook::HINT;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::open::Listen;
use crate::rows::params;
use crate::sql;
use crate::step::{Outcome, Shape, Step};
use crate::store::{PostgresStore, Shared};
use crate::wait::pause;

/// The shortest time between two NOTIFY of one store.
const BETWEEN: Duration = Duration::from_millis(20);

/// How long a listener that lost its session waits before it tries again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Counts what became available, and tells those who wait.
#[derive(Debug)]
pub(crate) struct Signal {
    raised: watch::Sender<u64>,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { raised: watch::Sender::new(0) }
    }

    pub(crate) fn raise(&self) {
        self.raised.send_modify(|raised| *raised += 1);
    }

    /// How often it was raised.
    pub(crate) fn raised(&self) -> u64 {
        *self.raised.borrow()
    }

    /// Waits until it was raised more often than `seen` says, and then moves `seen` up.
    async fn past(&self, seen: &AtomicU64) {
        let mut receiver = self.raised.subscribe();
        let newer = receiver.wait_for(|raised| *raised > seen.load(Ordering::Acquire)).await;
        // The sender lives as long as `self`, so there is always an answer.
        seen.fetch_max(newer.map_or(0, |raised| *raised), Ordering::AcqRel);
    }
}

/// A task that ends with its owner.
#[derive(Debug, Default)]
struct Task(Mutex<Option<JoinHandle<()>>>);

impl Task {
    /// Starts the task, unless it runs already.
    fn start(&self, task: impl FnOnce() -> JoinHandle<()>) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.as_ref().is_none_or(JoinHandle::is_finished) {
            *running = Some(task());
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let running = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = running.take() {
            task.abort();
        }
    }
}

/// Tells other processes that something became available.
#[derive(Debug)]
pub(crate) struct Herald {
    channel: Arc<str>,
    wanted: Arc<Notify>,
    task: Task,
}

impl Herald {
    pub(crate) fn new(channel: Arc<str>) -> Self {
        Self { channel, wanted: Arc::new(Notify::new()), task: Task::default() }
    }

    /// Asks for a message; several within a short time are one.
    pub(crate) fn tell(&self) {
        self.wanted.notify_one();
    }

    /// Starts sending.
    pub(crate) fn start(&self, shared: &Arc<Shared>) {
        let (shared, wanted, channel) =
            (Arc::downgrade(shared), Arc::clone(&self.wanted), Arc::clone(&self.channel));
        let send = async move {
            loop {
                wanted.notified().await;
                let Some(shared) = shared.upgrade() else { return };
                let sent = shared
                    .engine
                    .run(HINT, Shape::One, &channel, |step, channel| Box::pin(raise(step, channel)));
                if let Err(failure) = sent.await {
                    let error = shared.failed(HINT, failure);
                    tracing::debug!(%error, "other processes were not told of news; they will find them by polling");
                }
                drop(shared);
                pause(BETWEEN).await;
            }
        };
        self.task.start(|| tokio::spawn(send));
    }
}

async fn raise(step: &mut Step<'_>, channel: &Arc<str>) -> Outcome<()> {
    step.run(sql::RAISE_WAKE, params![channel_of(channel)]).await?;
    Ok(())
}

/// The channel of a schema.
fn channel_of(schema: &str) -> String {
    // A channel's name has at most 63 bytes, as the schema's.
    schema.to_owned()
}

/// Hears what other processes tell, on a session of its own, from the first time that anybody waits.
#[derive(Debug)]
pub(crate) struct Listener {
    address: Option<Box<PgConnectOptions>>,
    channel: Arc<str>,
    task: Task,
}

impl Listener {
    pub(crate) fn new(listen: Listen, beside: PgConnectOptions, channel: Arc<str>) -> Self {
        let address = match listen {
            Listen::Beside => Some(Box::new(beside)),
            Listen::At(address) => Some(address),
            Listen::Never => None,
        };
        Self { address, channel, task: Task::default() }
    }

    fn start(&self, signal: &Arc<Signal>) {
        let Some(address) = &self.address else { return };
        self.task.start(|| {
            let (address, channel, signal) = (address.clone(), Arc::clone(&self.channel), Arc::clone(signal));
            tokio::spawn(async move {
                loop {
                    if let Err(error) = listen(&address, &channel, &signal).await {
                        tracing::debug!(%error, "the session that listens was lost; nodes poll until there is another");
                    }
                    pause(RECONNECT).await;
                }
            })
        });
    }
}

async fn listen(address: &PgConnectOptions, channel: &str, signal: &Signal) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    let pool = pool.connect_with(address.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(&channel_of(channel)).await?;
    loop {
        // What was told before this session listened is taken for heard.
        signal.raise();
        // No message at all is a session that was lost and replaced: something may have been missed.
        listener.try_recv().await?;
    }
}

impl Wake for PostgresStore {
    fn changed(&self) -> BoxFuture<'_, ()> {
        let shared = self.shared();
        shared.listener().start(shared.signal());
        Box::pin(shared.signal().past(self.seen()))
    }
}
