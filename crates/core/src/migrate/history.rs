//! What a database says of its own migrations, and where that leaves this binary.

use std::collections::BTreeMap;
use std::fmt;

use super::OPERATION;
use super::file::Migration;
use super::run::MigrationOutcome;
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// How far a migration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MigrationState {
    /// It was begun; only seen where the database cannot roll definitions back.
    Started,
    /// It is complete.
    Done,
    /// It was found to be complete, by a baseline or a repair, and not run.
    Adopted,
}

impl MigrationState {
    /// The number that databases keep.
    pub const fn code(self) -> i64 {
        match self {
            Self::Started => 1,
            Self::Done => 2,
            Self::Adopted => 3,
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
            3 => Ok(Self::Adopted),
            _ => Err(Error::corrupt(OPERATION, format!("column migration.state: {code} is no state"))),
        }
    }

    /// Whether nothing is left to do.
    pub const fn is_complete(self) -> bool {
        match self {
            Self::Started => false,
            Self::Done | Self::Adopted => true,
        }
    }

    /// For people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Done => "done",
            Self::Adopted => "adopted",
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

impl MigrationRow {
    /// The row of a migration in a state.
    pub fn of(migration: &Migration, state: MigrationState, binary: &str, now: Timestamp) -> Self {
        Self {
            version: migration.version,
            name: migration.name.clone(),
            checksum: migration.checksum,
            state,
            started: now,
            finished: (state != MigrationState::Started).then_some(now),
            binary: binary.into(),
            min_reader: migration.min_reader,
            min_writer: migration.min_writer,
        }
    }
}

/// Where a database stands, as this binary sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing<'k> {
    /// All is done that this binary knows.
    Current,
    /// These are missing, in order. The first one may have been begun.
    Pending(&'k [Migration]),
    /// The schema is newer, and this binary may work with it.
    NewerCompatible {
        /// Its version.
        version: i64,
    },
    /// The schema is newer, and this binary must not write it.
    NewerBreaking {
        /// Its version.
        version: i64,
        /// The lowest version that a binary must know to write it.
        min_writer: i64,
        /// Who brought it there.
        binary: Box<str>,
    },
    /// The history contradicts itself or this binary.
    Damaged(Vec<Damage>),
}

impl Standing<'_> {
    /// Whether this binary may work with the schema, which is at `version`, without changing it.
    ///
    /// # Errors
    /// `Unsupported` if migrations are missing or the schema is newer; `Corrupt` if the history is damaged.
    pub fn usable(self, version: i64) -> Result<()> {
        let missing = match self {
            Self::Current | Self::NewerCompatible { .. } | Self::Pending([]) => return Ok(()),
            Self::NewerBreaking { version, binary, .. } => {
                return MigrationOutcome::NewerBreaking { version, binary }.ready().map(drop);
            }
            Self::Damaged(damage) => return MigrationOutcome::Damaged(damage).ready().map(drop),
            Self::Pending([next, ..]) => next,
        };
        Err(Error::new(
            ErrorKind::Unsupported,
            OPERATION,
            format!(
                "the schema is at version {version}, and migration {} ({}) is missing; run the migrations first: \
                 `punctual migrate apply`",
                missing.version, missing.name
            ),
        ))
    }
}

/// A contradiction in a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A version has several rows.
    Duplicate {
        /// Which.
        version: i64,
        /// How many.
        rows: usize,
    },
    /// A version has no row, though a later one has.
    Gap {
        /// Which.
        version: i64,
    },
    /// A migration was run from another text than this binary has.
    Checksum {
        /// Which.
        version: i64,
        /// What the history says.
        stored: i64,
        /// What this binary has.
        known: i64,
        /// Who ran it.
        binary: Box<str>,
    },
    /// A migration was begun and is not complete, where that cannot happen.
    Unfinished {
        /// Which.
        version: i64,
    },
    /// A row has a number below 1.
    Stray {
        /// Which.
        version: i64,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { version, rows } => {
                write!(f, "migration {version} has {rows} rows in the history")
            }
            Self::Gap { version } => {
                write!(f, "migration {version} is missing in the history, though later ones are there")
            }
            Self::Checksum { version, stored, known, binary } => write!(
                f,
                "migration {version} was run from another text (checksum {stored:x}, by Punctual {binary}) than this \
                 binary has ({known:x})"
            ),
            Self::Unfinished { version } => write!(f, "migration {version} was begun and did not end"),
            Self::Stray { version } => {
                write!(f, "the history has a migration {version}, which is no version")
            }
        }
    }
}

/// Judges a history. `resumes` says whether a migration that was begun can be gone on with.
pub fn judge<'k>(known: &'k [Migration], history: &[MigrationRow], resumes: bool) -> Standing<'k> {
    let mut rows: BTreeMap<i64, Vec<&MigrationRow>> = BTreeMap::new();
    for row in history {
        rows.entry(row.version).or_default().push(row);
    }
    let damage = damage(known, &rows, resumes);
    if !damage.is_empty() {
        return Standing::Damaged(damage);
    }
    let newest_known = known.last().map_or(0, |migration| migration.version);
    let complete =
        |version: i64| rows.get(&version).is_some_and(|rows| rows.iter().all(|row| row.state.is_complete()));
    let newer: Vec<&MigrationRow> = history.iter().filter(|row| row.version > newest_known).collect();
    if let Some(worst) = newer.iter().max_by_key(|row| row.min_writer) {
        let version = version_of(history);
        return if worst.min_writer > newest_known {
            let (min_writer, binary) = (worst.min_writer, worst.binary.clone());
            Standing::NewerBreaking { version, min_writer, binary }
        } else {
            Standing::NewerCompatible { version }
        };
    }
    match known.iter().position(|migration| !complete(migration.version)) {
        Some(first) => Standing::Pending(known.get(first..).unwrap_or_default()),
        None => Standing::Current,
    }
}

fn damage(known: &[Migration], rows: &BTreeMap<i64, Vec<&MigrationRow>>, resumes: bool) -> Vec<Damage> {
    let newest = rows.keys().next_back().copied().unwrap_or(0);
    let mut found = Vec::new();
    found.extend(
        rows.keys().filter(|version| **version < 1).map(|version| Damage::Stray { version: *version }),
    );
    let mut expected = 1;
    for (version, of_version) in rows.range(1..) {
        found.extend((expected..*version).take(known.len()).map(|version| Damage::Gap { version }));
        expected = version.saturating_add(1);
        if of_version.len() > 1 {
            found.push(Damage::Duplicate { version: *version, rows: of_version.len() });
            continue;
        }
        for row in of_version {
            let index = usize::try_from(version - 1).unwrap_or(usize::MAX);
            if let Some(migration) = known.get(index)
                && migration.checksum != row.checksum
            {
                let (stored, known, binary) = (row.checksum, migration.checksum, row.binary.clone());
                found.push(Damage::Checksum { version: *version, stored, known, binary });
            }
            let last = *version == newest;
            let known_here = known.get(index);
            let may_resume = last && known_here.is_some_and(|migration| resumes || migration.online);
            if row.state == MigrationState::Started && known_here.is_some() && !may_resume {
                found.push(Damage::Unfinished { version: *version });
            }
        }
    }
    found
}

/// The highest version in a history.
pub fn version_of(history: &[MigrationRow]) -> i64 {
    history.iter().map(|row| row.version).max().unwrap_or(0).max(0)
}
