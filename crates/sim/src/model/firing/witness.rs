//! What a commit has changed, judged from outside: by the rows before and after it, and what its step was sent for.

use super::state::State;
use super::{Firing, Sight};
use crate::model::alarm::Alarm;
use crate::model::engine::rows::{Key, Live, Outcome, Row, Standing};
use crate::model::engine::{Change, Rows};
use crate::model::steps::{Claim, Frame, Step};

impl Firing {
    pub(super) fn witness(
        &self,
        state: &mut State,
        frame: &Frame,
        before: &Rows,
        changes: &[Change],
        breach: bool,
    ) {
        if breach {
            // The unique keys are the last resort: that one of them was needed is a violation.
            let ended = matches!(frame.step, Step::Settle { .. });
            state.alarm(if ended { Alarm::G7 } else { Alarm::G1 });
        }
        for change in changes {
            match (change.key, change.before, change.after) {
                (Key::Live(exec), was, is) => {
                    let (was, is) = (was.and_then(Row::live), is.and_then(Row::live));
                    self.live_row(state, frame, before, exec, (was, is));
                }
                (Key::Skip(trigger, generation, first), None, Some(_)) => {
                    let fired = before.live().map(|(_, live)| live.of);
                    let fired = fired.chain(before.history().map(|(_, record)| record.of));
                    let is_twice = fired
                        .into_iter()
                        .any(|of| (of.trigger, of.generation, of.scheduled) == (trigger, generation, first));
                    state.alarm_if(is_twice, Alarm::G1);
                }
                (Key::Node(id), Some(Row::Node(was)), Some(Row::Node(is)))
                    if was.standing == Standing::Up && is.standing == Standing::Dead =>
                {
                    let beat = before.get(Key::Beat(id)).and_then(Row::beat);
                    let seen = if let Step::TakeOver { beat, .. } = frame.step { Some(beat) } else { None };
                    state.alarm_if(beat != seen, Alarm::G2);
                    if state.processes.iter().any(|process| process.is_alive && process.id == id) {
                        self.sights.saw(Sight::FalseDeath);
                    }
                }
                _ => {}
            }
        }
        self.exclusive_rows(state);
        self.effects(state);
    }

    fn live_row(
        &self,
        state: &mut State,
        frame: &Frame,
        before: &Rows,
        exec: u8,
        (was, is): (Option<Live>, Option<Live>),
    ) {
        let is_up = |id: u8| {
            before.get(Key::Node(id)).and_then(Row::node).is_some_and(|node| node.standing == Standing::Up)
        };
        let of_process = |id: u8| before.get(Key::Node(id)).and_then(Row::node).map(|node| node.process);
        let (owner_was, owner_is) = (was.and_then(|live| live.owner), is.and_then(|live| live.owner));
        if let Some(live) = is.filter(|_| was.is_none()) {
            let ended = before.history().any(|(_, record)| record.of == live.of);
            let skipped = before.iter().any(|(key, row)| match (key, row) {
                (Key::Skip(trigger, generation, first), Row::Skip { until }) => {
                    (trigger, generation) == (live.of.trigger, live.of.generation)
                        && (first..=until).contains(&live.of.scheduled)
                }
                _ => false,
            });
            let other = before.live().any(|(_, other)| other.of == live.of);
            state.alarm_if(ended || skipped || other, Alarm::G1);
        }
        // A new owner.
        if let (Some(owner), Some(live)) = (owner_is, is)
            && owner_was != owner_is
        {
            state.alarm_if(owner_was.is_some(), Alarm::G2);
            let same_key = |other: u8| other == exec || self.bounds.work.is_exclusive;
            let of_live = before.live().filter(|(id, _)| same_key(*id)).map(|(_, live)| live.fence);
            // What a recovery records was no owner's.
            let records = before.history().filter(|(_, record)| record.outcome != Outcome::Lost);
            let of_ended = records.filter(|(id, _)| same_key(*id)).map(|(_, record)| record.fence);
            let highest = of_live.chain(of_ended).max().unwrap_or(0);
            state.alarm_if(live.fence <= highest, Alarm::G2);
            self.claimed(state, frame, before, owner);
        }
        // An owner less.
        if let Some(owner) = owner_was.filter(|_| owner_was != owner_is) {
            let process = state.processes.get(usize::from(frame.process)).map(|_| frame.process);
            let itself = process.is_some() && of_process(owner) == process;
            state.alarm_if(!itself && is_up(owner), Alarm::G2);
            if !itself {
                self.sights.saw(Sight::Recovered);
            }
        }
        if let Step::Settle { claim, .. } = frame.step {
            let its = was.is_some_and(|live| {
                Claim { exec, owner: live.owner.unwrap_or(u8::MAX), fence: live.fence } == claim
            });
            // Whom it wakes, it does not own.
            state.alarm_if(claim.exec == exec && !its, Alarm::G4);
            let handed_back =
                is.is_some() && owner_is.is_none() && of_process(claim.owner) == Some(frame.process);
            if handed_back && claim.exec == exec {
                self.sights.saw(Sight::HandedBack);
            }
        }
    }

    /// A claim was committed: by a node that was up and under no command that the plan had not seen, and under the
    /// definition that it was planned for.
    fn claimed(&self, state: &mut State, frame: &Frame, before: &Rows, owner: u8) {
        let (life, orders) = match frame.step {
            Step::Claim { life, plan, .. } => {
                let row = before.get(Key::Trigger(plan.trigger)).and_then(Row::trigger);
                state.alarm_if(row.map(|row| row.edition) != Some(plan.edition), Alarm::G12);
                (life, plan.orders)
            }
            Step::ClaimReady { life, orders, .. } => (life, orders),
            _ => return,
        };
        let Some(node) = before.get(Key::Node(owner)).and_then(Row::node) else {
            state.alarm(Alarm::G2);
            return;
        };
        state.alarm_if(
            node.standing != Standing::Up && !self.manner.is(crate::model::mutant::Mutant::M5),
            Alarm::G2,
        );
        state.alarm_if(node.life != life, Alarm::G2);
        state.alarm_if(node.orders != orders || node.standby, Alarm::G12);
    }

    fn exclusive_rows(&self, state: &mut State) {
        let owned = state.database.committed().live().filter(|(_, live)| live.owner.is_some()).count();
        state.alarm_if(self.bounds.work.is_exclusive && owned > 1, Alarm::G3a);
    }

    fn effects(&self, state: &mut State) {
        if !self.bounds.writes {
            return;
        }
        let rows = state.database.committed();
        let broken = rows.iter().any(|(key, _)| match key {
            Key::Effect(exec, number) => {
                let record = rows.get(Key::History(exec)).and_then(Row::history);
                number > 0 || record.is_none_or(|record| record.outcome != Outcome::Succeeded)
            }
            Key::History(exec) => {
                let record = rows.get(key).and_then(Row::history);
                record.is_some_and(|record| record.outcome == Outcome::Succeeded)
                    && rows.get(Key::Effect(exec, 0)).is_none()
            }
            _ => false,
        });
        state.alarm_if(broken, Alarm::G8);
    }
}
