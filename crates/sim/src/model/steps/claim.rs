//! Claims: of due triggers by plans, and of ready rows by order.

use super::{Answer, Frame, Manner, Patch, Plan, Turn};
use crate::model::engine::rows::{Key, Live, Occurrence, Row, Standing, Trigger, TriggerState, WorkState};
use crate::model::engine::{Database, Mode, Refusal, Result};
use crate::model::mutant::Mutant;
use crate::model::steps::Dialect;

const GATE: u8 = 1;
const COMPARE: u8 = 2;
const SLOT: u8 = 3;
const WRITE: u8 = 4;
const PATCH: u8 = 5;

impl Frame {
    /// node → trigger → slot → live row → trigger, in this order in every dialect.
    pub(super) fn claim(
        &mut self,
        database: &mut Database,
        manner: Manner,
        asked: (u8, u8),
        plan: Plan,
    ) -> Result<Turn> {
        match self.place {
            0 if manner.is(Mutant::M21) && plan.then.skip.is_some() && self.row.is_none() => {
                // What is late is left out by a look of its own, before the claim.
                self.row = Some(0);
                self.leave_out(database, plan, plan.then)?;
                Ok(Turn::Apart(0))
            }
            0 if manner.is_postgres() => Ok(Turn::At(GATE)),
            0 | GATE => self.gate(database, manner, asked, COMPARE),
            COMPARE => self.compare(database, manner, plan),
            SLOT => self.place_for(database, manner),
            WRITE => self.fire(database, manner, asked.0, plan),
            _ => {
                self.patch(database, plan, plan.then)?;
                Ok(Turn::Done(Answer::Lost))
            }
        }
    }

    /// Whether the node may claim; if so it stays so until the end of the transaction.
    fn gate(
        &self,
        database: &mut Database,
        manner: Manner,
        (node, gate): (u8, u8),
        next: u8,
    ) -> Result<Turn> {
        let (id, key) = (self.session, Key::Node(node));
        let open = |row: Option<Row>| {
            row.and_then(Row::node).is_some_and(|node| {
                let ordered = manner.is(Mutant::M29) || (!node.standby && node.gate == gate);
                node.standing == Standing::Up && ordered
            })
        };
        if manner.is(Mutant::M5) {
            return Ok(if open(database.read(id, key)) {
                Turn::At(next)
            } else {
                Turn::Done(Answer::Closed)
            });
        }
        if manner.is_postgres() && !open(database.read(id, key)) {
            return Ok(Turn::Done(Answer::Closed));
        }
        database.lock(id, key, Mode::Shared)?;
        Ok(if open(database.newest(id, key)) { Turn::At(next) } else { Turn::Done(Answer::Closed) })
    }

    fn compare(&self, database: &mut Database, manner: Manner, plan: Plan) -> Result<Turn> {
        let (id, key) = (self.session, Key::Trigger(plan.trigger));
        let fits = |row: Option<Row>| {
            row.and_then(Row::trigger).is_some_and(|trigger: Trigger| {
                let same = match manner.mutant {
                    Some(Mutant::M4) => trigger.next.is_some() && !trigger.is_parked,
                    Some(Mutant::M28) => trigger.fire_seq == plan.fire_seq,
                    _ => (trigger.rev, trigger.fire_seq) == (plan.rev, plan.fire_seq),
                };
                trigger.state == TriggerState::Active && same
            })
        };
        let on = if manner.is_exclusive && plan.fires.is_some() { SLOT } else { WRITE };
        if manner.is(Mutant::M4) {
            return Ok(if fits(database.read(id, key)) { Turn::At(on) } else { Turn::Done(Answer::Lost) });
        }
        match manner.dialect {
            Dialect::Postgres if !fits(database.read(id, key)) => return Ok(Turn::Done(Answer::Lost)),
            // What somebody else has locked is passed over.
            Dialect::Mysql if database.is_locked(id, key, Mode::Exclusive) => {
                return Ok(Turn::Done(Answer::Lost));
            }
            _ => database.lock(id, key, Mode::Exclusive)?,
        }
        Ok(if fits(database.newest(id, key)) { Turn::At(on) } else { Turn::Done(Answer::Lost) })
    }

