//! What can happen: one statement, one answer, one decision of a process, or one fault.

use super::process::{Lane, Phase, Process, Run, Stranger};
use super::state::State;
use super::{Firing, Sight};
use crate::model::alarm::Alarm;
use crate::model::decide::{End, Work};
use crate::model::engine::rows::{Key, Live, Occurrence, Row, Standing, TriggerState, WorkState};
use crate::model::mutant::Mutant;
use crate::model::steps::{Answer, Claim, Dialect, Frame, Step, View, Went};

/// Something that happens; numbers are places in the lists of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A process reads what is due, plans, and sends a claim for a trigger.
    Look(usize, u8),
    /// The same for ready rows.
    LookReady(usize),
    /// A process sends what a claimed execution needs next: its beginning, or its end.
    Report(usize, usize),
    CheckIn(usize),
    /// A process sends that a node is dead, as it saw its beat stand still.
    Declare(usize, u8, u8),
    /// A process goes on with what its last check-in has shown.
    Settle(usize),
    /// The database executes the next statement of a step, or its commit.
    Go(usize, Lane),
    /// The answer of a step arrives.
    Hear(usize, Lane),
    /// The connection of a step breaks.
    Cut(usize, Lane),
    /// The client of a step gives up, and the server does not notice.
    GiveUp(usize, Lane),
    /// A step goes on whose client is gone.
    Late(usize),
    /// The server notices that the client is gone.
    Drop(usize),
    Crash(usize),
    /// Somebody sends an edit of the first trigger.
    SendEdit,
    /// Somebody sends a node in or out of standby.
    SendStandby(bool),
    /// The next statement of such a command, or its answer.
    Edit,
    /// Somebody looks for work that waits beside a free slot.
    Wake,
}

impl Firing {
    /// All that may happen; of the statements, some may find that they wait.
    pub(crate) fn enabled(&self, state: &State, actions: &mut Vec<Action>) {
        let alive = state.processes.iter().filter(|process| process.is_alive).count();
        for (at, process) in state.processes.iter().enumerate().filter(|(_, process)| process.is_alive) {
            for lane in Lane::ALL {
                let Some(frame) = process.lane(lane) else { continue };
                actions.push(if frame.is_over { Action::Hear(at, lane) } else { Action::Go(at, lane) });
                if state.faults > 0 {
                    actions.push(Action::Cut(at, lane));
                    if frame.may_outlive_client(self.manner) {
                        actions.push(Action::GiveUp(at, lane));
                    }
                }
            }
            self.own_decisions(state, at, process, actions);
            if state.faults > 0 && alive > 1 {
                actions.push(Action::Crash(at));
            }
        }
        for at in 0..state.late.len() {
            actions.extend([Action::Late(at), Action::Drop(at)]);
        }
        if state.editor.is_some() {
            actions.push(Action::Edit);
        } else {
            if state.edits > 0 {
                actions.push(Action::SendEdit);
            }
            if state.standbys > 0 {
                actions.push(Action::SendStandby(state.standbys.is_multiple_of(2)));
            }
        }
    }

    fn own_decisions(&self, state: &State, at: usize, process: &Process, actions: &mut Vec<Action>) {
        let rows = state.database.committed();
        if process.is_idle(Lane::Work)
            && process.looks > 0
            && process.may_start()
            && process.running.len() < 2
        {
            let is_ready = |live: &Live| live.state == WorkState::Ready && !live.is_parked;
            if rows.live().any(|(_, live)| is_ready(&live)) {
                actions.push(Action::LookReady(at));
            }
            for (key, row) in rows.iter() {
                if let (Key::Trigger(id), Row::Trigger(trigger)) = (key, row)
                    && trigger.state == TriggerState::Active
                    && !trigger.is_parked
                {
                    actions.push(Action::Look(at, id));
                }
            }
        }
        if process.is_idle(Lane::Results) {
            actions.extend((0..process.running.len()).map(|run| Action::Report(at, run)));
        }
        if !process.is_idle(Lane::Members) {
            return;
        }
        // In the order of the loop: rows of its own, then whom it suspects, then whom it knows to be gone.
        if !process.forgotten.is_empty() {
            actions.push(Action::Settle(at));
            return;
        }
        if process.checks > 0 {
            actions.push(Action::CheckIn(at));
        }
        if !process.gone.is_empty() {
            actions.push(Action::Settle(at));
        }
        if state.deaths > 0 && process.beat > 0 && (at > 0 || state.heals) {
            for (other, beat) in &process.seen {
                actions.push(Action::Declare(at, *other, *beat));
            }
        }
    }

