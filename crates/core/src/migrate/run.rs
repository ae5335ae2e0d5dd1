//! The run: decide under the lock, apply, verify.

use std::time::Duration;

use super::OPERATION;
use super::conn::{Holder, LockOutcome, LockedEnd, MigrationConn, StepRow};
use super::file::{Migration, MigrationStep};
use super::fingerprint::{Drift, Fingerprint};
use super::history::{Damage, MigrationRow, MigrationState, Standing, judge, version_of};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// What a run is made with.
#[derive(Clone, Debug)]
pub struct Runner<'k> {
    /// The migrations of this binary.
    pub known: &'k [Migration],
    /// The shape of the schema after each of them; empty if it is not to be compared.
    pub shapes: &'k [Fingerprint],
    /// The version of this binary, for the history.
    pub binary: &'k str,
    /// Who runs it, for people who wait.
    pub who: Holder,
    /// How long it waits for the lock; [`PATIENCE`] unless there is a reason.
    pub patience: Duration,
    /// How long it may hold the lock, on the database's clock; [`LIMIT`] unless there is a reason. A step that runs is
    /// not interrupted by it: each statement has a limit of its own, which the connection sets.
    pub limit: Duration,
}

/// How long a run waits for the lock, unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a run may hold the lock, unless told otherwise.
pub const LIMIT: Duration = Duration::from_secs(10 * 60);

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Somebody else has the lock, and has had it for longer than a moment.
    Waiting {
        /// Who, if the database says so.
        holder: Option<&'a Holder>,
    },
    /// It has the lock.
    Locked,
    /// It runs a step.
    Step {
        /// The migration.
        migration: &'a Migration,
        /// Its step.
        step: &'a MigrationStep,
        /// The step's place, from 1.
        at: usize,
    },
    /// It found a step done by an earlier run that did not end.
    Found {
        /// The migration.
        migration: &'a Migration,
        /// Its step.
        step: &'a MigrationStep,
    },
    /// A migration is complete.
    Applied {
        /// Which.
        migration: &'a Migration,
    },
    /// A migration that takes something away waits for nodes of older binaries to end.
    HeldBack {
        /// Which.
        migration: &'a Migration,
    },
}

/// What a run found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// The version of the schema now.
    pub version: i64,
    /// The versions that this run applied.
    pub applied: Vec<i64>,
    /// The first version that waits for nodes of older binaries to end. This binary works without it.
    pub held_back: Option<i64>,
}

/// How a run ended.
#[must_use = "a schema that is not ready must not be used"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MigrationOutcome {
    /// This binary can work with the schema.
    Ready(Migrated),
    /// Somebody else kept the lock for too long.
    LockTimeout(Option<Holder>),
    /// The schema is newer, and says that this binary must not write it.
    NewerBreaking {
        /// Its version.
        version: i64,
        /// Who brought it there.
        binary: Box<str>,
    },
    /// The history cannot be gone on from.
    Damaged(Vec<Damage>),
}

impl MigrationOutcome {
    /// The result for those who only want to go on.
    ///
    /// # Errors
    /// `Unavailable` if somebody else kept the lock, `Unsupported` if the schema is newer, `Corrupt` if the history is
    /// damaged; each with what to do.
    pub fn ready(self) -> Result<Migrated> {
        match self {
            Self::Ready(migrated) => Ok(migrated),
            Self::LockTimeout(holder) => {
                let who = Holder::or_unknown(holder.as_ref());
                Err(Error::unavailable(
                    OPERATION,
                    format!("the migrations are locked by {who}; wait for it to end and start again"),
                ))
            }
            Self::NewerBreaking { version, binary } => Err(Error::new(
                ErrorKind::Unsupported,
                OPERATION,
                format!(
                    "the schema is at version {version} (written by Punctual {binary}), which this binary must not \
                     write; use a newer version of Punctual"
                ),
            )),
            Self::Damaged(damage) => Err(Error::corrupt(
                OPERATION,
                format!("{}; look at `punctual migrate repair`, which shows its plan first", list(&damage)),
            )),
        }
    }
}

