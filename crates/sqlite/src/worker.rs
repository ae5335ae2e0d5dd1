//! The threads that SQL runs on, where nobody cancels it; and how a connection waits for other processes.
//!
//! A worker owns one connection and runs closures on it, one after the other. It ends with its last handle.
//! A simulation, which must have no threads, lets it run them where they are asked for.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::{Entropy, Error, Result};
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::group::{self, Member};

/// How often an idle worker looks whether other processes have committed. Their work begins half of this later in the
/// middle; and each look wakes a processor, which is most of what an idle node costs.
const IDLE: Duration = Duration::from_millis(35);

/// What a worker is asked to do.
pub(crate) enum Task {
    /// Something that has its transaction for itself.
    Alone(Box<dyn FnOnce(&mut Connection) + Send>),
    /// A step that may share its transaction with those that come after it.
    Write(Box<dyn Member>),
}

/// What a worker does between its tasks.
pub(crate) type Between = Box<dyn FnMut(&Connection) + Send>;

/// Where the closures of a worker run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On a thread of its own, where nobody can cancel them.
    Thread,
    /// Where they are asked for, at once; the caller waits for SQLite meanwhile.
    Caller,
}

/// A connection, and what runs closures on it.
pub(crate) enum Worker {
    Thread(mpsc::Sender<Task>),
    Caller(Box<Mutex<Desk>>),
}

/// The connection of a worker without a thread, with what it does between its tasks.
pub(crate) struct Desk {
    connection: Connection,
    between: Option<Between>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "Worker::Thread",
            Self::Caller(_) => "Worker::Caller",
        })
    }
}

impl Worker {
    /// Opens a connection in `place`, and answers when that is done.
    pub(crate) async fn start(
        place: Place,
        name: &'static str,
        open: impl FnOnce() -> Result<Connection> + Send + 'static,
        between: Option<Between>,
    ) -> Result<Self> {
        match place {
            Place::Thread => Self::spawn(name, open, between).await,
            Place::Caller => Ok(Self::Caller(Box::new(Mutex::new(Desk { connection: open()?, between })))),
        }
    }

    /// Starts a thread, opens a connection on it, and answers when that is done.
    async fn spawn(
        name: &'static str,
        open: impl FnOnce() -> Result<Connection> + Send + 'static,
        between: Option<Between>,
    ) -> Result<Self> {
        let (sender, tasks) = mpsc::channel();
        let (opened, answer) = oneshot::channel();
        let body = move || match catch_unwind(AssertUnwindSafe(open)) {
            Ok(Ok(connection)) => {
                if opened.send(Ok(())).is_ok() {
                    serve(connection, &tasks, between);
                }
            }
            Ok(Err(error)) => drop(opened.send(Err(error))),
            // Dropping the sender is the answer.
            Err(_panic) => {}
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|error| Error::unavailable("open", "no thread could be started").with_source(error))?;
        answer.await.unwrap_or_else(|_| Err(defect("open")))?;
        Ok(Self::Thread(sender))
    }

    /// Runs a closure on the connection.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the closure run or not run, never half run.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        body: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tasks = match self {
            Self::Thread(tasks) => tasks,
            Self::Caller(desk) => {
                return desk.lock().unwrap_or_else(PoisonError::into_inner).run(operation, body);
            }
        };
        let (sender, answer) = oneshot::channel();
        let task = Task::Alone(Box::new(move |connection: &mut Connection| {
            // Nobody waits any more, and nothing was done yet: leave it at that.
            if sender.is_closed() {
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| body(connection)));
            let _nobody_waits = sender.send(outcome.unwrap_or_else(|_panic| Err(defect(operation))));
        }));
        tasks.send(task).map_err(|_| Error::unavailable(operation, "the store was closed"))?;
        answer.await.unwrap_or_else(|_| Err(Error::unavailable(operation, "the store was closed")))
    }

    /// Runs a step that writes, in one transaction with others if several wait.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the step run or not run, never half run.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        (member, answer): (Box<dyn Member>, oneshot::Receiver<Result<T>>),
    ) -> Result<T> {
        let closed = || Error::unavailable(operation, "the store was closed");
        match self {
            Self::Thread(tasks) => tasks.send(Task::Write(member)).map_err(|_| closed())?,
            Self::Caller(desk) => desk.lock().unwrap_or_else(PoisonError::into_inner).write(member),
        }
        answer.await.unwrap_or_else(|_| Err(closed()))
    }
}