    /// Takes the slot for an execution that is yet to be inserted.
    fn place_for(&mut self, database: &mut Database, manner: Manner) -> Result<Turn> {
        let id = self.session;
        if manner.is(Mutant::M14) {
            self.is_busy = database.seen(id).live().any(|(_, live)| live.owner.is_some());
            return Ok(Turn::At(WRITE));
        }
        let slot = |row: Option<Row>| row.and_then(Row::slot).ok_or(Refusal::Breach);
        if manner.is_postgres() && slot(database.read(id, Key::Slot))?.holder.is_some() {
            self.is_busy = true;
            return Ok(Turn::At(WRITE));
        }
        database.lock(id, Key::Slot, Mode::Exclusive)?;
        let newest = slot(database.newest(id, Key::Slot))?;
        if newest.holder.is_some() && manner.is_postgres() {
            // Taken after the statement began: neither fired nor busy.
            return Ok(Turn::Done(Answer::Lost));
        }
        self.is_busy = newest.holder.is_some();
        self.fence = Some(newest.fence.saturating_add(1));
        Ok(Turn::At(WRITE))
    }

    fn fire(&self, database: &mut Database, manner: Manner, node: u8, plan: Plan) -> Result<Turn> {
        if self.is_busy {
            self.patch(database, plan, plan.busy)?;
            return Ok(Turn::Done(Answer::Busy));
        }
        let mut answer = Answer::Moved;
        if let Some(scheduled) = plan.fires {
            let of = Occurrence { trigger: plan.trigger, generation: plan.generation, scheduled };
            if self.is_known(database, of) {
                return Err(Refusal::Breach);
            }
            let first = manner.is(Mutant::M3) || self.fence.is_none();
            let fence = self.fence.filter(|_| !first).unwrap_or(1);
            let (state, owner) = (WorkState::Claimed, Some(node));
            let live = Live { of, state, owner, fence, attempt: 1, losses: 0, is_parked: false };
            let exec = database.insert_live(self.session, live)?;
            if self.fence.is_some() {
                let slot = crate::model::engine::rows::Slot { holder: Some(exec), fence };
                database.write(self.session, Key::Slot, Some(Row::Slot(slot)))?;
            }
            answer = Answer::Fired { exec, fence, attempt: 1, losses: 0 };
        }
        if manner.is(Mutant::M13) {
            return Ok(Turn::Apart(PATCH));
        }
        let then = Patch { skip: plan.then.skip.filter(|_| !manner.is(Mutant::M21)), ..plan.then };
        self.patch(database, plan, then)?;
        Ok(Turn::Done(answer))
    }

    /// Whether an instant has a live row or a record already, as far as the step sees it.
    fn is_known(&self, database: &Database, of: Occurrence) -> bool {
        database.seen(self.session).iter().any(|(key, row)| match (key, row) {
            (Key::Live(_), Row::Live(live)) => live.of == of,
            (Key::History(_), Row::History(record)) => record.of == of,
            (Key::Skip(trigger, generation, first), _) => {
                (trigger, generation, first) == (of.trigger, of.generation, of.scheduled)
            }
            _ => false,
        })
    }

    fn patch(&self, database: &mut Database, plan: Plan, patch: Patch) -> Result {
        let key = Key::Trigger(plan.trigger);
        let Some(before) = database.newest(self.session, key).and_then(Row::trigger) else { return Ok(()) };
        let after = Trigger {
            state: patch.state,
            next: patch.next,
            last: patch.last.or(before.last),
            is_parked: patch.is_parked,
            fire_seq: before.fire_seq.saturating_add(1),
            rev: before.rev.saturating_add(1),
            ..before
        };
        database.write(self.session, key, Some(Row::Trigger(after)))?;
        self.leave_out(database, plan, patch)
    }

