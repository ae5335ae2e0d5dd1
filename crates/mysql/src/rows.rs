//! From the server's values to the flat rows of `punctual_core::record`, and values the other way.
//!
//! A value of the wrong type never fails a batch: the row is read on with a stand-in, and the first column that was
//! wrong is remembered, so that the row comes out as poison with its identity.

mod write;

use std::cell::{Cell, RefCell};

use diesel::deserialize::{self, FromSqlRow};
use diesel::mysql::{Mysql, MysqlType};
use diesel::row::{Field, Row};
use diesel::sql_types::Untyped;
use punctual_core::check::DefinitionRow;
use punctual_core::record::{
    BadColumn, CalendarRow, CheckInRow, DueRow, ExecutionRow, HistoryRow, JobRow, NodeRow, OwnedRow,
    PauseRow, PayloadRow, SetRow, TriggerRow, WorkRow,
};

pub(crate) use self::write::IntoValues;

/// A value as it came.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    Null,
    Int(i64),
    Bytes(Vec<u8>),
    /// Of a type that no column of this store has.
    Other,
}

/// A row as it came.
#[derive(Debug)]
pub(crate) struct Raw(Vec<Given>);

impl FromSqlRow<Untyped, Mysql> for Raw {
    fn build_from_row<'a>(row: &impl Row<'a, Mysql>) -> deserialize::Result<Self> {
        let given = |at| {
            let Some(field) = row.get(at) else { return Given::Null };
            let Some(value) = field.value() else { return Given::Null };
            let bytes = value.as_bytes();
            match value.value_type() {
                MysqlType::String | MysqlType::Blob => Given::Bytes(bytes.to_vec()),
                // Integers of all widths come as 8 bytes.
                MysqlType::Tiny
                | MysqlType::Short
                | MysqlType::Long
                | MysqlType::LongLong
                | MysqlType::UnsignedTiny
                | MysqlType::UnsignedShort
                | MysqlType::UnsignedLong
                | MysqlType::UnsignedLongLong => {
                    bytes.try_into().map_or(Given::Other, |bytes| Given::Int(i64::from_le_bytes(bytes)))
                }
                _ => Given::Other,
            }
        };
        Ok(Self((0..row.field_count()).map(given).collect()))
    }
}

/// A row that is read column by column, from left to right.
pub(crate) struct Columns {
    row: RefCell<Vec<Given>>,
    at: Cell<usize>,
    bad: RefCell<Option<BadColumn>>,
}

impl Columns {
    pub(crate) fn of(row: Raw) -> Self {
        Self { row: RefCell::new(row.0), at: Cell::new(0), bad: RefCell::new(None) }
    }

    fn next(&self) -> Given {
        let at = self.at.get();
        self.at.set(at + 1);
        self.row.borrow_mut().get_mut(at).map_or(Given::Null, |given| std::mem::replace(given, Given::Null))
    }

    fn is_null(&self) -> bool {
        matches!(self.row.borrow().get(self.at.get()), None | Some(Given::Null))
    }

    fn wrong<T: Default>(&self, what: &'static str) -> T {
        let at = self.at.get();
        self.bad
            .borrow_mut()
            .get_or_insert_with(|| BadColumn::new("row", format_args!("its column {at} {what}")));
        T::default()
    }

    fn or_null<T>(&self, read: impl FnOnce(&Self) -> T) -> Option<T> {
        if self.is_null() {
            self.at.set(self.at.get() + 1);
            return None;
        }
        Some(read(self))
    }

    pub(crate) fn int(&self) -> i64 {
        match self.next() {
            Given::Int(value) => value,
            _ => self.wrong("is not an integer"),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.next() {
            Given::Bytes(bytes) => bytes,
            _ => self.wrong("is not a blob"),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self.next() {
            Given::Bytes(bytes) => String::from_utf8(bytes).unwrap_or_else(|_| self.wrong("is not UTF-8")),
            _ => self.wrong("is not text"),
        }
    }

    /// Leaves columns out.
    pub(crate) fn skip(&self, columns: usize) {
        self.at.set(self.at.get() + columns);
    }

    pub(crate) fn int_or_null(&self) -> Option<i64> {
        self.or_null(Self::int)
    }

    pub(crate) fn text_or_null(&self) -> Option<String> {
        self.or_null(Self::text)
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        self.bytes().try_into().unwrap_or_else(|_| self.wrong("has not 16 bytes"))
    }

    pub(crate) fn id_or_null(&self) -> Option<[u8; 16]> {
        self.or_null(Self::id)
    }

    fn payload(&self) -> PayloadRow {
        PayloadRow {
            codec: self.text_or_null(),
            version: self.int_or_null(),
            data: self.or_null(Self::bytes),
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
    fn read(columns: &Columns) -> Self;

    fn from_row(row: Raw) -> Read<Self> {
        let columns = Columns::of(row);
        let flat = Self::read(&columns);
        columns.done(flat)
    }
}

impl FromColumns for JobRow {
    fn read(c: &Columns) -> Self {
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
    fn read(c: &Columns) -> Self {
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
    fn read(c: &Columns) -> Self {
        Self { trigger: TriggerRow::read(c), job: JobRow::read(c), calendar: c.text_or_null() }
    }
}

/// The first wrong column is among the answers of the statement, and not yet in `bad`.
impl FromColumns for DefinitionRow {
    fn read(c: &Columns) -> Self {
        let mut trigger = TriggerRow::read(c);
        let (kind, rank) = (c.text(), c.int());
        trigger.calendar = c.text_or_null();
        let slot_key = c.text_or_null();
        let (has_calendar, group_is_paused) = (c.int() != 0, c.int() != 0);
        let job = (!c.is_null()).then(|| {
            let job = JobRow::read(c);
            JobRow { slot_key: c.text_or_null(), slot_limit: c.int_or_null(), ..job }
        });
        Self { trigger, kind, rank, slot_key: Some(slot_key), has_calendar, group_is_paused, job, bad: None }
    }
}

impl FromColumns for ExecutionRow {
    fn read(c: &Columns) -> Self {
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
    fn read(c: &Columns) -> Self {
        let execution = ExecutionRow::read(c);
        let job = if c.is_null() {
            c.skip(JOB_COLUMNS);
            None
        } else {
            Some(JobRow::read(c))
        };
        Self { execution, job, trigger_payload: c.payload() }
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
    /// The time of the server, the epoch, and the beat that this session has raised last.
    Head(i64, Option<i64>, i64),
    /// Everything else.
    Row(CheckInRow),
}

impl Told {
    pub(crate) fn from_row(c: Columns) -> Self {
        if !c.is_null() {
            return Self::Head(c.int(), c.int_or_null(), c.int());
        }
        c.skip(3);
        Self::Row(check_in_row(c))
    }
}

fn check_in_row(c: Columns) -> CheckInRow {
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
    fn read(c: &Columns) -> Self {
        Self { id: c.id(), fence: c.int(), attempt: c.int(), cancel: c.text_or_null() }
    }
}

impl FromColumns for HistoryRow {
    fn read(c: &Columns) -> Self {
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
    fn read(c: &Columns) -> Self {
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
    fn read(c: &Columns) -> Self {
        Self { group_name: c.text(), document: c.text() }
    }
}

impl FromColumns for CalendarRow {
    fn read(c: &Columns) -> Self {
        Self { name: c.text(), document: c.text(), rev: c.int(), updated_us: c.int() }
    }
}

impl FromColumns for SetRow {
    fn read(c: &Columns) -> Self {
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
