//! From SQLite's values to the flat rows of `punctual_core::record`, and parameters the other way.
//!
//! A value of the wrong type never fails a batch: the row is read on with a stand-in, and the first column that was
//! wrong is remembered, so that the row comes out as poison with its identity.

mod write;

use std::cell::{Cell, RefCell};

use punctual_core::check::DefinitionRow;
use punctual_core::record::{
    BadColumn, CalendarRow, CheckInRow, DueRow, ExecutionRow, HistoryRow, JobRow, NodeRow, OwnedRow,
    PauseRow, PayloadRow, SetRow, TriggerRow, WorkRow,
};
use rusqlite::Row;
use rusqlite::types::ValueRef;

pub(crate) use self::write::ToParams;

/// A row that is read column by column, from left to right.
pub(crate) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    at: Cell<usize>,
    bad: RefCell<Option<BadColumn>>,
}

impl<'r, 's> Columns<'r, 's> {
    pub(crate) const fn of(row: &'r Row<'s>) -> Self {
        Self { row, at: Cell::new(0), bad: RefCell::new(None) }
    }

    fn next(&self) -> ValueRef<'r> {
        let at = self.at.get();
        self.at.set(at + 1);
        self.row.get_ref(at).unwrap_or(ValueRef::Null)
    }

    fn wrong<T: Default>(&self, what: &'static str) -> T {
        let at = self.at.get().saturating_sub(1);
        let name = self.row.as_ref().column_name(at).unwrap_or("?");
        self.bad.borrow_mut().get_or_insert_with(|| BadColumn::new("row", format_args!("{name} {what}")));
        T::default()
    }

    fn text_in(&self, value: ValueRef<'r>) -> String {
        match value {
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(_) => self.wrong("is not UTF-8"),
            },
            _ => self.wrong("is not text"),
        }
    }

    fn int_in(&self, value: ValueRef<'r>) -> i64 {
        match value {
            ValueRef::Integer(value) => value,
            _ => self.wrong("is not an integer"),
        }
    }

    fn blob_in(&self, value: ValueRef<'r>) -> Vec<u8> {
        match value {
            ValueRef::Blob(bytes) => bytes.to_vec(),
            _ => self.wrong("is not a blob"),
        }
    }

    fn or_null<T>(&self, read: impl FnOnce(&Self, ValueRef<'r>) -> T) -> Option<T> {
        match self.next() {
            ValueRef::Null => None,
            value => Some(read(self, value)),
        }
    }

    pub(crate) fn int(&self) -> i64 {
        self.int_in(self.next())
    }

    pub(crate) fn text(&self) -> String {
        self.text_in(self.next())
    }

    /// Whether the next column is null.
    fn is_null(&self) -> bool {
        matches!(self.row.get_ref(self.at.get()), Ok(ValueRef::Null) | Err(_))
    }

    fn skip(&self, columns: usize) {
        self.at.set(self.at.get() + columns);
    }

    pub(crate) fn int_or_null(&self) -> Option<i64> {
        self.or_null(Self::int_in)
    }

    pub(crate) fn text_or_null(&self) -> Option<String> {
        self.or_null(Self::text_in)
    }

    /// Text for people, as far as it can be read.
    pub(crate) fn shown(&self) -> String {
        self.shown_or_null().unwrap_or_default()
    }

    pub(crate) fn shown_or_null(&self) -> Option<String> {
        self.or_null(|c, value| match value {
            ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => c.text_in(other),
        })
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        match self.next() {
            ValueRef::Blob(bytes) => bytes.try_into().unwrap_or_else(|_| self.wrong("has not 16 bytes")),
            _ => self.wrong("is not a blob"),
        }
    }

    fn payload(&self) -> PayloadRow {
        PayloadRow {
            codec: self.text_or_null(),
            version: self.int_or_null(),
            data: self.or_null(Self::blob_in),
        }
    }

    /// The row with what was wrong with it, if anything.
    fn done<T>(self, row: T) -> Read<T> {
        Read { row, bad: self.bad.into_inner() }
    }
}

/// A flat row, and the first column that had a wrong type.
pub(crate) struct Read<T> {
    pub(crate) row: T,
    pub(crate) bad: Option<BadColumn>,
}

impl<T> Read<T> {
    /// The record of the row.
    pub(crate) fn decode<R: TryFrom<T, Error: Into<BadColumn>>>(self) -> Result<R, BadColumn> {
        match self.bad {
            Some(bad) => Err(bad),
            None => R::try_from(self.row).map_err(Into::into),
        }
    }
}

/// A flat row that can be read from the columns of a statement.
pub(crate) trait FromColumns: Sized {
    fn read(columns: &Columns<'_, '_>) -> Self;

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Read<Self>> {
        let columns = Columns::of(row);
        let flat = Self::read(&columns);
        Ok(columns.done(flat))
    }
}

impl FromColumns for JobRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self {
            id: c.int(),
            group_name: c.text(),
            name: c.text(),
            kind: c.text(),
            description: c.text_or_null(),
            spec: c.text(),
            payload: c.payload(),
            priority: c.int(),
            durable: c.int(),
            set_name: c.text_or_null(),
            rev: c.int(),
            created_us: c.int(),
            slot_key: None,
            slot_limit: None,
        }
    }
}

