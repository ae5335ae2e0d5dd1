//! Opening a file: what is checked before SQLite sees it, and the settings of a connection, each read back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use punctual_core::migrate::MigrateMode;
use punctual_core::store::hook::StatementHook;
use punctual_core::{Clock, Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{classify, primary_code};
use crate::migrate;
use crate::worker::{Place, wait_for_locks, wait_once};

const OPERATION: &str = "open";

/// The oldest SQLite that this store runs on, as its version number: up to 3.51.2, resetting the log while another
/// connection wrote could damage the file (<https://sqlite.org/wal.html#walresetbug>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How many prepared statements a connection keeps: more than there are.
const STATEMENTS: usize = 160;

/// The most memory that a connection keeps pages in. What does not fit is read from the file again in each step.
const CACHE_KIB: i64 = 32 * 1_024;

/// The size in bytes that a log is cut back to after a checkpoint, so that one large transaction does not leave a large
/// file for ever.
const LOG_BYTES: i64 = 96 << 20;

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Each commit reaches the disk.
    Full,
    /// A power failure may take the last commits.
    Normal,
}

/// What happens if the file is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made.
    Make,
    /// Opening fails.
    Refuse,
}

/// What happens if the file is on a network file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkFiles {
    /// Opening fails.
    Refuse,
    /// It is taken.
    Allow,
}

/// All settings of a store.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) patience: Duration,
    pub(crate) durability: Durability,
    pub(crate) missing: Missing,
    pub(crate) migrate: MigrateMode,
    pub(crate) network: NetworkFiles,
    pub(crate) clock: Option<Arc<dyn Clock>>,
    pub(crate) hook: Option<Arc<dyn StatementHook>>,
    pub(crate) place: Place,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(5),
            durability: Durability::Full,
            missing: Missing::Make,
            migrate: MigrateMode::Auto,
            network: NetworkFiles::Refuse,
            clock: None,
            hook: None,
            place: Place::Thread,
        }
    }
}

/// Opens the connection that writes, and brings the tables up to date.
pub(crate) fn writer(path: &Path, options: &Options) -> Result<Connection> {
    check_version(rusqlite::version_number())?;
    check_path(path, options)?;
    let mut connection = connect(path, options)?;
    if connection.is_readonly("main").map_err(|error| classify(OPERATION, path, error.into()))? {
        return Err(read_only(path, "the file"));
    }
    use_log(&connection, path)?;
    set_up(&connection, path, options)?;
    migrate::prepare(&mut connection, path, options.migrate, options.patience)?;
    Ok(connection)
}

/// Opens the connection that reads; the one that writes has been opened before.
pub(crate) fn reader(path: &Path, options: &Options) -> Result<Connection> {
    let connection = connect(path, options)?;
    set_up(&connection, path, options)?;
    set(&connection, path, "query_only", 1)?;
    Ok(connection)
}

/// Which file a path stood for when it was opened. SQLite goes on writing into a file that was moved or deleted, and
/// other processes then begin another one under its name.
#[derive(Debug)]
pub(crate) struct FileIdentity(Option<(u64, u64)>);

impl FileIdentity {
    pub(crate) fn of(path: &Path) -> Self {
        Self(identity(path))
    }

    /// Checks that the path still stands for the same file.
    pub(crate) fn check(&self, operation: &'static str, path: &Path) -> Result<()> {
        if self.0.is_none() || identity(path) == self.0 {
            return Ok(());
        }
        let why = format!(
            "{}: the file was moved, deleted or replaced while it was in use; put it back, or stop this process",
            path.display()
        );
        Err(Error::unavailable(operation, why))
    }

