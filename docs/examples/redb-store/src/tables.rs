//! The tables: what is kept under which key.
//!
//! redb compares text byte for byte and tuples part by part, so an index is a table whose key begins with what is
//! looked for and ends with the id. A negative part makes "high first" of "low first".

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition, Value, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use punctual_core::Error;
use punctual_core::record::{ExecutionRow, NodeRow, TriggerRow};

use crate::trouble::Tried;

/// A row as a JSON document.
pub(crate) type Json = &'static [u8];
/// Group and name.
pub(crate) type Key = (&'static str, &'static str);
/// Kind, wake, negative rank, id.
pub(crate) type Due = (&'static str, i64, i64, i64);
/// Kind, negative priority, wake, id.
pub(crate) type Ready = (&'static str, i64, i64, u128);

macro_rules! tables {
    ($($(#[$doc:meta])+ $table:ident: $key:ty => $value:ty;)+) => {
        /// All tables in a write transaction.
        pub(crate) struct Tables<'t> {
            $($(#[$doc])+ pub(crate) $table: Table<'t, $key, $value>,)+
        }

        impl<'t> Tables<'t> {
            pub(crate) fn open(transaction: &'t WriteTransaction) -> Tried<Self> {
                Ok(Self { $($table: transaction.open_table(TableDefinition::new(stringify!($table)))?,)+ })
            }
        }

        /// All tables in a read transaction.
        #[expect(dead_code, reason = "listings look into some of them only")]
        pub(crate) struct Snapshot {
            $($(#[$doc])+ pub(crate) $table: ReadOnlyTable<$key, $value>,)+
        }

        impl Snapshot {
            pub(crate) fn open(transaction: &ReadTransaction) -> Tried<Self> {
                Ok(Self { $($table: transaction.open_table(TableDefinition::new(stringify!($table)))?,)+ })
            }
        }
    };
}

tables! {
    /// `layout`, `epoch`, `slot_floor`.
    meta: &'static str => i64;
    /// [`KeptNode`] by id, the beat included.
    node: i64 => Json;
    /// `SetRow` by name.
    set: &'static str => Json;
    /// `CalendarRow` by name.
    calendar: &'static str => Json;

    /// `PauseRow` by group.
    pause: &'static str => Json;

    /// `JobRow` by id.
    job: i64 => Json;
    /// The id of a job's key.
    job_key: Key => i64;

    /// [`KeptTrigger`] by id.
    trigger: i64 => Json;
    /// The id of a trigger's key.
    trigger_key: Key => i64;
    /// Triggers of a job.
    job_trigger: (i64, i64) => ();
    /// Triggers that name a calendar.
    calendar_trigger: (&'static str, i64) => ();
    /// Active triggers, in the order in which they are read; the value is the slice.
    due: Due => i64;
    /// Parked triggers: slot key, next instant, negative rank, id.
    parked_trigger: Due => ();
    /// Completed triggers of no set by the time of their completion.
    completed: (i64, i64) => ();
    /// The last instant of a deleted trigger's key, and when it was deleted.
    mark: Key => (i64, i64);

    /// [`KeptExecution`] by id: live rows only.
    execution: u128 => Json;
    /// Ready rows, in the order in which they are claimed.
    ready: Ready => ();
    /// Parked rows: slot key, negative priority, when they were due, id.
    parked_row: Ready => ();
    /// Owned rows by owner.
    owned: (i64, u128) => ();
    /// Live rows of a job.
    job_execution: (i64, u128) => ();
    /// Trigger, generation, instant of live rows: each only once.
    live_instant: (i64, i64, i64) => u128;

    /// Key and number of a slot: who holds it, and the last fence that was drawn from it.
    slot: (&'static str, u32) => (Option<u128>, i64);
    /// The highest fence that came with a lock's name.
    lock_guard: &'static str => i64;

    /// `HistoryRow` by id.
    history: u128 => Json;
    /// The history by the time of its end.
    history_end: (i64, u128) => ();
    /// Trigger, generation, instant of ended rows: each only once.
    past_instant: (i64, i64, i64) => u128;

    /// Owner, fence and end of a user's lock.
    lock: &'static str => (i64, i64, i64);
}

/// A stored trigger with what its places in the indexes are made of, so that they can be found again when its job has
/// changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptTrigger {
    pub(crate) row: TriggerRow,
    /// The job's.
    pub(crate) kind: String,
    /// The sum of both priorities.
    pub(crate) rank: i64,
    /// The slot key of the job.
    pub(crate) slot_key: Option<String>,
    /// Since when it has been complete.
    pub(crate) completed_us: Option<i64>,
}

/// A live row with the time at which it is due. Its `wake` is later while it is parked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptExecution {
    pub(crate) row: ExecutionRow,
    pub(crate) due_us: i64,
}

/// A node with the time of its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeptNode {
    pub(crate) row: NodeRow,
    pub(crate) ended_us: Option<i64>,
}

/// The row under a key. A value that is no row at all is `Corrupt`.
pub(crate) fn load<'k, K, R>(table: &impl ReadableTable<K, Json>, key: K::SelfType<'k>) -> Tried<Option<R>>
where
    K: redb::Key + 'static,
    R: DeserializeOwned,
{
    let Some(value) = table.get(&key)? else { return Ok(None) };
    let row = serde_json::from_slice(value.value())
        .map_err(|error| Error::corrupt("read", format!("the value under {key:?} is no row: {error}")))?;
    Ok(Some(row))
}

/// The row under a key, if it can be read. Steps that work on many rows pass over a value that is no row: they must not
/// fail for it.
pub(crate) fn find<'k, K, R>(table: &impl ReadableTable<K, Json>, key: K::SelfType<'k>) -> Tried<Option<R>>
where
    K: redb::Key + 'static,
    R: DeserializeOwned,
{
    load(table, key).or_else(|trouble| trouble.unreadable().map(|_| None))
}

/// Writes a row under a key.
pub(crate) fn save<'k, K, R>(table: &mut Table<'_, K, Json>, key: K::SelfType<'k>, row: &R) -> Tried<()>
where
    K: redb::Key + 'static,
    R: Serialize,
{
    let text = serde_json::to_vec(row)
        .map_err(|error| Error::internal("write", "a row cannot be written as JSON").with_source(error))?;
    table.insert(&key, text.as_slice())?;
    Ok(())
}

/// Which way an entry of an index goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    In,
    Out,
}

/// Writes or removes an entry of an index.
pub(crate) fn entry<'k, 'v, K, V>(
    table: &mut Table<'_, K, V>,
    way: Way,
    key: K::SelfType<'k>,
    value: V::SelfType<'v>,
) -> Tried<()>
where
    K: redb::Key + 'static,
    V: Value + 'static,
{
    match way {
        Way::In => drop(table.insert(&key, &value)?),
        Way::Out => drop(table.remove(&key)?),
    }
    Ok(())
}
