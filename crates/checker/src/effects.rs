//! What bodies wrote in the transaction that completed them: once for each execution that succeeded, and for no other
//! (G8), and never by an owner whose work had passed on (G4).

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::execution::{HistoryRecord, Outcome};
use punctual_core::key::{ExecutionId, Fence, Kind};

use crate::checker::Tables;
use crate::history::History;
use crate::verdict::{Rule, Verdict};

/// What is found in the user's own tables after a run.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// The kinds of work that write a row in the transaction that completes them.
    pub kinds: Vec<Kind>,
    /// All rows that they wrote.
    pub rows: Vec<Effect>,
}

/// A row that a body wrote in the transaction that completed its execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The execution.
    pub execution: ExecutionId,
    /// The fence that its body ran under.
    pub fence: Fence,
}

pub(crate) fn judge(history: &History, tables: &Tables, effects: &Effects, verdict: &mut Verdict) {
    let ended: BTreeMap<ExecutionId, &HistoryRecord> = tables
        .history
        .iter()
        .filter(|record| record.outcome == Outcome::Succeeded)
        .map(|record| (record.id, record))
        .collect();
    let mut seen: BTreeSet<ExecutionId> = BTreeSet::new();
    for Effect { execution: id, fence } in &effects.rows {
        verdict.effects += 1;
        let row = || format!("effect of {id} under fence {fence}");
        let shown = || history.show(&[*id]).into_iter().chain([row()]).collect();
        if !seen.insert(*id) {
            verdict.broke(Rule::EffectDoubled, 1, format!("{id} left more than one effect"), shown);
        }
        match ended.get(id) {
            None => {
                let text = format!("{id} left an effect, and did not succeed");
                verdict.broke(Rule::EffectAlone, 1, text, shown);
            }
            Some(record) if record.fence != *fence => {
                let text =
                    format!("{id} left an effect under fence {fence}, and ended under {}", record.fence);
                verdict.broke(Rule::StaleEffect, 1, text, shown);
            }
            Some(_) => {}
        }
    }
    for record in ended.values().filter(|record| effects.kinds.contains(&record.kind)) {
        if !seen.contains(&record.id) {
            let text = format!("{} succeeded, and left no effect", record.id);
            verdict.broke(Rule::EffectMissing, 1, text, || history.show(&[record.id]));
        }
    }
}
