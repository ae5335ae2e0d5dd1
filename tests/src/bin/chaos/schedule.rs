//! What is done to the cluster when, drawn from the seed before anything begins.

use std::time::Duration;

use punctual::core::Entropy;
use punctual::core::entropy::SeededEntropy;
use punctual_tests::chaos::orders::{Blow, Moment, Strike, WRITING};
use punctual_tests::chaos::work::PLAIN;
use punctual_tests::place::Kind;

/// Something that is done to the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL from outside.
    Kill,
    /// A worker ends or stops itself at a moment within a step, and a stopped one stands for this long.
    Strike(Strike, Duration),
    /// SIGSTOP from outside, for this long.
    Freeze(Duration),
    /// The server is restarted.
    Restart(How),
    /// Some sessions are ended by an administrator.
    EndSessions,
    /// The answer of a worker's next commit is lost.
    LoseAnswer,
    /// A worker's connections are cut.
    Cut,
    /// A worker's wire is in trouble for this long.
    Wire(Trouble, Duration),
    /// Somebody holds a lock that every check-in needs, for this long.
    HoldLock(Duration),
    /// The disk is full for this long.
    FullDisk(Duration),
    /// A worker's wall clock is set to so many seconds from the true time.
    SetClock(i64),
    /// A worker is in standby for this long.
    Standby(Duration),
    /// A trigger, or the group of all plain ones, is paused for this long.
    Pause { trigger: Option<u64>, span: Duration },
    /// A trigger is given another interval, by its turn.
    Reschedule { trigger: u64, turn: u64 },
    /// A trigger is deleted and made anew.
    Replace { trigger: u64, turn: u64 },
    /// A worker stops in good order.
    Stop,
}

/// How a server is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It closes its files.
    Orderly,
    /// It is told to end at once.
    AtOnce,
    /// It is killed.
    Hard,
}

impl How {
    /// The word by which the keeper of servers knows it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Orderly => "orderly",
            Self::AtOnce => "at-once",
            Self::Hard => "hard",
        }
    }
}

/// What is wrong with a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    Slow(Duration),
    Silent,
    Mute,
    Closed,
}

impl Fault {
    /// Its kind, for the count of faults.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Strike(Strike { blow: Blow::Kill, .. }, _) => "kill_at_point",
            Self::Strike(Strike { blow: Blow::Stop, .. }, _) => "freeze_at_point",
            Self::Freeze(_) => "freeze",
            Self::Restart(How::Orderly) => "restart_orderly",
            Self::Restart(How::AtOnce) => "restart_at_once",
            Self::Restart(How::Hard) => "restart_hard",
            Self::EndSessions => "end_sessions",
            Self::LoseAnswer => "lose_answer",
            Self::Cut => "cut",
            Self::Wire(Trouble::Slow(_), _) => "slow",
            Self::Wire(Trouble::Silent, _) => "silent",
            Self::Wire(Trouble::Mute, _) => "mute",
            Self::Wire(Trouble::Closed, _) => "closed",
            Self::HoldLock(_) => "hold_lock",
            Self::FullDisk(_) => "full_disk",
            Self::SetClock(_) => "set_clock",
            Self::Standby(_) => "standby",
            Self::Pause { .. } => "pause",
            Self::Reschedule { .. } => "reschedule",
            Self::Replace { .. } => "replace",
            Self::Stop => "stop",
        }
    }
}

/// A fault, its time after the beginning, and a number that says whom it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    pub(crate) whom: u64,
}

/// How many of each kind ten minutes have; more than the quotas ask for, because some hit nobody.
const ON_SERVERS: &[(&str, u64)] = &[
    ("kill", 26),
    ("kill_at_point", 44),
    ("freeze", 28),
    ("freeze_at_point", 14),
    ("restart", 7),
    ("end_sessions", 24),
    ("lose_answer", 48),
    ("cut", 12),
    ("slow", 8),
    ("silent", 8),
    ("mute", 6),
    ("closed", 4),
    ("hold_lock", 3),
    ("set_clock", 12),
    ("standby", 8),
    ("pause", 16),
    ("reschedule", 20),
    ("replace", 6),
    ("stop", 8),
];

/// The same for a file, which has no wires, and whose clock is that of the host.
const ON_A_FILE: &[(&str, u64)] = &[
    ("kill", 16),
    ("kill_at_point", 64),
    ("freeze", 26),
    ("freeze_at_point", 16),
    ("hold_lock", 3),
    ("full_disk", 4),
    ("standby", 8),
    ("pause", 16),
    ("reschedule", 20),
    ("replace", 6),
    ("stop", 8),
];

/// How long somebody holds the lock: twice `L_take` of the profile `fast`.
const LOCK: Duration = Duration::from_secs(10);

