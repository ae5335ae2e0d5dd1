//! `prune`: old rows go, at most a given number of each kind.

use std::collections::BTreeSet;

use punctual_core::record::HistoryRow;
use punctual_core::store::{KEEP_MARKS, Prune, Pruned};
use redb::ReadableTable;

use crate::due::count;
use crate::step::Step;
use crate::tables::{KeptNode, Way, find};
use crate::trouble::Tried;

impl Step<'_> {
    pub(crate) fn prune(&mut self, request: Prune) -> Tried<Pruned> {
        let (bound, limit) = (self.now.minus(request.history).as_micros(), count(request.limit));
        Ok(Pruned {
            history: self.prune_history(bound, limit)?,
            other: self.prune_nodes(self.now.minus(request.nodes()).as_micros(), limit)?
                + self.prune_triggers(bound, limit)?
                + self.prune_marks(limit)?
                + self.prune_slots(limit)?,
        })
    }

    fn prune_history(&mut self, bound: i64, limit: usize) -> Tried<u64> {
        let old = self.tables.history_end.range(..(bound, 0))?.take(limit);
        let old: Vec<(i64, u128)> = old.map(|entry| Ok(entry?.0.value())).collect::<Tried<_>>()?;
        for (ended, id) in &old {
            if let Some(row) = find::<u128, HistoryRow>(&self.tables.history, *id)? {
                self.place_record(&row, Way::Out)?;
            }
            self.tables.history_end.remove((*ended, *id))?;
            self.tables.history.remove(*id)?;
        }
        Ok(rows(old.len()))
    }

    /// Nodes are few: they are looked at one by one.
    fn prune_nodes(&mut self, bound: i64, limit: usize) -> Tried<u64> {
        let mut old = Vec::new();
        for entry in self.tables.node.iter()? {
            let id = entry?.0.value();
            let node: Option<KeptNode> = find(&self.tables.node, id)?;
            let ended = node.and_then(|node| node.ended_us).is_some_and(|ended| ended < bound);
            let owns = || self.tables.owned.range((id, 0)..=(id, u128::MAX));
            if ended && old.len() < limit && owns()?.next().is_none() {
                old.push(id);
            }
        }
        for id in &old {
            self.tables.node.remove(id)?;
        }
        Ok(rows(old.len()))
    }

    /// Triggers and jobs stay while they have live rows, which may still take rules and data from them.
    fn prune_triggers(&mut self, bound: i64, limit: usize) -> Tried<u64> {
        let old = self.tables.completed.range(..(bound, i64::MIN))?;
        let old: Vec<i64> = old.map(|entry| Ok(entry?.0.value().1)).collect::<Tried<_>>()?;
        let mut gone = 0;
        for id in old {
            let Some(trigger) = self.trigger(id)? else { continue };
            if gone >= limit || !self.executions_of_trigger(id)?.is_empty() {
                continue;
            }
            self.remove_trigger(&trigger)?;
            gone += 1;
            let job = self.job(trigger.row.job_id)?.filter(|job| job.durable == 0 && job.set_name.is_none());
            if let Some(job) = job
                && self.triggers_of(job.id)?.is_empty()
                && self.executions_of_job(job.id)?.is_empty()
            {
                self.remove_job(&job)?;
                gone += 1;
            }
        }
        Ok(rows(gone))
    }

    fn prune_marks(&mut self, limit: usize) -> Tried<u64> {
        let bound = self.now.minus(KEEP_MARKS).as_micros();
        let old = self.tables.mark.extract_if(|_, (_, deleted)| deleted < bound)?;
        Ok(rows(old.take(limit).collect::<Result<Vec<_>, _>>()?.len()))
    }

    /// The slot keys of all live rows, also of those that will be ready later. Slots are pruned seldom, so no index helps.
    fn keys_of_live(&self) -> Tried<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        for entry in self.tables.execution.iter()? {
            let id = entry?.0.value();
            keys.extend(self.execution(id)?.and_then(|kept| kept.row.slot_key));
        }
        Ok(keys)
    }

    /// What a slot has drawn must not be drawn again by a slot that takes its name: the floor is raised.
    fn prune_slots(&mut self, limit: usize) -> Tried<u64> {
        let wanted = self.keys_of_live()?;
        let (mut idle, mut floor) = (Vec::new(), self.number("slot_floor")?);
        for slot in self.tables.slot.iter()? {
            let slot = slot?;
            let ((key, number), (holder, fence)) = (slot.0.value(), slot.1.value());
            let is_wanted = wanted.contains(key) || self.is_waited_for(key)?;
            if holder.is_none() && idle.len() < limit && !is_wanted {
                idle.push((key.to_owned(), number));
                floor = floor.max(fence);
            }
        }
        for (key, number) in &idle {
            self.tables.slot.remove((&**key, *number))?;
        }
        self.set_number("slot_floor", floor)?;
        Ok(rows(idle.len()))
    }
}

fn rows(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