    /// The state after an action; `None` if it cannot happen now.
    pub(crate) fn after(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Look(at, trigger) => self.look(&mut state, at, trigger)?,
            Action::LookReady(at) => self.look_ready(&mut state, at)?,
            Action::Report(at, run) => self.report(&mut state, at, run)?,
            Action::CheckIn(at) => {
                let process = state.processes.get_mut(at)?;
                process.checks = process.checks.saturating_sub(1);
                let node = process.id;
                self.send(&mut state, at, Lane::Members, Step::CheckIn { node })?;
            }
            Action::Declare(at, dead, beat) => self.declare(&mut state, at, dead, beat)?,
            Action::Settle(at) => self.settle(&mut state, at)?,
            Action::Go(at, lane) => {
                let mut frame = state.processes.get_mut(at)?.place_mut(lane).take()?;
                self.advance(&mut state, &mut frame)?;
                *state.processes.get_mut(at)?.place_mut(lane) = Some(frame);
            }
            Action::Hear(at, lane) => {
                let frame = state.processes.get_mut(at)?.place_mut(lane).take()?;
                self.hear(&mut state, at, frame)?;
            }
            Action::Cut(at, lane) => {
                state.faults = state.faults.checked_sub(1)?;
                let frame = state.processes.get_mut(at)?.place_mut(lane).take()?;
                let seen = if frame.is_over { Sight::CommittedUnknown } else { Sight::NotCommittedUnknown };
                self.sights.saw(seen);
                state.database.rollback(frame.session);
                self.failed(&mut state, at, &frame)?;
            }
            Action::GiveUp(at, lane) => {
                state.faults = state.faults.checked_sub(1)?;
                let frame = state.processes.get_mut(at)?.place_mut(lane).take()?;
                self.failed(&mut state, at, &frame)?;
                state.late.push(frame);
            }
            Action::Late(at) => {
                let mut frame = (at < state.late.len()).then(|| state.late.remove(at))?;
                self.advance(&mut state, &mut frame)?;
                self.sights.saw(Sight::LateStatement);
                if !frame.is_over {
                    state.late.insert(at, frame);
                }
            }
            Action::Drop(at) => {
                let frame = (at < state.late.len()).then(|| state.late.remove(at))?;
                state.database.rollback(frame.session);
            }
            Action::Crash(at) => self.crash(&mut state, at)?,
            Action::SendEdit => {
                state.edits = state.edits.checked_sub(1)?;
                let trigger = state.database.committed().get(Key::Trigger(0)).and_then(Row::trigger)?;
                let step = Step::Edit { trigger: 0, rev: trigger.rev };
                state.editor = Some(Frame::new(state.free_session(), u8::MAX, step));
            }
            Action::SendStandby(on) => {
                state.standbys = state.standbys.checked_sub(1)?;
                let step = Step::Standby { node: 0, on };
                state.editor = Some(Frame::new(state.free_session(), u8::MAX, step));
            }
            Action::Edit => {
                let mut frame = state.editor.take()?;
                self.advance(&mut state, &mut frame)?;
                if !frame.is_over {
                    state.editor = Some(frame);
                } else if frame.answer == Some(Answer::Done) {
                    self.sights.saw(Sight::Edited);
                }
            }
            Action::Wake => {
                let mut frame = Frame::new(state.free_session(), u8::MAX, Step::WakeWaiting);
                while !frame.is_over {
                    self.advance(&mut state, &mut frame)?;
                }
            }
        }
        Some(state)
    }

    /// Lets a step go on; `None` if it waits.
    fn advance(&self, state: &mut State, frame: &mut Frame) -> Option<()> {
        let before = std::sync::Arc::clone(state.database.committed());
        match frame.advance(&mut state.database, self.manner) {
            Went::Waits => {
                self.sights.saw(Sight::Waited);
                None
            }
            Went::On { changes, breach } => {
                self.witness(state, frame, &before, &changes, breach);
                Some(())
            }
        }
    }

    fn send(&self, state: &mut State, at: usize, lane: Lane, step: Step) -> Option<()> {
        let session = state.free_session();
        let number = u8::try_from(at).unwrap_or(u8::MAX);
        let place = state.processes.get_mut(at)?.place_mut(lane);
        *place = Some(Frame::new(session, number, step));
        Some(())
    }

    /// The node's gate with what the witness compares: its life and the commands to it.
    fn gate(state: &State, id: u8) -> (u8, u8, u8) {
        let row = state.database.committed().get(Key::Node(id)).and_then(Row::node);
        row.map_or((0, 0, 0), |row| (row.gate, row.life, row.orders))
    }

    fn look(&self, state: &mut State, at: usize, id: u8) -> Option<()> {
        let process = state.processes.get_mut(at)?;
        (process.looks, process.begun) = (process.looks.checked_sub(1)?, process.begun + 1);
        let node = process.id;
        let row = state.database.committed().get(Key::Trigger(id)).and_then(Row::trigger)?;
        let (gate, life, orders) = Self::gate(state, node);
        let plan = self.bounds.work.plan(id, row, orders);
        self.send(state, at, Lane::Work, Step::Claim { node, gate, life, plan })
    }

    fn look_ready(&self, state: &mut State, at: usize) -> Option<()> {
        let process = state.processes.get_mut(at)?;
        (process.looks, process.begun) = (process.looks.checked_sub(1)?, process.begun + 1);
        let node = process.id;
        let (gate, life, orders) = Self::gate(state, node);
        self.send(state, at, Lane::Work, Step::ClaimReady { node, gate, life, orders })
    }

    fn report(&self, state: &mut State, at: usize, run: usize) -> Option<()> {
        let process = state.processes.get_mut(at)?;
        let run = process.running.get_mut(run)?;
        let Run { claim, attempt, losses, phase } = *run;
        let row = claimed_row(claim.fence, attempt, losses);
        let end = match phase {
            Phase::Marking => return self.send(state, at, Lane::Results, Step::Begin(claim)),
            Phase::Refused => None,
            Phase::Stopped => Some(End::HandedBack),
            Phase::Body | Phase::Ended if self.bounds.first_fails && attempt == 1 => Some(End::Failed),
            Phase::Body | Phase::Ended => Some(End::Succeeded),
        };
        if phase == Phase::Body {
            run.phase = Phase::Ended;
        }
        let work = self.bounds.work;
        let then = end.map_or_else(|| work.hand_back(claim, row), |end| work.finish(claim, row, end));
        let writes = self.bounds.writes && end == Some(End::Succeeded);
        self.send(state, at, Lane::Results, Step::Settle { claim, then, writes })
    }

    /// Declares a node dead. That it may be done says that the lease from that beat is over.
    fn declare(&self, state: &mut State, at: usize, dead: u8, beat: u8) -> Option<()> {
        state.deaths = state.deaths.checked_sub(1)?;
        let spec = self.bounds.work.spec();
        for process in state.processes.iter_mut().filter(|process| process.id == dead) {
            process.over = process.over.max(beat);
            if !process.may_start() && spec.stops_on_lease_loss() {
                process.stop(|_| true);
            }
        }
        self.send(state, at, Lane::Members, Step::TakeOver { dead, beat })
    }

    /// Goes on with rows of its own that it does not run, then with those of nodes that are gone.
    fn settle(&self, state: &mut State, at: usize) -> Option<()> {
        let rows = std::sync::Arc::clone(state.database.committed());
        let process = state.processes.get_mut(at)?;
        let work = self.bounds.work;
        if let Some((exec, fence)) = process.forgotten.pop() {
            let claim = Claim { exec, owner: process.id, fence };
            let row = rows.get(Key::Live(exec)).and_then(Row::live);
            let Some(row) = row.filter(|row| row.fence == fence) else { return Some(()) };
            let then = work.hand_back(claim, row);
            return self.send(state, at, Lane::Members, Step::Settle { claim, then, writes: false });
        }
        let owner = *process.gone.first()?;
        let node = |id: u8| rows.get(Key::Node(id)).and_then(Row::node);
        let is_up = node(owner).is_some_and(|node| node.standing == Standing::Up);
        let by_name = self.manner.is(Mutant::M7);
        let named = |id: u8| node(id).map(|node| node.process);
        let is_its = |id: u8| id == owner || (by_name && named(id) == named(owner));
        let orphan = rows.live().filter(|_| !is_up).find_map(|(exec, live)| {
            live.owner.filter(|owner| is_its(*owner)).map(|owner| (exec, live, owner))
        });
        let Some((exec, live, owner)) = orphan else {
            process.gone.remove(0);
            return Some(());
        };
        if self.manner.is(Mutant::M20) && self.manner.dialect == Dialect::Postgres {
            process.gone.remove(0);
            return self.send(state, at, Lane::Members, Step::Sweep);
        }
        let claim = Claim { exec, owner, fence: live.fence };
        let then = work.recover(exec, live, owner);
        self.send(state, at, Lane::Members, Step::Settle { claim, then, writes: false })
    }

    fn crash(&self, state: &mut State, at: usize) -> Option<()> {
        state.faults = state.faults.checked_sub(1)?;
        self.sights.saw(Sight::Crash);
        let process = state.processes.get_mut(at)?;
        let dead = Process { is_alive: false, ..Process::new(process.id, Vec::new(), 0, 0) };
        let crashed = std::mem::replace(process, dead);
        for frame in crashed.lanes.into_iter().flatten() {
            if frame.may_outlive_client(self.manner) {
                state.late.push(frame);
            } else {
                state.database.rollback(frame.session);
            }
        }
        Some(())
    }

    /// A process hears that a step has failed, and not how far it had come.
    fn failed(&self, state: &mut State, at: usize, frame: &Frame) -> Option<()> {
        let process = state.processes.get_mut(at)?;
        match frame.step {
            Step::Claim { .. } | Step::ClaimReady { .. } => process.answered = process.begun,
            Step::Begin(claim) => {
                for run in process.running.iter_mut().filter(|run| run.claim == claim) {
                    run.phase = Phase::Refused;
                }
            }
            _ => {}
        }
        Some(())
    }

    fn hear(&self, state: &mut State, at: usize, frame: Frame) -> Option<()> {
        let work = self.bounds.work;
        let answer = frame.answer?;
        let process = state.processes.get_mut(at)?;
        let before = process.bodies();
        match (frame.step, answer) {
            (Step::Claim { node, .. } | Step::ClaimReady { node, .. }, answer) => {
                process.answered = process.begun;
                match answer {
                    Answer::Fired { exec, fence, attempt, losses } => {
                        let claim = Claim { exec, owner: node, fence };
                        self.start(process, Run { claim, attempt, losses, phase: Phase::Body });
                        self.sights.saw(Sight::Fired);
                    }
                    Answer::Lost => self.sights.saw(Sight::LostRace),
                    Answer::Closed => self.sights.saw(Sight::GateClosed),
                    Answer::Busy => self.sights.saw(Sight::Busy),
                    _ => {}
                }
            }
            (Step::Begin(claim), answer) => {
                let may_start = process.may_start() && process.id == claim.owner;
                if answer == Answer::Done {
                    for run in process.running.iter_mut().filter(|run| run.claim == claim) {
                        run.phase = if may_start { Phase::Body } else { Phase::Refused };
                    }
                } else {
                    process.running.retain(|run| run.claim != claim);
                }
            }
            (Step::Settle { claim, .. }, answer) => {
                match answer {
                    Answer::Fenced => self.sights.saw(Sight::Fenced),
                    Answer::AlreadyDone => self.sights.saw(Sight::AlreadyDone),
                    _ => {}
                }
                // A row of somebody else, or one that was handed back, is none of the running ones.
                process.running.retain(|run| run.claim != claim);
            }
            (Step::CheckIn { .. }, Answer::CheckedIn(view)) => self.checked_in(state, at, view)?,
            (Step::Join { .. }, Answer::CheckedIn(view)) => {
                self.sights.saw(Sight::Rejoined);
                Self::take_in(process, &view);
            }
            (Step::TakeOver { dead, .. }, Answer::TakenOver(is_dead)) => {
                if !is_dead {
                    self.sights.saw(Sight::Spoke);
                } else if !process.gone.contains(&dead) {
                    process.gone.push(dead);
                }
            }
            _ => {}
        }
        let bodies = state.processes.get(at)?.bodies();
        for claim in bodies.into_iter().filter(|claim| work.at_most_once && !before.contains(claim)) {
            state.has_begun(claim.exec);
        }
        self.look_at_bodies(state, work);
        Some(())
    }

    /// Enters a claimed execution among the running ones.
    fn start(&self, process: &mut Process, run: Run) {
        let is_its_own = process.id == run.claim.owner || self.manner.is(Mutant::M31);
        let marks = self.bounds.work.at_most_once && !self.manner.is(Mutant::M19);
        let phase = match (process.may_start() && is_its_own, marks) {
            (false, _) => Phase::Refused,
            (true, true) => Phase::Marking,
            (true, false) => Phase::Body,
        };
        process.running.retain(|other| other.claim.exec != run.claim.exec);
        process.running.push(Run { phase, ..run });
        process.running.sort_by_key(|run| run.claim);
    }

    fn take_in(process: &mut Process, view: &View) {
        let id = process.id;
        process.beat = view.beats.iter().find(|(node, _)| *node == id).map_or(0, |(_, beat)| *beat);
        process.seen = view.beats.iter().copied().filter(|(node, _)| *node != id).collect();
    }

    fn checked_in(&self, state: &mut State, at: usize, view: View) -> Option<()> {
        let next_node = state.next_node;
        let process = state.processes.get_mut(at)?;
        if !view.is_up {
            // Declared dead: what it ran belongs to others, and it goes on as a new node.
            let old = process.id;
            process.stop(|run| run.claim.owner == old);
            if !self.manner.is(Mutant::M8) {
                process.id = next_node;
                state.next_node += 1;
            }
            (process.beat, process.over) = (0, 0);
            process.strangers.clear();
            process.seen.clear();
            process.gone.clear();
            let step = Step::Join { node: process.id, process: u8::try_from(at).unwrap_or(u8::MAX) };
            return self.send(state, at, Lane::Members, step);
        }
        Self::take_in(process, &view);
        let mut strangers = Vec::new();
        for (exec, fence) in view.owned {
            if process.runs(exec) && !self.manner.is(Mutant::M17) {
                continue;
            }
            let known = process.strangers.iter().find(|known| (known.exec, known.fence) == (exec, fence));
            match known {
                Some(known) if process.answered >= known.begun => process.forgotten.push((exec, fence)),
                Some(known) => strangers.push(*known),
                // Whichever claim made this row had begun before the answer that shows it arrived.
                None => strangers.push(Stranger { exec, fence, begun: process.begun }),
            }
        }
        process.strangers = strangers;
        if self.manner.is(Mutant::M16) {
            process.strangers.clear();
            process.forgotten.clear();
        }
        if !self.manner.is(Mutant::M5) {
            for owner in view.gone {
                if !process.gone.contains(&owner) {
                    process.gone.push(owner);
                }
            }
        }
        Some(())
    }

    /// Looks for bodies that overlap, and counts beginnings.
    fn look_at_bodies(&self, state: &mut State, work: Work) {
        let rows = state.database.committed();
        let is_up = |id: u8| {
            rows.get(Key::Node(id)).and_then(Row::node).is_some_and(|node| node.standing == Standing::Up)
        };
        let bodies: Vec<Claim> =
            state.processes.iter().filter(|process| process.is_alive).flat_map(Process::bodies).collect();
        let overlap = bodies.iter().enumerate().any(|(at, one)| {
            bodies.iter().skip(at + 1).any(|other| {
                let both_up = is_up(one.owner) && is_up(other.owner);
                work.is_exclusive || (one.exec == other.exec && both_up)
            })
        });
        state.alarm_if(overlap, Alarm::G3b);
    }
}

/// A row as the process that claimed it knows it; which instant it is of does not matter to its end.
fn claimed_row(fence: u8, attempt: u8, losses: u8) -> Live {
    let of = Occurrence { trigger: 0, generation: 1, scheduled: 1 };
    Live { of, state: WorkState::Claimed, owner: None, fence, attempt, losses, is_parked: false }
}
