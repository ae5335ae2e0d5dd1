//! Code of the user's own that runs in one process at a time: a named lease, renewed while the code runs.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use punctual_core::error::ErrorKind;
use punctual_core::lock::{Lease, LockRequest};
use punctual_core::{BootInstant, Clock, Entropy, Error, Fence, LockProvider, NodeId, Result};
use tokio::sync::{oneshot, watch};

use crate::system::{SystemClock, SystemEntropy};

/// Runs code under named locks, one holder at a time over all processes that share the locks.
///
/// For what is no job: a migration at start, a cache that one process fills, a loop of one's own. Jobs have
/// `.exclusive(…)` and `.limit(…)`, which need none of this.
///
/// # Contract
/// The lock is a lease. It is renewed at each third of its span while the body runs, and given back when the body has
/// ended. If the lease ends without being renewed, because the store cannot be reached or the lock has passed to
/// somebody else, the body is dropped at its next `.await`. The end is measured on the boot-time clock from the moment
/// at which the last good renewal was *sent*, and two percent early, for the drift of two clocks: so it comes before
/// anybody else is given the lock, unless the store's own clock jumps forward.
///
/// What a lease cannot promise: that two bodies never overlap. A process that is frozen, or a body that blocks its
/// thread, may go on after its lease has passed to another one, for it does not see the end. What must never happen
/// twice has to be refused where it is written, by [`Held::fence`], which grows with every holder of a name:
///
/// ```sql
/// UPDATE account SET balance = $1, fence = $2 WHERE id = $3 AND fence <= $2
/// ```
///
/// No row is changed if somebody with a larger fence has written since.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use punctual_core::memory::MemoryStore;
/// use punctual_runtime::{Exclusive, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> punctual_core::Result<()> {
/// let locks = Exclusive::new(Arc::new(MemoryStore::new(Arc::new(SystemClock))));
/// let filled = locks
///     .run_exclusive("cache/prices", Duration::from_secs(30), async |held| {
///         // Give `held.fence()` to whatever is written.
///         held.fence()
///     })
///     .await?;
/// assert!(filled.is_some(), "nobody else held it");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Exclusive {
    locks: Arc<dyn LockProvider>,
    clock: Arc<dyn Clock>,
    owner: NodeId,
}

/// How long a lock is held. A [`Duration`] is [`Terms::lasting`] for that span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    span: Duration,
    at_least: Duration,
    at_most: Option<Duration>,
}

/// A lock that is held, as its body sees it. A clone may be given to tasks and threads of the body.
#[derive(Clone)]
pub struct Held {
    name: Box<str>,
    fence: Fence,
    clock: Arc<dyn Clock>,
    end: watch::Receiver<BootInstant>,
}

/// A lease that is over, whatever the clock says.
const OVER: BootInstant = BootInstant::from_micros(0);

/// A holder gives up this part of a span early, for the drift of its clock against the store's.
const EARLY: u32 = 50;

impl Terms {
    /// The shortest span.
    pub const SHORTEST: Duration = Duration::from_millis(10);

    /// A lease that lasts for `span` unless it is renewed: so long is the lock taken if its holder dies.
    pub const fn lasting(span: Duration) -> Self {
        Self { span, at_least: Duration::ZERO, at_most: None }
    }

    /// Nobody gets the lock before so much time has passed, even if the body ends sooner. For short work that several
    /// processes begin at about the same time: who comes a little later finds it taken.
    #[must_use]
    pub const fn at_least_for(self, span: Duration) -> Self {
        Self { at_least: span, ..self }
    }

    /// The lease is not renewed beyond this: then the body is dropped.
    #[must_use]
    pub const fn at_most_for(self, span: Duration) -> Self {
        Self { at_most: Some(span), ..self }
    }

