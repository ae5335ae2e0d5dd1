//! What a process does about the schema when it opens a store: the modes, once for all stores.

use std::time::Duration;

use super::conn::{Holder, MigrationConn};
use super::file::Migration;
use super::fingerprint::Fingerprint;
use super::history::Standing;
use super::mode::MigrateMode;
use super::run::{LIMIT, MigrationOutcome, PATIENCE, Progress, Runner, migrate, validate};
use crate::error::Result;

/// How often it looks whether the other one is done, where it must not migrate itself.
const LOOK: Duration = Duration::from_millis(200);

impl<'k> Runner<'k> {
    /// The run of a process that starts: it gives its number, and keeps to the usual limits.
    pub fn of_this_process(known: &'k [Migration], shapes: &'k [Fingerprint], binary: &'k str) -> Self {
        let who = Holder { who: format!("process {}", std::process::id()).into(), since: None, step: None };
        Self { known, shapes, binary, who, patience: PATIENCE, limit: LIMIT }
    }
}

/// Does what the mode says; after it this binary can work with the schema, unless the mode is `off`.
///
/// # Errors
/// As [`migrate`] and [`MigrationOutcome::ready`]; in the modes that do not migrate, as [`Standing::usable`].
///
/// # Cancel safety
/// As [`migrate`].
pub async fn prepare(
    conn: &mut dyn MigrationConn,
    runner: &Runner<'_>,
    mode: MigrateMode,
    hear: &mut (dyn FnMut(Progress<'_>) + Send),
) -> Result<()> {
    let mut left = match mode {
        MigrateMode::Off => return Ok(()),
        MigrateMode::Auto => {
            return migrate(conn, runner, hear).await.and_then(MigrationOutcome::ready).map(drop);
        }
        MigrateMode::Wait => runner.patience,
        MigrateMode::Validate => Duration::ZERO,
    };
    loop {
        let (version, standing, _) = validate(conn, runner, false).await?;
        // Only what is missing can come; a schema that is too new or damaged stays what it is.
        if !matches!(standing, Standing::Pending([_, ..])) || left.is_zero() {
            return standing.usable(version);
        }
        conn.pause(LOOK).await?;
        left = left.saturating_sub(LOOK);
    }
}
