//! Membership, the commands that close gates, and edits of triggers.

use super::{Answer, Dialect, Frame, Manner, Turn, View};
use crate::model::decide;
use crate::model::engine::rows::{Key, Live, Node, Row, Standing, Trigger, TriggerState, WorkState};
use crate::model::engine::{Database, Mode, Result};
use crate::model::mutant::Mutant;

const FIRST: u8 = 1;
const SECOND: u8 = 2;

fn is_up(row: Option<Row>) -> bool {
    row.and_then(Row::node).is_some_and(|node| node.standing == Standing::Up)
}

impl Frame {
    pub(super) fn check_in(&self, database: &mut Database, manner: Manner, node: u8) -> Result<Turn> {
        let (id, key) = (self.session, Key::Beat(node));
        let gone = |database: &Database| Ok(Turn::Done(Answer::CheckedIn(self.view(database, node, false))));
        match self.place {
            0 if manner.is_postgres() => Ok(Turn::At(SECOND)),
            0 if manner.dialect == Dialect::Mysql => {
                // The node's row before its beat, as whoever declares it dead locks them.
                database.lock(id, Key::Node(node), Mode::Shared)?;
                if !is_up(database.newest(id, Key::Node(node))) {
                    return gone(database);
                }
                Ok(Turn::At(SECOND))
            }
            _ => {
                if manner.is_postgres() && database.read(id, key).is_none() {
                    return gone(database);
                }
                database.lock(id, key, Mode::Exclusive)?;
                let Some(beat) = database.newest(id, key).and_then(Row::beat) else { return gone(database) };
                database.write(id, key, Some(Row::Beat(beat.saturating_add(1))))?;
                Ok(Turn::Done(Answer::CheckedIn(self.view(database, node, true))))
            }
        }
    }

    /// What a node needs to know once an interval.
    fn view(&self, database: &Database, node: u8, is_up: bool) -> View {
        let id = self.session;
        let mut view = View { is_up, ..View::default() };
        let mut up = Vec::new();
        let others = database.seen(id).iter().filter_map(|(key, _)| match key {
            Key::Node(other) if other != node => Some(other),
            _ => None,
        });
        // Its own row may be younger than what the statement sees of the others.
        for other in others.chain([node]) {
            if self::is_up(database.read(id, Key::Node(other))) {
                up.push(other);
                let beat = database.read(id, Key::Beat(other)).and_then(Row::beat);
                view.beats.push((other, beat.unwrap_or(0)));
            }
        }
        view.beats.sort_unstable();
        for (exec, live) in database.seen(id).live() {
            match live.owner {
                Some(owner) if owner == node => view.owned.push((exec, live.fence)),
                Some(owner) if !up.contains(&owner) && !view.gone.contains(&owner) => view.gone.push(owner),
                _ => {}
            }
        }
        view
    }

    pub(super) fn take_over(
        &self,
        database: &mut Database,
        manner: Manner,
        dead: u8,
        beat: u8,
    ) -> Result<Turn> {
        let (id, node, key) = (self.session, Key::Node(dead), Key::Beat(dead));
        match self.place {
            0 if manner.is_postgres() => Ok(Turn::At(FIRST)),
            0 | FIRST => {
                // It was dead already, or has left: its rows are orphans either way.
                if manner.is_postgres() && !is_up(database.read(id, node)) {
                    return Ok(Turn::Done(Answer::TakenOver(true)));
                }
                // Waits for a claim of it that is under way.
                database.lock(id, node, Mode::Exclusive)?;
                let is_gone = !is_up(database.newest(id, node));
                Ok(if is_gone { Turn::Done(Answer::TakenOver(true)) } else { Turn::At(SECOND) })
            }
            _ => {
                let stands = |row: Option<Row>| row.and_then(Row::beat).unwrap_or(0) == beat;
                if !manner.is(Mutant::M6) {
                    if manner.is_postgres() && !stands(database.read(id, key)) {
                        return Ok(Turn::Done(Answer::TakenOver(false)));
                    }
                    database.lock(id, key, Mode::Exclusive)?;
                    if !stands(database.newest(id, key)) {
                        return Ok(Turn::Done(Answer::TakenOver(false)));
                    }
                }
                database.write(id, key, None)?;
                if let Some(row) = database.newest(id, node).and_then(Row::node) {
                    let row = Node { standing: Standing::Dead, ..row };
                    database.write(id, node, Some(Row::Node(row)))?;
                }
                Ok(Turn::Done(Answer::TakenOver(true)))
            }
        }
    }

