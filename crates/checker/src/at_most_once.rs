//! Work that runs at most once begins once (G6), and only such work may be recorded as lost (G5).

use std::collections::{BTreeMap, BTreeSet};

use punctual_core::execution::{Attempt, AttemptOutcome, Execution, HistoryRecord, Outcome};
use punctual_core::job::{ExecutionSpec, OnNodeLoss};
use punctual_core::key::{ExecutionId, Fence, JobId, TriggerId};

use crate::checker::Tables;
use crate::claims::Claims;
use crate::history::{Fact, History, Trail, What, line};
use crate::verdict::{Rule, Verdict};

/// The rules of executions, as far as the tables still have them.
struct Specs<'a> {
    jobs: BTreeMap<JobId, &'a ExecutionSpec>,
    of_triggers: BTreeMap<TriggerId, JobId>,
}

impl<'a> Specs<'a> {
    fn of(tables: &'a Tables) -> Self {
        let jobs = tables.jobs.iter().map(|job| (job.id, &job.spec)).collect();
        let of_triggers = tables.triggers.iter().map(|trigger| (trigger.id, trigger.job_id)).collect();
        Self { jobs, of_triggers }
    }

    fn get(&self, job: Option<JobId>, trigger: Option<TriggerId>) -> Option<&'a ExecutionSpec> {
        let job = job.or_else(|| self.of_triggers.get(&trigger?).copied());
        self.jobs.get(&job?).copied()
    }

    fn of_record(&self, record: &HistoryRecord) -> Option<&'a ExecutionSpec> {
        let trigger = record.occurrence.as_ref().map(|of| of.trigger_id);
        self.get(record.job.as_ref().map(|job| job.id), trigger)
    }

    fn of_row(&self, row: &'a Execution) -> Option<&'a ExecutionSpec> {
        let trigger = row.occurrence.as_ref().map(|of| of.trigger_id);
        row.spec.as_ref().or_else(|| self.get(row.job.as_ref().map(|job| job.id), trigger))
    }
}

/// Judges all executions whose rules are known.
pub(crate) fn judge(history: &History, claims: &Claims, tables: &Tables, verdict: &mut Verdict) {
    let specs = Specs::of(tables);
    for record in tables.history.iter().filter(|record| record.outcome != Outcome::Skipped) {
        match specs.of_record(record).map(|spec| spec.on_node_loss) {
            Some(OnNodeLoss::Lose) => begun(record.id, &record.attempts, history, claims, verdict),
            Some(OnNodeLoss::Rerun) if record.outcome == Outcome::Lost => {
                let text = format!("{} runs at least once, and is recorded as lost", record.id);
                verdict.broke(Rule::WronglyLost, 1, text, || history.show(&[record.id]));
            }
            _ => {}
        }
    }
    for row in &tables.live {
        if specs.of_row(row).is_some_and(|spec| spec.on_node_loss == OnNodeLoss::Lose) {
            begun(row.id, &row.attempts, history, claims, verdict);
        }
    }
}

/// Judges how often an execution that runs at most once has begun. It may begin again only after an attempt that ended
/// with a failure of its own, if its retries allow that.
fn begun(id: ExecutionId, attempts: &[Attempt], history: &History, claims: &Claims, verdict: &mut Verdict) {
    let Some(trail) = history.trails.get(&id) else { return };
    let failed: BTreeSet<Fence> = attempts
        .iter()
        .filter(|attempt| {
            use AttemptOutcome::{Failed, Panicked, TimedOut};
            matches!(attempt.outcome, Failed | Panicked | TimedOut)
        })
        .map(|attempt| attempt.fence)
        .collect();
    let by_fence: BTreeMap<Fence, &Fact> = begins(trail).map(|fact| (fact.fence, fact)).collect();
    let mut before: Option<&Fact> = None;
    for fact in by_fence.into_values() {
        if let Some(first) = before.replace(fact).filter(|first| !failed.contains(&first.fence)) {
            let text = format!("{id} runs at most once, and began again under fence {}", fact.fence);
            verdict.broke(Rule::BegunAgain, 1, text, || vec![line(id, first), line(id, fact)]);
        }
    }
    for fact in &trail.facts {
        let What::Recovered { from, outcome: None } = fact.what else { continue };
        // A node that hands back what it has not begun may claim it again, and begins it then under a larger fence; it may
        // even have begun it before the answer to its handing back has come.
        let begun = begins(trail).filter(|begun| begun.boot < fact.boot && begun.fence <= fact.fence);
        let begun = begun.filter(|begun| !failed.contains(&begun.fence));
        let begun =
            begun.filter(|begun| claims.owner(id, begun.fence) == Some(from)).min_by_key(|begun| begun.boot);
        if let Some(begun) = begun {
            let text = format!("{id} runs at most once, and was offered again though it had begun");
            verdict.broke(Rule::BegunAgain, 1, text, || vec![line(id, begun), line(id, fact)]);
        }
    }
}

fn begins(trail: &Trail) -> impl Iterator<Item = &Fact> {
    trail.facts.iter().filter(|fact| fact.what == What::BodyBegan)
}