    fn leave_out(&self, database: &mut Database, plan: Plan, patch: Patch) -> Result {
        if let Some((first, until)) = patch.skip {
            let of = Occurrence { trigger: plan.trigger, generation: plan.generation, scheduled: first };
            if self.is_known(database, of) {
                return Err(Refusal::Breach);
            }
            let key = Key::Skip(plan.trigger, plan.generation, first);
            database.insert(self.session, key, Row::Skip { until })?;
        }
        Ok(())
    }

    /// Claims the first ready row that nobody else has locked.
    pub(super) fn claim_ready(
        &mut self,
        database: &mut Database,
        manner: Manner,
        asked: (u8, u8),
    ) -> Result<Turn> {
        match self.place {
            0 if manner.is_postgres() => Ok(Turn::At(GATE)),
            0 | GATE => self.gate(database, manner, asked, COMPARE),
            COMPARE => self.pick(database, manner),
            _ => self.take(database, manner, asked.0),
        }
    }

    fn pick(&mut self, database: &mut Database, manner: Manner) -> Result<Turn> {
        let id = self.session;
        if manner.dialect == Dialect::Mysql && manner.is_exclusive {
            // Slots before rows, as everybody locks them there.
            database.lock(id, Key::Slot, Mode::Exclusive)?;
        }
        let ready = |live: Live| live.state == WorkState::Ready && !live.is_parked;
        let candidates: Vec<u8> =
            database.seen(id).live().filter(|(_, live)| ready(*live)).map(|(row, _)| row).collect();
        for row in candidates {
            let key = Key::Live(row);
            if database.is_locked(id, key, Mode::Exclusive) {
                continue;
            }
            database.lock(id, key, Mode::Exclusive)?;
            if database.newest(id, key).and_then(Row::live).is_some_and(ready) {
                self.row = Some(row);
                return Ok(Turn::At(SLOT));
            }
        }
        Ok(Turn::Done(Answer::Lost))
    }

    fn take(&self, database: &mut Database, manner: Manner, node: u8) -> Result<Turn> {
        let (id, Some(exec)) = (self.session, self.row) else { return Ok(Turn::Done(Answer::Lost)) };
        let Some(live) = database.newest(id, Key::Live(exec)).and_then(Row::live) else {
            return Ok(Turn::Done(Answer::Lost));
        };
        let mut above = live.fence;
        if manner.is_exclusive && !manner.is(Mutant::M14) {
            let slot = |row: Option<Row>| row.and_then(Row::slot).ok_or(Refusal::Breach);
            let is_taken = |holder: Option<u8>| holder.is_some_and(|holder| holder != exec);
            let seen = slot(database.read(id, Key::Slot))?;
            if is_taken(seen.holder) {
                let parked = Live { is_parked: true, ..live };
                database.write(id, Key::Live(exec), Some(Row::Live(parked)))?;
                return Ok(Turn::Done(Answer::Lost));
            }
            database.lock(id, Key::Slot, Mode::Exclusive)?;
            let mut newest = slot(database.newest(id, Key::Slot))?;
            if is_taken(newest.holder) {
                return Ok(Turn::Done(Answer::Lost));
            }
            above = above.max(newest.fence);
            (newest.holder, newest.fence) = (Some(exec), above.saturating_add(1));
            database.write(id, Key::Slot, Some(Row::Slot(newest)))?;
        }
        let fence = above.saturating_add(1);
        let claimed = Live { state: WorkState::Claimed, owner: Some(node), fence, ..live };
        database.write(id, Key::Live(exec), Some(Row::Live(claimed)))?;
        let Live { attempt, losses, .. } = live;
        Ok(Turn::Done(Answer::Fired { exec, fence, attempt, losses }))
    }
}
