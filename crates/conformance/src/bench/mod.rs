//! The fixture of a case: an empty store, and short ways to fill it.
//!
//! Everything stored begins at `t0`, the store's time when the case began, so that cases that do not move the clock
//! also run on a store with a clock of its own.

mod definitions;
mod firing;
mod work;

use std::sync::Arc;
use std::time::Duration;

use punctual_core::entropy::SeededEntropy;
use punctual_core::job::Payload;
use punctual_core::key::{JobKey, Kind, NodeId, TriggerKey};
use punctual_core::lock::LockProvider;
use punctual_core::node::{NodeInfo, NodeRecord, Profile};
use punctual_core::protocol::define::stable_hash;
use punctual_core::store::hook::StatementHook;
use punctual_core::store::{CheckedIn, Readable};
use punctual_core::{JobStore, MemoryStore, Timestamp};

pub(crate) use self::definitions::{
    create_job, create_trigger, delete_job, delete_trigger, replace_job, replace_trigger,
};
pub(crate) use self::firing::fences;
pub(crate) use self::work::{TheSlot, back, claim_of, ended_attempt, success};
use crate::contradiction::Contradiction;
use crate::harness::{Harness, Plan, Space, Spoil};
use crate::probe::Probe;
use crate::target::MigrationTarget;

/// The kind of all work that does not say otherwise.
pub(crate) const WORK: &str = "work";

/// The interval of all triggers that do not say otherwise.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Seconds.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Milliseconds.
pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A kind by name.
pub(crate) fn kind(name: &str) -> Kind {
    Kind::new(name).expect("a kind")
}

/// A job's key in the default group.
pub(crate) fn job_key(name: &str) -> JobKey {
    JobKey::new("default", name).expect("a key")
}

/// A trigger's key in the default group.
pub(crate) fn trigger_key(name: &str) -> TriggerKey {
    TriggerKey::new("default", name).expect("a key")
}

/// Data.
pub(crate) fn data(text: &str) -> Payload {
    Payload::json(text).expect("text is JSON")
}

/// The row, which must be readable.
pub(crate) fn readable<T>(row: Readable<T>) -> T {
    match row {
        Readable::Row(row) => row,
        Readable::Poison(poison) => panic!("cannot be read: {}", poison.reason),
    }
}

/// A node of the case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) gate: i64,
}

/// See the module.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) entropy: SeededEntropy,
    pub(crate) t0: Timestamp,
    harness: Arc<dyn Harness>,
    space: Space,
}

impl Bench {
    pub(crate) async fn open(harness: Arc<dyn Harness>, space: Space, seed: &str) -> Self {
        let store = harness.open(&space).await.expect("the store opens");
        let t0 = store.now().await.expect("the store has a clock");
        let entropy = SeededEntropy::new(stable_hash(seed.as_bytes()).unsigned_abs());
        Self { store, entropy, t0, harness, space }
    }

    /// The fixture of a case about migrations: its store is nothing but an empty one in memory, for such a case opens
    /// what it has made itself.
    pub(crate) fn for_migrations(harness: Arc<dyn Harness>, space: Space, seed: &str) -> Self {
        let store = Arc::new(MemoryStore::new(space.clock()));
        let entropy = SeededEntropy::new(stable_hash(seed.as_bytes()).unsigned_abs());
        let t0 = space.manual_clock_wall();
        Self { store, entropy, t0, harness, space }
    }

    /// The fixture on data that are there already, with ids drawn as if from the beginning.
    pub(crate) async fn at(harness: Arc<dyn Harness>, space: Space, seed: &str, t0: Timestamp) -> Self {
        Self { t0, ..Self::open(harness, space, seed).await }
    }

    /// A fixture on an empty space of its own, beside this one.
    pub(crate) async fn beside(&self, name: &str, seed: &str) -> Self {
        Self::open(Arc::clone(&self.harness), self.space.beside(name), seed).await
    }

    /// This fixture with ids drawn anew from `seed`.
    pub(crate) async fn again(&self, seed: &str) -> Self {
        Self::at(Arc::clone(&self.harness), self.space.clone(), seed, self.t0).await
    }

    /// A handle whose statements are probed; only for cases that need statements.
    pub(crate) async fn hooked(&self, probe: &Arc<Probe>) -> Arc<dyn JobStore> {
        let hook = Arc::clone(probe) as Arc<dyn StatementHook>;
        let store = self.harness.open_hooked(&self.space, hook).await.expect("the store opens");
        let store = store.expect("the store has a hook");
        probe.watch();
        store
    }

