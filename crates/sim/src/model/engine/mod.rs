//! A small relational engine: committed rows, sessions with write sets, row locks, unique keys and statement snapshots.
//!
//! It knows no dialect. What a dialect reads, locks and waits for, and in which order, is said by the steps, which use
//! these few operations; each of them is what a real engine does at READ COMMITTED.

pub(crate) mod rows;

use std::sync::Arc;

use rows::{Key, Live, Row};

/// Committed rows in the order of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rows(Vec<(Key, Row)>);

impl Rows {
    pub(crate) fn get(&self, key: Key) -> Option<Row> {
        let at = self.0.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.0.get(at).map(|(_, row)| *row)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, Row)> + '_ {
        self.0.iter().copied()
    }

    pub(crate) fn put(&mut self, key: Key, row: Option<Row>) {
        match (self.0.binary_search_by_key(&key, |(key, _)| *key), row) {
            (Ok(at), Some(row)) => {
                if let Some(place) = self.0.get_mut(at) {
                    place.1 = row;
                }
            }
            (Ok(at), None) => drop(self.0.remove(at)),
            (Err(at), Some(row)) => self.0.insert(at, (key, row)),
            (Err(_), None) => {}
        }
    }

    /// The live executions.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u8, Live)> + '_ {
        self.iter().filter_map(|(key, row)| match (key, row) {
            (Key::Live(id), Row::Live(live)) => Some((id, live)),
            _ => None,
        })
    }

    pub(crate) fn history(&self) -> impl Iterator<Item = (u8, rows::History)> + '_ {
        self.iter().filter_map(|(key, row)| match (key, row) {
            (Key::History(id), Row::History(record)) => Some((id, record)),
            _ => None,
        })
    }
}

/// How a row is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mode {
    Shared,
    Exclusive,
}

/// A session that has a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    id: u8,
    writes: Vec<(Key, Option<Row>)>,
    locks: Vec<(Key, Mode)>,
    snapshot: Option<Arc<Rows>>,
}

/// Why an operation did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another session holds a lock; ask again.
    Wait,
    /// A unique key would be breached.
    Breach,
}

pub(crate) type Result<T = ()> = std::result::Result<T, Refusal>;

/// What a commit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
}

/// The database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Database {
    committed: Arc<Rows>,
    sessions: Vec<Session>,
}

impl Database {
    pub(crate) fn of(rows: impl IntoIterator<Item = (Key, Row)>) -> Self {
        let mut committed = Rows::default();
        for (key, row) in rows {
            committed.put(key, Some(row));
        }
        Self { committed: Arc::new(committed), sessions: Vec::new() }
    }

    pub(crate) fn committed(&self) -> &Arc<Rows> {
        &self.committed
    }

    /// Begins a transaction, if the session has none.
    fn session(&mut self, id: u8) -> &mut Session {
        let at = self.sessions.binary_search_by_key(&id, |session| session.id);
        let at = at.unwrap_or_else(|at| {
            let session = Session { id, writes: Vec::new(), locks: Vec::new(), snapshot: None };
            self.sessions.insert(at, session);
            at
        });
        &mut self.sessions[at]
    }

    fn own(&self, id: u8) -> Option<&Session> {
        let at = self.sessions.binary_search_by_key(&id, |session| session.id).ok()?;
        self.sessions.get(at)
    }

    /// Takes the snapshot that the session's statement reads from then on.
    pub(crate) fn snapshot(&mut self, id: u8) {
        let committed = Arc::clone(&self.committed);
        self.session(id).snapshot = Some(committed);
    }

    /// The rows that a read without locks sees: those of the statement's snapshot if it has one, else the committed ones.
    pub(crate) fn seen(&self, id: u8) -> &Rows {
        self.own(id).and_then(|session| session.snapshot.as_deref()).unwrap_or(&self.committed)
    }

    /// The newest version of a row: what the session itself has written, else what is committed.
    pub(crate) fn newest(&self, id: u8, key: Key) -> Option<Row> {
        let written = self.own(id).and_then(|session| session.writes.iter().find(|(of, _)| *of == key));
        written.map_or_else(|| self.committed.get(key), |(_, row)| *row)
    }

