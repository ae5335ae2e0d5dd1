//! Mending a history: the plan first, and only what the shape of the schema proves.

use std::collections::BTreeMap;
use std::fmt;

use super::OPERATION;
use super::conn::{LockOutcome, LockedEnd, MigrationConn};
use super::history::{Damage, MigrationRow, MigrationState, Standing, judge, version_of};
use super::run::{Migrated, MigrationOutcome, Runner, drift, list};
use crate::error::{Error, ErrorKind, Result};

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Keeps one row of a version and deletes the others.
    DropDuplicates {
        /// The version.
        version: i64,
        /// The row that stays.
        keep: Box<MigrationRow>,
        /// How many go.
        dropped: usize,
    },
    /// Deletes rows of a number that is no version.
    DropStray {
        /// The number.
        version: i64,
    },
    /// Writes the row of a version that the schema proves to be there.
    AddRow {
        /// The version.
        version: i64,
    },
    /// Takes the checksum of this binary for a version that the schema proves to be the same.
    AcceptChecksum {
        /// The version.
        version: i64,
    },
    /// Marks a version as complete that the schema proves to be.
    Finish {
        /// The version.
        version: i64,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DropDuplicates { version, dropped, keep } => write!(
                f,
                "delete {dropped} of the rows of migration {version}, and keep the one of {} by Punctual {}",
                keep.started, keep.binary
            ),
            Self::DropStray { version } => write!(f, "delete the rows of number {version}"),
            Self::AddRow { version } => {
                write!(f, "add the row of migration {version}, whose objects are there")
            }
            Self::AcceptChecksum { version } => {
                write!(
                    f,
                    "take this binary's checksum for migration {version}, whose objects are as they should be"
                )
            }
            Self::Finish { version } => {
                write!(f, "mark migration {version} as complete, for its objects are there")
            }
        }
    }
}

/// Plans the repair of a history. `sound` says whether the shape of the schema is that of the history's highest version:
/// only then may rows be added or changed. Answers what is to be done, and what damage it leaves.
pub fn repairs(
    runner: &Runner<'_>,
    history: &[MigrationRow],
    resumes: bool,
    sound: bool,
) -> (Vec<Repair>, Vec<Damage>) {
    let Standing::Damaged(damage) = judge(runner.known, history, resumes) else { return Default::default() };
    let known = |version: i64| usize::try_from(version - 1).ok().and_then(|index| runner.known.get(index));
    let mut plan = Vec::new();
    let mut left = Vec::new();
    for one in damage {
        match one {
            Damage::Duplicate { version, rows } => {
                match best(history, version, known(version).map(|m| m.checksum)) {
                    Some(keep) => {
                        plan.push(Repair::DropDuplicates {
                            version,
                            keep: Box::new(keep.clone()),
                            dropped: rows - 1,
                        });
                    }
                    None => left.push(one),
                }
            }
            Damage::Stray { version } => plan.push(Repair::DropStray { version }),
            Damage::Gap { version } if sound && known(version).is_some() => {
                plan.push(Repair::AddRow { version })
            }
            Damage::Checksum { version, .. } if sound => plan.push(Repair::AcceptChecksum { version }),
            Damage::Unfinished { version } if sound => plan.push(Repair::Finish { version }),
            other => left.push(other),
        }
    }
    (plan, left)
}

/// The row of several that is to stay: complete before begun, this binary's text before others, the oldest.
fn best(history: &[MigrationRow], version: i64, checksum: Option<i64>) -> Option<&MigrationRow> {
    let of_version = history.iter().filter(|row| row.version == version);
    of_version.min_by_key(|row| {
        (row.state == MigrationState::Started, checksum != Some(row.checksum), row.started, row.checksum)
    })
}

/// Repairs a history: exactly `plan`, which is made again under the lock and must be the same. It ends ready, or by
/// [`MigrationOutcome::LockTimeout`].
///
/// # Errors
/// `Invalid` if the plan is not that of what is there now: look at the new one first. Those of the connection.
pub async fn repair(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    plan: &[Repair],
) -> Result<MigrationOutcome> {
    if let LockOutcome::TimedOut(holder) = conn.lock(&runner.who, runner.patience, false).await? {
        return Ok(MigrationOutcome::LockTimeout(holder));
    }
    let done = repair_locked(conn, runner, plan).await;
    end(conn, done).await
}