impl FromColumns for TriggerRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self {
            id: c.int(),
            group_name: c.text(),
            name: c.text(),
            job_id: c.int(),
            description: c.text_or_null(),
            spec: c.text(),
            payload: c.payload(),
            priority: c.int(),
            state: c.int(),
            next_fire_us: c.int_or_null(),
            wake_us: c.int_or_null(),
            last_us: c.int_or_null(),
            fires: c.int(),
            fire_seq: c.int(),
            generation: c.int(),
            rev: c.int(),
            slice: c.int(),
            error: c.text_or_null(),
            set_name: c.text_or_null(),
            hash: c.int(),
            created_us: c.int(),
            progress: c.text_or_null(),
            calendar: None,
            paused: c.text_or_null(),
        }
    }
}

impl FromColumns for DueRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self { trigger: TriggerRow::read(c), job: JobRow::read(c), calendar: c.text_or_null() }
    }
}

impl FromColumns for ExecutionRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self {
            id: c.id(),
            trigger_id: c.int_or_null(),
            generation: c.int_or_null(),
            trigger_key: c.text_or_null(),
            job_id: c.int_or_null(),
            job_key: c.text_or_null(),
            kind: c.text(),
            scheduled_us: c.int(),
            priority: c.int(),
            state: c.int(),
            owner: c.int_or_null(),
            fence: c.int(),
            attempt: c.int(),
            losses: c.int(),
            wake_us: c.int(),
            slot_key: c.text_or_null(),
            slot_limit: c.int_or_null(),
            spec: c.text_or_null(),
            payload: c.payload(),
            attempts: c.text(),
            cancel: c.text_or_null(),
            error: c.text_or_null(),
            created_us: c.int(),
            catch_up: c.text_or_null(),
        }
    }
}

impl FromColumns for WorkRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        let execution = ExecutionRow::read(c);
        let begin = c.at.get();
        let job = match c.next() {
            ValueRef::Null => {
                c.at.set(begin + JOB_COLUMNS);
                None
            }
            _ => {
                c.at.set(begin);
                Some(JobRow::read(c))
            }
        };
        Self { execution, job, trigger_payload: c.payload() }
    }
}

/// The first wrong column is among the answers of the statement, and not yet in `bad`.
impl FromColumns for DefinitionRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        let mut trigger = TriggerRow::read(c);
        let (kind, rank) = (c.text(), c.int());
        trigger.calendar = c.text_or_null();
        let (has_calendar, group_is_paused) = (c.int() != 0, c.int() != 0);
        let begin = c.at.get();
        let is_missing = c.next() == ValueRef::Null;
        c.at.set(begin);
        let job = (!is_missing).then(|| {
            let job = JobRow::read(c);
            JobRow { slot_key: c.text_or_null(), slot_limit: c.int_or_null(), ..job }
        });
        Self { trigger, kind, rank, slot_key: None, has_calendar, group_is_paused, job, bad: None }
    }
}

/// How many columns a job's row has in a statement.
const JOB_COLUMNS: usize = 14;

/// How many columns a node's row has in a statement.
const NODE_COLUMNS: usize = 15;

/// How many columns a row that a node owns has in a statement.
const OWNED_COLUMNS: usize = 4;

/// A row of what a check-in answers.
pub(crate) enum Told {
    /// The time by SQLite's clock, and the epoch.
    Head(i64, Option<i64>),
    /// Everything else.
    Row(CheckInRow),
}

impl Told {
    pub(crate) fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let c = Columns::of(row);
        if !c.is_null() {
            return Ok(Self::Head(c.int(), c.int_or_null()));
        }
        c.skip(2);
        Ok(Self::Row(check_in_row(c)))
    }
}

fn check_in_row(c: Columns<'_, '_>) -> CheckInRow {
    if !c.is_null() {
        let row = Box::new(NodeRow::read(&c));
        return CheckInRow::Node { row, whole: c.bad.into_inner().is_none() };
    }
    c.skip(NODE_COLUMNS);
    if !c.is_null() {
        return CheckInRow::Owned(OwnedRow::read(&c));
    }
    c.skip(OWNED_COLUMNS);
    CheckInRow::Gone(c.int())
}

impl FromColumns for OwnedRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self { id: c.id(), fence: c.int(), attempt: c.int(), cancel: c.text_or_null() }
    }
}

impl FromColumns for HistoryRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self {
            id: c.id(),
            trigger_id: c.int_or_null(),
            generation: c.int_or_null(),
            trigger_key: c.text_or_null(),
            job_id: c.int_or_null(),
            job_key: c.text_or_null(),
            kind: c.text(),
            scheduled_us: c.int(),
            until_us: c.int_or_null(),
            instants: c.int_or_null(),
            outcome: c.int(),
            reason: c.int_or_null(),
            attempt: c.int(),
            node_id: c.int_or_null(),
            fence: c.int(),
            started_us: c.int_or_null(),
            ended_us: c.int(),
            error: c.text_or_null(),
            output: c.text_or_null(),
            attempts: c.text(),
        }
    }
}

impl FromColumns for NodeRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self {
            id: c.int(),
            name: c.text(),
            host: c.text(),
            pid: c.int(),
            version: c.text(),
            zone_data: c.text(),
            profile: c.text(),
            capacity: c.int(),
            kinds: c.text(),
            state: c.int(),
            standby: c.int(),
            gate: c.int(),
            joined_us: c.int(),
            beat: c.int_or_null(),
            seen_us: c.int_or_null(),
        }
    }
}

impl FromColumns for PauseRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self { group_name: c.text(), document: c.text() }
    }
}

impl FromColumns for CalendarRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self { name: c.text(), document: c.text(), rev: c.int(), updated_us: c.int() }
    }
}

impl FromColumns for SetRow {
    fn read(c: &Columns<'_, '_>) -> Self {
        Self {
            name: c.text(),
            revision: c.int(),
            hash: c.int(),
            written_by: c.text(),
            rev: c.int(),
            written_us: c.int(),
        }
    }
}
