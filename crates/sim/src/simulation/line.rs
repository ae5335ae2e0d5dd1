//! The way between a process and the store: each step is sent, reaches the store, is done, and is answered; and each of
//! these may go wrong.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake as Waking, Waker};

use async_trait::async_trait;
use punctual_core::check::Check;
use punctual_core::execution::{Execution, ExecutionWithJob, HistoryRecord};
use punctual_core::inspect::{ExecutionFilter, FoundSet, FoundTrigger, HistoryFilter, Page};
use punctual_core::job::JobRecord;
use punctual_core::node::{NodeInfo, NodeRecord};
use punctual_core::pause::PausedGroup;
use punctual_core::store::{
    Applied, CalendarRecord, Cancelled, Change, CheckedIn, Claim, ClaimReady, ClaimRef, Claimed,
    ClaimedReady, Due, Enqueue, Prune, Pruned, ReadDue, Readable, SettleOutcome, SettlePlan, Standby,
    StoreFeatures, Wake,
};
use punctual_core::trigger::TriggerRecord;
use punctual_core::{
    BoxFuture, Error, ExecutionId, Inspect, JobId, JobKey, JobStore, NodeId, Result, Timestamp, TriggerKey,
};
use tokio::sync::oneshot;

use super::cut::Scissors;
use super::fault::{Fault, between, one_in};
use super::world::{Entry, Host, Micros, SECOND, World};

/// How long a process waits for locks, as stores have it by default.
const PATIENCE: Micros = 5 * SECOND;

const MILLI: Micros = 1_000;

/// The store as a process sees it.
pub(crate) struct Line {
    world: Arc<World>,
    host: Host,
    store: Arc<dyn JobStore>,
    scissors: Arc<Scissors>,
}

impl Line {
    pub(crate) const fn new(
        world: Arc<World>,
        host: Host,
        store: Arc<dyn JobStore>,
        scissors: Arc<Scissors>,
    ) -> Self {
        Self { world, host, store, scissors }
    }

    async fn send<T: Send + 'static>(
        &self,
        step: &'static str,
        call: impl Fn(Arc<dyn JobStore>) -> BoxFuture<'static, Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (sender, answer) = oneshot::channel();
        let store = Arc::clone(&self.store);
        let request = Request {
            step,
            host: self.host,
            scissors: Arc::clone(&self.scissors),
            connection: self.world.sky().connections[self.host],
            call: Box::new(move || call(Arc::clone(&store))),
            answer: Some(sender),
            back: 0,
            cut: false,
            patience: self.world.now() + PATIENCE,
        };
        request.send(&self.world);
        answer.await.unwrap_or_else(|_| Err(Error::unavailable(step, "nothing came back")))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("host", &self.host).finish_non_exhaustive()
    }
}

/// A step on its way.
struct Request<T> {
    step: &'static str,
    host: Host,
    scissors: Arc<Scissors>,
    /// The connections that it was sent on.
    connection: u64,
    call: Box<dyn Fn() -> BoxFuture<'static, Result<T>> + Send>,
    answer: Option<oneshot::Sender<Result<T>>>,
    /// How long the answer takes.
    back: Micros,
    /// Whether the connection is cut in the middle of the step.
    cut: bool,
    /// Until when it waits for locks.
    patience: Micros,
}

