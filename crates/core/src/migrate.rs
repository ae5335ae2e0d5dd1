//! Schema migrations: what the files say, what a database has, and how the one becomes the other.
//!
//! The algorithm exists once, here, over [`MigrationConn`]; it knows no SQL. Any number of processes may run it at
//! once: it decides under a lock, on what it reads *under that lock*, and an unfinished run is either rolled back by
//! the database or found in the history.

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Result};
use crate::protocol::define::stable_hash;
use crate::time::Timestamp;

const OPERATION: &str = "migrate";

/// One migration file, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Its number, from 1, without gaps.
    pub version: i64,
    /// Its name, without number and ending.
    pub name: Box<str>,
    /// The hash of its text, blind to line endings and trailing blanks.
    pub checksum: i64,
    /// The lowest schema version that a binary must know to read the result.
    pub min_reader: i64,
    /// The lowest schema version that a binary must know to write the result.
    pub min_writer: i64,
    /// Its statements, in order.
    pub steps: Vec<MigrationStep>,
}

/// One statement of a migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStep {
    /// Its name within the file.
    pub name: Box<str>,
    /// The statement.
    pub sql: Box<str>,
    /// A query that tells whether the statement was run, for databases that cannot roll a definition back.
    pub probe: Option<Box<str>>,
}

/// How far a migration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MigrationState {
    /// It was begun; only seen where the database cannot roll definitions back.
    Started,
    /// It is complete.
    Done,
}

impl MigrationState {
    /// The number that databases keep.
    pub const fn code(self) -> i64 {
        match self {
            Self::Started => 1,
            Self::Done => 2,
        }
    }

    /// The state of a stored number.
    ///
    /// # Errors
    /// `Corrupt` if no state has it.
    pub fn from_code(code: i64) -> Result<Self> {
        match code {
            1 => Ok(Self::Started),
            2 => Ok(Self::Done),
            _ => Err(Error::corrupt(OPERATION, format!("column migration.state: {code} is no state"))),
        }
    }
}

/// A row of the history of migrations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationRow {
    /// The number; unique.
    pub version: i64,
    /// The name.
    pub name: Box<str>,
    /// The checksum of the file as it was run.
    pub checksum: i64,
    /// How far it has come.
    pub state: MigrationState,
    /// When it was begun, on the database's clock.
    pub started: Timestamp,
    /// When it was complete.
    pub finished: Option<Timestamp>,
    /// The version of the binary that ran it.
    pub binary: Box<str>,
    /// See [`Migration::min_reader`].
    pub min_reader: i64,
    /// See [`Migration::min_writer`].
    pub min_writer: i64,
}

/// How a locked run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockedEnd {
    /// Everything is kept.
    Commit,
    /// Nothing is kept, as far as the database can take it back.
    Rollback,
}

/// A connection that migrations run on.
///
/// # Contract
/// Between `lock` and `unlock` no other connection of any process runs migrations on the same database. A connection
/// that ends without `unlock` has lost its lock, and what the database can take back is taken back.
#[async_trait]
pub trait MigrationConn: Send {
    /// All rows of the history by version; empty if there is no history yet.
    async fn history(&mut self) -> Result<Vec<MigrationRow>>;
    /// Waits for the lock, takes it, and makes the table of the history if it is not there.
    async fn lock(&mut self) -> Result<()>;
    /// Reads the database's clock.
    async fn now(&mut self) -> Result<Timestamp>;
    /// Runs one statement.
    async fn run(&mut self, step: &MigrationStep) -> Result<()>;
    /// Writes a row of the history: a new one, or the state and times of the one with its version.
    async fn record(&mut self, row: &MigrationRow) -> Result<()>;
    /// Ends the locked run.
    async fn unlock(&mut self, end: LockedEnd) -> Result<()>;
}

/// What [`migrate`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version of the schema now.
    pub version: i64,
    /// The versions that this run applied.
    pub applied: Vec<i64>,
}

/// Parses migration files given as pairs of name and text, in the order of their numbers.
///
/// # Errors
/// `Internal`, naming the file: they are part of the binary.
pub fn parse(files: &[(&str, &str)]) -> Result<Vec<Migration>> {
    let mut migrations = Vec::with_capacity(files.len());
    for (version, (file, text)) in (1..).zip(files) {
        migrations.push(parse_file(version, file, text)?);
    }
    Ok(migrations)
}

