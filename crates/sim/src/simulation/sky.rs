//! How the store and the ways to it are at the moment.

use super::world::{Host, Micros};

/// The state of the store and of the ways to it.
#[derive(Debug)]
pub(crate) struct Sky {
    /// Whether faults of steps, hints and bodies come at all.
    pub(crate) calm: bool,
    /// Until when the store answers nobody.
    pub(crate) out_until: Micros,
    /// Until when each step is slow.
    pub(crate) slow_until: Micros,
    /// Until when somebody else holds the locks of a store that has no real ones.
    pub(crate) held_until: Micros,
    /// Until when each host cannot reach the store.
    pub(crate) cut_off_until: Vec<Micros>,
    /// Grows when the connections of a host break.
    pub(crate) connections: Vec<u64>,
    /// Whether each host is frozen, and when it was thawed last.
    pub(crate) frozen: Vec<bool>,
    pub(crate) thawed: Vec<Micros>,
}

impl Sky {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            calm: true,
            out_until: 0,
            slow_until: 0,
            held_until: 0,
            cut_off_until: vec![0; hosts],
            connections: vec![0; hosts],
            frozen: vec![false; hosts],
            thawed: vec![0; hosts],
        }
    }

    /// Ends all that is wrong.
    pub(crate) fn clear(&mut self) {
        self.calm = true;
        (self.out_until, self.slow_until, self.held_until) = (0, 0, 0);
        self.cut_off_until.fill(0);
    }

    /// Which hosts cannot be blamed at `now` for what still runs there: they are frozen, or were until `slack` ago.
    pub(crate) fn innocent(&self, now: Micros, slack: Micros) -> Vec<bool> {
        let thawed = self.thawed.iter().map(|thawed| *thawed > 0 && now - thawed <= slack);
        thawed.zip(&self.frozen).map(|(thawed, frozen)| thawed || *frozen).collect()
    }

    /// Breaks the connections of a host.
    pub(crate) fn cut(&mut self, host: Host) {
        self.connections[host] += 1;
    }

    /// Why a host cannot reach the store at `now`, if it cannot.
    pub(crate) fn unreachable(&self, host: Host, now: Micros) -> Option<&'static str> {
        if now < self.out_until {
            Some("the store is out of order")
        } else if now < self.cut_off_until[host] {
            Some("the store cannot be reached from here")
        } else {
            None
        }
    }
}
