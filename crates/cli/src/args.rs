//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use punctual::Profile;
use punctual_core::calendar::WhenExcluded;

use crate::db;

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  an error without a code of its own
  2  wrong usage
  3  the schedule file cannot be read or has a mistake
  4  the database cannot be used: missing, busy, read-only, not one of Punctual's, or newer than this binary
  5  nothing has the key that was asked for

Environment:
  PUNCTUAL_DB   the database, if --db is not given; the place for a URL with a password
  PUNCTUAL_DB_LISTEN
                the way around a pooler, if --db-listen is not given
  PUNCTUAL_LOG  what to log to the standard error, such as `warn` or `punctual_runtime=debug`
  NO_COLOR      no colours, unless --color always";

/// A clustered cron: any number of nodes on one database, each due instant fires once.
#[derive(Debug, Parser)]
#[command(name = "punctual", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    #[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
    Demo(crate::demo::DemoArgs),
    Next(NextArgs),
    List(ListArgs),
    Show(ShowArgs),
    History(HistoryArgs),
    Nodes(NodesArgs),
    Pause(crate::pause::PauseArgs),
    Resume(crate::pause::ResumeArgs),
    Check(crate::check::CheckArgs),
    Epoch(crate::epoch::EpochArgs),
    Migrate(crate::migrate::MigrateArgs),
}

/// Which database.
#[derive(Clone, Debug, Args)]
pub(crate) struct Db {
    /// The database: the path of an SQLite file, or a URL such as postgres://USER@HOST/DATABASE or
    /// mysql://USER@HOST/DATABASE. A PostgreSQL URL may have schema=NAME, and pooler=transaction.
    #[arg(
        long,
        global = true,
        value_name = "PATH-or-URL",
        env = db::VARIABLE,
        default_value = "punctual.db",
        hide_env_values = true
    )]
    pub(crate) db: String,
    /// A PostgreSQL URL that leads around the pooler, for the one session that hears of news from other nodes.
    #[arg(long, global = true, value_name = "URL", env = db::LISTEN_VARIABLE, hide_env_values = true)]
    pub(crate) db_listen: Option<String>,
}

/// Run a node that fires the schedules of a file.
///
/// The file is written into the database as a set of definitions with a revision; nodes with the same database share
/// its work. SIGHUP reads the file again; SIGTERM or Ctrl-C shuts down gracefully, a second Ctrl-C at once.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The schedule file; docs/command.md says what may be in it.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) db: Db,
    /// The name of this node, for people; host and process id unless given.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The figures of failure detection: default, fast, calm or failover-tolerant.
    #[arg(long, value_parser = profile)]
    pub(crate) profile: Option<Profile>,
    /// How many executions run at once here; 64 unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) capacity: Option<u32>,
    /// Append everything that happens here to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Print everything that happens here as JSON, one object a line, instead of for people.
    #[arg(long)]
    pub(crate) json: bool,
    /// Delete definitions that were in an earlier version of the file and are not in this one.
    #[arg(long)]
    pub(crate) prune: bool,
    /// How long a shutdown waits for running jobs; 30s unless given.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// How long history is kept, or `forever`; 7d unless given.
    #[arg(long, value_name = "TIME", value_parser = keep)]
    pub(crate) keep_history: Option<Keep>,
    /// When to use colours.
    #[arg(long, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub(crate) color: Colour,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// In any case.
    Always,
    /// In no case.
    Never,
}

/// How long history is kept; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keep(pub(crate) Option<Duration>);

/// Show the next instants of an expression, or of a trigger of a schedule file.
#[derive(Clone, Debug, Args)]
pub(crate) struct NextArgs {
    /// A cron expression in Quartz's dialect such as `0 0 9 ? * MON-FRI`, `@daily`, or `every 5s`; with --file the key
    /// of a trigger.
    #[arg(required = true, value_name = "EXPR")]
    pub(crate) expression: Vec<String>,
    /// Take the trigger with this key out of a schedule file.
    #[arg(long, value_name = "FILE.toml", conflicts_with_all = ["unix", "through"])]
    pub(crate) file: Option<PathBuf>,
    /// The time zone of the expression and of what is shown; UTC, or that of the trigger, unless given.
    #[arg(long)]
    pub(crate) zone: Option<String>,
    /// Leave out the all-day events of this iCalendar file.
    #[arg(long, value_name = "FILE.ics", group = "through")]
    pub(crate) calendar: Option<PathBuf>,
    /// Look through the calendar of this name in the database.
    #[arg(long, value_name = "NAME", group = "through")]
    pub(crate) stored_calendar: Option<String>,
    #[command(flatten)]
    pub(crate) db: Db,
    /// What becomes of instants on days that are left out.
    #[arg(long, value_enum, default_value_t = Excluded::Skip, value_name = "RULE", requires = "through")]
    pub(crate) when_excluded: Excluded,
    /// Read the expression in the five-field dialect of Unix.
    #[arg(long)]
    pub(crate) unix: bool,
    /// How many instants.
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) number: u16,
    /// Begin after this instant (such as 2026-03-29T00:00:00Z) instead of now; without an offset it is in the zone.
    #[arg(long, value_name = "INSTANT")]
    pub(crate) after: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What becomes of an instant that a calendar leaves out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Excluded {
    /// It is left out.
    Skip,
    /// It is moved to the last day before that is not left out.
    Before,
    /// It is moved to the first day after that is not left out.
    After,
}

impl From<Excluded> for WhenExcluded {
    fn from(rule: Excluded) -> Self {
        match rule {
            Excluded::Skip => Self::Skip,
            Excluded::Before => Self::Before,
            Excluded::After => Self::After,
        }
    }
}

/// List schedules with their next and last instants.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this group.
    pub(crate) group: Option<String>,
    #[command(flatten)]
    pub(crate) db: Db,
    /// Print a JSON list.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show everything about a job, a trigger or an execution.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// `group/name`, `name`, or the id of an execution.
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) db: Db,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// List what ran, newest first.
#[derive(Clone, Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Only of this job or trigger.
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) db: Db,
    /// How many at most.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) number: u32,
    /// Print a JSON list.
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the nodes of the cluster.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodesArgs {
    #[command(flatten)]
    pub(crate) db: Db,
    /// Print a JSON list.
    #[arg(long)]
    pub(crate) json: bool,
}

fn profile(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| "use default, fast, calm or failover-tolerant".to_owned())
}

fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "forever" => Ok(Keep(None)),
        _ => humantime::parse_duration(text).map(|span| Keep(Some(span))).map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Cli::command().debug_assert();
    }
}
