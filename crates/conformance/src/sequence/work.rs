//! Work in a sequence: putting it in, and what becomes of claimed rows.

use punctual_core::Timestamp;
use punctual_core::execution::{Execution, ExecutionState, JobRef, NewExecution, Occurrence, Slot};
use punctual_core::job::ExecutionSpec;
use punctual_core::key::{ExecutionId, JobId};
use punctual_core::node::NodeState;
use punctual_core::protocol::finish::{self, BodyEnd, Ended};
use punctual_core::protocol::recover;
use punctual_core::store::{ClaimRef, Enqueue, SettlePlan};

use punctual_core::trigger::TriggerRecord;

use super::moves::Move;
use super::scribe::{Scribe, one};
use super::view::View;
use crate::bench::{WORK, data, kind, secs};

impl Scribe {
    /// One to three rows, or those that were put in last once more.
    pub(super) fn work(&mut self, next: Move, view: &View, now: Timestamp) -> Vec<Enqueue> {
        let Move { which, how, extra, .. } = next;
        if extra > 240 && !self.enqueued.is_empty() {
            return self.enqueued.clone();
        }
        let rows = 1 + usize::from(how / 16 % 3);
        let work = (0..rows).zip([which, which / 3, extra]);
        self.enqueued = work.map(|(n, which)| self.row(Move { which, ..next }, n, view, now)).collect();
        self.enqueued.clone()
    }

    fn row(&self, next: Move, n: usize, view: &View, now: Timestamp) -> Enqueue {
        let Move { which, how, extra, .. } = next;
        let job = if how % 8 == 7 { None } else { one(&view.jobs, which) };
        let of = |id, key| Some(JobRef { id, key });
        let mut execution = NewExecution {
            id: ExecutionId::draw(now, &self.entropy),
            occurrence: None,
            job: job.and_then(|job| of(job.id, job.key.clone())),
            kind: job.map_or_else(|| kind(WORK), |job| job.kind.clone()),
            scheduled: now,
            priority: i32::from(extra % 3) - 1,
            spec: (how % 8 == 7 || extra.is_multiple_of(7)).then(ExecutionSpec::default),
            payload: (how % 8 == 7 || extra.is_multiple_of(5)).then(|| data(&format!("work {n} {extra}"))),
            slot: match job {
                Some(job) => Slot::of(&job.spec),
                None => extra.is_multiple_of(2).then(|| Slot { key: "x".into(), limit: 1 }),
            },
            catch_up: None,
        };
        match how {
            // Its job is gone.
            250.. => execution.job = of(JobId::draw(&self.entropy), crate::bench::job_key("gone")),
            // An instant that was decided about already, or not yet. Of a trigger that needs no slot: what comes of one
            // whose slot is taken as well is left open.
            240..250 => {
                let needs_none = |trigger: &&TriggerRecord| {
                    let job = view.jobs.iter().find(|job| job.id == trigger.job_id);
                    job.is_some_and(|job| job.spec.concurrency.is_none())
                };
                if let Some(trigger) = one(&view.triggers, which).filter(needs_none) {
                    execution.scheduled = trigger.last.or(trigger.next_fire).unwrap_or(now);
                    execution.occurrence = Some(Occurrence {
                        trigger_id: trigger.id,
                        generation: trigger.generation,
                        key: trigger.key.clone(),
                    });
                }
            }
            200..240 => execution.scheduled = now.plus(secs(20)),
            180..200 => execution.scheduled = now.minus(secs(20)),
            _ => {}
        }
        let delay = match how {
            ..20 => Some(secs(0)),
            20..50 => Some(secs(10)),
            _ => None,
        };
        Enqueue { execution, delay }
    }

    /// One or two live rows, and seldom one that has ended.
    pub(super) fn to_cancel(next: Move, view: &View) -> Option<Vec<ExecutionId>> {
        let Move { which, how, extra, .. } = next;
        let mut ids = vec![one(&view.live, which)?.id];
        if how.is_multiple_of(2) {
            ids.extend(one(&view.live, how / 2).map(|row| row.id).filter(|id| !ids.contains(id)));
        }
        if extra > 200 {
            ids.extend(one(&view.history, extra).map(|record| record.id));
        }
        Some(ids)
    }

    /// A claim that stands, and seldom one that may have passed to another.
    pub(super) fn to_begin(&self, next: Move, view: &View) -> Option<Vec<ClaimRef>> {
        let owned = owned(view);
        let stale = next.extra > 160;
        let row = if stale { self.late(next.which, view)? } else { *one(&owned, next.which)? };
        claim_of(row).map(|claim| vec![claim])
    }

