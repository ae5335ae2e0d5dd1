//! The guarded writes of an owner, and waking those who wait for the slot that an end frees.

use super::{Answer, Claim, Dialect, Frame, Manner, Then, Turn, triggers};
use crate::model::engine::rows::{History, Key, Live, Row, Slot, Trigger, TriggerState, WorkState};
use crate::model::engine::{Database, Mode, Result};
use crate::model::mutant::Mutant;

const READ: u8 = 1;
const LOCK: u8 = 2;
const APPLY: u8 = 3;
const KNOWS: u8 = 4;

impl Frame {
    pub(super) fn begin(&self, database: &mut Database, manner: Manner, claim: Claim) -> Result<Turn> {
        match self.place {
            0 if manner.is_postgres() => Ok(Turn::At(LOCK)),
            _ => match self.own_row(database, manner, claim, |live| is_its(live, claim))? {
                Some(live) => {
                    let begun = Row::Live(Live { state: WorkState::Running, ..live });
                    database.write(self.session, Key::Live(claim.exec), Some(begun))?;
                    Ok(Turn::Done(Answer::Done))
                }
                None => Ok(Turn::Done(Answer::Fenced)),
            },
        }
    }

    /// Locks the row of a claim, and answers it if it still is that claim's.
    fn own_row(
        &self,
        database: &mut Database,
        manner: Manner,
        claim: Claim,
        is_its: impl Fn(Live) -> bool,
    ) -> Result<Option<Live>> {
        let (id, key) = (self.session, Key::Live(claim.exec));
        if manner.is_postgres() && !database.read(id, key).and_then(Row::live).is_some_and(&is_its) {
            return Ok(None);
        }
        database.lock(id, key, Mode::Exclusive)?;
        Ok(database.newest(id, key).and_then(Row::live).filter(|live| is_its(*live)))
    }

    pub(super) fn settle(
        &self,
        database: &mut Database,
        manner: Manner,
        claim: Claim,
        then: Then,
        writes: bool,
    ) -> Result<Turn> {
        let id = self.session;
        match self.place {
            0 if writes => {
                let of_exec = |key: Key| matches!(key, Key::Effect(exec, _) if exec == claim.exec);
                let earlier = database.committed().iter().filter(|(key, _)| of_exec(*key)).count();
                let key = Key::Effect(claim.exec, u8::try_from(earlier).unwrap_or(u8::MAX));
                database.write(id, key, Some(Row::Effect))?;
                Ok(Turn::At(READ))
            }
            0 | READ => {
                if manner.is_postgres() {
                    database.snapshot(id);
                }
                if manner.dialect == Dialect::Mysql && manner.is_exclusive {
                    database.lock(id, Key::Slot, Mode::Exclusive)?;
                }
                Ok(Turn::At(LOCK))
            }
            LOCK => {
                let fits = |live: Live| match manner.mutant {
                    Some(Mutant::M1) => live.owner == Some(claim.owner),
                    Some(Mutant::M2) => live.fence == claim.fence,
                    Some(Mutant::M15) if matches!(then, Then::Back { .. }) => true,
                    _ => is_its(live, claim),
                };
                let row = self.own_row(database, manner, claim, fits)?;
                Ok(Turn::At(if row.is_some() { APPLY } else { KNOWS }))
            }
            APPLY => {
                self.apply(database, manner, claim, then)?;
                Ok(Turn::Done(Answer::Done))
            }
            KNOWS => {
                if manner.is_postgres() {
                    // A statement of its own, whose snapshot is younger than the wait for the row.
                    database.snapshot(id);
                }
                let record = database.read(id, Key::History(claim.exec)).and_then(Row::history);
                let has_ended = record.is_some_and(|record| record.fence == claim.fence);
                Ok(match (has_ended, writes) {
                    (true, true) if manner.is(Mutant::M18) => Turn::Done(Answer::AlreadyDone),
                    (true, true) => Turn::Undo(Answer::AlreadyDone),
                    (false, true) => Turn::Undo(Answer::Fenced),
                    (true, false) => Turn::Done(Answer::AlreadyDone),
                    (false, false) => Turn::Done(Answer::Fenced),
                })
            }
            _ => Ok(Turn::Done(Answer::Fenced)),
        }
    }