pub(super) fn list(damage: &[Damage]) -> String {
    damage.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Brings a database to the newest version that this binary knows.
///
/// A database that is current is only read. Otherwise the decision is made on what is read under the lock, so that
/// processes that start together apply each migration once.
///
/// # Errors
/// Those of the connection; `Corrupt` if the schema has not the shape that it should have after the run; `Unavailable` if
/// the run took longer than its limit. It is then rolled back where the database can; elsewhere the next run goes on from
/// the step that it came to.
pub async fn migrate(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<MigrationOutcome> {
    let mut migrated = Migrated::default();
    loop {
        let online = match look(conn, runner, &mut migrated).await? {
            Look::End(outcome) => return Ok(outcome),
            Look::Go(pending) => pending.online,
        };
        if migrated.held_back.is_some() {
            return Ok(MigrationOutcome::Ready(migrated));
        }
        if let LockOutcome::TimedOut(holder) = take_lock(conn, runner, online, hear).await? {
            return Ok(MigrationOutcome::LockTimeout(holder));
        }
        let outcome = locked(conn, runner, online, &mut migrated, hear).await;
        let end = if matches!(outcome, Ok(None)) { LockedEnd::Commit } else { LockedEnd::Rollback };
        let unlocked = conn.unlock(end).await;
        if let Some(outcome) = outcome? {
            return Ok(outcome);
        }
        unlocked?;
        // Once more round: what was written is read back, and what could not be in this transaction comes next.
    }
}

/// How long a run waits for the lock before it says so: migrations that others make are over sooner as a rule.
const MOMENT: Duration = Duration::from_secs(1);

async fn take_lock(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    online: bool,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<LockOutcome> {
    let moment = runner.patience.min(MOMENT);
    let mut outcome = conn.lock(&runner.who, moment, online).await?;
    if let LockOutcome::TimedOut(holder) = &outcome
        && runner.patience > moment
    {
        hear(Progress::Waiting { holder: holder.as_ref() });
        outcome = conn.lock(&runner.who, runner.patience.saturating_sub(moment), online).await?;
    }
    if outcome == LockOutcome::Taken {
        hear(Progress::Locked);
    }
    Ok(outcome)
}

/// What a look at the history says about going on.
enum Look<'k> {
    End(MigrationOutcome),
    /// The first migration that is missing.
    Go(&'k Migration),
}

async fn look<'k>(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'k>,
    migrated: &mut Migrated,
) -> Result<Look<'k>> {
    let history = conn.history().await?;
    migrated.version = version_of(&history);
    Ok(match judge(runner.known, &history, !conn.dialect().transactional) {
        Standing::Current | Standing::NewerCompatible { .. } => {
            Look::End(MigrationOutcome::Ready(std::mem::take(migrated)))
        }
        Standing::NewerBreaking { version, binary, .. } => {
            Look::End(MigrationOutcome::NewerBreaking { version, binary })
        }
        Standing::Damaged(damage) => Look::End(MigrationOutcome::Damaged(damage)),
        Standing::Pending([]) => Look::End(MigrationOutcome::Ready(std::mem::take(migrated))),
        Standing::Pending([first, ..]) => Look::Go(first),
    })
}

/// Applies what is missing under the lock, as far as it can be done under one lock of this kind. `Some` if what was
/// found there ends the run: then nothing was written.
async fn locked(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    online: bool,
    migrated: &mut Migrated,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<Option<MigrationOutcome>> {
    let history = conn.history().await?;
    let Standing::Pending(pending) = judge(runner.known, &history, !conn.dialect().transactional) else {
        // Somebody else did it meanwhile, or something else is the matter: the next look says so.
        return Ok(None);
    };
    let end = Deadline { at: conn.now().await?.plus(runner.limit), limit: runner.limit };
    for migration in pending.iter().take_while(|migration| migration.online == online) {
        if is_held_back(conn, migration).await? {
            hear(Progress::HeldBack { migration });
            migrated.held_back = Some(migration.version);
            break;
        }
        let begun = history.iter().find(|row| row.version == migration.version);
        apply(conn, runner, migration, begun, &end, hear).await?;
        migrated.applied.push(migration.version);
        hear(Progress::Applied { migration });
    }
    verify(conn, runner, migrated).await?;
    Ok(None)
}

/// When a run must give the lock back.
struct Deadline {
    at: Timestamp,
    limit: Duration,
}

impl Deadline {
    async fn check(
        &self,
        conn: &mut dyn MigrationConn,
        migration: &Migration,
        step: &MigrationStep,
    ) -> Result<()> {
        if conn.now().await? < self.at {
            return Ok(());
        }
        let kept = if conn.dialect().transactional && !migration.online {
            "nothing of it is kept; give it more time"
        } else {
            "what is done stays done; start it again, or give it more time"
        };
        Err(Error::unavailable(
            OPERATION,
            format!(
                "the run has come to step {} of migration {} ({}) and has taken longer than its limit of {} s: {kept}",
                step.name,
                migration.version,
                migration.name,
                self.limit.as_secs()
            ),
        ))
    }
}

/// Whether nodes are up that need what the migration takes away.
async fn is_held_back(conn: &mut dyn MigrationConn, migration: &Migration) -> Result<bool> {
    let Some(needed) = &migration.contracts else { return Ok(false) };
    let nodes = conn.live_binaries().await?;
    Ok(nodes.iter().any(|binary| numbers(binary) < numbers(needed)))
}

/// The numbers of a version, to be compared. What is no number counts as 0.
fn numbers(version: &str) -> [u64; 3] {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = core.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| parts.next().unwrap_or(0))
}

async fn apply(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    migration: &Migration,
    begun: Option<&MigrationRow>,
    end: &Deadline,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<()> {
    let now = conn.now().await?;
    let fresh = MigrationRow::of(migration, MigrationState::Started, runner.binary, now);
    let mut row = begun.cloned().unwrap_or(fresh);
    conn.record(&row).await?;
    let journaled = migration.online || !conn.dialect().transactional;
    let journal = if journaled { conn.journal(migration.version).await? } else { Vec::new() };
    for (at, step) in (1..).zip(&migration.steps) {
        let state = journal.iter().find(|entry| entry.step == step.name).map(|entry| entry.state);
        if state.is_some_and(|state| state != MigrationState::Started) {
            continue;
        }
        if !conn.owns_lock().await? {
            return Err(Error::new(
                ErrorKind::Fenced,
                OPERATION,
                format!(
                    "the lock was lost before step {} of migration {}; whoever holds it now goes on from there",
                    step.name, migration.version
                ),
            ));
        }
        end.check(conn, migration, step).await?;
        hear(Progress::Step { migration, step, at });
        if journaled {
            journaled_step(conn, migration, step, state.is_some(), hear).await?;
        } else {
            conn.run(&step.sql).await.map_err(|error| named(error, migration, step))?;
        }
    }
    row.state = MigrationState::Done;
    row.finished = Some(conn.now().await?);
    conn.record(&row).await
}

/// A step that the database cannot take back. The journal says that it was begun before it is, and that it is done after
/// it; what lies between, the probe tells.
async fn journaled_step(
    conn: &mut dyn MigrationConn,
    migration: &Migration,
    step: &MigrationStep,
    begun: bool,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<()> {
    let entry = |state| StepRow { version: migration.version, step: step.name.clone(), state };
    // Only what we have begun may be taken for ours: a table of somebody else's with the same name must stop the run. An
    // index that an administrator has built before is as good as ours.
    if (begun || migration.online)
        && let Some(probe) = &step.probe
    {
        if conn.probe(probe).await.map_err(|error| named(error, migration, step))? {
            hear(Progress::Found { migration, step });
            return conn.record_step(&entry(MigrationState::Done)).await;
        }
        if let Some(cleanup) = &step.cleanup {
            conn.run(cleanup).await.map_err(|error| named(error, migration, step))?;
        }
    }
    conn.record_step(&entry(MigrationState::Started)).await?;
    if let Err(error) = conn.run(&step.sql).await {
        // A statement that the server refused has changed nothing. Of one whose answer is missing nobody knows, nor of
        // the one that an earlier run had begun, which may be the very reason of the refusal: the probe will tell.
        if !begun && error.kind() != ErrorKind::Unavailable {
            conn.forget_step(migration.version, &step.name).await?;
        }
        return Err(named(error, migration, step));
    }
    conn.record_step(&entry(MigrationState::Done)).await
}

fn named(error: Error, migration: &Migration, step: &MigrationStep) -> Error {
    let what = format!(
        "migration {} ({}), step {}: {}",
        migration.version,
        migration.name,
        step.name,
        error.message()
    );
    Error::new(error.kind(), OPERATION, what).with_source(error)
}

/// Compares the shape of the schema with the one that it should have by now.
async fn verify(conn: &mut dyn MigrationConn, runner: &Runner<'_>, migrated: &Migrated) -> Result<()> {
    let Some(version) = migrated.applied.last() else { return Ok(()) };
    match drift(conn, runner, *version).await?.filter(|drift| !drift.is_harmless()) {
        None => Ok(()),
        Some(drift) => Err(Error::corrupt(
            OPERATION,
            format!("after migration {version} the schema has not the shape that it should have:\n{drift}"),
        )),
    }
}

/// How the schema differs from the shape of a version; `None` if that shape is not known.
pub(super) async fn drift(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    version: i64,
) -> Result<Option<Drift>> {
    let index = usize::try_from(version - 1).unwrap_or(usize::MAX);
    let Some(expected) = runner.shapes.get(index) else { return Ok(None) };
    Ok(Some(expected.drift(&conn.fingerprint().await?)))
}

/// Where a database stands, and, if `deep`, how its shape differs from the one that its version should have. Writes
/// nothing.
///
/// # Errors
/// Those of the connection.
pub async fn validate<'k>(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'k>,
    deep: bool,
) -> Result<(i64, Standing<'k>, Option<Drift>)> {
    let history = conn.history().await?;
    let version = version_of(&history);
    let standing = judge(runner.known, &history, !conn.dialect().transactional);
    let drift = if deep { drift(conn, runner, version).await? } else { None };
    Ok((version, standing, drift))
}

/// Does everything that [`migrate`] would do and takes it back. Where the database cannot take definitions back, it only
/// says what would be done.
///
/// # Errors
/// As [`migrate`]; that is what it is for.
pub async fn rehearse(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<MigrationOutcome> {
    let mut migrated = Migrated::default();
    let first = match look(conn, runner, &mut migrated).await? {
        Look::End(outcome) => return Ok(outcome),
        Look::Go(first) => first,
    };
    if first.online || !conn.dialect().transactional {
        let from = usize::try_from(first.version - 1).unwrap_or(usize::MAX);
        for migration in runner.known.get(from..).unwrap_or_default() {
            for (at, step) in (1..).zip(&migration.steps) {
                hear(Progress::Step { migration, step, at });
            }
            migrated.applied.push(migration.version);
        }
        return Ok(MigrationOutcome::Ready(migrated));
    }
    if let LockOutcome::TimedOut(holder) = take_lock(conn, runner, false, hear).await? {
        return Ok(MigrationOutcome::LockTimeout(holder));
    }
    let outcome = locked(conn, runner, false, &mut migrated, hear).await;
    conn.unlock(LockedEnd::Rollback).await?;
    Ok(outcome?.unwrap_or(MigrationOutcome::Ready(migrated)))
}
