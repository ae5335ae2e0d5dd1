//! `punctual pause` and `punctual resume`: holding schedules back, and letting them go on.

use clap::Args;
use punctual::runtime::Resumed;
use punctual::{Error, ErrorKind, Scheduler, TriggerKey};
use serde_json::json;

use crate::args::Db;
use crate::db::{self, Access};
use crate::look::{bad_key, not_found, print};
use crate::trouble::{Exit, Trouble};

/// What is meant.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
struct What {
    /// A schedule: `group/name`, or `name` for `default/name`.
    key: Option<String>,
    /// All schedules of a group, also those that are added later.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// Hold back a schedule or a group until it is resumed.
///
/// Nothing of it fires after this command has ended. What has begun goes on, its retries included. A pause stays in force
/// through new revisions of schedule files and restarts of nodes.
#[derive(Clone, Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    what: What,
    /// Why, for the people who find it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Who, for the people who find it.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, default_value = "punctual pause")]
    by: String,
    #[command(flatten)]
    db: Db,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Let a schedule or a group go on.
///
/// What came due meanwhile is dealt with as each schedule says (`misfire`). The pause of a group and that of one of its
/// schedules are lifted each for itself.
#[derive(Clone, Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    db: Db,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What is said of it, for programs and for people.
struct Said {
    key: String,
    state: &'static str,
    changed: bool,
    text: String,
}

impl Said {
    fn print(self, as_json: bool) {
        let Self { key, state, changed, text } = self;
        print(&match as_json {
            true => json!({ "key": key, "state": state, "changed": changed }).to_string(),
            false => text,
        });
    }
}

pub(crate) async fn pause(args: PauseArgs) -> Result<(), Trouble> {
    let scheduler = opened(&args.db).await?;
    let (by, reason) = (&*args.by, args.reason.as_deref());
    let said = match args.what {
        What { group: Some(group), .. } => {
            scheduler.pause_group(&group, by, reason).await.map_err(refused)?;
            let text = format!("paused the group {group} until `punctual resume --group {group}`");
            Said { key: group, state: "paused", changed: true, text }
        }
        What { key, .. } => {
            let key = parsed(key)?;
            let changed = match scheduler.pause_trigger(&key, by, reason).await {
                Err(error) => return Err(missing(&scheduler, &key, error).await),
                Ok(changed) => changed,
            };
            let text = match changed {
                true => format!("paused {key} until `punctual resume {key}`"),
                false => format!("{key} was paused already; `punctual show {key}` says by whom"),
            };
            Said { key: key.to_string(), state: "paused", changed, text }
        }
    };
    said.print(args.json);
    Ok(())
}

pub(crate) async fn resume(args: ResumeArgs) -> Result<(), Trouble> {
    let scheduler = opened(&args.db).await?;
    let said = match args.what {
        What { group: Some(group), .. } => {
            let changed = scheduler.resume_group(&group).await.map_err(refused)?;
            let text = match changed {
                true => format!("the group {group} goes on"),
                false => format!("the group {group} was not paused"),
            };
            Said { key: group, state: "active", changed, text }
        }
        What { key, .. } => {
            let key = parsed(key)?;
            let resumed = match scheduler.resume_trigger(&key).await {
                Err(error) => return Err(missing(&scheduler, &key, error).await),
                Ok(resumed) => resumed,
            };
            let group = key.group();
            let (state, text) = match resumed {
                Resumed::GoesOn => ("active", format!("{key} goes on")),
                Resumed::WasNotPaused => ("active", format!("{key} was not paused")),
                Resumed::GroupIsPaused => (
                    "paused",
                    format!(
                        "{key} is held back by its group; `punctual resume --group {group}` lets it go on"
                    ),
                ),
            };
            Said { key: key.to_string(), state, changed: resumed == Resumed::GoesOn, text }
        }
    };
    said.print(args.json);
    Ok(())
}

/// A scheduler that never runs: it only commands.
async fn opened(db: &Db) -> Result<Scheduler, Trouble> {
    let store = db::open(db, Access::AsItIs).await?;
    Ok(Scheduler::builder_shared(store).build().await?)
}

fn parsed(key: Option<String>) -> Result<TriggerKey, Trouble> {
    key.unwrap_or_default().parse().map_err(bad_key)
}

fn refused(error: Error) -> Trouble {
    match error.kind() {
        ErrorKind::Invalid => Trouble::from(error).exit(Exit::Usage),
        _ => Trouble::from(error),
    }
}

async fn missing(scheduler: &Scheduler, key: &TriggerKey, error: Error) -> Trouble {
    match error.kind() {
        ErrorKind::NotFound => not_found(scheduler.inspect(), "schedule", &key.to_string()).await,
        _ => refused(error),
    }
}