    /// Locks whose statements are probed; only for cases that need both.
    pub(crate) async fn hooked_locks(&self, probe: &Arc<Probe>) -> Arc<dyn LockProvider> {
        let hook = Arc::clone(probe) as Arc<dyn StatementHook>;
        let locks = self.harness.locks_hooked(&self.space, hook).await.expect("the locks open");
        let locks = locks.expect("the locks have a hook");
        probe.watch();
        locks
    }

    /// The place of the data.
    pub(crate) const fn space(&self) -> &Space {
        &self.space
    }

    /// An empty space beside this one, as its migrations see it; only for cases that need migrations.
    pub(crate) async fn target(&self, name: &str) -> Arc<dyn MigrationTarget> {
        let target = self.harness.migrations(&self.space.beside(name)).await.expect("the database is there");
        target.expect("the store has migrations")
    }

    /// What a second process finds in its environment; only for cases that need one.
    pub(crate) fn for_a_second_process(&self) -> Vec<(&'static str, String)> {
        self.harness.for_a_second_process().expect("a second process finds the data")
    }

    /// How the database would go about statements; only for cases that need plans.
    pub(crate) async fn ask_for_plans(&self, statements: &[String]) -> Vec<Plan> {
        let plans = self.harness.plans(&self.space, statements).await.expect("an answer");
        plans.expect("the harness has plans")
    }

    /// Another node's handle on the same data.
    pub(crate) async fn other(&self) -> Arc<dyn JobStore> {
        self.harness.open(&self.space).await.expect("the store opens twice")
    }

    /// The locks; only for cases that need them.
    pub(crate) async fn locks(&self) -> Arc<dyn LockProvider> {
        self.harness.locks(&self.space).await.expect("the locks open").expect("the store has locks")
    }

    /// How often a race is run.
    pub(crate) fn rounds(&self) -> u32 {
        self.harness.rounds()
    }

    /// Lets time pass; only for cases that need the clock.
    pub(crate) fn advance(&self, span: Duration) {
        self.space.manual_clock().advance(span);
    }

    /// Sets the store's clock, forwards or back; only for cases that need the clock.
    pub(crate) fn set_clock(&self, at: Timestamp) {
        self.space.manual_clock().set_wall(at);
    }

    /// Makes a row unreadable; only for cases that need that.
    pub(crate) async fn spoil(&self, spoil: Spoil) {
        assert!(self.harness.spoil(&self.space, spoil.clone()).await.expect("it is done"), "{spoil:?}");
    }

    /// Writes what none of the store's steps would; only for cases that need that.
    pub(crate) async fn contradict(&self, what: Contradiction) {
        assert!(self.harness.contradict(&self.space, what.clone()).await.expect("it is done"), "{what:?}");
    }

    /// The store's time.
    pub(crate) async fn now(&self) -> Timestamp {
        self.store.now().await.expect("the store has a clock")
    }

    /// A node's figures.
    pub(crate) fn info(&self, name: &str) -> NodeInfo {
        NodeInfo {
            id: NodeId::draw(&self.entropy),
            name: name.into(),
            host: "host".into(),
            pid: 7,
            version: "0.1.0".into(),
            zone_data: "2025b".into(),
            profile: Profile::FAST,
            capacity: 10,
            kinds: vec![kind(WORK)],
        }
    }

    /// Lets a node join.
    pub(crate) async fn node(&self, name: &str) -> Node {
        let info = self.info(name);
        let id = info.id;
        let joined = self.store.join(info).await.expect("a write");
        Node { id, gate: joined.gate }
    }

    /// Lets a node check in.
    pub(crate) async fn check_in(&self, node: Node) -> CheckedIn {
        self.store.check_in(node.id).await.expect("a write")
    }

    /// Declares a node dead.
    pub(crate) async fn bury(&self, node: Node) {
        let beat = self.member(node).await.beat;
        assert!(self.store.take_over(node.id, beat).await.expect("a write"));
    }

    /// A node's row.
    pub(crate) async fn member(&self, node: Node) -> NodeRecord {
        let nodes = self.store.inspect().nodes().await.expect("a read");
        nodes.into_iter().find(|record| record.info.id == node.id).expect("the node is remembered")
    }
}
