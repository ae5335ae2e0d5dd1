//! The verdict: figures of a run, and every promise that it broke.

use std::collections::BTreeMap;

use serde::Serialize;

/// How many violations of one rule are shown in full; the others are only counted.
const SHOWN_OF_A_RULE: u64 = 10;

/// A guarantee of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub enum Guarantee {
    /// One execution for each instant of a trigger's generation.
    G1,
    /// One owner at a time, and a larger fence for each next one.
    G2,
    /// One live row for each exclusive key.
    G3a,
    /// One running body for each exclusive key.
    G3b,
    /// A stale owner changes nothing.
    G4,
    /// What was accepted ends in a record.
    G5,
    /// What runs at most once begins once.
    G6,
    /// One end for each execution.
    G7,
    /// Effects that are committed with the end of their work are there once.
    G8,
    /// Nothing lost, nothing stuck.
    G9,
    /// The work of a dead node is offered again in time.
    G10,
    /// Nothing early.
    G11,
    /// Commands take effect at their commit.
    G12,
    /// Migrations are applied once.
    G13,
    /// A graceful stop uses up no attempt and loses nothing.
    G14,
    /// What holds holds however wall clocks behave.
    G15,
}

/// What a history must not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// Two executions of one instant of one generation.
    DoubleFiring,
    /// Two executions of one instant in two generations of a trigger.
    Refired,
    /// Two bodies of one execution, attempt and fence.
    DoubleStart,
    /// A body that no claim stands behind.
    Unclaimed,
    /// Two claims under one fence.
    SharedFence,
    /// A later claim, of an execution or of an exclusive key, under a smaller fence.
    FenceBackwards,
    /// A token of after a restore that is not larger than all of before.
    TokenBackwards,
    /// Two executions of one exclusive key that were owned at once.
    SharedSlot,
    /// Two bodies of one exclusive key at once.
    Overlap,
    /// A result that was taken from an owner whose work had passed on.
    StaleCompletion,
    /// An effect of an owner whose work had passed on.
    StaleEffect,
    /// An execution that is neither live nor recorded.
    Vanished,
    /// Work that runs at least once, recorded as lost.
    WronglyLost,
    /// Work that runs at most once and began again, or was offered again after it had begun.
    BegunAgain,
    /// An execution that ended twice, or ended and is live.
    EndedTwice,
    /// More than one effect of an execution.
    EffectDoubled,
    /// An execution that succeeded without the effect that its body commits with its end.
    EffectMissing,
    /// An effect of an execution that did not succeed.
    EffectAlone,
    /// An owed instant that neither fired nor was skipped.
    Lost,
    /// An instant that was fired and skipped, skipped twice, counted wrongly, or is none of the schedule's.
    Misaccounted,
    /// A live row that nobody will move.
    Stuck,
    /// A dead node's work that was offered again too late, or never.
    LateTakeover,
    /// A body that began before its instant.
    Early,
    /// A firing under a definition that had been changed or deleted before.
    OldDefinition,
    /// A claim of a node in standby.
    ClaimInStandby,
    /// A firing of a trigger under a pause.
    FiredInPause,
    /// A migration that was applied twice.
    MigratedTwice,
    /// A migration that was left out.
    MigrationMissing,
    /// An attempt that was lost with a node that left in good order.
    LostAtStop,
    /// An attempt that was handed back and counted all the same.
    StopCostAttempt,
    /// A source without which nothing can be said was not handed in.
    Incomplete,
}

impl Guarantee {
    /// All that a history can be judged by.
    pub const ALL: [Self; 16] = [
        Self::G1,
        Self::G2,
        Self::G3a,
        Self::G3b,
        Self::G4,
        Self::G5,
        Self::G6,
        Self::G7,
        Self::G8,
        Self::G9,
        Self::G10,
        Self::G11,
        Self::G12,
        Self::G13,
        Self::G14,
        Self::G15,
    ];

    /// Whether it is promised for any behaviour of wall clocks.
    const fn whatever_the_clocks(self) -> bool {
        !matches!(self, Self::G10 | Self::G11 | Self::G13 | Self::G15)
    }
}

impl Rule {
    /// The guarantee that is broken with this rule.
    pub const fn guarantee(self) -> Guarantee {
        match self {
            Self::DoubleFiring | Self::Refired => Guarantee::G1,
            Self::DoubleStart | Self::Unclaimed | Self::SharedFence => Guarantee::G2,
            Self::FenceBackwards | Self::TokenBackwards => Guarantee::G2,
            Self::SharedSlot => Guarantee::G3a,
            Self::Overlap => Guarantee::G3b,
            Self::StaleCompletion | Self::StaleEffect => Guarantee::G4,
            Self::Vanished | Self::WronglyLost => Guarantee::G5,
            Self::BegunAgain => Guarantee::G6,
            Self::EndedTwice => Guarantee::G7,
            Self::EffectDoubled | Self::EffectMissing | Self::EffectAlone => Guarantee::G8,
            Self::Lost | Self::Misaccounted | Self::Stuck | Self::Incomplete => Guarantee::G9,
            Self::LateTakeover => Guarantee::G10,
            Self::Early => Guarantee::G11,
            Self::OldDefinition | Self::ClaimInStandby | Self::FiredInPause => Guarantee::G12,
            Self::MigratedTwice | Self::MigrationMissing => Guarantee::G13,
            Self::LostAtStop | Self::StopCostAttempt => Guarantee::G14,
        }
    }
}

