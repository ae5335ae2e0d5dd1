//! Upkeep: what is old goes, in bounded steps, and takes nothing with it that anybody still needs.

use super::state::{Instant, State};
use crate::key::{ExecutionId, NodeId, TriggerId, TriggerKey};
use crate::store::{KEEP_MARKS, Prune, Pruned};
use crate::time::Timestamp;

impl State {
    pub(super) fn prune(&mut self, now: Timestamp, request: Prune) -> Pruned {
        let Prune { history, limit } = request;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_old = |at: Timestamp| at < now.minus(history);
        let counts = [
            self.prune_nodes(limit, |at| at < now.minus(request.nodes())),
            self.prune_triggers(now, limit, is_old),
            self.prune_marks(now, limit),
            self.prune_slots(limit),
        ];
        Pruned { history: self.prune_history(limit, is_old), other: counts.into_iter().map(count).sum() }
    }

    fn prune_history(&mut self, limit: usize, is_old: impl Fn(Timestamp) -> bool) -> u64 {
        let mut old: Vec<(Timestamp, ExecutionId)> = self
            .history
            .values()
            .map(|record| (record.ended, record.id))
            .filter(|(at, _)| is_old(*at))
            .collect();
        old.sort_unstable();
        old.truncate(limit);
        for (_, id) in &old {
            if let Some(record) = self.history.remove(id)
                && let Some(of) = &record.occurrence
            {
                self.occurrences.remove(&Instant::of(of, record.scheduled));
            }
        }
        count(old.len())
    }

    fn prune_nodes(&mut self, limit: usize, is_old: impl Fn(Timestamp) -> bool) -> usize {
        let owns = |node: NodeId| self.live.values().any(|live| live.row.owner == Some(node));
        let gone = self.nodes.iter().filter(|(id, member)| member.ended.is_some_and(&is_old) && !owns(**id));
        let gone: Vec<NodeId> = gone.map(|(id, _)| *id).take(limit).collect();
        for id in &gone {
            self.nodes.remove(id);
        }
        gone.len()
    }

    fn prune_triggers(&mut self, now: Timestamp, limit: usize, is_old: impl Fn(Timestamp) -> bool) -> usize {
        let has_rows = |id: TriggerId| {
            self.live.values().any(|live| live.row.occurrence.as_ref().is_some_and(|of| of.trigger_id == id))
        };
        let ended = self.definitions.triggers.values().filter(|stored| {
            let trigger = &stored.record;
            stored.completed.is_some_and(&is_old) && trigger.set.is_none() && !has_rows(trigger.id)
        });
        let ended: Vec<_> =
            ended.map(|stored| (stored.record.id, stored.record.job_id)).take(limit).collect();
        let mut gone = ended.len();
        for (trigger, job) in ended {
            self.definitions.remove_trigger(trigger, now);
            let in_use = self.definitions.is_used(job)
                || self.live.values().any(|live| live.row.job.as_ref().is_some_and(|of| of.id == job));
            let keeps = |job: &crate::job::JobRecord| job.durable || job.set.is_some();
            if !in_use && self.definitions.jobs.get(&job).is_some_and(|job| !keeps(job)) {
                self.definitions.remove_job(job);
                gone += 1;
            }
        }
        gone
    }

    fn prune_marks(&mut self, now: Timestamp, limit: usize) -> usize {
        let marks = &mut self.definitions.marks;
        let old = marks.iter().filter(|(_, mark)| mark.written < now.minus(KEEP_MARKS));
        let old: Vec<TriggerKey> = old.map(|(key, _)| key.clone()).take(limit).collect();
        for key in &old {
            marks.remove(key);
        }
        old.len()
    }

    fn prune_slots(&mut self, limit: usize) -> usize {
        let live = &self.live;
        let definitions = &self.definitions;
        let awaited = |key: &str| {
            let by_row =
                live.values().any(|live| live.row.slot.as_ref().is_some_and(|slot| &*slot.key == key));
            let by_trigger = || {
                definitions.triggers.values().any(|stored| {
                    stored.record.wake > stored.record.next_fire
                        && definitions.jobs.get(&stored.record.job_id).is_some_and(|job| {
                            job.spec.concurrency.as_ref().is_some_and(|limit| &*limit.key == key)
                        })
                })
            };
            by_row || by_trigger()
        };
        let idle = self.slots.rows.iter().filter(|((key, _), row)| row.holder.is_none() && !awaited(key));
        let idle: Vec<(Box<str>, u32)> = idle.map(|(place, _)| place.clone()).take(limit).collect();
        for place in &idle {
            if let Some(row) = self.slots.rows.remove(place) {
                self.slots.floor = self.slots.floor.max(row.fence);
            }
        }
        idle.len()
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
