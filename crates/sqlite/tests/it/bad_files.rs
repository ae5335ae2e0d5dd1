//! Files that cannot be used: each is refused with its path, and with what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use punctual_core::migrate::MigrateMode;
use punctual_core::{ErrorKind, JobStore};
use punctual_sqlite::{SqliteBuilder, SqliteStore};

use crate::support::open;

/// Opens what must be refused.
async fn refused(builder: SqliteBuilder, path: &Path, kind: ErrorKind, advice: &str) {
    let error = builder.open().await.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    assert!(error.message().contains(&path.display().to_string()), "no path: {error}");
    assert!(error.message().contains(advice), "no advice {advice:?}: {}", error.chain());
}

async fn refused_as_it_is(path: &Path, kind: ErrorKind, advice: &str) {
    refused(SqliteStore::builder(path), path, kind, advice).await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    let text = "this is not a database, but long enough to be taken for one\n".repeat(40);
    fs::write(&path, &text).unwrap();
    refused_as_it_is(&path, ErrorKind::Invalid, "choose another path").await;
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[tokio::test]
async fn an_empty_file_is_a_new_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    fs::write(&path, "").unwrap();
    open(&path).await.now().await.unwrap();
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let folder = tempfile::tempdir().unwrap();
    refused_as_it_is(&folder.path().join("nowhere/jobs.db"), ErrorKind::Invalid, "create it").await;
}

#[tokio::test]
async fn a_directory_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    refused_as_it_is(folder.path(), ErrorKind::Invalid, "name a file in it").await;
}

#[tokio::test]
async fn a_file_in_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    refused_as_it_is(&folder.path().join("file/jobs.db"), ErrorKind::Invalid, "correct the path").await;
}

#[tokio::test]
async fn a_read_only_file_or_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    drop(open(&path).await);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    refused_as_it_is(&path, ErrorKind::Unsupported, "the file is read-only").await;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    refused_as_it_is(&path, ErrorKind::Unsupported, "its directory is read-only").await;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    drop(open(&path).await);
}

#[tokio::test]
async fn a_missing_file_is_made_unless_that_is_forbidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    refused(SqliteStore::builder(&path).existing_only(), &path, ErrorKind::NotFound, "start a node").await;
    assert!(!path.exists());
    drop(open(&path).await);
    SqliteStore::builder(&path).existing_only().open().await.unwrap();
}

#[tokio::test]
async fn memory_is_no_file() {
    refused_as_it_is(Path::new(":memory:"), ErrorKind::Invalid, "MemoryStore").await;
}

#[tokio::test]
async fn in_mode_validate_a_file_without_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let strict = || SqliteStore::builder(&path).migrate(MigrateMode::Validate);
    refused(strict(), &path, ErrorKind::Unsupported, "run the migrations first").await;
    drop(open(&path).await);
    strict().open().await.unwrap();
}

#[tokio::test]
async fn a_schema_newer_than_the_binary_is_refused_unless_it_allows_this_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    drop(open(&path).await);
    let file = rusqlite::Connection::open(&path).unwrap();
    let version = i64::try_from(punctual_migrations::SQLITE.len()).unwrap() + 1;
    let newer = "INSERT INTO migration VALUES (?1, 'later', 1, 2, 0, 0, '9.9.9', ?1, ?1)";
    file.execute(newer, [version]).unwrap();
    refused_as_it_is(&path, ErrorKind::Unsupported, "use a newer version of Punctual").await;
    file.execute("UPDATE migration SET min_writer = 1 WHERE version = ?1", [version]).unwrap();
    open(&path).await.now().await.unwrap();
}

#[tokio::test]
async fn a_migration_of_another_text_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    drop(open(&path).await);
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute("UPDATE migration SET checksum = checksum + 1", []).unwrap();
    refused_as_it_is(&path, ErrorKind::Corrupt, "another text").await;
}

#[tokio::test]
async fn tables_of_others_with_the_same_name_stop_the_migration_and_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    let file = rusqlite::Connection::open(&path).unwrap();
    file.execute_batch("CREATE TABLE job (mine)").unwrap();
    let error = SqliteStore::open(&path).await.unwrap_err();
    assert!(error.message().contains("step job"), "{error}");
    let tables: i64 = file.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 1, "nothing of the failed migration stays");
}

#[tokio::test]
async fn a_damaged_file_is_corrupt_or_no_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    drop(open(&path).await);
    // Closing the last connection would write the log back; wait for that by opening and closing the file here.
    drop(rusqlite::Connection::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    for byte in bytes.iter_mut().skip(100).take(4000) {
        *byte = 0xa5;
    }
    let copy = folder.path().join("damaged.db");
    fs::write(&copy, bytes).unwrap();
    let error = SqliteStore::open(&copy).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid), "{error:?}");
    assert!(error.message().contains("damaged.db"), "{error}");
}
