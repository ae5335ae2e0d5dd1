//! What can go wrong, and how often it does in the run of one seed.

use std::collections::BTreeMap;

use punctual_core::Entropy;
use punctual_core::entropy::SeededEntropy;

macro_rules! faults {
    ($($name:ident $label:literal $place:ident $often:expr, $what:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault { $(#[doc = $what] $name,)* }

        impl Fault {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in tables and in JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// What happens.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }

            /// What it befalls.
            pub(crate) const fn place(self) -> Place {
                match self { $(Self::$name => Place::$place,)* }
            }

            /// The lowest and the highest rate, if a seed has it: for each hour, or of a million chances.
            const fn often(self) -> (u32, u32) {
                match self { $(Self::$name => $often,)* }
            }
        }
    };
}

/// What a fault befalls, which says how its rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The cluster: so many each hour.
    Hour,
    /// A step on its way to the store and back: so many of a million.
    Step,
    /// A hint that there is work: so many of a million.
    Hint,
    /// A body: so many of a million.
    Body,
    /// It follows from others, or from how a process was started.
    Follows,
}

faults! {
    Crash "crash" Hour (8, 24), "a process dies";
    CrashOfAll "crash_of_all" Hour (0, 2), "all processes die at once";
    FreezeShort "freeze_short" Hour (4, 20), "a process stands still for less than its lease";
    FreezeLong "freeze_long" Hour (4, 16), "a process stands still until others have taken it for dead";
    Restart "restart" Follows (0, 0), "a process begins anew under the name of one that died";
    GracefulStop "graceful_stop" Hour (2, 8), "a process is asked to stop, and starts again later";
    LostRequest "lost_request" Step (100, 5_000), "a step never reaches the store";
    LostReply "lost_reply" Step (100, 5_000), "a step is done, and its answer is lost";
    LateStatement "late_statement" Step (50, 5_000), "a step is done after its caller has given up";
    Latency "latency" Step (500, 20_000), "a step or its answer takes up to two seconds";
    CutMidStep "cut_mid_step" Step (50, 3_000), "a connection is cut between two statements of a step";
    LockError "lock_error" Step (50, 3_000), "a step is refused because of a deadlock or a lock that it waited for too long";
    CutConnections "cut_connections" Hour (4, 30), "all connections of a process are cut, with what is under way";
    Outage "outage" Hour (1, 4), "the store answers nobody";
    OutageOfOne "outage_of_one" Hour (2, 10), "the store cannot be reached by one process";
    SlowStore "slow_store" Hour (1, 4), "every step takes up to a second for a while";
    HeldLock "held_lock" Hour (2, 10), "somebody else holds the locks of the store";
    WallJump "wall_jump" Hour (2, 10), "the wall clock of a process is set";
    ClockDrift "clock_drift" Follows (0, 0), "a process begins with a clock that is up to one percent wrong";
    StoreClockForth "store_clock_forth" Hour (1, 4), "the clock of the store is set forward";
    StoreClockBack "store_clock_back" Hour (1, 4), "the clock of the store is set back";
    HintLost "hint_lost" Hint (10_000, 500_000), "a hint that there is work is lost";
    Standby "standby" Hour (2, 8), "a node is told to stand by, and to go on later";
    Edit "edit" Hour (20, 80), "a trigger is changed, or deleted and made again";
    Pause "pause" Hour (6, 24), "a trigger or its group is paused, and resumed later";
    Cancel "cancel" Hour (5, 30), "a running execution is cancelled";
    BodyFails "body_fails" Body (1_000, 50_000), "a body fails";
    BodyPanics "body_panics" Body (500, 10_000), "a body panics";
    BodyHangs "body_hangs" Body (500, 10_000), "a body takes far longer than it should";
    BodyDeaf "body_deaf" Follows (0, 0), "a body ignores that it should stop, and is dropped";
}

/// The faults that a seed has, with their rates.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    rates: BTreeMap<Fault, u32>,
    /// Thresholds for one number below a million, of all faults of steps.
    steps: Vec<(u64, Fault)>,
}

impl Weather {
    /// Draws the weather of a seed: each kind is in it with three chances in five.
    pub(crate) fn draw(dice: &SeededEntropy) -> Self {
        let mut rates = BTreeMap::new();
        for fault in Fault::ALL {
            let (lowest, highest) = fault.often();
            let rate = lowest + number(dice, u64::from(highest - lowest) + 1);
            // Every seed has deaths of both sorts: without them, little of the protocol is seen.
            let always = matches!(fault, Fault::Crash | Fault::FreezeLong);
            if always || dice.draw() % 5 < 3 {
                rates.insert(*fault, rate);
            }
        }
        let mut sum = 0;
        let mut steps = Vec::new();
        for (fault, rate) in rates.iter().filter(|(fault, _)| fault.place() == Place::Step) {
            sum += u64::from(*rate);
            steps.push((sum, *fault));
        }
        Self { rates, steps }
    }

    /// How often a fault comes: for each hour, or of a million chances.
    pub(crate) fn rate(&self, fault: Fault) -> u32 {
        self.rates.get(&fault).copied().unwrap_or(0)
    }

    /// The faults that come so often each hour.
    pub(crate) fn hourly(&self) -> impl Iterator<Item = (Fault, u32)> + '_ {
        let hourly = self.rates.iter().filter(|(fault, rate)| fault.place() == Place::Hour && **rate > 0);
        hourly.map(|(fault, rate)| (*fault, *rate))
    }

    /// The fault that befalls a step, if any.
    pub(crate) fn of_step(&self, dice: &SeededEntropy) -> Option<Fault> {
        let drawn = dice.draw() % 1_000_000;
        self.steps.iter().find(|(threshold, _)| drawn < *threshold).map(|(_, fault)| *fault)
    }

    /// Whether a fault with one chance comes now.
    pub(crate) fn strikes(&self, fault: Fault, dice: &SeededEntropy) -> bool {
        dice.draw() % 1_000_000 < u64::from(self.rate(fault))
    }
}

/// A number below `bound`, which is not 0 and fits.
pub(crate) fn number(dice: &SeededEntropy, bound: u64) -> u32 {
    u32::try_from(dice.draw() % bound).unwrap_or(u32::MAX)
}

/// A number from `from` up to, not including, `to`.
pub(crate) fn between(dice: &SeededEntropy, from: u64, to: u64) -> u64 {
    from + dice.draw() % (to - from)
}

/// Whether a chance of one in so many comes.
pub(crate) fn one_in(dice: &SeededEntropy, many: u64) -> bool {
    dice.draw().is_multiple_of(many)
}

/// One of several, if there are any.
pub(crate) fn pick<'a, T>(dice: &SeededEntropy, of: &'a [T]) -> Option<&'a T> {
    let count = u64::try_from(of.len()).ok().filter(|count| *count > 0)?;
    of.get(usize::try_from(dice.draw() % count).ok()?)
}
