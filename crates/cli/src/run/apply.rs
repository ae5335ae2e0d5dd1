//! Writing a file's definitions into the database, and saying what that amounted to.

use std::path::Path;

use punctual::{ErrorKind, Scheduler};
use punctual_core::protocol::define::{Counts, SetDefinition, SetPlan, Unlisted};

use super::host;
use crate::file::Schedules;
use crate::trouble::{Exit, Trouble};

/// The least revision that can be the time of a change: September 2001.
const FIRST_TIME: i64 = 1_000_000_000;

/// Applies the definitions of a file. A lower revision than the one in force is no error: it changes nothing.
pub(super) async fn apply(
    scheduler: &Scheduler,
    path: &Path,
    schedules: Schedules,
    unlisted: Unlisted,
) -> Result<(), Trouble> {
    let Schedules { mut set, revision_given, .. } = schedules;
    let file = path.display();
    set.by = format!("{}:{} {file}", host(), std::process::id()).into();
    let outcome = scheduler.apply_set(&set, unlisted).await.map_err(|error| match error.kind() {
        ErrorKind::Invalid | ErrorKind::AlreadyExists => {
            let trouble = Trouble::from(error).exit(Exit::File).about(&file);
            match revision_given {
                true => trouble,
                false => trouble.hint(
                    "correct it; if it is about the revision: the file gives none, so the second of its last change serves",
                ),
            }
        }
        _ => Trouble::from(error),
    })?;
    let SetDefinition { name, revision, jobs, .. } = &set;
    match outcome {
        SetPlan::Unchanged => {
            eprintln!("{file}: set `{name}` revision {revision}: {} jobs, in force already", jobs.len());
            kept(scheduler, &set, unlisted).await
        }
        SetPlan::Write { counts, .. } => {
            let Counts { created, changed, deleted, .. } = counts;
            eprintln!(
                "{file}: set `{name}` revision {revision}: {} jobs; definitions created: {created}, changed: {changed}, \
                 deleted: {deleted}",
                jobs.len()
            );
            kept(scheduler, &set, unlisted).await
        }
        SetPlan::Outdated { in_force, by } => {
            eprintln!(
                "{file}: set `{name}` revision {revision} is older than revision {in_force}, which {by} wrote; that one \
                 stays in force"
            );
            if revision_given && *revision < FIRST_TIME && in_force >= FIRST_TIME {
                eprintln!(
                    "hint: {in_force} is the time of the last change of a file without `revision`; give a higher number, or \
                     another `set`"
                );
            }
            Ok(())
        }
    }
}

/// Says which triggers are no longer in the file and go on firing.
async fn kept(scheduler: &Scheduler, set: &SetDefinition, unlisted: Unlisted) -> Result<(), Trouble> {
    if unlisted == Unlisted::Prune {
        return Ok(());
    }
    let stored = scheduler.inspect().set(&set.name).await?;
    let gone: Vec<String> = stored
        .triggers
        .iter()
        .filter(|stored| !set.triggers.iter().any(|wanted| wanted.key == stored.key))
        .map(|stored| stored.key.to_string())
        .collect();
    if !gone.is_empty() {
        let more = if gone.len() > 5 { format!(" and {} more", gone.len() - 5) } else { String::new() };
        let names = gone.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        eprintln!("no longer in the file, but firing on: {names}{more} (--prune deletes them)");
    }
    Ok(())
}