    fn check(&self) -> Result<()> {
        let Self { span, at_least, at_most } = *self;
        let wrong = |why: String| Err(Error::invalid("lock", why));
        let shortest = Self::SHORTEST;
        if span < shortest || at_most.is_some_and(|most| most < shortest) {
            return wrong(format!("a lock is held for {shortest:?} or longer"));
        }
        // A holder that dies would give it back sooner.
        if at_least > self.lease(Duration::ZERO) {
            return wrong(format!("a lock that lasts for {span:?} cannot be held for at least {at_least:?}"));
        }
        Ok(())
    }

    /// For how long a lease is asked for when the lock has been held for so long; zero if it has ended for good.
    fn lease(&self, held: Duration) -> Duration {
        self.at_most.map_or(self.span, |most| self.span.min(most.saturating_sub(held)))
    }
}

impl From<Duration> for Terms {
    fn from(span: Duration) -> Self {
        Self::lasting(span)
    }
}

impl Exclusive {
    /// Runs code under these locks, by the clocks of this machine.
    pub fn new(locks: Arc<dyn LockProvider>) -> Self {
        Self::with(locks, Arc::new(SystemClock), &SystemEntropy::new())
    }

    /// The same with other clocks and randomness, for tests.
    pub fn with(locks: Arc<dyn LockProvider>, clock: Arc<dyn Clock>, entropy: &dyn Entropy) -> Self {
        Self { locks, clock, owner: NodeId::draw(entropy) }
    }

    /// Runs `body` under the lock `name`, or answers `None` at once if somebody holds it, this process included.
    ///
    /// # Errors
    /// `Invalid` for terms or a name out of bounds; `Unavailable` if the store does not answer; `Fenced` if the lease
    /// was lost or reached its longest time before the body had ended: the body was dropped, and what it did elsewhere
    /// is done.
    ///
    /// # Cancel safety
    /// Dropping this drops the body and gives the lock back. Dropped while it asks for the lock it may leave it taken
    /// until its span is over; so may an error of the store.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn run_exclusive<T, F, B>(
        &self,
        name: &str,
        terms: impl Into<Terms>,
        body: F,
    ) -> Result<Option<T>>
    where
        F: FnOnce(Held) -> B,
        B: Future<Output = T>,
    {
        let terms = terms.into();
        terms.check()?;
        let asked = self.clock.boot();
        let span = terms.lease(Duration::ZERO);
        let request = LockRequest { name: name.into(), owner: self.owner, span };
        let Some(lease) = self.locks.try_acquire(request).await? else { return Ok(None) };

        let (end, ends) = watch::channel(local_end(asked, span));
        let (clock, fence) = (Arc::clone(&self.clock), lease.fence);
        let held = Held { name: name.into(), fence, clock: Arc::clone(&clock), end: ends };
        // Declared before the body: if this is dropped, the body goes first and the lock is given back after it.
        let (done, finished) = oneshot::channel();
        let keeper =
            Keeper { locks: Arc::clone(&self.locks), granted: clock.boot(), clock, terms, asked, lease, end };
        let keeper = tokio::spawn(keeper.keep(finished));

        let value = while_held(&held, body(held.clone())).await;
        let lease_end = *held.end.borrow();
        drop::<oneshot::Sender<()>>(done);
        match value {
            Some(value) => {
                // So that the lock is free when this returns; but not longer than it would be taken anyway.
                let patience = self.clock.sleep(lease_end.since(self.clock.boot()));
                tokio::select! {
                    _ = keeper => {}
                    () = patience => {}
                }
                Ok(Some(value))
            }
            None => {
                let why =
                    format!("the lease on {name:?} ended before the work that it was for; it was stopped");
                Err(Error::new(ErrorKind::Fenced, "lock", why))
            }
        }
    }
}

/// Polls the body for as long as the lease is in force; `None` if that is over first.
async fn while_held<T>(held: &Held, body: impl Future<Output = T>) -> Option<T> {
    let mut body = pin!(body);
    // Timers stand still in suspend: what wakes the body after it must not find the lease in force.
    let guarded = poll_fn(|context| match held.is_in_force() {
        true => body.as_mut().poll(context).map(Some),
        false => Poll::Ready(None),
    });
    tokio::select! {
        biased;
        () = held.lost() => None,
        value = guarded => value,
    }
}

