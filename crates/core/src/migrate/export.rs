//! Migrations as a script, for those whose administrators run everything themselves.

use std::fmt::Write as _;

use super::OPERATION;
use super::conn::MigrationConn;
use super::file::Migration;
use super::history::{MigrationRow, MigrationState};
use crate::error::{Error, Result};
use crate::time::Timestamp;

/// The script that brings a database from version `from` to version `to`, the rows of the history included: a database
/// on which it was run is the same as one that was migrated.
///
/// # Errors
/// `Invalid` if the versions are not known, or not in order.
pub fn export(
    conn: &dyn MigrationConn,
    known: &[Migration],
    from: i64,
    to: i64,
    binary: &str,
) -> Result<String> {
    let newest = i64::try_from(known.len()).unwrap_or(i64::MAX);
    if from < 0 || to > newest || from >= to {
        let why =
            format!("there is nothing from version {from} to version {to}; this binary knows up to {newest}");
        return Err(Error::invalid(OPERATION, why));
    }
    let dialect = conn.dialect();
    let mut script = format!(
        "-- Punctual {binary}, {}: from schema version {from} to {to}.\n-- Run it once, with nothing else at work on \
         these tables.\n",
        dialect.name
    );
    if dialect.transactional {
        script.push_str("\nBEGIN;\n");
    }
    if from == 0 {
        for statement in conn.bootstrap() {
            let _ = write!(script, "\n{};\n", statement.trim());
        }
    }
    for migration in known.iter().filter(|migration| migration.version > from && migration.version <= to) {
        let _ = write!(script, "\n-- Migration {}: {}\n", migration.version, migration.name);
        for step in &migration.steps {
            let _ = write!(script, "\n-- {}\n{};\n", step.name, conn.text(&step.sql).trim());
        }
        let row = MigrationRow::of(migration, MigrationState::Adopted, binary, Timestamp::EPOCH);
        let _ = write!(script, "\n{};\n", conn.export_row(&row));
    }
    if dialect.transactional {
        script.push_str("\nCOMMIT;\n");
    }
    Ok(script)
}