impl<T: Send + 'static> Request<T> {
    /// Sends the step, and decides what befalls it.
    fn send(mut self, world: &Arc<World>) {
        let dice = &world.dice;
        let now = world.now();
        let (unreachable, calm, slow) = {
            let sky = world.sky();
            (sky.unreachable(self.host, now), sky.calm, now < sky.slow_until)
        };
        if let Some(why) = unreachable {
            // Refused at once, or no answer until the client loses patience.
            let after = if one_in(dice, 2) {
                between(dice, 1, 20) * MILLI
            } else {
                between(dice, 500, 5_000) * MILLI
            };
            return self.fail(world, after, why);
        }
        let mut out = between(dice, 200, 2_000);
        self.back = between(dice, 100, 1_000);
        if slow {
            out += between(dice, 50, 1_000) * MILLI;
        }
        let fault = if calm { None } else { world.weather.of_step(dice) };
        if let Some(fault) = fault {
            if fault != Fault::CutMidStep {
                world.count(fault);
            }
            // How long the client waits for the answer before it gives up.
            let after = between(dice, 5, 3_000) * MILLI;
            match fault {
                Fault::LostRequest => return self.fail(world, after, "the request was lost"),
                Fault::LockError => {
                    return self.fail(world, after, "deadlock, or waited for a lock too long");
                }
                Fault::LostReply => {
                    let answer = self.answer.take();
                    Self::give_up(world, self.host, self.step, answer, out + after);
                }
                Fault::LateStatement => {
                    let answer = self.answer.take();
                    Self::give_up(world, self.host, self.step, answer, after);
                    out = after + between(dice, 1, 20_000) * MILLI;
                }
                Fault::Latency if one_in(dice, 2) => out += between(dice, 20, 2_000) * MILLI,
                Fault::Latency => self.back += between(dice, 20, 2_000) * MILLI,
                Fault::CutMidStep => self.cut = true,
                _ => {}
            }
        }
        self.arrive_after(world, out);
    }

    fn arrive_after(self, world: &Arc<World>, after: Micros) {
        let host = self.host;
        world.add_after(after, Entry::Step(host, Box::new(move |world| self.arrive(world))));
    }

    /// The step is at the store.
    fn arrive(self, world: &Arc<World>) {
        let now = world.now();
        let (unreachable, held, connection) = {
            let sky = world.sky();
            (sky.unreachable(self.host, now), sky.held_until, sky.connections[self.host])
        };
        // What was sent before the connection broke is done or not; a late statement is at the server already.
        let broken = connection != self.connection && self.answer.is_some();
        if broken || unreachable.is_some() {
            if broken && one_in(&world.dice, 2) {
                let _ = self.run(world);
            }
            return self.fail(world, MILLI, unreachable.unwrap_or("the connection broke"));
        }
        if now < held && self.step != "now" && self.step != "read_due" && self.step != "inspect" {
            return self.wait(world, held + between(&world.dice, 0, 5 * MILLI), "waited for a lock too long");
        }
        let done = self.run(world);
        if done.as_ref().is_err_and(is_busy) {
            let pause = between(&world.dice, 200, 3_000);
            if now + pause < self.patience {
                return self.arrive_after(world, pause);
            }
        }
        let back = self.back;
        self.reply(world, back, done);
    }

    /// Tries again at `at`, unless that is too late.
    fn wait(self, world: &Arc<World>, at: Micros, why: &'static str) {
        let now = world.now();
        if at <= self.patience {
            self.arrive_after(world, at - now);
        } else {
            let after = self.patience.saturating_sub(now);
            self.fail(world, after, why);
        }
    }

    /// Does the step. Stores that can be simulated never wait.
    fn run(&self, world: &Arc<World>) -> Result<T> {
        let dice = &world.dice;
        if !self.cut {
            return now_or_never((self.call)());
        }
        if self.scissors.can_cut() {
            let (done, cut) = self.scissors.cut_after(between(dice, 0, 12), || now_or_never((self.call)()));
            if cut {
                world.count(Fault::CutMidStep);
                return done.and_then(|_| Err(Error::unavailable(self.step, "the connection was cut")));
            }
            return done;
        }
        // What was in the middle of a transaction is rolled back; what was at its commit is done.
        world.count(Fault::CutMidStep);
        if one_in(dice, 2) {
            let _ = now_or_never((self.call)());
        }
        Err(Error::unavailable(self.step, "the connection was cut"))
    }

    fn fail(self, world: &Arc<World>, after: Micros, why: &'static str) {
        let step = self.step;
        self.reply(world, after, Err(Error::unavailable(step, why)));
    }

    fn reply(mut self, world: &Arc<World>, after: Micros, answer: Result<T>) {
        let Some(sender) = self.answer.take() else { return };
        let Self { step, host, connection, .. } = self;
        let deliver = move |world: &Arc<World>| {
            let broken = world.sky().connections[host] != connection;
            // Whoever asked may be gone.
            let _ = sender.send(if broken {
                Err(Error::unavailable(step, "the connection broke"))
            } else {
                answer
            });
            world.rouse(host);
        };
        world.add_after(after, Entry::Answer(Box::new(deliver)));
    }

    fn give_up(
        world: &Arc<World>,
        host: Host,
        step: &'static str,
        sender: Option<oneshot::Sender<Result<T>>>,
        after: Micros,
    ) {
        let deliver = move |world: &Arc<World>| {
            let error = Error::unavailable(step, "no answer came in time");
            let _ = sender.map(|sender| sender.send(Err(error)));
            world.rouse(host);
        };
        world.add_after(after, Entry::Answer(Box::new(deliver)));
    }
}

/// The result of a future that does not wait.
pub(crate) fn now_or_never<T>(mut future: BoxFuture<'_, Result<T>>) -> Result<T> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => Err(Error::internal("simulate", "a step of the store waits for something")),
    }
}

/// Whether SQLite was busy with another process.
fn is_busy(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<rusqlite::Error>());
    source.is_some_and(|source| source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy))
}

/// Wakes a task that waits for a hint, and its host; or loses the hint.
struct Hint {
    world: Arc<World>,
    host: Host,
    waker: Mutex<Option<Waker>>,
}

impl Waking for Hint {
    fn wake(self: Arc<Self>) {
        let Some(waker) = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let calm = self.world.sky().calm;
        if !calm && self.world.weather.strikes(Fault::HintLost, &self.world.dice) {
            return self.world.count(Fault::HintLost);
        }
        waker.wake();
        self.world.rouse(self.host);
    }
}