/// When the holder of a lease that was asked for at `sent` gives it up.
fn local_end(sent: BootInstant, span: Duration) -> BootInstant {
    sent.plus(span.saturating_sub(span / EARLY))
}

impl Held {
    /// The name of the lock.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A number that is larger than that of every holder of this name before.
    pub fn fence(&self) -> Fence {
        self.fence
    }

    /// Whether the lease is in force by this machine's clock. For threads that cannot await [`Held::lost`].
    pub fn is_in_force(&self) -> bool {
        self.clock.boot() < *self.end.borrow()
    }

    /// Waits until the lease is over: lost, or given back because the body has ended.
    ///
    /// The body itself is dropped at that moment; this is for what it has started elsewhere.
    pub async fn lost(&self) {
        let mut end = self.end.clone();
        loop {
            let until = *end.borrow_and_update();
            let left = until.since(self.clock.boot());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.clock.sleep(left) => {}
                changed = end.changed() => {
                    if changed.is_err() {
                        // Nobody renews it any more.
                        self.clock.sleep(until.since(self.clock.boot())).await;
                        return;
                    }
                }
            }
        }
    }
}

/// Renews a lease until its body has ended, and gives it back. A task of its own, so that a body which is busy between
/// two awaits keeps its lock.
struct Keeper {
    locks: Arc<dyn LockProvider>,
    clock: Arc<dyn Clock>,
    terms: Terms,
    /// When the lock was asked for, and when it was known to be granted.
    asked: BootInstant,
    granted: BootInstant,
    lease: Lease,
    end: watch::Sender<BootInstant>,
}

impl Keeper {
    async fn keep(mut self, mut finished: oneshot::Receiver<()>) {
        let passed_on = tokio::select! {
            biased;
            _ = &mut finished => false,
            () = self.renew() => true,
        };
        self.end.send_replace(OVER);
        if passed_on {
            return;
        }
        let rest = self.terms.at_least.saturating_sub(self.clock.boot().since(self.granted));
        let giving_back = async {
            match rest.is_zero() {
                true => self.locks.release(&self.lease).await.map(drop),
                false => self.locks.renew(&self.lease, rest).await.map(drop),
            }
        };
        let given_back = tokio::select! {
            given_back = giving_back => given_back,
            // It is over by itself.
            () = self.clock.sleep(self.terms.span) => Err(Error::unavailable("lock", "the store did not answer")),
        };
        if let Err(error) = given_back {
            tracing::warn!(lock = &*self.lease.name, %error, "a lock was not given back; its lease runs out by itself");
        }
    }

    /// Returns if the lock has passed to somebody else.
    async fn renew(&mut self) {
        let mut next = self.asked.plus(self.terms.lease(Duration::ZERO) / 3);
        loop {
            self.clock.sleep(next.since(self.clock.boot())).await;
            let sent = self.clock.boot();
            let span = self.terms.lease(sent.since(self.asked));
            if span.is_zero() {
                return std::future::pending().await;
            }
            match self.locks.renew(&self.lease, span).await {
                Ok(Some(lease)) => {
                    self.lease = lease;
                    self.end.send_replace(local_end(sent, span));
                    if span < self.terms.span {
                        // It lasts as long as it may.
                        return std::future::pending().await;
                    }
                    next = sent.plus(span / 3);
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(lock = &*self.lease.name, %error, "a lease was not renewed yet");
                    next = self.clock.boot().plus(span / 10);
                }
            }
        }
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive")
            .field("locks", &self.locks)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("name", &self.name)
            .field("fence", &self.fence)
            .field("in_force", &self.is_in_force())
            .finish_non_exhaustive()
    }
}
