//! Who may run and who is gone, judged by boot-time clocks alone.
//!
//! A node's [`Lease`] says how long it may start work; another node's [`Observer`] says when it may take that work over.
//! Both rest on one inequality, checked by [`Profile::check`]: a beat commits after it was sent and before anybody reads
//! it, so the observer's window, which begins after its read, covers the holder's, which begins at its send.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::key::NodeId;
use crate::node::{NodeRecord, NodeState, Profile};
use crate::store::KEEP_NODES;
use crate::time::BootInstant;

/// A node's own right to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    profile: Profile,
    sent: BootInstant,
    beat: i64,
    epoch: u32,
}

impl Lease {
    /// The lease of a node whose joining was sent at `sent` and answered with `beat` and the store's `epoch`.
    pub const fn begin(profile: Profile, sent: BootInstant, beat: i64, epoch: u32) -> Self {
        Self { profile, sent, beat, epoch }
    }

    /// Renews the lease by a check-in that was *sent* at `sent`; the time of the answer says nothing.
    ///
    /// # Errors
    /// `Corrupt` if the store shows an older beat or a smaller epoch than this node saw committed: it has lost commits,
    /// and nothing that it says can be trusted until its epoch was raised.
    pub fn renew(&mut self, sent: BootInstant, beat: i64, epoch: u32) -> Result<()> {
        self.check_epoch(epoch)?;
        if beat <= self.beat {
            return Err(self.rolled_back(&format!(
                "it answered with beat {beat}, but beat {} of this node had been committed",
                self.beat
            )));
        }
        self.beat = beat;
        self.epoch = epoch;
        self.sent = self.sent.max(sent);
        Ok(())
    }

    /// Compares the epoch that the store shows to this node, or to its next life, with the one that it saw last.
    ///
    /// # Errors
    /// `Corrupt` if it is smaller, as for [`Lease::renew`].
    pub fn check_epoch(&self, epoch: u32) -> Result<()> {
        if epoch < self.epoch {
            let seen = self.epoch;
            return Err(self.rolled_back(&format!("it is at epoch {epoch}, but was at {seen} before")));
        }
        Ok(())
    }

    /// Looks at why the store says at `now` that this node is no member: its row says that it ended, or there is none.
    ///
    /// Rows of nodes that ended are kept for [`KEEP_NODES`] at least. So one that is missing sooner after the last renewal
    /// was not deleted, but is not there yet.
    ///
    /// # Errors
    /// `Corrupt` then, as for [`Lease::renew`].
    pub fn check_row(&self, row: OwnRow, now: BootInstant) -> Result<()> {
        if row == OwnRow::Missing && now.since(self.sent) < KEEP_NODES {
            return Err(self.rolled_back("it does not know this node, which had joined it"));
        }
        Ok(())
    }

    fn rolled_back(&self, why: &str) -> Error {
        Error::corrupt(
            "check_in",
            format!(
                "the store was rolled back and has lost commits: {why}; stop all nodes, run `punctual epoch raise \
                 --above {}`, and start them again",
                self.epoch
            ),
        )
    }

    /// The epoch of the store, as it was seen last.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// From here on the node claims nothing, starts nothing and stops bodies that may not go on.
    pub fn fence_at(&self) -> BootInstant {
        self.sent.plus(self.profile.hold)
    }

    /// From here on such bodies are dropped, whether they have stopped or not.
    pub fn drop_at(&self) -> BootInstant {
        self.fence_at().plus(self.profile.wind_down)
    }

    /// Whether work may be started at `now`.
    pub fn may_start(&self, now: BootInstant) -> bool {
        now < self.fence_at()
    }

    /// The beat that was last seen committed.
    pub const fn beat(&self) -> i64 {
        self.beat
    }
}

/// What a store remembers of a node that is no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRow {
    /// That it has ended.
    Ended,
    /// Nothing.
    Missing,
}

/// A node whose beat has not moved for as long as it said itself that it would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Which.
    pub node: NodeId,
    /// The beat that did not move; a take-over is conditional on it.
    pub beat: i64,
}