fn parse_file(version: i64, file: &str, text: &str) -> Result<Migration> {
    let wrong = |why: String| Error::internal(OPERATION, format!("file {file}: {why}"));
    let name = file.strip_suffix(".sql").and_then(|stem| stem.split_once('_'));
    let name = match name {
        Some((number, name)) if number.len() == 4 && number.parse() == Ok(version) && !name.is_empty() => {
            name
        }
        _ => return Err(wrong(format!("its name is not {version:04}_name.sql"))),
    };
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().map(str::trim_end).collect();
    let mut migration = Migration {
        version,
        name: name.into(),
        checksum: stable_hash(lines.join("\n").trim_end().as_bytes()),
        min_reader: version,
        min_writer: version,
        steps: Vec::new(),
    };

    let header = |line: &str, word: &str| {
        line.strip_prefix("-- ")?.strip_prefix(word).map(|rest| rest.trim().to_owned())
    };
    let number = |text: String| text.parse().map_err(|_| wrong(format!("{text:?} is not a version")));
    let mut body: Option<StepLines<'_>> = None;
    for line in lines {
        if let Some(step) = header(line, "step:") {
            migration.steps.extend(body.take().map(StepLines::finished).transpose().map_err(wrong)?);
            if step.is_empty() || migration.steps.iter().any(|earlier| *earlier.name == *step) {
                return Err(wrong(format!("the step name {step:?} is empty or used twice")));
            }
            body = Some(StepLines { name: step.into(), sql: Vec::new(), probe: None });
        } else if let Some(StepLines { sql, probe, .. }) = &mut body {
            match (header(line, "probe:"), probe) {
                (Some(_), Some(_)) => return Err(wrong("a step has two probes".to_owned())),
                (Some(_), probe) => *probe = Some(Vec::new()),
                (None, Some(probe)) => probe.push(line),
                (None, None) => sql.push(line),
            }
        } else if let Some(version) = header(line, "min-reader:") {
            migration.min_reader = number(version)?;
        } else if let Some(version) = header(line, "min-writer:") {
            migration.min_writer = number(version)?;
        } else if !line.is_empty() && !line.starts_with("--") {
            return Err(wrong(format!("{line:?} is before the first step")));
        }
    }
    migration.steps.extend(body.map(StepLines::finished).transpose().map_err(wrong)?);
    Ok(migration)
}

/// The lines of a step, as far as they were read.
struct StepLines<'t> {
    name: Box<str>,
    sql: Vec<&'t str>,
    probe: Option<Vec<&'t str>>,
}

impl StepLines<'_> {
    fn finished(self) -> Result<MigrationStep, String> {
        let Self { name, sql, probe } = self;
        let text = |lines: Vec<&str>| lines.join("\n").trim().trim_end_matches(';').to_owned();
        let sql = text(sql);
        if sql.lines().all(|line| line.is_empty() || line.starts_with("--")) {
            return Err(format!("step {name} has no statement"));
        }
        Ok(MigrationStep { name, sql: sql.into(), probe: probe.map(|lines| text(lines).into()) })
    }
}

/// Checks that this binary, which knows `known`, may write a database with this history.
///
/// Answers the migrations that are to be run, in order.
///
/// # Errors
/// `Unsupported` if the schema is newer than the binary and says that it must not be written by it; `Corrupt` if a
/// migration was changed after it ran, or one is missing in between.
pub fn pending<'a>(known: &'a [Migration], history: &[MigrationRow]) -> Result<&'a [Migration]> {
    let corrupt = |why: String| Err(Error::corrupt(OPERATION, why));
    let newest = known.last().map_or(0, |migration| migration.version);
    for (version, row) in (1..).zip(history) {
        if row.version != version {
            return corrupt(format!(
                "migration {version} is missing in the history, though {} is there; restore the database from a \
                 backup, or put the row back if you know that the migration was run",
                row.version
            ));
        }
        let Some(migration) = known.get(usize::try_from(version - 1).unwrap_or(usize::MAX)) else {
            if row.min_writer > newest {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    OPERATION,
                    format!(
                        "the schema is at version {} (written by Punctual {}), but this binary knows it only up to \
                         {newest}; use a newer version of Punctual",
                        history.last().map_or(row.version, |last| last.version),
                        row.binary
                    ),
                ));
            }
            continue;
        };
        if row.checksum != migration.checksum {
            return corrupt(format!(
                "migration {version} ({}) was run from another text than this binary has; use the binary that ran it \
                 (Punctual {}), or restore the database",
                row.name, row.binary
            ));
        }
        if row.state == MigrationState::Started && history.last() == Some(row) {
            // Where definitions cannot be taken back: whoever holds the lock goes on with it, or will.
            return Ok(known.get(history.len() - 1..).unwrap_or_default());
        }
        if row.state == MigrationState::Started {
            return corrupt(format!(
                "migration {version} ({}) was begun and did not end; restore the database",
                row.name
            ));
        }
    }
    Ok(known.get(history.len()..).unwrap_or_default())
}