    fn apply(&self, database: &mut Database, manner: Manner, claim: Claim, then: Then) -> Result {
        let (id, key) = (self.session, Key::Live(claim.exec));
        let Some(live) = database.newest(id, key).and_then(Row::live) else { return Ok(()) };
        let frees = match then {
            Then::End { outcome, fence } => {
                database.write(id, key, None)?;
                let record = Row::History(History { of: live.of, outcome, fence });
                database.insert(id, Key::History(claim.exec), record)?;
                true
            }
            Then::Back { attempt, losses, keeps_slot } => {
                let state = WorkState::Ready;
                let back = Live { state, owner: None, attempt, losses, is_parked: false, ..live };
                database.write(id, key, Some(Row::Live(back)))?;
                !keeps_slot
            }
        };
        if frees && manner.is_exclusive {
            let holds = |slot: &Slot| slot.holder == Some(claim.exec);
            if database.read(id, Key::Slot).and_then(Row::slot).filter(holds).is_some() {
                database.lock(id, Key::Slot, Mode::Exclusive)?;
                if let Some(slot) = database.newest(id, Key::Slot).and_then(Row::slot).filter(holds) {
                    let free = Row::Slot(Slot { holder: None, ..slot });
                    database.write(id, Key::Slot, Some(free))?;
                    self.wake(database)?;
                }
            }
        }
        Ok(())
    }

    /// Wakes one of those who wait for the slot, a row before a trigger, the earliest trigger first; what others have locked is passed over.
    fn wake(&self, database: &mut Database) -> Result {
        let id = self.session;
        let waits = |live: &Live| live.state == WorkState::Ready && live.is_parked;
        let rows: Vec<u8> =
            database.seen(id).live().filter(|(_, live)| waits(live)).map(|(row, _)| row).collect();
        for row in rows {
            let key = Key::Live(row);
            if database.is_locked(id, key, Mode::Exclusive) {
                continue;
            }
            if let Some(live) = database.newest(id, key).and_then(Row::live).filter(waits) {
                let woken = Row::Live(Live { is_parked: false, ..live });
                return database.write(id, key, Some(woken));
            }
        }
        let waits = |trigger: &Trigger| trigger.state == TriggerState::Active && trigger.is_parked;
        let mut parked: Vec<(Option<u8>, u8)> = triggers(database, id)
            .filter(|(_, trigger)| waits(trigger))
            .map(|(at, trigger)| (trigger.next, at))
            .collect();
        parked.sort_unstable();
        for (_, trigger) in parked {
            let key = Key::Trigger(trigger);
            if database.is_locked(id, key, Mode::Exclusive) {
                continue;
            }
            if let Some(trigger) = database.newest(id, key).and_then(Row::trigger).filter(waits) {
                let rev = trigger.rev.saturating_add(1);
                let woken = Row::Trigger(Trigger { is_parked: false, rev, ..trigger });
                return database.write(id, key, Some(woken));
            }
        }
        Ok(())
    }

    /// Wakes work that waits although the slot is free.
    pub(super) fn wake_waiting(&self, database: &mut Database) -> Result<Turn> {
        database.lock(self.session, Key::Slot, Mode::Exclusive)?;
        let slot = database.newest(self.session, Key::Slot).and_then(Row::slot);
        if slot.is_some_and(|slot| slot.holder.is_none()) {
            self.wake(database)?;
        }
        Ok(Turn::Done(Answer::Done))
    }
}

fn is_its(live: Live, claim: Claim) -> bool {
    live.owner == Some(claim.owner) && live.fence == claim.fence
}
