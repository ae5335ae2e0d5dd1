//! What the sequences came past. Sequences in which nothing happens show nothing.

use std::collections::BTreeSet;

use punctual_core::store::{Applied, ClaimOutcome, SettleOutcome, Standing};

use crate::step::Answer;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Sights(BTreeSet<&'static str>);

/// What every run must come past.
const ALL: [&str; 23] = [
    "written",
    "a change that does not fit",
    "ended at once",
    "asked to stop",
    "a member that is up",
    "a member that is gone",
    "rows of its own",
    "owners that are gone",
    "declared dead",
    "has beaten since",
    "a gate that is closed",
    "orphans",
    "fired",
    "a slot that is taken",
    "a lost race",
    "several due triggers",
    "a ready row",
    "several ready rows",
    "settled",
    "settled before",
    "fenced",
    "woken",
    "pruned",
];

impl Sights {
    /// Notes what an answer shows.
    pub(super) fn saw(&mut self, answer: &Answer) {
        match answer {
            Answer::Applied(Applied::All) => self.note("written", true),
            Answer::Applied(Applied::Lost { .. }) => self.note("a change that does not fit", true),
            Answer::Cancelled(cancelled) => {
                self.note("ended at once", cancelled.ended > 0);
                self.note("asked to stop", cancelled.asked > 0);
            }
            Answer::CheckedIn(reply) => {
                self.note("a member that is up", reply.standing == Standing::Up);
                self.note("a member that is gone", reply.standing == Standing::Gone);
                self.note("rows of its own", !reply.owned.is_empty());
                self.note("owners that are gone", !reply.gone_owners.is_empty());
            }
            Answer::TakenOver(true) => self.note("declared dead", true),
            Answer::TakenOver(false) => self.note("has beaten since", true),
            Answer::Left | Answer::Gate(_) | Answer::Epoch(_) => {}
            Answer::Orphans(rows) => self.note("orphans", !rows.is_empty()),
            Answer::Due(due) => self.note("several due triggers", due.triggers.len() > 1),
            Answer::Claimed(claimed) => {
                self.note("a gate that is closed", !claimed.gate_open);
                for outcome in &claimed.outcomes {
                    self.note("fired", matches!(outcome, ClaimOutcome::Fired(_)));
                    self.note("a slot that is taken", *outcome == ClaimOutcome::Busy);
                    self.note("a lost race", claimed.gate_open && *outcome == ClaimOutcome::Lost);
                }
            }
            Answer::Ready(claimed) => {
                self.note("a ready row", !claimed.work.is_empty());
                self.note("several ready rows", claimed.work.len() > 1);
            }
            Answer::Settled(outcomes) => {
                for outcome in outcomes {
                    self.note("settled", *outcome == SettleOutcome::Done);
                    self.note("settled before", *outcome == SettleOutcome::AlreadyDone);
                    self.note("fenced", *outcome == SettleOutcome::Fenced);
                }
            }
            Answer::Woken(woken) => self.note("woken", *woken > 0),
            Answer::Pruned(pruned) => self.note("pruned", pruned.history > 0 && pruned.other > 0),
        }
    }

    fn note(&mut self, what: &'static str, is_so: bool) {
        if is_so {
            self.0.insert(what);
        }
    }

    /// What was not seen, though it must be.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        ALL.into_iter().filter(|what| !self.0.contains(what)).collect()
    }
}