    /// Checks that a connection of somebody else's is on the same file.
    pub(crate) fn check_connection(&self, operation: &'static str, connection: &Connection) -> Result<()> {
        let path = connection.path().unwrap_or_default();
        if self.0.is_none() || identity(Path::new(path)) == self.0 {
            return Ok(());
        }
        let why = format!(
            "the transaction is on {}, which is not the file of the store; open a connection to the store's file",
            if path.is_empty() { "a database without a file" } else { path }
        );
        Err(Error::invalid(operation, why))
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    // An open file cannot be moved or deleted there.
    None
}

/// Refuses an SQLite that is too old.
fn check_version(number: i32) -> Result<()> {
    if number >= OLDEST_SQLITE {
        return Ok(());
    }
    let shown = |number: i32| format!("{}.{}.{}", number / 1_000_000, number / 1_000 % 1_000, number % 1_000);
    Err(Error::new(
        ErrorKind::Unsupported,
        OPERATION,
        format!(
            "this binary is linked with SQLite {}, which may damage files that several processes write; link {} or \
             newer (the feature `bundled` of rusqlite 0.39 or newer does)",
            shown(number),
            shown(OLDEST_SQLITE)
        ),
    ))
}

fn read_only(path: &Path, what: &str) -> Error {
    let why = format!(
        "{}: {what} is read-only; give this user the right to write it, or choose another path",
        path.display()
    );
    Error::new(ErrorKind::Unsupported, OPERATION, why)
}

/// Finds what SQLite would report less clearly, or not at all.
fn check_path(path: &Path, options: &Options) -> Result<()> {
    let shown = path.display();
    let wrong = |why: &str| Err(Error::invalid(OPERATION, format!("{shown}: {why}")));
    if path.as_os_str().is_empty() || path == Path::new(":memory:") {
        return wrong("this store needs a file; use punctual_core's MemoryStore for a store in memory");
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    match fs::metadata(&directory) {
        Ok(found) if !found.is_dir() => {
            return wrong(&format!("{} is no directory; correct the path", directory.display()));
        }
        Ok(found) if found.permissions().readonly() => return Err(read_only(path, "its directory")),
        Ok(_) => {}
        Err(error) => {
            let why = format!(
                "the directory {} cannot be used; create it, or correct the path",
                directory.display()
            );
            return Err(Error::invalid(OPERATION, format!("{shown}: {why}")).with_source(error));
        }
    }
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return wrong("this is a directory; name a file in it"),
        Ok(found) if found.permissions().readonly() => return Err(read_only(path, "the file")),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if options.missing == Missing::Refuse {
                let why =
                    format!("{shown}: there is no such file; start a node on it first, or correct the path");
                return Err(Error::not_found(OPERATION, why));
            }
        }
        Err(error) => {
            let why = format!("{shown}: the file cannot be read; check its rights");
            return Err(Error::new(ErrorKind::Unsupported, OPERATION, why).with_source(error));
        }
    }
    if options.network == NetworkFiles::Refuse {
        check_file_system(path, &directory)?;
    }
    Ok(())
}

/// How far a kind of file system can be trusted.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Its locks or its shared memory do not reach other machines, or do not work at all: files get damaged.
    None,
    /// It depends on what is behind it, which cannot be seen from here.
    Unknown,
}

/// The magic numbers of `statfs(2)` that matter, with the reason for each.
#[cfg(target_os = "linux")]
const FILE_SYSTEMS: &[(u32, &str, Trust)] = &[
    // Locks are advisory and often broken, and `mmap` is not shared between machines.
    (0x0000_6969, "NFS", Trust::None),
    (0x0000_517b, "SMB", Trust::None),
    (0xff53_4d42, "CIFS", Trust::None),
    (0xfe53_4d42, "SMB2", Trust::None),
    (0x0000_564c, "NCP", Trust::None),
    (0x5346_414f, "AFS", Trust::None),
    (0x6b41_4653, "AFS", Trust::None),
    (0x7375_7245, "Coda", Trust::None),
    (0x00c3_6400, "Ceph", Trust::None),
    // Folders of the host in a virtual machine or in WSL: two kernels, two page caches.
    (0x0102_1997, "9p", Trust::None),
    (0x786f_4256, "VirtualBox shared folder", Trust::None),
    (0xbacb_acbc, "VMware shared folder", Trust::None),
    // Cluster file systems with locks that work, but with memory that other machines do not share.
    (0x0bd0_0bd0, "Lustre", Trust::None),
    (0x0116_1970, "GFS2", Trust::None),
    (0x7461_636f, "OCFS2", Trust::None),
    // sshfs and folders of Docker Desktop are behind this number, but also good local file systems.
    (0x6573_5546, "FUSE", Trust::Unknown),
];

#[cfg(target_os = "linux")]
fn check_file_system(path: &Path, directory: &Path) -> Result<()> {
    // What cannot be asked is not refused.
    let Ok(found) = rustix::fs::statfs(directory) else { return Ok(()) };
    #[allow(clippy::useless_conversion, reason = "the type of this field differs between machines")]
    let magic = u32::try_from(i64::try_from(found.f_type).unwrap_or(0) & 0xffff_ffff).unwrap_or(0);
    judge(path, magic)
}

