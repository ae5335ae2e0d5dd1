//! The command line of `punctual migrate`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::args::Db;

const AFTER_HELP: &str = "\
Exit codes of these commands:
  0  the schema is current, or what was asked for is done
  1  an error without a code of its own
  2  migrations are pending (and wrong usage)
  3  the schema is newer than this binary, which may work with it
  4  the schema is newer than this binary, which must not work with it
  5  the history is damaged, or the schema has not the shape that it should have
  6  another process kept the lock for too long";

/// Look at the schema of a database, bring it up to date, or mend its history.
///
/// Any number of processes may apply migrations at once: each version is applied once. A process that needs other
/// rights for this than at work is given another URL here, and PUNCTUAL_MIGRATE=validate there.
#[derive(Clone, Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    pub(crate) what: What,
    #[command(flatten)]
    pub(crate) db: Db,
    /// Print one JSON object, on the last line of standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long to wait for another process that migrates.
    #[arg(long, global = true, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) lock_timeout: Duration,
    /// How long a run may take once it has the lock; looked at before each step.
    #[arg(long, global = true, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub(crate) limit: Duration,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Show the version of the schema, and what was applied when and by whom.
    Status,
    /// Show what `apply` would do, step by step.
    Plan,
    /// Apply what is pending.
    Apply {
        /// Do it, and take it all back: only says whether it would go well. (MySQL cannot take it back: there it is `plan`.)
        #[arg(long)]
        dry_run: bool,
    },
    /// Check the history and compare tables, columns and indexes with what they should be.
    Validate,
    /// Show how a damaged history would be mended; with --yes, mend it.
    Repair {
        /// Do what the plan says.
        #[arg(long)]
        yes: bool,
    },
    /// Print the SQL that `apply` would run, for administrators who run it themselves.
    Export {
        /// The version that the database has; 0 has no tables.
        #[arg(long, default_value_t = 0, value_name = "VERSION")]
        from: i64,
        /// The version that it is to have; the newest unless given.
        #[arg(long, value_name = "VERSION")]
        to: Option<i64>,
    },
    /// Take tables that were made by hand for those of a version, if they are the same.
    Baseline {
        /// The version; the newest unless given.
        #[arg(long = "at", value_name = "VERSION")]
        at: Option<i64>,
    },
}
