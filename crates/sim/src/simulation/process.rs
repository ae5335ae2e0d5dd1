//! A process: an executor of its own, which is driven until all of its tasks wait, and not at all while it is frozen.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// The executor of a process. Dropping it ends all of its tasks where they are, as a crash would.
#[derive(Debug)]
pub(crate) struct Process {
    runtime: Runtime,
    idle: Arc<Idle>,
}

/// Says when an executor has nothing more to do.
#[derive(Debug, Default)]
struct Idle {
    is_idle: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Process {
    pub(crate) fn start() -> std::io::Result<Self> {
        let idle = Arc::<Idle>::default();
        let watched = Arc::clone(&idle);
        // Called when no task can go on. Without it, the executor would wait for something from outside for ever.
        let runtime = Builder::new_current_thread().on_thread_park(move || watched.note()).build()?;
        Ok(Self { runtime, idle })
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.runtime.spawn(task)
    }

    /// Runs all tasks until each waits.
    pub(crate) fn drive(&self) {
        self.idle.is_idle.store(false, Ordering::SeqCst);
        self.runtime.block_on(Until(&self.idle));
    }
}

impl Idle {
    fn note(&self) {
        self.is_idle.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

struct Until<'a>(&'a Idle);

impl Future for Until<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0.is_idle.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        *self.0.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        Poll::Pending
    }
}
