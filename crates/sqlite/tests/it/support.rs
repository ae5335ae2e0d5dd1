//! Short ways to reach a file; those to fill a store and to use it are the kit's.

use std::path::Path;

pub(crate) use punctual_conformance::sample::*;
use punctual_sqlite::SqliteStore;

pub(crate) async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path).await.unwrap()
}
