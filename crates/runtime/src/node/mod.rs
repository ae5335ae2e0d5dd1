//! One member of the cluster: the loops that check in, acquire, run, settle and keep up, and what they share.
//!
//! | loop | what it does | what ends it |
//! |---|---|---|
//! | [`membership`] | beats, observes, takes over, reconciles its own rows | the very last, after the last result |
//! | [`watchdog`] | stops claiming and stops bodies when the lease runs out | with membership |
//! | [`acquire`] | reads what is due, plans, claims, starts | shutdown |
//! | [`body`] | one task for each claimed attempt, which runs when it is its [`turn`] | its end |
//! | [`settle`] | batches results into fenced steps | when all bodies have ended and all is settled |
//! | [`upkeep`] | deletes old rows; wakes who waits for a slot that is free; mends what should not be there | shutdown |

pub(crate) mod acquire;
mod aim;
mod beyond;
pub(crate) mod body;
pub(crate) mod claim_lock;
pub(crate) mod membership;
pub(crate) mod recovery;
pub(crate) mod settle;
pub(crate) mod store_time;
pub(crate) mod turn;
pub(crate) mod upkeep;
pub(crate) mod watchdog;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use punctual_core::event::{Event, Work};
use punctual_core::execution::Execution;
use punctual_core::node::NodeInfo;
use punctual_core::protocol::membership::Lease;
use punctual_core::store::{ClaimRef, Slice, Standby};
use punctual_core::{BootInstant, Clock, Entropy, Error, ExecutionId, Fence, JobStore, NodeId, Timestamp};
use tokio::sync::Notify;

use self::claim_lock::ClaimLock;
use self::store_time::StoreTime;
use self::turn::Turns;
use crate::context::{States, StopReason};
use crate::journal::Journal;
use crate::registry::Registry;
use crate::settings::Settings;
use crate::watched::Watched;

/// Where a node stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// It claims.
    Running,
    /// It claims nothing more and waits for its bodies.
    Draining,
    /// Everything is settled.
    Done,
}

/// What the loops of a node share.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) claim_lock: Option<ClaimLock>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) journal: Journal,
    pub(crate) registry: Registry,
    pub(crate) states: Arc<States>,
    pub(crate) settings: Settings,
    pub(crate) phase: Watched<Phase>,
    /// Told when there may be work or room for it.
    pub(crate) hint: Notify,
    /// How long the lease lasts, for bodies that pass it on.
    pub(crate) lease_until: Watched<BootInstant>,
    /// Why the node cannot go on at all.
    pub(crate) halted: Mutex<Option<Error>>,
    /// Standby that was asked for on this node before it joined, or for its next life.
    pub(crate) standby_wanted: AtomicBool,
    /// Who may run.
    pub(crate) turns: Turns,
    /// Bodies that have run to an end.
    ended: AtomicU64,
    membership: Mutex<Membership>,
    running: Mutex<BTreeMap<ExecutionId, Running>>,
    claims_begun: AtomicU64,
    claims_done: AtomicU64,
}

/// The node as a member.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) info: NodeInfo,
    pub(crate) lease: Option<Lease>,
    pub(crate) standby: Standby,
    pub(crate) slice: Option<Slice>,
    /// How many nodes are up, this one included.
    pub(crate) nodes_up: u32,
    /// What is known of the store's clock.
    pub(crate) store_time: StoreTime,
    /// The lease has run out, and nothing has renewed it since.
    pub(crate) fenced: bool,
}

/// Why a body should stop, once somebody has asked it to.
pub(crate) type Stop = Watched<Option<StopReason>>;

/// An attempt that this node runs or is about to run, until its result is settled.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) claim: ClaimRef,
    pub(crate) stop: Arc<Stop>,
    pub(crate) stops_on_lease_loss: bool,
}

impl Node {
    #[expect(clippy::too_many_arguments, reason = "called once, by the builder")]
    pub(crate) fn new(
        store: Arc<dyn JobStore>,
        claim_lock: Option<ClaimLock>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        journal: Journal,
        registry: Registry,
        states: States,
        settings: Settings,
        info: NodeInfo,
    ) -> Self {
        let membership = Membership {
            info,
            lease: None,
            standby: Standby::Off,
            slice: None,
            nodes_up: 1,
            store_time: StoreTime::guess(clock.wall(), clock.boot()),
            fenced: false,
        };
        Self {
            store,
            claim_lock,
            clock,
            entropy,
            journal,
            registry,
            states: Arc::new(states),
            turns: Turns::new(settings.capacity),
            ended: AtomicU64::new(0),
            settings,
            phase: Watched::new(Phase::Running),
            hint: Notify::new(),
            lease_until: Watched::default(),
            halted: Mutex::new(None),
            standby_wanted: AtomicBool::new(false),
            membership: Mutex::new(membership),
            running: Mutex::new(BTreeMap::new()),
            claims_begun: AtomicU64::new(0),
            claims_done: AtomicU64::new(0),
        }
    }

