//! From PostgreSQL's values to the flat rows of `punctual_core::record`, and parameters and arrays the other way.
//!
//! A value of the wrong type never fails a batch: the row is read on with a stand-in, and the first column that was
//! wrong is remembered, so that the row comes out as poison with its identity.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use punctual_core::check::DefinitionRow;
use punctual_core::record::{
    BadColumn, CalendarRow, DueRow, ExecutionRow, HistoryRow, JobRow, NodeRow, OwnedRow, PauseRow,
    PayloadRow, SetRow, TriggerRow, WorkRow,
};
use sqlx::postgres::{PgArguments, PgRow, PgValueRef, Postgres};
use sqlx::{Arguments, Column, Decode, Encode, Row, Type, ValueRef};

use crate::error::Failure;

/// A row that is read column by column, from left to right.
pub(crate) struct Columns<'r> {
    row: &'r PgRow,
    at: Cell<usize>,
    bad: RefCell<Option<BadColumn>>,
}

impl<'r> Columns<'r> {
    pub(crate) const fn of(row: &'r PgRow) -> Self {
        Self { row, at: Cell::new(0), bad: RefCell::new(None) }
    }

    /// The value of the next column; `None` if there is no column more, or it is null.
    fn next(&self) -> Option<PgValueRef<'r>> {
        let at = self.at.get();
        self.at.set(at + 1);
        self.row.try_get_raw(at).ok().filter(|value| !value.is_null())
    }

    /// Whether the next column is null.
    pub(crate) fn is_null(&self) -> bool {
        self.row.try_get_raw(self.at.get()).map_or(true, |value| value.is_null())
    }

    /// Leaves columns out.
    pub(crate) fn pass(&self, columns: usize) {
        self.at.set(self.at.get() + columns);
    }

    fn wrong<T: Default>(&self, what: &str) -> T {
        let at = self.at.get().saturating_sub(1);
        let name = self.row.columns().get(at).map_or("?", |column| column.name());
        self.bad.borrow_mut().get_or_insert_with(|| BadColumn::new("row", format_args!("{name} {what}")));
        T::default()
    }

    /// The next column as a value that may be null.
    pub(crate) fn or_null<T: Decode<'r, Postgres> + Default>(&self) -> Option<T> {
        let value = self.next()?;
        Some(T::decode(value).unwrap_or_else(|_| self.wrong("has another type than it should")))
    }

    /// The next column.
    pub(crate) fn get<T: Decode<'r, Postgres> + Default>(&self) -> T {
        self.or_null().unwrap_or_else(|| self.wrong("is null"))
    }

    pub(crate) fn int(&self) -> i64 {
        self.get()
    }

    pub(crate) fn text(&self) -> String {
        self.get()
    }

    pub(crate) fn int_or_null(&self) -> Option<i64> {
        self.or_null()
    }

    pub(crate) fn text_or_null(&self) -> Option<String> {
        self.or_null()
    }

    pub(crate) fn id(&self) -> [u8; 16] {
        self.get()
    }

    fn payload(&self) -> PayloadRow {
        PayloadRow { codec: self.or_null(), version: self.or_null(), data: self.or_null() }
    }

    /// The row with what was wrong with it, if anything.
    pub(crate) fn done<T>(self, row: T) -> Read<T> {
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
    fn read(columns: &Columns<'_>) -> Self;

    fn from_row(row: &PgRow) -> Read<Self> {
        let columns = Columns::of(row);
        let flat = Self::read(&columns);
        columns.done(flat)
    }
}

impl FromColumns for JobRow {
    fn read(c: &Columns<'_>) -> Self {
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
    fn read(c: &Columns<'_>) -> Self {
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
    fn read(c: &Columns<'_>) -> Self {
        Self { trigger: TriggerRow::read(c), job: JobRow::read(c), calendar: c.text_or_null() }
    }
}

/// The first wrong column is among the answers of the statement, and not yet in `bad`.
impl FromColumns for DefinitionRow {
    fn read(c: &Columns<'_>) -> Self {
        let mut trigger = TriggerRow::read(c);
        let (kind, rank) = (c.text(), c.int());
        trigger.calendar = c.text_or_null();
        let (has_calendar, group_is_paused) = (c.get::<bool>(), c.get::<bool>());
        let job = (!c.is_null()).then(|| {
            let job = JobRow::read(c);
            JobRow { slot_key: c.text_or_null(), slot_limit: c.int_or_null(), ..job }
        });
        Self { trigger, kind, rank, slot_key: None, has_calendar, group_is_paused, job, bad: None }
    }
}

impl FromColumns for ExecutionRow {
    fn read(c: &Columns<'_>) -> Self {
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
    fn read(c: &Columns<'_>) -> Self {
        let execution = ExecutionRow::read(c);
        let job = if c.is_null() {
            c.pass(JOB_COLUMNS);
            None
        } else {
            Some(JobRow::read(c))
        };
        Self { execution, job, trigger_payload: c.payload() }
    }
}

/// How many columns a job's row has in a statement.
const JOB_COLUMNS: usize = 14;

impl FromColumns for OwnedRow {
    fn read(c: &Columns<'_>) -> Self {
        Self { id: c.id(), fence: c.int(), attempt: c.int(), cancel: c.text_or_null() }
    }
}

impl FromColumns for HistoryRow {
    fn read(c: &Columns<'_>) -> Self {
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
    fn read(c: &Columns<'_>) -> Self {
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
    fn read(c: &Columns<'_>) -> Self {
        Self { group_name: c.text(), document: c.text() }
    }
}

impl FromColumns for CalendarRow {
    fn read(c: &Columns<'_>) -> Self {
        Self { name: c.text(), document: c.text(), rev: c.int(), updated_us: c.int() }
    }
}

impl FromColumns for SetRow {
    fn read(c: &Columns<'_>) -> Self {
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

/// The parameters of a statement.
#[derive(Default)]
pub(crate) struct Args(PgArguments);

impl Args {
    /// Adds the next parameter.
    pub(crate) fn push<'t, T: Encode<'t, Postgres> + Type<Postgres>>(
        &mut self,
        value: T,
    ) -> Result<(), Failure> {
        self.0.add(value).map_err(|error| Failure::from(sqlx::Error::Encode(error)))
    }

    pub(crate) fn into_inner(self) -> PgArguments {
        self.0
    }
}

/// The parameters of a statement, in order. Fails with the function that it is used in.
macro_rules! params {
    () => { $crate::rows::Args::default() };
    ($($value:expr),+ $(,)?) => {{
        let mut args = $crate::rows::Args::default();
        $(args.push($value)?;)+
        args
    }};
}

pub(crate) use params;

/// A text as PostgreSQL can keep it: U+0000 is the one character that it cannot.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

fn plain_or_null(text: Option<&String>) -> Option<Cow<'_, str>> {
    text.map(|text| plain(text))
}

/// A row as the parameters of the statement that writes it, in the order of its fields.
pub(crate) trait ToParams {
    fn push_to(&self, args: &mut Args) -> Result<(), Failure>;

    fn params(&self) -> Result<Args, Failure> {
        let mut args = Args::default();
        self.push_to(&mut args)?;
        Ok(args)
    }
}

/// Adds the fields of a row, one after the other.
macro_rules! push_each {
    ($args:ident; $($value:expr),+ $(,)?) => {{ $($args.push($value)?;)+ Ok(()) }};
}

impl ToParams for JobRow {
    fn push_to(&self, args: &mut Args) -> Result<(), Failure> {
        let Self { id, group_name, name, kind, description, spec, payload, .. } = self;
        let Self { priority, durable, set_name, rev, created_us, slot_key, slot_limit, .. } = self;
        let PayloadRow { codec, version, data } = payload;
        push_each!(
            args; id, group_name, name, kind, plain_or_null(description.as_ref()), spec, codec, version, data,
            priority, durable, set_name, rev, created_us, slot_key, slot_limit
        )
    }
}

impl ToParams for TriggerRow {
    fn push_to(&self, args: &mut Args) -> Result<(), Failure> {
        let Self { id, group_name, name, job_id, description, spec, payload, priority, state, .. } = self;
        let Self { next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice, .. } = self;
        let Self { error, set_name, hash, created_us, progress, calendar, paused, .. } = self;
        let PayloadRow { codec, version, data } = payload;
        push_each!(
            args; id, group_name, name, job_id, plain_or_null(description.as_ref()), spec, codec, version, data,
            priority, state, next_fire_us, wake_us, last_us, fires, fire_seq, generation, rev, slice,
            plain_or_null(error.as_ref()), set_name, hash, created_us, progress, calendar,
            plain_or_null(paused.as_ref())
        )
    }
}

impl ToParams for NodeRow {
    fn push_to(&self, args: &mut Args) -> Result<(), Failure> {
        let Self { id, name, host, pid, version, zone_data, profile, capacity, kinds, .. } = self;
        let Self { state, standby, gate, joined_us, .. } = self;
        push_each!(
            args; id, plain(name), plain(host), pid, plain(version), plain(zone_data), profile, capacity, kinds,
            state, standby, gate, joined_us
        )
    }
}

/// One column of many rows, as an array.
fn column<'r, R, T>(rows: &'r [R], field: impl FnMut(&'r R) -> T) -> Vec<T> {
    rows.iter().map(field).collect()
}

/// Rows as arrays, one a column, in the order of the fields.
pub(crate) trait ToArrays: Sized {
    fn push_arrays(rows: &[Self], args: &mut Args) -> Result<(), Failure>;
}

impl ToArrays for ExecutionRow {
    fn push_arrays(rows: &[Self], args: &mut Args) -> Result<(), Failure> {
        push_each!(
            args;
            column(rows, |row| row.id.as_slice()),
            column(rows, |row| row.trigger_id),
            column(rows, |row| row.generation),
            column(rows, |row| row.trigger_key.as_deref()),
            column(rows, |row| row.job_id),
            column(rows, |row| row.job_key.as_deref()),
            column(rows, |row| row.kind.as_str()),
            column(rows, |row| row.scheduled_us),
            column(rows, |row| row.priority),
            column(rows, |row| row.state),
            column(rows, |row| row.owner),
            column(rows, |row| row.fence),
            column(rows, |row| row.attempt),
            column(rows, |row| row.losses),
            column(rows, |row| row.wake_us),
            column(rows, |row| row.slot_key.as_deref()),
            column(rows, |row| row.slot_limit),
            column(rows, |row| row.spec.as_deref()),
            column(rows, |row| row.payload.codec.as_deref()),
            column(rows, |row| row.payload.version),
            column(rows, |row| row.payload.data.as_deref()),
            column(rows, |row| row.attempts.as_str()),
            column(rows, |row| plain_or_null(row.cancel.as_ref())),
            column(rows, |row| plain_or_null(row.error.as_ref())),
            column(rows, |row| row.created_us),
            column(rows, |row| row.catch_up.as_deref()),
        )
    }
}

impl ToArrays for HistoryRow {
    fn push_arrays(rows: &[Self], args: &mut Args) -> Result<(), Failure> {
        push_each!(
            args;
            column(rows, |row| row.id.as_slice()),
            column(rows, |row| row.trigger_id),
            column(rows, |row| row.generation),
            column(rows, |row| row.trigger_key.as_deref()),
            column(rows, |row| row.job_id),
            column(rows, |row| row.job_key.as_deref()),
            column(rows, |row| row.kind.as_str()),
            column(rows, |row| row.scheduled_us),
            column(rows, |row| row.until_us),
            column(rows, |row| row.instants),
            column(rows, |row| row.outcome),
            column(rows, |row| row.reason),
            column(rows, |row| row.attempt),
            column(rows, |row| row.node_id),
            column(rows, |row| row.fence),
            column(rows, |row| row.started_us),
            column(rows, |row| row.ended_us),
            column(rows, |row| plain_or_null(row.error.as_ref())),
            column(rows, |row| plain_or_null(row.output.as_ref())),
            column(rows, |row| row.attempts.as_str()),
        )
    }
}