/// Brings a database to the newest version that this binary knows. `binary` is the version to sign with.
///
/// A database that is current is only read. Otherwise the decision is made on what is read under the lock, so that
/// processes that start together apply each migration once.
///
/// # Errors
/// Those of [`pending`], and those of the connection.
pub async fn migrate(conn: &mut dyn MigrationConn, known: &[Migration], binary: &str) -> Result<Migrated> {
    let history = conn.history().await?;
    if pending(known, &history)?.is_empty() {
        return Ok(Migrated { version: version_of(&history), applied: Vec::new() });
    }
    conn.lock().await?;
    let outcome = migrate_locked(conn, known, binary).await;
    let end = if outcome.is_ok() { LockedEnd::Commit } else { LockedEnd::Rollback };
    let unlocked = conn.unlock(end).await;
    let migrated = outcome?;
    unlocked?;
    Ok(migrated)
}

async fn migrate_locked(conn: &mut dyn MigrationConn, known: &[Migration], binary: &str) -> Result<Migrated> {
    let history = conn.history().await?;
    let mut migrated = Migrated { version: version_of(&history), applied: Vec::new() };
    for migration in pending(known, &history)? {
        let mut row = MigrationRow {
            version: migration.version,
            name: migration.name.clone(),
            checksum: migration.checksum,
            state: MigrationState::Started,
            started: conn.now().await?,
            finished: None,
            binary: binary.into(),
            min_reader: migration.min_reader,
            min_writer: migration.min_writer,
        };
        conn.record(&row).await?;
        for step in &migration.steps {
            conn.run(step).await?;
        }
        row.state = MigrationState::Done;
        row.finished = Some(conn.now().await?);
        conn.record(&row).await?;
        migrated.version = migration.version;
        migrated.applied.push(migration.version);
    }
    Ok(migrated)
}

/// Checks, without writing anything, that a database is at a version that this binary can work with.
///
/// # Errors
/// Those of [`pending`]; `Unsupported` if migrations are missing.
pub async fn validate(conn: &mut dyn MigrationConn, known: &[Migration]) -> Result<i64> {
    let history = conn.history().await?;
    match pending(known, &history)?.first() {
        None => Ok(version_of(&history)),
        Some(next) => Err(Error::new(
            ErrorKind::Unsupported,
            OPERATION,
            format!(
                "the schema is at version {}, and migration {} ({}) is missing; run the migrations first",
                version_of(&history),
                next.version,
                next.name
            ),
        )),
    }
}