/// A promise that was broken, with the events that show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which promise.
    pub guarantee: Guarantee,
    /// How it was broken.
    pub rule: Rule,
    /// What happened, in a sentence.
    pub text: String,
    /// The fewest events that show it, in the order of time.
    pub events: Vec<String>,
}

/// What a run amounts to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Executions of triggers.
    pub fired: u64,
    /// Those of instants within the window, by its length.
    pub firings_per_second: f64,
    /// Executions beyond one for each (trigger, generation, instant), and starts beyond one for each (execution,
    /// attempt, fence).
    pub duplicates: u64,
    /// Owed instants without a record.
    pub lost: u64,
    /// Pairs of bodies of one exclusive key that ran at once.
    pub overlaps: u64,
    /// Such pairs after a declared false death, no longer than δ and the slack.
    pub overlaps_declared: u64,
    /// The longest of those.
    pub overlap_declared_seconds_max: f64,
    /// Bodies that began before their instant.
    pub early: u64,
    /// Nodes that were declared dead.
    pub takeovers: u64,
    /// Those of them that had been neither killed nor frozen.
    pub false_deaths: u64,
    /// The longest time from a death until that node's work was offered again.
    pub takeover_seconds_max: f64,
    /// Nodes whose work was offered again later than the bound, or never.
    pub takeovers_late: u64,
    /// Results that the store refused, because the work had passed to somebody else.
    pub fenced_completions: u64,
    /// The fewest exclusive bodies that ran in the cluster when a kill came (a freeze, if there was no kill).
    pub exclusive_running_at_kill: u64,
    /// Instants that were left out, by the records.
    pub skipped: u64,
    /// Instants that still waited for the busy slot of their job at the end.
    pub waiting: u64,
    /// Bodies that began.
    pub attempts: u64,
    /// Delay of first attempts without a slot, outside of the time of faults; the median.
    pub lateness_ms_p50: f64,
    /// The same, of 99 in 100.
    pub lateness_ms_p99: f64,
    /// The same, the largest.
    pub lateness_ms_max: f64,
    /// How many delays these three are computed from.
    pub lateness_samples: u64,
    /// Results that were taken from an owner whose work had passed on.
    pub stale_completions: u64,
    /// Bodies that no claim stands behind.
    pub unclaimed: u64,
    /// Live rows that nobody will move.
    pub stuck: u64,
    /// Rows that bodies committed with the end of their work.
    pub effects: u64,
    /// Those beyond one for each execution.
    pub effects_doubled: u64,
    /// How often a wall clock was set.
    pub clock_jumps: u64,
    /// How often each guarantee was broken, those that were kept included. What was broken while wall clocks were set
    /// counts for G15 too.
    pub guarantees: BTreeMap<Guarantee, u64>,
    /// Every broken promise, those counted above included.
    pub violations_total: u64,
    /// How often each rule was broken.
    pub broken: BTreeMap<Rule, u64>,
    /// Some of them in full, at most ten of each rule.
    pub violations: Vec<Violation>,
    /// Lines that were read.
    pub lines: u64,
    /// Last lines that a death cut off.
    pub torn_lines: u64,
}

impl Verdict {
    /// Whether no promise was broken.
    pub fn is_clean(&self) -> bool {
        self.violations_total == 0
    }

    /// How often a rule was broken.
    pub fn count(&self, rule: Rule) -> u64 {
        self.broken.get(&rule).copied().unwrap_or(0)
    }

    /// Notes that `rule` was broken `times` times.
    pub(crate) fn broke(
        &mut self,
        rule: Rule,
        times: u64,
        text: String,
        events: impl FnOnce() -> Vec<String>,
    ) {
        let shown = self.violations.iter().filter(|violation| violation.rule == rule).count();
        if u64::try_from(shown).is_ok_and(|shown| shown < SHOWN_OF_A_RULE) {
            self.violations.push(Violation { guarantee: rule.guarantee(), rule, text, events: events() });
        }
        *self.broken.entry(rule).or_default() += times;
        self.violations_total += times;
    }

    /// Copies the counts of rules into the figures that are named after them.
    pub(crate) fn sum_up(&mut self) {
        self.duplicates = self.count(Rule::DoubleFiring) + self.count(Rule::DoubleStart);
        self.lost = self.count(Rule::Lost);
        self.overlaps = self.count(Rule::Overlap);
        self.early = self.count(Rule::Early);
        self.takeovers_late = self.count(Rule::LateTakeover);
        self.stale_completions = self.count(Rule::StaleCompletion);
        self.unclaimed = self.count(Rule::Unclaimed);
        self.stuck = self.count(Rule::Stuck);
        self.effects_doubled = self.count(Rule::EffectDoubled);
        self.guarantees = Guarantee::ALL.into_iter().map(|guarantee| (guarantee, 0)).collect();
        for (rule, times) in &self.broken {
            *self.guarantees.entry(rule.guarantee()).or_default() += times;
        }
        if self.clock_jumps > 0 {
            let set = self.guarantees.iter().filter(|(of, _)| of.whatever_the_clocks());
            let broken = set.map(|(_, times)| times).sum();
            self.guarantees.insert(Guarantee::G15, broken);
        }
    }
}