#[cfg(target_os = "linux")]
fn judge(path: &Path, magic: u32) -> Result<()> {
    match FILE_SYSTEMS.iter().find(|(known, ..)| *known == magic) {
        Some((_, name, Trust::None)) => Err(Error::new(
            ErrorKind::Unsupported,
            OPERATION,
            format!(
                "{}: this is on a {name} file system, where SQLite may damage the file; use a local disk, or another \
                 store for several machines",
                path.display()
            ),
        )),
        Some((_, name, Trust::Unknown)) => {
            tracing::warn!(path = %path.display(), "this is on a {name} file system; it must be local and have working locks");
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
fn check_file_system(_path: &Path, _directory: &Path) -> Result<()> {
    // Not detectable here without unsafe code or parsing mount tables.
    Ok(())
}

fn connect(path: &Path, options: &Options) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    if options.missing == Missing::Make {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let wrong = |error: rusqlite::Error| classify(OPERATION, path, error.into());
    let mut connection = Connection::open_with_flags(path, flags).map_err(wrong)?;
    wait_for_locks(&mut connection, options.patience).map_err(wrong)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Switches the file to a write-ahead log. Processes that start together on a new file get in each other's way here, and
/// SQLite does not call the busy handler for it.
fn use_log(connection: &Connection, path: &Path) -> Result<()> {
    let mut tries = 0;
    let mode: String = loop {
        let set = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
        match set {
            Err(error) if primary_code(&error) == Some(rusqlite::ffi::SQLITE_BUSY) && wait_once(tries) => {
                tries += 1
            }
            other => break other.map_err(|error| classify(OPERATION, path, error.into()))?,
        }
    };
    if mode == "wal" {
        return Ok(());
    }
    let why = format!(
        "{}: SQLite cannot keep a write-ahead log here (journal mode is {mode}); use a local disk with working shared \
         memory",
        path.display()
    );
    Err(Error::new(ErrorKind::Unsupported, OPERATION, why))
}

fn set_up(connection: &Connection, path: &Path, options: &Options) -> Result<()> {
    let synchronous = match options.durability {
        Durability::Full => 2,
        Durability::Normal => 1,
    };
    set(connection, path, "synchronous", synchronous)?;
    set(connection, path, "foreign_keys", 1)?;
    set(connection, path, "temp_store", 2)?;
    set(connection, path, "trusted_schema", 0)?;
    set(connection, path, "journal_size_limit", LOG_BYTES)?;
    // That is done between steps.
    set(connection, path, "wal_autocheckpoint", 0)?;
    set(connection, path, "cache_size", -CACHE_KIB)?;
    // Plans must not depend on parameters: SQLite would look at each value, and prepare some statements anew each time.
    let stable = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
    match stable {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(
            ErrorKind::Unsupported,
            OPERATION,
            format!("{}: SQLite cannot keep its query plans stable", path.display()),
        )),
        Err(error) => Err(classify(OPERATION, path, error.into())),
    }
}

/// Sets a pragma and reads it back.
fn set(connection: &Connection, path: &Path, pragma: &str, value: i64) -> Result<()> {
    let written = connection.pragma_update_and_check(None, pragma, value, |row| row.get::<_, i64>(0));
    let stored = match written {
        // Most pragmas answer nothing when they are set.
        Err(rusqlite::Error::QueryReturnedNoRows) => {
            connection.pragma_query_value(None, pragma, |row| row.get(0))
        }
        other => other,
    };
    match stored {
        Ok(stored) if stored == value => Ok(()),
        Ok(stored) => {
            let why = format!("{}: SQLite keeps {pragma} at {stored}, not at {value}", path.display());
            Err(Error::new(ErrorKind::Unsupported, OPERATION, why))
        }
        Err(error) => Err(classify(OPERATION, path, error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sqlite_that_damages_files_is_refused_with_both_versions() {
        let error = check_version(3_051_002).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("3.51.2") && error.message().contains("3.51.3"), "{error}");
        assert!(check_version(3_046_000).is_err());
        assert!(check_version(3_051_003).is_ok() && check_version(4_000_000).is_ok());
        assert!(check_version(rusqlite::version_number()).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_refused_by_name_and_unknown_ones_are_not() {
        for magic in [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997] {
            let error = judge(Path::new("/mnt/jobs.db"), magic).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(
                error.message().contains("/mnt/jobs.db") && error.message().contains("local disk"),
                "{error}"
            );
        }
        for magic in [0xef53, 0x0102_1994, 0x794c_7630, 0x6573_5546] {
            assert!(judge(Path::new("/mnt/jobs.db"), magic).is_ok());
        }
    }

    #[test]
    fn settings_are_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let connection = writer(&path, &Options::default()).unwrap();
        let newest = i64::try_from(punctual_migrations::SQLITE.len()).unwrap();
        let value = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((value("synchronous"), value("foreign_keys"), value("user_version")), (2, 1, newest));
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
        let relaxed = Options { durability: Durability::Normal, ..Options::default() };
        let other = reader(&path, &relaxed).unwrap();
        assert_eq!(other.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).unwrap(), 1);
        assert!(other.execute("DELETE FROM meta", []).is_err(), "the reader cannot write");
    }
}