fn version_of(history: &[MigrationRow]) -> i64 {
    history.last().map_or(0, |row| row.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "-- About it.\n-- min-writer: 1\n\n-- step: a\n-- why\nCREATE TABLE a (x);\n-- step: b\nSELECT ';'\n-- probe:\nSELECT 1\n";

    fn known() -> Vec<Migration> {
        parse(&[("0001_init.sql", FIRST), ("0002_more.sql", "-- step: c\nCREATE TABLE c (x)\n")]).unwrap()
    }

    fn row(migration: &Migration) -> MigrationRow {
        MigrationRow {
            version: migration.version,
            name: migration.name.clone(),
            checksum: migration.checksum,
            state: MigrationState::Done,
            started: Timestamp::EPOCH,
            finished: Some(Timestamp::EPOCH),
            binary: "9.9.9".into(),
            min_reader: migration.min_reader,
            min_writer: migration.min_writer,
        }
    }

    #[derive(Default)]
    struct Fake {
        rows: Vec<MigrationRow>,
        log: Vec<String>,
        /// Written by somebody else between the first read and the lock.
        meanwhile: Vec<MigrationRow>,
    }

    #[async_trait]
    impl MigrationConn for Fake {
        async fn history(&mut self) -> Result<Vec<MigrationRow>> {
            Ok(self.rows.clone())
        }
        async fn lock(&mut self) -> Result<()> {
            self.log.push("lock".into());
            self.rows.append(&mut self.meanwhile);
            Ok(())
        }
        async fn now(&mut self) -> Result<Timestamp> {
            Ok(Timestamp::EPOCH)
        }
        async fn run(&mut self, step: &MigrationStep) -> Result<()> {
            self.log.push(step.name.to_string());
            if &*step.name == "bad" { Err(Error::internal("test", "no")) } else { Ok(()) }
        }
        async fn record(&mut self, row: &MigrationRow) -> Result<()> {
            self.rows.retain(|earlier| earlier.version != row.version);
            self.rows.push(row.clone());
            Ok(())
        }
        async fn unlock(&mut self, end: LockedEnd) -> Result<()> {
            self.log.push(format!("{end:?}"));
            Ok(())
        }
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("the fake never waits"),
        }
    }

    #[test]
    fn files_are_cut_at_their_headers_and_nowhere_else() {
        let known = known();
        let steps: Vec<_> =
            known[0].steps.iter().map(|step| (&*step.name, &*step.sql, step.probe.as_deref())).collect();
        assert_eq!(steps, [("a", "-- why\nCREATE TABLE a (x)", None), ("b", "SELECT ';'", Some("SELECT 1"))]);
        assert_eq!((known[0].min_reader, known[0].min_writer, known[1].min_writer), (1, 1, 2));
    }

    #[test]
    fn the_checksum_sees_the_text_and_not_its_line_endings() {
        let windows = FIRST.replace('\n', "\r\n");
        assert_eq!(parse(&[("0001_init.sql", &windows)]).unwrap()[0], known()[0]);
        let other = FIRST.replace("(x)", "(y)");
        assert_ne!(parse(&[("0001_init.sql", &other)]).unwrap()[0].checksum, known()[0].checksum);
    }

    #[test]
    fn bad_files_are_named() {
        for (file, text) in [
            ("0002_init.sql", "-- step: a\nX"),
            ("1_init.sql", "-- step: a\nX"),
            ("0001_init.sql", "SELECT 1"),
            ("0001_init.sql", "-- step: a\n-- nothing"),
            ("0001_init.sql", "-- step: a\nX\n-- step: a\nX"),
            ("0001_init.sql", "-- min-reader: x\n"),
        ] {
            let error = parse(&[(file, text)]).unwrap_err();
            assert!(error.message().contains(file), "{error}");
        }
    }

    #[test]
    fn what_is_missing_is_applied_once_under_the_lock() {
        let known = known();
        let mut conn = Fake::default();
        let migrated = run(migrate(&mut conn, &known, "1.0")).unwrap();
        assert_eq!(migrated, Migrated { version: 2, applied: vec![1, 2] });
        assert_eq!(conn.log, ["lock", "a", "b", "c", "Commit"]);
        assert_eq!(run(migrate(&mut conn, &known, "1.0")).unwrap().applied, [0_i64; 0]);
        assert_eq!(conn.log.len(), 5, "a current database is not locked");
        assert_eq!(run(validate(&mut conn, &known)).unwrap(), 2);
    }

    #[test]
    fn what_a_late_comer_finds_under_the_lock_counts() {
        let known = known();
        let mut conn = Fake { meanwhile: known.iter().map(row).collect(), ..Fake::default() };
        assert_eq!(run(migrate(&mut conn, &known, "1.0")).unwrap(), Migrated { version: 2, applied: vec![] });
        assert_eq!(conn.log, ["lock", "Commit"]);
    }

    #[test]
    fn a_failed_step_rolls_back() {
        let known = parse(&[("0001_x.sql", "-- step: bad\nX")]).unwrap();
        let mut conn = Fake::default();
        assert!(run(migrate(&mut conn, &known, "1.0")).is_err());
        assert_eq!(conn.log, ["lock", "bad", "Rollback"]);
    }

    #[test]
    fn a_newer_schema_is_refused_unless_it_allows_this_writer() {
        let known = known();
        let rows: Vec<_> = known.iter().map(row).collect();
        let error = pending(&known[..1], &rows).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("newer version of Punctual"), "{error}");
        let mut tolerant = rows;
        tolerant[1].min_writer = 1;
        assert!(pending(&known[..1], &tolerant).unwrap().is_empty());
    }

    #[test]
    fn a_changed_text_a_gap_and_an_unfinished_run_are_refused() {
        let known = known();
        let rows: Vec<_> = known.iter().map(row).collect();
        let mut changed = rows.clone();
        changed[0].checksum += 1;
        assert!(pending(&known, &changed).unwrap_err().message().contains("another text"));
        assert!(pending(&known, &rows[1..]).unwrap_err().message().contains("missing"));
        let mut half = rows;
        half[1].state = MigrationState::Started;
        assert_eq!(pending(&known, &half).unwrap(), &known[1..], "the last one is gone on with");
        half[0].state = MigrationState::Started;
        assert!(pending(&known, &half).is_err());
    }
}
