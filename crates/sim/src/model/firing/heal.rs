//! What becomes of an end: the faults are over, the nodes that are left go on, and everything must come out right.

use super::Firing;
use super::actions::Action;
use super::process::{Lane, Process};
use super::state::State;
use crate::model::alarm::Alarm;
use crate::model::engine::rows::{Key, Row, Standing, TriggerState};
use crate::model::mutant::Mutant;

/// How many rounds of everything there are before what is left counts as stuck.
const ROUNDS: u8 = 40;

/// More than any two steps have.
const MOST_STATEMENTS: u8 = 16;

/// Lets everything go on, and judges what is left.
pub(super) fn judge(model: &Firing, state: &mut State) {
    let mut healed = state.clone();
    healed.heals = true;
    let mut rounds = 0;
    while rounds < ROUNDS && healed.alarms == 0 && !is_quiet(&healed) {
        round(model, &mut healed, rounds.is_multiple_of(2));
        rounds += 1;
    }
    state.alarms |= healed.alarms;
    if healed.alarms == 0 {
        state.alarm_if(!is_quiet(&healed) || !is_accounted(model, &healed), Alarm::G9);
    }
}

/// One round: each process does once whatever it can.
fn round(model: &Firing, state: &mut State, judges: bool) {
    let take = |state: &mut State, action: Action| {
        if let Some(next) = model.after(state, action) {
            *state = next;
        }
    };
    while !state.late.is_empty() {
        take(state, Action::Drop(0));
    }
    for _ in 0..MOST_STATEMENTS {
        take(state, Action::Edit);
        for at in 0..state.processes.len() {
            for lane in Lane::ALL {
                take(state, Action::Go(at, lane));
                if state.processes.get(at).and_then(|process| process.lane(lane)).is_some_and(|f| f.is_over) {
                    take(state, Action::Hear(at, lane));
                }
            }
        }
    }
    // Everybody has had a turn for each statement: who is still there waits for somebody who waits.
    let stuck = state.processes.iter().flat_map(Process::frames).any(|frame| !frame.is_over);
    state.alarm_if(stuck, Alarm::Deadlock);
    if model.manner.is_exclusive && !model.manner.is(Mutant::M32) {
        take(state, Action::Wake);
    }
    for at in 0..state.processes.len() {
        let Some(process) = state.processes.get_mut(at).filter(|process| process.is_alive) else { continue };
        (process.looks, process.checks) = (1, 1);
        let (beats, may_start) = (process.seen.clone(), process.may_start());
        if process.is_idle(Lane::Results) {
            for run in 0..process.running.len() {
                if state.processes.get(at).is_some_and(|process| process.is_idle(Lane::Results)) {
                    take(state, Action::Report(at, run));
                }
            }
        }
        let mut actions = Vec::new();
        let Some(process) = state.processes.get(at).cloned() else { continue };
        if process.is_idle(Lane::Members) {
            let crashed = |id: u8| state.processes.iter().any(|other| !other.is_alive && other.id == id);
            let dead = beats.iter().find(|(node, _)| crashed(*node)).copied();
            if !process.forgotten.is_empty() || !process.gone.is_empty() {
                take(state, Action::Settle(at));
            } else if let Some((node, beat)) = dead.filter(|(node, _)| judges && is_up(state, *node)) {
                state.deaths = 1;
                take(state, Action::Declare(at, node, beat));
            } else {
                take(state, Action::CheckIn(at));
            }
        }
        if may_start {
            model.enabled(state, &mut actions);
            let look =
                |action: &Action| matches!(action, Action::Look(of, _) | Action::LookReady(of) if *of == at);
            if let Some(action) = actions.into_iter().find(look) {
                take(state, action);
            }
        }
    }
}

fn is_up(state: &State, id: u8) -> bool {
    let node = state.database.committed().get(Key::Node(id)).and_then(Row::node);
    node.is_some_and(|node| node.standing == Standing::Up)
}

/// Whether nothing is left to do.
fn is_quiet(state: &State) -> bool {
    let rows = state.database.committed();
    let active = rows
        .iter()
        .any(|(_, row)| row.trigger().is_some_and(|trigger| trigger.state == TriggerState::Active));
    !active && rows.live().next().is_none() && state.late.is_empty() && state.editor.is_none()
}

/// Whether each instant of each trigger has one record, and the slot is free.
fn is_accounted(model: &Firing, state: &State) -> bool {
    let rows = state.database.committed();
    let instants = 1..=model.bounds.work.instants;
    let records = |trigger: u8, instant: u8| {
        let fired = rows
            .history()
            .filter(|(_, record)| (record.of.trigger, record.of.scheduled) == (trigger, instant));
        let skipped = rows.iter().filter(|(key, row)| match (key, row) {
            (Key::Skip(of, _, first), Row::Skip { until }) => {
                *of == trigger && (*first..=*until).contains(&instant)
            }
            _ => false,
        });
        fired.count() + skipped.count()
    };
    let slot = rows.get(Key::Slot).and_then(Row::slot);
    slot.is_some_and(|slot| slot.holder.is_none())
        && (0..model.bounds.triggers)
            .all(|trigger| instants.clone().all(|instant| records(trigger, instant) == 1))
}