/// What one node has seen of the beats of the others.
#[derive(Clone, Debug)]
pub struct Observer {
    me: NodeId,
    interval: Duration,
    seen: BTreeMap<NodeId, Window>,
    last_good: Option<BootInstant>,
    judge_from: BootInstant,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    beat: i64,
    since: BootInstant,
}

impl Observer {
    /// An observer that has seen nothing yet.
    pub const fn new(me: NodeId, profile: Profile) -> Self {
        let judge_from = BootInstant::from_micros(0);
        Self { me, interval: profile.interval, seen: BTreeMap::new(), last_good: None, judge_from }
    }

    /// Takes in the members as a committed check-in of this node showed them, and names those that are gone.
    ///
    /// `read` is the boot time *after* the answer came. A gap of more than twice the interval since the last committed
    /// check-in restarts all windows and forbids judgement for twice the interval: while this node's own beats do not
    /// commit, the silence of others is no evidence of their death.
    pub fn observe(&mut self, read: BootInstant, nodes: &[NodeRecord]) -> Vec<Suspect> {
        let patience = self.interval * 2;
        if self.last_good.is_some_and(|last| read.since(last) > patience) {
            self.seen.clear();
            self.judge_from = read.plus(patience);
        }
        self.last_good = Some(read);

        let mut suspects = Vec::new();
        let mut seen = BTreeMap::new();
        for node in nodes.iter().filter(|node| node.state == NodeState::Up && node.info.id != self.me) {
            let id = node.info.id;
            let window = match self.seen.get(&id) {
                Some(window) if window.beat == node.beat => *window,
                _ => Window { beat: node.beat, since: read },
            };
            if read >= self.judge_from && read.since(window.since) >= node.info.profile.take {
                suspects.push(Suspect { node: id, beat: window.beat });
            }
            seen.insert(id, window);
        }
        self.seen = seen;
        suspects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::node::NodeInfo;
    use crate::time::Timestamp;

    fn at(seconds: u64) -> BootInstant {
        BootInstant::from_micros(seconds * 1_000_000)
    }

    fn id(n: i64) -> NodeId {
        NodeId::from_stored(n)
    }

    fn node(n: i64, profile: Profile, beat: i64) -> NodeRecord {
        NodeRecord {
            info: NodeInfo {
                id: id(n),
                name: "n".into(),
                host: "h".into(),
                pid: 1,
                version: "0".into(),
                zone_data: "0".into(),
                profile,
                capacity: 1,
                kinds: Vec::new(),
            },
            state: NodeState::Up,
            standby: false,
            gate: 0,
            joined: Timestamp::EPOCH,
            beat,
            seen: None,
        }
    }

    #[test]
    fn a_beat_that_stands_still_for_the_nodes_own_time_makes_a_suspect() {
        let mut observer = Observer::new(id(1), Profile::FAST);
        for second in 0..5 {
            assert_eq!(observer.observe(at(second), &[node(2, Profile::FAST, 9)]), [], "{second}");
        }
        assert_eq!(observer.observe(at(5), &[node(2, Profile::FAST, 9)]), [Suspect { node: id(2), beat: 9 }]);
    }

    #[test]
    fn a_moving_beat_never_does() {
        let mut observer = Observer::new(id(1), Profile::FAST);
        for second in 0..60 {
            let beat = i64::try_from(second / 4).unwrap();
            assert_eq!(observer.observe(at(second), &[node(2, Profile::FAST, beat)]), []);
        }
    }

    #[test]
    fn mixed_profiles_are_judged_by_the_figures_of_the_judged() {
        let mut observer = Observer::new(id(1), Profile::FAST);
        let calm = || node(2, Profile::CALM, 9);
        for second in 0..25 {
            assert_eq!(observer.observe(at(second), &[calm()]), []);
        }
        assert_eq!(observer.observe(at(25), &[calm()]).len(), 1);
    }

    #[test]
    fn an_own_gap_restarts_the_windows_and_is_followed_by_a_grace() {
        let mut observer = Observer::new(id(1), Profile::FAST);
        let silent = || [node(2, Profile::FAST, 9)];
        for second in 0..5 {
            observer.observe(at(second), &silent());
        }
        assert_eq!(observer.observe(at(30), &silent()), [], "nobody could commit for 26 s");
        for second in 31..35 {
            assert_eq!(observer.observe(at(second), &silent()), []);
        }
        assert_eq!(observer.observe(at(35), &silent()).len(), 1);
    }

    #[test]
    fn a_gap_of_twice_the_interval_is_none() {
        let mut observer = Observer::new(id(1), Profile::FAST);
        let silent = || [node(2, Profile::FAST, 9)];
        for second in [0, 2, 4] {
            assert_eq!(observer.observe(at(second), &silent()), []);
        }
        assert_eq!(observer.observe(at(6), &silent()).len(), 1, "one lost check-in restarts nothing");
    }

    #[test]
    fn it_never_suspects_itself() {
        let mut observer = Observer::new(id(1), Profile::FAST);
        for second in 0..60 {
            assert_eq!(observer.observe(at(second), &[node(1, Profile::FAST, 9)]), []);
        }
    }

    #[test]
    fn the_lease_counts_from_the_send_and_the_holder_is_done_before_the_taker_begins() {
        for profile in [Profile::DEFAULT, Profile::FAST, Profile::CALM, Profile::FAILOVER_TOLERANT] {
            let lease = Lease::begin(profile, at(100), 1, 0);
            assert!(lease.may_start(at(100)) && !lease.may_start(lease.fence_at()));
            let mut observer = Observer::new(id(1), profile);
            // The earliest possible observer read the beat in the very instant in which it was sent.
            let mut reads = (0..1_000).map(|n| at(100).plus(profile.interval * n));
            let taken = reads.find(|read| !observer.observe(*read, &[node(2, profile, 1)]).is_empty());
            assert!(taken.is_some_and(|taken| taken > lease.drop_at()), "{profile:?}: {taken:?}");
        }
    }

    #[test]
    fn a_lease_says_what_was_committed_last_and_how_long_it_holds() {
        let profile = Profile::FAST;
        let mut lease = Lease::begin(profile, at(100), 7, 2);
        assert_eq!((lease.beat(), lease.epoch(), lease.fence_at()), (7, 2, at(100).plus(profile.hold)));
        lease.renew(at(101), 9, 3).unwrap();
        assert_eq!((lease.beat(), lease.epoch(), lease.fence_at()), (9, 3, at(101).plus(profile.hold)));
        assert_eq!(lease.drop_at(), at(101).plus(profile.hold + profile.wind_down));
    }

    #[test]
    fn a_beat_that_went_back_means_lost_commits() {
        let mut lease = Lease::begin(Profile::FAST, at(0), 7, 0);
        lease.renew(at(1), 8, 0).unwrap();
        assert_eq!(lease.renew(at(2), 8, 0).unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn an_epoch_that_went_back_means_lost_commits_and_a_raised_one_does_not() {
        let mut lease = Lease::begin(Profile::FAST, at(0), 7, 2);
        lease.renew(at(1), 8, 3).unwrap();
        let error = lease.renew(at(2), 9, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("punctual epoch raise --above 3"), "{error}");
        assert!(lease.check_epoch(3).is_ok() && lease.check_epoch(2).is_err());
    }

    #[test]
    fn a_row_that_is_missing_sooner_than_it_may_be_deleted_means_lost_commits() {
        let lease = Lease::begin(Profile::FAST, at(100), 1, 0);
        let day = KEEP_NODES.as_secs();
        let error = lease.check_row(OwnRow::Missing, at(100 + day - 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(lease.check_row(OwnRow::Missing, at(100 + day)).is_ok(), "it was frozen for that long");
        assert!(lease.check_row(OwnRow::Ended, at(101)).is_ok(), "it was taken for dead");
    }
}