    pub(crate) fn member(&self) -> MutexGuard<'_, Membership> {
        self.membership.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, BTreeMap<ExecutionId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> NodeId {
        self.member().info.id
    }

    /// The store's epoch as this node knows it, if it still goes by that id.
    pub(crate) fn epoch_of(&self, id: NodeId) -> Option<u32> {
        let member = self.member();
        member.lease.filter(|_| member.info.id == id).map(|lease| lease.epoch())
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Waits until the node is in `phase` or past it.
    pub(crate) async fn reached(&self, phase: Phase) {
        self.phase.until(|now| (*now >= phase).then_some(())).await;
    }

    /// The store's clock, as well as the node knows it.
    pub(crate) fn store_time(&self) -> Timestamp {
        self.member().store_time.at(self.clock.boot())
    }

    /// Takes in a reading of the store's clock that came right now, with the answer to a request that was sent at `sent`.
    pub(crate) fn sync(&self, reading: Timestamp, sent: BootInstant) {
        let answered = self.clock.boot();
        self.member().store_time.take_in(reading, sent, answered);
    }

    /// Whether work may be claimed and begun now.
    pub(crate) fn may_start(&self) -> bool {
        let now = self.clock.boot();
        let member = self.member();
        let open = member.standby == Standby::Off && !member.fenced;
        open && self.phase() == Phase::Running && member.lease.is_some_and(|lease| lease.may_start(now))
    }

    pub(crate) fn tell(&self, event: Event) {
        self.journal.tell(self.id(), event);
    }

    pub(crate) fn trouble(&self, error: &Error) {
        self.tell(Event::Trouble { error: error.chain() });
    }

    /// Stops the node for good: what it was told contradicts what it knows.
    pub(crate) fn halt(&self, error: Error) {
        self.trouble(&error);
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop_bodies(&StopReason::LeaseLost, |_| true);
        self.advance(Phase::Draining);
    }

    /// Whether it was stopped for good.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn advance(&self, phase: Phase) {
        self.phase.change(|now| {
            let moved = *now < phase;
            *now = phase.max(*now);
            moved
        });
    }

    /// Asks bodies to stop. The first reason that a body is given stands.
    pub(crate) fn stop_bodies(&self, reason: &StopReason, which: impl Fn(&Running) -> bool) {
        for running in self.running().values().filter(|running| which(running)) {
            ask_to_stop(&running.stop, reason);
        }
    }

    /// Takes an attempt off the list of those that run, and says that there may be room. The execution may be on the list
    /// again by now: what has gone back can be claimed by this very node before it hears that it has gone back.
    pub(crate) fn forget(&self, claim: ClaimRef) {
        let mut running = self.running();
        if running.get(&claim.id).is_some_and(|running| running.claim == claim) {
            running.remove(&claim.id);
        }
        drop(running);
        self.hint.notify_one();
    }

    pub(crate) fn begin_claim(&self) {
        self.claims_begun.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn end_claim(&self) {
        self.claims_done.fetch_add(1, Ordering::SeqCst);
    }

    /// How many claims have begun, and how many of them have been answered and entered into [`Node::running`].
    pub(crate) fn claims(&self) -> (u64, u64) {
        let done = self.claims_done.load(Ordering::SeqCst);
        (self.claims_begun.load(Ordering::SeqCst), done)
    }

    /// How many bodies have run to an end.
    pub(crate) fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    /// Counts a body that has run to an end.
    pub(crate) fn count_ended(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// A span drawn from 80 to 100 % of `span`, so that nodes that started together do not stay in step.
    pub(crate) fn jittered(&self, span: Duration) -> Duration {
        span - self.entropy.below(span / 5)
    }
}

/// Asks one body to stop, unless it was asked before.
pub(crate) fn ask_to_stop(stop: &Stop, reason: &StopReason) {
    stop.change(|asked| {
        let first = asked.is_none();
        if first {
            *asked = Some(reason.clone());
        }
        first
    });
}

/// How events name an attempt.
pub(crate) fn work_of(row: &Execution) -> Work {
    Work {
        id: row.id,
        job: row.job.as_ref().map(|job| job.key.clone()),
        trigger: row.occurrence.as_ref().map(|occurrence| occurrence.key.clone()),
        trigger_id: row.occurrence.as_ref().map(|occurrence| occurrence.trigger_id),
        generation: row.occurrence.as_ref().map(|occurrence| occurrence.generation),
        scheduled: row.scheduled,
        attempt: row.attempt,
        fence: row.fence,
        slot: row.slot.as_ref().map(|slot| slot.key.clone()),
    }
}

/// Claims in the name of this node that it did not know at its last check-in, each with the number of claims that had
/// begun when it was first seen.
pub(crate) type Strangers = BTreeMap<(ExecutionId, Fence), u64>;