    /// The version of a row that a read without locks sees.
    pub(crate) fn read(&self, id: u8, key: Key) -> Option<Row> {
        let written = self.own(id).and_then(|session| session.writes.iter().find(|(of, _)| *of == key));
        written.map_or_else(|| self.seen(id).get(key), |(_, row)| *row)
    }

    /// Whether another session stands in the way of a lock.
    pub(crate) fn is_locked(&self, id: u8, key: Key, mode: Mode) -> bool {
        self.sessions.iter().filter(|session| session.id != id).any(|session| {
            session
                .locks
                .iter()
                .any(|(of, held)| *of == key && (mode == Mode::Exclusive || *held == Mode::Exclusive))
        })
    }

    /// Locks a row until the end of the transaction.
    pub(crate) fn lock(&mut self, id: u8, key: Key, mode: Mode) -> Result {
        if self.is_locked(id, key, mode) {
            return Err(Refusal::Wait);
        }
        let locks = &mut self.session(id).locks;
        match locks.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => {
                if mode == Mode::Exclusive
                    && let Some(place) = locks.get_mut(at)
                {
                    place.1 = mode;
                }
            }
            Err(at) => locks.insert(at, (key, mode)),
        }
        Ok(())
    }

    /// Writes or deletes a row, and locks it for that.
    pub(crate) fn write(&mut self, id: u8, key: Key, row: Option<Row>) -> Result {
        self.lock(id, key, Mode::Exclusive)?;
        let writes = &mut self.session(id).writes;
        match writes.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(at) => {
                if let Some(place) = writes.get_mut(at) {
                    place.1 = row;
                }
            }
            Err(at) => writes.insert(at, (key, row)),
        }
        Ok(())
    }

    /// Inserts a row whose primary key must be new.
    pub(crate) fn insert(&mut self, id: u8, key: Key, row: Row) -> Result {
        self.lock(id, key, Mode::Exclusive)?;
        if self.newest(id, key).is_some() {
            return Err(Refusal::Breach);
        }
        self.write(id, key, Some(row))
    }

    /// Inserts a live row, whose occurrence must be new among live rows, under an id that nobody has used.
    pub(crate) fn insert_live(&mut self, id: u8, live: Live) -> Result<u8> {
        let mut highest = 0;
        let written = self.sessions.iter().flat_map(|session| {
            session.writes.iter().filter_map(move |(key, row)| row.map(|row| (session.id, *key, row)))
        });
        let committed = self.committed.iter().map(|(key, row)| (id, key, row));
        for (by, key, row) in committed.chain(written) {
            match (key, row) {
                (Key::Live(of), Row::Live(other)) => {
                    highest = highest.max(of);
                    let is_deleted = by == id && self.newest(id, key).is_none();
                    if other.of == live.of && !is_deleted {
                        // Another's row that is not committed yet may still vanish.
                        return Err(if by == id { Refusal::Breach } else { Refusal::Wait });
                    }
                }
                (Key::History(of), _) => highest = highest.max(of),
                _ => {}
            }
        }
        let new = highest.saturating_add(1);
        self.insert(id, Key::Live(new), Row::Live(live))?;
        Ok(new)
    }

    /// Commits, and says what changed. A session without a transaction changes nothing.
    pub(crate) fn commit(&mut self, id: u8) -> Vec<Change> {
        let Ok(at) = self.sessions.binary_search_by_key(&id, |session| session.id) else { return Vec::new() };
        let session = self.sessions.remove(at);
        let mut changes = Vec::with_capacity(session.writes.len());
        if !session.writes.is_empty() {
            let committed = Arc::make_mut(&mut self.committed);
            for (key, after) in session.writes {
                changes.push(Change { key, before: committed.get(key), after });
                committed.put(key, after);
            }
        }
        changes
    }

    pub(crate) fn rollback(&mut self, id: u8) {
        self.sessions.retain(|session| session.id != id);
    }
}

#[cfg(test)]
mod tests;