impl Wake for Line {
    fn changed(&self) -> BoxFuture<'_, ()> {
        let Some(wake) = self.store.wake() else { return Box::pin(std::future::pending()) };
        let mut changed = wake.changed();
        Box::pin(std::future::poll_fn(move |context| {
            let waker = Mutex::new(Some(context.waker().clone()));
            let hint = Arc::new(Hint { world: Arc::clone(&self.world), host: self.host, waker });
            changed.as_mut().poll(&mut Context::from_waker(&Waker::from(hint)))
        }))
    }
}

macro_rules! steps {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl JobStore for Line {
            fn features(&self) -> StoreFeatures {
                // The memory store is one process's own; here several share it, as those of a server do.
                StoreFeatures { shared: true, ..self.store.features() }
            }

            fn inspect(&self) -> &dyn Inspect {
                self
            }

            fn wake(&self) -> Option<&dyn Wake> {
                Some(self)
            }

            fn checks(&self) -> Option<&dyn Check> {
                // They would go around the line. What a node finds by looking for itself is judged elsewhere.
                None
            }

            $(
                async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                    self.send(stringify!($name), move |store| {
                        $(let $argument = $argument.clone();)*
                        Box::pin(async move { store.$name($($argument),*).await })
                    })
                    .await
                }
            )*
        }
    };
}

steps! {
    now() -> Timestamp;
    apply(changes: Vec<Change>) -> Applied;
    enqueue(work: Vec<Enqueue>) -> Applied;
    cancel(ids: Vec<ExecutionId>, why: String) -> Cancelled;
    join(info: NodeInfo) -> CheckedIn;
    check_in(node: NodeId) -> CheckedIn;
    take_over(dead: NodeId, beat: i64) -> bool;
    leave(node: NodeId) -> ();
    set_standby(node: NodeId, standby: Standby) -> Option<i64>;
    raise_epoch(to: u32) -> u32;
    orphans(owner: NodeId, limit: u32) -> Vec<Readable<ExecutionWithJob>>;
    read_due(request: ReadDue) -> Due;
    claim(request: Claim) -> Claimed;
    claim_ready(request: ClaimReady) -> ClaimedReady;
    begin(claims: Vec<ClaimRef>) -> Vec<SettleOutcome>;
    settle(plans: Vec<SettlePlan>) -> Vec<SettleOutcome>;
    wake_waiting(limit: u32) -> u32;
    prune(request: Prune) -> Pruned;
}

macro_rules! listings {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl Inspect for Line {
            async fn job(&self, key: &JobKey) -> Result<Option<JobRecord>> {
                let key = key.clone();
                self.send("inspect", move |store| {
                    let key = key.clone();
                    Box::pin(async move { store.inspect().job(&key).await })
                })
                .await
            }

            async fn trigger(&self, key: &TriggerKey) -> Result<FoundTrigger> {
                let key = key.clone();
                self.send("inspect", move |store| {
                    let key = key.clone();
                    Box::pin(async move { store.inspect().trigger(&key).await })
                })
                .await
            }

            async fn calendar(&self, name: &str) -> Result<Option<CalendarRecord>> {
                let name = name.to_owned();
                self.send("inspect", move |store| {
                    let name = name.clone();
                    Box::pin(async move { store.inspect().calendar(&name).await })
                })
                .await
            }

            async fn triggers_using(&self, calendar: &str) -> Result<Vec<TriggerRecord>> {
                let name = calendar.to_owned();
                self.send("inspect", move |store| {
                    let name = name.clone();
                    Box::pin(async move { store.inspect().triggers_using(&name).await })
                })
                .await
            }

            async fn set(&self, name: &str) -> Result<FoundSet> {
                let name = name.to_owned();
                self.send("inspect", move |store| {
                    let name = name.clone();
                    Box::pin(async move { store.inspect().set(&name).await })
                })
                .await
            }

            $(
                async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                    self.send("inspect", move |store| {
                        $(let $argument = $argument.clone();)*
                        Box::pin(async move { store.inspect().$name($($argument),*).await })
                    })
                    .await
                }
            )*
        }
    };
}

listings! {
    job_by_id(id: JobId) -> Option<JobRecord>;
    jobs(page: Page<JobKey>) -> Vec<JobRecord>;
    triggers(page: Page<TriggerKey>) -> Vec<TriggerRecord>;
    triggers_of(job: JobId) -> Vec<TriggerRecord>;
    calendars() -> Vec<CalendarRecord>;
    paused_groups() -> Vec<PausedGroup>;
    execution(id: ExecutionId) -> Option<Execution>;
    executions(filter: ExecutionFilter) -> Vec<Readable<Execution>>;
    record(id: ExecutionId) -> Option<HistoryRecord>;
    history(filter: HistoryFilter) -> Vec<HistoryRecord>;
    nodes() -> Vec<NodeRecord>;
    epoch() -> u32;
}
