//! Changing stored values behind the store's back, as a defect or a careless hand would.

use redb::{ReadableTable, TableDefinition};
use redb_store::RedbStore;

/// Gives a value another content, or takes it away. What is not there stays away.
pub(crate) fn rewrite<K: redb::Key + 'static>(
    store: &RedbStore,
    table: &str,
    key: K::SelfType<'_>,
    change: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    let transaction = store.database().begin_write().expect("a transaction");
    {
        let table: TableDefinition<'_, K, &[u8]> = TableDefinition::new(table);
        let mut table = transaction.open_table(table).expect("a table");
        let changed = table.get(&key).expect("a read").map(|value| change(value.value()));
        match changed {
            Some(Some(value)) => drop(table.insert(&key, &*value).expect("a write")),
            Some(None) => drop(table.remove(&key).expect("a write")),
            None => {}
        }
    }
    transaction.commit().expect("a commit");
}

/// Makes something that is no document of one column of a row.
pub(crate) fn spoil<K: redb::Key + 'static>(
    store: &RedbStore,
    table: &str,
    key: K::SelfType<'_>,
    column: &str,
) {
    rewrite::<K>(store, table, key, |value| {
        let mut row: serde_json::Value = serde_json::from_slice(value).expect("a row");
        *row.pointer_mut(column).expect("a column") = "no document".into();
        Some(row.to_string().into_bytes())
    });
}