async fn repair_locked(conn: &mut dyn MigrationConn, runner: &Runner<'_>, plan: &[Repair]) -> Result<()> {
    let history = conn.history().await?;
    let sound = drift(conn, runner, version_of(&history)).await?.is_some_and(|drift| drift.is_harmless());
    let (now_planned, left) = repairs(runner, &history, !conn.dialect().transactional, sound);
    if now_planned != plan {
        let why = "the history has changed since the plan was made; look at the new plan first";
        return Err(Error::invalid(OPERATION, why));
    }
    // Before anything is written: some databases take nothing back.
    if !left.is_empty() {
        let why = format!("this repair would leave: {}; nothing was changed", list(&left));
        return Err(Error::corrupt(OPERATION, why));
    }
    let now = conn.now().await?;
    let adopted = |version: i64| {
        let index = usize::try_from(version - 1).ok();
        let migration = index.and_then(|index| runner.known.get(index));
        migration.map(|migration| MigrationRow::of(migration, MigrationState::Adopted, runner.binary, now))
    };
    let mut rows: BTreeMap<i64, Vec<MigrationRow>> = BTreeMap::new();
    for row in history {
        rows.entry(row.version).or_default().push(row);
    }
    for one in plan {
        let (version, new) = match one {
            Repair::DropDuplicates { version, keep, .. } => (*version, vec![(**keep).clone()]),
            Repair::DropStray { version } => (*version, Vec::new()),
            Repair::AddRow { version } | Repair::AcceptChecksum { version } | Repair::Finish { version } => {
                (*version, adopted(*version).into_iter().collect())
            }
        };
        conn.replace(version, &new).await?;
        conn.note(&one.to_string()).await?;
    }
    Ok(())
}

/// Takes a schema that was made by hand, or by an export, for one of version `version`. It ends ready, or by
/// [`MigrationOutcome::LockTimeout`].
///
/// # Errors
/// `Invalid` if there is a history already, or `version` is not known; `Corrupt`, with the differences, if the schema has
/// not the shape of that version. Those of the connection.
pub async fn baseline(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    version: i64,
) -> Result<MigrationOutcome> {
    let count = usize::try_from(version).ok().filter(|count| (1..=runner.known.len()).contains(count));
    let Some(count) = count else {
        let newest = runner.known.len();
        return Err(Error::invalid(
            OPERATION,
            format!("there is no version {version}; this binary knows 1 to {newest}"),
        ));
    };
    if let LockOutcome::TimedOut(holder) = conn.lock(&runner.who, runner.patience, false).await? {
        return Ok(MigrationOutcome::LockTimeout(holder));
    }
    let done = baseline_locked(conn, runner, count).await;
    end(conn, done).await
}

async fn baseline_locked(conn: &mut dyn MigrationConn, runner: &Runner<'_>, count: usize) -> Result<()> {
    if !conn.history().await?.is_empty() {
        let why =
            "there is a history already, so there is nothing to take over; see `punctual migrate status`";
        return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, why));
    }
    let version = i64::try_from(count).unwrap_or(i64::MAX);
    match drift(conn, runner, version).await? {
        Some(drift) if drift.is_harmless() => {}
        Some(drift) => {
            let why = format!("the schema has not the shape of version {version}:\n{drift}");
            return Err(Error::corrupt(OPERATION, why));
        }
        None => {
            return Err(Error::internal(OPERATION, format!("the shape of version {version} is not known")));
        }
    }
    let now = conn.now().await?;
    for migration in runner.known.iter().take(count) {
        conn.record(&MigrationRow::of(migration, MigrationState::Adopted, runner.binary, now)).await?;
    }
    conn.note(&format!("took the schema as it was for version {version}")).await
}

/// Keeps what was done, unless it failed; answers with the version that the history has then.
async fn end(conn: &mut dyn MigrationConn, done: Result<()>) -> Result<MigrationOutcome> {
    let kept = if done.is_ok() { LockedEnd::Commit } else { LockedEnd::Rollback };
    let unlocked = conn.unlock(kept).await;
    done?;
    unlocked?;
    let version = version_of(&conn.history().await?);
    Ok(MigrationOutcome::Ready(Migrated { version, ..Migrated::default() }))
}