/// Draws what happens within `span`.
pub(crate) fn draw(kind: Kind, span: Duration, can_fill_disk: bool, entropy: &SeededEntropy) -> Vec<Planned> {
    let rates = if kind == Kind::Sqlite { ON_A_FILE } else { ON_SERVERS };
    let mut all = Vec::new();
    for (name, per_ten_minutes) in rates {
        if *name == "full_disk" && !can_fill_disk {
            continue;
        }
        // To the nearest number; the shortest run has a kill and a freeze.
        let nearest = (per_ten_minutes.saturating_mul(span.as_secs()) + 300) / 600;
        let wanted = if matches!(*name, "kill_at_point" | "freeze") { nearest.max(1) } else { nearest };
        for n in 0..wanted {
            let share = span / u32::try_from(wanted).unwrap_or(u32::MAX);
            let at = share * u32::try_from(n).unwrap_or(u32::MAX) + entropy.below(share);
            all.push(Planned { at, fault: fault(name, n, kind, entropy), whom: entropy.draw() });
        }
    }
    all.sort_by_key(|planned| planned.at);
    all
}

/// The fault of a kind that is the `n`th of its kind.
fn fault(name: &str, n: u64, kind: Kind, entropy: &SeededEntropy) -> Fault {
    let between = |least: u64, most: u64| {
        Duration::from_millis(least) + entropy.below(Duration::from_millis(most - least))
    };
    match name {
        "kill" => Fault::Kill,
        "kill_at_point" => Fault::Strike(kill(n, kind, entropy), Duration::ZERO),
        "freeze" => Fault::Freeze(between(4_500, 9_000)),
        "freeze_at_point" => Fault::Strike(stop(n, entropy), between(5_500, 9_000)),
        "restart" => {
            Fault::Restart([How::Orderly, How::AtOnce, How::Hard][usize::try_from(n % 3).unwrap_or(0)])
        }
        "end_sessions" => Fault::EndSessions,
        "lose_answer" => Fault::LoseAnswer,
        "cut" => Fault::Cut,
        "slow" => Fault::Wire(Trouble::Slow(between(20, 150)), between(3_000, 8_000)),
        "silent" => Fault::Wire(Trouble::Silent, between(2_000, 9_000)),
        "mute" => Fault::Wire(Trouble::Mute, between(2_000, 9_000)),
        "closed" => Fault::Wire(Trouble::Closed, between(2_000, 6_000)),
        "hold_lock" => Fault::HoldLock(LOCK),
        "full_disk" => Fault::FullDisk(between(2_000, 4_000)),
        "set_clock" => {
            const AWAY: [i64; 6] = [3_600, -3_600, 86_400, -86_400, 40, 0];
            Fault::SetClock(AWAY[usize::try_from(entropy.draw() % 6).unwrap_or(0)])
        }
        "standby" => Fault::Standby(between(1_000, 6_000)),
        "pause" => {
            let trigger = (!n.is_multiple_of(4)).then(|| entropy.draw() % PLAIN);
            Fault::Pause { trigger, span: between(500, 6_000) }
        }
        "reschedule" => Fault::Reschedule { trigger: entropy.draw() % PLAIN, turn: entropy.draw() },
        "replace" => Fault::Replace { trigger: entropy.draw() % PLAIN, turn: entropy.draw() },
        _ => Fault::Stop,
    }
}

/// How a worker kills itself. On a file most of the blows are aimed at commits, which are soon over.
fn kill(n: u64, kind: Kind, entropy: &SeededEntropy) -> Strike {
    const OTHERS: [Moment; 5] =
        [Moment::Before, Moment::After, Moment::Inside, Moment::BeforeCommit, Moment::AfterCommit];
    let aimed_at_commits = if kind == Kind::Sqlite { !n.is_multiple_of(4) } else { n.is_multiple_of(3) };
    let (moment, delay_us) = if aimed_at_commits {
        (Moment::InCommit, entropy.draw() % if kind == Kind::Sqlite { 250 } else { 1_500 })
    } else {
        (OTHERS[usize::try_from(entropy.draw() % 5).unwrap_or(0)], 0)
    };
    let step = usize::try_from(entropy.draw() % 9).unwrap_or(0);
    // Two in three name no step: the next one that fits is hit.
    let step = WRITING.get(step).filter(|_| entropy.draw().is_multiple_of(3));
    Strike { blow: Blow::Kill, moment, step: step.map(|step| (*step).to_owned()), delay_us }
}

fn stop(n: u64, entropy: &SeededEntropy) -> Strike {
    let moment = if n.is_multiple_of(4) { Moment::BeforeCommit } else { Moment::Inside };
    Strike { blow: Blow::Stop, moment, step: None, delay_us: entropy.draw() % 10 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_what_happens() {
        let span = Duration::from_secs(600);
        let drawn = |seed| draw(Kind::Postgres, span, true, &SeededEntropy::new(seed));
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        assert!(drawn(7).iter().all(|planned| planned.at < span));
    }

    #[test]
    fn ten_minutes_reach_the_quotas_by_construction() {
        let span = Duration::from_secs(600);
        for kind in [Kind::Sqlite, Kind::Postgres, Kind::Mysql] {
            let drawn = draw(kind, span, true, &SeededEntropy::new(3));
            let count =
                |begins: &str| drawn.iter().filter(|one| one.fault.kind().starts_with(begins)).count();
            assert!(count("kill") >= 60 && count("freeze") >= 36, "{kind:?}");
            if kind != Kind::Sqlite {
                assert!(count("restart") >= 6 && count("lose_answer") >= 40, "{kind:?}");
            }
        }
    }
}