    /// What becomes of one to three owned rows; seldom of one that may have passed to another.
    pub(super) fn ends(&mut self, next: Move, view: &View, now: Timestamp) -> Option<Vec<SettlePlan>> {
        let Move { which, how, extra, .. } = next;
        let owned = owned(view);
        let mut rows: Vec<&Execution> = Vec::new();
        for n in 0..=extra % 3 {
            rows.extend(one(&owned, which.wrapping_add(n)).copied().filter(|row| !rows.contains(row)));
        }
        if extra > 192
            && let Some(row) = self.late(which, view).filter(|row| rows.iter().all(|r| r.id != row.id))
        {
            rows.push(row);
        }
        let plans = (0..).zip(rows).filter_map(|(n, row)| self.end(row, how.wrapping_add(n), view, now));
        let plans: Vec<SettlePlan> = plans.collect();
        // What was settled may be settled again by somebody who is late.
        self.remember(one(&owned, which).map(|row| (*row).clone()));
        (!plans.is_empty()).then_some(plans)
    }

    /// A row as somebody still has it: one that has passed on if there is one, else one that may have ended.
    fn late(&self, which: u8, view: &View) -> Option<&Execution> {
        let has_passed_on =
            |row: &&Execution| view.live.iter().any(|live| live.id == row.id && live.fence != row.fence);
        let passed_on: Vec<&Execution> = self.claimed.iter().filter(has_passed_on).collect();
        one(&passed_on, which).copied().or_else(|| one(&self.claimed, which))
    }

    fn end(&self, row: &Execution, how: u8, view: &View, now: Timestamp) -> Option<SettlePlan> {
        let claim = claim_of(row)?;
        let end = match how % 16 {
            0..5 => BodyEnd::Succeeded,
            5..8 => BodyEnd::Failed("it failed".to_owned()),
            8 => BodyEnd::RetryAfter("later".to_owned(), secs(20)),
            9 => BodyEnd::Dead("for good".to_owned()),
            10 => BodyEnd::TimedOut(secs(1)),
            11 => BodyEnd::Cancelled("it was told to".to_owned()),
            12 | 13 => BodyEnd::HandedBack("its node stops".to_owned()),
            14 => return Some(finish::hand_back(claim, row)),
            _ => return Some(finish::hold(claim, "it cannot be read")),
        };
        let started = (!how.is_multiple_of(3)).then_some(now);
        let output = how.is_multiple_of(4).then(|| format!("output {how}"));
        let body = Ended { end, started, ended: now, output };
        let plan = finish::settle(row, &spec_of(row, view), claim.owner, body, &self.entropy);
        Some(if how % 16 == 4 { finish::forgetting(row, plan) } else { plan })
    }

    /// What becomes of up to three rows of nodes that are not up.
    pub(super) fn recovered(next: Move, view: &View, now: Timestamp) -> Option<Vec<SettlePlan>> {
        let is_up = |row: &Execution| {
            view.nodes.iter().any(|node| row.owner == Some(node.info.id) && node.state == NodeState::Up)
        };
        let orphans = view.live.iter().filter(|row| row.owner.is_some() && !is_up(row));
        let orphans: Vec<&Execution> = orphans.collect();
        let first = usize::from(next.which).checked_rem(orphans.len())?;
        let plans = orphans.iter().skip(first).take(3).filter_map(|row| {
            let owner = row.owner?;
            Some(recover::settle(row, &spec_of(row, view), owner, now))
        });
        Some(plans.collect())
    }
}

fn owned(view: &View) -> Vec<&Execution> {
    let is_owned = |row: &&Execution| matches!(row.state, ExecutionState::Claimed | ExecutionState::Running);
    view.live.iter().filter(is_owned).collect()
}

fn claim_of(row: &Execution) -> Option<ClaimRef> {
    Some(ClaimRef { id: row.id, owner: row.owner?, fence: row.fence })
}

/// The rules of a row: its own, else its job's.
fn spec_of(row: &Execution, view: &View) -> ExecutionSpec {
    let job = row.job.as_ref().and_then(|of| view.jobs.iter().find(|job| job.id == of.id));
    let spec = row.spec.clone().or_else(|| job.map(|job| job.spec.clone()));
    spec.unwrap_or_default()
}