impl Desk {
    fn write(&mut self, member: Box<dyn Member>) {
        group::run(&self.connection, member, &mut || None);
        if let Some(between) = &mut self.between {
            between(&self.connection);
        }
    }

    fn run<T>(
        &mut self,
        operation: &'static str,
        body: impl FnOnce(&mut Connection) -> Result<T>,
    ) -> Result<T> {
        let outcome = catch_unwind(AssertUnwindSafe(|| body(&mut self.connection)));
        if let Some(between) = &mut self.between {
            between(&self.connection);
        }
        outcome.unwrap_or_else(|_panic| Err(defect(operation)))
    }
}

pub(crate) fn defect(operation: &'static str) -> Error {
    Error::internal(
        operation,
        "a step panicked and was rolled back; please report it with the panic's message",
    )
}

fn serve(mut connection: Connection, tasks: &mpsc::Receiver<Task>, between: Option<Between>) {
    let mut next = None;
    let Some(mut between) = between else {
        while let Some(task) = next.take().or_else(|| tasks.recv().ok()) {
            next = perform(&mut connection, task, tasks);
        }
        return;
    };
    loop {
        match next.take().map_or_else(|| tasks.recv_timeout(IDLE), Ok) {
            Ok(task) => next = perform(&mut connection, task, tasks),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        between(&connection);
    }
}

/// Does what is asked for, and with a step that writes those that wait behind it. Answers what it has come upon that is
/// none of them.
fn perform(connection: &mut Connection, task: Task, tasks: &mpsc::Receiver<Task>) -> Option<Task> {
    let mut other = None;
    match task {
        Task::Alone(task) => task(connection),
        Task::Write(first) => group::run(connection, first, &mut || {
            if other.is_none() {
                match tasks.try_recv() {
                    Ok(Task::Write(member)) => return Some(member),
                    Ok(task) => other = Some(task),
                    Err(_) => {}
                }
            }
            None
        }),
    }
    other
}

thread_local! {
    static PATIENCE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static WAITED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static JITTER: SeededEntropy = SeededEntropy::new(u64::from(std::process::id()).rotate_left(32));
}

/// The shortest and the longest wait between two tries for a lock. Steps of other processes take about as long.
const WAITS: [Duration; 2] = [Duration::from_micros(100), Duration::from_millis(3)];

/// Makes a connection wait up to `patience` for locks of others. It must be used on the calling thread only.
///
/// SQLite's own handler sleeps up to 100 ms at a time; with several processes that commit in a few milliseconds each,
/// whoever came last would wait longest. Short and uneven waits share the file fairly.
pub(crate) fn wait_for_locks(connection: &mut Connection, patience: Duration) -> rusqlite::Result<()> {
    PATIENCE.set(patience);
    connection.busy_handler(Some(wait_once as fn(i32) -> bool))
}

/// Does something for which connections of this thread wait no longer than `patience`.
pub(crate) fn with_patience<T>(patience: Duration, body: impl FnOnce() -> T) -> T {
    let usual = PATIENCE.replace(patience);
    let outcome = body();
    PATIENCE.set(usual);
    outcome
}

/// Waits a moment; `false` if all patience is spent since `tries` was 0.
pub(crate) fn wait_once(tries: i32) -> bool {
    if tries == 0 {
        WAITED.set(Duration::ZERO);
    }
    if WAITED.get() >= PATIENCE.get() {
        return false;
    }
    let [shortest, longest] = WAITS;
    let bound = shortest.saturating_mul(1 << tries.clamp(0, 8)).min(longest);
    let span = bound / 4 + JITTER.with(|jitter| jitter.below(bound - bound / 4));
    pause(span);
    WAITED.set(WAITED.get() + span);
    true
}

#[expect(
    clippy::disallowed_methods,
    reason = "SQLite calls back in the middle of a statement; no executor is near"
)]
pub(crate) fn pause(span: Duration) {
    thread::sleep(span);
}
