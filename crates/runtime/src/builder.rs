//! Puts a scheduler together: a store, handlers, what they share, and the values it is tuned by.

use std::any::TypeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use punctual_core::event::Listener;
use punctual_core::node::NodeInfo;
use punctual_core::schedule::CustomSchedule;
use punctual_core::store::{ClaimShape, StoreFeatures};
use punctual_core::{Clock, Entropy, Error, JobStore, LockProvider, NodeId, Profile, Result, Zone};

use crate::context::States;
use crate::handler::{Handler, Job};
use crate::journal::Journal;
use crate::node::Node;
use crate::node::claim_lock::ClaimLock;
use crate::registry::Registry;
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::system::{SystemClock, SystemEntropy};

/// Puts a [`Scheduler`] together; see [`Scheduler::builder`].
pub struct Builder {
    store: Arc<dyn JobStore>,
    claim_lock: Option<ClaimLock>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    listeners: Vec<Arc<dyn Listener>>,
    registry: Registry,
    states: States,
    settings: Settings,
    trouble: Option<Error>,
}

impl Builder {
    pub(crate) fn new(store: Arc<dyn JobStore>) -> Self {
        Self {
            store,
            claim_lock: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy::new()),
            listeners: Vec::new(),
            registry: Registry::default(),
            states: States::new(),
            settings: Settings::default(),
            trouble: None,
        }
    }

    /// Registers the handler of a kind. A second one for the same kind makes [`Builder::build`] fail.
    #[must_use]
    pub fn job<H, J, Args>(mut self, handler: H) -> Self
    where
        H: Handler<J, Args>,
        J: Job,
        Args: 'static,
    {
        if let Err(error) = self.registry.add(handler) {
            self.trouble.get_or_insert(error);
        }
        self
    }

    /// Gives handlers a value that they ask for by `State<T>`.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// Makes a schedule of the user's own known by a name: `make` reads the data of a definition and gives the rule.
    ///
    /// Code is never stored. A node that does not know the schedule of a due trigger leaves the trigger to nodes that
    /// know it. A name that is there is replaced.
    #[must_use]
    pub fn custom_schedule<S: CustomSchedule>(
        mut self,
        name: &str,
        make: impl Fn(&serde_json::Value) -> Result<S> + Send + Sync + 'static,
    ) -> Self {
        self.registry.custom.register(name, make);
        self
    }

    /// Lets nodes claim one at a time, each within the lock `name` of `locks`; by default they claim side by side.
    ///
    /// Every node of the cluster must be built with the same lock. A node that was frozen until the lock had passed to
    /// another claims nothing: the store compares the lock's fence. It costs one lock and one release for each round of
    /// claims, and nodes wait for each other; only stores whose claims are not safe without it need it
    /// ([`ClaimShape::WithinLock`](punctual_core::store::ClaimShape::WithinLock)).
    #[must_use]
    pub fn claim_within(mut self, locks: Arc<dyn LockProvider>, name: &str) -> Self {
        self.claim_lock = Some(ClaimLock { locks, name: name.into() });
        self
    }

    /// Lets somebody hear what happens in the node.
    #[must_use]
    pub fn listener(mut self, listener: impl Listener) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// The name of the node, for people.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// How many executions run at once.
    #[must_use]
    pub const fn capacity(mut self, capacity: u32) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// How far a node claims ahead of its bodies; zero claims only what can begin at once.
    #[must_use]
    pub const fn prefetch(mut self, span: Duration) -> Self {
        self.settings.prefetch = span;
        self
    }

    /// The figures of failure detection.
    #[must_use]
    pub const fn profile(mut self, profile: Profile) -> Self {
        self.settings.profile = profile;
        self
    }

    /// How long history is kept; `None` keeps it for ever.
    #[must_use]
    pub const fn keep_history(mut self, span: Option<Duration>) -> Self {
        self.settings.keep_history = span;
        self
    }

    /// Whether work that was enqueued leaves a record when it succeeds; see
    /// [`Settings::record_successes`](crate::settings::Settings::record_successes).
    #[must_use]
    pub const fn record_successes(mut self, record: bool) -> Self {
        self.settings.record_successes = record;
        self
    }

    /// How often the cluster looks for what should not be in the store, and mends what it may; `None` never looks.
    #[must_use]
    pub const fn check_every(mut self, span: Option<Duration>) -> Self {
        self.settings.check = span;
        self
    }

    /// How long a graceful shutdown waits for running bodies.
    #[must_use]
    pub const fn grace(mut self, span: Duration) -> Self {
        self.settings.grace = span;
        self
    }

    /// Changes any of the values that have no method of their own.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Replaces the clocks of the machine, for tests and simulation.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Replaces the randomness of the machine, for tests and simulation.
    #[must_use]
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Checks everything and makes the scheduler. It reaches for the store once, to see that it answers.
    ///
    /// # Errors
    /// `Invalid` for a value out of bounds, a handler that asks for a state nobody gave, or a store that needs a lock
    /// around its claims and was given none, `AlreadyExists` for two
    /// handlers of one kind, `Unavailable` if the store does not answer.
    pub async fn build(self) -> Result<Scheduler> {
        let Self { store, claim_lock, clock, entropy, listeners, registry, states, mut settings, trouble } =
            self;
        if let Some(error) = trouble {
            return Err(error);
        }
        settings.check()?;
        registry.check(&states)?;
        check_claims(store.features(), claim_lock.as_ref())?;
        store.now().await?;
        let host = hostname();
        let pid = std::process::id();
        if settings.name.is_empty() {
            settings.name = format!("{host}-{pid}");
        }
        let info = NodeInfo {
            id: NodeId::draw(&*entropy),
            name: settings.name.as_str().into(),
            host: host.into(),
            pid,
            version: env!("CARGO_PKG_VERSION").into(),
            zone_data: Zone::data_version().into(),
            profile: settings.profile,
            capacity: settings.capacity,
            kinds: registry.kinds().to_vec(),
        };
        let journal = Journal::new(listeners, Arc::clone(&clock));
        let node = Node::new(store, claim_lock, clock, entropy, journal, registry, states, settings, info);
        Ok(Scheduler::new(Arc::new(node)))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("store", &self.store)
            .field("registry", &self.registry)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Whether claims can be made safely with what was given.
fn check_claims(features: StoreFeatures, lock: Option<&ClaimLock>) -> Result<()> {
    let StoreFeatures { name, shared, claims, lock_fences, .. } = features;
    let why = match lock {
        None if claims == ClaimShape::WithinLock => {
            format!("the store {name} needs a lock around its claims; give one to `claim_within`")
        }
        Some(_) if shared && !lock_fences => format!(
            "the store {name} does not compare the fences of locks, so a lock around its claims would promise nothing; \
             leave `claim_within` out"
        ),
        _ => return Ok(()),
    };
    Err(Error::invalid("build", why))
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