    /// Gives back the rows whose owner is not up, both seen in one statement: only the row itself is read anew after a
    /// wait, not the nodes.
    pub(super) fn sweep(&self, database: &mut Database) -> Result<Turn> {
        if self.place == 0 {
            return Ok(Turn::At(FIRST));
        }
        let id = self.session;
        let is_orphan = |database: &Database, live: Live| {
            live.owner.is_some_and(|owner| !is_up(database.seen(id).get(Key::Node(owner))))
        };
        let rows: Vec<u8> = database
            .seen(id)
            .live()
            .filter(|(_, live)| is_orphan(database, *live))
            .map(|(row, _)| row)
            .collect();
        for row in rows {
            let key = Key::Live(row);
            database.lock(id, key, Mode::Exclusive)?;
            if let Some(live) = database.newest(id, key).and_then(Row::live)
                && is_orphan(database, live)
            {
                let back = Live { state: WorkState::Ready, owner: None, ..live };
                database.write(id, key, Some(Row::Live(back)))?;
            }
        }
        Ok(Turn::Done(Answer::Done))
    }

    pub(super) fn join(
        &self,
        database: &mut Database,
        manner: Manner,
        node: u8,
        process: u8,
    ) -> Result<Turn> {
        let (id, key) = (self.session, Key::Node(node));
        let before = database.newest(id, key).and_then(Row::node);
        if before.is_none() || manner.is(Mutant::M8) {
            let (standing, life) = (Standing::Up, before.map_or(0, |before| before.life.saturating_add(1)));
            let row = Node { standing, standby: false, gate: 0, process, life, orders: 0 };
            database.write(id, key, Some(Row::Node(row)))?;
            database.write(id, Key::Beat(node), Some(Row::Beat(1)))?;
        }
        Ok(Turn::Done(Answer::CheckedIn(self.view(database, node, true))))
    }

    pub(super) fn standby(
        &self,
        database: &mut Database,
        manner: Manner,
        node: u8,
        standby: bool,
    ) -> Result<Turn> {
        let (id, key) = (self.session, Key::Node(node));
        match self.place {
            0 if manner.is_postgres() => Ok(Turn::At(FIRST)),
            _ => {
                database.lock(id, key, Mode::Exclusive)?;
                let row = database.newest(id, key).and_then(Row::node);
                let Some(row) = row.filter(|row| row.standing == Standing::Up) else {
                    return Ok(Turn::Done(Answer::Lost));
                };
                let raised = u8::from(!manner.is(Mutant::M23));
                let (gate, orders) = (row.gate.saturating_add(raised), row.orders.saturating_add(1));
                let row = Node { standby, gate, orders, ..row };
                database.write(id, key, Some(Row::Node(row)))?;
                Ok(Turn::Done(Answer::Done))
            }
        }
    }

    pub(super) fn edit(&self, database: &mut Database, manner: Manner, trigger: u8, rev: u8) -> Result<Turn> {
        let (id, key) = (self.session, Key::Trigger(trigger));
        match self.place {
            0 if manner.is_postgres() => Ok(Turn::At(FIRST)),
            _ => {
                database.lock(id, key, Mode::Exclusive)?;
                let row = database.newest(id, key).and_then(Row::trigger).filter(|row| row.rev == rev);
                let Some(row) = row else { return Ok(Turn::Done(Answer::Lost)) };
                let next = decide::first_after(row.last, manner.instants);
                let raised = u8::from(!manner.is(Mutant::M22));
                let row = Trigger {
                    state: if next.is_some() { TriggerState::Active } else { TriggerState::Complete },
                    next,
                    is_parked: false,
                    generation: row.generation.saturating_add(1),
                    rev: row.rev.saturating_add(raised),
                    edition: row.edition.saturating_add(1),
                    ..row
                };
                database.write(id, key, Some(Row::Trigger(row)))?;
                Ok(Turn::Done(Answer::Done))
            }
        }
    }
}
